"""Short-term plasticity against a loop over events in plain Python."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neurostate as ns

from .helpers import x64


STEPS = 40
fractions = st.floats(0.01, 0.99)
taus = st.floats(0.5, 2000.0)
trains = st.lists(st.booleans(), min_size=STEPS, max_size=STEPS)


@functools.partial(jax.jit, static_argnames="cls")
def released(cls, parameters, spikes, dt):
    cell = cls(1, **parameters)
    return jax.lax.scan(functools.partial(cell.step, dt=dt), cell.init_state(), spikes[:, None])[1][:, 0]


def by_events(spikes, dt, release, relax, state):
    """What is released at each step: the state jumps from one spike to the next."""
    out, last = [0.0] * len(spikes), 0.0
    for n, spike in enumerate(spikes):
        if spike:
            t = (n + 1) * dt
            state = relax(state, t - last)
            out[n], state = release(state)
            last = t
    return out


def stp_by_events(spikes, dt, U, tau_f, tau_d, u_rest):
    def relax(state, t):
        u, x = state
        return u_rest + (u - u_rest) * math.exp(-t / tau_f), 1 - (1 - x) * math.exp(-t / tau_d)

    def release(state):
        u, x = state
        u = u + U * (1 - u)
        return u * x, (u, x - u * x)

    return by_events(spikes, dt, release, relax, (u_rest, 1.0))


def std_by_events(spikes, dt, tau, U):
    return by_events(spikes, dt, lambda x: (x, x - U * x), lambda x, t: 1 - (1 - x) * math.exp(-t / tau), 1.0)


@given(trains, st.floats(0.01, 50.0), fractions, taus, taus, st.one_of(st.just(0.0), fractions))
def test_stp(spikes, dt, U, tau_f, tau_d, u_rest):
    with x64():
        parameters = dict(U=U, tau_f=tau_f, tau_d=tau_d, u_rest=u_rest)
        actual = released(ns.STP, jax.tree.map(jnp.asarray, parameters), jnp.asarray(spikes), jnp.asarray(dt))
    np.testing.assert_allclose(actual, stp_by_events(spikes, dt, **parameters), rtol=1e-9, atol=1e-12)


@given(trains, st.floats(0.01, 50.0), taus, fractions)
def test_std(spikes, dt, tau, U):
    with x64():
        parameters = dict(tau=tau, U=U)
        actual = released(ns.STD, jax.tree.map(jnp.asarray, parameters), jnp.asarray(spikes), jnp.asarray(dt))
    np.testing.assert_allclose(actual, std_by_events(spikes, dt, **parameters), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("u_rest", "first"), [(0.0, 0.3), (0.3, 0.3 + 0.3 * 0.7)], ids=["Tsodyks 1998", "Mongillo 2008"]
)
def test_the_first_and_the_last_release_of_a_regular_train(u_rest, first):
    """100 spikes, 20 ms apart, against the fixed point of the map from one spike to the next."""
    U, tau_f, tau_d, period = 0.3, 120.0, 60.0, 20.0
    f, d = math.exp(-period / tau_f), math.exp(-period / tau_d)
    u = (U + (1 - U) * u_rest * (1 - f)) / (1 - (1 - U) * f)
    x = (1 - d) / (1 - d * (1 - u))
    with x64():
        for dt in (0.5, 20.0):
            every = round(period / dt)
            cell = ns.STP(1, U, tau_f, tau_d, u_rest)
            spikes = jnp.zeros((100 * every, 1)).at[::every].set(1.0)
            out = np.asarray(ns.simulate(cell, spikes, dt=dt).outputs[:, 0])
            assert out[0] == pytest.approx(first, rel=1e-14) and out[-every] == pytest.approx(u * x, rel=1e-10)
            assert np.count_nonzero(out) == 100


def test_facilitation_and_depression():
    spikes = jnp.zeros((200, 2)).at[::20].set(1.0)
    cell = ns.STP(2, U=[0.05, 0.6], tau_f=[500.0, 10.0], tau_d=[10.0, 500.0])
    facilitating, depressing = np.asarray(ns.simulate(cell, spikes, dt=0.5).outputs)[::20].T
    assert (np.diff(facilitating) > 0).all() and (np.diff(depressing) < 0).all()


def test_at_rest_it_stays_at_rest():
    for cell, start in ((ns.STP(1, u_rest=0.3), (0.3, 1.0)), (ns.STD(1), (1.0,))):
        state = ns.simulate(cell, jnp.zeros((1000, 1)), dt=0.1).state
        assert [float(leaf[0]) for leaf in jax.tree.leaves(state)] == [np.float32(value) for value in start]


def test_what_is_released_arrives_at_a_synapse():
    plastic, synapse = ns.STD(1, U=0.5), ns.Expon(1, tau=5.0)

    def step(state, spike):
        first, release = plastic.step(state[0], spike, dt=1.0)
        second, g = synapse.step(state[1], 3.0 * release, dt=1.0)
        return (first, second), g

    with x64():
        spikes = jnp.zeros((20, 1)).at[jnp.array([2, 9])].set(1.0)
        g = jax.lax.scan(step, (plastic.init_state(), synapse.init_state()), spikes)[1][:, 0]
    t = np.arange(20)
    second = 1 - 0.5 * math.exp(-7 / 200)
    expected = 3 * np.where(t >= 2, np.exp(-(t - 2) / 5), 0) + 3 * second * np.where(t >= 9, np.exp(-(t - 9) / 5), 0)
    np.testing.assert_allclose(g, expected, rtol=1e-6)

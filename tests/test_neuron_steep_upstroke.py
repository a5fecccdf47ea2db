"""The times of spikes between grid points where the upstroke is too steep for the floating-point time to resolve it."""

from __future__ import annotations

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import neurostate as ns

from .helpers import x64
from .zoo import BRETTE_GERSTNER


DURATION, CURRENTS = 200.0, np.random.default_rng(0).uniform(0.6, 2.5, 100)


@eqx.filter_jit
def simulate(V_th, dt, num_steps, spk_reset="hard"):
    cell = ns.AdExIF(100, spike_time="interpolated", spk_reset=spk_reset, **BRETTE_GERSTNER | {"V_th": V_th})
    sol = ns.simulate(cell, jnp.tile(jnp.asarray(CURRENTS), (num_steps, 1)), dt=dt, record="since_spike")
    return sol.outputs, sol.records["since_spike"]


def spikes_of(V_th, dt, **options):
    """The times of the spikes of each neuron, and how far after the last grid point they all are, in steps."""
    spikes, since = map(np.asarray, simulate(jnp.asarray(V_th), jnp.asarray(dt), round(DURATION / dt), **options))
    steps = [np.flatnonzero(lane) for lane in spikes.T]
    times = [(k + 1) * dt - since[k, lane].astype(float) for lane, k in enumerate(steps)]
    return times, 1 - since[spikes > 0].astype(float) / dt


@functools.cache
def reference(current, V_th):
    """The spike times of that neuron by SciPy, from its equations written in plain Python."""
    p = BRETTE_GERSTNER

    def slopes(t, y):
        V, w = min(y[0], V_th), y[1]
        upstroke = p["delta_T"] * math.exp((V - p["V_T"]) / p["delta_T"])
        leak = p["V_rest"] - y[0]
        return (p["gL"] * (leak + upstroke) - w + current) / p["C"], (p["a"] * (V - p["V_rest"]) - w) / p["tau_w"]

    crossing = lambda t, y: y[0] - V_th  # noqa: E731
    crossing.terminal, crossing.direction = True, 1.0
    y, t, times = [p["V_initializer"], 0.0], 0.0, []
    while True:
        found = solve_ivp(slopes, (t, DURATION), y, "DOP853", events=crossing, rtol=1e-10, atol=1e-10)
        if found.status == 0:
            return np.array(times)
        t = found.t[-1]
        times.append(t)
        y = [p["V_reset"], found.y[1, -1] + p["b"]]


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("V_th", [-45.0, 0.0, 20.0])
def test_spikes_are_as_often_near_a_grid_point_as_elsewhere(V_th, wide):
    with x64(wide):
        times, part = spikes_of(V_th, 0.1)
    assert min(map(len, times)) >= 1 and len(part) > 1500
    counts = np.histogram(part, 10, (0, 1))[0]
    assert counts.sum() == len(part)
    assert (np.abs(counts - len(part) / 10) < 5 * math.sqrt(len(part) / 10)).all()
    assert (np.minimum(part, 1 - part) < 1e-4).sum() <= 5  # 0.4 are to be expected


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
def test_spike_times_converge_to_those_of_scipy(wide):
    errors = []
    for dt in (0.1, 0.05):
        with x64(wide):
            times, _ = spikes_of(0.0, dt)
        for current, found in zip(CURRENTS[:12], times):
            assert len(found) == len(reference(current, 0.0)) >= 1
        errors.append([np.abs(found - reference(current, 0.0)).max() for current, found in zip(CURRENTS[:12], times)])
        assert max(errors[-1]) < 0.1 * dt
    means = np.mean(errors, axis=1)
    assert (means[1:] < 0.7 * means[:-1]).all()


def test_a_soft_reset_at_the_crossing_is_a_hard_one():
    hard, soft = (spikes_of(20.0, 0.1, spk_reset=reset)[0] for reset in ("hard", "soft"))
    for a, b in zip(hard, soft, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
def test_the_derivative_of_the_time_of_a_spike(wide):
    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def first_spike(current, dt):
        cell = ns.AdExIF((), spike_time="interpolated", **BRETTE_GERSTNER)

        def step(carry, i):
            state, time, done = carry
            state, spike = cell.step(state, current, dt=dt)
            fired = (spike > 0) & ~done
            return (state, jnp.where(fired, (i + 1) * dt - state.since_spike, time), done | fired), None

        start = cell.init_state(), jnp.zeros_like(current), jnp.asarray(False)
        return jax.lax.scan(step, start, jnp.arange(600))[0][1]

    currents, dt, h = np.linspace(0.8, 2.5, 20), 0.1, 1e-7
    with x64():
        expected = (first_spike(currents + h, dt) - first_spike(currents - h, dt)) / (2 * h)
    with x64(wide):
        tangents = jnp.ones_like(jnp.asarray(currents))
        _, found = jax.jvp(lambda currents: first_spike(currents, dt), (jnp.asarray(currents),), (tangents,))
    np.testing.assert_allclose(found, expected, rtol=1e-6 if wide else 1e-3)
    assert (np.abs(expected) > 1).all()

"""Every neuron under the transformations of JAX, beside the façade, and what its gradients see of a reset."""

from __future__ import annotations

import dataclasses
import functools

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns

from .helpers import x64
from .zoo import NEURONS, currents_for, name


DT = 0.1


@pytest.mark.parametrize(
    ("kind", "options"),
    [(kind, {"integrator": "rk2"} if kind is ns.HH else {}) for kind in NEURONS]
    + [(kind, {"spike_time": "interpolated", "tau_ref": 0.3}) for kind in (ns.LIF, ns.FitzHughNagumo)],
    ids=name,
)
def test_transformations_unwrapped(kind, options):
    cell, drive, dt = kind(3, **options), currents_for(kind, 40), 0.05
    step = functools.partial(cell.step, dt=dt)
    state, spikes = jax.lax.scan(step, cell.init_state(), drive)
    sol = ns.simulate(cell, drive, dt=dt)
    assert eqx.tree_equal((state, spikes), (sol.state, sol.outputs))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves((state, spikes)))

    @jax.jit
    def of_cell_and_state(cell, state):
        def run(cell, state):
            state = jax.lax.scan(lambda s, x: cell.step(s, x, dt=dt), state, drive)[0]
            return state.V.sum(), state

        gradient = jax.grad(run, argnums=(0, 1), has_aux=True)
        return jax.vmap(gradient, (None, 0))(cell, jax.tree.map(lambda x: jnp.stack([x, x]), state))

    (by_cell, by_state), lanes = of_cell_and_state(cell, cell.init_state())
    for lane in (0, 1):
        for x, y in zip(jax.tree.leaves(lanes), jax.tree.leaves(state), strict=True):
            np.testing.assert_allclose(x[lane], y, rtol=1e-4, atol=1e-4)
    assert jax.tree.structure(by_cell) == jax.tree.structure(cell)
    slopes = jax.tree.map(np.asarray, (by_cell, by_state))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(slopes))
    assert any(np.abs(x).max() > 0 for x in jax.tree.leaves(slopes[0]))


@pytest.mark.parametrize(
    ("kind", "wide"),
    [(kind, False) for kind in (*NEURONS, ns.LI)] + [(kind, True) for kind in (ns.CubaLIF, ns.AdExIF)],
    ids=name,
)
def test_the_facade_has_the_bits_of_the_core(kind, wide):
    options = {} if kind is ns.LI else {"tau_ref": 1.0}
    with x64(wide):
        cell, drive = kind(3, **options), currents_for(kind)
        sol = ns.simulate(cell, drive, dt=DT)
        stateful = ns.nn.init_all_states(ns.nn.Stateful(cell))
        with ns.environ.context(dt=DT * u.ms):
            spikes = ns.transform.for_loop(stateful, drive * cell.I_unit)
        assert spikes.dtype == sol.outputs.dtype and bool((u.get_mantissa(spikes) == sol.outputs).all())
        for key, value in vars(sol.state).items():
            if value is not None:
                ref = getattr(stateful, key)
                assert bool((u.get_mantissa(ref.value) == value).all())
                assert u.get_unit(ref.value) == (cell.state_unit(key) or u.UNITLESS)


@pytest.mark.parametrize(
    ("spk_reset", "detach_reset"), [("soft", False), ("soft", True), ("hard", False), ("hard", True), (None, False)]
)
@pytest.mark.parametrize("kind", [ns.IF, ns.LIF, ns.CubaLIF])
def test_what_of_a_reset_the_gradient_sees(kind, spk_reset, detach_reset):
    with x64():
        R, tau, V_th, V_reset, start = 1.5, 4.0, 1.0, -0.5, 1.3
        cell = kind(1, R=R, tau=tau, V_th=V_th, V_reset=V_reset, spk_reset=spk_reset, detach_reset=detach_reset)
        state = cell.init_state()

        def after(V, V_th, V_reset):
            changed = eqx.tree_at(lambda c: (c.V_th, c.V_reset), cell, (V_th, V_reset))
            return changed.step(state.with_(V=V[None]), 0.0, dt=DT)[0].V[0]

        found = np.array(jax.grad(after, (0, 1, 2))(*map(jnp.asarray, (start, V_th, V_reset))))
    x = (start - V_th) / (V_th - V_reset)
    slope = 0.0 if detach_reset else 0.3 * (1 - x)  # that of `ReluGrad`, of the spike with respect to x
    of_spike = slope * np.array([1.0, -1.0 - x, x]) / (V_th - V_reset)
    expected = {
        "soft": np.array([1.0, -1.0, 1.0]) - (V_th - V_reset) * of_spike,
        "hard": np.array([1.0, 0.0, 1.0]) - (start - V_reset) * of_spike,
        None: np.array([1.0, 0.0, 0.0]),
    }[spk_reset]
    decay = 1.0 if kind is ns.IF else np.exp(-DT / tau)
    np.testing.assert_allclose(found, decay * expected, rtol=1e-12, atol=1e-14)


def test_a_detached_reset_keeps_what_a_spike_does_to_the_adaptation():
    """The next `V` and `a`, by the `V` before, of a neuron above its threshold."""
    tau, tau_a, x = 5.0, 50.0, 0.2  # x above the threshold of 1
    for detach, of_reset in ((False, 0.3 * (1 - x)), (True, 0.0)):
        cell = ns.ALIF(1, tau=tau, tau_a=tau_a, beta=0.0, detach_reset=detach)
        state = dataclasses.replace(cell.init_state(), V=jnp.array([1 + x]))
        step = lambda V: cell.step(dataclasses.replace(state, V=V), 0.0, dt=1.0)[0]  # noqa: B023, E731
        slopes = jax.jacfwd(step)(state.V)
        decay, decay_a = np.exp(-1 / tau), np.exp(-1 / tau_a)
        np.testing.assert_allclose(slopes.V, [[decay * (1 - of_reset)]], rtol=1e-5)
        np.testing.assert_allclose(slopes.a, [[decay_a * 0.3 * (1 - x)]], rtol=1e-5)

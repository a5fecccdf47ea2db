"""Neurons whose upstroke goes to infinity stay finite, with their gradients, where the step is too long for them."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns
from neurostate.integrate import INTEGRATORS

from .zoo import CURRENTS, DIVERGING, name


STRENGTHS = np.array([-100.0, -1.0, 1.0, 3.0, 30.0, 1e3])
CASES = [(kind, reset, "grid") for kind in DIVERGING for reset in ("soft", "hard")]
CASES += [(kind, "hard", "interpolated") for kind in (ns.ExpIF, ns.AdExIF, ns.Izhikevich)]


def strong(kind):
    """Currents of all strengths, and one huge jump."""
    current = jnp.asarray(np.tile(CURRENTS[kind][2] * STRENGTHS, (60, 1)), jnp.float32)
    return ns.Drive(current=current, jump=jnp.zeros((60, 6)).at[30].set(200.0))


@pytest.mark.parametrize(("kind", "spk_reset", "spike_time"), CASES, ids=name)
def test_long_steps_and_strong_drives(kind, spk_reset, spike_time):
    @eqx.filter_jit
    def loss_and_gradient(cell, drive, dt):
        @eqx.filter_value_and_grad(has_aux=True)
        def loss(given):
            cell, drive = given
            step = lambda state, drive: cell.step(state, drive, dt=dt)  # noqa: E731
            state, spikes = jax.lax.scan(step, cell.init_state(), drive)
            return state.V.sum() + spikes.sum(), (state.V, spikes)

        return loss((cell, drive))

    cell = kind(6, spk_reset=spk_reset, spike_time=spike_time)
    for dt in (0.5, 1.0, 5.0):
        (_, (V, spikes)), found = loss_and_gradient(cell, strong(kind), jnp.asarray(dt))
        assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((V, found)))
        assert (np.asarray(spikes.sum(0))[3:] > 2).all()


@pytest.mark.parametrize("kind", DIVERGING, ids=name)
def test_long_steps_of_the_other_integrators(kind):
    cells = [kind(6, integrator=integrator) for integrator in INTEGRATORS]

    @jax.jit
    def run(drive, dt):
        def step(states, drive):
            steps = [cell.step(state, drive, dt=dt) for cell, state in zip(cells, states, strict=True)]
            return [state for state, _ in steps], [(state.V, spike) for state, spike in steps]

        return jax.lax.scan(step, [cell.init_state() for cell in cells], drive)[1]

    for dt in (0.5, 1.0):
        for V, _ in run(strong(kind), jnp.asarray(dt)):
            assert bool(jnp.isfinite(V[:, 1:]).all())

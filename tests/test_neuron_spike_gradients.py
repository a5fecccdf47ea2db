"""Gradients through spikes between grid points, against central differences and a closed form."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns

from .helpers import x64
from .zoo import RESETTING, UNSETTLED, gradient, name, without_effect


@pytest.mark.parametrize("kind", RESETTING, ids=name)
def test_through_interpolated_spikes(kind):
    options = {"spike_time": "interpolated", "tau_ref": 1.5} | UNSETTLED.get(kind, {})
    if kind not in (ns.LIF, ns.ALIF, ns.CubaLIF, ns.ExpIF):
        options |= {"integrator": "euler"}  # less to compile; their own integrators are tested above
    with x64():
        found = gradient(kind(1, **options), RESETTING[kind][2], 0.3)
    # Only what happens after the second spike or before the first, or to a neuron without such a thing.
    assert without_effect(found) <= {"V_th_reset", "tau_ref"}


@eqx.filter_jit
@jax.grad
def of_the_spike_time(values, dt):
    """The derivatives of the time of the second spike."""
    cell = ns.LIF(
        1, *values[:4], V_rest=values[4], V_initializer=values[5], spike_time="interpolated", tau_ref=values[6]
    )

    def step(carry, i):
        state, count, time = carry
        state, spike = cell.step(state, values[7], dt=dt)
        count = count + spike[0]
        time = jnp.where((count == 2) & (spike[0] > 0), (i + 1) * dt - state.since_spike[0], time)
        return (state, count, time), None

    return jax.lax.scan(step, (cell.init_state(), 0.0, 0.0), jnp.arange(400))[0][2]


@pytest.mark.parametrize("dt", [0.05, 0.3, 2.5])
def test_the_derivatives_of_a_spike_time_are_those_of_the_closed_form(dt):
    def closed_form(values):
        R, tau, V_th, V_reset, V_rest, V, tau_ref, current = values
        end = V_rest + R * current
        first, second = (tau * jnp.log((end - start) / (end - V_th)) for start in (V, V_reset))
        return first + tau_ref + second

    with x64():
        values = jnp.asarray([1.5, 6.0, 1.0, -0.3, 0.1, 0.2, 1.3, 0.9])
        expected = jax.grad(closed_form)(values)
        np.testing.assert_allclose(of_the_spike_time(values, jnp.asarray(dt)), expected, rtol=1e-9)

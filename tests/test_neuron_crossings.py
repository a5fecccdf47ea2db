"""Where the potential crosses the threshold: neurons without a reset against SciPy, and steps of any length."""

from __future__ import annotations

import equinox as eqx
import numpy as np
import pytest

import neurostate as ns

from .helpers import x64
from .zoo import UNRESET, reference, spikes_of


@pytest.mark.parametrize(
    ("kind", "integrator", "dt", "bound"),
    [
        (ns.HH, "rk4", 0.05, 0.01),
        (ns.HH, "exp4", 0.1, 0.3),
        (ns.WangBuzsakiHH, "rk4", 0.05, 0.3),
        (ns.MorrisLecar, "rk4", 0.1, 0.001),
        (ns.FitzHughNagumo, "rk4", 0.1, 0.001),
        (ns.HindmarshRose, "rk4", 0.1, 0.3),
    ],
)
def test_spikes_of_neurons_without_reset(kind, integrator, dt, bound):
    with x64():
        options = {"integrator": integrator}
        _, between = spikes_of(kind, UNRESET[kind], dt, spike_time="interpolated", **options)
        steps, _ = spikes_of(kind, UNRESET[kind], dt, **options)
        for current, found, on_grid in zip(UNRESET[kind], between, steps, strict=True):
            exact = reference(kind).crossings(current)
            assert len(found) == len(exact) >= 2
            assert np.abs(found - exact).max() < bound * dt  # for HH, ML, WB, FHN and HR after 200 ms
            assert (np.abs((on_grid + 1) * dt - exact - dt / 2) < (0.5 + bound) * dt).all()


@eqx.filter_jit
def lif_in_one_step(currents, dt, start, tau):
    cell = ns.LIF(5, tau=tau, V_initializer=start, spike_time="interpolated")
    return cell.step(cell.init_state(), currents, dt=dt)


@pytest.mark.parametrize("dt", [1e-3, 0.1, 1.0, 5.0, 50.0])
def test_the_time_of_a_crossing_in_one_step_of_any_length(dt):
    with x64():
        tau = 5.0
        parts = np.array([0.003, 0.2, 0.5, 0.99, 0.99999])
        currents = 1 + 10.0 ** np.arange(-2.0, 3.0)
        # From where it must start to reach 1 mV after that part of the step.
        start = currents + (1 - currents) * np.exp(parts * dt / tau)
        state, spikes = lif_in_one_step(currents, dt, start, tau)
        assert np.asarray(spikes).tolist() == [1.0] * 5
        np.testing.assert_allclose(
            dt - np.asarray(state.since_spike), parts * dt, rtol=1e-4 if dt > 5 else 1e-6, atol=1e-9 * dt
        )
        after = currents * (1 - np.exp(-np.asarray(state.since_spike) / tau))
        np.testing.assert_allclose(state.V, after, rtol=1e-9, atol=1e-9 * currents.max())

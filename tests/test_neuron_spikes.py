"""The spikes of the neurons with a reset against SciPy: with the reset on the grid, and in continuous time."""

from __future__ import annotations

import numpy as np
import pytest

import neurostate as ns

from .helpers import x64
from .zoo import BRETTE_GERSTNER, CURRENTS, RESETTING, name, reference, spikes_of


@pytest.mark.parametrize("kind", RESETTING, ids=name)
def test_spikes_on_the_grid(kind):
    dt = 0.1
    with x64():
        steps, times = spikes_of(kind, RESETTING[kind], dt)
        for current, found, at in zip(RESETTING[kind], steps, times, strict=True):
            assert len(found) >= 2
            assert found.tolist() == reference(kind).on_the_grid(current, dt)
            # Against continuous time a spike is late by up to one step more than the spike before it.
            exact = reference(kind).in_continuous_time(current, 0.0)
            late = (at - exact[: len(at)])[: len(exact)] / dt
            assert abs(len(at) - len(exact)) <= 1 and (0 <= late).all() and (late <= np.arange(len(late)) + 1).all()


@pytest.mark.parametrize("kind", RESETTING, ids=name)
def test_interpolated_spikes_of_neurons_with_reset(kind):
    exact_flow = kind in (ns.IF, ns.LIF, ns.ALIF, ns.CubaLIF, ns.QuaIF)
    with x64():
        refractory = (0.0, 0.0, 3.33)
        _, times = spikes_of(kind, RESETTING[kind], 0.1, spike_time="interpolated", tau_ref=refractory)
        for current, tau_ref, found in zip(RESETTING[kind], refractory, times, strict=True):
            exact = reference(kind).in_continuous_time(current, tau_ref)
            assert len(found) == len(exact) >= 2
            assert np.abs(found - exact).max() < (1e-6 if exact_flow else 0.02)


def test_interpolated_spikes_of_a_sharp_upstroke():
    with x64():
        _, times = spikes_of(ns.AdExIF, (0.7, 1.0, 1.7), 0.1, spike_time="interpolated", **BRETTE_GERSTNER)
        for current, found in zip((0.7, 1.0, 1.7), times, strict=True):
            exact = reference(ns.AdExIF, **BRETTE_GERSTNER).in_continuous_time(current, 0.0)
            assert len(found) == len(exact) >= 3 and np.abs(found - exact).max() < 0.2


def test_the_zoo_is_whole():
    public = {x for x in vars(ns.neuron).values() if isinstance(x, type) and issubclass(x, ns.AbstractNeuron)}
    elsewhere = {ns.TwoCompartment, ns.ODENeuron}  # which have tests of their own
    assert {x for x in public if not x.__name__.startswith("Abstract")} - elsewhere == set(CURRENTS)

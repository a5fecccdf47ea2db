"""Gradients through time against central differences, with respect to every parameter and initial state."""

from __future__ import annotations

import pytest

import neurostate as ns

from .helpers import x64
from .zoo import DIVERGING, RESETTING, UNRESET, UNSETTLED, gradient, name, without_effect


QUIET = {kind: 0.1 * currents[0] for kind, currents in RESETTING.items()} | {ns.LI: 0.5}
AT_RESETS = {"V_th", "V_reset", "V_th_inf", "V_th_reset", "tau_ref", "beta", "b", "c", "d", "R1", "R2", "A1", "A2"}


@pytest.mark.parametrize("kind", QUIET, ids=name)
def test_below_threshold(kind):
    far = {} if kind in (ns.LI, *DIVERGING) else {"V_th_initializer": 1e3} if kind is ns.Gif else {"V_th": 1e3}
    far |= {} if kind is ns.LI else {"spk_fun": ns.surrogate.heaviside}
    with x64():
        found = gradient(kind(1, **(UNSETTLED.get(kind, {}) | far)), QUIET[kind], 0.1)
    assert without_effect(found) <= AT_RESETS | {"a_initializer", "tau_a"}


@pytest.mark.parametrize("kind", UNRESET, ids=name)
def test_through_spikes_of_neurons_without_reset(kind):
    dt = 0.05 if kind in (ns.HH, ns.WangBuzsakiHH) else 0.1
    with x64():
        found = gradient(kind(1, **UNSETTLED.get(kind, {})), UNRESET[kind][1], dt)
    assert without_effect(found) == {"V_th"}

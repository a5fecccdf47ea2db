"""Receptors with kinetics against SciPy and closed forms."""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import neurostate as ns

from .helpers import x64
from .test_synapses import CASES, example, run


def reference(slope, y, arrive, T_dur, spikes, dt):
    """`y` after each step of `dt`, where a spike at the end of a step starts a pulse; solved piece by piece."""
    rows, until, solve = [], -1.0, functools.partial(solve_ivp, method="DOP853", rtol=1e-12, atol=1e-14)
    for step, spike in enumerate(spikes):
        start, end = step * dt, (step + 1) * dt
        cut = min(max(until, start), end)
        for a, b, there in ((start, cut, True), (cut, end, False)):
            if b - a > 1e-12:
                y = solve(lambda t, y: slope(y, there), (a, b), y).y[:, -1]
        if spike:
            y, until = arrive(y), end + T_dur
        rows.append(y[0])
    return np.array(rows)


def kinetics(cls, p):
    def receptor(y, there):
        return [p["alpha"] * p["T"] * there * (1 - y[0]) - p["beta"] * y[0]]

    def bio_nmda(y, there):
        g, x = y
        opening = p["alpha1"] * x * (1 - g) - p["beta1"] * g
        return [opening, p["alpha2"] * p["T"] * there * (1 - x) - p["beta2"] * x]

    def nmda(y, there):
        g, x = y
        return [-g / p["tau_decay"] + p["alpha"] * x * (1 - g), -x / p["tau_rise"]]

    slope = {ns.AMPA: receptor, ns.GABAa: receptor, ns.BioNMDA: bio_nmda, ns.NMDA: nmda}[cls]
    y = np.array([p[name] for name in ("g_initializer", "x_initializer") if name in p])
    return slope, y, (lambda y: y + np.array([0.0, 1.0])) if cls is ns.NMDA else lambda y: y, p.get("T_dur", 0.0)


@pytest.mark.parametrize(("dt", "bound"), [(0.1, 1e-11), (1.0, 1e-11), (4.0, 1e-6)])
@pytest.mark.parametrize("cls", [ns.AMPA, ns.GABAa, ns.BioNMDA, ns.NMDA])
def test_receptors_against_scipy(cls, dt, bound):
    # Pulses end within steps, last over several, and start again before they end.
    spikes = np.array([[1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0]]).T
    with x64():
        cell = example(cls)
        out = np.asarray(run(cell, cell.init_state(), jnp.asarray(spikes), dt)[1])
    for i in range(2):
        p = {name: np.broadcast_to(value, 2)[i] for name, value in CASES[cls][0].items()}
        bound = bound if cls in (ns.BioNMDA, ns.NMDA) else 1e-11
        np.testing.assert_allclose(out[:, i], reference(*kinetics(cls, p), spikes[:, i], dt), rtol=0, atol=bound)
    assert 0 <= np.min(out) and np.max(out) < 1


def test_receptors_at_any_step_are_the_closed_form():
    """One pulse of 0.73 ms from the end of the first step, seen after 6.5 ms in steps that do not fit into it."""
    with x64():
        for dt in (0.1, 0.65, 6.5):
            xs = jnp.zeros((round(6.5 / dt) + 1, 1)).at[0].set(1.0)
            cell = ns.AMPA(1, alpha=0.98, beta=0.18, T=0.5, T_dur=0.73)
            rate = 0.98 * 0.5 + 0.18
            peak = 0.98 * 0.5 / rate * -math.expm1(-rate * 0.73)
            final, out = run(cell, cell.init_state(), xs, dt)
            np.testing.assert_allclose(out[-1], peak * math.exp(-0.18 * (6.5 - 0.73)), rtol=1e-12)
            assert float(out[0, 0]) == 0.0 and abs(float(final.pulse[0])) < 1e-12


@pytest.mark.parametrize("cls", [ns.AMPA, ns.GABAa, ns.BioNMDA, ns.NMDA])
@pytest.mark.parametrize("wide", [True, False])
def test_receptors_saturate(cls, wide):
    with x64(wide):
        cell = cls(3)
        spikes = np.zeros((20000, 3))
        for i, period in enumerate((1000, 100, 5)):
            spikes[::period, i] = 1  # 10, 100 and 2000 Hz
        out = np.asarray(run(cell, cell.init_state(), jnp.asarray(spikes), 0.1)[1], float)
    low, middle, high = out[10000:].mean(0)
    # Ten times as many spikes open fewer than ten times as many receptors, and no more than there are.
    assert 0 < low < middle < high <= 1 and middle < 10 * low and high < 10 * middle and np.max(out) <= 1
    if cls is ns.NMDA:
        assert high > 0.99
    if cls in (ns.AMPA, ns.GABAa):  # transmitter all the time
        opening = float(cell.alpha * cell.T)
        assert high == pytest.approx(opening / (opening + float(cell.beta)), rel=1e-5)


@pytest.mark.parametrize("x", [1.0, 10.0, 100.0, 10000.0])
def test_nmda_receptors_saturate_whatever_arrives(x):
    """So many spikes in each step, up to far more than there can be."""
    dt, y, expected = 0.1, np.array([0.2, 0.0]), []
    slope = lambda t, y: [-y[0] / 100 + 0.5 * y[1] * (1 - y[0]), -y[1] / 2]  # noqa: E731
    for _ in range(30):
        y = solve_ivp(slope, (0.0, dt), y, method="Radau", rtol=1e-10, atol=1e-13).y[:, -1] + np.array([0.0, x])
        expected.append(y[0])
    for wide in (True, False):
        with x64(wide):
            cell = ns.NMDA(1, g_initializer=0.2)
            out = np.asarray(ns.simulate(cell, jnp.full((30, 1), x), dt=dt).outputs[:, 0])
        np.testing.assert_allclose(out, expected, rtol=0, atol=5e-6 if x > 10 else 1e-11 if wide else 1e-6)
        assert out.min() >= 0.19 and out.max() <= 1

"""Neurons in continuous time, against closed forms, SciPy, and the same cells with a fixed step."""

from __future__ import annotations

import sys

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import neurostate as ns

from .helpers import x64


diffrax = pytest.importorskip("diffrax")


def times_of(sol, k=0):
    times = np.asarray(sol.spike_times)[:, k]
    return times[np.isfinite(times)]


def leak(t, start, end, tau):
    return end + (start - end) * np.exp(-np.asarray(t) / tau)


TAU = np.array([5.0, 6.0, 7.0])


@pytest.mark.parametrize(("spk_reset", "tau_ref"), [("soft", None), ("hard", 2.3)])
def test_leaky_neurons_are_their_closed_form(spk_reset, tau_ref):
    ts, current = np.linspace(0.0, 50.0, 11), 1.7
    with x64():
        cell = ns.LIF(3, tau=TAU, V_reset=-0.2, spk_reset=spk_reset, tau_ref=tau_ref, V_initializer=-0.2)
        sol = ns.solve_adaptive(cell, current, 50.0, ts=ts * u.ms)
        assert ns.quantity(sol, "spike_times").unit == u.ms and sol.V.shape == (11, 3)
        assert sol.state.V.shape == (3,) and (sol.state.refractory is None) == (tau_ref is None)
    rest = tau_ref or 0.0
    period = TAU * np.log((current + 0.2) / (current - 1.0))
    for k, tau in enumerate(TAU):
        expected = period[k] + np.arange(64) * (period[k] + rest)
        expected = expected[expected < 50.0]
        np.testing.assert_allclose(times_of(sol, k), expected, rtol=0, atol=1e-10)
        since = [t - max([s + rest for s in expected if s <= t], default=0.0) for t in ts]
        np.testing.assert_allclose(sol.V[:, k], leak(np.maximum(since, 0.0), -0.2, current, tau), rtol=0, atol=1e-9)


@pytest.mark.parametrize("as_function", [False, True])
def test_conductances_and_jumps_of_the_drive(as_function):
    # C dV/dt = -V + 1.4 + g (E - V) from 7.3 ms on: a faster approach to another end.
    ts = np.array([3.0, 7.3, 8.0, 12.0])
    g, E = 0.5, 3.0
    on = lambda t: ns.Drive(current=1.4 * u.mA, g=jnp.where(t > 7.3, g, 0.0), E=E * u.mV)  # noqa: E731
    with x64():
        cell = ns.LIF((1, 2), tau=5.0, V_th=50.0)
        if as_function:
            sol = ns.solve_adaptive(cell, on, 12.0, ts=ts, jump_ts=7.3, state=cell.init_state((2,)))
            assert sol.V.shape == (4, 2, 1, 2) and sol.state.V.shape == (2, 1, 2)
            before = leak(ts, 0.0, 1.4, 5.0)
            after = leak(ts - 7.3, leak(7.3, 0.0, 1.4, 5.0), (1.4 + g * E) / (1 + g), 5.0 / (1 + g))
            expected = np.where(ts <= 7.3, before, after)
        else:
            sol = ns.solve_adaptive(cell, ns.Drive(current=1.4, g=g, E=E), 12.0, ts=ts)
            expected = leak(ts, 0.0, (1.4 + g * E) / (1 + g), 5.0 / (1 + g))
        V = np.asarray(sol.V).reshape(4, -1)
        np.testing.assert_allclose(V, np.tile(expected[:, None], V.shape[1]), rtol=0, atol=1e-9)


def test_an_upstroke_against_scipy_in_coordinates_where_it_is_slow():
    # With z = exp(-(V - V_T) / delta_T) the upstroke is a straight line.
    C, gL, EL, a, tau_w, b, V_reset, current = 100.0, 12.0, -60.0, -11.0, 130.0, 30.0, -48.0, 160.0

    def slope(t, y):
        V = -50.0 - 2.0 * np.log(max(y[0], 1e-300))
        return [-y[0] / (2 * C) * (-gL * (V - EL) - y[1] + current) - gL / C, (a * (V - EL) - y[1]) / tau_w]

    peak = lambda t, y: y[0] - np.exp(-25.0)  # noqa: E731  # V = 0
    peak.terminal, peak.direction = True, -1
    t, y, expected = 0.0, [np.exp(5.0), 0.0], []
    while True:
        part = solve_ivp(slope, (t, 100.0), y, method="DOP853", rtol=1e-12, atol=1e-13, events=peak)
        if not part.t_events[0].size:
            break
        t, (_, w) = part.t_events[0][0], part.y_events[0][0]
        y, expected = [np.exp(-1.0), w + b], [*expected, t]
    with x64():
        cell = ns.AdExIF(
            1,
            C=C * u.pF,
            gL=gL * u.nS,
            tau_w=tau_w * u.ms,
            a=a * u.nS,
            b=b * u.pA,
            V_th=0.0 * u.mV,
            V_reset=V_reset * u.mV,
            V_rest=EL * u.mV,
            V_T=-50.0 * u.mV,
            delta_T=2.0 * u.mV,
            V_initializer=EL * u.mV,
        )
        sol = ns.solve_adaptive(cell, current * u.pA, 100.0)
    assert len(expected) > 5
    np.testing.assert_allclose(times_of(sol), expected, rtol=0, atol=1e-6)


def test_a_neuron_without_reset_spikes_where_it_crosses_from_below():
    def slope(t, y):
        return [y[0] - y[0] ** 3 / 3 - y[1] + 0.5, (y[0] + 0.7 - 0.8 * y[1]) / 12.5]

    up = lambda t, y: y[0] - 1.0  # noqa: E731
    up.direction = 1
    crossings = solve_ivp(slope, (0, 200), [-1.2, -0.62], method="DOP853", rtol=1e-12, atol=1e-12, events=up)
    expected = crossings.t_events[0]
    with x64():
        every = ns.solve_adaptive(ns.FitzHughNagumo(1), 0.5, 200.0)
        some = ns.solve_adaptive(ns.FitzHughNagumo(1, tau_ref=50.0), 0.5, 200.0)
    assert len(expected) == 5
    np.testing.assert_allclose(times_of(every), expected, rtol=0, atol=1e-8)
    # In the refractory period it moves on, but the crossings do not count.
    np.testing.assert_allclose(times_of(some), expected[::2], rtol=0, atol=1e-8)
    assert 0 < float(some.state.refractory[0]) < 50.0


def lif_from_equations(size, **options):
    return ns.ODENeuron(
        size,
        lambda y, x, p: {"V": (x * p.R - y.V) / p.tau},
        initial={"V": 0.0 * u.mV},
        threshold=1.0 * u.mV,
        reset=lambda y, p: {"V": y.V - 1.0 * u.mV},
        parameters={"R": 1.0 * u.ohm, "tau": 5.0 * u.ms},
        **options,
    )


@pytest.mark.parametrize(
    ("make", "current", "dt", "within"),
    [
        (ns.LIF, 1.7, 0.1, 1e-9),
        (lif_from_equations, 1.7, 0.1, 1e-9),
        (lambda n, **o: ns.LIF(n, tau_ref=1.7, **o), 1.7, 0.1, 1e-9),
        (lambda n, **o: ns.TwoCompartment(n, C_d=0.2, tau_ref=1.3, **o), 0.8, 0.25, 1e-8),
        (lambda n, **o: ns.Izhikevich(n, integrator="rk4", **o), 10.0, 0.02, 0.02),
        (lambda n, **o: ns.FitzHughNagumo(n, integrator="rk4", **o), 0.5, 0.02, 1e-5),
    ],
)
def test_cells_with_interpolated_spikes_go_there(make, current, dt, within):
    num_steps = round(100.0 / dt)
    with x64():
        cell = make(1, spike_time="interpolated")
        sol = ns.simulate(cell, jnp.full((num_steps, 1), current), dt=dt, record="since_spike")
        at = np.flatnonzero(np.asarray(sol.outputs)[:, 0])
        found = (at + 1) * dt - np.asarray(sol.records["since_spike"])[at, 0]
        reference = ns.solve_adaptive(cell, current, 100.0, ts=100.0)
        since = float(reference.state.since_spike[0])
    expected = times_of(reference)
    assert len(found) == len(expected) > 2
    np.testing.assert_allclose(found, expected, rtol=0, atol=within)
    assert since == pytest.approx(100.0 - expected[-1])


def test_another_solver_and_a_start_above_the_threshold():
    with x64():
        cell = ns.LIF(1, tau=5.0, spk_reset="hard", V_initializer=3.0)
        sol = ns.solve_adaptive(cell, 1.7, 20.0, ts=[0.0, 20.0], solver=diffrax.Tsit5(), rtol=1e-9, atol=1e-9)
    period = 5.0 * np.log(1.7 / 0.7)
    np.testing.assert_allclose(times_of(sol), period * np.arange(1, 5), rtol=0, atol=1e-7)
    assert float(sol.V[0, 0]) == 0.0


def test_a_jump_of_the_state_is_solved_on_from_there():
    with x64():
        cell = ns.LIF(1, tau=5.0)
        first = ns.solve_adaptive(cell, 0.5, 4.0)
        second = ns.solve_adaptive(cell, 0.5, 4.0, state=first.state.with_(V=first.state.V + 0.2))
        expected = leak(4.0, leak(4.0, 0.0, 0.5, 5.0) + 0.2, 0.5, 5.0)
    np.testing.assert_allclose(second.state.V, expected, atol=1e-10)
    assert not times_of(second).size


@pytest.mark.parametrize(
    ("solve", "error", "message"),
    [
        (lambda: ns.solve_adaptive(ns.LI(1), 1.0, 5.0), TypeError, "given by differential equations, got .* LI"),
        (lambda: ns.solve_adaptive(ns.LIF(1), 1.0, 5.0 * u.mV), ns.UnitError, "`t1` of `solve_adaptive`"),
        (lambda: ns.solve_adaptive(ns.LIF(1), 1.0 * u.mV, 5.0), ns.UnitError, "`current` of `solve_adaptive"),
        (lambda: ns.solve_adaptive(ns.LIF(1), ns.Drive(jump=1.0), 5.0), ValueError, "must be without `jump`"),
        (lambda: ns.solve_adaptive(ns.LIF(1), 1.0, 5.0, solver="Tsit5"), TypeError, "`solver` .* Runge-Kutta"),
        (lambda: ns.solve_adaptive(ns.LIF(1), 2.0, 20.0, max_spikes=2), eqx.EquinoxRuntimeError, "`max_spikes`"),
        (
            lambda: ns.solve_adaptive(ns.LIF(1), 2.0, 20.0, max_steps=9, max_spikes=2),
            eqx.EquinoxRuntimeError,
            "`max_steps`",
        ),
    ],
)
def test_what_is_refused(solve, error, message):
    with x64(), pytest.raises(error, match=message):
        solve()


def test_single_precision_needs_loose_tolerances():
    with pytest.raises(ValueError, match="rtol=1e-10 .* float32 cannot resolve.*jax_enable_x64"):
        ns.solve_adaptive(ns.LIF(1), 1.7, 5.0)
    sol = ns.solve_adaptive(ns.LIF(1), 1.7, 5.0, rtol=1e-5, atol=1e-5)
    assert sol.spike_times.dtype == jnp.float32
    np.testing.assert_allclose(times_of(sol), [5.0 * np.log(1.7 / 0.7)], rtol=1e-4)


def test_without_diffrax_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with x64(), pytest.raises(ImportError, match=r'pip install "neurostate\[diffrax\]"'):
        ns.solve_adaptive(ns.LIF(1), 1.7, 5.0)


def test_inside_transforms():
    with x64():

        def last(current):
            return ns.solve_adaptive(ns.LIF(1, tau=5.0), current, 10.0).spike_times[0, 0]

        currents = jnp.asarray([1.5, 2.0])
        np.testing.assert_allclose(jax.jit(jax.vmap(last))(currents), 5 * np.log(currents / (currents - 1)), atol=1e-10)

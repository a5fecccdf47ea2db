"""Two compartments and gap junctions: exact where they are linear, stable at any step, nothing lost on the way."""

from __future__ import annotations

import functools

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp

import neurostate as ns

from .helpers import x64


VALUES = {"C": 0.1, "gL": 0.01, "EL": -70.0, "C_d": 0.2, "gL_d": 0.004, "EL_d": -66.0, "g_c": 0.02}


def relaxed(start, t, p, I=0.0, I_d=0.0, g=0.0, E=0.0):  # noqa: E741
    """Soma and dendrite after `t`, by the eigenvectors of the equations, in extended precision."""
    wide = lambda *x: [np.longdouble(value) for value in x]  # noqa: E731
    C, C_d, gL, gL_d, g_c, g, t = wide(p["C"], p["C_d"], p["gL"], p["gL_d"], p["g_c"], g, t)
    a, b, c, d = -(gL + g + g_c) / C, g_c / C, g_c / C_d, -(gL_d + g_c) / C_d
    root = np.sqrt(((a - d) / 2) ** 2 + b * c)
    one, other = (a + d) / 2 + root, (a + d) / 2 - root
    F = np.array([a * start[0] + b * start[1], c * start[0] + d * start[1]])
    F += np.array([(gL * p["EL"] + g * E + I) / C, (gL_d * p["EL_d"] + I_d) / C_d])
    grown = [np.expm1(x * t) / x if x * t < -1e-15 else t for x in (one, other)]
    if root == 0:  # then the two do not act on each other
        return np.array(start + grown[0] * F, float)
    part = (np.array([[a, b], [c, d]]) @ F - other * F) / (one - other)
    return np.array(start + grown[0] * part + grown[1] * (F - part), float)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"g_c": 0.0},
        {"g_c": 0.0, "C_d": 0.1, "gL_d": 0.01},  # equal rates: the eigenvalues coincide
        {"C_d": 0.1, "gL_d": 0.01},
        {"g_c": 1.0},
        {"g_c": 1e4},
        {"g_c": 0.0, "gL": 0.0, "gL_d": 0.0},  # nothing but the drive
        {"gL": 0.0, "gL_d": 0.0},
    ],
)
def test_it_is_the_closed_form_at_any_step(changed):
    p = VALUES | changed
    start = (-61.0, -75.0)
    with x64():
        cell = ns.TwoCompartment(1, **p, V_th=1e6, V_initializer=start[0], V_d_initializer=start[1])
        for dt in (0.01, 1.0, 300.0):
            drive = ns.Drive(current=0.3, g=0.005, E=-10.0), 0.1
            state, spike = eqx.filter_jit(cell.step)(cell.init_state(), drive, dt=jnp.asarray(dt))
            expected = relaxed(start, dt, p, I=0.3, I_d=0.1, g=0.005, E=-10.0)
            scale = max(100.0, np.abs(expected).max())
            within = 1e-12 * max(1.0, p["g_c"])  # where coupling and leak are 1e6 apart, six digits go
            np.testing.assert_allclose([state.V[0], state.V_d[0]], expected, rtol=0, atol=within * scale)
            assert float(spike[0]) == 0.0


def test_long_steps_stay_bounded_in_single_precision():
    cell = ns.TwoCompartment(3, g_c=jnp.asarray([1e-6, 1.0, 1e2]), V_th=1e3, V_initializer=-20.0)
    sol = ns.simulate(cell, jnp.zeros((20, 3)), dt=50.0, record=("V", "V_d"))
    assert sol.records["V"].dtype == jnp.float32
    for V in sol.records.values():
        assert bool((V <= -19.9).all() and (V >= -70.1).all())
    np.testing.assert_allclose(sol.records["V"][-1], -70.0, atol=0.01)


def plain_loop(p, currents, dt, V_th, V_reset, tau_ref, jump):
    """Reset, relax (with the soma held in a refractory period), jump, spike."""
    V, V_d, left, fired, out = p["EL"], p["EL_d"], -1, False, []
    steps = round(tau_ref / dt) - 1
    for I, I_d in currents:  # noqa: E741
        if fired:
            V, left = V_reset, steps
        held = left > 0
        if held:
            rate = (p["gL_d"] + p["g_c"]) / p["C_d"]
            end = (p["gL_d"] * p["EL_d"] + p["g_c"] * V + I_d) / (p["gL_d"] + p["g_c"])
            V_d = end + (V_d - end) * np.exp(-rate * dt)
        else:
            V, V_d = relaxed((V, V_d), dt, p, I=I, I_d=I_d)
        V_d += jump
        fired = not held and V >= V_th
        left = left - 1 if held else -1
        out.append((V, V_d, fired))
    return np.array(out).T


def test_spikes_refractoriness_and_dendritic_drive_against_a_plain_loop():
    dt, currents = 0.25, np.random.default_rng(0).uniform(0.0, 1.0, (400, 2))
    expected = plain_loop(VALUES, currents, dt, -50.0, -60.0, 2.0, 0.05)
    with x64():
        cell = ns.TwoCompartment(1, **VALUES, tau_ref=2.0, V_initializer=-70.0, V_d_initializer=-66.0)
        soma, dendrite = (jnp.asarray(currents[:, [k]]) for k in range(2))
        drive = soma, ns.Drive(current=dendrite, jump=jnp.full((400, 1), 0.05))
        sol = ns.simulate(cell, drive, dt=dt, record=("V", "V_d"), state=cell.init_state())
        np.testing.assert_array_equal(np.asarray(sol.outputs)[:, 0], expected[2])
        np.testing.assert_allclose(np.asarray(sol.records["V"])[:, 0], expected[0], rtol=1e-11)
        np.testing.assert_allclose(np.asarray(sol.records["V_d"])[:, 0], expected[1], rtol=1e-11)
        assert 10 < expected[2].sum() < 100

        implicit = ns.nn.init_all_states(ns.nn.Stateful(cell))
        with ns.environ.context(dt=dt * u.ms):
            out = ns.transform.for_loop(lambda i, I_d: implicit((i, ns.Drive(current=I_d, jump=0.05))), soma, dendrite)
        assert bool((out == sol.outputs).all()) and implicit.V_d.value.unit == u.mV


def test_an_exponential_soma_is_of_second_order():
    p = VALUES | {"delta_T": 3.0, "V_T": -55.0}

    def slope(t, y):
        up = p["gL"] * 3.0 * np.exp((y[0] + 55.0) / 3.0)
        V = -p["gL"] * (y[0] - p["EL"]) + up + p["g_c"] * (y[1] - y[0]) + 0.15
        return [V / p["C"], (-p["gL_d"] * (y[1] - p["EL_d"]) + p["g_c"] * (y[0] - y[1])) / p["C_d"]]

    exact = solve_ivp(slope, (0, 20), [-70.0, -70.0], method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    errors = []
    with x64():
        cell = ns.TwoCompartment(1, **p, V_th=0.0)
        for dt in (0.4, 0.2, 0.1):
            end = ns.simulate(cell, jnp.full((round(20 / dt), 1), 0.15), dt=dt).state
            errors.append(np.hypot(float(end.V[0]) - exact[0], float(end.V_d[0]) - exact[1]))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (orders > 1.9).all() and errors[-1] < 1e-3


@functools.partial(jax.jit, static_argnums=1)
def gradients(points, names):
    def loss(values):
        cell = ns.TwoCompartment(1, **dict(zip(names, values)), V_th=1e3)
        state, _ = cell.step(cell.init_state(), 0.2, dt=2.0)
        state, _ = cell.step(state, 0.1, dt=3.0)
        return (state.V**2 + 2 * state.V_d**2).sum()

    return jax.lax.map(jax.value_and_grad(loss), points)


@pytest.mark.parametrize("g_c", [0.02, 0.0])
def test_gradients_of_every_parameter(g_c):
    p = VALUES | {"g_c": g_c, "C_d": 0.1, "gL_d": 0.01, "EL_d": -70.0}  # equal compartments
    names = [*p, "V_initializer", "V_d_initializer"]
    with x64():
        values = np.array([*p.values(), -60.0, -72.0])
        steps = 1e-5 * np.maximum(np.abs(values), 0.1)
        points = values + np.concatenate([np.zeros((1, len(values))), *(n * np.diag(steps) for n in (-1, 1, 2))])
        found, slopes = jax.tree.map(np.asarray, gradients(points, tuple(names)))
        value, (back, once, twice) = found[0], found[1:].reshape(3, -1)
        expected = (once - back) / (2 * steps)
        if g_c == 0.0:  # not negative
            k = names.index("g_c")
            expected[k] = (4 * once[k] - 3 * value - twice[k]) / (2 * steps[k])
        np.testing.assert_allclose(slopes[0], expected, rtol=1e-5)


def test_units_and_what_is_refused():
    for options in ({}, {"delta_T": 2.0, "V_T": -50.0}):
        ns.check_units(ns.TwoCompartment(2, V_th=-40.0, **options))
    cell = ns.TwoCompartment(1, g_c=2.0 * u.nS)
    assert cell.I_unit == u.pA and ns.quantity(cell, "C_d").unit == u.pF
    with pytest.raises(ValueError, match="both `delta_T` and `V_T`"):
        ns.TwoCompartment(1, delta_T=2.0)
    with pytest.raises(ValueError, match="`g_c` of `TwoCompartment` must not be negative"):
        ns.TwoCompartment(1, g_c=-1.0)
    with pytest.raises(ns.UnitError, match="`current` of `TwoCompartment.step`"):
        cell.step(cell.init_state(), (0.0, 1.0 * u.mV), dt=0.1)


# Gap junctions


def matrix(count, seed=0):
    g = np.random.default_rng(seed).uniform(0.0, 1.0, (count, count))
    return (g + g.T) / 2


COUPLINGS = {
    "all to all": (0.3, 2.0),
    "matrix": (matrix(5), 2.0),
    "unlike": (matrix(5, 1), np.random.default_rng(2).uniform(0.5, 3.0, 5)),
    "all to all, unlike": (0.3, np.random.default_rng(2).uniform(0.5, 3.0, 5)),
}


def rates(g, C):
    """The matrix of dV/dt = A V for the coupling alone."""
    g = np.broadcast_to(g, (5, 5)) * (1 - np.eye(5))
    return (g - np.diag(g.sum(axis=1))) / np.broadcast_to(C, 5)[:, None]


@pytest.mark.parametrize("strength", [1.0, 1e3, 1e8])
@pytest.mark.parametrize("name", COUPLINGS)
def test_the_coupling_is_exact_conserves_charge_and_never_diverges(name, strength):
    g, C = COUPLINGS[name]
    V = np.random.default_rng(3).normal(-60.0, 10.0, (2, 5))
    with x64():
        cell = ns.GapCoupled(ns.LIF(5), strength * g, C)
        mixed = np.asarray(cell.mixed(jnp.asarray(V), 0.1))
    if strength < 1e4:
        expected = V @ scipy.linalg.expm(0.1 * strength * rates(g, C)).T
        np.testing.assert_allclose(mixed, expected, rtol=0, atol=1e-11)
    currents = np.broadcast_to(C, 5) * (mixed - V) / 0.1
    np.testing.assert_allclose(currents.sum(axis=1) / np.abs(currents).sum(axis=1), 0.0, atol=1e-12)
    weights = np.broadcast_to(C, 5) / np.broadcast_to(C, 5).sum()
    if strength > 1.0:  # all at their common mean
        np.testing.assert_allclose(mixed, np.repeat((V @ weights)[:, None], 5, axis=1), rtol=1e-6)
    assert mixed.max() <= V.max() and mixed.min() >= V.min()


def test_where_an_explicit_step_diverges():
    g, C, dt = COUPLINGS["matrix"][0] * 1e4, 2.0, 0.1
    start = np.linspace(-70.0, -55.0, 5)
    explicit = start + dt * rates(g, C) @ start
    for _ in range(20):
        explicit = explicit + dt * rates(g, C) @ explicit
    assert np.abs(explicit).max() > 1e6
    with x64():
        lif = ns.LIF(5, R=1.0, tau=C, V_rest=-65.0, V_reset=-66.0, V_th=-50.0, V_initializer=start)
        sol = ns.simulate(ns.GapCoupled(lif, g, C), jnp.zeros((20, 5)), dt=dt, record="V")
        V = np.asarray(sol.records["V"])
    np.testing.assert_allclose(V.std(axis=1), 0.0, atol=1e-9)
    t = dt * np.arange(1, 21)
    np.testing.assert_allclose(V.mean(axis=1), -65.0 + (start.mean() + 65.0) * np.exp(-t / C), rtol=1e-12)


def test_neurons_and_coupling_together_are_of_second_order():
    g, C = COUPLINGS["unlike"]
    current, start = np.linspace(0.0, 3.0, 5), np.linspace(-3.0, 3.0, 5)
    whole = np.zeros((6, 6))  # with the constant as one more variable
    whole[:5, :5] = rates(g, C) - np.diag(1.0 / C)
    whole[:5, 5] = current / C
    exact = (scipy.linalg.expm(2.0 * whole) @ [*start, 1.0])[:5]
    errors = []
    with x64():
        cell = ns.GapCoupled(ns.LIF(5, R=1.0, tau=C, V_th=50.0, V_initializer=start), g, C)
        for count in (10, 20, 40):
            end = ns.simulate(cell, jnp.tile(jnp.asarray(current), (count, 1)), dt=2.0 / count).state.V
            errors.append(float(jnp.abs(end - exact).max()))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert ((orders > 1.9) & (orders < 2.1)).all() and errors[-1] < 1e-3


@pytest.mark.parametrize("tau_ref", [None, 1.0])
def test_spikes_against_a_plain_loop(tau_ref):
    g, C, dt = COUPLINGS["unlike"][0] * 0.2, COUPLINGS["unlike"][1], 0.25
    currents = np.random.default_rng(4).uniform(0.0, 5.0, (200, 5))
    half, decay = scipy.linalg.expm(dt / 2 * rates(g, C)), np.exp(-dt / C)
    V, fired, left, expected = np.zeros(5), np.zeros(5, bool), np.full(5, -1), []
    for current in currents:
        V = np.where(fired, V - 1.0, V)
        left = np.where(fired & (tau_ref is not None), 3, left)
        held = left > 0
        mid = np.where(held, V, half @ V)
        mid = np.where(held, V, current + (mid - current) * decay)
        V = np.where(held, V, half @ mid)
        fired = (V >= 1.0) & ~held
        left = np.where(held, left - 1, -1)
        expected.append(fired)
    with x64():
        lif = ns.LIF((5, 1), R=1.0, tau=C[:, None], tau_ref=tau_ref)
        cell = ns.GapCoupled(lif, g, C[:, None])
        sol = ns.simulate(cell, jnp.asarray(currents)[..., None], dt=dt)
        np.testing.assert_array_equal(np.asarray(sol.outputs)[..., 0], expected)
        np.testing.assert_allclose(np.asarray(sol.state.V)[:, 0], V, rtol=1e-10)
        assert 100 < np.sum(expected) < 800

        implicit = ns.nn.init_all_states(ns.nn.Stateful(cell), batch_size=2)
        with ns.environ.context(dt=dt * u.ms):
            out = ns.transform.for_loop(implicit, jnp.tile(jnp.asarray(currents)[:, None, :, None], (1, 2, 1, 1)))
        assert out.shape == (200, 2, 5, 1) and bool((out[:, 1] == sol.outputs).all())
        assert {"g", "C", "cell.tau"} <= set(implicit.states(ns.ParamState))


def test_gradients_of_the_coupling():
    with x64():
        lif = ns.LIF(5, R=1.0, tau=2.0, V_th=50.0, V_initializer=jnp.linspace(-3.0, 3.0, 5))

        def loss(g, C):
            cell = eqx.tree_at(lambda c: (c.g, c.C), ns.GapCoupled(lif, matrix(5), jnp.ones(5)), (g, C))
            return (cell.step(cell.init_state(), 1.0, dt=0.5)[0].V ** 3).sum()

        h, signs = 1e-5, np.array([0.0, 1.0, -1.0, 0.0, 0.0])
        g, C = np.stack([matrix(5)] * 5), np.stack([np.linspace(1.0, 2.0, 5)] * 5)
        g[:, 1, 3] += h * signs
        C[:, 2] += h * signs[[0, 3, 4, 1, 2]]
        run = jax.jit(lambda *points: jax.lax.map(lambda x: jax.value_and_grad(loss, (0, 1))(*x), points))
        values, (by_g, by_C) = jax.tree.map(np.asarray, run(g, C))
        np.testing.assert_allclose(by_g[0, 1, 3], (values[1] - values[2]) / (2 * h), rtol=1e-6)
        np.testing.assert_allclose(by_g[0], by_g[0].T, rtol=1e-9)
        np.testing.assert_allclose(by_C[0, 2], (values[3] - values[4]) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ns.GapCoupled(ns.LI(2), 1.0, 1.0), TypeError, "`cell` of `GapCoupled` must be a neuron"),
        (lambda: ns.GapCoupled(ns.LIF(2), 1.0 * u.mV, 1.0), ns.UnitError, "`g` of `GapCoupled`"),
        (lambda: ns.GapCoupled(ns.LIF(2), 1.0, 1.0 * u.mV), ns.UnitError, "`C` of `GapCoupled`"),
        (lambda: ns.GapCoupled(ns.LIF(2), 1.0, 0.0), ValueError, "`C` of `GapCoupled` must be positive"),
        (lambda: ns.GapCoupled(ns.LIF(2), np.eye(3), 1.0), ValueError, "`g` of `GapCoupled` has the shape"),
        (lambda: ns.GapCoupled(ns.LIF(2), [[0.0, 1.0], [2.0, 0.0]], 1.0), ValueError, "symmetric matrix .* both ways"),
        (lambda: ns.GapCoupled(ns.LIF(2, spike_time="interpolated"), 1.0, 1.0), ValueError, "spike_time='grid'"),
        (lambda: ns.GapCoupled(ns.FitzHughNagumo(2), 1.0, 1.0), ValueError, "a `V` in mV"),
    ],
)
def test_couplings_that_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()

"""Synapses against their closed forms and SciPy, and what turns their conductance into a current."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from decimal import Decimal, getcontext
from typing import ClassVar

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

import neurostate as ns
from neurostate._units import family_unit, join_quantity, split_quantity
from neurostate.synapse import AbstractSynapse

from .helpers import x64


getcontext().prec = 50

# Two synapses of each class, with every parameter away from its default, and what may arrive at them.
WEIGHTED, SPIKES = np.random.default_rng(0).uniform(-1.0, 2.0, (12, 2)), np.eye(12)[[0, 3]].T + np.eye(12)[[7, 9]].T
CASES = {
    ns.Expon: (dict(tau=[5.0, 3.0], g_initializer=[0.5, -0.1]), WEIGHTED),
    ns.DualExpon: (
        dict(tau_decay=[9.0, 2.5], tau_rise=[1.5, 2.5], amplitude=[0.7, 2.0], g_initializer=0.3, h_initializer=0.2),
        WEIGHTED,
    ),
    ns.Alpha: (dict(tau=[5.0, 3.0], g_initializer=[0.5, -0.1], h_initializer=0.2), WEIGHTED),
    ns.AMPA: (dict(alpha=1.1, beta=[0.2, 0.3], T=[0.5, 0.8], T_dur=[0.5, 0.73], g_initializer=0.1), SPIKES),
    ns.GABAa: (dict(alpha=0.6, beta=[0.2, 0.3], T=[0.9, 0.8], T_dur=[0.04, 1.13], g_initializer=0.1), SPIKES),
    ns.BioNMDA: (
        dict(
            alpha1=[2.0, 1.5],
            beta1=0.02,
            alpha2=1.1,
            beta2=[0.5, 0.8],
            T=1.2,
            T_dur=[0.5, 0.73],
            g_initializer=0.1,
            x_initializer=0.3,
        ),
        SPIKES,
    ),
    ns.NMDA: (dict(tau_decay=80.0, tau_rise=[2.5, 1.5], alpha=0.6, g_initializer=0.1, x_initializer=0.3), SPIKES),
    ns.STP: (
        dict(U=[0.2, 0.6], tau_f=50.0, tau_d=[20.0, 5.0], u_rest=0.1, u_initializer=0.3, x_initializer=0.8),
        SPIKES,
    ),
    ns.STD: (dict(tau=[20.0, 5.0], U=0.3, x_initializer=0.8), SPIKES),
}
each_synapse = pytest.mark.parametrize("cls", CASES, ids=lambda cls: cls.__name__)


def example(cls, **changes):
    return cls(2, **{**CASES[cls][0], **changes})


def run(cell, state, xs, dt):
    return _run(cell, state, xs, jnp.asarray(dt))


@eqx.filter_jit
def _run(cell, state, xs, dt):
    return jax.lax.scan(functools.partial(cell.step, dt=dt), state, xs)


# The linear synapses, against their kernels in 50 digits


def expon_kernel(t, tau):
    return (-t / tau).exp()


def alpha_kernel(t, tau):
    return t / tau * (-t / tau).exp()


def dual_kernel(t, decay, rise, normalized):
    if decay == rise:
        return t / decay * (1 - t / decay).exp() if normalized else Decimal(0)
    kernel = lambda t: (-t / decay).exp() - (-t / rise).exp()  # noqa: E731
    return kernel(t) / (kernel((decay / rise).ln() / (1 / rise - 1 / decay)) if normalized else 1)


LINEAR = [
    (ns.Expon, dict(tau=5.0), lambda t: expon_kernel(t, Decimal(5))),
    (ns.Alpha, dict(tau=5.0), lambda t: alpha_kernel(t, Decimal(5))),
    *(
        (
            ns.DualExpon,
            dict(tau_decay=decay, tau_rise=rise, amplitude=1.5, normalize=normalized),
            functools.partial(
                lambda t, decay, rise, normalized: Decimal("1.5") * dual_kernel(t, decay, rise, normalized),
                decay=Decimal(decay),
                rise=Decimal(rise),
                normalized=normalized,
            ),
        )
        for normalized in (True, False)
        for decay, rise in ((10.0, 1.0), (1.0, 10.0), (5.0, 4.9), (5.0, 5.0 + 1e-5), (5.0, 5.0 + 1e-12), (5.0, 5.0))
    ),
]


@pytest.mark.parametrize("dt", [0.1, 1.0, 13.0])
@pytest.mark.parametrize(("cls", "parameters", "kernel"), LINEAR)
def test_a_linear_synapse_is_the_sum_of_its_kernels(cls, parameters, kernel, dt):
    xs = np.random.default_rng(1).uniform(-1.0, 2.0, (60, 2))
    kernels = np.array([float(kernel(k * Decimal(dt))) for k in range(61)])
    expected = np.array([kernels[: n + 1][::-1] @ xs[: n + 1] for n in range(60)])
    for wide, bound in ((True, 1e-12), (False, 1e-5)):
        with x64(wide):
            cell = cls(2, **parameters)
            _, out = run(cell, cell.init_state(), jnp.asarray(xs), dt)
            assert out.dtype == (jnp.float64 if wide else jnp.float32)
        assert np.abs(np.asarray(out) - expected).max() <= bound * max(1.0, np.abs(expected).max())
        if wide and kernels.any():  # to the same relative precision where nearly nothing is left of the kernel
            assert np.abs(np.asarray(out) - expected).max() <= 2e-12 * 60 * np.abs(kernels).max()


@pytest.mark.parametrize(("cls", "decay"), [(ns.Expon, 5.0), (ns.Alpha, 5.0), (ns.DualExpon, 10.0)])
def test_what_is_there_at_the_start(cls, decay):
    t = 0.3 * np.arange(1, 31)[:, None]
    with x64():
        cell = cls(2, decay, g_initializer=[2.0, -1.0])
        _, out = run(cell, cell.init_state(), jnp.zeros((30, 2)), 0.3)
        np.testing.assert_allclose(out, np.array([2.0, -1.0]) * np.exp(-t / decay), rtol=1e-13)
        if cls is not ns.Expon:  # an `h` at the start is an arrival at time 0
            cell = cls(2, decay, h_initializer=2.0)
            _, out = run(cell, cell.init_state(), jnp.zeros((30, 2)), 0.3)
            _, again = run(cls(2, decay), cls(2, decay).init_state(), jnp.zeros((31, 2)).at[0].set(2.0), 0.3)
            np.testing.assert_allclose(out, again[1:], rtol=1e-13)


# The kinetic ones, against SciPy


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


# What every synapse must hold


@each_synapse
def test_gradients_against_finite_differences(cls):
    with x64():
        dynamic, static = eqx.partition(example(cls), eqx.is_inexact_array)
        xs, weights = jnp.asarray(CASES[cls][1]), np.random.default_rng(2).normal(size=(12, 2))

        def loss(dynamic, xs):
            cell = eqx.combine(dynamic, static)
            final, out = jax.lax.scan(functools.partial(cell.step, dt=0.3), cell.init_state(), xs)
            return (weights * jnp.sin(out)).sum() + sum(jnp.cos(leaf).sum() for leaf in jax.tree.leaves(final))

        point, unravel = ravel_pytree((dynamic, xs))
        at = lambda point: loss(*unravel(point))  # noqa: E731

        @jax.jit
        def both(point):
            steps = 1e-5 * jnp.eye(point.size)
            up, down = jax.lax.map(jax.vmap(at), point + jnp.stack([steps, -steps]))
            return jax.grad(at)(point), (up - down) / 2e-5

        gradient, slopes = map(np.asarray, both(point))
        np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-8)
        assert np.count_nonzero(np.abs(slopes[: -xs.size]) > 1e-6) == point.size - xs.size


@each_synapse
def test_shapes_and_dtypes(cls):
    with x64():
        for size, batch in ((2, ()), ((3, 2), (5,)), (2, (5, 3))):
            shape = (*batch, *((size,) if isinstance(size, int) else size))
            for dtype in (jnp.float32, jnp.float64):
                cell = jax.tree.map(
                    lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, cls(size, **CASES[cls][0])
                )
                state = jax.eval_shape(lambda: cell.init_state(batch))
                for x in (True, np.ones(shape, np.float32)) if batch else (1, jnp.ones(2), jnp.ones(2, bool)):
                    after, out = jax.eval_shape(lambda s: cell.step(s, x, dt=0.1 * u.ms), state)
                    for leaf in (*jax.tree.leaves((state, after)), out):
                        assert leaf.shape == shape and leaf.dtype == dtype and not leaf.weak_type
        with pytest.raises(ValueError, match=rf"`{cls.__name__}.step` got an `x` of shape \(4,\) for a state of shape"):
            cell.step(cell.init_state(), jnp.ones(4), dt=0.1)
        for wrong in (None, "spike"):
            with pytest.raises(TypeError, match=f"`x` of `{cls.__name__}.step` must be a number or an array"):
                cell.step(cell.init_state(), wrong, dt=0.1)


@each_synapse
def test_jax_takes_it_as_it_is(cls):
    cell, xs = example(cls), jnp.asarray(np.stack([CASES[cls][1], CASES[cls][1][::-1]], 1))
    step = functools.partial(cell.step, dt=0.25)
    sol = ns.simulate(cell, xs, dt=0.25 * u.ms)
    if cls in (ns.DualExpon, ns.AMPA, ns.STP):
        assert eqx.tree_equal(jax.lax.scan(step, cell.init_state(2), xs), (sol.state, sol.outputs))
    lanes = jax.jit(jax.vmap(lambda xs: jax.lax.scan(step, cell.init_state(), xs), in_axes=1, out_axes=1))
    np.testing.assert_allclose(lanes(xs)[1], sol.outputs, rtol=1e-6, atol=1e-7)


@each_synapse
def test_the_facade_gives_the_same(cls):
    cell, xs = example(cls), jnp.asarray(CASES[cls][1])
    expected = ns.simulate(cell, xs, dt=0.25)
    synapse = ns.nn.init_all_states(ns.nn.Stateful(cell))
    with ns.environ.context(dt=0.25 * u.ms):
        out = ns.transform.for_loop(synapse, xs)
    assert split_quantity(out)[1] == cell.out_unit == (u.siemens if xs is WEIGHTED or (xs < 0).any() else None)
    np.testing.assert_array_equal(split_quantity(out)[0], expected.outputs)
    for name, value in vars(expected.state).items():
        held = getattr(synapse, name).value
        assert split_quantity(held)[1] == cell.state_unit(name)
        np.testing.assert_array_equal(split_quantity(held)[0], value)
    trained = set(synapse.states(ns.ParamState))
    assert trained == set(CASES[cls][0])


# Units


def in_units(obj, cell):
    copy = object.__new__(type(obj))
    for field in dataclasses.fields(obj):
        value = getattr(obj, field.name)
        unit = family_unit(field.metadata.get("dimension"), cell.I_unit)
        object.__setattr__(copy, field.name, join_quantity(value, unit) if eqx.is_array(value) else value)
    return copy


def check_dimensions(cell):
    """Runs the formulas on Quantities."""

    def formulas():
        state = in_units(cell.init_state(), cell)
        checked = in_units(cell, cell)
        after = checked.flow(state, 1.0 * u.ms)
        arrived, out = checked.arrive(after, join_quantity(jnp.ones(2), cell.out_unit))
        for obj in (after, arrived):
            for name, value in vars(obj).items():
                assert u.get_dim(value) == (cell.state_unit(name) or u.UNITLESS).dim, name
        assert u.get_dim(out) == (cell.out_unit or u.UNITLESS).dim
        return jnp.zeros(())

    jax.eval_shape(formulas)


@each_synapse
def test_the_formulas_are_dimensionally_right(cls):
    check_dimensions(example(cls))
    if cls is ns.DualExpon:
        check_dimensions(example(cls, normalize=False, g_unit=u.nA))


def test_a_wrong_formula_is_found():
    class Wrong(AbstractSynapse[ns.ExponState]):
        size: tuple[int, ...]
        I_unit: u.Unit = eqx.field(static=True)
        state_type: ClassVar[type[ns.ExponState]] = ns.ExponState

        def start(self, name):
            return jnp.ones(2)

        def flow(self, state, dt):
            return ns.ExponState(g=state.g * dt)

        def arrive(self, state, x):
            return state, state.g

    with pytest.raises(AssertionError, match="g"):
        check_dimensions(Wrong((2,), u.nS))


@each_synapse
def test_units_leave_no_trace_in_the_program(cls):
    plain, state = example(cls), example(cls).init_state()
    given = {name: join_quantity(jnp.asarray(value), plain.field_unit(name)) for name, value in CASES[cls][0].items()}
    united = cls(2, **given)
    assert eqx.tree_equal(plain, united) and united.I_unit == plain.I_unit
    x = jnp.ones(2)
    programs = {
        str(jax.make_jaxpr(lambda s, x: plain.step(s, x, dt=0.1))(state, x)),
        str(jax.make_jaxpr(lambda s, x: united.step(s, join_quantity(x, united.out_unit), dt=0.1 * u.ms))(state, x)),
    }
    assert len(programs) == 1 and "cond" not in programs.pop()


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (cls, name)
        for cls in (*CASES, ns.COBA, ns.CUBA, ns.MgBlock, ns.GapJunction)
        for name in inspect.signature(cls).parameters
        if name not in ("size", "normalize", "g_unit", "edges", "I_unit")
    ],
)
def test_a_wrong_dimension_is_refused_by_name(cls, name):
    needed = (2,) if cls in CASES else ()
    for wrong in (jnp.ones(()) * u.kelvin, 1.0 * u.ms**3):
        with pytest.raises(ns.UnitError, match=rf"`{name}` of `{cls.__name__}`"):
            cls(*needed, **{name: wrong}, **(dict(edges=[(0, 1)], size=2) if cls is ns.GapJunction else {}))


@each_synapse
def test_a_wrong_dimension_of_an_input_is_refused_by_name(cls):
    cell = cls(2)
    for x, dt, name in ((1.0 * u.kelvin, 0.1, "x"), (1.0, 0.1 * u.mV, "dt")):
        with pytest.raises(ns.UnitError, match=f"`{name}` of `{cls.__name__}.step`"):
            jax.eval_shape(lambda: cell.step(cell.init_state(), x, dt=dt))


@pytest.mark.parametrize("cls", [ns.Expon, ns.DualExpon, ns.Alpha])
@pytest.mark.parametrize(
    ("arguments", "unit"),
    [
        ({}, u.siemens),
        ({"g_unit": u.nS}, u.nS),
        ({"g_unit": u.mS / u.cm**2}, u.mS / u.cm**2),
        ({"g_unit": u.nA}, u.nA),
        ({"g_unit": u.UNITLESS}, None),
        ({"g_initializer": 1.0 * u.nS}, u.nS),
        ({"g_initializer": ns.init.Constant(0.0 * u.uS)}, u.uS),
        ({"g_initializer": ns.init.Uniform(0.0 * u.uS, 1.0 * u.uS), "g_unit": u.nS}, u.nS),
    ],
)
def test_the_unit_of_g(cls, arguments, unit):
    cell = cls(2, **arguments)
    assert cell.g_unit == cell.out_unit == cell.state_unit("g") == cell.field_unit("g_initializer") == unit
    state = cell.init_state(key=jax.random.key(0))
    assert split_quantity(ns.quantity(state, "g", owner=cell))[1] == (unit or u.UNITLESS)
    if unit is not None:
        small = cell.step(state, 3000.0 * (unit / 1000), dt=0.1 * unit / unit)[0]
        assert eqx.tree_equal(small, cell.step(state, 3.0, dt=0.1)[0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ns.Expon(2, g_unit=u.ms), ns.UnitError, "`g_unit` of `Expon` must be that of a conductance"),
        (lambda: ns.Alpha(2, g_initializer=1 * u.ms), ns.UnitError, "`g_initializer` of `Alpha` must be that of a"),
        (lambda: ns.Expon(2, g_unit="nS"), TypeError, "`g_unit` of `Expon` must be a unit such as `u.nS`, got 'nS'"),
        (lambda: ns.Expon(2, g_unit=u.nS, g_initializer=1 * u.nA), ns.UnitError, "`g_initializer` of `Expon`"),
        (lambda: ns.DualExpon(2, tau_rise=0.0), ValueError, "`tau_rise` of `DualExpon` must be positive everywhere"),
        (lambda: ns.AMPA(2, T_dur=[1.0, 2.0, 3.0]), ValueError, r"`T_dur` of `AMPA` has the shape \(3,\)"),
        (lambda: ns.STP(2, U="much"), TypeError, "`U` of `STP` must be a number or an array, got 'much'"),
        (lambda: ns.MgBlock(beta=0.0), ValueError, "`beta` of `MgBlock` must be positive everywhere"),
        (lambda: ns.COBA(E=None), TypeError, "`E` of `COBA` must be a number or an array, got None"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


# Outputs


def test_outputs():
    with x64():
        V = np.linspace(-90.0, 30.0, 7)
        block = 1 / (1 + 1.0 / 3.57 * np.exp(-0.062 * (V - 4.0)))
        mg = ns.MgBlock(E=-2.0, cc_Mg=1.0, alpha=0.062, beta=3.57, V_offset=4.0)
        cases = [(ns.COBA(-2.0), -2.0 - V), (ns.CUBA(60.0), 60.0 + 0 * V), (mg, (-2.0 - V) * block)]
        for out, force in cases:
            np.testing.assert_allclose(out(0.5, V), 0.5 * force, rtol=1e-14)
            current = out(jnp.full(7, 0.5) * u.nS, V / 1000 * u.volt)
            np.testing.assert_allclose(current.to_decimal(u.pA), 0.5 * force, rtol=1e-13)
            drive = out.drive(0.5, V)
            np.testing.assert_allclose(drive.total(V), 0.5 * force, rtol=1e-14)
            gradient = jax.grad(lambda out: out(0.5, jnp.asarray(V)).sum())(out)
            point, unravel = ravel_pytree(out)
            for i, slope in enumerate(ravel_pytree(gradient)[0]):
                up, down = (unravel(point.at[i].add(s))(0.5, V).sum() for s in (1e-5, -1e-5))
                assert float(slope) == pytest.approx(float(up - down) / 2e-5, rel=1e-6)
        assert float(ns.MgBlock(cc_Mg=0.0).block(-90.0)) == 1.0
        assert float(ns.CUBA().scale) == 1000.0
        for out in (ns.COBA(0.0), mg):
            with pytest.raises(ns.UnitError, match=f"`V` of `{type(out).__name__}` must have a unit like mV"):
                out(1.0, 1.0 * u.ms)
    assert repr(ns.COBA(-80 * u.mV)) == "COBA(E=-80.0 * mV)"
    assert ns.quantity(ns.MgBlock(), "alpha").unit == 1 / u.mV


def test_a_linear_neuron_takes_a_conductance_exactly():
    """One large step of a `LIF` under a constant conductance is the closed form; from the current alone it is not."""
    with x64():
        lif = ns.LIF(1, R=2.0, tau=10.0, V_th=50.0, V_initializer=-3.0)
        out = ns.COBA(E=8.0)
        total, dt = (1 + 2.0 * 1.5) / 10.0, 4.0
        end = 2.0 * 1.5 * 8.0 / 10.0 / total
        expected = end + (-3.0 - end) * math.exp(-total * dt)
        state = lif.init_state()
        assert float(lif.step(state, out.drive(1.5), dt=dt)[0].V[0]) == pytest.approx(expected, rel=1e-13)
        assert float(lif.step(state, out(1.5, state.V), dt=dt)[0].V[0]) != pytest.approx(expected, rel=0.1)


def test_from_spikes_to_a_neuron_in_one_scan():
    synapse, out, lif = ns.Expon(2, tau=5.0, g_unit=u.nS), ns.COBA(0 * u.mV), ns.LIF(2, R=1 * u.Gohm, V_rest=-60.0)
    lif = ns.LIF(2, R=1 * u.mV / u.pA, tau=20.0, V_rest=-60.0, V_reset=-65.0, V_th=-50.0, V_initializer=-60.0)

    def step(state, spikes):
        synaptic, neuron = state
        synaptic, g = synapse.step(synaptic, 0.5 * spikes, dt=0.1)
        neuron, spike = lif.step(neuron, out.drive(g * u.nS), dt=0.1)
        return (synaptic, neuron), spike

    state = synapse.init_state(), lif.init_state()
    spikes = jnp.zeros((500, 2)).at[::50, 1].set(1.0)
    (_, neuron), fired = jax.lax.scan(step, state, spikes)
    assert neuron.V[0] == -60.0 and not fired[:, 0].any() and 1 < fired[:, 1].sum() < 20


# Gap junctions


def test_gap_junctions():
    rng = np.random.default_rng(3)
    matrix = np.triu(rng.uniform(0.1, 1.0, (5, 5)) * (rng.random((5, 5)) < 0.7), 1)
    matrix = matrix + matrix.T + np.diag(rng.random(5))
    V = rng.normal(-60.0, 5.0, (3, 5))
    expected = np.array([[sum(matrix[i, j] * (v[j] - v[i]) for j in range(5)) for i in range(5)] for v in V])
    pairs = [(i, j) for i in range(5) for j in range(i) if matrix[i, j]]
    with x64():
        dense = ns.GapJunction(matrix)
        sparse = ns.GapJunction([matrix[i, j] for i, j in pairs], edges=pairs, size=5)
        traced = jax.jit(lambda m, V: ns.GapJunction(m)(V))
        currents = dense(V), sparse(V), dense(V / 1000 * u.volt), traced(matrix, V), jax.jit(lambda g: g(V))(dense)
        for current in currents:
            np.testing.assert_allclose(current, expected, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(np.sum(current, -1), 0.0, atol=1e-12)
        assert not np.any(dense(jnp.full(5, -61.7))) and len(dense.g) == len(pairs)
        # Trained, it stays symmetric; its gradient is that of both directions.
        slope = eqx.filter_grad(lambda gap: (gap(V) ** 2).sum())(sparse).g
        for k, (i, j) in enumerate(pairs[:2]):
            bent = matrix.copy()
            bent[i, j] = bent[j, i] = matrix[i, j] + 1e-6
            difference = ((ns.GapJunction(bent)(V) ** 2).sum() - (expected**2).sum()) / 1e-6
            assert float(slope[k]) == pytest.approx(float(difference), rel=1e-5)
    equal = ns.GapJunction(2.0 * u.nS, edges=[(0, 1), (0, 1)], size=3)
    assert equal.I_unit == u.pA and eqx.tree_equal(equal(jnp.array([0.0, 1.0, 5.0])), jnp.array([4.0, -4.0, 0.0]))
    assert ns.GapJunction(0.1 * u.mS / u.cm**2, edges=[(0, 1)], size=2).I_unit == u.uA / u.cm**2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.array([[0.0, 1.0], [2.0, 0.0]]),), "`g` of `GapJunction` must be a symmetric matrix"),
        ((np.ones(3),), r"must be a symmetric matrix.*got an array of shape \(3,\)"),
        ((1.0, [(0, 1)]), r"`edges` of `GapJunction` must be pairs of integers.*needs `size`"),
        ((1.0, [0, 1], 2), r"must be pairs of integers.*got an array of shape \(2,\)"),
        ((1.0, [(0.0, 1.0)], 2), "must be pairs of integers.*dtype float64"),
        ((1.0, [(0, 2)], 2), "must be pairs of neurons from 0 to 1"),
        (([1.0, 2.0], [(0, 1)], 2), r"`g` of `GapJunction` has the shape \(2,\)"),
    ],
)
def test_bad_gap_junctions(arguments, message):
    with pytest.raises(ValueError, match=message):
        ns.GapJunction(*arguments)
    with pytest.raises(ValueError, match=r"`V` of `GapJunction` must have the shape \(\*batch, 2\), got \(3,\)"):
        ns.GapJunction(np.ones((2, 2)))(jnp.ones(3))
    with pytest.raises(ns.UnitError, match="`V` of `GapJunction` must have a unit like mV"):
        ns.GapJunction(np.ones((2, 2)))(jnp.ones(2) * u.ms)

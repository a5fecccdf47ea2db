"""Synapses against their closed forms and SciPy, and what turns their conductance into a current."""

from __future__ import annotations

import functools
import inspect
from decimal import Decimal, getcontext

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import neurostate as ns
from neurostate._units import join_quantity, split_quantity

from .helpers import x64


getcontext().prec = 50

# Two synapses of each class, with every parameter away from its default, and what may arrive at them.
WEIGHTED = np.random.default_rng(0).uniform(-1.0, 2.0, (50, 2))
SPIKES = sum(np.eye(50)[pair].T for pair in ([0, 3], [7, 9], [31, 23]))
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


# What every synapse must hold


@each_synapse
def test_gradients_against_finite_differences(cls):
    with x64():
        dynamic, static = eqx.partition(example(cls), eqx.is_inexact_array)
        xs = jnp.asarray(CASES[cls][1])
        weights = np.random.default_rng(2).normal(size=xs.shape)

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

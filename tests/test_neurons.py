"""What holds for every neuron: units, arrays over the population, batches, transformations, and the façade."""

from __future__ import annotations

import functools
import inspect

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns
from neurostate._units import DIMENSIONS, family_unit, field_dimension

from .helpers import x64
from .zoo import NEURONS, currents_for, name


ALL = [*NEURONS, ns.LI]
DT = 0.1
REFS = {
    ns.LIFRef: (ns.LIF, 5.0),
    ns.ExpIFRef: (ns.ExpIF, 1.7),
    ns.AdExIFRef: (ns.AdExIF, 1.7),
    ns.QuaIFRef: (ns.QuaIF, 1.7),
    ns.AdQuaIFRef: (ns.AdQuaIF, 1.7),
    ns.GifRef: (ns.Gif, 1.7),
    ns.IzhikevichRef: (ns.Izhikevich, 1.7),
}


def plain_arguments(kind):
    """The numerical arguments of the constructor and their values, those of the initial state included."""
    cell = kind(3)
    values = {}
    for field in cell.__dataclass_fields__.values():
        if "kind" in field.metadata and (value := getattr(cell, field.name)) is not None:
            values[field.name] = getattr(value, "value", value)
    return cell, {name: float(value) for name, value in values.items()}


def quantity_leaves(tree):
    return [x for x in jax.tree.leaves(tree, is_leaf=u.math.is_quantity) if u.math.is_quantity(x)]


# Units


@pytest.mark.parametrize("kind", ALL, ids=name)
def test_the_formulas_are_dimensionally_right(kind):
    ns.check_units(kind(3))
    if kind is not ns.LI:
        ns.check_units(kind((2, 3), tau_ref=2.0, spike_time="interpolated"))


class WrongDerivative(ns.LIF):
    def derivative(self, state, drive):
        return ns.LIFState(V=-(state.V - self.V_rest) + self.R * drive.total(state.V))


class WrongSum(ns.LIF):
    def derivative(self, state, drive):
        return ns.LIFState(V=(-(state.V - self.V_rest) + drive.total(state.V)) / self.tau)


class WrongReset(ns.AdExIF):
    def reset(self, state, spike):
        return state.with_(w=self.V_reset * spike)


class WrongDistance(ns.LIF):
    def distance(self, state):
        return state.V - self.V_th


class WrongFlow(ns.CubaLIF):
    def flow(self, state, drive, dt, held=None):
        return state.with_(g=state.g * dt)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (WrongDerivative, "`WrongDerivative.derivative` gives dV/dt in mV, but it needs a unit like mV / ms"),
        (WrongSum, "`WrongSum.derivative` combines values of different dimensions"),
        (WrongReset, "`WrongReset.reset` gives w in mV, but it needs a unit like nA"),
        (WrongDistance, "`WrongDistance.distance` gives the distance in mV, but it needs none"),
        (WrongFlow, r"`WrongFlow.flow` gives g in .*, but it needs a unit like mA"),
    ],
)
def test_wrong_formulas_are_refused(kind, message):
    with pytest.raises(ns.UnitError, match=message):
        ns.check_units(kind(3))


@pytest.mark.parametrize("kind", ALL, ids=name)
def test_wrong_dimensions_of_arguments_are_refused(kind):
    cell = kind(3)
    arguments = {f.name: cell.field_unit(f.name) for f in cell.__dataclass_fields__.values() if "kind" in f.metadata}
    others = {"C": "gL", "gL": "C"} if kind in (ns.ExpIF, ns.AdExIF) else {}
    arguments |= {"I_unit": cell.I_unit} | dict.fromkeys(others, None)
    settings = {"size", "spk_fun", "spk_reset", "detach_reset", "integrator", "spike_time"}
    assert set(arguments) == set(inspect.signature(kind).parameters) - settings
    for key, unit in arguments.items():
        for wrong in (u.ms, u.mV, u.meter):
            if unit is not None and wrong.dim == unit.dim:
                continue
            with pytest.raises(ns.UnitError, match=rf"`{key}` of `{kind.__name__}` must"):
                other = {others[key]: 1.0} if key in others else {}
                kind(3, **{key: wrong if key == "I_unit" else 2.0 * wrong}, **other)
            if key.endswith("_initializer"):
                with pytest.raises(ns.UnitError, match=rf"`{key}` of `{kind.__name__}` must"):
                    kind(3, **{key: ns.init.Constant(2.0 * wrong)})
                with pytest.raises(ns.UnitError, match=rf"`{key}` of `{kind.__name__}` must"):
                    kind(3, **{key: lambda shape: jnp.ones(shape) * wrong}).init_state()


@pytest.mark.parametrize("kind", ALL, ids=name)
def test_wrong_dimensions_of_inputs_are_refused(kind):
    cell = kind(3)
    state = cell.init_state()
    step = f"`{kind.__name__}.step`"
    fitting = {
        "current": cell.I_unit,
        "g": family_unit("conductance", cell.I_unit) if cell.state_unit("V") is not None else u.UNITLESS,
        "E": cell.state_unit("V") or u.UNITLESS,
        "jump": cell.state_unit("V") or u.UNITLESS,
    }
    if kind in (ns.CubaLIF, ns.CobaLIF):
        fitting["g_jump"] = cell.state_unit("g")
    for wrong in (u.ms, u.mV, u.meter):
        for key, unit in fitting.items():
            if wrong.dim != unit.dim:
                given = {"g": {"E": 1.0}, "E": {"g": 1.0}}.get(key, {}) | {key: 2.0 * wrong}
                with pytest.raises(ns.UnitError, match=f"`{key}` of {step} must"):
                    cell.step(state, ns.Drive(**given), dt=DT)
        if wrong is not u.ms:
            with pytest.raises(ns.UnitError, match=f"`dt` of {step} must have a unit like ms"):
                cell.step(state, 1.0, dt=2.0 * wrong)
    if "g_jump" not in fitting and kind is not ns.LI:
        with pytest.raises(TypeError, match=f"`{kind.__name__}` has no synaptic variable `g`"):
            cell.step(state, ns.Drive(g_jump=1.0), dt=DT)


@pytest.mark.parametrize("kind", ALL, ids=name)
def test_units_leave_no_trace(kind):
    default, values = plain_arguments(kind)
    unit = lambda key: default.field_unit(key) or u.UNITLESS  # noqa: E731
    plain = kind(3, **values)
    united = kind(3, **{key: value * unit(key) for key, value in values.items()})
    assert eqx.tree_equal(plain, united) and plain.I_unit == united.I_unit == default.I_unit
    drive = {"current": jnp.ones(3), "g": 0.1 * jnp.ones(3), "E": jnp.ones(3), "jump": jnp.zeros(3)}
    units = {"current": default.I_unit, "E": default.state_unit("V"), "jump": default.state_unit("V")}
    units["g"] = default.I_unit / default.state_unit("V") if units["E"] is not None else None
    state = plain.init_state()

    def program(cell, dt, units):
        def step(state, drive):
            given = {key: x if units is None else x * (units[key] or u.UNITLESS) for key, x in drive.items()}
            return cell.step(state, ns.Drive(**given), dt=dt)

        assert not quantity_leaves((cell, jax.eval_shape(step, state, drive)))
        return str(jax.make_jaxpr(step)(state, drive))

    programs = {
        program(plain, DT, None),
        program(united, DT * u.ms, units),
        program(united, 1000 * DT * u.us, units),
    }
    assert len(programs) == 1


@pytest.mark.parametrize("kind", NEURONS, ids=name)
def test_other_units_give_the_same_spikes(kind):
    default, values = plain_arguments(kind)
    # Voltages in volt, times in second, currents in a thousandth of the unit of the class, and so on.
    current = {u.mV / u.ms: u.volt / u.second, u.UNITLESS: u.UNITLESS}.get(default.I_unit, default.I_unit * 1e-3)

    def convert(value, dimension):
        if dimension is None:
            return value
        powers = DIMENSIONS[dimension] if isinstance(dimension, str) else dimension
        base = (1.0 * u.second, 1.0 * u.volt, 1.0 * current)
        other = functools.reduce(lambda x, y: x * y, (b**n for b, n in zip(base, powers, strict=True) if n))
        return (value * family_unit(dimension, default.I_unit)).to(u.get_unit(other))

    with x64():
        ours = kind(3, **values)
        theirs = kind(3, **{key: convert(x, field_dimension(kind, key)) for key, x in values.items()})
        drive = currents_for(kind, 1000)
        a = ns.simulate(ours, drive, dt=DT)
        b = ns.simulate(theirs, drive * default.I_unit, dt=1e-3 * DT * u.second)
        assert a.outputs.sum() > 3 and bool((a.outputs == b.outputs).all())
        np.testing.assert_allclose(a.state.V, b.state.V, rtol=1e-8)


def test_units_of_other_sizes():
    lif = ns.LIF(3, R=0.002 * u.kohm, tau=0.006 * u.second, V_th=0.015 * u.volt, V_rest=1e-3 * u.volt)
    assert lif.I_unit == u.uA and float(lif.R) == pytest.approx(0.002)
    spikes = [
        ns.simulate(cell, jnp.full((500, 3), 10.0) * u.mA, dt=DT).outputs
        for cell in (lif, ns.LIF(3, R=2.0, tau=6.0, V_th=15.0, V_rest=1.0))
    ]
    assert spikes[0].sum() > 9 and bool((spikes[0] == spikes[1]).all())
    by_conductance = ns.AdExIF(3, C=200 * u.pF, gL=10 * u.nS, a=2 * u.nS, b=60 * u.pA)
    by_resistance = ns.AdExIF(3, R=0.1 * u.Gohm, tau=20 * u.ms, a=2 * u.nS, b=60 * u.pA)
    assert by_conductance.I_unit == by_resistance.I_unit == u.pA and eqx.tree_equal(by_conductance, by_resistance)
    with pytest.raises(ValueError, match="needs either both `C` and `gL`, or `R` and `tau`; got `C`"):
        ns.AdExIF(3, C=200 * u.pF)
    with pytest.raises(ValueError, match="got `C` and `gL` and `tau`"):
        ns.ExpIF(3, C=200 * u.pF, gL=10 * u.nS, tau=20 * u.ms)


# Parameters, batches and initial states


def scaled(values):
    """Each parameter as an array over three neurons."""
    return {key: value * jnp.asarray([0.99, 1.0, 1.01]) for key, value in values.items()}


@pytest.mark.parametrize("kind", ALL, ids=name)
def test_parameters_as_arrays_and_batches(kind):
    options = {} if kind is ns.LI else {"tau_ref": jnp.asarray([1.0, 2.0, 3.0])}
    with x64():
        values = scaled(plain_arguments(kind)[1]) | options
        drive = currents_for(kind, 200)

        @jax.jit
        def one_by_one(values, drive):
            run = lambda values, drive: ns.simulate(kind((), **values), drive, dt=DT).outputs  # noqa: E731
            return jax.vmap(run, (0, 1), 1)(values, drive)

        def run(cell, drive):
            return ns.simulate(cell, drive, dt=DT, state=cell.init_state(drive.shape[1:-1]))

        cell = kind(3, **values)
        together, apart = run(cell, drive), one_by_one(values, drive)
        batched = run(cell, jnp.stack([0.5 * drive, drive], axis=1))
    assert kind is ns.LI or np.asarray(together.outputs).any()
    np.testing.assert_allclose(together.outputs, apart, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(batched.outputs[:, 1], together.outputs, rtol=1e-11, atol=1e-11)
    assert jax.tree.map(jnp.shape, batched.state) == jax.tree.map(lambda x: (2, *x.shape), together.state)
    for part, whole in zip(jax.tree.leaves(batched.state), jax.tree.leaves(together.state), strict=True):
        np.testing.assert_allclose(part[1], whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ALL, ids=name)
def test_initialisers(kind):
    cell, values = plain_arguments(kind)
    parameters = [key for key in values if not key.endswith("_initializer")]
    drawn = {key: ns.init.Constant(values[key] * (cell.field_unit(key) or u.UNITLESS)) for key in parameters}
    assert all(getattr(kind(3, **drawn), key).shape == (3,) for key in parameters)
    names = [key for key in vars(cell.init_state()) if key not in ("refractory", "since_spike", "spike")]
    random = {f"{key}_initializer": ns.init.Uniform(0.1, 0.9) for key in names}
    cell = kind(3, **random)
    first, again, other = (cell.init_state((2,), jax.random.key(seed)) for seed in (0, 0, 1))
    assert eqx.tree_equal(first, again)
    arrays = [getattr(state, key) for state in (first, other) for key in names]
    assert all(x.shape == (2, 3) for x in arrays)
    drawn = np.concatenate([np.ravel(x) for x in arrays])
    assert len(np.unique(drawn)) == len(drawn) and (drawn >= 0.1).all() and (drawn <= 0.9).all()


def test_drives():
    for kind in ALL:
        cell = kind(3)
        state = cell.init_state()
        expected = cell.step(state, jnp.full(3, 0.5), dt=DT)
        for drive in (0.5, ns.Drive(current=0.5), 0.5 * cell.I_unit, np.float32(0.5)):
            assert eqx.tree_equal(cell.step(state, drive, dt=DT), expected)
        no_current = ns.Drive(g=(0.1, 0.2), E=(1.0, jnp.zeros(3)))
        a, b = (cell.step(state, x, dt=DT)[0] for x in (no_current, ns.Drive(0.0, 0.3, jnp.full(3, 1 / 3))))
        np.testing.assert_allclose(a.V, b.V, rtol=1e-5)
        assert eqx.tree_equal(cell.step(state, ns.Drive(), dt=DT), cell.step(state, 0.0, dt=DT))
    for wrong, message in (
        ({"g": 1.0}, "needs both `g` and `E`"),
        ({"g": (1.0, 2.0), "E": 1.0}, "one `E` for each `g`"),
    ):
        with pytest.raises(ValueError, match=message):
            ns.Drive(**wrong)
    for wrong in (jnp.ones(4), ns.Drive(jump=jnp.ones((2, 3))), ns.Drive(g=jnp.ones(4), E=0.0)):
        with pytest.raises(ValueError, match="`LIF.step` got a .* of shape .* for a state of shape"):
            ns.LIF(3).step(ns.LIF(3).init_state(), wrong, dt=DT)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_a_hard_reset_is_exact(dtype):
    with x64():
        draw = lambda seed: jnp.asarray(  # noqa: E731
            np.random.default_rng(seed).normal(size=(2, 5000)) * 10.0 ** np.linspace(-6, 6, 5000), dtype
        )
        V, V_reset, spike = draw(0), draw(1)[:, ::-1], draw(2) > 0
        cell = ns.LIF((2, 5000), spk_reset="hard")
        reset = jax.jit(lambda *values: cell.reset_voltage(values[0], values[1], 0.0, values[2]))
        expected = jnp.where(spike, V_reset, V)
        for f in (reset, jax.vmap(reset)):
            found = f(V, spike.astype(dtype), V_reset)
            assert found.dtype == dtype and bool((found == expected).all())


@jax.jit
def derivatives_of_a_hard_reset(V, spike, V_reset):
    """By each of `jacfwd` and `jacrev`: the first ones, and the second ones by each of them again."""
    reset = lambda V, spike, V_reset: ns.LIF(1, spk_reset="hard").reset_voltage(V, spike, 0.0, V_reset)  # noqa: E731
    ways = (jax.jacfwd, jax.jacrev)
    mapped = lambda f: jax.vmap(f, (0, None, 0))(V, spike, V_reset)  # noqa: E731
    first = [once(reset, (0, 1, 2)) for once in ways]
    return [(mapped(f), [mapped(twice(f, (0, 1, 2))) for twice in ways]) for f in first]


@pytest.mark.parametrize("spike", [0.0, 1.0])
def test_the_derivatives_of_a_hard_reset_are_the_documented_ones(spike):
    with x64():
        V, V_reset = np.array([1.3, -0.7, 20.0]), np.array([-0.3, 0.2, -65.0])
        first = [np.ones(3), V_reset - V, np.full(3, spike)]
        # `top` is held fixed: the spike's derivative changes with `V_reset` alone.
        second = [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
        for slopes, both in derivatives_of_a_hard_reset(V, spike, V_reset):
            np.testing.assert_array_equal(slopes, first)
            for found in both:
                np.testing.assert_array_equal(np.array(found)[..., 0], second)


def test_missing_arguments():
    for key in ("tau", "V_initializer"):
        with pytest.raises(TypeError, match=f"`{key}` of `LIF` must be a number or an array, got None"):
            ns.LIF(3, **{key: None})


@pytest.mark.parametrize("make", REFS, ids=name)
def test_the_neurons_with_a_refractory_period_by_default(make):
    kind, period = REFS[make]
    cell = make(3)
    assert type(cell) is kind and eqx.tree_equal(cell, kind(3, tau_ref=period))
    assert float(make(3, tau_ref=0.5 * u.ms).tau_ref) == 0.5
    assert make.__name__ == f"{kind.__name__}Ref" and f"`tau_ref` is {period}" in make.__doc__

"""Units at the edge of the core: conversion, families, fields, messages."""

from __future__ import annotations

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurostate import _units as units
from neurostate._errors import UnitError
from neurostate._parameters import as_milliseconds, broadcasts, parameter
from neurostate.neuron import LIF, LIFState

from .helpers import x64


finite = st.floats(-1e6, 1e6, allow_subnormal=False)


class Cell(eqx.Module):
    tau: jax.Array = eqx.field(metadata=units.measures("time"))
    C: jax.Array = eqx.field(metadata=units.measures("capacitance"))
    gain: jax.Array
    I_unit: units.Unit = eqx.field(static=True)


class CellState(eqx.Module):
    V: jax.Array = eqx.field(metadata=units.measures("voltage"))
    w: jax.Array = eqx.field(metadata=units.measures("current"))


# Quantities


@given(finite)
def test_split_and_join_are_inverse(x):
    mantissa, unit = units.split_quantity(units.join_quantity(x, u.mV))
    assert mantissa == x and unit == u.mV
    assert units.split_quantity(x) == (x, None) and units.join_quantity(x, None) == x


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_same_unit_passes_bit_for_bit(dtype):
    mantissa = jnp.asarray(np.random.default_rng(0).normal(size=7), dtype)
    out = units.to_plain(mantissa * u.mV, u.mV, "V")
    assert out.dtype == dtype and bool((out == mantissa).all())
    assert units.to_plain(0.1 * u.ms, u.ms, "dt") == 0.1
    assert units.to_plain(mantissa, u.mV, "V") is mantissa


@given(finite)
def test_another_scale_is_converted_with_one_rounding(x):
    assert units.to_plain(x * u.volt, u.mV, "V") == x * 1000
    assert units.to_plain(x * u.us, u.ms, "t") == x / 1000
    assert units.to_plain(x * u.uF, u.nF, "C") == x * 1000  # although 1e-6 / 1e-9 is not 1000 in binary
    assert units.to_plain(x * u.minute, u.ms, "t") == x * 6 * 10000


def test_conversion_in_a_trace_is_conversion_on_the_host():
    x = np.random.default_rng(1).normal(scale=1e3, size=1000).astype(np.float32)
    for unit, exact in ((u.volt, x.astype(np.float64) * 1000), (u.uvolt, x.astype(np.float64) / 1000)):
        host = units.to_plain(jnp.asarray(x) * unit, u.mV, "V")
        traced = jax.jit(lambda q: units.to_plain(q, u.mV, "V"))(jnp.asarray(x) * unit)
        assert isinstance(host, jax.Array) and host.dtype == traced.dtype == jnp.float32
        np.testing.assert_array_equal(host, exact.astype(np.float32))
        np.testing.assert_allclose(traced, host, rtol=2e-7)  # XLA may multiply by the reciprocal


def test_conversion_keeps_the_dtype_and_makes_integers_real():
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
        for f in (lambda q: units.to_plain(q, u.mV, "V"), jax.jit(lambda q: units.to_plain(q, u.mV, "V"))):
            assert f(jnp.asarray([1.5], dtype) * u.volt).dtype == dtype
    assert units.to_plain(jnp.arange(3) * u.volt, u.mV, "V").dtype == jnp.float32
    assert units.to_plain(np.arange(3) * u.us, u.ms, "t").tolist() == [0.0, 0.001, 0.002]
    with x64():
        assert units.to_plain(jnp.asarray(0.1) * u.volt, u.mV, "V").dtype == jnp.float64


def test_a_list_of_quantities_is_converted_item_by_item():
    assert units.to_plain([1.0 * u.ms, 2.0 * u.second], u.ms, "tau").tolist() == [1.0, 2000.0]


def test_a_wrong_dimension_names_owner_argument_units_and_cure():
    with pytest.raises(UnitError) as error:
        units.to_plain(1.0 * u.mV, u.ms, "tau", "LIF")
    text = str(error.value)
    assert "The argument `tau` of `LIF` must have a unit like ms, but it has the unit mV." in text
    assert "or as a plain number, which is taken to be in ms" in text


def test_as_dimensionless():
    x = jnp.ones(2)
    assert units.as_dimensionless(x, "x") is x
    assert units.as_dimensionless(u.Quantity(3.0), "x") == 3.0
    assert units.as_dimensionless(u.Quantity(3.0, unit=u.mV / u.volt), "x") == 0.003
    with pytest.raises(UnitError, match="The argument `x` must be dimensionless, but it has the unit mV"):
        units.as_dimensionless(1.0 * u.mV, "x")


# Families


@pytest.mark.parametrize("I_unit", [u.mA, u.nA, u.uA / u.cm**2, u.mV / u.ms])
def test_a_family_is_coherent(I_unit):
    of = {name: units.family_unit(name, I_unit) for name in units.DIMENSIONS}
    for one, other in (
        (of["resistance"] * of["current"], of["voltage"]),
        (of["conductance"] * of["voltage"], of["current"]),
        (of["capacitance"] * of["voltage rate"], of["current"]),
        (of["charge"], of["current"] * of["time"]),
        (of["rate"] * of["voltage"], of["voltage rate"]),
    ):
        assert one.dim == other.dim and one.scale == other.scale and one.factor == other.factor == 1.0


def test_the_families_of_the_cells():
    assert units.family_unit("resistance", u.mA) == u.ohm
    assert [units.family_unit(d, u.nA) for d in ("resistance", "capacitance", "conductance")] == [u.Mohm, u.nF, u.uS]
    assert units.family_unit("conductance", u.uA / u.cm**2) == u.mS / u.cm**2
    assert units.family_unit("capacitance", u.uA / u.cm**2) == u.uF / u.cm**2
    assert units.family_unit((-1, -1, 0)) == (u.ms * u.mV) ** -1
    assert units.family_unit(None) is None


def test_the_unit_of_current():
    assert units.current_unit("X", u.mA) == u.mA
    assert units.current_unit("X", u.mA, u.pA, R=(1.0 * u.ohm, "resistance")) == u.pA
    assert units.current_unit("X", u.mA, R=(1.0, "resistance")) == u.mA
    assert units.current_unit("X", u.mA, R=(1.0 * u.Mohm, "resistance")) == u.nA
    density = u.uA / u.cm**2
    for C, expected in ((1.0 * u.uF / u.cm**2, density), (1.0 * u.nF, u.nA)):
        assert units.current_unit("HH", density, alternatives=(u.uA,), C=(C, "capacitance")) == expected
    with pytest.raises(UnitError, match="`R` of `X` must have a unit like ohm, but it has the unit mV"):
        units.current_unit("X", u.mA, R=(1.0 * u.mV, "resistance"))
    with pytest.raises(UnitError, match="`I_unit` of `X` must be a unit like mA, got mV"):
        units.current_unit("X", u.mA, u.mV)
    with pytest.raises(TypeError, match="must be a unit such as `u.mA`, got 'nA'"):
        units.current_unit("X", u.mA, "nA")


# Fields


def test_quantity_gives_fields_back_with_their_units():
    cell = Cell(jnp.ones(3), jnp.array(2.0), jnp.array(1.0), u.nA)
    tau, C = units.quantity(cell, "tau"), units.quantity(cell, "C")
    assert tau.mantissa is cell.tau and tau.unit == u.ms
    assert C.mantissa is cell.C and C.unit == u.nF
    assert units.quantity(cell, "gain") is cell.gain
    with pytest.raises(AttributeError, match="`Cell` has no field `x`; its fields are: tau, C, gain, I_unit"):
        units.quantity(cell, "x")


def test_quantity_of_a_state_needs_the_cell_only_for_currents():
    cell = Cell(jnp.ones(3), jnp.array(2.0), jnp.array(1.0), u.nA)
    state = CellState(jnp.zeros(3), jnp.zeros(3))
    assert units.quantity(state, "V").unit == u.mV
    assert units.quantity(state, "w", owner=cell).unit == u.nA
    with pytest.raises(UnitError, match="owner=cell"):
        units.quantity(state, "w")


def test_repr_shows_units():
    cell = Cell(jnp.ones(3), jnp.float32(0.1), jnp.float32(1.0), u.nA)
    assert units.format_with_units(cell) == "Cell(tau=f32[3] * ms, C=0.1 * nF, gain=1.0, I_unit=nA)"
    texts = []
    jax.jit(lambda c: texts.append(units.format_with_units(c)) or 0)(cell)
    assert texts == ["Cell(tau=f32[3] * ms, C=f32[] * nF, gain=f32[], I_unit=nA)"]
    assert "R=3.0 * Mohm" in repr(LIF(2, R=3.0 * u.Mohm)) and "V_initializer=Constant(" in repr(LIF(2))
    assert units.format_with_units(eqx.filter(cell, lambda _: False)).startswith("Cell(tau=None, C=None")


def test_no_quantity_in_a_cell_or_its_state():
    cell = LIF(3, R=2.0 * u.Mohm, tau=[5.0, 6.0, 7.0] * u.ms, V_initializer=-1.0 * u.mV)
    for tree in (cell, cell.init_state(2)):
        assert not any(map(units.is_quantity, jax.tree.leaves(tree, is_leaf=units.is_quantity)))
        assert not any(units.is_quantity(value) for value in vars(tree).values())
    assert isinstance(cell.init_state(), LIFState)


# Parameters


def test_parameters_are_strong_floating_arrays():
    for value in (1, 1.0, np.float64(1), True * 1.0, 1.0 * u.ms, 1 * u.ms, jnp.asarray(1.0), jnp.asarray(1)):
        array = parameter(value, u.ms, "tau", size=(3,), owner="X")
        assert array.shape == () and array.dtype == jnp.float32 and not array.weak_type and array == 1.0
    assert parameter(jnp.ones(3, jnp.bfloat16), u.ms, "tau", size=(3,), owner="X").dtype == jnp.bfloat16
    with x64():
        assert parameter(1 * u.ms, u.ms, "tau", size=(3,), owner="X").dtype == jnp.float64
        assert parameter(np.float32(1), u.ms, "tau", size=(3,), owner="X").dtype == jnp.float32


def test_parameters_are_checked():
    with pytest.raises(ValueError, match=r"`tau` of `X` has the shape \(2,\), which does not broadcast to \(3,\)"):
        parameter([1.0, 2.0], u.ms, "tau", size=(3,), owner="X")
    with pytest.raises(ValueError, match="does not broadcast"):
        parameter(jnp.ones((2, 3)), u.ms, "tau", size=(3,), owner="X")
    for bad in (0.0, -1.0 * u.ms, jnp.array([1.0, 0.0, 1.0]), float("nan")):
        with pytest.raises(ValueError, match="`tau` of `X` must be positive everywhere"):
            parameter(bad, u.ms, "tau", size=(3,), owner="X", positive=True)
    jax.jit(lambda tau: parameter(tau, u.ms, "tau", size=(), owner="X", positive=True))(-1.0)
    for bad in ("fast", None, 1j):
        with pytest.raises(TypeError, match="`tau` of `X` must be a number or an array"):
            parameter(bad, u.ms, "tau", size=(3,), owner="X")


@given(st.lists(st.integers(1, 3), max_size=3), st.lists(st.integers(1, 3), max_size=3))
def test_broadcasts_is_numpys_rule_without_enlarging(shape, target):
    shape, target = tuple(shape), tuple(target)
    try:
        expected = np.broadcast_shapes(shape, target) == target
    except ValueError:
        expected = False
    assert broadcasts(shape, target) == expected


def test_time_steps():
    for dt in (0.1, np.float64(0.1), 0.1 * u.ms, np.array(0.1)):
        plain = as_milliseconds(dt, "f")
        assert type(plain) is float and plain == 0.1
    assert as_milliseconds(jnp.float32(0.5), "f").dtype == jnp.float32
    assert as_milliseconds(100.0 * u.us, "f") == 0.1
    for bad in (0.0, -0.1 * u.ms):
        with pytest.raises(ValueError, match="`dt` of `f` must be positive"):
            as_milliseconds(bad, "f")
    with pytest.raises(ValueError, match="must be a scalar"):
        as_milliseconds(jnp.ones(2), "f")
    for bad in (None, "0.1", True):
        with pytest.raises(TypeError, match=r"`dt` of `f` must be a time such as `0.1 \* u.ms`"):
            as_milliseconds(bad, "f")
    with pytest.raises(UnitError, match="unit like ms, but it has the unit mV"):
        as_milliseconds(0.1 * u.mV, "f")

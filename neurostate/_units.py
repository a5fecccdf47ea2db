"""Physical units at the edge of the core: checked once on the way in, absent inside.

This is the only file of the core that knows brainunit. Everything behind it computes with plain
arrays in one *coherent family* of units per object: time in ms, voltage in mV, current in the
object's own `I_unit`, and every other unit derived from these three without a factor. In a coherent
family a dimensionally right formula is numerically right on plain numbers.

A field says once, in its class, what it measures: `tau: Array = eqx.field(metadata=measures("time"))`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any, Final, TypeAlias, cast

import brainunit
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ._custom_types import Array, QuantityLike
from ._errors import UnitError


Unit: TypeAlias = brainunit.Unit
Exponents: TypeAlias = tuple[int, int, int]  # of time, voltage, current
Dimension: TypeAlias = str | Exponents

ms: Final = brainunit.ms
mV: Final = brainunit.mV
mA: Final = brainunit.mA
nA: Final = brainunit.nA
ohm: Final = brainunit.ohm
Mohm: Final = brainunit.Mohm
siemens: Final = brainunit.siemens
uS: Final = brainunit.uS
uA_per_cm2: Final[Unit] = cast(Unit, brainunit.uA / brainunit.cm**2)
mS_per_cm2: Final[Unit] = cast(Unit, brainunit.mS / brainunit.cm**2)
uF_per_cm2: Final[Unit] = cast(Unit, brainunit.uF / brainunit.cm**2)
per_ms: Final[Unit] = cast(Unit, brainunit.ms**-1)
Hz: Final = brainunit.Hz
per_mV: Final[Unit] = cast(Unit, brainunit.mV**-1)
mV_per_ms: Final[Unit] = cast(Unit, brainunit.mV / brainunit.ms)
unitless: Final = brainunit.UNITLESS

DIMENSIONS: Final[dict[str, Exponents]] = {
    "time": (1, 0, 0),
    "rate": (-1, 0, 0),
    "voltage": (0, 1, 0),
    "current": (0, 0, 1),
    "resistance": (0, 1, -1),
    "conductance": (0, -1, 1),
    "capacitance": (1, -1, 1),
    "charge": (1, 0, 1),
    "voltage rate": (-1, 1, 0),
}


# Quantities


def is_quantity(x: Any) -> bool:
    """Whether `x` is a brainunit `Quantity`.

    >>> is_quantity(5.0 * ms), is_quantity(5.0)
    (True, False)
    """
    return isinstance(x, brainunit.Quantity)


def split_quantity(x: Any) -> tuple[Any, Unit | None]:
    """Splits `x` into its number or array and its unit; the unit of a plain value is `None`.

    >>> split_quantity(5.0 * ms), split_quantity(2.0)
    ((5.0, Unit("ms")), (2.0, None))
    """
    if isinstance(x, brainunit.Quantity):
        return x.mantissa, x.unit
    return x, None


def join_quantity(mantissa: Any, unit: Unit | None) -> Any:
    """Puts a number or array and its unit together; with `unit=None` the plain value comes back.

    >>> join_quantity(5.0, ms), join_quantity(5.0, None)
    (Quantity(5., "ms"), 5.0)
    """
    return mantissa if unit is None else brainunit.Quantity(mantissa, unit=unit)


def as_dimensionless(x: Any, name: str, owner: str | None = None) -> Any:
    """Gives the plain value of a number, an array, or a `Quantity` without dimension.

    **Raises:** `UnitError`, naming the argument `name`, if `x` has a dimension.
    """
    if not isinstance(x, brainunit.Quantity):
        return x
    unit = x.unit
    if not unit.dim.is_dimensionless:
        raise UnitError(
            f"{argument(owner, name)} must be dimensionless, but it has the unit {unit}. "
            f"Divide it by a value in a unit like {unit} first."
        )
    return _rescale(x.mantissa, unit, brainunit.UNITLESS)


def to_plain(value: QuantityLike, unit: Unit | None, name: str, owner: str | None = None) -> Any:
    """Gives the plain number or array that `value` is in `unit`.

    A plain `value` is taken to be in `unit` already and passes as it is. So does, bit for bit, the
    mantissa of a `Quantity` in that very unit. A `Quantity` in another unit of the same dimension is
    converted: once in float64 on the host if its value is known, else (in a trace) by one constant
    factor. An array keeps its floating dtype. With `unit=None` the value must be dimensionless.

    **Arguments:**

    - `value`: A number, an array, a `Quantity` of one of them, or a sequence of these.
    - `unit`: The unit that the result is in, or `None`.
    - `name`: The name of the argument, for the error message.
    - `owner`: The name of the class or function that `name` belongs to, likewise.

    **Raises:** `UnitError` if the dimension of `value` is not that of `unit`.

    >>> to_plain(1500.0 * brainunit.us, ms, "tau")
    1.5
    """
    if isinstance(value, list | tuple) and any(map(is_quantity, value)):
        return np.stack([np.asarray(to_plain(v, unit, name, owner)) for v in value])
    if not isinstance(value, brainunit.Quantity):
        return value
    if unit is None:
        return as_dimensionless(value, name, owner)
    given = value.unit
    if given is unit or given == unit:
        return value.mantissa
    if given.dim != unit.dim:
        raise UnitError(
            f"{argument(owner, name)} must have a unit like {unit}, but it has the unit {given}. "
            f"Give it in a unit of that dimension, or as a plain number, which is taken to be in {unit}."
        )
    return _rescale(value.mantissa, given, unit)


def as_float_array(value: Any) -> Array:
    """A JAX array of a strong floating dtype: that of `value` if it is a floating array, else the default.

    **Raises:** `TypeError` if `value` is not a real number or an array of real numbers.
    """
    if value is None or isinstance(value, str | bytes):
        raise TypeError(f"A real number or array was needed, got {value!r}.")
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"A real number or array was needed, got one of dtype {array.dtype}.")
    is_floating = isinstance(value, jax.Array | np.ndarray | np.generic) and jnp.issubdtype(array.dtype, jnp.floating)
    return jnp.asarray(array, dtype=array.dtype if is_floating else jnp.result_type(float))


def maximum(x: Any, y: Any) -> Any:
    """The larger one of two arrays, or of two `Quantity`s."""
    return brainunit.math.maximum(x, y) if is_quantity(x) else jnp.maximum(x, y)


def is_traced(x: Any) -> bool:
    """Whether `x` stands for a value that is not known yet, inside a JAX transformation."""
    return isinstance(x, Tracer)


def argument(owner: str | None, name: str) -> str:
    """The words with which an error message names an argument."""
    return f"The argument `{name}`" if owner is None else f"The argument `{name}` of `{owner}`"


def _rescale(mantissa: Any, old: Unit, new: Unit) -> Any:
    """Converts a mantissa between two units of the same dimension."""
    # The powers of ten are kept apart from the other factors (as in minute: 6e1 s), because multiplying or
    # dividing by a whole power of ten rounds once, whereas 1e-6 / 1e-9 is not even 1000.
    if old.base == new.base == 10.0:
        factor, exponent = old.factor / new.factor, old.scale - new.scale
    else:
        factor, exponent = old.magnitude / new.magnitude, 0
    up, down = 10.0 ** max(exponent, 0), 10.0 ** max(-exponent, 0)

    def scaled(x: Any) -> Any:
        x = x if factor == 1.0 else x * factor
        x = x if up == 1.0 else x * up
        return x if down == 1.0 else x / down

    is_here = not isinstance(mantissa, jax.Array) or (not is_traced(mantissa) and mantissa.is_fully_addressable)
    if not is_here:
        dtype = mantissa.dtype if jnp.issubdtype(mantissa.dtype, jnp.inexact) else jnp.result_type(float)
        return scaled(mantissa.astype(dtype))
    if isinstance(mantissa, int | float):
        return scaled(float(mantissa))
    array = np.asarray(mantissa)
    dtype = array.dtype if jnp.issubdtype(array.dtype, jnp.inexact) else np.dtype(np.float64)
    converted = scaled(array.astype(np.float64)).astype(dtype)
    return jnp.asarray(converted) if isinstance(mantissa, jax.Array) else converted


# The coherent family of an object


@functools.lru_cache(maxsize=256)
def family_unit(dimension: Dimension | None, I_unit: Unit | None = None) -> Unit | None:
    """The unit of a dimension in the family of ms, mV and `I_unit`; `None` for no dimension.

    `dimension` is a key of `DIMENSIONS`, or the exponents of time, voltage and current.

    >>> family_unit("resistance", nA), family_unit("capacitance", nA), family_unit((-1, 1, 0))
    (Unit("Mohm"), Unit("nF"), Unit("mV / ms"))
    """
    if dimension is None:
        return None
    time, voltage, current = DIMENSIONS[dimension] if isinstance(dimension, str) else dimension
    if current and I_unit is None:
        raise UnitError(
            f"The unit of a {dimension} depends on the unit of current of the cell that it belongs to. "
            f"Pass that cell, e.g. `quantity(state, name, owner=cell)`."
        )
    result = brainunit.UNITLESS
    powers = [(ms, time), (I_unit, current), (mV, voltage)]
    for base, power in sorted(powers, key=lambda pair: -pair[1]):
        if power:
            factor = base if power == 1 else base**power
            result = factor if result is brainunit.UNITLESS else result * factor
    return result


def current_unit(
    owner: str,
    default: Unit,
    I_unit: Unit | None = None,
    *,
    alternatives: tuple[Unit, ...] = (),
    **given: tuple[QuantityLike, Dimension],
) -> Unit:
    """Decides the unit of current of a new object, and with it its whole family.

    That is `I_unit` if it is given; else the one that follows from the unit of the first `Quantity`
    among `given`; else `default`.

    **Arguments:**

    - `owner`: The name of the class, for error messages.
    - `default`: The unit of the class.
    - `I_unit`: The user's choice, or `None`.
    - `alternatives`: Units of the other dimensions that the class allows (a current where `default` is a
        current density, say).
    - `given`: By argument name, the value and the dimension of the arguments that involve a current.

    **Raises:** `UnitError` if a unit has a wrong dimension, `TypeError` if `I_unit` is not a unit.

    >>> current_unit("LIF", mA, R=(1.0 * brainunit.Mohm, "resistance"))
    Unit("nA")
    """
    allowed = (default, *alternatives)
    words = " or ".join(map(str, allowed))
    if I_unit is not None:
        if not isinstance(I_unit, Unit):
            raise TypeError(f"{argument(owner, 'I_unit')} must be a unit such as `u.{default}`, got {I_unit!r}.")
        if all(I_unit.dim != unit.dim for unit in allowed):
            raise UnitError(f"{argument(owner, 'I_unit')} must be a unit like {words}, got {I_unit}.")
        return I_unit
    for name, (value, dimension) in given.items():
        unit = split_quantity(value)[1]
        if unit is None:
            continue
        time, voltage, current = DIMENSIONS[dimension] if isinstance(dimension, str) else dimension
        rest = family_unit((time, voltage, 0))
        found = unit / rest if current > 0 else rest / unit
        if all(found.dim != option.dim for option in allowed):
            needed = " or ".join(str(family_unit(dimension, option)) for option in allowed)
            raise UnitError(
                f"{argument(owner, name)} must have a unit like {needed}, but it has the unit {unit}. "
                f"Give it in a unit of that dimension, or as a plain number, which is taken to be in "
                f"{family_unit(dimension, default)}."
            )
        return default if found == default else cast(Unit, found)
    return default


# Fields with a dimension


def measures(dimension: Dimension) -> dict[str, Dimension]:
    """The metadata of an `equinox.field` that holds plain arrays of the given dimension."""
    return {"dimension": dimension}


def field_dimension(cls: type, name: str) -> Dimension | None:
    """The dimension that the class `cls` declares for its field `name`; `None` if it declares none.

    **Raises:** `AttributeError` if there is no such field.
    """
    for field in dataclasses.fields(cls):
        if field.name == name:
            return field.metadata.get("dimension")
    names = ", ".join(field.name for field in dataclasses.fields(cls))
    raise AttributeError(f"`{cls.__name__}` has no field `{name}`; its fields are: {names}.")


def quantity(obj: eqx.Module, name: str, *, owner: eqx.Module | None = None) -> Any:
    """Gives the field `name` of a neurostate object back with its unit.

    **Arguments:**

    - `obj`: A cell, a state, a `Solution`, ....
    - `name`: The name of one of its fields.
    - `owner`: The cell that `obj` is a state of. Needed only for a field whose unit involves a current,
        because a state does not know the unit of current.

    **Returns:** A `Quantity` whose mantissa is the very array of the field, or the plain value if the
    field has no unit.

    **Raises:** `AttributeError` if there is no such field; `UnitError` if `owner` is needed.

    !!! example

        >>> import brainunit as u, neurostate as ns
        >>> lif = ns.LIF(10, tau=0.02 * u.second)
        >>> ns.quantity(lif, "tau")
        Quantity(20., "ms")
    """
    dimension = field_dimension(type(obj), name)
    I_unit = getattr(obj if owner is None else owner, "I_unit", None)
    return join_quantity(getattr(obj, name), family_unit(dimension, I_unit))


def format_with_units(obj: eqx.Module) -> str:
    """The `repr` of a module whose fields have units: small values in full, arrays by shape and dtype.

    >>> class Leak(eqx.Module):
    ...     tau: Array = eqx.field(metadata=measures("time"))
    >>> format_with_units(Leak(jnp.float32(0.1))), format_with_units(Leak(jnp.ones(3)))
    ('Leak(tau=0.1 * ms)', 'Leak(tau=f32[3] * ms)')
    """
    I_unit = getattr(obj, "I_unit", None)
    parts = []
    own = list(
        inspect.get_annotations(type(obj))
    )  # a class that only gets its fields' names from above lists them first
    fields = dataclasses.fields(obj)
    for field in sorted(fields, key=lambda field: own.index(field.name) if field.name in own else len(own)):
        if field.repr:
            value = getattr(obj, field.name)
            text = _format_value(value)
            unit = family_unit(field.metadata.get("dimension"), I_unit)
            has_unit = unit is not None and not unit.dim.is_dimensionless and eqx.is_array_like(value)
            parts.append(f"{field.name}={text} * {unit}" if has_unit else f"{field.name}={text}")
    name = type(obj).__name__
    line = f"{name}({', '.join(parts)})"
    return line if len(line) <= 88 else f"{name}(\n  " + ",\n  ".join(parts) + "\n)"


def _format_value(value: Any) -> str:
    if isinstance(value, Unit):
        return str(value)
    if isinstance(value, eqx.Module):
        return repr(value)
    concrete = isinstance(value, np.ndarray | jax.Array) and not is_traced(value)
    if concrete and value.ndim == 0 and not jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return str(np.asarray(value))
    return eqx.tree_pformat(value, width=10**6, short_arrays=True)

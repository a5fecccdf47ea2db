"""What all initialisers share: the units and values of their parameters, and the printed form."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, ArrayLike, QuantityLike, Shape
from .._errors import UnitError
from .._parameters import check_broadcast
from .._units import (
    Unit,
    as_dimensionless,
    as_float_array,
    is_quantity,
    is_traced,
    join_quantity,
    split_quantity,
    to_plain,
)


_MSG_UNITS: Final = (
    "`{owner}`: `{name}` and `{reference}` have different dimensions: `{name}` is {got}, `{reference}` is {needed}.\n"
    "Give both in units of the same dimension (for example both in mV), or both without a unit."
)


def split(x: Any) -> tuple[Any, Unit | None]:
    """The number or array of `x` and its unit; a Quantity without dimension is a plain value."""
    mantissa, unit = split_quantity(x)
    if unit is not None and unit.dim.is_dimensionless:
        return as_dimensionless(x, "value"), None
    return mantissa, unit


def default_float() -> np.dtype:
    """JAX's default float: float32, or float64 under x64."""
    return jnp.result_type(float)


def as_field(mantissa: Any, owner: str, name: str) -> float | Array:
    """A parameter as it is stored: a number as a Python float, anything else as a floating JAX array.

    A number has no dtype of its own, so that one initialiser serves float32 and float64; an array is a
    leaf that can be trained.
    """
    if isinstance(mantissa, bool | int | float | np.bool_ | np.integer | np.floating):
        return float(mantissa)
    if not is_numeric(mantissa) or np.iscomplexobj(mantissa):
        raise TypeError(
            f"`{owner}` needs a number, an array or a Quantity as its `{name}`, got {mantissa!r}. "
            "To combine initialisers, use `+`, `*`, `Mixture`, `Compose`, ...."
        )
    return as_float_array(mantissa)


def is_numeric(x: Any) -> bool:
    """Whether `x` is a number, an array of numbers or booleans, or a list of these."""
    if isinstance(x, list | tuple):
        return all(is_numeric(item) for item in x)
    if isinstance(x, jax.Array | np.ndarray | np.generic):
        return jnp.issubdtype(x.dtype, np.number) or x.dtype == bool
    return isinstance(x, bool | int | float | complex)


def mantissa_in(unit: Unit | None, value: QuantityLike, owner: str, name: str, reference: str) -> ArrayLike:
    """The mantissa of `value` in `unit`. A value with a unit and one without never mix.

    **Raises:** `UnitError` naming `name` and `reference`, the argument that `unit` comes from.
    """
    mantissa, own = split(value)
    if own is None and unit is None:
        return mantissa
    if own is None or unit is None or own.dim != unit.dim:
        got, needed = ("a plain number" if x is None else f"in {x}" for x in (own, unit))
        raise UnitError(_MSG_UNITS.format(owner=owner, name=name, reference=reference, got=got, needed=needed))
    return to_plain(value, unit, name, owner)


def gather(value: Any, owner: str, name: str) -> Any:
    """A list of numbers and Quantities as one array or Quantity, in the unit of its first item.

    Anything that is not a list or tuple comes back as it is.
    """
    if not isinstance(value, list | tuple):
        return value
    items = [gather(item, owner, f"{name}[{i}]") for i, item in enumerate(value)]
    if not any(is_quantity(item) for item in items):
        return value
    unit = split(items[0])[1]
    mantissas = [mantissa_in(unit, item, owner, f"{name}[{i}]", f"{name}[0]") for i, item in enumerate(items)]
    return join_quantity(jnp.stack([as_float_array(mantissa) for mantissa in mantissas]), unit)


def common_unit(owner: str, unit: Unit | None, **values: QuantityLike) -> tuple[Unit | None, list[Any]]:
    """Brings parameters to one unit.

    That is `unit` if it is given, plain numbers then being in it, else the unit of the first value that
    is not `None`. Missing values stay `None`.

    **Returns:** The unit (`None` for plain numbers) and the mantissas, as they are stored.

    **Raises:** `UnitError` naming two parameters whose dimensions differ.
    """
    if unit is not None and not isinstance(unit, Unit):
        raise TypeError(f"`{owner}` needs a unit such as `u.mV` as its `unit`, got {unit!r}.")
    if unit is not None and unit.dim.is_dimensionless:
        unit = None
    reference = None if unit is None else "unit"
    stored: list[Any] = []
    for name, value in values.items():
        if value is not None:
            value = gather(value, owner, name)
            mantissa, own = split(value)
            if reference is None:
                unit, reference = own, name
            elif own is not None or reference != "unit":
                mantissa = mantissa_in(unit, value, owner, name, reference)
            value = as_field(mantissa, owner, name)
        stored.append(value)
    return unit, stored


def plain(owner: str, name: str, value: QuantityLike) -> float | Array:
    """A parameter that has no dimension, as it is stored."""
    return as_field(as_dimensionless(value, name, owner), owner, name)


def check(owner: str, name: str, value: Any, holds: Callable[[np.ndarray], Any], needed: str) -> None:
    """Raises unless `holds(value)` everywhere. A traced value cannot be checked and passes."""
    if value is not None and not is_traced(value) and not np.all(holds(np.asarray(value))):
        raise ValueError(f"`{owner}`: `{name}` must be {needed}, got {show(value)}. Pass a value that is {needed}.")


def check_order(owner: str, low: Any, high: Any) -> None:
    """Raises unless `low < high` everywhere."""
    if low is None or high is None or is_traced(low) or is_traced(high):
        return
    if not np.all(np.asarray(low) < np.asarray(high)):
        raise ValueError(
            f"`{owner}`: `low` must be below `high`, got low={show(low)} and high={show(high)} in the same unit. "
            "Did you swap the two?"
        )


def check_fields(initialiser: eqx.Module, shape: Shape) -> None:
    """Raises unless each array among the parameters broadcasts to `shape` without making it larger."""
    for field in dataclasses.fields(initialiser):
        value = getattr(initialiser, field.name)
        if eqx.is_array(value):
            check_broadcast(value.shape, shape, field.name, type(initialiser).__name__)


def is_positive(x: np.ndarray) -> Any:
    return x > 0


def is_not_negative(x: np.ndarray) -> Any:
    return x >= 0


def show(value: Any, unit: Unit | None = None) -> str:
    """A parameter for `repr`: one number in full, an array by its dtype and shape; and the unit."""
    if isinstance(value, jax.Array | np.ndarray):
        text = eqx.tree_pformat(value) if value.ndim or is_traced(value) else str(value)
    else:
        text = repr(value)
    return text if unit is None else f"{text} * {unit.name}"

"""What the constructors and steps of all models do with their arguments: to plain arrays, checked once."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ._custom_types import Array, QuantityLike, Shape
from ._units import Unit, argument, as_float_array, is_traced, ms, to_plain


def parameter(
    value: QuantityLike,
    unit: Unit | None,
    name: str,
    *,
    size: Shape,
    owner: str,
    positive: bool = False,
) -> Array:
    """Turns an argument of a constructor into the plain array that is kept.

    The result is a strong floating array in `unit`. A scalar stays a scalar.

    **Raises:** `UnitError` for a wrong dimension; `TypeError` if it is not numeric; `ValueError` if its
    shape does not broadcast to `size`, or if `positive` and a value known now is not.
    """
    plain = to_plain(value, unit, name, owner)
    try:
        array = as_float_array(plain)
    except TypeError as error:
        raise TypeError(f"{argument(owner, name)} must be a number or an array, got {value!r}. {error}") from None
    check_broadcast(array.shape, size, name, owner)
    if positive and not is_traced(plain) and not np.all(np.asarray(plain) > 0):
        raise ValueError(f"{argument(owner, name)} must be positive everywhere, got {value!r}.")
    return array


def broadcasts(shape: Shape, target: Shape) -> bool:
    """Whether an array of `shape` becomes one of the shape `target` by broadcasting.

    >>> broadcasts((1, 3), (2, 3)), broadcasts((2, 3), (3,))
    (True, False)
    """
    return len(shape) <= len(target) and all(n in (1, m) for n, m in zip(reversed(shape), reversed(target)))


def check_broadcast(shape: Shape, target: Shape, name: str, owner: str) -> None:
    """Checks that an array of `shape` fits into an array of the shape `target` by broadcasting.

    **Raises:** `ValueError` that names both shapes.
    """
    if not broadcasts(shape, target):
        raise ValueError(
            f"{argument(owner, name)} has the shape {shape}, which does not broadcast to {target}. "
            f"Give a scalar, an array of shape {target}, or one with some of its axes of length 1."
        )


def as_milliseconds(dt: QuantityLike, owner: str, name: str = "dt") -> Any:
    """Gives a time step as a plain number or 0-d array in ms; a number known now as a Python float.

    **Raises:** `UnitError` if it is not a time; `ValueError` if it is not a scalar or not positive;
    `TypeError` if it is not a number.
    """
    plain = to_plain(dt, ms, name, owner)
    if isinstance(plain, bool) or not isinstance(plain, int | float | np.ndarray | np.generic | jax.Array):
        raise TypeError(f"{argument(owner, name)} must be a time such as `0.1 * u.ms`, got {dt!r}.")
    if np.shape(plain) != ():
        raise ValueError(f"{argument(owner, name)} must be a scalar, got one of shape {np.shape(plain)}.")
    if isinstance(plain, jax.Array):
        return plain
    if not float(plain) > 0:
        raise ValueError(f"{argument(owner, name)} must be positive, got {dt!r}.")
    return float(plain)

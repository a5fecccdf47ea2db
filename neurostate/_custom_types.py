"""The words for types that are used throughout neurostate, defined once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Inexact, Int, PRNGKeyArray, PyTree


Size: TypeAlias = int | Sequence[int] | np.integer
Shape: TypeAlias = tuple[int, ...]
Key: TypeAlias = PRNGKeyArray
QuantityLike: TypeAlias = Any  # a number, an array, or a `brainunit.Quantity` of either

__all__ = [
    "Array",
    "ArrayLike",
    "Bool",
    "Complex",
    "Float",
    "Inexact",
    "Int",
    "Key",
    "PRNGKeyArray",
    "PyTree",
    "QuantityLike",
    "Shape",
    "Size",
]


def as_shape(size: Size) -> Shape:
    """Turns an int or a sequence of ints into a shape.

    >>> as_shape(3), as_shape((2, 4)), as_shape(())
    ((3,), (2, 4), ())
    """
    if isinstance(size, bool | str):
        raise TypeError(f"A size must be an int or a sequence of ints, got {size!r}.")
    if isinstance(size, int | np.integer):
        size = (int(size),)
    try:
        shape = tuple(int(n) for n in size)
    except (TypeError, ValueError):
        raise TypeError(f"A size must be an int or a sequence of ints, got {size!r}.") from None
    if any(n < 0 for n in shape):
        raise ValueError(f"A size must not be negative, got {size!r}.")
    return shape

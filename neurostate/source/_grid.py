"""Points in time on the grid of steps, computed in float64 on the host."""

from __future__ import annotations

import numpy as np

from .._custom_types import QuantityLike
from .._parameters import as_milliseconds
from .._units import Unit, argument, is_traced, ms, to_plain


def known(value: QuantityLike, unit: Unit, name: str, owner: str) -> np.ndarray:
    """A value in `unit` as a float64 array.

    **Raises:** `UnitError` for a wrong dimension; `TypeError` if it is not known when JAX traces, or not numeric.
    """
    plain = to_plain(value, unit, name, owner)
    if is_traced(plain):
        raise TypeError(
            f"{argument(owner, name)} must be known when JAX traces, got {value!r}. Pass a number or NumPy array, and "
            "not an argument of a transformed function."
        )
    try:
        return np.asarray(plain, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{argument(owner, name)} must be numeric, got {value!r}.") from None


def known_times(value: QuantityLike, name: str, owner: str) -> np.ndarray:
    """Times in ms.

    **Raises:** as `known`, and `ValueError` for one that is negative.
    """
    times = known(value, ms, name, owner)
    if not (times >= 0).all():
        raise ValueError(f"{argument(owner, name)} must not be negative, got {value!r}.")
    return times


def known_step(dt: QuantityLike, owner: str) -> float:
    """A time step in ms.

    **Raises:** as `known`, and `ValueError` if it is not positive, or not a scalar.
    """
    return as_milliseconds(known(dt, ms, "dt", owner), owner)


def nearest_steps(times: np.ndarray, dt: float) -> np.ndarray:
    """The points of the grid that are nearest to the times, as numbers of steps."""
    return np.rint(times / dt).astype(np.int64)

"""The ring of a delay's values, and reading it."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..._custom_types import Array, Int
from ..._units import is_traced


class Ring(eqx.Module):
    """The value of a delay's reference.

    `values` are in order of time along their first axis, around its end: `values[newest]` is the last
    one, the slot after it the oldest. `read` has the values of the entries `names`, as they are since
    the last update: a read of `values` between two updates would make XLA copy the buffer in each step
    of a loop. `dt` in ms is that of `init_state`.
    """

    values: Any
    newest: Int[Array, "..."]
    read: tuple[Any, ...]
    names: tuple[str, ...] = eqx.field(static=True)
    dt: float = eqx.field(static=True)


def snapped(steps: Any, slack: Any = 0.0) -> Any:
    """Steps, a whole number where only rounding tells it from one. The derivative is that of `steps`."""
    traced = is_traced(steps)
    xp: Any = jnp if traced else np
    steps = steps if traced else np.asarray(steps, np.float64)
    rest = xp.round(steps) - steps
    rest = xp.where(abs(rest) <= xp.maximum(slack, 1e-6 * xp.maximum(1.0, abs(steps))), rest, 0.0)
    return steps + (lax.stop_gradient(rest) if traced else rest)


def pick(values: Any, newest: Any, lag: Any, indices: tuple[Any, ...]) -> Any:
    """The values at a whole lag; a negative slot counts from the end, as everywhere in JAX."""
    slot = newest - lag
    if indices:
        return values[(slot, *indices)]
    if jnp.ndim(slot) == 0:
        return lax.dynamic_index_in_dim(values, slot, 0, keepdims=False)
    shape = values.shape[1:]
    try:
        np.broadcast_shapes(slot.shape, shape)
    except ValueError:
        raise ValueError(
            f"An array of lags of shape {slot.shape} does not broadcast with values of shape {shape}. "
            "Give a lag for each element, or the elements as indices: `retrieve_at_step(steps, indices)`."
        ) from None
    return values[(slot, *np.indices(shape, sparse=True))]


def between(newer: Any, older: Any, fraction: Any, indices: tuple[Any, ...]) -> Any:
    """Linear interpolation between the values at two lags."""
    dtype = newer.dtype if jnp.issubdtype(newer.dtype, jnp.inexact) else jnp.result_type(float)
    newer, older, fraction = newer.astype(dtype), older.astype(dtype), jnp.asarray(fraction, dtype)
    if indices and fraction.ndim:  # the lags are in the leading axes of the result
        leading = np.broadcast_shapes(fraction.shape, *map(np.shape, indices))
        fraction = jnp.broadcast_to(fraction, leading).reshape(*leading, *[1] * (newer.ndim - len(leading)))
    return newer + fraction * (older - newer)

"""Spikes for changes."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .._custom_types import Array, QuantityLike
from ..init._support import common_unit
from ._arguments import require


def delta(x: QuantityLike, threshold: QuantityLike) -> Array:
    """Delta code: a signed spike when a signal has changed by a threshold (send-on-delta, Miskowicz 2006).

    A reference starts at the first value. Where a value is at least `threshold` above it there is a spike of 1, where
    it is as much below, one of -1, and either moves the reference to that value. So slow changes are found as well as
    fast ones. The first step has no spike.

    **Arguments:**

    - `x`: A signal with time as its first axis.
    - `threshold`: The change that makes a spike, in the unit of `x`; positive. A scalar, or an array that broadcasts to
        one time of `x`.

    **Returns:** An array of -1, 0 and 1 of the shape of `x`.

    **Raises:** `UnitError` if the units differ; `ValueError` if `x` has no time axis, or `threshold` is not positive.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.encode.delta(jnp.array([0.0, 0.5, 1.0, 1.5, 0.25]), threshold=1.0))
    [0. 0. 1. 0. 0.]
    >>> print(ns.encode.delta(jnp.array([0.0, 3.0, 1.5, 1.0]), threshold=1.0))
    [ 0.  1. -1.  0.]
    """
    _, (given, change) = common_unit("delta", None, x=x, threshold=threshold)
    values = jnp.asarray(given, jnp.result_type(given, float))
    change = jnp.asarray(change, values.dtype)
    if not values.ndim or not values.shape[0]:
        raise ValueError(f"`delta` needs an `x` with time as its first axis, got one of shape {values.shape}.")
    require(change > 0, "positive", threshold, "threshold", "delta")

    def step(reference: Array, value: Array) -> tuple[Array, Array]:
        difference = value - reference
        spike = (difference >= change).astype(value.dtype) - (difference <= -change).astype(value.dtype)
        return jnp.where(spike != 0, value, reference), spike

    return jax.lax.scan(step, values[0], values)[1]

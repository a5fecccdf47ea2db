"""Readouts of a whole run: functions of outputs over time."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .._custom_types import QuantityLike
from .._units import join_quantity, split_quantity


def count(spikes: QuantityLike, *, time_axis: int = 0) -> Any:
    """The number of spikes of each output, as class scores.

    **Arguments:**

    - `spikes`: Spikes with a time axis, such as `(time, batch, class)`.
    - `time_axis`: Which axis is time. It is never guessed.

    **Returns:** An array without the time axis, such as `(batch, class)`.

    **Raises:** `ValueError` if there is no such axis.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.readout.count(jnp.array([[[1.0, 0.0]], [[1.0, 1.0]]])))
    [[2. 1.]]
    """
    values, unit = _with_axis(spikes, time_axis, "count")
    return join_quantity(jnp.sum(values, axis=time_axis), unit)


def max_membrane(V: QuantityLike, *, time_axis: int = 0) -> Any:
    """The largest value of each output over time, as class scores. Where it is reached twice, both share the gradient.

    **Arguments:**

    - `V`: Potentials, an array or Quantity with a time axis, such as `(time, batch, class)`.
    - `time_axis`: Which axis is time. It is never guessed.

    **Returns:** An array or Quantity without the time axis, such as `(batch, class)`.

    **Raises:** `ValueError` if there is no such axis.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> print(ns.readout.max_membrane(jnp.array([[[1.0, 0.0]], [[0.5, 2.0]]]) * u.mV))
    [[1. 2.]] mV
    """
    values, unit = _with_axis(V, time_axis, "max_membrane")
    return join_quantity(jnp.max(values, axis=time_axis), unit)


def _with_axis(given: QuantityLike, time_axis: int, owner: str) -> tuple[Any, Any]:
    values, unit = split_quantity(given)
    values = jnp.asarray(values)
    if not -values.ndim <= time_axis < values.ndim:
        raise ValueError(f"`{owner}` got an array of shape {values.shape}, which has no `time_axis` {time_axis}.")
    return values, unit

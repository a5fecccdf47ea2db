"""Spike times on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._custom_types import ArrayLike, QuantityLike
from .._parameters import as_milliseconds
from .._units import argument, is_traced, ms, to_plain


def spike_times(spikes: ArrayLike, *, dt: QuantityLike) -> Any:
    """The spike times of each neuron, in ms: the index of the step, counted from 0, times `dt`.

    So they are those of [`neurostate.SpikeTime`][] and [`neurostate.encode.latency`][]; the `ts` of
    [`neurostate.simulate`][] are the ends of the steps, later by one `dt`. It runs on the host, in float64.

    **Arguments:**

    - `spikes`: Numbers of spikes (0 and 1, usually), of shape `(time, *batch, *neuron)`. A number of 2 gives a time
        twice.
    - `dt`: The time step.

    **Returns:** One array of times for spikes of shape `(time,)`; else, for each of the other axes, a list of that.

    **Raises:** `TypeError` if the spikes are not known, inside a JAX transformation; `ValueError` if they are not whole
    numbers from 0 on; `UnitError` if `dt` is not a time.

    >>> import numpy as np, neurostate as ns
    >>> ns.metrics.spike_times(np.array([[0, 1], [0, 0], [0, 1]]), dt=0.5)
    [array([], dtype=float64), array([0., 1.])]
    """
    step = float(as_milliseconds(dt, "spike_times"))
    counts = known_array(spikes, None, "spikes", "spike_times")
    whole = counts.astype(np.int64)
    if not counts.ndim or (whole != counts).any() or (whole < 0).any():
        raise ValueError(
            f"{argument('spike_times', 'spikes')} must be whole numbers from 0 on, with time as the first axis, got an "
            f"array of shape {counts.shape} with values from {counts.min(initial=0)} to {counts.max(initial=0)}."
        )
    return _nested(whole, step * np.arange(len(whole)))


def known_array(x: QuantityLike, unit: Any, name: str, owner: str) -> np.ndarray:
    """A value as a float64 array on the host."""
    plain = to_plain(x, unit, name, owner)
    if is_traced(plain):
        raise TypeError(
            f"{argument(owner, name)} must be known, since `{owner}` runs on the host. Call it outside `jax.jit` and "
            "other transformations."
        )
    return np.asarray(plain, np.float64)


def known_times(times: QuantityLike, name: str, owner: str) -> np.ndarray:
    """The spike times of one train in ms, in order, without those of `inf` or NaN that fill up an array."""
    array = known_array(times, ms, name, owner)
    if array.ndim != 1:
        raise ValueError(f"{argument(owner, name)} must be the spike times of one train, got shape {array.shape}.")
    return np.sort(array[np.isfinite(array)])


def _nested(counts: np.ndarray, times: np.ndarray) -> Any:
    if counts.ndim == 1:
        return np.repeat(times, counts)
    return [_nested(counts[:, i], times) for i in range(counts.shape[1])]

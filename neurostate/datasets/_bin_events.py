"""From a list of events to spikes in steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from jax.typing import DTypeLike

from .._custom_types import QuantityLike, Shape
from .._parameters import as_milliseconds
from .._units import argument, is_quantity, ms, to_plain


# Times are whole numbers of these.
_PER_MS: Final = 1000


def bin_events(
    events: Any,
    *,
    dt: QuantityLike,
    sensor_size: int | Sequence[int],
    t_end: QuantityLike | None = None,
    binary: bool = False,
    dtype: DTypeLike = np.float32,
) -> np.ndarray:
    """Counts events in steps of time, on the sensor that they come from.

    Step `k` has the events with `k * dt <= t < (k + 1) * dt`. It is computed in whole microseconds, so that an event at
    the edge of a step is always in the step that begins there.

    **Arguments:**

    - `events`: A structured array, or a dictionary of arrays of one length: `t`, the times from the start of the
        recording, in microseconds if they are plain numbers; `x`, and for images `y`, the place; `p`, the polarity, 0
        or 1. Times that are not whole microseconds are rounded to these. As in `tonic`; the order does not matter.
    - `dt`: The time step: a whole number of microseconds.
    - `sensor_size`: As in `tonic`, `(width, height, polarities)`. With one polarity, those of the events are not looked
        at. Or an int, as many channels on a line; `(channels, 1, 1)` is the same.
    - `t_end`: Events at this time or later are left out, and the result has the steps up to then. By default up to the
        last event.
    - `binary`: Gives 1 where there is at least one event.
    - `dtype`: The dtype of the result. With `np.uint8` it takes a quarter of the memory; networks take it as it is.

    **Returns:** An array of shape `(time, height, width, polarities)`, or `(time, channels)` for a line.

    **Raises:** `ValueError` for a `dt` that is not whole microseconds, events before 0 or outside the sensor, times
    that are not finite, places that are not whole numbers, fields that are missing or differ in length, or counts too
    large for `dtype`; `UnitError` for a wrong dimension.

    >>> import brainunit as u, neurostate as ns
    >>> events = {"t": [0, 999, 1000, 2500], "x": [0, 1, 1, 0]}
    >>> print(ns.datasets.bin_events(events, dt=1 * u.ms, sensor_size=2))
    [[1. 1.]
     [0. 1.]
     [1. 0.]]
    """
    step = whole_microseconds(dt, "bin_events", "dt")
    shape = _shape(sensor_size)
    t, places = _times(_field(events, "t")), _places(events, shape)
    if any(place.shape != t.shape for place in places.values()):
        lengths = {"t": t.size} | {name: place.size for name, place in places.items()}
        raise ValueError(f"The `events` of `bin_events` must have fields of one length, got {lengths}.")
    if t_end is None:
        num_steps = int(t.max()) // step + 1 if t.size else 0
    else:
        end = whole_microseconds(t_end, "bin_events", "t_end")
        inside = t < end
        num_steps, t = -(-end // step), t[inside]
        places = {name: place[inside] for name, place in places.items()}
    at = np.ravel_multi_index((t // step, *places.values()), (num_steps, *shape)) if t.size else t
    counts = np.bincount(at, minlength=num_steps * math.prod(shape)).reshape(num_steps, *shape)
    counts = np.minimum(counts, 1) if binary else counts
    result = counts.astype(dtype)
    if np.any(result != counts):
        raise ValueError(
            f"`bin_events` counted up to {counts.max()} events in one step, too many for the dtype {np.dtype(dtype)}. "
            "Use `binary=True`, a shorter `dt` or another dtype."
        )
    return result


def whole_microseconds(time: QuantityLike, owner: str, name: str) -> int:
    """A time as a whole number of microseconds."""
    exact = float(as_milliseconds(time, owner, name)) * _PER_MS
    whole = round(exact)
    if whole < 1 or abs(exact - whole) > 1e-6 * whole:
        raise ValueError(f"{argument(owner, name)} must be a whole number of microseconds, got {time!r}.")
    return whole


def _shape(sensor_size: int | Sequence[int]) -> Shape:
    """The shape of what comes out of one step."""
    if isinstance(sensor_size, int | np.integer):
        return (int(sensor_size),)
    size = tuple(int(n) for n in sensor_size)
    if len(size) != 3 or min(size) < 1:
        needed = "an int or (width, height, polarities), all positive"
        raise ValueError(f"{argument('bin_events', 'sensor_size')} must be {needed}, got {sensor_size!r}.")
    width, height, polarities = size
    return (width,) if height == polarities == 1 else (height, width, polarities)


def _field(events: Any, name: str) -> Any:
    names = tuple(events) if isinstance(events, Mapping) else getattr(getattr(events, "dtype", None), "names", None)
    if not names or name not in names:
        got = f"only has {list(names)}" if names else f"is a `{type(events).__name__}`"
        raise ValueError(
            f"{argument('bin_events', 'events')} must be a structured array or a dictionary with the field {name!r}, "
            f"but it {got}."
        )
    return events[name]


def _times(given: Any) -> np.ndarray:
    if is_quantity(given):
        given = np.asarray(to_plain(given, ms, "t", "bin_events"), np.float64) * _PER_MS
    t = np.asarray(given)
    t = _whole(t if np.issubdtype(t.dtype, np.integer) else np.rint(t), "t")
    if t.size and t.min() < 0:
        raise ValueError(f"`bin_events` got an event at {t.min()} microseconds. Times count from 0, the first step.")
    return t


def _whole(given: np.ndarray, name: str) -> np.ndarray:
    """The same as integers."""
    with np.errstate(invalid="ignore"):
        whole = given.astype(np.int64)
    wrong = given[whole != given]
    if wrong.size:
        raise ValueError(f"`bin_events` got an event with `{name}` of {wrong[0]}, which must be a whole number.")
    return whole


def _places(events: Any, shape: Shape) -> dict[str, np.ndarray]:
    """Where in `shape` each event is, by the name of the field."""
    sizes: dict[str, int] = {"x": shape[0]} if len(shape) == 1 else dict(zip(("y", "x", "p"), shape, strict=True))
    merged = sizes.get("p") == 1
    places = {name: _whole(np.asarray(_field(events, name)), name) for name in sizes if not (merged and name == "p")}
    for name, place in places.items():
        if place.size and not 0 <= place.min() <= place.max() < sizes[name]:
            raise ValueError(
                f"`bin_events` got events with `{name}` from {place.min()} to {place.max()}, but the sensor has the "
                f"indices 0 to {sizes[name] - 1} there. Is `sensor_size` in the order (width, height, polarities)?"
            )
    if merged:
        places["p"] = np.zeros_like(places["x"])
    return places

"""Inputs that are given functions of time, as arrays with time as their first axis.

The element `i` is the value at the time `i * dt`, at which the step `i` begins, and is meant to act during that whole
step. Where a function switches, it does so at the nearest point of the grid. Times are divided by `dt` in float64
whatever JAX's precision is, so that 0.3 ms at a `dt` of 0.1 ms are 3 steps. A plain number is a time in ms. Values may
have any shape and any unit, which the result has then too, and can be differentiated through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, QuantityLike
from .._units import Unit, join_quantity, per_ms
from ..init._support import common_unit
from ._grid import known, known_step, known_times, nearest_steps


def section_input(values: QuantityLike | Sequence[Any], durations: QuantityLike, *, dt: QuantityLike) -> Any:
    """One value after the other, each for its duration.

    **Arguments:**

    - `values`: The value of each section, along the first axis: numbers, arrays of one shape, or Quantities.
    - `durations`: As many times. A section ends at the point of the grid nearest to the sum of the durations so far.
    - `dt`: The time step.

    **Returns:** An array or Quantity of shape `(time, *shape of a value)`.

    **Raises:** `UnitError` for values of different dimensions, or durations that are not times; `ValueError` if there
    are not as many durations as values, or one is negative.

    >>> import brainunit as u, neurostate as ns
    >>> print(ns.source.section_input([0.0, 2.0, 1.0] * u.nA, [0.1, 0.3, 0.1] * u.ms, dt=0.1 * u.ms))
    [0. 2. 2. 2. 1.] nA
    """
    owner = "section_input"
    step, times = known_step(dt, owner), known_times(durations, "durations", owner)
    unit, (array,) = _values(owner, values=values)
    if array.ndim == 0 or times.shape != array.shape[:1]:
        raise ValueError(
            f"`section_input` needs one duration for each value, got `values` of shape {array.shape} and `durations` "
            f"of shape {times.shape}."
        )
    lengths = np.diff(nearest_steps(np.cumsum(times), step), prepend=0)
    return join_quantity(array[np.repeat(np.arange(lengths.size), lengths)], unit)


def constant_input(value: QuantityLike, duration: QuantityLike, *, dt: QuantityLike) -> Any:
    """One value all the time.

    **Arguments:**

    - `value`: A number, an array, or a Quantity.
    - `duration`: How long. A time.
    - `dt`: The time step.

    **Returns:** An array or Quantity of shape `(time, *shape of the value)`.

    **Raises:** `UnitError` if a time is not one; `ValueError` if it is negative.

    >>> import neurostate as ns
    >>> ns.source.constant_input([1.0, 2.0], duration=50.0, dt=0.1).shape
    (500, 2)
    """
    owner = "constant_input"
    unit, (array,) = _values(owner, value=value)
    return join_quantity(_outer(np.ones(_times(duration, dt, owner).size), array), unit)


def step_input(
    amplitudes: QuantityLike | Sequence[Any], step_times: QuantityLike, duration: QuantityLike, *, dt: QuantityLike
) -> Any:
    """Zero at first, and from each of the given times on another value.

    **Arguments:**

    - `amplitudes`: The values, along the first axis: numbers, arrays of one shape, or Quantities.
    - `step_times`: As many times from which on they hold, in rising order.
    - `duration`: The time at which the input ends.
    - `dt`: The time step.

    **Returns:** An array or Quantity of shape `(time, *shape of an amplitude)`.

    **Raises:** `UnitError` for amplitudes of different dimensions, or what should be a time and is not; `ValueError` if
    there are not as many times as amplitudes, or they are negative or not in order.

    >>> import brainunit as u, neurostate as ns
    >>> print(ns.source.step_input([2.0, 1.0] * u.nA, [0.1, 0.3] * u.ms, 0.5 * u.ms, dt=0.1 * u.ms))
    [0. 2. 2. 1. 1.] nA
    """
    owner = "step_input"
    number = _times(duration, dt, owner).size
    starts = nearest_steps(known_times(step_times, "step_times", owner), known_step(dt, owner))
    unit, (array,) = _values(owner, amplitudes=amplitudes)
    if array.ndim == 0 or starts.shape != array.shape[:1] or (np.diff(starts) < 0).any():
        raise ValueError(
            f"`step_input` needs one time for each amplitude, in rising order; got `amplitudes` of shape {array.shape} "
            f"and `step_times` {step_times!r}."
        )
    which = np.searchsorted(starts, np.arange(number), side="right")
    return join_quantity(jnp.concatenate([jnp.zeros_like(array[:1]), array])[which], unit)


def ramp_input(
    c_start: QuantityLike,
    c_end: QuantityLike,
    duration: QuantityLike,
    t_start: QuantityLike = 0.0,
    t_end: QuantityLike | None = None,
    *,
    dt: QuantityLike,
) -> Any:
    r"""A value that goes from one to another at a constant rate, and is zero before and after.

    $$x(t) = c_\text{start} + (c_\text{end} - c_\text{start})\,\frac{t - t_\text{start}}{t_\text{end} - t_\text{start}},
    \qquad t_\text{start} \le t < t_\text{end}$$

    **Arguments:**

    - `c_start`, `c_end`: The values at `t_start` and at `t_end`: numbers, arrays, or Quantities.
    - `duration`: The time at which the input ends.
    - `t_start`, `t_end`: The times between which it is not zero; by default from the start to the end.
    - `dt`: The time step.

    **Returns:** An array or Quantity of shape `(time, *shape of a value)`.

    **Raises:** `UnitError` for values of different dimensions, or what should be a time and is not; `ValueError` for a
    time that is negative, or a `t_end` that is not after `t_start`.

    >>> import brainunit as u, neurostate as ns
    >>> print(ns.source.ramp_input(0 * u.nA, 1 * u.nA, 6 * u.ms, t_start=1 * u.ms, t_end=5 * u.ms, dt=1 * u.ms))
    [0.   0.   0.25 0.5  0.75 0.  ] nA
    """
    owner = "ramp_input"
    unit, values = _values(owner, c_start=c_start, c_end=c_end)
    times = _times(duration, dt, owner)
    start, end, on = _window(times, t_start, duration if t_end is None else t_end, dt, owner)
    first, last = jnp.broadcast_arrays(*values)
    part = (times - start) / (end - start)
    return join_quantity(_outer(on * (1 - part), first) + _outer(on * part, last), unit)


def sinusoidal_input(
    amplitude: QuantityLike,
    frequency: QuantityLike,
    duration: QuantityLike,
    t_start: QuantityLike = 0.0,
    t_end: QuantityLike | None = None,
    *,
    dt: QuantityLike,
) -> Any:
    r"""A sine, and zero before and after.

    $$x(t) = A \sin(2\pi f\,(t - t_\text{start})), \qquad t_\text{start} \le t < t_\text{end}$$

    **Arguments:**

    - `amplitude`: A number, an array, or a Quantity.
    - `frequency`: A rate such as `10 * u.Hz`, in 1/ms if it is a plain number.
    - `duration`: The time at which the input ends.
    - `t_start`, `t_end`: The times between which it is not zero; by default from the start to the end.
    - `dt`: The time step.

    **Returns:** An array or Quantity of shape `(time, *shape of the amplitude)`.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` for a time that is negative, or a `t_end` that is not
    after `t_start`.

    >>> import brainunit as u, neurostate as ns
    >>> print(ns.source.sinusoidal_input(2.0 * u.nA, 250 * u.Hz, 4 * u.ms, dt=1 * u.ms).round(3))
    [ 0.  2.  0. -2.] nA
    """
    owner = "sinusoidal_input"
    unit, (array,) = _values(owner, amplitude=amplitude)
    times = _times(duration, dt, owner)
    start, _, on = _window(times, t_start, duration if t_end is None else t_end, dt, owner)
    cycles = known(frequency, per_ms, "frequency", owner) * (times - start)
    return join_quantity(_outer(on * np.sin(2 * np.pi * np.remainder(cycles, 1.0)), array), unit)


def _values(owner: str, **values: Any) -> tuple[Unit | None, list[Array]]:
    """The values as arrays in one unit, which comes first."""
    unit, plain = common_unit(owner, None, **values)
    return unit, [jnp.asarray(value, jnp.result_type(value, float)) for value in plain]


def _times(duration: QuantityLike, dt: QuantityLike, owner: str) -> np.ndarray:
    """The time at which each step begins."""
    step = known_step(dt, owner)
    return np.arange(int(nearest_steps(known_times(duration, "duration", owner), step))) * step


def _window(
    times: np.ndarray, t_start: QuantityLike, t_end: QuantityLike, dt: QuantityLike, owner: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two times, and whether each step is between them: 1 or 0."""
    start, end = known_times(t_start, "t_start", owner), known_times(t_end, "t_end", owner)
    if not start < end:
        raise ValueError(f"`{owner}` needs a `t_end` after `t_start`, got t_start={t_start!r} and t_end={t_end!r}.")
    step, index = known_step(dt, owner), np.arange(times.size)
    return start, end, (index >= nearest_steps(start, step)) & (index < nearest_steps(end, step))


def _outer(factor: np.ndarray, value: Array) -> Array:
    """The value times a factor for each step, with time as the first axis."""
    return jnp.asarray(factor, value.dtype).reshape(-1, *(1 for _ in value.shape)) * value

"""Spikes at given times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Float, Int, Key, QuantityLike, Shape, Size, as_shape
from .._parameters import as_milliseconds, parameter
from .._units import Unit, argument, is_traced, measures, ms, to_plain
from ..neuron._fields import static_field
from ._base import AbstractSource, unit_of


# A spike so little of a step before a point of the grid is taken to be at that point.
_TOLERANCE = 1e-3


class SpikeTimeState(eqx.Module):
    """The state of `SpikeTime`: `i`, the number of steps so far, an integer array of shape `batch_shape`."""

    i: Int[Array, " *batch"]


class SpikeTime(AbstractSource[SpikeTimeState]):
    r"""Spikes at given times.

    A spike at the time $t$ comes out of the step during which it falls: of the step with the index
    $i = \lfloor t/\Delta t \rfloor$, counted from 0, which lasts from $i\,\Delta t$ to $(i + 1)\,\Delta t$. So none is
    lost at any `dt`, and spikes of one cell in one step add up. $t/\Delta t$ is computed in float64 whatever JAX's
    precision is, and a time that is less than 0.001 steps short of a point of the grid counts as that point: 0.3 ms at
    a `dt` of 0.1 ms is in the step 3. Time is the number of steps since the start times `dt`.

    The output of a step is, for each cell, the sum of the weights of its spikes. Times and indices are settings:
    others mean a new compilation; the weights are an array and can be trained.

    **Arguments:**

    - `size`: Number of cells, or the shape of the population.
    - `indices`: For each spike, the index of its cell, in the flattened population.
    - `times`: For each spike, its time: in ms if they are plain numbers. In any order, not negative.
    - `weights`: What a spike adds to the output: a value, or one for each spike. Its unit is that of the output: any
        unit, or none.
    - `I_unit`: The unit of the output, for `weights` that are plain numbers.

    **Raises:** `UnitError` for a wrong dimension, naming the argument; `ValueError` if the lengths differ, an index is
    out of range or a time is negative; `TypeError` if an index is not an integer, or if times, indices or the `dt` of a
    step are not known when JAX traces.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> source = ns.SpikeTime(2, indices=[0, 1, 1], times=[0.1, 0.3, 0.35] * u.ms)
    >>> print(ns.simulate(source, jnp.zeros(5), dt=0.1 * u.ms).outputs.T)
    [[0. 1. 0. 0. 0.]
     [0. 0. 0. 2. 0.]]
    """

    indices: tuple[int, ...] = eqx.field(static=True, repr=False)
    times: tuple[float, ...] = eqx.field(static=True, repr=False, metadata=measures("time"))
    weights: Float[Array, " *spikes"] = eqx.field(metadata=measures("current"))
    size: Shape = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[SpikeTimeState]] = SpikeTimeState

    def __init__(
        self,
        size: Size,
        indices: Sequence[int] | Any,
        times: QuantityLike,
        weights: QuantityLike = 1.0,
        *,
        I_unit: Unit | None = None,
    ):
        self.size = as_shape(size)
        self.I_unit = unit_of(weights, I_unit)
        plain = to_plain(times, ms, "times", "SpikeTime")
        if is_traced(plain) or is_traced(indices):
            raise TypeError("`SpikeTime` needs `times` and `indices` that are known when JAX traces. Make it outside.")
        at, cells = np.asarray(plain, np.float64), np.asarray(indices)
        if cells.size and not np.issubdtype(cells.dtype, np.integer):
            raise TypeError(f"{argument('SpikeTime', 'indices')} must be integers, got {indices!r}.")
        _check(at, cells, int(np.prod(self.size)))
        weights = parameter(weights, self.I_unit, "weights", size=at.shape, owner="SpikeTime")
        order = np.argsort(at, kind="stable")
        self.times, self.indices = tuple(at[order].tolist()), tuple(int(k) for k in cells[order])
        self.weights = weights[order] if weights.size > 1 else weights.reshape(())

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> SpikeTimeState:
        """Makes the state at the start: at time 0."""
        del key
        return SpikeTimeState(jnp.zeros(as_shape(batch_shape), jnp.int32))

    def step(
        self, state: SpikeTimeState, input: Any = None, /, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[SpikeTimeState, Float[Array, " *state"]]:
        """Moves time forward by one step; the output is the sum of the weights of the spikes during it.

        `input` and `key` are not used.
        """
        del input, key
        dt = as_milliseconds(dt, "SpikeTime.step")
        if not isinstance(dt, float):
            raise TypeError("`SpikeTime.step` needs a `dt` that is known when JAX traces: a number, not an argument.")
        next_state = SpikeTimeState(state.i + 1)
        if not self.times:
            return next_state, jnp.zeros((*state.i.shape, *self.size), self.weights.dtype)
        at = np.minimum(np.floor(np.asarray(self.times) / dt + _TOLERANCE), 2**31 - 1).astype(np.int32)
        # The spikes of a step are neighbours, and this many at most.
        window = np.arange(np.unique(at, return_counts=True)[1].max())
        steps, cells = jnp.asarray(at), jnp.asarray(self.indices)
        weights = jnp.broadcast_to(self.weights, at.shape)

        def one(i: Array) -> Array:
            k = jnp.searchsorted(steps, i) + window
            now = (k < at.size) & (steps[k] == i)
            return jnp.zeros(int(np.prod(self.size)), weights.dtype).at[cells[k]].add(jnp.where(now, weights[k], 0))

        out = jnp.vectorize(one, signature="()->(n)")(state.i)
        return next_state, out.reshape(*state.i.shape, *self.size)


def _check(times: np.ndarray, indices: np.ndarray, number: int) -> None:
    if times.ndim != 1 or times.shape != indices.shape:
        raise ValueError(
            f"`SpikeTime` needs one index for each time, got `indices` of shape {indices.shape} and `times` of shape "
            f"{times.shape}."
        )
    if times.size and not (times >= 0).all():
        raise ValueError(f"{argument('SpikeTime', 'times')} must not be negative, got {times.min()} ms.")
    if indices.size and not ((indices >= 0) & (indices < number)).all():
        bad = indices[(indices < 0) | (indices >= number)][0]
        raise ValueError(f"{argument('SpikeTime', 'indices')} must be from 0 to {number - 1}, got {bad}.")

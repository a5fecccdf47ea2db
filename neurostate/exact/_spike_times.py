"""Spike times of leaky neurons, without time steps."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, QuantityLike, Shape
from .._parameters import as_milliseconds, broadcasts
from .._units import argument, as_float_array, is_traced, ms, to_plain
from ..neuron import LIF, CubaLIF
from ._events import Events, SpikeTimes, follow


def spike_times(
    cell: CubaLIF,
    weight: QuantityLike,
    input_times: QuantityLike,
    *,
    t_end: QuantityLike,
    max_spikes: int,
    state: Any = None,
) -> SpikeTimes:
    r"""The times at which neurons spike that are driven by spikes, from event to event.

    A spike of input $i$ adds `weight[i]` to the synaptic current `g`. Between two events `V` is known in closed form.
    Its maximum is too, which decides whether it crosses the threshold before the next event, and encloses the time of
    the crossing, which is found to rounding. The derivatives of the times are exact, in forward and in reverse mode
    and of any order: for a loss of spike times they are those of EventProp (Wunderlich and Pehle 2021, *Event-based
    backpropagation can compute exact gradients for spiking neural networks*; Göltz et al. 2021), without a surrogate.
    They are with respect to the weights, the input times, the parameters of the cell and the state at the start. They
    do not see spikes that appear or disappear: see `margin` and `slope` of the result.

    The `times` of one layer are the `input_times` of the next.

    **Arguments:**

    - `cell`: A [`neurostate.CubaLIF`][]. With a refractory period, `V` stays at the reset for so long, and `g` goes on.
        A soft and a hard reset are the same at a crossing.
    - `weight`: Currents, of shape `(num_in, num_out)`, as in a [`neurostate.connect.Dense`][].
    - `input_times`: The times of the input spikes, of shape `(num_spikes, *batch, num_in)`, not negative and in any
        order; `inf` for none. In ms, or a `Quantity`. One at `t_end` or later has no effect, and zero gradient.
    - `t_end`: The end of the simulation, which starts at 0.
    - `max_spikes`: The most spikes of a neuron that are found.
    - `state`: The state at the start, by default `cell.init_state(batch)`. A neuron that starts at the threshold or
        above spikes at once.

    **Returns:** A [`neurostate.exact.SpikeTimes`][]. It costs one step of a scan for each input spike and each of
    `max_spikes`, whatever the number of spikes is.

    **Raises:** `TypeError` for another cell; `ValueError` for a cell without reset, a wrong shape, or times that are
    negative or NaN (if that is not known when JAX traces, the `times` are NaN); `UnitError` for a wrong dimension.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> from neurostate import exact
    >>> cell = ns.CubaLIF(1, tau=10.0, tau_syn=5.0)  # V = 4 (exp(-t / 10) - exp(-t / 5))
    >>> found = exact.spike_times(cell, jnp.full((1, 1), 4.0), jnp.zeros((1, 1)), t_end=20.0, max_spikes=3)
    >>> print(found.times[:, 0].round(3), f"{10 * jnp.log(2):.3f}")
    [6.931   inf   inf] 6.931
    """
    owner = "spike_times"
    _check_cell(cell, (CubaLIF,), owner)
    weight = jnp.asarray(to_plain(weight, cell.I_unit, "weight", owner))
    times = _as_times(input_times, "input_times", owner)
    num_out = math.prod(cell.size)
    if weight.ndim != 2 or weight.shape[1] != num_out:
        raise ValueError(f"{argument(owner, 'weight')} must have the shape (num_in, {num_out}), got {weight.shape}.")
    if times.ndim < 2 or times.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"{argument(owner, 'input_times')} must have the shape (num_spikes, *batch, {weight.shape[0]}), got "
            f"{times.shape}. For one spike of each input, give it a first axis: `input_times[None]`."
        )
    batch = times.shape[1:-1]
    state = cell.init_state(batch) if state is None else state
    if state.V.shape != (*batch, *cell.size):
        raise ValueError(
            f"{argument(owner, 'state')} must have the batch axes of `input_times`, {batch}, before {cell.size}; its "
            f"`V` has the shape {state.V.shape}. Make it with `cell.init_state({batch})`."
        )
    return _of_spikes(cell, state, weight, times, _as_end(t_end, owner), _as_count(max_spikes, owner))


def spike_times_of_current(
    cell: LIF | CubaLIF,
    current: QuantityLike,
    *,
    t_end: QuantityLike,
    max_spikes: int,
    changes: QuantityLike = (),
    state: Any = None,
) -> SpikeTimes:
    """The times at which neurons spike that are driven by a piecewise constant current, from event to event.

    As [`neurostate.exact.spike_times`][], with derivatives with respect to the currents and the times of their changes.

    **Arguments:**

    - `cell`: A [`neurostate.LIF`][] or [`neurostate.CubaLIF`][].
    - `current`: The current of each piece, in the `I_unit` of the cell or a `Quantity`, of shape
        `(num_pieces, *batch, *size)`. Axes of a piece that are missing or of length 1 are broadcast to `size`.
    - `changes`: The times at which the next piece begins, ascending: one less than there are pieces.
    - `t_end`, `max_spikes`, `state`: as in [`neurostate.exact.spike_times`][].

    **Returns:** A [`neurostate.exact.SpikeTimes`][].

    **Raises:** as [`neurostate.exact.spike_times`][].

    >>> import brainunit as u, neurostate as ns
    >>> from neurostate import exact
    >>> found = exact.spike_times_of_current(ns.LIF(1), [2.0] * u.mA, t_end=10 * u.ms, max_spikes=2)
    >>> print(found.times[:, 0].round(3))  # multiples of tau log(2)
    [3.466 6.931]
    """
    owner = "spike_times_of_current"
    _check_cell(cell, (LIF, CubaLIF), owner)
    current = jnp.asarray(to_plain(current, cell.I_unit, "current", owner))
    changes = _as_times(changes, "changes", owner)
    if current.ndim == 0 or changes.shape != (current.shape[0] - 1,):
        raise ValueError(
            f"{argument(owner, 'changes')} must have one time less than there are pieces of `current`, whose first "
            f"axis they are; got {changes.shape} and {current.shape}. For a constant current: `current[None]`."
        )
    if not is_traced(changes) and not np.all(np.asarray(changes)[1:] >= np.asarray(changes)[:-1]):
        raise ValueError(f"{argument(owner, 'changes')} must be ascending, got {changes}.")
    dims = max(0, current.ndim - 1 - len(cell.size))
    state = cell.init_state(current.shape[1 : 1 + dims]) if state is None else state
    if not broadcasts(current.shape[1:], state.V.shape):
        raise ValueError(
            f"{argument(owner, 'current')} must have the shape (num_pieces, *batch, *size), and its pieces must "
            f"broadcast to that of the state, {state.V.shape}; got {current.shape}."
        )
    return _of_current(cell, state, current, changes, _as_end(t_end, owner), _as_count(max_spikes, owner))


# The events


@eqx.filter_jit
def _of_spikes(cell: CubaLIF, state: Any, weight: Array, times: Array, t_end: Any, max_spikes: int) -> SpikeTimes:
    flat, shape = _flattened(cell, state)
    dtype, num_in = flat.V.dtype, times.shape[-1]
    t_end, weight = jnp.asarray(t_end, dtype), weight.astype(dtype)
    num_batch, num_spikes = len(flat.V), len(times)
    times = times.astype(dtype).reshape(num_spikes, num_batch, num_in).swapaxes(0, 1)
    times = _from(0, times.reshape(num_batch, num_spikes * num_in))
    arrives = ~(times >= t_end)
    order = jnp.argsort(jnp.where(arrives, times, jnp.inf), axis=1)
    times, arrives = (jnp.take_along_axis(x, order, axis=1) for x in (jnp.where(arrives, times, t_end), arrives))
    neurons, num_events = jnp.arange(weight.shape[1]), times.shape[1]

    def jump(event: Array) -> Array:
        if num_events == 0:
            return jnp.zeros((), dtype)
        index = jnp.minimum(event, num_events - 1)
        of, arrived = (jnp.take_along_axis(x, index, axis=1) for x in (order % num_in, arrives))
        return jnp.where(arrived & (event < num_events), weight[of, neurons], 0)

    events = Events(times, jump, lambda event: jnp.zeros((), dtype))
    return _restored(follow(cell, flat, events, t_end, max_spikes), shape)


@eqx.filter_jit
def _of_current(
    cell: LIF | CubaLIF, state: Any, current: Array, changes: Array, t_end: Any, max_spikes: int
) -> SpikeTimes:
    flat, shape = _flattened(cell, state)
    dtype = flat.V.dtype
    t_end = jnp.asarray(t_end, dtype)
    missing = (1,) * (len(shape) + 1 - current.ndim)
    pieces = current.astype(dtype).reshape(len(current), *missing, *current.shape[1:])
    pieces = jnp.broadcast_to(pieces, (len(current), *shape)).reshape(len(current), *flat.V.shape)
    changes = changes.astype(dtype)
    changes = _from(jnp.concatenate([jnp.zeros(1, dtype), changes[:-1]])[: len(changes)], changes)
    times = jnp.broadcast_to(jnp.where(changes >= t_end, t_end, changes), (len(flat.V), len(changes)))
    events = Events(
        times, lambda event: jnp.zeros((), dtype), lambda event: jnp.take_along_axis(pieces, event[None], axis=0)[0]
    )
    return _restored(follow(cell, flat, events, t_end, max_spikes), shape)


def _from(low: Any, times: Array) -> Array:
    """The times, with NaN for those before `low`, which are not known when JAX traces."""
    return jnp.where(times >= low, times, jnp.nan)


def _flattened(cell: Any, state: Any) -> tuple[Any, Shape]:
    """The state with arrays of shape (batch, neuron), and the shape that they had."""
    return jax.tree.map(lambda x: x.reshape(-1, math.prod(cell.size)), state), state.V.shape


def _restored(found: SpikeTimes, shape: Shape) -> SpikeTimes:
    return jax.tree.map(lambda x: x.reshape(*x.shape[:-2], *shape), found)


# Reading the arguments


def _check_cell(cell: Any, kinds: tuple[type, ...], owner: str) -> None:
    if not isinstance(cell, kinds):
        names = " or a ".join(f"`{kind.__name__}`" for kind in kinds)
        raise TypeError(
            f"{argument(owner, 'cell')} must be a {names}, whose `V` is known in closed form between two events, got "
            f'a `{type(cell).__name__}`. Run others with `simulate`, with `spike_time="interpolated"`.'
        )
    if cell.spk_reset is None:
        raise ValueError(f"{argument(owner, 'cell')} must have a reset: `spk_reset` 'soft' or 'hard', got None.")


def _as_times(times: QuantityLike, name: str, owner: str) -> Array:
    array = as_float_array(to_plain(times, ms, name, owner))
    if not is_traced(array) and not np.all(np.asarray(array) >= 0):
        raise ValueError(f"{argument(owner, name)} must be times from 0 on, the start, got {times!r:.60}.")
    return array


def _as_end(t_end: QuantityLike, owner: str) -> Any:
    return as_milliseconds(t_end, owner, "t_end")


def _as_count(max_spikes: Any, owner: str) -> int:
    if isinstance(max_spikes, bool) or not isinstance(max_spikes, int | np.integer) or max_spikes < 1:
        raise ValueError(f"{argument(owner, 'max_spikes')} must be a positive int, got {max_spikes!r}.")
    return int(max_spikes)

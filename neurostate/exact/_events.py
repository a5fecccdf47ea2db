"""From event to event: each neuron goes to its next input or to its next spike, whichever is first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Bool, Float, Int
from .._units import measures
from ._membrane import Membrane


class SpikeTimes(eqx.Module):
    """What the exact simulation finds for each neuron.

    - `times`: The times of the spikes in ms, ascending, of shape `(max_spikes, *batch, *size)`, with `inf` where there
        are fewer. All are NaN for a neuron whose `V` became NaN, and then its `count` means nothing.
    - `count`: The number of spikes, of shape `(*batch, *size)`, as all that follows.
    - `overflow`: Whether there was a further spike, for which `max_spikes` left no room. From there on the neuron is
        not followed: it neither spikes nor is reset.
    - `margin`: How far below the threshold the highest maximum of `V` was that is no spike, in mV; the end counts as
        one. Near 0 a spike is about to appear, so that the gradient of `times` jumps. `margin` is differentiable, and
        a loss of it brings silent neurons to spike.
    - `slope`: The slope of `V` at the flattest crossing, in mV/ms; `inf` without any. Near 0 a spike is about to
        disappear, and the gradient of its time is large. If `V` only just touches the threshold, so that `slope` is 0
        up to rounding, the time has no derivative, and what is given for one means nothing.
    - `state`: The state of the cell at the end.
    """

    times: Float[Array, " max_spikes *state"] = eqx.field(metadata=measures("time"))
    count: Int[Array, " *state"]
    overflow: Bool[Array, " *state"]
    margin: Float[Array, " *state"] = eqx.field(metadata=measures("voltage"))
    slope: Float[Array, " *state"] = eqx.field(metadata=measures("voltage rate"))
    state: Any


class Events(NamedTuple):
    """The inputs: `times` of shape (batch, number), ascending, and what the one with an index does.

    `jump` gives what it adds to `g`, and `current` the current up to it; both are called with indices of shape
    (batch, neuron) from 0 to the number of events, at which the end is.
    """

    times: Array
    jump: Callable[[Array], Any]
    current: Callable[[Array], Any]


class _At(NamedTuple):
    """Where each neuron is. Arrays of shape (batch, neuron)."""

    t: Array
    V: Array
    g: Array
    free: Array  # when the refractory period is over
    over: Array  # whether `V` is above the threshold because it started there
    event: Array  # the index of the next event
    count: Array
    overflow: Array
    margin: Array
    slope: Array


def follow(cell: Any, state: Any, events: Events, t_end: Array, max_spikes: int) -> SpikeTimes:
    """Follows all neurons from 0 to `t_end`. The arrays of `state` have the shape (batch, neuron)."""
    membrane = Membrane(cell, state.V.dtype)
    ends = jnp.concatenate([events.times, jnp.broadcast_to(t_end, (len(state.V), 1))], axis=1)
    num_events = events.times.shape[1]
    zeros, none = jnp.zeros_like(state.V), jnp.zeros(state.V.shape, bool)
    index = jnp.zeros(state.V.shape, int)
    at = _At(
        t=zeros,
        V=state.V,
        g=state.g if "g" in cell.variables() else zeros,
        free=zeros - 1 if state.refractory is None else state.refractory,
        over=state.V >= membrane.V_th,
        event=index,
        count=index,
        overflow=none,
        margin=zeros + jnp.inf,
        slope=zeros + jnp.inf,
    )

    def step(at: _At, _: None) -> tuple[_At, tuple[Array, Array]]:
        event = jnp.minimum(at.event, num_events)
        end = jnp.take_along_axis(ends, event, axis=1)
        return _to_next(cell, membrane, at, end, events.jump(event), events.current(event), max_spikes)

    at, (spiked, times) = jax.lax.scan(step, at, None, length=num_events + 1 + max_spikes)
    order = jnp.argsort(~spiked, axis=0, stable=True)[:max_spikes]
    room = jnp.arange(max_spikes)[:, None, None]
    times = jnp.where(room < at.count, jnp.take_along_axis(times, order, axis=0), jnp.inf)
    final = {"V": at.V} | ({"g": at.g} if "g" in cell.variables() else {})
    if state.refractory is not None:
        final["refractory"] = jnp.where(at.free > t_end, at.free - t_end, -1)
    if state.since_spike is not None:
        last = jnp.take_along_axis(times, jnp.maximum(at.count - 1, 0)[None], axis=0)[0]
        final["since_spike"] = jnp.where(
            at.count > 0, t_end - jnp.where(at.count > 0, last, 0), state.since_spike + t_end
        )
    times = jnp.where(jnp.isnan(membrane.V_th - at.V), jnp.nan, times)
    margin = jnp.minimum(at.margin, jnp.where(at.over | at.overflow, jnp.inf, membrane.V_th - at.V))
    return SpikeTimes(times, at.count, at.overflow, margin, at.slope, state.with_(**final))


def _to_next(
    cell: Any, membrane: Membrane, at: _At, end: Array, jump: Any, current: Any, max_spikes: int
) -> tuple[_At, tuple[Array, Array]]:
    """To the spike of each neuron before `end`, or to `end` and over the event there."""
    start = jnp.where(at.free > at.t, jnp.minimum(at.free, end), at.t)
    g, left = membrane.decayed(at.g, start - at.t), end - start
    V_inf = membrane.V_rest + membrane.R * current
    fixed = jax.lax.stop_gradient((membrane, at.V, g, V_inf, left))
    top = fixed[0].top(*fixed[1:])
    highest = membrane.moved(at.V, g, V_inf, top)
    above = jnp.where(at.over, at.free <= end, highest >= membrane.V_th)
    spiked = above & (at.count < max_spikes)
    time = membrane.crossing(at.V, g, V_inf, top, spiked & ~at.over)
    t_spike, g_spike = start + time, membrane.decayed(g, time)
    V_spike = jnp.where(at.over, at.V, membrane.V_th)
    V_after = V_spike - (membrane.V_th - membrane.V_reset) if cell.spk_reset == "soft" else membrane.V_reset
    # Maxima: inside, and at the start where the event there made `V` fall.
    rising = membrane.slope(at.V, g, V_inf) > 0
    peak = jnp.where(rising & (top < left), highest, jnp.where(rising, -jnp.inf, at.V))
    passed = jnp.where(above | at.overflow | (left == 0), jnp.inf, membrane.V_th - peak)
    slope = jnp.where(at.over, jnp.inf, membrane.slope(membrane.V_th, g_spike, V_inf))
    here = lambda spike, other: jnp.where(spiked, spike, other)  # noqa: E731
    after = _At(
        t=here(t_spike, end),
        V=here(V_after, membrane.moved(at.V, g, V_inf, left)),
        g=here(g_spike, membrane.decayed(g, left) + jump),
        free=here(t_spike + membrane.tau_ref, at.free),
        over=at.over & (~spiked | (V_after >= membrane.V_th)),
        event=here(at.event, at.event + 1),
        count=at.count + spiked,
        overflow=at.overflow | (above & ~spiked),
        margin=jnp.minimum(at.margin, passed),
        slope=jnp.minimum(at.slope, here(slope, jnp.inf)),
    )
    return after, (spiked, t_spike)

"""One step of a neuron: to the next point of the grid, or over a threshold crossing between two points."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array
from .._drive import Drive


# How many iterations at most look for the time of a crossing within a step; most need less than ten.
_ITERATIONS: Final = 60
# How far before a crossing its derivative is taken: so many times the resolution of its time.
_MARGIN: Final = 256


def step_to_grid(
    cell: Any,
    state: Any,
    drive: Drive,
    dt: Any,
    spiked: Array | None = None,
    spikes: Callable[[Any], Array] | None = None,
) -> tuple[Any, Array]:
    """Resets the neurons that spiked at the end of the step before, moves on by `dt`, and asks which spike now.

    A neuron without reset spikes where it crosses the threshold from below. Where it is not the threshold that
    decides, `spikes` tells the spikes of a state, and `spiked` those of the step before.
    """
    dtype = state.V.dtype
    spikes_of: Callable[[Any], Array] = spikes or (lambda state: cell.spk_fun(cell.distance(state)))
    old = spikes_of(state) if spiked is None else spiked
    left, held = None, None
    if state.refractory is not None:
        # Counted in whole steps, so that rounding errors do not add up. A neuron that has none left moves again, but it
        # has not spiked, whatever its `V` is.
        left = jnp.round(state.refractory / dt)
        old = jnp.where(state.refractory < 0, old, 0)
    start = state.with_(refractory=None, since_spike=None)
    if drive.g_jump is not None:
        start = start.with_(g=start.g + drive.g_jump)
    if cell.has_reset:
        if left is not None:
            left = jnp.where(old > 0, _whole_steps(cell.tau_ref, dt), left)
            held = left > 0
        after = cell.reset(start, old)
        if cell.detach_reset:
            after = after.with_(V=cell.reset(start, jax.lax.stop_gradient(old)).V)
        start = after
    new = cell.flow(start, drive, dt, held)
    if drive.jump is not None:
        jump = drive.jump if held is None else jnp.where(held, 0, drive.jump)
        new = new.with_(V=new.V + jump)
    new = _like(new, state)
    spike = spikes_of(new)
    if not cell.has_reset:
        spike = spike * (1 - cell.spk_fun(cell.distance(state)))
    if left is not None:
        held = left > 0
        spike = jnp.where(held, 0, spike)
        refractory = jnp.where(held, (left - 1) * dt, -1)
        if not cell.has_reset:
            refractory = jnp.where(spike > 0, _whole_steps(cell.tau_ref, dt) * dt, refractory)
        new = new.with_(refractory=refractory.astype(dtype))
    return new, spike.astype(dtype)


def _like(new: Any, state: Any) -> Any:
    """The new state in the dtypes of the old one."""
    return jax.tree.map(lambda a, b: a.astype(b.dtype), new, state.with_(refractory=new.refractory, since_spike=None))


def _whole_steps(tau_ref: Array, dt: Any) -> Array:
    """For how many steps after the one with the spike a neuron cannot spike."""
    return jnp.maximum(jnp.ceil(tau_ref / dt - 1e-3) - 1, 0)


def step_to_crossing(cell: Any, state: Any, drive: Drive, dt: Any) -> tuple[Any, Array]:
    """Moves on by `dt`; where the threshold is crossed on the way, it resets there and integrates the rest.

    The time of the crossing is searched along the flow, and depends differentiably on everything. A neuron
    that is above the threshold when it comes out of its refractory period spikes at that moment.
    """
    dtype = state.V.dtype
    dt = jnp.asarray(dt, dtype)
    start, time = state.with_(refractory=None, since_spike=None), jnp.broadcast_to(dt, state.V.shape)
    if drive.g_jump is not None:
        start = start.with_(g=start.g + drive.g_jump)
    left = jnp.zeros_like(state.V) if state.refractory is None else jnp.maximum(state.refractory, 0)
    if state.refractory is not None and cell.has_reset:
        held = jnp.minimum(left, dt)
        start, time = cell.flow(start, drive, held, held >= 0), dt - held
    jump = jnp.zeros_like(state.V) if drive.jump is None else jnp.where(time > 0, drive.jump, 0)
    before = cell.flow(start, drive, time)
    new = before.with_(V=before.V + jump)
    below, above, end = cell.distance(start), cell.distance(before), cell.distance(new)
    at_once, by_flow = _is_spike(cell, below), _is_spike(cell, above)
    part, peak = _crossing(cell, start, drive, time, below, above, by_flow & ~at_once)
    part = jnp.where(at_once, 0, jnp.where(by_flow, part, 1))
    spike = cell.spk_fun(jnp.where(at_once, below, jnp.where(by_flow, above, end)))
    if cell.has_reset:
        spike = jnp.where(time > 0, spike, 0)
    else:
        spike = jnp.where(at_once | (left > part * dt), 0, spike)
    fired = jax.lax.stop_gradient(spike > 0)
    rest = time * (1 - part)
    left = jnp.maximum(left - dt, 0)
    if cell.has_reset:
        choose = lambda x, y, z: jnp.where(at_once, x, jnp.where(by_flow, y, z))  # noqa: E731
        peak = jax.tree.map(choose, start, peak, new)
        if cell.spk_reset == "hard":  # of which nothing is left in continuous time, nor of its derivative
            peak = peak.with_(V=jax.lax.stop_gradient(peak.V))
        after, moving, free = cell.reset(peak, jnp.ones_like(spike)), rest, True
        if cell.tau_ref is not None:
            held = jnp.minimum(rest, cell.tau_ref)
            after, moving, free = cell.flow(after, drive, held, held >= 0), rest - held, rest >= cell.tau_ref
        after = cell.flow(after, drive, moving)
        after = after.with_(V=after.V + jnp.where((at_once | by_flow) & free, jump, 0))
        new = jax.tree.map(lambda a, b: jnp.where(fired, a, b), after, new)
    if cell.tau_ref is not None:
        left = jnp.where(fired, jnp.maximum(cell.tau_ref - rest, 0), left)
        new = new.with_(refractory=jnp.where(left > 0, left, -1).astype(dtype))
    since = jnp.where(fired, rest, state.since_spike + dt)
    new = _like(new, state)
    return new.with_(since_spike=since.astype(dtype)), spike.astype(dtype)


def _is_spike(cell: Any, distance: Array) -> Array:
    return jax.lax.stop_gradient(cell.spk_fun(distance)) > 0


def _crossing(
    cell: Any, start: Any, drive: Drive, time: Array, below: Array, above: Array, crossed: Array
) -> tuple[Array, Any]:
    """The part of `time` after which the distance to the threshold is zero, and the state there.

    The distance goes from `below` zero to `above` it, where it is `crossed`.
    """

    def at(given: tuple[Any, Any, Drive, Array], part: Array) -> Any:
        cell, start, drive, time = given
        return cell.flow(start, drive, time * part)

    given = (cell, start, drive, time)
    fixed = jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, given)
    low, high = (jnp.where(crossed, jax.lax.stop_gradient(d), d0) for d, d0 in ((below, 0), (above, 0)))
    found = jax.lax.stop_gradient(_root(lambda part: cell.distance(at(fixed, part)), low, high))
    # The derivative of its time is that of a Newton step from just before it, where `V` still has a slope also if its
    # upstroke is too steep for the time to be resolved. The step takes `V` to the threshold.
    near = found * (1 - min(_MARGIN * float(jnp.finfo(found.dtype).eps), 0.1))
    state, rate = jax.jvp(functools.partial(at, given), (near,), (jnp.ones_like(near),))
    d, slope = jax.jvp(cell.distance, (state,), (rate,))
    rate, slope = jax.lax.stop_gradient((rate, jnp.where(crossed & (slope != 0), slope, 1)))
    d = jnp.where(crossed, d, 0)
    left = jax.lax.stop_gradient(d)
    moved = (left - d) / slope
    peak = jax.tree.map(lambda x, r: x + r * moved, state, rate)
    return found + moved, peak.with_(V=peak.V - left * (rate.V / slope))


def _root(f: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where `f` is zero between 0 and 1, at which it is `low` < 0 and `high` >= 0; 1 where both are 0.

    By the method of Chandrupatla (1997): inverse quadratic interpolation where it is safe, else halving. It goes on
    until all are found; one that is found does not change, so that it does not depend on the others.
    """
    eps = jnp.finfo(low.dtype).eps

    def going_on(t: Array, a: Array, b: Array, f_a: Array, f_b: Array) -> Array:
        del t
        return (f_a != 0) & (f_b != 0) & (jnp.abs(b - a) > 4 * eps * jnp.maximum(jnp.abs(a), eps))

    def narrow(ends: tuple[Array, ...]) -> tuple[Array, ...]:
        t, a, b, f_a, f_b = ends
        x = a + t * (b - a)
        f_x = f(x)
        same = (f_x < 0) == (f_a < 0)
        c, f_c = jnp.where(same, a, b), jnp.where(same, f_a, f_b)
        b, f_b = jnp.where(same, b, a), jnp.where(same, f_b, f_a)
        xi, phi = (x - b) / _away(c - b), (f_x - f_b) / _away(f_c - f_b)
        safe = (phi * phi < xi) & ((1 - phi) ** 2 < 1 - xi)
        first = f_x / _away(f_b - f_x) * f_c / _away(f_b - f_c)
        second = (c - x) / _away(b - x) * f_x / _away(f_c - f_x) * f_b / _away(f_c - f_b)
        least = jnp.minimum(2 * eps * jnp.maximum(jnp.abs(x), eps) / _away(jnp.abs(b - x)), 0.5)
        new = (jnp.where(safe, jnp.clip(first + second, least, 1 - least), 0.5), x, b, f_x, f_b)
        going = going_on(*ends)
        return tuple(jnp.where(going, y, old) for y, old in zip(new, ends, strict=True))

    def proceed(state: tuple[Array, tuple[Array, ...]]) -> Array:
        return (state[0] < _ITERATIONS) & going_on(*state[1]).any()

    start = (jnp.full_like(low, 0.5), jnp.ones_like(low), jnp.zeros_like(low), high, low)
    _, (_, a, b, f_a, f_b) = jax.lax.while_loop(
        proceed, lambda state: (state[0] + 1, narrow(state[1])), (jnp.asarray(0), start)
    )
    return jnp.where(jnp.abs(f_a) <= jnp.abs(f_b), a, b)


def _away(x: Array) -> Array:
    """The same, but never zero."""
    return jnp.where(x == 0, 1, x)

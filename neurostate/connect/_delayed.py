"""Arrivals that are late by a delay of each synapse, in a ring of the steps to come."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from .._custom_types import Array, Float, Int
from . import _kernel
from ._base import AbstractConnection
from ._dense import Dense
from ._event_sparse import EventSparse
from ._events import for_each_event
from ._rows import Rows


def arrive_late(
    connection: AbstractConnection,
    x: Float[Array, "batch num_in"],
    lag: Array,
    ring: Float[Array, "length batch num_out"],
    slot: Int[Array, ""],
) -> Float[Array, "length batch num_out"]:
    """Adds what `x` sends to the ring: of each synapse to the slot `lag` steps after `slot`.

    A lag is a whole number of an integer dtype, or any number of a floating one, which is divided between the two slots
    around it; at most the length of the ring less one.
    """
    if isinstance(connection, EventSparse):
        return _by_events(connection.values == "graded")(connection.rows, x, connection.weight, lag, ring, slot)
    weight: Array = connection.effective() if isinstance(connection, Dense) else getattr(connection, "weight")
    every = jax.vmap(lambda x: connection.at_pre(x) * weight)(x)
    targets = connection.at_post(jnp.arange(ring.shape[2]))
    return _add(every, targets, lag, ring, slot)


def _add(terms: Array, targets: Array, lag: Array, ring: Array, slot: Array) -> Array:
    """Adds the terms of all synapses, `(batch, *synapses)`."""
    shape = jnp.broadcast_shapes(terms.shape[1:], targets.shape, lag.shape)
    terms, batch = jnp.broadcast_to(terms, (terms.shape[0], *shape)), jnp.arange(ring.shape[1])
    batch = batch.reshape(-1, *[1] * len(shape))
    for at, part in _slots(lag, ring.shape[0], slot):
        ring = ring.at[at, batch, targets].add(terms if part is None else terms * part, mode="promise_in_bounds")
    return ring


def _slots(lag: Array, length: int, slot: Array) -> list[tuple[Array, Array | None]]:
    """The slots that a lag means, with the part of the whole that goes there."""

    def after(steps: Array) -> Array:
        at = slot + steps
        return jnp.where(at >= length, at - length, at)

    if jnp.issubdtype(lag.dtype, jnp.integer):
        return [(after(lag), None)]
    whole = jnp.floor(jax.lax.stop_gradient(lag))
    rest = lag - whole
    steps = whole.astype(jnp.int32)
    return [(after(steps), 1 - rest), (after(jnp.minimum(steps + 1, length - 1)), rest)]


@functools.cache
def _by_events(graded: bool) -> Any:
    @jax.custom_jvp
    def run(rows: Rows, x: Array, weight: Array, lag: Array, ring: Array, slot: Array) -> Array:
        return _joined(rows, graded)(rows.starts, rows.targets, x, weight, lag, ring, slot)

    def all_synapses(rows: Rows, x: Array, weight: Array, lag: Array, ring: Array, slot: Array) -> Array:
        return _add(x[:, rows.sources()] * weight, rows.targets, lag, ring, slot)

    @run.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        # Of the same terms, but looked at one by one only where they are not zero.
        (rows, *args), (_, *slopes) = primals, tangents
        return run(rows, *args), jax.jvp(functools.partial(all_synapses, rows), tuple(args), tuple(slopes))[1]

    return run


def _joined(rows: Rows, graded: bool) -> Any:
    @custom_vmap
    def run(starts: Array, targets: Array, x: Array, weight: Array, lag: Array, ring: Array, slot: Array) -> Array:
        filled = eqx.tree_at(lambda r: (r.starts, r.targets), rows, (starts, targets))
        return _loop(filled, x, weight, lag, ring, slot, graded)

    @run.def_vmap
    def _(size: int, in_batched: Any, *args: Array) -> Any:
        if any(is_mapped for k, is_mapped in enumerate(in_batched) if k not in (2, 5)):
            moved = tuple(arg if is_mapped else None for arg, is_mapped in zip(args, in_batched, strict=True))
            pick = lambda mapped: run(*(a if m is None else m for a, m in zip(args, mapped, strict=True)))  # noqa: E731
            return jax.lax.map(pick, moved), True
        starts, targets, x, weight, lag, ring, slot = args
        x = x if in_batched[2] else jnp.broadcast_to(x, (size, *x.shape))
        ring = ring if in_batched[5] else jnp.broadcast_to(ring, (size, *ring.shape))
        length, batch, num_out = ring.shape[1:]
        joined = jnp.moveaxis(ring, 0, 1).reshape(length, size * batch, num_out)
        out = run(starts, targets, x.reshape(size * batch, -1), weight, lag, joined, slot)
        return jnp.moveaxis(out.reshape(length, size, batch, num_out), 1, 0), True

    return run


def _loop(rows: Rows, x: Array, weight: Array, lag: Array, ring: Array, slot: Array, graded: bool) -> Array:
    if not (rows.compiled and _kernel.has_dtype(ring.dtype)):
        return _loop_in_jax(rows, graded, x, weight, lag, ring, slot)

    def compiled(x: Array, weight: Array, lag: Array, ring: Array, slot: Array) -> Array:
        return _kernel.deliver_late(rows.starts, rows.targets, x, weight, lag, ring, slot, graded)

    otherwise = functools.partial(_loop_in_jax, rows, graded)
    return jax.lax.platform_dependent(x, weight, lag, ring, slot, cpu=compiled, default=otherwise)


def _loop_in_jax(rows: Rows, graded: bool, x: Array, weight: Array, lag: Array, ring: Array, slot: Array) -> Array:
    length, batch, num_out = ring.shape
    flat, weight = x.reshape(-1), weight.astype(ring.dtype)

    def one(event: Any, ring: Array) -> Array:
        i, lane = (event, 0) if batch == 1 else (event % rows.num_in, event // rows.num_in)

        def part(place: Any, valid: Array | None, ring: Array) -> Array:
            here = lambda a: jax.lax.dynamic_slice_in_dim(a, place, rows.part) if a.ndim else a  # noqa: E731
            w = here(weight) * flat[event] if graded else here(weight)
            w = w if valid is None else jnp.where(valid, w, 0)
            for at, share in _slots(here(lag), length, slot):
                index = (at * batch + lane) * num_out + here(rows.targets)
                ring = ring.at[index].add(w if share is None else w * share, mode="promise_in_bounds")
            return ring

        return rows.for_each_part(i, part, ring)

    return for_each_event(flat != 0, one, ring.reshape(-1)).reshape(ring.shape)

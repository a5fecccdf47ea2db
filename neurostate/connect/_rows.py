"""Sums over the synapses of the neurons that spike, and their derivatives."""

from __future__ import annotations

import functools
from typing import Any, Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero

from .._custom_types import Array, Float, Int
from . import _kernel
from ._edges import Edges
from ._events import for_each_event
from ._every import sum_over_synapses


# What it costs to begin with a part of a row, in synapses.
_PART: Final = 48


class Rows(eqx.Module):
    """The synapses of each neuron of `pre`, one after the other: from `starts[i]` to before `starts[i + 1]`.

    `degree` is the number of synapses of a neuron if it is the same for all. Rows are looked at in parts of `part`
    synapses, or on the CPU by the `compiled` kernel.
    """

    starts: Int[Array, " num_in_and_one"]
    targets: Int[Array, " synapses"]
    num_in: int = eqx.field(static=True)
    num_out: int = eqx.field(static=True)
    degree: int | None = eqx.field(static=True)
    part: int = eqx.field(static=True)
    compiled: bool = eqx.field(static=True)

    @classmethod
    def of(cls, edges: Edges, compiled: bool = False) -> Rows:
        starts = edges.starts()
        degrees = np.diff(starts)
        largest = int(degrees.max())
        same = largest == int(degrees.min())
        return cls(
            starts=jnp.asarray(starts),
            targets=jnp.asarray(edges.post),
            num_in=edges.num_in,
            num_out=edges.num_out,
            degree=largest if same else None,
            part=largest if same else _best_part(degrees),
            compiled=compiled,
        )

    def sources(self) -> Int[Array, " synapses"]:
        """The neuron of `pre` of each synapse."""
        every = jnp.arange(self.num_in, dtype=self.targets.dtype)
        repeats = jnp.diff(self.starts) if self.degree is None else self.degree
        return jnp.repeat(every, repeats, total_repeat_length=self.targets.shape[0])

    def for_each_part(self, i: Any, body: Any, carry: Any) -> Any:
        """Calls `carry = body(places, valid, carry)` for the parts of the row `i`.

        `places` is where the part begins in the list of all synapses; of the `part` synapses from there those count
        that are `valid`, all of them if that is `None`.
        """
        if self.degree is not None:
            return body(i * self.degree, None, carry)
        end = self.starts[i + 1]
        last = self.targets.shape[0] - self.part
        step = jnp.arange(self.part, dtype=jnp.int32)

        def one(state: Any) -> Any:
            begin, carry = state
            place = jnp.minimum(begin, last)
            valid = (place + step >= begin) & (place + step < end)
            return begin + self.part, body(place, valid, carry)

        return jax.lax.while_loop(lambda state: state[0] < end, one, (self.starts[i], carry))[1]


def _best_part(degrees: Any) -> int:
    """Into how long parts to divide rows of different lengths."""
    largest = int(degrees.max())
    candidates = sorted({largest, *(size for size in (16, 32, 48, 64, 96, 128, 192, 256, 512, 1024) if size < largest)})
    counts = np.bincount(degrees)
    lengths = np.arange(counts.size)
    cost = {size: float((counts * -(-lengths // size)).sum()) * (_PART + size) for size in candidates}
    return min(candidates, key=lambda size: cost[size])


def deliver(
    rows: Rows, x: Float[Array, "batch num_in"], weight: Float[Array, "..."], graded: bool
) -> Float[Array, "batch num_out"]:
    """What arrives at each neuron: the sum over its synapses of the weight times `x` of the neuron in front.

    The cost follows the number of nonzero `x`. They count as 1 if not `graded`. `weight` is one for all, or one
    for each synapse. Differentiable in `x` and `weight`, at the cost of all synapses, since the silent neurons have a
    derivative too.
    """
    return _delivery(graded)(rows, x, weight)


@functools.cache
def _delivery(graded: bool) -> Any:
    @jax.custom_jvp
    def run(rows: Rows, x: Array, weight: Array) -> Array:
        return _batched(rows, graded)(rows.starts, rows.targets, x, weight)

    def tangent(primals: Any, tangents: Any) -> Any:
        (rows, x, weight), (_, dx, dweight) = primals, tangents
        slope = None
        if not isinstance(dx, SymbolicZero):
            slope = deliver_all(rows, dx, weight)
        if not isinstance(dweight, SymbolicZero):
            by_weight = deliver_all(rows, x, dweight)
            slope = by_weight if slope is None else slope + by_weight
        out = run(rows, x, weight)
        return out, jnp.zeros_like(out) if slope is None else slope

    run.defjvp(tangent, symbolic_zeros=True)
    return run


def deliver_all(rows: Rows, x: Array, weight: Array) -> Array:
    """The same as `deliver` over all synapses, linear in `x` and in `weight`."""
    if x.shape[0] > 1:
        return sum_over_synapses(rows.sources(), rows.targets, x, weight, rows.num_out)
    if rows.degree is not None:
        weights = weight if weight.ndim == 0 else weight.reshape(rows.num_in, rows.degree)
        terms = jnp.broadcast_to(x[0, :, None] * weights, (rows.num_in, rows.degree)).reshape(-1)
    else:
        terms = x[0, rows.sources()] * weight
    out = jnp.zeros(rows.num_out, terms.dtype)
    return out.at[rows.targets].add(terms, mode="promise_in_bounds")[None]


def _batched(rows: Rows, graded: bool) -> Any:
    """The loop over events as a function of arrays that `vmap` joins to one batch."""

    @custom_vmap
    def run(starts: Array, targets: Array, x: Array, weight: Array) -> Array:
        return _loop(eqx.tree_at(lambda r: (r.starts, r.targets), rows, (starts, targets)), x, weight, graded)

    @run.def_vmap
    def _(axis_size: int, in_batched: Any, starts: Array, targets: Array, x: Array, weight: Array) -> Any:
        if any(in_batched[k] for k in (0, 1, 3)):
            args = (starts, targets, x, weight)
            moved = [arg if is_mapped else None for arg, is_mapped in zip(args, in_batched, strict=True)]
            pick = lambda mapped: run(*(a if m is None else m for a, m in zip(args, mapped, strict=True)))  # noqa: E731
            return jax.lax.map(pick, tuple(moved)), True
        out = run(starts, targets, x.reshape(-1, x.shape[-1]), weight)
        return out.reshape(axis_size, -1, out.shape[-1]), True

    return run


def _loop(rows: Rows, x: Array, weight: Array, graded: bool) -> Array:
    if not (rows.compiled and _kernel.has_dtype(x.dtype)):
        return _loop_in_jax(rows, graded, x, weight)

    def compiled(x: Array, weight: Array) -> Array:
        return _kernel.deliver(rows.starts, rows.targets, x, weight, rows.num_out, graded)

    otherwise = functools.partial(_loop_in_jax, rows, graded)
    return jax.lax.platform_dependent(x, weight, cpu=compiled, default=otherwise)


def _loop_in_jax(rows: Rows, graded: bool, x: Array, weight: Array) -> Array:
    batch, (num_in, num_out) = x.shape[0], (rows.num_in, rows.num_out)
    flat = x.reshape(-1)
    weight = weight.astype(x.dtype)

    def one(event: Any, out: Array) -> Array:
        i, base = (event, 0) if batch == 1 else (event % num_in, event // num_in * num_out)

        def part(place: Any, valid: Array | None, out: Array) -> Array:
            targets = jax.lax.dynamic_slice_in_dim(rows.targets, place, rows.part) + base
            w = weight if weight.ndim == 0 else jax.lax.dynamic_slice_in_dim(weight, place, rows.part)
            w = w * flat[event] if graded else w
            w = w if valid is None else jnp.where(valid, w, 0)
            return out.at[targets].add(w, mode="promise_in_bounds")

        return rows.for_each_part(i, part, out)

    out = for_each_event(flat != 0, one, jnp.zeros(batch * num_out, x.dtype))
    return out.reshape(batch, num_out)

"""A scan whose backward pass runs segments of it again, so that its memory is bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ._custom_types import PyTree


def scan_in_segments(
    f: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]],
    carry: PyTree,
    xs: PyTree,
    *,
    segment: int | None,
    unroll: int | bool = 1,
    after: Callable[[PyTree, PyTree, PyTree], None] | None = None,
) -> tuple[PyTree, PyTree]:
    """`lax.scan`, in segments that the backward pass runs again if `segment` is given.

    Reverse mode keeps the carries between the segments, and those within one of them at a time. So
    it keeps `length / segment + segment` of them.

    **Arguments:** as [`jax.lax.scan`][], and

    - `segment`: The number of steps in a segment.
    - `after`: Called after each segment with its slices of `xs`, the carry and its outputs, outside
      of the checkpoint, where it does not run again.
    """

    def run(carry: PyTree, xs: PyTree) -> tuple[PyTree, PyTree]:
        return jax.lax.scan(f, carry, xs, unroll=unroll)

    return run(carry, xs) if segment is None else in_segments(run, carry, xs, segment=segment, after=after)


def in_segments(
    run: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]],
    carry: PyTree,
    xs: PyTree,
    *,
    segment: int,
    checkpoint: bool = True,
    after: Callable[[PyTree, PyTree, PyTree], None] | None = None,
) -> tuple[PyTree, PyTree]:
    """`run(carry, xs)` of segments of `xs`, one after the other; as `scan_in_segments`.

    Without `checkpoint`, what is in a segment is stored for the backward pass.
    """

    def run_and_tell(carry: PyTree, xs: PyTree, prevent_cse: bool) -> tuple[PyTree, PyTree]:
        carry, ys = (jax.checkpoint(run, prevent_cse=prevent_cse) if checkpoint else run)(carry, xs)
        if after is not None:
            after(xs, carry, ys)
        return carry, ys

    length = len(jax.tree.leaves(xs)[0])
    split = length // segment * segment
    parts: list[Any] = []
    if split:
        heads = jax.tree.map(lambda x: x[:split].reshape(split // segment, segment, *x.shape[1:]), xs)
        carry, ys = jax.lax.scan(lambda c, x: run_and_tell(c, x, prevent_cse=False), carry, heads)
        parts.append(jax.tree.map(lambda y: y.reshape(split, *y.shape[2:]), ys))
    if split < length:
        rest = jax.tree.map(lambda x: x[split:], xs)
        carry, ys = run_and_tell(carry, rest, prevent_cse=True)
        parts.append(ys)
    return carry, jax.tree.map(lambda *ys: jnp.concatenate(ys), *parts) if len(parts) > 1 else parts[0]

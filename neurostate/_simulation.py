"""The loops of `simulate`: step by step, and layer by layer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._custom_types import Array, Key, PyTree
from ._progress import BoundBar
from ._segments import scan_in_segments
from ._units import is_traced
from .network._layerwise import handed_on, run_layerwise, state_of, step_handing_on


def _compiled(run: Callable[..., Any]) -> Callable[..., Any]:
    """`eqx.filter_jit`, but in place where a program is being staged, in which it would only be a barrier for XLA."""
    jitted = eqx.filter_jit(run)

    @functools.wraps(run)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (run if is_traced(jnp.zeros(())) else jitted)(*args, **kwargs)

    return call


@_compiled
def run_in_blocks(
    model: Any,
    state: PyTree,
    inputs: PyTree,
    key: Key | None,
    dt: float | Array,
    start: np.int32,
    num_steps: int,
    block: int,
    unroll: int | bool,
    checkpoint: bool,
) -> tuple[PyTree, PyTree]:
    """The outputs, and the state after the last step."""
    keys = None
    if key is not None:
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(num_steps, dtype=jnp.int32) + start)
    options: dict[str, Any] = {"num_steps": num_steps, "dt": dt, "block": block, "unroll": unroll}
    state, outputs = run_layerwise(model, state, inputs, keys, checkpoint=checkpoint, **options)
    return outputs, state


@_compiled
def run_by_steps(
    model: Any,
    state: PyTree,
    inputs: PyTree,
    key: Key | None,
    dt: float | Array,
    bar: BoundBar | None,
    start: np.int32,
    *,
    num_steps: int,
    record: Callable[[PyTree, PyTree], PyTree] | None,
    every: int,
    reduce: str,
    keep: bool,
    unroll: int | bool,
    segment: int | None,
) -> tuple[PyTree, PyTree, PyTree]:
    """The outputs that are kept, the state after the last step, and the records."""
    # Where states are run again, the spikes are handed on with them instead of asked for again.
    hands_on = segment is not None

    def step(state: PyTree, x: tuple[Any, Any]) -> tuple[PyTree, PyTree]:
        i, current = x
        step_key = None if key is None else jax.random.fold_in(key, i + start)
        if hands_on:
            state, output = step_handing_on(model, state, current, dt, step_key)
        else:
            state, output = model.step(state, current, dt=dt, **({} if key is None else {"key": step_key}))
        if bar is not None and segment is None:
            bar.tick(i, plain(state), output)
        return state, output

    def plain(state: PyTree) -> PyTree:
        return state_of(model, state) if hands_on else state

    def tick(xs: tuple[Any, Any], state: PyTree, ys: PyTree) -> None:
        if bar is not None:
            index = xs[0].reshape(-1)
            bar.tick(index[-1], plain(state), _row(ys, -1), stride=index.size, wait=True)

    def kept(state: PyTree, output: PyTree) -> tuple[PyTree, PyTree]:
        return output if keep else None, None if record is None else record(plain(state), output)

    state = handed_on(model, state) if hands_on else state
    needs_index = key is not None or bar is not None or inputs is None
    index = jnp.arange(num_steps, dtype=jnp.int32) if needs_index else None
    xs = (index, inputs)
    scan = functools.partial(scan_in_segments, unroll=unroll, after=tick)
    if every == 1:

        def body(state: PyTree, x: tuple[Any, Any]) -> tuple[PyTree, PyTree]:
            state, output = step(state, x)
            return state, kept(state, output)

        state, (outputs, records) = scan(body, state, xs, segment=segment)
        return outputs, plain(state), records

    last = reduce == "last"
    first = jax.eval_shape(lambda: step(state, _row(xs, 0)) if last else kept(*step(state, _row(xs, 0))))
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first[1] if last else first)

    def gather(carry: tuple[PyTree, PyTree], x: tuple[Any, Any]) -> tuple[tuple[PyTree, PyTree], None]:
        state, output = step(carry[0], x)
        return (state, output if last else jax.tree.map(jnp.add, carry[1], kept(state, output))), None

    def tick_gathering(xs: tuple[Any, Any], carry: tuple[PyTree, PyTree], ys: None) -> None:
        tick(xs, carry[0], ys)

    gathering = functools.partial(scan_in_segments, gather, unroll=unroll, after=tick_gathering)
    inner = segment if segment is not None and segment < every else None

    def block(state: PyTree, xs: tuple[Any, Any]) -> tuple[PyTree, PyTree]:
        (state, gathered), _ = gathering((state, blank), xs, segment=inner)
        if last:
            return state, kept(state, gathered)
        return state, jax.tree.map(lambda x: x / every, gathered) if reduce == "mean" else gathered

    split = num_steps // every * every
    blocks = jax.tree.map(lambda x: x[:split].reshape(split // every, every, *x.shape[1:]), xs)
    outer = None if segment is None or inner is not None else segment // every
    state, (outputs, records) = scan_in_segments(block, state, blocks, segment=outer, after=tick)
    if split < num_steps:
        rest = jax.tree.map(lambda x: x[split:], xs)
        (state, _), _ = gathering((state, blank), rest, segment=segment)
    return outputs, plain(state), records


def _row(tree: PyTree, i: int) -> PyTree:
    return jax.tree.map(lambda x: x[i], tree)

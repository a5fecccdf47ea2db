"""`for_loop`, `scan` and their checkpointed forms: loops over time whose references are carried from step to step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ... import _errors
from ..._progress import BoundBar, ProgressBar, as_progress_bar
from ..._segments import scan_in_segments
from .. import _staging
from .._collector import Frame, commit_frame
from .._config import jit_is_disabled
from .._tracing import is_eager
from .._values import is_array, pack, rescale, unpack
from ._carry import Body, check_carry, check_same, watch_output


def for_loop(
    f: Callable[..., Any],
    *xs: Any,
    length: int | None = None,
    reverse: bool = False,
    unroll: int = 1,
    pbar: ProgressBar | int | None = None,
) -> Any:
    """Calls `f` on each slice of `xs` and stacks the results, as one [`jax.lax.scan`][].

    Means the same as `stack([f(*[x[i] for x in xs]) for i in range(length)])`, but Python runs `f`
    once. A reference that `f` reads enters the loop; one that it writes is carried from step to
    step and holds its last value afterwards. If anything raises, every reference is as before.

    **Arguments:** as [`jax.lax.scan`][], except that `f(*slices) -> out` has no carry.

    - `length`: The number of steps; needed without `xs`, where `f` takes no argument.
    - `pbar`: A [`neurostate.transform.ProgressBar`][], or the number of steps between its updates.

    **Returns:** The outputs of `f`, each with a leading time axis.

    **Raises:** `StateStructureError` if `f` changes the shape, dtype, unit or structure of a
    reference; `TraceContextError` if it makes one that a module outside the loop keeps.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> total = ns.StateRef(0.0)
    >>> def step(x):
    ...     total.value = total.value + x
    ...     return total.value
    >>> print(ns.transform.for_loop(step, jnp.arange(4.0)))
    [0. 1. 3. 6.]
    """
    return loop("for_loop", f, xs, length, reverse, unroll, pbar)


def checkpointed_for_loop(
    f: Callable[..., Any],
    *xs: Any,
    length: int | None = None,
    base: int = 16,
    pbar: ProgressBar | int | None = None,
) -> Any:
    """A [`neurostate.transform.for_loop`][] whose reverse-mode memory is bounded.

    The backward pass runs segments of `base` steps again. So it keeps `length / base + base` values
    of the states instead of `length`, and gives the same gradients.

    **Arguments:** as `for_loop`; `base` is an int of at least 2.

    **Returns:**, **Raises:** as `for_loop`.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.transform.checkpointed_for_loop(lambda x: x * x, jnp.arange(4.0), base=2))
    [0. 1. 4. 9.]
    """
    return loop("checkpointed_for_loop", f, xs, length, pbar=pbar, segment=_segment(base))


def checkpointed_scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    base: int = 16,
    pbar: ProgressBar | int | None = None,
) -> tuple[Any, Any]:
    """A [`neurostate.transform.scan`][] whose reverse-mode memory is bounded.

    **Arguments:**, **Returns:**, **Raises:** as `scan`, and `base` as in
    [`neurostate.transform.checkpointed_for_loop`][].
    """
    return _scan("checkpointed_scan", f, init, xs, length, False, 1, pbar, _segment(base))


def _segment(base: int) -> int:
    if isinstance(base, bool) or not isinstance(base, int) or base < 2:
        raise ValueError(f"The base of a checkpointed loop must be an int of at least 2, got {base!r}.")
    return base


def loop(
    kind: str,
    f: Callable[..., Any],
    xs: tuple[Any, ...],
    length: int | None = None,
    reverse: bool = False,
    unroll: int = 1,
    pbar: ProgressBar | int | None = None,
    segment: int | None = None,
) -> Any:
    """A `for_loop` under the name of another transform."""
    if not callable(f):
        raise TypeError(_errors.not_callable(kind, f))

    def body(carry: None, slices: tuple[Any, ...]) -> tuple[None, Any]:
        del carry
        return None, f(*slices)

    return _Loop(kind, body, length, reverse, unroll, pbar, segment)(None, xs)[1]


def scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int = 1,
    pbar: ProgressBar | int | None = None,
) -> tuple[Any, Any]:
    """[`jax.lax.scan`][] for a function that may read and write references.

    **Arguments:** as [`jax.lax.scan`][]; `pbar` as in [`neurostate.transform.for_loop`][].

    **Returns:** The last carry and the stacked outputs.

    **Raises:** `StateStructureError` if `f` changes the structure of the carry or of a reference.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> count = ns.StateRef(0)
    >>> def step(carry, x):
    ...     count.value = count.value + 1
    ...     return carry + x, carry
    >>> carry, before = ns.transform.scan(step, 0.0, jnp.arange(3.0))
    >>> print(carry, before, count.value)
    3.0 [0. 0. 1.] 3
    """
    return _scan("scan", f, init, xs, length, reverse, unroll, pbar)


def _scan(kind: str, f: Callable[..., Any], init: Any, xs: Any, *options: Any) -> tuple[Any, Any]:
    if not callable(f):
        raise TypeError(_errors.not_callable(kind, f))

    def body(carry: Any, slices: Any) -> tuple[Any, Any]:
        result = f(carry, slices)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise TypeError(_errors.scan_output(result))
        return result[0], result[1]

    return _Loop(kind, body, *options)(init, xs)


class _Loop:
    """One call of a loop: `body(carry, slices) -> (carry, out)` over the leading axis of `xs`."""

    def __init__(
        self,
        kind: str,
        body: Callable[[Any, Any], tuple[Any, Any]],
        length: int | None,
        reverse: bool,
        unroll: int,
        pbar: ProgressBar | int | None,
        segment: int | None = None,
    ):
        self.kind = kind
        self.body = body
        self.length = length
        self.reverse = reverse
        self.unroll = unroll
        self.pbar = pbar
        self.segment = segment

    def __call__(self, init: Any, xs: Any) -> tuple[Any, Any]:
        steps = self._steps(xs)
        shown = as_progress_bar(self.pbar, "pbar")
        bar = None if shown is None or steps == 0 else shown.bind(steps)
        if jit_is_disabled():
            return self._plain(init, xs, steps, bar)
        result = _staging.run(self.kind, lambda *args: self._staged(steps, *args), init, xs, bar)
        if bar is not None and is_eager():
            jax.effects_barrier()  # so that the bar is complete when the call returns
        return result

    def _steps(self, xs: Any) -> int:
        lengths = {}
        for path, leaf in jax.tree_util.tree_leaves_with_path(xs):
            if not is_array(leaf):
                raise TypeError(_errors.not_an_input(self.kind, jax.tree_util.keystr(path), leaf))
            if jnp.ndim(leaf) == 0:
                raise ValueError(_errors.scalar_input(self.kind, jax.tree_util.keystr(path)))
            lengths[jax.tree_util.keystr(path)] = jnp.shape(leaf)[0]
        if self.length is not None:
            lengths["length"] = int(self.length)
            if self.length < 0:
                raise ValueError(f"The `length` of `{self.kind}` must not be negative, got {self.length}.")
        if not lengths:
            raise ValueError(_errors.no_length(self.kind))
        if len(set(lengths.values())) > 1:
            raise ValueError(_errors.unequal_lengths(self.kind, lengths))
        return next(iter(lengths.values()))

    def _staged(self, steps: int, init: Any, xs: Any, bar: BoundBar | None) -> tuple[Any, Any]:
        in_body = bar if self.segment is None else None

        def body(carry: Any, slices: tuple[Any, Any]) -> tuple[Any, Any]:
            i, x = slices
            new, out = self.body(carry, x)
            if in_body is not None:
                in_body.tick(steps - 1 - i if self.reverse else i, new, out)
            return new, out

        traced = Body(self.kind, body, init, (None if bar is None else jnp.arange(steps), xs))
        if self.segment is None or steps == 0:
            options: dict[str, Any] = {"length": steps, "reverse": self.reverse, "unroll": self.unroll}
            return traced.finish(*lax.scan(traced.step, traced.start, traced.xs, **options))

        def tick(slices: list[Any], carry: Any, ys: Any) -> None:
            if bar is not None:
                seen = traced.struct.unflatten(carry[1]) if bar.describe else (carry, ys)
                bar.tick(slices[0][-1], seen, stride=slices[0].size, wait=True)

        index = traced.xs or [jnp.arange(steps)]  # a scan needs something to run over
        segment = functools.partial(scan_in_segments, segment=self.segment, after=tick)
        return traced.finish(*segment(lambda c, x: traced.step(c, x[: len(traced.xs)]), traced.start, index))

    def _plain(self, init: Any, xs: Any, steps: int, bar: BoundBar | None) -> tuple[Any, Any]:
        """The loop as plain Python, for `jax.disable_jit`."""
        if steps == 0:
            with jax.disable_jit(False):
                return self(init, xs)
        frame, carry, outs = Frame(self.kind), init, []
        with frame.running():
            for k in reversed(range(steps)) if self.reverse else range(steps):
                frame.step = k
                before = carry
                carry, out = self.body(carry, jax.tree.map(lambda x: x[k], xs))
                check_carry(self.kind, before, carry)
                watch_output((carry, out))
                outs.append(out)
                if bar is not None:
                    bar.tick(steps - 1 - k if self.reverse else k, carry, out)
                for ref in frame.written():
                    slot = frame.slot(ref)
                    slot.value = unpack(rescale(pack(slot.value), slot.entry))
                    check_same(self.kind, ref, slot.entry, pack(slot.value))
        frame.check_births(_errors.INIT_BEFORE)
        if self.reverse:
            outs.reverse()
        stacked = jax.tree.map(lambda *items: jnp.stack(items) if is_array(items[0]) else items[0], *outs)
        commit_frame(frame, births=False)
        return carry, stacked

"""`for_loop` and `scan`: loops over time whose references are carried from step to step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ... import _errors
from ..._errors import StateStructureError
from ..._progress import BoundBar, ProgressBar, as_progress_bar
from .. import _staging
from .._collector import Frame, StagedFrame, commit, commit_frame, path_of
from .._config import jit_is_disabled
from .._functionalize import Program, trace
from .._ref import describe_value
from .._values import flatten, is_weak, leaves_of, pack, repack, rescale, struct_of, unpack


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
    if not callable(f):
        raise TypeError(_errors.not_callable("for_loop", f))

    return loop("for_loop", f, xs, length, reverse, unroll, pbar)


def loop(
    kind: str,
    f: Callable[..., Any],
    xs: tuple[Any, ...],
    length: int | None = None,
    reverse: bool = False,
    unroll: int = 1,
    pbar: ProgressBar | int | None = None,
) -> Any:
    """A `for_loop` under the name of another transform."""

    def body(carry: None, slices: tuple[Any, ...]) -> tuple[None, Any]:
        del carry
        return None, f(*slices)

    return _Loop(kind, body, length, reverse, unroll, pbar)(None, xs)[1]


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
    if not callable(f):
        raise TypeError(_errors.not_callable("scan", f))

    def body(carry: Any, slices: Any) -> tuple[Any, Any]:
        result = f(carry, slices)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(_errors.scan_output(result))
        return result

    return _Loop("scan", body, length, reverse, unroll, pbar)(init, xs)


class LoopFrame(StagedFrame):
    """The frame of a loop's body: what it writes must come out as it went in.

    `promoted` has the dtypes of the weakly typed states that came out of an earlier trace otherwise.
    """

    def __init__(self, kind: str, promoted: dict[Any, list[Any]]):
        super().__init__(kind)
        self.promoted = promoted

    def enter(self, ref: Any, outer: Any) -> Any:
        if ref in self.promoted:
            leaves = zip(leaves_of(outer), self.promoted[ref], strict=True)
            outer = repack(struct_of(outer), [lax.convert_element_type(leaf, dtype) for leaf, dtype in leaves])
        return super().enter(ref, outer)

    def leave(self, ref: Any) -> Any:
        entry = self.slot(ref).entry
        new = rescale(super().leave(ref), entry)
        check_same(self.kind, ref, entry, new)
        return new


def check_same(kind: str, ref: Any, entry: Any, new: Any) -> None:
    """Refuses a value of another structure or shape than the one on entry."""
    if struct_of(new) != struct_of(entry) or _shapes(new) != _shapes(entry):
        raise StateStructureError(_errors.state_changed(kind, path_of(ref), describe_value(entry), describe_value(new)))


def _shapes(carried: Any) -> list[tuple[int, ...]]:
    return [jnp.shape(leaf) for leaf in leaves_of(carried)]


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
    ):
        self.kind = kind
        self.body = body
        self.length = length
        self.reverse = reverse
        self.unroll = unroll
        self.pbar = pbar

    def __call__(self, init: Any, xs: Any) -> tuple[Any, Any]:
        steps = self._steps(xs)
        shown = as_progress_bar(self.pbar, "pbar")
        bar = None if shown is None or steps == 0 else shown.bind(steps)
        if jit_is_disabled():
            return self._plain(init, xs, steps, bar)
        return _staging.run(self.kind, lambda *args: self._staged(steps, *args), init, xs, bar)

    def _steps(self, xs: Any) -> int:
        lengths = {}
        for path, leaf in jax.tree_util.tree_leaves_with_path(xs):
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
        init_leaves, init_struct = flatten(init)
        xs_leaves, xs_struct = flatten((xs, None if bar is None else jnp.arange(steps)))
        init_leaves = [jnp.asarray(leaf) for leaf in init_leaves]

        def body(*tracers: Any) -> tuple[Any, Any]:
            carry = init_struct.unflatten(tracers[: len(init_leaves)])
            slices, i = xs_struct.unflatten(tracers[len(init_leaves) :])
            new, out = self.body(carry, slices)
            if bar is not None:
                bar.tick(steps - 1 - i if self.reverse else i, new, out)
            if flatten(new)[1] != init_struct:
                raise StateStructureError(_errors.carry_structure(self.kind, init_struct, flatten(new)[1]))
            return new, out

        slices = [jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.asarray(leaf).dtype) for leaf in xs_leaves]
        promoted: dict[Any, list[Any]] = {}
        while True:
            frame = LoopFrame(self.kind, promoted)
            program, values = trace(body, [*init_leaves, *slices], frame)
            frame.check_births(_errors.INIT_BEFORE)
            before = values[: program.updates]
            new_init, new_states = self._promotions(program, before, init_leaves, promoted)
            if not new_init and not new_states:
                return self._run(program, values, init_leaves, xs_leaves, steps)
            # As in `lax.scan`: a weakly typed number that comes out otherwise goes in otherwise, strongly.
            init_leaves = [
                lax.convert_element_type(leaf, new_init.get(k, leaf.dtype)) for k, leaf in enumerate(init_leaves)
            ]
            promoted = {**promoted, **new_states}

    def _promotions(
        self, program: Program, before: list[Any], init: list[Any], promoted: dict[Any, list[Any]]
    ) -> tuple[dict[int, Any], dict[Any, list[Any]]]:
        """The dtypes of the weakly typed leaves of carry and states that come out with another one.

        A strong one that changes is an error, as is a changed shape of the carry.
        """
        kind, outs = self.kind, [variable.aval for variable in program.jaxpr.outvars]
        new_init = {}
        for k, (leaf, out) in enumerate(zip(init, outs, strict=False)):
            name = f"leaf {k} of the carry"
            if leaf.shape != out.shape:
                raise StateStructureError(_errors.state_changed(kind, name, describe_value(leaf), describe_value(out)))
            if leaf.dtype != out.dtype:
                if not is_weak(leaf):
                    raise StateStructureError(
                        _errors.dtype_changed(kind, name, describe_value(leaf), describe_value(out))
                    )
                new_init[k] = out.dtype
        new_states, start = {}, program.out_count
        for ref, value, count in zip(program.writes, before, program.write_counts, strict=True):
            dtypes = [out.dtype for out in outs[start : start + count]]
            start += count
            seen = promoted.get(ref) or [jax.typeof(leaf).dtype for leaf in leaves_of(value)]
            if dtypes == seen:
                continue
            weak = [
                is_weak(leaf) or dtype == old for leaf, dtype, old in zip(leaves_of(value), dtypes, seen, strict=True)
            ]
            if ref in promoted or not all(weak):
                new = repack(struct_of(value), outs[start - count : start])
                before_text, after_text = describe_value(value), describe_value(new)
                raise StateStructureError(_errors.dtype_changed(kind, path_of(ref), before_text, after_text))
            new_states[ref] = dtypes
        return new_init, new_states

    def _run(self, program: Program, values: list[Any], init: list[Any], xs: list[Any], steps: int) -> tuple[Any, Any]:
        """Runs the traced body as one `lax.scan` and commits what it writes."""
        before, read = values[: program.updates], values[program.updates :]
        avals = [variable.aval for variable in program.jaxpr.outvars]
        init = as_dtypes(init, [aval.dtype for aval in avals])
        dtypes = iter([aval.dtype for aval in avals[program.out_count :]])
        carried = [
            repack(struct_of(value), as_dtypes(leaves_of(value), [next(dtypes) for _ in leaves_of(value)]))
            for value in before
        ]

        def step(carry: Any, slices: list[Any]) -> tuple[Any, Any]:
            state, old = carry
            out, new = program([*state, *read], [*old, *slices])
            new = [repack(struct_of(v), as_dtypes(leaves_of(v), _dtypes(o))) for v, o in zip(new, state, strict=True)]
            return (new, as_dtypes(out, _dtypes(old))), out[len(init) :]

        (state, last), stacked = lax.scan(
            step, (carried, init), xs, length=steps, reverse=self.reverse, unroll=self.unroll
        )
        commit(program.writes, state, before)
        return program.out_struct.unflatten([*last, *stacked])

    def _plain(self, init: Any, xs: Any, steps: int, bar: BoundBar | None) -> tuple[Any, Any]:
        """The loop as plain Python, for `jax.disable_jit`."""
        if steps == 0:
            with jax.disable_jit(False):
                return self(init, xs)
        frame, carry, outs = Frame(self.kind), init, []
        with frame.running():
            for k in reversed(range(steps)) if self.reverse else range(steps):
                carry, out = self.body(carry, jax.tree.map(lambda x: x[k], xs))
                outs.append(out)
                if bar is not None:
                    bar.tick(steps - 1 - k if self.reverse else k, carry, out)
                for ref in frame.written():
                    slot = frame.slot(ref)
                    slot.value = unpack(rescale(pack(slot.value), slot.entry))
                    check_same(self.kind, ref, slot.entry, pack(slot.value))
        frame.check_births(_errors.INIT_BEFORE)
        commit_frame(frame, births=False)
        if self.reverse:
            outs.reverse()
        return carry, jax.tree.map(lambda *items: jnp.stack(items), *outs)


def as_dtypes(leaves: Sequence[Any], dtypes: Sequence[Any]) -> list[Any]:
    """The first leaves in those dtypes, not weakly typed."""
    return [
        jnp.asarray(leaf)
        if jax.typeof(leaf).dtype == dtype and not is_weak(leaf)
        else lax.convert_element_type(leaf, dtype)
        for leaf, dtype in zip(leaves, dtypes, strict=False)
    ]


def _dtypes(carried: Any) -> list[Any]:
    return [leaf.dtype for leaf in (carried if isinstance(carried, list) else leaves_of(carried))]

"""`for_loop` and `scan`: loops over time whose references are carried from step to step."""

from __future__ import annotations

from collections.abc import Callable
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
from .._values import flatten, leaves_of, repack, rescale, struct_of


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

    def body(carry: None, slices: tuple[Any, ...]) -> tuple[None, Any]:
        del carry
        return None, f(*slices)

    return _Loop("for_loop", body, length, reverse, unroll, pbar)(None, xs)[1]


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
    """The frame of a loop's body: what it writes must come out as it went in."""

    def __init__(self, kind: str):
        super().__init__(kind, strong=True)

    def leave(self, ref: Any) -> Any:
        entry, new = self.slot(ref).entry, super().leave(ref)
        new = rescale(new, entry)
        if struct_of(new) != struct_of(entry) or _shapes(new) != _shapes(entry):
            before, after = describe_value(entry), describe_value(new)
            raise StateStructureError(_errors.state_changed(self.kind, path_of(ref), before, after))
        return new


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

        avals = [_strong_aval(leaf) for leaf in init_leaves]
        avals += [jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.asarray(leaf).dtype) for leaf in xs_leaves]
        frame = LoopFrame(self.kind)
        program, values = trace(body, avals, frame)
        frame.check_births(_errors.INIT_BEFORE)
        return self._run(program, values, init_leaves, xs_leaves, steps)

    def _run(self, program: Program, values: list[Any], init: list[Any], xs: list[Any], steps: int) -> tuple[Any, Any]:
        """Runs the traced body as one `lax.scan` and commits what it writes."""
        before, read = values[: program.updates], values[program.updates :]
        leaves = [leaf for value in before for leaf in leaves_of(value)]
        leaves, init = _promote(self.kind, program, leaves, init)
        carried = _repack(before, leaves)

        def step(carry: Any, slices: list[Any]) -> tuple[Any, Any]:
            state, old = carry
            out, new = program([*state, *read], [*old, *slices])
            return (new, out[: len(init)]), out[len(init) :]

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
        frame.check_births(_errors.INIT_BEFORE)
        frame.born.clear()
        commit_frame(frame)
        if self.reverse:
            outs.reverse()
        return carry, jax.tree.map(lambda *items: jnp.stack(items), *outs)


def _strong_aval(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _repack(values: list[Any], leaves: list[Any]) -> list[Any]:
    rest = iter(leaves)
    return [repack(struct_of(value), [next(rest) for _ in leaves_of(value)]) for value in values]


def _promote(kind: str, program: Program, state: list[Any], init: list[Any]) -> tuple[list[Any], list[Any]]:
    """What the loop starts from, strong; weakly typed numbers take the dtype that they come out with.

    Anything else that comes out with another dtype is an error.
    """
    outvars = program.jaxpr.outvars
    wanted = [*outvars[program.out_count :][: len(state)], *outvars[: len(init)]]
    names = [path_of(ref) for ref in program.writes for _ in range(program.write_counts[program.writes.index(ref)])]
    names += [f"the carry's leaf {k}" for k in range(len(init))]
    places = {k: place for place, k in program.places}
    variables = [program.jaxpr.invars[places[k]] for k in range(len(state))]
    variables += program.jaxpr.invars[len(program.consts) :][: len(init)]
    started = []
    for name, leaf, variable, out in zip(names, [*state, *init], variables, wanted, strict=True):
        leaf = jnp.asarray(leaf)
        if leaf.shape != out.aval.shape:
            raise StateStructureError(_errors.state_changed(kind, name, describe_value(leaf), describe_value(out.aval)))
        if leaf.dtype != out.aval.dtype and not (leaf.weak_type and _only_converted(program.jaxpr, variable)):
            raise StateStructureError(_errors.dtype_changed(kind, name, describe_value(leaf), describe_value(out.aval)))
        same = leaf.dtype == out.aval.dtype and not getattr(leaf, "weak_type", False)
        started.append(leaf if same else lax.convert_element_type(leaf, out.aval.dtype))
    return started[: len(state)], started[len(state) :]


def _only_converted(jaxpr: Any, variable: Any) -> bool:
    """Whether a program does nothing to an input but convert it, so that it may have another dtype."""
    uses = [eqn for eqn in jaxpr.eqns if any(v is variable for v in eqn.invars)]
    return all(eqn.primitive.name == "convert_element_type" for eqn in uses)

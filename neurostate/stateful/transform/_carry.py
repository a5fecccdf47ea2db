"""The body of a loop: traced once, with what it carries from step to step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ... import _errors
from ..._errors import StateStructureError
from .._collector import STACK, StagedFrame, commit, path_of
from .._functionalize import Program, trace
from .._ref import describe_value
from .._values import Struct, flatten, is_weak, leaves_of, repack, rescale, struct_of


class LoopFrame(StagedFrame):
    """The frame of a loop's body: what it writes must come out as it went in.

    `promoted` has the dtypes of the weakly typed states that came out of an earlier trace otherwise.
    """

    def __init__(self, kind: str, promoted: dict[Any, list[Any]]):
        super().__init__(kind)
        self.promoted = promoted

    def enter(self, ref: Any, outer: Any) -> Any:
        if ref in self.promoted:
            outer = repack(struct_of(outer), as_dtypes(leaves_of(outer), self.promoted[ref]))
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


def check_carry(kind: str, before: Any, after: Any) -> None:
    """Refuses a carry of another structure or shape than the one before."""
    (old, struct), (new, new_struct) = flatten(before), flatten(after)
    if struct != new_struct:
        raise StateStructureError(_errors.carry_structure(kind, struct, new_struct))
    for k, (x, y) in enumerate(zip(old, new, strict=True)):
        if jnp.shape(x) != jnp.shape(y):
            raise StateStructureError(
                _errors.state_changed(kind, f"leaf {k} of the carry", describe_value(x), describe_value(y))
            )


def watch_output(value: Any) -> None:
    """Tells `debug_nan` of what a step gives."""
    if STACK.watch is not None:
        STACK.watch("the output", value)


def _shapes(carried: Any) -> list[tuple[int, ...]]:
    return [jnp.shape(leaf) for leaf in leaves_of(carried)]


def as_dtypes(leaves: Sequence[Any], dtypes: Sequence[Any]) -> list[Any]:
    """The first leaves in those dtypes, not weakly typed."""

    def convert(leaf: Any, dtype: Any) -> Any:
        as_wanted = jax.typeof(leaf).dtype == dtype and not is_weak(leaf)
        return jnp.asarray(leaf) if as_wanted else lax.convert_element_type(leaf, dtype)

    return [convert(leaf, dtype) for leaf, dtype in zip(leaves, dtypes, strict=False)]


class Body:
    """The body of a loop, `body(carry, slices) -> (carry, out)`, traced once on slices of `xs`.

    `start` is the pair of the carried states and the carry that the loop begins with. As in
    `lax.scan`, a weakly typed number among them that comes out with another dtype goes in with that,
    strongly, after a second trace.
    """

    def __init__(self, kind: str, body: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any):
        self.kind = kind
        init_leaves, struct = flatten(init)
        self.xs, slice_struct = flatten(xs)
        slice_leaves = [jax.ShapeDtypeStruct(jnp.shape(x)[1:], jnp.asarray(x).dtype) for x in self.xs]
        leaves = [jnp.asarray(leaf) for leaf in init_leaves]

        def run(*tracers: Any) -> tuple[Any, Any]:
            carry = struct.unflatten(tracers[: len(leaves)])
            new, out = body(carry, slice_struct.unflatten(tracers[len(leaves) :]))
            if flatten(new)[1] != struct:
                raise StateStructureError(_errors.carry_structure(kind, struct, flatten(new)[1]))
            return new, out

        promoted: dict[Any, list[Any]] = {}
        while True:
            frame = LoopFrame(kind, promoted)
            self.program, values = trace(run, [*leaves, *slice_leaves], frame)
            frame.check_births(_errors.INIT_BEFORE)
            self.before, self.read = values[: self.program.updates], values[self.program.updates :]
            new_leaves, new_states = self._promotions(leaves, promoted)
            if not new_leaves and not new_states:
                break
            leaves = as_dtypes(leaves, [new_leaves.get(k, leaf.dtype) for k, leaf in enumerate(leaves)])
            promoted = {**promoted, **new_states}
        self.struct: Struct = struct
        dtypes = [aval.dtype for aval in self.program.out_avals]
        states, rest = [], iter(dtypes[self.program.out_count :])
        for value in self.before:
            states.append(repack(struct_of(value), as_dtypes(leaves_of(value), [next(rest) for _ in leaves_of(value)])))
        self.start = (states, as_dtypes(leaves, dtypes))

    def _promotions(self, init: list[Any], promoted: dict[Any, list[Any]]) -> tuple[dict[int, Any], dict[Any, Any]]:
        """The new dtypes of weakly typed leaves of carry and states; a strong one that changes is an error."""
        outs, new_leaves, new_states = self.program.out_avals, {}, {}
        for k, (leaf, out) in enumerate(zip(init, outs, strict=False)):
            if leaf.shape != out.shape:
                raise self._changed(_errors.state_changed, f"leaf {k} of the carry", leaf, out)
            if leaf.dtype != out.dtype:
                if not is_weak(leaf):
                    raise self._changed(_errors.dtype_changed, f"leaf {k} of the carry", leaf, out)
                new_leaves[k] = out.dtype
        rest = iter(outs[self.program.out_count :])
        for ref, value in zip(self.program.writes, self.before, strict=True):
            leaves = leaves_of(value)
            avals = [next(rest) for _ in leaves]
            seen = promoted.get(ref) or [jax.typeof(leaf).dtype for leaf in leaves]
            changed = [aval.dtype != old for aval, old in zip(avals, seen, strict=True)]
            if any(changed):
                if ref in promoted or not all(is_weak(leaf) for leaf, c in zip(leaves, changed, strict=True) if c):
                    raise self._changed(_errors.dtype_changed, path_of(ref), value, repack(struct_of(value), avals))
                new_states[ref] = [aval.dtype for aval in avals]
        return new_leaves, new_states

    def _changed(self, message: Callable[..., str], name: str, before: Any, after: Any) -> StateStructureError:
        return StateStructureError(message(self.kind, name, describe_value(before), describe_value(after)))

    def step(self, carry: Any, slices: Sequence[Any] = ()) -> tuple[Any, list[Any]]:
        """One step as `lax.scan` takes it, on carried states and the leaves of the carry."""
        states, old = carry
        out, new = self.program([*states, *self.read], [*old, *slices])
        new = [_like(value, state) for value, state in zip(new, states, strict=True)]
        return (new, as_dtypes(out, [leaf.dtype for leaf in old])), out[len(old) :]

    def finish(self, carry: Any, stacked: Sequence[Any] = ()) -> tuple[Any, Any]:
        """Commits the states of the last carry; gives that carry and the outputs."""
        commit(self.program.writes, carry[0], self.before)
        return self.program.out_struct.unflatten([*carry[1], *stacked])


def _like(value: Any, state: Any) -> Any:
    return repack(struct_of(state), as_dtypes(leaves_of(value), [leaf.dtype for leaf in leaves_of(state)]))


def program_of(kind: str, f: Callable[..., Any], *args: Any) -> tuple[Program, list[Any], list[Any]]:
    """A function traced on arguments: its program, the values of its inputs, and the argument leaves."""
    leaves, struct = flatten(args)
    frame = StagedFrame(kind)
    program, values = trace(lambda *tracers: f(*struct.unflatten(tracers)), leaves, frame)
    frame.check_births(_errors.INIT_BEFORE)
    return program, values, leaves

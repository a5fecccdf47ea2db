"""What a derivative transform differentiates, and with respect to what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ... import _errors
from ..._units import is_quantity, split_quantity
from .._collector import Frame, commit, path_of
from .._ref import StateRef, describe_value
from .._values import flatten, is_array, leaves_of, pack, repack, struct_of, unpack


class DerivativeFrame(Frame):
    """The frame of a differentiated function: some references enter as what is differentiated."""

    def __init__(self, kind: str):
        super().__init__(kind)
        self.given: dict[Any, Any] = {}

    def enter(self, ref: Any, outer: Any) -> Any:
        return super().enter(ref, self.given.get(ref, outer))


class Target:
    """The function, `grad_states` and `argnums` of a derivative transform."""

    def __init__(self, kind: str, fun: Any, grad_states: Any, argnums: Any, has_aux: bool | None, check_states: bool):
        if not callable(fun):
            raise TypeError(_errors.not_callable(kind, fun))
        self.kind, self.fun, self.has_aux, self.check_states = kind, fun, bool(has_aux), check_states
        self.refs, self.refs_struct = [], None
        if grad_states is not None:
            self.refs, self.refs_struct = jax.tree.flatten(grad_states, is_leaf=lambda x: isinstance(x, StateRef))
            for ref in self.refs:
                if not isinstance(ref, StateRef):
                    raise TypeError(_errors.bad_grad_state(ref))
        self.argnums = (0 if grad_states is None else None) if argnums is None else argnums
        self.positions: tuple[int, ...] = ()
        if self.argnums is not None:
            self.positions = tuple(self.argnums) if isinstance(self.argnums, Sequence) else (self.argnums,)
        for number in self.positions:
            if isinstance(number, bool) or not isinstance(number, int):
                raise ValueError(f"argnums must be an int or a sequence of ints, got {argnums!r}.")
            if number < 0:
                raise ValueError(_errors.negative_argnum("argnums", number))

    def result(self, derivative: Any, value: Any, aux: Any, return_value: bool) -> Any:
        """The derivative with what was asked for beside it."""
        parts = (derivative, *((value,) if return_value else ()), *((aux,) if self.has_aux else ()))
        return parts if len(parts) > 1 else derivative


class Call:
    """One call of a derivative transform: a function of a point, which JAX can differentiate.

    A `point` is a pair: for each reference the leaves of its value, and the chosen arguments.
    """

    def __init__(
        self,
        target: Target,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        allow_int: bool = False,
        unit_aware: bool = False,
    ):
        for number in target.positions:
            if number >= len(args):
                raise ValueError(
                    f"`{target.kind}` differentiates argument {number}, but got {len(args)} positional arguments."
                )
        self.target, self.args, self.kwargs, self.unit_aware = target, args, kwargs, unit_aware
        self.frame: Any = DerivativeFrame(target.kind)
        self.values = {ref: self.frame.outer(ref) for ref in target.refs}
        self.structs = {ref: struct_of(value) for ref, value in self.values.items()}
        for ref, value in self.values.items():
            if not allow_int and not all(jnp.issubdtype(jnp.result_type(x), jnp.inexact) for x in leaves_of(value)):
                raise TypeError(_errors.no_derivative(path_of(ref), describe_value(value)))
        chosen = [flatten(args[k]) for k in target.positions]
        self.arg_structs = [struct for _, struct in chosen]
        self.point = ([list(leaves_of(v)) for v in self.values.values()], [leaves for leaves, _ in chosen])
        given = (*map(unpack, self.values.values()), *(args[k] for k in target.positions))
        self.units = [split_quantity(x)[1] for x in jax.tree.leaves(given, is_leaf=is_quantity)]
        self.writes: list[Any] = []

    def run(self, point: Any) -> tuple[Any, Any]:
        """The function at a point: `(output, (output and aux as values, what it wrote))`."""
        states, chosen = point
        args = list(self.args)
        for k, struct, leaves in zip(self.target.positions, self.arg_structs, chosen, strict=True):
            args[k] = struct.unflatten(leaves)
        frame = self.frame
        pairs = zip(self.structs.items(), states, strict=True)
        frame.given = {ref: repack(struct, leaves) for (ref, struct), leaves in pairs}
        with frame.running():
            out, aux = self.target.fun(*args, **self.kwargs), None
            if self.target.has_aux:
                if not isinstance(out, tuple | list) or len(out) != 2:
                    raise TypeError(_errors.aux_missing(out))
                out, aux = out
            unread = [ref for ref in self.values if ref not in frame.slots or not frame.slots[ref].read]
            if unread and self.target.check_states:
                raise ValueError(_errors.unread_states([path_of(ref) for ref in unread]))
            frame.check_births(_errors.INIT_BEFORE)
            self.writes = frame.written()
            new = [pack(frame.slots[ref].value) for ref in self.writes]
        frame.given = {}
        frame.forget()
        return out, (pack(out), pack(aux), new)

    def scalar(self, point: Any) -> tuple[Any, Any]:
        """The function as `jax.grad` takes it: its output is a scalar without unit."""
        out, rest = self.run(point)
        value, _ = split_quantity(out)
        if not is_array(value) or jnp.shape(value) != ():
            raise TypeError(_errors.not_scalar_loss(self.target.kind, describe_value(pack(out))))
        return value, rest

    def arrays(self, point: Any) -> tuple[Any, Any]:
        """The function as the other transforms take it: the leaves of its output without units."""
        out, rest = self.run(point)
        return flatten(out)[0], rest

    def finish(self, rest: Any) -> tuple[Any, Any]:
        """Commits what the function wrote; gives its output and aux."""
        value, aux, new = rest
        commit(self.writes, new)
        return unpack(value), unpack(aux)

    def arrange(self, derivative: tuple[list[Any], list[Any]], units: bool = True) -> Any:
        """A tree like the point, in the structure that was asked for; units are those of the references."""
        states, chosen = derivative
        target, of_args = self.target, None
        if target.argnums is not None:
            each = [
                struct.unflatten(leaves) if units or len(leaves) != 1 else leaves[0]
                for struct, leaves in zip(self.arg_structs, chosen, strict=True)
            ]
            of_args = each[0] if isinstance(target.argnums, int) else tuple(each)
        if target.refs_struct is None:
            return of_args
        pairs = zip(self.structs.items(), states, strict=True)
        of_ref = {
            ref: unpack(repack(struct, leaves)) if units or len(leaves) > 1 else leaves[0]
            for (ref, struct), leaves in pairs
        }
        of_states = jax.tree.unflatten(target.refs_struct, [of_ref[ref] for ref in target.refs])
        return of_states if target.argnums is None else (of_states, of_args)

    def without_values(self) -> Call:
        """The same without the values of its trace, for `arrange` alone."""
        self.values, self.point, self.args, self.kwargs = {}, ([], []), (), {}
        self.frame = None
        return self

"""`grad`: derivatives with respect to references and arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ... import _errors
from .. import _staging
from .._collector import Frame, commit, path_of
from .._ref import StateRef, describe_value
from .._values import flatten, leaves_of, pack, repack, struct_of, unpack


class DerivativeFrame(Frame):
    """The frame of a differentiated function: some references enter as what is differentiated."""

    def __init__(self, kind: str, given: dict[Any, Any]):
        super().__init__(kind)
        self.given = given

    def enter(self, ref: Any, outer: Any) -> Any:
        return self.given.get(ref, outer)


def grad(
    fun: Callable[..., Any] | None = None,
    grad_states: Any = None,
    argnums: int | Sequence[int] | None = None,
    holomorphic: bool = False,
    allow_int: bool = False,
    has_aux: bool | None = None,
    return_value: bool = False,
    check_states: bool = True,
) -> Any:
    """The gradient of a scalar function with respect to references and arguments.

    Differentiates with respect to the values that the references have on entry. What `fun` writes
    to references persists, as values.

    **Arguments:**

    - `fun`: The function; returns a scalar, or `(scalar, aux)` with `has_aux`.
    - `grad_states`: A reference, or a list, tuple or dict of references.
    - `argnums`: Which arguments, an int or a sequence of ints; 0 if `grad_states` is not given.
    - `holomorphic`, `allow_int`: as [`jax.grad`][].
    - `return_value`: Also gives the value of `fun`.
    - `check_states`: Asks that `fun` reads each of `grad_states`. Without it, a reference that
      is not read has a gradient of zeros.

    **Returns:** A function that gives `G`; `(G, value)` with `return_value`; `(G, aux)` with
    `has_aux`; `(G, value, aux)` with both. `G` is the gradient of the references in the structure
    of `grad_states`, or that of the arguments (bare for an int, a tuple for a sequence), or
    `(of_references, of_arguments)` if both are asked for. A gradient has its reference's unit.

    **Raises:** `ValueError` if a reference of `grad_states` is never read, or for negative
    `argnums`; `TypeError` if the output is not a real scalar.

    >>> import neurostate as ns
    >>> w = ns.ParamState(3.0)
    >>> def loss(x):
    ...     return (w.value * x) ** 2
    >>> gradient, value = ns.transform.grad(loss, grad_states=w, return_value=True)(2.0)
    >>> print(gradient, value)
    24.0 36.0
    """
    if fun is None:
        return functools.partial(
            grad,
            grad_states=grad_states,
            argnums=argnums,
            holomorphic=holomorphic,
            allow_int=allow_int,
            has_aux=has_aux,
            return_value=return_value,
            check_states=check_states,
        )
    if not callable(fun):
        raise TypeError(_errors.not_callable("grad", fun))
    target = Target(fun, grad_states, argnums, bool(has_aux), check_states)
    differentiate = functools.partial(jax.grad, has_aux=True, holomorphic=holomorphic, allow_int=allow_int)

    @functools.wraps(fun)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            call = target.bind("grad", args, kwargs)
            gradients, (value, aux, new) = differentiate(call.scalar)(call.point)
            call.commit(new)
            return target.result(call.arrange(gradients), unpack(value), unpack(aux), return_value)

        return _staging.run("grad", run, args, kwargs)

    return gradient


class Target:
    """What is differentiated, and with respect to what: the same for all derivative transforms."""

    def __init__(
        self,
        fun: Callable[..., Any],
        grad_states: Any,
        argnums: int | Sequence[int] | None,
        has_aux: bool,
        check_states: bool,
    ):
        self.fun = fun
        self.has_aux = has_aux
        self.check_states = check_states
        self.refs, self.refs_struct = [], None
        if grad_states is not None:
            self.refs, self.refs_struct = jax.tree.flatten(grad_states, is_leaf=lambda x: isinstance(x, StateRef))
            for ref in self.refs:
                if not isinstance(ref, StateRef):
                    raise TypeError(_errors.bad_grad_state(ref))
        self.argnums = (0 if grad_states is None else None) if argnums is None else argnums
        for number in self.positions:
            if isinstance(number, bool) or not isinstance(number, int):
                raise TypeError(f"argnums must be an int or a sequence of ints, got {argnums!r}.")
            if number < 0:
                raise ValueError(_errors.negative_argnum("argnums", number))

    @property
    def positions(self) -> tuple[int, ...]:
        if self.argnums is None:
            return ()
        return (self.argnums,) if isinstance(self.argnums, int) else tuple(self.argnums)

    def result(self, derivative: Any, value: Any, aux: Any, return_value: bool) -> Any:
        """The derivative with what was asked for beside it."""
        parts = (derivative, *((value,) if return_value else ()), *((aux,) if self.has_aux else ()))
        return parts if len(parts) > 1 else derivative

    def bind(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        for number in self.positions:
            if number >= len(args):
                raise ValueError(
                    f"`{kind}` differentiates argument {number}, but got {len(args)} positional arguments."
                )
        return Call(self, kind, args, kwargs)


class Call:
    """One call of a derivative transform."""

    def __init__(self, target: Target, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]):
        self.target = target
        self.args = args
        self.kwargs = kwargs
        self.frame = DerivativeFrame(kind, {})
        self.unique = list(dict.fromkeys(target.refs))
        self.values = {ref: self.frame.outer(ref) for ref in self.unique}
        states = [list(leaves_of(value)) for value in self.values.values()]
        self.point = (states, [args[k] for k in target.positions])

    def run(self, point: Any) -> tuple[Any, Any]:
        """The function at a point: `(output, aux)`; what it writes stays in the frame."""
        states, chosen = point
        args = list(self.args)
        for k, arg in zip(self.target.positions, chosen, strict=True):
            args[k] = arg
        frame = self.frame
        pairs = zip(self.unique, states, strict=True)
        frame.given = {ref: repack(struct_of(self.values[ref]), leaves) for ref, leaves in pairs}
        with frame.running():
            out = self.target.fun(*args, **self.kwargs)
            aux = None
            if self.target.has_aux:
                if not isinstance(out, tuple) or len(out) != 2:
                    raise TypeError(_errors.aux_missing(out))
                out, aux = out
            unread = [ref for ref in self.unique if ref not in frame.slots or not frame.slots[ref].read]
            if unread and self.target.check_states:
                raise ValueError(_errors.unread_states([path_of(ref) for ref in unread]))
            frame.check_births(_errors.INIT_BEFORE)
            self.writes = frame.written()
            return out, (aux, [pack(frame.slots[ref].value) for ref in self.writes])

    def scalar(self, point: Any) -> tuple[Any, Any]:
        """The function as `jax.grad` takes it: a scalar without unit, and all else as aux."""
        out, (aux, new) = self.run(point)
        leaves, _ = flatten(out)
        if len(leaves) != 1 or jnp.shape(leaves[0]) != ():
            raise TypeError(_errors.not_scalar_loss(self.frame.kind, describe_value(pack(out))))
        return leaves[0], (pack(out), pack(aux), new)

    def commit(self, new: list[Any]) -> None:
        """Commits what the function wrote."""
        commit(self.writes, new)

    def arrange(self, derivative: tuple[list[Any], list[Any]]) -> Any:
        """Derivatives by the point's parts, in the structure that was asked for."""
        states, chosen = derivative
        target, of_args = self.target, None
        if target.argnums is not None:
            of_args = chosen[0] if isinstance(target.argnums, int) else tuple(chosen)
        if target.refs_struct is None:
            return of_args
        pairs = zip(self.unique, states, strict=True)
        of_ref = {ref: unpack(repack(struct_of(self.values[ref]), leaves)) for ref, leaves in pairs}
        of_states = jax.tree.unflatten(target.refs_struct, [of_ref[ref] for ref in target.refs])
        return of_states if of_args is None else (of_states, of_args)

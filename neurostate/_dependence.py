"""How the outputs of a program depend on its inputs, element by element."""

from __future__ import annotations

from typing import Any, Final

import jax.numpy as jnp


# Not at all; by an affine function of the element at the same place; or otherwise.
FREE: Final = 0
AFFINE: Final = 1
OTHER: Final = 2

_SUMS: Final = frozenset({"add", "sub", "neg", "add_any", "copy", "copy_p"})
_CALLS: Final = frozenset({"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2"})


def dependence(program: Any, inputs: list[int]) -> list[int]:
    """How the outputs of a jaxpr depend on what its inputs depend on as given. At worst it says too much.

    An array of fewer axes is that which it is broadcast to, as in NumPy, so that the same place is that of the last
    axes.
    """
    jaxpr = getattr(program, "jaxpr", program)
    known = {id(var): how for var, how in zip(jaxpr.invars, inputs, strict=True)}

    def of(var: Any) -> int:
        return known.get(id(var), FREE)

    for eqn in jaxpr.eqns:
        given = [of(var) for var in eqn.invars]
        if not any(given):
            continue
        if eqn.primitive.name in _CALLS:
            found = dependence(eqn.params["jaxpr"], given)
        elif eqn.primitive.name == "while":
            found = _of_while(eqn.params, given)
        else:
            found = [_of_primitive(eqn, given)] * len(eqn.outvars)
        known.update(zip(map(id, eqn.outvars), found, strict=True))
    return [of(var) for var in jaxpr.outvars]


def _of_while(params: dict[str, Any], given: list[int]) -> list[int]:
    first = params["cond_nconsts"]
    last = first + params["body_nconsts"]
    consts, carry, before = given[first:last], given[last:], None
    while carry != before:
        before = carry
        carry = list(map(max, carry, dependence(params["body_jaxpr"], consts + carry)))
    if any(dependence(params["cond_jaxpr"], given[:first] + carry)):
        return [OTHER] * len(carry)
    return carry


def _of_primitive(eqn: Any, given: list[int]) -> int:
    name, shape = eqn.primitive.name, eqn.outvars[0].aval.shape
    moved = any(how and not _in_place(eqn, var.aval.shape, shape) for var, how in zip(eqn.invars, given, strict=True))
    if OTHER in given or moved:
        return OTHER
    if name in _SUMS or name in ("broadcast_in_dim", "reshape"):
        return AFFINE
    if name == "convert_element_type" and jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating):
        return AFFINE
    if (name == "mul" and sum(given) == 1) or (name in ("div", "select_n") and not given[name == "div"]):
        return AFFINE
    return OTHER


def _in_place(eqn: Any, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether an array of the shape `before` goes to that of `after` as NumPy broadcasts it."""
    if eqn.primitive.name == "broadcast_in_dim":
        return tuple(eqn.params["broadcast_dimensions"]) == tuple(range(len(after)))[len(after) - len(before) :]
    return before in ((), after)

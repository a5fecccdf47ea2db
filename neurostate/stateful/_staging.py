"""Eager calls of transforms: traced anew each time, compiled once for each program.

A transform that is called inside another one works in the trace of that. Called from outside, it is
traced into a program of its own first, and compiled programs are kept for whatever traces to the
same program again: a notebook's fresh closure in each cell compiles once.
"""

from __future__ import annotations

import threading
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_jaxpr

from . import _tracing
from ._collector import COMMIT, STACK, StagedFrame, store
from ._config import configuration, jit_is_disabled, setting
from ._functionalize import Program, trace
from ._tracing import ClosedJaxpr, Jaxpr, Literal
from ._values import aval, leaves_of, pack_argument, unpack


_CAPACITY = 128
_WITH_RULES = frozenset({"custom_jvp_call", "custom_vjp_call", "custom_vmap_call"})
_cache: OrderedDict[Any, Callable[..., Any]] = OrderedDict()
_lock = threading.Lock()


def run(kind: str, fn: Callable[..., Any], *args: Any) -> Any:
    """Calls `fn(*args)` in the trace that is running, or as one compiled program if there is none."""
    if STACK.top is not None or not _tracing.is_eager() or jit_is_disabled():
        return fn(*args)
    leaves, treedef = jax.tree.flatten(tuple(map(pack_argument, args)))

    def call(*tracers: Any) -> Any:
        return fn(*map(unpack, jax.tree.unflatten(treedef, tracers)))

    program, values = trace(call, leaves, StagedFrame(kind, keeps_births=True))
    out, new = _compiled(program, values, leaves)
    with COMMIT:
        store(program.writes, program.pack_writes(new), values[: program.updates])
    return program.out_struct.unflatten(out)


def _compiled(program: Program, values: list[Any], args: list[Any]) -> tuple[list[Any], list[Any]]:
    consts = list(program.consts)
    leaves = [leaf for value in values for leaf in leaves_of(value)]
    for place, k in program.places:
        consts[place] = leaves[k]
    try:
        key = (
            _jaxpr_key(program.jaxpr),
            tuple(map(aval, consts)),
            tuple(map(aval, args)),
            (*configuration(), setting("jax_default_device")),
        )
        hash(key)
    except _NoKey:
        key = None
    with _lock:
        compiled = _cache.pop(key, None) if key is not None else None
    if compiled is None:
        jaxpr = program.jaxpr
        compiled = jax.jit(lambda consts, args: eval_jaxpr(jaxpr, (), *consts, *args))
    results = compiled(consts, args)
    if key is not None:
        with _lock:
            _cache[key] = compiled
            while len(_cache) > _CAPACITY:
                _cache.popitem(last=False)
    return results[: program.out_count], results[program.out_count :]


class _NoKey(Exception):
    """A program that has no key: it is compiled for this call only."""


def _jaxpr_key(jaxpr: Any) -> Any:
    """A hashable key that is equal for programs that are the same up to the names of variables.

    The rules of `custom_jvp`, `custom_vjp` and `custom_vmap` are left out: nothing differentiates or
    maps an eager call from outside. What the key holds is kept alive by it, so that no identity is used twice.
    """
    numbers: dict[Any, int] = {}
    contexts: dict[int, str] = {}

    def atom(a: Any) -> Any:
        if isinstance(a, Literal):
            return (a.aval, _value_key(a.val))
        return numbers.setdefault(a, len(numbers))

    def bind(variables: Iterable[Any]) -> Any:
        return tuple((numbers.setdefault(v, len(numbers)), v.aval) for v in variables)

    parts: list[Any] = [bind(jaxpr.constvars), bind(jaxpr.invars)]
    for eqn in jaxpr.eqns:
        custom = eqn.primitive.name in _WITH_RULES
        params = tuple(
            (name, _param_key(value))
            for name, value in sorted(eqn.params.items())
            if not custom or isinstance(value, ClosedJaxpr | Jaxpr | int | str)
        )
        effects = tuple(map(str, eqn.effects)) if eqn.effects else ()
        context = getattr(eqn, "ctx", None)
        if id(context) not in contexts:
            contexts[id(context)] = repr(context)
        described = (params, effects, contexts[id(context)])
        parts.append((eqn.primitive, tuple(map(atom, eqn.invars)), bind(eqn.outvars), described))
    parts.append(tuple(map(atom, jaxpr.outvars)))
    return tuple(parts)


def _value_key(value: Any) -> Any:
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key) or value.size > 4096:
            raise _NoKey
        array = np.asarray(value)
        return (str(array.dtype), array.shape, array.tobytes())
    return (type(value), value)


def _param_key(value: Any) -> Any:
    if isinstance(value, ClosedJaxpr):
        return ("closed", _jaxpr_key(value.jaxpr), tuple(map(_value_key, value.consts)))
    if isinstance(value, Jaxpr):
        return ("open", _jaxpr_key(value))
    if isinstance(value, list | tuple):
        return (type(value).__name__, tuple(map(_param_key, value)))
    if isinstance(value, dict):
        return ("dict", tuple((key, _param_key(item)) for key, item in sorted(value.items())))
    if isinstance(value, jax.Array | np.ndarray):
        return _value_key(value)
    if isinstance(value, types.FunctionType):
        return _Function(value)
    try:
        hash(value)
    except TypeError:
        raise _NoKey from None
    return (type(value), value)


class _Function:
    """A function as a key: equal to one of the same code that closes over equal values."""

    def __init__(self, function: types.FunctionType):
        self.function = function
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        kept = (cells, function.__defaults__ or (), function.__kwdefaults__ or {})
        self.key = (function.__code__, *map(_param_key, kept))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, _Function) or self.function.__globals__ is not other.function.__globals__:
            return False
        return self.key == other.key


def clear_cache() -> None:
    """Forgets the compiled programs of eager calls."""
    _cache.clear()

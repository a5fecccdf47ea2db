"""JAX's wrappers of functions, for functions that read and write references."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.experimental import checkify as jax_checkify

from ... import _errors
from .. import _staging
from .._collector import StagedFrame, commit, path_of, run_plainly
from .._config import jit_is_disabled
from .._functionalize import Program, trace
from .._ref import StateRef
from .._values import flatten, pack_static, unpack
from ..filters import as_predicate
from ._arguments import Arguments


def _program(kind: str, fn: Callable[..., Any], args: Any, kwargs: Any, births: bool = False) -> Any:
    """The program of a call with its argument leaves, the values of its inputs, and the frame it ran in."""
    leaves, struct = flatten((args, kwargs))

    def call(*tracers: Any) -> Any:
        args, kwargs = struct.unflatten(tracers)
        return fn(*map(unpack, args), **{name: unpack(arg) for name, arg in kwargs.items()})

    frame = StagedFrame(kind, keeps_births=births)
    program, values = trace(call, leaves, frame)
    if not births:
        frame.check_births(_errors.INIT_BEFORE)
    return program, values, leaves


def remat(
    fun: Callable[..., Any] | None = None,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., bool] | None = None,
    static_argnums: int | Sequence[int] = (),
) -> Any:
    """[`jax.checkpoint`][] for a function that may read and write references.

    The backward pass runs `fun` again instead of keeping what it computed. It sees the same values
    of the references, and draws the same random numbers.

    **Arguments:**, **Returns:** as [`jax.checkpoint`][].

    >>> import neurostate as ns
    >>> w = ns.ParamState(3.0)
    >>> print(ns.transform.grad(ns.transform.remat(lambda x: (w.value * x) ** 2), w)(1.0))
    6.0
    """
    if fun is None:
        return functools.partial(remat, prevent_cse=prevent_cse, policy=policy, static_argnums=static_argnums)
    if not callable(fun):
        raise TypeError(_errors.not_callable("remat", fun))
    static = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)

    def run(args: Any, kwargs: Any) -> Any:
        args = tuple(pack_static(arg) if k in static else arg for k, arg in enumerate(args))
        program, values, leaves = _program("remat", fun, args, kwargs)
        out, new = jax.checkpoint(program, prevent_cse=prevent_cse, policy=policy)(values, leaves)
        commit(program.writes, new, values[: program.updates])
        return program.out_struct.unflatten(out)

    def call(*args: Any, **kwargs: Any) -> Any:
        if jit_is_disabled():
            return run_plainly("remat", lambda: fun(*args, **kwargs), _errors.INIT_BEFORE)
        return _staging.run("remat", run, args, kwargs)

    return functools.wraps(fun)(call)


checkpoint = remat


def checkify(fun: Callable[..., Any], errors: Any = jax_checkify.user_checks) -> Callable[..., Any]:
    """[`jax.experimental.checkify.checkify`][] for a function that may read and write references.

    **Returns:** A function that gives `(error, out)`. What `fun` writes is committed also if a check
    failed: `error.throw()` tells.

    >>> import neurostate as ns
    >>> def f(x):
    ...     ns.transform.check(x > 0, "x is {x}", x=x)
    ...     return x
    >>> error, out = ns.transform.checkify(f)(-1.0)
    >>> print(error.get())
    x is -1.0 (`check` failed)
    """
    if not callable(fun):
        raise TypeError(_errors.not_callable("checkify", fun))

    def run(args: Any, kwargs: Any) -> Any:
        program, values, leaves = _program("checkify", fun, args, kwargs)
        error, (out, new) = jax_checkify.checkify(program, errors=errors)(values, leaves)
        commit(program.writes, new, values[: program.updates])
        return error, program.out_struct.unflatten(out)

    return functools.wraps(fun)(lambda *args, **kwargs: _staging.run("checkify", run, args, kwargs))


check = jax_checkify.check
check_error = jax_checkify.check_error


def jit_error_if(
    pred: Any, error: str | type[Exception] | Exception | Callable[..., Any], *args: Any, **kwargs: Any
) -> None:
    """Raises on the host if `pred` holds anywhere, also inside compiled functions.

    Inside a compiled function the error reaches Python when a result of the program is waited for.

    **Arguments:**

    - `pred`: A boolean or an array of them.
    - `error`: A message, formatted with `args` and `kwargs` by `str.format`; an exception; or a function that raises
        one, called with `args` and `kwargs`.

    >>> import neurostate as ns
    >>> ns.transform.jit_error_if(2 > 3, "two is more than {n}", n=3)
    """

    def raise_if(pred: Any, args: Any, kwargs: Any) -> None:
        if not jnp.any(pred):
            return
        if isinstance(error, str):
            raise ValueError(error % args if args and "%" in error else error.format(*args, **kwargs))
        if isinstance(error, BaseException) or (isinstance(error, type) and issubclass(error, BaseException)):
            raise error
        error(*args, **kwargs)

    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((pred, args, kwargs))):
        return raise_if(pred, args, kwargs)
    jax.debug.callback(raise_if, jnp.any(jnp.asarray(pred)), args, kwargs)


def eval_shape(f: Callable[..., Any], *args: Any, return_state_shapes: bool = False, **kwargs: Any) -> Any:
    """[`jax.eval_shape`][] for a function that may read and write references, which stay as they are.

    **Arguments:** as [`jax.eval_shape`][].

    - `return_state_shapes`: Also gives the shapes of the references that `f` touches, as they would be afterwards.

    **Returns:** The output's shapes; `({reference: shapes}, output's shapes)` with `return_state_shapes`.

    >>> import jax, neurostate as ns
    >>> print(ns.transform.eval_shape(lambda x: 2 * x, jax.ShapeDtypeStruct((3,), "float32")).shape)
    (3,)
    """
    as_arrays = jax.tree.map(lambda x: _Shaped(x) if isinstance(x, jax.ShapeDtypeStruct) else x, (args, kwargs))
    program, values = _abstract("eval_shape", f, as_arrays)
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in program.out_avals]
    out = program.out_struct.unflatten(shapes[: program.out_count])
    if not return_state_shapes:
        return out
    found = {ref: jax.eval_shape(lambda: value) for ref, value in zip(program.inputs, values) if _is_ref(ref)}
    found.update(zip(program.writes, program.pack_writes(shapes[program.out_count :]), strict=True))
    return {ref: unpack(value) for ref, value in found.items()}, out


def _is_ref(ref: Any) -> bool:
    """Whether an input of a program is a reference, not a key of `environ`."""
    return isinstance(ref, StateRef)


class _Shaped:
    """Hides a `ShapeDtypeStruct` from code that takes it for a static leaf."""

    def __init__(self, shaped: jax.ShapeDtypeStruct):
        self.shaped = shaped


def _abstract(kind: str, f: Callable[..., Any], arguments: Any) -> tuple[Program, list[Any]]:
    """The program of a call whose arguments may be shapes only."""
    if not callable(f):
        raise TypeError(_errors.not_callable(kind, f))
    leaves, treedef = jax.tree.flatten(arguments)
    places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, _Shaped) or flatten(leaf)[0]]

    def call(*tracers: Any) -> Any:
        filled = list(leaves)
        for k, tracer in zip(places, tracers, strict=True):
            filled[k] = tracer
        args, kwargs = jax.tree.unflatten(treedef, filled)
        return f(*args, **kwargs)

    given = [leaves[k].shaped if isinstance(leaves[k], _Shaped) else leaves[k] for k in places]
    return trace(call, given, StagedFrame(kind, keeps_births=True))


def make_jaxpr(
    fun: Callable[..., Any],
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    return_shape: bool = False,
    return_only_write: bool = False,
) -> Callable[..., Any]:
    """[`jax.make_jaxpr`][] for a function that may read and write references, which stay as they are.

    **Arguments:**

    - `static_argnums`, `static_argnames`, `return_shape`: as [`jax.make_jaxpr`][] and [`jax.jit`][].
    - `return_only_write`: Whether the program gives the values of only those references that it writes.

    **Returns:** A function of the same arguments that gives `(jaxpr, references)`, and the output's
    shapes with `return_shape`. The program takes the leaves of the references' values, then those of
    the arguments, and gives those of the output, then those of the references' values afterwards.

    >>> import neurostate as ns
    >>> w = ns.ParamState(3.0)
    >>> jaxpr, refs = ns.transform.make_jaxpr(lambda x: w.value * x)(1.0)
    >>> refs == (w,), [str(eqn.primitive) for eqn in jaxpr.eqns]
    (True, ['mul'])
    """
    arguments = Arguments(fun, static_argnums, static_argnames)

    def call(*args: Any, **kwargs: Any) -> Any:
        program, values, leaves = _program("make_jaxpr", fun, *arguments.pack(args, kwargs), births=True)
        refs = tuple(dict.fromkeys((*program.inputs, *program.writes)))

        def run(values: list[Any], leaves: list[Any]) -> Any:
            out, new = program(values, leaves)
            after = dict(zip(program.writes, new, strict=True))
            before = {} if return_only_write else dict(zip(program.inputs, values, strict=True))
            return out, [{**before, **after}[ref] for ref in refs if ref in before or ref in after]

        closed = jax.make_jaxpr(run)(values, leaves)
        shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in program.out_avals[: program.out_count]]
        return (closed, refs, program.out_struct.unflatten(shapes)) if return_shape else (closed, refs)

    return functools.wraps(fun)(call)


def named_scope(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that gives the operations of a function a name in profiles and compiled programs."""

    def decorate(fun: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fun)
        def call(*args: Any, **kwargs: Any) -> Any:
            with jax.named_scope(name):
                return fun(*args, **kwargs)

        return call

    return decorate


class StateFinder:
    """Finds the references that a function touches, without running or changing anything.

    **Arguments:**

    - `fn`: The function.
    - `filter`: Which references count: a type, a part of a path, or a function `(path, ref) -> bool`.
    - `usage`: `"all"`; those that `fn` would only `"read"`; those that it would `"write"`; or `"both"`, which gives
        `{"read": ..., "write": ...}`.
    - `return_type`: `"dict"` from path to reference, `"list"` or `"tuple"`.
    - `key_fn`: Gives the dict's keys from position and reference instead.

    >>> import neurostate as ns
    >>> w, V = ns.ParamState(3.0, name="w"), ns.HiddenState(0.0, name="V")
    >>> def step(x):
    ...     V.value = V.value + w.value * x
    >>> list(ns.transform.StateFinder(step)(1.0)), list(ns.transform.StateFinder(step, usage="write")(1.0))
    (['V', 'w'], ['V'])
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        filter: Any = None,
        *,
        usage: Literal["all", "read", "write", "both"] = "all",
        return_type: Literal["dict", "list", "tuple"] = "dict",
        key_fn: Callable[[int, Any], Any] | None = None,
    ):
        if usage not in ("all", "read", "write", "both") or return_type not in ("dict", "list", "tuple"):
            raise ValueError(f"Unknown usage {usage!r} or return_type {return_type!r} of StateFinder.")
        self.fn, self.usage, self.return_type, self.key_fn = fn, usage, return_type, key_fn
        self.filter = as_predicate(True if filter is None else filter)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        program, _, _ = _program("StateFinder", self.fn, args, kwargs, births=True)
        read = {ref for ref, used in zip(program.inputs, program.used, strict=True) if used}
        touched = [ref for ref in dict.fromkeys((*program.inputs, *program.writes)) if _is_ref(ref)]
        touched = [ref for ref in touched if self.filter(path_of(ref), ref)]
        found = {
            "all": [ref for ref in touched if ref in read or ref in program.writes],
            "read": [ref for ref in touched if ref in read and ref not in program.writes],
            "write": [ref for ref in touched if ref in program.writes],
        }
        if self.usage == "both":
            return {"read": self._arranged(found["read"]), "write": self._arranged(found["write"])}
        return self._arranged(found[self.usage])

    def _arranged(self, refs: list[Any]) -> Any:
        if self.return_type != "dict":
            return refs if self.return_type == "list" else tuple(refs)
        result: dict[Any, Any] = {}
        for k, ref in enumerate(refs):
            named = path_of(ref) if ref.name or ref._owners else f"StateRef_{k}"
            key = named if self.key_fn is None else self.key_fn(k, ref)
            result[f"{key}_{k}" if key in result else key] = ref
        return result

"""`functionalize`: any façade function as a pure function of explicit state."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax

from .. import _errors
from . import environ
from ._collector import StagedFrame, commit
from ._functionalize import Program, trace
from ._links import held
from ._ref import StateRef
from ._values import aval, leaves_of, pack, pack_argument, struct_of, unpack


class _GivenFrame(StagedFrame):
    """A frame whose references have on entry the values that the caller gave."""

    def __init__(self, given: dict[Any, Any]):
        super().__init__("functionalize")
        self.given = given

    def outer(self, ref: Any) -> Any:
        return self.given[ref] if ref in self.given else super().outer(ref)


class Pure:
    """A pure function made by [`neurostate.functionalize`][]: `state, out = pure(state, *args)`."""

    def __init__(self, fn: Callable[..., Any]):
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.refs: dict[str, Any] = {}
        self._programs: dict[Any, list[Program]] = {}

    def __call__(self, state: dict[str, Any], *args: Any, **kwargs: Any) -> tuple[dict[str, Any], Any]:
        if set(state) != set(self.refs):
            missing, extra = sorted(set(self.refs) - set(state)), sorted(set(state) - set(self.refs))
            raise KeyError(_errors.wrong_state_keys(missing, extra))
        given = {ref: pack(state[path]) for path, ref in self.refs.items()}
        program, leaves = self._program(given, args, kwargs)
        values = [given[ref] if ref in given else environ.value_of(ref) for ref in program.inputs]
        out, new = program(values, leaves)
        given.update(zip(program.writes, new, strict=True))
        return {path: unpack(given[ref]) for path, ref in self.refs.items()}, program.out_struct.unflatten(out)

    def _program(self, given: dict[Any, Any], args: Any, kwargs: Any) -> tuple[Program, list[Any]]:
        packed = (tuple(map(pack_argument, args)), {name: pack_argument(arg) for name, arg in kwargs.items()})
        leaves, treedef = jax.tree.flatten(packed)
        arguments = (treedef, tuple(map(aval, leaves)))
        for program in self._programs.get((arguments, _signature(given)), []):
            if environ.holds(program.statics):
                environ.note(program.statics)
                return program, leaves

        def call(*tracers: Any) -> Any:
            args, kwargs = jax.tree.unflatten(treedef, tracers)
            return self.fn(*map(unpack, args), **{name: unpack(arg) for name, arg in kwargs.items()})

        frame = _GivenFrame(given)
        program, values = trace(call, leaves, frame)
        frame.check_births(_errors.INIT_BEFORE)
        self._name(program, dict(zip(program.inputs, values, strict=True)), frame, args)
        if not program.captures_tracer:
            given = given or {ref: pack(self.first[path]) for path, ref in self.refs.items()}
            self._programs.setdefault((arguments, _signature(given)), []).append(program)
        return program, leaves

    def _name(self, program: Program, values: dict[Any, Any], frame: StagedFrame, args: Any) -> None:
        """Gives each reference that a program touches its path."""
        touched = [ref for ref in (*program.inputs, *program.writes) if isinstance(ref, StateRef)]
        new = [ref for ref in dict.fromkeys(touched) if ref not in self.refs.values()]
        if new and self.refs:
            names = ", ".join(_paths(self.fn, args).get(ref) or ref.name or "?" for ref in new)
            raise ValueError(_errors.new_reference(names))
        paths = _paths(self.fn, args)
        for order, ref in enumerate(new):
            path = paths.get(ref) or ref.name or f"StateRef_{order}"
            while path in self.refs:
                path = f"StateRef_{order}" if path != f"StateRef_{order}" else f"{path}_"
            self.refs[path] = ref
        self.first = {
            path: unpack(values[ref] if ref in values else frame.outer(ref)) for path, ref in self.refs.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Puts a state back into the references, all or none.

        **Raises:** `KeyError` if its paths are not those of this function's references.
        """
        if set(state) != set(self.refs):
            raise KeyError(
                _errors.wrong_state_keys(sorted(set(self.refs) - set(state)), sorted(set(state) - set(self.refs)))
            )
        commit(list(self.refs.values()), [pack(state[path]) for path in self.refs])

    def collect(self) -> dict[str, Any]:
        """The values that the references have now, as a state."""
        return {path: ref.value for path, ref in self.refs.items()}


def _signature(given: dict[Any, Any]) -> Any:
    return tuple((tuple(map(aval, leaves_of(value))), struct_of(value)) for value in given.values())


def functionalize(fn: Callable[..., Any], *example_args: Any, **example_kwargs: Any) -> tuple[Pure, dict[str, Any]]:
    """Turns a function that reads and writes references into a pure one with explicit state.

    **Arguments:**

    - `fn`: The function.
    - `example_args`, `example_kwargs`: Arguments like those that it will get; `fn` is traced with
      them once, and once more for each other signature.

    **Returns:** `(pure, state)`. `pure(state, *args)` gives `(state, output)` and touches no
    reference, so that every JAX transform works on it. `state` is a dict of the values of all
    references that `fn` reads or writes, by path: `"net.layer.V"` for one that a module in the
    closure or the arguments of `fn` holds, else its name, else `"StateRef_<order>"`.
    `pure.restore(state)` puts a state into the references, `pure.collect()` takes one from them.

    **Raises:** `TraceContextError` if `fn` makes references that a module keeps; `KeyError` if a
    state has other paths; `ValueError` if another signature touches other references.

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> total = ns.StateRef(0.0, name="total")
    >>> def add(x):
    ...     total.value = total.value + x
    ...     return total.value
    >>> pure, state = ns.functionalize(add, 1.0)
    >>> state, sums = jax.lax.scan(pure, {"total": jnp.array(0.0)}, jnp.arange(4.0))
    >>> print(state["total"], sums, total.value)
    6.0 [0. 1. 3. 6.] 0.0
    """
    if not callable(fn):
        raise TypeError(_errors.not_callable("functionalize", fn))
    pure = Pure(fn)
    pure._program({}, example_args, example_kwargs)
    return pure, pure.first


def _paths(fn: Callable[..., Any], args: Any) -> dict[Any, str]:
    """The first path of each reference that modules in the closure and the arguments of `fn` hold."""
    found: dict[Any, str] = {}
    for root, value in [*_reachable(fn, set()), *((f"arg{k}", arg) for k, arg in enumerate(args))]:
        for rest, holder in held(value):
            if isinstance(holder, StateRef):
                found.setdefault(holder, root + rest)
            else:
                for path, ref in holder.states().items():
                    found.setdefault(ref, f"{root}{rest}.{path}")
    return found


def _reachable(fn: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Names and values in the closure of a function, and of the functions in it."""
    if id(fn) in seen:
        return
    seen.add(id(fn))
    if isinstance(fn, functools.partial):
        yield from _reachable(fn.func, seen)
        for k, value in enumerate(fn.args):
            yield f"arg{k}", value
        yield from fn.keywords.items()
    elif isinstance(fn, types.MethodType):
        yield "self", fn.__self__
        yield from _reachable(fn.__func__, seen)
    elif isinstance(fn, types.FunctionType):
        names = [*_names_of(fn.__code__)]
        values = {name: fn.__globals__[name] for name in names if name in fn.__globals__}
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            try:
                values[name] = cell.cell_contents
            except ValueError:
                continue
        for name, value in values.items():
            yield name, value
        for value in values.values():
            yield from _reachable(value, seen)
    elif hasattr(fn, "__wrapped__"):
        yield from _reachable(fn.__wrapped__, seen)
    elif hasattr(fn, "_owners"):
        yield getattr(fn, "name", None) or type(fn).__name__, fn


def _names_of(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _names_of(const)

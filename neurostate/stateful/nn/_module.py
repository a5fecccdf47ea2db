"""`Module`: a tree of objects that own references."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from ... import _errors
from ..._errors import StateNotInitialisedError
from ..._units import split_quantity
from .. import _porting
from .._collector import STACK, frames
from .._links import held, link, note_change, unlink
from .._ref import ParamState, StateRef, describe, describe_value, note_kept
from .._values import pack
from ..filters import as_predicate


_ABSENT = object()
_NUMBERS = (bool, int, float, complex, str)
_OWN = ("_owners", "_serial", "_version")


class _Reinitialising(threading.local):
    """Whether `init_all_states` runs: then a state attribute that is assigned again keeps its reference."""

    depth = 0


_REINITIALISING = _Reinitialising()


class Module:
    """An object whose attributes are references, parameters and other modules.

    It is not a pytree: transforms find its references by themselves. Assigning an attribute that
    held a reference makes every compiled function that used the old one trace again, except
    within `init_all_states`, where the old reference takes the new value.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> class Counter(ns.nn.Module):
    ...     def __init__(self):
    ...         self.count = ns.StateRef(0)
    ...     def __call__(self):
    ...         self.count.value += 1
    >>> counter = Counter()
    >>> counter()
    >>> list(counter.states())
    ['count']
    """

    name: str | None = None
    _owners: list[Any]
    _counter = iter(range(1 << 62))

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        self = super().__new__(cls)
        object.__setattr__(self, "_owners", [])
        object.__setattr__(self, "_serial", next(Module._counter))
        object.__setattr__(self, "_version", 0)
        for frame in frames():
            frame.modules.add(self._serial)
        return self

    def __init__(self, name: str | None = None):
        if name is not None:
            self.name = name

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name, _ABSENT)
        if old is value or (type(old) in _NUMBERS and type(value) is type(old) and value == old):
            return
        if _keeps_reference(old, value):
            old.value = value.value
            note_kept(old, instead_of=value)
            if STACK.top is not None:
                STACK.top.born.pop(value, None)
                STACK.top.slots.pop(value, None)
            return
        if old is not _ABSENT:
            unlink(self, name, old)
            if STACK.top is None:
                note_change(self)
            elif next(held(old), None) is not None:
                STACK.top.rebound.append((self, name, old))
        object.__setattr__(self, name, value)
        link(self, name, value)

    def _rebind(self, name: str, old: Any) -> None:
        """Gives an attribute back what it held before a transform that failed."""
        unlink(self, name, self.__dict__.get(name))
        object.__setattr__(self, name, old)
        link(self, name, old)

    def __delattr__(self, name: str) -> None:
        old = self.__dict__.get(name)
        object.__delattr__(self, name)
        unlink(self, name, old)
        note_change(self)

    def __getattr__(self, name: str) -> Any:
        if text := _porting.answer("nn.Module", name) or _porting.answer("nn.Dynamics", name):
            raise AttributeError(text)
        if not name.startswith("_") and type(self).init_state is not Module.init_state:
            message = _errors.missing_attribute(type(self).__name__, name)
            raise StateNotInitialisedError(message)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module does. To be overridden, or `__call__` instead."""
        raise TypeError(f"{type(self).__name__} has no `update`. Define `def update(self, x): ...`.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.update(*args, **kwargs)

    def init_state(self, *args: Any, **kwargs: Any) -> None:
        """Makes the module's own states. To be overridden."""
        del args, kwargs

    def reset_state(self, *args: Any, **kwargs: Any) -> None:
        """Sets the module's own states back. To be overridden; without that, `init_state` again."""
        reinitialise(self, *args, **kwargs)

    def children(self) -> dict[str, Module]:
        """The modules that this one holds directly, by their path."""
        return {
            name + rest: found
            for name, value in self.__dict__.items()
            if name != "_owners"
            for rest, found in held(value)
            if isinstance(found, Module)
        }

    def nodes(self, *filters: Any) -> dict[str, Module]:
        """This module and all below it, each once, by their path; this one's path is empty.

        **Arguments:**

        - `filters`: Types, or functions `(path, module) -> bool`; all modules without any.
        """
        found: dict[str, Module] = {}
        seen: set[int] = set()

        def visit(path: str, node: Module) -> None:
            if id(node) in seen:
                return
            seen.add(id(node))
            found[path] = node
            for name, child in node.children().items():
                visit(f"{path}.{name}" if path else name, child)

        visit("", self)
        if not filters:
            return found
        predicate = as_predicate(list(filters))
        return {path: node for path, node in found.items() if predicate(path, node)}

    def parameters(self) -> dict[str, Any]:
        """The `ParamState`s of this module and of all below it, by their path."""
        return self.states(ParamState)

    def states(self, *filters: Any) -> Any:
        """The references of this module and of all below it, each once, by their path.

        **Arguments:**

        - `filters`: Types such as `neurostate.ParamState`, parts of paths, references, or
          functions `(path, ref) -> bool`; see [`neurostate.filters`][] for more.

        **Returns:** A dict from path, such as `"layer.V"`, to reference. With several filters a tuple of
        dicts, one for each: a reference is in the first whose filter selects it.
        """
        if len(filters) > 1:
            return self._split(self.states(filters), filters)
        predicate = as_predicate(filters[0] if filters else True)
        found: dict[str, Any] = {}
        seen: set[int] = set()
        for path, node in self.nodes().items():
            for name, value in node.__dict__.items():
                if name == "_owners":
                    continue
                for rest, ref in held(value):
                    if isinstance(ref, StateRef) and id(ref) not in seen:
                        seen.add(id(ref))
                        full = f"{path}.{name}{rest}" if path else name + rest
                        if predicate(full, ref):
                            found[full] = ref
        return found

    @staticmethod
    def _split(found: dict[str, Any], filters: Sequence[Any]) -> tuple[dict[str, Any], ...]:
        groups: tuple[dict[str, Any], ...] = tuple({} for _ in filters)
        predicates = [as_predicate(each) for each in filters]
        for path, ref in found.items():
            first = next(k for k, predicate in enumerate(predicates) if predicate(path, ref))
            groups[first][path] = ref
        return groups

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        for name, value in self.__dict__.items():
            if name not in _OWN:
                setattr(new, name, copy.deepcopy(value, memo))
        return new

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _OWN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        lines = [f"  {name}={line}," for name, line in self._fields()]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"]) if lines else f"{type(self).__name__}()"

    def _fields(self) -> Iterator[tuple[str, str]]:
        for name, value in self.__dict__.items():
            is_empty = value is None or (type(value) is dict and not value)
            if not (name.startswith("__") or name in (*_OWN, "name") or is_empty):
                yield name.lstrip("_"), show(value).replace("\n", "\n  ")


def has_tracer(ref: StateRef) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(ref.peek()))


def show(value: Any) -> str:
    """How an attribute is shown: parameters with their values, states with shape, dtype and unit."""
    if isinstance(value, ParamState) and value.name is None and not has_tracer(value):
        return f"ParamState({show(value.peek())})"
    if isinstance(value, StateRef):
        named = f"{value.name!r}, " if value.name else ""
        return f"{type(value).__name__}({named}{describe(value)})"
    mantissa, unit = split_quantity(value)
    if isinstance(value, jax.Array | np.ndarray) or unit is not None:
        if np.size(mantissa) > 8 or isinstance(mantissa, Tracer):
            return describe_value(pack(value))
        shown = np.array2string(np.asarray(mantissa), separator=", ", precision=6)
        return shown if unit is None else f"{shown} * {unit}"
    return repr(value)


def _keeps_reference(old: Any, new: Any) -> bool:
    return (
        _REINITIALISING.depth > 0
        and isinstance(old, StateRef)
        and isinstance(new, StateRef)
        and type(old) is type(new)
        and old is not new
    )


def reinitialise(node: Module, *args: Any, **kwargs: Any) -> None:
    """Calls `init_state` so that states which exist keep their references."""
    _REINITIALISING.depth += 1
    try:
        node.init_state(*args, **kwargs)
    finally:
        _REINITIALISING.depth -= 1

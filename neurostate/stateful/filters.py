"""Filters that select references and modules: for `Module.states`, `Module.nodes` and `vmap`'s `in_states`.

Each is a function of a path and an object. Wherever a filter is asked for, a type, a part of a path, a
reference, `...` for everything, `None` for nothing, or a list for any of its items will do as well.

>>> import neurostate as ns
>>> from neurostate import filters
>>> cell = ns.nn.init_all_states(ns.nn.Stateful(ns.LIF(2)))
>>> list(cell.states(filters.Not(filters.OfType(ns.ParamState))))
['V']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any as Anything
from typing import cast

from ._ref import StateRef


Predicate = Callable[[str, Anything], bool]


def as_predicate(selector: Anything) -> Predicate:
    """Turns a selector into a function of a path and a reference.

    A type selects by `isinstance`, a string by a part of the path, a reference by identity, `...`
    or `True` everything, `None` or `False` nothing, a list what any of its items selects, and a
    function `(path, ref) -> bool` what it says.
    """
    if selector is ... or selector is True:
        return lambda path, ref: True
    if selector is None or selector is False:
        return lambda path, ref: False
    if isinstance(selector, type):
        return lambda path, ref: isinstance(ref, selector)
    if isinstance(selector, str):
        return lambda path, ref: selector in path.split(".")
    if isinstance(selector, StateRef):
        return lambda path, ref: ref is selector
    if isinstance(selector, list | tuple | set | frozenset):
        parts = [as_predicate(item) for item in selector]
        return lambda path, ref: any(part(path, ref) for part in parts)
    if callable(selector):
        return cast(Predicate, selector)
    raise TypeError(
        f"Cannot select references by {selector!r:.80} of type {type(selector).__name__}. Use a reference, a type such "
        "as neurostate.HiddenState, a part of a path, a list of these, or a function (path, ref) -> bool."
    )


@dataclass(frozen=True)
class Axes:
    """The declared batch axes of references."""

    refs: dict[Anything, int] = field(default_factory=dict)
    rules: tuple[tuple[Predicate, int], ...] = ()

    def of(self, ref: Anything) -> int | None:
        """The axis of a reference, `None` if none is declared."""
        if ref in self.refs:
            return self.refs[ref]
        return next((axis for rule, axis in self.rules if rule(getattr(ref, "name", None) or "", ref)), None)

    def __or__(self, other: Axes) -> Axes:
        return Axes({**self.refs, **other.refs}, (*self.rules, *other.rules))


def as_axes(declared: Anything, argument: str) -> Axes:
    """Reads `in_states` or `out_states` of `vmap`."""
    if declared is None:
        return Axes()
    if isinstance(declared, Mapping) and declared and all(type(key) is int for key in declared):
        axes = Axes()
        for axis, selector in declared.items():
            axes = axes | _on_axis(selector, axis, argument)
        return axes
    return _on_axis(declared, 0, argument)


def _on_axis(selector: Anything, axis: int, argument: str) -> Axes:
    refs: dict[Anything, int] = {}
    rules: list[tuple[Predicate, int]] = []
    for item in _items(selector):
        if isinstance(item, StateRef):
            refs[item] = axis
        elif hasattr(item, "states") and hasattr(item, "nodes"):
            refs.update(dict.fromkeys(item.states().values(), axis))
        else:
            try:
                rules.append((as_predicate(item), axis))
            except TypeError as error:
                raise TypeError(f"`{argument}`: {error}") from None
    return Axes(refs, tuple(rules))


def _items(selector: Anything) -> Iterable[Anything]:
    if isinstance(selector, Mapping):
        selector = list(selector.values())
    if isinstance(selector, list | tuple | set | frozenset):
        for item in selector:
            yield from _items(item)
    else:
        yield selector


@dataclass(frozen=True)
class WithTag:
    """Selects references that have a tag."""

    tag: str

    def __call__(self, path: str, ref: Anything) -> bool:
        return self.tag in getattr(ref, "tags", ())


@dataclass(frozen=True)
class PathContains:
    """Selects what has a name as a part of its path."""

    name: str

    def __call__(self, path: str, ref: Anything) -> bool:
        return self.name in path.split(".")


@dataclass(frozen=True)
class OfType:
    """Selects by `isinstance`."""

    type: type

    def __call__(self, path: str, ref: Anything) -> bool:
        return isinstance(ref, self.type)


class Any:
    """Selects what any of some filters selects."""

    def __init__(self, *filters: Anything):
        self.predicates = [as_predicate(each) for each in filters]

    def __call__(self, path: str, ref: Anything) -> bool:
        return any(predicate(path, ref) for predicate in self.predicates)


class All(Any):
    """Selects what all of some filters select."""

    def __call__(self, path: str, ref: Anything) -> bool:
        return all(predicate(path, ref) for predicate in self.predicates)


class Not(Any):
    """Selects what a filter does not select."""

    def __init__(self, filter: Anything):
        super().__init__(filter)

    def __call__(self, path: str, ref: Anything) -> bool:
        return not super().__call__(path, ref)


class Everything:
    """Selects everything."""

    def __call__(self, path: str, ref: Anything) -> bool:
        return True


class Nothing:
    """Selects nothing."""

    def __call__(self, path: str, ref: Anything) -> bool:
        return False

"""Selecting references: by reference, type, path, tag, or any function of path and reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ._ref import StateRef


Predicate = Callable[[str, Any], bool]


def as_predicate(selector: Any) -> Predicate:
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

    refs: dict[Any, int] = field(default_factory=dict)
    rules: tuple[tuple[Predicate, int], ...] = ()

    def of(self, ref: Any) -> int | None:
        """The axis of a reference, `None` if none is declared."""
        if ref in self.refs:
            return self.refs[ref]
        return next((axis for rule, axis in self.rules if rule(getattr(ref, "name", None) or "", ref)), None)

    def __or__(self, other: Axes) -> Axes:
        return Axes({**self.refs, **other.refs}, (*self.rules, *other.rules))


def as_axes(declared: Any, argument: str) -> Axes:
    """Reads `in_states` or `out_states` of `vmap`."""
    if declared is None:
        return Axes()
    if isinstance(declared, Mapping) and declared and all(type(key) is int for key in declared):
        axes = Axes()
        for axis, selector in declared.items():
            axes = axes | _on_axis(selector, axis, argument)
        return axes
    return _on_axis(declared, 0, argument)


def _on_axis(selector: Any, axis: int, argument: str) -> Axes:
    refs: dict[Any, int] = {}
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


def _items(selector: Any) -> Iterable[Any]:
    if isinstance(selector, Mapping):
        selector = list(selector.values())
    if isinstance(selector, list | tuple | set | frozenset):
        for item in selector:
            yield from _items(item)
    else:
        yield selector

"""Which module attribute holds which reference, so that a compiled call never uses a replaced one.

A module notes on a reference or module that it holds the attribute by which it does. Replacing an
attribute raises a process-wide epoch. A compiled call that sees a new epoch checks whether every
attribute on the way to its references still holds what it held when it was traced.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any


class _Epoch:
    value = 0


EPOCH = _Epoch()


def held(value: Any) -> Iterator[tuple[str, Any]]:
    """The references and modules in an attribute's value, also in lists, tuples and dicts in it."""
    if hasattr(value, "_owners") and not isinstance(value, type):
        yield "", value
    elif isinstance(value, list | tuple):
        for k, item in enumerate(value):
            yield from ((f"[{k}]{rest}", found) for rest, found in held(item))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from ((f"[{key!r}]{rest}", found) for rest, found in held(item))


def link(owner: Any, attribute: str, value: Any) -> None:
    """Notes on everything held in `value` that `owner` holds it by `attribute`."""
    for rest, found in held(value):
        entry = (weakref.ref(owner), attribute + rest)
        if not any(weak() is owner and name == entry[1] for weak, name in found._owners):
            found._owners.append(entry)


def unlink(owner: Any, attribute: str, value: Any) -> None:
    """The reverse of `link`, and a new epoch if anything was held."""
    for rest, found in held(value):
        EPOCH.value += 1
        found._owners[:] = [
            (weak, name) for weak, name in found._owners if weak() is not owner or name != attribute + rest
        ]


def note_change(owner: Any) -> None:
    """Notes that an attribute of a module, whatever it holds, is another one now."""
    EPOCH.value += 1
    object.__setattr__(owner, "_version", owner._version + 1)


def _items(owner: Any, name: str) -> list[int]:
    container = getattr(owner, "__dict__", {}).get(name, ())
    return list(map(id, container.values() if isinstance(container, dict) else container))


class Links:
    """The attributes on the way to some references, as they are now, and all others of the modules there."""

    def __init__(self, refs: Sequence[Any]):
        self._links: list[tuple[Any, str, Any]] = []
        self._versions: list[tuple[Any, int]] = []
        self.containers: list[tuple[Any, str, list[int]]] = []
        seen: set[int] = set()
        todo = [ref for ref in refs if hasattr(ref, "_owners")]
        while todo:
            holder = todo.pop()
            if id(holder) in seen:
                continue
            seen.add(id(holder))
            for weak, attribute in holder._owners:
                owner = weak()
                if owner is not None:
                    self._versions.append((weak, owner._version))
                    name = attribute.partition("[")[0]
                    if name != attribute and type(owner.__dict__.get(name)) in (list, dict):
                        self.containers.append((weak, name, _items(owner, name)))
                    self._links.append((weak, attribute, weakref.ref(holder)))
                    todo.append(owner)

    def changed_in_place(self) -> bool:
        """Whether a list or dict on the way holds other items, which nobody tells when it happens."""
        return any(_items(weak(), name) != items for weak, name, items in self.containers)

    def hold(self) -> bool:
        """Whether each of them still holds the same."""
        if self.changed_in_place():
            return False
        if any(weak() is not None and weak()._version != version for weak, version in self._versions):
            return False
        for weak_owner, attribute, weak_held in self._links:
            owner, holder = weak_owner(), weak_held()
            if owner is None or holder is None:
                return False
            if not any(weak() is owner and name == attribute for weak, name in holder._owners):
                return False
        return True

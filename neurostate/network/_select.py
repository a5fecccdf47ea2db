"""Selectors: `"E"`, `"E[:100]"`, `"E.V[::10]"`."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Final

import numpy as np

from .._custom_types import Shape


_PATTERN: Final = re.compile(r"^(?P<name>[^\[\].]+)(?:\.(?P<path>[^\[\]]+))?(?:\[(?P<index>[^\]]*)\])?$")
_SLICE: Final = re.compile(r"^\s*(-?\d+)?\s*(?::\s*(-?\d+)?\s*(?::\s*(-?\d+)?\s*)?)?$")


@dataclasses.dataclass(frozen=True)
class Selector:
    """A part of a network: the population or projection `name`, a variable of it, and which of its neurons."""

    name: str
    path: tuple[str, ...] = ()
    index: slice | None = None

    def apply(self, values: Any, size: Shape) -> Any:
        """The selected neurons of values of shape `(*batch, *size)`, with one axis in place of `size`."""
        if self.index is None:
            return values
        batch = values.shape[: values.ndim - len(size)]
        return values.reshape(*batch, -1)[..., self.index]

    def count(self, size: Shape) -> Shape:
        """The shape of what is selected from a population of that size."""
        return (
            size
            if self.index is None
            else (
                len(
                    range(*self.index.indices(int(np.prod(size)))),
                ),
            )
        )


def parse(text: str, owner: str) -> Selector:
    """Reads a selector.

    **Raises:** `ValueError` if it is none; `TypeError` if it is not a string.

    >>> parse("E.V[:10]", "record")
    Selector(name='E', path=('V',), index=slice(None, 10, None))
    """
    if not isinstance(text, str):
        raise TypeError(f"{owner} must be a selector such as 'E' or 'E.V[:10]', got {text!r}.")
    found = _PATTERN.match(text)
    index = None if found is None or found["index"] is None else _SLICE.match(found["index"])
    if found is None or (found["index"] is not None and index is None):
        raise ValueError(f"{owner} must be a selector such as 'E', 'E[:100]' or 'E.V[::10]', got {text!r}.")
    path = tuple(found["path"].split(".")) if found["path"] else ()
    if index is None:
        return Selector(found["name"], path)
    start, stop, step = (None if part is None else int(part) for part in index.groups())
    if ":" not in found["index"]:
        if start is None:
            raise ValueError(f"{owner} has nothing between its brackets: {text!r}.")
        return Selector(found["name"], path, slice(start, start + 1 if start != -1 else None))
    return Selector(found["name"], path, slice(start, stop, step))

"""`catch_new_states`: the references that a block of code makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._collector import path_of
from ._ref import BIRTHS, StateRef
from .filters import as_predicate


class NewStates:
    """The references that were made in a block of `catch_new_states`."""

    def __init__(self, state_to_exclude: Any):
        self.born: list[StateRef] = []
        self._excluded = as_predicate(state_to_exclude)

    def get_states(self) -> list[StateRef]:
        """The references, in the order in which they were made."""
        return [ref for ref in dict.fromkeys(self.born) if not self._excluded(path_of(ref), ref)]

    def get_state_values(self) -> list[Any]:
        """Their values of now."""
        return [ref.value for ref in self.get_states()]

    def get_by_tag(self, tag: str) -> list[StateRef]:
        """Those that have a tag."""
        return [ref for ref in self.get_states() if tag in ref.tags]


@contextmanager
def catch_new_states(state_tag: str | None = None, state_to_exclude: Any = None) -> Iterator[NewStates]:
    """Collects the references that this thread makes in a block; each open block has them all.

    A module that is initialised again keeps its references: they are collected in place of new ones.
    A reference that is made inside a transform follows the transform's rules: `jit` and `vmap` give it
    a value, and a call of a compiled function that does not trace again makes none.

    **Arguments:**

    - `state_tag`: A tag for them, which they get at the end of the block.
    - `state_to_exclude`: Which of them to leave out: a type, a part of a path, a function
      `(path, ref) -> bool`, or a list of these.

    **Returns:** A context manager that gives an object with `get_states()`, `get_state_values()` and
    `get_by_tag(tag)`.

    >>> import neurostate as ns
    >>> with ns.catch_new_states("new", state_to_exclude=ns.ParamState) as caught:
    ...     cell = ns.nn.init_all_states(ns.nn.Stateful(ns.LIF(2)))
    >>> caught.get_states() == [cell.V], cell.V.tags
    (True, frozenset({'new'}))
    """
    caught = NewStates(state_to_exclude)
    BIRTHS.lists = (*BIRTHS.lists, caught.born)
    try:
        yield caught
    finally:
        BIRTHS.lists = tuple(births for births in BIRTHS.lists if births is not caught.born)
        if state_tag is not None:
            for ref in caught.get_states():
                ref.add_tag(state_tag)

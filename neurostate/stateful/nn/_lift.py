"""The arrays of an immutable tree as references of a module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax

from ..._units import Unit, is_quantity, join_quantity, split_quantity, to_plain
from .._ref import ParamState
from ._module import Module


@dataclass(frozen=True)
class Slot:
    """Stands in a tree for an array that a module holds in a reference, by the attribute `name`."""

    name: str
    unit: Unit | None


def lift(
    owner: Module,
    tree: Any,
    unit_of: Callable[[str], Unit | None] | None = None,
    param_type: Callable[[Any], Any] = ParamState,
) -> Any:
    """Makes a reference of each inexact array of `tree`, an attribute named by its path such as `layers.0.bias`.

    The unit of a value is that of `unit_of(name)`, else its own.

    **Returns:** The tree with a slot in place of each of them.
    """

    def move(path: Any, leaf: Any) -> Any:
        mantissa, unit = split_quantity(leaf)
        if not eqx.is_inexact_array(mantissa):
            return leaf
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        slot = Slot(name, unit if unit_of is None else unit_of(name))
        setattr(owner, name, param_type(join_quantity(mantissa, slot.unit)))
        return slot

    return jax.tree_util.tree_map_with_path(move, tree, is_leaf=is_quantity)


def fill(owner: Module, tree: Any, needed: Callable[[str], bool] = lambda name: True) -> Any:
    """The tree that `lift` gave, with the values of now as plain arrays; `None` for one that is not needed."""

    def value(leaf: Any) -> Any:
        if not isinstance(leaf, Slot):
            return leaf
        return to_plain(owner.__dict__[leaf.name].value, leaf.unit, leaf.name) if needed(leaf.name) else None

    return jax.tree.map(value, tree)

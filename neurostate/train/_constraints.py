"""Bounds on the parameters of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._custom_types import PyTree
from .._parameters import check_broadcast
from .._units import Unit, family_unit, is_traced
from ._bijectors import AbstractBijector
from ._select import Where, inexact_leaves, map_leaves, path_text, selected


class Constraints(eqx.Module):
    """Bounds on parameters of a model, which hold whatever an optimiser does.

    The optimiser works on a model with free numbers in place of these parameters, `free = constraints.free(model)`.
    What runs is `constraints.model(free)`.

    **Arguments:**

    - `model`: A model whose parameters are within the bounds.
    - `bijectors`: For what is bounded, as in [`neurostate.train.select`][], the bijector that gives it, such as
        [`neurostate.train.Softplus`][]. Bounds that are Quantities count in the unit of the field.

    **Raises:** `ValueError` for a parameter outside of the bounds, with its path and value, or for one with two
    bijectors; `UnitError` for a bound of another dimension, with the path; as `select` where nothing is selected.

    >>> import brainunit as u, neurostate as ns
    >>> cell = ns.LIF(2)
    >>> constraints = ns.train.Constraints(cell, {"tau": ns.train.Exp(), "V_th": ns.train.Sigmoid(0.5, 2 * u.mV)})
    >>> print(constraints.free(cell).tau, constraints.model(constraints.free(cell)).V_th)
    1.609438 1.0
    """

    bijectors: dict[str, AbstractBijector]

    def __init__(self, model: PyTree, bijectors: Mapping[Where, AbstractBijector]):
        leaves = inexact_leaves(model)
        places = {path_text(path): path for path, _ in jax.tree_util.tree_leaves_with_path(model)}
        self.bijectors = {}
        for where, bijector in bijectors.items():
            for path in sorted(selected(model, leaves, where)):
                if path in self.bijectors:
                    raise ValueError(f"{path} is selected by two of the bijectors. Select each parameter once.")
                unit = None if _is_plain(bijector) else _unit_at(model, places[path])
                self.bijectors[path] = bijector.in_unit(unit, path)
                check_within(self.bijectors[path], leaves[path], path)

    def free(self, model: PyTree) -> PyTree:
        """The model with free numbers in place of the bounded parameters."""
        return self._mapped("inverse", model)

    def model(self, free: PyTree) -> PyTree:
        """The model for a free one: the reverse of `free`, up to rounding."""
        return self._mapped("forward", free)

    def _mapped(self, which: str, model: PyTree) -> PyTree:
        return map_leaves(
            lambda path, leaf: getattr(self.bijectors[path], which)(leaf) if path in self.bijectors else leaf, model
        )


def check_within(bijector: AbstractBijector, value: Any, path: str) -> None:
    """Checks that a parameter, if it is known now, is within the bounds of a plain bijector.

    **Raises:** `ValueError` with the path, the value and the bounds; or if the shapes do not fit.
    """
    check_broadcast(bijector.shape, np.shape(value), "the bounds", f"{type(bijector).__name__} on {path}")
    if is_traced(value):
        return
    within = np.asarray(bijector.contains(np.asarray(value)))
    if not within.all():
        wrong = np.asarray(value)[~within]
        raise ValueError(
            f"{path} must be {bijector.bounds}, but {len(wrong)} of its {within.size} values are not, the first one: "
            f"{wrong[0]}. Start from values within the bounds, or use others."
        )


def _is_plain(bijector: Any) -> bool:
    return bijector.unit is None and all(map(_is_plain, getattr(bijector, "bijectors", ())))


def _unit_at(model: PyTree, path: Any) -> Unit | None:
    """The unit of an array: that of the innermost field on the way to it that has a dimension."""
    node, unit = model, None
    for key in path:
        if isinstance(key, jax.tree_util.GetAttrKey):
            field = getattr(type(node), "__dataclass_fields__", {}).get(key.name)
            dimension = None if field is None else field.metadata.get("dimension")
            unit = unit if dimension is None else family_unit(dimension, getattr(node, "I_unit", None))
            node = getattr(node, key.name)
        elif isinstance(key, jax.tree_util.SequenceKey):
            node = node[key.idx]
        elif isinstance(key, jax.tree_util.DictKey):
            node = node[key.key]
    return unit

"""Bounds on the parameters of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._custom_types import PyTree
from .._parameters import check_broadcast
from .._units import Unit, family_unit, is_traced
from ._bijectors import AbstractBijector, check_bijector
from ._select import Where, fields_along, inexact_leaves, listed, map_leaves, path_text, selected


class Constraints(eqx.Module):
    """Bounds on parameters of a model, which hold whatever an optimiser does.

    The optimiser works on a model with free numbers in place of these parameters, `free = constraints.free(model)`.
    What runs is `constraints.model(free)`. Both also take a part of the model, as `equinox.partition` gives it.

    **Arguments:**

    - `model`: A model whose parameters are within the bounds.
    - `bijectors`: For what is bounded, as in [`neurostate.train.select`][], the bijector that gives it, such as
        [`neurostate.train.Softplus`][]. Bounds that are Quantities count in the unit of the field.

    **Raises:** `ValueError` for a parameter outside of the bounds, with its path and value, or for one with two
    bijectors; `TypeError` for what is no bijector; `UnitError` for a bound of another dimension, with the path; as
    `select` where nothing is selected. `free` and `model` raise `ValueError` for a model with arrays that the one here
    does not have, and `free` for a parameter outside of the bounds, if its value is known.

    >>> import brainunit as u, neurostate as ns
    >>> cell = ns.LIF(2)
    >>> constraints = ns.train.Constraints(cell, {"tau": ns.train.Exp(), "V_th": ns.train.Sigmoid(0.5, 2 * u.mV)})
    >>> print(constraints.free(cell).tau, constraints.model(constraints.free(cell)).V_th)
    1.609438 1.0
    """

    bijectors: dict[str, AbstractBijector]
    paths: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, model: PyTree, bijectors: Mapping[Where, AbstractBijector]):
        leaves = inexact_leaves(model)
        places = _places(model)
        self.paths = tuple(places)
        self.bijectors = by_path(model, leaves, bijectors, lambda path: _unit_at(model, places[path]))

    def free(self, model: PyTree) -> PyTree:
        """The model with free numbers in place of the bounded parameters."""
        for path, leaf in inexact_leaves(model).items():
            if path in self.bijectors:
                check_within(self.bijectors[path], leaf, path)
        return self._mapped("inverse", model)

    def model(self, free: PyTree) -> PyTree:
        """The model for a free one: the reverse of `free`, up to rounding."""
        return self._mapped("forward", free)

    def check_whole(self, model: PyTree) -> None:
        """Checks that a model has the leaves of the model that the constraints were made for, all and no others."""
        self._check(_places(model).keys() ^ set(self.paths))

    def _mapped(self, which: str, model: PyTree) -> PyTree:
        self._check(_places(model).keys() - set(self.paths))
        return map_leaves(
            lambda path, leaf: getattr(self.bijectors[path], which)(leaf) if path in self.bijectors else leaf, model
        )

    def _check(self, others: set[str]) -> None:
        if others:
            raise ValueError(
                f"These `Constraints` were made for another model: {len(others)} of its arrays or numbers "
                f"are only in one of the two, such as {listed(sorted(others)[:3])}. "
                "Make them from the model that is trained: `train.Constraints(model, bijectors)`."
            )


def by_path(
    model: PyTree, leaves: Mapping[str, Any], bijectors: Mapping[Where, Any], unit_at: Callable[[str], Unit | None]
) -> dict[str, AbstractBijector]:
    """The bijector of each bounded parameter, with its constants in the parameter's unit.

    **Raises:** as [`neurostate.train.Constraints`][].
    """
    found: dict[str, AbstractBijector] = {}
    for where, bijector in bijectors.items():
        check_bijector(bijector, f"What bounds {getattr(where, '__name__', where)!r:.80}")
        for path in sorted(selected(model, leaves, where)):
            if path in found:
                raise ValueError(f"{path} is selected by two of the bijectors. Select each parameter once.")
            found[path] = bijector.in_unit(None if _is_plain(bijector) else unit_at(path), path)
            check_within(found[path], leaves[path], path)
    return found


def check_within(bijector: AbstractBijector, value: Any, path: str) -> None:
    """Checks that a parameter, if it is known now, is within the bounds of a plain bijector.

    **Raises:** `ValueError` with the path, the value and the bounds; or if the shapes do not fit.
    """
    check_broadcast(bijector.shape, np.shape(value), "the bounds", f"{type(bijector).__name__} on {path}")
    if is_traced(value):
        return
    try:
        within = np.asarray(bijector.contains(np.asarray(value)))
    except ValueError as error:
        raise ValueError(f"{path} cannot be bounded so. {error}") from None
    if not within.all():
        wrong = np.asarray(value)[~within]
        raise ValueError(
            f"{path} must be {bijector.bounds}, but {len(wrong)} of its {within.size} values are not, the first one: "
            f"{wrong[0]}. Start from values within the bounds, or use others."
        )


def _places(model: PyTree) -> dict[str, Any]:
    return {path_text(path): path for path, _ in jax.tree_util.tree_leaves_with_path(model)}


def _is_plain(bijector: Any) -> bool:
    return bijector.unit is None and all(map(_is_plain, getattr(bijector, "bijectors", ())))


def _unit_at(model: PyTree, path: Any) -> Unit | None:
    """The unit of an array: that of the innermost field on the way to it that has a dimension."""
    unit = None
    for owner, field in fields_along(model, path):
        dimension = field.metadata.get("dimension")
        unit = unit if dimension is None else family_unit(dimension, getattr(owner, "I_unit", None))
    return unit

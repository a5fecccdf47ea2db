"""Which arrays of a model are trained, and how: masks for Equinox and labels for Optax, by path, type or predicate."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import equinox as eqx
import jax
import optax

from .._custom_types import Array, PyTree


# A pattern of paths, a type of submodules, a function of a path and an array, or a pytree of bools.
Where: TypeAlias = str | type | Callable[[str, Array], bool] | PyTree

_PATTERNS: Final = (
    "In a pattern `*` stands for any characters and everything else for itself; the path of a submodule stands for all "
    "arrays in it."
)


def path_text(path: Any) -> str:
    """A path of JAX as text: `layers[0].weight`, `populations['E'].tau`."""
    return jax.tree_util.keystr(path).removeprefix(".")


def inexact_leaves(tree: PyTree) -> dict[str, Array]:
    """The arrays of floats in a pytree by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_text(path): leaf for path, leaf in leaves if eqx.is_inexact_array(leaf)}


def map_leaves(function: Callable[[str, Any], Any], tree: PyTree) -> PyTree:
    """The pytree with each leaf replaced by what a function makes of its path and itself."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: function(path_text(path), leaf), tree)


def fields_along(model: PyTree, path: Any) -> Iterator[tuple[Any, dataclasses.Field[Any]]]:
    """The fields of modules on the way to an array, each with its module."""
    node = model
    for key in path:
        if isinstance(key, jax.tree_util.GetAttrKey):
            field = getattr(type(node), "__dataclass_fields__", {}).get(key.name)
            if field is not None:
                yield node, field
            node = getattr(node, key.name)
        elif isinstance(key, jax.tree_util.SequenceKey):
            node = node[key.idx]
        elif isinstance(key, jax.tree_util.DictKey):
            node = node[key.key]


def parameters(model: PyTree) -> dict[str, Array]:
    """The arrays of floats by their paths, but for those in fields that a layer marks as running statistics."""
    return {
        path_text(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(model)
        if eqx.is_inexact_array(leaf)
        and not any("statistics" in field.metadata for _, field in fields_along(model, path))
    }


def matches(pattern: str, path: str) -> bool:
    """Whether a path, or that of something that it is in, matches a pattern.

    >>> matches("*.tau", "hidden.cell.tau"), matches("layers[0]", "layers[0].weight"), matches("lay", "layers[0]")
    (True, True, False)
    """
    text = ".*".join(map(re.escape, pattern.split("*")))
    return re.match(text + r"(?=[.\[]|$)", path) is not None


def select(model: PyTree, *where: Where, exclude: Where | tuple[Where, ...] = ()) -> PyTree:
    """Marks arrays of a model: a pytree of bools, as [`equinox.partition`][] and [`optax.masked`][] take it.

    **Arguments:**

    - `model`: Any pytree, such as a cell or a network.
    - `where`: What is marked, any of these together; all arrays of floats if there is none.
        A pattern of paths such as `"hidden.cell.tau"`, `"*.tau"` or `"layers[0].*"`, in which `*` stands for any
        characters, and the path of a submodule for all arrays in it. A type, such as `ns.connect.Dense`: all
        arrays inside of submodules of that type. A function of the path and the array that gives a bool. A pytree of
        bools like the model, such as an earlier mark.
    - `exclude`: What is not marked after all, likewise, or a tuple of these.

    The running statistics of a [`neurostate.layers.BatchNorm`][] are no parameters and never marked.

    **Returns:** The model's structure with `True` for the marked arrays, which are of floats, and `False` for all other
    leaves.

    **Raises:** `ValueError` if one of them marks nothing, with the paths that there are; `TypeError` if it is none of
    these.

    >>> import equinox as eqx, neurostate as ns
    >>> net = ns.Sequential(ns.connect.Dense(2, 3), ns.LIF(3))
    >>> trained, rest = eqx.partition(net, ns.train.select(net, "*.tau", ns.connect.Dense))
    >>> [leaf.shape for leaf in jax.tree.leaves(trained)]
    [(2, 3), ()]
    """
    leaves = parameters(model)
    excluded = exclude if isinstance(exclude, tuple) else (exclude,)
    chosen = set(leaves) if not where else set[str]().union(*(selected(model, leaves, each) for each in where))
    chosen -= set[str]().union(*(selected(model, leaves, each) for each in excluded))
    if not chosen:
        raise ValueError(f"No array is selected. Of a model, arrays of floats can be: {listed(leaves)}.")
    return map_leaves(lambda path, leaf: path in chosen and eqx.is_inexact_array(leaf), model)


def partition(model: PyTree, *where: Where, exclude: Where | tuple[Where, ...] = ()) -> tuple[PyTree, PyTree]:
    """Splits a model into what is trained and the rest: `equinox.partition(model, select(model, ...))`.

    **Arguments:** as [`neurostate.train.select`][].

    **Returns:** `(trained, rest)`, which `equinox.combine` puts together again.

    **Raises:** as `select`.

    >>> import neurostate as ns
    >>> trained, rest = ns.train.partition(ns.LIF(2), "tau")
    >>> trained.tau, rest.tau
    (Array(5., dtype=float32), None)
    """
    return eqx.partition(model, select(model, *where, exclude=exclude))


class Labels:
    """A label for each trained array, as [`optax.multi_transform`][] takes them: a function of the parameters.

    Optax calls labels that are callable. A pytree of labels would be, if the model itself is, as
    `equinox.nn.Linear` is. So these are a function on purpose, which gives the pytree for whatever part of the model
    Optax has.
    """

    def __init__(self, labels: Mapping[str, Any]):
        self.labels = dict(labels)

    def __call__(self, params: PyTree) -> PyTree:
        return map_leaves(lambda path, leaf: self.labels[path] if path in self.labels else self._missing(path), params)

    def _missing(self, path: str) -> Any:
        raise ValueError(
            f"{path} has no label; these have: {listed(self.labels)}. Give Optax the trained part of the model alone, "
            "as `train.partition` gives it, of the model that the labels were made from."
        )

    def __repr__(self) -> str:
        return f"Labels({self.labels!r})"


def labels(model: PyTree, where: Mapping[Any, Where | tuple[Where, ...]], *, default: Any = None) -> Labels:
    """Labels the arrays of a model, for an optimiser that treats them differently.

    **Arguments:**

    - `model`: Any pytree.
    - `where`: For each label what it stands on, as in [`neurostate.train.select`][], or a tuple of these. Of several
        labels for one array the first counts.
    - `default`: The label of all other arrays of floats.

    **Returns:** [`neurostate.train.Labels`][] for [`neurostate.train.per_label`][] or [`optax.multi_transform`][].

    **Raises:** as `select`; and `ValueError` for an array without a label, if there is no `default`.

    >>> import neurostate as ns
    >>> ns.train.labels(ns.LIF(2), {"slow": "tau"}, default="frozen").labels["tau"]
    'slow'
    """
    leaves = inexact_leaves(model)
    found: dict[str, Any] = {}
    for label, each in where.items():
        for one in each if isinstance(each, tuple) else (each,):
            for path in selected(model, leaves, one):
                found.setdefault(path, label)
    without = [path for path in leaves if path not in found]
    if without and default is None:
        raise ValueError(f"{listed(without)} have no label. Select them too, or give a `default` label.")
    return Labels({path: found.get(path, default) for path in leaves})


def per_label(
    transformations: Mapping[Any, optax.GradientTransformation | None], labels: Labels
) -> optax.GradientTransformationExtraArgs:
    """One Optax transformation for each label.

    **Arguments:**

    - `transformations`: For each label its transformation; `None` freezes the arrays with that label, which then
        have no place in the optimiser's state.
    - `labels`: From [`neurostate.train.labels`][].

    **Returns:** A transformation for the parameters of that model, or for any trained part of it.

    **Raises:** `ValueError` for a label without a transformation.

    >>> import optax, neurostate as ns
    >>> cell = ns.LIF(2)
    >>> marked = ns.train.labels(cell, {"slow": "tau"}, default="frozen")
    >>> optimizer = ns.train.per_label({"slow": optax.adam(1e-4), "frozen": None}, marked)
    >>> [leaf.shape for leaf in jax.tree.leaves(optimizer.init(eqx.filter(cell, eqx.is_inexact_array)))]
    [(), (), ()]
    """
    missing = sorted({repr(label) for label in labels.labels.values() if label not in transformations})
    if missing:
        raise ValueError(
            f"The labels {', '.join(missing)} have no transformation; there are: {list(transformations)}. Give one, or "
            "None to freeze what has that label."
        )
    given = {label: optax.set_to_zero() if each is None else each for label, each in transformations.items()}
    return optax.with_extra_args_support(optax.multi_transform(given, labels))


def selected(model: PyTree, leaves: Mapping[str, Array], where: Where) -> set[str]:
    """The paths of the arrays that `where` selects among `leaves`, which are those of the model."""
    if isinstance(where, str):
        found, words = {path for path in leaves if matches(where, path)}, f"The pattern {where!r}"
    elif isinstance(where, type):
        found, words = _of_type(model, where) & set(leaves), f"The type {where.__name__}"
    elif jax.tree.structure(where) == jax.tree.structure(model):
        found = {path_text(path) for path, leaf in jax.tree_util.tree_leaves_with_path(where) if leaf} & set(leaves)
        words = "The pytree of bools"
    elif callable(where):
        found = {path for path, leaf in leaves.items() if where(path, leaf)}
        words = f"The function {getattr(where, '__name__', where)!r}"
    else:
        raise TypeError(
            "Arrays are selected by a pattern of their paths, a type, a function of a path and an array, or a pytree "
            f"of bools like the model; got {where!r:.80} of type {type(where).__name__}."
        )
    if not found:
        raise ValueError(
            f"{words} selects none of the model's arrays of floats. There are: {listed(leaves)}. {_PATTERNS}"
        )
    return found


def _of_type(model: PyTree, kind: type) -> set[str]:
    """The paths of all leaves inside of submodules of a type."""
    nodes = jax.tree_util.tree_leaves_with_path(model, is_leaf=lambda node: isinstance(node, kind))
    return {
        path_text((*above, *below))
        for above, node in nodes
        if isinstance(node, kind)
        for below, _ in jax.tree_util.tree_leaves_with_path(node)
    }


def listed(paths: Any) -> str:
    return ", ".join(path or "the array itself" for path in paths) or "none"

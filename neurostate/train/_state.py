"""The state of a training run: what there is after each epoch, and how it is saved."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from pathlib import Path
from typing import Any, Final, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._custom_types import PyTree
from ._constraints import Constraints
from ._optax import check_transformation, initial
from ._select import Where, map_leaves, partition, path_text
from ._statics import difference, statics


_FORMAT: Final = "neurostate 2"
_Tree = TypeVar("_Tree")


class TrainState(eqx.Module):
    """What a training run has after some epochs. It is never changed in place.

    - `model`: The model as it is now.
    - `trained`: What the optimiser moves: the trained arrays of the model, with free numbers in place of those that
        have constraints, and `None` in all other places.
    - `optimizer_state`: The state of the Optax transformation.
    - `best_model`: The model after the epoch with the least validation loss; `None` without validation.
    - `epoch`, `step`: How many epochs and how many updates there were.
    - `history`: For the loss and each metric, and with `"val_"` in front for those of the validation data, the mean
        over each epoch.
    - `constraints`: The bounds of the parameters, or `None`.
    """

    model: PyTree
    trained: PyTree
    optimizer_state: PyTree
    best_model: PyTree = None
    epoch: int = 0
    step: int = 0
    history: dict[str, tuple[float, ...]] = eqx.field(default_factory=dict)
    constraints: Constraints | None = None

    @property
    def best(self) -> PyTree:
        """The best model; without validation the last one."""
        return self.model if self.best_model is None else self.best_model

    @property
    def best_epoch(self) -> int | None:
        """The epoch after which the validation loss was least, counted from 1; `None` without any."""
        losses = self.history.get("val_loss", ())
        return int(np.nanargmin(losses)) + 1 if np.isfinite(losses).any() else None


def start(
    model: PyTree,
    optimizer: optax.GradientTransformation | Any,
    *,
    trained: Where | tuple[Where, ...] | None = None,
    constraints: Constraints | None = None,
) -> TrainState:
    """The state of a training run before its first epoch.

    **Arguments:** as [`neurostate.train.fit`][].

    **Raises:** as [`neurostate.train.select`][]; `TypeError` for what is no transformation or no `Constraints`;
    `ValueError` for constraints of another model, or for a parameter outside of its bounds.

    >>> import optax, neurostate as ns
    >>> ns.train.start(ns.LIF(2), optax.sgd(0.1), trained="tau").trained.tau
    Array(5., dtype=float32)
    """
    check_transformation(optimizer)
    if constraints is not None:
        if not isinstance(constraints, Constraints):
            raise TypeError(f"`constraints` must be `train.Constraints(model, bijectors)`, got {constraints!r:.80}.")
        constraints.check_whole(model)
    where = () if trained is None else trained if isinstance(trained, tuple) else (trained,)
    moved, rest = partition(model, *where)
    moved = jax.tree.map(_strong, moved)
    model = eqx.combine(moved, rest)
    free = moved if constraints is None else constraints.free(moved)
    return TrainState(model, free, jax.tree.map(_strong, initial(optimizer, free)), constraints=constraints)


def _strong(x: Any) -> Any:
    """An array that has its dtype for good, so that the second epoch finds what the first one found."""
    return jax.lax.convert_element_type(x, x.dtype) if getattr(x, "weak_type", False) else x


def save(path: str | os.PathLike[str], tree: PyTree) -> None:
    """Saves the arrays of a training state, a model or any other pytree in one file.

    The file appears whole or not at all: it is written beside its place and then moved there. In front of the arrays it
    has a line of JSON with their paths, shapes and dtypes, and in words what is static: types, static fields such as
    `spk_reset`, units, and the names of functions. An array that occurs twice is written once.

    **Arguments:**

    - `path`: The file.
    - `tree`: What is saved. All that is not an array, or a scalar of NumPy, is left out, and comes from `like` in
        [`neurostate.train.load`][]. The numbers of a `TrainState` are saved.
    """
    write(path, tree, {})


def write(path: str | os.PathLike[str], tree: PyTree, run: dict[str, str]) -> None:
    """Saves a pytree, and in words what else must be as it was to go on."""
    arrays, numbers = _parts(tree)
    unique: dict[int, Any] = {}
    listed = []
    for place, leaf in _array_leaves(arrays):
        unique.setdefault(id(leaf), leaf)
        listed.append({"path": place, **_kind(leaf), "array": list(unique).index(id(leaf))})
    header = {"format": _FORMAT, "state": numbers, "leaves": listed, "statics": statics(_static_part(tree)), "run": run}
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    with open(partial, "wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        eqx.tree_serialise_leaves(file, [_data(leaf) for leaf in unique.values()])
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, target)


def load(path: str | os.PathLike[str], like: _Tree) -> _Tree:
    """Reads what [`neurostate.train.save`][] wrote.

    **Arguments:**

    - `path`: The file.
    - `like`: A pytree of the same structure, such as the untrained model, or the state before the first epoch from
        [`neurostate.train.start`][].

    **Returns:** `like` with the saved arrays, bit for bit.

    **Raises:** `ValueError` if the file is damaged, or was not saved from something like this, with the path in it that
    differs. Functions count as equal if their names are, so that two `lambda`s do; Python's numbers, flags and texts,
    such as `inference`, are not compared.

    >>> import jax.numpy as jnp, tempfile, neurostate as ns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ns.train.save(f"{folder}/cell.eqx", ns.LIF(2, tau=7.0))
    ...     ns.train.load(f"{folder}/cell.eqx", ns.LIF(2)).tau
    Array(7., dtype=float32)
    """
    return read(path, like, {})


def read(path: str | os.PathLike[str], like: _Tree, run: dict[str, str]) -> _Tree:
    """The reverse of `write`: what is in `run` must be as in the file, if it is there."""
    file_name = repr(os.fspath(path))
    with open(path, "rb") as file:
        header, rest = _header(file.readline(), path), io.BytesIO(file.read())
    arrays, own = _parts(like)
    numbers = header["state"]
    if (numbers is None) != (own is None):
        kinds = ("another pytree", "a `TrainState`")
        has, needs = kinds if numbers is None else reversed(kinds)
        raise ValueError(f"{file_name} has {has}, but `like` is {needs}.")
    if numbers is not None:
        arrays["best_model"] = arrays["model"] if numbers["has_best"] else None
    saved = {entry["path"]: entry for entry in header["leaves"]}
    places = dict(_array_leaves(arrays))
    for place in [*places, *saved]:
        here, there = _kind(places[place]) if place in places else None, saved.get(place)
        if here is None or there is None or any(here[name] != there[name] for name in here):
            raise ValueError(
                f"{file_name} does not fit: {place or 'the array'} is {_words(there)} in the file, but "
                f"{_words(here)} in `like`. Give a `like` as it was saved, with the same sizes, optimiser and "
                "trained arrays."
            )
    then = header["run"]
    different = difference(header["statics"], _static_part(like)) or next(
        ((f"`{name}`", then[name], now) for name, now in run.items() if then.get(name, now) != now), None
    )
    if different:
        place, there, here = different
        raise ValueError(
            f"{file_name} does not fit: {place or 'the whole'} was {there} when it was saved, but is {here} now. Give "
            "the same model, constraints and arguments as then."
        )
    firsts = {entry["array"]: entry["path"] for entry in header["leaves"]}
    blanks = [_blank(places[firsts[k]]) for k in range(len(firsts))]
    try:
        loaded = eqx.tree_deserialise_leaves(rest, blanks)
    except (EOFError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{file_name} is damaged: its arrays end too early or cannot be read ({error}).") from error
    found = {place: _as_like(loaded[saved[place]["array"]], leaf) for place, leaf in places.items()}
    arrays = map_leaves(lambda place, leaf: found.get(place, leaf), arrays)
    if numbers is None:
        return arrays
    history = {name: tuple(values) for name, values in numbers["history"].items()}
    state: Any = like
    return dataclasses.replace(state, **arrays, epoch=numbers["epoch"], step=numbers["step"], history=history)


def _static_part(tree: Any) -> Any:
    """Where to look for what is static: the other parts of a state repeat its model."""
    return {"model": tree.model, "constraints": tree.constraints} if isinstance(tree, TrainState) else tree


def _parts(tree: Any) -> tuple[Any, dict[str, Any] | None]:
    """The part of a pytree whose arrays are saved one by one, and the numbers that go into the header."""
    if not isinstance(tree, TrainState):
        return tree, None
    names = ("model", "trained", "optimizer_state", "best_model")
    numbers = {"epoch": tree.epoch, "step": tree.step, "history": tree.history, "has_best": tree.best_model is not None}
    return {name: getattr(tree, name) for name in names}, numbers


def _array_leaves(tree: PyTree) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(path_text(path), leaf) for path, leaf in leaves if isinstance(leaf, jax.Array | np.ndarray | np.generic)]


def _kind(leaf: Any) -> dict[str, Any]:
    return {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}


def _words(kind: dict[str, Any] | None) -> str:
    return "missing" if kind is None else f"{kind['dtype']}[{','.join(map(str, kind['shape']))}]"


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _blank(leaf: Any) -> Any:
    return jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf


def _as_like(loaded: Any, leaf: Any) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(loaded), impl=jax.random.key_impl(leaf)) if _is_key(leaf) else loaded


def _header(line: bytes, path: Any) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ValueError(f"{os.fspath(path)!r} was not written by `train.save` of this version.")
    return header

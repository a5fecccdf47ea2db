"""The parameters of a module as plain arrays: the way to Optax and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._units import is_quantity, join_quantity, split_quantity, to_plain
from .._collector import commit
from .._ref import ParamState
from .._values import pack
from ..filters import as_predicate
from ._module import Module


def trainable(module: Module, *filters: Any) -> tuple[dict[str, Any], Callable[[dict[str, Any]], None]]:
    """The values of a module's parameters as plain arrays by path, and the way back.

    Quantities are given in their own unit without it, so that any Optax transformation works on them;
    what comes back gets the unit again.

    **Arguments:**

    - `module`: The module.
    - `filters`: Which of its `ParamState`s, as in `Module.states`; all without any.

    **Returns:** `(arrays, put)`: a dict from path to array (or to a pytree of arrays, for a parameter
    that is one), and a function that writes such a dict into the references, all or none.

    **Raises:** `TypeError` for a parameter without an inexact array; `KeyError` from `put` for other paths.

    >>> import jax, optax, neurostate as ns
    >>> cell = ns.nn.Stateful(ns.LIF(2))
    >>> arrays, put = ns.trainable(cell, "tau")
    >>> optimiser = optax.sgd(0.5)
    >>> gradients = jax.tree.map(lambda x: 0 * x + 1, arrays)
    >>> updates, _ = optimiser.update(gradients, optimiser.init(arrays))
    >>> put(optax.apply_updates(arrays, updates))
    >>> print(cell.tau.value.mantissa, cell.tau.value.unit)
    4.5 ms
    """
    predicate = as_predicate(list(filters) if filters else True)
    refs = {path: ref for path, ref in module.states(ParamState).items() if predicate(path, ref)}
    units: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for path, ref in refs.items():
        units[path] = jax.tree.map(lambda x: _Unit(split_quantity(x)[1]), ref.value, is_leaf=is_quantity)
        arrays[path] = jax.tree.map(lambda x: split_quantity(x)[0], ref.value, is_leaf=is_quantity)
        if not any(map(eqx.is_inexact_array, jax.tree.leaves(arrays[path]))):
            raise TypeError(
                f"{path} cannot be trained: its value {ref.value!r:.60} is not an array of floats. "
                "Make it one, for example with `jnp.asarray(value, dtype=float)`."
            )

    def put(new: dict[str, Any]) -> None:
        if set(new) != set(refs):
            unknown, missing = sorted(set(new) - set(refs)), sorted(set(refs) - set(new))
            raise KeyError(f"The parameters are {list(refs)}; missing: {missing}, not known: {unknown}.")
        for path, like in arrays.items():
            if _shapes(new[path]) != _shapes(like):
                raise ValueError(f"{path} has the shape {_shapes(like)}, but its new value {_shapes(new[path])}.")
        commit(list(refs.values()), [pack(_with_units(new[path], units[path], path)) for path in refs])

    return arrays, put


def _shapes(values: Any) -> Any:
    """The shapes of a parameter's arrays, in its containers."""
    plain = jax.tree.map(lambda x: split_quantity(x)[0], values, is_leaf=is_quantity)
    return jax.tree.map(jnp.shape, plain)


class _Unit:
    """A unit, or none, as a leaf."""

    def __init__(self, unit: Any):
        self.unit = unit


def _with_units(values: Any, units: Any, path: str) -> Any:
    return jax.tree.map(lambda unit, value: _with_unit(value, unit.unit, path), units, values)


def _with_unit(value: Any, unit: Any, path: str) -> Any:
    return join_quantity(to_plain(value, unit, path), unit) if is_quantity(value) else join_quantity(value, unit)

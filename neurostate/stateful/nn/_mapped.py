"""Initialising a whole tree of modules once for each lane of a batch."""

from __future__ import annotations

from typing import Any, TypeVar

from ..transform._mapping import map_initialisation
from ._collective import init_all_states, reset_all_states
from ._module import Module


M = TypeVar("M", bound=Module)


def vmap_init_all_states(
    target: M, *args: Any, axis_size: int, state_to_exclude: Any = None, state_tag: str | None = None, **kwargs: Any
) -> M:
    """`init_all_states` for a batch: each state gets an axis in front, and each lane draws its own numbers.

    Only what `init_state` makes is batched: weights, which `__init__` makes, are shared.

    **Arguments:**

    - `target`: The module.
    - `axis_size`: The size of the batch.
    - `state_to_exclude`: Which states stay without the batch axis: a type, a part of a path, a function
      `(path, ref) -> bool`, or a list of these.
    - `state_tag`: A tag for the states.
    - the others: passed to each `init_state`.

    **Returns:** The module.

    >>> import neurostate as ns
    >>> cell = ns.nn.Stateful(ns.LIF(2, V_initializer=ns.init.Uniform(0.0, 1.0)))
    >>> cell = ns.nn.vmap_init_all_states(cell, axis_size=3)
    >>> cell.V.value.shape, cell.tau.value.shape
    ((3, 2), ())
    """
    return _mapped(init_all_states, target, args, kwargs, axis_size, state_to_exclude, state_tag)


def vmap_reset_all_states(
    target: M, *args: Any, axis_size: int, state_to_exclude: Any = None, state_tag: str | None = None, **kwargs: Any
) -> M:
    """`reset_all_states` for a batch.

    **Arguments:**, **Returns:** as [`neurostate.nn.vmap_init_all_states`][].
    """
    return _mapped(reset_all_states, target, args, kwargs, axis_size, state_to_exclude, state_tag)


def _mapped(
    fun: Any, target: M, args: Any, kwargs: Any, axis_size: int, state_to_exclude: Any, state_tag: str | None
) -> M:
    if not isinstance(target, Module):
        raise TypeError(
            f"`vmap_{fun.__name__}` needs an nn.Module, got {target!r:.60} of type {type(target).__name__}."
        )

    def each_lane() -> None:
        fun(target, *args, **kwargs)

    map_initialisation(each_lane, axis_size, target.states, state_tag, state_to_exclude)
    return target

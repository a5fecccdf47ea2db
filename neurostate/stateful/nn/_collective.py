"""Calling a method of every module below one: `init_all_states`, `reset_all_states`."""

from __future__ import annotations

from typing import Any, TypeVar

from ._module import Module, reinitialise


M = TypeVar("M", bound=Module)


def _check(target: Any, name: str) -> None:
    if not isinstance(target, Module):
        raise TypeError(f"`{name}` needs an nn.Module, got {target!r:.60} of type {type(target).__name__}.")


def init_all_states(target: M, *args: Any, **kwargs: Any) -> M:
    """Calls `init_state` of a module and of all below it, each once.

    A state that exists keeps its reference and takes the new value, so that compiled functions
    which use it see that.

    **Arguments:**

    - `target`: The module.
    - the others: passed to each `init_state`, such as `batch_size=16`.

    **Returns:** The module.
    """
    _check(target, "init_all_states")
    for node in target.nodes().values():
        reinitialise(node, *args, **kwargs)
    return target


def reset_all_states(target: M, *args: Any, **kwargs: Any) -> M:
    """Calls `reset_state` of a module and of all below it, each once.

    **Arguments:** as [`neurostate.nn.init_all_states`][].

    **Returns:** The module.
    """
    _check(target, "reset_all_states")
    for node in target.nodes().values():
        node.reset_state(*args, **kwargs)
    return target

"""Calling a method of every module below one, and reading and assigning states by path."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from .._collector import commit
from .._values import pack
from ..filters import as_predicate
from ._module import Module, reinitialise


M = TypeVar("M", bound=Module)
F = TypeVar("F", bound=Callable[..., Any])


def call_order(level: int = 0) -> Callable[[F], F]:
    """A decorator of methods such as `init_state`: collective calls run lower levels first.

    Methods without it run before all that have it.

    **Arguments:**

    - `level`: From 0 to 9.

    **Raises:** `ValueError` for another level.

    >>> import neurostate as ns
    >>> class Late(ns.nn.Module):
    ...     @ns.nn.call_order(9)
    ...     def init_state(self):
    ...         print("last")
    """
    if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= 9:
        raise ValueError(f"The level of `call_order` is an int from 0 to 9, got {level!r}.")

    def decorate(method: F) -> F:
        method.__dict__["call_order"] = level
        return method

    return decorate


def _nodes(target: Any, name: str, method: str, node_to_exclude: Any) -> list[Module]:
    """The modules of a tree in the order in which a method of theirs is to be called."""
    if not isinstance(target, Module):
        raise TypeError(f"`{name}` needs an nn.Module, got {target!r:.60} of type {type(target).__name__}.")
    excluded = as_predicate(node_to_exclude)
    nodes = [node for path, node in target.nodes().items() if not excluded(path, node)]
    return sorted(nodes, key=lambda node: getattr(getattr(type(node), method, None), "call_order", -1))


def call_all_fns(
    target: M,
    fn_name: str,
    args: Sequence[Any] | Any = (),
    kwargs: Mapping[str, Any] | None = None,
    node_to_exclude: Any = None,
    fn_if_not_exist: Literal["raise", "pass", "warn"] = "raise",
) -> M:
    """Calls a method of a module and of all below it, each once, in the order of `call_order`.

    **Arguments:**

    - `target`: The module.
    - `fn_name`: The name of the method.
    - `args`, `kwargs`: What to call it with.
    - `node_to_exclude`: Which modules to leave out: a type, a part of a path, or a function
      `(path, module) -> bool`.
    - `fn_if_not_exist`: What to do where there is no such method.

    **Returns:** The module.

    **Raises:** `AttributeError` where there is none, with `"raise"`.
    """
    if fn_if_not_exist not in ("raise", "pass", "warn"):
        raise ValueError(f"fn_if_not_exist is 'raise', 'pass' or 'warn', got {fn_if_not_exist!r}.")
    args = tuple(args) if isinstance(args, list | tuple) else (args,)
    for node in _nodes(target, "call_all_fns", fn_name, node_to_exclude):
        method = getattr(type(node), fn_name, None)
        if method is not None:
            method(node, *args, **(kwargs or {}))
        elif fn_if_not_exist == "raise":
            raise AttributeError(f"{type(node).__name__} has no method {fn_name!r}. Exclude it with `node_to_exclude`.")
        elif fn_if_not_exist == "warn":
            warnings.warn(f"{type(node).__name__} has no method {fn_name!r}.", stacklevel=2)
    return target


def init_all_states(target: M, *args: Any, node_to_exclude: Any = None, **kwargs: Any) -> M:
    """Calls `init_state` of a module and of all below it, each once, in the order of `call_order`.

    A state that exists keeps its reference and takes the new value, so that compiled functions
    which use it see that.

    **Arguments:**

    - `target`: The module.
    - `node_to_exclude`: Which modules to leave out.
    - the others: passed to each `init_state`, such as `batch_size=16`.

    **Returns:** The module.
    """
    for node in _nodes(target, "init_all_states", "init_state", node_to_exclude):
        reinitialise(node, *args, **kwargs)
    return target


def reset_all_states(target: M, *args: Any, node_to_exclude: Any = None, **kwargs: Any) -> M:
    """Calls `reset_state` of a module and of all below it, each once, in the order of `call_order`.

    **Arguments:** as [`neurostate.nn.init_all_states`][].

    **Returns:** The module.
    """
    for node in _nodes(target, "reset_all_states", "reset_state", node_to_exclude):
        node.reset_state(*args, **kwargs)
    return target


def state_values(target: Module, *filters: Any) -> dict[str, Any]:
    """The values of a module's states by path, for `assign_state_values`.

    **Arguments:** as `Module.states`.

    >>> import neurostate as ns
    >>> list(ns.nn.state_values(ns.nn.Stateful(ns.LIF(2)), "tau"))
    ['tau']
    """
    return {path: ref.value for path, ref in target.states(filters if filters else True).items()}


def assign_state_values(target: Module, *values: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Writes values by path into a module's states, all or none.

    **Returns:** `(unexpected, missing)`: the paths that the module has not, and those without a value.
    """
    given = {path: value for mapping in values for path, value in mapping.items()}
    refs = target.states()
    found = [path for path in refs if path in given]
    commit([refs[path] for path in found], [pack(given[path]) for path in found])
    return [path for path in given if path not in refs], [path for path in refs if path not in given]

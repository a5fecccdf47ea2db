"""What of a pytree is no array, in words: so that arrays are not put into something else of the same shapes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax

from .._custom_types import PyTree
from .._units import Unit, is_quantity, split_quantity
from ._select import path_text


def statics(tree: PyTree) -> dict[str, dict[str, str]]:
    """By path, the type and the static fields of each module, the unit of each Quantity, and the name of each function.

    >>> import neurostate as ns
    >>> statics([ns.train.Exp(2.0)])
    {'[0]': {'class': 'Exp', 'unit': 'None', 'lower': '2.0'}}
    """
    found: dict[str, dict[str, str]] = {}

    def visit(path: tuple[Any, ...], node: Any) -> None:
        if isinstance(node, eqx.Module):
            words = found[path_text(path)] = {"class": type(node).__qualname__}
            for field in dataclasses.fields(node):
                value = getattr(node, field.name)
                if field.metadata.get("static"):
                    words[field.name] = _text(value)
                else:
                    visit((*path, jax.tree_util.GetAttrKey(field.name)), value)
        elif is_quantity(node):
            found[path_text(path)] = {"unit": _text(split_quantity(node)[1])}
        elif callable(node):
            found[path_text(path)] = {"function": _text(node)}
        else:
            is_part = lambda x: x is not node and (isinstance(x, eqx.Module) or is_quantity(x))  # noqa: E731
            for below, part in jax.tree_util.tree_leaves_with_path(node, is_leaf=is_part):
                if part is not node:
                    visit((*path, *below), part)

    visit((), tree)
    return found


def difference(saved: Mapping[str, Mapping[str, str]], tree: PyTree) -> tuple[str, str, str] | None:
    """The first place where a pytree is not what `statics` gave, with what there was and what there is now.

    Fields that only one of both has are left out: a later version of a class may have more.
    """
    now = statics(tree)
    for path in [*now, *(path for path in saved if path not in now)]:
        there, here = saved.get(path, {}), now.get(path, {})
        kinds = [next(iter(each.values()), "missing") for each in (there, here)]
        if kinds[0] != kinds[1]:
            return path, kinds[0], kinds[1]
        for name in here:
            if there.get(name, here[name]) != here[name]:
                return f"{path}.{name}".removeprefix("."), there[name], here[name]
    return None


def _text(value: Any) -> str:
    """A value in words that are the same in each process: of a function its name, of other objects their type."""
    if value is None or isinstance(value, bool | int | float | complex | str):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_text, value))})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_text(key)}: {_text(each)}' for key, each in value.items())}}}"
    if isinstance(value, Unit):
        return str(value)
    if isinstance(value, functools.partial):
        return f"partial{_text((value.func, value.args, value.keywords))}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        return f"{type(value).__qualname__}{_text(fields)}"
    return getattr(value, "__qualname__", None) or type(value).__qualname__

"""Why a compiled function was traced again."""

from __future__ import annotations

import warnings
from typing import Any

import jax

from .. import environ
from .._collector import path_of
from .._config import configuration
from .._functionalize import Program
from .._ref import describe_value
from .._values import Packed


_MANY = 16


class History:
    """What each trace of one compiled function depended on, in words."""

    def __init__(self, name: str):
        self.name = name
        self.traces: list[dict[str, str]] = []
        self.changes: dict[str, int] = {}

    def add(self, args: Any, kwargs: Any, program: Program, values: list[Any]) -> None:
        """Notes one trace; warns if the same static value has changed for many of them."""
        items = {"JAX's settings": str(configuration())}
        named = [
            *((f"argument {k}", arg) for k, arg in enumerate(args)),
            *((f"argument {k}", v) for k, v in kwargs.items()),
        ]
        for name, arg in named:
            static = type(arg) is Packed and not arg.struct.is_pure
            items[name] = f"{arg.struct} (static)" if static else ""
            for path, leaf in jax.tree_util.tree_leaves_with_path(arg):
                items[name + jax.tree_util.keystr(path)] = str(jax.typeof(leaf))
        for ref, value in zip(program.inputs, values, strict=True):
            items[path_of(ref)] = describe_value(value) if not isinstance(value, bool | int | float) else "a number"
        for key in program.statics:
            items[f"environ.{key}"] = repr(environ.peek(key))
        self.traces.append(items)
        if len(self.traces) > 1:
            for name in self.differences():
                self.changes[name] = self.changes.get(name, 1) + 1
                static = name.startswith("environ.") or items.get(name, "").endswith("(static)")
                if static and self.changes[name] >= _MANY:
                    warnings.warn(self.warning(name), stacklevel=6)

    def differences(self) -> dict[str, tuple[str, str]]:
        """What the last trace had otherwise than the earlier one that is most like it: name to before and after."""
        *earlier, after = self.traces
        return min((_differences(before, after) for before in reversed(earlier)), key=len)

    def warning(self, name: str) -> str:
        return (
            f"`{self.name}` was traced {self.changes[name]} times because {name} changed; now it is "
            f"{self.traces[-1].get(name, 'absent')}. A static value is part of the program. Pass it as an array to "
            "make it an input (`environ.context(t=..., i=...)` are inputs), or keep it the same."
        )


def _differences(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str, str]]:
    names = dict.fromkeys((*before, *after))
    pairs = {name: (before.get(name, "absent"), after.get(name, "absent")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def explain_retrace(f: Any) -> str:
    """Says why a function made by [`neurostate.transform.jit`][] was traced the last time.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> f = ns.transform.jit(lambda x: 2 * x)
    >>> _ = f(jnp.zeros(3)), f(jnp.zeros(4))
    >>> print(ns.transform.explain_retrace(f))
    `<lambda>` was traced 2 times. The last time, because this changed:
      argument 0: float32[3] -> float32[4]
    """
    history = getattr(f, "history", None)
    if not isinstance(history, History):
        raise TypeError(f"`explain_retrace` needs a function made by `neurostate.transform.jit`, got {f!r:.60}.")
    count = len(history.traces)
    if count < 2:
        return f"`{history.name}` was traced {('never', 'once')[count]}: there is no retrace to explain."
    lines = [f"  {name}: {before} -> {after}" for name, (before, after) in history.differences().items()]
    reason = (
        "because this changed:" if lines else "because a module's attribute was replaced, or its caches were cleared."
    )
    first = f"`{history.name}` was traced {count} times. The last time, {reason}"
    return "\n".join([first, *lines])

"""Which JAX trace is running: the one file that uses `jax.extend`.

A reference has to know whether it is used inside the trace of its own transform or below a raw
JAX transform. JAX offers that only in `jax.extend.core`, whose names can move between releases.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from typing import Literal as OneOf

import jax
from jax.core import Trace
from jax.extend import core
from jax.extend.core import ClosedJaxpr as ClosedJaxpr
from jax.extend.core import Jaxpr as Jaxpr
from jax.extend.core import Literal as Literal
from jax.extend.core import set_current_trace, take_current_trace


def _take_and_put_back(_: Any = None) -> Any:
    with take_current_trace() as trace:
        return trace


# Gives the innermost JAX trace that is running, whatever its argument. Not all versions of JAX have
# the fast way, which saves a microsecond in each call of a compiled function.
top_trace: Callable[[Any], Any] = getattr(core, "find_top_trace", _take_and_put_back)


def current_trace() -> Any:
    """The innermost JAX trace that is running."""
    return top_trace(None)


def inside(trace: Any) -> AbstractContextManager[Any]:
    """Runs JAX operations in `trace`, which must still be running further out."""
    return set_current_trace(trace)


def _outermost(trace: Any) -> Any:
    """The trace below all others; importing inside a trace must not change what "eager" means."""
    below = getattr(trace, "parent_trace", None)
    return trace if below is None else _outermost(below)


EAGER: Any = _outermost(current_trace())


def is_eager() -> bool:
    """Whether no JAX transform at all is running in this thread."""
    return top_trace(None) is EAGER


def _type_of_staging_trace() -> type[Trace]:
    found: list[type] = []

    def look() -> None:
        found.append(type(current_trace()))

    with set_current_trace(EAGER):
        jax.make_jaxpr(look)()
    return found[0]


_Staging = _type_of_staging_trace()


def raw_transform_inside(trace: Any, current: Any = None) -> OneOf["staging", "mapping"] | None:
    """What raw JAX transform runs inside `trace`, up to `current`, the innermost one if not given.

    `None` if `trace` itself is that, `"mapping"` for transforms that run the
    operations of their function at once (`vmap`, `grad`, `jvp`), `"staging"` for those that
    record a program to run later (`jit`, `scan`, `cond`, `checkpoint`).
    """
    current = top_trace(None) if current is None else current
    if current is trace:
        return None
    while current is not None and current is not trace:
        if type(current) is _Staging:
            return "staging"
        current = getattr(current, "parent_trace", None)
    return "mapping" if current is trace else "staging"


def run_now(fn: Callable[[], Any]) -> Any:
    """Calls `fn` outside every trace, on concrete values."""
    with set_current_trace(EAGER):
        return fn()

"""`debug_nan`: which reference became NaN, and at which step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from ... import _errors
from .. import environ
from .._collector import STACK, Frame, frames, path_of
from .._values import leaves_of, pack


def debug_nan(fn: Callable[..., Any], *args: Any, phase: str = "", **kwargs: Any) -> Any:
    """Runs a function in plain Python, step by step, and raises at the first NaN.

    References stay as they were before. It is slow: for a run that is known to go wrong.

    **Arguments:**

    - `fn`, `args`, `kwargs`: The function, called as `fn(*args, **kwargs)`.
    - `phase`: A word for the message, such as `"training"`.

    **Returns:** The output, if there is no NaN in it nor in what was written.

    **Raises:** `FloatingPointError` that names the reference or output, and the step of the loop.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> V = ns.HiddenState(2.0, name="V")
    >>> def step(x):
    ...     V.value = jnp.sqrt(V.value - x)
    >>> try:
    ...     ns.transform.debug_nan(lambda: ns.transform.for_loop(step, jnp.ones(3)))
    ... except FloatingPointError as error:
    ...     print(error)
    V became NaN at step 2 of `for_loop`.
    """
    if not callable(fn):
        raise TypeError(_errors.not_callable("debug_nan", fn))

    def watch(ref: Any, value: Any) -> None:
        _check(ref if isinstance(ref, str) else path_of(ref), value, phase)

    before, STACK.watch = STACK.watch, watch
    try:
        with jax.disable_jit(), Frame("debug_nan").running():
            out = fn(*args, **kwargs)
    finally:
        STACK.watch = before
    _check("the output", out, phase)
    return out


def _check(name: str, value: Any, phase: str) -> None:
    for leaf in leaves_of(pack(value)):
        inexact = jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
        if inexact and not isinstance(leaf, Tracer) and bool(jnp.isnan(leaf).any()):
            raise FloatingPointError(_errors.became_nan(name, [(f.step, f.kind) for f in frames()], _index(), phase))


def _index() -> Any:
    value = environ.peek("i")
    return None if isinstance(value, str) else value

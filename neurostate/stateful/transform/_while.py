"""`while_loop` and `bounded_while_loop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer

from ... import _errors
from ..._errors import TraceContextError
from .. import _staging
from .._collector import Frame, path_of, run_plainly
from .._config import jit_is_disabled
from ._carry import Body, check_carry, program_of, watch_output


def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any) -> Any:
    """[`jax.lax.while_loop`][] for functions that may read references; the body may write them too.

    It has no reverse-mode derivative: [`neurostate.transform.bounded_while_loop`][] has one.

    **Arguments:** as [`jax.lax.while_loop`][].

    **Returns:** The last value.

    **Raises:** `TraceContextError` if the condition writes a reference; `StateStructureError` if the
    body changes the structure of the value or of a reference.

    >>> import neurostate as ns
    >>> steps = ns.StateRef(0)
    >>> def halve(x):
    ...     steps.value = steps.value + 1
    ...     return x / 2
    >>> print(ns.transform.while_loop(lambda x: x > 1, halve, 10.0), steps.value)
    0.625 4
    """
    return _while("while_loop", cond_fun, body_fun, init_val, None)


def bounded_while_loop(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any, *, max_steps: int, base: int = 16
) -> Any:
    """A `while_loop` of at most `max_steps` steps, which can be differentiated in reverse.

    Under `vmap` each lane stops by itself. The backward pass recomputes blocks of `base` steps, so
    that its memory grows with `max_steps / base + base` values and not with `max_steps`.

    **Arguments:** as [`neurostate.transform.while_loop`][], and

    - `max_steps`: The loop stops after so many steps whatever the condition says.
    - `base`: The number of steps in a block; at least 2.

    **Returns:** The last value.

    **Raises:** as `while_loop`; `ValueError` for a `max_steps` below 0 or a `base` below 2.

    >>> import neurostate as ns
    >>> def root(a):
    ...     return ns.transform.bounded_while_loop(
    ...         lambda x: abs(x * x - a) > 1e-5, lambda x: (x + a / x) / 2, a, max_steps=20)
    >>> value, slope = root(9.0), ns.transform.grad(root)(9.0)
    >>> print(f"{value:.4f} {slope:.4f}")
    3.0000 0.1667
    """
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 0:
        raise ValueError(f"The max_steps of `bounded_while_loop` must be an int of at least 0, got {max_steps!r}.")
    if not isinstance(base, int) or base < 2:
        raise ValueError(f"The base of `bounded_while_loop` must be an int of at least 2, got {base!r}.")
    return _while("bounded_while_loop", cond_fun, body_fun, init_val, (max_steps, base))


def _while(
    kind: str, cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init: Any, bound: tuple[int, int] | None
) -> Any:
    for fn in (cond_fun, body_fun):
        if not callable(fn):
            raise TypeError(_errors.not_callable(kind, fn))
    if jit_is_disabled() and not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(init)):
        return _plain(kind, cond_fun, body_fun, init, bound)

    def run(init: Any) -> Any:
        body = Body(kind, lambda carry, _: (body_fun(carry), None), init, None)
        states, leaves = body.start
        condition, values, _ = program_of(kind, cond_fun, body.struct.unflatten(leaves))
        if condition.writes:
            raise TraceContextError(_errors.condition_writes(kind, [path_of(ref) for ref in condition.writes]))
        if [aval.shape for aval in condition.out_avals] != [()]:
            raise TypeError(_errors.not_a_predicate(kind, f"outputs {[a.str_short() for a in condition.out_avals]}"))
        place = {ref: k for k, ref in enumerate(body.program.writes)}

        def holds(carry: Any) -> Any:
            now = [carry[0][place[r]] if r in place else v for r, v in zip(condition.inputs, values, strict=True)]
            return condition(now, carry[1])[0][0].astype(bool)

        with jax.disable_jit(False):
            if bound is None:
                last = lax.while_loop(holds, lambda carry: body.step(carry)[0], body.start)
            else:
                last = _bounded(holds, lambda carry: body.step(carry)[0], body.start, *bound)
        return body.finish(last)[0]

    return _staging.run(kind, run, init)


def _bounded(holds: Any, step: Any, start: Any, max_steps: int, base: int) -> Any:
    def maybe(carry: Any, _: None) -> tuple[Any, None]:
        return lax.cond(holds(carry), step, lambda same: same, carry), None

    def block(carry: Any, _: None) -> tuple[Any, None]:
        return lax.cond(
            holds(carry), lambda c: lax.scan(maybe, c, None, length=base)[0], lambda same: same, carry
        ), None

    blocks, rest = divmod(max_steps, base)
    carry, _ = lax.scan(jax.checkpoint(block), start, None, length=blocks)
    return lax.scan(maybe, carry, None, length=rest)[0]


def _plain(kind: str, cond_fun: Any, body_fun: Any, value: Any, bound: tuple[int, int] | None) -> Any:
    def holds(value: Any) -> bool:
        frame = Frame(kind)
        with frame.running():
            now = bool(cond_fun(value))
        if frame.written():
            raise TraceContextError(_errors.condition_writes(kind, [path_of(ref) for ref in frame.written()]))
        return now

    def run() -> Any:
        now, steps = value, 0
        while (bound is None or steps < bound[0]) and holds(now):
            new, steps = body_fun(now), steps + 1
            check_carry(kind, now, new)
            watch_output(new)
            now = new
        return jax.tree.map(jnp.asarray, now)

    return run_plainly(kind, run, _errors.INIT_BEFORE)

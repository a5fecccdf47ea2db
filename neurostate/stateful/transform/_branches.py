"""`cond`, `switch` and `ifelse`: branches that may touch different references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer

from ... import _errors
from ..._errors import StateStructureError
from .. import _staging
from .._collector import StagedFrame, commit, path_of, run_plainly
from .._config import jit_is_disabled
from .._functionalize import Program, trace
from .._ref import describe_value
from .._values import flatten, leaves_of, repack, rescale, same_dimension, struct_of
from ._carry import as_dtypes
from ._wrap import jit_error_if


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """[`jax.lax.cond`][] for functions that may read and write references.

    The branches may touch different references: one that only the other branch writes keeps its
    value. Only the branch that is taken runs, and Python runs each of them once.

    **Arguments:** as [`jax.lax.cond`][]. A number as `pred` counts as true if it is not 0.

    **Returns:** The output of the branch that was taken.

    **Raises:** `StateStructureError` if the branches leave a reference, or their outputs, with
    different shapes, dtypes, units or structures.

    >>> import neurostate as ns
    >>> hits = ns.StateRef(0)
    >>> def hit(x):
    ...     hits.value = hits.value + 1
    ...     return x
    >>> print(ns.transform.cond(True, hit, lambda x: -x, 2.0), hits.value)
    2.0 1
    """
    for fn in (true_fun, false_fun):
        if not callable(fn):
            raise TypeError(_errors.not_callable("cond", fn))
    _check_scalar("cond", pred)
    if jit_is_disabled() and not isinstance(pred, Tracer):
        taken = true_fun if bool(pred) else false_fun
        return run_plainly("cond", lambda: taken(*operands), _errors.INIT_BEFORE)
    branches = (false_fun, true_fun)
    return _staging.run("cond", lambda p, ops: _branch("cond", _as_index(p), branches, ops), pred, operands)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """[`jax.lax.switch`][] for functions that may read and write references.

    **Arguments:** as [`jax.lax.switch`][]: an index out of range is clamped.

    **Returns:** The output of the branch that was taken.

    **Raises:** as [`neurostate.transform.cond`][].

    >>> import neurostate as ns
    >>> print(ns.transform.switch(1, [lambda x: x, lambda x: 10 * x], 2.0))
    20.0
    """
    branches = tuple(branches)
    if not branches:
        raise ValueError("`switch` needs at least one branch, got none.")
    for fn in branches:
        if not callable(fn):
            raise TypeError(_errors.not_callable("switch", fn))
    _check_scalar("switch", index)
    if not jnp.issubdtype(jnp.result_type(index), jnp.integer):
        raise TypeError(f"The index of `switch` must be an integer, got {describe_value(index)}.")
    if jit_is_disabled() and not isinstance(index, Tracer):
        taken = branches[min(max(int(index), 0), len(branches) - 1)]
        return run_plainly("switch", lambda: taken(*operands), _errors.INIT_BEFORE)

    def run(k: Any, ops: Any) -> Any:
        return _branch("switch", jnp.clip(jnp.asarray(k), 0, len(branches) - 1), branches, ops)

    return _staging.run("switch", run, index, operands)


def ifelse(
    conditions: Sequence[Any], branches: Sequence[Callable[..., Any]], *operands: Any, check_cond: bool = True
) -> Any:
    """Takes the branch whose condition holds.

    **Arguments:**

    - `conditions`: Scalar conditions, one for each branch.
    - `branches`: Functions of `operands`.
    - `check_cond`: Asks that exactly one condition holds. Without it the first that holds counts,
      and the last branch if none does.

    **Returns:** The output of the branch that was taken.

    **Raises:** with `check_cond` an error at run time if none or several conditions hold, and as
    [`neurostate.transform.cond`][].

    >>> import neurostate as ns
    >>> x = 3.0
    >>> print(ns.transform.ifelse([x < 0, x >= 0], [lambda: -1.0, lambda: 1.0]))
    1.0
    """
    branches = tuple(branches)
    if len(conditions) != len(branches) or not branches:
        raise ValueError(
            f"`ifelse` needs one condition for each branch, got {len(conditions)} conditions, {len(branches)} branches."
        )
    for condition, fn in zip(conditions, branches, strict=True):
        _check_scalar("ifelse", condition)
        if not callable(fn):
            raise TypeError(_errors.not_callable("ifelse", fn))
    true = [c if isinstance(c, Tracer) else bool(c) for c in conditions]
    if check_cond:
        count = sum(jnp.asarray(c, int) for c in true)
        jit_error_if(count != 1, "`ifelse` needs exactly one condition that holds, got {}.", count)
    first = jnp.argmax(jnp.stack([*map(jnp.asarray, true[:-1]), jnp.asarray(True)]))
    return switch(first, branches, *operands)


def _check_scalar(kind: str, condition: Any) -> None:
    shape = getattr(condition, "shape", ())
    if shape != () or isinstance(condition, str) or condition is None:
        raise TypeError(_errors.not_a_predicate(kind, f"{condition!r:.60} of shape {shape}"))


def _as_index(pred: Any) -> Any:
    pred = jnp.asarray(pred)
    return (pred if pred.dtype == bool else pred != 0).astype(jnp.int32)


def _branch(kind: str, index: Any, branches: tuple[Callable[..., Any], ...], operands: tuple[Any, ...]) -> Any:
    """Traces each branch once and runs them as one `lax.switch` over the union of what they touch."""
    leaves, struct = flatten(operands)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    programs: list[Program] = []
    values: dict[Any, Any] = {}
    for fn in branches:
        frame = StagedFrame(kind)
        program, inputs = trace(lambda *tracers, fn=fn: fn(*struct.unflatten(tracers)), leaves, frame)
        frame.check_births(_errors.INIT_BEFORE)
        programs.append(program)
        values.update(zip(program.inputs, inputs, strict=True))
        for ref in program.writes:
            if ref not in values:
                values[ref] = frame.outer(ref)
    values = {ref: jax.tree.map(jnp.asarray, value) for ref, value in values.items()}
    written = list(dict.fromkeys(ref for program in programs for ref in program.writes))
    outputs = _common_outputs(kind, programs)
    states = {ref: _common_state(kind, ref, values[ref], programs) for ref in written}

    def run(program: Program) -> Callable[..., Any]:
        def branch(inputs: list[Any], leaves: list[Any]) -> Any:
            given = dict(zip(values, inputs, strict=True))
            out, new = program([given[ref] for ref in program.inputs], leaves)
            given.update(zip(program.writes, new, strict=True))
            final = [
                as_dtypes(leaves_of(rescale(given[ref], like)), dtypes) for ref, (_, like, dtypes) in states.items()
            ]
            return as_dtypes(out, outputs), final

        return branch

    with jax.disable_jit(False):
        out, new = lax.switch(index, [run(program) for program in programs], list(values.values()), leaves)
    new = [repack(struct, state) for (struct, _, _), state in zip(states.values(), new, strict=True)]
    commit(written, new, [values[ref] for ref in written])
    return programs[0].out_struct.unflatten(out)


def _dtype(avals: Sequence[Any]) -> Any:
    """The dtype that all of them have, `None` if they differ, or if their shapes do."""
    dtypes, shapes = {aval.dtype for aval in avals}, {aval.shape for aval in avals}
    return dtypes.pop() if len(dtypes) == len(shapes) == 1 else None


def _common_outputs(kind: str, programs: list[Program]) -> list[Any]:
    first = programs[0]
    for k, other in enumerate(programs):
        if other.out_struct != first.out_struct:
            raise StateStructureError(_errors.branch_outputs(kind, first.out_struct, k, other.out_struct))
    dtypes = []
    for position in range(first.out_count):
        avals = [program.jaxpr.outvars[position].aval for program in programs]
        dtype = _dtype(avals)
        if dtype is None:
            k = next(k for k, aval in enumerate(avals) if _dtype([avals[0], aval]) is None)
            raise StateStructureError(_errors.branch_outputs(kind, avals[0].str_short(), k, avals[k].str_short()))
        dtypes.append(dtype)
    return dtypes


def _common_state(kind: str, ref: Any, entry: Any, programs: list[Program]) -> tuple[Any, Any, list[Any]]:
    """How a written reference comes out: its structure, a value with its unit, and its dtypes."""
    found: list[tuple[Any, list[Any]]] = []
    for program in programs:
        if ref in program.writes:
            k = program.writes.index(ref)
            start = program.out_count + sum(program.write_counts[:k])
            avals = [v.aval for v in program.jaxpr.outvars[start : start + program.write_counts[k]]]
            found.append((program.write_structs[k], avals))
    of_entry = (struct_of(entry), [jax.typeof(leaf) for leaf in leaves_of(entry)])
    if len(found) < len(programs) or same_dimension(entry, repack(*found[0])):
        found.insert(0, of_entry)
    struct, avals = found[0]
    for other in found[1:]:
        alike = other[0] == struct or same_dimension(repack(*other), repack(struct, avals))
        if not alike or [_dtype(pair) for pair in zip(avals, other[1], strict=False)].count(None):
            before, after = describe_value(repack(*found[0])), describe_value(repack(*other))
            raise StateStructureError(_errors.branches_differ(kind, path_of(ref), before, after))
    return struct, repack(struct, avals), [aval.dtype for aval in avals]

"""Where neurostate differs from brainstate 0.6: data for `tests/test_behaviours.py` and `notebooks/differences.md`.

python -m tests.behaviours --page > notebooks/differences.md
"""

# ruff: noqa: E501
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

from ._library import XS, A, Failure


@dataclass(frozen=True)
class Row:
    """A difference: what each library does, why, the outcomes of neurostate, case by case, and names it has not."""

    theirs: str
    ours: str
    reason: str
    outcomes: dict[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


_GRID = jnp.arange(6.0).reshape(2, 3)
_MOVED = (2 * (_GRID.T + A[:, None]), _GRID + A)
_TYPE, _VALUE = Failure("TypeError"), Failure("ValueError")
_NONE = jnp.zeros(0)


def _uniform(lane: Any) -> Any:
    """The first number that a lane draws after `seed(0)`."""
    return jax.random.uniform(jax.random.split(jax.random.fold_in(jax.random.key(0), lane))[1])


def both(*kinds: str, **outcomes: Any) -> dict[str, Any]:
    """The same outcomes for several transforms; `_` in a name stands for a blank."""
    return {f"{kind}: {name.replace('_', ' ')}": outcome for kind in kinds for name, outcome in outcomes.items()}


LOOPS, WHILES = ("for_loop", "checkpointed_for_loop"), ("while_loop", "bounded_while_loop")

ROWS = [
    # jit
    Row("answers with the `dt` of the first call", "traces again when a static value of `environ` changes",
        "A stale time step gives a wrong simulation without a word.", {"jit: dt changes": [0.1, 0.2]}),
    Row("refuses arguments that are not arrays, unless they are static", "takes them as static, compared by `==`; references and modules by identity",
        "Options and modules are ordinary arguments, as in Equinox' `filter_jit`.",
        {"jit: a string argument": 2.0, "jit: a state as an argument": (2 * A, A), "jit: a method": (6.0, 3.0)}),
    Row("refuses outputs that are not arrays", "returns them as traced", "As in `filter_jit`.",
        {"jit: a string out": (1.0, "text"), "vmap: a string out": (A, "text"), "grad: an aux text": (2.0, "text")}),
    Row("a state made inside cannot be read afterwards", "it comes out with its value; later calls write into it",
        "`init_state` can be compiled.", {"jit: a state made inside": 1.0, "jit: a module's state made inside": 1.0}),
    Row("a write of another structure fails, and leaves a tracer in the state", "the state takes the new structure",
        "As eager Python does; a call of a compiled function has one structure of each state on entry and one on exit.", {"jit: a state changes its structure": (None, {"a": A})}),
    Row("one sharding must be put into a tuple", "one that is not in a tuple is that of every argument", "As in `jax.jit`.", {"jit: in_shardings": A}),
    Row("`f.eval_shape` gives the shapes of the states too", "gives the output's", "As `jax.eval_shape` of the function; `transform.eval_shape` has `return_state_shapes`.",
        {"jit: eval_shape, lower, compile": ((jax.ShapeDtypeStruct((), "float32"), True, True), 0.0)}),
    Row("buffers of states cannot be donated", "`donate_states=True` does", "Halves the memory of large states.", {"jit: donate_states": (jnp.full(2, 2.0), jnp.ones(2))}),
    # loops
    Row("without `xs`, `for_loop` raises IndexError (with JAX 0.12)", "calls `f()` `length` times", "Documented there too.",
        {"for_loop: length": (jnp.array([6.0, 10, 14]), 7.0), "for_loop: length 0": _NONE, "for_loop: length -1": _VALUE}),
    Row("checkpointed loops, and all under `disable_jit`, need at least one step", "no steps are fine, as in `for_loop`", "One rule for all loops.",
        {"for_loop: no steps, disable_jit": (_NONE, 1.0), "checkpointed_for_loop: no steps": (_NONE, 1.0), "checkpointed_for_loop: length 0": _NONE, "checkpointed_scan: no steps": (1.0, _NONE)}),
    Row("checkpointed and bounded loops refuse a weakly typed start value that is promoted", "it promotes, as in `lax.scan`", "One rule for all loops.",
        {"checkpointed_for_loop: a weak state": (jnp.array([2.0, 4, 8, 14]), 7.0), "checkpointed_scan: a weak carry": (2.0, jnp.array([0, 0.5, 1, 1.5])),
         "bounded_while_loop: a weak value": 5.5}),
    Row("a loop that changes a state's structure or unit raises ValueError and leaves a tracer in it", "`StateStructureError`, a TypeError; all states are as before",
        "All or nothing; TypeError is what both raise for a changed shape or dtype.", both(*LOOPS, a_state_changes_its_structure=(_TYPE, A), a_state_changes_its_unit=(_TYPE, 1.0 * u.mV))),
    Row("a value in another scale of the same unit fails likewise", "is converted to the state's unit", "3 V is 3000 mV.", both(*LOOPS, a_state_changes_its_scale=(None, 3000.0 * u.mV))),
    Row("the condition of `while_loop` must be boolean, that of `bounded_while_loop` may be a number, or a vector that masks the values element by element",
        "both take a scalar, which holds if it is not 0", "One rule for both, and for `cond`.", {"while_loop: a number as condition": 0, "bounded_while_loop: a vector condition": _TYPE}),
    # branches
    Row("`ifelse` and `jit_error_if`, not compiled, raise the runtime's error, whose text holds the message", "raise ValueError with the message", "Nothing is compiled, so nothing hides the error.",
        {"ifelse: fff": (_VALUE, 1.0), "ifelse: ftt": (_VALUE, 1.0), **{f"jit_error_if: {name}": _VALUE for name in ("holds", "percent format", "keywords", "an array")}}),
    # vmap and map
    Row("refuses keyword arguments", "maps them over axis 0", "As `jax.vmap`.", {"vmap: keyword arguments": 2 * A, "vmap_new_states: keyword arguments": 2 * A}),
    Row("`vmap` declares states one by one, with an axis in `{axis: {name: state}}`; `vmap2` by filter", "`vmap` takes both forms, and `{axis: state}`", "One `vmap`, whose axes are declared, never guessed.",
        {"vmap: in_states, an axis and a state": _MOVED, "vmap: in_states, a type": (2 * (A + A), A + A)}),
    Row("ignores `in_states` that hold no state", "refuses them", "A declaration without effect is a mistake.", {"vmap: in_states of no states": (_TYPE, A)}),
    Row("a state in `out_states` that all lanes write alike stays without a batch axis", "has one", "Its shape does not depend on what was computed.", {"vmap: out_states, written alike": (None, jnp.full(3, 2.0))}),
    Row("a state must come out along the axis it came in", "`out_states` may move it", "As `in_axes` and `out_axes` of arguments.", {"vmap: in and out along two axes": _MOVED}),
    Row("lane i draws with the i-th of several keys split off", "with `fold_in(key, i)`", "A lane's numbers do not depend on how many there are.",
        {"vmap: the numbers drawn": (None, jax.vmap(_uniform)(jnp.arange(4)))}),
    Row("`vmap_new_states` refuses `axis_size=0`", "makes an empty batch", "As `jax.vmap`.", {"vmap_new_states: axis_size 0": jnp.zeros((0, 3))}),
    Row("`state_to_exclude` must be a function of path and state; a type recurses without end", "any filter: a type, a part of a path, a list", "The same filters everywhere.", {"vmap_new_states: excluded by a type": A}),
    Row("a batch size for no items fails", "gives no items", "As without `batch_size`.", {"map: no items, batch_size": _NONE}),
    # derivatives
    Row("`hessian` takes states or arguments", "both at once, nested", "The table of `grad` holds for each derivative.", {"hessian: states and arguments": (((0.0, 6.0), (6.0, 4.0)), 2.0)}),
    Row("`fwd_grad` gives a list for a tuple of `argnums`, and fails for a Python number", "gives a tuple; takes numbers", "The table of `grad` holds for each derivative.",
        {"fwd_grad: argnums (0,)": (0.0,), "fwd_grad: a Python number": 0.0}),
    Row("`jacrev` of several outputs by several states fails", "one derivative for each output", "As `jax.jacrev`.",
        {"jacrev: two outputs, two states": (([2 * jnp.eye(3), A], [jnp.zeros(3), 1.0]), A, 2.0)}),
    Row("the order of `has_aux` and `return_value` differs between derivatives", "`has_aux` comes first in all", "Pass them by name.", {"vector_grad: options by position": _TYPE}),
    Row("the function is called `fun` or `func`", "`fn` in `jit` and `vmap`, `fun` in derivatives", "Pass it by position.",
        {"vector_grad: the function by name": _TYPE, "jit: the function by name": _TYPE}, ("transform.jit(fun)",)),
    Row("an empty collection of states counts as none: the derivative is by the argument", "is empty too", "`states(ParamState)` of a model without parameters gives no gradients.", {"grad: an empty list": []}),
    Row("of `(loss, a, b)` with `has_aux` the last is dropped", "refuses it", "Nothing is lost silently: return `(loss, (a, b))`.", {"grad: has_aux and three": _TYPE}),
    Row("a loss with a unit needs `unit_aware`", "its gradient has the reference's unit, which an update needs", "`w - rate * gradient` is dimensionally right.", {"grad: a Quantity loss": (4.0 * u.mV, 2.0 * u.mV)}),
    Row("an eager derivative traces once for several calls", "once for each call; the compiled program is kept", "A closure or an `environ` that changed is never stale; `jit` saves the trace.", {"grad: traces of 3 calls": 3}),
    Row("`vjp` counts negative `argnums` from the end", "refuses them, as `grad` does in both libraries", "One rule for all derivatives.", {"vjp: argnums -1": (_VALUE, 3.0)}),
    Row("`vjp` needs states if `argnums` is None", "is then by the first argument, as in `grad`", "One rule for all derivatives.", {"vjp: argnums None": ((9 * A, 4.5), 4.0)}),
    Row("`jvp` holds states constant", "takes their tangents", "Forward mode by parameters.", {"jvp: a tangent of a state": ((6.0, 2.0), 3.0)}),
    Row("a tangent must have the dtype of its primal", "is converted to it", "`1` is a tangent of `3.0`.", {"jvp: a tangent of another dtype": (9.0, 6.0)}),
    # the rest
    Row("what a function given to `jit_error_if` raises arrives as RuntimeError", "outside of compiled functions it arrives as it is", "It can be caught by its class.", {"jit_error_if: a function": Failure("LookupError")}),
    Row("one spec for all states of a `shard_map`", "TypeError: a spec is given by reference", "Which states there are is known after the one trace.", {"shard_map: one spec for all": (_TYPE, XS)}),
    Row("`environ.context` gives all values", "gives its own", "Asking for all of them would make a compiled function depend on all.", {"environ: context gives": (1, None)}),
    Row("`checkify` calls the function with Python numbers as they are, which `check` refuses", "with arrays", "As the other transforms.", {"checkify: a Python number": ((None, 2.0), 1.0)}),
    Row("`StateFinder` numbers what it finds", "gives it by path", "A path says which state it is.", {"StateFinder: keys": ({"StateRef_0": "read"}, True)}),
    Row("`debug_nan` gives nothing, and raises RuntimeError that names a primitive", "gives the output, and raises FloatingPointError that names the state and step",
        "It can stand around a call; the error is that of `jax.debug_nans`.", {"debug_nan: none": 2 * A, "debug_nan: a NaN": Failure("FloatingPointError ArithmeticError"), "debug_nan: a write": (False, A)}),
    Row("`shard_map` needs `state_out_specs` too", "by default a state comes out as it came in", "As `in_states` of `vmap`.", {"shard_map: state_in_specs only": (2 * (XS + XS), XS + XS)}),
    Row("`environ.set` inside a compiled function acts while it is traced", "raises: `environ.context` is the way", "It would act on the first call only.", {"environ: set in jit": Failure("TraceContextError RuntimeError")}),
    Row("`dt` must be a scalar", "may be an array: an input of compiled functions", "As other keys.", {"environ: dt of an array": A}),
    Row("has samplers of its own for four distributions that `jax.random` lacks", "raises AttributeError, which names NumPy's", "The samplers are those of `jax.random`; the numbers can be drawn with NumPy and passed in.",
        {f"random.{name}": Failure("AttributeError") for name in ("hypergeometric", "logseries", "vonmises", "zipf")}),
    Row("other exceptions", "TypeError for what is of a wrong kind, ValueError for a wrong number; what is batched wrongly is a `BatchAxisError`", "One rule; the texts are on the page of errors.",
        {"jit: an unhashable static argument": _TYPE, "jit: a state as output": (_TYPE, A), "checkpointed_scan: no pair": _TYPE, "bounded_while_loop: a value changes its structure": _TYPE,
         "vmap: in_states of a scalar": (Failure("BatchAxisError ValueError"), 1.0), "vmap_new_states: declared": _TYPE, "vmap_new_states: excluded, written per lane": Failure("BatchAxisError ValueError"),
         "grad: argnums 2 of 1": _VALUE, "fwd_grad: a vector output": _TYPE, "vjp: a cotangent of another structure": _TYPE, "environ: a key that is no string": _TYPE}),
    Row("ValueError if a condition writes", "`TraceContextError`, a RuntimeError", "The class of all writes in a wrong place.", both(*WHILES, the_condition_writes=(Failure("TraceContextError RuntimeError"), 0.0))),
]  # fmt: skip


ROWS += [
    Row("a second `vmap` finds out which states are batched", "one `vmap`, with declared states", "A guess by shape is wrong in the end.", missing=("transform.vmap2", "transform.vmap2_new_states")),
    Row("`pmap2`", "`jit` with shardings, `shard_map`", "JAX' own way to several devices.", missing=("transform.pmap2", "transform.pmap2_new_states")),
    Row("some samplers check their arguments at run time", "none does", "`jit_error_if` does where it is wanted.",
        missing=tuple(f"random.{name}(check_valid)" for name in ("truncated_normal", "bernoulli", "binomial", "chisquare", "multinomial", "power"))),
    Row("the global key can be backed up", "`get_key`, `set_key`, `seed_context`", "One way; everywhere a key is called `key`.",
        missing=("random.split_key(backup)", "random.split_keys(backup)", "random.set_key(seed_or_key)")),
    Row("several environments", "one", "Compiled functions know the values that they read.",
        missing=tuple(f"environ.{name}(env)" for name in ("get", "all", "pop", "reset", "set_precision", "get_precision", "dftype", "ditype", "dutype", "dctype", "get_dt", "tolerance"))),
    Row("`make_jaxpr` takes an axis environment", "not", "A collective belongs into `vmap` with an `axis_name`.", missing=("transform.make_jaxpr(axis_env)",)),
    Row("`jit` takes a device, a backend and a name", "shardings; `named_scope`", "JAX took the first two out of use.",
        missing=("transform.jit(device)", "transform.jit(backend)", "transform.jit(name)")),
    Row("`named_scope` compiles, with static arguments", "it only names", "`jit` compiles.", missing=("transform.named_scope(static_argnums)", "transform.named_scope(static_argnames)")),
    Row("`vmap_new_states` has `in_states` and `out_states`, and refuses them", "has not", "What is always refused is no argument.",
        missing=("transform.vmap_new_states(in_states)", "transform.vmap_new_states(out_states)")),
]  # fmt: skip

DIFFERENCES: dict[str, Row] = {name: row for row in ROWS for name in row.outcomes}


def page() -> str:
    """The differences as a page of the documentation."""
    lines = ["# Differences from brainstate 0.6", ""]
    lines += ["Code ports by its import line. What then behaves differently, and why; each row is tested.", ""]
    lines += ["| where | brainstate | neurostate | why |", "| --- | --- | --- | --- |"]
    for row in ROWS:
        where = "; ".join([*row.outcomes, *(f"`{name}`" for name in row.missing)])
        lines.append(f"| {where} | {row.theirs} | {row.ours} | {row.reason} |")
    return "\n".join([*lines, ""])

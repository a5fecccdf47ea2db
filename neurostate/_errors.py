"""The exceptions of neurostate, and the texts of the longer messages.

Every message says what happened, to which argument or reference (by its path), what it was and
what it became, and what to do about it.
"""

from __future__ import annotations


class NeurostateError(Exception):
    """The base class of the errors that neurostate defines."""


class UnitError(NeurostateError, ValueError):
    """A value has the wrong physical dimension."""


class TraceContextError(NeurostateError, RuntimeError):
    """A reference was used where its value cannot be tracked."""


class StateNotInitialisedError(NeurostateError, AttributeError):
    """A state was read before `init_state` made it."""


class StateStructureError(NeurostateError, TypeError):
    """A reference changed its shape, dtype, unit or structure where it must not."""


class BatchAxisError(NeurostateError, ValueError):
    """A batched value was written to a reference that has no declared batch axis."""


class StateConflictError(NeurostateError, RuntimeError):
    """Two threads updated one reference at the same time."""


class StateLostError(NeurostateError, RuntimeError):
    """The buffer of a donated reference is gone, because the program that took it failed."""


class NonFiniteError(NeurostateError, FloatingPointError):
    """Training came upon an infinite number or NaN.

    `epoch` and `step` count from 1; `gradients` and `values` are the paths of the parameters whose gradient, or whose
    new value, is not finite; `state` is the training state from before that step, or if it was the validation loss that
    is not finite, the one that gave it.
    """

    def __init__(
        self, epoch: int, step: int, loss: float, gradients: list[str], values: list[str], state: object, what: str = ""
    ):
        super().__init__(what or non_finite(epoch, step, loss, gradients, values))
        self.epoch, self.step, self.loss = epoch, step, loss
        self.gradients, self.values, self.state = gradients, values, state


class EnvironmentKeyError(NeurostateError, KeyError):
    """A key of `environ` is missing."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


def unhashable_static(leaf: object) -> str:
    return (
        f"A value of type {type(leaf).__name__} is static here, so it is compared by `==`, but it cannot be hashed: "
        f"{leaf!r:.100}. If it is an array, do not declare it static; else make it an array, or an object with "
        "__hash__ and __eq__."
    )


def reference_as_value(path: str) -> str:
    return f"The value of a reference cannot be a reference itself ({path}). Pass `{path}.value`, or hold that one."


def not_initialised(path: str) -> str:
    return (
        f"{path} was read before it had a value. Make the states first: call "
        "`neurostate.nn.init_all_states(module)`, or `module.init_state()`."
    )


def trace_is_over(path: str, kind: str) -> str:
    return (
        f"{path} was made inside `{kind}` and holds a value of that trace, which is over or has failed. "
        f"Make the reference (or call `init_state`) before `{kind}`, or return its value as an output."
    )


def copied_in_trace(path: str, what: str) -> str:
    return f"{path} cannot be copied ({what}) inside a transform: its value is not known there. Do it outside."


_RAW = "`jax.jit`, `jax.vmap`, `jax.grad`, `lax.scan`, `lax.cond`, `lax.while_loop`, `jax.checkpoint`, ..."


def raw_read(path: str, kind: str | None) -> str:
    where = f" inside `{kind}`" if kind else ""
    is_key = path.startswith("environ.")
    cure = "read the value before and pass it in" if is_key else "read a constant on purpose with `.peek()`"
    return (
        f"{path} was read while a raw JAX transform{where} stages a program. JAX keeps such programs, so the value "
        f"of now would be used silently ever after. Use the transform of the same name in `neurostate.transform` "
        f"instead of JAX's own ({_RAW}), or {cure}."
    )


def raw_write(path: str) -> str:
    return (
        f"{path} was written inside a raw JAX transform, which cannot carry the new value out. Use the transform of "
        f"the same name in `neurostate.transform` instead of JAX's own ({_RAW}), or make the function pure with "
        f"`neurostate.functionalize`."
    )


def born_inside(path: str, kind: str, cure: str) -> str:
    return (
        f"{path} was made inside `{kind}` and is held by a module that lives on, "
        f"but its value ends with `{kind}`. {cure}"
    )


INIT_BEFORE = "Make it before: call `neurostate.nn.init_all_states(module)` (or `init_state`) outside."


def lost_update(path: str) -> str:
    return (
        f"{path} was changed by another thread while this call was computing its new value, so that one of the two "
        "updates would be lost. Nothing was written. Call again, or hold a lock around both."
    )


def state_lost(path: str, cause: BaseException) -> str:
    return (
        f"The value of {path} is lost: its buffer was donated to a program that failed "
        f"({type(cause).__name__}: {cause}). Assign a new value, initialise again, or compile without `donate_states`."
    )


def reference_returned(path: str, kind: str) -> str:
    return f"The function in `{kind}` returned the reference {path}. Return `{path}.value` instead."


def missing_key(key: str, desc: str | None) -> str:
    what = f" ({desc})" if desc else ""
    return (
        f"environ has no {key!r}{what}. Set it for the process with `neurostate.environ.set({key}=...)` or for a "
        f"block with `with neurostate.environ.context({key}=...):`."
    )


def environ_in_trace(what: str) -> str:
    return (
        f"environ.{what} was called inside a transform, where it would outlive the trace. "
        "Use `with neurostate.environ.context(...):` there, or call it outside."
    )


def negative_argnum(name: str, number: int) -> str:
    return f"{name} counts positional arguments from 0; got the negative {number}. Count from the front."


def not_callable(kind: str, fn: object) -> str:
    return f"`{kind}` needs a function, got {fn!r} of type {type(fn).__name__}."


def scan_output(result: object) -> str:
    return f"The function in `scan` must return a pair (carry, output), got {type(result).__name__}: {result!r:.100}."


def state_changed(kind: str, path: str, before: str, after: str) -> str:
    return (
        f"`{kind}` changed the structure of {path}.\n  before: {before}\n  after:  {after}\n"
        "It needs the same shape, dtype and unit on every step. Give the state its final shape before "
        "(a batch axis, for example, with `init_state(batch_size=...)`), or keep the new value in another reference."
    )


def dtype_changed(kind: str, path: str, before: str, after: str) -> str:
    return (
        f"`{kind}` changed the dtype of {path}.\n  before: {before}\n  after:  {after}\n"
        "It needs the same dtype on every step. Start with a value of the later dtype, or convert with `.astype`."
    )


def carry_structure(kind: str, before: object, after: object) -> str:
    return (
        f"The carry of `{kind}` must keep its structure.\n  before: {before}\n  after:  {after}\n"
        "Return a carry with the same containers and units as the initial one."
    )


def not_an_input(kind: str, where: str, leaf: object) -> str:
    cure = "`jnp.arange`" if isinstance(leaf, range) else "an array"
    return (
        f"`{kind}` runs over the leading axis of each input, but the input{where} is {leaf!r:.60} of type "
        f"{type(leaf).__name__}. Pass {cure} instead, or close over what does not change."
    )


def scalar_input(kind: str, where: str) -> str:
    return (
        f"`{kind}` runs over the leading axis of each input, but the input{where} is a scalar. "
        "Pass an array with a time axis, or close over the scalar."
    )


def no_length(kind: str) -> str:
    return f"`{kind}` cannot tell the number of steps: pass at least one array, or `length=`."


def unequal_lengths(kind: str, lengths: dict[str, int]) -> str:
    listed = ", ".join(f"{name or 'xs'}: {n}" for name, n in lengths.items())
    return f"The inputs of `{kind}` must have the same number of steps along their leading axis, got {listed}."


def branch_outputs(kind: str, first: object, k: int, other: object) -> str:
    names = ("false_fun", "true_fun") if kind == "cond" else ("branch 0", f"branch {k}")
    return (
        f"The branches of `{kind}` must return the same structure.\n  {names[0]}: {first}\n  {names[1]}: {other}\n"
        "Return the same containers, shapes, dtypes and units from each."
    )


def not_a_predicate(kind: str, what: str) -> str:
    return f"`{kind}` needs a scalar condition, got {what}. Reduce it with `jnp.all` or `jnp.any`, or use `jnp.where`."


def batched_write(paths: list[str]) -> str:
    listed = ", ".join(paths)
    return (
        f"`vmap` would write a batched value to {listed}, which has no declared batch axis: the lanes would overwrite "
        "each other. Declare it, `vmap(f, in_states=..., out_states=...)` (for example `out_states=that_reference`), "
        "or make the reference inside the mapped function. No reference was changed."
    )


def map_write(paths: list[str]) -> str:
    return (
        f"`map` with a batch_size would write to {', '.join(paths)}, once for each batch and not for each slice. Leave "
        "out batch_size, which makes it a loop; give the new values back as outputs; or use `vmap` with declared "
        "states. No reference was changed."
    )


def state_axis(path: str, axis: int, shape: object, size: int) -> str:
    return (
        f"`vmap` maps {path} over its axis {axis}, but its shape is {shape} and the batch size is {size}. "
        "Initialise it with that batch size, for example with `vmap_init_all_states`, or map another axis."
    )


def no_batch_size(kind: str) -> str:
    return f"`{kind}` cannot tell the batch size: map at least one argument, or pass `axis_size=`."


def batch_sizes(kind: str, sizes: dict[str, int]) -> str:
    listed = ", ".join(f"{name}: {n}" for name, n in sizes.items())
    return f"The mapped arguments of `{kind}` must have the same size along their mapped axes, got {listed}."


def unread_states(paths: list[str]) -> str:
    return (
        f"`grad` was asked for the gradient of {', '.join(paths)}, but the function never reads it, so that the "
        "gradient would be zero. Remove it from `grad_states`, or pass `check_states=False` for zeros."
    )


def bad_grad_state(found: object) -> str:
    return (
        f"`grad_states` holds references, alone or in a list, tuple or dict; it holds {found!r:.80} of type "
        f"{type(found).__name__}. For a module, pass `module.states(neurostate.ParamState)`."
    )


def aux_missing(result: object) -> str:
    return f"With has_aux=True the function must return a pair (loss, aux), got {type(result).__name__}."


def not_scalar_loss(kind: str, what: str) -> str:
    return f"`{kind}` needs a function with a scalar real output, got {what}. Reduce it, for example with `.mean()`."


def missing_attribute(owner: str, name: str) -> str:
    return (
        f"{owner} has no attribute {name!r}. If `init_state` makes it, call `neurostate.nn.init_all_states(module)` "
        "(or `module.init_state()`) first."
    )


def wrong_state_keys(missing: list[str], extra: list[str]) -> str:
    return (
        f"The state of a functionalized function has a value for each of its references; missing here: {missing}, "
        f"not known: {extra}. Start from the state that `functionalize` gave, or from `pure.collect()`."
    )


def new_reference(names: str) -> str:
    return (
        f"With these arguments the function touches references that it did not touch with the example arguments: "
        f"{names}. Call `functionalize` again with arguments like these."
    )


def environ_in_raw(key: str) -> str:
    return (
        f"environ.{key} was read while a raw JAX transform stages a program. JAX keeps such programs, so the value of "
        f"now would be used silently ever after. Use the transform of the same name in `neurostate.transform` "
        f"instead of JAX's own ({_RAW}), or read the value before and pass it in."
    )


def environ_trace_is_over(key: str, kind: str) -> str:
    return (
        f"environ.{key} was set by a `context` that was entered inside `{kind}` and never left; that trace is over. "
        "Leave a context where it was entered: use it as `with environ.context(...):` around the code that needs it, "
        "not around a `yield`."
    )


def branches_differ(kind: str, path: str, first: str, other: str) -> str:
    return (
        f"The branches of `{kind}` leave {path} with different structures.\n  one:     {first}\n  another: {other}\n"
        "A branch that does not write a state leaves its old value. Write the same shape, dtype and unit in each, "
        "for example with `.astype`."
    )


def condition_writes(kind: str, paths: list[str]) -> str:
    return (
        f"The condition of `{kind}` writes {', '.join(paths)}, but it may only read: how often it runs is not "
        "part of the result. Write it in the body."
    )


def became_nan(name: str, steps: list[tuple[int | None, str]], index: object, phase: str) -> str:
    where = "".join(f" of `{kind}`" if step is None else f" at step {step} of `{kind}`" for step, kind in steps[:-1])
    known = "" if index is None else f" (environ.i = {index})"
    return f"{name} became NaN{where}{known}{f' in {phase}' if phase else ''}."


def no_state_spec(paths: list[str]) -> str:
    return (
        f"`shard_map` writes {', '.join(paths)} without a declared spec, and the shards may write different values. "
        "Declare it, `shard_map(..., state_in_specs={reference: PartitionSpec(...)})`, or make them the same, for "
        "example with `jax.lax.psum`."
    )


def no_derivative(path: str, what: str) -> str:
    return (
        f"{path} is not made of floats, so it has no derivative: {what}. Convert it with `.astype(float)`, hold its "
        "integers in another reference, or pass allow_int=True where there is that option."
    )


def not_parallel(name: str, reason: str) -> str:
    return (
        f"{name} cannot be run in parallel over time: {reason}. Its state must move by an affine map of each element, "
        'without feedback of its spikes: use `spk_reset=None`, no `tau_ref` and `spike_time="grid"`, or run it step by '
        "step with `simulate`."
    )


def non_finite(epoch: int, step: int, loss: float, gradients: list[str], values: list[str]) -> str:
    found = [
        *([f"the gradient of {', '.join(gradients)}"] if gradients else []),
        *([f"the new value of {', '.join(values)}"] if values else []),
    ]
    what = f"; not finite: {' and '.join(found)}" if found else ""
    return (
        f"Training stopped in epoch {epoch} at step {step}: the loss is {loss}{what}. The step was not applied; the "
        "parameters from before it are in `error.state.model`. Lower the learning rate, clip the gradients "
        "(`optax.clip_by_global_norm`), or look for a division by zero or a logarithm of zero in the loss."
    )


def not_a_loss(value: object) -> str:
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    what = f"an array {dtype}{list(shape)}" if dtype is not None and isinstance(shape, tuple) else f"{value!r:.80}"
    return (
        f"`loss` must return a scalar of a floating dtype, or a pair of it and a dictionary of metrics; the loss is "
        f"{what} of type {type(value).__name__}. Reduce it, for example with `.mean()`, and divide a Quantity by its "
        "unit."
    )


def not_metrics(metrics: object) -> str:
    return (
        "The metrics of `loss` must be a dictionary from names, other than 'loss', to scalars; got "
        f"{metrics!r:.200}. Reduce them over the batch, for example with `.mean()`."
    )

"""Running a model over time, in one scan."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._custom_types import Array, Float, Key, PyTree, QuantityLike, Shape, Size
from ._parallel import scan_parallel
from ._parameters import as_milliseconds
from ._progress import ProgressBar, as_progress_bar
from ._simulation import run_by_steps, run_in_blocks
from ._units import is_traced, measures
from .network._layerwise import block_length
from .network.network import Network


Record: TypeAlias = Callable[[PyTree, PyTree], PyTree] | str | Sequence[str]
_MSG_LAYERWISE: Final = (
    "`simulate` runs layer by layer (`layerwise`) with `inputs` for each step, not by population, and without "
    "`record`, `every`, `outputs=False` and `progress`. Leave these out, or leave `layerwise` out: the results are the "
    "same but for rounding."
)
_MSG_PARALLEL: Final = (
    "`simulate` computes all steps at once (`parallel`) without `layerwise`, `key`, `every`, `checkpoint` and "
    "`progress`, and with `inputs` for each step. Leave these out, or leave `parallel` out: the results are the same "
    "but for rounding."
)
Step: TypeAlias = Callable[[PyTree, tuple[Any, Any]], tuple[PyTree, PyTree]]

# The state at the start draws from a stream of its own, at an index that no time step reaches.
_INIT_INDEX: Final = np.uint32(2**32 - 1)


class Model(Protocol):
    """What `simulate` can run: a neuron, a network, or a class of your own."""

    @property
    def in_size(self) -> Shape | Mapping[str, Shape]: ...

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> Any: ...

    # A step may also take `key`, and must if one is given to `simulate`.
    def step(self, state: Any, current: Any, /, *, dt: Any) -> tuple[Any, Any]: ...


class Solution(eqx.Module):
    """What `simulate` returns.

    - `outputs`: The outputs of the kept steps, with time as their first axis.
    - `state`: The state after the last step.
    - `ts`: The time at the end of each kept step, in ms, counted from the start of the simulation.
    - `records`: What `record` selected at the kept steps, with time first; `None` without `record`.
    """

    outputs: PyTree
    state: PyTree
    ts: Float[Array, " time"] = eqx.field(metadata=measures("time"))
    records: PyTree


def simulate(
    model: Model,
    inputs: PyTree | int,
    *,
    dt: QuantityLike,
    state: PyTree = None,
    key: Key | None = None,
    record: Record | None = None,
    every: int = 1,
    reduce: Literal["last", "mean", "sum"] = "last",
    outputs: bool = True,
    start: int = 0,
    unroll: int | bool = 1,
    checkpoint: bool | int | None = None,
    layerwise: bool | int = False,
    parallel: bool = False,
    progress: ProgressBar | bool | int | str | None = None,
) -> Solution:
    """Runs `model` over the time axis of `inputs`, as one `jax.lax.scan` over `model.step`.

    Gives the same bits as `jax.lax.scan(functools.partial(model.step, dt=dt), state, inputs)`. It is
    compiled once for each structure of its arguments, and can itself be transformed by JAX.

    **Arguments:**

    - `model`: A neuron or network.
    - `inputs`: The drive of each step, of shape `(time, *batch, *model.in_size)`: an array, a `Quantity`, or a
        pytree of these; for a network, a dictionary by the names of populations. Or an int, a number of steps without
        any input.
    - `dt`: The time step: a number in ms or a `Quantity`.
    - `state`: The state at the start. By default `model.init_state(batch_shape)`, with the batch axes of
        `inputs`.

    **Other arguments:**

    - `key`: A random key. Step `i` gets `jax.random.fold_in(key, i)`. Without it, steps get no key.
    - `record`: What to keep besides the outputs: a function of the state and the output after a step, or
        the name or names of fields of the state, which gives a dictionary. A new function object means a
        new compilation; names do not. For a network, names are selectors: `"E.V"`, `"E.V[:10]"`, `"E.spike[::2]"`,
        `"E.rate"` (of the population, in Hz; of a part, `"E.rate[:10]"`), `"EE.synapse.g"`, `"EE.weight"`.
    - `every`: Keep only the steps `every`, `2 * every`, ..., counted from 1. The others still run.
    - `reduce`: What is kept of the outputs and records of the `every` steps up to then: those of the `"last"` one,
        their `"mean"` or their `"sum"`.
    - `outputs`: Whether to keep the outputs at all.
    - `start`: The number of steps before this call, of a run in several parts: it counts on for
        `key` and `ts`, so that the parts, each from the state of the one before, are the whole run bit for bit.
    - `unroll`: As in `jax.lax.scan`.
    - `checkpoint`: Bounds the memory of the backward pass: only the state at the start of each segment of
        so many steps is stored, and a segment is run again when it is needed. `True` takes the square
        root of the number of steps. Results and gradients stay the same.
    - `layerwise`: Runs each layer of a `Sequential` over many steps before the next one, so that its matrix products
        are few and large: for training, up to twice as fast. So many steps, or with `True` a number for the size of
        the batch. The sums in these products may be rounded otherwise than step by step, in the last bits. Not with
        `record`, `every`, `outputs=False` or `progress`.
    - `parallel`: Computes all steps at once by an associative scan, for models that are linear in their state: leaky
        integrators, neurons without reset, synapses, readouts, and a `Sequential` of these, connections and functions.
        For devices with many cores. Rounds otherwise than step by step; keeps all states while it runs. With
        `record`, but without `key`, `every`, `checkpoint` and `progress`.
    - `progress`: `True`, the number of steps between two redraws, a description, or a `ProgressBar`. Outside
        other transformations `simulate` then waits until it is finished.

    **Returns:** A [`neurostate.Solution`][].

    **Raises:** `ValueError` for inputs without a time axis, of different lengths, or with axes that do not
    end in `model.in_size` when `state` is not given; for `every`, `checkpoint` or `progress` out of range;
    for a name in `record` that the state does not have; for options that do not go together; with `parallel`, for a
    model that is not linear, naming the cell and why. And what `model.step` raises.

    !!! example

        >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
        >>> currents = jnp.full((500, 100), 1.5) * u.mA  # (time, neuron)
        >>> sol = ns.simulate(ns.LIF(100), currents, dt=0.1 * u.ms, record="V", every=10)
        >>> sol.outputs.shape, sol.records["V"].shape, float(sol.ts[-1])
        ((50, 100), (50, 100), 50.0)
    """
    dt = as_milliseconds(dt, "simulate")
    if isinstance(inputs, int | np.integer) and not isinstance(inputs, bool):
        num_steps, inputs = _int_between(inputs, "inputs", 1, None), None
    else:
        inputs = jax.tree.map(jnp.asarray, inputs)
        num_steps = _num_steps(inputs)
    every = _int_between(every, "every", 1, num_steps)
    start = _int_between(start, "start", 0, None)
    segment = _segment(checkpoint, num_steps)
    if reduce not in ("last", "mean", "sum"):
        raise ValueError(f"`reduce` must be 'last', 'mean' or 'sum', got {reduce!r}.")
    if state is None:
        init_key = None if key is None else jax.random.fold_in(key, _INIT_INDEX)
        state = model.init_state(_batch_shape(inputs, model.in_size), key=init_key)
    if parallel:
        if layerwise or key is not None or every != 1 or checkpoint or progress is not None or inputs is None:
            raise ValueError(_MSG_PARALLEL)
        state, found, states = scan_parallel(model, state, inputs, dt=dt)
        keep = _as_record(record, model, state, dt)
        records = None if keep is None else jax.vmap(keep)(states, found)
        return _solution(found if outputs else None, state, records, start, every, num_steps, dt)
    if layerwise is not False:
        if record is not None or every != 1 or not outputs or progress is not None or not _by_step(inputs):
            raise ValueError(_MSG_LAYERWISE)
        block = segment or _block(layerwise, num_steps, _batch_shape(inputs, model.in_size))
        kept_outputs, state = run_in_blocks(
            model, state, inputs, key, dt, np.int32(start), num_steps, block, unroll, segment is not None
        )
        return _solution(kept_outputs, state, None, start, every, num_steps, dt)
    bar = as_progress_bar(progress)
    bound, keep = None if bar is None else bar.bind(num_steps), _as_record(record, model, state, dt)
    with _says_if_it_needs_input(model, inputs, num_steps):
        kept_outputs, state, records = run_by_steps(
            model,
            state,
            inputs,
            key,
            dt,
            bound,
            np.int32(start),  # an array, so that another one is not another program
            num_steps=num_steps,
            record=keep,
            every=every,
            reduce=reduce,
            keep=bool(outputs),
            unroll=unroll,
            segment=segment,
        )
    if bar is not None and not any(map(is_traced, jax.tree.leaves((kept_outputs, state)))):
        jax.block_until_ready(state)
        jax.effects_barrier()
    return _solution(kept_outputs, state, records, start, every, num_steps, dt)


def _solution(
    outputs: PyTree, state: PyTree, records: PyTree, start: int, every: int, num_steps: int, dt: Any
) -> Solution:
    kept = start + np.arange(every, num_steps + 1, every)
    ts = jnp.asarray(kept * dt if isinstance(dt, float) else jnp.asarray(kept) * dt, dtype=jnp.result_type(float))
    return Solution(outputs=outputs, state=state, ts=ts, records=records)


def _by_step(inputs: PyTree) -> bool:
    """Whether there is one input for each step, of the model as a whole."""
    return inputs is not None and not isinstance(inputs, Mapping)


def _block(layerwise: bool | int, num_steps: int, batch_shape: Shape) -> int:
    if layerwise is True:
        return block_length(num_steps, math.prod(batch_shape), jax.default_backend())
    return min(_int_between(layerwise, "layerwise", 1, None), num_steps)


# Reading the arguments


@contextlib.contextmanager
def _says_if_it_needs_input(model: Any, inputs: PyTree, num_steps: int) -> Iterator[None]:
    """Says of an error about None, in a run that is given the number of steps alone, that this was the input."""
    try:
        yield
    except (TypeError, ValueError) as error:  # either is raised where JAX gets None for an array
        if inputs is not None or "None" not in str(error):
            raise
        raise TypeError(
            f"`simulate` got the number of steps, {num_steps}, in place of inputs, so that each step of the "
            f"`{type(model).__name__}` had the input None, and failed: {error}\nA model that needs an input gets one "
            "for each step: an array of shape (time, *batch, *model.in_size)."
        ) from error


def _num_steps(inputs: PyTree) -> int:
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(inputs)]
    lengths = {shape[0] for shape in shapes if shape}
    if not shapes or len(lengths) != 1 or () in shapes:
        raise ValueError(
            f"`inputs` must be arrays with time as their first axis, all of one length; got the shapes {shapes}. "
            f"For a constant drive, repeat it: `jnp.full((num_steps, *model.in_size), value)`."
        )
    if lengths == {0}:
        raise ValueError(f"`inputs` must have at least one time step, got the shapes {shapes}.")
    return lengths.pop()


def _batch_shape(inputs: PyTree, in_size: Shape | Mapping[str, Shape]) -> Shape:
    """The axes of the inputs between time and population."""
    if inputs is None:
        return ()
    if isinstance(in_size, Mapping):
        if not isinstance(inputs, Mapping):
            return _batch_shape(inputs, next(iter(in_size.values())))
        found = {_batch_shape(given, in_size[name]) for name, given in inputs.items() if name in in_size}
        if len(found) > 1:
            raise ValueError(f"The `inputs` have the batch axes {sorted(found)}, which must be the same for all.")
        return found.pop() if found else ()
    in_size = tuple(in_size)
    shapes = [jnp.shape(leaf)[1:] for leaf in jax.tree.leaves(inputs)]
    batches = {shape[: len(shape) - len(in_size)] for shape in shapes}
    fits = all(shape[len(shape) - len(in_size) :] == in_size for shape in shapes if len(shape) >= len(in_size))
    if len(batches) != 1 or not fits or any(len(shape) < len(in_size) for shape in shapes):
        raise ValueError(
            f"The batch axes cannot be told from `inputs`: without time their shapes are {shapes}, which do not all "
            f"end in the model's `in_size`, {in_size}, after the same batch axes. Give `inputs` of shape "
            f"(time, *batch, {', '.join(map(str, in_size))}), or the state: `state=model.init_state(batch_shape)`."
        )
    return batches.pop()


def _as_record(record: Record | None, model: Any, state: PyTree, dt: Any) -> Callable[[PyTree, PyTree], PyTree] | None:
    if record is None:
        return None
    if callable(record):
        return record
    names = (record,) if isinstance(record, str) else tuple(record)
    if isinstance(model, Network):
        return model.monitor(*names, dt=None if is_traced(dt) else float(dt))
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"`record` must be a function or names of fields of the state, got {record!r}.")
        try:
            getattr(state, name)
        except AttributeError:
            raise ValueError(
                f"`record` names the field {name!r}, which the state does not have. The state is {state!r}."
            ) from None
    return _Fields(names)


class _Fields(eqx.Module):
    """Records fields of the state. Equal names are equal objects, so that they share a compilation."""

    names: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, state: PyTree, output: PyTree) -> dict[str, Any]:
        del output
        return {name: getattr(state, name) for name in self.names}


def _segment(checkpoint: bool | int | None, num_steps: int) -> int | None:
    if checkpoint is None or checkpoint is False:
        return None
    if checkpoint is True:
        root = math.isqrt(num_steps - 1) + 1
        # A length that divides the number of steps, if one is near: the rest of a run would be a program of its own.
        near = [n for n in range(root // 2 + 1, 2 * root) if num_steps % n == 0]
        segment = min(near, key=lambda n: abs(n - root), default=root)
    else:
        segment = _int_between(checkpoint, "checkpoint", 1, None)
    return segment if segment < num_steps else None


def _int_between(value: Any, name: str, low: int, high: int | None) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"`{name}` must be an int, got {value!r}.")
    if value < low or (high is not None and value > high):
        bound = f"at least {low}" if high is None else f"between {low} and the number of time steps, {high}"
        raise ValueError(f"`{name}` must be {bound}, got {value}.")
    return int(value)

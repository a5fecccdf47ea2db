"""The loop over epochs: each one is a compiled program, one `jax.lax.scan` over its batches."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from .. import _errors
from .._custom_types import Array, Key, PyTree
from .._errors import NonFiniteError
from ..init._keys import is_key
from ._batches import as_examples, order_of, take
from ._constraints import Constraints
from ._known import as_arrays, as_known
from ._optax import updates_of
from ._select import Where, inexact_leaves
from ._state import TrainState, read, start, write


Loss: TypeAlias = Callable[[PyTree, PyTree, Key], Any]

# Streams of random numbers beside the one of the order: for the steps, and for the validation data.
_STEPS: Final = np.uint32(2**32 - 1)
_VALIDATION: Final = np.uint32(2**32 - 2)


def fit(
    model: PyTree,
    loss: Loss,
    optimizer: optax.GradientTransformation | Any,
    data: PyTree,
    *,
    epochs: int,
    batch_size: int,
    key: Key,
    trained: Where | tuple[Where, ...] | None = None,
    constraints: Constraints | None = None,
    validation: PyTree = None,
    patience: int | None = None,
    callbacks: Iterable[Callable[[TrainState], Any]] = (),
    progress: bool | str = True,
    path: str | os.PathLike[str] | None = None,
    every: int = 1,
    resume: bool = False,
) -> TrainState:
    """Trains a model on batches of examples.

    It is the loop `for state in train.epochs(...)` with a progress bar, early stopping and a file; a loop of your own
    is a few lines. In each epoch every example is in one batch at most, in random order: those that do not fill a batch
    are left out. The same arguments give the same bits.

    **Arguments:**

    - `model`: Any pytree, such as a network.
    - `loss`: A function `loss(model, batch, key)` that gives a scalar, or a scalar and a dictionary of scalar metrics.
        A batch is like `data`, with `batch_size` examples; each has a random key of its own.
    - `optimizer`: An Optax transformation; gradient clipping, schedules and accumulation are Optax' own.
    - `data`: A pytree of arrays whose first axis counts the examples.
    - `epochs`: The number of epochs in all.
    - `batch_size`: The number of examples in a batch.
    - `key`: A random key.

    **Other arguments:**

    - `trained`: What is trained, as `where` in [`neurostate.train.select`][], or a tuple of these; by default all
        arrays of floats, parameters of neurons too, but not the running statistics of `BatchNorm`.
    - `constraints`: Bounds of parameters.
    - `validation`: Other data. After each epoch the loss and the metrics are taken on it, as means over its batches.
    - `patience`: Stops after so many epochs without a smaller validation loss.
    - `callbacks`: Functions of the `TrainState`, called after each epoch, and after it was saved.
    - `progress`: Whether to show a progress bar with the loss, or a text to show in front of it.
    - `path`, `every`: A file in which the state is saved after so many epochs, and when the loop ends for whatever
        reason, an error or an interruption too.
    - `resume`: Goes on from that file if it exists; the end is the same, bit for bit, as without the interruption, if
        all arguments are. That is checked for the model, but for the bodies of its functions, the constraints, the
        `key` and the `batch_size`; not for the loss, the data and the settings of the optimiser.

    **Returns:** The last [`neurostate.train.TrainState`][]; `state.model` is the trained model, `state.best` the one
    with the least validation loss.

    **Raises:** `NonFiniteError` if the loss, a gradient or a parameter becomes infinite or NaN, with the state from
    before that update in `error.state`, or if the loss of the validation data does, with the state that gave it;
    `ValueError` or `TypeError` for arguments that do not fit, such as data with another axis first, a parameter outside
    of its bounds, or a file of another run.

    >>> import jax, jax.numpy as jnp, optax, neurostate as ns
    >>> def loss(model, batch, key):
    ...     return jnp.mean((jax.vmap(model)(batch["x"])[:, 0] - batch["y"]) ** 2)
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> data, key = {"x": x, "y": 3 * x[:, 0] + 1}, jax.random.key(0)
    >>> model = eqx.nn.Linear(1, 1, key=key)
    >>> state = ns.train.fit(
    ...     model, loss, optax.adam(0.1), data, epochs=30, batch_size=16, key=key, progress=False
    ... )
    >>> print(state.model.weight.round(2), state.model.bias.round(2), state.epoch, state.step)
    [[3.]] [1.] 30 120
    """
    for name, number, least in (("epochs", epochs, 0), ("patience", patience, 1), ("every", every, 1)):
        if name != "patience" or number is not None:
            _check_count(name, number, least)
    if patience is not None and validation is None:
        raise ValueError("`patience` counts epochs without a smaller validation loss: give `validation` data too.")
    if resume and path is None:
        raise ValueError("`resume` goes on from a file: give its `path`.")
    state = start(model, optimizer, trained=trained, constraints=constraints)
    _check_key(key)
    numbers = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    run = {"key": str(np.asarray(numbers).tolist()), "batch_size": str(batch_size)}
    if resume and path is not None and os.path.exists(path):
        state = read(path, state, run)
    saved = state.epoch
    loop = _loop(loss, optimizer, data, batch_size, key, constraints, validation, state)
    text = progress if isinstance(progress, str) else "training"
    bar = tqdm(total=epochs, initial=min(saved, epochs), desc=text, unit="epoch", disable=not progress)
    try:
        with bar:
            while state.epoch < epochs and not _is_exhausted(state, patience):
                state = next(loop)
                bar.set_postfix({name: f"{values[-1]:.3f}" for name, values in state.history.items()}, refresh=False)
                bar.update()
                if path is not None and state.epoch % every == 0:
                    write(path, state, run)
                    saved = state.epoch
                for callback in callbacks:
                    callback(state)
    finally:
        if path is not None and saved != state.epoch:
            write(path, state, run)
    return state


def epochs(
    model: PyTree,
    loss: Loss,
    optimizer: optax.GradientTransformation | Any,
    data: PyTree,
    *,
    batch_size: int,
    key: Key,
    trained: Where | tuple[Where, ...] | None = None,
    constraints: Constraints | None = None,
    validation: PyTree = None,
    state: TrainState | None = None,
) -> Iterator[TrainState]:
    """The loop of [`neurostate.train.fit`][] as an iterator without an end: the state after each epoch.

    **Arguments:** as `fit`, and

    - `state`: The state to go on from, as a loop with the same arguments gave it.

    **Raises:** as `fit`.

    >>> import jax, jax.numpy as jnp, optax, neurostate as ns
    >>> loss = lambda model, batch, key: jnp.mean((model * batch - 1) ** 2)
    >>> loop = ns.train.epochs(
    ...     jnp.array(0.0), loss, optax.sgd(0.1), jnp.ones(32), batch_size=8, key=jax.random.key(0)
    ... )
    >>> for state in loop:
    ...     if state.history["loss"][-1] < 0.01:
    ...         break
    >>> state.epoch, round(float(state.model), 3)
    (4, 0.972)
    """
    if state is None:
        state = start(model, optimizer, trained=trained, constraints=constraints)
    then, now = (getattr(each, "bijectors", None) for each in (state.constraints, constraints))
    if then != now:
        raise ValueError(f"The free numbers in `state` are those of {then}, but `constraints` are {now}. Give those.")
    return _loop(loss, optimizer, data, batch_size, key, constraints, validation, state)


def _loop(
    loss: Loss,
    optimizer: Any,
    data: PyTree,
    batch_size: int,
    key: Key,
    constraints: Constraints | None,
    validation: PyTree,
    state: TrainState,
) -> Iterator[TrainState]:
    _check_loss(loss)
    _check_key(key)
    data, num_examples = as_examples(data, "data")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or not 1 <= batch_size <= num_examples:
        raise ValueError(f"`batch_size` must be from 1 to the number of examples, {num_examples}; got {batch_size!r}.")
    if validation is not None:
        validation, _ = as_examples(validation, "validation")
        if jax.tree.structure(validation) != jax.tree.structure(data):
            raise ValueError(
                f"`validation` must have the structure of `data`, {jax.tree.structure(data)}, got "
                f"{jax.tree.structure(validation)}."
            )
    options = {"loss": loss, "optimizer": optimizer, "constraints": constraints, "batch_size": batch_size}
    return _states(options, data, validation, key, state)


def _states(
    options: dict[str, Any], data: PyTree, validation: PyTree, key: Key, state: TrainState
) -> Iterator[TrainState]:
    """The iterator itself, with its arguments checked."""
    frozen = jax.tree.map(
        lambda leaf, moved: leaf if moved is None else None, state.model, state.trained, is_leaf=lambda x: x is None
    )
    known = as_known(frozen)
    while True:
        at = jax.random.fold_in(key, state.epoch)
        given = (state.trained, known, state.optimizer_state, data, at)
        trained, optimizer_state, shown, means, report = _run_epoch(*given, **options, careful=False)
        if not report["is_finite"]:  # once more, up to the first bad update
            trained, optimizer_state, shown, means, report = _run_epoch(*given, **options, careful=True)
        model = eqx.combine(trained if shown is None else shown, frozen)
        step = state.step + int(report["updates"])
        last = dataclasses.replace(state, model=model, trained=trained, optimizer_state=optimizer_state, step=step)
        if not report["is_finite"]:
            raise _non_finite(last, jax.device_get(report))
        found = jax.device_get(means)
        if validation is not None:
            at = jax.random.fold_in(key, _VALIDATION)
            scores = _evaluate(model, validation, at, loss=options["loss"], batch_size=options["batch_size"])
            found |= {f"val_{name}": value for name, value in jax.device_get(scores).items()}
            if not np.isfinite(found["val_loss"]):
                raise _non_finite_validation(last, float(found["val_loss"]))
        history = {name: (*state.history.get(name, ()), float(value)) for name, value in found.items()}
        best = state.best_model
        if validation is not None and (best is None or history["val_loss"][-1] < _least(state.history["val_loss"])):
            best = model
        state = dataclasses.replace(last, best_model=best, epoch=state.epoch + 1, history=history)
        yield state


@eqx.filter_jit
def _run_epoch(
    trained: PyTree,
    frozen: PyTree,
    optimizer_state: PyTree,
    data: PyTree,
    key: Key,
    *,
    loss: Loss,
    optimizer: Any,
    constraints: Constraints | None,
    batch_size: int,
    careful: bool,
) -> tuple[PyTree, PyTree, PyTree, dict[str, Array], dict[str, Array]]:
    """One epoch: what is trained, the optimiser's state, the trained part of the model, means, and a report.

    With `careful`, it stands still from the first bad update on and reports on that one. This takes longer.
    """
    frozen = as_arrays(frozen)

    def shown(trained: PyTree) -> PyTree:
        return trained if constraints is None else constraints.model(trained)

    @eqx.filter_value_and_grad(has_aux=True)
    def gradient(trained: PyTree, batch: PyTree, key: Key) -> tuple[Array, dict[str, Array]]:
        return _value_and_metrics(loss(eqx.combine(shown(trained), frozen), batch, key))

    def update(carry: PyTree, x: tuple[Array, Array]) -> tuple[PyTree, PyTree]:
        before, is_good = carry
        (value, metrics), gradients = gradient(before[0], take(data, x[1]), jax.random.fold_in(step_key, x[0]))
        updates, new_state = updates_of(optimizer, gradients, before[1], before[0], value=value)
        after = (eqx.apply_updates(before[0], updates), new_state)
        bad_gradients = _bad(gradients)
        is_good = is_good & jnp.isfinite(value) & ~bad_gradients.any()
        if not careful:
            return (after, is_good), (value, metrics)
        bad_values = _bad(after[0])
        is_good = is_good & ~bad_values.any()
        kept = jax.tree.map(lambda new, old: jnp.where(is_good, new, old), after, before)
        bad = {"is_good": is_good, "loss": value, "gradients": bad_gradients, "values": bad_values}
        return (kept, is_good), (value, metrics, bad)

    num_examples = jax.tree.leaves(data)[0].shape[0]
    order = order_of(key, num_examples, batch_size)
    step_key = jax.random.fold_in(key, _STEPS)
    carry = ((trained, optimizer_state), jnp.array(True))
    (last, is_good), (values, metrics, *bad) = jax.lax.scan(update, carry, (jnp.arange(len(order)), order))
    report = {"is_finite": is_good & ~_bad(last[0]).any(), "updates": jnp.array(len(order))}
    for rows in bad:
        report |= take(rows, jnp.argmin(rows["is_good"])) | {"updates": rows["is_good"].sum()}
    means = jax.tree.map(jnp.mean, {"loss": values, **metrics})
    return *last, None if constraints is None else shown(last[0]), means, report


def _bad(tree: PyTree) -> Array:
    """Whether each array of a pytree has a number that is not finite."""
    return jnp.stack([~jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)])


@eqx.filter_jit
def _evaluate(model: PyTree, data: PyTree, key: Key, *, loss: Loss, batch_size: int) -> dict[str, Array]:
    """The loss and the metrics on all of the data, each example with equal weight."""
    num_examples = jax.tree.leaves(data)[0].shape[0]
    split = num_examples // batch_size * batch_size

    def score(index: Array) -> dict[str, Array]:
        value, metrics = _value_and_metrics(loss(model, take(data, index), jax.random.fold_in(key, index[0])))
        return {"loss": value, **metrics}

    sums = []
    if split:
        scores = jax.lax.map(score, jnp.arange(split).reshape(-1, batch_size))
        sums.append(jax.tree.map(lambda x: x.sum() * batch_size, scores))
    if split < num_examples:
        sums.append(jax.tree.map(lambda x: x * (num_examples - split), score(jnp.arange(split, num_examples))))
    return jax.tree.map(lambda *parts: sum(parts) / num_examples, *sums)


def _value_and_metrics(result: Any) -> tuple[Array, dict[str, Array]]:
    """The loss and the metrics in what the loss function returned.

    **Raises:** `TypeError` if it is not a scalar, or a scalar and a dictionary of scalars.
    """
    value: Any
    value, metrics = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
    if not eqx.is_inexact_array(value) or value.shape != ():
        raise TypeError(_errors.not_a_loss(value))
    scalars = isinstance(metrics, dict) and all(eqx.is_array_like(each) for each in metrics.values())
    if not scalars or any(jnp.shape(each) != () or name == "loss" for name, each in metrics.items()):
        raise TypeError(_errors.not_metrics(metrics))
    return value, {name: jnp.asarray(each, jnp.result_type(float)) for name, each in metrics.items()}


def _check_loss(loss: Any) -> None:
    if not callable(loss):
        raise TypeError(f"`loss` must be a function of the model, a batch and a key, got {loss!r:.80}.")
    try:
        inspect.signature(loss).bind(None, None, None)
    except TypeError as error:
        raise TypeError(
            f"`loss` is called as `loss(model, batch, key)`, but {getattr(loss, '__name__', loss)} cannot be: {error}. "
            "If it needs no random numbers, leave the last argument unused."
        ) from None
    except ValueError:
        return  # a function whose signature Python does not know


def _non_finite(state: TrainState, report: dict[str, Any]) -> NonFiniteError:
    paths = list(inexact_leaves(state.trained))
    gradients, values = (
        [path for path, is_bad in zip(paths, report[name], strict=True) if is_bad] for name in ("gradients", "values")
    )
    return NonFiniteError(state.epoch + 1, state.step + 1, float(report["loss"]), gradients, values, state)


def _non_finite_validation(state: TrainState, loss: float) -> NonFiniteError:
    text = (
        f"Training stopped in epoch {state.epoch + 1}: the loss of the validation data is {loss}, with the model in "
        "`error.state.model`. Look for infinite numbers or NaN in that data, or for a division by zero in the loss."
    )
    return NonFiniteError(state.epoch + 1, state.step, loss, [], [], state, text)


def _check_key(key: Any) -> None:
    if not is_key(key):
        raise TypeError(f"`key` must be a random key such as `jax.random.key(0)`, got {key!r:.80}.")


def _check_count(name: str, number: Any, least: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
        raise ValueError(f"`{name}` must be an int of at least {least}, got {number!r}.")


def _least(losses: Iterable[float]) -> float:
    return min((value for value in losses if np.isfinite(value)), default=np.inf)


def _is_exhausted(state: TrainState, patience: int | None) -> bool:
    return patience is not None and state.epoch - (state.best_epoch or 0) >= patience

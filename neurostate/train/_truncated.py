"""Backpropagation through time within windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Float, Key, PyTree, QuantityLike
from .._parameters import as_milliseconds
from ._online import as_scalar, batch_axes, initial_state, keyed, split
from ._select import Where


LossOfWindow: TypeAlias = Callable[[Any, Any], Float[Array, ""]]


class Truncated(eqx.Module):
    """What `truncated_value_and_grad` returns.

    - `loss`: The sum of the losses of the windows.
    - `gradients`: The sum of their gradients: a model with arrays where they are trained, and `None` elsewhere.
    - `outputs`: The outputs of all steps, with time as their first axis; `None` if they are not kept.
    - `state`: The state after the last step.
    """

    loss: Float[Array, ""]
    gradients: PyTree
    outputs: PyTree
    state: PyTree


class Window(eqx.Module):
    """What `truncated_updates` gives after each window.

    - `model`, `optimizer_state`: After the update of this window.
    - `loss`: The loss of this window, before the update.
    - `gradients`: Its gradient.
    - `outputs`: The outputs of its steps, with time as their first axis.
    - `state`: The state after its last step, from which the next one starts.
    - `stop`: The number of steps up to now.
    """

    model: Any
    optimizer_state: PyTree
    loss: Float[Array, ""]
    gradients: PyTree
    outputs: PyTree
    state: PyTree
    stop: int = eqx.field(static=True)


def truncated_value_and_grad(
    model: Any,
    loss: LossOfWindow,
    inputs: PyTree,
    targets: PyTree,
    *,
    window: int,
    dt: QuantityLike,
    trained: Where | tuple[Where, ...] = (),
    state: PyTree = None,
    key: Key | None = None,
    outputs: bool = True,
) -> Truncated:
    """The loss and its gradient by truncated backpropagation through time, with one set of weights.

    Time is cut into windows. A window starts from the very state in which the one before ended, but its gradient does
    not go back beyond its start; the gradients of the windows are added up. So one window is backpropagation through
    all of time, and the memory of the gradient is that of one window, however many there are. Outputs and state are
    those of [`neurostate.simulate`][] over all inputs, with the same keys.

    **Arguments:**

    - `model`: A neuron or a network.
    - `loss`: A function `loss(outputs, targets)` of the outputs and targets of one window, time first, which gives a
        scalar. The losses of the windows are added up.
    - `inputs`: Arrays of shape `(time, *batch, *model.in_size)`, as in [`neurostate.simulate`][].
    - `targets`: A pytree of arrays with time as their first axis, which is cut as the inputs are. `None` for none.
    - `window`: The number of steps in a window. The last one may be shorter.
    - `dt`: The time step: a number in ms or a `Quantity`.

    **Other arguments:**

    - `trained`: Which arrays of the model are trained, as [`neurostate.train.select`][] takes it, or a tuple of these.
        By default all arrays of floats, initial values included.
    - `state`: The state at the start. By default `model.init_state(batch_shape)`, through which the gradient of the
        first window goes.
    - `key`: A random key, as in [`neurostate.simulate`][].
    - `outputs`: Whether to keep the outputs of all steps.

    **Returns:** A [`neurostate.train.Truncated`][].

    **Raises:** as `select`; and `ValueError` for a `window` below 1, or if the batch axes cannot be told.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> loss = lambda spikes, targets: jnp.sum((spikes - targets) ** 2)
    >>> inputs, targets = jnp.full((50, 3), 2.0), jnp.zeros((50, 3))
    >>> found = ns.train.truncated_value_and_grad(ns.LIF(3), loss, inputs, targets, window=20, dt=1.0)
    >>> print(found.loss, found.outputs.shape, found.gradients.tau.shape)
    39.0 (50, 3) ()
    """
    run, inputs, targets, num_steps = _prepare(model, loss, inputs, targets, window, dt, trained, state, key)
    state = run.start(model) if state is None else state
    return _sum(run, model, inputs, targets, state, min(window, num_steps), outputs)


def truncated_updates(
    model: Any,
    loss: LossOfWindow,
    optimizer: Any,
    inputs: PyTree,
    targets: PyTree,
    *,
    window: int,
    dt: QuantityLike,
    trained: Where | tuple[Where, ...] = (),
    optimizer_state: PyTree = None,
    state: PyTree = None,
    key: Key | None = None,
) -> Iterator[Window]:
    """Truncated backpropagation through time with an update of the weights after each window, as an iterator.

    Each window starts from the very state in which the one before ended, with the weights of now.

    **Arguments:** as of [`neurostate.train.truncated_value_and_grad`][], and

    - `optimizer`: An Optax transformation.
    - `optimizer_state`: Its state, to go on. By default `optimizer.init` of the trained arrays.

    **Returns:** An iterator over [`neurostate.train.Window`][]s.

    **Raises:** as [`neurostate.train.truncated_value_and_grad`][], when the first window is asked for.

    >>> import jax.numpy as jnp, neurostate as ns, optax
    >>> loss = lambda spikes, targets: jnp.mean((spikes - targets) ** 2)
    >>> inputs, targets = jnp.full((60, 3), 2.0), jnp.zeros((60, 3))
    >>> for window in ns.train.truncated_updates(ns.LIF(3), loss, optax.sgd(1.0), inputs, targets, window=20, dt=1.0):
    ...     print(window.stop, f"{window.loss:.2f} {window.model.V_th:.2f}")
    20 0.25 1.12
    40 0.15 1.17
    60 0.10 1.20
    """
    run, inputs, targets, num_steps = _prepare(model, loss, inputs, targets, window, dt, trained, state, key)
    state = run.start(model) if state is None else state
    if optimizer_state is None:
        optimizer_state = optimizer.init(split(model, trained)[0])
    for begin in range(0, num_steps, window):
        xs = jax.tree.map(lambda x: x[begin : begin + window], (inputs, targets))
        index = jnp.asarray(begin, jnp.int32)
        found = _updated(run, model, optimizer, optimizer_state, state, xs, index)
        model, optimizer_state, value, gradients, outputs, state = found
        yield Window(model, optimizer_state, value, gradients, outputs, state, min(begin + window, num_steps))


class _Run(eqx.Module):
    """All that the windows of one run have in common."""

    loss: LossOfWindow
    trained: Where | tuple[Where, ...]
    key: Key | None
    dt: Any
    batch: tuple[int, ...]
    from_start: bool  # whether the first window starts from `init_state`

    def start(self, model: Any) -> Any:
        return initial_state(model, self.batch, self.key)

    def window(self, model: Any, state: Any, xs: tuple[PyTree, PyTree], index: Array) -> tuple[Any, Any]:
        """Loss, state after it and outputs of the window that begins at the step `index`, and the gradient."""
        params, rest = split(model, self.trained)

        def value(params: Any) -> Any:
            model, before = eqx.combine(params, rest), state
            if self.from_start:
                before = jax.tree.map(lambda a, b: jnp.where(index == 0, a, b), self.start(model), state)

            def body(state: Any, x: tuple[Array, Any]) -> tuple[Any, Any]:
                return model.step(state, x[1], dt=self.dt, **keyed(self.key, x[0]))

            steps = index + jnp.arange(jax.tree.leaves(xs)[0].shape[0], dtype=jnp.int32)
            after, outputs = jax.lax.scan(body, before, (steps, xs[0]))
            return as_scalar(self.loss(outputs, xs[1])), (after, outputs)

        return jax.value_and_grad(value, has_aux=True)(params)


@eqx.filter_jit
def _sum(run: _Run, model: Any, inputs: PyTree, targets: PyTree, state: PyTree, window: int, keep: bool) -> Truncated:
    num_steps = jax.tree.leaves(inputs)[0].shape[0]
    whole = num_steps // window * window

    def body(carry: Any, xs: Any) -> tuple[Any, Any]:
        index, state, total, gradients = carry
        (value, (state, outputs)), gradient = run.window(model, state, xs, index)
        gradients = jax.tree.map(jnp.add, gradients, gradient)
        return (index + window, state, total + value, gradients), outputs if keep else None

    cut = jax.tree.map(lambda x: x[:whole].reshape(whole // window, window, *x.shape[1:]), (inputs, targets))
    zeros = jax.tree.map(jnp.zeros_like, split(model, run.trained)[0])
    carry = (jnp.zeros((), jnp.int32), state, jnp.zeros((), jnp.result_type(float)), zeros)
    carry, outputs = jax.lax.scan(body, carry, cut)
    outputs = jax.tree.map(lambda x: x.reshape(whole, *x.shape[2:]), outputs)
    if whole < num_steps:
        rest = jax.tree.map(lambda x: x[whole:], (inputs, targets))
        carry, last = body(carry, rest)
        outputs = jax.tree.map(lambda *x: jnp.concatenate(x), outputs, last)
    _, state, total, gradients = carry
    return Truncated(loss=total, gradients=gradients, outputs=outputs, state=state)


@eqx.filter_jit
def _updated(
    run: _Run, model: Any, optimizer: Any, optimizer_state: PyTree, state: PyTree, xs: Any, index: Array
) -> tuple[Any, ...]:
    (value, (state, outputs)), gradients = run.window(model, state, xs, index)
    updates, optimizer_state = optimizer.update(gradients, optimizer_state, split(model, run.trained)[0])
    return eqx.apply_updates(model, updates), optimizer_state, value, gradients, outputs, state


def _prepare(
    model: Any,
    loss: LossOfWindow,
    inputs: PyTree,
    targets: PyTree,
    window: int,
    dt: QuantityLike,
    trained: Where | tuple[Where, ...],
    state: PyTree,
    key: Key | None,
) -> tuple[_Run, PyTree, PyTree, int]:
    """The arguments, checked."""
    inputs, targets = jax.tree.map(jnp.asarray, (inputs, targets))
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        raise ValueError(f"`window` must be a number of steps, at least 1, got {window!r}.")
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves((inputs, targets))]
    lengths = {shape[:1] for shape in shapes}
    if len(lengths) != 1 or not jax.tree.leaves(inputs) or () in lengths or (0,) in lengths:
        raise ValueError(
            f"`inputs` and `targets` must be arrays with time as their first axis, all of one length; got the shapes "
            f"{shapes}."
        )
    split(model, trained)
    batch = batch_axes(inputs, model) if state is None else ()
    run = _Run(loss, trained, key, as_milliseconds(dt, "truncated backpropagation"), batch, state is None)
    return run, inputs, targets, lengths.pop()[0]

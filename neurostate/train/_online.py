"""What all learners have in common that learn while time goes on, and the loop that runs one over time."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, Generic, Self, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Float, Key, PyTree, QuantityLike, Size
from .._parameters import as_milliseconds
from ..simulate import _INIT_INDEX
from ._select import Where, partition


Loss: TypeAlias = Callable[[Any, Any], Float[Array, ""]]
Carry = TypeVar("Carry", bound=eqx.Module)


class AbstractLearner(eqx.Module, Generic[Carry]):
    """A model, a loss of each step, and a rule for the gradient of their sum that goes forward in time.

    What it has to remember, its carry, has the same size after any number of steps.

    - `model`: What learns.
    - `loss`: A function `loss(output, target)` of the output of one step, which gives a scalar.
    - `trained`: Which arrays of the model are trained, as [`neurostate.train.select`][] takes it, or a tuple of these;
        the empty one is all arrays of floats.
    """

    model: eqx.AbstractVar[Any]
    loss: eqx.AbstractVar[Loss]
    trained: eqx.AbstractVar[Where | tuple[Where, ...]]

    @abc.abstractmethod
    def init(self, batch_shape: Size = (), *, key: Key | None = None) -> Carry:
        """What is remembered before the first step.

        **Arguments:**

        - `batch_shape`: The batch axes of the inputs.
        - `key`: A random key for the state at the start and for the steps, used as in [`neurostate.simulate`][].
        """

    @abc.abstractmethod
    def step(self, carry: Carry, input: PyTree, target: PyTree, *, dt: QuantityLike) -> tuple[Carry, PyTree]:
        """Moves model and gradient forward by one step. Pure; can be the body of a `jax.lax.scan`.

        **Arguments:**

        - `carry`: From `init` or the step before. `carry.state` is the state of the model, `carry.loss` the sum of the
            losses.
        - `input`, `target`: Those of this step, with batch axes but no time axis.
        - `dt`: The time step: a number in ms or a `Quantity`.

        **Returns:** The next carry, and the output of the model.
        """

    @abc.abstractmethod
    def gradients(self, carry: Carry) -> PyTree:
        """The gradient of the sum of the losses since `init` or `restart`.

        **Returns:** A model with arrays where they are trained, and `None` elsewhere; as of `equinox.filter_grad`.
        """

    @abc.abstractmethod
    def update(self, updates: PyTree) -> Self:
        """The learner with the model after `equinox.apply_updates(model, updates)`. The carry can go on with it."""

    @abc.abstractmethod
    def restart(self, carry: Carry) -> Carry:
        """The same carry, with the sums of losses and gradients at zero, for the next update. All else goes on."""


L = TypeVar("L", bound=AbstractLearner[Any])


def online_value_and_grad(
    learner: AbstractLearner[Any],
    inputs: PyTree,
    targets: PyTree,
    *,
    dt: QuantityLike,
    key: Key | None = None,
    batch_shape: Size | None = None,
) -> tuple[Float[Array, ""], PyTree]:
    """The sum of the losses over time, and its gradient by a learner, in one `jax.lax.scan` over `learner.step`.

    Besides the inputs it needs memory for one step, however many there are.

    **Arguments:**

    - `learner`: A [`neurostate.train.RTRL`][], [`neurostate.train.EProp`][] or [`neurostate.train.DiagonalRTRL`][].
    - `inputs`: As in [`neurostate.simulate`][]: arrays of shape `(time, *batch, *model.in_size)`.
    - `targets`: A pytree of arrays with time as their first axis; step `i` gets `targets[i]`. `None` for none.
        Inputs and targets that both have the batch first look the same, and are not noticed.
    - `dt`: The time step: a number in ms or a `Quantity`.
    - `key`: A random key, as in [`neurostate.simulate`][].
    - `batch_shape`: The batch axes. By default those of an array of inputs.

    **Returns:** The loss, and the gradient with respect to the trained arrays of `learner.model`.

    **Raises:** `ValueError` if inputs and targets do not have one length, or the batch axes cannot be told; and what
    `learner.init` and `learner.step` raise.

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> learner = ns.train.RTRL(ns.LIF(3), lambda spikes, target: jnp.sum((spikes - target) ** 2))
    >>> loss, gradients = ns.train.online_value_and_grad(learner, jnp.full((50, 3), 2.0), jnp.zeros((50, 3)), dt=1.0)
    >>> print(loss, gradients.tau.shape)
    39.0 ()
    """
    dt = as_milliseconds(dt, "online_value_and_grad")
    inputs, targets = jax.tree.map(jnp.asarray, (inputs, targets))
    shapes = [x.shape for x in jax.tree.leaves((inputs, targets))]
    if len({shape[:1] for shape in shapes}) != 1 or () in shapes:
        raise ValueError(
            "`inputs` and `targets` of `online_value_and_grad` must be arrays with time as their first axis, all of "
            f"one length, got the shapes {shapes}. If the batch is first, exchange the two: `inputs.swapaxes(0, 1)`."
        )
    if batch_shape is None:
        batch_shape = batch_axes(inputs, learner.model)
    return _run(learner, inputs, targets, key, dt, batch_shape)


@eqx.filter_jit
def _run(
    learner: AbstractLearner[Any], inputs: PyTree, targets: PyTree, key: Key | None, dt: Any, batch_shape: Any
) -> tuple[Array, PyTree]:
    def body(carry: Any, x: tuple[Any, Any]) -> tuple[Any, None]:
        return learner.step(carry, *x, dt=dt)[0], None

    carry, _ = jax.lax.scan(body, learner.init(batch_shape, key=key), (inputs, targets))
    return carry.loss, learner.gradients(carry)


# What learners and truncated backpropagation share


def split(model: Any, trained: Where | tuple[Where, ...]) -> tuple[Any, Any]:
    """The trained arrays of a model, and the rest of it."""
    return partition(model, *(trained if isinstance(trained, tuple) else (trained,)))


def batch_axes(inputs: PyTree, model: Any) -> tuple[int, ...]:
    """The axes of the inputs between time and population.

    **Raises:** `ValueError` if they cannot be told.
    """
    leaves, size = jax.tree.leaves(inputs), model.in_size
    shapes = {jnp.shape(leaf)[1:] for leaf in leaves}
    if isinstance(size, tuple) and len(shapes) == 1 and (shape := shapes.pop())[len(shape) - len(size) :] == size:
        return shape[: len(shape) - len(size)]
    raise ValueError(
        f"The batch axes cannot be told from `inputs` of the shapes {[jnp.shape(leaf) for leaf in leaves]} for a model "
        f"with the `in_size` {size}. Give arrays of shape (time, *batch, *in_size), or the batch axes or the state."
    )


def initial_state(model: Any, batch_shape: Size, key: Key | None) -> Any:
    """The state at the start, which draws as in `simulate`."""
    return model.init_state(batch_shape, key=None if key is None else jax.random.fold_in(key, _INIT_INDEX))


def keyed(key: Key | None, index: Array) -> dict[str, Key]:
    """The key of a step, as in `simulate`: none without a key."""
    return {} if key is None else {"key": jax.random.fold_in(key, index)}


def with_model(learner: L, updates: PyTree) -> L:
    return eqx.tree_at(lambda learner: learner.model, learner, eqx.apply_updates(learner.model, updates))


def as_scalar(loss: Any) -> Array:
    """What the loss of a step gave, checked.

    **Raises:** `ValueError` if it is not a scalar.
    """
    if jnp.shape(loss) != ():
        raise ValueError(
            f"`loss(output, target)` must give a scalar, got the shape {jnp.shape(loss)}. "
            "Take the mean or the sum over batch and outputs."
        )
    return jnp.asarray(loss, jnp.result_type(float))

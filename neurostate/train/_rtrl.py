"""Real-time recurrent learning: the exact gradient, forward in time."""

from __future__ import annotations

from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from .._custom_types import Array, Float, Int, Key, PyTree, QuantityLike, Size
from ._online import AbstractLearner, Loss, as_scalar, initial_state, keyed, split, with_model
from ._select import Where


class RTRLCarry(eqx.Module):
    """What `RTRL` carries from step to step.

    - `state`: The state of the model.
    - `influence`: The derivative of each floating array of the state with respect to each trained number, which are on
        the first axis.
    - `gradient`: The gradient up to now, for each trained number.
    - `loss`: The sum of the losses up to now.
    - `index`: The number of steps up to now.
    """

    state: Any
    influence: Any
    gradient: Float[Array, " trained"]
    loss: Float[Array, ""]
    index: Int[Array, ""]
    key: Key | None


class RTRL(AbstractLearner[RTRLCarry]):
    r"""Real-time recurrent learning (Williams and Zipser 1989, *Neural Computation* 1:270): the gradient of
    backpropagation through time, exactly, without going back.

    With the state $s^t = F(s^{t-1}, x^t, \theta)$ and the loss $\ell^t$ of its output, the influence of the parameters
    on the state is carried along, and gives the gradient of each step:

    $$M^t = \frac{\partial F}{\partial s} M^{t-1} + \frac{\partial F}{\partial \theta}, \qquad
    \frac{\mathrm{d}\ell^t}{\mathrm{d}\theta} = \frac{\partial \ell^t}{\partial s^{t-1}} M^{t-1} +
    \frac{\partial \ell^t}{\partial \theta}$$

    where $\ell^t$ is seen as a function of the state before the step. $M^0$ is the derivative of `model.init_state`, so
    that initial values are trained too. Elements of a batch have each its own influence.

    A step costs as much as one step of the model for each trained number, and the carry has the size of the state for
    each: this is for small models, and to test others. `model.step` is differentiated by `jax.jvp`; it may be any model
    that [`neurostate.simulate`][] runs.

    If weights change between steps, by `update`, then the influence is that of all the weights there have been, as
    usual for online learning.

    **Arguments:**

    - `model`: A cell or a network.
    - `loss`: A function `loss(output, target)` of the output of one step, which gives a scalar. The losses of all steps
        are added up; for their mean, divide by the number of steps.
    - `trained`: Which arrays of the model are trained, as [`neurostate.train.select`][] takes it, or a tuple of these.
        By default all arrays of floats, initial values included.

    **Raises:** as `select`; and `ValueError` if the loss is not a scalar.

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> learner = ns.train.RTRL(ns.LIF(2), lambda spikes, target: jnp.sum((spikes - target) ** 2))
    >>> carry = learner.init()
    >>> for _ in range(20):
    ...     carry, spikes = learner.step(carry, jnp.array([1.5, 2.0]), jnp.zeros(2), dt=1.0)
    >>> print(carry.loss, learner.gradients(carry).tau.shape)
    8.0 ()
    """

    model: Any
    loss: Loss
    trained: Where | tuple[Where, ...]

    def __init__(self, model: Any, loss: Loss, *, trained: Where | tuple[Where, ...] = ()):
        split(model, trained)
        self.model, self.loss, self.trained = model, loss, trained

    def init(self, batch_shape: Size = (), *, key: Key | None = None, state: PyTree = None) -> RTRLCarry:
        """What is remembered before the first step.

        **Arguments:**

        - `batch_shape`: The batch axes of the inputs.
        - `key`: A random key for the state at the start and for the steps, used as in [`neurostate.simulate`][].
        - `state`: The state at the start, which then does not depend on what is trained. By default
            `model.init_state(batch_shape)`.
        """
        params, rest = split(self.model, self.trained)
        numbers, unravel = ravel_pytree(params)

        def start(params: Any) -> tuple[Any, Any]:
            made = initial_state(eqx.combine(params, rest), batch_shape, key) if state is None else state
            return eqx.partition(made, eqx.is_inexact_array)

        def along(k: Array) -> Any:
            return jax.jvp(start, (params,), (_direction(unravel, numbers, k),), has_aux=True)

        moving, influence, fixed = jax.vmap(along, out_axes=(None, 0, None))(jnp.arange(numbers.size))
        return RTRLCarry(
            state=eqx.combine(moving, fixed),
            influence=influence,
            gradient=jnp.zeros_like(numbers),
            loss=jnp.zeros((), jnp.result_type(float)),
            index=jnp.zeros((), jnp.int32),
            key=key,
        )

    def step(self, carry: RTRLCarry, input: PyTree, target: PyTree, *, dt: QuantityLike) -> tuple[RTRLCarry, PyTree]:
        """Moves model and gradient forward by one step. See `AbstractLearner.step`."""
        params, rest = split(self.model, self.trained)
        numbers, unravel = ravel_pytree(params)
        before, kept = eqx.partition(carry.state, eqx.is_inexact_array)

        def advance(moving: Any, params: Any) -> tuple[Any, Any]:
            model = eqx.combine(params, rest)
            state, output = model.step(eqx.combine(moving, kept), input, dt=dt, **keyed(carry.key, carry.index))
            moving, fixed = eqx.partition(state, eqx.is_inexact_array)
            return (moving, as_scalar(self.loss(output, target))), (fixed, output)

        def along(k: Array, influence: Any) -> Any:
            return jax.jvp(advance, (before, params), (influence, _direction(unravel, numbers, k)), has_aux=True)

        run = jax.vmap(along, out_axes=(None, 0, None))
        (moving, loss), (influence, slope), (fixed, output) = run(jnp.arange(numbers.size), carry.influence)
        new = RTRLCarry(
            state=eqx.combine(moving, fixed),
            influence=influence,
            gradient=carry.gradient + slope.astype(numbers.dtype),
            loss=carry.loss + loss,
            index=carry.index + 1,
            key=carry.key,
        )
        return new, output

    def gradients(self, carry: RTRLCarry) -> PyTree:
        """The gradient of the sum of the losses. See `AbstractLearner.gradients`."""
        return ravel_pytree(split(self.model, self.trained)[0])[1](carry.gradient)

    def update(self, updates: PyTree) -> Self:
        """The learner with changed weights. See `AbstractLearner.update`."""
        return with_model(self, updates)

    def restart(self, carry: RTRLCarry) -> RTRLCarry:
        """The same carry, with the sums of losses and gradients at zero."""
        zeros = (jnp.zeros_like(carry.gradient), jnp.zeros_like(carry.loss))
        return eqx.tree_at(lambda carry: (carry.gradient, carry.loss), carry, zeros)


def _direction(unravel: Any, numbers: Array, k: Array) -> Any:
    """1 for the trained number `k`, and 0 for the others."""
    return unravel((jnp.arange(numbers.size) == k).astype(numbers.dtype))

"""Normalisation over the batch, step by step."""

from __future__ import annotations

from typing import Any, ClassVar, Self, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Float, Int, Key, QuantityLike, Shape, Size, as_shape
from .._units import argument, mV, to_plain
from ..network.sequential import Sequential, SequentialState
from ._inference import either
from ._layer_norm import check_size
from ._sized import AbstractSizedLayer


Model = TypeVar("Model")


class BatchNormState(eqx.Module):
    """The state of `BatchNorm`: the running mean and variance, and with `num_steps` the number of the next step."""

    mean: Float[Array, "..."]
    var: Float[Array, "..."]
    i: Int[Array, ""] | None


class BatchNorm(AbstractSizedLayer):
    r"""Normalisation over the batch in each step, with running statistics for inference.

    $$y = \alpha\,V_\text{th}\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\,w + b$$

    $\mu$ and $\sigma^2$ are the mean and variance over all axes of `x` but the last one, which has the neurons of a
    line or the channels of an image. With `inference`, which `equinox.nn.inference_mode(model)` sets, they are the
    running statistics, as they were when the state was made.

    - Kim and Panda (2021), BNTT: `num_steps=T, use_bias=False`. Each step has a weight and running statistics of its
      own.
    - Zheng et al. (2021), tdBN: `alpha=1.0, V_th=cell.V_th`. There the mean is over time too. A step cannot do that,
      but one call for all steps can: `state, ys = norm.step(state, xs, dt=dt)` for `xs` of shape
      `(time, batch, *size)`, between two layers that are run one after the other.

    The running statistics are in the state, `mean = momentum * mean + (1 - momentum) * mean of the batch` in each step,
    and `var` likewise with the unbiased variance. No gradient goes through them. A new state starts from those in the
    layer, so a training step puts them back into the model, after the optimizer:

        model = ns.layers.with_statistics(model, solution.state)

    `ns.train.fit` does not do that, and leaves them as they are. After it, run the trained model over some batches with
    this line.

    **Arguments:**

    - `size`: The shape of the population.
    - `num_steps`: Over how many steps the weight, bias and running statistics differ; later steps are as the last
        one. By default they are the same for all.
    - `alpha`, `V_th`: Constant factors. `V_th` is a voltage, in mV if it is a plain number.
    - `momentum`: How much of the running statistics stays in each step, from 0 to 1.
    - `epsilon`: What is added to the variance, from 0 on.
    - `use_scale`, `use_bias`: Whether there are a weight $w$ and a bias $b$ that can be trained.
    - `inference`: Whether to use the running statistics.

    **Raises:** `ValueError` for a size without axes, or a setting out of range; for an input whose shape does not end
    in `size`, or which has no batch axis while the layer is trained.

    >>> import equinox as eqx, jax.numpy as jnp, neurostate as ns
    >>> norm = ns.layers.BatchNorm(2, momentum=0.0)
    >>> x = jnp.array([[[1.0, 0.0], [3.0, 8.0]]])  # (time, batch, neuron)
    >>> sol = ns.simulate(norm, x, dt=1.0)
    >>> print(sol.outputs.round(3))
    [[[-1. -1.]
      [ 1.  1.]]]
    >>> norm = eqx.nn.inference_mode(ns.layers.with_statistics(norm, sol.state))
    >>> print(norm.mean, ns.simulate(norm, x[:, 0], dt=1.0).outputs.round(2))
    [2. 4.] [[-0.71 -0.71]]
    """

    scale: Float[Array, "..."] | None
    bias: Float[Array, "..."] | None
    # Marked, so that training leaves them alone.
    mean: Float[Array, "..."] = eqx.field(metadata={"statistics": True})
    var: Float[Array, "..."] = eqx.field(metadata={"statistics": True})
    inference: bool
    size: Shape = eqx.field(static=True)
    num_steps: int | None = eqx.field(static=True)
    factor: float = eqx.field(static=True)
    momentum: float = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)

    state_type: ClassVar[type[BatchNormState]] = BatchNormState

    def __init__(
        self,
        size: Size,
        *,
        num_steps: int | None = None,
        alpha: float = 1.0,
        V_th: QuantityLike = 1.0,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        use_scale: bool = True,
        use_bias: bool = True,
        inference: bool = False,
    ):
        self.size, self.num_steps, self.inference = as_shape(size), num_steps, inference
        if not self.size:
            raise ValueError("`BatchNorm` needs a `size` of at least one axis, got ().")
        if num_steps is not None and num_steps < 1:
            raise ValueError(f"{argument('BatchNorm', 'num_steps')} must be a positive int, got {num_steps!r}.")
        if not 0 <= momentum <= 1:
            raise ValueError(f"{argument('BatchNorm', 'momentum')} must be from 0 to 1, got {momentum!r}.")
        if not epsilon >= 0:
            raise ValueError(f"{argument('BatchNorm', 'epsilon')} must not be negative, got {epsilon!r}.")
        self.factor = float(alpha) * float(to_plain(V_th, mV, "V_th", "BatchNorm"))
        self.momentum, self.epsilon = float(momentum), float(epsilon)
        shape = (*(() if num_steps is None else (num_steps,)), self.size[-1])
        self.mean, self.var = jnp.zeros(shape), jnp.ones(shape)
        self.scale = jnp.ones(shape) if use_scale else None
        self.bias = jnp.zeros(shape) if use_bias else None

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> BatchNormState:
        """The running statistics of the layer, without batch axes. `key` is not used."""
        del batch_shape, key
        mean, var = jax.lax.stop_gradient((self.mean, self.var))
        return BatchNormState(mean, var, None if self.num_steps is None else jnp.asarray(0, jnp.int32))

    def step(
        self, state: BatchNormState, input: Float[Array, "..."], /, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[BatchNormState, Array]:
        """Normalises the input of one step. `dt` and `key` are not used."""
        del dt, key
        x: Any = jnp.asarray(input)
        check_size(x.shape, self.size, "BatchNorm.step")
        if x.ndim == len(self.size) and self.inference is False:
            raise ValueError(
                f"`BatchNorm` averages over the batch, but got an input of the shape {x.shape} without a batch axis. "
                "Give inputs of shape (time, batch, *size) rather than using `vmap`, or use the running statistics: "
                "`equinox.nn.inference_mode(model)`."
            )
        at = (lambda values: values) if state.i is None else (lambda values: values[state.i])
        running = (at(state.mean), at(state.var))
        used, new = either(self.inference, lambda: (running, running), lambda: self._statistics(x, running))
        y = self.factor * (x - used[0]) * jax.lax.rsqrt(used[1] + self.epsilon)
        y = y if self.scale is None else y * at(self.scale)
        y = y if self.bias is None else y + at(self.bias)
        return self._updated(state, *new), y.astype(x.dtype)

    def _statistics(self, x: Array, running: tuple[Array, Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """The mean and variance of a batch, and with these the new running ones."""
        axes = tuple(range(x.ndim - 1))
        mean, var = x.mean(axes), x.var(axes)
        count = x.size // x.shape[-1]

        def mixed(old: Array, batch: Array) -> Array:
            batch = jax.lax.stop_gradient(batch).astype(old.dtype)
            return self.momentum * old + (1 - self.momentum) * batch

        return (mean, var), (mixed(running[0], mean), mixed(running[1], var * (count / max(count - 1, 1))))

    def _updated(self, state: BatchNormState, mean: Array, var: Array) -> BatchNormState:
        if state.i is None or self.num_steps is None:
            return BatchNormState(mean, var, None)
        following = jnp.minimum(state.i + 1, self.num_steps - 1)
        return BatchNormState(state.mean.at[state.i].set(mean), state.var.at[state.i].set(var), following)

    def with_statistics(self, state: BatchNormState) -> Self:
        """The same layer with the running statistics of a state."""
        mean, var = jax.lax.stop_gradient((state.mean, state.var))
        return eqx.tree_at(lambda norm: (norm.mean, norm.var), self, (mean, var))


def with_statistics(model: Model, state: Any) -> Model:
    """The same model with the running statistics of all its `BatchNorm`s after a run.

    A model without `BatchNorm` comes back as it is. After the optimizer it also undoes what that did to the old
    statistics, such as a decay of weights.

    **Arguments:**

    - `model`: A `BatchNorm`, or a [`neurostate.Sequential`][], also of such.
    - `state`: Its state after the run.

    **Raises:** `TypeError` for a model of another kind with a `BatchNorm` in it; there use
    `norm.with_statistics(state)` of the layer.
    """
    if isinstance(model, BatchNorm) and isinstance(state, BatchNormState):
        return model.with_statistics(state)
    if isinstance(model, Sequential) and isinstance(state, SequentialState):
        layers = tuple(map(with_statistics, model.layers, state.layers))
        return eqx.tree_at(lambda net: net.layers, model, layers)
    is_norm = lambda part: isinstance(part, BatchNorm)  # noqa: E731
    if any(map(is_norm, jax.tree.leaves(model, is_leaf=is_norm))):
        raise TypeError(
            f"`with_statistics` does not know where in a `{type(state).__name__}` the statistics of a "
            f"`{type(model).__name__}` are. Put `norm.with_statistics(state)` in the place of each `BatchNorm` with "
            "`equinox.tree_at`."
        )
    return model

"""Normalisation of the population."""

from __future__ import annotations

import math

import equinox as eqx
import jax

from .._custom_types import Array, Float, Shape, Size, as_shape
from ..network._layer import AbstractLayer


class LayerNorm(AbstractLayer):
    r"""Normalisation over the population, in each step and for each member of a batch (Ba et al. 2016).

    $$y = \frac{x - \text{mean}(x)}{\sqrt{\text{var}(x) + \epsilon}} \, w + b$$

    That of [`equinox.nn.LayerNorm`][], for arrays with batch axes in front. It has no state: in a
    [`neurostate.Sequential`][] it is a function of the array.

    **Arguments:**

    - `size`: The shape of the population, all of which is averaged over.
    - `epsilon`: What is added to the variance.
    - `use_scale`, `use_bias`: Whether there are a weight $w$ and a bias $b$, of the shape `size`, that can be trained.

    **Raises:** `ValueError` when called with an array whose shape does not end in `size`.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.layers.LayerNorm(2)(jnp.array([[1.0, 3.0], [0.0, 8.0]])).round(3))
    [[-1.  1.]
     [-1.  1.]]
    """

    norm: eqx.nn.LayerNorm

    def __init__(self, size: Size, *, epsilon: float = 1e-5, use_scale: bool = True, use_bias: bool = True):
        self.norm = eqx.nn.LayerNorm(as_shape(size), epsilon, use_scale, use_bias)

    @property
    def in_size(self) -> Shape:
        """The shape of the input, without time and batch axes."""
        return tuple(self.norm.shape)

    @property
    def out_size(self) -> Shape:
        """The shape of the output, without time and batch axes."""
        return self.in_size

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        check_size(x.shape, self.in_size, "LayerNorm")
        batch = x.shape[: x.ndim - len(self.in_size)]
        return jax.vmap(self.norm)(x.reshape(math.prod(batch), *self.in_size)).reshape(x.shape)


def check_size(shape: Shape, size: Shape, owner: str) -> None:
    """Refuses an array whose shape does not end in `size`."""
    if shape[max(len(shape) - len(size), 0) :] != size:
        raise ValueError(
            f"`{owner}` got an input of shape {shape}, but is for a population of the size {size}. The last axes of "
            "the input must be that size, with any batch axes in front."
        )

"""A matrix of weights and a bias."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size, as_shape
from .._parameters import parameter
from .._units import argument, as_float_array, to_plain
from ..init import KaimingNormal, param
from ..network._layer import AbstractLayer


class Linear(AbstractLayer):
    r"""Weighted sums of the inputs, and a bias.

    $$y_j = b_j + \sum_i x_i\,W_{ij}$$

    A [`neurostate.connect.Dense`][] with a bias, for layers: without units, masks and delays.

    **Arguments:**

    - `in_size`, `out_size`: Numbers of inputs and outputs.
    - `weight`: The weights, of shape `(in_size, out_size)`, a number for all, or an initialiser.
    - `bias`: A number or an array over the outputs, or `None` for a layer without.
    - `key`: A random key, for an initialiser that draws.

    **Raises:** `ValueError` for a wrong shape; `UnitError` for a value with a dimension.

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> layer = ns.layers.Linear(3, 2, bias=1.0, key=jax.random.key(0))
    >>> print(layer(jnp.zeros((5, 3))).shape, layer(jnp.zeros(3)))
    (5, 2) [1. 1.]
    """

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"] | None

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        weight: QuantityLike | Callable[..., Any] = KaimingNormal(),
        bias: QuantityLike | None = 0.0,
        *,
        key: Key | None = None,
    ):
        shape = (math.prod(as_shape(in_size)), math.prod(as_shape(out_size)))
        array = as_float_array(to_plain(param(weight, shape, allow_none=False, key=key), None, "weight", "Linear"))
        if array.shape not in (shape, ()):
            raise ValueError(f"{argument('Linear', 'weight')} must have the shape {shape}, got {array.shape}.")
        self.weight = jnp.broadcast_to(array, shape)
        if bias is None:
            self.bias = None
        else:
            bias = parameter(bias, None, "bias", size=shape[1:], owner="Linear")
            self.bias = jnp.broadcast_to(bias, shape[1:])

    @property
    def in_size(self) -> Shape:
        """The shape of the input, without time and batch axes."""
        return self.weight.shape[:1]

    @property
    def out_size(self) -> Shape:
        """The shape of the output, without time and batch axes."""
        return self.weight.shape[1:]

    def __call__(self, x: Float[Array, "*axes inputs"]) -> Float[Array, "*axes outputs"]:
        """The output, with the axes in front of the input's."""
        x = jnp.asarray(x)
        if x.shape[-1:] != self.in_size:
            raise ValueError(f"`Linear` got an input of shape {x.shape}, whose last axis must be {self.in_size[0]}.")
        x = x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.result_type(float))
        # As one product of two matrices, which is faster than one of three axes.
        y = (x.reshape(-1, x.shape[-1]) @ self.weight.astype(x.dtype)).reshape(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias.astype(x.dtype)

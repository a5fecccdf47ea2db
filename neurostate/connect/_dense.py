"""Connections from every neuron to every neuron."""

from __future__ import annotations

import math
from typing import Any, Self

import jax.numpy as jnp

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size, as_shape
from .._units import Unit, argument
from ..neuron._fields import static_field
from ._base import AbstractConnection, hidden_field, replaced, unit_field, weight_field, weights


class Dense(AbstractConnection):
    r"""A matrix of weights, with a row for each neuron in front and a column for each one behind.

    $$y_j = \sum_i x_i\,W_{ij}$$

    **Arguments:**

    - `in_size`, `out_size`: The shapes of the two populations. One of more than one axis is counted in C order.
    - `weight`: A matrix of shape `(num_in, num_out)` or a scalar, in any unit, or an initialiser, called with that
        shape and `key`. It can be trained.
    - `mask`: Where there are synapses: a matrix of `True` and `False`. Elsewhere the weights are and stay zero.
    - `sign`: 1 or -1 for each neuron in front: its weights are then `sign * abs(weight)`, whatever training makes of
        `weight` (Dale's law).
    - `key`: A random key, for weights that are drawn.

    **Raises:** `ValueError` for a wrong shape, or a `sign` that is not 1 or -1; `TypeError` for what is not numeric.

    >>> import brainunit as u, jax, jax.numpy as jnp, neurostate as ns
    >>> connection = ns.connect.Dense(2, 3, ns.init.Normal(0.0, 1.0), sign=[1, -1], key=jax.random.key(0))
    >>> print(jnp.sign(connection.matrix()))
    [[ 1.  1.  1.]
     [-1. -1. -1.]]
    """

    weight: Float[Array, "..."] = weight_field()
    mask: Array | None = hidden_field()
    sign: Array | None = hidden_field()
    in_size: Shape = static_field()
    out_size: Shape = static_field()
    I_unit: Unit = unit_field()

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        weight: QuantityLike = 1.0,
        *,
        mask: Any = None,
        sign: Any = None,
        key: Key | None = None,
    ):
        self.in_size, self.out_size = as_shape(in_size), as_shape(out_size)
        shape = (math.prod(self.in_size), math.prod(self.out_size))
        array, self.I_unit = weights(weight, shape, "Dense", key)
        self.weight = jnp.broadcast_to(array, shape)
        self.mask = None if mask is None else jnp.asarray(mask, bool)
        if self.mask is not None and self.mask.shape != shape:
            raise ValueError(f"{argument('Dense', 'mask')} must have the shape {shape}, got {self.mask.shape}.")
        self.sign = None if sign is None else jnp.asarray(sign, jnp.int8)
        if self.sign is not None and (self.sign.shape != shape[:1] or not bool(jnp.all(jnp.abs(self.sign) == 1))):
            raise ValueError(
                f"{argument('Dense', 'sign')} must be 1 or -1 for each of {shape[0]} neurons, got {sign!r}."
            )

    def effective(self) -> Float[Array, "num_in num_out"]:
        """The weights that act, with `mask` and `sign`."""
        weight = self.weight
        if self.sign is not None:
            weight = jnp.abs(weight) * self.sign[:, None].astype(weight.dtype)
        return weight if self.mask is None else jnp.where(self.mask, weight, 0)

    def sum(self, x: Float[Array, "batch num_in"]) -> Float[Array, "batch num_out"]:
        return x @ self.effective().astype(x.dtype)

    def at_pre(self, x: Float[Array, " num_in"]) -> Float[Array, "num_in 1"]:
        return x[:, None]

    def at_post(self, y: Float[Array, " num_out"]) -> Float[Array, "1 num_out"]:
        return y[None, :]

    def scaled(self, factor: float, I_unit: Unit) -> Self:
        return replaced(self, weight=self.weight * factor, I_unit=I_unit)

    @property
    def num_synapses(self) -> int:
        return self.weight.size if self.mask is None else int(self.mask.sum())

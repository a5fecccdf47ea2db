"""Connections of each neuron with the one of the same index."""

from __future__ import annotations

import math
from typing import Self

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size, as_shape
from .._units import Unit
from ..neuron._fields import static_field
from ._base import AbstractConnection, replaced, unit_field, weight_field, weights


class OneToOne(AbstractConnection):
    r"""A synapse from each neuron to the one of the same index.

    $$y_i = w_i\,x_i$$

    **Arguments:**

    - `size`: The shape of both populations.
    - `weight`: A scalar or one weight for each neuron, in any unit, or an initialiser. It can be trained.
    - `key`: A random key, for weights that are drawn.

    **Raises:** `ValueError` for a wrong shape; `TypeError` for what is not numeric.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.connect.OneToOne(3, 2.0)(jnp.array([1.0, 0.0, 1.0])))
    [2. 0. 2.]
    """

    weight: Float[Array, "..."] = weight_field()
    in_size: Shape = static_field()
    out_size: Shape = static_field()
    I_unit: Unit = unit_field()

    def __init__(self, size: Size, weight: QuantityLike = 1.0, *, key: Key | None = None):
        self.in_size = self.out_size = as_shape(size)
        array, self.I_unit = weights(weight, self.in_size, "OneToOne", key)
        self.weight = array.reshape(-1) if array.ndim else array

    def sum(self, x: Float[Array, "batch num_in"]) -> Float[Array, "batch num_out"]:
        return x * self.weight.astype(x.dtype)

    def at_pre(self, x: Float[Array, " num_in"]) -> Float[Array, " num_in"]:
        return x

    def at_post(self, y: Float[Array, " num_out"]) -> Float[Array, " num_out"]:
        return y

    def scaled(self, factor: float, I_unit: Unit) -> Self:
        return replaced(self, weight=self.weight * factor, I_unit=I_unit)

    @property
    def num_synapses(self) -> int:
        return math.prod(self.in_size)

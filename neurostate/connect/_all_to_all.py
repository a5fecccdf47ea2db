"""Connections from every neuron to every neuron with one weight."""

from __future__ import annotations

import math
from typing import Self

import jax.numpy as jnp

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size, as_shape
from .._units import Unit
from ..neuron._fields import static_field
from ._base import replaced, unit_field, weight_field, weights
from ._draws import check_square
from ._shared import AbstractShared


class AllToAll(AbstractShared):
    r"""A synapse from every neuron to every neuron, all of one weight.

    $$y_j = w \sum_i x_i$$

    The cost of a call is that of the two populations, not of their product. For a weight of each synapse see
    [`neurostate.connect.Dense`][].

    **Arguments:**

    - `in_size`, `out_size`: The shapes of the two populations.
    - `weight`: A scalar in any unit, or an initialiser. It can be trained.
    - `autapses`: Whether a neuron is connected to itself, where both are one population.
    - `key`: A random key, for a weight that is drawn.

    **Raises:** `ValueError` for a weight that is not a scalar, or different sizes without autapses; `TypeError` for
    what is not numeric.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.connect.AllToAll(3, 3, 2.0, autapses=False)(jnp.array([1.0, 0.0, 1.0])))
    [2. 4. 2.]
    """

    weight: Float[Array, ""] = weight_field()
    in_size: Shape = static_field()
    out_size: Shape = static_field()
    autapses: bool = static_field()
    I_unit: Unit = unit_field()

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        weight: QuantityLike = 1.0,
        *,
        autapses: bool = True,
        key: Key | None = None,
    ):
        self.in_size, self.out_size, self.autapses = as_shape(in_size), as_shape(out_size), bool(autapses)
        if not autapses:
            check_square(in_size, out_size, "AllToAll")
        self.weight, self.I_unit = weights(weight, (), "AllToAll", key)

    def sum(self, x: Float[Array, "batch num_in"]) -> Float[Array, "batch num_out"]:
        total = x.sum(1, keepdims=True)
        total = total if self.autapses else total - x
        return jnp.broadcast_to(self.weight.astype(x.dtype) * total, (x.shape[0], math.prod(self.out_size)))

    def scaled(self, factor: float, I_unit: Unit) -> Self:
        return replaced(self, weight=self.weight * factor, I_unit=I_unit)

    @property
    def num_synapses(self) -> int:
        return math.prod(self.in_size) * (math.prod(self.out_size) - (not self.autapses))

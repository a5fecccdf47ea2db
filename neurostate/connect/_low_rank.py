"""Connections whose matrix of weights is a product of two thin ones."""

from __future__ import annotations

import math
from typing import Self

import jax
import jax.numpy as jnp

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size, as_shape
from .._errors import UnitError
from .._units import Unit, argument, unitless
from ..neuron._fields import static_field
from ._base import replaced, unit_field, weight_field, weights
from ._draws import check_count
from ._shared import AbstractShared


class LowRank(AbstractShared):
    r"""A matrix of weights of low rank, given by its factors.

    $$y = (x\,L)\,R$$

    A call costs `rank * (num_in + num_out)`, and so do the weights in memory.

    **Arguments:**

    - `in_size`, `out_size`: The shapes of the two populations.
    - `rank`: The rank: through how many numbers all goes.
    - `left`: A matrix of shape `(num_in, rank)` without unit, or an initialiser. It can be trained.
    - `right`: A matrix of shape `(rank, num_out)` in any unit, or an initialiser. It can be trained.
    - `key`: A random key, for weights that are drawn.

    **Raises:** `ValueError` for wrong shapes; `UnitError` if `left` has a unit; `TypeError` for what is not numeric.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> connection = ns.connect.LowRank(2, 3, 1, [[1.0], [2.0]], [[1.0, 0.0, -1.0]])
    >>> print(connection.matrix())
    [[ 1.  0. -1.]
     [ 2.  0. -2.]]
    """

    left: Float[Array, "num_in rank"]
    right: Float[Array, "rank num_out"] = weight_field()
    in_size: Shape = static_field()
    out_size: Shape = static_field()
    I_unit: Unit = unit_field()

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        rank: int,
        left: QuantityLike,
        right: QuantityLike,
        *,
        key: Key | None = None,
    ):
        self.in_size, self.out_size = as_shape(in_size), as_shape(out_size)
        rank = check_count(rank, None, "LowRank", "rank")
        keys = (None, None) if key is None else jax.random.split(key)
        left_shape, right_shape = (math.prod(self.in_size), rank), (rank, math.prod(self.out_size))
        left, unit = weights(left, left_shape, "LowRank", keys[0], "left")
        if unit is not unitless:
            raise UnitError(f"{argument('LowRank', 'left')} must have no unit, but it has {unit}. Give it to `right`.")
        right, self.I_unit = weights(right, right_shape, "LowRank", keys[1], "right")
        self.left, self.right = jnp.broadcast_to(left, left_shape), jnp.broadcast_to(right, right_shape)

    def sum(self, x: Float[Array, "batch num_in"]) -> Float[Array, "batch num_out"]:
        return (x @ self.left.astype(x.dtype)) @ self.right.astype(x.dtype)

    def scaled(self, factor: float, I_unit: Unit) -> Self:
        return replaced(self, right=self.right * factor, I_unit=I_unit)

    @property
    def num_synapses(self) -> int:
        return math.prod(self.in_size) * math.prod(self.out_size)

"""Sparse connections whose cost is that of all synapses."""

from __future__ import annotations

import math
from typing import Self

import jax.numpy as jnp

from .._custom_types import Array, Float, Int, Key, QuantityLike, Shape, as_shape
from .._units import Unit
from ..neuron._fields import static_field
from ._base import AbstractConnection, hidden_field, replaced, unit_field, weight_field
from ._edges import Edges
from ._event_sparse import edge_weights
from ._every import sum_over_synapses


class Sparse(AbstractConnection):
    r"""Sparse synapses, all of which are looked at.

    $$y_j = \sum_k w_k\,x_{\text{pre}(k)}, \quad \text{post}(k) = j$$

    For inputs that are seldom zero, or that have a batch, and for training, whose backward pass needs all synapses. For
    spikes see [`neurostate.connect.EventSparse`][].

    **Arguments:**

    - `edges`: Which neuron is connected to which; see [`neurostate.connect.Edges`][] and the generators beside it.
    - `weight`: One weight for all synapses, or one for each of them in the order of the edges, in any unit; or an
        initialiser, called with the number of synapses and `key`. It can be trained.
    - `key`: A random key, for weights that are drawn.

    **Raises:** `ValueError` without edges, or for weights of a wrong shape; `TypeError` for what is not numeric.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> edges = ns.connect.Edges([0, 0, 2], [0, 1, 1], in_size=3, out_size=2)
    >>> print(ns.connect.Sparse(edges, [1.0, 2.0, 3.0])(jnp.array([1.0, 0.0, 0.5])))
    [1.  3.5]
    """

    pre: Int[Array, " synapses"] = hidden_field()
    post: Int[Array, " synapses"] = hidden_field()
    weight: Float[Array, "..."] = weight_field()
    order: Array | None = hidden_field()
    in_size: Shape = static_field()
    out_size: Shape = static_field()
    I_unit: Unit = unit_field()

    def __init__(self, edges: Edges, weight: QuantityLike = 1.0, *, key: Key | None = None):
        self.weight, self.I_unit = edge_weights(edges, weight, "Sparse", key)
        self.pre, self.post = jnp.asarray(edges.pre), jnp.asarray(edges.post)
        self.order = None if edges.order is None else jnp.asarray(edges.order, jnp.int32)
        self.in_size, self.out_size = as_shape(edges.in_size), as_shape(edges.out_size)

    def sum(self, x: Float[Array, "batch num_in"]) -> Float[Array, "batch num_out"]:
        return sum_over_synapses(self.pre, self.post, x, self.weight, math.prod(self.out_size))

    def at_pre(self, x: Float[Array, " num_in"]) -> Float[Array, " synapses"]:
        return x[self.pre]

    def at_post(self, y: Float[Array, " num_out"]) -> Float[Array, " synapses"]:
        return y[self.post]

    def in_order(self, values: Array) -> Array:
        return values if self.order is None else values[self.order]

    def scaled(self, factor: float, I_unit: Unit) -> Self:
        return replaced(self, weight=self.weight * factor, I_unit=I_unit)

    @property
    def num_synapses(self) -> int:
        return self.pre.shape[0]

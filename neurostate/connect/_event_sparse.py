"""Sparse connections whose cost follows the spikes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Float, Key, QuantityLike, Shape, as_shape
from .._units import Unit, argument
from ..neuron._fields import static_field
from . import _kernel
from ._base import AbstractConnection, hidden_field, replaced, unit_field, update_all, weight_field, weights
from ._edges import Edges
from ._learning import Columns, update
from ._rows import Rows, deliver


class EventSparse(AbstractConnection):
    r"""Sparse synapses, of which only those of the neurons that spike are looked at.

    $$y_j = \sum_k w_k\,x_{\text{pre}(k)}, \quad \text{post}(k) = j$$

    The cost of a call follows how many neurons spike in it, and not the number of synapses. It is exact whatever that
    number is. Its gradient with respect to the weights and to `x` is that of all synapses, silent ones too, because a
    surrogate gradient is not zero there, and costs as much as [`neurostate.connect.Sparse`][].

    **Arguments:**

    - `edges`: Which neuron is connected to which; see [`neurostate.connect.Edges`][] and the generators beside it.
    - `weight`: One weight for all synapses, or one for each of them in the order of the edges, in any unit; or an
        initialiser, called with the number of synapses and `key`. It can be trained.
    - `values`: `"graded"` multiplies a weight by the value of `x`, exact for any `x`. `"binary"` takes each nonzero
        value for a 1, which saves a multiplication.
    - `learns_by_events`: Makes an index of the synapses by the neuron behind, 8 bytes for each synapse, so that a
        plasticity rule looks only at the synapses of neurons that spike. Derivatives still cost all synapses. By
        default a rule looks at all synapses.
    - `debug`: With `values="binary"`, checks that each value is 0 or 1, and raises when the program runs if not.
    - `backend`: `"jax"`, or `"compiled"` for a C++ kernel on a CPU. It delivers spikes in about 0.6 of the time, but
        is slower where each synapse has a delay of its own: measure. It is built when it is first asked for, in
        seconds, and needs a C++ compiler; see `neurostate.connect.kernel_is_available`. On other devices, and for
        derivatives, both are the same.
    - `key`: A random key, for weights that are drawn.

    **Raises:** `ValueError` without edges, or for weights of a wrong shape; `TypeError` for what is not numeric;
    `RuntimeError` if the kernel cannot be built.

    >>> import brainunit as u, jax, jax.numpy as jnp, neurostate as ns
    >>> edges = ns.connect.Edges([0, 0, 2], [0, 1, 1], in_size=3, out_size=2)
    >>> connection = ns.connect.EventSparse(edges, [1.0, 2.0, 3.0] * u.nS)
    >>> print(connection(jnp.array([1.0, 0.0, 1.0])), connection.I_unit)
    [1. 5.] nS
    """

    rows: Rows = hidden_field()
    weight: Float[Array, "..."] = weight_field()
    order: Array | None = hidden_field()
    columns: Columns | None = hidden_field()
    in_size: Shape = static_field()
    out_size: Shape = static_field()
    values: Literal["graded", "binary"] = static_field()
    debug: bool = static_field()
    I_unit: Unit = unit_field()

    def __init__(
        self,
        edges: Edges,
        weight: QuantityLike = 1.0,
        *,
        values: Literal["graded", "binary"] = "graded",
        learns_by_events: bool = False,
        debug: bool = False,
        backend: Literal["jax", "compiled"] = "jax",
        key: Key | None = None,
    ):
        owner = type(self).__name__
        if values not in ("graded", "binary"):
            raise ValueError(f"{argument(owner, 'values')} must be 'graded' or 'binary', got {values!r}.")
        self.weight, self.I_unit = edge_weights(edges, weight, owner, key)
        if backend not in ("jax", "compiled"):
            raise ValueError(f"{argument(owner, 'backend')} must be 'jax' or 'compiled', got {backend!r}.")
        if backend == "compiled":
            _kernel.load()
        self.rows = Rows.of(edges, compiled=backend == "compiled")
        self.order = None if edges.order is None else jnp.asarray(edges.order, jnp.int32)
        self.columns = Columns.of(edges) if learns_by_events else None
        self.in_size, self.out_size = as_shape(edges.in_size), as_shape(edges.out_size)
        self.values, self.debug = values, bool(debug)

    def sum(self, x: Float[Array, "batch num_in"]) -> Float[Array, "batch num_out"]:
        if self.debug and self.values == "binary":
            wrong = jnp.any((x != 0) & (x != 1))
            x = eqx.error_if(x, wrong, "`EventSparse` with `values='binary'` got a value that is neither 0 nor 1.")
        return deliver(self.rows, x, self.weight, self.values == "graded")

    def at_pre(self, x: Float[Array, " num_in"]) -> Float[Array, " synapses"]:
        return x[self.rows.sources()]

    def at_post(self, y: Float[Array, " num_out"]) -> Float[Array, " synapses"]:
        return y[self.rows.targets]

    def update_pre(self, weight: Array, spike: Array, new: Callable[..., Array], *at_post: Array) -> Array:
        if self.columns is None:
            return update_all(weight, self.at_pre(spike), new, *map(self.at_post, at_post))
        return update(self.rows, None, weight, spike, new, at_post)

    def update_post(self, weight: Array, spike: Array, new: Callable[..., Array], *at_pre: Array) -> Array:
        if self.columns is None:
            return update_all(weight, self.at_post(spike), new, *map(self.at_pre, at_pre))
        return update(self.rows, self.columns, weight, spike, new, at_pre)

    def in_order(self, values: Array) -> Array:
        return values if self.order is None else values[self.order]

    def scaled(self, factor: float, I_unit: Unit) -> Self:
        return replaced(self, weight=self.weight * factor, I_unit=I_unit)

    @property
    def num_synapses(self) -> int:
        return self.rows.targets.shape[0]


def edge_weights(edges: Edges, weight: QuantityLike, owner: str, key: Key | None) -> tuple[Array, Unit]:
    """The weights of the synapses, in the order in which they are kept."""
    if not isinstance(edges, Edges):
        raise TypeError(f"{argument(owner, 'edges')} must be `Edges`, got {edges!r:.60}.")
    if not len(edges):
        raise ValueError(f"`{owner}` needs at least one synapse, but its edges are empty: {edges!r}.")
    array, unit = weights(weight, (len(edges),), owner, key)
    return (array[edges.order] if array.ndim and edges.order is not None else array), unit

"""Weights of another precision than the states."""

from __future__ import annotations

from typing import Any, TypeVar

import equinox as eqx
import jax
from jax.typing import DTypeLike

from ..connect._base import AbstractConnection
from ._linear import Linear


Model = TypeVar("Model")


def cast(model: Model, dtype: DTypeLike) -> Model:
    """The same model with the weights of all its connections and `Linear` layers in another dtype, and nothing else.

    The states, and so all that is summed over time, stay as they were. A connection widens its weights to the dtype of
    what it is called with before it multiplies, so sums over synapses are of that precision too: it is the weights that
    are rounded, and that take half the memory. Their gradient arrives in their own dtype.

    An optimizer that adds small steps to weights in bfloat16 loses those below about 1/256 of the weight. Either give
    it weights in float32 and cast inside the loss, `loss(cast(model, jnp.bfloat16))`, whose gradient is in float32, or
    cast once and take steps that are large enough.

    For one part of a model: `equinox.tree_at(lambda m: m[0], model, replace_fn=lambda c: cast(c, jnp.bfloat16))`.

    **Arguments:**

    - `model`: A connection, or any pytree that holds some.
    - `dtype`: A floating dtype, such as `jnp.bfloat16`.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> net = ns.layers.cast(ns.Sequential(ns.connect.Dense(2, 3), ns.LIF(3)), jnp.bfloat16)
    >>> net[0].weight.dtype, net[1].tau.dtype, ns.simulate(net, jnp.ones((5, 2)), dt=1.0).outputs.dtype
    (dtype(bfloat16), dtype('float32'), dtype('float32'))
    """

    def converted(part: Any) -> Any:
        if not isinstance(part, AbstractConnection | Linear):
            return part
        return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, part)

    return jax.tree.map(converted, model, is_leaf=lambda part: isinstance(part, AbstractConnection | Linear))

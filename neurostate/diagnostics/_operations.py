"""How many synaptic operations a network needs, and how many an artificial one of its shape."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Float, Key, QuantityLike
from .._units import is_traced
from ..connect import AbstractConnection, Conv, Dense, LowRank, OneToOne, Procedural
from ..layers import Linear
from ..network import Recurrent, Sequential
from ..readout import LeakyRateReadout, LeakySpikeReadout
from ._layers import layer_outputs, named_layers


class SynapticOperations(eqx.Module):
    """What `synaptic_operations` tells, by the name of the layer with the synapses.

    - `operations`: The synaptic operations of a run, for one member of the batch, on average.
    - `macs`: The multiply-accumulates of one pass through an artificial network of that shape.
    """

    operations: dict[str, Float[Array, ""]]
    macs: dict[str, int] = eqx.field(static=True)

    @property
    def total(self) -> Float[Array, ""]:
        """The synaptic operations of all layers."""
        return jnp.asarray(sum(self.operations.values()))

    @property
    def total_macs(self) -> int:
        """The multiply-accumulates of all layers."""
        return sum(self.macs.values())

    def __repr__(self) -> str:
        counts = [*((name, self.operations[name], macs) for name, macs in self.macs.items())]
        counts.append(("total", self.total, self.total_macs))
        shown = lambda n: eqx.tree_pformat(n) if is_traced(n) else f"{float(n):,.1f}"  # noqa: E731
        lines = [f"  {name}: {shown(n)} synaptic operations, {macs:,} MACs" for name, n, macs in counts]
        return "\n".join(["SynapticOperations(", *lines, ")"])


def synaptic_operations(
    model: AbstractConnection | Sequential,
    inputs: Any,
    *,
    dt: QuantityLike = 1.0,
    state: Any = None,
    key: Key | None = None,
) -> SynapticOperations:
    """Counts the synaptic operations of a run: each input that is not zero times its number of synapses.

    An input of 0 costs nothing; a spike costs one addition for each synapse behind it. An input that is neither 0 nor 1
    is counted as well, though it needs a multiplication. Beside it stand the multiply-accumulates (MACs) of one pass
    through an artificial network of the same shape, which looks at every weight once: `num_in * num_out`, masked and
    sparse weights included; for a `Conv` and a `OneToOne` the number of their synapses. So do sinabs and
    SpikingJelly count.

    **Arguments:**

    - `model`: A [`neurostate.Sequential`][], which is run; what counts are its connections, those of a `Recurrent`,
        `Linear` layers and the weights of readouts. Or one connection.
    - `inputs`: The inputs, `(time, *batch, *in_size)`.
    - `dt`, `state`, `key`: as in [`neurostate.simulate`][]; not used for one connection.

    **Returns:** A [`neurostate.diagnostics.SynapticOperations`][].

    **Raises:** `TypeError` for a connection of which the number of synapses by neuron is not known.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[1.0, 0.0], [1.0, 1.0]])  # (time, neuron)
    >>> ns.diagnostics.synaptic_operations(ns.connect.Dense(2, 5), spikes)
    SynapticOperations(
      0: 15.0 synaptic operations, 10 MACs
      total: 15.0 synaptic operations, 10 MACs
    )
    """
    inputs = jnp.asarray(inputs)
    layers, outputs = [("0", model)], {}
    if isinstance(model, Sequential):
        layers, outputs = list(named_layers(model)), layer_outputs(model, inputs, dt=dt, state=state, key=key)
    operations, macs = {}, {}
    x: Any = inputs
    for name, layer in layers:
        if isinstance(layer, Recurrent):
            connection: Any = layer.projection.connection
            operations[name], macs[name] = _operations(connection, outputs[name]), _macs(connection)
        elif isinstance(layer, AbstractConnection) or _has_weights(layer):
            operations[name], macs[name] = _operations(layer, x), _macs(layer)
        x = outputs.get(name)
    return SynapticOperations(operations, macs)


def fan_out(layer: Any) -> Float[Array, " in_size"]:
    """The number of synapses of each neuron in front of a connection, an array of the shape `in_size`.

    **Raises:** `TypeError` for a connection of which it is not known.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> conv = ns.connect.Conv((4, 1), 2, 3)
    >>> print(ns.diagnostics.fan_out(conv)[:, 0])
    [4. 6. 6. 4.]
    """
    num_in, num_out = _counts(layer)
    if isinstance(layer, Dense) and layer.mask is not None:
        counts = layer.mask.sum(1, dtype=jnp.result_type(float))
    elif isinstance(layer, Dense | LowRank) or _has_weights(layer):
        counts = jnp.full(num_in, float(num_out))
    elif isinstance(layer, Procedural):
        counts = jnp.full(num_in, float(layer.outdegree))
    elif isinstance(layer, AbstractConnection) and eqx.is_inexact_array(getattr(layer, "weight", None)):
        counts = _synapses_of_each(eqx.tree_at(lambda c: c.weight, layer, replace_fn=jnp.ones_like), num_in, num_out)
    else:
        raise TypeError(
            f"The number of synapses by neuron of a `{type(layer).__name__}` is not known. A connection has it if its "
            "field `weight` multiplies what each synapse sends."
        )
    return counts.reshape(layer.in_size)


@eqx.filter_jit
def _synapses_of_each(ones: AbstractConnection, num_in: int, num_out: int) -> Array:
    """For weights of 1 the transpose of a connection, which is linear, sums over the synapses of a neuron in front."""
    _, transpose = jax.vjp(ones.sum, jnp.zeros((1, num_in)))
    return transpose(jnp.ones((1, num_out)))[0][0]


def _operations(layer: Any, x: Array) -> Float[Array, ""]:
    counts = fan_out(layer)
    batch = math.prod(x.shape[1 : x.ndim - counts.ndim])
    return jnp.sum((x != 0) * counts) / batch


def _macs(layer: Any) -> int:
    num_in, num_out = _counts(layer)
    return layer.num_synapses if isinstance(layer, Conv | OneToOne) else num_in * num_out


def _counts(layer: Any) -> tuple[int, int]:
    return math.prod(layer.in_size), math.prod(layer.out_size)


def _has_weights(layer: Any) -> bool:
    """Whether it is a layer with a matrix of weights that is no connection."""
    return isinstance(layer, Linear | LeakyRateReadout | LeakySpikeReadout)

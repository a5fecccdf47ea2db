"""The outputs of every layer of a `Sequential`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import equinox as eqx

from .._custom_types import Array, Key, QuantityLike, Shape, Size
from .._units import argument
from ..network._drives import folded
from ..network.sequential import Sequential, SequentialState, has_state
from ..neuron import AbstractNeuron
from ..simulate import simulate


def layer_outputs(
    model: Sequential, inputs: Any, *, dt: QuantityLike, state: Any = None, key: Key | None = None
) -> dict[str, Array]:
    """Runs a `Sequential` and keeps the output of each of its layers, in each step.

    **Arguments:** as [`neurostate.simulate`][].

    **Returns:** Arrays with time first, by the index of the layer: `"0"`, `"1"`, and `"1.0"` for the first layer of a
    `Sequential` which is layer 1 itself. The last one is what `simulate` gives, bit for bit.

    **Raises:** `TypeError` if `model` is not a `Sequential`; and as [`neurostate.simulate`][].

    >>> import jax.numpy as jnp, neurostate as ns
    >>> net = ns.Sequential(ns.connect.Dense(2, 3), ns.LIF(3))
    >>> {name: x.shape for name, x in ns.diagnostics.layer_outputs(net, jnp.ones((5, 2)), dt=1.0).items()}
    {'0': (5, 3), '1': (5, 3)}
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"{argument(None, 'model')} must be a `Sequential`, got {model!r:.60}.")
    return simulate(_Tapped(model), inputs, dt=dt, state=state, key=key).outputs


def layer_spikes(
    model: Sequential, inputs: Any, *, dt: QuantityLike, state: Any = None, key: Key | None = None
) -> dict[str, Array]:
    """As `layer_outputs`, of the layers that spike only: neurons, and those in a `Recurrent`.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> net = ns.Sequential(ns.connect.Dense(2, 3), ns.LIF(3))
    >>> {name: x.shape for name, x in ns.diagnostics.layer_spikes(net, jnp.ones((5, 2)), dt=1.0).items()}
    {'1': (5, 3)}
    """
    outputs = layer_outputs(model, inputs, dt=dt, state=state, key=key)
    spiking = {name for name, layer in named_layers(model) if isinstance(getattr(layer, "cell", layer), AbstractNeuron)}
    return {name: output for name, output in outputs.items() if name in spiking}


def named_layers(model: Sequential, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The layers, with those of a nested `Sequential` in its place."""
    for k, layer in enumerate(model.layers):
        if isinstance(layer, Sequential):
            yield from named_layers(layer, f"{prefix}{k}.")
        else:
            yield f"{prefix}{k}", layer


class _Tapped(eqx.Module):
    """A `Sequential` whose output is that of each of its layers, by name."""

    model: Sequential

    @property
    def in_size(self) -> Shape:
        return self.model.in_size

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> SequentialState:
        return self.model.init_state(batch_shape, key=key)

    def step(
        self, state: SequentialState, input: Any, /, *, dt: Any, key: Key | None = None
    ) -> tuple[SequentialState, dict[str, Array]]:
        outputs: dict[str, Array] = {}
        return _step(self.model, state, input, dt, key, "", outputs)[0], outputs


def _step(
    model: Sequential, state: SequentialState, x: Any, dt: Any, key: Key | None, prefix: str, outputs: dict[str, Array]
) -> tuple[SequentialState, Any]:
    states = []
    for k, (layer, at) in enumerate(zip(model.layers, state.layers, strict=True)):
        name = f"{prefix}{k}"
        if isinstance(layer, Sequential):
            at, x = _step(layer, at, x, dt, folded(key, k), f"{name}.", outputs)
        elif has_state(layer):
            at, outputs[name] = layer.step(at, x, dt=dt, key=folded(key, k))
            x = outputs[name]
        else:
            x = outputs[name] = layer(x)
        states.append(at)
    return SequentialState(tuple(states)), x

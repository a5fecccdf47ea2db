"""A stack of layers, each run over a block of time at once: so its matrix products are few and large."""

from __future__ import annotations

import math
from typing import Any, Final

import jax

from .._custom_types import Key, PyTree
from .._segments import in_segments
from ..connect._base import AbstractConnection
from ..neuron._base import AbstractNeuron
from ._drives import folded
from ._layer import AbstractLayer
from .network import Network
from .recurrent import Recurrent
from .sequential import Sequential, SequentialState, has_state


# Measured on CPUs: so many rows of a matrix product stay in the cache until the neurons read them ...
_BLOCK_ROWS: Final = 800
# ... and one of so many is as fast by itself as within one of more, unless that does not leave the cache either.
_ENOUGH_ROWS: Final = 16


def block_length(num_steps: int, num_rows: int, backend: str) -> int:
    """For how many steps a layer is run at once, where a batch has `num_rows` elements."""
    if backend != "cpu" or num_steps * num_rows <= 2 * _BLOCK_ROWS:
        return num_steps
    if num_rows >= _ENOUGH_ROWS:
        return 1
    block = _BLOCK_ROWS // num_rows
    return math.ceil(num_steps / math.ceil(num_steps / block))  # of equal lengths, as far as that goes


def run_layerwise(
    model: Any,
    state: PyTree,
    inputs: PyTree,
    keys: Key | None,
    *,
    num_steps: int,
    dt: Any,
    block: int,
    unroll: int | bool,
    checkpoint: bool,
) -> tuple[PyTree, PyTree]:
    """The state after the last step and the outputs of all steps: `block` steps of one layer, then of the next.

    The spikes by which a neuron resets are handed on from step to step, not asked for again, so that their derivative
    is stored once. With `checkpoint`, the backward pass runs a block again instead of storing what is in it.
    """
    carry = handed_on(model, state)
    xs = (inputs, keys)
    if block == 1 and not checkpoint:

        def step(carry: PyTree, x: tuple[Any, Any]) -> tuple[PyTree, PyTree]:
            return step_handing_on(model, carry, x[0], dt, x[1])

        carry, outputs = jax.lax.scan(step, carry, xs, length=num_steps, unroll=unroll)
        return state_of(model, carry), outputs

    def advance(carry: PyTree, xs: tuple[Any, Any]) -> tuple[PyTree, PyTree]:
        return _steps(model, carry, xs[0], dt, xs[1], unroll)

    if block >= num_steps:
        carry, outputs = advance(carry, xs)
    else:
        carry, outputs = in_segments(advance, carry, xs, segment=block, checkpoint=checkpoint)
    return state_of(model, carry), outputs


# What is handed from step to step: the state, with the spikes where these decide on the reset


def _hands_on_spikes(layer: Any) -> bool:
    return isinstance(layer, AbstractNeuron) and type(layer).step is AbstractNeuron.step and layer.spike_time == "grid"


def handed_on(layer: Any, state: Any) -> Any:
    """What the first step of a layer is given: its state, and the spikes of it."""
    if isinstance(layer, Sequential):
        return tuple(handed_on(part, at) for part, at in zip(layer.layers, state.layers, strict=True))
    if isinstance(layer, Network):
        cells = {name: cell for name, cell in layer.populations.items() if _hands_on_spikes(cell)}
        return state, {name: cell.spikes(state.populations[name]) for name, cell in cells.items()}
    if isinstance(layer, Recurrent):
        return (state, layer.cell.spikes(state.neurons)) if _hands_on_spikes(layer.cell) else state
    return (state, layer.spikes(state)) if _hands_on_spikes(layer) else state


def state_of(layer: Any, carry: Any) -> Any:
    """The state in what is handed on."""
    if isinstance(layer, Sequential):
        return SequentialState(tuple(state_of(part, at) for part, at in zip(layer.layers, carry, strict=True)))
    handed = _hands_on_spikes(layer.cell if isinstance(layer, Recurrent) else layer)
    return carry[0] if handed or isinstance(layer, Network) else carry


def step_handing_on(layer: Any, carry: Any, x: Any, dt: Any, key: Key | None) -> tuple[Any, Any]:
    """One step of a layer, with the bits of its `step`."""
    if isinstance(layer, Sequential):
        carries = []
        for k, (part, at) in enumerate(zip(layer.layers, carry, strict=True)):
            at, x = step_handing_on(part, at, x, dt, folded(key, k))
            carries.append(at)
        return tuple(carries), x
    if not has_state(layer):
        return carry, layer(x)
    if isinstance(layer, Network):
        state, spikes = layer.advance(carry[0], x, dt=dt, spiked=carry[1], key=key)
        return (state, {name: spikes[name] for name in carry[1]}), {name: spikes[name] for name in layer.outputs}
    cell: Any = layer
    if _hands_on_spikes(layer.cell if isinstance(layer, Recurrent) else layer):
        state, spike = cell.advance(carry[0], x, dt=dt, spiked=carry[1])
        return (state, spike), spike
    return cell.step(carry, x, dt=dt, **({} if key is None else {"key": key}))


def _steps(layer: Any, carry: Any, xs: Any, dt: Any, keys: Key | None, unroll: int | bool) -> tuple[Any, Any]:
    """Some steps of a layer, then of the next."""
    if isinstance(layer, Sequential):
        carries = []
        for k, (part, at) in enumerate(zip(layer.layers, carry, strict=True)):
            part_keys = None if keys is None else jax.vmap(lambda key: folded(key, k))(keys)  # noqa: B023
            at, xs = _steps(part, at, xs, dt, part_keys, unroll)
            carries.append(at)
        return tuple(carries), xs
    if isinstance(layer, AbstractConnection | AbstractLayer):
        return carry, layer(xs)
    if not has_state(layer):
        return carry, jax.vmap(layer)(xs)

    def step(carry: Any, x: tuple[Any, Any]) -> tuple[Any, Any]:
        return step_handing_on(layer, carry, x[0], dt, x[1])

    return jax.lax.scan(step, carry, (xs, keys), unroll=unroll)

"""Layers one after the other, within one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Key, QuantityLike, Shape, Size, as_shape
from .._parameters import as_milliseconds
from ..connect._base import AbstractConnection
from ..neuron._fields import StaticFunction
from ._drives import folded
from ._layer import AbstractLayer


class SequentialState(eqx.Module):
    """The state of `Sequential`: that of each layer, `None` for one that has none."""

    layers: tuple[Any, ...]


class Sequential(eqx.Module):
    """Layers one after the other: each is given the output of the one before, in the same step.

    A layer is a connection, a cell with a state (a neuron, a synapse, a readout, a `Recurrent`, another `Sequential`),
    one of [`neurostate.layers`][], or a function of the array, which has its batch axes. So there is no delay between
    layers.

    **Arguments:**

    - `layers`: At least one.

    **Raises:** `TypeError` for what is none of these; `ValueError` where the size of one does not fit the next.

    >>> import brainunit as u, jax, jax.numpy as jnp, neurostate as ns
    >>> keys = jax.random.split(jax.random.key(0))
    >>> net = ns.Sequential(
    ...     ns.connect.Dense(4, 8, ns.init.KaimingNormal(scale=30.0), key=keys[0]), ns.LIF(8),
    ...     ns.connect.Dense(8, 2, ns.init.KaimingNormal(), key=keys[1]), ns.LeakyRateReadout(2, 2),
    ... )  # fmt: skip
    >>> ns.simulate(net, jnp.ones((100, 16, 4)), dt=1.0 * u.ms).outputs.shape
    (100, 16, 2)
    """

    layers: tuple[Any, ...]

    state_type: ClassVar[type[SequentialState]] = SequentialState

    def __init__(self, *layers: Any):
        if not layers:
            raise TypeError("`Sequential` needs at least one layer.")
        self.layers = tuple(self._as_layer(k, layer) for k, layer in enumerate(layers))
        before: tuple[int, Shape] | None = None
        for k, layer in enumerate(self.layers):
            if isinstance(layer, _Function):
                before = None
                continue
            if before is not None and before[1] != tuple(layer.in_size):
                raise ValueError(
                    f"Layer {k} of `Sequential`, a `{type(layer).__name__}`, has the `in_size` {tuple(layer.in_size)}, "
                    f"but layer {before[0]} in front of it has the `out_size` {before[1]}."
                )
            before = (k, tuple(layer.out_size))

    @staticmethod
    def _as_layer(k: int, layer: Any) -> Any:
        if isinstance(layer, AbstractConnection | AbstractLayer) or has_state(layer):
            return layer
        if callable(layer) and not isinstance(layer, type):
            function: Any = layer if isinstance(layer, eqx.Module) else StaticFunction(layer)
            return _Function(function)
        raise TypeError(f"Layer {k} of `Sequential` must be a connection, a cell or a function, got {layer!r:.60}.")

    @property
    def in_size(self) -> Shape:
        """The shape of the input, without time and batch axes: that of the first layer which is no function."""
        return next((tuple(layer.in_size) for layer in self.layers if not isinstance(layer, _Function)), ())

    @property
    def out_size(self) -> Shape:
        """The shape of the output, without time and batch axes."""
        return next((tuple(layer.out_size) for layer in reversed(self.layers) if not isinstance(layer, _Function)), ())

    @property
    def stochastic(self) -> bool:
        """Whether a step needs a key."""
        return any(getattr(layer, "stochastic", False) for layer in self.layers)

    def field_unit(self, name: str) -> None:
        """No unit: the layers have theirs."""

    def state_unit(self, name: str) -> None:
        """No unit: the layers have theirs."""

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> SequentialState:
        """Makes the state at the start; each layer draws from a key of its own."""
        shape = as_shape(batch_shape)
        return SequentialState(
            tuple(
                layer.init_state(shape, key=folded(key, k)) if has_state(layer) else None
                for k, layer in enumerate(self.layers)
            )
        )

    def step(
        self, state: SequentialState, input: QuantityLike, /, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[SequentialState, Array]:
        """Moves all layers forward by one step; the output is that of the last one.

        **Raises:** as the steps of the layers.
        """
        dt = as_milliseconds(dt, "Sequential.step")
        x, states = input, []
        for k, (layer, at) in enumerate(zip(self.layers, state.layers, strict=True)):
            if has_state(layer):
                at, x = layer.step(at, x, dt=dt, key=folded(key, k))
            else:
                x = layer(x)
            states.append(at)
        return SequentialState(tuple(states)), x

    def __getitem__(self, index: int) -> Any:
        return self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)


class _Function(eqx.Module):
    """A layer that is a function."""

    function: Callable[[Array], Array]

    def __call__(self, x: Array) -> Array:
        return self.function(jnp.asarray(x))


def has_state(layer: Any) -> bool:
    """Whether a layer is a cell, not a function."""
    return isinstance(layer, eqx.Module) and callable(getattr(layer, "step", None))

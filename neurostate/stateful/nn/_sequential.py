"""`Sequential`: layers one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, overload

from ._layers import Sized
from ._module import Module


class Sequential(Sized):
    """Layers one after the other, each called with the output of the one before.

    **Arguments:**

    - `layers`: Modules, and functions such as `jax.nn.relu`.
    - `name`: A name for messages.

    `net[0]` is the first layer, `net[1:3]` a `Sequential` of the same layers, and the paths of states are
    such as `layers[0].weight`. `in_size` and `out_size` are those of the first and the last layer that
    have any: functions, and modules without sizes, are taken to leave the shape as it is.

    **Raises:** `TypeError` if there is no layer, or one that cannot be called.

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> net = ns.nn.Sequential(ns.nn.Linear(3, 8), jax.nn.relu, ns.nn.Linear(8, 2, b_init=None))
    >>> net(jnp.ones((5, 3))).shape, net.out_size
    ((5, 2), (2,))
    >>> list(net.states(ns.ParamState))
    ['layers[0].weight', 'layers[0].bias', 'layers[2].weight']
    """

    def __init__(self, *layers: Callable[[Any], Any], name: str | None = None):
        super().__init__(name=name)
        if not layers:
            raise TypeError("`Sequential` needs at least one layer.")
        for k, layer in enumerate(layers):
            if not callable(layer) or isinstance(layer, type):
                raise TypeError(f"Layer {k} of `Sequential` must be a module or a function, got {layer!r:.60}.")
        self.layers = layers
        self.in_size = next((layer.in_size for layer in layers if _has_size(layer)), None)
        self.out_size = next((layer.out_size for layer in reversed(layers) if _has_size(layer)), None)

    def update(self, x: Any) -> Any:
        """The output of the last layer."""
        for layer in self.layers:
            x = layer(x)
        return x

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Any:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)

    def _fields(self) -> Iterator[tuple[str, str]]:
        for k, layer in enumerate(self.layers):
            text = repr(layer) if isinstance(layer, Module) else getattr(layer, "__name__", repr(layer))
            yield f"layers[{k}]", text.replace("\n", "\n  ")


def _has_size(layer: Any) -> bool:
    return isinstance(layer, Module) and {"in_size", "out_size"} <= layer.__dict__.keys()

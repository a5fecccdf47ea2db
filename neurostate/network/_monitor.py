"""What to keep of a network during a run."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Shape
from ._select import Selector


class Monitor(eqx.Module):
    """Gives the selected variables of a network by name; equal ones share a compilation.

    The output of a step is all that it is given of spikes, and `dt` is needed for rates only.
    """

    selectors: tuple[tuple[str, Selector, Shape], ...] = eqx.field(static=True)
    dt: float | None = eqx.field(static=True)

    def __call__(self, state: Any, output: dict[str, Array]) -> dict[str, Array]:
        return {text: self._read(selector, size, state, output) for text, selector, size in self.selectors}

    def _read(self, selector: Selector, size: Shape, state: Any, output: dict[str, Array]) -> Array:
        name, path = selector.name, selector.path
        if path in (("spike",), ("rate",)):
            value = selector.apply(output[name], size)
            if path == ("spike",):
                return value
            count = len(selector.count(size))
            axes = tuple(range(value.ndim - count, value.ndim))
            return value.mean(axes, dtype=value.dtype) * (1e3 / (self.dt or 1.0))
        value = state.populations[name] if name in state.populations else state.projections[name]
        for part in path:
            value = getattr(value, part)
        return selector.apply(jnp.asarray(value), size)

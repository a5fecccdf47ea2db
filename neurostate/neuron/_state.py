"""The state of a neuron."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import equinox as eqx

from .._custom_types import Array, Float
from .._units import Dimension, measures


def variable(dimension: Dimension | None) -> Any:
    """A field for a variable of a state, of that dimension."""
    return eqx.field(metadata={} if dimension is None else measures(dimension))


class NeuronState(eqx.Module):
    """The state of a neuron: its variables, each an array of shape `(*batch, *size)`, and, where it has them,

    - `refractory`: how long it cannot spike yet, in ms; negative if it can. With a refractory period only.
    - `since_spike`: the time since the last spike, in ms; infinite before the first. With `spike_time="interpolated"`
      only: a spike in the step that ends at `t` was at `t - since_spike`.
    """

    refractory: Float[Array, "..."] | None = eqx.field(default=None, kw_only=True, metadata=measures("time"))
    since_spike: Float[Array, "..."] | None = eqx.field(default=None, kw_only=True, metadata=measures("time"))

    def with_(self, **changes: Any) -> Self:
        """The same with some of its arrays replaced."""
        return dataclasses.replace(self, **changes)

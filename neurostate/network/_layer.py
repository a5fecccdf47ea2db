"""What layers without a state share."""

from __future__ import annotations

import abc

import equinox as eqx

from .._custom_types import Array, Shape


class AbstractLayer(eqx.Module):
    """A layer of [`neurostate.Sequential`][] without a state: a function of the last axes, with any axes in front."""

    in_size: eqx.AbstractVar[Shape]
    out_size: eqx.AbstractVar[Shape]

    @abc.abstractmethod
    def __call__(self, x: Array) -> Array:
        """The output of shape `(*axes, *out_size)`, for an input of shape `(*axes, *in_size)`."""

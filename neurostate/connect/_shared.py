"""Connections that have no weight for each synapse."""

from __future__ import annotations

from typing import NoReturn

from .._custom_types import Array
from ._base import AbstractConnection, no_synapses


class AbstractShared(AbstractConnection):
    """A connection whose synapses share weights, or are not stored."""

    def at_pre(self, x: Array) -> NoReturn:
        raise no_synapses(self)

    def at_post(self, y: Array) -> NoReturn:
        raise no_synapses(self)

"""What layers with a state share."""

from __future__ import annotations

import equinox as eqx

from .._custom_types import Shape


class AbstractSizedLayer(eqx.Module):
    """A layer with a state for a population of one size, without units."""

    size: eqx.AbstractVar[Shape]

    @property
    def in_size(self) -> Shape:
        """The shape of the input, without time and batch axes."""
        return self.size

    @property
    def out_size(self) -> Shape:
        """The shape of the output, without time and batch axes."""
        return self.size

    def field_unit(self, name: str) -> None:
        """No unit."""

    def state_unit(self, name: str) -> None:
        """No unit."""

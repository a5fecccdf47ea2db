"""What everything that has a state and moves in time shares: neurons, synapses, sources, readouts."""

from __future__ import annotations

import abc
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax

from ._custom_types import Key, Shape, Size
from ._units import Unit, family_unit, field_dimension, format_with_units, is_quantity, join_quantity


State = TypeVar("State", bound=eqx.Module)


class AbstractCell(eqx.Module, Generic[State]):
    """A population with a state: an immutable module of plain arrays, its parameters.

    A subclass declares its fields with their dimensions, those of its state in `state_type`, and its unit of current in
    `I_unit`, from which all its units follow. A variable `x` of the state starts from the field `x_initializer`.
    """

    size: eqx.AbstractVar[Shape]
    I_unit: eqx.AbstractVar[Unit]
    state_type: eqx.AbstractClassVar[type[eqx.Module]]

    @property
    def in_size(self) -> Shape:
        """The shape of the input, without time and batch axes."""
        return self.size

    @property
    def out_size(self) -> Shape:
        """The shape of the output, without time and batch axes."""
        return self.size

    @abc.abstractmethod
    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> State:
        """Makes the state at the start.

        **Arguments:**

        - `batch_shape`: Axes in front of the population, one state for each index.
        - `key`: A random key, for initialisers that draw; each variable draws from a key of its own.

        **Returns:** A state whose arrays have the shape `(*batch_shape, *size)`.
        """

    @abc.abstractmethod
    def step(self, state: State, input: Any, /, *, dt: Any, key: Key | None = None) -> tuple[State, Any]:
        """Moves time forward by one step: the next state, and the output. Pure."""

    def field_unit(self, name: str) -> Unit | None:
        """The unit of the field `name` of this object; `None` if it has no unit."""
        return family_unit(field_dimension(type(self), name), self.I_unit)

    def state_unit(self, name: str) -> Unit | None:
        """The unit of the field `name` of the state; `None` if it has no unit."""
        return family_unit(field_dimension(self.state_type, name), self.I_unit)

    def one(self, dimension: str) -> Any:
        """1 in the unit of a dimension: the number, or a `Quantity` while `check_units` looks at the formulas."""
        checked = any(map(is_quantity, jax.tree.leaves(self, is_leaf=is_quantity)))
        return join_quantity(1.0, family_unit(dimension, self.I_unit)) if checked else 1.0

    def __repr__(self) -> str:
        return format_with_units(self)

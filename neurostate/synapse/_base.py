"""What all synapses share: what arrives, when it acts, and in which unit."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, Final, TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp

from .._cell import AbstractCell
from .._custom_types import Array, Float, Key, QuantityLike, Size
from .._errors import UnitError
from .._parameters import as_milliseconds, broadcasts
from .._units import (
    Unit,
    argument,
    mA,
    mS_per_cm2,
    siemens,
    split_quantity,
    to_plain,
    uA_per_cm2,
    unitless,
)
from ..init import Constant
from ..neuron._fields import fill, initial_arrays


State = TypeVar("State", bound=eqx.Module)

# The dimension of a `g` whose unit is the user's choice: that unit takes the place of a unit of current.
OF_G: Final = "current"

_ALLOWED: Final = (siemens, mS_per_cm2, mA, uA_per_cm2, unitless)

_MSG_SHAPE: Final = (
    "`{owner}.step` got an `x` of shape {given} for a state of shape {state}. It must broadcast to the state "
    "without enlarging it.\nFor a batch, make the state with the batch axes: `init_state(batch_shape=...)`."
)


class AbstractSynapse(AbstractCell[State]):
    """A cell that turns what arrives at synapses into a conductance, or into what is released.

    All synapses keep time in one way. A step first moves the state on by `dt`, then lets arrive what it was given, and
    gives the value after that. So what arrives in a step acts from the end of this step on, the time at which a neuron
    spikes, and the output of step `n` is the sum of `x[k] * kernel((n - k) * dt)` over the steps `k` up to `n`.

    `I_unit` is the unit of what arrives and of the output. It can be any unit, here, or none.

    A subclass says how the state moves between arrivals (`flow`), and what an arrival does to it (`arrive`).
    """

    @abc.abstractmethod
    def flow(self, state: State, dt: Any) -> State:
        """Where `state` is after `dt` in which nothing arrives."""

    @abc.abstractmethod
    def arrive(self, state: State, x: Array) -> tuple[State, Array]:
        """What the arrival of `x` does: the state after it, and the output."""

    @property
    def out_unit(self) -> Unit | None:
        """The unit of the output, and of what arrives; `None` if it has no unit."""
        return _with_dimension(self.I_unit)

    @property
    def g_unit(self) -> Unit | None:
        """The same: the unit of the conductance."""
        return self.out_unit

    def field_unit(self, name: str) -> Unit | None:
        """The unit of the field `name` of this object; `None` if it has no unit."""
        return _with_dimension(super().field_unit(name))

    def state_unit(self, name: str) -> Unit | None:
        """The unit of the field `name` of the state; `None` if it has no unit."""
        return _with_dimension(super().state_unit(name))

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> State:
        """Makes the state at the start. See `AbstractCell.init_state`."""
        names = [field.name for field in dataclasses.fields(self.state_type)]
        givers = {name: self.start(name) for name in names}
        return cast(State, self.state_type(**initial_arrays(self, givers, batch_shape, key)))

    def start(self, name: str) -> Any:
        """What the variable `name` starts from: a value or an initialiser."""
        return getattr(self, f"{name}_initializer")

    def step(
        self, state: State, x: QuantityLike, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[State, Float[Array, " *state"]]:
        """Moves time forward by one step. Pure.

        **Arguments:**

        - `state`: The state before the step, from `init_state` or an earlier step.
        - `x`: What arrives at the end of the step: a number or an array in `I_unit`, or a `Quantity`. It broadcasts to
            the shape of the state.
        - `dt`: The time step: a number in ms or a `Quantity`.
        - `key`: Not used.

        **Returns:** The state after the step, and the output, of the shape and dtype of the state.

        **Raises:** `UnitError` for a wrong dimension of `x` or `dt`; `ValueError` if `x` does not broadcast to the
        state, or `dt` is not a positive scalar; `TypeError` if they are not numeric.
        """
        del key
        owner, like = type(self).__name__, jax.tree.leaves(state)[0]
        dt = as_milliseconds(dt, f"{owner}.step")
        new, out = self.arrive(self.flow(state, dt), _as_arriving(x, self.out_unit, like, owner))
        new = jax.tree.map(lambda a, b: a.astype(b.dtype), new, state)
        return new, out.astype(like.dtype)


def unit_field() -> Any:
    """The field `I_unit` of a synapse. Its `repr` shows that unit with each of its values."""
    return eqx.field(static=True, repr=False)


def fill_conductance(synapse: AbstractSynapse[Any], given: dict[str, Any]) -> None:
    """Sets all fields of a new synapse, as `fill`, where the unit of `g` is that of `g_unit` or of `g_initializer`.

    **Raises:** as `fill`, and `UnitError` if that is not the unit of a conductance, a current or a number.
    """
    owner, name = type(synapse).__name__, "g_unit"
    unit = given["g_unit"]
    if unit is None:
        name, start = "g_initializer", given["g_initializer"]
        unit = start.unit if isinstance(start, Constant) else split_quantity(start)[1]
    elif not isinstance(unit, Unit):
        raise TypeError(f"{argument(owner, name)} must be a unit such as `u.nS`, got {unit!r}.")
    if unit is not None and all(unit.dim != allowed.dim for allowed in _ALLOWED):
        raise UnitError(
            f"{argument(owner, name)} must be that of a conductance such as S, of a current such as mA, each of them "
            f"absolute or per area, or without dimension, but it has the unit {unit}."
        )
    unit = siemens if unit is None else unit
    fill(synapse, {**given, "I_unit": unit}, unit)


def fill_kinetics(synapse: AbstractSynapse[Any], given: dict[str, Any]) -> None:
    """Sets all fields of a new synapse, as `fill`, to which spikes arrive and whose output is a number."""
    fill(synapse, {**given, "I_unit": unitless}, unitless)


def _as_arriving(given: QuantityLike, unit: Unit | None, like: Array, owner: str) -> Array:
    x = to_plain(given, unit, "x", f"{owner}.step")
    if x is None or isinstance(x, str | bytes):
        raise TypeError(f"{argument(f'{owner}.step', 'x')} must be a number or an array, got {given!r}.")
    x = jnp.asarray(x, dtype=like.dtype)
    if not broadcasts(x.shape, like.shape):
        raise ValueError(_MSG_SHAPE.format(owner=owner, given=x.shape, state=like.shape))
    return x


def _with_dimension(unit: Unit | None) -> Unit | None:
    return None if unit is None or unit.dim.is_dimensionless else unit

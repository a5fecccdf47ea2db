"""What all sources share: cells that need no input."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Final, TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp

from .._cell import AbstractCell
from .._custom_types import Array, Float, Key, Shape, Size, as_shape
from .._parameters import as_milliseconds
from .._units import Dimension, Unit, measures, unitless
from ..neuron._fields import initial_arrays


State = TypeVar("State", bound=eqx.Module)

# The strength of white noise in the equation of a variable, and that of white noise itself.
PER_SQRT_TIME: Final = cast(Dimension, (-0.5, 0, 1))
TIMES_SQRT_TIME: Final = cast(Dimension, (0.5, 0, 1))

_MSG_NO_KEY: Final = (
    "`{owner}.step` draws random numbers, but it got no `key`.\n"
    "Pass a new key for each step: `cell.step(state, dt=dt, key=jax.random.fold_in(key, i))`. "
    "`simulate(cell, inputs, dt=dt, key=key)` does that, and `nn.Stateful(cell)` draws one from `neurostate.random`."
)


class AbstractSource(AbstractCell[State]):
    """A cell that makes a signal by itself.

    Its `step` needs no input. One that is given is not used: for `simulate` it only says how many steps there are, and
    what batch axes: `simulate(source, jnp.zeros((time, *batch)), dt=dt, key=key)`. The output is in `I_unit`, which can
    be any unit, here, or none; with `nn.Stateful` it is a `Quantity`.
    """

    @property
    def in_size(self) -> Shape:
        """The shape of the input without time and batch axes: `()`, as it is not used."""
        return ()

    @property
    def out_unit(self) -> Unit | None:
        """The unit of the output; `None` if it has no unit."""
        return with_dimension(self.I_unit)

    def field_unit(self, name: str) -> Unit | None:
        """The unit of the field `name` of this object; `None` if it has no unit."""
        return with_dimension(super().field_unit(name))

    def state_unit(self, name: str) -> Unit | None:
        """The unit of the field `name` of the state; `None` if it has no unit."""
        return with_dimension(super().state_unit(name))


class SourceState(eqx.Module):
    """The state of a random source: `x`, its present output in `I_unit`, of shape `(*batch, *size)`."""

    x: Float[Array, " *state"] = eqx.field(metadata=measures("current"))


class AbstractRandomSource(AbstractSource[SourceState]):
    """A source that draws a new `x` on each step."""

    state_type: ClassVar[type[SourceState]] = SourceState
    stochastic: ClassVar[bool] = True

    @abc.abstractmethod
    def initial(self) -> Array:
        """`x` at the start, as an array that broadcasts to `size`."""

    @abc.abstractmethod
    def draw(self, x: Array, dt: Any, key: Key) -> Array:
        """`x` at the end of a step, from that at its start."""

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> SourceState:
        """Makes the state at the start. See `AbstractCell.init_state`."""
        return SourceState(**initial_arrays(self, {"x": self.initial()}, as_shape(batch_shape), key))

    def step(
        self, state: SourceState, input: Any = None, /, *, dt: Any, key: Key | None = None
    ) -> tuple[SourceState, Float[Array, " *state"]]:
        """Moves time forward by one step; the output is the new `x`, in `I_unit`.

        **Arguments:**

        - `state`: The state before the step.
        - `input`: Not used.
        - `dt`: The time step: a number in ms or a `Quantity`.
        - `key`: A random key, another one for each step. Cells, and batch axes of the state, draw independently.

        **Raises:** `ValueError` without a key, or if `dt` is not positive; `UnitError` if `dt` is not a time.
        """
        del input
        owner = type(self).__name__
        dt = as_milliseconds(dt, f"{owner}.step")
        if key is None:
            raise ValueError(_MSG_NO_KEY.format(owner=owner))
        x = self.draw(state.x, dt, key).astype(state.x.dtype)
        return SourceState(x), x


def with_dimension(unit: Unit | None) -> Unit | None:
    """The unit; `None` if it has no dimension."""
    return None if unit is None or unit.dim.is_dimensionless else unit


def unit_of(value: Any, I_unit: Unit | None) -> Unit:
    """The unit of a source: `I_unit` if it is given, else that of `value`, a number, array, list or initialiser."""
    if I_unit is not None:
        return I_unit
    first = value[0] if isinstance(value, list | tuple) and value else value
    return getattr(first, "unit", None) or unitless


def happens(key: Key, p: Array, shape: Shape) -> Array:
    """Where an event of probability `p` happens: an array of 0 and 1 in the dtype of `p`.

    A uniform number of 32 random bits is compared, so that small probabilities are right in float32 too, where
    `jax.random.bernoulli` resolves only 1e-7.
    """
    bits = jax.random.bits(key, shape, jnp.uint32).astype(p.dtype)
    return ((bits < p * 2.0**32) | (p >= 1)).astype(p.dtype)


def poisson_probability(rate: Array, dt: Any) -> Array:
    """The probability that a Poisson process has at least one event within `dt`."""
    return -jnp.expm1(-rate * dt)

"""What all neurons share: the protocol, the units of their fields, and their input and initial state."""

import abc
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size, as_shape
from .._parameters import broadcasts, parameter
from .._units import (
    Unit,
    argument,
    as_float_array,
    family_unit,
    field_dimension,
    format_with_units,
    is_quantity,
    join_quantity,
    to_plain,
)
from ..init import Constant, param


State = TypeVar("State", bound=eqx.Module)

_MSG_CURRENT_SHAPE: Final = (
    "`{owner}.step` got a current of shape {current} for a state of shape {state}. It must broadcast to the state "
    "without enlarging it.\nFor a batch, make the state with the batch axes: `init_state(batch_shape=...)`."
)


class AbstractNeuron(eqx.Module, Generic[State]):
    """The protocol of a population of neurons, generic over the type of its state.

    A neuron is immutable and holds plain arrays: its parameters. Its state is another module, made by
    `init_state`, and `step` is a pure function of both. All parameters are scalars or arrays over the
    population.

    A subclass is final. It declares its fields with their dimensions, those of its state in
    `state_type`, and its own unit of current in `I_unit`, from which all its units follow.
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
        - `key`: A random key, for initialisers that draw.

        **Returns:** A state whose arrays have the shape `(*batch_shape, *size)`.
        """

    @abc.abstractmethod
    def step(
        self, state: State, current: QuantityLike, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[State, Float[Array, " *state"]]:
        """Moves time forward by one step. Pure.

        **Arguments:**

        - `state`: The state before the step, from `init_state` or an earlier step.
        - `current`: The input during the step: a number or an array in `I_unit`, or a `Quantity`. It
            broadcasts to the shape of the state.
        - `dt`: The time step: a number in ms or a `Quantity`.
        - `key`: A random key, for neurons with noise.

        **Returns:** The state after the step, and the spikes, of the shape and dtype of the state.
        """

    def field_unit(self, name: str) -> Unit | None:
        """The unit of the field `name` of this object; `None` if it has no unit."""
        return family_unit(field_dimension(type(self), name), self.I_unit)

    def state_unit(self, name: str) -> Unit | None:
        """The unit of the field `name` of the state; `None` if it has no unit."""
        return family_unit(field_dimension(self.state_type, name), self.I_unit)

    def __repr__(self) -> str:
        return format_with_units(self)


class StaticFunction(eqx.Module):
    """A plain function as a part of a pytree without leaves, so that raw JAX transforms accept the whole."""

    function: Callable[..., Any] = eqx.field(static=True)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", None) or repr(self.function)


def as_spike_function(spk_fun: Callable[[Array], Array], owner: str) -> Callable[[Array], Array]:
    """Keeps a spike function that is a module, with its parameters; wraps any other callable."""
    if isinstance(spk_fun, eqx.Module) and callable(spk_fun):
        return spk_fun
    if not callable(spk_fun):
        needed = "a function such as `surrogate.ReluGrad()`"
        raise TypeError(f"{argument(owner, 'spk_fun')} must be {needed}, got {spk_fun!r}.")
    return StaticFunction(spk_fun)


def as_current(current: QuantityLike, unit: Unit | None, like: Array, owner: str) -> Array:
    """The input of a step as a plain array in `unit`, of the dtype of the state array `like`.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` if it does not broadcast to `like`;
    `TypeError` if it is not numeric.
    """
    plain = to_plain(current, unit, "current", f"{owner}.step")
    if plain is None or isinstance(plain, str | bytes):
        raise TypeError(f"{argument(f'{owner}.step', 'current')} must be a number or an array, got {plain!r}.")
    plain = jnp.asarray(plain, dtype=like.dtype)
    if not broadcasts(plain.shape, like.shape):
        raise ValueError(_MSG_CURRENT_SHAPE.format(owner=owner, current=plain.shape, state=like.shape))
    return plain


def as_initial_value(
    value: QuantityLike | Callable[..., Any], unit: Unit | None, name: str, *, size: Shape, owner: str
) -> Array | Callable[..., Any]:
    """What a cell keeps for an initial value: a plain array that can be trained, or an initialiser.

    The number in a `Constant` becomes an array, because a Python number in a pytree is never trained.
    """
    if isinstance(value, Constant):
        inner = parameter(join_quantity(value.value, value.unit), unit, name, size=size, owner=owner)
        return Constant(join_quantity(inner, unit))
    if is_quantity(value) or not callable(value):
        return parameter(value, unit, name, size=size, owner=owner)
    return cast(Callable[..., Any], value) if isinstance(value, eqx.Module) else StaticFunction(value)


def initial_array(
    value: Array | Callable[..., Any],
    unit: Unit | None,
    name: str,
    *,
    size: Shape,
    batch_shape: Size,
    key: Key | None,
    owner: str,
) -> Array:
    """Makes a state array of shape `(*batch_shape, *size)` from what `as_initial_value` kept."""
    value = value.function if isinstance(value, StaticFunction) else value
    made = param(value, size, as_shape(batch_shape), key=key)
    return as_float_array(to_plain(made, unit, name, owner))

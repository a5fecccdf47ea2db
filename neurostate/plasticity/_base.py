"""What all plasticity rules share."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, Generic, Self, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike, Shape
from .._parameters import as_milliseconds, parameter
from .._units import (
    Unit,
    argument,
    family_unit,
    format_with_units,
    is_traced,
    join_quantity,
    per_ms,
    split_quantity,
    to_plain,
    unitless,
)
from ..connect._base import AbstractConnection
from ..synapse._base import OF_G


State = TypeVar("State", bound=eqx.Module)


class AbstractPlasticity(eqx.Module, Generic[State]):
    """A rule by which weights change with the spikes in front of and behind a synapse.

    A rule has weights between `w_min` and `w_max`, of which the second is farther from zero: for weights of inhibitory
    synapses that are negative, it is negative too. So a weight keeps its sign. What a pair of spikes changes is given
    as a fraction of the range `w_max - w_min`, a number without unit, and "to potentiate" is to move towards `w_max`.

    `w_min` and `w_max` are in the unit of the weights of the connection: Quantities, or plain numbers, which are taken
    to be in that unit. All parameters are scalars, and all of them can be trained.

    A subclass says what one step changes (`change`), in the dtype and the unit of the weights.
    """

    w_min: eqx.AbstractVar[Array]
    w_max: eqx.AbstractVar[Array]
    I_unit: eqx.AbstractVar[Unit]

    @abc.abstractmethod
    def init_state(self, connection: AbstractConnection) -> State:
        """Makes the state at the start, of a connection whose populations have been silent.

        **Arguments:**

        - `connection`: The connection whose weights are to change.

        **Returns:** The traces: arrays of shape `(num_in,)` or `(num_out,)` or of one value for each synapse.

        **Raises:** `UnitError` if its weights do not have the unit of `w_max`.
        """

    @abc.abstractmethod
    def change(
        self,
        state: State,
        weight: Float[Array, "..."],
        pre: Float[Array, " num_in"],
        post: Float[Array, " num_out"],
        connection: AbstractConnection,
        dt: Any,
        modulator: Any,
    ) -> tuple[State, Float[Array, "..."]]:
        """What one step of `dt` in ms changes."""

    def as_modulator(self, modulator: QuantityLike) -> Any:
        """What `step` was given as a modulator, as a plain number; refuses one where the rule takes none."""
        if modulator is not None:
            owner = type(self).__name__
            raise ValueError(
                f"`{owner}.step` got a modulator, but `{owner}` takes none. Leave it out, or use `RewardSTDP`."
            )
        return None

    def step(
        self,
        state: State,
        weight: Float[Array, "..."],
        pre: Float[Array, " num_in"],
        post: Float[Array, " num_out"],
        connection: AbstractConnection,
        *,
        dt: QuantityLike,
        modulator: QuantityLike = None,
    ) -> tuple[State, Float[Array, "..."]]:
        """Moves time forward by one step. Pure.

        Traces decay by `dt`, exactly, and then the spikes of the step are used, which are at its end.

        **Arguments:**

        - `state`: The state before the step, from `init_state` or an earlier step.
        - `weight`: A weight for each synapse, in the order and the unit of the connection: of the shape
            `connection.synapse_shape`.
        - `pre`: The spikes that arrive in this step: 0 or 1 for each neuron in front, in one axis. Numbers between
            them count as parts of a spike, so that a surrogate gradient can pass.
        - `post`: The spikes of the neurons behind, likewise.
        - `connection`: Which synapses there are. Its own weights are not used.
        - `dt`: The time step: a number in ms or a `Quantity`.
        - `modulator`: For a rule that takes one only: a scalar.

        For a batch, `vmap` over the first four arguments (and the modulator).

        **Returns:** The state after the step, and the weights, of the shapes and dtypes that were given.

        **Raises:** `UnitError` for a wrong unit of `dt`, `modulator` or the weights; `ValueError` for wrong shapes, or
        a modulator for a rule that takes none.
        """
        owner = type(self).__name__
        dt, modulator = as_milliseconds(dt, f"{owner}.step"), self.as_modulator(modulator)
        weight, pre, post = jnp.asarray(weight), jnp.asarray(pre), jnp.asarray(post)
        num_in, num_out = (math.prod(size) for size in (connection.in_size, connection.out_size))
        _check_shape("weight", weight.shape, connection.synapse_shape, owner)
        _check_shape("pre", pre.shape, (num_in,), owner)
        _check_shape("post", post.shape, (num_out,), owner)
        as_weight = lambda x: x if isinstance(x, float) else jnp.asarray(x, weight.dtype)  # noqa: E731
        rule, before, pre, post, dt, modulator = jax.tree.map(
            as_weight, (self.in_unit(connection.I_unit), state, pre, post, dt, modulator)
        )
        after, changed = rule.change(before, weight, pre, post, connection, dt, modulator)
        return jax.tree.map(lambda a, b: a.astype(b.dtype), after, state), changed.astype(weight.dtype)

    def in_unit(self, unit: Unit) -> Self:
        """The same rule for weights in `unit`, in which `w_min` and `w_max` are taken to be if they are plain numbers.

        **Raises:** `UnitError` if they have a unit of another dimension.
        """
        plain = self.I_unit.dim.is_dimensionless
        needed = None if unit.dim.is_dimensionless else unit
        factor = 1.0 if plain else to_plain(join_quantity(1.0, self.I_unit), needed, "w_max", type(self).__name__)
        copy = object.__new__(type(self))
        for field in dataclasses.fields(self):
            value = unit if field.name == "I_unit" else getattr(self, field.name)
            scales = factor != 1.0 and field.metadata.get("dimension") == OF_G
            object.__setattr__(copy, field.name, value * factor if scales else value)
        return copy

    @property
    def span(self) -> Array:
        """The range of the weights, from `w_min` to `w_max`; negative if these are."""
        return self.w_max - self.w_min

    def bounded(self, weight: Array) -> Array:
        """The weights within their bounds."""
        return jnp.clip(weight, jnp.minimum(self.w_min, self.w_max), jnp.maximum(self.w_min, self.w_max))

    def __repr__(self) -> str:
        return format_with_units(self)


def unit_field() -> Any:
    """The field `I_unit` of a rule. Its `repr` shows that unit with each of its values."""
    return eqx.field(static=True, repr=False)


def fill(rule: AbstractPlasticity[Any], given: dict[str, Any]) -> None:
    """Sets all parameters of a new rule from the arguments of its constructor, `given` by name, and its `I_unit`.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` for a value that is not a scalar, not positive where it
    must be, or for bounds that are not in order; `TypeError` for what is not a number.
    """
    owner = type(rule).__name__
    unit = split_quantity(given["w_max"])[1]
    unit = unitless if unit is None or unit.dim.is_dimensionless else unit
    object.__setattr__(rule, "I_unit", unit)
    for field in dataclasses.fields(rule):
        if field.metadata.get("kind") == "parameter" and field.name in given:
            of_value = family_unit(field.metadata["dimension"], unit)
            of_value = None if of_value is None or of_value.dim.is_dimensionless else of_value
            positive = field.metadata["positive"]
            value = parameter(given[field.name], of_value, field.name, size=(), owner=owner, positive=positive)
            object.__setattr__(rule, field.name, value)
    low, high = rule.w_min, rule.w_max
    if not is_traced(low) and not is_traced(high) and not (abs(high) > abs(low) and low * high >= 0):
        raise ValueError(
            f"{argument(owner, 'w_max')} must be farther from zero than `w_min`, and have the same sign, got "
            f"w_min={given['w_min']} and w_max={given['w_max']}. For negative weights give a negative `w_max`."
        )


def traces(rule: AbstractPlasticity[Any], connection: AbstractConnection) -> tuple[Array, Array]:
    """The traces at the start of the neurons in front and behind, in the dtype of the weights.

    **Raises:** `UnitError` if the weights do not have the unit of the rule.
    """
    rule.in_unit(connection.I_unit)
    dtype = getattr(connection, "weight").dtype
    return jnp.zeros(math.prod(connection.in_size), dtype), jnp.zeros(math.prod(connection.out_size), dtype)


def as_rate(modulator: QuantityLike, owner: str) -> Any:
    """A modulator that is a rate, in 1/ms.

    **Raises:** `UnitError` if it is none; `ValueError` if it is missing or not a scalar.
    """
    if modulator is None:
        raise ValueError(f"`{owner}.step` needs a modulator: a number in 1/ms, such as `modulator=0.1`, got None.")
    value = jnp.asarray(to_plain(modulator, per_ms, "modulator", f"{owner}.step"))
    _check_shape("modulator", value.shape, (), owner)
    return value


def _check_shape(name: str, given: Shape, needed: Shape, owner: str) -> None:
    if given != needed:
        raise ValueError(
            f"{argument(f'{owner}.step', name)} must have the shape {needed}, got {given}. A population has one axis "
            "here (`x.reshape(-1)`), and a batch is a `jax.vmap` over this step."
        )

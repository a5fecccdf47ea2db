"""What all connections share."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import Any, Final, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Float, Key, QuantityLike, Shape
from .._parameters import parameter
from .._units import Unit, argument, format_with_units, measures, split_quantity, unitless
from ..init import Initialization, param
from ..synapse._base import OF_G


_MSG_SHAPE: Final = (
    "`{owner}` got an input of shape {given}, but it connects a population of the size {size}. The last axes of the "
    "input must be that size, with any batch axes in front."
)


class AbstractConnection(eqx.Module):
    """Synapses without dynamics: a linear map of the spikes of one population to what arrives at another.

    It is called with an array of shape `(*batch, *in_size)`, spikes or any numbers, and gives an array of shape
    `(*batch, *out_size)` in the unit of its weights, `I_unit`.
    """

    in_size: eqx.AbstractVar[Shape]
    out_size: eqx.AbstractVar[Shape]
    I_unit: eqx.AbstractVar[Unit]

    @abc.abstractmethod
    def sum(self, x: Float[Array, "batch num_in"]) -> Float[Array, "batch num_out"]:
        """What arrives, for populations and batches of one axis."""

    @abc.abstractmethod
    def scaled(self, factor: float, I_unit: Unit) -> Self:
        """The same with weights multiplied by a number, in the unit `I_unit`."""

    @property
    @abc.abstractmethod
    def num_synapses(self) -> int:
        """How many synapses there are."""

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """What arrives at each neuron behind the synapses.

        **Arguments:**

        - `x`: Spikes, or any numbers: an array of shape `(*batch, *in_size)`.

        **Returns:** An array of shape `(*batch, *out_size)`, in the unit of the weights.

        **Raises:** `ValueError` if the shape does not end in `in_size`.
        """
        x = jnp.asarray(x)
        x = x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.result_type(float))
        split = x.ndim - len(self.in_size)
        if split < 0 or x.shape[split:] != self.in_size:
            owner = type(self).__name__
            raise ValueError(_MSG_SHAPE.format(owner=owner, given=x.shape, size=self.in_size))
        batch = x.shape[:split]
        out = self.sum(x.reshape(math.prod(batch), math.prod(self.in_size)))
        return out.reshape(*batch, *self.out_size)

    @abc.abstractmethod
    def at_pre(self, x: Float[Array, " num_in"]) -> Float[Array, "..."]:
        """The value of the neuron in front of each synapse, of a shape that broadcasts to that of one weight for each
        synapse."""

    @abc.abstractmethod
    def at_post(self, y: Float[Array, " num_out"]) -> Float[Array, "..."]:
        """The value of the neuron behind each synapse; as `at_pre`."""

    @property
    def synapse_shape(self) -> Shape:
        """The shape of one value for each synapse."""
        num_in, num_out = math.prod(self.in_size), math.prod(self.out_size)
        pre = jax.eval_shape(self.at_pre, jax.ShapeDtypeStruct((num_in,), jnp.float32))
        post = jax.eval_shape(self.at_post, jax.ShapeDtypeStruct((num_out,), jnp.float32))
        return np.broadcast_shapes(pre.shape, post.shape)

    def in_order(self, values: Array) -> Array:
        """One value for each synapse, given in the order of the constructor, in the order in which they are kept."""
        return values

    def update_pre(
        self,
        weight: Array,
        spike: Float[Array, " num_in"],
        new: Callable[..., Array],
        *at_post: Float[Array, " num_out"],
    ) -> Array:
        """Sets the weights of the synapses whose neuron in front spikes.

        **Arguments:**

        - `weight`: A weight for each synapse.
        - `spike`: 0 or 1 for each neuron in front.
        - `new`: Gives new weights, `new(weight, *values)`, element by element.
        - `at_post`: Values of the neurons behind, which `new` gets for each synapse.
        """
        return update_all(weight, self.at_pre(spike), new, *map(self.at_post, at_post))

    def update_post(
        self,
        weight: Array,
        spike: Float[Array, " num_out"],
        new: Callable[..., Array],
        *at_pre: Float[Array, " num_in"],
    ) -> Array:
        """Sets the weights of the synapses whose neuron behind spikes; as `update_pre`."""
        return update_all(weight, self.at_post(spike), new, *map(self.at_pre, at_pre))

    def matrix(self) -> Float[Array, "num_in num_out"]:
        """All weights as a matrix; for small populations."""
        return self.sum(jnp.eye(math.prod(self.in_size)))

    @property
    def unit(self) -> Unit | None:
        """The unit of what arrives; `None` if it has no unit."""
        return None if self.I_unit.dim.is_dimensionless else self.I_unit

    def __repr__(self) -> str:
        return format_with_units(self)


def update_all(weight: Array, spike: Array, new: Callable[..., Array], *values: Array) -> Array:
    """New weights where there is a spike: exactly these, and differentiable in the spike. All by synapse."""
    return (1 - spike) * weight + spike * new(weight, *values)


def no_synapses(connection: AbstractConnection) -> TypeError:
    """The error of a connection without a value for each synapse."""
    return TypeError(
        f"`{type(connection).__name__}` has no weight for each synapse: so no plasticity, and no delay for each. "
        "Use `Dense`, `Sparse`, `EventSparse` or `OneToOne`."
    )


def weight_field() -> Any:
    """The field of the weights, whose unit is `I_unit`."""
    return eqx.field(metadata=measures(OF_G))


def hidden_field() -> Any:
    """A field that `repr` leaves out."""
    return eqx.field(repr=False)


def unit_field() -> Any:
    """The field `I_unit` of a connection."""
    return eqx.field(static=True, repr=False)


def weights(given: QuantityLike, shape: Shape, owner: str, key: Key | None, name: str = "weight") -> tuple[Array, Unit]:
    """The weights that a constructor was given, as a plain array of that shape or a scalar, and their unit.

    **Raises:** `ValueError` for a wrong shape; `TypeError` if they are not numbers.
    """
    if isinstance(given, Initialization) or (callable(given) and split_quantity(given)[1] is None):
        given = param(given, shape, key=key)
    unit = split_quantity(given)[1]
    unit = unitless if unit is None or unit.dim.is_dimensionless else unit
    array = parameter(given, None if unit is unitless else unit, name, size=shape, owner=owner)
    if array.ndim and array.shape != shape:
        raise ValueError(f"{argument(owner, name)} must be a scalar or have the shape {shape}, got {array.shape}.")
    return array, unit


def replaced(module: Any, **changes: Any) -> Any:
    """A copy of a module with other values of some fields."""
    copy = object.__new__(type(module))
    for name in module.__dataclass_fields__:
        object.__setattr__(copy, name, changes.get(name, getattr(module, name)))
    return copy

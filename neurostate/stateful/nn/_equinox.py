"""What our layers need around those of Equinox: batch axes, channels last, and weights of the user's choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import Array, Shape, Size, as_shape
from ..._parameters import parameter
from ..._units import is_quantity, join_quantity, split_quantity, to_plain
from ...init import param


def over_batch(function: Callable[..., Any], rank: int) -> Callable[..., Any]:
    """A function of arrays without batch axes, mapped over `rank` of them."""
    for _ in range(rank):
        function = jax.vmap(function)
    return function


def size_after(layer: Any, in_size: Shape) -> Shape:
    """The shape that a function of one array gives for one of the shape `in_size`."""
    return eqx.filter_eval_shape(layer, jax.ShapeDtypeStruct(in_size, jnp.result_type(float))).shape


def blank(layer_type: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """An Equinox layer with shapes in place of its random arrays."""
    return eqx.filter_eval_shape(lambda: layer_type(*args, key=jax.random.key(0), **kwargs))


def with_arrays(layer: Any, **arrays: Any) -> Any:
    """The layer with other arrays in the fields of these names; `None` leaves a field as it is."""
    names = [name for name, array in arrays.items() if array is not None]
    return eqx.tree_at(lambda layer: [getattr(layer, name) for name in names], layer, [arrays[name] for name in names])


def drawn(value: Any, shape: Shape, name: str, owner: str, copies: Shape = ()) -> Any:
    """What a user gives for weights as floats of the shape `(*copies, *shape)`, with their unit.

    **Raises:** `TypeError` or `ValueError`, naming the argument, for anything else than that.
    """
    if callable(value) and not is_quantity(value):
        value = param(value, shape, copies)
    mantissa, unit = split_quantity(value)
    full = (*copies, *shape)
    return join_quantity(jnp.broadcast_to(parameter(mantissa, None, name, size=full, owner=owner), full), unit)


def drawn_plain(value: Any, shape: Shape, name: str, owner: str, copies: Shape = ()) -> Array:
    """As `drawn`, for weights without a unit."""
    return to_plain(drawn(value, shape, name, owner, copies), None, name, owner)


def image_size(in_size: Size, axes: tuple[str, ...], owner: str) -> Shape:
    """An `in_size` that has these axes.

    **Raises:** `ValueError` if it has another number of them.
    """
    size = as_shape(in_size)
    if len(size) != len(axes):
        raise ValueError(f"The `in_size` of `{owner}` is ({', '.join(axes)}), channels last; got {size}.")
    return size


class ChannelsLast(eqx.Module):
    """An Equinox layer, which has the channels first, for inputs and outputs that have them last."""

    layer: Callable[..., Any]

    def __call__(self, x: Any) -> Any:
        return jnp.moveaxis(self.layer(jnp.moveaxis(x, -1, 0)), 0, -1)

"""The axes of an array, as the caller declares them: checked, and put in order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, QuantityLike, Shape
from .._units import Unit, argument, as_float_array, is_traced, to_plain


TIME: Final = "time"
OUTPUTS: Final = ("class", "neuron")


@dataclass(frozen=True)
class Layout:
    """What the axes of an array are: the position of time, if it has that axis, of the batch and of the outputs."""

    names: tuple[str, ...]
    shape: Shape
    name: str
    owner: str

    @property
    def batch_axes(self) -> tuple[int, ...]:
        return tuple(i for i, name in enumerate(self.names) if name != TIME and name not in OUTPUTS)

    @property
    def batch_shape(self) -> Shape:
        return tuple(self.shape[i] for i in self.batch_axes)

    def without(self, *names: str) -> Layout:
        kept = [i for i, name in enumerate(self.names) if name not in names]
        return Layout(tuple(self.names[i] for i in kept), tuple(self.shape[i] for i in kept), self.name, self.owner)

    def arrange(self, array: Array) -> Array:
        """Moves time to the front and the outputs, as one axis, to the end."""
        outputs = tuple(i for i, name in enumerate(self.names) if name in OUTPUTS)
        time = tuple(i for i, name in enumerate(self.names) if name == TIME)
        ordered = jnp.transpose(array, (*time, *self.batch_axes, *outputs))
        return ordered if len(outputs) < 2 else ordered.reshape(*ordered.shape[: -len(outputs)], -1)

    def check(self, shape: Shape, name: str) -> None:
        """Refuses another argument whose shape is not that of the axes left."""
        if shape != self.shape:
            raise ValueError(
                f"{argument(self.owner, name)} must have the shape {self.shape}, of the axes "
                f'"{" ".join(self.names)}" of `{self.name}`, got {shape}.'
            )


def declared(
    axes: str, shape: Shape, name: str, owner: str, *, over_time: bool = True, several: bool = False
) -> Layout:
    """Reads `axes`, the names of the axes of an array.

    **Raises:** `TypeError` if they are not a string; `ValueError` if there are more or fewer than the array has, or if
    `time` (where `over_time`) or the axis of the outputs does not occur once; with `several`, there may be more of
    those.
    """
    if not isinstance(axes, str):
        raise TypeError(f'{argument(owner, "axes")} must be a string such as "time batch class", got {axes!r}.')
    names = tuple(axes.split())
    num_outputs = sum(n in OUTPUTS for n in names)
    if names.count(TIME) != over_time or num_outputs < 1 or (num_outputs > 1 and not several):
        time, least = f"`{TIME}` once, " if over_time else "", "at least " if several else ""
        raise ValueError(
            f"{argument(owner, 'axes')} must name {time}`class` or `neuron` {least}once, and "
            f'any other names are axes of the batch; got "{axes}".'
        )
    if len(names) != len(shape):
        example = f"{TIME} class" if over_time else "class"
        raise ValueError(
            f'`{owner}` got `{name}` of shape {shape}, but `axes="{axes}"` names {len(names)} axes. Name every axis in '
            f'order: `axes="{example}"` without a batch, for example.'
        )
    return Layout(names, tuple(shape), name, owner)


@dataclass(frozen=True)
class Series:
    """An array over time: `values` of shape `(time, *batch, output)`, 0 where the `mask` of shape `(time, *batch)` is.

    The outputs of several axes are one.
    """

    values: Array
    mask: Array | None
    layout: Layout

    @property
    def num_steps(self) -> Array:
        """How many time steps of each example count, at least 1."""
        if self.mask is None:
            return jnp.full(self.values.shape[1:-1], max(self.values.shape[0], 1), self.values.dtype)
        return jnp.maximum(jnp.sum(self.mask, axis=0, dtype=self.values.dtype), 1)

    def largest(self) -> Array:
        """The largest values over time, of shape `(*batch, output)`."""
        if self.mask is None:
            return jnp.max(self.values, axis=0)
        return jnp.max(jnp.where(self.mask[..., None], self.values, jnp.finfo(self.values.dtype).min), axis=0)

    def over_batch(self, x: Array) -> Array:
        """The mean of `x`, of shape `(*batch, ...)`, over all but the examples without any time step; 0 of none."""
        if self.mask is None:
            return mean(x)
        kept = jnp.any(self.mask, axis=0)
        kept = jnp.broadcast_to(kept.reshape(kept.shape + (1,) * (x.ndim - kept.ndim)), x.shape)
        return jnp.sum(jnp.where(kept, x, 0)) / jnp.maximum(jnp.sum(kept, dtype=x.dtype), 1)

    def targets(self, given: QuantityLike, unit: Unit | None, name: str, *, over_time: bool) -> Array:
        """Another argument that has the axes of the series, in the same order, all or without time."""
        array = jnp.asarray(as_floats(given, unit, name, self.layout.owner), self.values.dtype)
        layout = self.layout if over_time else self.layout.without(TIME)
        layout.check(array.shape, name)
        return layout.arrange(array)


def as_series(
    x: QuantityLike, unit: Unit | None, name: str, owner: str, axes: str, mask: Any, *, several: bool = False
) -> Series:
    """Reads an array over time, of at least float32, and the mask that has its axes without the outputs.

    **Raises:** as `declared`; `UnitError` for a wrong dimension; `ValueError` if the mask has another shape, or is not
    boolean.
    """
    values = as_floats(x, unit, name, owner)
    layout = declared(axes, values.shape, name, owner, several=several)
    values = layout.arrange(values)
    if mask is None:
        return Series(values, None, layout)
    mask = jnp.asarray(mask)
    if mask.dtype != bool:
        raise ValueError(f"{argument(owner, 'mask')} must be boolean, got one of dtype {mask.dtype}.")
    rest = layout.without(*OUTPUTS)
    rest.check(mask.shape, "mask")
    mask = rest.arrange(mask)
    return Series(jnp.where(mask[..., None], values, 0), mask, layout)


def as_labels(labels: Any, layout: Layout) -> Array:
    """Reads classes, of the shape of the batch, or their probabilities, floats which have the axis `class` as well.

    **Raises:** `ValueError` for probabilities of another shape; else as `as_classes`.
    """
    array = jnp.asarray(labels)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return as_classes(labels, layout)
    rest = layout.without(TIME)
    rest.check(array.shape, "labels")
    return rest.arrange(array)


def as_classes(labels: Any, layout: Layout) -> Array:
    """Reads classes, of the shape of the batch.

    One that is out of range, but not known to be when JAX traces, becomes one that Optax takes to NaN.

    **Raises:** `TypeError` if they are not integers; `ValueError` for another shape, with the order of the axes that
    would fit, or for a class that is out of range.
    """
    owner, array = layout.owner, jnp.asarray(labels)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(
            f"{argument(owner, 'labels')} must be integers, the classes (floats are probabilities, for a loss), got an "
            f"array of dtype {array.dtype}."
        )
    if array.shape != layout.batch_shape:
        raise ValueError(_other_order(layout, array.shape))
    num_classes = next(n for n, name in zip(layout.shape, layout.names) if name in OUTPUTS)
    if not any(map(is_traced, jax.tree.leaves(labels))):
        known = np.asarray(labels)
        wrong = known[(known < 0) | (known >= num_classes)]
        if wrong.size:
            raise ValueError(
                f"{argument(owner, 'labels')} must be from 0 to {num_classes - 1}, since there are {num_classes} "
                f"classes, got {wrong[0]}."
            )
    return jnp.where(array < 0, num_classes, array)


def _other_order(layout: Layout, shape: Shape) -> str:
    """Says that labels of this shape do not fit, and with which order of the axes they would."""
    axes = " ".join(layout.names)
    text = (
        f"{argument(layout.owner, 'labels')} must be integers of the shape of the batch, which is {layout.batch_shape} "
        f'for `axes="{axes}"` and `{layout.name}` of shape {layout.shape}, got {shape}.'
    )
    batch = [layout.names[i] for i in layout.batch_axes]
    rest = [name for name in layout.names if name not in batch]
    orders = []
    for places in itertools.combinations(range(len(layout.names)), len(batch)):
        if tuple(layout.shape[i] for i in places) == shape:
            names = (iter(rest), iter(batch))
            orders.append(" ".join(next(names[i in places]) for i in range(len(layout.names))))
    if not orders:
        return text
    return f"{text} They fit " + " or ".join(f'`axes="{order}"`' for order in orders) + "."


def mean(x: Array) -> Array:
    """The mean of all of `x`, and 0 of nothing."""
    return jnp.mean(x) if x.size else jnp.zeros((), x.dtype)


def as_floats(x: QuantityLike, unit: Unit | None, name: str, owner: str) -> Array:
    plain = to_plain(x, unit, name, owner)
    try:
        values = as_float_array(plain)
    except TypeError as error:
        raise TypeError(f"{argument(owner, name)} must be numeric, got {x!r}. {error}") from None
    return values if values.dtype.itemsize >= 4 else values.astype(jnp.float32)

"""Connections whose weights are a kernel that moves over the population."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size, as_shape
from .._units import Unit, argument
from ..neuron._fields import static_field
from ._base import replaced, unit_field, weight_field, weights
from ._shared import AbstractShared


class Conv(AbstractShared):
    """A convolution over a population on a line or a grid of up to three axes, whose last axis has the channels.

    As in deep learning, the kernel is not mirrored. The output has the shape `out_size`, which follows from the
    arguments, with its channels last.

    **Arguments:**

    - `in_size`: `(length, channels)`, `(height, width, channels)` or `(depth, height, width, channels)`.
    - `out_channels`: The number of channels of the output.
    - `kernel_size`: An int, or one for each axis of space.
    - `weight`: The kernel, `(*kernel_size, channels / groups, out_channels)`, in any unit, or a scalar or an
        initialiser. It can be trained.
    - `stride`, `dilation`: By how many neurons the kernel moves, and how far apart its elements are: ints, or one for
        each axis of space.
    - `padding`: `"SAME"`, `"VALID"`, or a pair of ints for each axis of space.
    - `groups`: Into how many parts the channels are divided, each with a kernel of its own.
    - `key`: A random key, for weights that are drawn.

    **Raises:** `ValueError` for a wrong shape or setting; `TypeError` for what is not numeric.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> conv = ns.connect.Conv((4, 1), 1, 3, jnp.ones((3, 1, 1)))
    >>> print(conv.out_size, conv(jnp.ones((4, 1)))[:, 0])
    (4, 1) [2. 3. 3. 2.]
    """

    weight: Float[Array, "..."] = weight_field()
    in_size: Shape = static_field()
    out_size: Shape = static_field()
    stride: Shape = static_field()
    padding: Any = static_field()
    dilation: Shape = static_field()
    groups: int = static_field()
    I_unit: Unit = unit_field()

    def __init__(
        self,
        in_size: Size,
        out_channels: int,
        kernel_size: Size,
        weight: QuantityLike = 1.0,
        *,
        stride: Size = 1,
        padding: str | Sequence[tuple[int, int]] = "SAME",
        dilation: Size = 1,
        groups: int = 1,
        key: Key | None = None,
    ):
        self.in_size, self.groups = as_shape(in_size), groups
        axes = len(self.in_size) - 1
        if axes not in (1, 2, 3):
            needed = "one to three axes and then the channels"
            raise ValueError(f"{argument('Conv', 'in_size')} must have {needed}, got {in_size}.")
        if groups < 1 or self.in_size[-1] % groups or out_channels % groups:
            channels = f"{self.in_size[-1]} channels in and {out_channels} out"
            raise ValueError(f"{argument('Conv', 'groups')} must divide both {channels}, got {groups}.")
        kernel = _for_each_axis(kernel_size, axes, "kernel_size")
        self.stride, self.dilation = (
            _for_each_axis(given, axes, name) for given, name in ((stride, "stride"), (dilation, "dilation"))
        )
        self.padding = _as_padding(padding, axes)
        shape = (*kernel, self.in_size[-1] // groups, out_channels)
        array, self.I_unit = weights(weight, shape, "Conv", key)
        self.weight = jnp.broadcast_to(array, shape)
        image = jax.ShapeDtypeStruct((1, *self.in_size), self.weight.dtype)
        self.out_size = jax.eval_shape(lambda *args: self._convolve(*args), image, self.weight).shape[1:]
        if not math.prod(self.out_size):
            raise ValueError(f"`Conv` has no output: a kernel {kernel} does not fit into the size {self.in_size}.")

    def _convolve(self, x: Array, weight: Array) -> Array:
        space = "DHW"[-len(self.stride) :]
        return jax.lax.conv_general_dilated(
            x,
            weight,
            self.stride,
            self.padding,
            rhs_dilation=self.dilation,
            dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
            feature_group_count=self.groups,
        )

    def sum(self, x: Float[Array, "batch num_in"]) -> Float[Array, "batch num_out"]:
        batch = x.shape[0]
        return self._convolve(x.reshape(batch, *self.in_size), self.weight.astype(x.dtype)).reshape(batch, -1)

    def scaled(self, factor: float, I_unit: Unit) -> Self:
        return replaced(self, weight=self.weight * factor, I_unit=I_unit)

    @property
    def num_synapses(self) -> int:
        ones = self._convolve(jnp.ones((1, *self.in_size)), jnp.ones(self.weight.shape))
        return int(ones.astype(int).sum())


def _for_each_axis(given: Size, axes: int, name: str) -> Shape:
    shape = as_shape(given)
    shape = shape * axes if isinstance(given, int | np.integer) else shape
    if len(shape) != axes or min(shape) < 1:
        needed = f"must be an int or have {axes} of them, all positive"
        raise ValueError(f"{argument('Conv', name)} {needed}, got {given!r}.")
    return shape


def _as_padding(given: Any, axes: int) -> Any:
    if given in ("SAME", "VALID"):
        return given
    pairs = () if isinstance(given, str) else tuple(as_shape(pair) for pair in given)
    if len(pairs) != axes or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"{argument('Conv', 'padding')} must be 'SAME', 'VALID' or {axes} pairs of ints, one for each axis of "
            f"space, got {given!r}."
        )
    return pairs

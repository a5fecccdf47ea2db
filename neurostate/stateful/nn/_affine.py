"""Layers that are linear in their input, with units: `Linear` and the convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import QuantityLike, Size, as_shape
from ..._units import join_quantity, split_quantity, to_plain
from ...init import KaimingNormal, XavierNormal, ZeroInit
from .._ref import ParamState
from ._equinox import ChannelsLast, blank, drawn, image_size, size_after, with_arrays
from ._layers import Layer


class _Affine(Layer):
    """A layer that is linear in its `weight` and in its input, and may add a `bias`.

    Equinox has the weight as `(outputs, inputs, *kernel)`; initialisers and masks have it as
    `(*kernel, inputs, outputs)`, which is what fans are counted by.
    """

    def __init__(
        self,
        layer: Any,
        in_size: Size,
        out_size: Size,
        w_init: QuantityLike,
        b_init: QuantityLike,
        w_mask: QuantityLike,
        name: str | None,
        param_type: Callable[[Any], Any],
    ):
        outputs, inputs, *kernel = layer.weight.shape
        owner = type(self).__name__

        def in_layout(value: Any, argument: str) -> Any:
            array = drawn(value, (*kernel, inputs, outputs), argument, owner)
            return jax.tree.map(lambda x: jnp.moveaxis(x, (-1, -2), (0, 1)), array)

        weight, bias = in_layout(w_init, "w_init"), None
        if b_init is not None:
            bias = jax.tree.map(lambda x: x.reshape(layer.bias.shape), drawn(b_init, (outputs,), "b_init", owner))
        super().__init__(with_arrays(layer, weight=weight, bias=bias), in_size, out_size, name, param_type)
        self.w_mask = None if w_mask is None else to_plain(in_layout(w_mask, "w_mask"), None, "w_mask", owner)

    def update(self, x: Any) -> Any:
        """The output for an input of the shape `(*batch, *in_size)`, in the unit of the weight times that of `x`."""
        x, x_unit = split_quantity(x)
        layer, slots = self.layer, self._tree
        factor, unit = split_quantity(join_quantity(1.0, slots.weight.unit) * join_quantity(1.0, x_unit))
        if factor != 1.0:  # the units cancel but for a number, as in mV * (1 / volt)
            x = x * factor
        if self.w_mask is not None:
            layer = with_arrays(layer, weight=layer.weight * self.w_mask)
        if layer.bias is not None and slots.bias.unit is not None:
            bias = to_plain(join_quantity(layer.bias, slots.bias.unit), unit, "bias", type(self).__name__)
            layer = with_arrays(layer, bias=bias)
        return join_quantity(self._mapped(self._function(layer), x), unit)

    def _function(self, layer: Any) -> Callable[..., Any]:
        return layer


class Linear(_Affine):
    """A linear map of the last axis, as `equinox.nn.Linear`: `weight @ x + bias`.

    **Arguments:**

    - `in_size`, `out_size`: Ints, or shapes that differ in their last axis only.
    - `w_init`: An initialiser of shape `(inputs, outputs)`, or an array of it. The parameter `weight` is
        its transpose, as in Equinox.
    - `b_init`: The same for the parameter `bias`, of shape `(outputs,)`; no bias if it is `None`.
    - `w_mask`: An array, or a function of the shape, of shape `(inputs, outputs)`, which the weights are
        multiplied with on each call.
    - `name`: A name for messages.
    - `param_type`: The kind of reference of both parameters.

    Weights with a unit keep it, and the output has the unit of the weights times that of the input. A
    bias with a unit must fit that; a plain one is taken to be in it.

    **Raises:** `ValueError` if the sizes do not fit, at construction or in a call; `UnitError` if the
    unit of the bias does not.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> layer = ns.nn.Linear(3, 4, w_init=ns.init.KaimingNormal(unit=u.mA))
    >>> out = layer(jnp.ones((5, 3)))
    >>> out.shape, out.unit, layer.weight.value.shape
    ((5, 4), Unit("mA"), (4, 3))
    """

    _rank = 1

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        w_init: QuantityLike = KaimingNormal(),
        b_init: QuantityLike = ZeroInit(),
        w_mask: QuantityLike = None,
        name: str | None = None,
        param_type: Callable[[Any], Any] = ParamState,
    ):
        in_size, out_size = as_shape(in_size), as_shape(out_size)
        if not in_size or not out_size or in_size[:-1] != out_size[:-1]:
            raise ValueError(
                f"`Linear` maps the last axis, so `in_size` and `out_size` must be equal but for that; got {in_size} "
                f"and {out_size}. Put a `Flatten` before it to map all axes."
            )
        layer = blank(eqx.nn.Linear, in_size[-1], out_size[-1], use_bias=b_init is not None)
        super().__init__(layer, in_size, out_size, w_init, b_init, w_mask, name, param_type)


class _Conv(_Affine):
    layer_type: ClassVar[Callable[..., Any]]
    axes: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        in_size: Sequence[int],
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] | Sequence[tuple[int, int]] = "SAME",
        rhs_dilation: int | Sequence[int] = 1,
        groups: int = 1,
        w_init: QuantityLike = XavierNormal(),
        b_init: QuantityLike = None,
        w_mask: QuantityLike = None,
        name: str | None = None,
        param_type: Callable[[Any], Any] = ParamState,
    ):
        in_size = image_size(in_size, self.axes, type(self).__name__)
        layer = blank(
            self.layer_type,
            in_size[-1],
            out_channels,
            kernel_size,
            stride,
            padding,
            rhs_dilation,
            groups,
            use_bias=b_init is not None,
        )
        out_size = size_after(ChannelsLast(layer), in_size)
        super().__init__(layer, in_size, out_size, w_init, b_init, w_mask, name, param_type)

    def _function(self, layer: Any) -> Callable[..., Any]:
        return ChannelsLast(layer)


class Conv1d(_Conv):
    """A convolution over the length of inputs `(*batch, length, channels)`, as `equinox.nn.Conv1d`.

    Inputs and outputs have their channels last. The parameter `weight` is that of Equinox,
    `(out_channels, channels / groups, *kernel_size)`, and so is `bias`.

    **Arguments:**

    - `in_size`: `(length, channels)`. `out_size` follows from it and from the other arguments.
    - `out_channels`, `kernel_size`, `stride`, `padding`, `groups`: as [`equinox.nn.Conv`][], but the
        padding is `"SAME"` if it is not given.
    - `rhs_dilation`: How far apart the elements of the kernel are: Equinox' `dilation`.
    - `w_init`: An initialiser of shape `(*kernel_size, channels / groups, out_channels)`, or an array of it.
    - `b_init`: The same for the bias, of shape `(out_channels,)`; no bias if it is `None`.
    - `w_mask`: What the weights are multiplied with on each call; its shape is that of `w_init`.
    - `name`: A name for messages.
    - `param_type`: The kind of reference of both parameters.

    Units are as in [`neurostate.nn.Linear`][].

    **Raises:** `ValueError` if the sizes do not fit, at construction or in a call; `UnitError` if the
    unit of the bias does not.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> conv = ns.nn.Conv1d((10, 2), out_channels=4, kernel_size=3, stride=2)
    >>> conv.out_size, conv(jnp.ones((5, 10, 2))).shape, conv.weight.value.shape
    ((5, 4), (5, 5, 4), (4, 2, 3))
    """

    layer_type = eqx.nn.Conv1d
    axes = ("length", "channels")


class Conv2d(_Conv):
    """A convolution over images `(*batch, height, width, channels)`, as `equinox.nn.Conv2d`.

    The arguments and errors are those of [`neurostate.nn.Conv1d`][], with `in_size` as
    `(height, width, channels)`.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> conv = ns.nn.Conv2d((8, 8, 2), out_channels=4, kernel_size=3, padding="VALID")
    >>> conv.out_size, conv(jnp.ones((5, 8, 8, 2))).shape, conv.weight.value.shape
    ((6, 6, 4), (5, 6, 6, 4), (4, 2, 3, 3))
    """

    layer_type = eqx.nn.Conv2d
    axes = ("height", "width", "channels")

"""Layers without parameters that change the shape: pooling and `Flatten`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from ..._custom_types import Size, as_shape
from ..._units import join_quantity, split_quantity
from ._equinox import ChannelsLast, image_size, over_batch, size_after
from ._layers import Sized


class _Pool(Sized):
    layer_type: ClassVar[Callable[..., Any]]
    axes: ClassVar[tuple[str, ...]]
    is_average: ClassVar[bool]

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: str | int | Sequence[int] | Sequence[tuple[int, int]] = "VALID",
        name: str | None = None,
        in_size: Size | None = None,
    ):
        super().__init__(name=name)
        owner = type(self).__name__
        if isinstance(padding, str) and padding != "VALID":
            raise ValueError(f"The `padding` of `{owner}` is 'VALID', an int or ints for each axis; got {padding!r}.")
        if stride is None:
            stride = 1 if self.is_average else kernel_size
        layer = type(self).layer_type(kernel_size, stride, 0 if padding == "VALID" else padding)
        self._pool, self._is_padded = ChannelsLast(layer), any(map(any, layer.padding))
        self.in_size = None if in_size is None else image_size(in_size, self.axes, owner)
        self.out_size = None if self.in_size is None else size_after(self._pool, self.in_size)

    def update(self, x: Any) -> Any:
        """The pooled input; takes an array or a Quantity of the shape `(*batch, *space, channels)`."""
        x, unit = split_quantity(x)
        x, rank = jnp.asarray(x), len(self.axes)
        self.batch_shape(x)
        if x.ndim < rank:
            axes = ", ".join(["*batch", *self.axes])
            raise ValueError(f"{self._words()} needs an input of the shape ({axes}), but got one of {x.shape}.")
        out = over_batch(self._pool, x.ndim - rank)(x)
        if self.is_average and self._is_padded:
            out = out / self._pool(jnp.ones(x.shape[-rank:], out.dtype))
        return join_quantity(out, unit)


class MaxPool1d(_Pool):
    """The maximum of each window over the length of inputs `(*batch, length, channels)`, as `equinox.nn.MaxPool1d`.

    **Arguments:**

    - `kernel_size`: The length of a window.
    - `stride`: How far apart windows start; `kernel_size` if it is not given.
    - `padding`: `"VALID"` for none, or as [`equinox.nn.MaxPool1d`][].
    - `name`: A name for messages.
    - `in_size`: `(length, channels)`; with it there is an `out_size`, and inputs are checked.

    **Raises:** `ValueError` for an input of another size.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> ns.nn.MaxPool1d(2)(jnp.arange(6.0).reshape(6, 1)).ravel().tolist()
    [1.0, 3.0, 5.0]
    """

    layer_type, axes, is_average = eqx.nn.MaxPool1d, ("length", "channels"), False


class MaxPool2d(_Pool):
    """The maximum of each window of images `(*batch, height, width, channels)`, as `equinox.nn.MaxPool2d`.

    The arguments and errors are those of [`neurostate.nn.MaxPool1d`][], with a number for each axis or
    one for both, and `in_size` as `(height, width, channels)`.

    >>> import neurostate as ns
    >>> ns.nn.MaxPool2d(2, in_size=(8, 6, 3)).out_size
    (4, 3, 3)
    """

    layer_type, axes, is_average = eqx.nn.MaxPool2d, ("height", "width", "channels"), False


class AvgPool1d(_Pool):
    """The mean of each window over the length of inputs `(*batch, length, channels)`, as `equinox.nn.AvgPool1d`.

    The arguments and errors are those of [`neurostate.nn.MaxPool1d`][], but the stride is 1 if it is not
    given. Unlike in Equinox, what is padded does not count as zeros: the mean is over the rest of the window.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> ns.nn.AvgPool1d(3, padding=1)(jnp.arange(4.0).reshape(4, 1)).ravel().tolist()
    [0.5, 1.0, 2.0, 2.5]
    """

    layer_type, axes, is_average = eqx.nn.AvgPool1d, ("length", "channels"), True


class AvgPool2d(_Pool):
    """The mean of each window of images `(*batch, height, width, channels)`, as `equinox.nn.AvgPool2d`.

    The arguments and errors are those of [`neurostate.nn.AvgPool1d`][], with a number for each axis or
    one for both, and `in_size` as `(height, width, channels)`.

    >>> import neurostate as ns
    >>> ns.nn.AvgPool2d(2, 2, in_size=(8, 6, 3)).out_size
    (4, 3, 3)
    """

    layer_type, axes, is_average = eqx.nn.AvgPool2d, ("height", "width", "channels"), True


class Flatten(Sized):
    """Makes one axis of several.

    **Arguments:**

    - `start_axis`, `end_axis`: The first and the last of them: of the axes of `in_size` if that is given
        (batch axes in front stay), else of all.
    - `in_size`: The shape of the input without batch axes.
    - `name`: A name for messages.

    **Raises:** `ValueError` if there are no such axes; with `in_size`, for an input of another size.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> flatten = ns.nn.Flatten(in_size=(4, 3, 2))
    >>> flatten.out_size, flatten(jnp.ones((5, 4, 3, 2))).shape
    ((24,), (5, 24))
    """

    def __init__(self, start_axis: int = 0, end_axis: int = -1, in_size: Size | None = None, name: str | None = None):
        super().__init__(name=name)
        self.start_axis, self.end_axis = start_axis, end_axis
        self.in_size = None if in_size is None else as_shape(in_size)
        self.out_size = None if self.in_size is None else self._flat(self.in_size)

    def update(self, x: Any) -> Any:
        """The same values, in a shape with one axis for those."""
        x, unit = split_quantity(x)
        batch = () if self.in_size is None else self.batch_shape(x)
        flat = self._flat(jnp.shape(x)[len(batch) :])
        return join_quantity(jnp.reshape(x, (*batch, *flat)), unit)

    def _flat(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        axes = range(len(shape))
        try:
            start, end = axes[self.start_axis], axes[self.end_axis]
        except IndexError:
            start, end = 1, 0
        if start > end:
            raise ValueError(
                f"{self._words()} has no axes {self.start_axis} to {self.end_axis} to join in the shape {shape}."
            )
        return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])

"""`param`: a parameter from whatever a user gives for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Key, QuantityLike, Shape, Size, as_shape
from .._units import Unit, is_quantity, join_quantity
from ._base import Initializer, draw
from ._support import gather, is_numeric, split


_MSG_SHAPE: Final = (
    "`param`: the {what} has shape {got}, which does not broadcast to {needed}, the shape that was asked for{batch}.\n"
    "Give a scalar, an array of shape {needed} or one that broadcasts to it, or an initialiser such as "
    "`Normal(...)`, which makes values of any shape."
)
_MSG_TYPE: Final = (
    "`param` needs a number, an array, a Quantity, a list of these, an initialiser or None, got {got}.\n"
    "Convert an array of another library with `jax.numpy.asarray` first."
)

_reference_type: type | None = None


def _set_reference_type(cls: type | None) -> type | None:
    """Tells `param` about mutable references that hold a value in `.value`, so that it takes them too.

    **Returns:** The type that was set before, so that it can be put back.
    """
    global _reference_type
    previous, _reference_type = _reference_type, cls
    return previous


def param(
    value: Initializer | Callable[..., Any] | None,
    shape: Size | None = None,
    batch_size: Size | None = None,
    allow_none: bool = True,
    allow_scalar: bool = True,
    *,
    key: Key | None = None,
    sizes: Size | None = None,
    **kwargs: Any,
) -> Array | QuantityLike | None:
    """Makes a parameter from a number, an array, a Quantity, an initialiser or a function of the shape.

    The result always holds a JAX array with a dtype of its own, also inside a Quantity, so that filters
    for trainable arrays find it. Numbers become JAX's default float; so do integers that have a unit.
    Other arrays keep their dtype. The unit stays as given.

    Without `batch_size` a scalar stays a scalar, and an array stays as it is if it broadcasts to `shape`.
    With `batch_size` the result has the shape `(batch_size, *shape)`; an initialiser then draws
    independently along the batch.

    **Arguments:**

    - `value`: What the user gave. A function is called as `value(shape)`, with `key=` if there is a key
        and its signature has a place for it; one whose first parameter is called `key`, like those of
        `jax.nn.initializers`, is called as `value(key, shape)`.
    - `shape`: The shape of the parameter.
    - `batch_size`: The length of a leading batch axis, or a shape of several; `()` is no batch axis but
        fills `shape`.
    - `allow_none`: Whether `None` is passed through.
    - `allow_scalar`: Whether a number may stand for all values.
    - `key`: A JAX random key, for values that are drawn.
    - `sizes`: Another spelling of `shape`.
    - `kwargs`: Passed on to an initialiser or function.

    **Returns:** A JAX array, a Quantity of one, or `None` if `value` is `None`.

    **Raises:** `ValueError` if the shape does not fit or `None` is not allowed; `TypeError` if `value` is
    of another type, or a number where none is allowed.

    >>> import brainunit as u
    >>> from neurostate.init import param
    >>> param(5 * u.ms, 3)
    Quantity(5., "ms")
    >>> param([1.0, 2.0], 2, batch_size=3).shape
    (3, 2)
    """
    if value is None:
        if allow_none:
            return None
        raise ValueError("`param` got None where a parameter is needed. Give a number, an array or an initialiser.")
    shape = shape if shape is not None else sizes
    if shape is None:
        raise TypeError("`param` needs the `shape` of the parameter as its second argument.")
    shape = as_shape(shape)
    batch_shape = None if batch_size is None else as_shape(batch_size)

    if _reference_type is not None and isinstance(value, _reference_type):
        reference: Any = value
        result = param(reference.value, shape, batch_size, allow_none, allow_scalar)
        if batch_shape is not None:
            reference.value = result
        return reference

    what = "value"
    if callable(value) and not is_quantity(value):
        what = f"result of `{getattr(value, '__name__', None) or repr(value)}`"
        value = draw(value, shape, key, batch_shape or (), kwargs)
    elif not allow_scalar and np.shape(split(gather(value, "param", "value"))[0]) == () != shape:
        raise TypeError(
            f"`param` got the scalar {value!r} where one value for each of {shape} is needed. "
            "Give an array, or `Constant(...)` to repeat the scalar."
        )
    mantissa, unit = split(gather(value, "param", "value"))
    array = _as_array(mantissa, unit)
    _check(array.shape, shape, batch_shape, what)
    if batch_shape is not None:
        array = jnp.broadcast_to(array, (*batch_shape, *shape))
    return join_quantity(array, unit)


def _as_array(mantissa: Any, unit: Unit | None) -> Array:
    """A JAX array with a strong dtype."""
    if not is_numeric(mantissa):
        raise TypeError(_MSG_TYPE.format(got=repr(mantissa)))
    is_array = isinstance(mantissa, jax.Array | np.ndarray)
    dtype = jnp.asarray(mantissa).dtype
    # A whole number written by hand, as in `5 * u.ms`, means a real parameter; an integer array may be a mask
    # or a table of indices.
    if jnp.issubdtype(dtype, jnp.integer) and not (is_array and unit is None):
        dtype = jnp.result_type(float)
    return jnp.asarray(mantissa, dtype=dtype)


def _check(got: Shape, shape: Shape, batch_shape: Shape | None, what: str) -> None:
    """Raises unless an array of shape `got` broadcasts to `shape`, with the batch axes in front if there are any."""
    needed = (*(batch_shape or ()), *shape)
    if len(got) > len(needed) or any(n not in (1, m) for n, m in zip(reversed(got), reversed(needed))):
        batch = f" (batch axes {batch_shape} before {shape})" if batch_shape else ""
        raise ValueError(_MSG_SHAPE.format(what=what, got=got, needed=needed, batch=batch))

"""The weights of a readout, and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._custom_types import Array, Key, QuantityLike, Size, as_shape
from .._units import argument, as_float_array, to_plain
from ..init import param


def make_weight(
    w_init: QuantityLike | Callable[..., Any], in_size: Size, out_size: Size, key: Key | None, owner: str
) -> Any:
    """The weights, an array or Quantity of shape `(inputs, outputs)`.

    **Raises:** `ValueError` for sizes that are not one number, or weights of another shape.
    """
    for name, size in (("in_size", in_size), ("out_size", out_size)):
        if len(as_shape(size)) != 1:
            raise ValueError(f"{argument(owner, name)} must be one number, got {size!r}. Flatten the axes before.")
    shape = (*as_shape(in_size), *as_shape(out_size))
    made = jax.tree.map(as_float_array, param(w_init, shape, allow_none=False, key=key))
    if jnp.shape(made) != shape:
        raise ValueError(f"{argument(owner, 'w_init')} must give weights of shape {shape}, got {jnp.shape(made)}.")
    return made


def as_inputs(given: QuantityLike, weight: Array, like: Array, owner: str) -> Array:
    """The inputs of a readout as a plain array, of the dtype of the state array `like`.

    **Raises:** `UnitError` if they have a dimension; `ValueError` if their shape is not that of the state but for the
    last axis.
    """
    x = jnp.asarray(to_plain(given, None, "input", f"{owner}.step"), like.dtype)
    needed = (*like.shape[:-1], weight.shape[0])
    if x.shape != needed:
        raise ValueError(
            f"`{owner}.step` got an input of shape {x.shape}, but its state needs {needed}. "
            "For a batch, make the state with the batch axes: `init_state(batch_shape=...)`."
        )
    return x

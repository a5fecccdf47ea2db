"""Normalisation: `LayerNorm`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx

from ..._custom_types import QuantityLike, Size, as_shape
from ...init import Constant, ZeroInit
from .._ref import ParamState
from ._equinox import drawn_plain, with_arrays
from ._layers import Layer


class LayerNorm(Layer):
    """Normalisation of the last axis to mean 0 and variance 1, as `equinox.nn.LayerNorm`.

    What comes out is multiplied with the parameter `weight`, and the parameter `bias` is added.

    **Arguments:**

    - `in_size`: The shape of the input without batch axes. Only its last axis is averaged over.
    - `epsilon`: What is added to the variance.
    - `use_bias`, `use_scale`: Whether there are a bias and a weight.
    - `bias_init`, `scale_init`: Their initialisers, of the shape of the last axis.
    - `name`: A name for messages.
    - `param_type`: The kind of reference of both parameters.

    **Raises:** `ValueError` when called with an input of another size.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.nn.LayerNorm(2)(jnp.array([[1.0, 3.0], [0.0, 8.0]])).round(3))
    [[-1.  1.]
     [-1.  1.]]
    """

    _rank = 1

    def __init__(
        self,
        in_size: Size,
        *,
        epsilon: float = 1e-6,
        use_bias: bool = True,
        use_scale: bool = True,
        bias_init: QuantityLike = ZeroInit(),
        scale_init: QuantityLike = Constant(1.0),
        name: str | None = None,
        param_type: Callable[[Any], Any] = ParamState,
    ):
        in_size = as_shape(in_size)
        if not in_size:
            raise ValueError("`LayerNorm` needs an `in_size` of at least one axis, got ().")
        layer = eqx.nn.LayerNorm(in_size[-1:], epsilon, use_scale, use_bias)
        size, owner = in_size[-1:], "LayerNorm"
        weight = drawn_plain(scale_init, size, "scale_init", owner)
        bias = drawn_plain(bias_init, size, "bias_init", owner)
        arrays = {"weight": weight if use_scale else None, "bias": bias if use_bias else None}
        super().__init__(with_arrays(layer, **arrays), in_size, in_size, name, param_type)

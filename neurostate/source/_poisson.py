"""Poisson-distributed numbers, quickly where few are expected."""

from __future__ import annotations

import functools
from typing import Any, Final

import jax
import jax.numpy as jnp

from .._custom_types import Array, Key, Shape


# Up to which mean a number is found by counting up to it.
_FEW: Final = 12.0


@functools.partial(jax.jit, static_argnames=("shape", "dtype"))
def poisson(key: Key, mean: Array, shape: Shape, dtype: Any) -> Array:
    """Numbers from the Poisson distribution of that mean, in a floating dtype.

    With a small mean by inversion: a uniform number is compared with the cumulative distribution, one count after the
    other, until it is passed by none. That is several times as fast as the method of rejection of
    `jax.random.poisson`, which is used otherwise.
    """
    mean = jnp.asarray(mean, dtype)

    def by_counting() -> Array:
        left = jax.random.uniform(key, shape, dtype)

        def one(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
            k, probability, left, count = state
            left = left - probability
            # What is left is never below the resolution of a uniform number, so that this ends.
            return k + 1, probability * mean / (k + 1), left, count + (left >= 0)

        start = (jnp.zeros((), dtype), jnp.exp(-mean), left, jnp.zeros(shape, dtype))
        largest = _FEW + 12 * _FEW**0.5
        return jax.lax.while_loop(lambda s: (s[2] >= 0).any() & (s[0] < largest), one, start)[3]

    def by_rejection() -> Array:
        return jax.random.poisson(key, mean, shape).astype(dtype)

    return jax.lax.cond(jnp.max(mean) <= _FEW, by_counting, by_rejection)

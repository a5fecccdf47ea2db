"""Normal numbers that are correlated between the cells of a population."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .._custom_types import Array, Key, Shape
from .._units import argument, is_traced


def check_correlation(correlation: Array | None, owner: str) -> None:
    """Refuses a correlation that is not one number between 0 and 1."""
    if correlation is None:
        return
    if correlation.ndim or not (is_traced(correlation) or 0 <= float(correlation) <= 1):
        raise ValueError(
            f"{argument(owner, 'correlation')} must be one number between 0 and 1, got {correlation!r}. "
            "With 1 all cells share their noise; `None` leaves them independent."
        )


def normal(key: Key, like: Array, size: Shape, correlation: Array | None) -> Array:
    r"""Standard normal numbers of the shape and dtype of `like`, whose last axes are those of the population.

    With a correlation $c$ each is $\sqrt{c}\,\eta + \sqrt{1 - c}\,\xi_i$, where $\eta$ is common to all cells of the
    population, so that the covariance of two is $c$. Batch axes are independent.
    """
    if correlation is None:
        return jax.random.normal(key, like.shape, like.dtype)
    own, common = jax.random.split(key)
    one = (*like.shape[: like.ndim - len(size)], *(1 for _ in size))
    shared = jax.random.normal(common, one, like.dtype)
    return jnp.sqrt(correlation) * shared + jnp.sqrt(1 - correlation) * jax.random.normal(own, like.shape, like.dtype)

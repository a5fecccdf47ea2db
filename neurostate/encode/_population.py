"""Values as the activity of a population with receptive fields."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, QuantityLike
from .._units import argument
from ..init._support import common_unit
from ._arguments import require


def population(
    x: QuantityLike, num: int, low: QuantityLike, high: QuantityLike, width: QuantityLike | None = None
) -> Array:
    r"""Population code: how active each of several neurons with Gaussian receptive fields is (Bohte, Kok and La Poutré
    2002).

    $$a_k = \exp\left(-\frac{(x - c_k)^2}{2\,\text{width}^2}\right)$$

    The centres $c_k$ go from `low` to `high` at equal distances. This adds no time axis: give the activities to
    [`neurostate.encode.latency`][], or times a rate to [`neurostate.encode.poisson`][].

    **Arguments:**

    - `x`: Values of any shape.
    - `num`: The number of neurons for each value, at least 2.
    - `low`, `high`: The first and the last centre.
    - `width`: The standard deviation of the receptive fields; by default the distance of two centres.

    All four values are in one unit, or none.

    **Returns:** An array of shape `(*shape of x, num)` with values from 0 to 1.

    **Raises:** `UnitError` if the units differ; `ValueError` if `num` is less than 2, `high` is not above `low`, or
    `width` is not positive.

    >>> import brainunit as u, neurostate as ns
    >>> activity = ns.encode.population(-60 * u.mV, num=3, low=-70 * u.mV, high=-50 * u.mV)
    >>> [f"{a:.3f}" for a in activity]
    ['0.607', '1.000', '0.607']
    """
    if isinstance(num, bool) or not isinstance(num, int | np.integer) or num < 2:
        raise ValueError(f"{argument('population', 'num')} must be an int of at least 2, got {num!r}.")
    _, (given, first, last, sigma) = common_unit("population", None, x=x, low=low, high=high, width=width)
    values, first, last = jnp.asarray(given, jnp.result_type(given, float)), jnp.asarray(first), jnp.asarray(last)
    require(last > first, "above `low`", high, "high", "population")
    sigma = (last - first) / (num - 1) if sigma is None else jnp.asarray(sigma)
    require(sigma > 0, "positive", width, "width", "population")
    distance = (values[..., None] - jnp.linspace(first, last, num)) / sigma
    return jnp.exp(-jnp.square(distance) / 2).astype(values.dtype)

"""White noise as an input."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size
from .._units import Unit
from ..neuron._fields import fill, quantity_field, static_field
from ._base import TIMES_SQRT_TIME, AbstractRandomSource, unit_of
from ._correlated import check_correlation, normal


class WhiteNoise(AbstractRandomSource):
    r"""Gaussian white noise around a mean (Gerstner et al. 2014, *Neuronal Dynamics*, section 8.1).

    $$x(t) = \text{mean} + \sigma\,\frac{\mathrm{d}W}{\mathrm{d}t}$$

    The output of a step is the mean of `x` over it, $\text{mean} + \sigma\,\xi/\sqrt{\Delta t}$ with $\xi \sim
    \mathcal{N}(0, 1)$, to be held as a drive during that whole step: its standard deviation grows as
    $1/\sqrt{\Delta t}$, and its integral over a time $T$ has the standard deviation $\sigma\sqrt{T}$ whatever `dt` is.

    As a current it gives a membrane without spikes, $\tau\dot V = -V + R\,x$, the stationary variance
    $R^2\sigma^2/\Delta t\,\tanh(\Delta t/2\tau)$. That is the $R^2\sigma^2/2\tau$ of the continuous equation but for
    a relative difference below $(\Delta t/\tau)^2/12$.

    The unit of `mean` is that of the noise, its `I_unit`: any unit, or none; `sigma` is in `I_unit` ms^0.5.

    **Arguments:**

    - `size`: Number of cells, or the shape of the population.
    - `mean`: The mean.
    - `sigma`: The strength of the noise: the standard deviation of its integral over 1 ms.
    - `correlation`: The correlation between any two cells, from 0 to 1. `None` leaves them independent; batch axes
        always are.
    - `I_unit`: The unit of the noise, for a `mean` that is a plain number.

    `mean` and `sigma` are scalars or arrays that broadcast to `size`, and can be trained.

    **Raises:** `UnitError` for a wrong dimension, naming the argument; `ValueError` for a wrong shape, or a
    `correlation` out of range; without a key, `step` raises too.

    >>> import brainunit as u, jax, jax.numpy as jnp, neurostate as ns
    >>> noise = ns.WhiteNoise(1000, 0.0 * u.nA, sigma=0.2 * u.nA * u.ms**0.5)
    >>> sol = ns.simulate(noise, jnp.zeros(10), dt=0.01 * u.ms, key=jax.random.key(0))
    >>> print(f"{sol.outputs.std():.1f}")  # 0.2 / sqrt(0.01)
    2.0
    """

    size: Shape = static_field()
    mean: Float[Array, " *#size"] = quantity_field("current")
    sigma: Float[Array, " *#size"] = quantity_field(TIMES_SQRT_TIME)
    correlation: Float[Array, ""] | None = quantity_field(None)
    I_unit: Unit = static_field()

    def __init__(
        self,
        size: Size,
        mean: QuantityLike,
        sigma: QuantityLike,
        *,
        correlation: QuantityLike | None = None,
        I_unit: Unit | None = None,
    ):
        unit = unit_of(mean, I_unit)
        fill(self, {**locals(), "I_unit": unit}, unit)
        check_correlation(self.correlation, "WhiteNoise")

    def initial(self) -> Array:
        return self.mean

    def draw(self, x: Array, dt: Any, key: Key) -> Array:
        return self.mean + self.sigma / jnp.sqrt(dt) * normal(key, x, self.size, self.correlation)

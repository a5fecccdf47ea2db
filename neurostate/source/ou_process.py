"""The Ornstein-Uhlenbeck process: noise that forgets with a time constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import jax.numpy as jnp

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size, as_shape
from .._parameters import parameter
from .._units import Unit, argument, ms
from ..init._keys import required_key
from ..integrate import phi
from ..neuron._fields import fill, initial_arrays, initial_field, quantity_field, static_field
from ._base import PER_SQRT_TIME, AbstractRandomSource, SourceState, unit_of
from ._correlated import check_correlation, normal


class OUProcess(AbstractRandomSource):
    r"""Ornstein-Uhlenbeck noise, one process for each cell (Uhlenbeck and Ornstein 1930).

    $$\mathrm{d}x = \frac{\text{mean} - x}{\tau}\,\mathrm{d}t + \sigma\,\mathrm{d}W$$

    One step draws from the exact transition over `dt` (Gillespie 1996),

    $$x(t + \Delta t) = \text{mean} + (x - \text{mean})\,e^{-\Delta t/\tau}
    + \sigma\sqrt{\tfrac{\tau}{2}\,(1 - e^{-2\Delta t/\tau})}\;\xi, \qquad \xi \sim \mathcal{N}(0, 1)$$

    so that the stationary variance is $\sigma^2\tau/2$ and the autocorrelation $e^{-t/\tau}$ whatever `dt` is. The
    output is `x` at the end of the step; as the drive of a neuron it acts during that whole step.

    The unit of `mean` is that of the noise, its `I_unit`: any unit, or none. Times are in ms, and `sigma` is in
    `I_unit` / ms^0.5.

    **Arguments:**

    - `size`: Number of cells, or the shape of the population.
    - `mean`: The mean.
    - `sigma`: The strength of the white noise.
    - `tau`: The time constant. A time, positive.
    - `correlation`: The correlation between any two cells, from 0 to 1, by a source that they have in common: their
        covariance is exactly `correlation` times the product of their standard deviations. It needs one `tau` for all
        cells. `None` leaves them independent; batch axes always are.
    - `x_initializer`: `x` at the start: a value, or an initialiser. By default it is drawn from the stationary
        distribution.
    - `I_unit`: The unit of the noise, for a `mean` that is a plain number.

    Each of `mean`, `sigma`, `tau` is a scalar or an array that broadcasts to `size`, and can be trained.

    **Raises:** `UnitError` for a wrong dimension, naming the argument; `ValueError` for a wrong shape, a `tau` that is
    not positive, or a `correlation` out of range or with several `tau`; without a key, `step` raises too.

    >>> import brainunit as u, jax, jax.numpy as jnp, neurostate as ns
    >>> noise = ns.OUProcess.from_std(3, 0.5 * u.nA, std=0.1 * u.nA, tau=5 * u.ms)
    >>> sol = ns.simulate(noise, jnp.zeros(100), dt=0.1 * u.ms, key=jax.random.key(0))
    >>> sol.outputs.shape, noise.I_unit
    ((100, 3), Unit("nA"))
    """

    size: Shape = static_field()
    mean: Float[Array, " *#size"] = quantity_field("current")
    sigma: Float[Array, " *#size"] = quantity_field(PER_SQRT_TIME)
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    correlation: Float[Array, ""] | None = quantity_field(None)
    x_initializer: Float[Array, " *#size"] | Callable[..., Any] | None = initial_field("current")
    I_unit: Unit = static_field()

    def __init__(
        self,
        size: Size,
        mean: QuantityLike,
        sigma: QuantityLike,
        tau: QuantityLike,
        *,
        correlation: QuantityLike | None = None,
        x_initializer: QuantityLike | Callable[..., Any] | None = None,
        I_unit: Unit | None = None,
    ):
        unit = unit_of(mean, I_unit)
        fill(self, {**locals(), "I_unit": unit}, unit)
        check_correlation(self.correlation, "OUProcess")
        if self.correlation is not None and self.tau.size > 1:
            raise ValueError(
                f"{argument('OUProcess', 'tau')} must be one value if there is a `correlation`, got an array of shape "
                f"{self.tau.shape}. Cells that forget at different rates have no covariance independent of `dt`."
            )

    @classmethod
    def from_std(
        cls,
        size: Size,
        mean: QuantityLike,
        std: QuantityLike,
        tau: QuantityLike,
        *,
        correlation: QuantityLike | None = None,
        x_initializer: QuantityLike | Callable[..., Any] | None = None,
        I_unit: Unit | None = None,
    ) -> Self:
        r"""The same from the stationary standard deviation: $\sigma = \text{std}\sqrt{2/\tau}$.

        **Arguments:**

        - `std`: The standard deviation, in the unit of the noise.
        - the others: as [`neurostate.OUProcess`][].
        """
        shape, unit = as_shape(size), unit_of(mean, I_unit)
        std = parameter(std, unit, "std", size=shape, owner="OUProcess.from_std")
        tau = parameter(tau, ms, "tau", size=shape, owner="OUProcess.from_std", positive=True)
        sigma = std * jnp.sqrt(2 / tau)
        return cls(size, mean, sigma, tau, correlation=correlation, x_initializer=x_initializer, I_unit=unit)

    def initial(self) -> Array:
        return self.mean

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> SourceState:
        """Makes the state at the start: drawn from the stationary distribution, or as `x_initializer` says.

        **Arguments:**

        - `batch_shape`: Axes in front of the population; each lane draws its own numbers.
        - `key`: A random key.
        """
        if self.x_initializer is not None:
            return SourceState(**initial_arrays(self, {"x": self.x_initializer}, as_shape(batch_shape), key))
        mean = super().init_state(batch_shape).x
        xi = normal(required_key("OUProcess.init_state", key), mean, self.size, self.correlation)
        return SourceState((mean + self.sigma * jnp.sqrt(self.tau / 2) * xi).astype(mean.dtype))

    def draw(self, x: Array, dt: Any, key: Key) -> Array:
        spread = self.sigma * jnp.sqrt(dt * phi(-2 * dt / self.tau))
        change = (x - self.mean) * jnp.expm1(-dt / self.tau)
        return x + change + spread * normal(key, x, self.size, self.correlation)

"""The summed spikes of many Poisson processes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size
from .._units import Unit, argument
from ..init._support import check, is_not_negative
from ..neuron._fields import fill, quantity_field, static_field
from ._base import AbstractRandomSource, unit_of
from ._poisson import poisson


class PoissonInput(AbstractRandomSource):
    r"""What many independent Poisson processes of one rate and weight send to each cell.

    `num_input` processes of the rate `freq` together are one of the rate `num_input * freq`, so that

    $$x = \text{weight}\cdot n, \qquad n \sim \text{Poisson}(\text{num\_input}\cdot\text{freq}\cdot\Delta t)$$

    exactly, with the mean $\lambda\,\text{weight}$ and the variance $\lambda\,\text{weight}^2$ for a mean count
    $\lambda$. Steps and cells are independent.

    The output of a step is the sum of the weights of the spikes that came during it. Give it to a neuron in the same
    step, as `Drive(jump=...)` for a weight that is a voltage, or as `Drive(g_jump=...)` where it has a synapse.

    **Arguments:**

    - `size`: Number of cells, or the shape of the population.
    - `num_input`: How many processes send to each cell: an int.
    - `freq`: The rate of each. A rate such as `5 * u.Hz`, in 1/ms if it is a plain number.
    - `weight`: What a spike adds. Its unit is that of the output: any unit, or none.
    - `I_unit`: The unit of the output, for a `weight` that is a plain number.

    `freq` and `weight` are scalars or arrays that broadcast to `size`; `weight` can be trained.

    **Raises:** `UnitError` for a wrong dimension, naming the argument; `ValueError` for a wrong shape, or a `freq` or
    `num_input` that is negative; `TypeError` if `num_input` is not an int; without a key, `step` raises too.

    >>> import brainunit as u, jax, neurostate as ns
    >>> source = ns.PoissonInput(1000, num_input=100, freq=20 * u.Hz, weight=0.1 * u.mV)
    >>> state, x = source.step(source.init_state(), dt=1.0 * u.ms, key=jax.random.key(0))
    >>> print(f"{x.mean():.1f}", source.I_unit)  # 100 * 0.02 * 0.1
    0.2 mV
    """

    size: Shape = static_field()
    num_input: int = static_field()
    freq: Float[Array, " *#size"] = quantity_field("rate")
    weight: Float[Array, " *#size"] = quantity_field("current")
    I_unit: Unit = static_field()

    def __init__(
        self, size: Size, num_input: int, freq: QuantityLike, weight: QuantityLike, *, I_unit: Unit | None = None
    ):
        if isinstance(num_input, bool) or not isinstance(num_input, int | np.integer):
            raise TypeError(f"{argument('PoissonInput', 'num_input')} must be an int, got {num_input!r}.")
        unit = unit_of(weight, I_unit)
        fill(self, {"size": size, "freq": freq, "weight": weight, "I_unit": unit}, unit)
        self.num_input = int(num_input)
        check("PoissonInput", "num_input", self.num_input, is_not_negative, "not negative")
        check("PoissonInput", "freq", self.freq, is_not_negative, "not negative")

    def initial(self) -> Array:
        return jnp.zeros((), self.weight.dtype)

    def draw(self, x: Array, dt: Any, key: Key) -> Array:
        return self.weight * poisson(key, self.num_input * self.freq * dt, x.shape, x.dtype)

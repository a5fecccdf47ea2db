"""Spike trains of Poisson processes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size
from .._units import Unit, unitless
from ..init._support import check, is_not_negative
from ..neuron._fields import fill, quantity_field, static_field
from ._base import AbstractRandomSource, happens, poisson_probability


class PoissonSpike(AbstractRandomSource):
    r"""Spikes of independent Poisson processes, one for each cell.

    In each step a cell spikes with the probability that its process has at least one event within `dt`
    (Dayan and Abbott 2001, *Theoretical Neuroscience*, section 1.4),

    $$p = 1 - e^{-f\,\Delta t}$$

    which unlike its first order, $f\,\Delta t$, is a probability for any rate, and leaves the chance of silence over
    any time, $e^{-fT}$, independent of `dt`. As a step has room for one spike, the mean rate is $p/\Delta t$, below $f$
    by the part $f\,\Delta t/2$; [`neurostate.PoissonInput`][] counts all events.

    The output of a step is 0 or 1 for each cell: whether it spiked during that step.

    **Arguments:**

    - `size`: Number of cells, or the shape of the population.
    - `freqs`: The rates. A rate such as `20 * u.Hz`, in 1/ms if it is a plain number; a scalar or an array that
        broadcasts to `size`.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` for a wrong shape, or a rate that is negative; without a
    key, `step` raises too.

    >>> import brainunit as u, jax, jax.numpy as jnp, neurostate as ns
    >>> source = ns.PoissonSpike(1000, freqs=20 * u.Hz)
    >>> sol = ns.simulate(source, jnp.zeros(100), dt=1.0 * u.ms, key=jax.random.key(0))
    >>> print(f"{sol.outputs.mean():.2f}")  # spikes in 1 ms
    0.02
    """

    size: Shape = static_field()
    freqs: Float[Array, " *#size"] = quantity_field("rate")
    I_unit: Unit = static_field()

    def __init__(self, size: Size, freqs: QuantityLike):
        fill(self, {"size": size, "freqs": freqs, "I_unit": unitless}, unitless)
        check("PoissonSpike", "freqs", self.freqs, is_not_negative, "not negative")

    def initial(self) -> Array:
        return jnp.zeros((), self.freqs.dtype)

    def draw(self, x: Array, dt: Any, key: Key) -> Array:
        return happens(key, poisson_probability(self.freqs, dt), x.shape)

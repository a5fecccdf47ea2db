"""Weights that keep the membrane potential fluctuating below the threshold."""

from __future__ import annotations

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, QuantityLike
from .._units import Unit, family_unit, mV, to_plain
from ._matrices import RandomMatrix
from ._support import check, is_positive, plain


class FluctuationDriven(RandomMatrix):
    r"""Normal weights with which the membrane potential has a given mean and standard deviation (Rossbroich, Gygax and
    Zenke 2022).

    A neuron gets spikes of the rate $\nu$ from each of $n$ neurons, and answers one through a weight of 1 with the
    potential $\epsilon(t)$. Far from its threshold $\theta$ it has the mean $\mu_U$ and the standard deviation
    $\sigma_U = (\theta - \mu_U) / \xi$, over time and on average over the neurons, if the mean and variance of the
    weights are

    $$\mu_w = \frac{\alpha\,\mu_U}{n\,\nu\,\bar\epsilon}, \qquad
    \sigma_w^2 = \frac{\alpha\,\sigma_U^2}{n\,\nu\,\hat\epsilon} - \mu_w^2, \qquad
    \bar\epsilon = \int \epsilon\,\mathrm{d}t, \quad \hat\epsilon = \int \epsilon^2\,\mathrm{d}t$$

    so the threshold is $\xi$ standard deviations away. Where recurrent weights add to those from the input, $\alpha$ is
    the part of both $\mu_U$ and $\sigma_U^2$ that comes from these, and $1 - \alpha$ that of the others.

    The spikes are taken to be Poisson counts. Where there is at most one in a step of length $\Delta t$, the variance
    is smaller by the part $\nu\,\Delta t$.

    **Arguments:**

    - `eps_bar`, `eps_hat`: $\bar\epsilon$ and $\hat\epsilon$ in mV ms and mV² ms for a weight of 1: what
        [`neurostate.diagnostics.kernel_integrals`][] gives for the step of a model. Numbers, or one for each neuron
        behind the weights.
    - `rate`: The rate of each neuron in front. A rate such as `10 * u.Hz`, in 1/ms if it is a plain number.
    - `xi`: How many standard deviations the threshold is away; 1 to 3 in the paper.
    - `mu`: The mean of the potential above rest. A voltage, in mV if it is a plain number.
    - `theta`: The threshold above rest, likewise.
    - `alpha`: The part of mean and variance that these weights make.
    - `unit`: The unit of the weights.
    - `in_axis`, `out_axis`: The axes of inputs and outputs. As in [`neurostate.init.VarianceScaling`][], every other
        axis is spatial, and $n$ is the number of inputs at all its positions.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` for a value out of range; and, when it is called, if the
    mean alone makes more variance than there should be.

    >>> import brainunit as u, jax, neurostate as ns
    >>> integrals = ns.diagnostics.kernel_integrals(ns.LIF(1, tau=10 * u.ms), dt=1 * u.ms)
    >>> weight = ns.init.FluctuationDriven(*integrals, rate=10 * u.Hz, xi=2.0)
    >>> connection = ns.connect.Dense(100, 1000, weight, key=jax.random.key(0))
    >>> print(f"{connection.weight.std():.2f}")  # 0.5 / sqrt(100 * 0.01 * 0.04996)
    2.24
    """

    eps_bar: float | Array
    eps_hat: float | Array
    rate: float | Array
    xi: float | Array
    mu: float | Array
    theta: float | Array
    alpha: float | Array
    unit: Unit | None = eqx.field(static=True)
    in_axis: int = eqx.field(static=True)
    out_axis: int = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        eps_bar: QuantityLike,
        eps_hat: QuantityLike,
        rate: QuantityLike,
        xi: QuantityLike = 3.0,
        mu: QuantityLike = 0.0,
        theta: QuantityLike = 1.0,
        alpha: QuantityLike = 1.0,
        unit: Unit | None = None,
        in_axis: int = -2,
        out_axis: int = -1,
    ):
        owner = "FluctuationDriven"
        for name, value in {"eps_bar": eps_bar, "eps_hat": eps_hat, "xi": xi, "alpha": alpha}.items():
            setattr(self, name, plain(owner, name, value))
        self.rate = plain(owner, "rate", to_plain(rate, family_unit("rate"), "rate", owner))
        self.mu = plain(owner, "mu", to_plain(mu, mV, "mu", owner))
        self.theta = plain(owner, "theta", to_plain(theta, mV, "theta", owner))
        for name in ("eps_hat", "rate", "xi"):
            check(owner, name, getattr(self, name), is_positive, "positive")
        check(owner, "alpha", self.alpha, lambda x: (x > 0) & (x <= 1), "above 0 and at most 1")
        self.unit, self.in_axis, self.out_axis = unit, in_axis, out_axis

    def _draw(self, key, shape, dtype):
        n = math.prod(shape) // shape[self.out_axis] if len(shape) > 1 else math.prod(shape)
        mean = self.alpha * self.mu / (n * self.rate * self.eps_bar)
        sigma = (self.theta - self.mu) / self.xi
        variance = self.alpha * sigma**2 / (n * self.rate * self.eps_hat) - mean**2
        needed = "so far from the threshold that its fluctuations exceed those of the mean weight; lower `xi` or `mu`"
        check("FluctuationDriven", "mu", variance, is_positive, needed)
        return (mean + jnp.sqrt(variance) * jax.random.normal(key, shape)).astype(dtype)

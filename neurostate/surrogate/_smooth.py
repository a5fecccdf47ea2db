"""Surrogate derivatives that are smooth everywhere."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, QuantityLike
from ._base import Surrogate, parameter


class Sigmoid(Surrogate):
    r"""A spike function with the derivative of the logistic function $\sigma$:

    $$g(x) = \alpha\, \sigma(\alpha x)\, \bigl(1 - \sigma(\alpha x)\bigr)$$

    One of the shapes compared by Zenke and Vogels (2021).

    **Arguments:**

    - `alpha`: Steepness; the peak is `alpha / 4`.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `alpha` is a negative number.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.Sigmoid(alpha=4.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(0.0):.2f}")
        1 1.00
    """

    alpha: float | Array = eqx.field(default=4.0, converter=parameter("alpha", minimum=0))

    def surrogate_grad(self, x: Array) -> Array:
        z = self.alpha * x
        return self.alpha * jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)


class Arctan(Surrogate):
    r"""A spike function with the derivative of an arctangent:

    $$g(x) = \frac{\alpha / 2}{1 + (\frac{\pi}{2} \alpha x)^2}$$

    Fang et al. (2021) train with $\alpha = 2$.

    **Arguments:**

    - `alpha`: Steepness; the peak is `alpha / 2`.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `alpha` is a negative number.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.Arctan(alpha=2.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(0.0):.2f}")
        1 1.00
    """

    alpha: float | Array = eqx.field(default=1.0, converter=parameter("alpha", minimum=0))

    def surrogate_grad(self, x: Array) -> Array:
        return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * x) ** 2)


class ERF(Surrogate):
    r"""A spike function with the derivative of the error function, a Gaussian of unit area:

    $$g(x) = \frac{\alpha}{\sqrt{\pi}}\, e^{-\alpha^2 x^2}$$

    One of the four curves of Wu et al. (2018).

    **Arguments:**

    - `alpha`: Steepness; the standard deviation is `1 / (sqrt(2) * alpha)`.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `alpha` is a negative number.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.ERF()
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(0.0):.4f}")
        1 0.5642
    """

    alpha: float | Array = eqx.field(default=1.0, converter=parameter("alpha", minimum=0))

    def surrogate_grad(self, x: Array) -> Array:
        return self.alpha / math.sqrt(math.pi) * jnp.exp(-((self.alpha * x) ** 2))


def _as_count(n: Any) -> int:
    try:
        count = n.__index__()
    except (AttributeError, TypeError):
        count = 0
    if isinstance(n, bool) or count < 1:
        raise ValueError(f"`n`, the number of terms of the series, must be an int of at least 1, got {n!r}.")
    return count


class SquarewaveFourierSeries(Surrogate):
    r"""A spike function with the derivative of the first terms of a square wave's Fourier series:

    $$g(x) = \frac{4}{T} \sum_{i=1}^{n} \cos\left((2i - 1) \frac{2\pi x}{T}\right)$$

    It is periodic and takes negative values too: keep $|x|$ below $T/4$.

    **Arguments:**

    - `n`: The number of terms, an int; static.
    - `t_period`: The period $T$.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `n` is not an int of at least 1, or `t_period` is a number that is not positive.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.SquarewaveFourierSeries(n=2, t_period=8.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(0.0):.2f}")
        1 1.00
    """

    n: int = eqx.field(default=2, converter=_as_count, static=True)
    t_period: float | Array = eqx.field(default=8.0, converter=parameter("t_period", minimum=0, strict=True))

    def surrogate_grad(self, x: Array) -> Array:
        phase = 2 * math.pi * x / self.t_period
        total = jnp.cos(phase)
        for i in range(2, self.n + 1):
            total = total + jnp.cos((2 * i - 1) * phase)
        return 4 / self.t_period * total


def _gaussian(x: Array, sigma: float | Array) -> Array:
    return jnp.exp(-0.5 * (x / sigma) ** 2) / (math.sqrt(2 * math.pi) * sigma)


class GaussianGrad(Surrogate):
    r"""A spike function with a Gaussian as its derivative:

    $$g(x) = \alpha\, \mathcal{N}(x;\, 0, \sigma^2)$$

    where $\mathcal{N}$ is the density of the normal distribution (Yin, Corradi and Bohté, 2021).

    **Arguments:**

    - `sigma`: The standard deviation.
    - `alpha`: The area under the curve.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `sigma` is a number that is not positive.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.GaussianGrad(sigma=0.5, alpha=0.5)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(0.0):.4f}")
        1 0.3989
    """

    sigma: float | Array = eqx.field(default=0.5, converter=parameter("sigma", minimum=0, strict=True))
    alpha: float | Array = eqx.field(default=0.5, converter=parameter("alpha"))

    def surrogate_grad(self, x: Array) -> Array:
        return self.alpha * _gaussian(x, self.sigma)


class MultiGaussianGrad(Surrogate):
    r"""A spike function with three Gaussians as its derivative, negative far from the threshold:

    $$g(x) = k \left[(1 + h)\, \mathcal{N}(x;\, 0, \sigma^2) - h\, \mathcal{N}(x;\, \sigma, (s\sigma)^2)
    - h\, \mathcal{N}(x;\, -\sigma, (s\sigma)^2)\right]$$

    where $\mathcal{N}$ is the density of the normal distribution (Yin, Corradi and Bohté, 2021).

    **Arguments:**

    - `h`: Weight of the two wide, negative Gaussians.
    - `s`: Their width, as a multiple of `sigma`.
    - `sigma`: The standard deviation of the one in the middle.
    - `scale`: The factor $k$ of the whole.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `s` or `sigma` is a number that is not positive.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.MultiGaussianGrad()
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(0.0):.4f} {jax.grad(spk_fun)(2.0):.4f}")
        1 0.4391 -0.0157
    """

    h: float | Array = eqx.field(default=0.15, converter=parameter("h"))
    s: float | Array = eqx.field(default=6.0, converter=parameter("s", minimum=0, strict=True))
    sigma: float | Array = eqx.field(default=0.5, converter=parameter("sigma", minimum=0, strict=True))
    scale: float | Array = eqx.field(default=0.5, converter=parameter("scale"))

    def surrogate_grad(self, x: Array) -> Array:
        wide = self.s * self.sigma
        sides = _gaussian(x - self.sigma, wide) + _gaussian(x + self.sigma, wide)
        return self.scale * ((1 + self.h) * _gaussian(x, self.sigma) - self.h * sides)


def sigmoid(x: QuantityLike, alpha: QuantityLike = 4.0, *, h0: int = 1) -> Array:
    """The same as `Sigmoid(alpha, h0=h0)(x)`; see [`neurostate.surrogate.Sigmoid`][].

    >>> import jax
    >>> print(f"{jax.grad(sigmoid)(0.5):.4f}")
    0.4200
    """
    return Sigmoid(alpha, h0=h0)(x)


def arctan(x: QuantityLike, alpha: QuantityLike = 1.0, *, h0: int = 1) -> Array:
    """The same as `Arctan(alpha, h0=h0)(x)`; see [`neurostate.surrogate.Arctan`][].

    >>> import jax
    >>> print(f"{jax.grad(arctan)(0.5):.4f}")
    0.3092
    """
    return Arctan(alpha, h0=h0)(x)


def erf(x: QuantityLike, alpha: QuantityLike = 1.0, *, h0: int = 1) -> Array:
    """The same as `ERF(alpha, h0=h0)(x)`; see [`neurostate.surrogate.ERF`][].

    >>> import jax
    >>> print(f"{jax.grad(erf)(0.5):.4f}")
    0.4394
    """
    return ERF(alpha, h0=h0)(x)


def squarewave_fourier_series(x: QuantityLike, n: int = 2, t_period: QuantityLike = 8.0, *, h0: int = 1) -> Array:
    """The same as `SquarewaveFourierSeries(n, t_period, h0=h0)(x)`.

    See [`neurostate.surrogate.SquarewaveFourierSeries`][].

    >>> import jax
    >>> print(f"{jax.grad(squarewave_fourier_series)(0.5):.4f}")
    0.6533
    """
    return SquarewaveFourierSeries(n, t_period, h0=h0)(x)


def gaussian_grad(x: QuantityLike, sigma: QuantityLike = 0.5, alpha: QuantityLike = 0.5, *, h0: int = 1) -> Array:
    """The same as `GaussianGrad(sigma, alpha, h0=h0)(x)`; see [`neurostate.surrogate.GaussianGrad`][].

    >>> import jax
    >>> print(f"{jax.grad(gaussian_grad)(0.5):.4f}")
    0.2420
    """
    return GaussianGrad(sigma, alpha, h0=h0)(x)


def multi_gaussian_grad(
    x: QuantityLike,
    h: QuantityLike = 0.15,
    s: QuantityLike = 6.0,
    sigma: QuantityLike = 0.5,
    scale: QuantityLike = 0.5,
    *,
    h0: int = 1,
) -> Array:
    """The same as `MultiGaussianGrad(h, s, sigma, scale, h0=h0)(x)`.

    See [`neurostate.surrogate.MultiGaussianGrad`][].

    >>> import jax
    >>> print(f"{jax.grad(multi_gaussian_grad)(0.5):.4f}")
    0.2589
    """
    return MultiGaussianGrad(h, s, sigma, scale, h0=h0)(x)

"""Surrogate derivatives with a sharp peak at the threshold, functions of `abs(x)`."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, QuantityLike
from ._base import Surrogate, parameter


class PiecewiseExp(Surrogate):
    r"""A spike function with an exponential on both sides as its derivative, of unit area:

    $$g(x) = \frac{\alpha}{2}\, e^{-\alpha |x|}$$

    The shape is that of [`neurostate.surrogate.SlayerGrad`][] (Shrestha and Orchard, 2018).

    **Arguments:**

    - `alpha`: Steepness; the peak is `alpha / 2`.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `alpha` is a negative number.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.PiecewiseExp(alpha=1.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(0.0):.2f}")
        1 0.50
    """

    alpha: float | Array = eqx.field(default=1.0, converter=parameter("alpha", minimum=0))

    def surrogate_grad(self, x: Array) -> Array:
        return self.alpha / 2 * jnp.exp(-self.alpha * jnp.abs(x))


class SoftSign(Surrogate):
    r"""A spike function with the derivative of the soft sign, or fast sigmoid, of unit area:

    $$g(x) = \frac{\alpha / 2}{(1 + \alpha |x|)^2}$$

    The shape is that of [`neurostate.surrogate.InvSquareGrad`][] (Zenke and Ganguli, 2018).

    **Arguments:**

    - `alpha`: Steepness; the peak is `alpha / 2`.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `alpha` is a negative number.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.SoftSign(alpha=1.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(1.0):.3f}")
        1 0.125
    """

    alpha: float | Array = eqx.field(default=1.0, converter=parameter("alpha", minimum=0))

    def surrogate_grad(self, x: Array) -> Array:
        return self.alpha / 2 / (1 + self.alpha * jnp.abs(x)) ** 2


class NonzeroSignLog(Surrogate):
    r"""A spike function with the derivative of a logarithm on both sides:

    $$g(x) = \frac{\alpha}{1 + \alpha |x|}$$

    Its tail is so heavy that its area is infinite.

    **Arguments:**

    - `alpha`: Steepness, and the peak.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `alpha` is a negative number.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.NonzeroSignLog(alpha=1.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(1.0):.2f}")
        1 0.50
    """

    alpha: float | Array = eqx.field(default=1.0, converter=parameter("alpha", minimum=0))

    def surrogate_grad(self, x: Array) -> Array:
        return self.alpha / (1 + self.alpha * jnp.abs(x))


class QPseudoSpike(Surrogate):
    r"""A spike function with a power law as its derivative:

    $$g(x) = \left(1 + \frac{2 |x|}{\alpha + 1}\right)^{-\alpha}$$

    after the q-PseudoSpike of Herranz-Celotti and Rouat (2022). Some libraries have $\alpha - 1$ in the
    place of $\alpha + 1$; that has unit area for $\alpha > 1$, and is singular at $\alpha = 1$, which is the
    reason for the other sign here.

    **Arguments:**

    - `alpha`: Exponent: the larger, the thinner the tail.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `alpha` is a negative number.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.QPseudoSpike(alpha=2.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(1.5):.2f}")
        1 0.25
    """

    alpha: float | Array = eqx.field(default=2.0, converter=parameter("alpha", minimum=0))

    def surrogate_grad(self, x: Array) -> Array:
        return (1 + 2 / (self.alpha + 1) * jnp.abs(x)) ** (-self.alpha)


class InvSquareGrad(Surrogate):
    r"""A spike function with an inverse square as its derivative, with a peak of 1:

    $$g(x) = \frac{1}{(1 + \alpha |x|)^2}$$

    the SuperSpike of Zenke and Ganguli (2018).

    **Arguments:**

    - `alpha`: Steepness; the half-width at a quarter of the peak is `1 / alpha`.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `alpha` is a negative number.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.InvSquareGrad(alpha=100.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(0.01):.2f}")
        1 0.25
    """

    alpha: float | Array = eqx.field(default=100.0, converter=parameter("alpha", minimum=0))

    def surrogate_grad(self, x: Array) -> Array:
        return 1 / (1 + self.alpha * jnp.abs(x)) ** 2


class SlayerGrad(Surrogate):
    r"""A spike function with an exponential on both sides as its derivative, with a peak of 1:

    $$g(x) = e^{-\alpha |x|}$$

    the spike escape rate of SLAYER (Shrestha and Orchard, 2018), up to a factor.

    **Arguments:**

    - `alpha`: Steepness.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `alpha` is a negative number.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.SlayerGrad(alpha=1.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(1.0):.4f}")
        1 0.3679
    """

    alpha: float | Array = eqx.field(default=1.0, converter=parameter("alpha", minimum=0))

    def surrogate_grad(self, x: Array) -> Array:
        return jnp.exp(-self.alpha * jnp.abs(x))


def piecewise_exp(x: QuantityLike, alpha: QuantityLike = 1.0, *, h0: int = 1) -> Array:
    """The same as `PiecewiseExp(alpha, h0=h0)(x)`; see [`neurostate.surrogate.PiecewiseExp`][].

    >>> import jax
    >>> print(f"{jax.grad(piecewise_exp)(0.5):.4f}")
    0.3033
    """
    return PiecewiseExp(alpha, h0=h0)(x)


def soft_sign(x: QuantityLike, alpha: QuantityLike = 1.0, *, h0: int = 1) -> Array:
    """The same as `SoftSign(alpha, h0=h0)(x)`; see [`neurostate.surrogate.SoftSign`][].

    >>> import jax
    >>> print(f"{jax.grad(soft_sign)(0.5):.4f}")
    0.2222
    """
    return SoftSign(alpha, h0=h0)(x)


def nonzero_sign_log(x: QuantityLike, alpha: QuantityLike = 1.0, *, h0: int = 1) -> Array:
    """The same as `NonzeroSignLog(alpha, h0=h0)(x)`; see [`neurostate.surrogate.NonzeroSignLog`][].

    >>> import jax
    >>> print(f"{jax.grad(nonzero_sign_log)(0.5):.4f}")
    0.6667
    """
    return NonzeroSignLog(alpha, h0=h0)(x)


def q_pseudo_spike(x: QuantityLike, alpha: QuantityLike = 2.0, *, h0: int = 1) -> Array:
    """The same as `QPseudoSpike(alpha, h0=h0)(x)`; see [`neurostate.surrogate.QPseudoSpike`][].

    >>> import jax
    >>> print(f"{jax.grad(q_pseudo_spike)(0.5):.4f}")
    0.5625
    """
    return QPseudoSpike(alpha, h0=h0)(x)


def inv_square_grad(x: QuantityLike, alpha: QuantityLike = 100.0, *, h0: int = 1) -> Array:
    """The same as `InvSquareGrad(alpha, h0=h0)(x)`; see [`neurostate.surrogate.InvSquareGrad`][].

    >>> import jax
    >>> print(f"{jax.grad(inv_square_grad)(0.03):.4f}")
    0.0625
    """
    return InvSquareGrad(alpha, h0=h0)(x)


def slayer_grad(x: QuantityLike, alpha: QuantityLike = 1.0, *, h0: int = 1) -> Array:
    """The same as `SlayerGrad(alpha, h0=h0)(x)`; see [`neurostate.surrogate.SlayerGrad`][].

    >>> import jax
    >>> print(f"{jax.grad(slayer_grad)(0.5):.4f}")
    0.6065
    """
    return SlayerGrad(alpha, h0=h0)(x)

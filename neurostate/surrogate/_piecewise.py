"""Surrogate derivatives that are put together from pieces, with corners or jumps between them."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, QuantityLike
from ._base import Surrogate, parameter


class PiecewiseQuadratic(Surrogate):
    r"""A spike function with a triangle of unit area as its derivative:

    $$g(x) = \alpha \max(0,\, 1 - \alpha |x|)$$

    Esser et al. (2016) train with a triangle; see also [`neurostate.surrogate.ReluGrad`][].

    **Arguments:**

    - `alpha`: The peak, and one over the half-width.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `alpha` is a negative number.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.PiecewiseQuadratic(alpha=1.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(0.25):.2f}")
        1 0.75
    """

    alpha: float | Array = eqx.field(default=1.0, converter=parameter("alpha", minimum=0))

    def surrogate_grad(self, x: Array) -> Array:
        return self.alpha * jnp.maximum(1 - self.alpha * jnp.abs(x), 0)


class ReluGrad(Surrogate):
    r"""A spike function with a triangle as its derivative:

    $$g(x) = \alpha \max(0,\, w - |x|)$$

    With the defaults it is the pseudo-derivative of Bellec et al. (2018), dampened by 0.3. The default
    of the cells.

    **Arguments:**

    - `alpha`: The slope of its sides; the peak is `alpha * width`.
    - `width`: The half-width $w$.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `alpha` or `width` is a negative number.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.ReluGrad(alpha=0.3, width=1.0)
        >>> spk_fun
        ReluGrad(alpha=0.3, width=1.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(0.5):.2f}")
        1 0.15
    """

    alpha: float | Array = eqx.field(default=0.3, converter=parameter("alpha", minimum=0))
    width: float | Array = eqx.field(default=1.0, converter=parameter("width", minimum=0))

    def surrogate_grad(self, x: Array) -> Array:
        return self.alpha * jnp.maximum(self.width - jnp.abs(x), 0)


class PiecewiseLeakyRelu(Surrogate):
    r"""A spike function with a rectangle on a constant floor as its derivative:

    $$g(x) = \begin{cases} \dfrac{1}{2w}, & |x| \leq w \\ c, & |x| > w \end{cases}$$

    With $c = 0$ it is the rectangular curve of Wu et al. (2018).

    **Arguments:**

    - `c`: The derivative outside of the rectangle.
    - `w`: The half-width of the rectangle, whose area is 1.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `w` is a number that is not positive.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.PiecewiseLeakyRelu(c=0.01, w=1.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(0.5):.2f} {jax.grad(spk_fun)(1.5):.2f}")
        1 0.50 0.01
    """

    c: float | Array = eqx.field(default=0.01, converter=parameter("c"))
    w: float | Array = eqx.field(default=1.0, converter=parameter("w", minimum=0, strict=True))

    def surrogate_grad(self, x: Array) -> Array:
        return jnp.where(jnp.abs(x) > self.w, self.c, 0.5 / self.w)


class S2NN(Surrogate):
    r"""A spike function with a logistic slope below the threshold and a logarithmic one above:

    $$g(x) = \begin{cases} \alpha\, \sigma(\alpha x)\, \bigl(1 - \sigma(\alpha x)\bigr), & x < 0 \\
    \dfrac{\beta}{x + 1 + \epsilon}, & x \geq 0 \end{cases}$$

    (Suetake et al., 2022).

    **Arguments:**

    - `alpha`: Steepness of the logistic part.
    - `beta`: Height of the logarithmic part.
    - `epsilon`: The small number added in the logarithm.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `ValueError` if `alpha` or `epsilon` is a negative number.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.S2NN(alpha=4.0, beta=1.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(1.0):.2f}")
        1 0.50
    """

    alpha: float | Array = eqx.field(default=4.0, converter=parameter("alpha", minimum=0))
    beta: float | Array = eqx.field(default=1.0, converter=parameter("beta"))
    epsilon: float | Array = eqx.field(default=1e-8, converter=parameter("epsilon", minimum=0))

    def surrogate_grad(self, x: Array) -> Array:
        z = self.alpha * x
        below = self.alpha * jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)
        # The inner `where` keeps the division away from zero, where the derivative would be NaN.
        above = self.beta / (jnp.where(x < 0, 0, x) + 1 + self.epsilon)
        return jnp.where(x < 0, below, above)


class LeakyRelu(Surrogate):
    r"""A spike function with one constant derivative below the threshold and another above:

    $$g(x) = \begin{cases} \alpha, & x < 0 \\ \beta, & x \geq 0 \end{cases}$$

    **Arguments:**

    - `alpha`: The derivative below.
    - `beta`: The derivative at and above the threshold.
    - `h0`: The value at zero, 0 or 1.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.LeakyRelu(alpha=0.1, beta=1.0)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(-2.0):.2f} {jax.grad(spk_fun)(2.0):.2f}")
        1 0.10 1.00
    """

    alpha: float | Array = eqx.field(default=0.1, converter=parameter("alpha"))
    beta: float | Array = eqx.field(default=1.0, converter=parameter("beta"))

    def surrogate_grad(self, x: Array) -> Array:
        return jnp.where(x < 0, self.alpha, self.beta)


class LogTailedRelu(Surrogate):
    r"""A spike function with the derivative of a rectifier that turns into a logarithm:

    $$g(x) = \begin{cases} \alpha, & x \leq 0 \\ 1, & 0 < x \leq 1 \\ 1 / x, & x > 1 \end{cases}$$

    (Cai et al., 2017, with a slope $\alpha$ below zero).

    **Arguments:**

    - `alpha`: The derivative at and below the threshold.
    - `h0`: The value at zero, 0 or 1.

    !!! example

        >>> import jax
        >>> from neurostate import surrogate
        >>> spk_fun = surrogate.LogTailedRelu()
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(0.5):.2f} {jax.grad(spk_fun)(4.0):.2f}")
        1 1.00 0.25
    """

    alpha: float | Array = eqx.field(default=0.0, converter=parameter("alpha"))

    def surrogate_grad(self, x: Array) -> Array:
        # As in `S2NN`, the inner `where` keeps the division away from zero.
        return jnp.where(x > 0, 1 / jnp.where(x > 1, x, 1), self.alpha)


def piecewise_quadratic(x: QuantityLike, alpha: QuantityLike = 1.0, *, h0: int = 1) -> Array:
    """The same as `PiecewiseQuadratic(alpha, h0=h0)(x)`; see [`neurostate.surrogate.PiecewiseQuadratic`][].

    >>> import jax
    >>> print(f"{jax.grad(piecewise_quadratic)(0.5):.4f}")
    0.5000
    """
    return PiecewiseQuadratic(alpha, h0=h0)(x)


def relu_grad(x: QuantityLike, alpha: QuantityLike = 0.3, width: QuantityLike = 1.0, *, h0: int = 1) -> Array:
    """The same as `ReluGrad(alpha, width, h0=h0)(x)`; see [`neurostate.surrogate.ReluGrad`][].

    >>> import jax
    >>> print(f"{jax.grad(relu_grad)(0.5):.4f}")
    0.1500
    """
    return ReluGrad(alpha, width, h0=h0)(x)


def piecewise_leaky_relu(x: QuantityLike, c: QuantityLike = 0.01, w: QuantityLike = 1.0, *, h0: int = 1) -> Array:
    """The same as `PiecewiseLeakyRelu(c, w, h0=h0)(x)`; see [`neurostate.surrogate.PiecewiseLeakyRelu`][].

    >>> import jax
    >>> print(f"{jax.grad(piecewise_leaky_relu)(0.5):.4f}")
    0.5000
    """
    return PiecewiseLeakyRelu(c, w, h0=h0)(x)


def s2nn(
    x: QuantityLike,
    alpha: QuantityLike = 4.0,
    beta: QuantityLike = 1.0,
    epsilon: QuantityLike = 1e-8,
    *,
    h0: int = 1,
) -> Array:
    """The same as `S2NN(alpha, beta, epsilon, h0=h0)(x)`; see [`neurostate.surrogate.S2NN`][].

    >>> import jax
    >>> print(f"{jax.grad(s2nn)(0.5):.4f}")
    0.6667
    """
    return S2NN(alpha, beta, epsilon, h0=h0)(x)


def leaky_relu(x: QuantityLike, alpha: QuantityLike = 0.1, beta: QuantityLike = 1.0, *, h0: int = 1) -> Array:
    """The same as `LeakyRelu(alpha, beta, h0=h0)(x)`; see [`neurostate.surrogate.LeakyRelu`][].

    >>> import jax
    >>> print(f"{jax.grad(leaky_relu)(-0.5):.4f}")
    0.1000
    """
    return LeakyRelu(alpha, beta, h0=h0)(x)


def log_tailed_relu(x: QuantityLike, alpha: QuantityLike = 0.0, *, h0: int = 1) -> Array:
    """The same as `LogTailedRelu(alpha, h0=h0)(x)`; see [`neurostate.surrogate.LogTailedRelu`][].

    >>> import jax
    >>> print(f"{jax.grad(log_tailed_relu)(2.0):.4f}")
    0.5000
    """
    return LogTailedRelu(alpha, h0=h0)(x)

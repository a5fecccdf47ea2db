"""One step of an ordinary differential equation, on plain arrays."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ._custom_types import Array, ArrayLike


def phi(z: ArrayLike) -> Array:
    r"""The function of the exponential Euler step, with accurate derivatives of every order.

    $$\varphi(z) = \frac{e^z - 1}{z} = \int_0^1 e^{sz}\,\mathrm{d}s, \qquad \varphi(0) = 1$$

    (Hochbruck and Ostermann 2010, where it is called $\varphi_1$). It is evaluated as
    `expm1(z) / z` except at 0. Its derivatives do not cancel near 0 as those of that expression do.

    **Arguments:**

    - `z`: A real number or array, dimensionless. Integers become the default floating dtype.

    **Returns:** An array of the shape of `z`.

    !!! example

        >>> import jax
        >>> print(phi(0.0), jax.grad(phi)(0.0))
        1.0 0.5
    """
    z = jnp.asarray(z)
    return _moment(0, z if jnp.issubdtype(z.dtype, jnp.inexact) else z.astype(float))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _moment(order: int, z: Array) -> Array:
    """The derivative of `phi` of the given order: the integral of `s**order * exp(s * z)` over 0 to 1."""
    if order == 0:
        at_zero = z == 0
        safe = jax.lax.select(at_zero, jnp.ones_like(z), z)
        return jax.lax.select(at_zero, jnp.ones_like(z), jnp.expm1(safe) / safe)
    return jnp.where(jnp.abs(z) < 1, _moment_by_series(order, z), _moment_by_recurrence(order, z))


@_moment.defjvp
def _moment_jvp(order: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (z,), (dz,) = primals, tangents
    return _moment(order, z), _moment(order + 1, z) * dz


def _moment_by_series(order: int, z: Array) -> Array:
    """The Taylor series, whose 20 terms leave less than float64 resolves where `abs(z) < 1`."""
    result = jnp.zeros_like(z)
    for k in reversed(range(20)):
        result = result * z + 1 / (math.factorial(k) * (k + order + 1))
    return result


def _moment_by_recurrence(order: int, z: Array) -> Array:
    """Integration by parts, which is stable away from 0; `exp(z)` is factored out where it may overflow."""
    z = jnp.where(jnp.abs(z) < 1, jnp.ones_like(z), z)
    size = jnp.abs(z)
    end = jnp.where(z > 0, jnp.ones_like(z), jnp.exp(-size))
    result = -jnp.expm1(-size) / size
    for n in range(1, order + 1):
        result = (end - n * result) / z
    return jnp.where(z > 0, jnp.exp(z), jnp.ones_like(z)) * result


def exp_euler_step(f: Callable[..., Array], x: Array, *args: Any, dt: ArrayLike) -> Array:
    r"""One exponential Euler step of $\mathrm{d}x/\mathrm{d}t = f(x, \ldots)$.

    $$x(t + \Delta t) = x + \Delta t\,\varphi(\Delta t J)\,f(x), \qquad J = \frac{\partial f}{\partial x}$$

    (Hochbruck and Ostermann 2010.) `f` acts element by element, so that $J$ is an array like `x`. The
    step is exact where `f` is affine in `x`, and of second order otherwise.

    **Arguments:**

    - `f`: The right-hand side, called as `f(x, *args)`; its result has the shape of `x`.
    - `x`: The present value, an array of a floating dtype.
    - `args`: Passed on to `f`.
    - `dt`: The time step, a plain scalar in the unit of time that `f` uses (ms throughout neurostate).

    **Returns:** The next value, of the shape and dtype of `x`.

    **Raises:** `TypeError` if `x` is not of a floating dtype; `ValueError` if `f` gives another shape.

    !!! example

        >>> import jax.numpy as jnp
        >>> x = exp_euler_step(lambda x, tau: -x / tau, jnp.ones(3), 5.0, dt=0.1)
        >>> bool(jnp.allclose(x, jnp.exp(-0.1 / 5.0)))
        True
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"`exp_euler_step` needs `x` of a floating dtype, got {x.dtype}. Convert it with `x.astype(float)`."
        )
    dt = jnp.asarray(dt, dtype=x.dtype)
    # The tangent is dt rather than 1: for f = -x / tau the product dt * J then is -dt / tau, rounded once.
    slope, z = jax.jvp(lambda x: f(x, *args), (x,), (jnp.broadcast_to(dt, x.shape),))
    if slope.shape != x.shape:
        raise ValueError(
            f"`exp_euler_step` needs `f(x, *args)` of the shape of `x`, {x.shape}, but `f` gave {slope.shape}. "
            f"Do the arguments of `f` have more axes than `x`?"
        )
    return (x + dt * phi(z) * slope).astype(x.dtype)

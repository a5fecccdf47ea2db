"""One step of an ordinary differential equation, on plain arrays.

An *integrator* is a function `(f, y, dt) -> y` that moves the pytree `y` on by `dt`, where `f(y)` gives its derivative.
Every neuron that is given by differential equations takes one as its `integrator`, by name or as a function.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import jax
import jax.numpy as jnp

from ._custom_types import Array, ArrayLike, PyTree


VectorField: TypeAlias = Callable[[PyTree], PyTree]
Integrator: TypeAlias = Callable[[VectorField, PyTree, ArrayLike], PyTree]


_LARGEST_EXPONENT: Final = 40.0


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
    # Where an upstroke is not resolved, z may be so large that phi overflows, and its derivative with it.
    return (x + dt * phi(jnp.minimum(z, _LARGEST_EXPONENT)) * slope).astype(x.dtype)


def exp_euler(f: VectorField, y: PyTree, dt: ArrayLike) -> PyTree:
    """One exponential Euler step for each leaf of `y` by itself, the others held at their present values.

    Exact where the equations are affine and do not depend on each other, of second order for one equation, of first
    order for several that do. See [`neurostate.integrate.exp_euler_step`][].

    >>> f = lambda y: {"V": -y["V"] / 5.0 + y["w"], "w": -y["w"]}
    >>> y = exp_euler(f, {"V": jnp.array(1.0), "w": jnp.array(0.0)}, 0.1)
    >>> print(f"{y['V']:.4f}")
    0.9802
    """
    return _exponential(f, y, y, dt)


def exp_midpoint(f: VectorField, y: PyTree, dt: ArrayLike) -> PyTree:
    """One exponential step for each leaf of `y`, the others held at their values in the middle of the step.

    Those come from a step of [`neurostate.integrate.exp_euler`][] of half the length. Of second order, and stable for
    the stiff gates of conductance-based neurons.
    """
    return _exponential(f, y, exp_euler(f, y, dt / 2), dt)


def _exponential(f: VectorField, y: PyTree, others: PyTree, dt: ArrayLike) -> PyTree:
    leaves, structure = jax.tree.flatten(y)
    held = jax.tree.leaves(others)
    return structure.unflatten([_one_leaf(f, structure, held, k, x, dt) for k, x in enumerate(leaves)])


def _one_leaf(f: VectorField, structure: Any, held: list[Array], k: int, x: Array, dt: ArrayLike) -> Array:
    """The exponential step of leaf `k` from `x`, with the other leaves as in `held`."""

    def slope(x: Array) -> Array:
        return jax.tree.leaves(f(structure.unflatten([*held[:k], x, *held[k + 1 :]])))[k]

    return exp_euler_step(slope, x, dt=dt)


def strang(f: VectorField, y: PyTree, dt: ArrayLike) -> PyTree:
    """Half an exponential step for each leaf of `y`, first to last, then another half, last to first.

    Each time with the others as they are (Strang 1968). Of second order. Neurons with an upstroke that diverges, such
    as [`neurostate.AdExIF`][], take their own exact step for it instead.
    """
    leaves, structure = jax.tree.flatten(y)
    there = range(len(leaves))
    for k in (*there, *reversed(there)):
        leaves[k] = _one_leaf(f, structure, leaves, k, leaves[k], dt / 2)
    return structure.unflatten(leaves)


def exp4(f: VectorField, y: PyTree, dt: ArrayLike) -> PyTree:
    """One step of high order that is stable for the stiff gates of conductance-based neurons.

    Two steps of [`neurostate.integrate.strang`][] of half the length and one of the whole, combined so that the leading
    error cancels (Richardson's extrapolation). Of fourth order where each equation is affine in its own variable, as
    those of Hodgkin and Huxley are, and of third order otherwise.

    >>> f = lambda y: {"V": -y["V"] * y["m"], "m": 1.0 - y["m"]}
    >>> y = exp4(f, {"V": jnp.array(1.0), "m": jnp.array(0.0)}, 0.5)
    >>> print(f"{y['V']:.3f}")  # exp(-0.1065)
    0.899
    """
    fine = strang(f, strang(f, y, dt / 2), dt / 2)
    return jax.tree.map(lambda a, b: (4 * a - b) / 3, fine, strang(f, y, dt))


def euler(f: VectorField, y: PyTree, dt: ArrayLike) -> PyTree:
    """One step of the forward Euler method, of first order."""
    return _along(y, f(y), dt)


def rk2(f: VectorField, y: PyTree, dt: ArrayLike) -> PyTree:
    """One step of the explicit midpoint method, a Runge-Kutta method of second order."""
    return _along(y, f(_along(y, f(y), dt / 2)), dt)


def rk4(f: VectorField, y: PyTree, dt: ArrayLike) -> PyTree:
    """One step of the classical Runge-Kutta method, of fourth order (Kutta 1901).

    >>> print(f"{rk4(lambda y: -y, jnp.array(1.0), 0.5):.4f}")  # exp(-0.5) is 0.6065
    0.6068
    """
    k1 = f(y)
    k2 = f(_along(y, k1, dt / 2))
    k3 = f(_along(y, k2, dt / 2))
    k4 = f(_along(y, k3, dt))
    return _along(y, jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, k1, k2, k3, k4), dt)


def _along(y: PyTree, slope: PyTree, dt: ArrayLike) -> PyTree:
    return jax.tree.map(lambda x, s: (x + jnp.asarray(dt, x.dtype) * s).astype(x.dtype), y, slope)


INTEGRATORS: Final[dict[str, Integrator]] = {
    "euler": euler,
    "exp_euler": exp_euler,
    "exp_midpoint": exp_midpoint,
    "strang": strang,
    "exp4": exp4,
    "rk2": rk2,
    "rk4": rk4,
}


def as_integrator(integrator: Integrator | str, owner: str) -> Integrator:
    """An integrator from its name, or itself.

    **Raises:** `ValueError` for an unknown name, `TypeError` for what is not a function.
    """
    if isinstance(integrator, str):
        if integrator not in INTEGRATORS:
            raise ValueError(f"The `integrator` of `{owner}` must be one of {list(INTEGRATORS)}, got {integrator!r}.")
        return INTEGRATORS[integrator]
    if not callable(integrator):
        raise TypeError(f"The `integrator` of `{owner}` must be a name or a function, got {integrator!r}.")
    return integrator

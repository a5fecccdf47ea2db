"""What the neurons with an exponential upstroke share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp

from .._custom_types import Array, as_shape
from .._parameters import parameter
from .._units import Unit, current_unit, family_unit, join_quantity
from ..integrate import exp_euler_step
from ._fields import drawn


_LARGEST_EXPONENT: Final = 40.0


def exponential(V: Any, V_T: Any, delta_T: Any, V_th: Any) -> Any:
    """The voltage that drives the upstroke; above the threshold, where a spike is sure, it does not grow."""
    return delta_T * jnp.exp(jnp.minimum((V - V_T) / delta_T, jnp.minimum((V_th - V_T) / delta_T, _LARGEST_EXPONENT)))


def exponential_step(
    affine: Callable[[Array], Array], V: Array, dt: Any, top: Array, *, tau: Array, V_T: Array, delta_T: Array
) -> Array:
    r"""Where `V` is after `dt`, at most `top`, by `affine(V)` and the upstroke with $e^{(V - V_T) / \Delta_T}$.

    Exact for each of the two, and of second order for both, also where the upstroke goes to infinity within the step.
    """
    V = exp_euler_step(affine, V, dt=dt / 2)
    part = dt / tau * jnp.exp(jnp.minimum((V - V_T) / delta_T, _LARGEST_EXPONENT))  # of the time that is left to it
    ends = part < 1
    V = jnp.where(ends, V - delta_T * jnp.log(1 - jnp.where(ends, part, 0)), top)
    after = exp_euler_step(affine, jnp.minimum(V, top), dt=dt / 2)
    return jnp.where(ends, jnp.minimum(after, top), top)


def quadratic_step(f: Callable[[Array], Array], V: Array, dt: Any, top: Array, *, curvature: Array) -> Array:
    r"""Where `V` is after `dt`, at most `top`, for $\dot V = f(V)$ with a quadratic `f`. `curvature` is $f''$.

    With $z = \sqrt{f'^2 - 2 f f''}\,\Delta t / 2$ and $t = \tanh(z) / z$ that is
    $V + f t \Delta t / (1 - f' t \Delta t / 2)$, infinite from where the denominator is zero. The quotient of
    polynomials that stands for `t` has an error below 1e-12 for `abs(z) < 0.5`; the step is stable for any `z`.
    """
    slope, J = jax.jvp(f, (V,), (jnp.ones_like(V),))
    q = (J * J - 2 * slope * curvature) * dt * dt / 4
    above, below = 10395 + q * (1260 + q * 21), 10395 + q * (4725 + q * (210 + q))
    below = below - J * dt / 2 * above
    ends = (below > 0) & (q > -9.0)
    after = V + slope * dt * above / jnp.where(ends, below, 1)
    return jnp.where(ends, jnp.minimum(after, top), top)


def membrane(cell: Any, given: dict[str, Any], I_unit: Unit) -> dict[str, Any]:
    """The arguments of a constructor, with `R` and `tau` in place of `C` and `gL` if these are given.

    **Raises:** `ValueError` if one of them is missing, or `R` or `tau` is given too; as `fill` for wrong values.
    """
    owner = type(cell).__name__
    size = as_shape(given["size"])
    instead = {name: drawn(given[name], size) for name in ("C", "gL") if given[name] is not None}
    if not instead:
        return given
    defaults = inspect.signature(type(cell).__init__).parameters
    twice = [name for name in ("R", "tau") if given[name] is not defaults[name].default]
    if twice or len(instead) < 2:
        has = " and ".join(f"`{name}`" for name in (*instead, *twice))
        raise ValueError(f"`{owner}` needs either both `C` and `gL`, or `R` and `tau`; got {has}.")
    dimensions = {"C": "capacitance", "gL": "conductance"}
    of_current: Any = {name: (value, dimensions[name]) for name, value in instead.items()}
    I_unit = current_unit(owner, I_unit, given["I_unit"], **of_current)
    C, gL = (
        parameter(value, family_unit(dimensions[name], I_unit), name, size=size, owner=owner, positive=True)
        for name, value in instead.items()
    )
    return given | {"R": join_quantity(1 / gL, family_unit("resistance", I_unit)), "tau": C / gL, "I_unit": I_unit}

"""The membrane between two events, in closed form."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array
from ..integrate import phi
from ..neuron._step import _root


class Membrane(eqx.Module):
    r"""The parameters of leaky neurons with a synaptic current, each a scalar or an array over the neurons.

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = V_\infty - V + R\,g, \qquad
    \tau_\text{syn} \frac{\mathrm{d}g}{\mathrm{d}t} = -g$$
    """

    R: Array
    tau: Array
    tau_syn: Array
    V_th: Array
    V_reset: Array
    V_rest: Array
    tau_ref: Array

    def __init__(self, cell: Any, dtype: Any):
        size = math.prod(cell.size)

        def values(name: str, default: float = 0.0) -> Array:
            value = getattr(cell, name, None)
            value = jnp.asarray(default if value is None else value, dtype)
            return value if value.ndim == 0 else jnp.broadcast_to(value, cell.size).reshape(size)

        self.R, self.tau, self.tau_syn = values("R"), values("tau"), values("tau_syn", 1.0)
        self.V_th, self.V_reset, self.V_rest = values("V_th"), values("V_reset"), values("V_rest")
        self.tau_ref = values("tau_ref")

    def decayed(self, g: Array, time: Array) -> Array:
        """The synaptic current after `time`."""
        return g * jnp.exp(-time / self.tau_syn)

    def moved(self, V: Array, g: Array, V_inf: Array, time: Array) -> Array:
        """`V` after `time`. It does not cancel where the time constants are equal or nearly so."""
        a, b = time / self.tau, time / self.tau_syn
        low, high = jnp.where(a < b, a, b), jnp.where(a < b, b, a)
        shared = jnp.exp(-low) * phi(low - high)
        return V + a * (phi(-a) * (V_inf - V) + self.R * g * shared)

    def slope(self, V: Array, g: Array, V_inf: Array) -> Array:
        """The derivative of `V` by time."""
        return (V_inf - V + self.R * g) / self.tau

    def top(self, V: Array, g: Array, V_inf: Array, time: Array) -> Array:
        """When `V` has its maximum within `time`, if that is not at its start.

        `V` has one extremum at most: where `exp(t / tau)` times its slope, which is monotone, is zero. So it rises
        from the start up to a maximum; or it goes down first, and then its maximum is at the start or at the end.
        """
        rise, push = self.tau * self.slope(V, g, V_inf), self.R * g
        inside = (push > 0) & (rise > 0)
        ratio = rise / jnp.where(inside, push, 1) * self.tau_syn
        z = (1 / self.tau - 1 / self.tau_syn) * ratio
        inside = inside & (z > -1) & jnp.isfinite(z)
        z = jnp.where(inside, z, 0)
        # log1p(z) / z, which is 1 at 0.
        factor = jnp.where(z == 0, 1, jnp.log1p(z) / jnp.where(z == 0, 1, z))
        return jnp.where(inside, jnp.minimum(ratio * factor, time), time)

    def crossing(self, V: Array, g: Array, V_inf: Array, top: Array, crossed: Array) -> Array:
        """When `V` reaches the threshold, between 0 and `top`, where it is `crossed`; else 0.

        Its derivatives, of any order, are those of the implicit function theorem.
        """

        def above(time: Array) -> Array:
            return jnp.where(crossed, self.moved(V, g, V_inf, time) - self.V_th, time)

        def solve(above: Any, start: Array) -> Array:
            low, high = (jnp.where(crossed, above(time), 0) for time in (start, top))
            low, high = jnp.minimum(low, 0), jnp.maximum(high, 0)
            return jnp.where(crossed, top * _root(lambda part: above(top * part), low, high), 0)

        def divide(linear: Any, y: Array) -> Array:
            slope = linear(jnp.ones_like(y))
            return jnp.where(slope == 0, 0, y / jnp.where(slope == 0, 1, slope))

        top = jax.lax.stop_gradient(top)
        return jax.lax.custom_root(above, jnp.zeros_like(top), solve, divide)

"""GABA-A receptors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._units import Unit, ms, per_ms
from ..init import Constant
from ..neuron._fields import initial_field, quantity_field, static_field
from ._base import fill_kinetics, unit_field
from ._receptor import AbstractReceptor


class GABAa(AbstractReceptor):
    r"""GABA-A receptors, opened by a pulse of transmitter after each spike (Destexhe, Mainen and Sejnowski 1994).

    The equation, the conventions and the arguments are those of [`neurostate.AMPA`][]; the constants are others.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.zeros((21, 1)).at[0].set(1.0)
    >>> sol = ns.simulate(ns.GABAa(1), spikes, dt=0.1 * u.ms)
    >>> print(f"{sol.outputs[10, 0]:.4f} {sol.outputs[20, 0]:.4f}")  # at the end of the pulse, and 1 ms later
    0.3795 0.3170
    """

    size: Shape = static_field()
    alpha: Float[Array, " *#size"] = quantity_field("rate", positive=True)
    beta: Float[Array, " *#size"] = quantity_field("rate", positive=True)
    T: Float[Array, " *#size"] = quantity_field(None, positive=True)
    T_dur: Float[Array, " *#size"] = quantity_field("time", positive=True)
    g_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    I_unit: Unit = unit_field()

    def __init__(
        self,
        size: Size,
        alpha: QuantityLike = 0.53 * per_ms,
        beta: QuantityLike = 0.18 * per_ms,
        T: QuantityLike = 1.0,
        T_dur: QuantityLike = 1.0 * ms,
        g_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
    ):
        fill_kinetics(self, locals())

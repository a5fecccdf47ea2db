"""AMPA receptors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._units import Unit, ms, per_ms
from ..init import Constant
from ..neuron._fields import initial_field, quantity_field, static_field
from ._base import fill_kinetics, unit_field
from ._receptor import AbstractReceptor


class AMPA(AbstractReceptor):
    r"""AMPA receptors, opened by a pulse of transmitter after each spike (Destexhe, Mainen and Sejnowski 1994,
    *Synthesis of models for excitable membranes, synaptic transmission and neuromodulation using a common kinetic
    formalism*).

    $$\frac{\mathrm{d}g}{\mathrm{d}t} = \alpha\,[\mathrm{T}]\,(1 - g) - \beta\,g$$

    where $g$ is the fraction of open receptors, and $[\mathrm{T}]$ is `T` for a time `T_dur` after a spike, else 0. A
    spike during a pulse starts it again. It is integrated exactly, also over the end of a pulse within a step.

    What a step is given is 1 for a presynaptic spike and 0 for none. The spike, and with it the pulse, is at the end
    of the step. The output is `g` after the step, a number between 0 and 1, which the weight of a connection, the
    conductance with all receptors open, turns into a conductance.

    Concentrations are plain numbers in mM, and `alpha` is a rate, for a concentration of 1 mM.

    **Arguments:**

    - `size`: Number of synapses, or the shape of the population.
    - `alpha`: How fast receptors open, per mM of transmitter. A rate, positive.
    - `beta`: How fast they close. A rate, positive.
    - `T`: The concentration of transmitter in a pulse. A number in mM, positive.
    - `T_dur`: The duration of a pulse. A time, positive.
    - `g_initializer`: `g` at the start, a number.

    **Raises:** as [`neurostate.Expon`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.zeros((21, 1)).at[0].set(1.0)
    >>> sol = ns.simulate(ns.AMPA(1, T_dur=0.5 * u.ms), spikes, dt=0.1 * u.ms)
    >>> print(f"{sol.outputs[5, 0]:.4f} {sol.outputs[20, 0]:.4f}")  # at the end of the pulse, and 1.5 ms later
    0.2082 0.1589
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
        alpha: QuantityLike = 0.98 * per_ms,
        beta: QuantityLike = 0.18 * per_ms,
        T: QuantityLike = 0.5,
        T_dur: QuantityLike = 0.5 * ms,
        g_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
    ):
        fill_kinetics(self, locals())

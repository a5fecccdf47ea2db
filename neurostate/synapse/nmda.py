"""NMDA receptors that saturate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._units import Unit, ms, per_ms
from ..init import Constant
from ..neuron._fields import initial_field, quantity_field, static_field
from ..neuron._state import variable
from ._base import AbstractSynapse, fill_kinetics, unit_field
from ._receptor import opened_by


class NMDAState(eqx.Module):
    """The state of `NMDA`: the fraction `g` of open receptors, and `x`, which opens them; `(*batch, *size)`."""

    g: Float[Array, " *state"] = variable(None)
    x: Float[Array, " *state"] = variable(None)


class NMDA(AbstractSynapse[NMDAState]):
    r"""NMDA receptors that saturate (Wang 2002, *Probabilistic decision making by slow reverberation in cortical
    circuits*).

    $$\frac{\mathrm{d}g}{\mathrm{d}t} = -\frac{g}{\tau_\text{decay}} + \alpha\,x\,(1 - g), \qquad
    \frac{\mathrm{d}x}{\mathrm{d}t} = -\frac{x}{\tau_\text{rise}} + \sum_k \delta(t - t_k)$$

    where $g$, there called $s$, is the fraction of open receptors. What a step is given is the number of presynaptic
    spikes, at the end of the step. The output is `g` after the step, between 0 and 1, which the weight of a connection
    turns into a conductance. The block by magnesium is [`neurostate.MgBlock`][], with `cc_Mg=1.0` in that paper.

    `x`, and how much of `g` remains, are integrated exactly. What opens is an integral without a closed form; its error
    is below rounding for `dt` up to 1 ms with the default rates and a few spikes at a time; and `g` does not exceed 1
    however many arrive.

    **Arguments:**

    - `size`: Number of synapses, or the shape of the population.
    - `tau_decay`: The time constant of closing. A time, positive.
    - `tau_rise`: For how long a spike opens receptors. A time, positive.
    - `alpha`: How fast it opens them. A rate, positive.
    - `g_initializer`, `x_initializer`: `g` and `x` at the start, numbers.

    **Raises:** as [`neurostate.Expon`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.zeros((2000, 1)).at[::100].set(1.0)  # 100 Hz for 200 ms
    >>> sol = ns.simulate(ns.NMDA(1), spikes, dt=0.1 * u.ms)
    >>> print(f"{sol.outputs[99, 0]:.2f} {sol.outputs[199, 0]:.2f} {sol.outputs[-1, 0]:.2f}")
    0.58 0.78 0.88
    """

    size: Shape = static_field()
    tau_decay: Float[Array, " *#size"] = quantity_field("time", positive=True)
    tau_rise: Float[Array, " *#size"] = quantity_field("time", positive=True)
    alpha: Float[Array, " *#size"] = quantity_field("rate", positive=True)
    g_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    x_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    I_unit: Unit = unit_field()

    state_type: ClassVar[type[NMDAState]] = NMDAState

    def __init__(
        self,
        size: Size,
        tau_decay: QuantityLike = 100.0 * ms,
        tau_rise: QuantityLike = 2.0 * ms,
        alpha: QuantityLike = 0.5 * per_ms,
        g_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
        x_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
    ):
        fill_kinetics(self, locals())

    def flow(self, state: NMDAState, dt: Any) -> NMDAState:
        g = opened_by(state.x, 0, 1 / self.tau_rise, state.g, self.alpha, 1 / self.tau_decay, dt)
        return NMDAState(g=g, x=state.x * jnp.exp(-dt / self.tau_rise))

    def arrive(self, state: NMDAState, x: Array) -> tuple[NMDAState, Array]:
        return NMDAState(g=state.g, x=state.x + x), state.g

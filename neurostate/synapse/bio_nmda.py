"""NMDA receptors with second-order kinetics."""

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
from ._receptor import during, opened, opened_by, started


class BioNMDAState(eqx.Module):
    """The state of `BioNMDA`, each of shape `(*batch, *size)`.

    - `g`: The fraction of the receptors that are open, between 0 and 1.
    - `x`: The fraction that transmitter has made ready to open.
    - `pulse`: For how long there is still transmitter, in ms.
    """

    g: Float[Array, " *state"] = variable(None)
    x: Float[Array, " *state"] = variable(None)
    pulse: Float[Array, " *state"] = variable("time")


class BioNMDA(AbstractSynapse[BioNMDAState]):
    r"""NMDA receptors with second-order kinetics, opened by a pulse of transmitter after each spike (Ermentrout and
    Terman 2010, *Mathematical Foundations of Neuroscience*, section 7.1).

    $$\frac{\mathrm{d}g}{\mathrm{d}t} = \alpha_1\,x\,(1 - g) - \beta_1\,g, \qquad
    \frac{\mathrm{d}x}{\mathrm{d}t} = \alpha_2\,[\mathrm{T}]\,(1 - x) - \beta_2\,x$$

    The pulse of transmitter, what a step is given, what it gives, and the units are as in [`neurostate.AMPA`][]. The
    block by magnesium is [`neurostate.MgBlock`][].

    `x`, and how much of `g` remains, are integrated exactly, also over the end of a pulse within a step. What opens is
    an integral without a closed form; its error is below rounding for `dt` up to 1 ms with the default rates.

    **Arguments:**

    - `size`: Number of synapses, or the shape of the population.
    - `alpha1`, `beta1`: How fast receptors open, once all are ready, and close. Rates, positive.
    - `alpha2`, `beta2`: How fast they get ready, per mM of transmitter, and lose it. Rates, positive.
    - `T`: The concentration of transmitter in a pulse. A number in mM, positive.
    - `T_dur`: The duration of a pulse. A time, positive.
    - `g_initializer`, `x_initializer`: `g` and `x` at the start, numbers.

    **Raises:** as [`neurostate.Expon`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.BioNMDA(1), jnp.zeros((101, 1)).at[0].set(1.0), dt=0.1 * u.ms)
    >>> print(f"{sol.outputs[5, 0]:.3f} {sol.outputs[100, 0]:.3f}")
    0.179 0.742
    """

    size: Shape = static_field()
    alpha1: Float[Array, " *#size"] = quantity_field("rate", positive=True)
    beta1: Float[Array, " *#size"] = quantity_field("rate", positive=True)
    alpha2: Float[Array, " *#size"] = quantity_field("rate", positive=True)
    beta2: Float[Array, " *#size"] = quantity_field("rate", positive=True)
    T: Float[Array, " *#size"] = quantity_field(None, positive=True)
    T_dur: Float[Array, " *#size"] = quantity_field("time", positive=True)
    g_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    x_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    I_unit: Unit = unit_field()

    state_type: ClassVar[type[BioNMDAState]] = BioNMDAState

    def __init__(
        self,
        size: Size,
        alpha1: QuantityLike = 2.0 * per_ms,
        beta1: QuantityLike = 0.01 * per_ms,
        alpha2: QuantityLike = 1.0 * per_ms,
        beta2: QuantityLike = 0.5 * per_ms,
        T: QuantityLike = 1.0,
        T_dur: QuantityLike = 0.5 * ms,
        g_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
        x_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
    ):
        fill_kinetics(self, locals())

    def start(self, name: str) -> Any:
        """What the variable `name` starts from; there is no transmitter at the start."""
        return jnp.zeros_like(self.T_dur) if name == "pulse" else super().start(name)

    def flow(self, state: BioNMDAState, dt: Any) -> BioNMDAState:
        there, pulse = during(state.pulse, dt)
        rate = self.alpha2 * self.T + self.beta2
        g = opened_by(state.x, self.alpha2 * self.T / rate, rate, state.g, self.alpha1, self.beta1, there)
        x = opened(state.x, self.alpha2 * self.T, self.beta2, there)
        g = opened_by(x, 0, self.beta2, g, self.alpha1, self.beta1, dt - there)
        return BioNMDAState(g=g, x=x * jnp.exp(-self.beta2 * (dt - there)), pulse=pulse)

    def arrive(self, state: BioNMDAState, x: Array) -> tuple[BioNMDAState, Array]:
        return BioNMDAState(g=state.g, x=state.x, pulse=started(state.pulse, self.T_dur, x)), state.g

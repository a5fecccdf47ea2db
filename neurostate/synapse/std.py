"""Short-term depression alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._units import Unit, ms
from ..init import Constant
from ..neuron._fields import initial_field, quantity_field, static_field
from ..neuron._state import variable
from ._base import AbstractSynapse, fill_kinetics, unit_field


class STDState(eqx.Module):
    """The state of `STD`: the resources `x`, a fraction of shape `(*batch, *size)`."""

    x: Float[Array, " *state"] = variable(None)


class STD(AbstractSynapse[STDState]):
    r"""Synapses that depress (Abbott et al. 1997, *Synaptic depression and cortical gain control*).

    A spike is as effective as there are resources, and uses a fraction of them; they recover exponentially.

    $$A = x^-, \qquad x^+ = x^-\,(1 - U), \qquad \frac{\mathrm{d}x}{\mathrm{d}t} = \frac{1 - x}{\tau}$$

    It is integrated exactly. What a step is given is 1 for a presynaptic spike and 0 for none. The spike is at the end
    of the step, and the output is $A$, which is 0 without a spike and 1 for the first one: a weight is that of a
    synapse without depression. (What [`neurostate.STP`][] releases contains `U`.)

    **Arguments:**

    - `size`: Number of synapses, or the shape of the population.
    - `tau`: The time constant of the recovery. A time, positive.
    - `U`: The fraction that a spike uses. A number, positive.
    - `x_initializer`: `x` at the start, a number.

    **Raises:** as [`neurostate.Expon`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> print(ns.simulate(ns.STD(1, U=0.5), jnp.ones((3, 1)), dt=10 * u.ms).outputs[:, 0])
    [1.         0.5243853  0.29817593]
    """

    size: Shape = static_field()
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    U: Float[Array, " *#size"] = quantity_field(None, positive=True)
    x_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    I_unit: Unit = unit_field()

    state_type: ClassVar[type[STDState]] = STDState

    def __init__(
        self,
        size: Size,
        tau: QuantityLike = 200.0 * ms,
        U: QuantityLike = 0.07,
        x_initializer: QuantityLike | Callable[..., Any] = Constant(1.0),
    ):
        fill_kinetics(self, locals())

    def flow(self, state: STDState, dt: Any) -> STDState:
        return STDState(x=state.x - (1 - state.x) * jnp.expm1(-dt / self.tau))

    def arrive(self, state: STDState, x: Array) -> tuple[STDState, Array]:
        return STDState(x=state.x * (1 - x * self.U)), x * state.x

"""Short-term plasticity: facilitation and depression."""

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


class STPState(eqx.Module):
    """The state of `STP`: the use `u` and the resources `x`, fractions of shape `(*batch, *size)`."""

    u: Float[Array, " *state"] = variable(None)
    x: Float[Array, " *state"] = variable(None)


class STP(AbstractSynapse[STPState]):
    r"""Synapses that facilitate and depress (Tsodyks, Pawelzik and Markram 1998, *Neural networks with dynamic
    synapses*; Mongillo, Barak and Tsodyks 2008, *Synaptic theory of working memory*).

    A spike uses a fraction $u$ of the resources $x$ that there are. With - for before and + for after it,

    $$u^+ = u^- + U\,(1 - u^-), \qquad A = u^+ x^-, \qquad x^+ = x^- - A$$

    where $A$ is what is released. Between spikes

    $$\frac{\mathrm{d}u}{\mathrm{d}t} = \frac{u_\text{rest} - u}{\tau_f}, \qquad
    \frac{\mathrm{d}x}{\mathrm{d}t} = \frac{1 - x}{\tau_d}$$

    which is integrated exactly. In Tsodyks et al. $u_\text{rest}$ is 0, so that the first spike releases `U`; in
    Mongillo et al. it is `U`, and the first spike releases `U + U * (1 - U)`.

    What a step is given is 1 for a presynaptic spike and 0 for none. The spike is at the end of the step, and the
    output is $A$, a number that is 0 without a spike: what arrives at the synapse behind it, times a weight.

    **Arguments:**

    - `size`: Number of synapses, or the shape of the population.
    - `U`: By how much a spike raises `u`, for a `u` of 0. A number, positive.
    - `tau_f`, `tau_d`: The time constants of facilitation and depression. Times, positive.
    - `u_rest`: To where `u` goes without spikes. A number.
    - `u_initializer`, `x_initializer`: `u` and `x` at the start, numbers. By default `u_rest` and 1.

    **Raises:** as [`neurostate.Expon`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.zeros((3, 1)).at[:2].set(1.0)
    >>> print(ns.simulate(ns.STP(1, U=0.2), spikes, dt=10 * u.ms).outputs[:, 0])
    [0.2       0.2906506 0.       ]
    """

    size: Shape = static_field()
    U: Float[Array, " *#size"] = quantity_field(None, positive=True)
    tau_f: Float[Array, " *#size"] = quantity_field("time", positive=True)
    tau_d: Float[Array, " *#size"] = quantity_field("time", positive=True)
    u_rest: Float[Array, " *#size"] = quantity_field(None)
    u_initializer: Float[Array, " *#size"] | Callable[..., Any] | None = initial_field(None)
    x_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    I_unit: Unit = unit_field()

    state_type: ClassVar[type[STPState]] = STPState

    def __init__(
        self,
        size: Size,
        U: QuantityLike = 0.15,
        tau_f: QuantityLike = 1500.0 * ms,
        tau_d: QuantityLike = 200.0 * ms,
        u_rest: QuantityLike = 0.0,
        u_initializer: QuantityLike | Callable[..., Any] | None = None,
        x_initializer: QuantityLike | Callable[..., Any] = Constant(1.0),
    ):
        fill_kinetics(self, locals())

    def start(self, name: str) -> Any:
        """What the variable `name` starts from."""
        return self.u_rest if name == "u" and self.u_initializer is None else super().start(name)

    def flow(self, state: STPState, dt: Any) -> STPState:
        u = state.u - (self.u_rest - state.u) * jnp.expm1(-dt / self.tau_f)
        return STPState(u=u, x=state.x - (1 - state.x) * jnp.expm1(-dt / self.tau_d))

    def arrive(self, state: STPState, x: Array) -> tuple[STPState, Array]:
        u = state.u + x * self.U * (1 - state.u)
        released = x * u * state.x
        return STPState(u=u, x=state.x - released), released

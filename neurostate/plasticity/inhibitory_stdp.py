"""Plasticity of inhibitory synapses that balances excitation."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike
from .._units import Unit, ms, per_ms
from ..connect._base import AbstractConnection
from ..neuron._fields import quantity_field
from ..synapse._base import OF_G
from ._base import AbstractPlasticity, fill, traces, unit_field
from .stdp import STDPState


class InhibitorySTDP(AbstractPlasticity[STDPState]):
    r"""Inhibitory plasticity towards a target rate (Vogels et al. 2011, *Inhibitory plasticity balances excitation and
    inhibition in sensory pathways and memory networks*).

    Spikes that are near in time, in any order, strengthen the synapse; each spike that arrives weakens it. With the
    traces $x$ of the spikes that arrive and $y$ of those behind, both all to all with $\tau$,

    $$w \to w + \eta\,r\,(y - \alpha) \ \text{ at a spike that arrives}, \qquad
    w \to w + \eta\,r\,x \ \text{ at a spike behind}, \qquad \alpha = 2\,\rho_0\,\tau$$

    with $r = w_\text{max} - w_\text{min}$. For neurons that spike independently the mean change is zero where the
    rate behind is $\rho_0$: too much activity strengthens the inhibition. After each change a weight is clipped to its
    bounds.

    The window is symmetric, so a pair within one step counts, once: the spike that arrives is the earlier one.

    **Arguments:**

    - `w_max`, `w_min`: The bounds of the weights, in their unit; `w_max` is the one farther from zero. Weights of
        inhibitory synapses that are negative have a negative `w_max`.
    - `eta`: The learning rate, as a fraction of the range of the weights. A number.
    - `tau`: The time constant of the traces. A time, positive.
    - `rho0`: The target rate behind the synapse: a number in 1/ms or a `Quantity`, positive.

    **Raises:** as [`neurostate.STDP`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> connection = ns.connect.OneToOne(2, -0.5 * u.mV)
    >>> rule = ns.InhibitorySTDP(-1.0 * u.mV, eta=0.1, rho0=5 * u.Hz)
    >>> state, weight = rule.init_state(connection), jnp.array([-0.5, -0.5])
    >>> state, weight = rule.step(state, weight, jnp.ones(2), jnp.array([0.0, 1.0]), connection, dt=0.1 * u.ms)
    >>> print(weight)
    [-0.48 -0.58]
    """

    w_max: Float[Array, ""] = quantity_field(OF_G)
    w_min: Float[Array, ""] = quantity_field(OF_G)
    eta: Float[Array, ""] = quantity_field(None)
    tau: Float[Array, ""] = quantity_field("time", positive=True)
    rho0: Float[Array, ""] = quantity_field("rate", positive=True)
    I_unit: Unit = unit_field()

    def __init__(
        self,
        w_max: QuantityLike,
        *,
        w_min: QuantityLike = 0.0,
        eta: QuantityLike = 1e-3,
        tau: QuantityLike = 20.0 * ms,
        rho0: QuantityLike = 0.005 * per_ms,
    ):
        fill(self, locals())

    def init_state(self, connection: AbstractConnection) -> STDPState:
        return STDPState(*traces(self, connection))

    def change(
        self,
        state: STDPState,
        weight: Array,
        pre: Array,
        post: Array,
        connection: AbstractConnection,
        dt: Any,
        modulator: Any,
    ) -> tuple[STDPState, Array]:
        del modulator
        decay = jnp.exp(-dt / self.tau)
        x, y, alpha = state.pre * decay + pre, state.post * decay, 2 * self.rho0 * self.tau
        by = self.eta * self.span
        weight = connection.update_pre(weight, pre, lambda w, y: self.bounded(w + by * (y - alpha)), y)
        weight = connection.update_post(weight, post, lambda w, x: self.bounded(w + by * x), x)
        return STDPState(x, y + post), weight

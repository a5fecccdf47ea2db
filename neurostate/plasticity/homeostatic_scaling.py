"""Scaling of all synapses of a neuron towards a target rate."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike
from .._units import Unit, ms, per_ms
from ..connect._base import AbstractConnection
from ..neuron._fields import quantity_field
from ..neuron._state import variable
from ..synapse._base import OF_G
from ._base import AbstractPlasticity, fill, traces, unit_field


class HomeostaticScalingState(eqx.Module):
    """The rate of each neuron behind, of shape `(num_out,)`, in 1/ms, as a slow average."""

    rate: Float[Array, " num_out"] = variable("rate")


class HomeostaticScaling(AbstractPlasticity[HomeostaticScalingState]):
    r"""Multiplicative scaling towards a target rate (Turrigiano et al. 1998, *Activity-dependent scaling of quantal
    amplitude in neocortical neurons*; van Rossum, Bi and Turrigiano 2000, *Stable Hebbian learning from spike
    timing-dependent plasticity*, without their integral term).

    A neuron that spikes too seldom strengthens all its synapses by the same factor, and weakens them if it spikes too
    often:

    $$\tau_r \frac{\mathrm{d}\rho}{\mathrm{d}t} = -\rho + \sum_\text{post} \delta(t - t_j), \qquad
    \tau \frac{\mathrm{d}w}{\mathrm{d}t} = w \left(1 - \frac{\rho}{\rho_0}\right)$$

    The average is exact for spikes that are spread over their step, so that its mean is the rate at any `dt`; it begins
    at $\rho_0$. The weights are integrated exactly for the $\rho$ at the end of the step, and clipped to their bounds.
    It is meant for excitatory synapses: the factor does not depend on the sign of a weight. Spikes that arrive do not
    matter. Each step looks at all synapses.

    **Arguments:**

    - `w_max`, `w_min`: The bounds of the weights, in their unit; `w_max` is the one farther from zero.
    - `rho0`: The target rate behind the synapse: a number in 1/ms or a `Quantity`, positive.
    - `tau`: The time constant of the weights of a neuron that is silent. A time, positive.
    - `tau_rate`: The time constant of the average. A time, positive. One much longer than `tau` makes oscillations.

    **Raises:** as [`neurostate.STDP`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns, numpy as np
    >>> connection = ns.connect.Dense(1, 2, 0.5 * u.nS)
    >>> rule = ns.HomeostaticScaling(2.0 * u.nS, rho0=10 * u.Hz, tau=1 * u.second, tau_rate=100 * u.ms)
    >>> state, weight = rule.init_state(connection), connection.weight
    >>> for _ in range(100):
    ...     state, weight = rule.step(state, weight, jnp.zeros(1), jnp.array([0.0, 0.02]), connection, dt=1 * u.ms)
    >>> print(np.asarray(state.rate).round(4), np.asarray(weight).round(3))
    [0.0037 0.0163] [[0.519 0.482]]
    """

    w_max: Float[Array, ""] = quantity_field(OF_G)
    w_min: Float[Array, ""] = quantity_field(OF_G)
    rho0: Float[Array, ""] = quantity_field("rate", positive=True)
    tau: Float[Array, ""] = quantity_field("time", positive=True)
    tau_rate: Float[Array, ""] = quantity_field("time", positive=True)
    I_unit: Unit = unit_field()

    def __init__(
        self,
        w_max: QuantityLike,
        *,
        w_min: QuantityLike = 0.0,
        rho0: QuantityLike = 0.005 * per_ms,
        tau: QuantityLike = 100e3 * ms,
        tau_rate: QuantityLike = 10e3 * ms,
    ):
        fill(self, locals())

    def init_state(self, connection: AbstractConnection) -> HomeostaticScalingState:
        like = traces(self, connection)[1]
        return HomeostaticScalingState(jnp.full_like(like, self.rho0))

    def change(
        self,
        state: HomeostaticScalingState,
        weight: Array,
        pre: Array,
        post: Array,
        connection: AbstractConnection,
        dt: Any,
        modulator: Any,
    ) -> tuple[HomeostaticScalingState, Array]:
        del pre, modulator
        rate = state.rate - (post / dt - state.rate) * jnp.expm1(-dt / self.tau_rate)
        factor = jnp.exp(dt / self.tau * (1 - rate / self.rho0))
        return HomeostaticScalingState(rate), self.bounded(weight * connection.at_post(factor))

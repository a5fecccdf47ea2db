"""Spike-timing-dependent plasticity that waits for a reward."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike
from .._units import Unit, ms
from ..connect._base import AbstractConnection
from ..neuron._fields import quantity_field
from ..neuron._state import variable
from ..synapse._base import OF_G
from ._base import AbstractPlasticity, as_rate, fill, traces, unit_field


class RewardSTDPState(eqx.Module):
    """The traces of the neurons in front, `pre` of shape `(num_in,)`, and behind, `post` of shape `(num_out,)`, and
    the `eligibility` of each synapse."""

    pre: Float[Array, " num_in"] = variable(None)
    post: Float[Array, " num_out"] = variable(None)
    eligibility: Float[Array, "..."] = variable(None)


class RewardSTDP(AbstractPlasticity[RewardSTDPState]):
    r"""Plasticity by pairs of spikes that are rewarded later (Izhikevich 2007, *Solving the distal reward problem
    through linkage of STDP and dopamine signaling*; Frémaux and Gerstner 2016, *Neuromodulated spike-timing-dependent
    plasticity, and theory of three-factor learning rules*).

    Pairs of spikes change the eligibility $e$ of a synapse, as in [`neurostate.STDP`][], additive and all to all. It
    fades, and as long as it is there, the modulator $M$ makes a change of the weight of it:

    $$\frac{\mathrm{d}e}{\mathrm{d}t} = -\frac{e}{\tau_e} + A_+\,x \sum_\text{post} \delta(t - t_j)
    - A_-\,y \sum_\text{pre} \delta(t - t_i), \qquad
    \frac{\mathrm{d}w}{\mathrm{d}t} = (w_\text{max} - w_\text{min})\,M(t)\,e(t)$$

    It is integrated exactly for an $M$ that is constant during a step. The spikes of a step are at its end, so they
    change weights from the next step on. Weights are clipped to their bounds.

    `step` must be given `modulator`: how much reward, or dopamine, there is now, as a rate: a number in 1/ms or a
    `Quantity`, of any sign, one for all synapses. A constant one makes, in the end, a change of $M \tau_e$ times that
    of STDP. Each step looks at all synapses.

    **Arguments:**

    - `w_max`, `w_min`: The bounds of the weights, in their unit; `w_max` is the one farther from zero.
    - `A_plus`, `A_minus`: What a pair changes the eligibility by, without delay. Numbers.
    - `tau_plus`, `tau_minus`: The time constants of the two traces. Times, positive.
    - `tau_e`: The time constant of the eligibility. A time, positive.

    **Raises:** as [`neurostate.STDP`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns, numpy as np
    >>> connection, one, none = ns.connect.OneToOne(1, 0.5), jnp.ones(1), jnp.zeros(1)
    >>> rule = ns.RewardSTDP(1.0, A_plus=0.1)
    >>> state, weight = rule.init_state(connection), jnp.array([0.5])
    >>> for pre, post, reward in [(one, none, 0.0), (none, one, 0.0), (none, none, 10 * u.Hz)]:
    ...     state, weight = rule.step(state, weight, pre, post, connection, dt=10.0, modulator=reward)
    >>> print(np.asarray(state.eligibility).round(4), np.asarray(weight).round(4))
    [0.06] [0.506]
    """

    w_max: Float[Array, ""] = quantity_field(OF_G)
    w_min: Float[Array, ""] = quantity_field(OF_G)
    A_plus: Float[Array, ""] = quantity_field(None)
    A_minus: Float[Array, ""] = quantity_field(None)
    tau_plus: Float[Array, ""] = quantity_field("time", positive=True)
    tau_minus: Float[Array, ""] = quantity_field("time", positive=True)
    tau_e: Float[Array, ""] = quantity_field("time", positive=True)
    I_unit: Unit = unit_field()

    def __init__(
        self,
        w_max: QuantityLike,
        *,
        w_min: QuantityLike = 0.0,
        A_plus: QuantityLike = 0.005,
        A_minus: QuantityLike = 0.00525,
        tau_plus: QuantityLike = 20.0 * ms,
        tau_minus: QuantityLike = 20.0 * ms,
        tau_e: QuantityLike = 1000.0 * ms,
    ):
        fill(self, locals())

    def init_state(self, connection: AbstractConnection) -> RewardSTDPState:
        pre, post = traces(self, connection)
        return RewardSTDPState(pre, post, jnp.zeros(connection.synapse_shape, pre.dtype))

    def as_modulator(self, modulator: QuantityLike) -> Any:
        return as_rate(modulator, "RewardSTDP")

    def change(
        self,
        state: RewardSTDPState,
        weight: Array,
        pre: Array,
        post: Array,
        connection: AbstractConnection,
        dt: Any,
        modulator: Any,
    ) -> tuple[RewardSTDPState, Array]:
        during = -self.tau_e * jnp.expm1(-dt / self.tau_e)  # the integral of the decay over the step
        weight = self.bounded(weight + self.span * modulator * during * state.eligibility)
        x, y = state.pre * jnp.exp(-dt / self.tau_plus), state.post * jnp.exp(-dt / self.tau_minus)
        at_pre, at_post = connection.at_pre, connection.at_post
        jump = self.A_plus * at_pre(x) * at_post(post) - self.A_minus * at_pre(pre) * at_post(y)
        eligibility = state.eligibility * jnp.exp(-dt / self.tau_e) + jump
        return RewardSTDPState(x + pre, y + post, eligibility), weight

"""Spike-timing-dependent plasticity of triplets of spikes."""

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
from ._base import AbstractPlasticity, fill, traces, unit_field


class TripletSTDPState(eqx.Module):
    """The fast and slow traces of the neurons in front, `r1` and `r2` of shape `(num_in,)`, and of those behind, `o1`
    and `o2` of shape `(num_out,)`."""

    r1: Float[Array, " num_in"] = variable(None)
    r2: Float[Array, " num_in"] = variable(None)
    o1: Float[Array, " num_out"] = variable(None)
    o2: Float[Array, " num_out"] = variable(None)


class TripletSTDP(AbstractPlasticity[TripletSTDPState]):
    r"""Plasticity by triplets of spikes, all to all (Pfister and Gerstner 2006, *Triplets of spikes in a model of spike
    timing-dependent plasticity*).

    A neuron has a fast and a slow trace, $r_1$ and $r_2$ in front of the synapse and $o_1$ and $o_2$ behind it, which
    decay with $\tau_+$, $\tau_x$, $\tau_-$ and $\tau_y$ and rise by 1 at its spikes.

    $$w \to w + r\,r_1\,(A_2^+ + A_3^+\,o_2) \ \text{ at a spike behind}, \qquad
    w \to w - r\,o_1\,(A_2^- + A_3^-\,r_2) \ \text{ at a spike that arrives}$$

    with $r = w_\text{max} - w_\text{min}$. All traces are those before the spike. They are those of earlier steps, so
    spikes within one step do not see each other. After a step the weights are clipped to their bounds. Each step looks
    at all synapses.

    **Arguments:**

    - `w_max`, `w_min`: The bounds of the weights, in their unit; `w_max` is the one farther from zero.
    - `A2_plus`, `A2_minus`: What a pair changes, as a fraction of the range of the weights. Numbers.
    - `A3_plus`, `A3_minus`: What a triplet changes besides, likewise.
    - `tau_plus`, `tau_minus`: The time constants of the fast traces. Times, positive.
    - `tau_x`, `tau_y`: The time constants of the slow traces in front and behind. Times, positive.

    The defaults are those of the paper for visual cortex (the full model, all to all).

    **Raises:** as [`neurostate.STDP`][].

    >>> import jax.numpy as jnp, neurostate as ns, numpy as np
    >>> connection = ns.connect.Dense(1, 1, 0.5)
    >>> rule = ns.TripletSTDP(1.0, A3_plus=0.1)
    >>> state, weight = rule.init_state(connection), connection.weight
    >>> for pre, post in [(0.0, 1.0), (1.0, 0.0), (0.0, 1.0)]:
    ...     state, weight = rule.step(state, weight, jnp.array([pre]), jnp.array([post]), connection, dt=10.0)
    >>> print(np.asarray(weight).round(4))
    [[0.5418]]
    """

    w_max: Float[Array, ""] = quantity_field(OF_G)
    w_min: Float[Array, ""] = quantity_field(OF_G)
    A2_plus: Float[Array, ""] = quantity_field(None)
    A2_minus: Float[Array, ""] = quantity_field(None)
    A3_plus: Float[Array, ""] = quantity_field(None)
    A3_minus: Float[Array, ""] = quantity_field(None)
    tau_plus: Float[Array, ""] = quantity_field("time", positive=True)
    tau_minus: Float[Array, ""] = quantity_field("time", positive=True)
    tau_x: Float[Array, ""] = quantity_field("time", positive=True)
    tau_y: Float[Array, ""] = quantity_field("time", positive=True)
    I_unit: Unit = unit_field()

    def __init__(
        self,
        w_max: QuantityLike,
        *,
        w_min: QuantityLike = 0.0,
        A2_plus: QuantityLike = 5e-10,
        A2_minus: QuantityLike = 7e-3,
        A3_plus: QuantityLike = 6.2e-3,
        A3_minus: QuantityLike = 2.3e-4,
        tau_plus: QuantityLike = 16.8 * ms,
        tau_minus: QuantityLike = 33.7 * ms,
        tau_x: QuantityLike = 101.0 * ms,
        tau_y: QuantityLike = 125.0 * ms,
    ):
        fill(self, locals())

    def init_state(self, connection: AbstractConnection) -> TripletSTDPState:
        pre, post = traces(self, connection)
        return TripletSTDPState(pre, pre, post, post)

    def change(
        self,
        state: TripletSTDPState,
        weight: Array,
        pre: Array,
        post: Array,
        connection: AbstractConnection,
        dt: Any,
        modulator: Any,
    ) -> tuple[TripletSTDPState, Array]:
        del modulator
        r1, r2 = state.r1 * jnp.exp(-dt / self.tau_plus), state.r2 * jnp.exp(-dt / self.tau_x)
        o1, o2 = state.o1 * jnp.exp(-dt / self.tau_minus), state.o2 * jnp.exp(-dt / self.tau_y)
        at_pre, at_post = connection.at_pre, connection.at_post
        more = at_pre(r1) * at_post(post * (self.A2_plus + self.A3_plus * o2))
        less = at_pre(pre * (self.A2_minus + self.A3_minus * r2)) * at_post(o1)
        weight = self.bounded(weight + self.span * (more - less))
        return TripletSTDPState(r1 + pre, r2 + pre, o1 + post, o2 + post), weight

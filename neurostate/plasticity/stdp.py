"""Spike-timing-dependent plasticity of pairs of spikes."""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike
from .._parameters import parameter
from .._units import Unit, argument, ms
from ..connect._base import AbstractConnection
from ..neuron._fields import quantity_field, static_field
from ..neuron._state import variable
from ..synapse._base import OF_G
from ._base import AbstractPlasticity, fill, traces, unit_field


class STDPState(eqx.Module):
    """The traces of the neurons in front, `pre` of shape `(num_in,)`, and of those behind, `post`: `(num_out,)`."""

    pre: Float[Array, " num_in"] = variable(None)
    post: Float[Array, " num_out"] = variable(None)


class STDP(AbstractPlasticity[STDPState]):
    r"""Plasticity by pairs of spikes (Song, Miller and Abbott 2000, *Competitive Hebbian learning through
    spike-timing-dependent synaptic plasticity*; Gütig et al. 2003, *Learning input correlations through nonlinear
    temporally asymmetric Hebbian plasticity*).

    A spike behind a synapse potentiates it by the trace $x$ of the spikes that arrived before, and a spike that arrives
    depresses it by the trace $y$ of the spikes behind it:

    $$\frac{\mathrm{d}x}{\mathrm{d}t} = -\frac{x}{\tau_+} + \sum_\text{pre} \delta(t - t_i), \qquad
    \frac{\mathrm{d}y}{\mathrm{d}t} = -\frac{y}{\tau_-} + \sum_\text{post} \delta(t - t_j)$$

    $$w \to w + A_+\,f(w_\text{max} - w)\,x \ \text{ at } t_j, \qquad
    w \to w - A_-\,f(w - w_\text{min})\,y \ \text{ at } t_i$$

    So a pair of spikes, `dt` apart, changes a weight by $\pm A_\pm\,f\,\mathrm{e}^{-|\Delta t|/\tau_\pm}$. With
    $r = w_\text{max} - w_\text{min}$, $f(d)$ is $r$ (`"additive"`), $d$ (`"multiplicative"`), or
    $r\,(d / r)^\mu$, which is between them. After each change a weight is clipped to its bounds.

    Traces are those of earlier steps, so a pair within one step does not count. If both neurons spike in a step, the
    depression comes first.

    **Arguments:**

    - `w_max`, `w_min`: The bounds of the weights, in their unit; `w_max` is the one farther from zero.
    - `A_plus`, `A_minus`: What a pair changes without delay, as a fraction of the range of the weights. Numbers.
    - `tau_plus`, `tau_minus`: The time constants of the two traces. Times, positive.
    - `dependence`: `"additive"`, `"multiplicative"`, or the exponent $\mu$, a positive number, which can be trained.
    - `pairing`: `"all"` pairs each spike with all earlier ones. `"nearest"` with the last one of the other neuron: a
        spike sets a trace to 1 instead of raising it by 1.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` for a time that is not positive, bounds out of order, an
    unknown setting, or what is not a scalar; `TypeError` for what is not a number.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns, numpy as np
    >>> connection = ns.connect.OneToOne(2, 0.5 * u.nS)
    >>> rule = ns.STDP(1.0 * u.nS, A_plus=0.1, A_minus=0.1)
    >>> state, weight = rule.init_state(connection), jnp.array([0.5, 0.5])
    >>> first, second = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
    >>> state, weight = rule.step(state, weight, pre=first, post=second, connection=connection, dt=5 * u.ms)
    >>> state, weight = rule.step(state, weight, pre=second, post=first, connection=connection, dt=5 * u.ms)
    >>> print(np.asarray(weight).round(4))
    [0.5779 0.4221]
    """

    w_max: Float[Array, ""] = quantity_field(OF_G)
    w_min: Float[Array, ""] = quantity_field(OF_G)
    A_plus: Float[Array, ""] = quantity_field(None)
    A_minus: Float[Array, ""] = quantity_field(None)
    tau_plus: Float[Array, ""] = quantity_field("time", positive=True)
    tau_minus: Float[Array, ""] = quantity_field("time", positive=True)
    mu: Float[Array, ""] | None = quantity_field(None)
    dependence: str = static_field()
    pairing: Literal["all", "nearest"] = static_field()
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
        dependence: QuantityLike = "additive",
        pairing: Literal["all", "nearest"] = "all",
    ):
        is_word = isinstance(dependence, str)
        if is_word and dependence not in ("additive", "multiplicative"):
            needed = "'additive', 'multiplicative' or an exponent"
            raise ValueError(f"{argument('STDP', 'dependence')} must be {needed}, got {dependence!r}.")
        self.dependence, self.mu = "power", None
        if is_word:
            self.dependence = dependence
        else:
            self.mu = parameter(dependence, None, "dependence", size=(), owner="STDP", positive=True)
        if pairing not in ("all", "nearest"):
            raise ValueError(f"{argument('STDP', 'pairing')} must be 'all' or 'nearest', got {pairing!r}.")
        self.pairing = pairing
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
        x, y = state.pre * jnp.exp(-dt / self.tau_plus), state.post * jnp.exp(-dt / self.tau_minus)
        weight = connection.update_pre(weight, pre, self._depressed, y)
        weight = connection.update_post(weight, post, self._potentiated, x)
        return STDPState(self._raised(x, pre), self._raised(y, post)), weight

    def _depressed(self, weight: Array, y: Array) -> Array:
        return self.bounded(weight - self.A_minus * y * self._effective(weight - self.w_min))

    def _potentiated(self, weight: Array, x: Array) -> Array:
        return self.bounded(weight + self.A_plus * x * self._effective(self.w_max - weight))

    def _effective(self, distance: Array) -> Array:
        """How much of the range counts at that distance from a bound."""
        if self.mu is None:
            return self.span if self.dependence == "additive" else distance
        fraction = distance / self.span
        inside = fraction > 0  # at the bound, a power below 1 has an infinite slope
        return self.span * jnp.where(inside, jnp.where(inside, fraction, 1) ** self.mu, 0)

    def _raised(self, trace: Array, spike: Array) -> Array:
        return trace + spike if self.pairing == "all" else trace + spike * (1 - trace)

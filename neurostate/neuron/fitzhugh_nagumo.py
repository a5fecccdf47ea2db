"""The neuron of FitzHugh and Nagumo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Unit, ms, unitless
from ..init import Constant
from ..integrate import Integrator
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable


class FitzHughNagumoState(NeuronState):
    """The state of `FitzHughNagumo`: `V`, `w`; see [`neurostate.FitzHughNagumo`][]."""

    V: Float[Array, " *state"] = variable(None)
    w: Float[Array, " *state"] = variable(None)


class FitzHughNagumo(AbstractODENeuron[FitzHughNagumoState]):
    r"""The two-dimensional reduction of excitability (FitzHugh 1961, *Impulses and physiological states in theoretical
    models of nerve membrane*; Nagumo et al. 1962).

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = V - \frac{V^3}{3} - w + I(t), \qquad
    \tau_w \frac{\mathrm{d}w}{\mathrm{d}t} = V + a - b w$$

    `V` has no unit, and so has the current; time is in ms. A spike is counted in the step in which `V` crosses
    `V_th` from below; nothing is reset. The drive is constant during a step. By default `integrator="rk4"`.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `a`, `b`: Numbers.
    - `tau`, `tau_w`: The time constants of `V` and `w`.
    - `V_th`: Where a spike is counted. A number.
    - `V_initializer`, `w_initializer`: `V` and `w` at the start. Numbers.
    - `spk_fun`, `tau_ref`, `integrator`, `spike_time`, `I_unit`: as in [`neurostate.LIF`][]. A refractory period keeps
        only the spikes apart; `V` moves on.

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.FitzHughNagumo(1), jnp.full((2000, 1), 0.5), dt=0.1 * u.ms)
    >>> bool(sol.outputs.sum() > 2)
    True
    """

    size: Shape = static_field()
    a: Float[Array, " *#size"] = quantity_field(None)
    b: Float[Array, " *#size"] = quantity_field(None)
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    tau_w: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_th: Float[Array, " *#size"] = quantity_field(None)
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    w_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[FitzHughNagumoState]] = FitzHughNagumoState
    has_reset: ClassVar[bool] = False

    def __init__(
        self,
        size: Size,
        a: QuantityLike = 0.7,
        b: QuantityLike = 0.8,
        tau: QuantityLike = 1.0 * ms,
        tau_w: QuantityLike = 12.5 * ms,
        V_th: QuantityLike = 1.0,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(-1.2),
        w_initializer: QuantityLike | Callable[..., Any] = Constant(-0.62),
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        *,
        tau_ref: QuantityLike | None = None,
        integrator: Integrator | str = "rk4",
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        fill(self, locals(), unitless)

    def derivative(self, state: FitzHughNagumoState, drive: Drive) -> FitzHughNagumoState:
        V = (state.V - state.V**3 / 3 - state.w + drive.total(state.V)) / self.tau
        return FitzHughNagumoState(V=V, w=(state.V + self.a - self.b * state.w) / self.tau_w)

    def distance(self, state: FitzHughNagumoState) -> Array:
        return state.V - self.V_th

    def reset(self, state: FitzHughNagumoState, spike: Array) -> FitzHughNagumoState:
        del spike
        return state

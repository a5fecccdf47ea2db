"""The adaptive quadratic integrate-and-fire neuron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Mohm, Unit, ms, mV, nA, per_mV, uS
from ..init import Constant
from ..integrate import Integrator
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import check_threshold, fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable
from ._upstroke import quadratic_step


class AdQuaIFState(NeuronState):
    """The state of `AdQuaIF`: `V`, `w`; see [`neurostate.AdQuaIF`][]."""

    V: Float[Array, " *state"] = variable("voltage")
    w: Float[Array, " *state"] = variable("current")


class AdQuaIF(AbstractODENeuron[AdQuaIFState]):
    r"""Adaptive quadratic integrate-and-fire neurons (Izhikevich 2004; Touboul 2009, *Importance of the cutoff value
    in the quadratic adaptive integrate-and-fire model*).

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = c\,(V - V_\text{rest})(V - V_c) - R\,w + R\,I(t), \qquad
    \tau_w \frac{\mathrm{d}w}{\mathrm{d}t} = a\,(V - V_\text{rest}) - w$$

    A spike adds `b` to `w`.

    The step is that of [`neurostate.LIF`][]: reset where the old `V` spikes, integrate for a drive that is
    constant during the step, spike where the new `V >= V_th`.

    By default `integrator="strang"`, of second order: a step of `w` between two half ones of `V`, which are exact, also
    where `V` goes to infinity. `V` is kept below `V_th + 0.1 * (V_th - V_reset)`, and `w` sees none above `V_th`.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `R`, `tau`, `tau_w`: Resistance, and the time constants of `V` and `w`.
    - `V_th`, `V_reset`, `V_rest`, `V_c`, `c`: as in [`neurostate.QuaIF`][].
    - `a`, `b`: Adaptation below threshold, a conductance, and by each spike, a current.
    - `V_initializer`, `w_initializer`: `V` and `w` at the start.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`, `I_unit`: as in
        [`neurostate.LIF`][].

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.AdQuaIF(1), jnp.full((1000, 1), 20.0) * u.nA, dt=0.1 * u.ms)
    >>> bool(sol.outputs.sum() > 1)
    True
    """

    size: Shape = static_field()
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    tau_w: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_rest: Float[Array, " *#size"] = quantity_field("voltage")
    V_c: Float[Array, " *#size"] = quantity_field("voltage")
    c: Float[Array, " *#size"] = quantity_field((0, -1, 0), positive=True)
    a: Float[Array, " *#size"] = quantity_field("conductance")
    b: Float[Array, " *#size"] = quantity_field("current")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    w_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("current")
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[AdQuaIFState]] = AdQuaIFState
    has_reset: ClassVar[bool] = True
    diverges_above: ClassVar[str | None] = "V_reset"

    def __init__(
        self,
        size: Size,
        R: QuantityLike = 1.0 * Mohm,
        tau: QuantityLike = 10.0 * ms,
        tau_w: QuantityLike = 10.0 * ms,
        V_th: QuantityLike = -30.0 * mV,
        V_reset: QuantityLike = -68.0 * mV,
        V_rest: QuantityLike = -65.0 * mV,
        V_c: QuantityLike = -50.0 * mV,
        c: QuantityLike = 0.07 * per_mV,
        a: QuantityLike = 1.0 * uS,
        b: QuantityLike = 0.1 * nA,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(-65.0 * mV),
        w_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * nA),
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        spk_reset: Literal["soft", "hard"] | None = "hard",
        *,
        tau_ref: QuantityLike | None = None,
        detach_reset: bool = False,
        integrator: Integrator | str = "strang",
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        fill(self, locals(), nA)
        check_threshold(self.V_th, self.V_reset, "AdQuaIF")

    def derivative(self, state: AdQuaIFState, drive: Drive) -> AdQuaIFState:
        V = self.c * (state.V - self.V_rest) * (state.V - self.V_c) - self.R * state.w + self.R * drive.total(state.V)
        return AdQuaIFState(V=V / self.tau, w=(self.a * (state.V - self.V_rest) - state.w) / self.tau_w)

    def upstroke(self, state: AdQuaIFState, drive: Drive, dt: Any, top: Array) -> Array:
        slope = lambda V: self.derivative(state.with_(V=V), drive).V  # noqa: E731
        return quadratic_step(slope, state.V, dt, top, curvature=2 * self.c / self.tau)

    def distance(self, state: AdQuaIFState) -> Array:
        return (state.V - self.V_th) / (self.V_th - self.V_reset)

    def reset(self, state: AdQuaIFState, spike: Array) -> AdQuaIFState:
        V = self.reset_voltage(state.V, spike, self.V_th, self.V_reset)
        return state.with_(V=V, w=state.w + self.b * spike)

"""The adaptive exponential integrate-and-fire neuron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Mohm, Unit, ms, mV, nA, uS
from ..init import Constant
from ..integrate import Integrator
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import check_threshold, fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable
from ._upstroke import exponential, exponential_step, membrane


class AdExIFState(NeuronState):
    """The state of `AdExIF`: `V`, `w`; see [`neurostate.AdExIF`][]."""

    V: Float[Array, " *state"] = variable("voltage")
    w: Float[Array, " *state"] = variable("current")


class AdExIF(AbstractODENeuron[AdExIFState]):
    r"""Adaptive exponential integrate-and-fire neurons (Brette and Gerstner 2005, *Adaptive exponential
    integrate-and-fire model as an effective description of neuronal activity*).

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = -(V - V_\text{rest})
    + \Delta_T \exp\left(\frac{V - V_T}{\Delta_T}\right) - R\,w + R\,I(t), \qquad
    \tau_w \frac{\mathrm{d}w}{\mathrm{d}t} = a\,(V - V_\text{rest}) - w$$

    A spike adds `b` to `w`.

    The step is that of [`neurostate.LIF`][]: reset where the old `V` spikes, integrate for a drive that is
    constant during the step, spike where the new `V >= V_th`.

    Integrator and bound are as in [`neurostate.ExpIF`][], with a step of `w` between two half ones of `V`; `w` sees no
    `V` above `V_th`. During a refractory period `w` goes on.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `R`, `tau`: Membrane resistance and time constant. Or `C` and `gL`, capacitance and leak conductance, instead of
        both.
    - `tau_w`: The time constant of the adaptation. A time.
    - `V_th`, `V_reset`, `V_rest`: Where a spike is counted, reset and resting potential. Voltages.
    - `V_T`, `delta_T`: The threshold of the upstroke and its sharpness. Voltages.
    - `a`, `b`: Adaptation below threshold, a conductance, and by each spike, a current.
    - `V_initializer`, `w_initializer`: `V` and `w` at the start: values, or initialisers called with a shape and a
        key.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`, `I_unit`: as in
        [`neurostate.LIF`][].

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> cell = ns.AdExIF(1, C=200 * u.pF, gL=10 * u.nS, tau_w=30 * u.ms, a=2 * u.nS, b=60 * u.pA, V_th=0 * u.mV,
    ...     V_reset=-58 * u.mV, V_rest=-70 * u.mV, V_T=-50 * u.mV, delta_T=2 * u.mV, V_initializer=-70 * u.mV)
    >>> sol = ns.simulate(cell, jnp.full((2000, 1), 500.0) * u.pA, dt=0.05 * u.ms)
    >>> print(cell.I_unit, bool(sol.outputs.sum() > 2))
    pA True
    """

    size: Shape = static_field()
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    tau_w: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_rest: Float[Array, " *#size"] = quantity_field("voltage")
    V_T: Float[Array, " *#size"] = quantity_field("voltage")
    delta_T: Float[Array, " *#size"] = quantity_field("voltage", positive=True)
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

    state_type: ClassVar[type[AdExIFState]] = AdExIFState
    has_reset: ClassVar[bool] = True
    diverges_above: ClassVar[str | None] = "V_reset"

    def __init__(
        self,
        size: Size,
        R: QuantityLike = 1.0 * Mohm,
        tau: QuantityLike = 10.0 * ms,
        tau_w: QuantityLike = 30.0 * ms,
        V_th: QuantityLike = -55.0 * mV,
        V_reset: QuantityLike = -68.0 * mV,
        V_rest: QuantityLike = -65.0 * mV,
        V_T: QuantityLike = -59.9 * mV,
        delta_T: QuantityLike = 3.48 * mV,
        a: QuantityLike = 1.0 * uS,
        b: QuantityLike = 1.0 * nA,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(-65.0 * mV),
        w_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * nA),
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        spk_reset: Literal["soft", "hard"] | None = "hard",
        *,
        C: QuantityLike | None = None,
        gL: QuantityLike | None = None,
        tau_ref: QuantityLike | None = None,
        detach_reset: bool = False,
        integrator: Integrator | str = "strang",
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        fill(self, membrane(self, locals(), nA), nA)
        check_threshold(self.V_th, self.V_reset, "AdExIF")

    def derivative(self, state: AdExIFState, drive: Drive) -> AdExIFState:
        V = self.leak(state, drive) + exponential(state.V, self.V_T, self.delta_T, self.V_th) / self.tau
        return AdExIFState(V=V, w=(self.a * (state.V - self.V_rest) - state.w) / self.tau_w)

    def leak(self, state: AdExIFState, drive: Drive) -> Array:
        """The derivative of `V` without the upstroke."""
        return (-(state.V - self.V_rest) - self.R * state.w + self.R * drive.total(state.V)) / self.tau

    def upstroke(self, state: AdExIFState, drive: Drive, dt: Any, top: Array) -> Array:
        affine = lambda V: self.leak(state.with_(V=V), drive)  # noqa: E731
        return exponential_step(affine, state.V, dt, top, tau=self.tau, V_T=self.V_T, delta_T=self.delta_T)

    def distance(self, state: AdExIFState) -> Array:
        return (state.V - self.V_th) / (self.V_th - self.V_reset)

    def reset(self, state: AdExIFState, spike: Array) -> AdExIFState:
        V = self.reset_voltage(state.V, spike, self.V_th, self.V_reset)
        return state.with_(V=V, w=state.w + self.b * spike)

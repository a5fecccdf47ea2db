"""The generalised integrate-and-fire neuron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Mohm, Unit, maximum, ms, mV, nA, per_ms
from ..init import Constant
from ..integrate import Integrator
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import check_threshold, fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable


class GifState(NeuronState):
    """The state of `Gif`: `V`, `I1`, `I2`, `V_th`; see [`neurostate.Gif`][]."""

    V: Float[Array, " *state"] = variable("voltage")
    I1: Float[Array, " *state"] = variable("current")
    I2: Float[Array, " *state"] = variable("current")
    V_th: Float[Array, " *state"] = variable("voltage")


class Gif(AbstractODENeuron[GifState]):
    r"""Generalised integrate-and-fire neurons, with two currents that follow spikes and a moving threshold (Mihalas
    and Niebur 2009, *A generalized linear integrate-and-fire neural model produces diverse spiking behaviors*).

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = -(V - V_\text{rest}) + R\,(I_1 + I_2 + I(t)), \qquad
    \frac{\mathrm{d}I_j}{\mathrm{d}t} = -k_j I_j, \qquad
    \frac{\mathrm{d}V_\text{th}}{\mathrm{d}t} = a\,(V - V_\text{rest}) - b\,(V_\text{th} - V_{\text{th},\infty})$$

    A spike turns $I_j$ into $R_j I_j + A_j$, and raises the threshold to `V_th_reset` if it is below.

    The step is that of [`neurostate.LIF`][]: reset where the old `V` spikes, integrate for a drive that is
    constant during the step, spike where the new `V >= V_th`.

    The equations depend on each other; the default integrator, of second order, takes the others in the middle of
    the step.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `R`, `tau`: Membrane resistance and time constant.
    - `V_rest`, `V_reset`: Resting and reset potential. Voltages.
    - `V_th_inf`, `V_th_reset`: Where the threshold goes to, and its least value after a spike. Voltages.
    - `V_th_initializer`: The threshold at the start.
    - `a`, `b`: How the threshold follows `V`, and how it returns. Rates.
    - `k1`, `k2`: The rates at which the currents decay.
    - `R1`, `R2`, `A1`, `A2`: What a spike makes of the currents: factors, and currents.
    - `V_initializer`, `I1_initializer`, `I2_initializer`: The other variables at the start.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`, `I_unit`: as in
        [`neurostate.LIF`][].

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.Gif(1), jnp.full((2000, 1), 1.5) * u.nA, dt=0.1 * u.ms)
    >>> bool(sol.outputs.sum() > 1)
    True
    """

    size: Shape = static_field()
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_rest: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_th_inf: Float[Array, " *#size"] = quantity_field("voltage")
    V_th_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_th_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    a: Float[Array, " *#size"] = quantity_field("rate")
    b: Float[Array, " *#size"] = quantity_field("rate")
    k1: Float[Array, " *#size"] = quantity_field("rate")
    k2: Float[Array, " *#size"] = quantity_field("rate")
    R1: Float[Array, " *#size"] = quantity_field(None)
    R2: Float[Array, " *#size"] = quantity_field(None)
    A1: Float[Array, " *#size"] = quantity_field("current")
    A2: Float[Array, " *#size"] = quantity_field("current")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    I1_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("current")
    I2_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("current")
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[GifState]] = GifState
    has_reset: ClassVar[bool] = True

    def __init__(
        self,
        size: Size,
        R: QuantityLike = 20.0 * Mohm,
        tau: QuantityLike = 20.0 * ms,
        V_rest: QuantityLike = -70.0 * mV,
        V_reset: QuantityLike = -70.0 * mV,
        V_th_inf: QuantityLike = -50.0 * mV,
        V_th_reset: QuantityLike = -60.0 * mV,
        V_th_initializer: QuantityLike | Callable[..., Any] = Constant(-50.0 * mV),
        a: QuantityLike = 0.0 * per_ms,
        b: QuantityLike = 0.01 * per_ms,
        k1: QuantityLike = 0.2 * per_ms,
        k2: QuantityLike = 0.02 * per_ms,
        R1: QuantityLike = 0.0,
        R2: QuantityLike = 1.0,
        A1: QuantityLike = 0.0 * nA,
        A2: QuantityLike = 0.0 * nA,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(-70.0 * mV),
        I1_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * nA),
        I2_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * nA),
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        spk_reset: Literal["soft", "hard"] | None = "soft",
        *,
        tau_ref: QuantityLike | None = None,
        detach_reset: bool = False,
        integrator: Integrator | str = "exp_midpoint",
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        fill(self, locals(), nA)
        check_threshold(self.V_th_inf, self.V_reset, "Gif")
        check_threshold(self.V_th_reset, self.V_reset, "Gif")

    def derivative(self, state: GifState, drive: Drive) -> GifState:
        current = state.I1 + state.I2 + drive.total(state.V)
        V = (-(state.V - self.V_rest) + self.R * current) / self.tau
        V_th = self.a * (state.V - self.V_rest) - self.b * (state.V_th - self.V_th_inf)
        return GifState(V=V, I1=-self.k1 * state.I1, I2=-self.k2 * state.I2, V_th=V_th)

    def distance(self, state: GifState) -> Array:
        return (state.V - state.V_th) / (self.V_th_inf - self.V_reset)

    def reset(self, state: GifState, spike: Array) -> GifState:
        raised = maximum(self.V_th_reset, state.V_th)
        return state.with_(
            V=self.reset_voltage(state.V, spike, state.V_th, self.V_reset),
            I1=state.I1 + spike * (self.R1 * state.I1 + self.A1 - state.I1),
            I2=state.I2 + spike * (self.R2 * state.I2 + self.A2 - state.I2),
            V_th=state.V_th + spike * (raised - state.V_th),
        )

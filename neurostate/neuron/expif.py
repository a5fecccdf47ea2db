"""The exponential integrate-and-fire neuron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Mohm, Unit, ms, mV, nA
from ..init import Constant
from ..integrate import Integrator
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import check_threshold, fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable
from ._upstroke import exponential, exponential_step, membrane


class ExpIFState(NeuronState):
    """The state of `ExpIF`: `V`; see [`neurostate.ExpIF`][]."""

    V: Float[Array, " *state"] = variable("voltage")


class ExpIF(AbstractODENeuron[ExpIFState]):
    r"""Exponential integrate-and-fire neurons (Fourcaud-Trocmé et al. 2003, *How spike generation mechanisms determine
    the neuronal response to fluctuating inputs*).

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = -(V - V_\text{rest})
    + \Delta_T \exp\left(\frac{V - V_T}{\Delta_T}\right) + R\,I(t)$$

    The step is that of [`neurostate.LIF`][]: reset where the old `V` spikes, integrate for a drive that is
    constant during the step, spike where the new `V >= V_th`.

    By default `integrator="strang"`: exact steps of the leak and of the upstroke in turn, of second order also in a
    step in which `V` goes to infinity. `V` is kept below `V_th + 0.1 * (V_th - V_reset)`; so a soft reset after an
    upstroke that is not resolved goes close to `V_reset`.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `R`, `tau`: Membrane resistance and time constant. Or `C` and `gL`, capacitance and leak conductance, instead of
        both.
    - `V_th`, `V_reset`, `V_rest`: Where a spike is counted, reset and resting potential. Voltages.
    - `V_T`, `delta_T`: The threshold of the upstroke and its sharpness. Voltages.
    - `V_initializer`: `V` at the start: a voltage, or an initialiser called with a shape and a key.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`, `I_unit`: as in
        [`neurostate.LIF`][].

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.ExpIF(1), jnp.full((1000, 1), 10.0) * u.nA, dt=0.1 * u.ms)
    >>> bool(sol.outputs.sum() > 1)
    True
    """

    size: Shape = static_field()
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_rest: Float[Array, " *#size"] = quantity_field("voltage")
    V_T: Float[Array, " *#size"] = quantity_field("voltage")
    delta_T: Float[Array, " *#size"] = quantity_field("voltage", positive=True)
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[ExpIFState]] = ExpIFState
    has_reset: ClassVar[bool] = True
    diverges_above: ClassVar[str | None] = "V_reset"

    def __init__(
        self,
        size: Size,
        R: QuantityLike = 1.0 * Mohm,
        tau: QuantityLike = 10.0 * ms,
        V_th: QuantityLike = -30.0 * mV,
        V_reset: QuantityLike = -68.0 * mV,
        V_rest: QuantityLike = -65.0 * mV,
        V_T: QuantityLike = -59.9 * mV,
        delta_T: QuantityLike = 3.48 * mV,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(-65.0 * mV),
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
        check_threshold(self.V_th, self.V_reset, "ExpIF")

    def derivative(self, state: ExpIFState, drive: Drive) -> ExpIFState:
        V = self.leak(state, drive) + exponential(state.V, self.V_T, self.delta_T, self.V_th) / self.tau
        return ExpIFState(V=V)

    def leak(self, state: ExpIFState, drive: Drive) -> Array:
        """The derivative of `V` without the upstroke."""
        return (-(state.V - self.V_rest) + self.R * drive.total(state.V)) / self.tau

    def upstroke(self, state: ExpIFState, drive: Drive, dt: Any, top: Array) -> Array:
        affine = lambda V: self.leak(state.with_(V=V), drive)  # noqa: E731
        return exponential_step(affine, state.V, dt, top, tau=self.tau, V_T=self.V_T, delta_T=self.delta_T)

    def distance(self, state: ExpIFState) -> Array:
        return (state.V - self.V_th) / (self.V_th - self.V_reset)

    def reset(self, state: ExpIFState, spike: Array) -> ExpIFState:
        return state.with_(V=self.reset_voltage(state.V, spike, self.V_th, self.V_reset))

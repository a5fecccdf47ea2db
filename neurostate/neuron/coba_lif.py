"""The leaky integrate-and-fire neuron with a conductance that decays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Unit, mA, ms, mV, ohm, siemens
from ..init import Constant
from ..integrate import Integrator
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import check_threshold, fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable


class CobaLIFState(NeuronState):
    """The state of `CobaLIF`: `V`, `g`; see [`neurostate.CobaLIF`][]."""

    V: Float[Array, " *state"] = variable("voltage")
    g: Float[Array, " *state"] = variable("conductance")


class CobaLIF(AbstractODENeuron[CobaLIFState]):
    r"""Leaky integrate-and-fire neurons whose synaptic conductance decays exponentially (Gerstner et al. 2014,
    *Neuronal Dynamics*, section 3.1).

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = -(V - V_\text{rest}) + R\,(g\,(E - V) + I(t)), \qquad
    \tau_\text{syn} \frac{\mathrm{d}g}{\mathrm{d}t} = -g$$

    The step is that of [`neurostate.LIF`][]: reset where the old `V` spikes, integrate for a drive that is
    constant during the step, spike where the new `V >= V_th`.

    What arriving spikes add to `g` is `Drive(g_jump=...)`, at the start of the step; a bare input is the current
    $I$. The conductance decays exactly; the potential takes that in the middle of the step, which is of second
    order.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `R`, `tau`: Membrane resistance and time constant.
    - `tau_syn`: The time constant of the conductance. A time.
    - `E`: The reversal potential of the synapse. A voltage.
    - `V_th`, `V_reset`, `V_rest`: Threshold, reset and resting potential. Voltages, `V_th` above `V_reset`.
    - `V_initializer`, `g_initializer`: `V` and `g`, a conductance, at the start.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`, `I_unit`: as in
        [`neurostate.LIF`][].

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, neurostate as ns
    >>> cell = ns.CobaLIF(1, E=2 * u.mV)
    >>> state, _ = cell.step(cell.init_state(), ns.Drive(g_jump=1.0 * u.siemens), dt=0.1 * u.ms)
    >>> print(f"{state.V[0]:.3f} {state.g[0]:.3f}")
    0.039 0.980
    """

    size: Shape = static_field()
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    tau_syn: Float[Array, " *#size"] = quantity_field("time", positive=True)
    E: Float[Array, " *#size"] = quantity_field("voltage")
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_rest: Float[Array, " *#size"] = quantity_field("voltage")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    g_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("conductance")
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[CobaLIFState]] = CobaLIFState
    has_reset: ClassVar[bool] = True

    def __init__(
        self,
        size: Size,
        R: QuantityLike = 1.0 * ohm,
        tau: QuantityLike = 5.0 * ms,
        tau_syn: QuantityLike = 5.0 * ms,
        E: QuantityLike = 0.0 * mV,
        V_th: QuantityLike = 1.0 * mV,
        V_reset: QuantityLike = 0.0 * mV,
        V_rest: QuantityLike = 0.0 * mV,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * mV),
        g_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * siemens),
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        spk_reset: Literal["soft", "hard"] | None = "soft",
        *,
        tau_ref: QuantityLike | None = None,
        detach_reset: bool = False,
        integrator: Integrator | str = "exp_midpoint",
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        fill(self, locals(), mA)
        check_threshold(self.V_th, self.V_reset, "CobaLIF")

    def derivative(self, state: CobaLIFState, drive: Drive) -> CobaLIFState:
        current = state.g * (self.E - state.V) + drive.total(state.V)
        V = (-(state.V - self.V_rest) + self.R * current) / self.tau
        return CobaLIFState(V=V, g=-state.g / self.tau_syn)

    def distance(self, state: CobaLIFState) -> Array:
        return (state.V - self.V_th) / (self.V_th - self.V_reset)

    def reset(self, state: CobaLIFState, spike: Array) -> CobaLIFState:
        return state.with_(V=self.reset_voltage(state.V, spike, self.V_th, self.V_reset))

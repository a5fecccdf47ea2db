"""The leaky integrate-and-fire neuron with a current that decays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Unit, mA, ms, mV, ohm
from ..init import Constant
from ..integrate import phi
from ..surrogate import ReluGrad
from ._base import AbstractNeuron
from ._fields import check_threshold, fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable


class CubaLIFState(NeuronState):
    """The state of `CubaLIF`: the potential `V` in mV and the synaptic current `g`, of shape `(*batch, *size)`."""

    V: Float[Array, " *state"] = variable("voltage")
    g: Float[Array, " *state"] = variable("current")


class CubaLIF(AbstractNeuron[CubaLIFState]):
    r"""Leaky integrate-and-fire neurons whose synaptic current decays exponentially (Gerstner et al. 2014, *Neuronal
    Dynamics*, section 3.1).

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = -(V - V_\text{rest}) + R\,(g + I(t)), \qquad
    \tau_\text{syn} \frac{\mathrm{d}g}{\mathrm{d}t} = -g$$

    The step is that of [`neurostate.LIF`][], and both equations are integrated exactly together, for a drive that is
    constant during the step, also where the two time constants are equal. What arriving spikes add to `g` is
    `Drive(g_jump=...)`, at the start of the step; a bare input is the current $I$.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `R`, `tau`: Membrane resistance and time constant.
    - `tau_syn`: The time constant of the synaptic current. A time.
    - `V_th`, `V_reset`, `V_rest`: Threshold, reset and resting potential. Voltages, `V_th` above `V_reset`.
    - `V_initializer`, `g_initializer`: `V` and `g`, a current, at the start.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `spike_time`, `I_unit`: as in [`neurostate.LIF`][]. The
        synaptic current goes on during a refractory period.

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, neurostate as ns
    >>> cell = ns.CubaLIF(1, tau=10 * u.ms, tau_syn=5 * u.ms)
    >>> state, _ = cell.step(cell.init_state(), ns.Drive(g_jump=1.0 * u.mA), dt=5 * u.ms)
    >>> print(f"{state.V[0]:.4f} {state.g[0]:.4f}")
    0.2387 0.3679
    """

    size: Shape = static_field()
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    tau_syn: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_rest: Float[Array, " *#size"] = quantity_field("voltage")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    g_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("current")
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[CubaLIFState]] = CubaLIFState
    has_reset: ClassVar[bool] = True

    def __init__(
        self,
        size: Size,
        R: QuantityLike = 1.0 * ohm,
        tau: QuantityLike = 5.0 * ms,
        tau_syn: QuantityLike = 5.0 * ms,
        V_th: QuantityLike = 1.0 * mV,
        V_reset: QuantityLike = 0.0 * mV,
        V_rest: QuantityLike = 0.0 * mV,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * mV),
        g_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * mA),
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        spk_reset: Literal["soft", "hard"] | None = "soft",
        *,
        tau_ref: QuantityLike | None = None,
        detach_reset: bool = False,
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        fill(self, locals(), mA)
        check_threshold(self.V_th, self.V_reset, "CubaLIF")

    def flow(self, state: CubaLIFState, drive: Drive, dt: Any, held: Array | None = None) -> CubaLIFState:
        V, g = state.V, state.g
        conductance = drive.conductance()
        rate = (1 if conductance is None else 1 + self.R * conductance) / self.tau
        own = phi(-dt * rate) * (-(V - self.V_rest) + self.R * drive.total(V))
        # The mean of exp(-rate (dt - s)) exp(-s / tau_syn) over the step; it does not cancel where the rates are equal.
        a, b = dt * rate, dt / self.tau_syn
        shared = jnp.exp(-jnp.minimum(a, b)) * phi(-jnp.abs(a - b))
        new = V + dt / self.tau * (own + self.R * g * shared)
        return state.with_(V=new if held is None else jnp.where(held, V, new), g=g * jnp.exp(-b))

    def distance(self, state: CubaLIFState) -> Array:
        return (state.V - self.V_th) / (self.V_th - self.V_reset)

    def reset(self, state: CubaLIFState, spike: Array) -> CubaLIFState:
        return state.with_(V=self.reset_voltage(state.V, spike, self.V_th, self.V_reset))

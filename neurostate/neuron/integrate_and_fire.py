"""The perfect integrate-and-fire neuron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Unit, mA, ms, mV, ohm
from ..init import Constant
from ..integrate import Integrator
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import check_threshold, fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable


class IFState(NeuronState):
    """The state of `IF`: `V`; see [`neurostate.IF`][]."""

    V: Float[Array, " *state"] = variable("voltage")


class IF(AbstractODENeuron[IFState]):
    r"""Perfect integrate-and-fire neurons: without leak, they add up their input (Lapicque 1907; Gerstner et al. 2014,
    *Neuronal Dynamics*, section 1.3).

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = R\,I(t)$$

    The step is that of [`neurostate.LIF`][]: reset where the old `V` spikes, integrate for a drive that is
    constant during the step, spike where the new `V >= V_th`.

    The integration is exact.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `R`, `tau`: Resistance and time constant; only `R / tau`, the inverse of the capacitance, counts.
    - `V_th`, `V_reset`: Threshold and reset potential. Voltages, `V_th` above `V_reset`.
    - `V_initializer`: `V` at the start: a voltage, or an initialiser called with a shape and a key.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`, `I_unit`: as in
        [`neurostate.LIF`][].

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.IF(1), jnp.ones((200, 1)) * u.mA, dt=0.1 * u.ms)
    >>> print(sol.outputs.sum())
    3.0
    """

    size: Shape = static_field()
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[IFState]] = IFState
    has_reset: ClassVar[bool] = True

    def __init__(
        self,
        size: Size,
        R: QuantityLike = 1.0 * ohm,
        tau: QuantityLike = 5.0 * ms,
        V_th: QuantityLike = 1.0 * mV,
        V_reset: QuantityLike = 0.0 * mV,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * mV),
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        spk_reset: Literal["soft", "hard"] | None = "soft",
        *,
        tau_ref: QuantityLike | None = None,
        detach_reset: bool = False,
        integrator: Integrator | str = "exp_euler",
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        fill(self, locals(), mA)
        check_threshold(self.V_th, self.V_reset, "IF")

    def derivative(self, state: IFState, drive: Drive) -> IFState:
        return IFState(V=self.R * drive.total(state.V) / self.tau)

    def distance(self, state: IFState) -> Array:
        return (state.V - self.V_th) / (self.V_th - self.V_reset)

    def reset(self, state: IFState, spike: Array) -> IFState:
        return state.with_(V=self.reset_voltage(state.V, spike, self.V_th, self.V_reset))

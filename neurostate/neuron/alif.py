"""The leaky integrate-and-fire neuron with an adaptive threshold."""

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


class ALIFState(NeuronState):
    """The state of `ALIF`: `V`, `a`; see [`neurostate.ALIF`][]."""

    V: Float[Array, " *state"] = variable("voltage")
    a: Float[Array, " *state"] = variable(None)


class ALIF(AbstractODENeuron[ALIFState]):
    r"""Leaky integrate-and-fire neurons whose threshold rises with each spike (Bellec et al. 2018, *Long short-term
    memory and learning-to-learn in networks of spiking neurons*).

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = -(V - V_\text{rest}) + R\,I(t), \qquad
    \tau_a \frac{\mathrm{d}a}{\mathrm{d}t} = -a$$

    A spike adds 1 to `a`; the neuron spikes where $V \geq V_\text{th} + \beta a$.

    The step is that of [`neurostate.LIF`][]: reset where the old `V` spikes, integrate for a drive that is
    constant during the step, spike where the new `V >= V_th`.

    Both equations are integrated exactly. The reset takes off `V_th - V_reset`, whatever `a` is.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `R`, `tau`: Membrane resistance and time constant.
    - `tau_a`: The time constant of the adaptation. A time.
    - `V_th`, `V_reset`, `V_rest`: Threshold without adaptation, reset and resting potential. Voltages.
    - `beta`: How much one spike raises the threshold. A voltage.
    - `V_initializer`, `a_initializer`: `V` and `a` (a number without unit) at the start.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`, `I_unit`: as in
        [`neurostate.LIF`][].

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> cells = ns.ALIF(2, beta=[0.0, 0.5] * u.mV)
    >>> print(ns.simulate(cells, jnp.full((500, 2), 2.0) * u.mA, dt=0.1 * u.ms).outputs.sum(0))
    [14.  3.]
    """

    size: Shape = static_field()
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    tau_a: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_rest: Float[Array, " *#size"] = quantity_field("voltage")
    beta: Float[Array, " *#size"] = quantity_field("voltage")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    a_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[ALIFState]] = ALIFState
    has_reset: ClassVar[bool] = True

    def __init__(
        self,
        size: Size,
        R: QuantityLike = 1.0 * ohm,
        tau: QuantityLike = 5.0 * ms,
        tau_a: QuantityLike = 100.0 * ms,
        V_th: QuantityLike = 1.0 * mV,
        V_reset: QuantityLike = 0.0 * mV,
        V_rest: QuantityLike = 0.0 * mV,
        beta: QuantityLike = 0.1 * mV,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * mV),
        a_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
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
        check_threshold(self.V_th, self.V_reset, "ALIF")

    def derivative(self, state: ALIFState, drive: Drive) -> ALIFState:
        V = (-(state.V - self.V_rest) + self.R * drive.total(state.V)) / self.tau
        return ALIFState(V=V, a=-state.a / self.tau_a)

    def distance(self, state: ALIFState) -> Array:
        return (state.V - self.V_th - self.beta * state.a) / (self.V_th - self.V_reset)

    def reset(self, state: ALIFState, spike: Array) -> ALIFState:
        V = self.reset_voltage(state.V, spike, self.V_th, self.V_reset)
        return state.with_(V=V, a=state.a + spike)

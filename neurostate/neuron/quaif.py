"""The quadratic integrate-and-fire neuron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Mohm, Unit, ms, mV, nA, per_mV
from ..init import Constant
from ..integrate import Integrator
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import check_threshold, fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable
from ._upstroke import quadratic_step


class QuaIFState(NeuronState):
    """The state of `QuaIF`: `V`; see [`neurostate.QuaIF`][]."""

    V: Float[Array, " *state"] = variable("voltage")


class QuaIF(AbstractODENeuron[QuaIFState]):
    r"""Quadratic integrate-and-fire neurons (Latham et al. 2000, *Intrinsic dynamics in neuronal networks*).

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = c\,(V - V_\text{rest})(V - V_c) + R\,I(t)$$

    The step is that of [`neurostate.LIF`][]: reset where the old `V` spikes, integrate for a drive that is
    constant during the step, spike where the new `V >= V_th`.

    By default `integrator="strang"`, which is exact here, also in a step in which `V` goes to infinity. `V` is kept
    below `V_th + 0.1 * (V_th - V_reset)`; so a soft reset after an upstroke that is not resolved goes close to
    `V_reset`.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `R`, `tau`: Resistance and time constant.
    - `V_th`, `V_reset`, `V_rest`: Where a spike is counted, reset and resting potential. Voltages.
    - `V_c`: The critical voltage, above which a spike follows. A voltage.
    - `c`: The strength of the upstroke. The inverse of a voltage, positive.
    - `V_initializer`: `V` at the start: a voltage, or an initialiser called with a shape and a key.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`, `I_unit`: as in
        [`neurostate.LIF`][].

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.QuaIF(1), jnp.full((1000, 1), 10.0) * u.nA, dt=0.1 * u.ms)
    >>> bool(sol.outputs.sum() > 1)
    True
    """

    size: Shape = static_field()
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_rest: Float[Array, " *#size"] = quantity_field("voltage")
    V_c: Float[Array, " *#size"] = quantity_field("voltage")
    c: Float[Array, " *#size"] = quantity_field((0, -1, 0), positive=True)
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[QuaIFState]] = QuaIFState
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
        V_c: QuantityLike = -50.0 * mV,
        c: QuantityLike = 0.07 * per_mV,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(-65.0 * mV),
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
        check_threshold(self.V_th, self.V_reset, "QuaIF")

    def derivative(self, state: QuaIFState, drive: Drive) -> QuaIFState:
        V = self.c * (state.V - self.V_rest) * (state.V - self.V_c) + self.R * drive.total(state.V)
        return QuaIFState(V=V / self.tau)

    def upstroke(self, state: QuaIFState, drive: Drive, dt: Any, top: Array) -> Array:
        slope = lambda V: self.derivative(state.with_(V=V), drive).V  # noqa: E731
        return quadratic_step(slope, state.V, dt, top, curvature=2 * self.c / self.tau)

    def distance(self, state: QuaIFState) -> Array:
        return (state.V - self.V_th) / (self.V_th - self.V_reset)

    def reset(self, state: QuaIFState, spike: Array) -> QuaIFState:
        return state.with_(V=self.reset_voltage(state.V, spike, self.V_th, self.V_reset))

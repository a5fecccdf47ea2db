"""The neuron of Morris and Lecar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Unit, mS_per_cm2, mV, nA, per_ms, uA_per_cm2, uF_per_cm2
from ..init import Constant
from ..integrate import Integrator
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable


class MorrisLecarState(NeuronState):
    """The state of `MorrisLecar`: `V`, `W`; see [`neurostate.MorrisLecar`][]."""

    V: Float[Array, " *state"] = variable("voltage")
    W: Float[Array, " *state"] = variable(None)


class MorrisLecar(AbstractODENeuron[MorrisLecarState]):
    r"""Neurons with a calcium and a potassium current (Morris and Lecar 1981, *Voltage oscillations in the barnacle
    giant muscle fiber*).

    $$C \frac{\mathrm{d}V}{\mathrm{d}t} = -g_\text{Ca} M_\infty(V)\,(V - V_\text{Ca}) - g_\text{K} W\,(V - V_\text{K})
    - g_\text{leak}\,(V - V_\text{leak}) + I(t)$$

    $$\frac{\mathrm{d}W}{\mathrm{d}t} = \phi \cosh\left(\frac{V - V_3}{2 V_4}\right)(W_\infty(V) - W)$$

    $$M_\infty = \tfrac12\left(1 + \tanh\frac{V - V_1}{V_2}\right), \qquad
    W_\infty = \tfrac12\left(1 + \tanh\frac{V - V_3}{V_4}\right)$$

    A spike is counted in the step in which `V` crosses `V_th` from below; nothing is reset. The drive is constant
    during a step. By default `integrator="rk4"`. `spk_fun` gets `V - V_th` in units of
    10 mV.

    Currents are per area, in µA/cm² (conductances in mS/cm², the capacitance in µF/cm²), unless one of the
    parameters is given in absolute units, or `I_unit` is.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `V_Ca`, `V_K`, `V_leak`: Reversal potentials. Voltages.
    - `g_Ca`, `g_K`, `g_leak`: Their greatest conductances.
    - `C`: The capacitance of the membrane.
    - `V1`, `V2`, `V3`, `V4`: Where the two gates open, and how steeply. Voltages.
    - `phi`: The rate of the potassium gate.
    - `V_th`: Where a spike is counted. A voltage.
    - `V_initializer`: `V` at the start.
    - `W_initializer`: The potassium gate at the start; by default its steady state at the first `V`.
    - `spk_fun`, `tau_ref`, `integrator`, `spike_time`, `I_unit`: as in [`neurostate.LIF`][]. A refractory period keeps
        only the spikes apart; `V` moves on.

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.MorrisLecar(1), jnp.full((5000, 1), 100.0) * u.uA / u.cm**2, dt=0.1 * u.ms)
    >>> bool(sol.outputs.sum() > 2)
    True
    """

    size: Shape = static_field()
    V_Ca: Float[Array, " *#size"] = quantity_field("voltage")
    g_Ca: Float[Array, " *#size"] = quantity_field("conductance")
    V_K: Float[Array, " *#size"] = quantity_field("voltage")
    g_K: Float[Array, " *#size"] = quantity_field("conductance")
    V_leak: Float[Array, " *#size"] = quantity_field("voltage")
    g_leak: Float[Array, " *#size"] = quantity_field("conductance")
    C: Float[Array, " *#size"] = quantity_field("capacitance", positive=True)
    V1: Float[Array, " *#size"] = quantity_field("voltage")
    V2: Float[Array, " *#size"] = quantity_field("voltage")
    V3: Float[Array, " *#size"] = quantity_field("voltage")
    V4: Float[Array, " *#size"] = quantity_field("voltage")
    phi: Float[Array, " *#size"] = quantity_field("rate")
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    W_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[MorrisLecarState]] = MorrisLecarState
    has_reset: ClassVar[bool] = False

    def __init__(
        self,
        size: Size,
        V_Ca: QuantityLike = 130.0 * mV,
        g_Ca: QuantityLike = 4.4 * mS_per_cm2,
        V_K: QuantityLike = -84.0 * mV,
        g_K: QuantityLike = 8.0 * mS_per_cm2,
        V_leak: QuantityLike = -60.0 * mV,
        g_leak: QuantityLike = 2.0 * mS_per_cm2,
        C: QuantityLike = 20.0 * uF_per_cm2,
        V1: QuantityLike = -1.2 * mV,
        V2: QuantityLike = 18.0 * mV,
        V3: QuantityLike = 2.0 * mV,
        V4: QuantityLike = 30.0 * mV,
        phi: QuantityLike = 0.04 * per_ms,
        V_th: QuantityLike = 10.0 * mV,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(-60.0 * mV),
        W_initializer: QuantityLike | Callable[..., Any] = None,
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        *,
        tau_ref: QuantityLike | None = None,
        integrator: Integrator | str = "rk4",
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        fill(self, locals(), uA_per_cm2, alternatives=(nA,))

    def derivative(self, state: MorrisLecarState, drive: Drive) -> MorrisLecarState:
        V, W = state.V, state.W
        M_inf = 0.5 * (1 + jnp.tanh((V - self.V1) / self.V2))
        I_Ca = self.g_Ca * M_inf * (V - self.V_Ca)
        I_K = self.g_K * W * (V - self.V_K)
        I_leak = self.g_leak * (V - self.V_leak)
        rate = self.phi * jnp.cosh((V - self.V3) / (2 * self.V4))
        W_inf = self.steady_state(V)["W"]
        return MorrisLecarState(V=(-I_Ca - I_K - I_leak + drive.total(V)) / self.C, W=rate * (W_inf - W))

    def distance(self, state: MorrisLecarState) -> Array:
        return (state.V - self.V_th) / (10.0 * self.one("voltage"))

    def reset(self, state: MorrisLecarState, spike: Array) -> MorrisLecarState:
        del spike
        return state

    def steady_state(self, V: Array) -> dict[str, Array]:
        """The value to which the potassium gate goes at a constant `V`."""
        return {"W": 0.5 * (1 + jnp.tanh((V - self.V3) / self.V4))}

"""The neuron of Hodgkin and Huxley."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Unit, mS_per_cm2, mV, nA, uA_per_cm2, uF_per_cm2
from ..init import Constant
from ..integrate import Integrator, phi
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable


class HHState(NeuronState):
    """The state of `HH`: `V`, `m`, `h`, `n`; see [`neurostate.HH`][]."""

    V: Float[Array, " *state"] = variable("voltage")
    m: Float[Array, " *state"] = variable(None)
    h: Float[Array, " *state"] = variable(None)
    n: Float[Array, " *state"] = variable(None)


class HH(AbstractODENeuron[HHState]):
    r"""Conductance-based neurons of Hodgkin and Huxley (1952, *A quantitative description of membrane current and its
    application to conduction and excitation in nerve*), in the modern convention of voltages.

    $$C \frac{\mathrm{d}V}{\mathrm{d}t} = -g_\text{Na} m^3 h\,(V - E_\text{Na}) - g_\text{K} n^4\,(V - E_\text{K})
    - g_\text{L}\,(V - E_\text{L}) + I(t)$$

    $$\frac{\mathrm{d}x}{\mathrm{d}t} = \alpha_x(V)(1 - x) - \beta_x(V)\,x, \qquad x = m, h, n$$

    with, in mV and 1/ms, $\alpha_m = 1/\mathrm{exprel}(-(V + 40)/10)$, $\beta_m = 4\,e^{-(V + 65)/18}$, $\alpha_h
    = 0.07\,e^{-(V + 65)/20}$, $\beta_h = 1/(1 + e^{-(V + 35)/10})$, $\alpha_n = 0.1/\mathrm{exprel}(-(V +
    55)/10)$, $\beta_n = 0.125\,e^{-(V + 65)/80}$, where $\mathrm{exprel}(x) = (e^x - 1)/x$.

    A spike is counted in the step in which `V` crosses `V_th` from below; nothing is reset. The drive is constant
    during a step. By default `integrator="exp4"`, of fourth order; `"rk4"`, which takes less time, is not stable at a
    `dt` of 0.1 ms. `spk_fun` gets `V - V_th` in units of 20 mV.

    Currents are per area, in µA/cm² (conductances in mS/cm², the capacitance in µF/cm²), unless one of the
    parameters is given in absolute units, or `I_unit` is.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `ENa`, `EK`, `EL`: Reversal potentials of sodium, potassium and leak. Voltages.
    - `gNa`, `gK`, `gL`: Their greatest conductances.
    - `V_th`: Where a spike is counted. A voltage.
    - `C`: The capacitance of the membrane.
    - `V_initializer`: `V` at the start.
    - `m_initializer`, `h_initializer`, `n_initializer`: The gates at the start; by default their steady state at the
        first `V`.
    - `spk_fun`, `tau_ref`, `integrator`, `spike_time`, `I_unit`: as in [`neurostate.LIF`][]. A refractory period keeps
        only the spikes apart; `V` moves on.

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.HH(1), jnp.full((5000, 1), 10.0) * u.uA / u.cm**2, dt=0.01 * u.ms)
    >>> print(sol.outputs.sum())
    4.0
    """

    size: Shape = static_field()
    ENa: Float[Array, " *#size"] = quantity_field("voltage")
    gNa: Float[Array, " *#size"] = quantity_field("conductance")
    EK: Float[Array, " *#size"] = quantity_field("voltage")
    gK: Float[Array, " *#size"] = quantity_field("conductance")
    EL: Float[Array, " *#size"] = quantity_field("voltage")
    gL: Float[Array, " *#size"] = quantity_field("conductance")
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    C: Float[Array, " *#size"] = quantity_field("capacitance", positive=True)
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    m_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    h_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    n_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[HHState]] = HHState
    has_reset: ClassVar[bool] = False

    def __init__(
        self,
        size: Size,
        ENa: QuantityLike = 50.0 * mV,
        gNa: QuantityLike = 120.0 * mS_per_cm2,
        EK: QuantityLike = -77.0 * mV,
        gK: QuantityLike = 36.0 * mS_per_cm2,
        EL: QuantityLike = -54.387 * mV,
        gL: QuantityLike = 0.3 * mS_per_cm2,
        V_th: QuantityLike = 20.0 * mV,
        C: QuantityLike = 1.0 * uF_per_cm2,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(-65.0 * mV),
        m_initializer: QuantityLike | Callable[..., Any] = None,
        h_initializer: QuantityLike | Callable[..., Any] = None,
        n_initializer: QuantityLike | Callable[..., Any] = None,
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        *,
        tau_ref: QuantityLike | None = None,
        integrator: Integrator | str = "exp4",
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        fill(self, locals(), uA_per_cm2, alternatives=(nA,))

    def derivative(self, state: HHState, drive: Drive) -> HHState:
        V, m, h, n = state.V, state.m, state.h, state.n
        I_Na = self.gNa * m**3 * h * (V - self.ENa)
        I_K = self.gK * n**4 * (V - self.EK)
        I_L = self.gL * (V - self.EL)
        slopes = {name: a * (1 - x) - b * x for (name, (a, b)), x in zip(self.rates(V).items(), (m, h, n), strict=True)}
        return HHState(V=(-I_Na - I_K - I_L + drive.total(V)) / self.C, **slopes)

    def distance(self, state: HHState) -> Array:
        return (state.V - self.V_th) / (20.0 * self.one("voltage"))

    def reset(self, state: HHState, spike: Array) -> HHState:
        del spike
        return state

    def rates(self, V: Any) -> dict[str, tuple[Any, Any]]:
        """The rates of opening and closing of each gate at `V`, in 1/ms."""
        v, per_ms = V / self.one("voltage"), self.one("rate")
        return {
            "m": (per_ms / phi(-(v + 40.0) / 10.0), 4.0 * per_ms * jnp.exp(-(v + 65.0) / 18.0)),
            "h": (0.07 * per_ms * jnp.exp(-(v + 65.0) / 20.0), per_ms / (1.0 + jnp.exp(-(v + 35.0) / 10.0))),
            "n": (0.1 * per_ms / phi(-(v + 55.0) / 10.0), 0.125 * per_ms * jnp.exp(-(v + 65.0) / 80.0)),
        }

    def steady_state(self, V: Array) -> dict[str, Array]:
        """The values to which the gates go at a constant `V`."""
        return {name: a / (a + b) for name, (a, b) in self.rates(V).items()}

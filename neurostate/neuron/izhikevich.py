"""The neuron of Izhikevich."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, cast

import jax.numpy as jnp

from .._custom_types import Array, ArrayLike, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Unit, mV, mV_per_ms, per_ms, per_mV
from ..init import Constant
from ..integrate import Integrator, VectorField
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import check_threshold, fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable
from ._upstroke import quadratic_step


class IzhikevichState(NeuronState):
    """The state of `Izhikevich`: `V`, `u`; see [`neurostate.Izhikevich`][]."""

    V: Float[Array, " *state"] = variable("voltage")
    u: Float[Array, " *state"] = variable("voltage rate")


def izhikevich2004(f: VectorField, y: IzhikevichState, dt: ArrayLike) -> IzhikevichState:
    """One Euler step for `V`, then one for `u` with the new `V`: the method of the program of Izhikevich (2004)."""
    y = y.with_(V=y.V + jnp.asarray(dt, y.V.dtype) * f(y).V)
    return y.with_(u=y.u + jnp.asarray(dt, y.u.dtype) * f(y).u)


class Izhikevich(AbstractODENeuron[IzhikevichState]):
    r"""The simple model of spiking neurons of Izhikevich (2003, *Simple model of spiking neurons*).

    $$\frac{\mathrm{d}V}{\mathrm{d}t} = p_1 V^2 + p_2 V + p_3 - u + I(t), \qquad
    \frac{\mathrm{d}u}{\mathrm{d}t} = a\,(b\,(V - V_u) - k_u u)$$

    A spike sets `V` to `c` and adds `d` to `u`.

    The step is that of [`neurostate.LIF`][]: reset where the old `V` spikes, integrate for a drive that is
    constant during the step, spike where the new `V >= V_th`.

    By default `integrator="strang"`, of second order: a step of `u` between two half ones of `V`, which are exact, also
    where `V` goes to infinity. `V` is kept below `V_th + 0.1 * (V_th - c)`, and `u` sees none above `V_th`. Currents
    are in mV/ms.

    The 20 firing patterns of Izhikevich (2004, *Which model to use for cortical spiking neurons?*, figure 1) come with
    `integrator="izhikevich2004"`, the method of its published program: an Euler step for `V`, then one for `u` with the
    new `V`, at a `dt` of 0.1 to 0.5 ms that belongs to the pattern. Two patterns are altered there: the class 1
    excitable neuron and the integrator have `p2=4.1, p3=108`; the accommodating neuron has `V_u=-65, k_u=0`. Accurate
    integrators (`"rk4"` at 0.01 ms) show the same patterns but two, the depolarising after-potential and
    inhibition-induced bursting, which come from the coarse step: `u` takes the `V` at the end of the steep step of the
    spike, up to 200 mV, for the whole step, while in the equations `V` is gone from there in a fraction of it. So `u`
    ends each spike higher by 2 mV/ms (after-potential) or 4 to 8 mV/ms (bursting). In the equations it is `d < 0` that
    prevails: `u` stays too low, and the neurons spike on. All other patterns keep their kind but not their spike times;
    the second pulse must come 8 ms after a spike, as in the published program, to end the spiking of the bistable
    neuron.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `a`, `b`: How fast `u` follows, a rate, and how strongly, a rate.
    - `c`, `d`: Where a spike sets `V`, a voltage, and what it adds to `u`, a voltage per time.
    - `V_th`: The peak of the spike, where it is counted. A voltage.
    - `p1`, `p2`, `p3`: The three constants of the equation, 0.04 /(ms mV), 5 /ms and 140 mV/ms.
    - `V_initializer`, `u_initializer`: `V` and `u` at the start.
    - `V_u`, `k_u`: The voltage that `u` follows is counted from `V_u`, 0 mV, and it decays with `k_u`, 1.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`, `I_unit`: as in
        [`neurostate.LIF`][]; `integrator` may also be `"izhikevich2004"`.

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.Izhikevich(1), jnp.full((1000, 1), 10.0) * u.mV / u.ms, dt=0.1 * u.ms)
    >>> bool(sol.outputs.sum() > 2)
    True
    """

    size: Shape = static_field()
    a: Float[Array, " *#size"] = quantity_field("rate")
    b: Float[Array, " *#size"] = quantity_field("rate")
    c: Float[Array, " *#size"] = quantity_field("voltage")
    d: Float[Array, " *#size"] = quantity_field("voltage rate")
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    u_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage rate")
    p1: Float[Array, " *#size"] = quantity_field((-1, -1, 0))
    p2: Float[Array, " *#size"] = quantity_field("rate")
    p3: Float[Array, " *#size"] = quantity_field("voltage rate")
    V_u: Float[Array, " *#size"] = quantity_field("voltage")
    k_u: Float[Array, " *#size"] = quantity_field(None)
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[IzhikevichState]] = IzhikevichState
    has_reset: ClassVar[bool] = True

    def __init__(
        self,
        size: Size,
        a: QuantityLike = 0.02 * per_ms,
        b: QuantityLike = 0.2 * per_ms,
        c: QuantityLike = -65.0 * mV,
        d: QuantityLike = 8.0 * mV_per_ms,
        V_th: QuantityLike = 30.0 * mV,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(-65.0 * mV),
        u_initializer: QuantityLike | Callable[..., Any] = Constant(-13.0 * mV_per_ms),
        p1: QuantityLike = 0.04 * (per_ms * per_mV),
        p2: QuantityLike = 5.0 * per_ms,
        p3: QuantityLike = 140.0 * mV_per_ms,
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        spk_reset: Literal["soft", "hard"] | None = "hard",
        *,
        V_u: QuantityLike = 0.0 * mV,
        k_u: QuantityLike = 1.0,
        tau_ref: QuantityLike | None = None,
        detach_reset: bool = False,
        integrator: Integrator | str = "strang",
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        integrator = izhikevich2004 if integrator == "izhikevich2004" else integrator
        fill(self, locals(), cast(Unit, mV_per_ms))
        check_threshold(self.V_th, self.c, "Izhikevich")

    @property
    def diverges_above(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """`c`, above which `V` diverges; but the step of the published program has no bound."""
        return None if self.integrator is izhikevich2004 else "c"

    def derivative(self, state: IzhikevichState, drive: Drive) -> IzhikevichState:
        V = self.p1 * state.V * state.V + self.p2 * state.V + self.p3 - state.u + drive.total(state.V)
        return IzhikevichState(V=V, u=self.a * (self.b * (state.V - self.V_u) - self.k_u * state.u))

    def upstroke(self, state: IzhikevichState, drive: Drive, dt: Any, top: Array) -> Array:
        slope = lambda V: self.derivative(state.with_(V=V), drive).V  # noqa: E731
        return quadratic_step(slope, state.V, dt, top, curvature=2 * self.p1)

    def distance(self, state: IzhikevichState) -> Array:
        return (state.V - self.V_th) / (self.V_th - self.c)

    def reset(self, state: IzhikevichState, spike: Array) -> IzhikevichState:
        V = self.reset_voltage(state.V, spike, self.V_th, self.c)
        return state.with_(V=V, u=state.u + self.d * spike)

"""The bursting neuron of Hindmarsh and Rose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Unit, ms, unitless
from ..init import Constant
from ..integrate import Integrator
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable


class HindmarshRoseState(NeuronState):
    """The state of `HindmarshRose`: `V`, `y`, `z`; see [`neurostate.HindmarshRose`][]."""

    V: Float[Array, " *state"] = variable(None)
    y: Float[Array, " *state"] = variable(None)
    z: Float[Array, " *state"] = variable(None)


class HindmarshRose(AbstractODENeuron[HindmarshRoseState]):
    r"""Bursting neurons (Hindmarsh and Rose 1984, *A model of neuronal bursting using three coupled first order
    differential equations*).

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = y - a V^3 + b V^2 - z + I(t), \qquad
    \tau \frac{\mathrm{d}y}{\mathrm{d}t} = c - d V^2 - y, \qquad
    \tau \frac{\mathrm{d}z}{\mathrm{d}t} = r\,(s\,(V - V_r) - z)$$

    `V` has no unit, and so has the current; time is in ms. A spike is counted in the step in which `V` crosses
    `V_th` from below; nothing is reset. The drive is constant during a step. By default `integrator="rk4"`.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `a`, `b`, `c`, `d`, `r`, `s`, `V_r`: Numbers; `r` is small, and `V_r` is the resting potential.
    - `tau`: The time scale.
    - `V_th`: Where a spike is counted. A number.
    - `V_initializer`, `y_initializer`, `z_initializer`: The variables at the start. Numbers.
    - `spk_fun`, `tau_ref`, `integrator`, `spike_time`, `I_unit`: as in [`neurostate.LIF`][]. A refractory period keeps
        only the spikes apart; `V` moves on.

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.HindmarshRose(1), jnp.full((2000, 1), 2.0), dt=0.1 * u.ms)
    >>> bool(sol.outputs.sum() > 2)
    True
    """

    size: Shape = static_field()
    a: Float[Array, " *#size"] = quantity_field(None)
    b: Float[Array, " *#size"] = quantity_field(None)
    c: Float[Array, " *#size"] = quantity_field(None)
    d: Float[Array, " *#size"] = quantity_field(None)
    r: Float[Array, " *#size"] = quantity_field(None)
    s: Float[Array, " *#size"] = quantity_field(None)
    V_r: Float[Array, " *#size"] = quantity_field(None)
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_th: Float[Array, " *#size"] = quantity_field(None)
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    y_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    z_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[HindmarshRoseState]] = HindmarshRoseState
    has_reset: ClassVar[bool] = False

    def __init__(
        self,
        size: Size,
        a: QuantityLike = 1.0,
        b: QuantityLike = 3.0,
        c: QuantityLike = 1.0,
        d: QuantityLike = 5.0,
        r: QuantityLike = 0.006,
        s: QuantityLike = 4.0,
        V_r: QuantityLike = -1.6,
        tau: QuantityLike = 1.0 * ms,
        V_th: QuantityLike = 1.0,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(-1.6),
        y_initializer: QuantityLike | Callable[..., Any] = Constant(-10.0),
        z_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        *,
        tau_ref: QuantityLike | None = None,
        integrator: Integrator | str = "rk4",
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        fill(self, locals(), unitless)

    def derivative(self, state: HindmarshRoseState, drive: Drive) -> HindmarshRoseState:
        V, y, z = state.V, state.y, state.z
        return HindmarshRoseState(
            V=(y - self.a * V**3 + self.b * V**2 - z + drive.total(V)) / self.tau,
            y=(self.c - self.d * V**2 - y) / self.tau,
            z=self.r * (self.s * (V - self.V_r) - z) / self.tau,
        )

    def distance(self, state: HindmarshRoseState) -> Array:
        return state.V - self.V_th

    def reset(self, state: HindmarshRoseState, spike: Array) -> HindmarshRoseState:
        del spike
        return state

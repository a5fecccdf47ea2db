"""A readout of spiking neurons with weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size
from .._drive import Drive
from .._units import Unit, mA, ms, mV, ohm, to_plain
from ..init import Constant, KaimingNormal
from ..integrate import Integrator
from ..neuron import AbstractODENeuron, LIFState
from ..neuron._fields import check_threshold, fill, function_field, initial_field, quantity_field, static_field
from ..surrogate import ReluGrad
from ._weight import as_inputs, make_weight


class LeakySpikeReadout(AbstractODENeuron[LIFState]):
    r"""Leaky integrate-and-fire neurons that read weighted spikes: [`neurostate.LIF`][] with input weights.

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = -(V - V_\text{rest}) + R\,x\,W$$

    The spikes `x` that are given to a step act as the current `x @ weight` during that whole step. Order of the step,
    reset and spikes are those of [`neurostate.LIF`][]; the output is the spikes of the outputs.

    **Arguments:**

    - `in_size`, `out_size`: Numbers of inputs and outputs.
    - `R`, `tau`, `V_th`, `V_reset`, `V_rest`, `V_initializer`: as in [`neurostate.LIF`][].
    - `w_init`: The weights, currents, of shape `(in_size, out_size)`: an initialiser, or an array. In `I_unit` if they
        are plain numbers.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`, `I_unit`: as in
        [`neurostate.LIF`][].
    - `key`: A random key, for an initialiser that draws.

    **Raises:** as [`neurostate.LIF`][], and `ValueError` for weights of a wrong shape.

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> readout = ns.LeakySpikeReadout(100, 10, key=jax.random.key(0))
    >>> sol = ns.simulate(readout, jnp.ones((50, 8, 100)), dt=1.0)  # (time, batch, input)
    >>> sol.outputs.shape, ns.readout.count(sol.outputs).shape
    ((50, 8, 10), (8, 10))
    """

    spk_fun: Callable[[Array], Array] = function_field()
    size: Shape = static_field()
    weight: Float[Array, "inputs outputs"] = quantity_field("current")
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_rest: Float[Array, " *#size"] = quantity_field("voltage")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[LIFState]] = LIFState

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        R: QuantityLike = 1.0 * ohm,
        tau: QuantityLike = 5.0 * ms,
        V_th: QuantityLike = 1.0 * mV,
        V_reset: QuantityLike = 0.0 * mV,
        V_rest: QuantityLike = 0.0 * mV,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * mV),
        w_init: QuantityLike | Callable[..., Any] = KaimingNormal(),
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        spk_reset: Literal["soft", "hard"] | None = "soft",
        *,
        key: Key | None = None,
        tau_ref: QuantityLike | None = None,
        detach_reset: bool = False,
        integrator: Integrator | str = "exp_euler",
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        fill(self, {**locals(), "size": out_size}, mA)
        check_threshold(self.V_th, self.V_reset, "LeakySpikeReadout")
        made = make_weight(w_init, in_size, out_size, key, "LeakySpikeReadout")
        self.weight = to_plain(made, self.I_unit, "w_init", "LeakySpikeReadout")

    @property
    def in_size(self) -> Shape:
        """The shape of the input, without time and batch axes."""
        return (self.weight.shape[0],)

    def step(
        self, state: LIFState, input: QuantityLike, /, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[LIFState, Float[Array, " *state"]]:
        """Moves time forward by one step; the output is the spikes. `key` is not used.

        **Arguments:**

        - `state`: The state before the step.
        - `input`: The spikes, of shape `(*batch, in_size)`, without a unit.
        - `dt`: The time step: a number in ms or a `Quantity`.

        **Raises:** `UnitError` if `input` has a dimension; `ValueError` for a wrong shape.
        """
        x = as_inputs(input, self.weight, state.V, "LeakySpikeReadout")
        return super().step(state, x @ self.weight, dt=dt, key=key)

    def derivative(self, state: LIFState, drive: Drive) -> LIFState:
        return LIFState(V=(-(state.V - self.V_rest) + self.R * drive.total(state.V)) / self.tau)

    def distance(self, state: LIFState) -> Array:
        return (state.V - self.V_th) / (self.V_th - self.V_reset)

    def reset(self, state: LIFState, spike: Array) -> LIFState:
        return state.with_(V=self.reset_voltage(state.V, spike, self.V_th, self.V_reset))

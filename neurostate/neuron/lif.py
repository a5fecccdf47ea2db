"""The leaky integrate-and-fire neuron."""

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


class LIFState(NeuronState):
    """The state of `LIF`: the membrane potential `V` in mV, of shape `(*batch, *size)`."""

    V: Float[Array, " *state"] = variable("voltage")


class LIF(AbstractODENeuron[LIFState]):
    r"""Leaky integrate-and-fire neurons driven by a current.

    Below threshold the membrane potential relaxes towards rest (Lapicque 1907; Gerstner et al. 2014,
    *Neuronal Dynamics*, eq. 1.5):

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = -(V - V_\text{rest}) + R\,I(t)$$

    One step does four things, in this order: it finds which neurons spike at the old `V`, resets these,
    integrates over `dt` exactly for a constant current, and returns the spikes of the new `V`. So a
    neuron spikes where `V >= V_th` (with `ReluGrad(h0=0)`: `>`); the state keeps the `V` that crossed the
    threshold, and the reset acts at the start of the next step. The current given to a step acts during
    that whole step. A spike is exactly 0 or 1: `spk_fun` is applied to `(V - V_th) / (V_th - V_reset)` and
    replaces only its derivative.

    In float32, `V` below threshold differs from the closed form by at most `eps * max(1, tau / dt)` times the largest
    of `abs(V)` at the start and the end, `abs(V_rest)`, `abs(R * I)` and `abs(V_rest + R * I)`; in steps longer than
    `tau / 3` by up to four times that.

    Voltages are in mV, times in ms, currents in `I_unit` and resistances in mV/`I_unit`; a plain number
    is taken to be in these. The unit in which `R` is given decides `I_unit`, unless that is given.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `R`: Membrane resistance. A resistance; in ohm if it is a plain number and `I_unit` is not given.
    - `tau`: Membrane time constant. A time, positive.
    - `V_th`, `V_reset`, `V_rest`: Threshold, reset and resting potential. Voltages, `V_th` above `V_reset`.
    - `V_initializer`: `V` at the start: a voltage, or an initialiser called with a shape and a key.
    - `spk_fun`: The spike function, e.g. [`neurostate.surrogate.ReluGrad`][].
    - `spk_reset`: `"soft"` subtracts `V_th - V_reset` from `V`; `"hard"` sets it to `V_reset` exactly, with the
        gradient of `(V - top) + top * (1 - spike) + V_reset * spike` for a `top` that is `V` but held fixed: 1 for `V`,
        and `V_reset - V` for the spike; both are 0 with `spike_time="interpolated"`. `None` leaves `V`.
    - `tau_ref`: The refractory period, a time, or `None`. No spike follows for so long, on the grid for the least
        number of steps that is not shorter. Until the step in which the next one may come, `V` stays where the reset
        put it, whatever the drive.
    - `detach_reset`: Whether the gradient ignores that the reset of `V` depends on the spike. What a spike does to
        other variables, as to an adaptation, keeps its gradient.
    - `integrator`: The name of an integrator in [`neurostate.integrate`][], or a function like these. The default is
        exact here.
    - `spike_time`: With `"grid"`, a spike is counted and the reset acts at the end of the step. Against continuous
        time the first spike is late by less than `dt`, and each further one by up to about one `dt` more; neurons with
        adaptation by up to two where they spike slowly, and by three after their first spike. With a refractory period,
        which begins and ends on the grid, spikes may be early instead. With `"interpolated"` the reset
        acts where the threshold is crossed, and the rest of the step starts from there: a spike in the step that
        ends at `t` was at `t - state.since_spike`, which can be differentiated. A step has one spike at most; a
        second one counts at the start of the next step.
    - `I_unit`: The unit of current, e.g. `u.nA`.

    Each of `R`, `tau`, `V_th`, `V_reset`, `V_rest` and `V_initializer` is a scalar or an array that broadcasts to
    `size`, and can be trained.

    **Raises:** `UnitError` for a wrong dimension, naming the argument; `ValueError` for a wrong shape, a
    `tau` that is not positive, a `V_th` not above `V_reset`, or an unknown `spk_reset`; `TypeError` for what
    is not a number or a function.

    !!! example

        >>> import functools, jax, jax.numpy as jnp, brainunit as u, neurostate as ns
        >>> lif = ns.LIF(100, tau=10 * u.ms)
        >>> currents = jnp.full((500, 100), 1.5) * u.mA  # (time, neuron)
        >>> step = functools.partial(lif.step, dt=0.1 * u.ms)
        >>> state, spikes = jax.lax.scan(step, lif.init_state(), currents)
        >>> print(spikes.shape, spikes[:, 0].sum())
        (500, 100) 4.0
    """

    size: Shape = static_field()
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_rest: Float[Array, " *#size"] = quantity_field("voltage")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[LIFState]] = LIFState

    def __init__(
        self,
        size: Size,
        R: QuantityLike = 1.0 * ohm,
        tau: QuantityLike = 5.0 * ms,
        V_th: QuantityLike = 1.0 * mV,
        V_reset: QuantityLike = 0.0 * mV,
        V_rest: QuantityLike = 0.0 * mV,
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
        check_threshold(self.V_th, self.V_reset, "LIF")

    def derivative(self, state: LIFState, drive: Drive) -> LIFState:
        return LIFState(V=(-(state.V - self.V_rest) + self.R * drive.total(state.V)) / self.tau)

    def distance(self, state: LIFState) -> Array:
        return (state.V - self.V_th) / (self.V_th - self.V_reset)

    def reset(self, state: LIFState, spike: Array) -> LIFState:
        return state.with_(V=self.reset_voltage(state.V, spike, self.V_th, self.V_reset))

"""The generalised integrate-and-fire neuron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal, cast

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size
from .._drive import Drive, as_drive
from .._parameters import as_milliseconds
from .._units import Mohm, Unit, argument, maximum, ms, mV, nA, per_ms
from ..init import Constant
from ..integrate import Integrator
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import check_threshold, fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable
from ._step import step_to_grid


# Beyond it a spike is sure, and the derivative of its probability would be that of an infinite rate.
_LARGEST_EXPONENT: Final = 40.0

_MSG_NO_KEY: Final = (
    "`Gif.step` draws random numbers, as there is an `escape_rate`, but it got no `key`.\n"
    "Pass a new key for each step: `cell.step(state, current, dt=dt, key=jax.random.fold_in(key, i))`. "
    "`simulate(cell, inputs, dt=dt, key=key)` does that, and `nn.Stateful(cell)` draws one from `neurostate.random`."
)


class GifState(NeuronState):
    """The state of `Gif`: `V`, `I1`, `I2`, `V_th`, see [`neurostate.Gif`][], and, with escape noise only,

    - `spike`: the spikes of the last step, after which it resets in the next one.
    """

    V: Float[Array, " *state"] = variable("voltage")
    I1: Float[Array, " *state"] = variable("current")
    I2: Float[Array, " *state"] = variable("current")
    V_th: Float[Array, " *state"] = variable("voltage")
    spike: Float[Array, " *state"] | None = eqx.field(default=None, kw_only=True)


class Gif(AbstractODENeuron[GifState]):
    r"""Generalised integrate-and-fire neurons, with two currents that follow spikes and a moving threshold (Mihalas
    and Niebur 2009, *A generalized linear integrate-and-fire neural model produces diverse spiking behaviors*).

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = -(V - V_\text{rest}) + R\,(I_1 + I_2 + I(t)), \qquad
    \frac{\mathrm{d}I_j}{\mathrm{d}t} = -k_j I_j, \qquad
    \frac{\mathrm{d}V_\text{th}}{\mathrm{d}t} = a\,(V - V_\text{rest}) - b\,(V_\text{th} - V_{\text{th},\infty})$$

    A spike turns $I_j$ into $R_j I_j + A_j$, and raises the threshold to `V_th_reset` if it is below.

    The step is that of [`neurostate.LIF`][]: reset where the old `V` spikes, integrate for a drive that is
    constant during the step, spike where the new `V >= V_th`.

    The equations depend on each other; the default integrator, of second order, takes the others in the middle of
    the step.

    With `escape_rate` and `escape_width`, a neuron can also spike below the threshold, and is not sure to spike above
    it (escape noise; Gerstner and Kistler 2002, *Spiking Neuron Models*, section 5.3; Mensi et al. 2012, *Parameter
    extraction and classification of three cortical neuron types reveals two distinct adaptation mechanisms*): it does
    so at the rate

    $$\lambda = \lambda_0\, e^{(V - V_\text{th}) / \Delta_V}, \qquad p = 1 - e^{-\lambda\,\Delta t}$$

    where $p$ is the probability of a spike in a step, at the `V` and `V_th` of its end. It is drawn to within 1e-10,
    for each neuron and batch axis on its own. The spike is 1 where $p$ is not below a uniform number, and `spk_fun`,
    applied to their difference, gives it a derivative. A soft reset takes `V_th - V_reset` off whatever `V` is;
    in these models the reset is hard.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `R`, `tau`: Membrane resistance and time constant.
    - `V_rest`, `V_reset`: Resting and reset potential. Voltages.
    - `V_th_inf`, `V_th_reset`: Where the threshold goes to, and its least value after a spike. Voltages.
    - `V_th_initializer`: The threshold at the start.
    - `a`, `b`: How the threshold follows `V`, and how it returns. Rates.
    - `k1`, `k2`: The rates at which the currents decay.
    - `R1`, `R2`, `A1`, `A2`: What a spike makes of the currents: factors, and currents.
    - `V_initializer`, `I1_initializer`, `I2_initializer`: The other variables at the start.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`, `I_unit`: as in
        [`neurostate.LIF`][].
    - `escape_rate`, `escape_width`: The rate of spikes at the threshold, $\lambda_0$, and the voltage over which it
        changes by a factor of e, $\Delta_V$; positive, both or neither. `None`: no noise. With noise, `step` needs a
        key, and `spike_time` must be `"grid"`.

    **Raises:** as [`neurostate.LIF`][]; `ValueError` for one of `escape_rate` and `escape_width` alone, or with
    `spike_time="interpolated"`; without a key, `step` raises too if there is noise.

    >>> import brainunit as u, jax, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.Gif(1), jnp.full((2000, 1), 1.5) * u.nA, dt=0.1 * u.ms)
    >>> bool(sol.outputs.sum() > 1)
    True
    >>> gif = ns.Gif(10000, escape_rate=50 * u.Hz, escape_width=2 * u.mV, V_initializer=-50 * u.mV, V_rest=-50 * u.mV)
    >>> state, spike = gif.step(gif.init_state(), 0.0, dt=1 * u.ms, key=jax.random.key(0))
    >>> print(f"{spike.mean():.2f}")  # at the threshold, in 1 ms
    0.05
    """

    size: Shape = static_field()
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_rest: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_th_inf: Float[Array, " *#size"] = quantity_field("voltage")
    V_th_reset: Float[Array, " *#size"] = quantity_field("voltage")
    V_th_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    a: Float[Array, " *#size"] = quantity_field("rate")
    b: Float[Array, " *#size"] = quantity_field("rate")
    k1: Float[Array, " *#size"] = quantity_field("rate")
    k2: Float[Array, " *#size"] = quantity_field("rate")
    R1: Float[Array, " *#size"] = quantity_field(None)
    R2: Float[Array, " *#size"] = quantity_field(None)
    A1: Float[Array, " *#size"] = quantity_field("current")
    A2: Float[Array, " *#size"] = quantity_field("current")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    I1_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("current")
    I2_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("current")
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    escape_rate: Float[Array, " *#size"] | None = quantity_field("rate", positive=True)
    escape_width: Float[Array, " *#size"] | None = quantity_field("voltage", positive=True)
    I_unit: Unit = static_field()

    state_type: ClassVar[type[GifState]] = GifState
    has_reset: ClassVar[bool] = True

    def __init__(
        self,
        size: Size,
        R: QuantityLike = 20.0 * Mohm,
        tau: QuantityLike = 20.0 * ms,
        V_rest: QuantityLike = -70.0 * mV,
        V_reset: QuantityLike = -70.0 * mV,
        V_th_inf: QuantityLike = -50.0 * mV,
        V_th_reset: QuantityLike = -60.0 * mV,
        V_th_initializer: QuantityLike | Callable[..., Any] = Constant(-50.0 * mV),
        a: QuantityLike = 0.0 * per_ms,
        b: QuantityLike = 0.01 * per_ms,
        k1: QuantityLike = 0.2 * per_ms,
        k2: QuantityLike = 0.02 * per_ms,
        R1: QuantityLike = 0.0,
        R2: QuantityLike = 1.0,
        A1: QuantityLike = 0.0 * nA,
        A2: QuantityLike = 0.0 * nA,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(-70.0 * mV),
        I1_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * nA),
        I2_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * nA),
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        spk_reset: Literal["soft", "hard"] | None = "soft",
        *,
        tau_ref: QuantityLike | None = None,
        detach_reset: bool = False,
        integrator: Integrator | str = "exp_midpoint",
        spike_time: Literal["grid", "interpolated"] = "grid",
        escape_rate: QuantityLike | None = None,
        escape_width: QuantityLike | None = None,
        I_unit: Unit | None = None,
    ):
        fill(self, locals(), nA)
        check_threshold(self.V_th_inf, self.V_reset, "Gif")
        check_threshold(self.V_th_reset, self.V_reset, "Gif")
        if (self.escape_rate is None) != (self.escape_width is None):
            raise ValueError("`Gif` needs both `escape_rate` and `escape_width`, or neither; got only one of them.")
        if self.stochastic and self.spike_time != "grid":
            raise ValueError(
                f"{argument('Gif', 'spike_time')} must be 'grid' if there is an `escape_rate`, got {spike_time!r}. "
                "With escape noise a spike does not wait for a crossing of the threshold, whose time could be found."
            )

    @property
    def stochastic(self) -> bool:
        """Whether a step draws random numbers, and needs a key."""
        return self.escape_rate is not None

    @classmethod
    def variables(cls) -> tuple[str, ...]:
        """The names of the variables of the state, without those that it may or may not have."""
        return tuple(name for name in super().variables() if name != "spike")

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> GifState:
        """Makes the state at the start. See `AbstractCell.init_state`."""
        state = super().init_state(batch_shape, key)
        return state.with_(spike=jnp.zeros_like(state.V)) if self.stochastic else state

    def step(
        self, state: GifState, current: QuantityLike | Drive, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[GifState, Float[Array, " *state"]]:
        """Moves time forward by one step; see `AbstractNeuron.step`.

        **Raises:** as that, and `ValueError` without a `key` if there is an `escape_rate`.
        """
        if not self.stochastic:
            return super().step(state, current, dt=dt, key=key)
        drive, dt = as_drive(current, self, state.V, "Gif"), as_milliseconds(dt, "Gif.step")
        if key is None:
            raise ValueError(_MSG_NO_KEY)
        # 32 random bits, of which small numbers keep more digits in float32 than those of `jax.random.uniform`.
        bits = jax.random.bits(key, state.V.shape, jnp.uint32)
        uniform = (bits.astype(state.V.dtype) + 0.5) * 2.0**-32
        spikes = lambda state: self.spk_fun(self.escape_probability(state, dt) - uniform)  # noqa: E731
        new, spike = step_to_grid(self, state.with_(spike=None), drive, dt, state.spike, spikes)
        return new.with_(spike=spike), spike

    def escape_probability(self, state: GifState, dt: Any) -> Array:
        """The probability of a spike within `dt` at this `V` and `V_th`."""
        rate, width = cast(tuple[Array, Array], (self.escape_rate, self.escape_width))
        exponent = (state.V - state.V_th) / width
        return -jnp.expm1(-dt * rate * jnp.exp(jnp.minimum(exponent, _LARGEST_EXPONENT)))

    def derivative(self, state: GifState, drive: Drive) -> GifState:
        current = state.I1 + state.I2 + drive.total(state.V)
        V = (-(state.V - self.V_rest) + self.R * current) / self.tau
        V_th = self.a * (state.V - self.V_rest) - self.b * (state.V_th - self.V_th_inf)
        return GifState(V=V, I1=-self.k1 * state.I1, I2=-self.k2 * state.I2, V_th=V_th)

    def distance(self, state: GifState) -> Array:
        return (state.V - state.V_th) / (self.V_th_inf - self.V_reset)

    def reset(self, state: GifState, spike: Array) -> GifState:
        raised = maximum(self.V_th_reset, state.V_th)
        return state.with_(
            V=self.reset_voltage(state.V, spike, state.V_th, self.V_reset),
            I1=state.I1 + spike * (self.R1 * state.I1 + self.A1 - state.I1),
            I2=state.I2 + spike * (self.R2 * state.I2 + self.A2 - state.I2),
            V_th=state.V_th + spike * (raised - state.V_th),
        )

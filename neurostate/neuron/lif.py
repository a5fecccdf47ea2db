"""The leaky integrate-and-fire neuron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import numpy as np

from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size, as_shape
from .._parameters import as_milliseconds, parameter
from .._units import Unit, argument, current_unit, family_unit, is_traced, mA, measures, ms, mV, ohm
from ..init import Constant
from ..integrate import exp_euler_step
from ..surrogate import ReluGrad
from ._base import AbstractNeuron, as_current, as_initial_value, as_spike_function, initial_array


class LIFState(eqx.Module):
    """The state of `LIF`: the membrane potential `V` in mV, of shape `(*batch, *size)`."""

    V: Float[Array, " *state"] = eqx.field(metadata=measures("voltage"))


class LIF(AbstractNeuron[LIFState]):
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

    Voltages are in mV, times in ms, currents in `I_unit` and resistances in mV/`I_unit`; a plain number
    is taken to be in these. The unit in which `R` is given decides `I_unit`, unless that is given.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `R`: Membrane resistance. A resistance; in ohm if it is a plain number and `I_unit` is not given.
    - `tau`: Membrane time constant. A time, positive.
    - `V_th`, `V_reset`, `V_rest`: Threshold, reset and resting potential. Voltages, `V_th` above `V_reset`.
    - `V_initializer`: `V` at the start: a voltage, or an initialiser called with a shape and a key.
    - `spk_fun`: The spike function, e.g. [`neurostate.surrogate.ReluGrad`][].
    - `spk_reset`: `"soft"` subtracts `V_th - V_reset` from `V`; `"hard"` sets it to `V_reset`, with a
        gradient only through the spike and `V_reset`.
    - `I_unit`: The unit of current, e.g. `u.nA`.
    - `detach_reset`: Whether the gradient ignores that the reset depends on the spike.

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

    size: Shape = eqx.field(static=True)
    R: Float[Array, " *#size"] = eqx.field(metadata=measures("resistance"))
    tau: Float[Array, " *#size"] = eqx.field(metadata=measures("time"))
    V_th: Float[Array, " *#size"] = eqx.field(metadata=measures("voltage"))
    V_reset: Float[Array, " *#size"] = eqx.field(metadata=measures("voltage"))
    V_rest: Float[Array, " *#size"] = eqx.field(metadata=measures("voltage"))
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = eqx.field(metadata=measures("voltage"))
    spk_fun: Callable[[Array], Array]
    spk_reset: Literal["soft", "hard"] = eqx.field(static=True)
    I_unit: Unit = eqx.field(static=True)
    detach_reset: bool = eqx.field(static=True)

    state_type: ClassVar[type[eqx.Module]] = LIFState

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
        spk_reset: Literal["soft", "hard"] = "soft",
        *,
        I_unit: Unit | None = None,
        detach_reset: bool = False,
    ):
        self.size = as_shape(size)
        self.I_unit = current_unit("LIF", mA, I_unit, R=(R, "resistance"))
        R_unit = family_unit("resistance", self.I_unit)
        self.R = parameter(R, R_unit, "R", size=self.size, owner="LIF")
        self.tau = parameter(tau, ms, "tau", size=self.size, owner="LIF", positive=True)
        self.V_th = parameter(V_th, mV, "V_th", size=self.size, owner="LIF")
        self.V_reset = parameter(V_reset, mV, "V_reset", size=self.size, owner="LIF")
        self.V_rest = parameter(V_rest, mV, "V_rest", size=self.size, owner="LIF")
        self.V_initializer = as_initial_value(V_initializer, mV, "V_initializer", size=self.size, owner="LIF")
        self.spk_fun = as_spike_function(spk_fun, "LIF")
        self.spk_reset = spk_reset
        self.detach_reset = bool(detach_reset)
        if spk_reset not in ("soft", "hard"):
            raise ValueError(f'{argument("LIF", "spk_reset")} must be "soft" or "hard", got {spk_reset!r}.')
        voltages = (self.V_th, self.V_reset)
        if not any(map(is_traced, voltages)) and not np.all(np.greater(*voltages)):
            raise ValueError(
                f"{argument('LIF', 'V_th')} must be above `V_reset` everywhere, got V_th={V_th!r} and "
                f"V_reset={V_reset!r}. Did you set `V_th` but leave `V_reset` at its default of 0 mV?"
            )

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> LIFState:
        """Makes the state at the start, with `V` from `V_initializer`. See `AbstractNeuron.init_state`."""
        V = initial_array(
            self.V_initializer, mV, "V_initializer", size=self.size, batch_shape=batch_shape, key=key, owner="LIF"
        )
        return LIFState(V=V)

    def step(
        self, state: LIFState, current: QuantityLike, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[LIFState, Float[Array, " *state"]]:
        """Moves time forward by one step; see `AbstractNeuron.step`. `key` is not used.

        **Raises:** `UnitError` if `current` is not a current or `dt` not a time; `ValueError` if `current`
        does not broadcast to the state, or `dt` is not a positive scalar.
        """
        del key
        dtype = state.V.dtype
        current = as_current(current, self.I_unit, state.V, "LIF")
        V = self._reset(state.V, self._spike(state.V))
        V = exp_euler_step(self._slope, V, current, dt=as_milliseconds(dt, "LIF.step")).astype(dtype)
        return LIFState(V=V), self._spike(V).astype(dtype)

    def _spike(self, V: Array) -> Array:
        return self.spk_fun((V - self.V_th) / (self.V_th - self.V_reset))

    def _reset(self, V: Array, spike: Array) -> Array:
        if self.detach_reset:
            spike = jax.lax.stop_gradient(spike)
        top = self.V_th if self.spk_reset == "soft" else jax.lax.stop_gradient(V)
        return V - (top - self.V_reset) * spike

    def _slope(self, V: Array, current: Array) -> Array:
        return (-(V - self.V_rest) + self.R * current) / self.tau

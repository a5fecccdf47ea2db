"""What all neurons share: the protocol, the units of their fields, their initial state, and their step."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal, cast

import equinox as eqx
import jax
import jax.numpy as jnp

from .._cell import AbstractCell, State
from .._custom_types import Array, Float, Key, QuantityLike, Size
from .._drive import Drive, as_drive
from .._parameters import as_milliseconds
from ..integrate import Integrator, exp_euler, strang
from ._fields import initial_arrays
from ._step import step_to_crossing, step_to_grid


# How far `V` may go beyond the threshold in an upstroke that diverges, in parts of the way there from the reset.
_OVERSHOOT: Final = 0.1


class AbstractNeuron(AbstractCell[State]):
    """The protocol of a population of neurons, generic over the type of its state.

    A neuron is immutable and holds plain arrays: its parameters. Its state is another module, made by
    `init_state`, and `step` is a pure function of both. All parameters are scalars or arrays over the
    population.

    A subclass is final. It declares its fields with their dimensions, those of its state in `state_type`, and its
    own unit of current in `I_unit`, from which all its units follow; and it says what its equations are: how it moves
    between spikes (`flow`), where it spikes (`distance`), and what a spike does to it (`reset`). The step that is made
    of these is the same for all.
    """

    spk_fun: eqx.AbstractVar[Callable[[Array], Array]]
    spk_reset: eqx.AbstractVar[Literal["soft", "hard"] | None]
    detach_reset: eqx.AbstractVar[bool]
    tau_ref: eqx.AbstractVar[Float[Array, "..."] | None]
    spike_time: eqx.AbstractVar[Literal["grid", "interpolated"]]
    has_reset: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def flow(self, state: State, drive: Drive, dt: Any, held: Array | None = None) -> State:
        """Where `state` is after `dt` without a spike. `held` tells where `V` must not move: in a refractory period."""

    @abc.abstractmethod
    def distance(self, state: State) -> Array:
        """How far above the threshold the neuron is, without dimension: it spikes where this is not negative."""

    @abc.abstractmethod
    def reset(self, state: State, spike: Array) -> State:
        """What a spike does: the state after it, where `spike` is 1, and the state as it is where that is 0."""

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> State:
        """Makes the state at the start. See `AbstractCell.init_state`."""
        givers = {name: getattr(self, f"{name}_initializer") for name in self.variables()}
        arrays = initial_arrays(self, givers, batch_shape, key)
        if len(arrays) < len(givers):
            settled = self.steady_state(arrays["V"])
            arrays.update({name: settled[name] for name in givers if name not in arrays})
        if self.tau_ref is not None:
            arrays["refractory"] = jnp.full_like(arrays["V"], -1.0)
        if self.spike_time == "interpolated":
            arrays["since_spike"] = jnp.full_like(arrays["V"], jnp.inf)
        return cast(State, self.state_type(**arrays))

    def steady_state(self, V: Array) -> dict[str, Array]:
        """The values to which the variables without an initialiser go at a constant `V`."""
        del V
        return {}

    def step(
        self, state: State, current: QuantityLike | Drive, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[State, Float[Array, " *state"]]:
        """Moves time forward by one step. Pure.

        **Arguments:**

        - `state`: The state before the step, from `init_state` or an earlier step.
        - `current`: The input during the step: a number or an array in `I_unit`, a `Quantity`, or a
            [`neurostate.Drive`][] with conductances and jumps of the voltage. It broadcasts to the shape of the state.
        - `dt`: The time step: a number in ms or a `Quantity`.
        - `key`: A random key, for neurons with noise.

        **Returns:** The state after the step, and the spikes, of the shape and dtype of the state.

        **Raises:** `UnitError` for a wrong dimension of the input or of `dt`; `ValueError` if the input does not
        broadcast to the state, or `dt` is not a positive scalar.
        """
        del key
        return self.advance(state, current, dt=as_milliseconds(dt, f"{type(self).__name__}.step"))

    def advance(
        self, state: State, current: QuantityLike | Drive, *, dt: Any, spiked: Array | None = None
    ) -> tuple[State, Array]:
        """The step, for `dt` in ms. `spiked`, the spikes of `state` where they are known, are not asked for again."""
        drive = as_drive(current, self, getattr(state, "V"), type(self).__name__)
        if self.spike_time == "grid":
            return step_to_grid(self, state, drive, dt, spiked)
        return step_to_crossing(self, state, drive, dt)

    def spikes(self, state: State) -> Array:
        """The spikes of a state, by its distance from the threshold."""
        return self.spk_fun(self.distance(state))

    @classmethod
    def variables(cls) -> tuple[str, ...]:
        """The names of the variables of the state, without those that every neuron may have."""
        names = [field.name for field in dataclasses.fields(cls.state_type)]
        return tuple(name for name in names if name not in ("refractory", "since_spike"))

    def reset_voltage(self, V: Array, spike: Array, V_th: Array, V_reset: Array) -> Array:
        """`V` after the reset: less `V_th - V_reset` if it is soft, `V_reset` if it is hard."""
        if self.spk_reset is None:
            return V
        if self.spk_reset == "soft":
            return V - (V_th - V_reset) * spike
        top = jax.lax.stop_gradient(V)
        # The same with this `top`, but without rounding: of the three terms, one at most is not zero.
        return (V - top) + top * (1 - spike) + V_reset * spike


class AbstractODENeuron(AbstractNeuron[State]):
    """A neuron that is given by differential equations, with a choice of how to integrate them."""

    integrator: eqx.AbstractVar[Integrator]
    has_reset: ClassVar[bool] = True
    # The reset potential of a neuron whose `V` has no bound above the threshold.
    diverges_above: ClassVar[str | None] = None

    @abc.abstractmethod
    def derivative(self, state: State, drive: Drive) -> State:
        """The derivative of each variable of the state: a state of the same type, per ms."""

    def flow(self, state: State, drive: Drive, dt: Any, held: Array | None = None) -> State:
        """Where `state` is after `dt` without a spike, by the `integrator`."""

        top = None
        if self.diverges_above is not None:
            V_th, V_reset = getattr(self, "V_th"), getattr(self, self.diverges_above)
            top = V_th + _OVERSHOOT * (V_th - V_reset)
            if self.integrator is strang:
                return self._flow_with_upstroke(state, drive, dt, held, top)

        def bounded(y: State) -> State:
            return y if top is None else _with_V(y, jnp.minimum(getattr(y, "V"), top))

        # An integrator that does not look ahead may move `V` and put it back, which leaves a constant slope constant.
        afterwards = self.integrator is exp_euler

        def slope(y: State) -> State:
            # Where the integrator looks ahead, what follows `V` must not see it without bound either.
            slopes = self.derivative(bounded(y), drive)
            if held is None or afterwards:
                return slopes
            V = getattr(slopes, "V")
            return _with_V(slopes, jnp.where(held, jnp.zeros_like(V), V))

        new = bounded(self.integrator(slope, state, dt))
        if held is None or not afterwards:
            return new
        return _with_V(new, jnp.where(held, getattr(state, "V"), getattr(new, "V")))

    def _flow_with_upstroke(self, state: State, drive: Drive, dt: Any, held: Array | None, top: Array) -> State:
        """Strang's splitting, with a step for `V` that goes through its upstroke."""

        def upstroke(y: State, dt: Any) -> State:
            V = self.upstroke(y, drive, dt, top)
            return _with_V(y, V if held is None else jnp.where(held, getattr(y, "V"), V))

        others = [name for name in self.variables() if name != "V"]
        if not others:
            return upstroke(state, dt)
        middle = upstroke(state, dt / 2)
        # The others see no `V` above the threshold: in continuous time there is none.
        seen = _with_V(middle, jnp.minimum(getattr(middle, "V"), getattr(self, "V_th")))

        def slopes(values: dict[str, Array]) -> dict[str, Array]:
            found = self.derivative(dataclasses.replace(cast(Any, seen), **values), drive)
            return {name: getattr(found, name) for name in others}

        moved = exp_euler(slopes, {name: getattr(seen, name) for name in others}, dt)
        return upstroke(dataclasses.replace(cast(Any, middle), **moved), dt / 2)

    def upstroke(self, state: State, drive: Drive, dt: Any, top: Array) -> Array:
        """Where `V` is after `dt`, at most `top`, the other variables held. For neurons with `diverges_above` only."""
        del drive, dt, top
        return getattr(state, "V")


def _with_V(state: State, V: Array) -> State:
    return eqx.tree_at(lambda state: state.V, state, V)

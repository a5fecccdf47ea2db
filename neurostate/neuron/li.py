"""The leaky integrator, which does not spike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .._cell import AbstractCell
from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size, as_shape
from .._drive import Drive, as_drive
from .._parameters import as_milliseconds
from .._units import Unit, mA, ms, mV, ohm
from ..init import Constant
from ..integrate import exp_euler
from ._fields import fill, initial_arrays, initial_field, quantity_field, static_field
from ._state import NeuronState, variable


class LIState(NeuronState):
    """The state of `LI`: the potential `V` in mV, of shape `(*batch, *size)`."""

    V: Float[Array, " *state"] = variable("voltage")


class LI(AbstractCell[LIState]):
    r"""Leaky integrators: the membrane of [`neurostate.LIF`][] without spikes, as a readout or for testing.

    $$\tau \frac{\mathrm{d}V}{\mathrm{d}t} = -(V - V_\text{rest}) + R\,I(t)$$

    One step integrates exactly for a drive that is constant during the step, adds the jump, and gives the new `V`.

    **Arguments:**

    - `size`: Number of integrators, or the shape of the population.
    - `R`, `tau`, `V_rest`, `V_initializer`, `I_unit`: as in [`neurostate.LIF`][].

    **Raises:** as [`neurostate.LIF`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.LI(1, tau=5 * u.ms), jnp.ones((50, 1)) * u.mA, dt=0.1 * u.ms)
    >>> print(f"{sol.outputs[-1, 0]:.4f}")
    0.6321
    """

    size: Shape = static_field()
    R: Float[Array, " *#size"] = quantity_field("resistance")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    V_rest: Float[Array, " *#size"] = quantity_field("voltage")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    I_unit: Unit = static_field()

    state_type: ClassVar[type[LIState]] = LIState

    def __init__(
        self,
        size: Size,
        R: QuantityLike = 1.0 * ohm,
        tau: QuantityLike = 5.0 * ms,
        V_rest: QuantityLike = 0.0 * mV,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(0.0 * mV),
        *,
        I_unit: Unit | None = None,
    ):
        fill(self, locals(), mA)

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> LIState:
        """Makes the state at the start. See `AbstractCell.init_state`."""
        return LIState(**initial_arrays(self, {"V": self.V_initializer}, as_shape(batch_shape), key))

    def step(
        self, state: LIState, current: QuantityLike | Drive, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[LIState, Float[Array, " *state"]]:
        """Moves time forward by one step; the output is `V` in mV. `key` is not used.

        **Raises:** as the step of a neuron.
        """
        del key
        drive = as_drive(current, self, state.V, "LI")
        new = exp_euler(lambda y: self.derivative(y, drive), state, as_milliseconds(dt, "LI.step"))
        V = new.V if drive.jump is None else new.V + drive.jump
        return LIState(V=V.astype(state.V.dtype)), V.astype(state.V.dtype)

    def derivative(self, state: LIState, drive: Drive) -> LIState:
        return LIState(V=(-(state.V - self.V_rest) + self.R * drive.total(state.V)) / self.tau)

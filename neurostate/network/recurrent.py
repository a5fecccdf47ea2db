"""A population that is connected to itself."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx

from .._custom_types import Array, Key, QuantityLike, Shape, Size, as_shape
from .._drive import Drive, as_drive
from .._parameters import as_milliseconds
from ..connect._base import AbstractConnection
from ._drives import flat, folded, summed
from .projection import Pathway, Projection, ProjectionState, as_pathway


class RecurrentState(eqx.Module):
    """The state of `Recurrent`: that of the neurons, and that of their projection to themselves."""

    neurons: Any
    projection: ProjectionState


class Recurrent(eqx.Module):
    """Neurons that are connected to each other, as one layer: driven by an input and by their spikes before.

    A spike acts from the next step on, as in a [`neurostate.Network`][] of one population.

    **Arguments:**

    - `cell`: The neurons.
    - `connection`: From all of them to all of them.
    - `synapse`, `output`, and the others: as in a [`neurostate.Projection`][].
    - `dt`: The time step, where `delay` is a time.

    **Raises:** as [`neurostate.Network`][].

    >>> import brainunit as u, jax, jax.numpy as jnp, neurostate as ns
    >>> recurrent = ns.connect.Dense(8, 8, ns.init.Normal(0.0, 0.1), key=jax.random.key(0))
    >>> layer = ns.Recurrent(ns.LIF(8), recurrent)
    >>> ns.simulate(layer, jnp.ones((100, 16, 8)), dt=1.0 * u.ms).outputs.shape
    (100, 16, 8)
    """

    cell: Any
    projection: Pathway

    state_type: ClassVar[type[RecurrentState]] = RecurrentState

    def __init__(
        self,
        cell: Any,
        connection: AbstractConnection,
        synapse: Any = None,
        output: Any = None,
        *,
        dt: QuantityLike = None,
        **others: Any,
    ):
        step = None if dt is None else float(as_milliseconds(dt, "Recurrent"))
        projection = Projection("cell", "cell", connection, synapse, output, **others)
        self.cell = cell
        self.projection = as_pathway(projection, "of `Recurrent`", {"cell": cell}, step)

    @property
    def in_size(self) -> Shape:
        """The shape of the input, without time and batch axes."""
        return tuple(self.cell.in_size)

    @property
    def out_size(self) -> Shape:
        """The shape of the output, without time and batch axes."""
        return tuple(self.cell.out_size)

    @property
    def stochastic(self) -> bool:
        """Whether a step needs a key."""
        return bool(getattr(self.cell, "stochastic", False))

    def field_unit(self, name: str) -> None:
        """No unit: the parts have theirs."""

    def state_unit(self, name: str) -> None:
        """No unit: the parts have theirs."""

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> RecurrentState:
        """Makes the state at the start."""
        shape = as_shape(batch_shape)
        cell = self.cell.init_state(shape, key=folded(key, 0))
        return RecurrentState(cell, self.projection.init_state(shape, folded(key, 1)))

    def step(
        self, state: RecurrentState, input: QuantityLike | Drive, /, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[RecurrentState, Array]:
        """Moves time forward by one step; the output is that of the cell.

        **Raises:** as the step of the cell.
        """
        return self.advance(state, input, dt=as_milliseconds(dt, "Recurrent.step"), key=key)

    def advance(
        self,
        state: RecurrentState,
        input: QuantityLike | Drive,
        *,
        dt: Any,
        spiked: Array | None = None,
        key: Key | None = None,
    ) -> tuple[RecurrentState, Array]:
        """The step, where the spikes of `state` may be known; see `AbstractNeuron.advance`."""
        V = state.neurons.V
        given = as_drive(input, self.cell, V, "Recurrent")
        drive = summed([given, self.projection.drive(state.projection, V)], V)
        if spiked is None:
            cell, spike = self.cell.step(state.neurons, drive, dt=dt, key=key)
        else:
            cell, spike = self.cell.advance(state.neurons, drive, dt=dt, spiked=spiked)
        sent = flat(spike, self.out_size)
        return RecurrentState(cell, self.projection.step(state.projection, sent, sent, dt)), spike

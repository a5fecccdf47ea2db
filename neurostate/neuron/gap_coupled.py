"""A population whose neurons are coupled by gap junctions."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import expm

from .._cell import AbstractCell
from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size
from .._drive import Drive, as_drive
from .._parameters import as_milliseconds, parameter
from .._units import Unit, argument, family_unit, is_traced, mV, to_plain
from ._base import AbstractNeuron
from ._step import step_to_grid


# Squarings of the matrix exponential: enough for couplings of 1e9 per step.
_SQUARINGS: Final = 32


class GapCoupled(AbstractCell[Any]):
    r"""A population of neurons that are coupled by gap junctions, at any strength and any step.

    $$C_i \frac{\mathrm{d}V_i}{\mathrm{d}t} = \ldots + \sum_j g_{ij}\,(V_j - V_i), \qquad g_{ij} = g_{ji}$$

    A step of explicit gap currents diverges where the sum over `g` exceeds about $C / \Delta t$. Here the coupling by
    itself is integrated exactly, for half a step before the neurons' own equations and for half a step after them
    (Strang 1968, *On the construction and comparison of difference schemes*), so that the whole is stable at any
    $g\,\Delta t$ and of second order. The gap currents of all neurons add up to zero at each step. Coupling and
    equations together make up the integration of the neuron's own step: reset, integrate, spike. A neuron in its
    refractory period stays where it is and goes on to act on the others, and a `V` that has crossed the threshold does
    so until its reset.

    **Arguments:**

    - `cell`: The neurons, with `spike_time="grid"` and a `V` that is a voltage.
    - `g`: The conductances: a scalar for each pair of neurons, or a symmetric matrix over the population, whose
        diagonal does not matter.
    - `C`: The capacitance that the gap currents charge, a scalar or one for each neuron: for a neuron with `R` and
        `tau` that is `tau / R`.

    Both are kept in the family of units of `cell`, and can be trained: only the symmetric part of `g` counts. With
    scalars a step costs as much as the neurons alone, otherwise a product with a matrix, which XLA computes once for a
    whole scan.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` for a matrix of another shape or not symmetric, or a `C`
    that is not positive; `TypeError` for what is not a neuron.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> lif = ns.LIF(4, R=1 * u.Mohm, tau=5 * u.ms, V_initializer=jnp.array([0.0, 0.2, 0.4, 0.6]))
    >>> cell = ns.GapCoupled(lif, g=1000 * u.uS, C=5 * u.nF)
    >>> state, spike = cell.step(cell.init_state(), 0.0, dt=0.1 * u.ms)
    >>> print(jnp.round(state.V, 3))
    [0.294 0.294 0.294 0.294]
    """

    cell: AbstractNeuron[Any]
    g: Float[Array, "..."] = eqx.field(metadata={"dimension": "conductance"})
    C: Float[Array, "..."] = eqx.field(metadata={"dimension": "capacitance"})

    def __init__(self, cell: AbstractNeuron[Any], g: QuantityLike, C: QuantityLike):
        if not isinstance(cell, AbstractNeuron):
            raise TypeError(
                f"{argument('GapCoupled', 'cell')} must be a neuron, got one of type {type(cell).__name__}."
            )
        if cell.spike_time != "grid" or cell.state_unit("V") != mV:
            raise ValueError(
                f"{argument('GapCoupled', 'cell')} must have spike_time='grid' and a `V` in mV: neurons that move each "
                "to a spike time of its own cannot be coupled on the way."
            )
        if getattr(cell, "stochastic", False):
            text = "must spike at a threshold: neurons with escape noise cannot be coupled."
            raise ValueError(f"{argument('GapCoupled', 'cell')} {text}")
        self.cell = cell
        units = {name: family_unit(name, cell.I_unit) for name in ("conductance", "capacitance")}
        count = int(np.prod(cell.size))
        matrix = np.ndim(to_plain(g, units["conductance"], "g", "GapCoupled")) > 0
        self.g = parameter(g, units["conductance"], "g", size=(count, count) if matrix else (), owner="GapCoupled")
        self.C = parameter(C, units["capacitance"], "C", size=cell.size, owner="GapCoupled", positive=True)
        if matrix and (self.g.shape != (count, count) or not (is_traced(self.g) or np.allclose(self.g, self.g.T))):
            raise ValueError(
                f"{argument('GapCoupled', 'g')} must be a scalar or a symmetric matrix of shape {(count, count)}, as "
                f"gap junctions conduct both ways; got one of shape {self.g.shape}. Give `(g + g.T) / 2`."
            )

    @property
    def size(self) -> Shape:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The shape of the population."""
        return self.cell.size

    @property
    def I_unit(self) -> Unit:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The unit of current of the neurons."""
        return self.cell.I_unit

    @property
    def state_type(self) -> type[Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The type of the state, that of the neurons."""
        return self.cell.state_type

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> Any:
        """Makes the state at the start: that of the neurons."""
        return self.cell.init_state(batch_shape, key)

    def step(
        self, state: Any, current: QuantityLike | Drive, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[Any, Float[Array, " *state"]]:
        """Moves time forward by one step; see `AbstractNeuron.step`."""
        del key
        drive = as_drive(current, self.cell, state.V, "GapCoupled")
        return step_to_grid(_Coupled(self.cell, self), state, drive, as_milliseconds(dt, "GapCoupled.step"))

    def mixed(self, V: Float[Array, "*batch neurons"], dt: Any) -> Array:
        """`V` after `dt` of the coupling alone, of shape `(*batch, *size)`, exactly."""
        flat = V.reshape(*V.shape[: V.ndim - len(self.size)], -1)
        count = flat.shape[-1]
        g, C = (self.g + self.g.T) / 2, self.C
        if g.ndim == C.ndim == 0:
            mean = flat.mean(axis=-1, keepdims=True)
            flat = mean + (flat - mean) * jnp.exp(-dt * count * g / C)
        else:
            g = jnp.broadcast_to(g, (count, count))
            C = jnp.broadcast_to(C, self.size).reshape(-1)
            fractions = expm(dt * (g - jnp.diag(g.sum(axis=1))) / C[:, None], max_squarings=_SQUARINGS)
            # The charge that each pair exchanges per difference, the same both ways to the last digit.
            exchange = C[:, None] * fractions
            exchange = (exchange + exchange.T) / 2
            flat = flat + (flat @ exchange - flat * exchange.sum(axis=1)) / C
        return flat.reshape(V.shape).astype(V.dtype)


@dataclasses.dataclass(frozen=True)
class _Coupled:
    """A neuron for `step_to_grid` whose flow is that of `cell` between two halves of the coupling."""

    cell: Any
    population: GapCoupled

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cell, name)

    def flow(self, state: Any, drive: Drive, dt: Any, held: Array | None = None) -> Any:
        half = self._mix(state, dt / 2, held)
        return self._mix(self.cell.flow(half, drive, dt, held), dt / 2, held)

    def _mix(self, state: Any, dt: Any, held: Array | None) -> Any:
        V = self.population.mixed(state.V, dt)
        return state.with_(V=V if held is None else jnp.where(held, state.V, V))

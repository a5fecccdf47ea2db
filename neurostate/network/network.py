"""Populations, and the projections between them, as one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Key, QuantityLike, Shape, Size, as_shape
from .._drive import Drive, as_drive
from .._errors import UnitError
from .._parameters import as_milliseconds
from .._units import is_traced
from ..source._base import AbstractSource
from ._drives import flat, folded, summed
from ._monitor import Monitor
from ._select import Selector, parse
from .projection import Pathway, Projection, ProjectionState, as_pathway, converted


_MSG_INPUT: Final = (
    "`Network.step` got an input for {unknown}. An input is a dictionary of drives by the name of a population, one of "
    "{populations}, or of modulators by the name of a projection with plasticity, one of {projections}."
)


_MSG_BARE: Final = (
    "`Network.step` got one drive, but there are the populations {populations}. Give a dictionary: `{{name: drive}}`."
)


class NetworkState(eqx.Module):
    """The state of a network: that of each population, projection and input, by name."""

    populations: dict[str, Any]
    projections: dict[str, ProjectionState]
    inputs: dict[str, tuple[Any, ...]]


class Network(eqx.Module):
    r"""Populations of neurons with projections between them: one model with one state and one step.

    In a step, all populations move on by `dt` together, driven by what the state of the projections says at its
    start, and by the inputs. Then their spikes go through the projections. So a spike acts from the next step on.

    **Arguments:**

    - `populations`: Neurons, and sources of spikes such as [`neurostate.PoissonSpike`][], by name.
    - `projections`: [`neurostate.Projection`][]s by name.
    - `inputs`: Sources, or a list of them, by the name of the population on which they act, such as
        [`neurostate.PoissonInput`][] or [`neurostate.OUProcess`][]. The unit of a source tells as what: a voltage as a
        jump, otherwise a current. Or a constant current, a number or a `Quantity`. What is to go through a synapse is a
        population of its own instead, such as a `PoissonInput` without unit, with a projection.
    - `dt`: The time step for which delays that are times are made. The step of the network must then be given the
        same.
    - `outputs`: The names of the populations whose spikes are the output of a step. By default all.

    **Raises:** `ValueError`, `TypeError` or `UnitError` that names the population or projection: for unknown names,
    sizes that do not fit, a wrong unit, a delay that is negative, a connection without synapses.

    >>> import brainunit as u, jax, neurostate as ns
    >>> key = jax.random.key(0)
    >>> edges = ns.connect.fixed_probability(100, 100, 0.1, key=key)
    >>> net = ns.Network(
    ...     {"E": ns.LIF(100, tau=20 * u.ms, V_th=10 * u.mV, R=1 * u.ohm)},
    ...     {"EE": ns.Projection("E", "E", ns.connect.EventSparse(edges, 0.1 * u.mV), delay=1.5 * u.ms)},
    ...     inputs={"E": 12 * u.mA},
    ...     dt=0.1 * u.ms,
    ... )
    >>> sol = ns.simulate(net, 1000, dt=0.1 * u.ms)
    >>> sol.outputs["E"].shape
    (1000, 100)
    """

    populations: dict[str, Any]
    projections: dict[str, Pathway]
    inputs: dict[str, tuple[Any, ...]]
    outputs: tuple[str, ...] = eqx.field(static=True)
    dt: float | None = eqx.field(static=True)

    state_type: ClassVar[type[NetworkState]] = NetworkState

    def __init__(
        self,
        populations: Mapping[str, Any],
        projections: Mapping[str, Projection] | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        dt: QuantityLike = None,
        outputs: tuple[str, ...] | None = None,
    ):
        self.dt = None if dt is None else float(as_milliseconds(dt, "Network"))
        self.populations = dict(populations)
        if not self.populations:
            raise ValueError("`Network` needs at least one population.")
        for name, cell in self.populations.items():
            if parse(name, "The name of a population").name != name or not isinstance(cell, eqx.Module):
                raise TypeError(f"The population {name!r} must be a cell, by a plain name; got {cell!r:.60}.")
        projections = {} if projections is None else dict(projections)
        twice = [name for name in projections if name in self.populations]
        if twice:
            raise ValueError(f"The projections of `Network` need other names than its populations, got {twice} twice.")
        self.projections = {
            name: as_pathway(projection, name, self.populations, self.dt) for name, projection in projections.items()
        }
        self.inputs = {
            name: tuple(self._as_input(name, x) for x in (given if isinstance(given, list | tuple) else [given]))
            for name, given in (inputs or {}).items()
        }
        self.outputs = tuple(self.populations) if outputs is None else tuple(outputs)
        for name in self.outputs:
            self._population(name, "outputs")

    def _population(self, name: str, role: str) -> Any:
        if name not in self.populations:
            raise ValueError(f"The `{role}` of `Network` name {name!r}; its populations are {list(self.populations)}.")
        return self.populations[name]

    def _as_input(self, name: str, given: Any) -> Any:
        cell = self._population(name, "inputs")
        if isinstance(cell, AbstractSource):
            raise ValueError(f"The population {name!r} is a source, on which no input can act.")
        if not isinstance(given, AbstractSource):
            like = jax.ShapeDtypeStruct(tuple(cell.size), jnp.result_type(float))
            return as_drive(given, cell, like, f"the input of {name!r}")  # pyright: ignore[reportArgumentType]
        unit, voltage = given.out_unit, cell.state_unit("V")
        if unit is None:
            return given
        for needed in (cell.I_unit, voltage):
            if needed is not None and unit.dim == needed.dim:
                return given if unit == needed else converted(given, needed)
        raise UnitError(
            f"The input of {name!r} has the unit {unit}, but a current in {cell.I_unit} or a voltage is needed."
        )

    @property
    def in_size(self) -> dict[str, Shape]:
        """The sizes of the populations that can be given an input."""
        return {name: tuple(cell.in_size) for name, cell in self.populations.items()}

    @property
    def out_size(self) -> dict[str, Shape]:
        """The sizes of the outputs."""
        return {name: tuple(self.populations[name].out_size) for name in self.outputs}

    def field_unit(self, name: str) -> None:
        """No unit: the parts of a network have theirs."""

    def state_unit(self, name: str) -> None:
        """No unit: the parts of a network have theirs."""

    @property
    def stochastic(self) -> bool:
        """Whether a step needs a key."""
        cells = (*self.populations.values(), *(source for sources in self.inputs.values() for source in sources))
        return any(getattr(cell, "stochastic", False) for cell in cells)

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> NetworkState:
        """Makes the state at the start; each population and projection draws from a key of its own."""
        batch_shape = as_shape(batch_shape)
        keys = [folded(key, k) for k in range(len(self.populations) + len(self.projections) + len(self.inputs))][::-1]
        return NetworkState(
            populations={n: cell.init_state(batch_shape, key=keys.pop()) for n, cell in self.populations.items()},
            projections={n: path.init_state(batch_shape, keys.pop()) for n, path in self.projections.items()},
            inputs={n: self._init_inputs(sources, batch_shape, keys.pop()) for n, sources in self.inputs.items()},
        )

    def _init_inputs(self, sources: tuple[Any, ...], batch_shape: Shape, key: Key | None) -> tuple[Any, ...]:
        return tuple(
            None if isinstance(source, Drive) else source.init_state(batch_shape, key=folded(key, k))
            for k, source in enumerate(sources)
        )

    def step(
        self, state: NetworkState, input: Any = None, /, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[NetworkState, dict[str, Array]]:
        """Moves time forward by one step. Pure.

        **Arguments:**

        - `state`: The state before the step.
        - `input`: Drives by the name of a population; for a projection whose plasticity takes one, a modulator by its
            name. With one population, its drive alone will do.
        - `dt`: The time step: a number in ms or a `Quantity`.
        - `key`: A random key, if there are sources or neurons that draw.

        **Returns:** The state after the step, and the spikes of the populations of `outputs`, by name.

        **Raises:** `ValueError` for an unknown name, or another `dt` than that of the delays; and as the steps of the
        populations.
        """
        state, spikes = self.advance(state, input, dt=as_milliseconds(dt, "Network.step"), key=key)
        return state, {name: spikes[name] for name in self.outputs}

    def advance(
        self, state: NetworkState, input: Any, *, dt: Any, spiked: Mapping[str, Array] = {}, key: Key | None = None
    ) -> tuple[NetworkState, dict[str, Array]]:
        """The step, for `dt` in ms, with the spikes of all populations; `spiked` has those of `state` that are known.

        See `AbstractNeuron.advance`.
        """
        if self.dt is not None and not is_traced(dt) and abs(float(dt) - self.dt) > 1e-6 * self.dt:
            raise ValueError(
                f"`Network.step` got dt={float(dt)} ms, but the delays of the network were made for dt={self.dt} ms. "
                f"Make it again with `Network(..., dt={float(dt)} * u.ms)`."
            )
        given = self._as_given(input)
        keys = self._keys(key)
        V = {name: getattr(at, "V", None) for name, at in state.populations.items()}
        drives: dict[str, list[Drive]] = {name: [] for name in self.populations}
        for name, path in self.projections.items():
            drives[path.post].append(path.drive(state.projections[name], V[path.post]))
        inputs = {}
        for name, sources in self.inputs.items():
            moved = [
                self._from_input(source, at, dt, folded(keys[f"{name} input"], k), name)
                for k, (source, at) in enumerate(zip(sources, state.inputs[name], strict=True))
            ]
            inputs[name] = tuple(at for at, _ in moved)
            drives[name] += [drive for _, drive in moved]
        populations, spikes = {}, {}
        for name, cell in self.populations.items():
            drive = given.get(name)
            if not isinstance(cell, AbstractSource):
                if drive is not None:
                    drives[name].append(as_drive(drive, cell, state.populations[name].V, f"Network of {name!r}"))
                drive = summed(drives[name], V[name])
            neurons: Any = cell
            at = state.populations[name]
            if name in spiked:
                populations[name], spikes[name] = neurons.advance(at, drive, dt=dt, spiked=spiked[name])
            else:
                populations[name], spikes[name] = cell.step(at, drive, dt=dt, key=keys[name])
        flats = {n: flat(spike, tuple(self.populations[n].out_size)) for n, spike in spikes.items()}
        projections = {}
        for name, path in self.projections.items():
            sent = flats[path.pre.name] if path.pre.index is None else flats[path.pre.name][..., path.pre.index]
            at = state.projections[name]
            projections[name] = path.step(at, sent, flats[path.post], dt, given.get(name))
        return NetworkState(populations, projections, inputs), spikes

    def monitor(self, *names: str, dt: float | None = None) -> Monitor:
        """What `simulate` records by these selectors: a function of the state and the output after a step.

        **Raises:** `ValueError` for what the network does not have, naming what it has.
        """
        selectors = tuple((text, *self._selected(text)) for text in names)
        if dt is None and any(selector.path == ("rate",) for _, selector, _ in selectors):
            raise ValueError("A rate needs the time step, as a number in ms: `network.monitor(..., dt=0.1)`.")
        return Monitor(selectors, dt)

    def _selected(self, text: str) -> tuple[Selector, Shape]:
        selector = parse(text, "A record of a network")
        state = jax.eval_shape(lambda: self.init_state(key=jax.random.key(0)))
        if selector.path in (("spike",), ("rate",)):
            if selector.name not in self.outputs:
                raise ValueError(f"The record {text!r} needs {selector.name!r} in `outputs`, which are {self.outputs}.")
            return selector, tuple(self.populations[selector.name].out_size)
        value: Any = state.populations.get(selector.name, state.projections.get(selector.name))
        if value is None:
            names = (*self.populations, *self.projections)
            raise ValueError(f"The record {text!r} names {selector.name!r}; the network has {list(names)}.")
        for part in selector.path:
            names = [name for name, x in vars(value).items() if x is not None]
            if part not in names:
                raise ValueError(f"The record {text!r} names the variable {part!r}; there are {names}.")
            value = getattr(value, part)
        if not isinstance(value, jax.ShapeDtypeStruct):
            names = [name for name, x in vars(value).items() if x is not None]
            raise ValueError(f"The record {text!r} is not one variable; say which one of {names}.")
        return selector, value.shape

    def _as_given(self, input: Any) -> dict[str, Any]:
        if input is None:
            return {}
        if not isinstance(input, Mapping):
            if len(self.populations) > 1:
                raise ValueError(_MSG_BARE.format(populations=list(self.populations)))
            return dict.fromkeys(self.populations, input)
        learning = [name for name, path in self.projections.items() if path.plasticity is not None]
        unknown = [name for name in input if name not in self.populations and name not in learning]
        if unknown:
            names = list(self.populations)
            raise ValueError(_MSG_INPUT.format(unknown=unknown, populations=names, projections=learning))
        return dict(input)

    def _keys(self, key: Key | None) -> dict[str, Key | None]:
        names = (*self.populations, *(f"{name} input" for name in self.inputs))
        return {name: None if key is None else jax.random.fold_in(key, k) for k, name in enumerate(names)}

    def _from_input(self, source: Any, state: Any, dt: Any, key: Key | None, name: str) -> tuple[Any, Drive]:
        if isinstance(source, Drive):
            return state, source
        state, value = source.step(state, dt=dt, key=key)
        voltage = self.populations[name].state_unit("V")
        as_jump = voltage is not None and source.out_unit == voltage
        return state, Drive(jump=value) if as_jump else Drive(current=value)

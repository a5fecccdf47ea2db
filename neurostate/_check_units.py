"""`check_units`: a proof that the formulas of a cell are dimensionally right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._cell import AbstractCell
from ._drive import Drive
from ._errors import UnitError
from ._units import DIMENSIONS, Dimension, Unit, family_unit, field_dimension, join_quantity, mA, ms, mV, split_quantity
from .neuron._base import AbstractNeuron, AbstractODENeuron
from .neuron.gap_coupled import GapCoupled
from .neuron.li import LI
from .neuron.two_compartment import TwoCompartment, _TwoDrives
from .synapse import AbstractOutput, AbstractSynapse


# The name of a formula, what it gives, by name, and in which unit that must be.
Formula: TypeAlias = tuple[str, Callable[[], dict[str, Any]], dict[str, Any]]

# By how much values change when the unit of time, of voltage or of current does. Powers of 4, so that all is exact.
_FACTORS: Final = {"time": 4.0, "voltage": 16.0, "current": 64.0}
_BATCH: Final = 16


def check_units(cell: AbstractCell[Any] | AbstractOutput) -> None:
    """Runs the formulas of a cell once with units, and checks the dimensions of all results.

    Neurons, synapses and their outputs run abstractly, on `Quantity`s: parameters and state are given with their units.
    The derivative of each variable of a neuron must have the unit of that per ms, its distance to the threshold and the
    probability of a spike none; a reset, and the flow and arrivals of a synapse, must keep the units; and an output
    must have the unit that it is declared to have. Nothing is computed.

    Any other cell - a source, a readout, one of your own whose `step` takes numbers and gives what is in its `out_unit`
    - takes a step in four systems of units, with parameters and a state that are drawn, and the same random numbers:
    only a formula that is dimensionally right gives the same quantities in all of them. The same is asked of what
    `GapCoupled` adds to its neurons.

    **Arguments:**

    - `cell`: A cell of the core, an output of a synapse, or one of your own that derives from these.

    **Raises:** `UnitError` that names the formula, the variable, the unit that it has and the unit that it needs.

    >>> import neurostate as ns
    >>> ns.check_units(ns.AdExIF(3))
    >>> ns.check_units(ns.MgBlock())
    """
    if isinstance(cell, AbstractNeuron | LI | AbstractSynapse | AbstractOutput):
        jax.eval_shape(lambda: _check(cell))
    elif isinstance(cell, GapCoupled):
        check_units(cell.cell)
        _check_in_other_units(cell, "mixed", lambda cell, state, dt: {"V": cell.mixed(state.V, dt)})
    elif isinstance(cell, AbstractCell):
        _check_in_other_units(cell, "step", _step)
        starts = [value for name, value in vars(cell).items() if name.endswith("_initializer")]
        if all(value is None or eqx.is_array(value) for value in starts):
            _check_in_other_units(cell, "init_state", _start)
    else:
        raise TypeError(
            f"`check_units` needs a cell such as a neuron, a synapse, a source or a readout, or the output of a "
            f"synapse, got {cell!r:.60} of type {type(cell).__name__}."
        )


# On Quantities


def _check(cell: Any) -> None:
    is_neuron, is_output = isinstance(cell, AbstractNeuron | LI), isinstance(cell, AbstractOutput)
    formulas: Callable[[Any], Iterator[Formula]]
    formulas = _of_neuron if is_neuron else _of_output if is_output else _of_synapse
    for method, run, needed in formulas(cell):
        where = f"{type(cell).__name__}.{method}"
        results = _run(where, run)
        for name, unit in needed.items():
            _compare(where, name, results[name], unit)


def _of_neuron(cell: AbstractNeuron[Any] | LI) -> Iterator[Formula]:
    names = ("V",) if isinstance(cell, LI) else cell.variables()
    checked, state = _with_units(cell, cell.I_unit), _with_units(cell.init_state(), cell.I_unit)
    units = {name: cell.state_unit(name) for name in names}
    V, dt = units["V"], join_quantity(jnp.ones(()), ms)
    conductance = family_unit("conductance", cell.I_unit) if V is not None else cell.I_unit
    current, g, E = (join_quantity(jnp.ones(cell.size), unit) for unit in (cell.I_unit, conductance, V))
    drive = Drive(current=current, g=g, E=E)
    if isinstance(cell, TwoCompartment):
        drive = _TwoDrives(**vars(drive), dendrite=drive)
    if isinstance(checked, AbstractODENeuron | LI):
        slopes = {f"d{name}/dt": ms**-1 if unit is None else unit / ms for name, unit in units.items()}
        yield "derivative", lambda: _values(checked.derivative(state, drive), names, "d{}/dt"), slopes
    else:
        yield "flow", lambda: _values(checked.flow(state, drive, dt), names), units
    if isinstance(checked, LI):
        return
    yield "distance", lambda: {"the distance": checked.distance(state)}, {"the distance": None}
    yield "reset", lambda: _values(checked.reset(state, jnp.ones(cell.size)), names), units
    if getattr(checked, "stochastic", False):
        probability = lambda: {"the probability": getattr(checked, "escape_probability")(state, dt)}  # noqa: E731
        yield "escape_probability", probability, {"the probability": None}


def _of_synapse(cell: AbstractSynapse[Any]) -> Iterator[Formula]:
    checked, state = _with_units(cell, cell.I_unit), _with_units(cell.init_state(), cell.I_unit)
    units = {name: cell.state_unit(name) for name in vars(state)}
    x = join_quantity(jnp.ones(cell.size), cell.out_unit)
    yield "flow", lambda: _values(checked.flow(state, join_quantity(jnp.ones(()), ms)), units), units

    def arrive() -> dict[str, Any]:
        after, output = checked.arrive(state, x)
        return {**_values(after, units), "the output": output}

    yield "arrive", arrive, {**units, "the output": cell.out_unit}


def _of_output(cell: AbstractOutput) -> Iterator[Formula]:
    checked, current = _with_units(cell, mA), "the current"
    g, V = (join_quantity(jnp.ones(()), unit) for unit in (family_unit("conductance", mA), mV))
    yield "__call__", lambda: {current: checked(g, V)}, {current: mA}
    yield "drive", lambda: {current: checked.drive(g, V).total(V)}, {current: mA}


def _values(state: Any, names: Any, form: str = "{}") -> dict[str, Any]:
    return {form.format(name): getattr(state, name) for name in names}


def _with_units(obj: Any, I_unit: Unit) -> Any:
    """A copy of a cell or of its state whose arrays are `Quantity`s."""

    def of(value: Any, dimension: Dimension | None) -> Any:
        return join_quantity(value, family_unit(dimension, I_unit)) if eqx.is_array(value) else value

    return _changed(obj, of)


def _changed(obj: Any, change: Callable[[Any, Dimension | None], Any]) -> Any:
    """A copy of a module in which each field is changed according to its dimension, without its constructor."""
    copy = object.__new__(type(obj))
    dimensions = {field.name: field.metadata.get("dimension") for field in dataclasses.fields(obj)}
    for name, value in vars(obj).items():
        object.__setattr__(copy, name, change(value, dimensions[name]))
    return copy


def _run(where: str, formula: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return formula()
    except Exception as error:
        if "unit" not in f"{type(error).__name__} {error}".lower():
            raise
        raise UnitError(f"`{where}` combines values of different dimensions: {error}") from error


def _compare(where: str, name: str, value: Any, needed: Unit | None) -> None:
    given = split_quantity(value)[1]
    given = None if given is None or given.dim.is_dimensionless else given
    if (given is None) != (needed is None) or (given is not None and needed is not None and given.dim != needed.dim):
        raise UnitError(
            f"`{where}` gives {name} {'without a unit' if given is None else f'in {given}'}, but it needs "
            f"{'none' if needed is None else f'a unit like {needed}'}."
        )


# In several systems of units


def _step(cell: Any, state: Any, dt: float) -> dict[str, Any]:
    x = jnp.ones((_BATCH, *cell.in_size))
    new, output = cell.step(state, x, dt=dt, key=jax.random.key(0))
    return {**vars(new), "the output": output}


def _start(cell: Any, state: Any, dt: float) -> dict[str, Any]:
    del state, dt
    return vars(cell.init_state((_BATCH,), jax.random.key(0)))


def _check_in_other_units(cell: Any, method: str, run: Callable[[Any, Any, float], dict[str, Any]]) -> None:
    rng = np.random.default_rng(0)

    def draw(value: Any, dimension: Dimension | None) -> Any:
        return (
            value if dimension is None or not eqx.is_array(value) else jnp.asarray(rng.uniform(0.5, 1.5, value.shape))
        )

    cell, state = _changed(cell, draw), _changed(cell.init_state((_BATCH,), jax.random.key(0)), draw)
    expected = run(cell, state, 1.0)
    dimensions = {name: field_dimension(cell.state_type, name) for name in vars(state)}
    units = {name: cell.state_unit(name) for name in dimensions}
    if "the output" in expected:
        dimensions["the output"] = "current" if hasattr(cell, "out_unit") else None
        units["the output"] = getattr(cell, "out_unit", None)
    # A number in place of a current does not change.
    for base in list(_FACTORS)[: 2 if cell.I_unit.dim.is_dimensionless else 3]:

        def convert(value: Any, dimension: Dimension | None, base: str = base) -> Any:
            if dimension is None:
                return value
            scaled = lambda x: x * _factor(base, dimension) if isinstance(x, float | jax.Array) else x  # noqa: E731
            return jax.tree.map(scaled, value)

        found = run(_changed(cell, convert), _changed(state, convert), _factor(base, "time"))
        for name, value in expected.items():
            if not np.allclose(found[name], value * _factor(base, dimensions[name]), rtol=1e-4, atol=0.0):
                needed = "none" if units[name] is None else f"a unit like {units[name]}"
                raise UnitError(
                    f"`{type(cell).__name__}.{method}` gives {name} in a wrong unit: it needs {needed}, but it changes "
                    f"in another way with the unit of {base}."
                )


def _factor(base: str, dimension: Dimension | None) -> float:
    """By how much a value of that dimension changes with the unit of `base`."""
    exponents = DIMENSIONS[dimension] if isinstance(dimension, str) else dimension
    return 1.0 if exponents is None else _FACTORS[base] ** exponents[[*_FACTORS].index(base)]

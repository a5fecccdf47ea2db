"""`check_units`: a proof that the formulas of a cell are dimensionally right."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ._custom_types import Array
from ._drive import Drive
from ._errors import UnitError
from ._units import family_unit, join_quantity, ms, split_quantity
from .neuron._base import AbstractNeuron, AbstractODENeuron
from .neuron.li import LI


def check_units(cell: AbstractNeuron[Any] | LI) -> None:
    """Runs the formulas of a neuron once, abstractly, on `Quantity`s, and checks the dimensions of all results.

    The parameters and the state are given with their units; the derivative of each variable must have the unit of that
    per ms, the distance to the threshold none, and a reset must keep the units. Nothing is computed.

    **Arguments:**

    - `cell`: A neuron of the core, or one of your own that derives from `AbstractODENeuron` or `AbstractNeuron`.

    **Raises:** `UnitError` that names the formula, the variable, the unit that it has and the unit that it needs.

    >>> import neurostate as ns
    >>> ns.check_units(ns.AdExIF(3))
    """
    if not isinstance(cell, AbstractNeuron | LI):
        raise TypeError(f"`check_units` needs a neuron, got {cell!r:.60} of type {type(cell).__name__}.")
    jax.eval_shape(lambda: _check(cell))


def _check(cell: AbstractNeuron[Any] | LI) -> Array:
    owner, names = type(cell).__name__, [name for name, value in vars(cell.init_state()).items() if value is not None]
    names = [name for name in names if name not in ("refractory", "since_spike")]
    checked, state = _with_units(cell, cell), _with_units(cell.init_state(), cell)
    one = lambda dimension: join_quantity(jnp.ones(cell.size), family_unit(dimension, cell.I_unit))  # noqa: E731
    unit = cell.state_unit("V")
    conductance = family_unit("conductance", cell.I_unit) if unit is not None else cell.I_unit
    E = join_quantity(jnp.ones(cell.size), unit)
    drive = Drive(current=one("current"), g=join_quantity(jnp.ones(cell.size), conductance), E=E)
    if isinstance(checked, AbstractODENeuron | LI):
        slopes = _run(f"{owner}.derivative", lambda: checked.derivative(state, drive))
        for name in names:
            needed = _over_time(cell.state_unit(name))
            _compare(f"{owner}.derivative", f"d{name}/dt", getattr(slopes, name), needed)
    else:
        dt = join_quantity(jnp.ones(()), ms)
        after = _run(f"{owner}.flow", lambda: checked.flow(state, drive, dt))
        for name in names:
            _compare(f"{owner}.flow", name, getattr(after, name), cell.state_unit(name))
    if isinstance(checked, LI):
        return jnp.zeros(())
    _compare(f"{owner}.distance", "the distance", _run(f"{owner}.distance", lambda: checked.distance(state)), None)
    after = _run(f"{owner}.reset", lambda: checked.reset(state, jnp.ones(cell.size)))
    for name in names:
        _compare(f"{owner}.reset", name, getattr(after, name), cell.state_unit(name))
    return jnp.zeros(())


def _with_units(obj: Any, cell: AbstractNeuron[Any] | LI) -> Any:
    """A copy of a cell or of its state whose arrays are `Quantity`s."""
    copy = object.__new__(type(obj))
    for field in dataclasses.fields(obj):
        value, dimension = getattr(obj, field.name), field.metadata.get("dimension")
        unit = family_unit(dimension, cell.I_unit)
        object.__setattr__(copy, field.name, join_quantity(value, unit) if eqx.is_array(value) else value)
    return copy


def _over_time(unit: Any) -> Any:
    return ms**-1 if unit is None else unit / ms


def _run(where: str, formula: Any) -> Any:
    try:
        return formula()
    except Exception as error:
        if "unit" not in f"{type(error).__name__} {error}".lower():
            raise
        raise UnitError(f"`{where}` combines values of different dimensions: {error}") from error


def _compare(where: str, name: str, value: Any, needed: Any) -> None:
    given = split_quantity(value)[1]
    given = None if given is None or given.dim.is_dimensionless else given
    if (given is None) != (needed is None) or (given is not None and given.dim != needed.dim):
        raise UnitError(
            f"`{where}` gives {name} {'without a unit' if given is None else f'in {given}'}, but it needs "
            f"{'none' if needed is None else f'a unit like {needed}'}."
        )

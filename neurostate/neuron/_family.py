"""The units of a neuron whose quantities are known by name only: which family of units they belong to."""

from __future__ import annotations

import functools
import itertools
from typing import Any, Final, cast

import jax

from .._custom_types import Shape
from .._errors import UnitError
from .._units import (
    Exponents,
    Unit,
    current_unit,
    join_quantity,
    ms,
    mV,
    nA,
    split_quantity,
    uA_per_cm2,
    unitless,
)
from ..init import param


# Currents and current densities.
_FAMILIES: Final = (nA, cast(Unit, uA_per_cm2))


def unit_of(value: Any, size: Shape) -> Unit | None:
    """The unit of a value, or of what an initialiser makes; `None` without dimension."""
    found = [split_quantity(value)[1]]
    if callable(value) or isinstance(value, list | tuple):
        draw = lambda: found.append(split_quantity(param(value, size, key=jax.random.key(0)))[1])  # noqa: E731
        jax.eval_shape(draw)
    unit = found[-1]
    return None if unit is None or unit.dim.is_dimensionless else unit


def unit_of_current(units: dict[str, Unit | None], I_unit: Unit | None) -> Unit:
    """The unit of current: the one given, else what the first unit that involves a current asks for."""
    if I_unit is not None:
        return current_unit("ODENeuron", nA, I_unit, alternatives=(I_unit,))
    default = unitless if units["V"] is None else nA
    given: dict[str, tuple[Any, Exponents]] = {}
    for name, unit in units.items():
        for family in _FAMILIES:
            powers = _search(unit, family) if unit is not None else None
            if powers is not None and abs(powers[2]) == 1:
                given[name] = (join_quantity(1.0, unit), powers)
    return current_unit("ODENeuron", default, None, alternatives=_FAMILIES, **given)


def exponents(unit: Unit | None, I_unit: Unit, name: str) -> Exponents | None:
    """The unit as a product of powers of ms, mV and the unit of current."""
    if unit is None:
        return None
    found = _search(unit, I_unit)
    if found is None:
        raise UnitError(
            f"`{name}` of `ODENeuron` has the unit {unit}, which is no product of powers of a time, a voltage and the "
            f"unit of current, {I_unit}. Give `I_unit` if that is wrong, or `{name}` as a plain number."
        )
    return found


@functools.lru_cache(maxsize=1024)
def _search(unit: Unit, I_unit: Unit) -> Exponents | None:
    powers = range(-3, 4)
    # The simplest first, those without a current before all others.
    candidates = sorted(itertools.product(powers, powers, powers), key=lambda e: (e[2] != 0, sum(map(abs, e))))
    same = (e for e in candidates if (ms ** e[0] * mV ** e[1] * I_unit ** e[2]).dim == unit.dim)
    return next(same, None)

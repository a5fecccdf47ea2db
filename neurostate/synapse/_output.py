"""What turns a conductance into what acts on a neuron."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._custom_types import Array, QuantityLike
from .._drive import Drive
from .._parameters import parameter
from .._units import Unit, format_with_units, is_quantity, mV, split_quantity, to_plain


class AbstractOutput(eqx.Module):
    """A function of the conductance and of the potential of the neuron that it acts on."""

    @abc.abstractmethod
    def __call__(self, g: QuantityLike, V: QuantityLike) -> Any:
        """The current into the neuron.

        **Arguments:**

        - `g`: The conductance: a number or an array, or a `Quantity`.
        - `V`: The potential: a number or an array in mV, or a `Quantity`.

        **Returns:** The current: in the unit of `g` times mV, which is the neuron's `I_unit` if `g` is in its unit of
        conductance; a `Quantity` if `g` is one.

        **Raises:** `UnitError` if `V` is not a voltage.
        """

    @abc.abstractmethod
    def drive(self, g: QuantityLike, V: QuantityLike) -> Drive:
        """The same as the input of a neuron's step. Takes the arguments of a call."""

    def potential(self, V: QuantityLike) -> Any:
        """`V` as the formulas take it: plain, in mV; with its unit while `check_units` looks at them."""
        checked = any(map(is_quantity, jax.tree.leaves(self, is_leaf=is_quantity)))
        return V if checked else to_plain(V, mV, "V", type(self).__name__)

    def __repr__(self) -> str:
        return format_with_units(self)


def constant(value: QuantityLike, unit: Unit | None, name: str, owner: str, *, positive: bool = False) -> Array:
    """An argument of a constructor as a plain array, of any shape."""
    shape = np.shape(split_quantity(value)[0])
    return parameter(value, unit, name, size=shape, owner=owner, positive=positive)


def times_millivolts(g: QuantityLike, voltage: Any) -> Any:
    """A conductance times a plain voltage in mV: plain if the conductance is, else a `Quantity`."""
    mantissa, unit = split_quantity(g)
    return g * voltage if unit is None or is_quantity(voltage) else mantissa * voltage * (unit * mV)

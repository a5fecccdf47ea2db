"""The fields of a neuron, and its constructor: arguments in, checked plain arrays out."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax
import numpy as np

from .._custom_types import Array, Key, QuantityLike, Shape, Size, as_shape
from .._parameters import parameter
from .._units import (
    DIMENSIONS,
    Dimension,
    Unit,
    argument,
    as_float_array,
    current_unit,
    family_unit,
    is_quantity,
    is_traced,
    join_quantity,
    to_plain,
)
from ..init import Constant, Initialization, param
from ..integrate import as_integrator


def quantity_field(dimension: Dimension | None, *, positive: bool = False) -> Any:
    """A field for a parameter of that dimension: a scalar, or an array over the population."""
    return eqx.field(metadata={"dimension": dimension, "kind": "parameter", "positive": positive})


def initial_field(dimension: Dimension | None) -> Any:
    """A field for the value of a state at the start: a value of that dimension, or an initialiser."""
    return eqx.field(metadata={"dimension": dimension, "kind": "initial"})


def function_field() -> Any:
    """A field for a function, which may be a module with parameters."""
    return eqx.field()


def static_field() -> Any:
    """A field that is a setting, not an array."""
    return eqx.field(static=True)


def fill(cell: eqx.Module, given: dict[str, Any], I_unit: Unit, *, alternatives: tuple[Unit, ...] = ()) -> None:
    """Sets all fields of a new neuron from the arguments of its constructor, `given` by name.

    `I_unit` is the unit of current that the class has by default; that of the neuron is `given["I_unit"]`, or follows
    from the units in which its parameters were given.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` for a wrong shape, a value that is not positive where it
    must be, or an unknown setting; `TypeError` for what is not a number or a function.
    """
    owner = type(cell).__name__
    fields = {field.name: field for field in dataclasses.fields(cell)}
    set_ = lambda name, value: object.__setattr__(cell, name, value)  # noqa: E731
    size = as_shape(given["size"])
    kinds = {name: field.metadata.get("kind") for name, field in fields.items()}
    given = {name: drawn(value, size) if kinds.get(name) == "parameter" else value for name, value in given.items()}
    unit = current_unit(owner, I_unit, given["I_unit"], alternatives=alternatives, **_of_current(cell, given, fields))
    set_("size", size)
    set_("I_unit", unit)
    for name, field in fields.items():
        kind, dimension = kinds[name], field.metadata.get("dimension")
        if kind is None or name not in given:
            continue
        value, of_value = given[name], family_unit(dimension, unit)
        if value is None and inspect.signature(type(cell).__init__).parameters[name].default is None:
            set_(name, None)
        elif kind == "initial":
            set_(name, as_initial_value(value, of_value, name, size=size, owner=owner))
        else:
            positive = field.metadata["positive"]
            set_(name, parameter(value, of_value, name, size=size, owner=owner, positive=positive))
    if "spk_fun" in given:
        _fill_settings(cell, given, owner, set_)


def drawn(value: Any, size: Shape) -> Any:
    """The values that an initialiser makes for a population; anything else as it is."""
    return param(value, size) if isinstance(value, Initialization) else value


def _of_current(cell: Any, given: dict[str, Any], fields: dict[str, Any]) -> dict[str, tuple[Any, Dimension]]:
    """The arguments that involve a current and are not the defaults, with their dimensions."""
    defaults = inspect.signature(type(cell).__init__).parameters
    found: dict[str, tuple[Any, Dimension]] = {}
    for name, field in fields.items():
        dimension = field.metadata.get("dimension")
        exponents = DIMENSIONS[dimension] if isinstance(dimension, str) else dimension
        if name in given and exponents and exponents[2] and given[name] is not defaults[name].default:
            found[name] = (given[name], dimension)
    return found


def check_threshold(V_th: Array, V_reset: Array, owner: str) -> None:
    """Refuses a threshold that is not above the reset potential."""
    if not is_traced(V_th) and not is_traced(V_reset) and not np.all(np.greater(V_th, V_reset)):
        raise ValueError(
            f"{argument(owner, 'V_th')} must be above `V_reset` everywhere, got V_th={V_th!r} and V_reset={V_reset!r}. "
            "Did you set one of them, but leave the other at its default?"
        )


def _fill_settings(cell: Any, given: dict[str, Any], owner: str, set_: Callable[[str, Any], None]) -> None:
    set_("spk_fun", as_spike_function(given["spk_fun"], owner))
    resets = ("soft", "hard", None) if cell.has_reset else (None,)
    for name, allowed in (("spk_reset", resets), ("spike_time", ("grid", "interpolated"))):
        value = given.get(name, allowed[-1] if name == "spk_reset" else "grid")
        if value not in allowed:
            raise ValueError(f"{argument(owner, name)} must be one of {list(allowed)}, got {value!r}.")
        set_(name, value)
    set_("detach_reset", bool(given.get("detach_reset", False)))
    if "integrator" in given:
        set_("integrator", as_integrator(given["integrator"], owner))


class StaticFunction(eqx.Module):
    """A plain function as a part of a pytree without leaves, so that raw JAX transforms accept the whole."""

    function: Callable[..., Any] = eqx.field(static=True)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", None) or repr(self.function)


def as_spike_function(spk_fun: Callable[[Array], Array], owner: str) -> Callable[[Array], Array]:
    """Keeps a spike function that is a module, with its parameters; wraps any other callable."""
    if isinstance(spk_fun, eqx.Module) and callable(spk_fun):
        return spk_fun
    if not callable(spk_fun):
        needed = "a function such as `surrogate.ReluGrad()`"
        raise TypeError(f"{argument(owner, 'spk_fun')} must be {needed}, got {spk_fun!r}.")
    return StaticFunction(spk_fun)


def as_initial_value(
    value: QuantityLike | Callable[..., Any], unit: Unit | None, name: str, *, size: Shape, owner: str
) -> Array | Callable[..., Any]:
    """What a cell keeps for an initial value: a plain array that can be trained, or an initialiser.

    The number in a `Constant` becomes an array, because a Python number in a pytree is never trained.
    """
    if isinstance(value, Constant):
        inner = parameter(join_quantity(value.value, value.unit), unit, name, size=size, owner=owner)
        return Constant(join_quantity(inner, unit))
    if is_quantity(value) or not callable(value):
        return parameter(value, unit, name, size=size, owner=owner)
    return cast(Callable[..., Any], value) if isinstance(value, eqx.Module) else StaticFunction(value)


def initial_array(
    value: Array | Callable[..., Any],
    unit: Unit | None,
    name: str,
    *,
    size: Shape,
    batch_shape: Size,
    key: Key | None,
    owner: str,
) -> Array:
    """Makes a state array of shape `(*batch_shape, *size)` from what `as_initial_value` kept."""
    value = value.function if isinstance(value, StaticFunction) else value
    made = param(value, size, as_shape(batch_shape), key=key)
    return as_float_array(to_plain(made, unit, name, owner))


def initial_arrays(cell: Any, givers: dict[str, Any], batch_shape: Size, key: Key | None) -> dict[str, Array]:
    """The arrays of a state at the start, from the initialiser of each variable; each draws from a key of its own."""
    names = [name for name, giver in givers.items() if giver is not None]
    keys = [key] * len(names) if key is None or len(names) == 1 else list(jax.random.split(key, len(names)))
    options: dict[str, Any] = {"size": cell.size, "batch_shape": batch_shape, "owner": type(cell).__name__}
    return {
        name: initial_array(givers[name], cell.state_unit(name), f"{name}_initializer", key=each, **options)
        for name, each in zip(names, keys, strict=True)
    }

"""The inputs that others leave with a `Dynamics` for its next update.

They are the value of a reference, one for each of the two kinds, as pairs of key and input: arrays are
carried by the transforms like any state, functions are static. So an array that is left inside a
transform lives in that trace alone, is gone if it fails, and comes out of it as a value.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import brainunit as u
import jax.numpy as jnp

from ..._errors import TraceContextError, UnitError
from ..._units import is_quantity, split_quantity
from .._collector import STACK, path_of
from .._links import link
from .._ref import ShortTermState
from .._tracing import is_eager
from .._values import is_array
from ._module import Module


Kind = Literal["current_inputs", "delta_inputs"]

_MSG_FUNCTION: Final = (
    "The function {key!r} was added to {path} inside a transform, where it would be added again by each trace. "
    "Add functions outside, for example in `__init__`; inside, add the value: `f(...)` instead of `f`."
)
_MSG_UNITS: Final = (
    "The input {key!r} of {path} has {unit}, but is added to a value that has {total}. Give both the same dimension."
)


class Inputs:
    """Holds the two references out of sight of `Module.states`."""

    def __init__(self) -> None:
        for kind in ("current_inputs", "delta_inputs"):
            # Empty, so it may come into being in the middle of a trace without being of that trace.
            ref = ShortTermState()
            ref.__setstate__({"name": None, "tags": frozenset(), "value": ()})
            setattr(self, kind, ref)

    def __repr__(self) -> str:
        return repr([key for ref in self.__dict__.values() for key, _ in ref.peek()])


def table(module: Module, kind: Kind) -> ShortTermState:
    """The reference that holds a module's inputs of one kind."""
    if "_inputs" not in module.__dict__:
        module.__dict__["_inputs"] = Inputs()
    ref = getattr(module.__dict__["_inputs"], kind)
    link(module, kind, ref)
    return ref


def add(module: Module, kind: Kind, key: str, inp: Any, label: str | None) -> None:
    """Leaves an input: an array until it is summed, a function for good."""
    key, ref = key if label is None else f"{label} // {key}", table(module, kind)
    for name, other in ref.value:
        if name == key and other is not inp:
            raise ValueError(
                f"{path_of(ref)} has an input {key!r} already. Choose another key, or sum the inputs first."
            )
        if name == key:
            return
    if callable(inp):
        top = STACK.top
        if module._serial not in top.modules if top is not None else not is_eager():
            raise TraceContextError(_MSG_FUNCTION.format(key=key, path=path_of(ref)))
        if isinstance(inp, Module):
            setattr(module, kind, {**module.__dict__.get(kind, {}), key: inp})  # for its states to be found
    elif not (is_quantity(inp) or is_array(inp)):
        inp = jnp.asarray(inp)
    ref.value = (*ref.value, (key, inp))


def find(module: Module, key: str) -> Any:
    """The input of that key of either kind."""
    for kind in ("current_inputs", "delta_inputs"):
        for name, inp in table(module, kind).value:
            if name == key:
                return inp
    raise ValueError(f"{path_of(module)} has no input {key!r}. With a label, its key is 'label // key'.")


def total(
    module: Module, kind: Kind, init: Any, args: tuple[Any, ...], kwargs: dict[str, Any], label: str | None, pop: bool
) -> Any:
    """`init` plus the inputs of that kind and label; arrays among them are taken away."""
    ref = table(module, kind)
    chosen = [(key, inp) for key, inp in ref.value if label is None or key.startswith(f"{label} // ")]
    for key, inp in chosen:
        value = inp(*args, **kwargs) if callable(inp) else inp
        has, needs = split_quantity(value)[1], split_quantity(init)[1]
        if (u.UNITLESS if has is None else has).dim != (u.UNITLESS if needs is None else needs).dim:
            unit, other = ("no unit" if x is None else f"the unit {x}" for x in (has, needs))
            raise UnitError(_MSG_UNITS.format(key=key, path=path_of(ref), unit=unit, total=other))
        init = init + value
    used = {key for key, inp in chosen if pop and not callable(inp)}
    if used:
        ref.value = tuple((key, inp) for key, inp in ref.value if key not in used)
    return init

"""What acts on a neuron during one step: currents, conductances, and jumps of the voltage."""

from __future__ import annotations

from typing import Any, Final, Protocol

import equinox as eqx
import jax.numpy as jnp

from ._custom_types import Array, QuantityLike
from ._parameters import broadcasts
from ._units import Unit, argument, family_unit, is_quantity, to_plain


_MSG_SHAPE: Final = (
    "`{owner}.step` got a {name} of shape {given} for a state of shape {state}. It must broadcast to the state "
    "without enlarging it.\nFor a batch, make the state with the batch axes: `init_state(batch_shape=...)`."
)


class Driven(Protocol):
    """What a drive acts on."""

    @property
    def I_unit(self) -> Unit: ...

    def state_unit(self, name: str) -> Unit | None: ...


class Drive(eqx.Module):
    r"""What acts on a neuron during one step, as the second argument of its `step`.

    A bare array is the same as `Drive(current=array)`. The current that enters the equation of the neuron is

    $$I(V) = I_\text{current} + \sum_k g_k\,(E_k - V)$$

    so that a neuron whose equation is linear in `V` integrates constant conductances exactly too. At the end of the
    step, before it is asked whether the neuron spikes, `jump` is added to `V` (a delta synapse). A neuron in its
    refractory period ignores all of it.

    **Arguments:**

    - `current`: A number or an array in the neuron's `I_unit`, or a `Quantity`; it broadcasts to the state.
    - `g`, `E`: A conductance in `I_unit`/mV and its reversal potential in mV, or a tuple of conductances and a tuple of
      as many potentials.
    - `jump`: A voltage.
    - `g_jump`: What arriving spikes add to the variable `g` of a neuron that has a synapse, at the start of the step.

    >>> import brainunit as u, neurostate as ns
    >>> lif = ns.LIF(2)
    >>> drive = ns.Drive(current=1.0 * u.mA, g=0.5 * u.siemens, E=-2.0 * u.mV, jump=0.1 * u.mV)
    >>> state, spike = lif.step(lif.init_state(), drive, dt=0.1 * u.ms)
    """

    current: QuantityLike = None
    g: QuantityLike = None
    E: QuantityLike = None
    jump: QuantityLike = None
    g_jump: QuantityLike = None

    def __check_init__(self) -> None:
        if (self.g is None) != (self.E is None):
            raise ValueError("A `Drive` with conductances needs both `g` and `E`, got only one of them.")
        if len(_as_tuple(self.g)) != len(_as_tuple(self.E)):
            raise ValueError(
                f"A `Drive` needs one `E` for each `g`, got {len(_as_tuple(self.g))} conductances and "
                f"{len(_as_tuple(self.E))} potentials."
            )

    def conductance(self) -> Any:
        """The sum of the conductances, `None` without any."""
        terms = _as_tuple(self.g)
        return sum(terms[1:], terms[0]) if terms else None

    def total(self, V: Any) -> Any:
        """The current at the voltage `V`. All values must be plain, or all `Quantity`s."""
        terms = [] if self.current is None else [self.current]
        terms += [g * (E - V) for g, E in zip(_as_tuple(self.g), _as_tuple(self.E), strict=True)]
        return sum(terms[1:], terms[0]) if terms else 0.0 * V


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return () if x is None else tuple(x) if isinstance(x, tuple | list) else (x,)


def as_drive(given: QuantityLike | Drive, cell: Driven, like: Array, owner: str) -> Drive:
    """The second argument of a step as a `Drive` of plain arrays, of the dtype of the state array `like`.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` if a part does not broadcast to `like`; `TypeError` if
    it is not numeric.
    """
    drive = given if isinstance(given, Drive) else Drive(current=given)
    if not isinstance(given, Drive) and given is None:
        raise TypeError(f"{argument(f'{owner}.step', 'current')} must be a number or an array, got None.")
    V_unit = cell.state_unit("V")
    g_unit = family_unit("conductance", cell.I_unit) if V_unit is not None else None

    def plain(value: QuantityLike, unit: Unit | None, name: str) -> Any:
        if value is None:
            return None
        if isinstance(value, tuple | list) and name in ("g", "E"):
            return tuple(plain(item, unit, name) for item in value)
        value = to_plain(value, unit, name, f"{owner}.step")
        if isinstance(value, str | bytes) or is_quantity(value):
            raise TypeError(f"{argument(f'{owner}.step', name)} must be a number or an array, got {value!r}.")
        array = jnp.asarray(value, dtype=like.dtype)
        if not broadcasts(array.shape, like.shape):
            raise ValueError(_MSG_SHAPE.format(owner=owner, name=name, given=array.shape, state=like.shape))
        return array

    if drive.g_jump is not None and not hasattr(cell, "g_initializer"):
        raise TypeError(
            f"`{owner}` has no synaptic variable `g` that `g_jump` could be added to. Use `current` or `jump`."
        )
    current = plain(drive.current, cell.I_unit, "current")
    return Drive(
        # Of the shape of the state also where nothing else in an equation is.
        current=None if current is None else jnp.broadcast_to(current, like.shape),
        g=plain(drive.g, g_unit, "g"),
        E=plain(drive.E, V_unit, "E"),
        jump=plain(drive.jump, V_unit, "jump"),
        g_jump=None if drive.g_jump is None else plain(drive.g_jump, cell.state_unit("g"), "g_jump"),
    )

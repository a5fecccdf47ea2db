"""`Stateful`: any cell of the core with implicit state."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, cast

import equinox as eqx

from ..._units import join_quantity, to_plain
from .. import environ, random
from .._collector import STACK
from .._config import jit_is_disabled
from .._ref import HiddenState
from .._tracing import is_eager
from ..transform._jit import jit
from ._dynamics import Dynamics
from ._lift import fill, lift
from ._module import show


_compiled_steps: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


class Stateful(Dynamics):
    """A core cell whose state is kept in references.

    `cell = Stateful(ns.LIF(64))` has one `HiddenState` for each field of the cell's state, such as
    `cell.V`, made by `init_state`, and one `ParamState` for each of its inexact arrays, such as
    `cell.tau` or `cell.states(ns.ParamState)["V_initializer.value"]`. Values with a unit are
    Quantities. `spike = cell(current)` moves on by one step of `environ`'s `dt`, with the very
    operations of the core's `step`. A cell that draws random numbers gets a new key of `neurostate.random`
    on each step.

    **Arguments:**

    - `cell`: A core cell.
    - `name`: A name for messages.

    **Raises:** `StateNotInitialisedError` if it is called before `init_state`.

    >>> import brainunit as u, neurostate as ns
    >>> cell = ns.nn.init_all_states(ns.nn.Stateful(ns.LIF(2)))
    >>> with ns.environ.context(dt=0.1 * u.ms):
    ...     spike = cell(60.0 * u.mA)
    >>> print(spike, cell.V.value.shape, cell.V.value.unit)
    [1. 1.] (2,) mV
    """

    def __init__(self, cell: Any, name: str | None = None):
        if not (isinstance(cell, eqx.Module) and hasattr(cell, "init_state") and hasattr(cell, "step")):
            raise TypeError(
                f"`Stateful` needs a cell of the core, such as neurostate.LIF(10), got {cell!r:.60} "
                f"of type {type(cell).__name__}."
            )
        cell = cast(Any, cell)
        super().__init__((), name=name)
        self.in_size, self.out_size = cell.in_size, cell.out_size
        self._variables: tuple[str, ...] = ()
        self._tree = lift(self, cell, lambda name: cell.field_unit(name.partition(".")[0]))

    @property
    def cell(self) -> Any:
        """The core cell with the parameters of now, as plain arrays."""
        return fill(self, self._tree)

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Makes the states, or sets them back if they exist.

        **Arguments:**

        - `batch_size`: Adds a batch axis in front of the population.
        """
        del kwargs
        cell = self.cell
        state = cell.init_state(batch_shape=() if batch_size is None else (batch_size,))
        variables = tuple(name for name in state.__dataclass_fields__ if getattr(state, name) is not None)
        if variables != self._variables:
            self._variables = variables
        for name in variables:
            value = join_quantity(getattr(state, name), cell.state_unit(name))
            if name in self.__dict__:
                self.__dict__[name].value = value
            else:
                setattr(self, name, HiddenState(value))

    def reset_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Sets the states back; as `init_state`."""
        self.init_state(batch_size, **kwargs)

    def update(self, current: Any = None) -> Any:
        """One step: takes the drive, if the cell needs one, and gives the cell's output, with its unit if it has one.

        Outside of all transforms it is compiled.
        """
        if STACK.top is None and is_eager() and not jit_is_disabled():
            if self not in _compiled_steps:
                weak = weakref.ref(self)
                _compiled_steps[self] = jit(lambda current: cast(Stateful, weak())._step(current))
            return _compiled_steps[self](current)
        return self._step(current)

    def _step(self, current: Any) -> Any:
        # No step reads the initialisers: so they do not count as read.
        cell = fill(self, self._tree, lambda name: not name.partition(".")[0].endswith("_initializer"))
        state_type = cell.state_type
        names = self._variables or state_type.__dataclass_fields__  # before `init_state` the first one says what to do
        fields = {name: getattr(self, name).value for name in names}
        state = state_type(**{name: to_plain(value, cell.state_unit(name), name) for name, value in fields.items()})
        keyed = {"key": random.split_key()} if getattr(cell, "stochastic", False) else {}
        state, out = cell.step(state, current, dt=environ.get_dt(), **keyed)
        for name in fields:
            getattr(self, name).value = join_quantity(getattr(state, name), cell.state_unit(name))
        return join_quantity(out, getattr(cell, "out_unit", None))

    def _fields(self) -> Iterator[tuple[str, str]]:
        yield "cell", type(self._tree).__name__
        for name, ref in self.states().items():
            yield name, show(ref)

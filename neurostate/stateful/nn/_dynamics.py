"""`Dynamics`: a module that moves forward in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from ..._custom_types import QuantityLike, Shape, Size, as_shape
from .._collector import path_of
from .._ref import StateRef
from . import _inputs
from ._delay import Delay, DelayAccess
from ._module import Module


class Dynamics(Module):
    """A module with a size, an `update` for one time step, and hooks around it.

    **Arguments:**

    - `in_size`: The number of neurons, or the shape of the population.
    - `name`: A name for messages.

    Calling the module runs the hooks that were added with `add_before_update`, then
    `update(*args, **kwargs)`, then those of `add_after_update`. A hook is called without
    arguments, unless it has a true attribute `receive_update_input` (then a hook before gets the
    arguments of `update`); a hook after gets the output, unless `not_receive_update_output`.

    >>> import neurostate as ns
    >>> class Doubler(ns.nn.Dynamics):
    ...     def update(self, x):
    ...         return 2 * x
    >>> Doubler(3)(1.0), Doubler((2, 4)).varshape
    (2.0, (2, 4))
    """

    def __init__(self, in_size: Size, name: str | None = None):
        super().__init__(name=name)
        self.in_size = as_shape(in_size)
        self.out_size = self.in_size
        self.before_updates: dict[str, Callable[..., Any]] = {}
        self.after_updates: dict[str, Callable[..., Any]] = {}

    @property
    def varshape(self) -> Shape:
        """The shape of the population's variables."""
        return self.in_size

    @property
    def num(self) -> int:
        """The number of neurons."""
        return math.prod(self.varshape)

    def add_before_update(self, key: str, fun: Callable[..., Any]) -> None:
        """Adds a hook to be called before `update`.

        **Raises:** `KeyError` if there is one of that name.
        """
        self.before_updates = self._with_hook("before_updates", key, fun)

    def add_after_update(self, key: str, fun: Callable[..., Any]) -> None:
        """Adds a hook to be called after `update`.

        **Raises:** `KeyError` if there is one of that name.
        """
        self.after_updates = self._with_hook("after_updates", key, fun)

    def _with_hook(self, attribute: str, key: str, fun: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
        hooks = getattr(self, attribute)
        if key in hooks:
            raise KeyError(f"{type(self).__name__} has a hook {key!r} in {attribute} already. Choose another name.")
        return {**hooks, key: fun}

    def add_current_input(self, key: str, inp: Any, label: str | None = None) -> None:
        """Leaves an input current, for `sum_current_inputs`.

        **Arguments:**

        - `key`: Its name. With a label it is `"label // key"`.
        - `inp`: An array or a Quantity, which counts once; or a function, which is called at each sum.
          An array may be left inside a transform: it is a state of the module like any other.
        - `label`: A group of inputs.

        **Raises:** `ValueError` if there is another input of that name; `TraceContextError` if a function
        is added inside a transform, or an array below a raw JAX transform.

        >>> import neurostate as ns
        >>> cell = ns.nn.Dynamics(2)
        >>> cell.add_current_input("noise", lambda V: -V)
        >>> cell.add_current_input("stimulus", 5.0)
        >>> cell.sum_current_inputs(0.0, 1.0), cell.sum_current_inputs(0.0, 1.0)
        (4.0, -1.0)
        """
        _inputs.add(self, "current_inputs", key, inp, label)

    def add_delta_input(self, key: str, inp: Any, label: str | None = None) -> None:
        """Leaves an input that makes a state jump, for `sum_delta_inputs`.

        **Arguments:**, **Raises:** as `add_current_input`.
        """
        _inputs.add(self, "delta_inputs", key, inp, label)

    def get_input(self, key: str) -> Any:
        """The input of that key, be it a current or a delta input.

        **Raises:** `ValueError` if there is none.
        """
        return _inputs.find(self, key)

    def sum_current_inputs(
        self, init: Any, *args: Any, label: str | None = None, pop: bool = True, **kwargs: Any
    ) -> Any:
        """`init` plus all input currents, in the order in which they were added.

        **Arguments:**

        - `init`: What to add to; it has the unit of the inputs.
        - `args`, `kwargs`: What to call the functions among them with.
        - `label`: Takes the inputs of one group only.
        - `pop`: Whether arrays are taken away, so that each counts once. Functions stay.

        **Raises:** `UnitError` if an input has another dimension than `init`.
        """
        return _inputs.total(self, "current_inputs", init, args, kwargs, label, pop)

    def sum_delta_inputs(self, init: Any, *args: Any, label: str | None = None, pop: bool = True, **kwargs: Any) -> Any:
        """`init` plus all delta inputs; as `sum_current_inputs`."""
        return _inputs.total(self, "delta_inputs", init, args, kwargs, label, pop)

    def prefetch(self, item: str) -> Prefetch:
        """An object that gives an attribute's present value when it is called, a state's value for a state.

        The attribute need not be there yet. `prefetch(item).delay.at(time)` is `prefetch_delay(item, time)`.
        """
        return Prefetch(self, item)

    def prefetch_delay(
        self,
        item: str,
        time: QuantityLike | None,
        *indices: Any,
        init: Any = None,
        interpolation: Literal["linear", "nearest"] = "linear",
    ) -> DelayAccess:
        """An object that gives an attribute's delayed value when it is called.

        All delays of one attribute share a [`neurostate.nn.Delay`][], which a hook feeds after each
        `update`. So a read after the module was called counts the lag from the present value, a read before
        it from the value of the step before.

        **Arguments:**

        - `item`: The name of the attribute, such as `"V"`.
        - `time`, `indices`: as `Delay.register_entry`.
        - `init`, `interpolation`: as [`neurostate.nn.Delay`][].

        **Raises:** `ValueError` if another `init` was given before.

        >>> import brainunit as u, neurostate as ns
        >>> cell = ns.nn.Stateful(ns.LIF(2))
        >>> V = cell.prefetch_delay("V", 0.1 * u.ms)
        >>> with ns.environ.context(dt=0.1 * u.ms):
        ...     cell = ns.nn.init_all_states(cell)
        ...     for _ in range(2):
        ...         before = cell.V.value
        ...         spike = cell(30.0 * u.mA)
        ...     print(V() == before)
        [ True  True]
        """
        return self._delayed(item, self.prefetch(item), time, indices, init, interpolation)

    def output_delay(
        self,
        time: QuantityLike | None,
        *indices: Any,
        init: Any = None,
        interpolation: Literal["linear", "nearest"] = "linear",
    ) -> DelayAccess:
        """An object that gives the delayed output of `update`, of shape `out_size`, when it is called.

        **Arguments:**, **Raises:** as `prefetch_delay`. An output with a unit needs an `init` with that unit.
        """
        return self._delayed("output", self.out_size, time, indices, init, interpolation)

    def _delayed(
        self, what: str, target: Any, time: Any, indices: tuple[Any, ...], init: Any, interpolation: Any
    ) -> DelayAccess:
        key = f"{what}-delay-{interpolation}"
        delay = self.__dict__.get("after_updates", {}).get(key)
        if delay is None:
            delay = Delay(target, init=init, interpolation=interpolation)
            self.add_after_update(key, delay)
        elif init is not None and init is not delay.init:
            raise ValueError(f"{path_of(delay)} has its `init` from an earlier call. Give it once only, or the same.")
        return delay.access(f"{what} {len(delay.entries)}", time, *indices)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for hook in self.before_updates.values():
            if getattr(hook, "receive_update_input", False):
                hook(*args, **kwargs)
            else:
                hook()
        out = self.update(*args, **kwargs)
        for hook in self.after_updates.values():
            if getattr(hook, "not_receive_update_output", False):
                hook()
            else:
                hook(out)
        return out


class Prefetch:
    """An attribute of a module, looked up when it is called."""

    def __init__(self, module: Dynamics, item: str):
        self.module = module
        self.item = item

    def __call__(self) -> Any:
        found = getattr(self.module, self.item)
        return found.value if isinstance(found, StateRef) else found

    @property
    def delay(self) -> PrefetchDelay:
        """The attribute's values in the past."""
        return PrefetchDelay(self)


class PrefetchDelay:
    """The values of an attribute in the past."""

    def __init__(self, prefetch: Prefetch):
        self.prefetch = prefetch

    def at(self, time: QuantityLike | None, *indices: Any) -> DelayAccess:
        """An object that gives the delayed value; as `Dynamics.prefetch_delay`."""
        return self.prefetch.module.prefetch_delay(self.prefetch.item, time, *indices)

"""`Dynamics`: a module that moves forward in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..._custom_types import Shape, Size, as_shape
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
        self._add_hook("before_updates", key, fun)

    def add_after_update(self, key: str, fun: Callable[..., Any]) -> None:
        """Adds a hook to be called after `update`.

        **Raises:** `KeyError` if there is one of that name.
        """
        self._add_hook("after_updates", key, fun)

    def _add_hook(self, attribute: str, key: str, fun: Callable[..., Any]) -> None:
        hooks = self.__dict__.get(attribute, {})
        if key in hooks:
            raise KeyError(f"{type(self).__name__} has a hook {key!r} in {attribute} already. Choose another name.")
        setattr(self, attribute, {**hooks, key: fun})

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """One time step. To be overridden."""
        raise TypeError(f"{type(self).__name__} has no `update`. Define `def update(self, x): ...`.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for hook in self.__dict__.get("before_updates", {}).values():
            if getattr(hook, "receive_update_input", False):
                hook(*args, **kwargs)
            else:
                hook()
        out = self.update(*args, **kwargs)
        for hook in self.__dict__.get("after_updates", {}).values():
            if getattr(hook, "not_receive_update_output", False):
                hook()
            else:
                hook(out)
        return out

"""`Layer`: any stateless Equinox layer as a module with references, and what all layers share."""

from __future__ import annotations

import abc
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import Shape, Size, as_shape
from ..._units import to_plain
from .._collector import path_of
from .._ref import ParamState, StateRef
from ._equinox import over_batch, size_after
from ._lift import fill, lift
from ._module import Module, show


class Sized(Module, abc.ABC):
    """The base class of layers: modules from inputs of the shape `in_size` to outputs of the shape `out_size`.

    Both are without the batch axes, any number of which may come in front. `None` is a size that is not known.
    """

    in_size: Shape | None
    out_size: Shape | None

    @abc.abstractmethod
    def update(self, x: Any) -> Any:
        """The output for an input."""

    def __call__(self, x: Any) -> Any:
        return self.update(x)

    def batch_shape(self, x: Any) -> Shape:
        """The batch axes of an input.

        **Raises:** `ValueError` if its other axes are not `in_size`.
        """
        size, shape = self.in_size or (), jnp.shape(x)
        split = len(shape) - len(size)
        if split < 0 or shape[split:] != size:
            needed = ", ".join(["*batch", *map(str, size)])
            raise ValueError(
                f"{self._words()} needs an input of the shape ({needed}), that is its in_size {size} after any "
                f"batch axes, but got one of the shape {shape}."
            )
        return shape[:split]

    def check_batch(self, x: Any, ref: StateRef) -> None:
        """Checks that a state of the shape `(*batch, *out_size)` has the batch axes of an input.

        **Raises:** `ValueError` if not.
        """
        batch, shape = self.batch_shape(x), jnp.shape(ref.value)
        if shape != (*batch, *(self.out_size or ())):
            raise ValueError(
                f"{self._words()} got an input with the batch axes {batch}, but its state {path_of(ref)} has the shape "
                f"{shape}. Make the states for that batch, for example with `init_all_states(module, batch_size=...)`."
            )

    def _words(self) -> str:
        named = self._owners or self.__dict__.get("name")
        return f"`{type(self).__name__}` ({path_of(self)})" if named else f"`{type(self).__name__}`"

    def __getstate__(self) -> dict[str, Any]:
        return {name: jax.tree.map(by_name, value) for name, value in super().__getstate__().items()}

    def _fields(self) -> Iterator[tuple[str, str]]:
        yield "in_size", repr(self.in_size)
        yield "out_size", repr(self.out_size)
        for name, ref in self.states().items():
            yield name, " ".join(show(ref).split())


class Layer(Sized):
    """An Equinox layer whose arrays are kept in references.

    There is one parameter for each inexact array of the layer, under the path that it has there:
    `module.weight`, or `module.states(ns.ParamState)["layers.0.weight"]`. All else stays as it is. The
    layer is mapped over batch axes in front of the input.

    **Arguments:**

    - `layer`: A layer of `equinox.nn`, or an `equinox.Module` of one's own, that is called with one array.
    - `in_size`: The shape of that array.
    - `out_size`: The shape of the output; found by an abstract call with floats if it is not given.
    - `name`: A name for messages.
    - `param_type`: The kind of reference.

    **Raises:** `TypeError` for anything else than a layer; when called, `ValueError` for an input of
    another size, and `UnitError` for one with a dimension.

    >>> import equinox as eqx, jax, jax.numpy as jnp, neurostate as ns
    >>> mlp = ns.nn.Layer(eqx.nn.MLP(3, 2, 8, depth=1, key=jax.random.key(0)), in_size=3)
    >>> mlp(jnp.ones((5, 3))).shape, list(mlp.states(ns.ParamState))
    ((5, 2), ['layers.0.weight', 'layers.0.bias', 'layers.1.weight', 'layers.1.bias'])
    """

    _rank: int | None = None  # how many axes the Equinox layer takes, if not those of `in_size`

    def __init__(
        self,
        layer: Callable[..., Any],
        in_size: Size,
        out_size: Size | None = None,
        name: str | None = None,
        param_type: Callable[[Any], Any] = ParamState,
    ):
        if not (isinstance(layer, eqx.Module) and callable(layer)):
            raise TypeError(
                f"`Layer` needs an Equinox layer, such as equinox.nn.Linear(3, 4, key=key), got {layer!r:.60} of type "
                f"{type(layer).__name__}."
            )
        super().__init__(name=name)
        self.in_size = as_shape(in_size)
        self.out_size = size_after(layer, self.in_size) if out_size is None else as_shape(out_size)
        self._tree = lift(self, layer, param_type=param_type)

    @property
    def layer(self) -> Any:
        """The Equinox layer with the parameters of now, as plain arrays."""
        return fill(self, self._tree)

    def update(self, x: Any) -> Any:
        """The layer's output: takes an array of the shape `(*batch, *in_size)`."""
        return self._mapped(self.layer, to_plain(x, None, "x", type(self).__name__))

    def _mapped(self, function: Callable[..., Any], x: Any) -> Any:
        """The function for each input of the batch."""
        inner = self._rank if self._rank is not None else len(self.in_size or ())
        self.batch_shape(x)
        return over_batch(function, jnp.ndim(x) - inner)(jnp.asarray(x))

    def _fields(self) -> Iterator[tuple[str, str]]:
        if type(self) is Layer:
            yield "layer", type(self._tree).__name__
        yield from super()._fields()


class _ByName:
    """A public function of JAX on its way through pickle, which cannot find some of them by itself."""

    def __init__(self, module: str, name: str):
        self.found = (module, name)

    def __reduce__(self) -> Any:
        return _look_up, self.found


def by_name(leaf: Any) -> Any:
    """What to pickle for a leaf: a function of `jax.nn` or `jax.numpy` by its name, any other as it is."""
    name = getattr(leaf, "__name__", None)
    for module in (jax.nn, jnp):
        if callable(leaf) and name is not None and getattr(module, name, None) is leaf:
            return _ByName(module.__name__, name)
    return leaf


def _look_up(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)

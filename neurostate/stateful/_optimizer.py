"""`Optimizer`: an Optax transformation that reads and writes references."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from .._units import is_quantity, join_quantity, split_quantity, to_plain
from ..train._bijectors import AbstractBijector
from ..train._constraints import by_path, check_within
from ..train._optax import initial, updates_of
from ._collector import commit, path_of
from ._ref import LongTermState, ParamState, StateRef, describe_value
from ._values import is_array, pack
from .nn._module import Module


class Optimizer(Module):
    """An Optax transformation with its state in a reference.

    `optimizer.update(gradients)` moves the parameters. It works outside of all transforms and inside them, so that a
    whole epoch can be one `ns.transform.for_loop` in one `ns.transform.jit`. Parameters with a unit are moved as plain
    numbers in their own unit: what Adam does with a learning rate of 0.01 depends on whether that unit is mV or V.

    **Arguments:**

    - `transformation`: Any Optax transformation, with gradient clipping, schedules and accumulation as Optax has them;
        or a function without arguments that makes it, such as `functools.partial(optax.adam, 1e-3)`, with which the
        optimiser can be pickled.
    - `params`: A reference, a list or dictionary of references such as `module.states(ns.ParamState)`, or a module, for
        all of its `ParamState`s.
    - `constraints`: Bounds: for a pattern of paths such as `"*.tau"`, or a function of a path and an array, a bijector
        of [`neurostate.train`][]. The update then acts on the free number that stands for the parameter, with the
        gradient by that. It is taken from the parameter in each update.
    - `name`: A name for messages.

    `optimizer.state` is the `LongTermState` of `(number of updates, state of the transformation)`.

    **Raises:** `TypeError` for what is no reference or no transformation, or for a parameter that is not made of
    floats; `ValueError` for a parameter outside of its bounds, with its path, and as [`neurostate.train.select`][].

    >>> import optax, neurostate as ns
    >>> w = ns.ParamState(jnp.array(3.0))
    >>> optimizer = ns.Optimizer(optax.sgd(0.1), w)
    >>> for _ in range(50):
    ...     optimizer.update(ns.transform.grad(lambda: (w.value - 1) ** 2, w)())
    >>> print(w.value.round(3), optimizer.step)
    1.0 50
    """

    def __init__(
        self,
        transformation: Any,
        params: Any,
        *,
        constraints: Mapping[Any, AbstractBijector] | None = None,
        name: str | None = None,
    ):
        super().__init__(name)
        self._given = transformation
        self._transformation = _made(transformation)
        self._targets = _Targets(params)
        arrays, units, _ = self._targets.read()
        self._bijectors = by_path(arrays, arrays, constraints or {}, units.__getitem__)
        free = {path: self._bijectors[path].inverse(x) if path in self._bijectors else x for path, x in arrays.items()}
        self.state = LongTermState((jnp.zeros((), jnp.int32), initial(self._transformation, free)))

    @property
    def step(self) -> Any:
        """The number of updates so far."""
        return self.state.value[0]

    def update(self, gradients: Any, **extra: Any) -> None:
        """Moves the parameters by one step of the optimiser, all of them or none.

        **Arguments:**

        - `gradients`: In the structure of `params`, as `ns.transform.grad(f, params)` gives them; of a parameter with a
            unit as a Quantity in it or as plain numbers.
        - `extra`: What the transformation takes besides, such as `value=loss`.

        **Raises:** `ValueError` for gradients of another structure or shape, naming the parameter, for updates of
        another shape, for a parameter that is known and outside of its bounds, or if the module of the references holds
        others in their place by now; `UnitError` for another dimension, such as that of `grad(..., unit_aware=True)`.
        """
        self._targets.check_held()
        arrays, units, rebuild = self._targets.read()
        for path, bijector in self._bijectors.items():
            check_within(bijector, arrays[path], path)
        gradients = self._targets.gradients(gradients, arrays, units)
        count, inner = self.state.value
        extra = {name: jax.tree.map(jnp.asarray, split_quantity(each)[0]) for name, each in extra.items()}
        new, inner = _updated(self._transformation, self._bijectors, arrays, gradients, inner, extra)
        refs, values = rebuild(new)
        commit([*refs, self.state], [*map(pack, values), pack((count + 1, inner))])

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if self._given is not self._transformation:
            del state["_transformation"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({"_transformation": _made(state["_given"]), **state})

    def _fields(self) -> Iterator[tuple[str, str]]:
        yield "params", f"[{', '.join(self._targets.paths)}]"
        yield "state", f"LongTermState({describe_value(pack(self.state.peek()))})"


class _Targets:
    """The references that an optimiser moves, and their gradients. Not a module: it does not own them."""

    def __init__(self, given: Any):
        self.params = params = given.states(ParamState) if isinstance(given, Module) else given
        leaves = jax.tree_util.tree_leaves_with_path(params, is_leaf=_is_ref)
        self.refs = [ref for _, ref in leaves]
        for ref in self.refs:
            if not _is_ref(ref):
                raise TypeError(
                    f"`params` of `Optimizer` holds references, alone or in lists and dictionaries, but {ref!r:.80} "
                    f"is of type {type(ref).__name__}. For a module, pass it or `module.states(neurostate.ParamState)`."
                )
        if not self.refs:
            raise TypeError("`params` of `Optimizer` has no reference. Does the module have a `ParamState`?")
        if len(set(self.refs)) < len(self.refs):
            raise ValueError("`params` of `Optimizer` has a reference twice. Give each once.")
        words = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
        self.paths = [each or path_of(ref) for each, ref in zip(words, self.refs)]
        self.module = weakref.ref(given) if isinstance(given, Module) else None
        self.held = [bool(ref._owners) for ref in self.refs]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "module": None, "held": [False] * len(self.refs)}

    def check_held(self) -> None:
        """Checks that the module that the references were taken from still has them.

        **Raises:** `ValueError` with the paths of those that it has not, or has besides.
        """
        wrong = [path for path, ref, held in zip(self.paths, self.refs, self.held) if held and not ref._owners]
        module = None if self.module is None else self.module()
        if module is not None:
            now = module.states(ParamState)
            held, known = set(now.values()), set(self.refs)
            wrong += [path for path, ref in zip(self.paths, self.refs) if ref not in held]
            wrong += [path for path, ref in now.items() if ref not in known]
        if wrong:
            raise ValueError(
                f"The module has other references than when `Optimizer` was made: {', '.join(dict.fromkeys(wrong))}."
                " To change a value, assign to `.value` of its reference; for new references, make a new `Optimizer`."
            )

    def read(self) -> tuple[dict[str, Any], dict[str, Any], Any]:
        """The plain arrays of all parameters by path, their units, and the way back to references and values."""
        arrays: dict[str, Any] = {}
        units: dict[str, Any] = {}
        trees = []
        for path, ref in zip(self.paths, self.refs):
            leaves, treedef = _flatten(ref.value)
            for place, leaf in leaves:
                mantissa, unit = split_quantity(leaf)
                if is_array(mantissa):
                    arrays[path + place], units[path + place] = jnp.asarray(mantissa), unit
                    if not eqx.is_inexact_array(arrays[path + place]):
                        raise TypeError(
                            f"{path + place} cannot be trained: its value {mantissa!r:.60} is not made of floats. Make "
                            "it an array of floats, or leave it out of `params`."
                        )
            trees.append((path, leaves, treedef))

        def rebuild(new: dict[str, Any]) -> tuple[list[StateRef], list[Any]]:
            values = []
            for path, leaves, treedef in trees:
                each = [
                    join_quantity(new[path + place], units[path + place]) if path + place in new else leaf
                    for place, leaf in leaves
                ]
                values.append(jax.tree.unflatten(treedef, each))
            return self.refs, values

        return arrays, units, rebuild

    def gradients(self, given: Any, arrays: dict[str, Any], units: dict[str, Any]) -> dict[str, Any]:
        """Gradients as plain arrays by path, in the units of their parameters."""
        struct = jax.tree.structure(self.params, is_leaf=_is_ref)
        try:
            parts = struct.flatten_up_to(given)
        except (TypeError, ValueError):
            raise ValueError(_wrong_structure(self.paths, given)) from None
        found: dict[str, Any] = {}
        for path, ref, part in zip(self.paths, self.refs, parts):
            leaves, treedef = _flatten(part)
            needed = _flatten(ref.value)[1]
            if treedef != needed:
                raise ValueError(f"The gradient of {path} must have the structure {needed}, got {treedef}.")
            found |= {path + place: leaf for place, leaf in leaves if path + place in arrays}
        for path, array in arrays.items():
            found[path] = to_plain(found[path], units[path], f"gradient of {path}", "Optimizer.update")
            if jnp.shape(found[path]) != array.shape:
                raise ValueError(
                    f"The gradient of {path} has the shape {jnp.shape(found[path])}, but the parameter {array.shape}."
                )
        return found


@eqx.filter_jit
def _updated(
    transformation: Any,
    bijectors: dict[str, AbstractBijector],
    arrays: dict[str, Any],
    gradients: dict[str, Any],
    inner: Any,
    extra: dict[str, Any],
) -> tuple[dict[str, Any], Any]:
    """New arrays and the new state of the transformation."""
    free, gradients = dict(arrays), dict(gradients)
    for path, bijector in bijectors.items():
        free[path] = bijector.inverse(arrays[path])
        _, pull = jax.vjp(bijector.forward, free[path])
        (gradients[path],) = pull(jnp.asarray(gradients[path], arrays[path].dtype))
    updates, inner = updates_of(transformation, gradients, inner, free, **extra)
    new: Any = optax.apply_updates(free, updates)
    return {path: bijectors[path].forward(x) if path in bijectors else x for path, x in new.items()}, inner


def _made(given: Any) -> Any:
    """The transformation itself, or what a function without arguments makes."""
    transformation = given() if callable(given) and not hasattr(given, "update") else given
    if not (hasattr(transformation, "init") and hasattr(transformation, "update")):
        raise TypeError(
            "`Optimizer` needs an Optax transformation such as `optax.adam(1e-3)`, or a function without arguments "
            f"that makes one, got {given!r:.80} of type {type(given).__name__}."
        )
    return transformation


def _is_ref(x: Any) -> bool:
    return isinstance(x, StateRef)


def _flatten(value: Any) -> tuple[list[tuple[str, Any]], Any]:
    """The leaves of a value with their places in it, Quantities whole, and its structure."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(value, is_leaf=is_quantity)
    return [(jax.tree_util.keystr(place), leaf) for place, leaf in leaves], treedef


def _wrong_structure(paths: list[str], given: Any) -> str:
    if isinstance(given, Mapping):
        missing = [path for path in paths if path not in given]
        unknown = [key for key in given if key not in paths]
        got = f"missing: {missing}, not known: {unknown}"
    else:
        got = f"the parameters are {paths}, the gradients {jax.tree.structure(given)}"
    return (
        f"`Optimizer.update` needs gradients in the structure of its parameters, as `grad(f, params)` gives them; "
        f"{got}. Pass the same `params` to both."
    )

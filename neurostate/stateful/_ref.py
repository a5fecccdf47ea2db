"""`StateRef`: a reference to a value that code reads and writes through `.value`."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .. import _errors
from .._errors import StateNotInitialisedError, StateStructureError, TraceContextError
from .._units import is_quantity, split_quantity
from . import _porting, _tracing
from ._collector import STACK, check_eager, frames, path_of
from ._values import Cell, Missing, leaves_of, pack, struct_of, unpack


_NO_VALUE = object()


class _Births(threading.local):
    """The lists that note each reference that is made in this thread."""

    lists: tuple[list[StateRef], ...] = ()


BIRTHS = _Births()


def note_kept(ref: StateRef, instead_of: StateRef) -> None:
    """Notes that a reference was kept where a new one would have taken its place."""
    for births in BIRTHS.lists:
        births[:] = [ref if each is instead_of else each for each in births]


class StateRef:
    """A reference to a value, read and written through `.value`.

    The value is any pytree. Its array leaves (Python numbers and the mantissas of Quantities too)
    are carried by the transforms of `neurostate.transform`; every other leaf is static. A
    reference is its identity: two references are never equal, and the same one held at two places
    is one state. While a transform traces, the traced value lives in the trace and not here, so
    that another thread, or whoever catches an exception, still finds the last committed value.

    **Arguments:**

    - `value`: The first value.
    - `name`: A name for messages and for `functionalize`, where no module gives a path.
    - `tag`: A label, or several, to select references by.

    **Raises:** `TraceContextError` when it is written under a raw JAX transform, read while one
    is staging a program, or used after the trace that made it is over.

    >>> import neurostate as ns
    >>> count = ns.StateRef(0, name="count")
    >>> count.value = count.value + 1
    >>> count.value
    1
    """

    __slots__ = ("__weakref__", "_cell", "_owners", "name", "tags")

    def __init__(self, value: Any = _NO_VALUE, name: str | None = None, tag: str | Iterable[str] | None = None):
        if name is not None and not isinstance(name, str):
            raise TypeError(f"The name of a {type(self).__name__} must be a string, got {name!r}.")
        self.name = name
        self._cell = Cell()
        self.tags: frozenset[str] = frozenset() if tag is None else frozenset([tag] if isinstance(tag, str) else tag)
        self._owners: list[Any] = []
        if value is _NO_VALUE:
            self._leaf = Missing(lambda ref: StateNotInitialisedError(_errors.not_initialised(path_of(ref))))
        elif isinstance(value, StateRef):
            raise TypeError(_errors.reference_as_value(path_of(value)))
        elif (frame := STACK.top) is None:
            check_eager(self, writing=True)
            self._leaf = pack(value)
        else:
            kind = frame.kind
            self._leaf = Missing(lambda ref: TraceContextError(_errors.trace_is_over(path_of(ref), kind)))
            frame.bear(self, value)
        for births in BIRTHS.lists:
            births.append(self)

    @property
    def _leaf(self) -> Any:
        """The carried form of the last committed value."""
        return self._cell.leaf

    @_leaf.setter
    def _leaf(self, leaf: Any) -> None:
        self._cell.leaf = leaf

    @property
    def value(self) -> Any:
        """The value. Inside a transform it is the traced value, outside the last committed one."""
        frame = STACK.top
        if frame is None:
            if not _tracing.is_eager():
                check_eager(self, writing=False)
            return self._committed()
        return frame.read(self)

    @value.setter
    def value(self, value: Any) -> None:
        frame = STACK.top
        if frame is None:
            if not _tracing.is_eager():
                check_eager(self, writing=True)
            self._leaf = pack(value)
        else:
            frame.write(self, value)

    def _committed(self) -> Any:
        leaf = self._leaf
        if type(leaf) is Missing:
            raise leaf.error(self)
        return unpack(leaf)

    @property
    def _value(self) -> Any:
        return self._committed()

    def peek(self) -> Any:
        """The value as a constant, wherever this is called.

        Unlike `.value` it is allowed while a raw JAX transform stages a program, which then keeps
        the value of now: on purpose, since a later write does not reach that program.
        """
        for frame in frames():
            slot = frame.slots.get(self)
            if slot is not None:
                return slot.value
        return self._committed()

    def restore_value(self, value: Any) -> None:
        """Writes a value, such as one that was saved, of the same structure as the present one.

        **Raises:** `StateStructureError` if its containers, units or static leaves differ.
        """
        before, after = pack(self.value), pack(value)
        if struct_of(before) != struct_of(after):
            raise StateStructureError(
                f"`restore_value` needs the structure that {path_of(self)} has.\n  it has: {describe_value(before)}\n"
                f"  got:    {describe_value(after)}\nTo change the structure, assign to `.value`."
            )
        self.value = value

    def value_call(self, fn: Callable[[Any], Any]) -> Any:
        """The value with `fn` applied to each leaf (of a Quantity, to its mantissa). It is not written."""
        return jax.tree.map(fn, self.value)

    def numel(self) -> int:
        """The number of elements in all arrays of the value."""
        return sum(jnp.size(leaf) for leaf in leaves_of(pack(self.value)))

    def copy(self) -> Self:
        """A new reference of the same kind, value, name and tags, as `copy.copy` gives it."""
        return copy.copy(self)

    def replace(self, value: Any) -> Self:
        """A new reference of the same kind, name and tags, with another value."""
        new = _blank(type(self))
        StateRef.__init__(new, value, self.name, self.tags)
        return new

    def copy_from(self, other: Self) -> None:
        """Takes the value, name and tags of another reference of the same kind.

        **Raises:** `TypeError` if it is of another kind.
        """
        if type(other) is not type(self):
            kinds = f"a {type(self).__name__}, got {other!r:.60} of type {type(other).__name__}"
            raise TypeError(f"`copy_from` of {path_of(self)} needs {kinds}. To copy a value alone, assign to `.value`.")
        self.value = other.value
        self.name, self.tags = other.name, other.tags

    def add_tag(self, tag: str) -> None:
        """Adds a label to select the reference by."""
        self.tags |= {tag}

    if not TYPE_CHECKING:  # else every attribute would pass for one of a reference

        def __getattr__(self, name: str) -> Any:
            if text := _porting.answer("State", name):
                raise AttributeError(text)
            return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        words = [repr(path_of(self))] if self.name or self._owners else []
        return f"{type(self).__name__}({', '.join([*words, describe(self)])})"

    def __copy__(self) -> StateRef:
        return self._copied(self._state("copy"))

    def __deepcopy__(self, memo: dict[int, Any]) -> StateRef:
        state = self._state("deepcopy")
        memo[id(self)] = new = _blank(type(self))
        new.__setstate__(copy.deepcopy(state, memo))
        return new

    def _copied(self, state: dict[str, Any]) -> StateRef:
        new = _blank(type(self))
        new.__setstate__(state)
        return new

    def _state(self, what: str) -> dict[str, Any]:
        if STACK.top is not None or not _tracing.is_eager():
            raise TraceContextError(_errors.copied_in_trace(path_of(self), what))
        state = {"name": self.name, "tags": self.tags}
        return state if type(self._leaf) is Missing else {**state, "value": self._committed()}

    def __getstate__(self) -> dict[str, Any]:
        return jax.tree.map(_to_host, self._state("pickle"))

    def __setstate__(self, state: dict[str, Any]) -> None:
        StateRef.__init__(self, name=state["name"], tag=state["tags"])
        if "value" in state:
            self._leaf = pack(jax.tree.map(_from_host, state["value"]))

    def __reduce__(self) -> Any:
        return (_blank, (type(self),), self.__getstate__())


class _HostKey:
    """A typed random key on its way through pickle."""

    def __init__(self, key: jax.Array):
        self.data = np.asarray(jax.random.key_data(key))
        self.impl = str(jax.random.key_impl(key))


_Ref = TypeVar("_Ref", bound=StateRef)


def _blank(kind: type[_Ref]) -> _Ref:
    return kind.__new__(kind)


def _to_host(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array):
        return leaf
    return _HostKey(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _from_host(leaf: Any) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(leaf.data), impl=leaf.impl) if isinstance(leaf, _HostKey) else leaf


State = StateRef


class ShortTermState(StateRef):
    """A state that lives within one run: potentials, currents, spikes."""

    __slots__ = ()


class HiddenState(ShortTermState):
    """The hidden state of a neuron or of a recurrent cell, such as its membrane potential."""

    __slots__ = ()


class DelayState(ShortTermState):
    """The buffer of a delay."""

    __slots__ = ()


class BatchState(StateRef):
    """A state that always carries a batch axis."""

    __slots__ = ()


class LongTermState(StateRef):
    """A state that outlives a run: running statistics, slow variables."""

    __slots__ = ()


class ParamState(LongTermState):
    """A trainable parameter."""

    __slots__ = ()


def describe(ref: StateRef) -> str:
    """Shape, dtype and unit of a reference, also under a trace and of a dead one."""
    leaf = ref._leaf
    for frame in frames():
        if ref in frame.slots:
            leaf = pack(frame.slots[ref].value)
            break
    if type(leaf) is Missing:
        return "no value"
    return describe_value(leaf)


def describe_value(carried: Any) -> str:
    """Shape, dtype and unit of a carried value, such as `float32[10] * mV`."""
    value = unpack(carried)
    words = jax.tree.map(_Words, value, is_leaf=is_quantity)
    return str(words) if jax.tree.leaves(value) else repr(value)


class _Words:
    """Shows an array or Quantity by its shape, dtype and unit."""

    def __init__(self, x: Any):
        self.x = x

    def __repr__(self) -> str:
        x, unit = split_quantity(self.x)
        text = f"{x.dtype}[{','.join(map(str, x.shape))}]" if hasattr(x, "dtype") and hasattr(x, "shape") else repr(x)
        return text if unit is None else f"{text} * {unit}"

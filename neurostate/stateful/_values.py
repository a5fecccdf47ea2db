"""How a value that a reference holds is carried: its array leaves, and everything else beside them.

An array or a number is carried as it is. Any other pytree (a `Quantity`, a dict, `None`) is carried
as `Packed`: its array leaves, which a program takes and returns, and its `Struct`, which is static.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .. import _errors
from .._units import is_quantity, join_quantity, to_plain
from . import _tracing


_ARRAYS = (jax.Array, bool, int, float, complex, np.generic)


def is_array(x: Any) -> bool:
    """Whether `x` is carried as an array: a JAX or NumPy array, a tracer, or a Python number."""
    if isinstance(x, _ARRAYS):
        return True
    return isinstance(x, np.ndarray) and x.dtype.kind not in "OUSMm"


class _Dynamic:
    """Stands for an array leaf in the static part of a value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "*"


_DYNAMIC = _Dynamic()


class Struct:
    """The static part of a value: its tree structure and its leaves that are not arrays."""

    __slots__ = ("is_mutable", "statics", "treedef")

    def __init__(self, treedef: Any, statics: tuple[Any, ...]):
        self.treedef = treedef
        self.statics = statics
        self.is_mutable = _has_mutable(treedef)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Struct)
            and self.treedef == other.treedef
            and self.statics == other.statics
            and all(type(a) is type(b) for a, b in zip(self.statics, other.statics, strict=True))
        )

    def __hash__(self) -> int:
        return hash((self.treedef, self.statics))

    def __repr__(self) -> str:
        return f"{self.treedef}" if self.is_pure else f"{self.treedef} {self.statics}"

    @property
    def is_pure(self) -> bool:
        """Whether all leaves are arrays."""
        return all(s is _DYNAMIC for s in self.statics)

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        rest = iter(leaves)
        items = [next(rest) if s is _DYNAMIC else s.leaf if isinstance(s, _Identity) else s for s in self.statics]
        return jax.tree.unflatten(self.treedef, items)


def _has_mutable(treedef: Any) -> bool:
    """Whether a tree has a node that can be changed in place."""
    data = treedef.node_data()
    if data is None:
        return False
    return issubclass(data[0], list | dict) or any(map(_has_mutable, treedef.children()))


class Packed:
    """A value that is not a bare array, as its array leaves and their `Struct`.

    A list or dict can be changed in place, so a value that has one is looked at again each time.
    """

    __slots__ = ("_leaves", "_struct", "_value")

    def __init__(self, leaves: tuple[Any, ...], struct: Struct, value: Any = _DYNAMIC):
        self._leaves = leaves
        self._struct = struct
        self._value = value

    @property
    def value(self) -> Any:
        if self._value is _DYNAMIC:
            self._value = self._struct.unflatten(self._leaves)
        return self._value

    def refresh(self) -> tuple[tuple[Any, ...], Struct]:
        """The leaves and the static part as they are now."""
        if self._value is not _DYNAMIC and self._struct.is_mutable:
            leaves, struct = flatten(self._value)
            self._leaves, self._struct = tuple(leaves), struct
        return self._leaves, self._struct

    @property
    def leaves(self) -> tuple[Any, ...]:
        return self.refresh()[0]

    @property
    def struct(self) -> Struct:
        return self.refresh()[1]


jax.tree_util.register_pytree_node(Packed, Packed.refresh, lambda struct, leaves: Packed(tuple(leaves), struct))


class Cell:
    """Where the carried value of a reference lies.

    A compiled function holds the cells of its references, and the references weakly.
    """

    __slots__ = ("leaf",)

    def __init__(self, leaf: Any = None):
        self.leaf = leaf


class Missing:
    """Stands in a reference that has no value, and says why: how to make the error for it."""

    __slots__ = ("error",)

    def __init__(self, error: Any):
        self.error = error


class _Identity:
    """A module or reference among arguments: static by identity, and not kept alive by caches."""

    __slots__ = ("_hash", "_weak")

    def __init__(self, leaf: Any):
        self._weak = weakref.ref(leaf)
        self._hash = id(leaf)

    @property
    def leaf(self) -> Any:
        return self._weak()

    def __repr__(self) -> str:
        return f"{self.leaf!r:.60}"

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, _Identity) and self.leaf is not None and self.leaf is other.leaf


def flatten(value: Any, argument: bool = False) -> tuple[list[Any], Struct]:
    """Splits a pytree into its array leaves and its static part.

    In an `argument`, a module or reference is held weakly.
    """
    leaves, treedef = jax.tree.flatten(value)
    dynamic, statics = [], []
    for leaf in leaves:
        if is_array(leaf):
            dynamic.append(leaf)
            statics.append(_DYNAMIC)
        else:
            _check_hashable(leaf)
            statics.append(_Identity(leaf) if argument and _has_identity(leaf) else leaf)
    return dynamic, Struct(treedef, tuple(statics))


def _has_identity(leaf: Any) -> bool:
    return hasattr(leaf, "_owners") and not isinstance(leaf, type)


def _check_hashable(leaf: Any) -> None:
    try:
        hash(leaf)
    except TypeError:
        raise TypeError(_errors.unhashable_static(leaf)) from None


def pack(value: Any) -> Any:
    """The carried form of a value: itself if it is a bare array, else `Packed`."""
    if is_array(value):
        return value
    leaves, struct = flatten(value)
    return Packed(tuple(leaves), struct, value)


def pack_argument(value: Any) -> Any:
    """The carried form of an argument: itself if all its leaves are arrays, else `Packed`."""
    if is_array(value) or all(map(is_array, jax.tree.leaves(value))):
        return value
    leaves, struct = flatten(value, argument=True)
    return Packed(tuple(leaves), struct)


def pack_static(value: Any) -> Packed:
    """The carried form of an argument that is static whatever it is."""
    if type(value) in (str, int, float, bool, tuple, type(None)):
        return _pack_simple(value)
    _check_hashable(value)
    return Packed((), Struct(_ONE_LEAF, (_Identity(value) if _has_identity(value) else value,)))


_ONE_LEAF = jax.tree.structure(0)


@functools.lru_cache(maxsize=1024, typed=True)
def _pack_simple(value: Any) -> Packed:
    return Packed((), Struct(_ONE_LEAF, (value,)))


def unpack(carried: Any) -> Any:
    """The value of which `carried` is the carried form."""
    return carried.value if type(carried) is Packed else carried


def leaves_of(carried: Any) -> tuple[Any, ...]:
    return carried.leaves if type(carried) is Packed else (carried,)


def struct_of(carried: Any) -> Struct | None:
    """The static part of a carried value, `None` for a bare array."""
    return carried.struct if type(carried) is Packed else None


def repack(struct: Struct | None, leaves: Sequence[Any]) -> Any:
    """The inverse of `leaves_of` and `struct_of`."""
    return leaves[0] if struct is None else Packed(tuple(leaves), struct)


def same_dimension(carried: Any, like: Any) -> bool:
    """Whether both are Quantities of the same dimension."""
    value, other = unpack(carried), unpack(like)
    return is_quantity(value) and is_quantity(other) and bool(value.unit.has_same_dim(other.unit))


def rescale(carried: Any, like: Any) -> Any:
    """A Quantity in the unit of another one of the same dimension; anything else as it is."""
    if not same_dimension(carried, like) or unpack(carried).unit == unpack(like).unit:
        return carried
    unit = unpack(like).unit
    return pack(join_quantity(to_plain(unpack(carried), unit, "value"), unit))


def mark_for(leaf: Any) -> Any:
    """A concrete array like `leaf`, an object of its own, whose identity marks it in a traced program.

    Its value does not count: a concrete array shares its buffers with the original, for a tracer
    they hold zeros.
    """
    return _tracing.run_now(lambda: _mark_for(leaf))


def _mark_for(leaf: Any) -> Any:
    shape, dtype = jnp.shape(leaf), jax.typeof(leaf).dtype
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        if isinstance(leaf, Tracer):
            data = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(shape, dtype))
            data = jnp.zeros(data.shape, data.dtype)
        else:
            data = jax.random.key_data(leaf)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    if is_weak(leaf):
        return jnp.broadcast_to(jnp.asarray(np.zeros((), dtype).item()), shape)
    if isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer):
        shards = [shard.data for shard in leaf.addressable_shards]
        return jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, shards)
    return jnp.zeros(shape, dtype)


def is_weak(leaf: Any) -> bool:
    """Whether an array leaf is weakly typed, as Python numbers are."""
    return getattr(jax.typeof(leaf), "weak_type", False)


def aval(leaf: Any) -> tuple[Any, ...]:
    """The shape, dtype and weak type of an array leaf, as a key."""
    if isinstance(leaf, jax.Array):
        return (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False))
    shaped = jax.typeof(leaf)
    return (shaped.shape, shaped.dtype, shaped.weak_type)

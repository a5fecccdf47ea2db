"""Arrays that do not change, as constants of a compiled program."""

from __future__ import annotations

from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, PyTree
from .._units import is_traced


# Up to this size the compiler may compute with an array in advance; larger ones would make programs large.
_LARGEST: Final = 4096


class _Known:
    """An array that is static by its value: else what follows from a fixed parameter is computed in every step."""

    def __init__(self, array: Array):
        self.array = array
        host = np.asarray(array)
        self._key = (host.shape, str(host.dtype), host.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def as_known(tree: PyTree) -> PyTree:
    """The pytree with its small arrays of numbers made static."""
    return jax.tree.map(lambda leaf: _Known(leaf) if _is_small(leaf) else leaf, tree)


def as_arrays(tree: PyTree) -> PyTree:
    """The reverse of `as_known`."""
    return jax.tree.map(lambda leaf: leaf.array if isinstance(leaf, _Known) else leaf, tree)


def _is_small(leaf: Any) -> bool:
    if not isinstance(leaf, jax.Array) or is_traced(leaf) or leaf.size > _LARGEST:
        return False
    return not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)

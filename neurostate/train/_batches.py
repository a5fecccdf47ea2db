"""Data as batches of examples."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Int, Key, PyTree
from ._select import path_text


def as_examples(data: PyTree, name: str) -> tuple[PyTree, int]:
    """Data as JAX arrays, and the number of examples.

    **Raises:** `ValueError` if the first axes of the arrays are not of one length; `TypeError` for an array of texts or
    objects.
    """
    leaves = jax.tree_util.tree_leaves_with_path(data)
    for path, leaf in leaves:
        dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        if isinstance(dtype, np.dtype) and dtype.kind in "SUTOMm":
            raise TypeError(f"`{name}` must hold arrays of numbers, but {path_text(path) or 'it'} is of dtype {dtype}.")
    shapes = {path_text(path) or name: jnp.shape(leaf) for path, leaf in leaves}
    lengths = {shape[0] for shape in shapes.values() if shape}
    if () in shapes.values() or len(lengths) != 1 or lengths == {0}:
        listed = ", ".join(f"{path}: {shape}" for path, shape in shapes.items()) or "no arrays"
        raise ValueError(
            f"The first axis of each array in `{name}` must count the examples, the same number in all; the shapes are "
            f"{listed}. {_cure(shapes)}"
        )
    return jax.tree.map(jnp.asarray, data), lengths.pop()


def _cure(shapes: dict[str, tuple[int, ...]]) -> str:
    for n in {shape[0] for shape in shapes.values() if shape}:
        late = [path for path, shape in shapes.items() if shape[:1] != (n,)]
        if late and all(n in shapes[path] for path in late):
            moved = ", ".join(f"{path} = jnp.moveaxis({path}, {shapes[path].index(n)}, 0)" for path in late)
            return f"It seems that {' and '.join(late)} have another axis first, such as time. Put it behind: {moved}."
    return "Give arrays of equally many examples."


def order_of(key: Key, num_examples: int, batch_size: int) -> Int[Array, "batch example"]:
    """The examples of each batch of an epoch, in random order; those that do not fill a batch are left out."""
    num_batches = num_examples // batch_size
    order = jax.random.permutation(key, num_examples)[: num_batches * batch_size]
    return order.reshape(num_batches, batch_size)


def take(data: PyTree, index: Any) -> PyTree:
    """Some examples of the data."""
    return jax.tree.map(lambda x: x[index], data)

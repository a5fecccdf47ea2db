"""What the generators of connectivities share: a random stream per key, and samples without replacement by rows."""

from __future__ import annotations

import math
from typing import Any, Final

import jax
import numpy as np

from .._custom_types import Key, Size, as_shape
from .._units import argument


# About how many synapses are drawn at a time.
BLOCK: Final = 1 << 20


def generator(key: Key, owner: str) -> np.random.Generator:
    """A NumPy generator that depends on the JAX key alone."""
    if key is None:
        raise ValueError(f"`{owner}` draws random numbers and needs a key: `key=jax.random.key(0)`.")
    if not isinstance(key, jax.Array | np.ndarray):
        raise TypeError(f"{argument(owner, 'key')} must be a random key, `key=jax.random.key(0)`, got {key!r}.")
    data = jax.random.key_data(key) if jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return np.random.Generator(np.random.Philox(seed=[int(x) for x in np.ravel(np.asarray(data))]))


def count(size: Size) -> int:
    """The number of neurons of a population."""
    return math.prod(as_shape(size))


def check_probability(p: float, owner: str, name: str = "p") -> float:
    """**Raises:** `ValueError` unless it is between 0 and 1."""
    if not 0 <= p <= 1:
        raise ValueError(f"{argument(owner, name)} must be between 0 and 1, got {p!r}.")
    return float(p)


def check_count(k: Any, most: int | None, owner: str, name: str = "k") -> int:
    """**Raises:** `TypeError` unless it is an int, `ValueError` if it is negative or above `most`."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"{argument(owner, name)} must be an int, got {k!r}.")
    if k < 0 or (most is not None and k > most):
        cure = "" if most is None else f" Without multapses there are only {most} to choose from."
        raise ValueError(f"{argument(owner, name)} must not be negative or too large, got {k}.{cure}")
    return int(k)


def check_square(in_size: Size, out_size: Size, owner: str) -> int:
    """**Raises:** `ValueError` unless both populations have as many neurons, which autapses need."""
    if count(in_size) != count(out_size):
        raise ValueError(
            f"`autapses=False` of `{owner}` needs one population on both sides, got the sizes {in_size} and {out_size}."
        )
    return count(in_size)


def distinct(rng: np.random.Generator, rows: int, k: int, size: int) -> Any:
    """For each row `k` different numbers below `size`, in order: an array of shape `(rows, k)`.

    Where few are wanted, those that were drawn before are drawn again; else it is the order of random numbers.
    """
    if k * 4 >= size:
        order = np.argsort(rng.random((rows, size), dtype=np.float32), axis=1)[:, :k]
        return np.sort(order, axis=1).astype(np.int32)
    chosen = rng.integers(0, size, (rows, k), dtype=np.int32)
    while True:
        chosen.sort(axis=1)
        again = np.zeros(chosen.shape, bool)
        again[:, 1:] = chosen[:, 1:] == chosen[:, :-1]
        bad = np.flatnonzero(again.any(axis=1))
        if not bad.size:
            return chosen
        some = chosen[bad]
        some[again[bad]] = rng.integers(0, size, int(again[bad].sum()), dtype=np.int32)
        chosen[bad] = some


def in_order(pre: Any, post: Any) -> tuple[Any, Any]:
    """Pairs of indices ordered by the first, and then by the second."""
    both = (pre.astype(np.int64) << 32) | post
    both.sort()
    return (both >> 32).astype(np.int32), both.astype(np.int32)


def skipping_self(targets: Any, own: Any) -> Any:
    """Numbers below `size - 1` as those of the others: from `own` on, one more."""
    return targets + (targets >= own)

"""Random numbers from one global key, which every draw moves on.

The names and signatures are those of NumPy, over [`jax.random`][]. The global key is a reference:
loops carry it, `cond` moves it in the branch that is taken only, and each lane of `vmap` draws its
own numbers. With `key=` a function is pure.

>>> import neurostate as ns
>>> ns.random.seed(0)
>>> a = ns.random.normal(size=3)
>>> ns.random.seed(0)
>>> b = ns.random.normal(size=3)
>>> bool((a == b).all())
True
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from .._custom_types import Key
from . import _tracing
from ._collector import STACK
from ._ref import StateRef
from ._values import Missing


ShapeLike: TypeAlias = int | Sequence[int] | None


class RandomState(StateRef):
    """A reference to a random key.

    **Arguments:**

    - `seed_or_key`: An int, a typed key or a raw one. Without it, a seed from the system.

    >>> import neurostate as ns
    >>> rng = ns.random.RandomState(3)
    >>> rng.split_key().shape
    ()
    """

    __slots__ = ("_seed",)

    def __init__(self, seed_or_key: Any = None, name: str | None = None):
        self._seed = _as_seed(seed_or_key)
        if STACK.top is not None or not _tracing.is_eager():
            super().__init__(as_key(self._seed), name=name)
        else:
            super().__init__(name=name)  # the key is made on first use: here it would start JAX' backend

    def _committed(self) -> Any:
        if type(self._leaf) is Missing and self._seed is not None:
            seed, self._seed = self._seed, None
            self._leaf = _tracing.run_now(lambda: as_key(seed))
        return super()._committed()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._seed = 0
        super().__setstate__(state)

    def seed(self, seed_or_key: Any = None) -> None:
        """Starts again from a seed or key; without one, from the system's."""
        self.value = as_key(_as_seed(seed_or_key))

    def set_key(self, key: Any) -> None:
        """Sets the key."""
        self.seed(key)

    def split_key(self, n: int | None = None) -> Key:
        """A new key, or `n` of them, never given before."""
        keys = jax.random.split(self.value, 2 if n is None else n + 1)
        self.value = keys[0]
        return keys[1] if n is None else keys[1:]

    def lane_value(self, outer: Any, lane: Any) -> Any:
        """The key of one lane of `vmap`."""
        return jax.random.fold_in(outer, lane)

    def after_lanes(self, outer: Any) -> Any:
        """The key after a `vmap` whose lanes drew."""
        return jax.random.split(outer, 2)[0]


def _as_seed(seed_or_key: Any) -> Any:
    return int(np.random.SeedSequence().generate_state(1)[0]) if seed_or_key is None else seed_or_key


def as_key(seed_or_key: Any) -> Key:
    """A typed key from a seed, a raw key or a typed key."""
    if isinstance(seed_or_key, jax.Array | np.ndarray) and jnp.issubdtype(seed_or_key.dtype, jax.dtypes.prng_key):
        return jnp.asarray(seed_or_key)
    shape = jnp.shape(seed_or_key)
    if shape == ():
        if not jnp.issubdtype(jnp.result_type(seed_or_key), jnp.integer):
            raise TypeError(f"A seed must be an integer, got {seed_or_key!r:.60}.")
        return jax.random.key(seed_or_key)
    return jax.random.wrap_key_data(jnp.asarray(seed_or_key, dtype=jnp.uint32))


DEFAULT = RandomState(name="random.DEFAULT")


def seed(seed_or_key: Any = None) -> None:
    """Starts the global key again from a seed or key; without one, from the system's."""
    DEFAULT.seed(seed_or_key)


def set_key(key: Any) -> None:
    """Sets the global key."""
    DEFAULT.set_key(key)


def get_key() -> Key:
    """The global key as it is, without moving it."""
    return DEFAULT.value


def split_key(n: int | None = None) -> Key:
    """A new key from the global one, or `n` of them, never given before."""
    return DEFAULT.split_key(n)


def split_keys(n: int) -> Key:
    """`n` new keys from the global one, never given before."""
    return split_key(n)


@contextmanager
def seed_context(seed_or_key: Any) -> Iterator[None]:
    """Draws from a seed within a block; afterwards the global key is as before.

    >>> import neurostate as ns
    >>> with ns.random.seed_context(42):
    ...     a = ns.random.rand(2)
    >>> with ns.random.seed_context(42):
    ...     b = ns.random.rand(2)
    >>> bool((a == b).all())
    True
    """
    before = DEFAULT.value
    DEFAULT.seed(seed_or_key)
    try:
        yield
    finally:
        DEFAULT.value = before


def _shape(size: ShapeLike, *parameters: Any) -> tuple[int, ...]:
    if size is None:
        return jnp.broadcast_shapes(*map(jnp.shape, parameters))
    return (size,) if isinstance(size, builtins.int | np.integer) else tuple(size)


def _key(key: Any) -> Key:
    return split_key() if key is None else as_key(key)


def rand(*dn: int, key: Any = None) -> Array:
    """Uniform numbers in [0, 1) in an array of the given dimensions."""
    return jax.random.uniform(_key(key), dn)


def randn(*dn: int, key: Any = None) -> Array:
    """Standard normal numbers in an array of the given dimensions."""
    return jax.random.normal(_key(key), dn)


def random(size: ShapeLike = None, key: Any = None) -> Array:
    """Uniform numbers in [0, 1)."""
    return jax.random.uniform(_key(key), _shape(size))


def uniform(low: ArrayLike = 0.0, high: ArrayLike = 1.0, size: ShapeLike = None, key: Any = None) -> Array:
    """Uniform numbers in [low, high)."""
    return jax.random.uniform(_key(key), _shape(size, low, high), minval=low, maxval=high)


def normal(loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, size: ShapeLike = None, key: Any = None) -> Array:
    """Normal numbers with mean `loc` and standard deviation `scale`."""
    return jnp.add(loc, scale * jax.random.normal(_key(key), _shape(size, loc, scale)))


def randint(low: ArrayLike, high: ArrayLike | None = None, size: ShapeLike = None, key: Any = None) -> Array:
    """Integers in [low, high), or in [0, low) without `high`."""
    if high is None:
        low, high = 0, low
    return jax.random.randint(_key(key), _shape(size, low, high), low, high)


def bernoulli(p: ArrayLike = 0.5, size: ShapeLike = None, key: Any = None) -> Array:
    """Booleans that are true with probability `p`."""
    return jax.random.bernoulli(_key(key), p, _shape(size, p))


def poisson(lam: ArrayLike = 1.0, size: ShapeLike = None, key: Any = None) -> Array:
    """Poisson numbers with mean `lam`."""
    return jax.random.poisson(_key(key), lam, _shape(size, lam))


def exponential(scale: ArrayLike = 1.0, size: ShapeLike = None, key: Any = None) -> Array:
    """Exponential numbers with mean `scale`."""
    return jnp.multiply(scale, jax.random.exponential(_key(key), _shape(size, scale)))


def permutation(x: int | ArrayLike, axis: int = 0, key: Any = None) -> Array:
    """A permutation of `range(x)`, or of an array along an axis."""
    return jax.random.permutation(_key(key), x, axis=axis)


def choice(
    a: int | ArrayLike, size: ShapeLike = None, replace: bool = True, p: ArrayLike | None = None, key: Any = None
) -> Array:
    """Draws from `range(a)` or from the items of an array, with probabilities `p`."""
    return jax.random.choice(_key(key), jnp.asarray(a) if jnp.ndim(a) else a, _shape(size), replace, p)

"""References to random keys, and the global one."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ..._custom_types import Key
from .. import _porting, _tracing
from .._collector import STACK
from .._ref import StateRef
from .._values import Missing


_LOCK = threading.RLock()


class RandomState(StateRef):
    """A reference to a random key.

    **Arguments:**

    - `seed_or_key`: An int, a typed key or a raw one. Without it, a seed from the system.

    The samplers of `neurostate.random` are its methods too, and draw from this key.

    >>> import neurostate as ns
    >>> rng = ns.random.RandomState(3)
    >>> rng.split_key().shape
    ()
    """

    __slots__ = ("_seed",)
    samplers: ClassVar[dict[str, Callable[..., Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        sampler = RandomState.samplers.get(name)
        if sampler is None:
            raise AttributeError(_porting.answer("State", name) or f"RandomState has no attribute {name!r}.")

        @functools.wraps(sampler)
        def draw(*args: Any, key: Any = None, **kwargs: Any) -> Any:
            return sampler(*args, key=self.split_key() if key is None else key, **kwargs)

        return draw

    def __init__(self, seed_or_key: Any = None, name: str | None = None):
        self._seed = _as_seed(seed_or_key)
        if STACK.top is not None or not _tracing.is_eager():
            super().__init__(as_key(self._seed), name=name)
        else:
            super().__init__(name=name)  # the key is made on first use: here it would start JAX' backend

    def _committed(self) -> Any:
        if type(self._leaf) is Missing and self._seed is not None:
            with _LOCK:
                if type(self._leaf) is Missing and self._seed is not None:
                    seed = self._seed
                    self._leaf = _tracing.run_now(lambda: as_key(seed))
                    self._seed = None
        return super()._committed()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._seed = 0
        super().__setstate__(state)

    def seed(self, seed_or_key: Any = None) -> None:
        """Starts again from a seed or key; without one, from the system's."""
        self.value = as_key(_as_seed(seed_or_key))

    def split_keys(self, n: int) -> Key:
        """`n` new keys, never given before."""
        return self.split_key(n)

    def clone(self) -> RandomState:
        """A random state of its own, which goes on from a new key of this one."""
        return RandomState(self.split_key())

    def set_key(self, key: Any) -> None:
        """Sets the key."""
        self.seed(key)

    def split_key(self, n: int | None = None) -> Key:
        """A new key, or `n` of them, never given before."""
        with _LOCK if STACK.top is None else nullcontext():  # so that no two threads draw the same
            keys = jax.random.split(self.value, 2 if n is None else n + 1)
            self.value = keys[0]
        return keys[1] if n is None else keys[1:]

    def lane_value(self, outer: Any, lane: Any) -> Any:
        """The key of one lane of `vmap`."""
        return jax.random.fold_in(outer, lane)

    def after_lanes(self, outer: Any) -> Any:
        """The key after a `vmap` whose lanes drew: another one than that of any lane."""
        return jax.random.fold_in(outer, np.uint32(2**32 - 1))


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


def default_rng(seed_or_key: Any = None) -> RandomState:
    """A random state of one's own from a seed or key; without one, the global one."""
    return DEFAULT if seed_or_key is None else RandomState(seed_or_key)


def clone_rng(seed_or_key: Any = None, clone: bool = True) -> RandomState:
    """A random state from a seed or key; without one, a clone of the global one, or itself."""
    if seed_or_key is not None:
        return RandomState(seed_or_key)
    return DEFAULT.clone() if clone else DEFAULT


def get_key_data() -> jax.Array:
    """The global key as raw numbers, without moving it."""
    return jax.random.key_data(get_key())

"""Where a random initialiser gets its key from.

The core has no global random state: a key is an argument. A package on top of the core may offer one
through `_set_default_key_source`; the core itself never asks for it by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Key


_MSG_NO_KEY: Final = (
    "`{owner}` draws random numbers, but it got no key.\n"
    "Pass one: `initialiser(size, key=jax.random.key(0))`, or `param(initialiser, shape, key=...)`."
)
_MSG_NOT_A_KEY: Final = (
    "`{owner}` needs a JAX random key as its `key`, got {got}.\n"
    "Make one with `jax.random.key(0)`; the second positional argument of an initialiser is the key."
)
_MSG_NOT_AN_RNG: Final = (
    "`{owner}` cannot draw from `rng={got}`.\n"
    "`rng` is a JAX random key, a `numpy.random.Generator`, or an object with a `split_key()` method. "
    "New code passes `key=`."
)


@runtime_checkable
class KeySource(Protocol):
    """Anything that hands out a fresh key on each call of `split_key`, such as a random state."""

    def split_key(self) -> Key: ...


RandomSource = Key | np.random.Generator | np.random.RandomState | KeySource | None

_default_key: Callable[[], Key] | None = None


def _set_default_key_source(source: Callable[[], Key] | None) -> Callable[[], Key] | None:
    """Sets the function that supplies a key when a random initialiser is called without one.

    `source` takes no argument and returns a fresh key each time; `None` goes back to the core's own
    rule, under which a missing key is an error. An explicit `key=` or `rng=` never asks the source.

    **Returns:** The source that was set before, so that it can be put back.
    """
    global _default_key
    previous, _default_key = _default_key, source
    return previous


def is_key(x: object) -> bool:
    """Whether `x` is a JAX random key, typed (`jax.random.key`) or raw (`jax.random.PRNGKey`)."""
    if isinstance(x, jax.Array):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return x.ndim == 0
        return x.dtype == jnp.uint32 and x.ndim == 1
    return isinstance(x, np.ndarray) and x.dtype == np.uint32 and x.ndim == 1


def given_key(owner: str, key: Key | None, rng: RandomSource) -> Key | None:
    """The key that the caller gave, as `key` or as `rng`, or `None`. `key` wins."""
    if key is not None:
        if not is_key(key):
            raise TypeError(_MSG_NOT_A_KEY.format(owner=owner, got=_describe(key)))
        return key
    if rng is None:
        return None
    if is_key(rng):
        return rng  # pyright: ignore[reportReturnType]
    if isinstance(rng, np.random.Generator | np.random.RandomState):
        return jax.random.key(int.from_bytes(rng.bytes(4), "little") >> 1)
    if isinstance(rng, KeySource):
        return rng.split_key()
    raise TypeError(_MSG_NOT_AN_RNG.format(owner=owner, got=_describe(rng)))


def required_key(owner: str, key: Key | None, rng: RandomSource = None) -> Key:
    """The given key, else one from the default source, else an error that says to pass `key=`."""
    key = given_key(owner, key, rng)
    if key is not None:
        return key
    if _default_key is None:
        raise ValueError(_MSG_NO_KEY.format(owner=owner))
    return _default_key()


def split_given(key: Key | None, num: int) -> list[Key | None]:
    """`num` independent keys from one, or `num` times `None`, so that each part asks by itself."""
    return [None] * num if key is None else list(jax.random.split(key, num))


def _describe(x: object) -> str:
    if isinstance(x, jax.Array | np.ndarray):
        return f"an array of shape {x.shape} and dtype {x.dtype}"
    return repr(x)

"""What the encoders do with their arguments."""

from __future__ import annotations

from typing import Any, Final

import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Key, QuantityLike
from .._units import Unit, argument, as_float_array, is_traced, to_plain


_MSG_NO_KEY: Final = (
    "`{owner}` draws random numbers, but it got no `key`. Pass one, such as `key=jax.random.key(0)`; the same key "
    "gives the same spikes."
)


def values(x: QuantityLike, unit: Unit | None, name: str, owner: str) -> Array:
    """An argument as a plain floating array in `unit`."""
    plain = to_plain(x, unit, name, owner)
    try:
        return as_float_array(plain)
    except TypeError as error:
        raise TypeError(f"{argument(owner, name)} must be numeric, got {x!r}. {error}") from None


def require(holds: Any, needed: str, got: Any, name: str, owner: str) -> None:
    """Refuses a value that is known now and is not what is needed."""
    if not is_traced(holds) and not np.all(holds):
        raise ValueError(f"{argument(owner, name)} must be {needed} everywhere, got {got!r}.")


def steps(num_steps: Any, owner: str) -> int:
    """A number of steps."""
    if isinstance(num_steps, bool) or not isinstance(num_steps, int | np.integer) or num_steps < 1:
        raise ValueError(f"{argument(owner, 'num_steps')} must be a positive int, got {num_steps!r}.")
    return int(num_steps)


def required_key(key: Key | None, owner: str) -> Key:
    if key is None:
        raise ValueError(_MSG_NO_KEY.format(owner=owner))
    return key


def at_steps(index: Array, num_steps: int) -> Array:
    """One spike at the step that `index` says, and none where that is none of the steps, with time first."""
    time = jnp.arange(num_steps).reshape(-1, *(1 for _ in index.shape))
    return (time == index).astype(index.dtype)

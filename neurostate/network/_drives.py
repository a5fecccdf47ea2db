"""What the steps of networks and layers share."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Key, Shape
from .._drive import Drive


def folded(key: Key | None, index: int) -> Key | None:
    """The key of one part; `None` without a key."""
    return None if key is None else jax.random.fold_in(key, index)


def flat(x: Array, size: Shape) -> Array:
    """Values of shape `(*batch, *size)` with one axis in place of `size`."""
    return x.reshape(*x.shape[: x.ndim - len(size)], math.prod(size))


def summed(drives: list[Drive], V: Any) -> Drive:
    """All that acts on a population, which is at `V`."""

    def added(name: str) -> Any:
        terms = [getattr(drive, name) for drive in drives if getattr(drive, name) is not None]
        return sum(terms[1:], terms[0]) if terms else None

    g, E = (tuple(x for drive in drives for x in _as_tuple(getattr(drive, name))) for name in ("g", "E"))
    drive = Drive(added("current"), g or None, E or None, added("jump"), added("g_jump"))
    nothing = drive.current is None and drive.g is None
    return eqx.tree_at(lambda d: d.current, drive, jnp.zeros_like(V), is_leaf=lambda x: x is None) if nothing else drive


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return () if x is None else x if isinstance(x, tuple) else (x,)

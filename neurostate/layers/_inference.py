"""What a layer does while it is trained, and what otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._custom_types import PyTree


def either(inference: Any, used: Callable[[], PyTree], trained: Callable[[], PyTree]) -> PyTree:
    """The result of one of both, chosen in Python, or where the flag is traced (by `jax.jit`) by `where`."""
    if isinstance(inference, bool):
        return used() if inference else trained()
    return jax.tree.map(lambda a, b: jnp.where(inference, a, b), used(), trained())

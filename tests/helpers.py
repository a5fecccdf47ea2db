"""What several test files share."""

from __future__ import annotations

from contextlib import AbstractContextManager

import jax


def x64(enabled: bool = True) -> AbstractContextManager[None]:
    """A context in which JAX computes in float64 by default (or, with `enabled=False`, in float32)."""
    return jax.enable_x64(enabled)

"""JAX's settings of now, in this thread."""

from __future__ import annotations

from typing import Any

import jax


_TRACING = ("jax_enable_x64", "jax_default_matmul_precision", "jax_debug_nans", "jax_numpy_dtype_promotion")


def setting(name: str) -> Any:
    """One of JAX's settings, such as `"jax_enable_x64"`."""
    return getattr(jax.config, name)


def jit_is_disabled() -> bool:
    """Whether `jax.disable_jit` holds."""
    return setting("jax_disable_jit")


def configuration() -> tuple[Any, ...]:
    """The settings that a traced or compiled program depends on."""
    return tuple(map(setting, _TRACING))

"""What training asks of a transformation of Optax, with messages where it is of another kind."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from .._custom_types import PyTree
from ._select import path_text


def check_transformation(given: Any) -> None:
    """Checks that `optimizer` is one."""
    if not (hasattr(given, "init") and hasattr(given, "update")):
        name = getattr(given, "__name__", "adam")
        cure = f"Call it: `{name}(...)`." if callable(given) else ""
        raise TypeError(
            f"`optimizer` must be an Optax transformation such as `optax.adam(1e-3)`, got {given!r:.80} of type "
            f"{type(given).__name__}. {cure}"
        )


def initial(optimizer: Any, params: PyTree) -> PyTree:
    """The state of a transformation before its first update."""
    try:
        return optimizer.init(params)
    except AttributeError as error:
        raise TypeError(_other_kind(error)) from error


def updates_of(optimizer: Any, gradients: PyTree, state: PyTree, params: PyTree, **extra: Any) -> tuple[PyTree, PyTree]:
    """What a transformation adds to the parameters, and its next state.

    **Raises:** `TypeError` for one that needs other arguments; `ValueError` for an update of another shape.
    """
    try:
        updates, state = optax.with_extra_args_support(optimizer).update(gradients, state, params, **extra)
    except (AttributeError, TypeError) as error:
        raise TypeError(_other_kind(error)) from error
    shapes = {path: jnp.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(updates)}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if shapes.get(path, leaf.shape) != leaf.shape:
            raise ValueError(
                f"The optimiser's update of {path_text(path)} has the shape {shapes[path]}, but the parameter "
                f"{leaf.shape}. Use a transformation that keeps the shapes."
            )
    return updates, state


def _other_kind(error: Exception) -> str:
    return (
        f"The optimiser failed: {error}. It is called as `update(gradients, state, params, value=loss)` on a pytree of "
        "arrays. Those that need more, such as `optax.lbfgs`, which evaluates the loss again, or `optax.lookahead`, "
        "which has parameters of a type of its own, are not supported here: use another one, such as `optax.adam`, or "
        "write the loop with `jax.value_and_grad`."
    )

"""Values as constant currents."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .._custom_types import QuantityLike
from .._units import join_quantity
from ..init._support import common_unit
from ._arguments import steps, values


def step_current(x: QuantityLike, num_steps: int, scale: QuantityLike, offset: QuantityLike | None = None) -> Any:
    r"""Direct code: a constant current for each value, which the neurons turn into spikes.

    $$I = \text{offset} + \text{scale}\cdot x$$

    in each step, from the first on.

    **Arguments:**

    - `x`: Values of any shape, without a unit.
    - `num_steps`: The number of steps.
    - `scale`: The current of the value 1. Its unit is that of the result.
    - `offset`: The current of the value 0; by default none.

    **Returns:** An array or Quantity of shape `(num_steps, *shape of x)`.

    **Raises:** `UnitError` if `x` has a dimension, or `scale` and `offset` have different ones.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> print(ns.encode.step_current(jnp.array([0.0, 0.5]), 2, scale=4.0 * u.nA, offset=1.0 * u.nA))
    [[1. 3.]
     [1. 3.]] nA
    """
    unit, (factor, base) = common_unit("step_current", None, scale=scale, offset=offset)
    plain = values(x, None, "x", "step_current")
    current = (factor * plain + (0.0 if base is None else base)).astype(plain.dtype)
    return join_quantity(jnp.broadcast_to(current, (steps(num_steps, "step_current"), *current.shape)), unit)

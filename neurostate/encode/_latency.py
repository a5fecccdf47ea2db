"""Time to the first spike."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp

from .._custom_types import Array, QuantityLike
from .._parameters import as_milliseconds
from .._units import argument, ms
from ._arguments import at_steps, require, steps, values


# A spike so little of a step before a point of the grid is taken to be at that point.
_TOLERANCE = 1e-3


def latency(
    x: QuantityLike,
    num_steps: int,
    tau: QuantityLike,
    *,
    dt: QuantityLike,
    method: Literal["linear", "log"] = "linear",
    threshold: QuantityLike = 0.01,
) -> Array:
    r"""Latency code: one spike for each value, the earlier the larger the value is (Thorpe et al. 2001).

    $$t_\text{linear} = \tau\,(1 - x), \qquad t_\text{log} = \tau \ln\frac{x}{x - \theta}$$

    The second is the time at which a leaky integrator with the time constant $\tau$ and the constant input $x$ gets
    from 0 to the threshold $\theta$. The spike is in the step during which this time falls, $\lfloor t/\Delta t
    \rfloor$ counted from 0; 0.001 steps short of a point of the grid counts as that point.

    There is no spike for a value of 0 or below (`"linear"`) or up to `threshold` (`"log"`), nor after the last step.

    **Arguments:**

    - `x`: Values of any shape, at most 1 for `"linear"`.
    - `num_steps`: The number of steps.
    - `tau`: The latency of the smallest values, or the time constant. A time. With `(num_steps - 1) * dt` and
        `"linear"` the smallest values above 0 spike in the last step.
    - `dt`: The time step.
    - `method`: `"linear"` or `"log"`.
    - `threshold`: $\theta$, for `"log"`; positive.

    **Returns:** An array of 0 and 1 of shape `(num_steps, *shape of x)`, with at most one spike along time.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` for an unknown `method`, an `x` above 1 for `"linear"`,
    or a `tau` or `threshold` that is not positive.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.encode.latency(jnp.array([1.0, 0.5, 0.0]), num_steps=4, tau=4.0, dt=1.0).T)
    [[1. 0. 0. 0.]
     [0. 0. 1. 0.]
     [0. 0. 0. 0.]]
    """
    if method not in ("linear", "log"):
        raise ValueError(f'{argument("latency", "method")} must be "linear" or "log", got {method!r}.')
    plain, step = values(x, None, "x", "latency"), as_milliseconds(dt, "latency")
    scale, theta = values(tau, ms, "tau", "latency"), values(threshold, None, "threshold", "latency")
    require(scale > 0, "positive", tau, "tau", "latency")
    if method == "linear":
        require(plain <= 1, "at most 1", x, "x", "latency")
        spikes, time = plain > 0, scale * (1 - plain)
    else:
        require(theta > 0, "positive", threshold, "threshold", "latency")
        spikes = plain > theta
        time = -scale * jnp.log1p(-theta / jnp.where(spikes, plain, 2 * theta))
    index = jnp.floor(time / step + _TOLERANCE)
    return at_steps(jnp.where(spikes, index, -1), steps(num_steps, "latency")).astype(plain.dtype)

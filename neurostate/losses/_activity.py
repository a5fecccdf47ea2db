"""Penalties for neurons that fire too much or too little."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .._custom_types import Array, Bool, Float, QuantityLike
from .._parameters import as_milliseconds
from .._units import per_ms, to_plain
from ._axes import as_series


def rate_penalty(
    spikes: QuantityLike,
    *,
    dt: QuantityLike,
    lower: QuantityLike | None = None,
    upper: QuantityLike | None = None,
    axes: str = "time batch neuron",
    mask: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    r"""How far the mean rates of the neurons are out of bounds, in Hz².

    $$\frac{1}{N} \sum_i \max(0, f_\text{lower} - f_i)^2 + \max(0, f_i - f_\text{upper})^2$$

    where $f_i$ is the rate of a neuron over time and batch. So `lower` pushes neurons that are silent in the whole
    batch, and `upper=0.0` is the mean square rate. The same for each example alone is
    [`neurostate.losses.silence_penalty`][].

    **Arguments:**

    - `spikes`: Spikes with the axes that `axes` declares.
    - `dt`: The time step.
    - `lower`, `upper`: The bounds, one or both: rates such as `5 * u.Hz`, in 1/ms if they are plain numbers; a scalar
        or one for each neuron.
    - `axes`: What each axis of `spikes` is: `time` once, `neuron` (or `class`) once or, for populations with a shape,
        several times; all other names are axes of the batch.
    - `mask`: Which time steps count: booleans of the shape of `spikes` without the neurons.

    **Returns:** The mean over the neurons; 0 if no time step counts.

    **Raises:** `ValueError` if there is no bound, or the shapes do not fit `axes`; `UnitError` for a wrong dimension.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[0.0, 1.0], [0.0, 1.0]])  # 0 and 100 Hz
    >>> penalty = ns.losses.rate_penalty(spikes, dt=10 * u.ms, lower=1 * u.Hz, axes="time neuron")
    >>> print(f"{penalty:.3f}")
    0.500
    """
    if lower is None and upper is None:
        raise ValueError("`rate_penalty` got no bound. Pass `lower`, `upper` or both.")
    step = as_milliseconds(dt, "rate_penalty")
    series = as_series(spikes, None, "spikes", "rate_penalty", axes, mask, several=True)
    values, num_neurons = series.values, series.values.shape[-1]
    num_steps = jnp.asarray(values[..., 0].size if series.mask is None else jnp.sum(series.mask), values.dtype)
    rates = jnp.sum(values.reshape(-1, num_neurons), axis=0) / (jnp.maximum(num_steps, 1) * step)
    cost = jnp.zeros((), values.dtype)
    for bound, sign, name in ((lower, 1, "lower"), (upper, -1, "upper")):
        if bound is not None:
            limit = jnp.asarray(to_plain(bound, per_ms, name, "rate_penalty"), values.dtype)
            excess = sign * (jnp.broadcast_to(limit.ravel() if limit.size > 1 else limit, (num_neurons,)) - rates)
            cost = cost + jnp.mean(jnp.square(1000 * jax.nn.relu(excess)))  # of 1/ms to Hz
    return jnp.where(num_steps > 0, cost, 0)


def silence_penalty(
    spikes: QuantityLike,
    min_count: float = 1.0,
    *,
    axes: str = "time batch neuron",
    mask: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    r"""How many spikes the neurons lack in each example: the mean of $\max(0, n_\text{min} - n)^2$.

    For codes in which every neuron should fire for every example, such as the time to the first spike.

    **Arguments:**

    - `spikes`: Spikes with the axes that `axes` declares.
    - `min_count`: $n_\text{min}$, how many spikes each neuron should have.
    - `axes`, `mask`: As in [`neurostate.losses.rate_penalty`][].

    **Returns:** The mean over the batch and the neurons.

    **Raises:** `ValueError` if the shapes do not fit `axes`.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[0.0, 1.0], [0.0, 1.0]])
    >>> print(ns.losses.silence_penalty(spikes, axes="time neuron"))
    0.5
    """
    series = as_series(spikes, None, "spikes", "silence_penalty", axes, mask, several=True)
    return series.over_batch(jnp.square(jax.nn.relu(min_count - jnp.sum(series.values, axis=0))))

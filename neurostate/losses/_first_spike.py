"""Losses of the time of the first spike."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .._custom_types import Array, Bool, Float, QuantityLike
from .._parameters import as_milliseconds
from .._units import ms
from ._axes import Series, as_floats, as_series, declared, mean
from ._cross_entropy import cross_entropy


def first_spike_time(
    spikes: QuantityLike,
    *,
    dt: QuantityLike,
    axes: str = "time batch neuron",
    mask: Bool[Array, "..."] | None = None,
) -> Float[Array, "*batch neuron"]:
    r"""The time of the first spike of each neuron, differentiable with respect to the spikes.

    $$t_\text{first} = \Delta t \sum_{k=1}^{T-1} \prod_{j<k} (1 - s_j)$$

    For spikes of 0 and 1 that is the index of the first step with a spike times `dt`, exactly. Its derivative is that
    of this formula, times the surrogate's where the spikes come from a cell: one more spike in step `j`, before the
    first one, would bring it forward by the steps in between, and without the first one the second one would be first.

    A neuron that never spikes counts as one that spikes in the last step; without any step, the time is 0.

    **Arguments:**

    - `spikes`: Spikes with the axes that `axes` declares.
    - `dt`: The time step.
    - `axes`: What each axis of `spikes` is: `time` once, `neuron` (or `class`) once; all other names are axes of the
        batch.
    - `mask`: Which time steps count: booleans of the shape of `spikes` without the neurons. Time starts with the first
        step that counts, and the last one that does is the last step; between them it goes on in all steps, but spikes
        in those that do not count are none.

    **Returns:** Times in ms.

    **Raises:** `ValueError` if the shapes do not fit `axes`; `UnitError` if `dt` is not a time.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    >>> print(ns.losses.first_spike_time(spikes, dt=0.5, axes="time neuron"))
    [1.5 0.5]
    """
    step = as_milliseconds(dt, "first_spike_time")
    return first_times(as_series(spikes, None, "spikes", "first_spike_time", axes, mask), step)


def first_spike_cross_entropy(
    spikes: QuantityLike,
    labels: Any,
    tau: QuantityLike,
    *,
    dt: QuantityLike,
    axes: str = "time batch class",
    mask: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    r"""The softmax cross-entropy of $-t_\text{first} / \tau$: the right class should fire first.

    The time of the first spike and its derivative are those of [`neurostate.losses.first_spike_time`][]: a class that
    never fires counts as one that fires in the last step.

    **Arguments:**

    - `tau`: By how much earlier the first spike of a class makes it `e` times as probable. A time.
    - `dt`: The time step.
    - The others as in [`neurostate.losses.rate_cross_entropy`][], and so are **Returns** and **Raises**.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[[0.0, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]]])
    >>> loss = ns.losses.first_spike_cross_entropy(spikes, jnp.array([0]), tau=1 * u.ms, dt=1 * u.ms)
    >>> print(f"{loss:.4f}")
    0.3133
    """
    owner = "first_spike_cross_entropy"
    scale, step = as_milliseconds(tau, owner, "tau"), as_milliseconds(dt, owner)
    series = as_series(spikes, None, "spikes", owner, axes, mask)
    return series.over_batch(cross_entropy(-first_times(series, step) / scale, labels, series.layout))


def spike_time_cross_entropy(
    times: QuantityLike, labels: Any, tau: QuantityLike, *, t_max: QuantityLike, axes: str = "batch class"
) -> Float[Array, ""]:
    r"""The softmax cross-entropy of $-t / \tau$ for given spike times (Göltz et al. 2021, their equation for the loss
    without its regulariser; Comsa et al. 2020).

    **Arguments:**

    - `times`: The time of the first spike of each class, in ms if they are plain numbers; `inf` for one that never
        fires.
    - `labels`: The right classes: integers of the shape of the batch; or probabilities of the shape of `times`.
    - `tau`: By how much earlier a class must fire to be `e` times as probable. A time.
    - `t_max`: The time that stands for `inf`, such as the duration of the run. It gives no gradient: a class that is
        silent has no spike that could move. Use [`neurostate.losses.silence_penalty`][] against silence.
    - `axes`: What each axis of `times` is: `class` once; all other names are axes of the batch.

    **Returns:** The mean over the batch.

    **Raises:** `ValueError` if the shapes do not fit `axes`, or a label is not a class; `UnitError` for a wrong
    dimension.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> times = jnp.array([[1.0, 2.0], [jnp.inf, 3.0]]) * u.ms
    >>> loss = ns.losses.spike_time_cross_entropy(times, jnp.array([0, 0]), tau=1 * u.ms, t_max=4 * u.ms)
    >>> print(f"{loss:.4f}")
    0.8133
    """
    owner = "spike_time_cross_entropy"
    scale, latest = as_milliseconds(tau, owner, "tau"), as_milliseconds(t_max, owner, "t_max")
    values = as_floats(times, ms, "times", owner)
    layout = declared(axes, values.shape, "times", owner, over_time=False)
    known = layout.arrange(jnp.where(jnp.isposinf(values), jnp.asarray(latest, values.dtype), values))
    return mean(cross_entropy(-known / scale, labels, layout))


def mean_square_time(
    spikes: QuantityLike,
    targets: QuantityLike,
    *,
    dt: QuantityLike,
    axes: str = "time batch neuron",
    mask: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    """The mean square difference between the times of the first spikes and those wanted, in ms².

    The time of the first spike, its derivative and the arguments are those of
    [`neurostate.losses.first_spike_time`][]: a neuron that never spikes counts as one that spikes in the last step.

    **Arguments:**

    - `targets`: Times of the shape of `spikes` without time, in ms if they are plain numbers.

    **Returns:** The mean over the batch and the neurons.

    **Raises:** `ValueError` if the shapes do not fit `axes`; `UnitError` for a wrong dimension.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    >>> print(ns.losses.mean_square_time(spikes, jnp.array([3.0, 3.0]), dt=1 * u.ms, axes="time neuron"))
    2.0
    """
    step = as_milliseconds(dt, "mean_square_time")
    series = as_series(spikes, None, "spikes", "mean_square_time", axes, mask)
    wanted = series.targets(targets, ms, "targets", over_time=False)
    return series.over_batch(jnp.square(first_times(series, step) - wanted))


def first_times(series: Series, dt: Any) -> Array:
    """The time of the first spike of a series, of shape `(*batch, output)`."""
    values = series.values
    counted = jnp.ones(values.shape[:-1], values.dtype) if series.mask is None else series.mask.astype(values.dtype)
    before = jnp.cumsum(counted, axis=0) - counted
    # After the first step that counts, up to the last.
    passes = (before > 0) & (before < jnp.sum(counted, axis=0, keepdims=True))

    def step(carry: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        (waiting, steps), (spike, passes) = carry, now  # waiting: 1 as long as there was no spike
        return (waiting * (1 - spike), steps + jnp.where(passes[..., None], waiting, 0)), None

    start = jnp.ones(values.shape[1:], values.dtype), jnp.zeros(values.shape[1:], values.dtype)
    return jax.lax.scan(step, start, (values, passes))[0][1] * dt

"""Statistics of spikes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, ArrayLike, Bool, Float, QuantityLike
from .._parameters import as_milliseconds
from .._units import Hz, argument, join_quantity
from ..losses._axes import as_series
from ._times import known_times


def firing_rate(
    spikes: QuantityLike,
    *,
    dt: QuantityLike,
    axes: str = "time batch neuron",
    mask: Bool[Array, "..."] | None = None,
) -> Any:
    """The mean firing rate of each neuron over time.

    **Arguments:**

    - `spikes`: Spikes with the axes that `axes` declares.
    - `dt`: The time step.
    - `axes`: What each axis of `spikes` is: `time` once, `neuron` (or `class`) once; all other names are axes of the
        batch.
    - `mask`: Which time steps count: booleans of the shape of `spikes` without the neurons.

    **Returns:** A `Quantity` in Hz, of shape `(*batch, neuron)`; its `mantissa` is the plain array.

    **Raises:** `ValueError` if the shapes do not fit `axes`; `UnitError` if `dt` is not a time.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[0.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    >>> print(ns.metrics.firing_rate(spikes, dt=0.5 * u.ms, axes="time neuron"))
    [   0. 1000.] Hz
    """
    step = as_milliseconds(dt, "firing_rate")
    series = as_series(spikes, None, "spikes", "firing_rate", axes, mask)
    return join_quantity(1000 * jnp.sum(series.values, axis=0) / (series.num_steps[..., None] * step), Hz)


def cv_isi(times: QuantityLike) -> float:
    """The coefficient of variation of the intervals between spikes: 0 for a clock, 1 for a Poisson process.

    It is the standard deviation over the mean, with the number of intervals as the divisor of both, on the host.

    **Arguments:**

    - `times`: The spike times of one train, in any order, in ms if they are plain numbers. Those of `inf` or NaN are
        no spikes. [`neurostate.metrics.spike_times`][] gives them.

    **Returns:** A number; NaN for fewer than 3 spikes, or if all are at one time.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` if the times are not those of one train; `TypeError`
    inside a JAX transformation.

    >>> import neurostate as ns
    >>> ns.metrics.cv_isi([0.0, 1.0, 4.0])
    0.5
    """
    intervals = np.diff(known_times(times, "times", "cv_isi"))
    if len(intervals) < 2 or not intervals.any():
        return float("nan")
    return float(intervals.std() / intervals.mean())


def fano_factor(counts: ArrayLike, *, trial_axis: int = 0) -> Array:
    """The variance over the mean of numbers of spikes over trials: 0 if they are always equal, 1 for Poisson processes.

    The divisor of both is the number of trials.

    **Arguments:**

    - `counts`: The numbers of spikes in each trial (or in each of many windows), such as `(trial, neuron)`.
    - `trial_axis`: Which axis is that of the trials. It is never guessed.

    **Returns:** An array without the axis of the trials; NaN for neurons that never fire.

    **Raises:** `ValueError` if there is no such axis.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.metrics.fano_factor(jnp.array([[1.0, 2.0], [3.0, 2.0]])))
    [0.5 0. ]
    """
    values = jnp.asarray(counts)
    if not -values.ndim <= trial_axis < values.ndim:
        raise ValueError(
            f"`fano_factor` got an array of shape {values.shape}, which has no axis {trial_axis}; see `trial_axis`."
        )
    return jnp.var(values, axis=trial_axis) / jnp.mean(values, axis=trial_axis)


def correlation(
    spikes: QuantityLike, *, bin_steps: int = 1, axes: str = "time batch neuron"
) -> Float[Array, "*batch neuron neuron"]:
    """The correlation coefficients (Pearson's) of the numbers of spikes of each pair of neurons in bins of time.

    **Arguments:**

    - `spikes`: Spikes with the axes that `axes` declares.
    - `bin_steps`: The number of time steps in a bin. Steps at the end that do not fill one are left out.
    - `axes`: What each axis of `spikes` is: `time` once, `neuron` (or `class`) once; all other names are axes of the
        batch.

    **Returns:** For each example a matrix; NaN for neurons whose counts are all equal, such as silent ones.

    **Raises:** `ValueError` if the shapes do not fit `axes`, or `bin_steps` is not from 1 to the number of steps.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> print(ns.metrics.correlation(spikes, axes="time neuron").round(3))
    [[ 1.     0.577 -1.   ]
     [ 0.577  1.    -0.577]
     [-1.    -0.577  1.   ]]
    """
    values = as_series(spikes, None, "spikes", "correlation", axes, None).values
    if isinstance(bin_steps, bool) or not isinstance(bin_steps, int) or not 1 <= bin_steps <= len(values):
        raise ValueError(
            f"{argument('correlation', 'bin_steps')} must be an int from 1 to {len(values)}, the number of time steps, "
            f"got {bin_steps!r}."
        )
    num_bins = len(values) // bin_steps
    counts = jnp.sum(values[: num_bins * bin_steps].reshape(num_bins, bin_steps, *values.shape[1:]), axis=1)
    centred = counts - jnp.mean(counts, axis=0, keepdims=True)
    covariance = jnp.einsum("t...i,t...j->...ij", centred, centred)
    scale = jnp.sqrt(jnp.einsum("...ii->...i", covariance))
    return covariance / (scale[..., :, None] * scale[..., None, :])

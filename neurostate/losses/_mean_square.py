"""Mean square differences from counts and potentials that are wanted."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .._custom_types import Array, Bool, Float, QuantityLike
from .._units import mV
from ._axes import as_labels, as_series


def mean_square_count(
    spikes: QuantityLike,
    targets: Any,
    *,
    rates: tuple[float, float] | None = None,
    axes: str = "time batch class",
    mask: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    """The mean square difference between the numbers of spikes and those wanted.

    **Arguments:**

    - `spikes`: The output spikes, an array with the axes that `axes` declares.
    - `targets`: The numbers of spikes wanted, of the shape of `spikes` without time; with `rates`, the right classes
        (or their probabilities), as in [`neurostate.losses.rate_cross_entropy`][].
    - `rates`: How many spikes are wanted in each time step of the right class, and of each other class, such as
        `(0.75, 0.25)`.
    - `axes`: What each axis of `spikes` is: `time` and `class` once; all other names are axes of the batch.
    - `mask`: Which time steps count: booleans of the shape of `spikes` without classes.

    **Returns:** The mean over the batch and the classes.

    **Raises:** `ValueError` if the shapes do not fit `axes`, or a label is not a class (NaN, if that is not known when
    JAX traces).

    >>> import jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[[1.0, 0.0]], [[1.0, 1.0]]])
    >>> print(ns.losses.mean_square_count(spikes, jnp.array([[2.0, 3.0]])))
    2.0
    >>> print(ns.losses.mean_square_count(spikes, jnp.array([0]), rates=(1.0, 0.0)))
    0.5
    """
    series = as_series(spikes, None, "spikes", "mean_square_count", axes, mask)
    counts = jnp.sum(series.values, axis=0)
    if rates is None:
        wanted = series.targets(targets, None, "targets", over_time=False)
    else:
        labels = as_labels(targets, series.layout)
        if jnp.issubdtype(labels.dtype, jnp.integer):
            known = (labels < counts.shape[-1])[..., None]
            labels = jnp.where(known, jax.nn.one_hot(labels, counts.shape[-1], dtype=counts.dtype), jnp.nan)
        right, wrong = rates
        wanted = (wrong + (right - wrong) * labels) * series.num_steps[..., None]
    return series.over_batch(jnp.square(counts - wanted))


def mean_square_membrane(
    V: QuantityLike,
    targets: QuantityLike,
    *,
    axes: str = "time batch neuron",
    mask: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    """The mean square difference between potentials and those wanted, in mV².

    **Arguments:**

    - `V`: Potentials with the axes that `axes` declares, in mV if they are plain numbers.
    - `targets`: The potentials wanted, of the shape of `V`.
    - `axes`: What each axis of `V` is: `time` once, `neuron` (or `class`) once; all other names are axes of the batch.
    - `mask`: Which time steps count: booleans of the shape of `V` without the neurons.

    **Returns:** The mean over time, batch and neurons; with a mask, each example is averaged over its own time first.

    **Raises:** `ValueError` if the shapes do not fit `axes`; `UnitError` for a wrong dimension.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> V = jnp.array([[1.0], [2.0]]) * u.mV
    >>> print(ns.losses.mean_square_membrane(V, jnp.zeros((2, 1)) * u.mV, axes="time neuron"))
    2.5
    """
    series = as_series(V, mV, "V", "mean_square_membrane", axes, mask)
    squares = jnp.square(series.values - series.targets(targets, mV, "targets", over_time=True))
    if series.mask is not None:
        squares = jnp.where(series.mask[..., None], squares, 0)
    return series.over_batch(jnp.sum(squares, axis=0) / series.num_steps[..., None])

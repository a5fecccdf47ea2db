"""Cross-entropies of scores that come from a run."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax

from .._custom_types import Array, Bool, Float, QuantityLike
from .._units import mV
from ._axes import Layout, as_labels, as_series


def rate_cross_entropy(
    spikes: QuantityLike, labels: Any, *, axes: str = "time batch class", mask: Bool[Array, "..."] | None = None
) -> Float[Array, ""]:
    """The softmax cross-entropy of the spikes of each time step, averaged over time.

    So the right class should fire in each step. The loss cannot get below `log(1 + (num_classes - 1) / e)`, when it
    alone does.

    **Arguments:**

    - `spikes`: The output spikes, an array with the axes that `axes` declares.
    - `labels`: The right classes: integers of the shape of the batch; or their probabilities (from
        `optax.smooth_labels`, for example): floats of the shape of `spikes` without time.
    - `axes`: What each axis of `spikes` is: `time` and `class` once; all other names are axes of the batch.
    - `mask`: Which time steps count, if the examples have different lengths: booleans of the shape of `spikes`
        without classes. Examples without any time step are left out.

    **Returns:** The mean over the batch; 0 of no examples.

    **Raises:** `ValueError` if the shapes do not fit `axes`, with the order of the axes that would, or if a label is
    not a class (NaN, if that is not known when JAX traces).

    >>> import jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[[1.0, 0.0]], [[0.0, 0.0]]])
    >>> loss = ns.losses.rate_cross_entropy(spikes, jnp.array([0]))
    >>> print(f"{loss:.4f}")
    0.5032
    """
    series = as_series(spikes, None, "spikes", "rate_cross_entropy", axes, mask)
    each = cross_entropy(series.values, labels, series.layout)
    each = each if series.mask is None else jnp.where(series.mask, each, 0)
    return series.over_batch(jnp.sum(each, axis=0) / series.num_steps)


def count_cross_entropy(
    spikes: QuantityLike, labels: Any, *, axes: str = "time batch class", mask: Bool[Array, "..."] | None = None
) -> Float[Array, ""]:
    """The softmax cross-entropy of the numbers of spikes: the right class should fire most.

    **Arguments**, **Returns** and **Raises** as in [`neurostate.losses.rate_cross_entropy`][].

    >>> import jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[[1.0, 0.0]], [[1.0, 0.0]]])
    >>> loss = ns.losses.count_cross_entropy(spikes, jnp.array([0]))
    >>> print(f"{loss:.4f}")
    0.1269
    """
    series = as_series(spikes, None, "spikes", "count_cross_entropy", axes, mask)
    return series.over_batch(cross_entropy(jnp.sum(series.values, axis=0), labels, series.layout))


def max_membrane_cross_entropy(
    V: QuantityLike, labels: Any, *, axes: str = "time batch class", mask: Bool[Array, "..."] | None = None
) -> Float[Array, ""]:
    """The softmax cross-entropy of the largest potentials over time (Zenke and Vogels 2021).

    Where the largest value is reached twice, both share the gradient.

    **Arguments:**

    - `V`: The potentials of the output neurons, in mV if they are plain numbers.
    - The others as in [`neurostate.losses.rate_cross_entropy`][], and so are **Returns** and **Raises**.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> V = jnp.array([[[1.0, 0.0]], [[2.0, 0.5]]]) * u.mV
    >>> loss = ns.losses.max_membrane_cross_entropy(V, jnp.array([0]))
    >>> print(f"{loss:.4f}")
    0.2014
    """
    series = as_series(V, mV, "V", "max_membrane_cross_entropy", axes, mask)
    return series.over_batch(cross_entropy(series.largest(), labels, series.layout))


def cross_entropy(scores: Array, labels: Any, layout: Layout) -> Array:
    """The softmax cross-entropy of scores of shape `(..., *batch, class)`, without the last axis."""
    targets = as_labels(labels, layout)
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return optax.softmax_cross_entropy_with_integer_labels(scores, jnp.broadcast_to(targets, scores.shape[:-1]))
    return optax.softmax_cross_entropy(scores, jnp.broadcast_to(targets.astype(scores.dtype), scores.shape))

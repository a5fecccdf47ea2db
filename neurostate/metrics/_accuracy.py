"""The part of the examples that are classified rightly."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .._custom_types import Array, ArrayLike, Bool, Float, QuantityLike
from .._units import mV
from ..losses._axes import Layout, as_classes, as_series, declared, mean
from ..losses._first_spike import first_times


def accuracy(scores: ArrayLike, labels: Any, *, axes: str = "batch class") -> Float[Array, ""]:
    """The part of the examples whose label has the largest score.

    Of equal scores, that of the first class counts. An example with a score that is NaN is wrong.

    **Arguments:**

    - `scores`: An array with the axes that `axes` declares.
    - `labels`: The right classes, integers of the shape of the batch.
    - `axes`: What each axis of `scores` is: `class` once; all other names are axes of the batch.

    **Returns:** A number from 0 to 1; 0 of no examples.

    **Raises:** `ValueError` if the shapes do not fit `axes`, with the order of the axes that would, or if a label is
    not a class; `TypeError` if the labels are not integers.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.metrics.accuracy(jnp.array([[1.0, 2.0], [2.0, 1.0]]), jnp.array([1, 1])))
    0.5
    """
    values = jnp.asarray(scores)
    layout = declared(axes, values.shape, "scores", "accuracy", over_time=False)
    return mean(_hits(layout.arrange(values), labels, layout).astype(jnp.result_type(float)))


def accuracy_by_count(
    spikes: QuantityLike, labels: Any, *, axes: str = "time batch class", mask: Bool[Array, "..."] | None = None
) -> Float[Array, ""]:
    """The part of the examples whose class fires most.

    Of classes with equally many spikes, the first counts. An example without any spike, or with one that is NaN,
    is wrong.

    **Arguments:**

    - `spikes`: The output spikes, an array with the axes that `axes` declares.
    - `labels`: The right classes, integers of the shape of the batch.
    - `axes`: What each axis of `spikes` is: `time` and `class` once; all other names are axes of the batch.
    - `mask`: Which time steps count: booleans of the shape of `spikes` without classes. Examples without any time step
        are left out.

    **Returns:** A number from 0 to 1; 0 of no examples.

    **Raises:** as [`neurostate.metrics.accuracy`][].

    >>> import jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[[1.0, 1.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
    >>> print(ns.metrics.accuracy_by_count(spikes, jnp.array([1, 0])))
    0.5
    """
    series = as_series(spikes, None, "spikes", "accuracy_by_count", axes, mask)
    counts = jnp.sum(series.values, axis=0)
    hits = _hits(counts, labels, series.layout) & jnp.any(counts > 0, axis=-1)
    return series.over_batch(hits.astype(counts.dtype))


def accuracy_by_first_spike(
    spikes: QuantityLike, labels: Any, *, axes: str = "time batch class", mask: Bool[Array, "..."] | None = None
) -> Float[Array, ""]:
    """The part of the examples whose class fires first.

    Of classes that fire first in the same step, the first one counts. A class that never fires is later than any that
    does, even in the last step; an example without any spike, or with one that is NaN, is wrong.

    **Arguments**, **Returns** and **Raises** as in [`neurostate.metrics.accuracy_by_count`][].

    >>> import jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[[0.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    >>> print(ns.metrics.accuracy_by_first_spike(spikes, jnp.array([1, 1])))
    1.0
    """
    series = as_series(spikes, None, "spikes", "accuracy_by_first_spike", axes, mask)
    fired = jnp.any(series.values > 0, axis=0)
    scores = jnp.where(fired, -first_times(series, 1.0), -jnp.inf)
    scores = jnp.where(jnp.any(jnp.isnan(series.values), axis=0), jnp.nan, scores)
    hits = _hits(scores, labels, series.layout) & jnp.any(fired, axis=-1)
    return series.over_batch(hits.astype(scores.dtype))


def accuracy_by_max_membrane(
    V: QuantityLike, labels: Any, *, axes: str = "time batch class", mask: Bool[Array, "..."] | None = None
) -> Float[Array, ""]:
    """The part of the examples whose class reaches the largest potential.

    Of equal ones, the first class counts. An example with a potential that is NaN is wrong.

    **Arguments:**

    - `V`: The potentials of the output neurons, an array or Quantity.
    - The others as in [`neurostate.metrics.accuracy_by_count`][], and so are **Returns** and **Raises**.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> V = jnp.array([[[1.0, 0.0]], [[0.5, 2.0]]])
    >>> print(ns.metrics.accuracy_by_max_membrane(V, jnp.array([1])))
    1.0
    """
    series = as_series(V, mV, "V", "accuracy_by_max_membrane", axes, mask)
    hits = _hits(series.largest(), labels, series.layout)
    return series.over_batch(hits.astype(series.values.dtype))


def _hits(scores: Array, labels: Any, layout: Layout) -> Array:
    """Whether the label of each example has the largest score, and no score is NaN."""
    right = jnp.argmax(scores, axis=-1) == as_classes(labels, layout)
    return right & ~jnp.any(jnp.isnan(scores), axis=-1)

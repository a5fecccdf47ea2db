"""Distances between two spike trains, given by their times."""

from __future__ import annotations

import numpy as np

from .._custom_types import QuantityLike
from .._parameters import as_milliseconds
from .._units import argument, per_ms
from ._times import known_array, known_times


def victor_purpura(times_a: QuantityLike, times_b: QuantityLike, cost: QuantityLike) -> float:
    """The distance of Victor and Purpura (1996): what it costs at least to turn one spike train into the other.

    To insert or to remove a spike costs 1, to move one costs `cost` times the difference in time. So a cost of 0
    compares the numbers of spikes, and one of `inf` counts the spikes that do not coincide. It is exact: dynamic
    programming in float64, on the host, in a time proportional to the product of the numbers of spikes.

    **Arguments:**

    - `times_a`, `times_b`: The spike times of each, in any order, in ms if they are plain numbers. Those of `inf` or
        NaN are no spikes.
    - `cost`: A rate such as `100 * u.Hz`, in 1/ms if it is a plain number. Spikes are moved over times up to
        `2 / cost`.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` if `cost` is negative, or the times are not those of one
    train; `TypeError` inside a JAX transformation.

    >>> import neurostate as ns
    >>> ns.metrics.victor_purpura([10.0, 20.0], [12.0], cost=0.1)
    1.2
    """
    a, b = known_times(times_a, "times_a", "victor_purpura"), known_times(times_b, "times_b", "victor_purpura")
    price = float(known_array(cost, per_ms, "cost", "victor_purpura"))
    if not price >= 0:
        raise ValueError(f"{argument('victor_purpura', 'cost')} must not be negative, got {cost!r}.")
    # distances[j]: between the spikes of `a` up to now and the first j of `b`.
    index = np.arange(len(b) + 1.0)
    distances = index
    for time in a:
        gap = np.abs(b - time)
        moved = distances[:-1] + np.where(gap == 0, 0.0, price * np.where(gap == 0, 1.0, gap))
        removed = distances + 1
        best = np.concatenate([removed[:1], np.minimum(removed[1:], moved)])
        distances = np.minimum.accumulate(best - index) + index  # or spikes of `b` inserted after the best
    return float(distances[-1])


def van_rossum_distance(times_a: QuantityLike, times_b: QuantityLike, tau: QuantityLike) -> float:
    r"""The distance $D$ of van Rossum (2001) for spike times, not on a grid.

    Its square is [`neurostate.losses.van_rossum`][], with the same normalisation:

    $$D^2 = \tfrac{1}{2} \sum_{i,j} e^{-|a_i - a_j|/\tau} + \tfrac{1}{2} \sum_{i,j} e^{-|b_i - b_j|/\tau}
    - \sum_{i,j} e^{-|a_i - b_j|/\tau}$$

    **Arguments:**

    - `times_a`, `times_b`: The spike times of each, in any order, in ms if they are plain numbers. Those of `inf` or
        NaN are no spikes.
    - `tau`: The time constant.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` if the times are not those of one train; `TypeError`
    inside a JAX transformation.

    >>> import neurostate as ns
    >>> ns.metrics.van_rossum_distance([10.0, 500.0], [], tau=5.0)
    1.0
    """
    scale = float(as_milliseconds(tau, "van_rossum_distance", "tau"))
    a = known_times(times_a, "times_a", "van_rossum_distance")
    b = known_times(times_b, "times_b", "van_rossum_distance")

    def product(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.exp(-np.abs(x[:, None] - y) / scale).sum())

    return float(np.sqrt(max(product(a, a) + product(b, b) - 2 * product(a, b), 0.0) / 2))

"""Metrics against loops, brute force, closed forms and SciPy."""

from __future__ import annotations

import functools

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import neurostate as ns
from neurostate import losses, metrics

from .helpers import x64


RNG = np.random.default_rng(0)
SPIKES = (RNG.random((40, 4, 3)) < 0.3).astype(float)  # (time, batch, neuron)
TIME = st.integers(0, 40).map(lambda k: k / 4)
TRAIN = st.lists(TIME, max_size=5)
COST = st.sampled_from([0.0, 0.1, 0.7, 3.0, np.inf])


# Accuracies


def test_accuracies_by_hand():
    spikes = np.zeros((4, 6, 3))
    spikes[1:3, 0, 2] = spikes[0, 0, 1] = 1  # class 1 is first, class 2 fires most
    spikes[3, 1, 2] = 1  # only class 2, in the last step
    spikes[2, 2, [1, 2]] = 1  # two at once: the first of them
    spikes[:, 3] = 1  # all the same: class 0
    labels = np.array([2, 2, 1, 0, 0, 2])  # and the last two examples are silent
    by_count, by_time = jax.jit(
        lambda s: (metrics.accuracy_by_count(s, labels), metrics.accuracy_by_first_spike(s, labels))
    )(spikes)
    assert float(by_count) == pytest.approx(4 / 6) and float(by_time) == pytest.approx(3 / 6)
    for metric in (metrics.accuracy_by_count, metrics.accuracy_by_first_spike):
        # Examples that are all padding are left out, and spikes in the padding do not count.
        mask = np.ones((4, 6), bool)
        mask[:, 4:] = mask[1:, 0] = False
        masked = dict(axes="class time batch", mask=mask)
        run = jax.jit(lambda s: metric(s, np.array([1, 2, 1, 0, 0, 0]), **masked))  # noqa: B023
        assert float(run(spikes.transpose(2, 0, 1))) == 1.0

    V = np.array([[[-1.0, -2.0], [-3.0, -9.0]], [[-5.0, -0.5], [-4.0, -2.0]]])  # the largest: (-1, -0.5), (-3, -2)
    assert float(metrics.accuracy_by_max_membrane(V * u.mV, np.array([1, 0]))) == 0.5
    mask = np.array([[True, True], [False, False]])
    assert float(metrics.accuracy_by_max_membrane(V, np.array([0, 0]), mask=mask)) == 1.0
    assert float(metrics.accuracy(V[0].T, np.array([0, 0]), axes="class batch")) == 1.0
    assert float(metrics.accuracy(np.array([2.0, 2.0]), 0, axes="class")) == 1.0


def test_nan_is_wrong_and_of_no_example_none_is_right():
    @jax.jit
    def found(x):  # of each example one class is NaN: the right one, or another
        labels = np.zeros(2, int)
        by_time = (metrics.accuracy_by_count, metrics.accuracy_by_first_spike, metrics.accuracy_by_max_membrane)
        nothing = metrics.accuracy(x[0, :0], labels[:0])
        return [metrics.accuracy(x[0], labels), *(metric(x, labels) for metric in by_time), nothing]

    assert found(np.array([[[np.nan, 1.0], [1.0, np.nan]]] * 2)) == [0.0] * 5


# Distances


def by_recursion(a, b, cost):
    @functools.cache
    def distance(i, j):
        if i == 0 or j == 0:
            return float(i + j)
        gap = abs(a[i - 1] - b[j - 1])
        moved = 0.0 if gap == 0 else cost * gap
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + moved)

    return distance(len(a), len(b))


@given(TRAIN, TRAIN, TRAIN, COST)
def test_victor_purpura_is_the_cheapest_way_and_a_metric(a, b, c, cost):
    distance = functools.partial(metrics.victor_purpura, cost=cost)
    assert distance(a, b) == pytest.approx(by_recursion(sorted(a), sorted(b), cost), abs=1e-12)
    assert distance(a, b) == pytest.approx(distance(b, a), abs=1e-12)
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-12
    assert distance(a, a) == 0.0
    assert metrics.victor_purpura(a, b, 0.0) == abs(len(a) - len(b))
    once_a, once_b = set(a), set(b)
    assert metrics.victor_purpura(list(once_a), list(once_b), np.inf) == len(once_a ^ once_b)


def test_victor_purpura_by_hand_in_units():
    times = np.array([3.0, 10.0, np.inf, np.nan])
    assert metrics.victor_purpura(times * u.ms, np.array([0.0135]) * u.second, cost=0.1) == pytest.approx(1.35)
    assert metrics.victor_purpura(times, [13.5], cost=100 * u.Hz) == pytest.approx(1.35)
    assert metrics.victor_purpura(times, [13.5], cost=1.0) == 3.0  # cheaper to remove and insert
    assert metrics.victor_purpura([], [1.0, 2.0], cost=1.0) == 2.0


@given(st.lists(TIME, max_size=5, unique=True), st.lists(TIME, max_size=5, unique=True), TRAIN)
def test_van_rossum_distance_is_the_loss_on_the_grid_and_a_metric(a, b, c):
    distance = functools.partial(metrics.van_rossum_distance, tau=2.0)
    assert distance(a, b) == pytest.approx(distance(b, a), abs=1e-7) and distance(a, a) == 0
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-7
    with x64():
        trains = np.zeros((2, 41, 1))
        for train, times in zip(trains, (a, b)):
            train[(np.array(times) * 4).astype(int), 0] = 1
        loss = _van_rossum(*map(jnp.asarray, trains))
        assert distance(a, b) ** 2 == pytest.approx(float(loss), abs=1e-12)


_van_rossum = jax.jit(lambda x, y: losses.van_rossum(x, y, 2.0, dt=0.25, axes="time neuron"))


def test_van_rossum_distance_is_the_integral():
    a, b = np.array([0.3, 1.1, 7.77]), np.array([0.9, np.nan, 6.5])
    t = np.linspace(0, 60, 600_001)
    trace = sum(s * np.where(t >= t0, np.exp(-(t - t0) / 2), 0) for s, x in ((1, a), (-1, b[[0, 2]])) for t0 in x)
    expected = np.sqrt(np.trapezoid(trace**2, t) / 2)
    assert metrics.van_rossum_distance(a * 1e-3 * u.second, b, tau=2 * u.ms) == pytest.approx(expected, rel=1e-4)
    assert metrics.van_rossum_distance(a, a[:2], 2.0) == pytest.approx(np.sqrt(0.5), rel=1e-15)
    assert metrics.van_rossum_distance([], [], 2.0) == 0.0


# Statistics


def test_spike_times_are_those_that_make_the_spikes():
    times, indices = [0.0, 1.5, 1.5, 3.5], [1, 0, 0, 1]
    source = ns.SpikeTime(3, indices, times * u.ms)
    spikes = ns.simulate(source, jnp.zeros(10), dt=0.5 * u.ms).outputs
    found = metrics.spike_times(spikes, dt=0.5 * u.ms)
    assert [list(x) for x in found] == [[1.5, 1.5], [0.0, 3.5], []]
    nested = metrics.spike_times(SPIKES > 0, dt=0.1)
    for b in range(4):
        for n in range(3):
            np.testing.assert_array_equal(nested[b][n], 0.1 * np.flatnonzero(SPIKES[:, b, n]))


def test_rates_are_in_hertz():
    rate = metrics.firing_rate(SPIKES, dt=0.5 * u.ms)
    assert rate.unit == u.Hz
    np.testing.assert_allclose(rate.mantissa, SPIKES.sum(0) / 0.020, rtol=1e-6)
    mask = np.arange(40)[:, None] < np.array([10, 20, 40, 0])
    rate = jax.jit(lambda s: metrics.firing_rate(s, dt=0.5, axes="batch time neuron", mask=mask.T))(
        SPIKES.swapaxes(0, 1)
    )
    expected = [SPIKES[:n, b].sum(0) / (max(n, 1) * 0.5e-3) for b, n in enumerate((10, 20, 40, 0))]
    np.testing.assert_allclose(rate.mantissa, expected, rtol=1e-6)


def test_variation_against_scipy():
    with x64():
        times = np.sort(RNG.random(50)) * 100
        assert metrics.cv_isi(RNG.permutation(times)) == pytest.approx(stats.variation(np.diff(times)), rel=1e-12)
        assert metrics.cv_isi([*times, np.inf, np.nan] * u.ms) == metrics.cv_isi(times)
        assert metrics.cv_isi(np.arange(10.0)) == 0.0
        assert all(np.isnan(metrics.cv_isi(x)) for x in ([], [1.0, 2.0], [1.0, 1.0, 1.0]))
        counts = RNG.poisson(3.0, (30, 4)).astype(float)
        counts[:, 3] = 0
        fano = metrics.fano_factor(counts)
        np.testing.assert_allclose(fano[:3], counts[:, :3].var(0) / counts[:, :3].mean(0), rtol=1e-12)
        assert jnp.isnan(fano[3])
        np.testing.assert_array_equal(metrics.fano_factor(counts.T, trial_axis=1), fano)


def test_correlations_are_those_of_numpy():
    with x64():
        of = dict(axes="batch time neuron")
        found = metrics.correlation(SPIKES.swapaxes(0, 1), bin_steps=7, **of)
        assert found.shape == (4, 3, 3)
        for b in range(4):
            counts = SPIKES[:35, b].reshape(5, 7, 3).sum(1)
            np.testing.assert_allclose(found[b], np.corrcoef(counts.T), rtol=1e-12, atol=1e-14)
        silent = metrics.correlation(np.where(np.arange(3) == 1, 0, SPIKES[:, 0]), axes="time neuron")
        assert np.isnan(silent).tolist() == [[False, True, False], [True] * 3, [False, True, False]]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: metrics.accuracy(np.zeros((3, 4)), np.zeros(4, int)), ValueError, 'They fit `axes="class batch"`'),
        (lambda: metrics.accuracy(np.zeros((3, 4)), np.zeros((3, 4))), TypeError, "`labels` of `accuracy`.*integers"),
        (lambda: metrics.accuracy_by_count(SPIKES, np.zeros(40, int)), ValueError, '`axes="batch time class"`'),
        (lambda: metrics.accuracy_by_first_spike(SPIKES, np.full(4, 3)), ValueError, "from 0 to 2.*got 3"),
        (lambda: metrics.victor_purpura([1.0], [2.0], -1.0), ValueError, "`cost` .* must not be negative, got -1"),
        (lambda: metrics.victor_purpura([1.0], [2.0], 1 * u.ms), ns.UnitError, "`cost` of `victor_purpura`"),
        (lambda: metrics.victor_purpura([1.0] * u.mV, [2.0], 1.0), ns.UnitError, "`times_a` of `victor_purpura`"),
        (lambda: metrics.victor_purpura(1.0, [2.0], 1.0), ValueError, r"`times_a` .* one train, got shape \(\)"),
        (
            lambda: jax.jit(lambda t: metrics.victor_purpura(t, [2.0], 1.0))(np.ones(2)),
            TypeError,
            "`times_a` .* must be known, since `victor_purpura` runs on the host",
        ),
        (lambda: metrics.van_rossum_distance([1.0], [2.0], 0.0), ValueError, "`tau` .* positive"),
        (lambda: metrics.spike_times(SPIKES * 0.5, dt=1.0), ValueError, "whole numbers from 0 on.* from 0.0 to 0.5"),
        (lambda: metrics.spike_times(-SPIKES, dt=1.0), ValueError, "whole numbers from 0 on"),
        (lambda: metrics.spike_times(1.0, dt=1.0), ValueError, r"shape \(\)"),
        (lambda: metrics.fano_factor(np.ones(3), trial_axis=1), ValueError, r"shape \(3,\), which has no axis 1"),
        (lambda: metrics.correlation(SPIKES, bin_steps=41), ValueError, "from 1 to 40.* got 41"),
        (lambda: metrics.correlation(SPIKES, bin_steps=0), ValueError, "got 0"),
        (lambda: metrics.firing_rate(SPIKES[:, 0], dt=1.0), ValueError, "names 3 axes"),
    ],
)
def test_errors_say_what_is_needed(make, error, message):
    with pytest.raises(error, match=message):
        make()

"""Losses against plain loops over one example at a time, their gradients against finite differences."""

from __future__ import annotations

import functools
import itertools

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neurostate as ns
from neurostate import losses

from .helpers import x64


RNG = np.random.default_rng(0)
DT, TAU = 0.5, 1.5
SPIKES = (RNG.random((6, 4, 3)) < 0.35).astype(float)  # (time, batch, class)
SPIKES[:, 0], SPIKES[:, 1] = 0, 1
TARGET_SPIKES = (RNG.random((6, 4, 3)) < 0.35).astype(float)
V, TARGET_V = RNG.normal(size=(2, 6, 4, 3))
LABELS = np.array([0, 1, 2, 1])
TIMES, COUNTS = RNG.random((4, 3)) * 3, RNG.integers(0, 4, (4, 3)).astype(float)
MASK = np.arange(6)[:, None] < np.array([6, 3, 5, 4])  # (time, batch)
WITHOUT_ONE = MASK & (np.arange(4) != 2)
ORDERS = {"time batch class": (0, 1, 2), "batch time class": (1, 0, 2), "class batch time": (2, 1, 0)}


def cross_entropy(scores, label):
    return np.log(np.sum(np.exp(scores))) - scores[label]


def first(spikes):
    """The index of the first spike of each neuron, by a loop; the last step if there is none."""
    return np.array([next((k for k, s in enumerate(train) if s), len(train) - 1) for train in spikes.T])


def pairs(x):
    """The square of van Rossum's distance of weighted spikes from none, by a double sum."""
    return 0.5 * sum(x[i] * x[j] * np.exp(-abs(i - j) * DT / TAU) for i in range(len(x)) for j in range(len(x)))


# Each for the first n steps of the example b.
LOOPS = {
    "rate_cross_entropy": lambda n, b: np.mean([cross_entropy(s, LABELS[b]) for s in SPIKES[:n, b]]),
    "count_cross_entropy": lambda n, b: cross_entropy(SPIKES[:n, b].sum(0), LABELS[b]),
    "max_membrane_cross_entropy": lambda n, b: cross_entropy(V[:n, b].max(0), LABELS[b]),
    "first_spike_cross_entropy": lambda n, b: cross_entropy(-first(SPIKES[:n, b]) * DT / TAU, LABELS[b]),
    "mean_square_count": lambda n, b: np.mean((SPIKES[:n, b].sum(0) - COUNTS[b]) ** 2),
    "mean_square_rate": lambda n, b: np.mean(
        (SPIKES[:n, b].sum(0) - n * np.where(np.arange(3) == LABELS[b], 0.75, 0.25)) ** 2
    ),
    "mean_square_membrane": lambda n, b: np.mean((V[:n, b] - TARGET_V[:n, b]) ** 2),
    "mean_square_time": lambda n, b: np.mean((first(SPIKES[:n, b]) * DT - TIMES[b]) ** 2),
    "van_rossum": lambda n, b: np.mean([pairs(x) for x in (SPIKES - TARGET_SPIKES)[:n, b].T]),
    "silence_penalty": lambda n, b: np.mean(np.maximum(0, 2.5 - SPIKES[:n, b].sum(0)) ** 2),
}


def all_losses(spikes, V, labels=LABELS, axes="time batch class", mask=None):
    """The value of each loss, for arrays whose axes are in the given order."""
    order = ORDERS[axes]
    of = dict(axes=axes, mask=mask)

    def put(array):
        array = array if array.ndim == 3 else array[None]
        moved = jnp.asarray(array, V.dtype).transpose(order)
        return moved if moved.size == V.size else moved.squeeze(order.index(0))

    return {
        "rate_cross_entropy": losses.rate_cross_entropy(spikes, labels, **of),
        "count_cross_entropy": losses.count_cross_entropy(spikes, labels, **of),
        "max_membrane_cross_entropy": losses.max_membrane_cross_entropy(V, labels, **of),
        "first_spike_cross_entropy": losses.first_spike_cross_entropy(spikes, labels, TAU, dt=DT, **of),
        "mean_square_count": losses.mean_square_count(spikes, put(COUNTS), **of),
        "mean_square_rate": losses.mean_square_count(spikes, labels, rates=(0.75, 0.25), **of),
        "mean_square_membrane": losses.mean_square_membrane(V, put(TARGET_V), **of),
        "mean_square_time": losses.mean_square_time(spikes, put(TIMES), dt=DT, **of),
        "van_rossum": losses.van_rossum(spikes, put(TARGET_SPIKES), TAU, dt=DT, **of),
        "silence_penalty": losses.silence_penalty(spikes, 2.5, **of),
    }


@pytest.mark.parametrize(
    ("axes", "mask", "wide"),
    [
        ("time batch class", None, True),
        ("batch time class", MASK, True),
        ("class batch time", WITHOUT_ONE, True),
        ("time batch class", MASK, False),
    ],
)
def test_losses_are_the_mean_of_loops_over_the_steps_of_each_example(axes, mask, wide, strict_promotion):
    order = ORDERS[axes]
    lengths = [6] * 4 if mask is None else mask.sum(axis=0)
    moved = None if mask is None else mask.transpose([i for i in order if i < 2])
    with x64(wide):
        arrays = [jnp.asarray(x, jnp.result_type(float)).transpose(order) for x in (SPIKES, V)]
        values = jax.jit(lambda *xs: all_losses(*xs, axes=axes, mask=moved))(*arrays)
    assert {x.dtype for x in values.values()} == {np.dtype(float if wide else "float32")}
    for name, loop in LOOPS.items():
        expected = np.mean([loop(n, b) for b, n in enumerate(lengths) if n])
        np.testing.assert_allclose(values[name], expected, rtol=1e-13 if wide else 1e-6, err_msg=name)


@pytest.mark.parametrize("wide", [False, True])
def test_gradients_are_finite_for_any_number_of_spikes_and_finite_differences(wide):
    with x64(wide):
        at = jnp.stack([jnp.asarray(x, float) for x in (np.zeros_like(SPIKES), np.ones_like(SPIKES), SPIKES, V)])
        jacobian = jax.jit(jax.vmap(jax.jacrev(lambda x: all_losses(x, x, mask=WITHOUT_ONE))))
        found = {name: np.asarray(gradient) for name, gradient in jacobian(at).items()}
    for name, gradient in found.items():
        silent, full, some, _ = np.abs(gradient).max((1, 2, 3))
        assert np.isfinite(gradient).all() and silent > 0 and some > 0, name
        assert (full > 0) == (name != "silence_penalty"), name
        assert (gradient[:, ~WITHOUT_ONE] == 0).all(), name
    if wide:
        with x64():  # where the first argument is any number, every loss is smooth in it
            direction = RNG.normal(size=V.shape)
            moved = jax.jit(lambda x: all_losses(x, x, mask=WITHOUT_ONE))
            high, low = (moved(jnp.asarray(V + h * direction)) for h in (1e-5, -1e-5))
        for name, gradient in found.items():
            slope, difference = np.vdot(gradient[3], direction), float(high[name]) - float(low[name])
            np.testing.assert_allclose(slope, difference / 2e-5, rtol=1e-7, atol=1e-9, err_msg=name)


def test_batch_axes_may_be_several_or_none():
    spikes, labels = jnp.asarray(SPIKES), jnp.asarray(LABELS)

    @jax.jit
    def by_axes():
        four, two = spikes.reshape(6, 2, 2, 3), labels.reshape(2, 2)
        each = jax.vmap(lambda s, y: losses.rate_cross_entropy(s, y, axes="time class"), in_axes=(1, 0))(spikes, labels)
        many = losses.rate_cross_entropy(four, two, axes="time a b class")
        return each, many, losses.rate_cross_entropy(four.swapaxes(0, 1), two, axes="a time b class")

    each, *many = by_axes()
    np.testing.assert_allclose(each, [LOOPS["rate_cross_entropy"](6, b) for b in range(4)], rtol=1e-6)
    np.testing.assert_allclose(many, 2 * [each.mean()], rtol=1e-6)


def test_labels_may_be_probabilities():
    with x64():
        spikes, ones = jnp.asarray(SPIKES), jnp.eye(3)[LABELS]

        @jax.jit
        def by_labels():
            found = []
            for loss in (losses.rate_cross_entropy, losses.count_cross_entropy):
                by_class = jnp.mean(jnp.stack([loss(spikes, np.full(4, k)) for k in range(3)]))
                found.append((by_class, loss(spikes, jnp.full((4, 3), 1 / 3))))
                expected = 0.7 * loss(spikes, LABELS) + 0.3 * by_class
                found.append((expected, loss(spikes, optax.smooth_labels(ones, 0.3))))
            count = functools.partial(losses.mean_square_count, spikes, rates=(0.75, 0.25))
            return [*found, (count(LABELS), count(ones))]

        for expected, got in by_labels():
            np.testing.assert_allclose(got, expected, rtol=1e-12)


# The time of the first spike


def test_the_derivative_of_the_first_spike_is_that_of_a_spike_more_or_less():
    trains = np.array(list(itertools.product([0.0, 1.0], repeat=5))).T  # (time, train): all there are
    of = dict(dt=0.5 * u.ms, axes="time neuron")
    np.testing.assert_array_equal(losses.first_spike_time(trains, **of), 0.5 * first(trains))
    gradient = jax.grad(lambda s: losses.first_spike_time(s, **of).sum())(jnp.asarray(trains))
    for step in range(5):
        with_spike, without = trains.copy(), trains.copy()
        with_spike[step], without[step] = 1, 0
        np.testing.assert_array_equal(gradient[step], 0.5 * (first(with_spike) - first(without)))


def test_time_starts_with_the_first_step_that_counts_and_goes_on_in_holes():
    cases = (  # spikes, which steps count, and the time
        ("10101", "01110", 1.0),
        ("10001", "01110", 2.0),
        ("00010", "10111", 3.0),
        ("01010", "10111", 3.0),
        ("00001", "11010", 3.0),
        ("11111", "00000", 0.0),
    )
    spikes, mask = (np.array([list(case[k]) for case in cases]).T == "1" for k in (0, 1))
    times = losses.first_spike_time(1.0 * spikes[..., None], dt=1.0, axes="time batch neuron", mask=mask)
    assert times[:, 0].tolist() == [case[2] for case in cases]
    assert losses.first_spike_time(np.zeros((0, 2)), dt=1.0, axes="time neuron").tolist() == [0.0, 0.0]


def test_a_silent_network_is_pushed_to_fire_first_with_the_right_class():
    cell = ns.LIF(3, tau=5 * u.ms, V_th=1 * u.mV, spk_fun=ns.surrogate.Sigmoid())

    @jax.jit
    @jax.grad
    def gradient(current):
        spikes = ns.simulate(cell, jnp.broadcast_to(current, (20, 3)), dt=1.0).outputs
        return losses.first_spike_cross_entropy(spikes, 1, tau=2 * u.ms, dt=1 * u.ms, axes="time class")

    found = gradient(jnp.full(3, 0.5))
    assert found[1] < 0 < found[0] == found[2]


def test_spike_times_may_be_infinite():
    with x64():
        times = jnp.array([[1.0, 2.5, jnp.inf], [jnp.inf, 3.0, 1.0], [jnp.inf] * 3])
        labels, known = np.array([0, 0, 2]), np.where(np.isinf(times), 7.0, times)
        loss = jax.value_and_grad(lambda t: losses.spike_time_cross_entropy(t, labels, 2 * u.ms, t_max=7 * u.ms))
        value, gradient = jax.jit(loss)(times)
        expected = np.mean([cross_entropy(-t / 2, k) for t, k in zip(known, labels)])
        assert float(value) == pytest.approx(expected, rel=1e-13)
        softmax = np.exp(-known / 2) / np.exp(-known / 2).sum(1, keepdims=True)
        by_hand = np.where(np.isinf(times), 0, (np.eye(3)[labels] - softmax) / 2 / 3)
        np.testing.assert_allclose(gradient, by_hand, rtol=1e-12, atol=1e-16)
        assert jnp.isnan(jax.jit(loss)(times.at[0, 0].set(jnp.nan))[0])
        turned = losses.spike_time_cross_entropy(times.T * 1e-3 * u.second, labels, 2.0, t_max=7.0, axes="class batch")
        assert float(turned) == pytest.approx(expected, rel=1e-12)


# Penalties, distances


def test_rates_are_held_between_bounds():
    with x64():
        spikes = np.zeros((6, 4, 3))
        spikes[0, :2, 1], spikes[:, :, 2] = 1, 1  # rates over time and batch: 0, 2 / 24 and 1 per step of 2 ms
        rates = 500 * spikes.mean((0, 1))

        @jax.jit
        @jax.value_and_grad
        def penalty(spikes, mask=None):
            return losses.rate_penalty(spikes, dt=2 * u.ms, lower=0.01, upper=100 * u.Hz, mask=mask)

        value, gradient = penalty(jnp.asarray(spikes))
        assert float(value) == pytest.approx((10.0**2 + 400.0**2) / 3, rel=1e-12)
        slope = np.array([-2 * 10.0, 0, 2 * 400.0]) / 3 * 500 / 24
        np.testing.assert_allclose(gradient, np.broadcast_to(slope, gradient.shape), rtol=1e-12)
        masked = np.where(MASK[..., None], spikes, 0).sum((0, 1)) / MASK.sum() * 500
        expected = np.mean(np.maximum(0, 10 - masked) ** 2 + np.maximum(0, masked - 100) ** 2)
        assert float(penalty(jnp.asarray(spikes), MASK)[0]) == pytest.approx(expected, rel=1e-12)
        square = losses.rate_penalty(spikes, dt=2 * u.ms, upper=0.0)
        assert float(square) == pytest.approx(np.mean(rates**2), rel=1e-12)
        shaped = spikes.reshape(6, 4, 3, 1)
        bounds = np.array([[1.0], [50.0], [0.0]]) * u.Hz
        each = losses.rate_penalty(shaped, dt=2.0, lower=bounds, axes="time batch neuron neuron")
        expected = np.mean(np.maximum(0, [1, 50, 0] - rates) ** 2)
        assert float(each) == pytest.approx(expected, rel=1e-12)


def test_van_rossum_of_one_spike_more_is_a_half():
    with x64():
        run = jax.jit(lambda x, y, tau: losses.van_rossum(x, y, tau, dt=0.5, axes="time neuron"))

        def distance(a, b, tau=2.0):
            given, wanted = np.zeros((2, 400, 1))
            given[a], wanted[b] = 1, 1
            return float(run(given, wanted, tau))

        assert distance([], [399]) == 0.5 == pytest.approx(distance([7], []), rel=1e-14)
        assert distance([7, 30], [7]) == pytest.approx(0.5, rel=1e-14)
        assert distance([10], [390]) == pytest.approx(1.0, rel=1e-14)
        assert distance([10], [14]) == pytest.approx(1 - np.exp(-4 * 0.5 / 2.0), rel=1e-14)
        assert distance([1, 100, 200], [300], tau=1e9) == pytest.approx(2**2 / 2, rel=1e-6)
        assert distance([3, 5], [3, 5]) == 0.0


# Units, errors


def test_quantities_are_converted():
    volts = V * 1e-3 * u.volt

    @jax.jit
    def by_unit():
        van_rossum = functools.partial(losses.van_rossum, SPIKES, TARGET_SPIKES)
        return (
            (losses.max_membrane_cross_entropy(volts, LABELS), losses.max_membrane_cross_entropy(V, LABELS)),
            (losses.mean_square_membrane(volts, TARGET_V * 1e-3 * u.volt), losses.mean_square_membrane(V, TARGET_V)),
            (van_rossum(TAU * 1e-3 * u.second, dt=DT * u.ms), van_rossum(TAU, dt=DT)),
        )

    with x64():
        for given, plain in by_unit():
            assert float(given) == pytest.approx(float(plain), rel=1e-12)
    spikes = np.broadcast_to(np.array([1.0, 0.0]), (300, 2)).astype(jnp.bfloat16)
    loss = jax.jit(lambda: losses.count_cross_entropy(spikes, 1, axes="time class"))()
    assert loss.dtype == jnp.float32 and float(loss) == 300.0  # which bfloat16 could not count to


def test_an_unknown_label_that_is_no_class_gives_nan():
    @jax.jit
    def loss(y):
        count = losses.mean_square_count(SPIKES[:, 0], y, rates=(0.75, 0.25), axes="time class")
        return losses.count_cross_entropy(SPIKES[:, 0], y, axes="time class"), count

    for label in (3, -1):
        assert np.isnan(loss(jnp.array(label))).all()


def test_the_loss_of_nothing_is_zero():
    @jax.jit
    def found(spikes, V):
        none = jnp.zeros((6, 4), bool)
        penalty = functools.partial(losses.rate_penalty, dt=1.0, lower=0.1)
        empty, no_labels = (x[:, :0] for x in (spikes, LABELS[None]))
        times = losses.spike_time_cross_entropy(empty[0], no_labels[0], 1.0, t_max=5.0)
        counts = losses.count_cross_entropy(empty, no_labels[0])
        return all_losses(spikes, V, mask=none), penalty(spikes, mask=none), penalty(empty), times, counts

    assert not np.any(jax.tree.leaves(found(jnp.asarray(SPIKES), jnp.asarray(V))))


BATCH_FIRST = SPIKES.swapaxes(0, 1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: losses.rate_cross_entropy(BATCH_FIRST, LABELS),
            ValueError,
            r"`labels` of `rate_cross_entropy` must be integers of the shape of the batch, which is \(6,\) for "
            r"`axes=.time batch class.` and `spikes` of shape \(4, 6, 3\), got \(4,\). "
            r"They fit `axes=.batch time class.`\.$",
        ),
        (
            lambda: losses.count_cross_entropy(np.zeros((6, 3, 3)), np.zeros(6, int)),
            ValueError,
            r'which is \(3,\) .*got \(6,\). They fit `axes="batch time class"`.',
        ),
        (
            lambda: losses.count_cross_entropy(np.zeros((2, 5, 4)), np.zeros(4, int), axes="batch time class"),
            ValueError,
            r'They fit `axes="time class batch"`',
        ),
        (lambda: losses.rate_cross_entropy(SPIKES, LABELS[:2]), ValueError, r"\(4,\).*got \(2,\)\.$"),
        (lambda: losses.rate_cross_entropy(SPIKES[:, 0], 1), ValueError, r'names 3 axes.*`axes="time class"` without'),
        (lambda: losses.rate_cross_entropy(SPIKES, LABELS, axes="batch class b"), ValueError, "must name `time` once"),
        (lambda: losses.rate_cross_entropy(SPIKES, LABELS, axes="time a b"), ValueError, "`class` or `neuron` once"),
        (lambda: losses.van_rossum(SPIKES, SPIKES, 1, dt=1, axes="time class neuron"), ValueError, "must name `time`"),
        (lambda: losses.rate_cross_entropy(SPIKES, LABELS, axes=(0, 1)), TypeError, "must be a string such as"),
        (lambda: losses.rate_cross_entropy(SPIKES, LABELS + 1), ValueError, "from 0 to 2, since .* 3 classes, got 3"),
        (lambda: losses.rate_cross_entropy(SPIKES, -LABELS), ValueError, "from 0 to 2, .* got -1"),
        (lambda: losses.rate_cross_entropy(SPIKES, LABELS > 0), TypeError, "must be integers, the classes.*bool"),
        (lambda: losses.rate_cross_entropy(SPIKES, 1.0 * LABELS), ValueError, r'\(4, 3\), of the axes "batch class"'),
        (lambda: losses.mean_square_count(SPIKES, COUNTS[:2]), ValueError, r"`targets` .*\(4, 3\).* got \(2, 3\)"),
        (lambda: losses.mean_square_membrane(V, TARGET_V[0]), ValueError, r"\(6, 4, 3\), of the axes.*got \(4, 3\)"),
        (
            lambda: losses.rate_cross_entropy(SPIKES, LABELS, mask=MASK.T),
            ValueError,
            r'`mask`.*"time batch" of `spikes',
        ),
        (lambda: losses.rate_cross_entropy(SPIKES, LABELS, mask=1.0 * MASK), ValueError, "must be boolean.*float"),
        (lambda: losses.rate_cross_entropy("spikes", LABELS), TypeError, "`spikes` .* must be numeric"),
        (lambda: losses.rate_cross_entropy(SPIKES * u.mV, LABELS), ns.UnitError, "`spikes` .* dimensionless"),
        (lambda: losses.max_membrane_cross_entropy(V * u.mA, LABELS), ns.UnitError, "`V` .* like mV"),
        (lambda: losses.van_rossum(SPIKES, SPIKES, 1 * u.mV, dt=1), ns.UnitError, "`tau` of `van_rossum` .* like ms"),
        (lambda: losses.first_spike_time(SPIKES, dt=0.0), ValueError, "`dt` of `first_spike_time` must be positive"),
        (lambda: losses.rate_penalty(SPIKES, dt=1.0), ValueError, "got no bound. Pass `lower`"),
        (lambda: losses.rate_penalty(SPIKES, dt=1.0, lower=1 * u.ms), ns.UnitError, "`lower` of `rate_penalty`"),
    ],
)
def test_errors_say_what_to_write(make, error, message):
    with pytest.raises(error, match=message):
        make()

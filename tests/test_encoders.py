"""Encoders against values by hand, plain loops and the laws of probability."""

from __future__ import annotations

import math

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns

from .helpers import x64


encode = ns.encode
KEY = jax.random.key(0)


@pytest.mark.parametrize("wide", [False, True])
def test_rates_are_met_and_the_same_key_gives_the_same_spikes(wide):
    with x64(wide):
        f = jnp.array([0.0, 2.0, 80.0, 3000.0])
        make = jax.jit(lambda f, key: encode.poisson(f * u.Hz, 100_000, dt=0.5 * u.ms, key=key))
        spikes = make(f, KEY)
        assert spikes.shape == (100_000, 4) and spikes.dtype == f.dtype and set(np.unique(spikes)) == {0.0, 1.0}
        assert (spikes == make(f, KEY)).all() and not (spikes == make(f, jax.random.key(1))).all()
    p = -np.expm1(-np.array([0.0, 2.0, 80.0, 3000.0]) * 0.5e-3)
    mean = np.asarray(spikes, np.float64).mean(axis=0)
    assert (np.abs(mean - p) <= 3 * np.sqrt(p * (1 - p) / 1e5)).all()


def test_probabilities_are_met():
    p = np.array([[0.0, 1.0, 0.03], [0.5, 0.9, 0.001]])
    spikes = np.asarray(encode.bernoulli(jnp.asarray(p), 100_000, key=KEY), np.float64)
    assert spikes.shape == (100_000, 2, 3)
    assert (np.abs(spikes.mean(axis=0) - p) <= 3 * np.sqrt(p * (1 - p) / 1e5)).all()
    pairs = np.corrcoef(spikes[:, [0, 1, 1], [2, 0, 1]].T) - np.eye(3)
    assert np.abs(pairs).max() < 4 / math.sqrt(1e5)


def test_rates_and_the_poisson_source_agree():
    spikes = encode.poisson(50 * u.Hz, 100_000, dt=1.0, key=KEY)
    sol = ns.simulate(ns.PoissonSpike(100_000, 50 * u.Hz), jnp.zeros(1), dt=1.0, key=KEY)
    assert abs(float(spikes.mean() - sol.outputs.mean())) < 3 * math.sqrt(2 * 0.05 / 1e5)


@pytest.mark.parametrize("dt", [0.1, 0.3])
def test_latencies_by_hand(dt):
    x = np.array([[1.0, 0.75, 0.5], [0.1, 1e-6, 0.0], [-0.5, 0.02, 0.01]])
    linear = encode.latency(jnp.asarray(x), 60, 4 * u.ms, dt=dt)
    log = encode.latency(jnp.asarray(x), 60, 4 * u.ms, dt=dt, method="log", threshold=0.02)
    for made, starts, time in (
        (linear, 0.0, lambda v: 4.0 * (1 - v)),
        (log, 0.02, lambda v: 4.0 * math.log(v / (v - 0.02))),
    ):
        expected = np.zeros((60, 3, 3))
        for index, value in np.ndenumerate(x):
            if value > starts and time(value) / dt < 60:
                expected[(math.floor(time(value) / dt + 1e-3), *index)] = 1
        np.testing.assert_array_equal(made, expected)
    assert linear.sum() == 7 and log[:, 2, 1].sum() == 0  # at the threshold


def test_the_latency_is_that_of_a_leaky_integrator():
    x = jnp.array([0.3, 0.6, 2.0])
    lif = ns.LIF(3, tau=5.0, V_th=0.25, spk_reset=None)
    spikes = ns.simulate(lif, jnp.broadcast_to(x, (200, 3)), dt=0.1).outputs
    code = encode.latency(x, 200, 5.0, dt=0.1, method="log", threshold=0.25)
    assert (code.argmax(axis=0) == spikes.argmax(axis=0)).all()


def test_population_codes_by_hand():
    with x64():
        made = encode.population(jnp.array([[0.0, 0.25], [0.5, 2.0]]), 5, 0.0, 1.0)
        assert made.shape == (2, 2, 5)
        gauss = lambda x, width: [math.exp(-((x - c) ** 2) / (2 * width**2)) for c in (0.0, 0.25, 0.5, 0.75, 1.0)]  # noqa: E731
        np.testing.assert_allclose(made[0, 1], gauss(0.25, 0.25), rtol=1e-12)
        np.testing.assert_allclose(made[1, 1], gauss(2.0, 0.25), rtol=1e-12)
        wide = encode.population(500e-6 * u.volt, 5, 0.0 * u.mV, 1.0 * u.mV, width=100e-6 * u.volt)
        np.testing.assert_allclose(wide, gauss(0.5, 0.1), rtol=1e-12)
        slope = jax.grad(lambda x: encode.population(x, 5, 0.0, 1.0)[1])(0.4)
        np.testing.assert_allclose(slope, -(0.15 / 0.25**2) * gauss(0.4, 0.25)[1], rtol=1e-12)
    spikes = encode.poisson(100 * u.Hz * encode.population(0.5, 5, 0.0, 1.0), 1000, dt=1.0, key=KEY)
    assert int(spikes.sum(axis=0).argmax()) == 2


def test_delta_codes_are_a_plain_loop():
    x = np.random.default_rng(0).normal(size=(200, 3, 2)).cumsum(axis=0).astype(np.float32)
    threshold = np.array([1.0, 2.5], np.float32)
    expected, reference = np.zeros_like(x), x[0].copy()
    for t, value in enumerate(x):
        for index in np.ndindex(3, 2):
            change = value[index] - reference[index]
            if abs(change) >= threshold[index[1]]:
                expected[(t, *index)], reference[index] = np.sign(change), value[index]
    made = jax.jit(lambda x: encode.delta(x * u.mV, threshold * u.mV))(x)
    np.testing.assert_array_equal(made, expected)
    assert set(np.unique(made)) == {-1.0, 0.0, 1.0}
    slow = encode.delta(jnp.linspace(0.0, 1.0, 101), 0.0999)
    assert slow.sum() == 10 and encode.delta(jnp.linspace(0.0, 1.0, 101) * u.volt, 99.9 * u.mV).sum() == 10


def test_step_currents_and_units():
    made = encode.step_current(jnp.array([[0.0, 1.0]]), 3, scale=2.0 * u.nA, offset=500.0 * u.pA)
    assert made.unit == u.nA and made.mantissa.tolist() == [[[0.5, 2.5]]] * 3
    assert encode.step_current(2.0, 2, scale=3.0).tolist() == [6.0, 6.0]
    assert float(jax.grad(lambda s: encode.step_current(2.0, 4, scale=s).sum())(1.0)) == 8.0


def test_encoders_can_be_mapped():
    f = jnp.array([[0.0, 0.2], [0.5, 1.0]])
    keys = jax.random.split(KEY)
    for one in (
        lambda f, key: encode.bernoulli(f, 20, key=key),
        lambda f, key: encode.latency(f, 20, 5.0, dt=1.0),
        lambda f, key: encode.population(f, 3, 0.0, 1.0),
    ):
        mapped = jax.vmap(one)(f, keys)
        np.testing.assert_array_equal(mapped, jnp.stack([one(*args) for args in zip(f, keys, strict=True)]))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: encode.poisson(1.0, 5, dt=0.1), ValueError, "`poisson` draws .* no `key`.*jax.random.key"),
        (lambda: encode.bernoulli(0.5, 5), ValueError, "`bernoulli` draws .* no `key`"),
        (lambda: encode.poisson(1.0 * u.ms, 5, dt=0.1, key=KEY), ns.UnitError, "`rates` of `poisson`"),
        (lambda: encode.poisson(-1.0, 5, dt=0.1, key=KEY), ValueError, "`rates` of `poisson` must be not negative"),
        (lambda: encode.poisson(1.0, 5, dt=0.1 * u.mV, key=KEY), ns.UnitError, "`dt` of `poisson`"),
        (lambda: encode.poisson(1.0, 0, dt=0.1, key=KEY), ValueError, "`num_steps` of `poisson`.*positive int"),
        (lambda: encode.bernoulli(1.5, 5, key=KEY), ValueError, "`p` of `bernoulli` must be between 0 and 1"),
        (lambda: encode.bernoulli("a", 5, key=KEY), TypeError, "`p` of `bernoulli` must be numeric"),
        (lambda: encode.latency(1.5, 5, 4.0, dt=1.0), ValueError, "`x` of `latency` must be at most 1"),
        (lambda: encode.latency(0.5, 5, 0.0, dt=1.0), ValueError, "`tau` of `latency` must be positive"),
        (lambda: encode.latency(0.5, 5, 4.0, dt=1.0, method="cubic"), ValueError, "`method` of `latency`"),  # pyright: ignore[reportArgumentType]
        (lambda: encode.latency(0.5, 5, 4.0, dt=1.0, method="log", threshold=0), ValueError, "`threshold`"),
        (lambda: encode.population(1.0, 1, 0.0, 1.0), ValueError, "`num` of `population`"),
        (lambda: encode.population(1.0, 3, 1.0, 0.0), ValueError, "`high` of `population` must be above `low`"),
        (lambda: encode.population(1.0 * u.mV, 3, 0.0, 1.0), ns.UnitError, "`low`"),
        (lambda: encode.delta(1.0, 0.1), ValueError, "time as its first axis"),
        (lambda: encode.delta([1.0], 0.0), ValueError, "`threshold` of `delta` must be positive"),
        (lambda: encode.delta([1.0] * u.mV, 1.0 * u.nA), ns.UnitError, "`threshold`"),
        (lambda: encode.step_current(1.0 * u.mV, 3, 1.0), ns.UnitError, "`x` of `step_current`"),
    ],
)
def test_errors_name_the_argument(make, error, message):
    with pytest.raises(error, match=message):
        make()

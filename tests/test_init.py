"""The values of the initialisers against SciPy's distributions and the formulas of the papers, and their keys."""

from __future__ import annotations

import math

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from neurostate import init
from neurostate._custom_types import as_shape
from neurostate._errors import UnitError

from .helpers import x64


SIZE = (200, 100)  # one for most tests: each new shape is a compilation
N = 20_000
KEY = jax.random.key(2024)


@pytest.fixture
def no_default_key():
    previous = init._set_default_key_source(None)
    yield
    init._set_default_key_source(previous)


def truncnorm(mean, std, low, high):
    return stats.truncnorm((low - mean) / std, (high - mean) / std, mean, std)


def lognorm(mean, std):
    sigma = math.sqrt(math.log(1 + (std / mean) ** 2))
    return stats.lognorm(sigma, scale=mean * math.exp(-(sigma**2) / 2))


DISTRIBUTIONS = [
    (init.Uniform(-1.0, 3.0), stats.uniform(-1.0, 4.0)),
    (init.Normal(-65.0, 2.0), stats.norm(-65.0, 2.0)),
    (init.LogNormal(0.5, 0.2), lognorm(0.5, 0.2)),
    (init.Gamma(2.5, 0.5), stats.gamma(2.5, scale=0.5)),
    (init.Exponential(0.5), stats.expon(scale=0.5)),
    (init.TruncatedNormal(0.5, 0.2, 0.2, 0.6), truncnorm(0.5, 0.2, 0.2, 0.6)),
    (init.TruncatedNormal(0.5, 0.2), stats.norm(0.5, 0.2)),
    (init.TruncatedNormal(0.5, 0.2, high=0.4), truncnorm(0.5, 0.2, -np.inf, 0.4)),
    (init.TruncatedNormal(0.0, 1.0, low=7.0), truncnorm(0.0, 1.0, 7.0, np.inf)),
    (init.TruncatedNormal(0.0, 1.0, high=-7.0), truncnorm(0.0, 1.0, -np.inf, -7.0)),
    (init.Beta(2.0, 5.0, -1.0, 1.0), stats.beta(2.0, 5.0, -1.0, 2.0)),
    (init.Weibull(1.5, 0.5), stats.weibull_min(1.5, scale=0.5)),
    (init.Normal(1.0, 1.0) * 2.0 + 3.0, stats.norm(5.0, 2.0)),
    (init.Normal(1.0, 3.0) - init.Normal(1.0, 4.0), stats.norm(0.0, 5.0)),
]


@pytest.mark.parametrize(("initialiser", "reference"), DISTRIBUTIONS, ids=lambda x: str(x) if eqx.is_array(x) else None)
def test_samples_follow_the_distribution(initialiser, reference):
    values = initialiser(SIZE, key=KEY)
    assert values.shape == SIZE and values.dtype == jnp.float32 and not values.weak_type
    values = np.asarray(values, dtype=np.float64).ravel()
    mean, variance, kurtosis = (float(x) for x in reference.stats("mvk"))
    assert abs(values.mean() - mean) < 5 * math.sqrt(variance / N)
    assert abs(values.var() - variance) < 5 * variance * math.sqrt((kurtosis + 2) / N)
    low, high = reference.support()
    assert np.all((values >= np.float32(low)) & (values <= np.float32(high)))
    assert stats.kstest(values, reference.cdf).pvalue > 1e-4


def test_float64():
    initialiser, reference = DISTRIBUTIONS[8]
    with x64():
        values = initialiser(SIZE, key=KEY)
        assert values.dtype == jnp.float64
        assert init.Constant(0.1)(2).dtype == jnp.float64
        assert init.Constant(0.1)(2)[0] == 0.1
        assert init.LecunUniform()(SIZE, key=KEY).dtype == jnp.float64
        assert init.param(0.1, 2) == 0.1
        values = np.asarray(values).ravel()
    assert stats.kstest(values, reference.cdf).pvalue > 1e-4


def test_parameters_may_differ_between_values():
    mean = np.linspace(0.0, 10.0, 100)
    values = np.asarray(init.Normal(mean, np.linspace(0.0, 2.0, 100))(SIZE, key=KEY))
    assert np.all(values[:, 0] == 0.0)
    assert np.all(np.abs(values.mean(0) - mean) <= 5 * np.linspace(0.0, 2.0, 100) / math.sqrt(200))
    # A distribution of no width is its mean, kept in the bounds.
    bounded = np.asarray(init.TruncatedNormal(mean, np.arange(100) % 2, mean + 0.5, 8.0 + mean)(SIZE, key=KEY))
    mean = mean.astype(np.float32)
    np.testing.assert_allclose(bounded[:, ::2], np.broadcast_to(mean[::2] + 0.5, (200, 50)), rtol=1e-6)
    assert np.all((bounded >= mean + 0.5 - 1e-6) & (bounded <= mean + 8.0))
    assert np.all(bounded[:, 1::2].std(0) > 0.1)


# Matrices


FANS = [
    (init.KaimingNormal(), lambda i, o: 2 / i, "normal"),
    (init.KaimingUniform(), lambda i, o: 2 / i, "uniform"),
    (init.KaimingNormal(mode="fan_out"), lambda i, o: 2 / o, "normal"),
    (init.KaimingUniform(nonlinearity="leaky_relu", negative_slope=0.5), lambda i, o: 1.6 / i, "uniform"),
    (init.KaimingNormal(scale=3.0), lambda i, o: 3 / i, "normal"),
    (init.XavierNormal(), lambda i, o: 2 / (i + o), "normal"),
    (init.XavierUniform(2.0), lambda i, o: 4 / (i + o), "uniform"),
    (init.LecunNormal(), lambda i, o: 1 / i, "normal"),
    (init.LecunUniform(), lambda i, o: 1 / i, "uniform"),
    (init.VarianceScaling(1.5, "fan_avg", "truncated_normal"), lambda i, o: 3 / (i + o), "truncated"),
]
KURTOSIS = {"normal": 0.0, "uniform": -1.2, "truncated": float(stats.truncnorm(-2, 2).stats("k"))}


@pytest.mark.parametrize(("initialiser", "variance", "form"), FANS, ids=[f"{fan[0]}" for fan in FANS])
def test_variance_is_scaled_by_the_fan(initialiser, variance, form):
    expected = variance(*SIZE)
    values = np.asarray(initialiser(SIZE, key=KEY), dtype=np.float64)
    assert values.shape == SIZE
    assert abs(values.mean()) < 5 * math.sqrt(expected / N)
    assert abs(values.var() - expected) < 5 * expected * math.sqrt((KURTOSIS[form] + 2) / N)
    if form == "uniform":
        assert np.abs(values).max() <= math.sqrt(3 * expected) * (1 + 1e-6)


def test_fan_of_kernels_axes_and_vectors():
    for mode, fan in [("fan_in", 500), ("fan_out", 1000), ("fan_avg", 750)]:
        kernel = init.VarianceScaling(mode=mode)((5, 5, 20, 40), key=KEY)
        assert abs(kernel.var() - 1 / fan) < 5 / fan * math.sqrt(2 / N)
    turned = init.LecunNormal(in_axis=1, out_axis=0)(SIZE, key=KEY)
    assert abs(turned.var() - 1 / 100) < 5 / 100 * math.sqrt(2 / N)
    for mode in ("fan_in", "fan_out", "fan_avg"):
        vector = init.KaimingUniform(mode=mode)(N, key=KEY)
        assert abs(vector.var() - 2 / N) < 5 * 2 / N * math.sqrt(0.8 / N)
    assert init.KaimingUniform()((), key=KEY).shape == ()
    assert init.KaimingUniform()((0, 3), key=KEY).shape == (0, 3)


def test_fans_do_not_count_the_batch():
    values = init.param(init.LecunNormal(), SIZE, batch_size=4, key=KEY)
    assert values.shape == (4, *SIZE)
    assert abs(values.var() - 1 / 200) < 5 / 200 * math.sqrt(2 / (4 * N))


@pytest.mark.parametrize(("shape", "enable"), [((4, 4), False), ((6, 3), True), ((3, 6), False), ((2, 3, 4), False)])
def test_orthogonal(shape, enable):
    with x64(enable):
        q = np.asarray(init.Orthogonal(2.0)(shape, key=KEY)).reshape(-1, shape[-1]) / 2
    gram = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-13 if enable else 1e-5)


def test_orthogonal_lanes_of_a_batch_are_orthogonal_and_differ():
    q = np.asarray(init.param(init.Orthogonal(), (4, 4), 3, key=KEY))
    np.testing.assert_allclose(q @ q.transpose(0, 2, 1), np.broadcast_to(np.eye(4), (3, 4, 4)), atol=1e-5)
    assert not np.allclose(q[0], q[1])


@pytest.mark.parametrize("shape", [(3, 3, 3, 6), (5, 6, 3)])
def test_delta_orthogonal(shape):
    kernel = np.asarray(init.DeltaOrthogonal()(shape, key=KEY))
    centre = tuple(n // 2 for n in shape[:-2])
    matrix = kernel[centre]
    gram = matrix @ matrix.T if shape[-2] <= shape[-1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-5)
    assert np.count_nonzero(kernel) == np.count_nonzero(matrix)


def test_identity():
    np.testing.assert_array_equal(init.Identity(3.0)((2, 4)), 3 * np.eye(2, 4))
    np.testing.assert_array_equal(init.Identity()((2, 3, 3)), np.stack([np.eye(3)] * 2))
    np.testing.assert_array_equal(init.Identity(2.0)(3), [2, 2, 2])
    np.testing.assert_array_equal(init.param(init.Identity(), (3,), 2), np.ones((2, 3)))


# Combinations


def test_mixture_and_its_weights():
    mixture = init.Mixture([init.Constant(0.0 * u.mV), init.Uniform(1.0 * u.volt, 2.0 * u.volt)], [0.7, 0.3])
    values = mixture(SIZE, key=KEY)
    assert values.unit == u.mV
    share = float(jnp.mean(values.mantissa >= 1000.0))
    assert abs(share - 0.3) < 5 * math.sqrt(0.21 / N)
    assert np.all((values.mantissa == 0) | ((values.mantissa >= 1000) & (values.mantissa <= 2000)))
    assert init.Mixture([0.0, 1.0]).weights == (0.5, 0.5)
    with pytest.raises(UnitError, match=r"`distributions\[1\]` is in ms, `distributions\[0\]` is in mV"):
        init.Mixture([init.Constant(0.0 * u.mV), init.Constant(1.0 * u.ms)])(3, key=KEY)


@pytest.mark.parametrize("weights", [[0.5], [0.5, 0.6], [-0.5, 1.5], [np.nan, 1.0]])
def test_mixture_refuses_weights(weights):
    with pytest.raises(ValueError, match="`Mixture`.*weights"):
        init.Mixture([0.0, 1.0], weights)


def test_conditional():
    initialiser = init.Conditional(lambda i: i < 4, init.Constant(1.0 * u.nS), init.Constant(-2.0e-3 * u.uS))
    values = initialiser((2, 3))
    assert values.unit == u.nS
    np.testing.assert_allclose(values.mantissa, [[1, 1, 1], [1, -2, -2]])
    np.testing.assert_allclose(initialiser(3, neuron_indices=np.array([9, 0, 9])).mantissa, [-2, 1, -2])
    np.testing.assert_allclose((initialiser * 2)(2, neuron_indices=np.array([9, 0])).mantissa, [-4, 2])
    # In a batch the index is that of the neuron, not of the flat array.
    batched = init.param(initialiser, (6,), 2)
    np.testing.assert_allclose(batched.mantissa, [[1, 1, 1, 1, -2, -2]] * 2)
    with pytest.raises(ValueError, match="one boolean"):
        init.Conditional(lambda i: i[:2] > 0, 1.0, 2.0)(3)


def test_scaled_clipped_and_functions():
    scaled = init.Scaled(init.Constant(2.0 * u.mV), 3.0 / u.ms)(2)
    assert scaled.unit == u.mV / u.ms and scaled.mantissa.tolist() == [6.0, 6.0]
    normal = init.Normal(0.0 * u.mV, 1.0 * u.mV)
    clipped = init.Clipped(normal, min_val=-1e-3 * u.volt, max_val=0.5 * u.mV)(100, key=KEY)
    np.testing.assert_array_equal(clipped.mantissa, np.clip(normal(100, key=KEY).mantissa, -1, 0.5))
    assert eqx.tree_equal(normal.clip(-1.0 * u.mV, 0.5 * u.mV)(100, key=KEY), clipped)
    piped = (init.Constant(4.0) | jnp.sqrt | (lambda x: x + 1))(2)
    assert piped.tolist() == init.Compose(init.Constant(4.0), jnp.sqrt, lambda x: x + 1)(2).tolist() == [3.0, 3.0]
    assert init.Constant(4.0).apply(jnp.sqrt)(1).tolist() == [2.0]
    with pytest.raises(UnitError, match="`min_val` is a plain number, `base_dist` is in mV"):
        normal.clip(0.0)(3, key=KEY)
    with pytest.raises(TypeError, match="An initialiser takes a size"):
        normal.apply(normal)
    with pytest.raises(ValueError, match="needs an initialiser"):
        init.Compose()


def test_arithmetic():
    one, two = init.Constant(1.0 * u.mV), init.Constant(2.0 * u.volt)
    for total, expected, unit in [
        (one + two, 2001.0, u.mV),
        (one - 1e-3 * u.volt, 0.0, u.mV),
        (one.add(1.0 * u.mV), 2.0, u.mV),
        (3 * one, 3.0, u.mV),
        (one.multiply(2.0 * u.nS), 2.0, u.mV * u.nS),
        (one / (2.0 * u.ms), 0.5, u.mV / u.ms),
        (np.array([2.0, 2.0]) * one, 2.0, u.mV),
        (jnp.ones(2) / one, 1.0, u.mV**-1),
        (one / one, 1.0, None),
        (5.0 - init.Constant(1.0), 4.0, None),
    ]:
        values = total(2)
        if unit is not None:
            values = values.to(unit).mantissa
        assert isinstance(values, jax.Array)
        np.testing.assert_allclose(values, [expected] * 2, rtol=1e-6)
    with pytest.raises(UnitError, match="`right` is a plain number, `left` is in mV"):
        (one + 1.0)(2)


class Ramp(init.Initialization):
    top: float

    def __call__(self, size, key=None, **kwargs):
        size = as_shape(size)
        noise = 0.0 if key is None else jax.random.uniform(key, size)
        return jnp.broadcast_to(jnp.linspace(0.0, self.top, size[-1]), size) + noise


def test_a_users_own_initialiser():
    np.testing.assert_allclose((Ramp(2.0) * 2)(3), [0, 2, 4])
    values = init.param(Ramp(2.0), (3,), 2, key=KEY)
    assert values.shape == (2, 3) and not np.allclose(values[0], values[1])


# Keys


RANDOM = [x for x, _ in DISTRIBUTIONS] + [x for x, *_ in FANS]
RANDOM += [init.Mixture([init.Normal(0.0, 1.0), 2.0]), init.Conditional(lambda i: i < 3, RANDOM[0], 2)]
RANDOM += [init.Scaled(RANDOM[0], 2.0), RANDOM[1].clip(-65.0), RANDOM[1] | jnp.exp]


@pytest.mark.parametrize("initialiser", RANDOM, ids=repr)
def test_a_key_is_needed_and_decides_the_values(initialiser, no_default_key):
    first, again, other = (initialiser(SIZE, key=jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(ValueError, match="draws random numbers, but it got no key.*\n.*key=jax.random.key"):
        initialiser(SIZE)


def test_default_key_source(no_default_key):
    keys = iter(jax.random.split(KEY, 3))
    assert init._set_default_key_source(lambda: next(keys)) is None
    normal = init.Normal(0.0, 1.0)
    expected = [normal(3, key=k) for k in jax.random.split(KEY, 3)]
    np.testing.assert_array_equal(normal(3), expected[0])
    np.testing.assert_array_equal(normal(3, key=jax.random.key(5)), normal(3, jax.random.key(5)))
    np.testing.assert_array_equal(init.param(normal, 3), expected[1])
    np.testing.assert_array_equal((normal + 1.0)(3), expected[2] + 1)
    init.Constant(1.0)(3)  # asks for none
    with pytest.raises(StopIteration):
        normal(3)


def test_other_sources_of_randomness():
    class Source:
        def split_key(self):
            return jax.random.key(7)

    normal = init.Normal(0.0, 1.0)
    np.testing.assert_array_equal(normal(3, rng=Source()), normal(3, key=jax.random.key(7)))
    np.testing.assert_array_equal(normal(3, rng=jax.random.key(7)), normal(3, key=jax.random.key(7)))
    np.testing.assert_array_equal(normal(3, key=jax.random.PRNGKey(7)), normal(3, rng=np.asarray([0, 7], np.uint32)))
    first, again = (normal(3, rng=np.random.default_rng(0)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    rng = np.random.default_rng(0)
    assert not np.array_equal(normal(3, rng=rng), normal(3, rng=rng))
    np.testing.assert_array_equal(normal(3, key=KEY, rng=rng), normal(3, key=KEY))
    for wrong in (5, "seed", jnp.zeros(3), jax.random.split(KEY)):
        with pytest.raises(TypeError, match="needs a JAX random key"):
            normal(3, wrong)
    with pytest.raises(TypeError, match="cannot draw from `rng=5`"):
        normal(3, rng=5)

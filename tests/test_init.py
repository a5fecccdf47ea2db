"""The initialisers against SciPy's distributions and the formulas of the papers, and `param`."""

from __future__ import annotations

import inspect
import math

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


@pytest.mark.parametrize(("initialiser", "variance", "form"), FANS, ids=lambda x: repr(x) if callable(x) else x)
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


# Units


def test_results_carry_the_unit_of_the_parameters():
    cases = [
        init.Constant(1.0 * u.mV),
        init.Constant(1.0, unit=u.mV),
        init.Constant([1.0 * u.mV, 1e-3 * u.volt]),
        init.ZeroInit(u.mV),
        init.Uniform(0.0 * u.mV, 1.0 * u.mV),
        init.Uniform(0.0, 1.0, unit=u.mV),
        init.Uniform(0.0 * u.volt, 1e-3 * u.volt, unit=u.mV),
        init.Normal(0.0 * u.mV, 1e-3 * u.volt),
        init.LogNormal(1.0 * u.mV, 1.0 * u.mV),
        init.Gamma(1.0, 1.0 * u.mV),
        init.Exponential(1.0 * u.mV),
        init.TruncatedNormal(0.0 * u.mV, 1.0 * u.mV, low=-1e-3 * u.volt),
        init.Beta(1.0, 1.0, 0.0 * u.mV, 1.0 * u.mV),
        init.Weibull(1.0, 1.0 * u.mV),
        init.KaimingNormal(2.0 * u.mV),
        init.XavierUniform(unit=u.mV),
    ]
    for initialiser in cases:
        values = init.param(initialiser, (200, 2) if initialiser is cases[2] else SIZE, key=KEY)
        assert values.unit == u.mV and isinstance(values.mantissa, jax.Array), initialiser
        assert not any(isinstance(leaf, u.Quantity) for leaf in jax.tree.leaves(initialiser, is_leaf=_is_quantity))
    np.testing.assert_allclose(init.Normal(0.0 * u.mV, 1e-3 * u.volt).std, 1.0)
    assert isinstance(init.Constant(1.0 * u.mV / u.mV)(2), jax.Array)


def _is_quantity(x):
    return isinstance(x, u.Quantity)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: init.Normal(0.0 * u.mV, 1.0 * u.ms), ("std", "mean")),
        (lambda: init.Normal(0.0 * u.mV, 1.0), ("std", "mean")),
        (lambda: init.Uniform(0.0, 1.0 * u.mV), ("high", "low")),
        (lambda: init.Uniform(0.0 * u.ms, 1.0 * u.ms, unit=u.mV), ("low", "unit")),
        (lambda: init.TruncatedNormal(0.0 * u.mV, 1.0 * u.mV, high=1.0 * u.nS), ("high", "mean")),
        (lambda: init.Clipped(init.ZeroInit(), 0.0 * u.mV, 1.0 * u.ms), ("max_val", "min_val")),
        (lambda: init.Constant([1.0 * u.mV, 1.0 * u.ms]), (r"value\[1\]", r"value\[0\]")),
    ],
)
def test_a_mismatch_of_units_names_both_parameters(make, names):
    with pytest.raises(UnitError, match="`{}` and `{}` have different dimensions".format(*names)):
        make()
    with pytest.raises(UnitError, match="must be dimensionless"):
        init.Gamma(1.0 * u.mV, 1.0)


# Values that are refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: init.Normal(0.0, -1.0), "`Normal`: `std` must be at least 0, got -1.0"),
        (lambda: init.Normal(0.0, np.array([1.0, np.nan])), "`Normal`: `std` must be at least 0"),
        (lambda: init.LogNormal(0.0, 1.0), "`LogNormal`: `mean` must be positive"),
        (lambda: init.Gamma(0.0, 1.0), "`Gamma`: `shape` must be positive"),
        (lambda: init.Exponential(-1.0 * u.ms), "`Exponential`: `scale` must be positive"),
        (lambda: init.Weibull(1.0, 0.0), "`Weibull`: `scale` must be positive"),
        (lambda: init.Beta(1.0, 0.0, 0.0, 1.0), "`Beta`: `beta` must be positive"),
        (lambda: init.Uniform(1.0 * u.mV, 1.0 * u.mV), "`Uniform`: `low` must be below `high`"),
        (lambda: init.TruncatedNormal(0.0, 1.0, 2.0, 1.0), "`TruncatedNormal`: `low` must be below `high`"),
        (lambda: init.KaimingNormal(mode="fan"), "`KaimingNormal`: `mode` must be one of 'fan_in'"),  # pyright: ignore
        (lambda: init.KaimingUniform(nonlinearity="tanh"), "`nonlinearity` must be one of 'relu'"),  # pyright: ignore
        (lambda: init.VarianceScaling(distribution="beta"), "`distribution` must be one of"),  # pyright: ignore
        (lambda: init.XavierNormal(0.0), "`XavierNormal`: `scale` must be positive"),
        (lambda: init.Constant(None), "`Constant` needs a `value`"),
        (lambda: init.Mixture([]), "at least one initialiser"),
        (lambda: init.Orthogonal()(3, key=KEY), "at least 2 axes"),
        (lambda: init.DeltaOrthogonal()((3, 3), key=KEY), "at least 3 axes"),
        (lambda: init.Constant(np.ones(3))(4), r"`value` of `Constant` has the shape \(3,\).*\(4,\)"),
        (lambda: init.Normal(np.ones(3), 1.0)((3, 2), key=KEY), r"`mean` of `Normal` has the shape \(3,\).*\(3, 2\)"),
        (lambda: init.Normal(np.ones((2, 3)), 1.0)(3, key=KEY), r"shape \(2, 3\).*\(3,\)"),
        (lambda: init.Constant(1.0)(-1), "must not be negative"),
    ],
)
def test_bad_values_are_refused_with_their_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("wrong", ["1", init.Constant(1.0), object(), 1j])
def test_values_of_a_wrong_type(wrong):
    with pytest.raises(TypeError, match="`Constant` needs a number, an array or a Quantity as its `value`"):
        init.Constant(wrong)
    with pytest.raises(TypeError, match="needs a unit such as"):
        init.Constant(1.0, unit="mV")  # pyright: ignore[reportArgumentType]


# Pytrees


def test_an_array_is_a_trainable_leaf_and_a_number_is_not():
    trainable = init.Constant(np.array([1, 2]) * u.mV)
    (leaf,) = jax.tree.leaves(eqx.filter(trainable, eqx.is_inexact_array))
    assert leaf.dtype == jnp.float32
    assert not jax.tree.leaves(eqx.filter(init.Constant(0.0 * u.mV), eqx.is_inexact_array))
    gradient = jax.grad(lambda c: jnp.sum(c((3, 2)).mantissa ** 2))(trainable)
    np.testing.assert_allclose(gradient.value, [6.0, 12.0])


def test_gradients_reach_the_parameters_of_a_distribution():
    def loss(mean, std):
        return jnp.sum(init.Normal(mean, std)(5, key=KEY))

    noise = init.Normal(0.0, 1.0)(5, key=KEY)
    d_mean, d_std = jax.grad(loss, argnums=(0, 1))(1.0, 2.0)
    np.testing.assert_allclose([d_mean, d_std], [5.0, noise.sum()], rtol=1e-6)


def test_works_under_jit_and_vmap_unwrapped():
    initialiser = init.Normal(0.0 * u.mV, 1.0 * u.mV) | (lambda x: 2 * x)
    traces = []

    @jax.jit
    def make(initialiser, key):
        traces.append(1)
        return initialiser(SIZE, key=key)

    np.testing.assert_allclose(
        u.get_mantissa(make(initialiser, KEY)), u.get_mantissa(initialiser(SIZE, key=KEY)), atol=1e-6
    )
    make(jax.tree.map(lambda x: x, initialiser), KEY)
    assert len(traces) == 1
    keys = jax.random.split(KEY, 2)
    lanes = jax.vmap(lambda k: initialiser(SIZE, key=k))(keys)
    np.testing.assert_allclose(u.get_mantissa(lanes[1]), u.get_mantissa(initialiser(SIZE, key=keys[1])), atol=1e-5)


@pytest.mark.parametrize(
    ("initialiser", "text"),
    [
        (init.Constant(0.0 * u.mV), "Constant(value=0.0 * mvolt)"),
        (init.Constant(2), "Constant(value=2.0)"),
        (init.Constant(np.float32(0.1) * u.ms), "Constant(value=0.10000000149011612 * msecond)"),
        (init.Constant(jnp.asarray(0.1) * u.ms), "Constant(value=0.1 * msecond)"),
        (init.Constant(np.ones((2, 3)) * u.mV), "Constant(value=f32[2,3] * mvolt)"),
        (init.ZeroInit(), "ZeroInit()"),
        (init.ZeroInit(u.nS), "ZeroInit(unit=nsiemens)"),
        (init.TruncatedNormal(0.0, 1.0, high=2.0), "TruncatedNormal(mean=0.0, std=1.0, high=2.0)"),
        (init.KaimingNormal(), "KaimingNormal(scale=2.0)"),
        (init.KaimingNormal(mode="fan_out", unit=u.nS), "KaimingNormal(scale=2.0 * nsiemens, mode='fan_out')"),
        (2 * init.Normal(0.0, 1.0) + 1.0, "((2.0 * Normal(mean=0.0, std=1.0)) + 1.0)"),
        (init.ZeroInit() + 1.0 * u.mV, "(ZeroInit() + (1.0 * mvolt))"),
        (init.Constant(1.0) * 2.0, "(Constant(value=1.0) * 2.0)"),
        (init.ZeroInit() | jnp.exp, "Compose(ZeroInit(), exp)"),
    ],
)
def test_repr(initialiser, text):
    assert repr(initialiser) == text


def test_signatures_are_those_that_code_in_the_field_uses():
    expected = {
        "Constant": "value, unit=None",
        "ZeroInit": "unit=None",
        "Uniform": "low, high, unit=None",
        "Normal": "mean, std, unit=None",
        "LogNormal": "mean, std, unit=None",
        "Gamma": "shape, scale, unit=None",
        "Exponential": "scale, unit=None",
        "TruncatedNormal": "mean, std, low=None, high=None, unit=None",
        "Beta": "alpha, beta, low, high, unit=None",
        "Weibull": "shape, scale, unit=None",
        "Mixture": "distributions, weights=None",
        "Conditional": "condition_fn, true_dist, false_dist",
        "Scaled": "base_dist, scale_factor",
        "Clipped": "base_dist, min_val=None, max_val=None",
        "Orthogonal": "scale=1.0, unit=None",
        "DeltaOrthogonal": "scale=1.0, unit=None",
        "Identity": "scale=1.0, unit=None",
        "VarianceScaling": "scale=1.0, mode=fan_in, distribution=normal, unit=None, in_axis=-2, out_axis=-1",
        "KaimingUniform": "scale=None, mode=fan_in, nonlinearity=relu, negative_slope=0.01, unit=None, "
        "in_axis=-2, out_axis=-1",
        "XavierUniform": "scale=1.0, unit=None, in_axis=-2, out_axis=-1",
        "Compose": "*inits",
    }
    for name, same in [("Kaiming", "Normal"), ("Xavier", "Normal")]:
        expected[name + same] = expected[name + "Uniform"]
    expected["LecunUniform"] = expected["LecunNormal"] = expected["XavierUniform"]
    for name, signature in expected.items():
        cls = getattr(init, name)
        assert issubclass(cls, init.Initialization)
        found = inspect.signature(cls).parameters.values()
        assert ", ".join(str(p.replace(annotation=p.empty)).replace("'", "") for p in found) == signature
    assert list(inspect.signature(init.param).parameters)[:3] == ["value", "shape", "batch_size"]


# param


@pytest.mark.parametrize(
    ("value", "shape", "unit"),
    [
        (2.0, (), None),
        (2, (), None),
        (np.float64(2.0), (), None),
        (np.int64(2), (), None),
        ([2, 2, 2], (3,), None),
        ([2.0 * u.mV, 2e-3 * u.volt, 2 * u.mV], (3,), u.mV),
        (np.full(3, 2.0), (3,), None),
        (np.full(1, 2.0), (1,), None),
        (jnp.full((4, 3), 2.0), (4, 3), None),
        (2 * u.ms, (), u.ms),
        (2.0 * u.ms, (), u.ms),
        (np.full(3, 2) * u.ms, (3,), u.ms),
        (jnp.asarray(2.0), (), None),
        (init.Constant(2.0 * u.mV), (4, 3), u.mV),
        (lambda shape: np.full(shape, 2.0) * u.mV, (4, 3), u.mV),
        (lambda shape: 2.0, (), None),
    ],
)
def test_param(value, shape, unit):
    result = init.param(value, (4, 3))
    mantissa = u.get_mantissa(result)
    assert isinstance(result, u.Quantity) == (unit is not None)
    assert unit is None or result.unit == unit
    assert isinstance(mantissa, jax.Array) and mantissa.dtype == jnp.float32 and not mantissa.weak_type
    assert mantissa.shape == shape
    np.testing.assert_allclose(mantissa, 2.0)
    batched = u.get_mantissa(init.param(value, (4, 3), 5))
    assert batched.shape == (5, 4, 3) and batched.dtype == jnp.float32
    np.testing.assert_allclose(batched, 2.0)
    assert u.get_mantissa(init.param(value, (4, 3), ())).shape == (4, 3)
    assert u.get_mantissa(init.param(value, sizes=(4, 3), batch_size=(2, 2))).shape == (2, 2, 4, 3)


def test_param_keeps_what_is_already_right():
    array = jnp.ones(3)
    assert init.param(array, 3) is array
    assert init.param(array * u.mV, 3).mantissa is array
    assert init.param(np.arange(3), 3).dtype == jnp.int32
    assert init.param(np.array([True, False]), 2).dtype == bool
    assert init.param(jnp.ones(3, jnp.bfloat16), 3).dtype == jnp.bfloat16
    batched = jnp.ones((5, 3))
    np.testing.assert_array_equal(init.param(batched, 3, 5), batched)
    assert init.param(None, 3) is None


def test_param_draws():
    normal = init.Normal(0.0 * u.mV, 1.0 * u.mV)
    assert eqx.tree_equal(init.param(normal, (3,), key=KEY), normal(3, key=KEY))
    lanes = init.param(normal, (3,), 2, key=KEY)
    assert lanes.shape == (2, 3) and not np.allclose(lanes.mantissa[0], lanes.mantissa[1])
    jax_values = jax.nn.initializers.he_normal()(KEY, (4, 4))
    np.testing.assert_array_equal(init.param(jax.nn.initializers.he_normal(), (4, 4), key=KEY), jax_values)
    drawn = init.param(lambda shape, key: jax.random.uniform(key, shape), 3, key=KEY)
    np.testing.assert_array_equal(drawn, jax.random.uniform(KEY, 3))
    product = (init.Constant(2.0) * jax.nn.initializers.ones)(3, key=KEY)
    assert product.tolist() == [2.0] * 3
    assert init.param(lambda shape, fill: np.full(shape, fill), 2, fill=4.0).tolist() == [4.0, 4.0]


def test_param_errors():
    with pytest.raises(ValueError, match=r"shape \(2,\), which does not broadcast to \(3,\).*\nGive a scalar"):
        init.param(np.ones(2), 3)
    with pytest.raises(ValueError, match=r"shape \(5, 3\), which does not broadcast to \(3,\)"):
        init.param(np.ones((5, 3)) * u.mV, 3)
    with pytest.raises(ValueError, match=r"\(4, 3\).*broadcast to \(5, 3\).*batch axes \(5,\) before \(3,\)"):
        init.param(np.ones((4, 3)), 3, 5)
    with pytest.raises(ValueError, match=r"result of `<lambda>` has shape \(2,\)"):
        init.param(lambda shape: np.ones(2), 3)
    with pytest.raises(ValueError, match="None where a parameter is needed"):
        init.param(None, 3, allow_none=False)
    with pytest.raises(TypeError, match="scalar .* where one value for each"):
        init.param(1.0 * u.mV, 3, allow_scalar=False)
    with pytest.raises(TypeError, match="second argument"):
        init.param(1.0)
    for wrong in ("tau", {"tau": 1.0}, object(), ["a"], np.array(["a"])):
        with pytest.raises(TypeError, match="`param` needs a number"):
            init.param(wrong, 3)
    with pytest.raises(UnitError, match=r"`value\[1\]` is in ms"):
        init.param([1.0 * u.mV, 1.0 * u.ms], 2)


@settings(deadline=None, max_examples=50)
@given(own=st.lists(st.sampled_from([1, 2, 3]), max_size=3), shape=st.lists(st.sampled_from([1, 2, 3]), max_size=2))
def test_param_accepts_what_broadcasts(own, shape):
    array, shape = np.zeros(own), tuple(shape)
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if fits:
        assert init.param(array, shape).shape == array.shape
    else:
        with pytest.raises(ValueError, match="does not broadcast"):
            init.param(array, shape)


def test_param_takes_references():
    class Reference:
        def __init__(self, value):
            self.value = value

    with pytest.raises(TypeError, match="`param` needs"):
        init.param(Reference(1.0), 3)
    previous = init._set_reference_type(Reference)
    try:
        reference = Reference(jnp.ones(3))
        assert init.param(reference, 3) is reference and reference.value.shape == (3,)
        assert init.param(reference, 3, 2) is reference and reference.value.shape == (2, 3)
        with pytest.raises(ValueError, match="does not broadcast"):
            init.param(Reference(jnp.ones(2)), 3)
    finally:
        init._set_reference_type(previous)

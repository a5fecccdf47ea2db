"""`random`: samplers against SciPy's distributions, and how the global key moves."""

import inspect

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import neurostate as ns


T, R = ns.transform, ns.random
COUNT = 20_000
DISTRIBUTIONS = {
    "rand": ((), stats.uniform()),
    "random": ((), stats.uniform()),
    "uniform": ((-1.0, 3.0), stats.uniform(-1, 4)),
    "randint": ((-2, 5), stats.randint(-2, 5)),
    "random_integers": ((-2, 5), stats.randint(-2, 6)),
    "bernoulli": ((0.3,), stats.bernoulli(0.3)),
    "randn": ((), stats.norm()),
    "standard_normal": ((), stats.norm()),
    "normal": ((1.0, 2.0), stats.norm(1, 2)),
    "lognormal": ((0.1, 0.4), stats.lognorm(0.4, scale=np.exp(0.1))),
    "chisquare": ((3.0,), stats.chi2(3)),
    "noncentral_chisquare": ((3.0, 2.0), stats.ncx2(3, 2)),
    "f": ((4.0, 12.0), stats.f(4, 12)),
    "noncentral_f": ((4.0, 12.0, 1.5), stats.ncf(4, 12, 1.5)),
    "standard_t": ((8.0,), stats.t(8)),
    "laplace": ((1.0, 2.0), stats.laplace(1, 2)),
    "logistic": ((1.0, 2.0), stats.logistic(1, 2)),
    "gumbel": ((1.0, 2.0), stats.gumbel_r(1, 2)),
    "maxwell": ((), stats.maxwell()),
    "exponential": ((2.0,), stats.expon(scale=2)),
    "standard_exponential": ((), stats.expon()),
    "gamma": ((2.5, 1.5), stats.gamma(2.5, scale=1.5)),
    "standard_gamma": ((2.5,), stats.gamma(2.5)),
    "loggamma": ((2.5,), stats.loggamma(2.5)),
    "beta": ((2.0, 3.0), stats.beta(2, 3)),
    "pareto": ((8.0,), stats.lomax(8)),
    "power": ((3.0,), stats.powerlaw(3)),
    "rayleigh": ((2.0,), stats.rayleigh(scale=2)),
    "triangular": ((-1.0, 0.5, 2.0), stats.triang(0.5, -1, 3)),
    "wald": ((2.0, 3.0), stats.invgauss(2 / 3, scale=3)),
    "weibull": ((2.0,), stats.weibull_min(2)),
    "weibull_min": ((2.0, 3.0), stats.weibull_min(2, scale=3)),
    "poisson": ((2.5,), stats.poisson(2.5)),
    "binomial": ((10, 0.3), stats.binom(10, 0.3)),
    "geometric": ((0.3,), stats.geom(0.3)),
    "negative_binomial": ((4, 0.4), stats.nbinom(4, 0.4)),
    "truncated_normal": ((-1.0, 2.0), stats.truncnorm(-1, 2)),
    "standard_cauchy": ((), stats.cauchy()),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_samples_follow_their_distribution(name):
    parameters, distribution = DISTRIBUTIONS[name]
    sampler = getattr(R, name)
    draw = (lambda key: sampler(COUNT, key=key)) if name in ("rand", "randn") else None
    draw = draw or (lambda key: sampler(*parameters, size=COUNT, key=key))
    numbers = np.asarray(draw(7), float)
    assert numbers.shape == (COUNT,)
    np.testing.assert_array_equal(numbers, np.asarray(draw(7), float))
    # The empirical and the true distribution function at some quantiles, within 5 standard errors.
    for level in (0.1, 0.35, 0.5, 0.8, 0.95):
        x = distribution.ppf(level)
        p = distribution.cdf(x)
        assert abs((numbers <= x + 1e-6).mean() - p) < 5 * np.sqrt(p * (1 - p) / COUNT) + 1e-9


def test_shapes_dtypes_and_parameters_that_broadcast():
    assert R.normal(jnp.zeros((2, 1)), jnp.ones(3)).shape == (2, 3)
    assert R.normal(size=(2, 3), dtype=jnp.float16).dtype == jnp.float16
    assert R.randint(5).shape == () and R.randint(5, size=2).dtype == jnp.int32
    assert R.rand(2, 3).shape == R.rand_like(jnp.zeros((2, 3))).shape == (2, 3)
    assert R.randn_like(jnp.zeros(4)).shape == (4,) and R.randint_like(jnp.zeros(4), 1, 3).max() < 3
    assert R.dirichlet(jnp.ones(3), size=2).shape == (2, 3)
    assert R.multinomial(10, [0.2, 0.3, 0.5], size=4).sum(-1).tolist() == [10] * 4
    assert R.categorical(jnp.zeros((2, 3))).shape == (2,)
    assert R.multivariate_normal(jnp.zeros(2), jnp.eye(2), size=5).shape == (5, 2)
    q = R.orthogonal(3)
    np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-5)
    assert sorted(R.permutation(6).tolist()) == sorted(R.shuffle(jnp.arange(6)).tolist()) == list(range(6))
    assert len(set(R.choice(6, size=6, replace=False).tolist())) == 6


def test_units():
    numbers = R.normal(-65 * u.mV, 0.002 * u.volt, size=2000, key=0)
    assert numbers.unit == u.mV
    assert abs(numbers.mantissa.mean() + 65) < 0.3 and abs(numbers.mantissa.std() - 2) < 0.2
    assert R.uniform(0, 1 * u.ms, size=2).unit == u.ms
    assert R.exponential(3 * u.ms, size=2).unit == u.ms
    assert R.choice(jnp.arange(3.0) * u.nA).unit == u.nA
    for wrong in (lambda: R.normal(1 * u.mV, 1 * u.ms), lambda: R.normal(1.5, 1 * u.ms)):
        with pytest.raises(ns.UnitError, match="normal"):
            wrong()


def test_every_sampler_takes_a_key_and_is_a_method_of_random_states():
    rng = ns.RandomState(3)
    assert len(R.RandomState.samplers) > 45
    for name, sampler in R.RandomState.samplers.items():
        assert "key" in inspect.signature(sampler).parameters
        assert callable(getattr(rng, name))
    again = ns.RandomState(3)
    np.testing.assert_array_equal(rng.normal(size=3), again.normal(size=3))
    assert not np.array_equal(rng.normal(size=3), rng.normal(size=3))
    with pytest.raises(AttributeError, match="nothing"):
        rng.nothing  # noqa: B018


def key():
    return np.asarray(R.get_key_data()).tolist()


def test_the_global_key_moves_once_for_each_draw():
    R.seed(1)
    before = key()
    R.normal(key=5)
    assert key() == before
    R.normal(size=100)
    after = key()
    assert after != before
    expected = jax.random.key_data(jax.random.split(jax.random.key(1), 2)[0]).tolist()
    assert after == expected


def test_loops_branches_and_compiled_functions_carry_the_key():
    R.seed(2)
    plain = [float(R.normal()) for _ in range(4)]
    R.seed(2)
    np.testing.assert_allclose(T.for_loop(lambda: R.normal(), length=4), plain, rtol=1e-6)
    f = T.jit(lambda: R.normal())
    assert f() != f()
    R.seed(3)
    start = key()
    T.cond(False, lambda: R.normal(), lambda: jnp.float32(0))
    assert key() == start
    T.cond(True, lambda: R.normal(), lambda: jnp.float32(0))
    assert key() != start


def test_seed_context_puts_the_key_back_also_after_an_error():
    R.seed(4)
    before = key()
    with pytest.raises(ZeroDivisionError), R.seed_context(9):
        a = R.normal()
        raise ZeroDivisionError
    assert key() == before
    with R.seed_context(9):
        assert R.normal() == a


def test_random_states_of_ones_own():
    a, b = R.default_rng(5), ns.RandomState(jax.random.key(5))
    assert a.rand(1) == b.rand(1)
    assert R.default_rng() is R.DEFAULT and R.clone_rng() is not R.DEFAULT
    assert a.split_keys(3).shape == (3,)
    with pytest.raises(TypeError, match="integer"):
        ns.RandomState(0.5).rand(1)

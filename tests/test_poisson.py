"""Poisson numbers against the distribution, on both sides of where the method changes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from neurostate.source._poisson import poisson

from .helpers import x64


@pytest.mark.parametrize("double", [False, True])
def test_numbers_follow_the_distribution(double):
    with x64(double):
        dtype = jnp.float64 if double else jnp.float32
        draw = jax.jit(lambda key, mean: poisson(key, mean, (200_000,), dtype))
        for seed, mean in enumerate((0.0, 0.01, 0.7, 4.0, 11.9, 12.1, 60.0)):
            x = np.asarray(draw(jax.random.key(seed), mean))
            assert x.dtype == dtype and np.all(x == np.round(x)) and x.min() >= 0
            k = np.arange(int(mean + 8 * np.sqrt(mean) + 8))
            found = np.bincount(x.astype(int), minlength=k.size)[: k.size]
            expected = scipy.stats.poisson.pmf(k, mean) * x.size
            many = expected > 10
            chi = ((found - expected)[many] ** 2 / expected[many]).sum()
            assert scipy.stats.chi2.sf(chi, max(many.sum() - 1, 1)) > 1e-3


def test_one_mean_for_each_number_and_lanes():
    mean = jnp.array([0.1, 3.0, 11.0])
    keys = jax.random.split(jax.random.key(0), 4000)
    x = np.asarray(jax.jit(jax.vmap(lambda key: poisson(key, mean, (3,), jnp.float32)))(keys))
    assert np.abs(x.mean(0) - mean).max() < 4 * np.sqrt(11 / 4000)
    assert np.abs(x.var(0) / np.asarray(mean) - 1).max() < 0.15 and np.abs(np.corrcoef(x.T)[0, 1]) < 0.06

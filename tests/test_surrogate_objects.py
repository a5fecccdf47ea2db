"""The surrogates as objects: pytrees, parameters, custom ones, units, and what they refuse."""

from __future__ import annotations

import pickle

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neurostate import surrogate
from neurostate._errors import UnitError

from .helpers import x64


NUM = 7  # the one length of array in this file


def test_arrays_are_found_by_the_usual_filter():
    spk_fun = surrogate.MultiGaussianGrad(h=jnp.array(0.15), sigma=np.array([0.5]))
    assert [leaf.shape for leaf in jax.tree.leaves(eqx.filter(spk_fun, eqx.is_inexact_array))] == [(), (1,)]
    assert not jax.tree.leaves(eqx.filter(surrogate.MultiGaussianGrad(), eqx.is_inexact_array))


def test_vmap_over_parameters():
    alphas = jnp.linspace(0.5, 2.0, NUM)
    slopes = jax.vmap(lambda alpha: jax.grad(surrogate.SlayerGrad(alpha))(0.7))(alphas)
    np.testing.assert_allclose(slopes, np.exp(-0.7 * np.linspace(0.5, 2.0, NUM)), rtol=1e-6)
    many = eqx.filter_vmap(surrogate.SlayerGrad)(alphas)
    np.testing.assert_array_equal(jax.vmap(lambda fn, x: jax.jacfwd(fn)(x), in_axes=(0, None))(many, 0.7), slopes)
    spikes = jax.vmap(lambda fn, x: fn(x), in_axes=(0, None))(many, -0.7)
    np.testing.assert_array_equal(spikes, np.zeros(NUM))


def test_parameters_per_neuron():
    widths = np.linspace(0.5, 2.0, NUM)
    spk_fun = surrogate.ReluGrad(alpha=1.0, width=widths)
    assert isinstance(spk_fun.width, jax.Array) and spk_fun.alpha == 1.0
    x = jnp.full((2, NUM), 0.6)
    slope = jax.grad(lambda x: spk_fun(x).sum())(x)
    np.testing.assert_allclose(slope, np.tile(np.maximum(widths - 0.6, 0), (2, 1)), rtol=1e-6)
    with pytest.raises(ValueError, match=r"ReluGrad: .* shape \(7,\), .* shape \(\) of the input"):
        spk_fun(0.6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("alpha", [0.5, np.float32(0.5), jnp.float32(0.5)])
def test_derivative_keeps_the_dtype_of_the_input(dtype, alpha):
    slope = jax.grad(surrogate.ReluGrad(alpha))(jnp.asarray(0.5, dtype))
    assert slope.dtype == dtype and slope == 0.25


def test_equal_instances_share_a_trace():
    counts = {"filter_jit": 0, "jit": 0, "static": 0}

    def counted(key):
        def fn(spk_fun, x):
            counts[key] += 1
            return spk_fun(x)

        return fn

    programs = {
        "filter_jit": eqx.filter_jit(counted("filter_jit")),
        "jit": jax.jit(counted("jit")),
        "static": jax.jit(counted("static"), static_argnums=0),
    }
    for key, program in programs.items():
        for _ in range(3):
            program(surrogate.ReluGrad(alpha=0.3, width=1), 0.5)
        assert counts[key] == 1
        assert program(surrogate.ReluGrad(h0=0), 0.0) == 0 and counts[key] == 2
    for _ in range(2):
        programs["filter_jit"](surrogate.ReluGrad(jnp.array(0.2)), 0.5)
        programs["filter_jit"](surrogate.ReluGrad(jnp.array(0.3)), 0.5)
    assert counts["filter_jit"] == 3


def test_equality_hash_and_pickle():
    one, same = surrogate.GaussianGrad(sigma=1), surrogate.GaussianGrad(1.0)
    assert one == same and hash(one) == hash(same)
    assert one != surrogate.GaussianGrad(2.0) and one != surrogate.GaussianGrad(1.0, h0=0)
    assert one != surrogate.GaussianGrad(jnp.array(1.0))
    assert pickle.loads(pickle.dumps(one)) == one


def test_heaviside_has_no_derivative():
    x = jnp.array([-1.0, 0.0, 1.0])
    np.testing.assert_array_equal(surrogate.heaviside(x), [0, 1, 1])
    np.testing.assert_array_equal(surrogate.heaviside(x, h0=0), [0, 0, 1])
    np.testing.assert_array_equal(jax.vmap(jax.grad(surrogate.heaviside))(x), np.zeros(3))
    np.testing.assert_array_equal(jax.vmap(jax.jacfwd(surrogate.heaviside))(x), np.zeros(3))


def cosine(x, alpha=1.0):
    return jnp.cos(alpha * x)


class Trained(eqx.Module):
    alpha: jax.Array

    def __call__(self, x):
        return jnp.cos(self.alpha * x)


@pytest.mark.parametrize(
    "spk_fun",
    [
        surrogate.Custom(cosine),
        surrogate.Custom(jax.jit(cosine)),
        surrogate.Custom(jax.tree_util.Partial(cosine, alpha=1.0)),
        surrogate.Custom(Trained(jnp.array(1.0)), h0=0),
    ],
)
def test_custom(spk_fun):
    assert spk_fun(0.0) == spk_fun.h0
    for fn in (spk_fun, jax.jit(lambda fn: fn)(spk_fun)):
        np.testing.assert_allclose(jax.grad(fn)(0.4), np.cos(0.4), rtol=1e-6)
        np.testing.assert_allclose(jax.jacfwd(fn)(0.4), np.cos(0.4), rtol=1e-6)
        np.testing.assert_allclose(jax.grad(jax.grad(fn))(0.4), -np.sin(0.4), rtol=1e-6)


def test_custom_function_may_close_over_traced_values():
    @jax.jit
    def total(x, alphas):
        def body(carry, alpha):
            return carry + surrogate.Custom(lambda y: jnp.cos(alpha * y))(x), None

        return jax.lax.scan(body, 0.0, alphas)[0]

    alphas = jnp.linspace(0.5, 2.0, NUM)
    np.testing.assert_allclose(jax.grad(total)(0.4, alphas), np.cos(0.4 * np.asarray(alphas)).sum(), rtol=1e-6)
    mixed = jax.grad(jax.grad(total), argnums=1)(0.4, alphas)
    np.testing.assert_allclose(mixed, -0.4 * np.sin(0.4 * np.asarray(alphas)), rtol=1e-6)


def test_subclass_with_a_scalar_derivative_and_without_parameters():
    class StraightThrough(surrogate.Surrogate):
        def surrogate_grad(self, x):
            return 1.0

    x = jnp.linspace(-1, 1, NUM)
    np.testing.assert_array_equal(StraightThrough()(x), np.asarray(x) >= 0)
    np.testing.assert_array_equal(jax.grad(lambda x: StraightThrough(h0=0)(x).sum())(x), np.ones(NUM))
    with pytest.raises(TypeError, match="abstract"):
        surrogate.Surrogate()  # pyright: ignore[reportAbstractUsage]


def test_integers_and_booleans_become_floats():
    np.testing.assert_array_equal(surrogate.ReluGrad()(np.array([-1, 0, 1])), [0, 1, 1])
    for x in (2, True, np.int32(1)):
        assert surrogate.heaviside(x).dtype == jnp.float32
        with x64():
            assert surrogate.heaviside(x).dtype == jnp.float64


def test_repr_is_short():
    assert repr(surrogate.ReluGrad()) == "ReluGrad(alpha=0.3, width=1.0)"
    assert repr(surrogate.SquarewaveFourierSeries(h0=0)) == "SquarewaveFourierSeries(n=2, t_period=8.0, h0=0)"
    assert repr(surrogate.Sigmoid(jnp.ones((2, 3)))) == "Sigmoid(alpha=f32[2,3])"
    assert repr(surrogate.Custom(cosine)) == "Custom(grad_fn=cosine)"


def test_quantities():
    spk_fun = surrogate.ReluGrad(alpha=(1 * u.mV) / (2 * u.mV))
    x = jnp.array([-0.5, 0.0, 0.5])
    V, V_th = (x + 2.0) * u.mV, 2.0 * u.mV
    np.testing.assert_array_equal(spk_fun((V - V_th) / u.mV), [0, 1, 1])
    slope = jax.grad(lambda x: spk_fun(u.Quantity(x)).sum())(x)
    np.testing.assert_allclose(slope, [0.25, 0.5, 0.25])
    for fn, owner in ((spk_fun, "ReluGrad"), (surrogate.relu_grad, "ReluGrad"), (surrogate.heaviside, "heaviside")):
        with pytest.raises(UnitError, match=rf"`x` of `{owner}` must be dimensionless, .* mV"):
            fn(V)
    with pytest.raises(UnitError, match="`alpha`"):
        surrogate.ReluGrad(alpha=1 * u.mV)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: surrogate.ReluGrad(h0=0.5), ValueError, r"`h0`.* must be 0 or 1, got 0.5\. Use `h0=1`"),
        (lambda: surrogate.heaviside(1.0, h0=2), ValueError, "`h0`.* must be 0 or 1, got 2"),
        (lambda: surrogate.ReluGrad(h0=None), ValueError, "`h0`.* got None"),
        (lambda: surrogate.Sigmoid(-1.0), ValueError, "`alpha` .* finite number of at least 0, got -1.0"),
        (lambda: surrogate.GaussianGrad(sigma=0), ValueError, "`sigma` .* finite number greater than 0, got 0.0"),
        (lambda: surrogate.LeakyRelu(beta=float("nan")), ValueError, "`beta` .* finite number, got nan"),
        (lambda: surrogate.Sigmoid("steep"), TypeError, "`alpha` .* got 'steep' of type str"),
        (lambda: surrogate.Sigmoid(True), TypeError, "`alpha` .* got True of type bool"),
        (lambda: surrogate.Sigmoid(jnp.array(1j)), TypeError, "`alpha` .* got dtype complex64"),
        (lambda: surrogate.SquarewaveFourierSeries(n=1.5), ValueError, "`n`.* int of at least 1, got 1.5"),
        (lambda: surrogate.SquarewaveFourierSeries(n=0), ValueError, "`n`.* int of at least 1, got 0"),
        (lambda: surrogate.ReluGrad()(jnp.array(1j)), TypeError, "`x` of `ReluGrad` must be .* complex64"),
        (lambda: surrogate.Custom(3.0), TypeError, "`grad_fn` must be a function .* got 3.0 of type float"),
    ],
)
def test_bad_input(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_integer_and_numpy_parameters():
    for alpha in (2, np.int32(2), np.float64(2.0)):
        assert type(surrogate.Sigmoid(alpha).alpha) is float
    assert jnp.asarray(surrogate.Sigmoid(np.array([1, 2])).alpha).dtype == jnp.float32

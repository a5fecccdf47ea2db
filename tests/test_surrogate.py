"""The surrogates against formulas in NumPy, finite differences, and each other's modes of derivation."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurostate import surrogate

from .helpers import x64


def _normal(x, mean, sigma):
    return np.exp(-((x - mean) ** 2) / (2 * sigma**2)) / np.sqrt(2 * np.pi * sigma**2)


def _logistic_slope(x, alpha):
    return alpha / (4 * np.cosh(alpha * x / 2) ** 2)


def _multi_gaussian(x, h, s, sigma, scale):
    sides = _normal(x, sigma, s * sigma) + _normal(x, -sigma, s * sigma)
    return scale * ((1 + h) * _normal(x, 0, sigma) - h * sides)


def _fourier(x, n, t_period):
    return sum(4 / t_period * np.cos((2 * i - 1) * 2 * np.pi * x / t_period) for i in range(1, n + 1))


def _log_tailed(x, alpha):
    return np.piecewise(x, [x <= 0, (x > 0) & (x <= 1), x > 1], [alpha, 1.0, lambda y: 1 / y])


def _s2nn(x, alpha, beta, epsilon):
    return np.where(x < 0, _logistic_slope(x, alpha), beta / (np.maximum(x, 0) + 1 + epsilon))


# class name: function name, default parameters, derivative, where the derivative has a corner or a jump
CASES = {
    "Sigmoid": ("sigmoid", dict(alpha=4.0), _logistic_slope, lambda **p: ()),
    "PiecewiseQuadratic": (
        "piecewise_quadratic",
        dict(alpha=1.0),
        lambda x, alpha: np.where(np.abs(x) > 1 / alpha, 0, alpha - alpha**2 * np.abs(x)),
        lambda alpha: (0, 1 / alpha, -1 / alpha),
    ),
    "PiecewiseExp": (
        "piecewise_exp",
        dict(alpha=1.0),
        lambda x, alpha: alpha / 2 * np.exp(-alpha * np.abs(x)),
        lambda alpha: (0,),
    ),
    "SoftSign": (
        "soft_sign",
        dict(alpha=1.0),
        lambda x, alpha: 1 / (2 * alpha * (1 / alpha + np.abs(x)) ** 2),
        lambda alpha: (0,),
    ),
    "Arctan": (
        "arctan",
        dict(alpha=1.0),
        lambda x, alpha: alpha / 2 / (1 + (np.pi * alpha * x / 2) ** 2),
        lambda alpha: (),
    ),
    "NonzeroSignLog": (
        "nonzero_sign_log",
        dict(alpha=1.0),
        lambda x, alpha: 1 / (1 / alpha + np.abs(x)),
        lambda alpha: (0,),
    ),
    "ERF": ("erf", dict(alpha=1.0), lambda x, alpha: _normal(x, 0, 1 / (np.sqrt(2) * alpha)), lambda alpha: ()),
    "PiecewiseLeakyRelu": (
        "piecewise_leaky_relu",
        dict(c=0.01, w=1.0),
        lambda x, c, w: np.where(np.abs(x) > w, c, 1 / (2 * w)),
        lambda c, w: (w, -w),
    ),
    "SquarewaveFourierSeries": (
        "squarewave_fourier_series",
        dict(n=2, t_period=8.0),
        _fourier,
        lambda n, t_period: (),
    ),
    "S2NN": ("s2nn", dict(alpha=4.0, beta=1.0, epsilon=1e-8), _s2nn, lambda **p: (0,)),
    "QPseudoSpike": (
        "q_pseudo_spike",
        dict(alpha=2.0),
        lambda x, alpha: ((alpha + 1) / (alpha + 1 + 2 * np.abs(x))) ** alpha,
        lambda alpha: (0,),
    ),
    "LeakyRelu": (
        "leaky_relu",
        dict(alpha=0.1, beta=1.0),
        lambda x, alpha, beta: np.where(x < 0, alpha, beta),
        lambda alpha, beta: (0,),
    ),
    "LogTailedRelu": ("log_tailed_relu", dict(alpha=0.0), _log_tailed, lambda alpha: (0, 1)),
    "ReluGrad": (
        "relu_grad",
        dict(alpha=0.3, width=1.0),
        lambda x, alpha, width: np.maximum(alpha * width - alpha * np.abs(x), 0),
        lambda alpha, width: (0, width, -width),
    ),
    "GaussianGrad": (
        "gaussian_grad",
        dict(sigma=0.5, alpha=0.5),
        lambda x, sigma, alpha: alpha * _normal(x, 0, sigma),
        lambda **p: (),
    ),
    "MultiGaussianGrad": (
        "multi_gaussian_grad",
        dict(h=0.15, s=6.0, sigma=0.5, scale=0.5),
        _multi_gaussian,
        lambda **p: (),
    ),
    "InvSquareGrad": (
        "inv_square_grad",
        dict(alpha=100.0),
        lambda x, alpha: (alpha * np.abs(x) + 1.0) ** -2,
        lambda alpha: (0,),
    ),
    "SlayerGrad": ("slayer_grad", dict(alpha=1.0), lambda x, alpha: np.exp(-alpha * np.abs(x)), lambda alpha: (0,)),
}
every_surrogate = pytest.mark.parametrize("name", CASES)
NUM = 7  # the one length of array in this file: each more is a compilation of every operation


def make(name, params=None, **kwargs):
    return getattr(surrogate, name)(**(CASES[name][1] if params is None else params), **kwargs)


@st.composite
def parameters(draw, name):
    """Around the defaults; for the number of terms, two values, because each is a compilation."""
    drawn = {}
    for key, default in CASES[name][1].items():
        drawn[key] = draw(st.sampled_from([2, 3])) if key == "n" else (default or 0.2) * draw(st.floats(0.5, 2.0))
    return drawn


def points(corners):
    """`NUM` float64 points in [-3, 3], not closer than 1e-2 to the corners."""

    def shift(values):
        x = np.array(values)
        for corner in corners:
            near = np.abs(x - corner) < 1e-2
            x = np.where(near, corner + np.where(x < corner, -0.02, 0.02), x)
        return x

    return st.lists(st.floats(-3, 3, allow_subnormal=False), min_size=NUM, max_size=NUM).map(shift)


@jax.jit
def first_derivatives(spk_fun, x):
    return [jax.vmap(derivative(spk_fun))(x) for derivative in (jax.jacfwd, jax.jacrev)]


@jax.jit
def second_derivatives(spk_fun, x):
    pairs = ((jax.jacfwd, jax.jacfwd), (jax.jacfwd, jax.jacrev), (jax.jacrev, jax.jacrev))
    return [jax.vmap(outer(inner(spk_fun)))(x) for outer, inner in pairs]


@jax.jit
def parameter_derivatives(spk_fun, x):
    """By the parameters: of the spikes, and of their derivative."""
    first = jax.jacrev(lambda fn: jax.vmap(fn)(x))(spk_fun)
    second = jax.jacrev(lambda fn: jax.vmap(jax.grad(fn))(x))(spk_fun)
    return first, second


def central_difference(f, step):
    """Of fourth order, of `f(shift)` at 0."""
    return (8 * (f(step) - f(-step)) - (f(2 * step) - f(-2 * step))) / (12 * step)


def test_there_are_eighteen_with_braintools_names_and_defaults():
    assert len(CASES) == 18
    for name, (function_name, defaults, _, _) in CASES.items():
        for found, first in ((getattr(surrogate, name), []), (getattr(surrogate, function_name), ["x"])):
            signature = inspect.signature(found).parameters
            assert list(signature) == [*first, *defaults, "h0"]
            assert {key: signature[key].default for key in defaults} == defaults
            assert signature["h0"].default == 1 and signature["h0"].kind is inspect.Parameter.KEYWORD_ONLY


@jax.jit
def all_outputs(x):
    """Of every class and function, with each `h0`."""
    return {
        (name, h0): (make(name, h0=h0)(x), getattr(surrogate, CASES[name][0])(x, *CASES[name][1].values(), h0=h0))
        for name in CASES
        for h0 in (0, 1)
    }


@given(
    values=st.lists(
        st.floats(width=16, allow_subnormal=False) | st.sampled_from([0.0, -0.0, np.inf, -np.inf, np.nan]),
        min_size=NUM,
        max_size=NUM,
    ).map(np.array),
    dtype=st.sampled_from([jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64]),
)
def test_output_is_zero_or_one(values, dtype):
    with x64(dtype == jnp.float64):
        for (name, h0), outputs in all_outputs(jnp.asarray(values, dtype)).items():
            expected = (values >= 0 if h0 else values > 0).astype(np.float64)
            for spikes in outputs:
                assert spikes.dtype == dtype and not spikes.weak_type
                np.testing.assert_array_equal(np.asarray(spikes, np.float64), expected, name)


@every_surrogate
@given(data=st.data())
def test_first_derivative_is_the_formula(name, data):
    _, _, formula, corners = CASES[name]
    params = data.draw(parameters(name))
    x = data.draw(points(corners(**params)))
    spk_fun = make(name, params)
    with x64():
        forward, reverse = first_derivatives(spk_fun, x)
        np.testing.assert_array_equal(forward, reverse)
        np.testing.assert_allclose(forward, formula(x, **params), rtol=1e-12, atol=1e-13)
    x = x.astype(np.float32)
    forward, reverse = first_derivatives(spk_fun, x)
    assert forward.dtype == jnp.float32
    np.testing.assert_array_equal(forward, reverse)
    np.testing.assert_allclose(forward, formula(x.astype(np.float64), **params), rtol=2e-5, atol=1e-5)


@every_surrogate
def test_derivatives_at_special_points(name):
    _, defaults, formula, _ = CASES[name]
    x = np.array([0.0, -0.0, 1.0, -1.0, 30.0, -30.0, 1e-6], np.float32)
    np.testing.assert_allclose(
        first_derivatives(make(name), x)[0], formula(x.astype(np.float64), **defaults), rtol=1e-5, atol=1e-5
    )
    with x64():
        assert np.all(np.isfinite(second_derivatives(make(name), x.astype(np.float64))))


@every_surrogate
@given(data=st.data())
def test_second_derivative_is_that_of_the_formula(name, data):
    _, _, formula, corners = CASES[name]
    params = data.draw(parameters(name))
    x = data.draw(points(corners(**params)))
    expected = central_difference(lambda shift: formula(x + shift, **params), 1e-5)
    with x64():
        for found in second_derivatives(make(name, params), x):
            np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@every_surrogate
@given(data=st.data())
def test_parameters_act_on_the_derivative_alone(name, data):
    _, _, formula, corners = CASES[name]
    params = data.draw(parameters(name))
    x = data.draw(points(corners(**params)))
    trained = [key for key in params if key != "n"]
    with x64():
        first, second = parameter_derivatives(make(name, params), x)
        assert len(jax.tree.leaves(first)) == len(trained)
        for key in trained:
            np.testing.assert_array_equal(getattr(first, key), np.zeros(NUM))
            step = 1e-4 * params[key]
            expected = central_difference(lambda shift: formula(x, **{**params, key: params[key] + shift}), step)
            # `epsilon` is so small a number that its differences are noise.
            atol = 1e-2 if key == "epsilon" else 1e-7
            np.testing.assert_allclose(getattr(second, key), expected, rtol=1e-6, atol=atol)


def test_singular_points_of_the_branch_not_taken():
    spk_fun = surrogate.S2NN(epsilon=0.0)
    x = np.full(NUM, -1.0)
    with x64():
        slope = _logistic_slope(-1.0, 4.0)
        np.testing.assert_allclose(first_derivatives(spk_fun, x)[0], np.full(NUM, slope), rtol=1e-12)
        expected = np.full(NUM, 4.0 * slope * np.tanh(2.0))
        for found in second_derivatives(spk_fun, x):
            np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("x", [-0.2, 0.3])
def test_second_derivative_counts_the_spike_as_a_function_of_x(x):
    """The second derivative of `s**2` is `2 * g**2 + 2 * s * g'`, of which only the last term vanishes at `s = 0`."""
    with x64():
        found = jax.grad(jax.grad(lambda x: surrogate.SlayerGrad(2.0)(x) ** 2))(x)
    slope = np.exp(-2 * np.abs(x))
    np.testing.assert_allclose(found, 2 * slope**2 + 2 * (x >= 0) * -2 * np.sign(x) * slope, rtol=1e-12)


@pytest.mark.parametrize("name", ["ReluGrad", "Sigmoid"])
def test_scan(name):
    x = np.linspace(-2, 2, NUM, dtype=np.float32)

    def total(x):
        return jax.lax.scan(lambda carry, xi: (carry + make(name)(xi), None), 0.0, x)[0]

    expected = first_derivatives(make(name), x)[0]
    for derivative in (jax.grad, jax.jacfwd, lambda f: jax.grad(jax.checkpoint(f)), lambda f: jax.grad(jax.jit(f))):
        np.testing.assert_allclose(derivative(total)(x), expected, rtol=1e-6)


def test_training_reaches_through_a_network():
    """A hand-written reverse pass over two steps, with the surrogate where the step has no derivative."""
    spk_fun = surrogate.Sigmoid(alpha=2.0)

    def loss(w):
        spike = spk_fun(w * 0.7 - 1.0)
        V = 0.5 * w - spike
        return spike + 3.0 * spk_fun(V - 0.2)

    w = 1.3
    first = _logistic_slope(w * 0.7 - 1.0, 2.0) * 0.7
    second = _logistic_slope(0.5 * w - (w * 0.7 >= 1.0) - 0.2, 2.0) * (0.5 - first)
    for derivative in (jax.grad, jax.jacfwd):
        np.testing.assert_allclose(jax.jit(derivative(loss))(w), first + 3.0 * second, rtol=1e-5)


def test_derivative_is_not_computed_when_it_is_not_asked_for():
    x = jnp.zeros(NUM)
    spk_fun = surrogate.SlayerGrad()
    forward, backward = (str(jax.jit(fn).lower(x).compile().as_text()) for fn in (spk_fun, jax.vmap(jax.grad(spk_fun))))
    assert "exponential" not in forward and "exponential" in backward

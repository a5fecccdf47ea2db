"""`phi` and the exponential Euler step."""

from __future__ import annotations

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from neurostate.integrate import exp_euler_step, phi

from .helpers import x64


POINTS = [0.0, 1e-30, -1e-8, 1e-4, -1e-4, 0.01, -0.3, 0.999, -0.999, 1.0, -1.0, 3.0, -3.0, 20.0, -20.0]


def moment(order: int, z: float) -> float:
    """The integral of `s**order * exp(s * z)` over 0 to 1 from its series, in exact rational numbers."""
    x, term, total = Fraction(z), Fraction(1), Fraction(0)
    for k in range(120):
        total += term / (k + order + 1)
        term *= x / (k + 1)
    return float(total)


def derivative(order: int):
    f = phi
    for _ in range(order):
        f = (lambda g: lambda z: jax.jvp(g, (z,), (jnp.ones_like(z),))[1])(f)
    return f


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_phi_and_its_derivatives(order, wide):
    with x64(wide):
        z = jnp.asarray(POINTS)
        expected = np.array([moment(order, float(x)) for x in z])
        actual = derivative(order)(z)
        assert actual.dtype == z.dtype
        np.testing.assert_allclose(actual, expected, rtol=20 * float(jnp.finfo(z.dtype).eps))


def test_phi_is_the_plain_expression_away_from_zero():
    z = jnp.asarray([x for x in POINTS if x])
    assert bool((phi(z) == jnp.expm1(z) / z).all())
    assert float(phi(0.0)) == 1.0 and float(phi(1)) == float(jnp.expm1(1.0))
    assert phi(jnp.bfloat16(0.5)).dtype == jnp.bfloat16


def test_phi_transforms():
    z = jnp.asarray(POINTS)

    @jax.jit
    def every_way(z):
        by_grad = jax.vmap(jax.grad(phi))(z)
        twice = jax.vmap(jax.grad(jax.grad(phi)))(z)
        return (derivative(1)(z), derivative(2)(z)), (by_grad, twice), jnp.diagonal(jax.jacfwd(phi)(z))

    by_jvp, by_grad, diagonal = every_way(z)
    np.testing.assert_allclose(by_grad[0], by_jvp[0], rtol=1e-6)
    np.testing.assert_allclose(by_grad[1], by_jvp[1], rtol=1e-6)
    np.testing.assert_allclose(diagonal, by_jvp[0], rtol=1e-6)


def test_no_nan_at_the_extremes():
    extreme = jnp.asarray([-jnp.inf, -1e30, -1e5, 80.0, 1e5])
    values = jax.jit(lambda z: [derivative(order)(z) for order in range(3)])(extreme)
    assert not bool(jnp.isnan(jnp.stack(values)).any())


@pytest.mark.parametrize("wide", [False, True])
def test_the_step_has_the_bits_of_the_written_formula(wide):
    # Compiled, because XLA compiles single operations of an eager derivative in another way.
    @functools.partial(jax.jit, static_argnames="dt")
    def both(x, tau, dt):
        def f(x):
            return (-(x - 0.2) + 1.5 * current) / tau

        return exp_euler_step(f, x, dt=dt), x + dt * phi(-dt / tau) * f(x)

    with x64(wide):
        x, current = jnp.linspace(-1.0, 1.0, 101), jnp.linspace(0.0, 3.0, 101)
        for dt in (0.01, 0.1, 1.0):
            for tau in (jnp.asarray(5.0), jnp.linspace(3.0, 11.0, 101)):
                actual, expected = both(x, tau, dt)
                assert bool((actual == expected).all())


def test_the_argument_of_phi_is_exactly_minus_dt_over_tau(monkeypatch):
    seen = []
    monkeypatch.setattr("neurostate.integrate.phi", lambda z: seen.append(z) or phi(z))
    tau = jnp.linspace(3.0, 11.0, 101)
    exp_euler_step(lambda x, rest: (-(x - rest) + 2.0) / tau, jnp.ones(101), 0.3, dt=0.1)
    assert bool((seen[0] == -0.1 / tau).all())


@jax.jit
def affine_step(x, a, b, dt):
    return exp_euler_step(lambda x, b: a * x + b, x, b, dt=dt)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.01, 2))
def test_the_step_is_exact_for_affine_equations(a, b, dt):
    with x64():
        x = np.array([-1.0, 0.0, 2.0])
        expected = x * np.exp(a * dt) + b * dt * moment(0, a * dt)
        np.testing.assert_allclose(affine_step(x, a, b, dt), expected, rtol=1e-12, atol=1e-12)


def test_the_step_is_of_second_order_for_others():
    @jax.jit
    def run(dts):
        step = lambda x, dt: (exp_euler_step(lambda x: x * (1 - x), x, dt=dt), None)  # noqa: E731
        return jax.lax.scan(step, jnp.asarray(0.2), dts)[0]

    reference = solve_ivp(lambda t, x: x * (1 - x), (0, 1), [0.2], rtol=1e-12, atol=1e-12).y[0, -1]
    with x64():
        coarse, fine = (abs(float(run(jnp.full(n, 1 / n))) - reference) for n in (8, 16))
    assert 3.5 < coarse / fine < 4.5


def test_gradients_of_the_step():
    @jax.jit
    def step(theta, x):
        return exp_euler_step(lambda x, theta: -theta * x + jnp.sin(x), x, theta, dt=0.1).sum()

    with x64():
        x = jnp.asarray([0.5, -0.25])
        theta = jnp.asarray([0.0, 0.7])  # a rate of exactly zero, too
        by_theta, by_x = jax.jit(jax.grad(step, (0, 1)))(theta, x)
        for i in range(2):
            h = 1e-6 * np.eye(2)[i]
            assert abs(by_theta[i] - (step(theta + h, x) - step(theta - h, x)) / 2e-6) < 1e-8
            assert abs(by_x[i] - (step(theta, x + h) - step(theta, x - h)) / 2e-6) < 1e-8


def test_the_second_derivative_of_the_step_at_a_rate_of_zero():
    with x64():
        x = jnp.asarray([0.5, -0.3])
        decay = jax.jit(jax.hessian(lambda rate: exp_euler_step(lambda x: -rate * x, x, dt=0.1).sum()))
        np.testing.assert_allclose(decay(0.0), x.sum() * 0.1**2, rtol=1e-12)  # of x * exp(-rate * dt)


def test_dtypes_and_shapes():
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
        assert exp_euler_step(lambda x: -x, jnp.ones(3, dtype), dt=0.1).dtype == dtype
    with x64():
        for dt in (0.1, np.float64(0.1), jnp.asarray(0.1)):
            assert exp_euler_step(lambda x: -x, jnp.ones(3, jnp.float32), dt=dt).dtype == jnp.float32
    assert exp_euler_step(lambda x: -x, jnp.ones(()), dt=0.1).shape == ()
    with pytest.raises(TypeError, match="needs `x` of a floating dtype, got int32"):
        exp_euler_step(lambda x: -x, jnp.arange(3), dt=0.1)
    with pytest.raises(ValueError, match=r"of the shape of `x`, \(3,\), but `f` gave \(2, 3\)"):
        exp_euler_step(lambda x, y: y - x, jnp.ones(3), jnp.ones((2, 3)), dt=0.1)

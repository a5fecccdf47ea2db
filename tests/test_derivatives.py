"""Derivatives by references and arguments, against JAX on functions without references."""

import itertools

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns


T = ns.transform
A, B, X = jnp.array([0.5, -1.0, 2.0]), jnp.array(1.5), jnp.array(0.7)


def vector(a, b, x):
    return jnp.sin(a * x) * b + x**2


def scalar(a, b, x):
    return vector(a, b, x).sum()


REFERENCE = {
    "grad": lambda n: jax.grad(scalar, n)(A, B, X),
    "vector_grad": lambda n: jax.grad(scalar, n)(A, B, X),
    "jacrev": lambda n: jax.jacrev(vector, n)(A, B, X),
    "jacobian": lambda n: jax.jacrev(vector, n)(A, B, X),
    "jacfwd": lambda n: jax.jacfwd(vector, n)(A, B, X),
}


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("wrap", [lambda f: f, T.jit], ids=["eager", "jit"])
def test_every_structure_aux_and_value(name, wrap):
    a, b = ns.ParamState(A, name="a"), ns.ParamState(B, name="b")
    pure = scalar if name == "grad" else vector
    of = {"a": REFERENCE[name](0), "b": REFERENCE[name](1), "x": REFERENCE[name](2)}
    structures = [(None, None), (a, of["a"]), ([a, b], [of["a"], of["b"]]), ({"p": b}, {"p": of["b"]})]
    for (states, want), argnums, has_aux, value in itertools.product(structures, (None, 0, (0,)), (0, 1), (0, 1)):
        count = a.value  # a read-only reference beside

        def fun(x):
            out = pure(a.value, b.value, x)
            return (out, {"aux": x + count.sum()}) if has_aux else out

        parts = [] if states is None else [want]
        if argnums is not None or states is None:
            parts.append((of["x"],) if argnums == (0,) else of["x"])
        expected = [parts[0] if len(parts) == 1 else tuple(parts)]
        expected += [pure(A, B, X)] if value else []
        expected += [{"aux": X + A.sum()}] if has_aux else []
        transform = getattr(T, name)(fun, states, argnums, has_aux=bool(has_aux), return_value=bool(value))
        got = wrap(transform)(X)
        want_all = tuple(expected) if len(expected) > 1 else expected[0]
        assert jax.tree.structure(got) == jax.tree.structure(want_all)
        jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6), got, want_all)


def test_hessian_by_references_and_arguments():
    a, b = ns.ParamState(A), ns.ParamState(B)
    hessian = T.hessian(lambda x: scalar(a.value, b.value, x), {"a": a, "b": b}, argnums=0)(X)
    expected = jax.hessian(scalar, (0, 1, 2))(A, B, X)
    rows = {"a": expected[0], "b": expected[1]}
    states, arguments = hessian
    for name, row in rows.items():
        of_states, of_x = states[name]
        for other, k in (("a", 0), ("b", 1)):
            np.testing.assert_allclose(of_states[other], row[k], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(of_x, row[2], rtol=1e-5)
    np.testing.assert_allclose(arguments[1], expected[2][2], rtol=1e-5)
    value = T.hessian(lambda: scalar(a.value, B, X), a, return_value=True)()[1]
    np.testing.assert_allclose(value, scalar(A, B, X), rtol=1e-6)


def test_fwd_grad_is_unbiased_and_repeatable():
    a = ns.ParamState(A)
    estimate = T.fwd_grad(lambda: scalar(a.value, B, X), a, tangent_size=20_000, key=jax.random.key(0))
    expected = REFERENCE["grad"](0)
    np.testing.assert_allclose(estimate(), expected, atol=5 * np.linalg.norm(expected) / np.sqrt(20_000) * 2)
    np.testing.assert_array_equal(estimate(), estimate())
    random = T.fwd_grad(lambda: scalar(a.value, B, X), a)
    assert not np.array_equal(random(), random())


def test_vjp():
    a = ns.ParamState(A)
    cotangent = jnp.array([1.0, 2.0, 3.0])
    _, pull = jax.vjp(vector, A, B, X)
    of_a, _, of_x = pull(cotangent)
    f = lambda x: vector(a.value, B, x)  # noqa: E731
    for out, back in (T.vjp(f, X, grad_states=a), T.vjp(f, X, grad_states=[a])):
        np.testing.assert_allclose(out, vector(A, B, X), rtol=1e-6)
        states, arguments = back(cotangent)
        np.testing.assert_allclose(jax.tree.leaves(states)[0], of_a, rtol=1e-5)
        np.testing.assert_allclose(arguments, of_x, rtol=1e-5)
    out, back, aux = T.vjp(lambda: (vector(a.value, B, X), {"k": X}), grad_states=a, has_aux=True)
    np.testing.assert_allclose(back(cotangent), of_a, rtol=1e-5)
    assert aux == {"k": X}
    with pytest.raises(TypeError, match="cotangent"):
        back({"wrong": 1.0})
    inside = T.jit(lambda x: T.vjp(f, x, grad_states=a)[1](cotangent))(X)
    np.testing.assert_allclose(inside[0], of_a, rtol=1e-5)


def test_jvp_with_tangents_of_states_and_writes():
    a, count = ns.ParamState(A), ns.StateRef(0)

    def f(x):
        count.value = count.value + 1
        return vector(a.value, B, x)

    da, dx = jnp.ones(3), jnp.array(0.1)
    out, tangent = T.jvp(f, (X,), (dx,), grad_states=a, state_tangents=da)
    expected = jax.jvp(lambda a, x: vector(a, B, x), (A, X), (da, dx))
    np.testing.assert_allclose(out, expected[0], rtol=1e-6)
    np.testing.assert_allclose(tangent, expected[1], rtol=1e-5)
    assert count.value == 1
    only_x = T.jvp(f, (X,), (dx,))[1]
    np.testing.assert_allclose(only_x, jax.jvp(lambda x: vector(A, B, x), (X,), (dx,))[1], rtol=1e-5)


def test_units():
    tau = ns.ParamState(jnp.array(5.0) * u.ms)
    f = lambda x: (x * tau.value**2).sum()  # noqa: E731
    x = jnp.ones(2) * u.mV
    own = T.grad(f, tau)(x)
    assert own.unit == u.ms
    true = T.grad(f, tau, unit_aware=True)(x)
    assert true.unit == u.mV * u.ms and true.mantissa == own.mantissa == 20.0
    out, tangent = T.jvp(f, (x,), (x,), grad_states=tau, state_tangents=jnp.array(0.0) * u.ms)
    assert out.unit == tangent.unit == u.mV * u.ms**2
    jacobian = T.jacfwd(lambda: jnp.arange(2.0) * tau.value, tau)()
    np.testing.assert_allclose(u.get_mantissa(jacobian), [0.0, 1.0])


@pytest.mark.parametrize("name", ["vector_grad", "jacrev", "jacfwd", "hessian", "fwd_grad"])
def test_misuse_is_explained_by_each(name):
    transform, p = getattr(T, name), ns.ParamState(1.0, name="net.p")
    with pytest.raises(ValueError, match=r"net\.p.*never reads"):
        transform(lambda: jnp.array(1.0), p)()
    with pytest.raises(ValueError, match="negative"):
        transform(lambda x: x, argnums=-1)
    with pytest.raises(TypeError, match="function"):
        transform("f")
    assert transform(check_states=False)(lambda x: x * 1.0)(2.0) is not None

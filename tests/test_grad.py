"""`grad`: its return table, units, and what counts as the point of differentiation."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns


T = ns.transform


@pytest.fixture
def refs():
    return ns.ParamState(jnp.array(3.0), name="a"), ns.ParamState(jnp.array([1.0, 2.0]), name="b")


STRUCTURES = {
    "one": lambda a, b: a,
    "list": lambda a, b: [a, b],
    "tuple": lambda a, b: (a, b),
    "dict": lambda a, b: {"A": a, "B": b},
}


def plain(tree):
    return jax.tree.map(lambda x: np.asarray(x).tolist(), tree)


@pytest.mark.parametrize("return_value", [False, True])
@pytest.mark.parametrize("has_aux", [False, True])
@pytest.mark.parametrize("argnums", [None, 0, (1, 0)])
@pytest.mark.parametrize("structure", [None, *STRUCTURES])
def test_the_return_table(refs, structure, argnums, has_aux, return_value):
    a, b = refs

    def loss(x, y):
        value = x * y * a.value + 0.0 * y + (b.value * a.value).sum() * x * 1.0
        return (value, {"aux": x}) if has_aux else value

    def by_hand():
        x, y, av, bv = 1.0, 5.0, 3.0, np.array([1.0, 2.0])
        states = {"a": x * y + bv.sum() * x, "b": (av * x * np.ones(2)).tolist()}
        arguments = {0: y * av + (bv * av).sum(), 1: x * av}
        parts = []
        if structure is not None:
            parts.append(
                {
                    "one": states["a"],
                    "list": [states["a"], states["b"]],
                    "tuple": (states["a"], states["b"]),
                    "dict": {"A": states["a"], "B": states["b"]},
                }[structure]
            )
        if argnums is not None or structure is None:
            parts.append(arguments[0] if argnums in (None, 0) else (arguments[1], arguments[0]))
        G = parts[0] if len(parts) == 1 else tuple(parts)
        result = (G, *([x * y * av + (bv * av).sum() * x] if return_value else []), *([{"aux": x}] if has_aux else []))
        return result if len(result) > 1 else G

    grad_states = None if structure is None else STRUCTURES[structure](a, b)
    result = T.grad(loss, grad_states, argnums, has_aux=has_aux, return_value=return_value)(1.0, 5.0)
    assert plain(result) == by_hand()


def test_the_gradient_is_that_at_the_value_on_entry_and_writes_persist():
    p = ns.ParamState(jnp.array(3.0))

    def loss():
        p.value = 2 * p.value
        return p.value**2

    assert T.grad(loss, p)() == 24.0
    assert p.value == 6.0


def test_gradients_have_their_references_units():
    tau = ns.ParamState(jnp.array(5.0) * u.ms)
    gradient, value = T.grad(lambda x: (x * tau.value).sum(), tau, return_value=True)(jnp.ones(2) * u.mV)
    assert gradient.unit == u.ms and gradient.mantissa == 2.0
    assert value.unit == u.mV * u.ms
    of_x = T.grad(lambda x: (x * tau.value).sum())(jnp.ones(2) * u.mV)
    assert of_x.unit == u.mV
    np.testing.assert_array_equal(of_x.mantissa, [5.0, 5.0])


def test_the_same_reference_twice_has_one_gradient():
    p = ns.ParamState(jnp.array(3.0))
    assert plain(T.grad(lambda: p.value**2, [p, p])()) == [6.0, 6.0]


def test_gradients_through_loops_and_branches_and_jit():
    p, total = ns.ParamState(jnp.array(0.5)), ns.StateRef(jnp.array(1.0))

    def step(x):
        total.value = T.cond(x > 1, lambda: total.value * p.value, lambda: total.value + p.value)
        return total.value

    def loss():
        total.value = jnp.array(1.0)
        return T.for_loop(step, jnp.arange(4.0)).sum()

    def by_hand(p):
        V, out = 1.0, 0.0
        for x in range(4):
            V = V * p if x > 1 else V + p
            out = out + V
        return out

    expected = jax.grad(by_hand)(0.5)
    np.testing.assert_allclose(T.grad(loss, p)(), expected, rtol=1e-6)
    np.testing.assert_allclose(T.jit(T.grad(loss, p))(), expected, rtol=1e-6)
    np.testing.assert_allclose(T.grad(T.jit(loss), p)(), expected, rtol=1e-6)
    per_lane = T.vmap(lambda x: T.grad(lambda: x * p.value**2, p)())(jnp.arange(3.0))
    np.testing.assert_allclose(per_lane, jnp.arange(3.0))
    second = T.grad(lambda: T.grad(lambda: p.value**3, p)(), p)()
    np.testing.assert_allclose(second, 3.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p, q: T.grad(lambda: p.value, [p, q])(), ValueError, ["q", "never reads", "check_states=False"]),
        (lambda p, q: T.grad(lambda x: x, argnums=-1)(1.0), ValueError, ["argnums", "negative", "-1"]),
        (lambda p, q: T.grad(lambda x: x, argnums=True)(1.0), ValueError, ["argnums"]),
        (lambda p, q: T.grad(lambda x: x, argnums=2)(1.0), ValueError, ["argument 2", "1 positional"]),
        (lambda p, q: T.grad(lambda x: jnp.ones(2) * x)(1.0), TypeError, ["scalar", "float32[2]", "mean"]),
        (lambda p, q: T.grad(lambda x: x, has_aux=True)(1.0), TypeError, ["has_aux", "pair"]),
        (lambda p, q: T.grad(lambda: p.value, grad_states="p")(), TypeError, ["grad_states", "'p'"]),
        (lambda p, q: T.grad(3.0), TypeError, ["function", "3.0"]),
    ],
    ids=["unread", "negative", "bool", "too many", "vector", "no aux", "no reference", "no function"],
)
def test_misuse_is_explained(make, error, words):
    p, q = ns.ParamState(jnp.array(1.0), name="p"), ns.ParamState(jnp.array(1.0), name="q")
    with pytest.raises(error) as caught:
        make(p, q)
    for word in words:
        assert word in str(caught.value)


def test_unread_references_have_zero_gradients_on_request():
    p, q = ns.ParamState(jnp.array(2.0)), ns.ParamState(jnp.ones(3))
    gradient = T.grad(lambda: p.value**2, {"p": p, "q": q}, check_states=False)()
    assert plain(gradient) == {"p": 4.0, "q": [0.0, 0.0, 0.0]}

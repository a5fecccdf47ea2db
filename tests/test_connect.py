"""Connections against their matrices: calls, batches, derivatives, units, and weights that learn."""

from __future__ import annotations

import math

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns
from neurostate.connect import _events, _every

from .helpers import x64


C = ns.connect
RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
N_IN, N_OUT = 70, 40
SOME = C.Edges(RNG.integers(0, N_IN, 400), RNG.integers(0, N_OUT, 400), N_IN, N_OUT)
ONE_LONG_ROW = C.Edges(np.r_[np.full(300, 3), [5, 9]], np.r_[RNG.integers(0, N_OUT, 300), [1, 2]], N_IN, N_OUT)
SAME_DEGREE = C.fixed_outdegree(N_IN, N_OUT, 7, key=KEY)
SQUARE = C.Edges(RNG.integers(0, N_OUT, 200), RNG.integers(0, N_OUT, 200), (8, 5), (5, 8))


def drawn(edges):
    return np.random.default_rng(1).standard_normal(len(edges))


CONNECTIONS = {
    "EventSparse": lambda: C.EventSparse(SOME, drawn(SOME)),
    "EventSparse, one long row": lambda: C.EventSparse(ONE_LONG_ROW, drawn(ONE_LONG_ROW)),
    "EventSparse, one degree": lambda: C.EventSparse(SAME_DEGREE, drawn(SAME_DEGREE)),
    "EventSparse, shapes and one weight": lambda: C.EventSparse(SQUARE, 0.7),
    "Sparse": lambda: C.Sparse(SOME, drawn(SOME)),
    "Sparse, one degree": lambda: C.Sparse(SAME_DEGREE, 0.3),
    "Dense": lambda: C.Dense(N_IN, N_OUT, ns.init.Normal(0.0, 1.0), key=KEY),
    "Dense, mask and sign": lambda: C.Dense(
        N_IN,
        (4, 10),
        ns.init.Normal(0.0, 1.0),
        mask=RNG.random((N_IN, N_OUT)) < 0.3,
        sign=np.where(np.arange(N_IN) < 50, 1, -1),
        key=KEY,
    ),
    "OneToOne": lambda: C.OneToOne((5, 8), RNG.standard_normal((5, 8))),
    "AllToAll": lambda: C.AllToAll(N_IN, N_OUT, 0.3),
    "AllToAll, others": lambda: C.AllToAll(N_OUT, N_OUT, 0.3, autapses=False),
    "LowRank": lambda: C.LowRank(N_IN, N_OUT, 2, ns.init.Normal(0.0, 1.0), ns.init.Normal(0.0, 1.0), key=KEY),
    "Procedural": lambda: C.Procedural(N_IN, N_OUT, 9, 0.5, key=KEY),
    "Procedural, normal": lambda: C.Procedural(N_IN, N_OUT, 9, 0.5, std=0.2, key=KEY),
    "Conv": lambda: C.Conv((10, 7), 4, 3, ns.init.Normal(0.0, 1.0), stride=2, key=KEY),
    "Conv, image": lambda: C.Conv((5, 7, 2), 3, (3, 2), ns.init.Normal(0.0, 1.0), padding="VALID", key=KEY),
}


# Whose derivatives are looked at in float32 too, because they are not those that JAX finds.
IN_FLOAT32_TOO = ("EventSparse", "Procedural, normal")


def signal(connection, share, graded):
    shape = (3, *connection.in_size)
    x = (np.random.default_rng(2).random(shape) < share).astype(float)
    return x * np.random.default_rng(3).standard_normal(shape) if graded else x


def flat(x):
    return np.asarray(x, np.float64).reshape(len(x), -1)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("name", CONNECTIONS)
def test_calls_and_derivatives_are_those_of_the_matrix(name, double):
    with x64(double):
        connection = CONNECTIONS[name]()
        eps = 100 * float(np.finfo(np.float64 if double else np.float32).eps)
        params, rest = eqx.partition(connection, eqx.is_inexact_array)
        run = lambda params, x: eqx.combine(params, rest)(x)  # noqa: E731
        close = lambda a, b: np.abs(flat(a) - b).max() <= eps * (1 + np.abs(b).max())  # noqa: E731

        # The first of the batch are single spikes, one of each neuron, and give the matrix; then some, none and all.
        num_in = math.prod(connection.in_size)
        single = np.eye(num_in).reshape(num_in, *connection.in_size)
        signals = [signal(connection, *case) for case in ((0.1, True), (0.1, False), (0.0, False), (1.0, True))]
        x = jnp.asarray(np.concatenate([single, *signals]), float)
        toward, weight = (RNG.standard_normal((len(x), *size)) for size in (connection.in_size, connection.out_size))

        def loss(params, x):
            y = run(params, x)
            return (y * weight.astype(y.dtype)).sum(), y

        @jax.jit
        def derivatives(params, x):
            (value, y), slopes = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, x)
            mapped = jax.vmap(lambda x: run(params, x))(x)
            return value, y, mapped, slopes, jax.jvp(lambda x: run(params, x), (x,), (jnp.asarray(toward, x.dtype),))[1]

        y = derivatives(params, x)[1] if double else jax.jit(run)(params, x)
        assert y.shape == (len(x), *connection.out_size) and y.dtype == x.dtype
        matrix = flat(y[:num_in])
        assert close(y, flat(x) @ matrix)
        if not double and name not in IN_FLOAT32_TOO:
            return

        # The map is linear in x, and the derivatives are exact, of silent neurons too.
        _, again, mapped, (by_params, by_x), slope = derivatives(params, x)
        assert close(again, flat(y))
        assert close(mapped, flat(y)) and close(by_x, flat(weight) @ matrix.T) and close(slope, flat(toward) @ matrix)
        if double:
            move = jax.tree.map(lambda p: RNG.standard_normal(p.shape), params)
            at = lambda s: derivatives(jax.tree.map(lambda p, m: np.asarray(p) + s * m, params, move), x)[0]  # noqa: E731
            exact = sum(jax.tree.leaves(jax.tree.map(lambda a, b: (np.asarray(a) * b).sum(), by_params, move)))
            assert abs((at(1e-6) - at(-1e-6)) / 2e-6 - exact) <= 1e-6 * max(1.0, abs(exact))


@pytest.mark.parametrize("name", CONNECTIONS)
def test_size_unit_and_number(name):
    connection = CONNECTIONS[name]()
    with pytest.raises(ValueError, match="got an input of shape \\(3, 2\\), but it connects a population of the size"):
        connection(jnp.ones((3, 2)))
    scaled = connection.scaled(10.0, u.nS)
    matrix = np.asarray(eqx.filter_jit(type(connection).matrix)(connection))
    x = RNG.standard_normal((1, matrix.shape[0]))
    y = eqx.filter_jit(scaled)(jnp.asarray(x, jnp.float32).reshape(connection.in_size))
    assert np.allclose(np.ravel(y), 10 * x @ matrix, rtol=1e-4, atol=1e-4) and scaled.unit == u.nS
    assert connection.unit is None and "nS" in repr(scaled) and "nS" not in repr(connection)
    assert (matrix != 0).sum() <= connection.num_synapses


@pytest.mark.parametrize("block", [400, 64])
def test_blocks_of_synapses_add_up(block, monkeypatch):
    monkeypatch.setattr(_every, "_BLOCK", block)
    x, y = (RNG.standard_normal((3, n)).astype(np.float32) for n in (N_IN, N_OUT))
    pre, post, weight, matrix = SOME.pre, SOME.post, drawn(SOME).astype(np.float32), np.zeros((N_IN, N_OUT))
    np.add.at(matrix, (pre, post), weight)
    run = lambda x, w: _every.sum_over_synapses(pre, post, x, w, N_OUT)  # noqa: E731
    out, pull = jax.vjp(run, jnp.asarray(x), jnp.asarray(weight))
    of_weights = (x[:, pre] * y[:, post]).sum(0)
    for a, b in zip((out, *pull(jnp.asarray(y))), (x @ matrix, y @ matrix.T, of_weights), strict=True):
        assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()


@pytest.mark.parametrize("size", [31, 32, 33, 64 * 32, 40_000])
def test_events_at_the_edges_of_words_and_groups(size, monkeypatch):
    if size < 40_000:
        monkeypatch.setattr(_events, "_WORDS", 1)
        monkeypatch.setattr(_events, "_GROUP", 2)
    append = lambda i, c: (c[0].at[c[1]].set(i), c[1] + 1)  # noqa: E731
    indices = jax.jit(lambda h: _events.for_each_event(h, append, (jnp.full(size, -1), jnp.asarray(0))))
    for happened in (np.zeros(size, bool), np.ones(size, bool), RNG.random(size) < 0.02, np.arange(size) == size - 1):
        found = indices(happened)
        expected = np.flatnonzero(happened)
        assert int(found[1]) == expected.size and np.array_equal(found[0][: expected.size], expected)


def test_binary_values_and_their_check():
    binary = C.EventSparse(SOME, drawn(SOME), values="binary", debug=True)
    x = jnp.asarray(signal(binary, 0.2, False), jnp.float32)
    assert np.allclose(eqx.filter_jit(binary)(x), C.EventSparse(SOME, drawn(SOME))(x), atol=1e-6)
    with pytest.raises(Exception, match="neither 0 nor 1"):
        jax.block_until_ready(eqx.filter_jit(binary)(0.5 * x))
    with pytest.raises(ValueError, match="`values` of `EventSparse` must be 'graded' or 'binary'"):
        C.EventSparse(SOME, values="other")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("edges", [SOME, SAME_DEGREE, ONE_LONG_ROW], ids=["some", "one degree", "one long row"])
def test_learning_by_events_is_learning_by_all(edges):
    weight = jnp.asarray(drawn(edges), jnp.float32)
    every, events = (C.EventSparse(edges, weight, learns_by_events=k) for k in (False, True))
    pre, post = (jnp.asarray(RNG.random(n) < 0.2, jnp.float32) for n in (N_IN, N_OUT))
    trace_in, trace_out = (jnp.asarray(RNG.random(n), jnp.float32) for n in (N_IN, N_OUT))
    new = lambda w, trace: jnp.clip(w + 0.3 * trace, -1, 1)  # noqa: E731

    def learn(c, w, pre, post):
        w = c.update_pre(w, pre, new, trace_out)
        return c.update_post(w, post, new, trace_in)

    a, b = (eqx.filter_jit(learn)(c, weight, pre, post) for c in (every, events))
    assert np.abs(a - b).max() < 1e-6 and np.abs(a - weight).max() > 0.1
    many = jnp.stack([pre, 1 - pre, 0 * pre])
    a, b = (jax.jit(jax.vmap(lambda p: learn(c, weight, p, post)))(many) for c in (every, events))  # noqa: B023
    assert np.abs(a - b).max() < 1e-6


def test_what_was_learned_by_events_has_the_derivatives_of_all():
    with x64():
        weight, rng = jnp.asarray(drawn(ONE_LONG_ROW)), np.random.default_rng(4)
        pre, post = (jnp.asarray((rng.random(n) < 0.2) * rng.random(n)) for n in (N_IN, N_OUT))
        args = (
            weight,
            pre.at[3].set(0.9),
            post,
            *(jnp.asarray(rng.random(n)) for n in (N_IN, N_OUT)),
            jnp.asarray(0.3),
        )

        def loss(c, w, pre, post, trace_in, trace_out, rate):
            new = lambda w, trace: jnp.tanh(w + rate * trace)  # noqa: E731
            return (c.update_post(c.update_pre(w, pre, new, trace_out), post, new, trace_in) ** 2).sum()

        def derivatives(c):
            one = lambda args: jax.value_and_grad(lambda args: loss(c, *args))(args)  # noqa: E731
            lanes = jax.vmap(lambda pre, rate: one((weight, pre, *args[2:5], rate)))
            return one(args), lanes(jnp.stack([pre, 1 - pre, 0 * pre]), jnp.arange(3.0))

        a, b = (eqx.filter_jit(derivatives)(C.EventSparse(ONE_LONG_ROW, weight, learns_by_events=k)) for k in (0, 1))
        for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            assert np.abs(one - other).max() <= 1e-12 * np.abs(one).max() and np.abs(one).max() > 1e-3


def test_dales_law_survives_training():
    sign = np.where(np.arange(4) < 3, 1, -1)
    connection = C.Dense(4, 2, ns.init.Normal(0.0, 0.1), sign=sign, key=KEY)
    params, rest = eqx.partition(connection, eqx.is_inexact_array)

    @jax.jit
    def trained(params, x, y):
        slope = jax.grad(lambda p: ((eqx.combine(p, rest)(x) - y) ** 2).mean())(params)
        return jax.tree.map(lambda p, g: p - 0.3 * g, params, slope)

    for _ in range(50):
        params = trained(params, RNG.random((8, 4), np.float32), RNG.standard_normal((8, 2), np.float32))
    matrix = np.asarray(eqx.combine(params, rest).matrix())
    assert np.all(matrix * sign[:, None] >= 0) and np.abs(matrix).max() > 0.05


WRONG = {
    "weights": (lambda: C.EventSparse(SOME, np.ones(3)), ValueError, "`weight` of `EventSparse`"),
    "no edges": (lambda: C.Sparse(np.eye(3)), TypeError, "`edges` of `Sparse` must be `Edges`"),
    "mask": (lambda: C.Dense(2, 3, mask=np.ones((3, 2))), ValueError, "`mask` of `Dense` must have the shape"),
    "sign": (lambda: C.Dense(2, 3, sign=[1, 2]), ValueError, "must be 1 or -1 for each of 2 neurons"),
    "matrix": (lambda: C.Dense(2, 3, np.ones((3, 2))), ValueError, "`weight` of `Dense`"),
    "autapses": (lambda: C.AllToAll(2, 3, autapses=False), ValueError, "one population on both sides"),
    "axes": (lambda: C.Conv((5,), 2, 3), ValueError, "one to three axes and then the channels"),
    "kernel": (lambda: C.Conv((5, 5, 1), 2, (3,)), ValueError, "`kernel_size` of `Conv` must be an int or have 2"),
    "outdegree": (lambda: C.Procedural(3, 3, 0, key=KEY), ValueError, "`outdegree` of at least 1"),
    "half a synapse": (lambda: C.Procedural(3, 3, 1.5, key=KEY), TypeError, "`outdegree` of `Procedural` must be an"),
    "unit": (lambda: C.LowRank(2, 2, 1, np.ones((2, 1)) * u.mV, np.ones((1, 2))), ns.UnitError, "`left` of `LowRank`"),
    "plasticity": (
        lambda: C.AllToAll(2, 2).at_pre(jnp.ones(2)),
        TypeError,
        "`AllToAll` has no weight for each synapse",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case):
    make, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        make()

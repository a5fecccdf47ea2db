"""Truncated backpropagation through time: the run of `simulate`, its gradient window by window, and updates."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neurostate as ns
from neurostate import train


STEPS, BATCH, WINDOW, DT = 40, 2, 15, 1.0
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
INPUTS, TARGETS = (jnp.asarray(RNG.random((STEPS, BATCH, 3)), jnp.float32) for _ in range(2))


class Noisy(eqx.Module):
    """Leaky sums of inputs and noise."""

    decay: jax.Array
    start: jax.Array
    in_size = out_size = (3,)
    stochastic = True

    def init_state(self, batch_shape=(), key=None):
        return jax.random.normal(key, (*batch_shape, 3)) + self.start

    def step(self, state, x, *, dt, key=None):
        state = self.decay**dt * state + x + 0.1 * jax.random.normal(key, state.shape)
        return state, state


def network():
    dense = lambda key: ns.connect.Dense(3, 3, ns.init.Normal(1.0, 0.5), key=key)  # noqa: E731
    keys = jax.random.split(KEY)
    layer = ns.Recurrent(ns.LIF(3, spk_reset="hard", tau_ref=2.0), dense(keys[1]))
    return ns.Sequential(Noisy(jnp.array(0.9), jnp.array(0.5)), dense(keys[0]), layer)


def squares(y, targets):
    return jnp.sum((y - targets) ** 2)


@eqx.filter_jit
@functools.partial(eqx.filter_value_and_grad, has_aux=True)
def by_hand(model, state, begin, inputs, targets):
    """A window, its loss and gradient, written out."""
    if state is None:
        state = model.init_state((BATCH,), key=jax.random.fold_in(KEY, 2**32 - 1))
    keys = jax.vmap(lambda n: jax.random.fold_in(KEY, begin + n))(jnp.arange(len(inputs)))
    state, outputs = jax.lax.scan(lambda s, x: model.step(s, x[0], dt=DT, key=x[1]), state, (inputs, keys))
    return squares(outputs, targets), (state, outputs)


def windows(window):
    """Where windows begin, and what is in them."""
    return [(jnp.array(k), INPUTS[k : k + window], TARGETS[k : k + window]) for k in range(0, STEPS, window)]


def assert_close(found, expected, rtol=1e-6):
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(expected))
    assert scale > 0.1 and jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale)


@pytest.mark.parametrize("window", [WINDOW, STEPS])
def test_windows_are_the_run_of_simulate_and_their_gradients_add_up(window):
    model, state = network(), None
    sol = ns.simulate(model, INPUTS, dt=DT, key=KEY)
    assert 5 < float(sol.outputs.sum()) < sol.outputs.size / 2
    found = train.truncated_value_and_grad(model, squares, INPUTS, TARGETS, window=window, dt=DT, key=KEY)
    assert eqx.tree_equal(found.outputs, sol.outputs, typematch=True)
    assert eqx.tree_equal(found.state, sol.state, typematch=True)
    values, gradients = [], []
    for given in windows(window):
        (value, (state, _)), gradient = by_hand(model, state, *given)
        values.append(value)
        gradients.append(gradient)
    np.testing.assert_allclose(found.loss, sum(values), rtol=1e-6)
    assert_close(found.gradients, jax.tree.map(lambda *x: sum(x), *gradients))
    assert found.gradients[0].start != 0


def test_a_run_goes_on_from_a_state():
    model = network()[0]
    state = model.init_state((BATCH,), key=KEY)
    given = dict(dt=DT, key=KEY, state=state, window=WINDOW, outputs=False)
    found = train.truncated_value_and_grad(model, squares, INPUTS, TARGETS, trained="start", **given)
    assert found.outputs is None and found.gradients.start == 0 and found.gradients.decay is None
    assert eqx.tree_equal(found.state, ns.simulate(model, INPUTS, dt=DT, key=KEY, state=state).state)


def test_an_update_after_each_window():
    optimizer, weights = optax.sgd(1e-3, momentum=0.9), ("layers[0]", "*weight")
    given = dict(window=WINDOW, dt=DT, key=KEY, trained=weights)
    steps = list(train.truncated_updates(network(), squares, optimizer, INPUTS[:30], TARGETS[:30], **given))
    assert [step.stop for step in steps] == [15, 30]
    model, state = network(), None
    moments = optimizer.init(train.partition(model, *weights)[0])
    for step, xs in zip(steps, windows(WINDOW)[:2], strict=True):
        (value, (state, outputs)), gradients = by_hand(model, state, *xs)
        np.testing.assert_allclose(step.loss, value, rtol=1e-5)
        np.testing.assert_array_equal(step.outputs, outputs)
        assert_close(step.state, state, rtol=1e-5)
        params, gradients = (train.partition(tree, *weights)[0] for tree in (model, gradients))
        assert_close(step.gradients, gradients, rtol=1e-5)
        updates, moments = jax.jit(optimizer.update)(step.gradients, moments, params)
        model, state = eqx.apply_updates(model, updates), step.state
        assert_close(step.model, model)
    assert_close(steps[-1].optimizer_state, moments)


def test_memory_is_that_of_a_window():
    def temporary(num_steps, window):
        def gradients(inputs):
            given = dict(window=window, dt=DT, outputs=False)
            return train.truncated_value_and_grad(ns.LIF(64), squares, inputs, inputs, **given).gradients

        shape = jax.ShapeDtypeStruct((num_steps, 64), jnp.float32)
        return jax.jit(gradients).lower(shape).compile().memory_analysis().temp_size_in_bytes

    short, long = temporary(1_000, 100), temporary(100_000, 100)
    assert long == short < 100_000 * 64


def test_wrong_arguments_are_refused():
    cell = ns.LIF(3)
    run = lambda inputs=INPUTS, targets=TARGETS, window=10, **kwargs: train.truncated_value_and_grad(  # noqa: E731
        cell, squares, inputs, targets, window=window, dt=DT, **kwargs
    )
    for kwargs, match in (
        ({"window": 0}, "`window`.*at least 1, got 0"),
        ({"targets": TARGETS[1:]}, r"one length.*\(39, 2, 3\)"),
        ({"inputs": INPUTS[..., :2]}, r"batch axes.*`in_size` \(3,\)"),
        ({"trained": "tau_a"}, "selects none"),
    ):
        with pytest.raises(ValueError, match=match):
            run(**kwargs)
    with pytest.raises(ValueError, match="`window`"):
        next(train.truncated_updates(cell, squares, optax.sgd(1.0), INPUTS, TARGETS, window=0, dt=DT))

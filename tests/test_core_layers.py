"""Layers of trained networks against NumPy and Equinox, and what training leaves as it should be."""

from __future__ import annotations

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neurostate as ns
from neurostate import layers


KEYS = jax.random.split(jax.random.key(3), 8)
X = 2.0 * jax.random.normal(KEYS[0], (6, 5, 4)) + 1.0  # (time, batch, neuron)


# Normalisation


def test_layer_norm_is_that_of_equinox():
    norm = layers.LayerNorm((2, 2), epsilon=1e-3)
    norm = eqx.tree_at(lambda n: (n.norm.weight, n.norm.bias), norm, tuple(jax.random.normal(KEYS[1], (2, 2, 2))))
    x = X.reshape(6, 5, 2, 2)
    out = ns.simulate(ns.Sequential(ns.connect.OneToOne((2, 2)), norm), x, dt=1.0).outputs
    np.testing.assert_allclose(out[0, 0], norm.norm(x[0, 0]), rtol=1e-5)
    rows = np.asarray(X, float)
    normal = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + 1e-3)
    expected = normal.reshape(x.shape) * norm.norm.weight + norm.norm.bias
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    assert norm.in_size == norm.out_size == (2, 2)
    with pytest.raises(ValueError, match="`LayerNorm` got an input of shape \\(4,\\), but is for .* size \\(2, 2\\)"):
        norm(jnp.ones(4))


def by_hand(norm, x, mean, var):
    """The outputs and running statistics of a loop over time in float64, with these at the start."""
    mean, var = np.array(mean, float), np.array(var, float)
    outputs = []
    for t, batch in enumerate(np.asarray(x, float)):
        at = ... if norm.num_steps is None else min(t, norm.num_steps - 1)
        flat = batch.reshape(-1, batch.shape[-1])
        used = (mean[at], var[at]) if norm.inference else (flat.mean(0), flat.var(0))
        if not norm.inference:
            mean[at] = norm.momentum * mean[at] + (1 - norm.momentum) * flat.mean(0)
            var[at] = norm.momentum * var[at] + (1 - norm.momentum) * flat.var(0, ddof=1)
        normal = (batch - used[0]) / np.sqrt(used[1] + norm.epsilon)
        outputs.append(1000.0 * normal * np.asarray(norm.scale)[at] + np.asarray(norm.bias)[at])
    return np.stack(outputs), mean, var


@pytest.mark.parametrize(("num_steps", "size"), [(None, (4,)), (4, (2, 2))])
def test_batch_norm_over_a_run_and_from_batch_to_batch(num_steps, size):
    norm = layers.BatchNorm(size, num_steps=num_steps, momentum=0.7, epsilon=1e-3, alpha=2.0, V_th=0.5 * u.volt)
    shape = norm.scale.shape
    assert shape == ((size[-1],) if num_steps is None else (4, size[-1]))
    norm = eqx.tree_at(lambda n: (n.scale, n.bias), norm, tuple(jax.random.normal(KEYS[1], (2, *shape))))
    net = ns.Sequential(ns.connect.OneToOne(size), norm)
    x, mean, var = X.reshape(6, 5, *size), np.zeros(shape), np.ones(shape)
    for batch in (x, x[::-1] * 2.0):
        sol = ns.simulate(net, batch, dt=1.0)
        expected, mean, var = by_hand(net[1], batch, mean, var)
        np.testing.assert_allclose(sol.outputs, expected, rtol=1e-4, atol=0.01)
        net = layers.with_statistics(net, sol.state)
        np.testing.assert_allclose((net[1].mean, net[1].var), (mean, var), rtol=1e-4, atol=1e-5)
    used = eqx.nn.inference_mode(net)
    expected, *_ = by_hand(used[1], x, mean, var)
    sol = ns.simulate(used, x, dt=1.0)
    np.testing.assert_allclose(sol.outputs, expected, rtol=1e-4, atol=0.01)
    np.testing.assert_allclose(ns.simulate(used, x[:, 0], dt=1.0).outputs, sol.outputs[:, 0], rtol=1e-5)
    assert eqx.tree_equal(layers.with_statistics(used, sol.state), used)
    # JAX's own transformations trace the flag.
    traced = jax.jit(lambda net: net.step(net.init_state((5,)), x[0], dt=1.0)[1])
    np.testing.assert_allclose(
        (traced(used), traced(net)), (sol.outputs[0], by_hand(norm, x, mean, var)[0][0]), 1e-4, 0.01
    )


def test_batch_norm_over_batch_and_time():
    # Zheng et al. (2021), eq. 7 and 8: one mean and variance for each channel over time and batch.
    norm = layers.BatchNorm(4, alpha=0.5, V_th=2.0, use_bias=False)
    state, y = norm.step(norm.init_state(), X, dt=1.0)
    x = np.asarray(X, float)
    np.testing.assert_allclose(y, (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.mean, 0.1 * x.mean((0, 1)), rtol=1e-5)


def test_running_statistics_are_no_parameters():
    net = ns.Sequential(ns.connect.OneToOne(3), layers.BatchNorm(3))
    for where in ((), ("*",), (layers.BatchNorm,), (lambda path, leaf: True,)):
        trained, _ = ns.train.partition(net, *where)
        assert trained[1].mean is None and trained[1].var is None and trained[1].scale is not None
    with pytest.raises(ValueError, match="selects none"):
        ns.train.select(net, "layers[1].mean")
    state = ns.train.start(net, optax.adamw(0.1))
    assert state.trained[1].mean is None and state.model[1].mean is not None


def test_what_batch_norm_refuses():
    for arguments, message in (
        (dict(size=()), "at least one axis"),
        (dict(size=2, num_steps=0), "`num_steps` of `BatchNorm` must be a positive int, got 0"),
        (dict(size=2, momentum=1.5), "`momentum` of `BatchNorm` must be from 0 to 1"),
        (dict(size=2, epsilon=-1.0), "`epsilon` of `BatchNorm` must not be negative, got -1.0"),
        (dict(size=2, V_th=1.0 * u.ms), "`V_th` of `BatchNorm` must have a unit like mV"),
    ):
        with pytest.raises(ValueError, match=message):
            layers.BatchNorm(**arguments)
    norm = layers.BatchNorm(4)
    with pytest.raises(ValueError, match="without a batch axis.*rather than using `vmap`.*inference_mode"):
        jax.vmap(lambda x: ns.simulate(norm, x, dt=1.0).outputs, in_axes=1)(X)
    with pytest.raises(TypeError, match="does not know where in a `tuple` the statistics of a `tuple` are"):
        layers.with_statistics((norm,), (norm.init_state(),))
    inner = ns.Sequential(ns.Sequential(norm), ns.LI(4))
    sol = ns.simulate(inner, X, dt=1.0)
    assert np.array_equal(layers.with_statistics(inner, sol.state)[0][0].mean, sol.state.layers[0].layers[0].mean)
    assert layers.with_statistics(ns.LI(4), None) == ns.LI(4)


# Dropout


def test_dropout_is_constant_over_time():
    net = ns.Sequential(layers.Dropout((20, 20), 0.2), layers.Dropout(2 * (20,), 0.2))
    x = jnp.ones((3, 8, 20, 20))
    out = np.asarray(ns.simulate(net, x, dt=1.0, key=KEYS[0]).outputs)
    np.testing.assert_array_equal(out, np.broadcast_to(out[0], out.shape))
    values, counts = np.unique(out[0], return_counts=True)
    np.testing.assert_allclose(values, [0.0, 1.25**2], rtol=1e-6)
    # Two masks of their own: independent, so the parts multiply.
    assert abs(counts[1] / counts.sum() - 0.64) < 4 * np.sqrt(0.64 * 0.36 / 3200)
    assert len(np.unique(out[0].reshape(8, -1), axis=0)) == 8
    again, other = (ns.simulate(net, x, dt=1.0, key=key).outputs for key in (KEYS[0], KEYS[1]))
    assert np.array_equal(again, out) and not np.array_equal(other, out)
    slope = jax.grad(lambda x: ns.simulate(net, x, dt=1.0, key=KEYS[0]).outputs.sum())(x)
    np.testing.assert_array_equal(slope, out)
    used = eqx.nn.inference_mode(net)
    np.testing.assert_array_equal(ns.simulate(used, x, dt=1.0).outputs, x)
    traced = jax.jit(lambda net: net.step(net.init_state((8,), key=KEYS[1]), x[0], dt=1.0)[1])
    assert np.array_equal(traced(used), x[0]) and set(np.unique(traced(net))) == set(values)
    with pytest.raises(ValueError, match="`Dropout` draws what it keeps .* no `key`.*inference_mode"):
        ns.simulate(net, x, dt=1.0)
    with pytest.raises(ValueError, match="`p` of `Dropout` must be a probability from 0 to below 1, got 1"):
        layers.Dropout(3, 1)
    with pytest.raises(ValueError, match="`Dropout.step` got an input of shape .20, 20.,"):
        net.step(net.init_state((8,), key=KEYS[0]), x[0, 0], dt=1.0)


def test_normalisation_and_dropout_in_the_facade_and_layer_by_layer():
    net = ns.Sequential(layers.BatchNorm(4, num_steps=4), layers.Dropout(4), layers.LayerNorm(4))
    state = net.init_state((5,), key=KEYS[4])
    one, other = (ns.simulate(net, X, dt=1.0, state=state, layerwise=n) for n in (False, 6))
    np.testing.assert_allclose(one.outputs, other.outputs, atol=1e-5)
    assert eqx.tree_equal(one.state, other.state, rtol=1e-5, atol=1e-6)
    cell = ns.nn.Stateful(eqx.nn.inference_mode(net))
    ns.nn.init_all_states(cell, batch_size=5)
    with ns.environ.context(dt=1.0 * u.ms):
        outputs = ns.transform.for_loop(cell, X)
    np.testing.assert_array_equal(outputs, ns.simulate(cell.cell, X, dt=1.0).outputs)


# Training


MASK = np.asarray(jax.random.bernoulli(KEYS[5], 0.5, (16, 2)))
SIGN = np.where(np.arange(16) < 12, 1, -1)
TARGETS = jnp.stack([jnp.arange(5) % 2, 1 - jnp.arange(5) % 2], 1).astype(float)


def spiking_net():
    return ns.Sequential(
        ns.connect.Dense(4, 16, ns.init.KaimingNormal(scale=8.0), key=KEYS[1]),
        layers.BatchNorm(16, momentum=0.5),
        ns.LIF(16, tau=jnp.linspace(3.0, 12.0, 16), spk_fun=ns.surrogate.Sigmoid(4.0)),
        layers.Dropout(16, 0.25),
        ns.connect.Dense(16, 2, ns.init.KaimingNormal(), mask=MASK, sign=SIGN, key=KEYS[2]),
        ns.LI(2),
    )


class Training:
    """Training steps of `spiking_net`, compiled once."""

    def __init__(self):
        self.optimizer = optax.adamw(0.02, weight_decay=0.01)

        def loss(net, count, alpha):
            net = eqx.tree_at(lambda net: net[2].spk_fun.alpha, net, alpha)
            sol = ns.simulate(net, X, dt=1.0, key=jax.random.fold_in(KEYS[3], count))
            return jnp.mean((sol.outputs.mean(0) - TARGETS) ** 2), sol.state

        @eqx.filter_jit
        @eqx.debug.assert_max_traces(max_traces=1)
        def step(net, opt, count, alpha):
            (value, state), slopes = eqx.filter_value_and_grad(loss, has_aux=True)(net, count, alpha)
            updates, opt = self.optimizer.update(slopes, opt, eqx.filter(net, eqx.is_inexact_array))
            return layers.with_statistics(eqx.apply_updates(net, updates), state), opt, value, slopes, state

        self.step = step

    def run(self, net, num_steps):
        """The model after so many steps, the losses, and the last gradient and state."""
        alpha = optax.linear_schedule(1.0, 6.0, num_steps)
        opt, losses = self.optimizer.init(eqx.filter(net, eqx.is_inexact_array)), []
        for count in range(num_steps):
            net, opt, loss, slopes, state = self.step(net, opt, jnp.asarray(count), alpha(jnp.asarray(count)))
            losses.append(float(loss))
        return net, losses, slopes, state


@pytest.fixture(scope="module")
def trained():
    training = Training()
    return training, *training.run(spiking_net(), 100)


def test_training_learns_all_but_the_statistics(trained):
    _, net, losses, slopes, state = trained
    assert losses[-1] < 0.5 * losses[0]
    norm = slopes[1]
    assert not norm.mean.any() and not norm.var.any() and norm.scale.any() and norm.bias.any()
    # `adamw` made them smaller all the same, which does not matter: they are those of the last run.
    assert np.array_equal(net[1].mean, state.layers[1].mean) and np.array_equal(net[1].var, state.layers[1].var)
    # Evaluation needs no key.
    assert ns.simulate(eqx.nn.inference_mode(net), X[:, 0], dt=1.0).outputs.shape == (6, 2)


def test_a_time_constant_of_each_neuron_is_learned(trained):
    training, net, *_ = trained
    start = spiking_net()
    opt = training.optimizer.init(eqx.filter(start, eqx.is_inexact_array))
    slope = training.step(start, opt, jnp.asarray(0), jnp.asarray(1.0))[3][2].tau
    # The loss depends on those neurons that have a synapse.
    np.testing.assert_array_equal(slope != 0, MASK.any(1))
    moved = np.asarray(net[2].tau - start[2].tau)[MASK.any(1)]
    assert MASK.any(1).sum() > 8 and np.unique(slope[MASK.any(1)]).size == moved.size and (np.abs(moved) > 1e-3).all()


def test_signs_and_masks_hold_after_100_steps_of_adam(trained):
    start, net = spiking_net()[4], trained[1][4]
    before, after = start.effective(), net.effective()
    signs = np.broadcast_to(SIGN[:, None], MASK.shape)
    assert (np.sign(after)[MASK] * signs[MASK] >= 0).all() and not after[~MASK].any()
    assert (after != before)[MASK].mean() > 0.9 and (np.sign(net.weight) != np.sign(start.weight)).any()


def test_a_schedule_of_the_surrogate_changes_the_gradient_and_compiles_once(trained):
    # More than one trace of the training step would have raised: the width was another one in each.
    training, net, *_ = trained
    opt = training.optimizer.init(eqx.filter(net, eqx.is_inexact_array))
    seen = [training.step(net, opt, jnp.asarray(0), jnp.asarray(alpha)) for alpha in (1.0, 3.0, 6.0)]
    assert len({float(loss) for _, _, loss, *_ in seen}) == 1
    first, *others = (slopes[0].weight for *_, slopes, _ in seen)
    assert all(np.abs(first - other).max() > 0.05 * np.abs(first).max() for other in others)


def test_weights_in_bfloat16_with_states_in_float32(trained):
    net = spiking_net()
    low = layers.cast(net, jnp.bfloat16)
    low_types, types = (
        [leaf.dtype for leaf in jax.tree.leaves(eqx.filter(n, eqx.is_inexact_array))] for n in (low, net)
    )
    assert low_types.count(jnp.bfloat16) == 2 and set(types) == {jnp.dtype("float32")} == set(low_types) - {
        jnp.dtype("bfloat16")
    }
    # The sums over synapses are those in float32 of the weights as rounded.
    y, rounded = low[0](X), np.asarray(low[0].weight, np.float64)
    assert y.dtype == jnp.float32 and np.abs(y - np.asarray(X, float) @ rounded).max() < 1e-5
    losses = trained[2]
    _, others, slopes, state = Training().run(low, 60)
    assert slopes[0].weight.dtype == slopes[4].weight.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype("float32"), jnp.dtype("bool")}
    assert abs(np.mean(others[40:]) - np.mean(losses[40:60])) < 0.05 * losses[0]
    # Cast inside the loss, they have a gradient in float32.
    total = lambda net: ns.simulate(layers.cast(net, jnp.bfloat16), X, dt=1.0, key=KEYS[0]).outputs.sum()  # noqa: E731
    assert eqx.filter_eval_shape(eqx.filter_grad(total), net)[0].weight.dtype == jnp.float32
    assert layers.cast(layers.Linear(2, 3, key=KEYS[0]), jnp.bfloat16).weight.dtype == jnp.bfloat16
    recurrent = layers.cast(ns.Recurrent(ns.LIF(2), ns.connect.Dense(2, 2)), jnp.bfloat16)
    assert recurrent.projection.connection.weight.dtype == jnp.bfloat16 != recurrent.cell.tau.dtype

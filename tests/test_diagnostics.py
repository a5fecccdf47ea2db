"""Activity, gradients over time and synaptic operations against plain loops and closed forms."""

from __future__ import annotations

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns
from neurostate import diagnostics


KEYS = jax.random.split(jax.random.key(5), 6)
X = jax.random.bernoulli(KEYS[0], 0.4, (20, 3, 6)).astype(float)
CONNECT = ns.connect


def network():
    inner = ns.Sequential(CONNECT.Dense(8, 5, ns.init.KaimingNormal(scale=60.0), key=KEYS[2]), ns.LIF(5))
    recurrent = ns.Recurrent(ns.LIF(8), CONNECT.Dense(8, 8, ns.init.Normal(0.0, 0.3), key=KEYS[3]))
    first = CONNECT.Dense(6, 8, ns.init.KaimingNormal(scale=60.0), key=KEYS[1])
    readout = ns.LeakyRateReadout(5, 2, key=KEYS[4])
    return ns.Sequential(first, recurrent, inner, lambda x: 2.0 * x, readout)


# Activity


def test_the_outputs_of_each_layer_are_those_of_the_run():
    net = network()
    outputs = diagnostics.layer_outputs(net, X, dt=1.0)
    assert list(outputs) == ["0", "1", "2.0", "2.1", "3", "4"]
    np.testing.assert_array_equal(outputs["4"], ns.simulate(net, X, dt=1.0).outputs)
    np.testing.assert_allclose(outputs["2.0"], net[2][0](outputs["1"]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(outputs["3"], 2.0 * outputs["2.1"])
    spikes = diagnostics.layer_spikes(net, X, dt=1.0)
    assert list(spikes) == ["1", "2.1"] and all(np.array_equal(x, outputs[name]) for name, x in spikes.items())
    reports = diagnostics.activity(spikes, dt=1.0)
    assert reports["1"].rates.shape == (8,) and float(reports["1"].rates.mean()) > 10
    with pytest.raises(TypeError, match="`model` must be a `Sequential`, got LIF"):
        diagnostics.layer_outputs(ns.LIF(2), X, dt=1.0)


def test_activity_by_hand():
    spikes = np.zeros((10, 2, 3, 2))
    spikes[::2, 0, 0, 0] = 1  # 5 of 20 neuron-steps
    spikes[:, :, 1, :] = 1
    spikes[:9, :, 2, 1] = 1
    report = diagnostics.activity(spikes, dt=2 * u.ms, size=(3, 2), saturated=0.95)
    np.testing.assert_allclose(report.rates, [[125.0, 0.0], [500.0, 500.0], [0.0, 450.0]])
    np.testing.assert_array_equal(report.dead, [[False, True], [False, False], [True, False]])
    np.testing.assert_array_equal(report.saturated, [[False, False], [True, True], [False, False]])
    assert float(report.dead_fraction) == float(report.saturated_fraction) == np.float32(1 / 3)
    words = "Activity(6 neurons: 262 Hz on average, 0 to 500 Hz, median 288 Hz; 33.3% dead, 33.3% saturated)"
    assert repr(report) == words
    by_jit = jax.jit(lambda x: diagnostics.activity(x, dt=2.0, size=(3, 2), saturated=0.95))(spikes)
    np.testing.assert_allclose(by_jit.rates, report.rates, rtol=1e-6)
    with pytest.raises(ValueError, match="`spikes` of `activity` must have the axes \\(time, \\*batch, \\*size\\)"):
        diagnostics.activity(spikes[0, 0], dt=1.0, size=(3, 2))


# Gradients over time


def test_gradient_norms_of_a_leaky_integrator():
    cell = ns.LI(2, tau=4.0, R=3.0)
    loss = lambda V: jnp.sum(V[-1] * jnp.array([3.0, 4.0]))  # noqa: E731
    norms = diagnostics.gradient_norms(loss, cell, jnp.ones((12, 2)), dt=1.0)
    left = np.arange(12, 0, -1)
    np.testing.assert_allclose(norms.states.V, 5.0 * np.exp(-left / 4.0), rtol=1e-5)
    np.testing.assert_allclose(norms.inputs, 5.0 * 3.0 * (1 - np.exp(-0.25)) * np.exp(-(left - 1) / 4.0), rtol=1e-5)
    lines = repr(norms).splitlines()
    assert lines[1] == "  inputs: 0.212 at the first step, 3.32 at most, 3.32 at the last"
    assert lines[2].startswith("  states.V: 0.249 at the first")
    with pytest.raises(TypeError, match="must give a scalar, got an array of shape \\(12, 2\\)"):
        diagnostics.gradient_norms(lambda V: V, cell, jnp.ones((12, 2)), dt=1.0)


def test_gradient_norms_against_perturbations_of_a_plain_loop():
    net = ns.Sequential(*network().layers[:2])
    weights = jax.random.normal(KEYS[5], (20, 3, 8))
    loss = lambda outputs: jnp.sum(outputs * weights)  # noqa: E731
    norms = diagnostics.gradient_norms(loss, net, X, dt=1.0)
    start = net.init_state((3,))

    def perturbed(added):
        def step(state, both):
            x, (state_change, x_change) = both
            state = jax.tree.map(lambda s, d: s + d.astype(s.dtype), state, state_change)
            return net.step(state, x + x_change, dt=1.0)

        return loss(jax.lax.scan(step, start, (X, added))[1])

    zeros = jax.tree.map(lambda s: jnp.zeros((20, *s.shape)), (start, X[0]))
    by_hand = jax.jit(jax.grad(perturbed))(zeros)
    expected = jax.tree.map(lambda g: jnp.sqrt(jnp.sum(g.reshape(20, -1) ** 2, 1)), by_hand)
    expected = jax.tree.map(lambda s, e: e if jnp.issubdtype(s.dtype, jnp.inexact) else None, (start, X[0]), expected)
    found = (norms.states, norms.inputs)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for f, e in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(f, e, rtol=1e-4, atol=1e-5 * np.abs(e).max())
    assert all(norm[0] > 0 for norm in jax.tree.leaves(norms.states.layers[1]))


# Synaptic operations


EDGES = CONNECT.Edges([0, 0, 0, 2, 5, 5, 5], [1, 1, 3, 0, 0, 1, 2], in_size=6, out_size=4)
CONNECTIONS = {
    "dense": (CONNECT.Dense(6, 4, -1.0, sign=[1, -1] * 3), [4] * 6, 24),
    "masked": (CONNECT.Dense(6, 4, mask=np.arange(24).reshape(6, 4) % 3 == 0), [2, 1, 1, 2, 1, 1], 24),
    "sparse": (CONNECT.Sparse(EDGES, 0.0), [3, 0, 1, 0, 0, 3], 24),
    "events": (CONNECT.EventSparse(EDGES, np.arange(7.0)), [3, 0, 1, 0, 0, 3], 24),
    "one to one": (CONNECT.OneToOne(6), [1] * 6, 6),
    "all to all": (CONNECT.AllToAll(6, 6, autapses=False), [5] * 6, 36),
    "low rank": (CONNECT.LowRank(6, 4, 1, 1.0, 1.0), [4] * 6, 24),
    "procedural": (CONNECT.Procedural(6, 4, 3, key=KEYS[0]), [3] * 6, 24),
    "linear": (ns.layers.Linear(6, 4, key=KEYS[0]), [4] * 6, 24),
    "readout": (ns.LeakyRateReadout(6, 4, key=KEYS[0]), [4] * 6, 24),
}


def test_fan_out_and_operations_of_connections():
    for name, (layer, fan_out, macs) in CONNECTIONS.items():
        np.testing.assert_array_equal(diagnostics.fan_out(layer), fan_out, name)
        report = diagnostics.synaptic_operations(layer, X)
        by_hand = sum(fan_out[i] for _, _, i in np.argwhere(np.asarray(X))) / 3
        assert float(report.operations["0"]) == pytest.approx(by_hand) and report.macs == {"0": macs}, name


def test_fan_out_of_a_convolution_is_counted_with_loops():
    conv = CONNECT.Conv((5, 4, 2), 6, (3, 2), stride=(2, 1), padding=[(1, 0), (0, 1)], dilation=(1, 2), groups=2)
    counts = np.zeros((5, 4, 2))
    height, width, channels = conv.out_size
    for row, column, k, m in np.ndindex(height, width, 3, 2):
        y, x = 2 * row + k - 1, column + 2 * m
        if 0 <= y < 5 and 0 <= x < 4:
            counts[y, x] += channels / 2  # each channel is in one of two groups
    np.testing.assert_array_equal(diagnostics.fan_out(conv), counts)
    x = jax.random.bernoulli(KEYS[1], 0.3, (4, 2, 5, 4, 2))
    report = diagnostics.synaptic_operations(conv, x)
    assert float(report.total) == pytest.approx((np.asarray(x).sum((0, 1)) * counts).sum() / 2)
    assert report.total_macs == conv.num_synapses == counts.sum()


def test_operations_of_a_network():
    net = network()
    outputs = diagnostics.layer_outputs(net, X, dt=1.0)
    report = diagnostics.synaptic_operations(net, X, dt=1.0)
    counts = {"0": X.sum() * 8, "1": outputs["1"].sum() * 8, "2.0": outputs["1"].sum() * 5}
    counts["4"] = outputs["2.1"].sum() * 2
    assert report.macs == {"0": 48, "1": 64, "2.0": 40, "4": 10} and report.total_macs == 162
    for name, count in counts.items():
        assert float(report.operations[name]) == pytest.approx(float(count) / 3) and count > 0
    assert repr(report).splitlines()[-2].endswith(" synaptic operations, 162 MACs")
    with pytest.raises(TypeError, match="synapses by neuron of a `LIF` is not known"):
        diagnostics.fan_out(ns.LIF(2))

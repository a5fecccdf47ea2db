"""`Sequential` and `Recurrent`: a loop over their layers, in a scan, batched, differentiated and in the façade."""

from __future__ import annotations

import functools

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns


KEYS = jax.random.split(jax.random.key(0), 5)
X = jax.random.uniform(KEYS[4], (30, 4, 6)) * 3.0
DT = 1.0 * u.ms


def model():
    recurrent = ns.Recurrent(
        ns.LIF(8, tau=8 * u.ms), ns.connect.Dense(8, 8, ns.init.Normal(0.0, 0.3), key=KEYS[1]), delay=2
    )
    return ns.Sequential(
        ns.connect.Dense(6, 8, ns.init.KaimingNormal(scale=8.0), key=KEYS[0]),
        recurrent,
        lambda spikes: 2.0 * spikes,
        ns.connect.Dense(8, 3, ns.init.KaimingNormal(), key=KEYS[2]),
        ns.LI(3),
    )


def test_it_is_a_loop_over_its_layers():
    net = model()
    sol = ns.simulate(net, X, dt=DT)
    W, cell, V = net[1].projection.connection.weight, net[1].cell, jnp.zeros((4, 8))
    readout, at, sent = net[4], net[4].init_state((4,)), [jnp.zeros((4, 8))] * 3
    state, out = ns.LIF(8).init_state((4,)), []
    for x in X:
        # A spike with a delay of two steps arrives at the end of the second step after, and acts in the third.
        state, spike = cell.step(state, net[0](x) + sent[0] @ W, dt=DT)
        sent = [*sent[1:], spike]
        at, V = readout.step(at, net[3](2.0 * spike), dt=DT)
        out.append(V)
    assert spike.shape == (4, 8) and np.abs(sol.outputs - jnp.stack(out)).max() < 1e-5
    assert np.abs(sol.outputs).max() > 0.1 and net.in_size == (6,) and net.out_size == (3,) and len(net) == 5


def test_a_recurrent_layer_is_a_network_of_one_population():
    cell = ns.LIF(8, tau=8 * u.ms)
    connection = ns.connect.Dense(8, 8, ns.init.Normal(0.0, 0.3), key=KEYS[1])
    drive = jax.random.uniform(KEYS[3], (40, 8)) * 4.0
    for parts, others in (((), {}), ((ns.Expon(8, g_unit=u.mA),), {"delay": 2.5 * u.ms, "dt": DT})):
        layer = ns.Recurrent(cell, connection, *parts, **others)
        dt = others.pop("dt", None)
        net = ns.Network({"N": cell}, {"NN": ns.Projection("N", "N", connection, *parts, **others)}, dt=dt)
        one, other = (ns.simulate(m, drive, dt=DT) for m in (layer, net))
        assert np.array_equal(one.outputs, other.outputs["N"]) and one.outputs.sum() > 20
        assert eqx.tree_equal(one.state.projection, other.state.projections["NN"])


def test_scan_batches_gradients_and_the_facade():
    net = model()
    state = net.init_state((4,))
    final, outputs = jax.lax.scan(functools.partial(net.step, dt=1.0), state, X)
    sol = ns.simulate(net, X, dt=DT)
    assert eqx.tree_equal((final, outputs), (sol.state, sol.outputs))
    one = jax.vmap(lambda x: ns.simulate(net, x, dt=DT).outputs, in_axes=1, out_axes=1)(X)
    assert np.abs(one - outputs).max() < 1e-5
    params, rest = eqx.partition(net, eqx.is_inexact_array)
    slopes = jax.jit(jax.grad(lambda p: (ns.simulate(eqx.combine(p, rest), X, dt=DT).outputs ** 2).sum()))(params)
    weights = [slopes.layers[0].weight, slopes.layers[1].projection.connection.weight, slopes.layers[3].weight]
    assert all(np.abs(w).max() > 0 and np.isfinite(w).all() for w in weights)
    cell = ns.nn.init_all_states(ns.nn.Stateful(net), batch_size=4)
    with ns.environ.context(dt=DT):
        assert eqx.tree_equal(ns.transform.for_loop(cell, X), outputs)


def test_a_source_of_noise_draws_its_own_key():
    noisy = ns.Sequential(ns.connect.OneToOne(2), ns.Gif(2, escape_rate=300 * u.Hz, escape_width=5 * u.mV))
    assert noisy.stochastic and not model().stochastic
    with pytest.raises(ValueError, match="draws random numbers"):
        ns.simulate(noisy, jnp.zeros((5, 2)), dt=DT)
    assert ns.simulate(noisy, jnp.full((200, 2), 1.0), dt=DT, key=KEYS[0]).outputs.sum() > 1


def test_what_is_refused():
    with pytest.raises(TypeError, match="at least one layer"):
        ns.Sequential()
    with pytest.raises(TypeError, match="Layer 1 of `Sequential` must be a connection, a cell or a function, got 3"):
        ns.Sequential(ns.LIF(2), 3)
    with pytest.raises(ValueError, match="Layer 1 .* has the `in_size` \\(3,\\), but layer 0 .* `out_size` \\(2,\\)"):
        ns.Sequential(ns.connect.Dense(4, 2), ns.LIF(3))
    with pytest.raises(ValueError, match="'of `Recurrent`' has the `in_size`"):
        ns.Recurrent(ns.LIF(2), ns.connect.Dense(3, 2))


def test_a_recurrent_layer_has_implicit_state_too():
    layer = ns.Recurrent(ns.LIF(8), ns.connect.Dense(8, 8, ns.init.Normal(0.0, 0.3), key=KEYS[1]))
    cell, drive = ns.nn.init_all_states(ns.nn.Stateful(layer)), jax.random.uniform(KEYS[3], (20, 8)) * 4.0
    with ns.environ.context(dt=DT):
        spikes = ns.transform.for_loop(cell, drive)
    sol = ns.simulate(layer, drive, dt=DT)
    assert eqx.tree_equal((spikes, cell.neurons.value), (sol.outputs, sol.state.neurons)) and spikes.sum() > 0

"""`simulate(layerwise=...)` and `simulate(parallel=True)`: other orders of the same computation."""

from __future__ import annotations

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns
from neurostate.network._layerwise import block_length
from tests.helpers import x64


KEYS = jax.random.split(jax.random.key(0), 6)
X = jax.random.uniform(KEYS[5], (30, 4, 6)) * 3.0
DT = 1.0 * u.ms


def model():
    """Layers with spikes handed on, and without."""
    dense = lambda n, m, k: ns.connect.Dense(n, m, ns.init.Normal(2.0, 3.0), key=KEYS[k])  # noqa: E731
    recurrent = ns.connect.Dense(8, 8, ns.init.Normal(0.0, 0.3), key=KEYS[1])
    return ns.Sequential(
        dense(6, 8, 0),
        ns.Recurrent(ns.LIF(8, tau=8 * u.ms), recurrent, delay=2),
        ns.Sequential(dense(8, 8, 2), ns.LIFRef(8, tau_ref=3 * u.ms, spk_reset="hard"), lambda x: 2.0 * x[..., ::-1]),
        dense(8, 3, 3),
        ns.LI(3),
    )


def test_it_is_the_same_run_in_another_order():
    with x64():
        net, x = jax.tree.map(lambda a: a.astype(float) if eqx.is_inexact_array(a) else a, (model(), X))
        params, rest = eqx.partition(net, eqx.is_inexact_array)

        @eqx.filter_jit
        def run(params, layerwise, checkpoint=None):
            def loss(params):
                sol = ns.simulate(eqx.combine(params, rest), x, dt=DT, layerwise=layerwise, checkpoint=checkpoint)
                return (sol.outputs**2).mean(), sol

            (_, sol), slopes = jax.value_and_grad(loss, has_aux=True)(params)
            return sol, slopes

        sol, slopes = run(params, False)
        assert np.abs(sol.outputs).max() > 0.1
        assert all(np.abs(layer.weight).max() > 0 for layer in (slopes.layers[0], slopes.layers[3]))
        # In float64 the matrix products differ in the last bits only, which no spike notices.
        for layerwise, checkpoint in ((1, None), (True, 8)):
            other, other_slopes = run(params, layerwise, checkpoint)
            for a, b in zip(*map(jax.tree.leaves, ((sol, slopes), (other, other_slopes))), strict=True):
                if jnp.issubdtype(jnp.asarray(a).dtype, jnp.floating):
                    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * max(1, np.abs(a).max()))
        assert jax.tree.structure(sol) == jax.tree.structure(other)


def test_each_step_of_a_layer_has_the_same_key():
    noisy = ns.Gif(6, escape_rate=0.5 / u.ms, escape_width=5.0 * u.mV, R=20.0 * u.ohm, integrator="euler")
    net = ns.Sequential(lambda x: 2.0 * x, ns.Sequential(lambda x: x, noisy), lambda x: x)
    run = lambda x, **options: ns.simulate(net, x, dt=DT, key=KEYS[0], **options)  # noqa: E731
    whole = run(X)
    first = run(X[:14], layerwise=7)
    rest = run(X[14:], state=first.state, start=14, layerwise=True)
    np.testing.assert_array_equal(jnp.concatenate([first.outputs, rest.outputs]), whole.outputs)
    assert 20 < whole.outputs.sum() < whole.outputs.size - 20


def test_neurons_alone_have_the_same_bits():
    cell, x = ns.LIFRef(6, tau=8 * u.ms, tau_ref=2 * u.ms), 3.0 * X
    one, other = (ns.simulate(cell, x, dt=DT, layerwise=layerwise) for layerwise in (False, True))
    assert eqx.tree_equal(one, other) and one.outputs.sum() > 20
    parts = ns.simulate(cell, x[:13], dt=DT, layerwise=5)
    rest = ns.simulate(cell, x[13:], dt=DT, state=parts.state, start=13, layerwise=5)
    assert eqx.tree_equal(rest.state, one.state)
    np.testing.assert_array_equal(jnp.concatenate([parts.ts, rest.ts]), one.ts)
    slope = lambda layerwise: jax.jacfwd(  # noqa: E731
        lambda s: ns.simulate(cell, s * x, dt=DT, layerwise=layerwise).outputs.mean()
    )(1.0)
    np.testing.assert_allclose(slope(False), slope(True), rtol=1e-6)


def test_blocks_follow_the_shape():
    assert block_length(500, 16, "gpu") == 500  # one product
    assert block_length(500, 64, "cpu") == 1 and block_length(100, 16, "cpu") == 100
    assert block_length(500, 16, "cpu") == 1 and block_length(1001, 4, "cpu") == 167  # of 6 blocks, the last of 166
    assert block_length(1, 1, "cpu") == 1 and block_length(5, 0, "cpu") == 5


def test_what_it_does_not_do():
    cell, x = ns.LIF(6), X[:3]
    for options in ({"record": "V"}, {"every": 3}, {"outputs": False}, {"progress": True}):
        with pytest.raises(ValueError, match="layer by layer.*without .record.*Leave"):
            ns.simulate(cell, x, dt=DT, layerwise=True, **options)
    with pytest.raises(ValueError, match="layer by layer.*`inputs` for each step"):
        ns.simulate(cell, 5, dt=DT, layerwise=2)
    for wrong, error in ((0, ValueError), (1.5, TypeError), (None, TypeError)):
        with pytest.raises(error, match="`layerwise` must be"):
            ns.simulate(cell, x, dt=DT, layerwise=wrong)


def test_linear_is_a_product_and_a_bias():
    W, b, x = jax.random.normal(KEYS[0], (6, 3)), jnp.array([1.0, -2.0, 0.5]), X.astype(jnp.float32)
    layer = ns.layers.Linear(6, 3, W, b)
    np.testing.assert_allclose(layer(x), np.asarray(x) @ np.asarray(W) + np.asarray(b), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer(x[0, 0]), jax.vmap(layer)(x[0])[0])
    assert ns.layers.Linear(6, 3, 0.5, None)(jnp.ones(6, int)).tolist() == [3.0, 3.0, 3.0]
    assert (layer.in_size, layer.out_size) == ((6,), (3,))
    drawn = ns.layers.Linear(6, 3, key=KEYS[1])
    assert drawn.weight.std() > 0 and drawn.bias.tolist() == [0.0, 0.0, 0.0]
    low = eqx.tree_at(lambda layer: layer.weight, layer, W.astype(jnp.bfloat16))
    assert low(x).dtype == jnp.float32
    with pytest.raises(ValueError, match="\\(3, 6\\).*\\(6, 3\\)"):
        ns.layers.Linear(6, 3, W.T)
    with pytest.raises(ValueError, match="`Linear` got an input of shape \\(5,\\).*must be 6"):
        layer(jnp.ones(5))
    with pytest.raises(ns.UnitError, match="`weight` of `Linear`"):
        ns.layers.Linear(6, 3, 1.0 * u.mV)


def test_what_is_linear_runs_at_once():
    net = ns.Sequential(ns.layers.Linear(6, 5, 0.3), ns.LIF(5, spk_reset=None), ns.layers.Linear(5, 2, 1.0), ns.LI(2))
    one, other = (ns.simulate(net, X, dt=DT, parallel=parallel) for parallel in (False, True))
    np.testing.assert_allclose(one.outputs, other.outputs, rtol=1e-5, atol=1e-6)
    records = [ns.simulate(ns.LI(6), X, dt=DT, record="V", parallel=p).records["V"] for p in (False, True)]
    np.testing.assert_allclose(*records, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="LIF.*reset"):
        ns.simulate(ns.LIF(6), X, dt=DT, parallel=True)
    for options in ({"every": 2}, {"key": KEYS[0]}, {"layerwise": True}, {"checkpoint": 3}):
        with pytest.raises(ValueError, match="at once.*without.*Leave"):
            ns.simulate(ns.LI(6), X, dt=DT, parallel=True, **options)

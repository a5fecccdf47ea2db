"""What turns a conductance into a current, and gap junctions."""

from __future__ import annotations

import math

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import neurostate as ns

from .helpers import x64


def test_outputs():
    with x64():
        V = np.linspace(-90.0, 30.0, 7)
        block = 1 / (1 + 1.0 / 3.57 * np.exp(-0.062 * (V - 4.0)))
        mg = ns.MgBlock(E=-2.0, cc_Mg=1.0, alpha=0.062, beta=3.57, V_offset=4.0)
        cases = [(ns.COBA(-2.0), -2.0 - V), (ns.CUBA(60.0), 60.0 + 0 * V), (mg, (-2.0 - V) * block)]
        for out, force in cases:
            np.testing.assert_allclose(out(0.5, V), 0.5 * force, rtol=1e-14)
            current = out(jnp.full(7, 0.5) * u.nS, V / 1000 * u.volt)
            np.testing.assert_allclose(current.to_decimal(u.pA), 0.5 * force, rtol=1e-13)
            drive = out.drive(0.5, V)
            np.testing.assert_allclose(drive.total(V), 0.5 * force, rtol=1e-14)
            gradient = jax.grad(lambda out: out(0.5, jnp.asarray(V)).sum())(out)
            point, unravel = ravel_pytree(out)
            for i, slope in enumerate(ravel_pytree(gradient)[0]):
                up, down = (unravel(point.at[i].add(s))(0.5, V).sum() for s in (1e-5, -1e-5))
                assert float(slope) == pytest.approx(float(up - down) / 2e-5, rel=1e-6)
        assert float(ns.MgBlock(cc_Mg=0.0).block(-90.0)) == 1.0
        assert float(ns.CUBA().scale) == 1000.0
        for out in (ns.COBA(0.0), mg):
            with pytest.raises(ns.UnitError, match=f"`V` of `{type(out).__name__}` must have a unit like mV"):
                out(1.0, 1.0 * u.ms)
    assert repr(ns.COBA(-80 * u.mV)) == "COBA(E=-80.0 * mV)"
    assert ns.quantity(ns.MgBlock(), "alpha").unit == 1 / u.mV


def test_a_linear_neuron_takes_a_conductance_exactly():
    """One large step of a `LIF` under a constant conductance is the closed form; from the current alone it is not."""
    with x64():
        lif = ns.LIF(1, R=2.0, tau=10.0, V_th=50.0, V_initializer=-3.0)
        out = ns.COBA(E=8.0)
        total, dt = (1 + 2.0 * 1.5) / 10.0, 4.0
        end = 2.0 * 1.5 * 8.0 / 10.0 / total
        expected = end + (-3.0 - end) * math.exp(-total * dt)
        state = lif.init_state()
        assert float(lif.step(state, out.drive(1.5), dt=dt)[0].V[0]) == pytest.approx(expected, rel=1e-13)
        assert float(lif.step(state, out(1.5, state.V), dt=dt)[0].V[0]) != pytest.approx(expected, rel=0.1)


def test_from_spikes_to_a_neuron_in_one_scan():
    synapse, out, lif = ns.Expon(2, tau=5.0, g_unit=u.nS), ns.COBA(0 * u.mV), ns.LIF(2, R=1 * u.Gohm, V_rest=-60.0)
    lif = ns.LIF(2, R=1 * u.mV / u.pA, tau=20.0, V_rest=-60.0, V_reset=-65.0, V_th=-50.0, V_initializer=-60.0)

    def step(state, spikes):
        synaptic, neuron = state
        synaptic, g = synapse.step(synaptic, 0.5 * spikes, dt=0.1)
        neuron, spike = lif.step(neuron, out.drive(g * u.nS), dt=0.1)
        return (synaptic, neuron), spike

    state = synapse.init_state(), lif.init_state()
    spikes = jnp.zeros((500, 2)).at[::50, 1].set(1.0)
    (_, neuron), fired = jax.lax.scan(step, state, spikes)
    assert neuron.V[0] == -60.0 and not fired[:, 0].any() and 1 < fired[:, 1].sum() < 20


# Gap junctions


def test_gap_junctions():
    rng = np.random.default_rng(3)
    matrix = np.triu(rng.uniform(0.1, 1.0, (5, 5)) * (rng.random((5, 5)) < 0.7), 1)
    matrix = matrix + matrix.T + np.diag(rng.random(5))
    V = rng.normal(-60.0, 5.0, (3, 5))
    expected = np.array([[sum(matrix[i, j] * (v[j] - v[i]) for j in range(5)) for i in range(5)] for v in V])
    pairs = [(i, j) for i in range(5) for j in range(i) if matrix[i, j]]
    with x64():
        dense = ns.GapJunction(matrix)
        sparse = ns.GapJunction([matrix[i, j] for i, j in pairs], edges=pairs, size=5)
        traced = jax.jit(lambda m, V: ns.GapJunction(m)(V))
        currents = dense(V), sparse(V), dense(V / 1000 * u.volt), traced(matrix, V), jax.jit(lambda g: g(V))(dense)
        for current in currents:
            np.testing.assert_allclose(current, expected, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(np.sum(current, -1), 0.0, atol=1e-12)
        assert not np.any(dense(jnp.full(5, -61.7))) and len(dense.g) == len(pairs)
        # Trained, it stays symmetric; its gradient is that of both directions.
        slope = eqx.filter_grad(lambda gap: (gap(V) ** 2).sum())(sparse).g
        for k, (i, j) in enumerate(pairs[:2]):
            bent = matrix.copy()
            bent[i, j] = bent[j, i] = matrix[i, j] + 1e-6
            difference = ((ns.GapJunction(bent)(V) ** 2).sum() - (expected**2).sum()) / 1e-6
            assert float(slope[k]) == pytest.approx(float(difference), rel=1e-5)
    equal = ns.GapJunction(2.0 * u.nS, edges=[(0, 1), (0, 1)], size=3)
    assert equal.I_unit == u.pA and eqx.tree_equal(equal(jnp.array([0.0, 1.0, 5.0])), jnp.array([4.0, -4.0, 0.0]))
    assert ns.GapJunction(0.1 * u.mS / u.cm**2, edges=[(0, 1)], size=2).I_unit == u.uA / u.cm**2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.array([[0.0, 1.0], [2.0, 0.0]]),), "`g` of `GapJunction` must be a symmetric matrix"),
        ((np.ones(3),), r"must be a symmetric matrix.*got an array of shape \(3,\)"),
        ((1.0, [(0, 1)]), r"`edges` of `GapJunction` must be pairs of integers.*needs `size`"),
        ((1.0, [0, 1], 2), r"must be pairs of integers.*got an array of shape \(2,\)"),
        ((1.0, [(0.0, 1.0)], 2), "must be pairs of integers.*dtype float64"),
        ((1.0, [(0, 2)], 2), "must be pairs of neurons from 0 to 1"),
        (([1.0, 2.0], [(0, 1)], 2), r"`g` of `GapJunction` has the shape \(2,\)"),
    ],
)
def test_bad_gap_junctions(arguments, message):
    with pytest.raises(ValueError, match=message):
        ns.GapJunction(*arguments)
    with pytest.raises(ValueError, match=r"`V` of `GapJunction` must have the shape \(\*batch, 2\), got \(3,\)"):
        ns.GapJunction(np.ones((2, 2)))(jnp.ones(3))
    with pytest.raises(ns.UnitError, match="`V` of `GapJunction` must have a unit like mV"):
        ns.GapJunction(np.ones((2, 2)))(jnp.ones(2) * u.ms)

"""The driven COBA network against a loop in NumPy over its neurons and synapses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns

from .benchmarks._networks import DT, TAU_E, TAU_I, case, compiled, in_order, network, spikes_of, started
from .helpers import x64


V_TH, V_RESET, V_REST, TAU, DRIVE, REFRACTORY = -50.0, -60.0, -60.0, 20.0, 20.0, 50


def by_hand(here, steps):
    """After each step `V`, in which spikes have been reset, and both conductances; and the spikes."""
    V, g_E, g_I = (x.astype(np.float64) for x in here.start)
    middle = np.searchsorted(here.pre, here.num_E)
    last = np.full(here.num, -REFRACTORY)
    trace, spikes = [], []
    for n in range(steps):
        free = n - last >= REFRACTORY
        total = 1 + g_E + g_I
        target = (V_REST + DRIVE - 80.0 * g_I) / total
        V = np.where(free, target + (V - target) * np.exp(-DT / TAU * total), V)
        fires = np.flatnonzero(free & (V >= V_TH))
        V[fires], last[fires] = V_RESET, n
        g_E, g_I = g_E * np.exp(-DT / TAU_E), g_I * np.exp(-DT / TAU_I)
        sent = np.isin(here.pre, fires)
        np.add.at(g_E, here.post[:middle][sent[:middle]], 0.6)
        np.add.at(g_I, here.post[middle:][sent[middle:]], 6.7)
        trace.append((V, g_E, g_I))
        spikes.append(np.stack([np.full(len(fires), n), fires], 1))
    return [np.array(x) for x in zip(*trace, strict=True)], np.concatenate(spikes)


@pytest.mark.parametrize(
    "num, enable_x64, connect", [(400, False, "jax"), (4000, True, "jax"), (4000, True, "compiled")]
)
def test_driven_coba_is_a_loop_over_neurons_and_synapses(num, enable_x64, connect):
    if connect == "compiled" and not ns.connect.kernel_is_available():
        connect = "jax"
    here, steps = case("driven", num, seed=1), 200
    expected, spikes = by_hand(here, steps)
    with x64(enable_x64):
        net = network(here, *([compiled] if connect == "compiled" else []))
        record = ["N.V", "E.synapse.g", "I.synapse.g"]
        sol = ns.simulate(net, steps, dt=DT, state=started(net, here), record=record)
        fired = np.asarray(sol.outputs["N"]) > 0
        found = [np.asarray(sol.records[name]) for name in record]
    found[0] = np.where(fired, V_RESET, found[0])
    ours = in_order(*np.nonzero(fired))
    assert len(spikes) > 0.15 * num and np.array_equal(ours[:100], spikes[:100])
    for values, right in zip(found, expected, strict=True):
        assert np.abs(values - right).max() < (1e-9 if enable_x64 else 1e-3)
    if enable_x64:
        assert np.array_equal(ours, spikes)


def test_the_shortest_interval_is_the_refractory_period():
    here = case("driven", 400)
    net = network(here)
    spikes = ns.simulate(net, {"N": jnp.full((160, 400), 1e5)}, dt=DT, state=started(net, here)).outputs["N"]
    assert np.array_equal(np.flatnonzero(spikes.any(1)), [0, 50, 100, 150]) and spikes[::50].all()


def test_the_figures_of_driven_coba():
    """The rate is that of the published example, and a run in parts has the spikes of one run."""
    here = case("driven", 4000)
    net = network(here)
    state = started(net, here)
    spikes = spikes_of(net, state, 3000, part=1000)
    whole = ns.simulate(net, 3000, dt=DT, state=state, record="N.rate", outputs=False)
    rate = whole.records["N.rate"]
    assert 18 < rate.mean() < 25
    assert np.allclose(np.bincount(spikes[:, 0], minlength=3000) / 4000 / (DT * 1e-3), rate, rtol=1e-5)
    states = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    run = lambda state: ns.simulate(net, 200, dt=DT, state=state, record="N.rate", outputs=False).records  # noqa: E731
    both = jax.vmap(run)(states)["N.rate"]
    assert np.array_equal(both, np.stack([rate[:200]] * 2))

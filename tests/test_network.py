"""Networks against plain NumPy loops: the order of a step, delays, units, batches, records, and what is refused."""

from __future__ import annotations

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns

from .helpers import x64


N_E, N_I, DT, STEPS = 30, 10, 0.1, 300
RNG = np.random.default_rng(0)
EDGES = {
    "EI": (RNG.integers(0, N_E, 120), RNG.integers(0, N_I, 120)),
    "IE": (RNG.integers(0, N_I, 90), RNG.integers(0, N_E, 90)),
}
W_EI, W_IE = 0.05 * RNG.random(120), 0.3 * RNG.random(90)
W_EE = 0.2 * RNG.random((N_E, N_E))
LAGS = {"none": None, "one": 7, "pre": RNG.integers(0, 9, N_E), "synapse": RNG.integers(0, 15, 120)}
NEURON = {"V_rest": -60.0, "V_th": -50.0, "V_reset": -60.0, "tau": 20.0, "R": 1.0, "spk_reset": "hard"}
V_E, V_I = -60 + 12 * RNG.random(N_E), -60 + 12 * RNG.random(N_I)


def network(lag=None, kind=ns.connect.EventSparse, **kwargs):
    edges = {k: ns.connect.Edges(*EDGES[k], *((N_E, N_I) if k == "EI" else (N_I, N_E))) for k in EDGES}
    return ns.Network(
        {"E": ns.LIF(N_E, **NEURON, V_initializer=V_E), "I": ns.LIF(N_I, **NEURON, V_initializer=V_I)},
        {
            "EI": ns.Projection("E", "I", kind(edges["EI"], W_EI), ns.Expon(N_I, tau=5.0), ns.COBA(E=0.0), delay=lag),
            "IE": ns.Projection("I", "E", kind(edges["IE"], W_IE), ns.Expon(N_E, tau=10.0), ns.COBA(E=-80.0)),
            "EE": ns.Projection("E", "E", ns.connect.Dense(N_E, N_E, W_EE * u.mV), delay=3),
        },
        inputs={"E": 17.0, "I": 11.0},
        **kwargs,
    )


def by_hand(lag):
    """The same, neuron by neuron and synapse by synapse."""
    V = {"E": V_E.copy(), "I": V_I.copy()}
    g = {"EI": np.zeros(N_I), "IE": np.zeros(N_E)}
    jump, spikes = np.zeros(N_E), {"E": [], "I": []}
    lag = np.zeros(120, int) if lag is None else np.asarray(lag)
    lag = lag[EDGES["EI"][0]] if lag.shape == (N_E,) else np.broadcast_to(lag, 120)
    for n in range(STEPS):
        for name, I, conductance, E in (("E", 17.0, g["IE"], -80.0), ("I", 11.0, g["EI"], 0.0)):  # noqa: E741
            V[name] = np.where(V[name] >= -50.0, -60.0, V[name])
            rate = (1 + conductance) / 20.0
            slope = (-(V[name] + 60.0) + I + conductance * (E - V[name])) / 20.0
            V[name] = V[name] - np.expm1(-rate * DT) / rate * slope
            V[name] = V[name] + (jump if name == "E" else 0.0)
            spikes[name].append((V[name] >= -50.0).astype(float))
        g["EI"], g["IE"], jump = g["EI"] * np.exp(-DT / 5.0), g["IE"] * np.exp(-DT / 10.0), np.zeros(N_E)
        for k, (pre, post) in enumerate(zip(*EDGES["EI"], strict=True)):
            if n >= lag[k]:
                g["EI"][post] += W_EI[k] * spikes["E"][n - lag[k]][pre]
        for k, (pre, post) in enumerate(zip(*EDGES["IE"], strict=True)):
            g["IE"][post] += W_IE[k] * spikes["I"][n][pre]
        if n >= 3:
            jump = spikes["E"][n - 3] @ W_EE
    return V, g, {name: np.array(x) for name, x in spikes.items()}


@pytest.mark.parametrize("lag", LAGS)
def test_a_network_is_a_loop_over_its_neurons_and_synapses(lag):
    V, g, spikes = by_hand(LAGS[lag])
    with x64():
        sol = ns.simulate(network(LAGS[lag]), STEPS, dt=DT)
        at = sol.state
        assert spikes["E"].sum() > 30 and spikes["I"].sum() > 5
        for name in ("E", "I"):
            assert np.array_equal(sol.outputs[name], spikes[name])
            assert np.abs(np.asarray(at.populations[name].V) - V[name]).max() < 1e-9
        assert np.abs(np.asarray(at.projections["EI"].synapse.g) - g["EI"]).max() < 1e-12
        assert np.abs(np.asarray(at.projections["IE"].synapse.g) - g["IE"]).max() < 1e-12


@pytest.mark.parametrize("lag", LAGS)
def test_batches_and_vmap_are_single_runs(lag):
    net = network(LAGS[lag])
    V = jnp.asarray(np.stack([V_E, V_E[::-1], V_E + 1]), jnp.float32)
    put = lambda state, V: eqx.tree_at(lambda s: s.populations["E"].V, state, V)  # noqa: E731
    run = lambda state: ns.simulate(net, 200, dt=DT, state=state).outputs  # noqa: E731
    alone = [run(put(net.init_state(), v)) for v in V]
    together = run(put(net.init_state(batch_shape=(3,)), V))
    mapped = jax.vmap(lambda v: run(put(net.init_state(), v)))(V)
    for k in range(3):
        for name in ("E", "I"):
            assert np.array_equal(together[name][:, k], alone[k][name])
            assert np.array_equal(mapped[name][k], alone[k][name])
    assert together["E"].sum() > 60


def test_parts_of_a_run_are_the_run():
    noise = {"E": [ns.OUProcess(N_E, mean=0 * u.mA, sigma=3.0 * u.mA / u.ms**0.5, tau=5.0 * u.ms), 10.0 * u.mA]}
    net = ns.Network(
        {"S": ns.PoissonSpike(20, 50 * u.Hz), "E": ns.LIF(N_E, **NEURON)},
        {"SE": ns.Projection("S", "E", ns.connect.Dense(20, N_E, 1.0 * u.mV), delay=5)},
        inputs=noise,
    )
    key = jax.random.key(3)
    whole = ns.simulate(net, 120, dt=DT, key=key, record=["E.V", "S.rate"])
    state = net.init_state(key=jax.random.fold_in(key, 2**32 - 1))
    parts = []
    for first in (0, 40, 80):
        part = ns.simulate(net, 40, dt=DT, key=key, state=state, start=first, record=["E.V", "S.rate"])
        state = part.state
        parts.append(part)
    assert eqx.tree_equal(jax.tree.map(lambda *x: jnp.concatenate(x), *[p.records for p in parts]), whole.records)
    assert eqx.tree_equal(state, whole.state) and np.allclose(parts[1].ts, whole.ts[40:80])
    assert whole.records["E.V"].std() > 0.1 and not eqx.tree_equal(parts[0].records["E.V"], parts[1].records["E.V"])


def test_records_and_reductions():
    net = network(4)
    full = ns.simulate(net, 200, dt=DT, record=["E.V", "E.spike", "E.rate", "EI.synapse.g[:3]", "EI.delay.newest"])
    assert np.allclose(full.records["E.rate"], full.outputs["E"].mean(1) / (DT * 1e-3))
    assert full.records["EI.synapse.g[:3]"].shape == (200, 3)
    counts = ns.simulate(net, 200, dt=DT, every=50, reduce="sum").outputs["E"]
    assert np.array_equal(counts, full.outputs["E"].reshape(4, 50, N_E).sum(1))
    recurrent = ns.Projection("E", "E", ns.connect.Dense(N_E, N_E, W_EE * u.mV), delay=3)
    net = ns.Network({"E": ns.LIF(N_E, **NEURON, V_initializer=V_E)}, {"EE": recurrent}, inputs={"E": 17.0})
    blocks = np.asarray(ns.simulate(net, 200, dt=DT, record="E.V").records["E.V"]).reshape(20, 10, N_E)
    for reduce, expected in (("last", blocks[:, -1]), ("mean", blocks.mean(1)), ("sum", blocks.sum(1))):
        some = ns.simulate(net, 200, dt=DT, record="E.V[2:8:3]", every=10, reduce=reduce, outputs=False)
        assert some.outputs is None
        assert np.allclose(some.records["E.V[2:8:3]"], expected[:, 2:8:3], rtol=1e-5)


def source(times, count=1):
    return ns.SpikeTime(count, indices=[0] * len(times), times=np.asarray(times) * DT)


@pytest.mark.parametrize("lag", [0, 1, 2, 20, np.array([0, 2]), np.array([3, 20])])
def test_a_delay_of_d_steps_is_d_steps(lag):
    spikes = ns.SpikeTime(2, indices=[0, 1, 0], times=np.array([3, 5, 6]) * DT)
    for connection, shape in ((ns.connect.OneToOne(2, 1.0), (2,)), (ns.connect.Dense(2, 2, np.eye(2)), (2, 2))):
        each = lag if np.ndim(lag) == 0 or shape == (2,) else np.broadcast_to(lag[:, None], shape)
        net = ns.Network({"S": spikes, "N": ns.LIF(2)}, {"P": ns.Projection("S", "N", connection, delay=each)})
        arrived = ns.simulate(net, 40, dt=DT, record="P.arrived").records["P.arrived"]
        expected, late = np.zeros((40, 2)), np.broadcast_to(lag, 2)
        for cell, step in ((0, 3), (1, 5), (0, 6)):
            expected[step + late[cell], cell] += 1
        assert np.array_equal(arrived, expected)


@pytest.mark.parametrize("kind", ["one", "pre", "synapse", "synapse of events"])
def test_delays_between_steps_are_interpolated_and_can_be_trained(kind):
    with x64():
        lags = {"one": 0.234, "pre": np.array([0.234, 0.871])}.get(kind, np.array([0.234, 0.871, 1.5]))
        edges = ns.connect.Edges([0, 1, 1], [0, 0, 1], 2, 2)
        connection = ns.connect.EventSparse(edges, [1.0, 2.0, 3.0])
        if kind == "synapse":
            connection = ns.connect.Dense(2, 2, [[1.0, 0.0], [2.0, 3.0]])
            lags = np.array([[0.234, 0.1], [0.871, 1.5]])
        net = ns.Network(
            {"S": ns.PoissonSpike(2, 0.0), "N": ns.LIF(2)},
            {"P": ns.Projection("S", "N", connection, delay=lags * u.ms, max_delay=2 * u.ms)},
            dt=DT,
        )
        path = net.projections["P"]
        signal = np.sin(np.arange(60)[:, None] * np.array([0.2, 0.31])) + 1.5

        def loss(lag):
            moved = eqx.tree_at(lambda p: p.delay.lag, path, lag)

            def step(state, x):
                state = moved.step(state, x, jnp.zeros(2), DT)
                return state, state.arrived

            arrived = jax.lax.scan(step, moved.init_state((), None), jnp.asarray(signal))[1][25:]
            return (arrived**2).sum(), arrived

        lag, eps = np.asarray(path.delay.lag), 1e-6
        toward = RNG.standard_normal(lag.shape)
        lags = np.stack([lag, lag + 0.03, lag + 0.03 + eps * toward, lag + 0.03 - eps * toward])
        found = jax.jit(lambda lags: jax.lax.map(jax.value_and_grad(loss, has_aux=True), lags))(lags)
        ((_, _, *moved), arrived), slopes = jax.tree.map(np.asarray, found)
        each = {"one": [2.34] * 3, "pre": [2.34, 8.71, 8.71]}.get(kind, [2.34, 8.71, 15.0])
        back = lambda k, lag: np.interp(np.arange(25, 60) - lag, np.arange(60), signal[:, k])  # noqa: E731
        expected = np.stack([back(0, each[0]) + 2 * back(1, each[1]), 3 * back(1, each[2])], 1)
        assert np.abs(arrived[0] - expected).max() < 1e-6
        change, numeric = slopes[1] * toward, (moved[0] - moved[1]) / (2 * eps)
        assert abs(change.sum() - numeric) < 1e-6 * np.abs(change).sum()


def test_units_are_converted_once_between_families():
    neuron = {"V_rest": -60 * u.mV, "V_th": -50 * u.mV, "V_reset": -60 * u.mV, "tau": 20 * u.ms, "spk_reset": "hard"}
    edges = ns.connect.Edges(*EDGES["IE"], N_I, N_E)
    start = {"g_initializer": 2.0 * u.nS}
    runs = []
    for R, weight, synapse in (
        (100 * u.Mohm, W_IE * u.nS, ns.Expon(N_E, tau=5 * u.ms, **start)),
        (100 * u.Mohm, W_IE * 1e-3 * u.uS, ns.Expon(N_E, tau=5 * u.ms, g_initializer=2e-3 * u.uS)),
        (100 * u.Mohm, W_IE, ns.Expon(N_E, tau=5 * u.ms, **start)),
        (1e8 * u.ohm, W_IE * u.nS, ns.Expon(N_E, tau=5 * u.ms, **start)),
    ):
        net = ns.Network(
            {"S": ns.PoissonSpike(N_I, 100 * u.Hz), "E": ns.LIF(N_E, R=R, **neuron)},
            {"P": ns.Projection("S", "E", ns.connect.EventSparse(edges, weight), synapse, ns.COBA(0 * u.mV))},
            inputs={"E": 80 * u.pA},
        )
        runs.append(ns.simulate(net, 300, dt=0.1 * u.ms, key=jax.random.key(0), record="E.V").records["E.V"])
    assert runs[0].max() > -55
    for run in runs[1:]:
        assert np.abs(run - runs[0]).max() < 2e-4


def test_synapses_in_front_of_the_connection():
    """NMDA of each sending neuron, through a matrix, is the sum over its synapses."""
    W = RNG.random((3, 2)) * 1e-3
    net = ns.Network(
        {
            "S": ns.PoissonSpike(3, 300 * u.Hz),
            "N": ns.LIF(2, R=100 * u.Mohm, tau=20 * u.ms, V_th=1e6 * u.mV, V_rest=-60 * u.mV),
        },
        {"P": ns.Projection("S", "N", ns.connect.Dense(3, 2, W * u.uS), ns.NMDA(3), ns.MgBlock(cc_Mg=1.0), delay=2)},
    )
    sol = ns.simulate(net, 200, dt=DT, key=jax.random.key(1), record=["P.synapse.g", "N.V", "S.spike"])
    late = np.concatenate([np.zeros((2, 3)), sol.records["S.spike"][:-2]])
    g = ns.simulate(ns.NMDA(3), jnp.asarray(late, jnp.float32), dt=DT).outputs
    assert np.allclose(g, sol.records["P.synapse.g"], atol=1e-6)
    driven = g[:-1] @ jnp.asarray(W, jnp.float32)
    cell = net.populations["N"]

    def step(state, x):
        g, V = x, state.V
        state, _ = cell.step(state, ns.MgBlock(cc_Mg=1.0).drive(g, V), dt=DT)
        return state, state.V

    V = jax.lax.scan(step, cell.init_state(), jnp.concatenate([jnp.zeros((1, 2)), driven]))[1]
    assert np.abs(V - sol.records["N.V"]).max() < 1e-4 and V.max() > -10


def test_short_term_plasticity_and_learning_in_a_network():
    stp = ns.STP(1, U=0.3, tau_f=100.0, tau_d=200.0)
    net = ns.Network(
        {"S": source([2, 12, 22, 32]), "N": ns.LIF(1)},
        {"P": ns.Projection("S", "N", ns.connect.OneToOne(1, 2.0), delay=1, short_term=stp)},
    )
    arrived = ns.simulate(net, 40, dt=DT, record="P.arrived").records["P.arrived"][:, 0]
    train = jnp.zeros((40, 1)).at[jnp.array([3, 13, 23, 33])].set(1.0)
    assert np.allclose(arrived, 2 * ns.simulate(stp, train, dt=DT).outputs[:, 0], atol=1e-6)


@pytest.mark.parametrize("scale", [1.0 * u.mV, 1e-3 * u.volt, 1.0])
def test_weights_learn_in_a_network(scale):
    """Both neurons spike, the one behind 2 steps after the arrival, in units of any kind; and a batch of such."""
    rule = ns.STDP(4.0 * scale, A_plus=0.1, A_minus=0.1, tau_plus=5.0 * u.ms, tau_minus=5.0 * u.ms)
    connection = ns.connect.EventSparse(ns.connect.Edges([0], [0], 1, 1), 2.0 * scale)
    cell = ns.LIF(1, R=1 * u.ohm, tau=5 * u.ms, V_th=1e3 * u.mV, spk_reset="hard")
    net = ns.Network(
        {"S": source([3, 23]), "N": cell},
        {"P": ns.Projection("S", "N", connection, delay=1, plasticity=rule)},
    )
    force = jnp.zeros((60, 1)).at[jnp.array([6, 20])].set(1e9)
    late = np.array([2, 16, 4, 18]) * DT / 5.0  # of the spike behind after the arrival, then before it
    window = 0.4 * (np.exp(-late) * np.array([1, 1, -1, -1])).sum()
    sol = ns.simulate(net, {"N": force}, dt=DT, record="P.weight")
    assert sol.outputs["N"].sum() == 2 and sol.records["P.weight"].shape == (60, 1)
    assert np.allclose(sol.records["P.weight"][-1], 2.0 + window, atol=1e-5)
    batch = ns.simulate(net, {"N": jnp.stack([force, 0 * force], 1)}, dt=DT, record="P.weight")
    assert np.allclose(batch.records["P.weight"][-1, :, 0], [2.0 + window, 2.0], atol=1e-5)


def test_learning_by_events_in_a_network_is_learning_by_all():
    nets = []
    for by_events in (False, True):
        edges = ns.connect.Edges(*EDGES["EI"], N_E, N_I)
        connection = ns.connect.EventSparse(edges, W_EI, learns_by_events=by_events)
        rule = ns.STDP(0.05, A_plus=0.05, A_minus=0.05, tau_plus=5.0, tau_minus=5.0)
        nets.append(
            ns.Network(
                {"E": ns.LIF(N_E, **NEURON, V_initializer=V_E), "I": ns.LIF(N_I, **NEURON, V_initializer=V_I)},
                {
                    "EI": ns.Projection(
                        "E", "I", connection, ns.Expon(N_I), ns.COBA(0.0), delay=LAGS["synapse"], plasticity=rule
                    )
                },
                inputs={"E": 17.0, "I": 11.0},
            )
        )
    a, b = (ns.simulate(net, STEPS, dt=DT, record="EI.weight") for net in nets)
    assert np.array_equal(a.outputs["I"], b.outputs["I"]) and a.outputs["I"].sum() > 10
    assert np.abs(a.records["EI.weight"] - b.records["EI.weight"]).max() < 1e-6
    assert np.abs(np.diff(a.records["EI.weight"], axis=0)).max() > 1e-4

    def loss(w_max):
        moved = eqx.tree_at(lambda n: n.projections["EI"].plasticity.w_max, nets[1], w_max)
        return ns.simulate(moved, 100, dt=DT).state.projections["EI"].weight.sum()

    assert float(jax.jit(jax.grad(loss))(jnp.asarray(0.05))) != 0


@pytest.mark.parametrize("lag", [None, 3, "each"])
def test_gradients_through_a_network_are_those_of_finite_differences(lag):
    """With neurons whose spikes are smooth, in float64."""
    with x64():
        smooth = lambda x: jax.nn.sigmoid(4 * x)  # noqa: E731
        cell = {**NEURON, "spk_reset": "soft", "spk_fun": smooth}
        edges = ns.connect.Edges(*EDGES["EI"], N_E, N_I), ns.connect.Edges(*EDGES["IE"], N_I, N_E)
        lag = np.asarray(LAGS["synapse"]) + 0.25 if lag == "each" else lag
        lag = lag * DT * u.ms if isinstance(lag, np.ndarray) else lag
        make = ns.connect.EventSparse
        net = ns.Network(
            {"E": ns.LIF(N_E, **cell, V_initializer=V_E), "I": ns.LIF(N_I, **cell, V_initializer=V_I)},
            {
                "EI": ns.Projection("E", "I", make(edges[0], W_EI), ns.Expon(N_I, tau=5.0), ns.COBA(0.0), delay=lag),
                "IE": ns.Projection("I", "E", make(edges[1], W_IE), ns.Expon(N_E, tau=10.0), ns.COBA(-80.0), delay=2),
            },
            inputs={"E": 13.0, "I": 9.0},
            dt=DT,
        )
        params, rest = eqx.partition(net, eqx.is_inexact_array)

        def loss(params):
            sol = ns.simulate(eqx.combine(params, rest), 40, dt=DT, record=["E.V", "I.V"])
            return (sol.records["E.V"][-1] ** 2).mean() + (sol.records["I.V"] ** 2).mean() + sol.outputs["E"].sum()

        where = [lambda p: p.projections["EI"].connection.weight, lambda p: p.projections["IE"].connection.weight]
        where += [lambda p: p.projections["EI"].synapse.tau, lambda p: p.populations["E"].V_initializer]
        where += [lambda p: p.projections["EI"].delay.lag] if isinstance(lag, u.Quantity) else []
        params, eps = jax.tree.map(np.asarray, params), 1e-5
        towards = [RNG.standard_normal(at(params).shape) * np.maximum(np.abs(at(params)), 1e-3) for at in where]
        points = [params]
        for at, toward in zip(where, towards, strict=True):
            points += [eqx.tree_at(at, params, at(params) + sign * eps * toward) for sign in (1, -1)]
        points = jax.tree.map(lambda *x: np.stack(x), *points)
        values, slopes = jax.jit(lambda points: jax.lax.map(jax.value_and_grad(loss), points))(points)
        numerics = (np.asarray(values)[1::2] - np.asarray(values)[2::2]) / (2 * eps)
        for at, toward, numeric in zip(where, towards, numerics, strict=True):
            change = np.asarray(at(slopes))[0] * toward
            assert abs(change.sum() - numeric) <= 1e-4 * np.abs(change).sum() and abs(numeric) > 0


def test_the_facade_runs_the_same_network():
    net = network(LAGS["pre"])
    core = ns.simulate(net, 100, dt=DT)
    cell = ns.nn.init_all_states(ns.nn.Stateful(net))
    with ns.environ.context(dt=DT * u.ms):
        out = ns.transform.for_loop(lambda i: cell(), jnp.arange(100))
    assert eqx.tree_equal(out, core.outputs) and eqx.tree_equal(cell.populations.value, core.state.populations)
    weight = "projections.EI.connection.weight"
    assert weight in cell.states(ns.ParamState)


CELLS = {"E": ns.LIF(3), "I": ns.LIF(2)}
DENSE = ns.connect.Dense(3, 2)
EVENTS = ns.connect.EventSparse(ns.connect.Edges([0, 1, 1, 2], [0, 0, 1, 1], 3, 2), values="binary")
WRONG = {
    "pre": (lambda: ns.Projection("X", "I", DENSE), ValueError, "`pre` of the projection 'P' is 'X'"),
    "post": (lambda: ns.Projection("E", "X", DENSE), ValueError, "`post` of the projection 'P' is 'X'"),
    "in_size": (lambda: ns.Projection("I", "I", DENSE), ValueError, "projection 'P' has the `in_size` \\(3,\\)"),
    "slice": (lambda: ns.Projection("E[:2]", "I", DENSE), ValueError, "'E\\[:2\\]' has the size \\(2,\\)"),
    "out_size": (lambda: ns.Projection("E", "E", DENSE), ValueError, "`out_size` \\(2,\\)"),
    "selector": (lambda: ns.Projection("E[a]", "I", DENSE), ValueError, "`pre` of the projection 'P' must be a sel"),
    "negative delay": (lambda: ns.Projection("E", "I", DENSE, delay=-1), ValueError, "'P' must not be negative"),
    "delay's shape": (lambda: ns.Projection("E", "I", DENSE, delay=np.ones(5, int)), ValueError, "`delay` of the proj"),
    "delay's unit": (lambda: ns.Projection("E", "I", DENSE, delay=1 * u.mV), ValueError, "must know the time step"),
    "delay without dt": (lambda: ns.Projection("E", "I", DENSE, delay=1 * u.ms), ValueError, "Network\\(..., dt="),
    "synapse's size": (
        lambda: ns.Projection("E", "I", DENSE, ns.Expon(7)),
        ValueError,
        "synapse of the projection 'P'",
    ),
    "unit": (
        lambda: ns.Projection("E", "I", ns.connect.Dense(3, 2, 1 * u.ms)),
        ns.UnitError,
        "through the projection 'P' has the unit ms",
    ),
    "no output": (
        lambda: ns.Projection("E", "I", DENSE, ns.Expon(2, g_unit=u.siemens)),
        ns.UnitError,
        "projection 'P' .* Give an `output`",
    ),
    "weights of another unit": (
        lambda: ns.Projection("E", "I", ns.connect.Dense(3, 2, 1 * u.mV), ns.Expon(2)),
        ns.UnitError,
        "weights of the projection 'P' have the unit mV",
    ),
    "parts of spikes": (
        lambda: ns.Projection("E", "I", EVENTS, delay=np.array([0.5, 1.0, 2.25]), interpolate=True),
        ValueError,
        "'binary'.*, but an interpolated delay gives it parts of spikes",
    ),
    "released parts": (
        lambda: ns.Projection("E", "I", EVENTS, short_term=ns.STP(3)),
        ValueError,
        "but `short_term` gives it parts of spikes",
    ),
    "no connection": (lambda: ns.Projection("E", "I", 1.0), TypeError, "`connection` of a `Projection`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_by_name(case):
    make, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        ns.Network(CELLS, {"P": make()}, dt=1.0 if "parts" in case else None)


def test_names_and_sources_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"other names than its populations, got \['E'\] twice"):
        ns.Network(CELLS, {"E": ns.Projection("E", "I", DENSE)})
    with pytest.raises(ValueError, match="`post` of the projection 'P' is 'S', a source"):
        ns.Network({**CELLS, "S": ns.PoissonSpike(2, 1 * u.Hz)}, {"P": ns.Projection("E", "S", DENSE)})


def test_as_many_delays_as_neurons_and_synapses_must_say_which():
    connection = ns.connect.EventSparse(ns.connect.Edges([1, 0, 0], [1, 1, 0], 3, 3))
    lag = np.array([5, 6, 7])
    make = lambda lag: ns.Network({"N": ns.LIF(3)}, {"P": ns.Projection("N", "N", connection, delay=lag)})  # noqa: E731
    with pytest.raises(ValueError, match="as many neurons in front as synapses. Give `delay"):
        make(lag)
    by_neuron, by_synapse = (make(given).projections["P"].delay for given in (lag[:, None], lag[None]))
    assert by_neuron.kind == "pre" and np.array_equal(by_neuron.lag, lag)
    assert by_synapse.kind == "synapse" and np.array_equal(by_synapse.lag, [6, 7, 5])  # in the order of `pre`
    assert make(np.array([4, 4, 4])).projections["P"].delay.kind == "pre"


def test_a_state_keeps_its_dtypes():
    with x64():
        cell = ns.LIF(3, V_initializer=jnp.zeros(3, jnp.float32))
        net = ns.Network({"N": cell}, {"P": ns.Projection("N", "N", ns.connect.Dense(3, 3), delay=2)})
        sol = ns.simulate(net, {"N": jnp.full((20, 3), 9.0)}, dt=1.0)
        assert sol.outputs["N"].dtype == jnp.float32 and sol.outputs["N"].sum() > 3


def test_a_rule_learns_what_a_sign_is_put_to():
    connection = ns.connect.Dense(2, 2, -0.5, sign=[1, -1])
    rule = ns.STDP(1.0, A_plus=0.1)
    net = ns.Network({"N": ns.LIF(2)}, {"P": ns.Projection("N", "N", connection, plasticity=rule)})
    weight = ns.simulate(net, {"N": jnp.full((40, 2), 5.0)}, dt=1.0).state.projections["P"].weight
    assert np.all(weight > 0.1) and not np.allclose(weight, 0.5)


def test_wrong_calls_are_refused():
    net = network(0.5 * u.ms, dt=0.1 * u.ms)
    with pytest.raises(ValueError, match="made for dt=0.1 ms"):
        ns.simulate(net, 10, dt=0.2 * u.ms)
    with pytest.raises(ValueError, match=r"input for \['X'\]"):
        ns.simulate(net, {"X": jnp.zeros((10, 3))}, dt=DT)
    with pytest.raises(ValueError, match="one drive, but there are the populations"):
        ns.simulate(net, jnp.zeros((10, N_E)), dt=DT)
    for name, text in (("Q.V", "the network has"), ("E.U", "there are"), ("E", "not one variable"), ("E[", "selector")):
        with pytest.raises(ValueError, match=text):
            ns.simulate(net, 10, dt=DT, record=name)
    with pytest.raises(ValueError, match="draws random numbers"):
        ns.simulate(ns.Network({"S": ns.PoissonSpike(2, 1 * u.Hz)}), 10, dt=DT)


def test_inputs_of_a_run_by_population():
    net = network(2)
    drive = {"E": 3.0 * RNG.random((50, N_E)), "I": 5.0 * RNG.random((50, N_I))}
    sol = ns.simulate(net, {k: jnp.asarray(x, jnp.float32) for k, x in drive.items()}, dt=DT, record="E.V")
    bare = ns.simulate(net, 50, dt=DT, record="E.V")
    assert (sol.records["E.V"] - bare.records["E.V"])[5].min() > 0
    batched = ns.simulate(net, {"E": jnp.zeros((50, 4, N_E))}, dt=DT)
    assert batched.outputs["I"].shape == (50, 4, N_I)

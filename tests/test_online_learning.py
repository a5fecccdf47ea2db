"""Learning forward in time against backpropagation through time, and against the recursions of e-prop by hand."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import neurostate as ns
from neurostate import train

from .helpers import x64


N_IN, N, N_OUT, STEPS, BATCH, DT, TAU_OUT = 3, 4, 2, 40, 2, 1.0, 4.0
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
W_IN, W_REC, W_OUT = (RNG.normal(0, s, n) for s, n in ((1.5, (N_IN, N)), (0.6, (N, N)), (0.5, (N, N_OUT))))
INPUTS, TARGETS = 2 * RNG.random((STEPS, BATCH, N_IN)), RNG.normal(size=(STEPS, BATCH, N_OUT))


def network(cell, recurrent=W_REC, **kwargs):
    dense = ns.connect.Dense
    layer = cell if recurrent is None else ns.Recurrent(cell, dense(N, N, recurrent, **kwargs))
    return ns.Sequential(dense(N_IN, N, W_IN), layer, ns.LeakyRateReadout(N, N_OUT, TAU_OUT, W_OUT))


def squares(y, target):
    return jnp.sum((y - target) ** 2)


def cross_entropy(y, target):
    return -jnp.mean(jnp.sum(jax.nn.softmax(target) * jax.nn.log_softmax(y), -1))


def total_by_name(spikes, target):
    return sum(squares(x, target[..., :1]) for x in jax.tree.leaves(spikes))


def data(dtype=jnp.float32):
    return jnp.asarray(INPUTS, dtype), jnp.asarray(TARGETS, dtype)


def through_time(model, loss, inputs, targets, **kwargs):
    """The loss and its gradient by backpropagation through time."""

    def total(model):
        return jax.vmap(loss)(ns.simulate(model, inputs, dt=DT, **kwargs).outputs, targets).sum()

    return eqx.filter_jit(eqx.filter_value_and_grad(total))(model)


def difference(found, expected):
    """The largest difference, in parts of the largest gradient."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    pairs = list(zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True))
    scale = max(float(jnp.abs(b).max()) for _, b in pairs)
    assert scale > 0.1 and all(a.dtype == b.dtype and a.shape == b.shape for a, b in pairs)
    return max(float(jnp.abs(a - b).max()) for a, b in pairs) / scale


@functools.cache
def soft():
    """A network, the loss and its gradient, and the data."""
    model, (inputs, targets) = network(ns.LIF(N, V_initializer=ns.init.Uniform(0.0, 0.5))), data()
    return model, through_time(model, squares, inputs, targets, key=KEY), (inputs, targets)


# RTRL


def projected_network():
    projection = ns.Projection("E", "E", ns.connect.Dense(N_IN, N_IN, W_REC[:3, :3]), delay=3)
    cells = ns.CubaLIF(N_IN, g_initializer=0.5, spk_reset="hard", tau_ref=2.0)
    return ns.Network({"E": cells}, {"EE": projection})


MODELS = {
    "soft": (jnp.float32, lambda: soft()[0], squares),
    "adaptive, hard": (jnp.float32, lambda: network(ns.ALIF(N, beta=0.3, spk_reset="hard")), cross_entropy),
    "refractory, delayed": (jnp.float64, projected_network, total_by_name),
    "AdExIF": (
        jnp.float64,
        lambda: ns.AdExIF(N_IN, V_initializer=-60.0, integrator="exp_euler"),
        total_by_name,
    ),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_rtrl_is_backpropagation_through_time(name):
    dtype, make, loss = MODELS[name]
    with x64(dtype == jnp.float64):
        model, (inputs, targets) = make(), data(dtype)
        inputs = {"E": inputs} if isinstance(model, ns.Network) else inputs
        there = soft()[1] if name == "soft" else through_time(model, loss, inputs, targets, key=KEY)
        learner = train.RTRL(model, loss)
        value, found = train.online_value_and_grad(learner, inputs, targets, dt=DT, key=KEY, batch_shape=(BATCH,))
        tolerance = 1e-5 if dtype == jnp.float32 else 1e-10
        np.testing.assert_allclose(value, there[0], rtol=tolerance)
        assert difference(found, there[1]) < tolerance


# e-prop


def shapes(tree):
    return [(jax.tree_util.keystr(path), x.shape, x.dtype) for path, x in jax.tree_util.tree_leaves_with_path(tree)]


PSI = 0.3  # the height of the surrogate derivative of `ReluGrad`, whose width is 1
ADAPTIVE = dict(tau=[5.0, 8.0, 10.0, 20.0], V_th=[0.8, 1.0, 1.2, 0.9], beta=0.3, tau_a=30.0, V_reset=-0.1, V_rest=0.05)


def test_eprop_is_the_gradient_of_the_program_with_stopped_paths():
    stop, spk_fun = jax.lax.stop_gradient, ns.surrogate.ReluGrad()

    def total(p, inputs, targets):
        c = p["cell"]

        def step(state, xs):
            V, a, z, y = state
            z_of_V = spk_fun((V - c["V_th"] - c["beta"] * a) / (c["V_th"] - c["V_reset"]))
            V, a = V - (c["V_th"] - c["V_reset"]) * stop(z_of_V), a + z_of_V
            drive = c["R"] * (xs[0] @ p["in"] + stop(z) @ p["rec"]) + c["V_rest"]
            decay = jnp.exp(-DT / c["tau"])
            V, a = decay * V + (1 - decay) * drive, a * jnp.exp(-DT / c["tau_a"])
            z = spk_fun((V - c["V_th"] - c["beta"] * a) / (c["V_th"] - c["V_reset"]))
            y = jnp.exp(-DT / p["tau"]) * y + z @ p["out"]
            return (V, a, z, y), cross_entropy(y, xs[1]) * STEPS

        zeros = jnp.zeros((BATCH, N))
        start = (zeros + c["V_initializer"], zeros + c["a_initializer"], zeros, zeros[:, :N_OUT] + p["r_initializer"])
        return jax.lax.scan(step, start, (inputs, targets))[1].sum()

    with x64():
        inputs, targets = data(jnp.float64)
        model = network(ns.ALIF(N, **ADAPTIVE, V_initializer=0.2, a_initializer=0.5))
        names = [*ADAPTIVE, "R", "V_initializer", "a_initializer"]

        def plain(model):
            cell, readout = model[1].cell, model[2]
            weights = {"in": model[0].weight, "rec": model[1].projection.connection.weight, "out": readout.weight}
            initial = {name: jax.tree.leaves(getattr(cell, name))[0] for name in names}
            r_initializer = jax.tree.leaves(readout.r_initializer)[0]
            return weights | {"tau": readout.tau, "cell": initial, "r_initializer": r_initializer}

        value, expected = jax.jit(jax.value_and_grad(total))(plain(model), inputs, targets)
        learner = train.EProp(model, lambda y, target: cross_entropy(y, target) * STEPS)
        loss, found = train.online_value_and_grad(learner, inputs, targets, dt=DT)
        np.testing.assert_allclose(loss, value, rtol=1e-12)
        assert difference(plain(found), expected) < 1e-10
        assert len(jax.tree.leaves(found)) == len(jax.tree.leaves(expected))


def by_the_paper(beta, tau, tau_a, feedback):
    """Equations 23 to 28 of Bellec et al. 2020, synapse by synapse; where a weight moves `V` by `gain`."""
    alpha, rho, kappa = np.exp(-DT / tau), np.exp(-DT / tau_a), np.exp(-DT / TAU_OUT)
    gain, beta = 1 - alpha, rho * beta
    gradients = [np.zeros_like(W) for W in (W_IN, W_REC, W_OUT)]
    for b in range(BATCH):
        v, a, z, y, z_filtered = (np.zeros(n) for n in (N, N, N, N_OUT, N))
        bar = [np.zeros(N_IN), np.zeros(N)]
        epsilon_a, e_filtered = ([np.zeros((n, N)) for n in (N_IN, N)] for _ in range(2))
        psi = PSI * np.maximum(0, 1 - np.abs(v - 1 - beta * a))
        for t in range(STEPS):
            # eq. 24 for t + 1 needs `bar` and `psi` of t
            for k in range(2):
                epsilon_a[k] = psi * bar[k][:, None] + (rho - psi * beta) * epsilon_a[k]
            v = alpha * (v - z) + gain * (INPUTS[t, b] @ W_IN + z @ W_REC)
            a = rho * a + z
            bar = [alpha * old + new for old, new in zip(bar, (INPUTS[t, b], z), strict=True)]
            z = (v >= 1 + beta * a).astype(float)
            psi = PSI * np.maximum(0, 1 - np.abs(v - 1 - beta * a))
            y = kappa * y + z @ W_OUT
            error = 2 * (y - TARGETS[t, b])
            for k in range(2):
                e = psi * (bar[k][:, None] - beta * epsilon_a[k])
                e_filtered[k] = kappa * e_filtered[k] + e
                gradients[k] += gain * e_filtered[k] * (feedback @ error)
            z_filtered = kappa * z_filtered + z
            gradients[2] += z_filtered[:, None] * error
    return gradients


@pytest.mark.parametrize("kind", ["LIF, symmetric", "ALIF, random"])
def test_eprop_is_the_recursion_of_the_paper(kind):
    with x64():
        inputs, targets = data(jnp.float64)
        adaptive = kind == "ALIF, random"
        model = network(ns.ALIF(N, tau=8.0, beta=0.3, tau_a=30.0) if adaptive else ns.LIF(N, tau=8.0))
        feedback = "random" if adaptive else "symmetric"
        learner = train.EProp(model, squares, trained="*weight", feedback=feedback, key=KEY)
        assert not adaptive or float(jnp.abs(learner.feedback_weights() - W_OUT).min()) > 0
        _, found = train.online_value_and_grad(learner, inputs, targets, dt=DT)
        expected = by_the_paper(0.3 * adaptive, 8.0, 30.0, np.asarray(learner.feedback_weights()))
        assert difference(jax.tree.leaves(found), list(map(jnp.asarray, expected))) < 1e-10


class OfItsInput(ns.LIF):
    def step(self, state, current: Any, *, dt, key=None):
        return super().step(state, current - 0.5 * state.V, dt=dt, key=key)


CELLS = {
    "Izhikevich": lambda: ns.Izhikevich(N),
    "two compartments": lambda: ns.TwoCompartment(N),
    "escape noise": lambda: ns.Gif(N, escape_rate=1.0, escape_width=2.0),
    "no reset": lambda: ns.HH(N, integrator="exp_euler"),
    "interpolated": lambda: ns.LIF(N, tau_ref=2.0, spike_time="interpolated"),
    "of its input": lambda: OfItsInput(N),
}


@pytest.mark.parametrize("name", list(CELLS))
def test_any_neuron_has_traces(name):
    model = network(CELLS[name](), None if name == "of its input" else W_REC)
    for kind in (train.EProp, train.DiagonalRTRL):
        learner = kind(model, squares)

        def step(key, learner=learner):
            carry = learner.init((BATCH,), key=key)
            new, _ = learner.step(carry, jnp.zeros((BATCH, N_IN)), jnp.zeros((BATCH, N_OUT)), dt=DT)
            return carry, new, learner.gradients(new)

        carry, new, gradients = jax.eval_shape(step, KEY)
        assert shapes(carry) == shapes(new)
        assert shapes(gradients) == shapes(eqx.filter(model, eqx.is_inexact_array))


def test_adaptive_feedback_becomes_the_weights_of_the_readout():
    model = network(ns.LIF(N))
    learner = train.EProp(model, squares, trained="layers[2].weight", feedback="adaptive", decay=0.1, key=KEY)
    apart = learner.feedback_weights() - model[2].weight
    updates = jax.tree.map(jnp.ones_like, train.partition(model, "layers[2].weight")[0])
    for n in range(1, 4):
        learner = learner.update(updates)
        np.testing.assert_allclose(learner.feedback_weights() - learner.model[2].weight, 0.9**n * apart, rtol=1e-5)
    np.testing.assert_allclose(learner.model[2].weight, 0.9**3 * W_OUT + 0.9**2 + 0.9 + 1, rtol=1e-5)
    fixed = train.EProp(model, squares, feedback="random", key=KEY)
    assert eqx.tree_equal(fixed.update(updates).feedback_weights(), fixed.feedback_weights())


# The diagonal approximation


def cosine(found, expected):
    a, b = ravel_pytree(found)[0], ravel_pytree(expected)[0]
    return float(a @ b / jnp.sqrt((a @ a) * (b @ b)))


DECOUPLED = {
    "feed-forward": lambda: network(ns.LIF(N, spk_reset="hard", V_initializer=0.2), recurrent=None),
    # A connection of each neuron to itself, among others that are masked.
    "to itself": lambda: network(ns.CubaLIF(N, g_initializer=0.3), mask=np.eye(N, dtype=bool), sign=[1, -1, 1, 1]),
}


@pytest.mark.parametrize("name", list(DECOUPLED))
def test_the_diagonal_is_exact_without_connections_between_neurons(name):
    inputs, targets = data()
    learners = (kind(DECOUPLED[name](), squares) for kind in (train.DiagonalRTRL, train.RTRL))
    found, expected = (train.online_value_and_grad(learner, inputs, targets, dt=DT) for learner in learners)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    assert difference(found[1], expected[1]) < 1e-5


def test_the_diagonal_of_a_recurrent_layer_points_the_right_way():
    model, (_, expected), (inputs, targets) = soft()
    weights = ("layers[0]", "layers[1].projection")
    learner = train.DiagonalRTRL(model, squares, trained=weights)
    _, found = train.online_value_and_grad(learner, inputs, targets, dt=DT, key=KEY)
    assert 0.8 < cosine(found, train.partition(expected, *weights)[0]) < 0.9999


# Any number of steps


def learning(kind, num_steps):
    """So many steps with an update in each, with inputs that are made on the way."""
    optimizer = optax.adam(1e-2)
    trained = ("*weight",)
    learner = kind(network(ns.LIF(N)), squares, trained=trained)
    state = optimizer.init(train.partition(learner.model, *trained)[0])
    arrays, fixed = eqx.partition((learner, state, learner.init((BATCH,))), eqx.is_array)

    def step(_, given):
        arrays, total = given
        learner, state, carry = eqx.combine(arrays, fixed)
        phase = 0.1 * carry.index + jnp.arange(BATCH)[:, None]
        target = jnp.array([1.0, -1.0]) * jnp.ones((BATCH, 1))
        carry, _ = learner.step(carry, 1 + jnp.sin(phase + jnp.arange(N_IN)), target, dt=DT)
        updates, state = optimizer.update(learner.gradients(carry), state)
        new = (learner.update(updates), state, learner.restart(carry))
        return eqx.filter(new, eqx.is_array), total + carry.loss

    @jax.jit
    def run(arrays):
        def block(arrays, _):
            return jax.lax.fori_loop(0, num_steps // 10, step, (arrays, jnp.zeros(())))

        return jax.lax.scan(block, arrays, length=10)[1]

    return run.lower(arrays).compile(), arrays


@pytest.mark.parametrize("kind", [train.RTRL, train.EProp, train.DiagonalRTRL])
def test_memory_does_not_grow_with_time(kind):
    short, arrays = learning(kind, 1_000)
    losses = short(arrays)
    assert losses[-1] < 0.5 * losses[0]
    if kind is train.EProp:
        long, _ = learning(kind, 100_000)
        sizes = [program.memory_analysis().temp_size_in_bytes for program in (short, long)]
        assert sizes[0] == sizes[1] > 0


def test_state_and_outputs_are_those_of_simulate():
    inputs, targets = data()
    model = network(ns.LIF(N))
    sol = ns.simulate(model, inputs, dt=DT)
    for kind in (train.RTRL, train.EProp, train.DiagonalRTRL):
        learner = kind(model, squares, trained=ns.LeakyRateReadout)
        step = functools.partial(learner.step, dt=DT)
        carry, outputs = jax.lax.scan(lambda carry, xs: step(carry, *xs), learner.init((BATCH,)), (inputs, targets))
        np.testing.assert_allclose(outputs, sol.outputs, rtol=1e-5, atol=1e-5)
        assert jax.tree.structure(carry.state) == jax.tree.structure(sol.state) and carry.index == STEPS
        for a, b in zip(jax.tree.leaves(carry.state), jax.tree.leaves(sol.state), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


# What is refused


def lateral(how):
    """A cell whose own step couples its neurons; or, if "fixed", by nothing that has a derivative."""

    class Lateral(ns.LIF):
        def step(self, state, current, *, dt, key=None):
            cell = self
            if how == "state":
                state = state.with_(V=state.V + 0.2 * jnp.roll(state.V, 1, -1))
            elif how == "fixed":
                state = state.with_(V=state.V + 0.2 * jax.lax.stop_gradient(jnp.roll(state.V, 1, -1)))
            elif how == "input":
                current = current - 0.5 * current.mean(-1, keepdims=True)
            else:
                cell = eqx.tree_at(lambda cell: cell.tau, self, self.tau[::-1])
            return ns.LIF.step(cell, state, current, dt=dt, key=key)

    return Lateral(N, tau=[5.0] * N)


def test_what_cannot_be_learned_is_refused():
    net, cell = network(ns.LIF(N)), ns.LIF(N)
    delayed = ns.Sequential(net[0], ns.Recurrent(cell, net[1].projection.connection, delay=2), net[2])
    slow = ns.Sequential(net[0], cell, ns.LeakyRateReadout(N, 2, [1.0, 2.0], W_OUT))
    for kind in (train.EProp, train.DiagonalRTRL):
        for model, error, match in (
            (cell, TypeError, f"{kind.__name__}.*Sequential.*got LIF.*RTRL"),
            (ns.Sequential(net[0], net[2]), TypeError, r"got \['Dense', 'LeakyRateReadout'\]"),
            (delayed, ValueError, r"connection alone.*\['delay'\]"),
            (slow, ValueError, r"one number; it has the shape \(2,\)"),
        ):
            with pytest.raises(error, match=match):
                kind(model, squares)
    for kwargs, match in (({"feedback": "right"}, "symmetric.*random.*'right'"), ({"feedback": "random"}, "key")):
        with pytest.raises(ValueError, match=match):
            train.EProp(net, squares, **kwargs)
    with pytest.raises(ValueError, match="selects none"):
        train.RTRL(net, squares, trained="weights")
    for kind in (train.EProp, train.DiagonalRTRL):
        for how in ("state", "input", "parameter"):
            with pytest.raises(ValueError, match=f"`{kind.__name__}` keeps.*the new `V`, `spike` of `Lateral`.*`RTRL`"):
                kind(network(lateral(how), None), squares)
        with pytest.raises(ValueError, match="of `Lateral`"):
            kind(network(lateral("state")), squares)
        kind(network(lateral("fixed"), None), squares)
    inputs, targets = data()
    for wrong in (inputs.swapaxes(0, 1), inputs[:9], inputs[0, 0, 0]):
        for given in ((wrong, targets), (inputs, wrong)):
            with pytest.raises(ValueError, match="`inputs` and `targets`.*time as their first axis, all of one length"):
                train.online_value_and_grad(train.RTRL(net, squares), *given, dt=DT)
    with pytest.raises(ValueError, match=r"must give a scalar, got the shape \(2, 2\)"):
        train.online_value_and_grad(train.RTRL(net, jnp.subtract), inputs, targets, dt=DT)
    with pytest.raises(ValueError, match=r"batch axes.*`in_size` \(3,\)"):
        train.online_value_and_grad(train.RTRL(net, squares), inputs[..., :2], targets, dt=DT)

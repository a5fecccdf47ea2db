"""Plasticity against closed forms, and against loops over spikes in plain Python."""

from __future__ import annotations

import functools
import math

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neurostate as ns

from .helpers import x64


PRE, POST = (0, 0, 1, 2, 2), (0, 1, 1, 0, 2)  # 3 by 3 neurons
STEPS, DT = 50, 0.5

CONNECTIONS = {
    "dense": lambda weight=0.5: ns.connect.Dense(3, 3, weight),
    "one to one": lambda weight=0.5: ns.connect.OneToOne(3, weight),
    "sparse": lambda weight=0.5: ns.connect.EventSparse(ns.connect.Edges(PRE, POST, 3, 3), weight),
}
# Each as (rule, modulator), with large changes.
RULES = {
    "additive": lambda w_max=1.0: (ns.STDP(w_max, A_plus=0.3, A_minus=0.2, tau_plus=3.0, tau_minus=5.0), None),
    "multiplicative": lambda w_max=1.0: (ns.STDP(w_max, A_plus=0.3, A_minus=0.2, dependence="multiplicative"), None),
    "power": lambda w_max=1.0: (ns.STDP(w_max, A_plus=0.3, A_minus=0.2, dependence=0.4), None),
    "nearest": lambda w_max=1.0: (ns.STDP(w_max, A_plus=0.3, A_minus=0.2, pairing="nearest"), None),
    "triplet": lambda w_max=1.0: (ns.TripletSTDP(w_max, A2_plus=0.01, A2_minus=0.03, A3_plus=0.02), None),
    "reward": lambda w_max=1.0: (ns.RewardSTDP(w_max, A_plus=0.3, A_minus=0.2, tau_e=10.0), 0.1),
    "inhibitory": lambda w_max=1.0: (ns.InhibitorySTDP(w_max, eta=0.003, rho0=0.1), None),
    "scaling": lambda w_max=1.0: (ns.HomeostaticScaling(w_max, rho0=0.3, tau=10.0, tau_rate=5.0), None),
}
each_connection = pytest.mark.parametrize("connection", CONNECTIONS)
each_rule = pytest.mark.parametrize("name", RULES)


def run(rule, connection, weight, pre, post, dt=DT, modulator=None):
    """The state and the weights after spike trains of shape `(time, neuron)`."""

    def step(carry, spikes):
        return rule.step(*carry, *spikes, connection, dt=dt, modulator=modulator), None

    return jax.lax.scan(step, (rule.init_state(connection), weight), (pre, post))[0]


jitted = eqx.filter_jit(run)


def full(connection, value=0.5):
    return jnp.full(connection.synapse_shape, value, connection.weight.dtype)


def synapses(connection):
    """The neurons in front of and behind each synapse, in order of `weight.reshape(-1)`."""
    index, shape = jnp.arange(3), connection.synapse_shape
    ends = connection.at_pre(index), connection.at_post(index)
    return [tuple(map(int, pair)) for pair in zip(*(np.broadcast_to(end, shape).reshape(-1) for end in ends))]


def spikes(seed, steps=STEPS, chance=0.2):
    """Spike trains of both populations."""
    trains = np.random.default_rng(seed).random((2, steps, 3)) < chance
    return jnp.asarray(trains, jnp.result_type(float))


def by_spikes(rule, pre, post, w, dt):
    """The weight of one synapse after two spike trains, from lists of spike times; changes relative to the weight."""
    p = {name: float(value) for name, value in vars(rule).items() if isinstance(value, jax.Array)}
    span = p["w_max"] - p["w_min"]
    clip = lambda w: min(max(w, min(p["w_min"], p["w_max"])), max(p["w_min"], p["w_max"]))  # noqa: E731
    f = {
        "additive": lambda d: span,
        "multiplicative": lambda d: d,
        "power": lambda d: span * (d / span) ** p["mu"],
    }[getattr(rule, "dependence", "additive")]
    before_pre, before_post = [], []

    def trace(times, t, tau, all_of_them=True):
        return sum(math.exp(-(t - s) / tau) for s in (times if all_of_them else times[-1:]))

    for n in range(len(pre)):
        t, is_all = (n + 1) * dt, getattr(rule, "pairing", "all") == "all"
        if isinstance(rule, ns.TripletSTDP):
            r1, r2 = trace(before_pre, t, p["tau_plus"]), trace(before_pre, t, p["tau_x"])
            o1, o2 = trace(before_post, t, p["tau_minus"]), trace(before_post, t, p["tau_y"])
            more = r1 * (p["A2_plus"] + p["A3_plus"] * o2) if post[n] else 0.0
            less = o1 * (p["A2_minus"] + p["A3_minus"] * r2) if pre[n] else 0.0
            w = clip(w + span * (more - less))
        elif isinstance(rule, ns.InhibitorySTDP):
            if pre[n]:
                w = clip(w + p["eta"] * span * (trace(before_post, t, p["tau"]) - 2 * p["rho0"] * p["tau"]))
            if post[n]:
                w = clip(w + p["eta"] * span * (trace(before_pre, t, p["tau"]) + bool(pre[n])))
        else:
            if pre[n]:
                w = clip(w - p["A_minus"] * trace(before_post, t, p["tau_minus"], is_all) * f(w - p["w_min"]))
            if post[n]:
                w = clip(w + p["A_plus"] * trace(before_pre, t, p["tau_plus"], is_all) * f(p["w_max"] - w))
        before_pre += [t] if pre[n] else []
        before_post += [t] if post[n] else []
    return w


@each_connection
@pytest.mark.parametrize("dependence", ["additive", "multiplicative", 0.5])
def test_the_window_of_pairs(connection, dependence):
    with x64():
        connection = CONNECTIONS[connection]()
        rule = ns.STDP(2.0, A_plus=0.02, A_minus=0.03, tau_plus=10.0, tau_minus=25.0, dependence=dependence)
        reach = 40

        @jax.jit
        def change(lag):
            pre = jnp.zeros((reach + 1, 3)).at[jnp.maximum(-lag, 0)].set(1.0)
            post = jnp.zeros((reach + 1, 3)).at[jnp.maximum(lag, 0)].set(1.0)
            return run(rule, connection, full(connection), pre, post)[1] - 0.5

        room = {"additive": (2.0, 2.0), "multiplicative": (1.5, 0.5), 0.5: (2 * 0.75**0.5, 2 * 0.25**0.5)}[dependence]
        for lag in (-40, -7, -1, 0, 1, 2, 13, 40):
            A, tau = (0.02 * room[0], 10.0) if lag > 0 else (-0.03 * room[1], 25.0)
            expected = A * math.exp(-abs(lag) * DT / tau) if lag else 0.0
            np.testing.assert_allclose(change(lag), np.full(connection.synapse_shape, expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("connection", ["dense", "sparse"])
@pytest.mark.parametrize("name", ["additive", "multiplicative", "power", "nearest", "triplet", "inhibitory"])
@pytest.mark.parametrize("w_max", [1.0, -1.0], ids=["excitatory", "inhibitory"])
def test_random_trains_against_a_loop_over_spikes(name, connection, w_max):
    with x64():
        connection = CONNECTIONS[connection]()
        (rule, _), (pre, post) = RULES[name](w_max), spikes(1)
        weight = jitted(rule, connection, full(connection, w_max / 2), pre, post)[1]
        expected = [by_spikes(rule, pre[:, i], post[:, j], w_max / 2, DT) for i, j in synapses(connection)]
    np.testing.assert_allclose(weight.reshape(-1), expected, rtol=1e-9, atol=1e-12)
    assert len({round(x, 6) for x in expected}) > 1


def test_triplets_of_the_paper():
    """The triplet experiments of Pfister and Gerstner, eq. 3 and 4: pre, post, pre and post, pre, post."""
    with x64():
        connection = ns.connect.OneToOne(1, 0.5)
        rule, one, none = ns.TripletSTDP(1.0, A2_plus=0.01, A3_minus=0.02), jnp.ones(1), jnp.zeros(1)
        decay = lambda tau: math.exp(-5.0 / float(tau))  # noqa: E731
        for first, expected in [
            ((one, none), 0.01 * decay(16.8) - decay(33.7) * (7e-3 + 0.02 * decay(101) ** 2)),
            ((none, one), -7e-3 * decay(33.7) + decay(16.8) * (0.01 + 6.2e-3 * decay(125) ** 2)),
        ]:
            state, weight = rule.init_state(connection), jnp.array([0.5])
            for pre, post in (first, first[::-1], first):
                state, weight = rule.step(state, weight, pre, post, connection, dt=5 * u.ms)
            np.testing.assert_allclose(weight, [0.5 + expected], rtol=1e-12)


@each_connection
def test_eligibility_decays_and_waits_for_the_modulator(connection):
    with x64():
        connection = CONNECTIONS[connection]()
        rule = ns.RewardSTDP(2.0, A_plus=0.1, tau_plus=10.0, tau_e=200.0)
        pre, post = jnp.zeros((100, 3)).at[3].set(1.0), jnp.zeros((100, 3)).at[9].set(1.0)
        start, shape = full(connection), connection.synapse_shape
        state, weight = jitted(rule, connection, start, pre, post, modulator=0.0)
        e = 0.1 * math.exp(-6 * DT / 10)
        np.testing.assert_allclose(state.eligibility, np.full(shape, e * math.exp(-90 * DT / 200)), rtol=1e-12)
        assert (weight == start).all()
        for modulator, M in ((-0.001, -0.001), (2 * u.Hz, 0.002)):
            weight = jitted(rule, connection, start, pre, post, modulator=modulator)[1]
            expected = 0.5 + 2.0 * M * e * 200 * (1 - math.exp(-90 * DT / 200))  # the integral of M e(t)
            np.testing.assert_allclose(weight, np.full(shape, expected), rtol=1e-12)


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_inhibitory_plasticity_has_no_drift_at_the_target_rate(rate):
    """Independent Poisson spikes: the drift is `eta * rho_pre * 2 tau (rho - rho0)`."""
    size, steps, dt, rho_pre, rho0 = 200, 4000, 1.0, 0.02, 0.01
    connection, rule = ns.connect.OneToOne(size, 0.5), ns.InhibitorySTDP(1.0, eta=1e-4, rho0=rho0)
    keys = jax.random.split(jax.random.key(3))
    chances = (rho_pre * dt, rate * rho0 * dt)
    trains = [jax.random.bernoulli(key, p, (steps, size)) for key, p in zip(keys, chances)]
    change = np.asarray(jitted(rule, connection, full(connection), *trains, dt=dt)[1]) - 0.5
    expected = 1e-4 * rho_pre * 2 * 20.0 * (rate - 1) * rho0 * steps * dt
    error = change.std() / size**0.5
    assert abs(change.mean() - expected) < 4 * error and 4 * error < 0.4 * (1e-4 * rho_pre * 2 * 20.0 * rho0 * steps)


def poisson_neuron(rule, weight, rate, post_rate, steps, dt):
    """Runs Poisson neurons behind synapses whose rates depend on the weights; gives the weights and their rates."""
    size = weight.shape[0]
    connection = ns.connect.OneToOne(size, 0.5)

    def step(carry, key):
        state, weight = carry
        pre, post = jax.random.uniform(key, (2, size)) < dt * jnp.stack([jnp.full(size, rate), post_rate(weight)])
        carry = rule.step(state, weight, pre, post, connection, dt=dt)
        return carry, post.mean(dtype=float) / dt

    carry = rule.init_state(connection), weight
    keys = jax.random.split(jax.random.key(0), steps)
    (_, weight), rates = jax.jit(lambda *args: jax.lax.scan(step, *args))(carry, keys)
    return weight, np.asarray(rates)


@pytest.mark.parametrize("kind", ["inhibitory", "scaling"])
@pytest.mark.parametrize("start", [0.1, 0.9])
def test_the_rate_behind_goes_to_the_target(kind, start):
    if kind == "inhibitory":  # in front of it 20 Hz, and excitation that alone makes 50 Hz
        rule = ns.InhibitorySTDP(1.0, eta=5e-3, rho0=10 * u.Hz)
        post_rate = lambda w: 0.05 * (1 - w)  # noqa: E731
    else:
        rule = ns.HomeostaticScaling(10.0, rho0=10 * u.Hz, tau=2 * u.second, tau_rate=0.5 * u.second)
        post_rate = lambda w: 0.02 * w  # noqa: E731
    weight, rates = poisson_neuron(rule, jnp.full(100, start), 0.02, post_rate, 20000, 1.0)
    assert rates[-4000:].mean() == pytest.approx(0.01, rel=0.08)
    assert abs(rates[:300].mean() - 0.01) > 0.004
    np.testing.assert_allclose(float(weight.mean()), 0.8 if kind == "inhibitory" else 0.5, rtol=0.1)


def test_scaling_has_a_closed_form():
    """A neuron that is silent, one at the target and one at twice the target, in equal steps."""
    with x64():
        connection = ns.connect.Dense(3, 3, 0.5)
        rule = ns.HomeostaticScaling(100.0, rho0=10 * u.Hz, tau=100.0, tau_rate=20.0)
        post = jnp.broadcast_to(jnp.array([0.0, 0.01, 0.02]) * DT, (STEPS, 3))
        state, weight = jitted(rule, connection, full(connection), jnp.ones((STEPS, 3)), post)
        fade = np.exp(-np.arange(1, STEPS + 1) * DT / 20.0)
        rate = 0.01 * (1 + np.array([-1.0, 0.0, 1.0]) * (1 - fade[-1]))
        factor = np.exp(DT / 100.0 * np.array([1.0, 0.0, -1.0]) * (1 - fade).sum())
        np.testing.assert_allclose(state.rate, rate, rtol=1e-12)
        np.testing.assert_allclose(weight, np.broadcast_to(0.5 * factor, (3, 3)), rtol=1e-12)


@each_rule
@given(seed=st.integers(0, 2**31), chance=st.sampled_from([0.05, 0.5, 1.0]), sign=st.sampled_from([1.0, -1.0]))
def test_weights_stay_within_their_bounds(name, seed, chance, sign):
    connection = CONNECTIONS["sparse"]()
    rule, modulator = RULES[name](1.0)
    rule = eqx.tree_at(lambda r: (r.w_min, r.w_max), rule, (jnp.array(sign * 0.1), jnp.array(sign * 0.7)))
    weight = jitted(rule, connection, full(connection, sign * 0.4), *spikes(seed, chance=chance), modulator=modulator)[
        1
    ]
    size, slack = np.asarray(sign * weight), np.finfo(np.float32).eps
    assert (size >= 0.1 * (1 - slack)).all() and (size <= 0.7 * (1 + slack)).all()


@pytest.mark.parametrize(("name", "connection"), [("additive", "dense"), *((name, "sparse") for name in RULES)])
def test_gradients_are_those_of_finite_differences(name, connection):
    """For smooth numbers in place of spikes, in float64, far from the bounds."""
    with x64():
        connection = CONNECTIONS[connection]()
        rule, modulator = RULES[name](100.0)
        rng = np.random.default_rng(0)
        most = {"scaling": 0.3, "inhibitory": 0.2}.get(name, 0.05)
        pre, post = jnp.asarray(rng.random((2, STEPS, 3)) * most)
        weight = jnp.asarray(40 + 20 * rng.random(connection.synapse_shape))
        target = jnp.asarray(rng.random(connection.synapse_shape))

        def loss(args):
            last = run(args[0], connection, *args[1:], modulator=modulator)[1]
            return (target * last).sum(), last

        leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, (rule, weight, pre, post)))
        towards = [rng.standard_normal(leaf.shape) * np.maximum(np.abs(leaf), 1e-3) for leaf in leaves]
        points = [np.stack([leaf] * (1 + 2 * len(leaves))) for leaf in leaves]
        for k, toward in enumerate(towards):
            points[k][2 * k + 1] += 1e-5 * toward
            points[k][2 * k + 2] -= 1e-5 * toward
        points = jax.tree.unflatten(structure, points)
        found = jax.jit(lambda points: jax.lax.map(jax.value_and_grad(loss, has_aux=True), points))(points)
        (values, last), slopes = jax.tree.map(np.asarray, found)
        assert last[0].min() > 1 and last[0].max() < 99
        numerics = (values[1::2] - values[2::2]) / 2e-5
        for k, (toward, slope, numeric) in enumerate(zip(towards, jax.tree.leaves(slopes), numerics, strict=True)):
            exact = (slope[0] * toward).sum()
            assert np.isfinite(slope[0]).all() and abs(exact - numeric) <= 1e-5 * max(abs(numeric), 1e-3), (name, k)


def test_a_surrogate_gradient_passes():
    connection, rule = CONNECTIONS["sparse"](), ns.STDP(1.0, A_plus=0.002, A_minus=0.002)
    spk_fun, V = ns.surrogate.ReluGrad(), jax.random.normal(jax.random.key(0), (2, STEPS, 3))

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1, 2))
    def loss(rule, weight, V):
        return (run(rule, connection, weight, spk_fun(V[0]), spk_fun(V[1]))[1] ** 2).sum()

    value, slopes = loss(rule, full(connection), V)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
    assert float(slopes[0].A_plus) != 0 and float(slopes[0].tau_plus) != 0
    assert all(float(jnp.abs(x).max()) > 0 for x in slopes[1:])
    assert value == loss(rule, full(connection), jnp.where(V >= 0, 1.0, -1.0))[0]


@each_rule
def test_a_batch_is_a_vmap(name):
    connection = CONNECTIONS["sparse"]()
    rule, modulator = RULES[name]()
    trains = jnp.stack([spikes(seed) for seed in range(3)])
    one = lambda weight, trains: run(rule, connection, weight, *trains, modulator=modulator)  # noqa: E731
    weights = jnp.stack([full(connection, value) for value in (0.2, 0.5, 0.7)])
    batch = jax.jit(jax.vmap(one))(weights, trains)
    for k in range(3):
        single = jitted(rule, connection, weights[k], *trains[k], modulator=modulator)
        for got, needed in zip(jax.tree.leaves(batch), jax.tree.leaves(single), strict=True):
            np.testing.assert_allclose(got[k], needed, rtol=2e-6, atol=1e-6)


@each_rule
def test_dtypes_are_those_of_the_weights(name, strict_promotion):
    del strict_promotion
    results = []
    for dtype, wide in (("float32", False), ("float64", True), ("float32", True)):
        with x64(wide):
            connection = CONNECTIONS["sparse"](jnp.full(5, 0.5, dtype))
            rule, modulator = RULES[name]()
            pre, post = spikes(5) > 0
            args = rule, connection, full(connection), pre, post, jnp.asarray(DT)
            shapes = jax.eval_shape(functools.partial(run, modulator=modulator), *args)
            assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype(dtype)}
            if name in ("additive", "triplet", "reward"):
                results.append(np.asarray(run(*args, modulator=modulator)[1]))
    for result in results:
        np.testing.assert_allclose(result, results[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["additive", "reward", "scaling"])
def test_the_unit_of_the_weights_does_not_matter(name):
    """Bounds in another unit than the weights, or plain numbers in that of the weights."""
    (pre, post), nS, results = spikes(2), 1.0 * u.nS, []
    for unit, w_max, scale in ((u.nS, nS, 1.0), (u.nS, 1e-3 * u.uS, 1.0), (u.nS, 1.0, 1.0), (u.uS, nS, 1e3)):
        connection = CONNECTIONS["sparse"](0.5 / scale * unit)
        rule, modulator = RULES[name](w_max)
        weight = jitted(rule, connection, full(connection, 0.5 / scale), pre, post, modulator=modulator)[1]
        results.append(scale * np.asarray(weight))
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-5, atol=1e-7)
    rule = RULES[name](1.0 * u.nS)[0]
    np.testing.assert_allclose(u.get_magnitude(ns.quantity(rule.in_unit(u.uS), "w_max")), 1e-3)


def test_it_learns_in_a_network():
    """A spike that arrives before the one that it makes: the synapse gets stronger, by the window of pairs."""
    rule = ns.STDP(10 * u.mV, A_plus=0.01, A_minus=0.0, tau_plus=10 * u.ms)
    net = ns.Network(
        {
            "S": ns.SpikeTime(1, times=jnp.array([2.0]), indices=jnp.array([0])),
            "N": ns.LIF(1, tau=10 * u.ms, V_th=1 * u.mV),
        },
        {"P": ns.Projection("S", "N", ns.connect.OneToOne(1, 1.5 * u.mV), delay=1, plasticity=rule)},
    )
    sol = ns.simulate(net, 20, dt=DT, record="P.weight")
    n = int(np.flatnonzero(np.asarray(sol.outputs["N"])[:, 0])[0])
    arrived = int(np.flatnonzero(np.asarray(sol.outputs["S"])[:, 0])[0]) + 1
    assert n > arrived
    expected = 1.5 + 10 * 0.01 * math.exp(-(n - arrived) * DT / 10)
    weight = np.asarray(sol.records["P.weight"])[:, 0]
    assert (weight[:n] == 1.5).all() and weight[-1] == pytest.approx(expected, rel=1e-5)


ONE = ns.connect.OneToOne(2, 0.5 * u.nS)
RULE = ns.STDP(1.0 * u.nS)


def step_with(rule=RULE, weight=(0.5, 0.5), pre=(0.0, 0.0), post=(0.0, 0.0), dt=1.0, **options):
    weight, pre, post = (jnp.asarray(x, jnp.float32) for x in (weight, pre, post))
    return rule.step(rule.init_state(ONE), weight, pre, post, ONE, dt=dt, **options)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ns.STDP(1.0, tau_plus=20 * u.mV), ns.UnitError, "`tau_plus` of `STDP` must have a unit like ms"),
        (lambda: ns.STDP(1.0, A_plus=1 * u.nS), ns.UnitError, "`A_plus` of `STDP` must be dimensionless"),
        (lambda: ns.STDP(1 * u.nS, w_min=1 * u.mV), ns.UnitError, "`w_min` of `STDP` must have a unit like nS"),
        (lambda: ns.InhibitorySTDP(1.0, rho0=5 * u.ms), ns.UnitError, "`rho0` of `InhibitorySTDP` must have a unit"),
        (lambda: ns.RewardSTDP(1.0, tau_e=-1.0), ValueError, "`tau_e` of `RewardSTDP` must be positive"),
        (lambda: ns.TripletSTDP(1.0, tau_x=[1.0, 2.0]), ValueError, "`tau_x` of `TripletSTDP` has the shape"),
        (lambda: ns.HomeostaticScaling("1"), TypeError, "`w_max` of `HomeostaticScaling` must be a number"),
        (lambda: ns.STDP(-1.0, w_min=0.5), ValueError, "`w_max` of `STDP` must be farther from zero than `w_min`"),
        (lambda: ns.STDP(1.0, dependence="soft"), ValueError, "'multiplicative' or an exponent, got 'soft'"),
        (lambda: ns.STDP(1.0, pairing="first"), ValueError, "`pairing` of `STDP` must be 'all' or 'nearest'"),
        (lambda: step_with(ns.STDP(1.0 * u.mA)), ns.UnitError, "`w_max` of `STDP` must have a unit like nS"),
        (lambda: step_with(dt=1 * u.mV), ns.UnitError, "`dt` of `STDP.step` must have a unit like ms"),
        (lambda: step_with(weight=0.5), ValueError, r"`weight` of `STDP.step` must have the shape \(2,\), got \(\)"),
        (lambda: step_with(pre=np.zeros((4, 2))), ValueError, r"`pre` of `STDP.step` must .* a batch is a `jax.vmap`"),
        (lambda: step_with(post=np.zeros(3)), ValueError, r"`post` of `STDP.step` must have the shape \(2,\)"),
        (lambda: step_with(modulator=1.0), ValueError, "got a modulator, but `STDP` takes none"),
        (lambda: step_with(ns.RewardSTDP(1.0)), ValueError, "`RewardSTDP.step` needs a modulator"),
        (lambda: step_with(ns.RewardSTDP(1.0), modulator=1 * u.mV), ns.UnitError, "`modulator` of `RewardSTDP.step`"),
        (lambda: step_with(ns.RewardSTDP(1.0), modulator=np.ones(2)), ValueError, r"`modulator` .* the shape \(\)"),
    ],
)
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()

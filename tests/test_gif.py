"""Escape noise of `Gif`: the probability of a spike, and what may and may not draw random numbers."""

from __future__ import annotations

import math

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns

from .helpers import x64


# `V` and `V_th` stay where they start, 3 mV apart, as nothing leaks, follows, or is reset.
DISTANCE, WIDTH, RATE = -3.0, 2.0, 0.2
HAZARD = RATE * math.exp(DISTANCE / WIDTH)
CLAMPED = dict(V_rest=-53.0, V_initializer=-53.0, V_th_inf=-50.0, V_th_initializer=-50.0, a=0.0, b=0.0, spk_reset=None)
CLAMPED |= dict(escape_rate=RATE, escape_width=WIDTH, V_th_reset=-50.0)
KEY = jax.random.key(0)


@eqx.filter_jit
def simulated(dt, num_steps, options):
    gif = ns.Gif(10000, **(CLAMPED | options))
    return ns.simulate(gif, jnp.zeros((num_steps, 10000)), dt=dt, key=KEY).outputs


def spikes(dt, num_steps, **options):
    # The numbers are traced, so that one program serves them all.
    return np.asarray(simulated(jnp.asarray(dt), num_steps, {k: jnp.asarray(x) for k, x in options.items()}))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("dt", [0.1, 1.0, 10.0])
def test_the_probability_of_a_spike(dt, wide):
    with x64(wide):
        found, p = spikes(dt, 20), -math.expm1(-HAZARD * dt)
    assert set(np.unique(found)) == {0.0, 1.0}
    assert abs(found.mean() - p) < 3.5 * math.sqrt(p * (1 - p) / found.size)
    # So the chance of silence over 20 ms, and with it the rate, does not depend on `dt`.
    silent, chance = (found[: round(20 / dt)].sum(0) == 0).mean(), math.exp(-HAZARD * min(20 / dt, 20) * dt)
    assert abs(silent - chance) < 3.5 * math.sqrt(chance * (1 - chance) / 10000)


def test_a_small_probability_in_float32():
    """A hazard of 1e-6 per step, below what uniform numbers of 23 bits resolve well."""
    count = spikes(0.1, 500, escape_rate=1e-5 * math.exp(-DISTANCE / WIDTH)).sum()
    assert abs(count - 5.0) < 3.5 * math.sqrt(5.0)
    assert spikes(0.1, 20, escape_rate=1e-20).sum() == 0 and spikes(0.1, 20, V_rest=50.0, V_initializer=50.0).all()


def test_neurons_lanes_and_steps_are_independent():
    gif, p = ns.Gif(100, **CLAMPED), -math.expm1(-HAZARD * 10.0)
    found = np.asarray(ns.simulate(gif, jnp.zeros((100, 20, 100)), dt=10.0, key=KEY).outputs)
    z = (found - p) / math.sqrt(p * (1 - p))
    for axis in range(3):
        neighbours = (z * np.roll(z, 1, axis)).mean()
        assert abs(neighbours) < 3.5 / math.sqrt(z.size)
    other = ns.simulate(gif, jnp.zeros((100, 20, 100)), dt=10.0, key=jax.random.key(1)).outputs
    assert not np.array_equal(found, other)


def test_each_spike_resets_once():
    """Of a neuron that never leaks: `V` is that at the start less one reset per spike, and the currents jump."""
    with x64():
        gif = ns.Gif(50, tau=1e12, escape_rate=0.3, escape_width=1e3, b=0.0, A1=1.0, R1=1.0, k1=0.0)
        sol = ns.simulate(gif, jnp.zeros((40, 50)), dt=1.0, key=KEY, record=("V", "I1", "spike"))
    before = np.concatenate([np.zeros((1, 50)), np.cumsum(np.asarray(sol.outputs), 0)[:-1]])
    V, I1 = (np.asarray(sol.records[name]) for name in ("V", "I1"))
    np.testing.assert_allclose(V, -70.0 - 20.0 * before, atol=1e-6)
    np.testing.assert_allclose(I1, before, atol=1e-12)
    np.testing.assert_array_equal(sol.records["spike"], sol.outputs)
    assert 3 < before[-1].min() and before[-1].max() < 25


@pytest.mark.parametrize("reset", ["soft", "hard", None])
def test_the_refractory_period_holds(reset):
    gif = noisy(200, escape_rate=5.0, spk_reset=reset, tau_ref=2.0, V_reset=-53.0, V_th_reset=-51.0)
    found = np.asarray(ns.simulate(gif, jnp.zeros((400, 200)), dt=0.25, key=KEY).outputs)
    intervals = np.concatenate([np.diff(np.flatnonzero(lane)) for lane in found.T])
    assert intervals.min() == 8 and intervals.size > 1000


def test_without_noise_nothing_changes():
    gif, current = ns.Gif(3), jnp.full(3, 1.5)
    state = gif.init_state()
    assert not gif.stochastic and state.spike is None and len(jax.tree.leaves(state)) == 4

    def program(key):
        return str(jax.make_jaxpr(lambda s, c: gif.step(s, c, dt=0.1, key=key))(state, current))

    assert program(None) == program(KEY) and "random" not in program(KEY)
    assert "random" in str(
        jax.make_jaxpr(lambda s, c: noisy(3).step(s, c, dt=0.1, key=KEY))(noisy(3).init_state(), 1.0)
    )


def noisy(size, **options):
    return ns.Gif(size, **(dict(escape_rate=0.5, escape_width=3.0, tau_ref=1.0, V_rest=-52.0) | options))


def test_the_facade_gives_the_same():
    cell = noisy(20)
    neuron = ns.nn.init_all_states(ns.nn.Stateful(cell), 4)
    ns.random.seed(3)
    keys = jnp.stack([ns.random.split_key() for _ in range(30)])
    ns.random.seed(3)
    with ns.environ.context(dt=0.5 * u.ms):
        found = ns.transform.for_loop(neuron, jnp.full((30, 4, 20), 0.3))
    step = lambda state, key: cell.step(state, 0.3, dt=0.5, key=key)  # noqa: E731
    state, expected = jax.lax.scan(step, cell.init_state(4), keys)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < found.size and {"V", "spike", "refractory"} <= set(neuron.states(ns.HiddenState))
    np.testing.assert_array_equal(neuron.spike.value, state.spike)
    assert {"escape_rate", "escape_width"} <= set(neuron.states(ns.ParamState))


@pytest.mark.parametrize("detach_reset", [False, True])
def test_gradients(detach_reset):
    """Of one step they are those of the formula; over many steps they are there for both parameters and the start."""
    with x64():
        spk_fun = ns.surrogate.Sigmoid(alpha=2.0)
        cell = noisy(50, V_initializer=-51.0, tau_ref=None, spk_fun=spk_fun, detach_reset=detach_reset)

        @eqx.filter_jit
        @eqx.filter_grad
        def gradient(cell, counted):
            spikes = ns.simulate(cell, jnp.full((40, 50), 0.3), dt=0.5, key=KEY).outputs
            return (spikes * counted[:, None]).sum()

        one, many = (gradient(cell, jnp.asarray(np.arange(40) < num_steps, float)) for num_steps in (1, 40))
        state = cell.init_state()
        after = cell.step(state, 0.3, dt=0.5, key=KEY)[0]
        bits = jax.random.bits(jax.random.fold_in(KEY, 0), (50,), jnp.uint32)
        x = (after.V - after.V_th) / 3.0
        hazard = 0.5 * 0.5 * jnp.exp(x)
        slope = jax.vmap(jax.grad(spk_fun))(-jnp.expm1(-hazard) - (bits + 0.5) / 2.0**32) * jnp.exp(-hazard) * hazard
        np.testing.assert_allclose(one.escape_rate, (slope / 0.5).sum(), rtol=1e-12)
        np.testing.assert_allclose(one.escape_width, (-slope * x / 3.0).sum(), rtol=1e-12)
    for found in (many.escape_rate, many.escape_width, many.V_rest, many.V_initializer):
        assert np.isfinite(np.asarray(found)).all() and np.asarray(found).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"escape_width": None}, ValueError, "`Gif` needs both `escape_rate` and `escape_width`, or neither"),
        ({"escape_rate": None}, ValueError, "`Gif` needs both `escape_rate` and `escape_width`, or neither"),
        ({"spike_time": "interpolated"}, ValueError, "`spike_time` of `Gif` must be 'grid' if there is an `escape_r"),
        ({"escape_rate": 0.0}, ValueError, "`escape_rate` of `Gif` must be positive everywhere"),
        ({"escape_width": [1.0, -1.0]}, ValueError, "`escape_width` of `Gif` must be positive everywhere"),
        ({"escape_rate": 1.0 * u.mV}, ns.UnitError, "`escape_rate` of `Gif` must have a unit like"),
        ({"escape_width": 1.0 * u.ms}, ns.UnitError, "`escape_width` of `Gif` must have a unit like mV"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        noisy(2, **options)


def test_it_needs_a_key():
    cell = noisy(2, escape_rate=20 * u.Hz, escape_width=0.003 * u.volt)
    assert float(cell.escape_rate) == np.float32(0.02) and float(cell.escape_width) == 3.0
    for run in (
        lambda: cell.step(cell.init_state(), 0.0, dt=0.1),
        lambda: ns.simulate(cell, jnp.zeros((5, 2)), dt=0.1),
    ):
        with pytest.raises(ValueError, match="`Gif.step` draws random numbers, .* but it got no `key`"):
            run()


def test_what_cannot_have_noise_refuses_it():
    noisy = ns.Gif(2, escape_rate=1 * u.Hz, escape_width=1 * u.mV)
    with pytest.raises(ValueError, match="escape noise cannot be coupled"):
        ns.GapCoupled(noisy, g=1 * u.nS, C=1 * u.nF)
    with pytest.raises(ValueError, match="cannot run neurons with escape noise"):
        ns.solve_adaptive(noisy, 1.0, 10.0)

"""Exact spike times: closed forms, finite differences, the adjoint equations of EventProp, and the clock."""

import functools

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import lambertw

import neurostate as ns
from neurostate import exact
from neurostate.exact._membrane import Membrane

from .helpers import x64


@pytest.fixture(autouse=True)
def double_precision():
    with x64():
        yield


# Closed forms


def test_lif_with_a_constant_current():
    params = dict(tau=5.0, R=2.0, V_th=-50.0, V_reset=-66.0, V_rest=-65.0, tau_ref=1.5)
    params = {name: jnp.asarray(value) for name, value in params.items()} | {"current": jnp.array([7.6, 8.0, 20.0])}

    def found(p, spk_reset="soft"):
        values = {name: value for name, value in p.items() if name != "current"}
        cell = ns.LIF(3, **values, V_initializer=-65.0, spk_reset=spk_reset)
        return exact.spike_times_of_current(cell, p["current"][None], t_end=100.0, max_spikes=3)

    def expected(p):
        top = p["V_rest"] + p["R"] * p["current"]
        first = p["tau"] * jnp.log((top + 65.0) / (top - p["V_th"]))
        period = p["tau"] * jnp.log((top - p["V_reset"]) / (top - p["V_th"])) + p["tau_ref"]
        return first + period * jnp.arange(3)[:, None]

    @jax.jit
    def everything(p):
        times = lambda p: found(p).times  # noqa: E731
        return found(p), (jax.jacrev(times)(p), jax.jacfwd(times)(p)), expected(p), jax.jacrev(expected)(p)

    result, derivatives, times, right = everything(params)
    np.testing.assert_allclose(result.times, times, rtol=1e-13)
    np.testing.assert_allclose(result.slope, (-65 + 2 * params["current"] + 50) / 5, rtol=1e-12)
    assert result.count.tolist() == [3, 3, 3] and result.overflow.all() and result.times.dtype == jnp.float64
    for derivative in derivatives:
        for a, b in zip(*map(jax.tree.leaves, (derivative, right)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    single = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    with x64(False):
        times32 = found(single, "hard").times
    assert times32.dtype == jnp.float32
    np.testing.assert_allclose(times32, times, rtol=3e-5)  # V of -65 mV, resolved to 8e-6, and a slope of 0.04 mV/ms


RATIOS = np.array([1.0, 2.0, 0.5])  # tau / tau_syn


def first_spike(weight, tau):
    """The first spike after one input spike of that weight, for the three ratios, by Lambert's function and roots."""
    equal = -tau * np.real(lambertw(-1 / weight[0]))
    double = -tau * np.log((1 + np.sqrt(1 - 4 / weight[1])) / 2)
    half = -2 * tau * np.log((1 + np.sqrt(1 - 2 / weight[2])) / 2)
    return np.array([equal, double, half])


def times_after_one_input(weight, tau=6.0, dtype=None):
    cell = ns.CubaLIF(3, tau=tau, tau_syn=tau / RATIOS.astype(dtype))
    return exact.spike_times(cell, weight[None], jnp.zeros((1, 1), dtype), t_end=1000.0, max_spikes=1)


PEAKS = np.array([np.exp(-1), 0.25, 0.5])  # of V for a weight of 1


@jax.jit
def with_gradients(weight):
    def sums(weight):
        result = times_after_one_input(weight)
        return (result.times.sum(), result.margin.sum()), result

    _, pull, result = jax.vjp(sums, weight, has_aux=True)
    return result, pull((1.0, 0.0))[0], pull((0.0, 1.0))[0]


def test_first_spike_after_one_input():
    for factor in (1.0 + 1e-9, 1.001, 1.5, 20.0):
        weight = factor / PEAKS
        result, gradient, _ = with_gradients(weight)
        # A root next to a maximum is known to the square root of the precision.
        np.testing.assert_allclose(result.times[0], first_spike(weight, 6.0), rtol=4e-15 / np.sqrt(factor - 1) + 1e-14)
        if factor > 1.1:
            points = [first_spike(weight * (1 + 1e-4 * k), 6.0) for k in (-2, -1, 1, 2)]
            right = (points[0] - 8 * points[1] + 8 * points[2] - points[3]) / (12e-4 * weight)
            np.testing.assert_allclose(gradient, right, rtol=1e-9)
    result, gradient, of_margin = with_gradients(0.99 / PEAKS)
    assert result.count.tolist() == [0, 0, 0] and np.isinf(result.slope).all() and np.isinf(result.times).all()
    np.testing.assert_allclose(result.margin, 0.01, rtol=1e-12)
    np.testing.assert_allclose(of_margin, -PEAKS, rtol=1e-12)
    assert not np.any(gradient)
    with x64(False):
        times = times_after_one_input(jnp.array(1.5 / PEAKS, jnp.float32), dtype=np.float32).times[0]
    np.testing.assert_allclose(times, first_spike(1.5 / PEAKS, 6.0), rtol=2e-6)


def test_the_second_derivative():
    membrane = Membrane(ns.LIF(1, tau=5.0), jnp.float64)
    none, crossed = jnp.zeros(1), jnp.ones(1, bool)
    time = lambda top: membrane.crossing(none, none, top, jnp.full(1, 50.0), crossed).sum()  # noqa: E731
    second = jax.jit(jax.hessian(time))(jnp.array([2.0]))
    np.testing.assert_allclose(second, [[5 * (1 - 1 / 4)]], rtol=1e-12)


# Several spikes, after resets: finite differences

NUM_IN, SIZE = 3, 5
TAU_SYN = [8.0, 4.0, 16.0, 3.7, 8.0 * (1 + 1e-10)]
PARAMETERS = {"tau": [8.0] * SIZE, "tau_syn": TAU_SYN, "R": 1.2, "V_th": 1.0, "V_reset": -0.3, "V_rest": 0.2}
PARAMETERS |= {"tau_ref": 0.4}


def start():
    rng = np.random.default_rng(3)
    times = rng.uniform(0, 20, (4, 2, NUM_IN))
    times[3, :, 1], times[2, 0, 2] = np.inf, times[1, 0, 2]
    weight = rng.uniform(0.6, 1.5, (NUM_IN, SIZE)) * np.array([1.0, -0.7, 1.5])[:, None]
    shape = (2, SIZE)
    state = {"V": np.full(shape, 0.1), "g": np.full(shape, 0.5), "refractory": np.full(shape, 0.3)}
    return {
        name: jnp.array(np.asarray(x)) for name, x in (PARAMETERS | {"weight": weight, "times": times} | state).items()
    }


def finite(times):
    return jnp.where(jnp.isfinite(times), times, 0)


def loss(p, t_end=25.0):
    cell = ns.CubaLIF(SIZE, **{name: p[name] for name in PARAMETERS})
    state = ns.neuron.CubaLIFState(V=p["V"], g=p["g"], refractory=p["refractory"])
    result = exact.spike_times(cell, p["weight"], p["times"], t_end=t_end, max_spikes=8, state=state)
    weighted = jnp.sin(finite(result.times)) * jnp.arange(1, 9)[:, None, None]
    return weighted.sum() + result.state.V.sum(), result


value_and_gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))


def test_gradients_of_several_spikes_against_finite_differences():
    p = start()
    end = jnp.array(25.0)
    (_, result), gradient = value_and_gradient(p, end)
    assert result.count.min() >= 2 and not result.overflow.any() and result.times.shape == (8, 2, SIZE)
    assert result.margin.min() > 1e-3 and result.slope.min() > 1e-3
    assert (np.diff(finite(result.times), axis=0)[np.isfinite(result.times[1:])] >= 0.4).all()
    assert not np.any(np.where(np.isinf(p["times"]), gradient["times"], 0))
    rng, h = np.random.default_rng(0), 1e-4
    directions = {name: jnp.array(rng.normal(size=value.shape)) for name, value in p.items()}
    moved = [p | {name: p[name] + k * h * d} for name, d in directions.items() for k in (-2, -1, 1, 2)]
    values = np.array([value_and_gradient(at, end)[0][0] for at in moved])
    right = values.reshape(-1, 4) @ np.array([1.0, -8.0, 8.0, -1.0]) / (12 * h)
    found = [(gradient[name] * d).sum() for name, d in directions.items()]
    np.testing.assert_allclose(found, right, rtol=1e-8)


def test_a_run_in_two_parts_is_the_whole():
    p = start()
    (_, whole), _ = value_and_gradient(p, jnp.array(25.0))
    (_, half), _ = value_and_gradient(p, jnp.array(12.0))
    later = jnp.where(p["times"] >= 12, p["times"] - 12, jnp.inf)
    state = {name: getattr(half.state, name) for name in ("V", "g", "refractory")}
    (_, rest), _ = value_and_gradient(p | state | {"times": later}, jnp.array(13.0))
    both = jnp.sort(jnp.concatenate([half.times, rest.times + 12]), axis=0)[:8]
    np.testing.assert_allclose(both, whole.times, rtol=1e-12)
    for a, b in zip(jax.tree.leaves(rest.state), jax.tree.leaves(whole.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


# EventProp


def eventprop(weight, input_times, spikes, tau, tau_syn, dloss):
    """The gradient of a loss of one neuron's spikes by the weights: eqs. of table 1 of Wunderlich and Pehle (2021).

    Backwards from the last event: tau lambda_V' = lambda_V and tau_syn lambda_I' = lambda_I - lambda_V in forward
    time, with a jump of lambda_V at each spike. Threshold 1, reset to 0, `I` the synaptic current.
    """

    def current(t, before):
        arrived = [(w, s) for w, s in zip(weight, input_times, strict=True) if s < t or (s == t and not before)]
        return sum(w * np.exp(-(t - s) / tau_syn) for w, s in arrived)

    events = [(t, "spike", k) for k, t in enumerate(spikes)] + [(t, "input", i) for i, t in enumerate(input_times)]
    gradient, lambda_V, lambda_I, now = np.zeros(len(weight)), 0.0, 0.0, np.inf
    for t, kind, index in sorted(events, reverse=True):
        if np.isfinite(now):
            a, b = np.exp(-(now - t) / tau), np.exp(-(now - t) / tau_syn)
            lambda_I = lambda_I * b + lambda_V * tau / (tau - tau_syn) * (a - b)
            lambda_V, now = lambda_V * a, t
        now = t
        if kind == "spike":
            rate = (-1 + current(t, True)) / tau
            lambda_V = lambda_V + (lambda_V + dloss[index]) / (tau * rate)
        else:
            gradient[index] = -tau_syn * lambda_I
    return gradient


def test_the_gradient_is_that_of_eventprop():
    input_times, weight = np.array([0.0, 1.0, 2.5, 7.0, 7.5]), np.array([6.0, 5.5, -0.5, 4.0, 3.0])
    dloss = np.array([1.0, -2.0, 0.7, 0.3, 1.1])
    cell = ns.CubaLIF(1, tau=10.0, tau_syn=4.0)

    def value(weight):
        found = exact.spike_times(cell, weight[:, None], input_times[None], t_end=40.0, max_spikes=5)
        return (finite(found.times[:, 0]) * dloss).sum(), found

    gradient, found = jax.jit(jax.grad(value, has_aux=True))(jnp.array(weight))
    spikes = np.asarray(found.times[:, 0])[: int(found.count[0])]
    assert len(spikes) >= 3 and not found.overflow[0]
    right = eventprop(weight, input_times, spikes, 10.0, 4.0, dloss)
    np.testing.assert_allclose(gradient, right, rtol=1e-10)


# The clock


@eqx.filter_jit
def by_the_clock(cell, drive, dt):
    sol = ns.simulate(cell, drive, dt=dt, record=lambda state, spike: state.since_spike)
    times = jnp.where(sol.outputs > 0, sol.ts[:, None] - sol.records, jnp.inf)
    return jnp.sort(times, axis=0), sol.state


def test_agrees_with_interpolated_spikes_on_a_grid():
    rng, dt, num_steps = np.random.default_rng(5), 0.1, 300
    arrives = rng.random((num_steps, 4)) < 0.04
    weight = jnp.array(rng.uniform(0.0, 3.0, (4, 3)))
    cell = ns.CubaLIF(3, tau=7.0, tau_syn=3.0, tau_ref=0.75, spike_time="interpolated")
    index = jnp.argsort(~arrives, axis=0, stable=True)[: arrives.sum(0).max()]
    times = jnp.where(jnp.take_along_axis(jnp.array(arrives), index, axis=0), index * dt, jnp.inf)
    result = jax.jit(lambda w: exact.spike_times(cell, w, times, t_end=num_steps * dt, max_spikes=20))(weight)
    drive = ns.Drive(g_jump=jnp.array(arrives, float) @ weight)
    assert 3 <= result.count.min() and result.count.max() < 20
    times, final = by_the_clock(cell, drive, dt)
    np.testing.assert_allclose(times[:20], result.times, rtol=1e-9)
    for name in ("V", "g", "since_spike", "refractory"):
        np.testing.assert_allclose(getattr(result.state, name), getattr(final, name), rtol=1e-7, atol=1e-7)


def test_the_clock_converges_to_it_and_pieces_of_current():
    cell = ns.LIF(2, tau=5.0, spike_time="interpolated")
    changes, pieces = jnp.array([3.01, 8.53]), jnp.array([[1.5, 3.0], [0.5, -1.0], [2.0, 1.2]])
    result = exact.spike_times_of_current(cell, pieces, changes=changes, t_end=20.0, max_spikes=9)
    errors = []
    for dt in (0.1, 0.025):
        ends = np.arange(1, round(20 / dt) + 1) * dt
        which = np.searchsorted(changes, ends - dt / 2)
        found = by_the_clock(cell, pieces[which], dt)[0][:9]
        assert (np.isfinite(found) == np.isfinite(result.times)).all()
        errors.append(np.abs(finite(found) - finite(result.times)).max())
    assert errors[0] < 0.1 and errors[1] < errors[0] / 2


# Networks


def test_two_layers():
    rng = np.random.default_rng(1)
    hidden, out = ns.CubaLIF(6, tau=8.0, tau_syn=4.0), ns.CubaLIF(2, tau=8.0, tau_syn=4.0)
    inputs = jnp.array(rng.uniform(0, 10, (1, 3, 4)))
    weights = [jnp.array(rng.uniform(0.2, 2.5, shape)) for shape in ((4, 6), (6, 2))]
    weights[0] = weights[0].at[:, 0].set(0.1)  # a silent neuron

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def value_and_gradients(weights, inputs):
        first = exact.spike_times(hidden, weights[0], inputs, t_end=30.0, max_spikes=5)
        second = exact.spike_times(out, weights[1], first.times, t_end=30.0, max_spikes=1)
        # Time to first spike: a cross-entropy of the times.
        return -jax.nn.log_softmax(-second.times[0] / 3)[:, 0].sum(), (first, second)

    (_, (first, second)), gradients = value_and_gradients(weights, inputs)
    assert (first.count[:, 0] == 0).all() and np.isfinite(second.times).all() and (first.count[:, 1:] > 0).any()
    assert not np.any(gradients[0][0][:, 0]) and not np.any(gradients[0][1][0])
    given, found = jax.tree.leaves((weights, inputs)), jax.tree.leaves(gradients)
    for k, value in enumerate(given):
        direction = jnp.array(rng.normal(size=value.shape))
        moved = [[*given[:k], value + h * direction, *given[k + 1 :]] for h in (-1e-5, 1e-5)]
        below, above = (value_and_gradients(at[:2], at[2])[0][0] for at in moved)
        np.testing.assert_allclose((found[k] * direction).sum(), (above - below) / 2e-5, rtol=1e-7)


# Everything else


def test_units_overflow_and_a_start_above_threshold():
    cell = ns.LIF(2, tau=5 * u.ms, R=1 * u.Mohm, V_initializer=jnp.array([1.5, 0.0]) * u.mV)
    options = dict(t_end=0.02 * u.second, max_spikes=2)
    result = exact.spike_times_of_current(cell, jnp.full((1, 2), 2000.0) * u.pA, **options)
    start_after = 5 * np.log((2 - 0.5) / 1)  # soft, so from 0.5 mV
    np.testing.assert_allclose(result.times, [[0.0, 5 * np.log(2)], [start_after, 10 * np.log(2)]], rtol=1e-12)
    assert result.overflow.all() and ns.quantity(result, "times").unit == u.ms
    few = exact.spike_times_of_current(cell, jnp.full((1, 2), 0.5), **options)
    assert few.count.tolist() == [1, 0] and not few.overflow.any()
    np.testing.assert_allclose(few.margin, [0.5, 1 - 0.5 * (1 - np.exp(-4))], rtol=1e-12)


def test_what_is_not_a_number_shows():
    nan, cell = jnp.nan, ns.CubaLIF(2)

    @jax.jit
    def by_spikes(times, weight):
        return exact.spike_times(cell, weight, times, t_end=20.0, max_spikes=2)

    times = jnp.array([[1.0, 2.0], [1.0, nan], [1.0, -1.0], [1.0, 30.0], [nan, nan]])[None]  # (spike, batch, input)
    found = by_spikes(times, jnp.array([[9.0, nan], [0.1, 0.1]])).times
    assert np.isfinite(found[0, [0, 3], 0]).all() and np.isnan(found).all(0)[:, 1].all()
    assert np.isnan(found).all(0)[:, 0].tolist() == [False, True, True, False, True]

    @jax.jit
    @jax.vmap
    def by_current(current, changes):
        return exact.spike_times_of_current(cell, current, changes=changes, t_end=20.0, max_spikes=2).times

    current = jnp.full((5, 3, 2), 2.0).at[4, 1, 0].set(nan)
    found = by_current(current, jnp.array([[1.0, 2.0], [nan, 2.0], [-1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]))
    assert np.isnan(found).all(1).tolist() == [[False] * 2] + [[True] * 2] * 3 + [[True, False]]
    assert np.isfinite(found[4, :, 1]).all()


def test_no_inputs_and_no_spikes():
    cell = ns.CubaLIF(2, V_initializer=jnp.array([1.5, 0.0]))
    run = lambda times, num_in: exact.spike_times(cell, jnp.ones((num_in, 2)), times, t_end=10.0, max_spikes=1)  # noqa: E731
    found = run(jnp.zeros((0, 3, 1)), 1)
    assert found.times.tolist() == [[[0.0, np.inf]] * 3] and found.count.tolist() == [[1, 0]] * 3
    for shape in ((1, 3, 0), (1, 0, 3)):  # no inputs; no examples
        assert jax.eval_shape(lambda: run(jnp.zeros(shape), shape[-1])).times.shape == (1, shape[1], 2)


def spikes_with(cell=None, weight=jnp.ones((3, 2)), times=jnp.zeros((1, 3)), **changes):
    options = dict(t_end=10.0, max_spikes=2) | changes
    return exact.spike_times(ns.CubaLIF(2) if cell is None else cell, weight, times, **options)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: spikes_with(ns.LIF(2)), TypeError, "`cell` of `spike_times` must be a `CubaLIF`.*got a `LIF`"),
        (lambda: spikes_with(ns.CubaLIF(2, spk_reset=None)), ValueError, "must have a reset"),
        (lambda: spikes_with(weight=jnp.ones((3, 4))), ValueError, r"`weight`.*\(num_in, 2\), got \(3, 4\)"),
        (lambda: spikes_with(times=jnp.zeros(3)), ValueError, r"`input_times`.*\(3,\).*input_times\[None\]"),
        (lambda: spikes_with(times=-jnp.ones((1, 3))), ValueError, "`input_times`.*from 0 on"),
        (lambda: spikes_with(times=jnp.ones((1, 3)) * u.mV), ns.UnitError, "input_times"),
        (lambda: spikes_with(weight=jnp.ones((3, 2)) * u.mV), ns.UnitError, "weight"),
        (lambda: spikes_with(t_end=0.0), ValueError, "`t_end`.*positive"),
        (lambda: spikes_with(max_spikes=0), ValueError, "`max_spikes`.*positive int, got 0"),
        (lambda: spikes_with(times=jnp.zeros((1, 4, 3)), state=ns.CubaLIF(2).init_state(3)), ValueError, "batch axes"),
        (
            lambda: exact.spike_times_of_current(ns.LIF(2), jnp.ones((2, 2)), t_end=1.0, max_spikes=1),
            ValueError,
            r"`changes`.*one time less.*\(0,\)",
        ),
        (
            lambda: exact.spike_times_of_current(
                ns.LIF(2), jnp.ones((3, 2)), changes=[2.0, 1.0] * u.ms, t_end=1.0, max_spikes=1
            ),
            ValueError,
            "`changes`.*ascending",
        ),
        (
            lambda: exact.spike_times_of_current(ns.LIF(2), jnp.ones((1, 3)), t_end=1.0, max_spikes=1),
            ValueError,
            r"`current`.*\(2,\); got \(1, 3\)",
        ),
    ],
)
def test_wrong_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()

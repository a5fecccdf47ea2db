"""Noise, spike trains and waveforms against their closed forms, and as cells under every transformation."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns
from neurostate.source._base import happens

from .helpers import x64


T = ns.transform
N = 20_000


def last(cell, state, key, num_steps, dt):
    """The outputs of the last two of several steps."""
    return _last(cell, state, key, num_steps, jnp.asarray(dt))


@jax.jit
def _last(cell, state, key, num_steps, dt):
    step = lambda state, i: cell.step(state, dt=dt, key=jax.random.fold_in(key, i))  # noqa: E731
    state = jax.lax.fori_loop(0, num_steps - 2, lambda i, state: step(state, i)[0], state)
    state, x = step(state, num_steps - 2)
    return x, step(state, num_steps - 1)[1]


def assert_variance(x, expected, tolerance=0.0):
    """The variance of independent normal numbers is as expected, to three standard errors."""
    x = np.asarray(x, np.float64)
    assert abs(x.var(ddof=1) / expected - 1) < 3 * math.sqrt(2 / (x.size - 1)) + tolerance


# Ornstein-Uhlenbeck noise


@pytest.mark.parametrize("ratio", [0.01, 0.1, 1.0, 5.0])
def test_ou_has_its_variance_and_autocorrelation_at_any_dt(ratio):
    with x64():
        cell = ns.OUProcess(N, mean=2.0, sigma=0.4, tau=5.0, x_initializer=-1.0)
        x, y = last(cell, cell.init_state(), jax.random.key(1), round(12 / ratio) + 2, 5.0 * ratio)
    for value in map(np.asarray, (x, y)):
        assert abs(value.mean() - 2.0) < 3 * math.sqrt(0.4 / N) + 4 * math.exp(-12)
        assert_variance(value, 0.4**2 * 5.0 / 2)
    rho = math.exp(-ratio)
    assert abs(np.corrcoef(x, y)[0, 1] - rho) < 3 * (1 - rho**2) / math.sqrt(N)


@pytest.mark.parametrize("wide", [False, True])
def test_one_ou_step_is_the_exact_transition(wide):
    with x64(wide):
        cell = ns.OUProcess((2, 3), mean=jnp.arange(3.0), sigma=0.4, tau=jnp.array([[1.0], [5.0]]), x_initializer=3.0)
        state, key = cell.init_state((4,)), jax.random.key(5)
        assert state.x.shape == (4, 2, 3) and state.x.dtype == (jnp.float64 if wide else jnp.float32)
        for dt in (1e-4, 0.1, 30.0):
            new, x = cell.step(state, dt=dt, key=key)
            assert x.dtype == state.x.dtype and (new.x == x).all()
            mean, tau = np.arange(3.0), np.array([[1.0], [5.0]])
            spread = 0.4 * np.sqrt(tau / 2 * -np.expm1(-2 * dt / tau))
            xi = np.asarray(jax.random.normal(key, x.shape, x.dtype), np.float64)
            expected = mean + (3.0 - mean) * np.exp(-dt / tau) + spread * xi
            np.testing.assert_allclose(x, expected, rtol=1e-12 if wide else 2e-6, atol=1e-12 if wide else 1e-6)


@pytest.mark.parametrize("ratio", [0.1, 5.0])
@pytest.mark.parametrize("c", [0.0, 0.3, 1.0])
def test_correlated_noise_has_its_covariance_at_any_dt(c, ratio):
    with x64():
        std = np.array([1.0, 2.0, 0.5])
        cell = ns.OUProcess.from_std(3, 0.0, std, tau=5.0, correlation=c)
        start = cell.init_state((N,), key=jax.random.key(2))
        x, y = last(cell, start, jax.random.key(3), 8, 5.0 * ratio)
        white = ns.WhiteNoise(3, 0.0, sigma=std * math.sqrt(ratio), correlation=c)
        z = white.step(white.init_state((N,)), dt=ratio, key=jax.random.key(4))[1]
    expected = np.outer(std, std) * np.where(np.eye(3, dtype=bool), 1.0, c)
    error = 3 * np.sqrt((np.outer(std, std) ** 2 + expected**2) / N)
    for value in map(np.asarray, (start.x, x, y, z)):
        assert (np.abs(np.cov(value.T) - expected) <= error + 1e-12).all()
    if c == 1.0:
        np.testing.assert_allclose(y, np.asarray(y)[:, :1] * std, rtol=1e-12)


def test_noise_is_independent_between_lanes_and_cells():
    cell = ns.OUProcess(3, 0.0, 1.0, 5.0)
    x, _ = last(cell, cell.init_state((N // 3, 3), key=jax.random.key(6)), jax.random.key(7), 8, 1.0)
    correlation = np.corrcoef(np.asarray(x).reshape(-1, 9).T) - np.eye(9)
    assert np.abs(correlation).max() < 4 / math.sqrt(N // 3)


def test_ou_starts_from_the_stationary_distribution_or_a_value():
    cell = ns.OUProcess.from_std(N, 1.0, std=0.3, tau=2.0)
    assert_variance(cell.init_state(key=jax.random.key(8)).x, 0.09)
    assert (ns.OUProcess(3, 1.0, 1.0, 2.0, x_initializer=jnp.arange(3.0)).init_state((2,)).x[1] == jnp.arange(3)).all()
    drawn = ns.OUProcess(N, 1.0, 1.0, 2.0, x_initializer=ns.init.Normal(0.0, 2.0)).init_state(key=jax.random.key(9))
    assert_variance(drawn.x, 4.0)


def test_gradients_through_ou_noise():
    with x64():
        key = jax.random.key(10)

        def loss(values):
            cell = ns.OUProcess(4, values["mean"], values["sigma"], values["tau"], x_initializer=values["x"])
            sol = ns.simulate(cell, jnp.zeros(20), dt=0.3, key=key)
            return jnp.sum(jnp.sin(sol.outputs))

        at = {"mean": 0.5, "sigma": 0.7, "tau": 3.0, "x": 0.2}
        at = {name: jnp.array(value) for name, value in at.items()}
        gradient, loss = jax.jit(jax.grad(loss))(at), jax.jit(loss)
        for name, value in at.items():
            high, low = (loss({**at, name: value + h}) for h in (1e-6, -1e-6))
            assert float(gradient[name]) == pytest.approx(float((high - low) / 2e-6), rel=1e-5)


# White noise


@pytest.mark.parametrize("dt", [0.05, 0.5, 2.5])
def test_white_noise_gives_lif_the_same_variance_at_any_dt(dt):
    R, sigma, tau = 2.0, 0.6, 5.0
    with x64():
        noise, lif = ns.WhiteNoise(N, 0.1, sigma), ns.LIF(N, R=R, tau=tau, V_th=1e6)

        @eqx.filter_jit
        def run(noise, lif):
            def body(carry, i):
                source, neuron = carry
                source, x = noise.step(source, dt=dt, key=jax.random.fold_in(jax.random.key(11), i))
                return (source, lif.step(neuron, x, dt=dt)[0]), None

            return jax.lax.scan(body, (noise.init_state(), lif.init_state()), jnp.arange(round(50 / dt)))[0]

        source, neuron = run(noise, lif)
    assert_variance(source.x, sigma**2 / dt)
    assert_variance(neuron.V, (R * sigma) ** 2 / dt * math.tanh(dt / (2 * tau)))
    assert_variance(neuron.V, (R * sigma) ** 2 / (2 * tau), tolerance=(dt / tau) ** 2 / 12)


# Poisson processes


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("mean", [0.002, 0.3, 4.0])
def test_poisson_spikes_have_their_probability(mean, wide):
    with x64(wide):
        cell = ns.PoissonSpike(50_000, freqs=mean / 0.5)
        x = np.stack(last(cell, cell.init_state(), jax.random.key(12), 2, 0.5))
        assert set(np.unique(x)) == {0.0, 1.0} and x.dtype == jnp.result_type(float)
    p = -math.expm1(-mean)
    assert abs(x.mean(dtype=np.float64) - p) < 3 * math.sqrt(p * (1 - p) / 1e5)


def test_a_chance_is_compared_with_all_32_bits():
    key = jax.random.key(13)
    bits = np.asarray(jax.random.bits(key, (1000, 6), jnp.uint32), np.float64) / 2**32
    p = jnp.array([0.0, 1e-3, 0.2, 0.7, 1.0, 1.0])
    np.testing.assert_array_equal(happens(key, p, (1000, 6)), bits < np.asarray(p, np.float64))
    tiny = bits.min()
    assert happens(key, jnp.full((1000, 6), tiny * 1.01, jnp.float32), (1000, 6)).sum() == 1
    assert happens(key, jnp.full((1000, 6), tiny * 0.99, jnp.float32), (1000, 6)).sum() == 0


@pytest.mark.parametrize("dt", [0.01, 1.0])
def test_poisson_input_has_its_mean_and_variance(dt):
    cell = ns.PoissonInput(N, num_input=200, freq=20 * u.Hz, weight=0.5 * u.mV)
    lam, x = 200 * 0.02 * dt, np.stack(last(cell, cell.init_state(), jax.random.key(14), 2, dt)).astype(float) / 0.5
    assert cell.I_unit == u.mV and (x == np.round(x)).all()
    assert abs(x.mean() - lam) < 3 * math.sqrt(lam / x.size)
    assert abs(x.var() - lam) < 3 * math.sqrt((lam + 2 * lam**2) / x.size)
    assert abs((x == 0).mean() - math.exp(-lam)) < 3 * math.sqrt(math.exp(-lam) / x.size)


def test_the_gradient_of_poisson_input_is_the_count():
    def total(weight):
        cell = ns.PoissonInput(3, 100, 0.05, weight)
        return cell.step(cell.init_state(), dt=1.0, key=jax.random.key(15))[1].sum()

    assert float(jax.grad(total)(2.0)) == float(total(2.0)) / 2 > 0


# Spikes at given times


@pytest.mark.parametrize("dt", ["0.1", "0.3", "0.07", "1"])
def test_spike_times_are_in_the_exact_steps(dt):
    rng = np.random.default_rng(0)
    times = [f"{k}e-2" for k in rng.integers(0, 1200, 300)]
    indices, weights = rng.integers(0, 6, 300), rng.normal(size=300)
    num_steps = int(Fraction("12") / Fraction(dt)) + 1
    expected = np.zeros((num_steps, 6))
    for index, time, weight in zip(indices, times, weights, strict=True):
        expected[int(Fraction(time) / Fraction(dt)), index] += weight  # the floor
    with x64():
        cell = ns.SpikeTime((2, 3), indices, [float(time) for time in times] * u.ms, weights * u.nA)
        sol = ns.simulate(cell, jnp.zeros((num_steps, 2)), dt=float(dt) * u.ms)
    assert sol.outputs.shape == (num_steps, 2, 2, 3) and cell.I_unit == u.nA
    for lane in (0, 1):
        np.testing.assert_allclose(np.asarray(sol.outputs)[:, lane].reshape(-1, 6), expected, atol=1e-13)
    assert (ns.quantity(cell, "times") == np.sort([float(t) for t in times]) * u.ms).all()


def test_late_spike_times_are_exact_in_single_precision():
    cell = ns.SpikeTime(1, [0] * 4, [99_999.9, 123_456.7, 1_000_000.3, 1_000_000.3])
    for step, count in ((999_999, 1), (1_234_567, 1), (10_000_003, 2), (1_234_566, 0), (1_234_568, 0)):
        state = ns.SpikeTimeState(jnp.int32(step))
        assert cell.step(state, dt=0.1)[1].tolist() == [count]


def test_weights_of_spikes_are_trained_and_no_spikes_are_silence():
    cell = ns.SpikeTime(2, [1, 0, 1], [0.3, 0.0, 0.3], [1.0, 2.0, 3.0])
    loss = lambda cell: (ns.simulate(cell, jnp.zeros(5), dt=0.1).outputs ** 2).sum()  # noqa: E731
    assert eqx.filter_grad(loss)(cell).weights.tolist() == [4.0, 8.0, 8.0]  # in the order of their times
    assert ns.simulate(ns.SpikeTime(2, [], []), jnp.zeros(5), dt=0.1).outputs.tolist() == [[0, 0]] * 5


# Every source as a cell


CELLS = {
    "ou": ns.OUProcess(3, 0.5 * u.nA, 0.2 * u.nA / u.ms**0.5, 5 * u.ms),
    "shared": ns.OUProcess(3, 0.5, 0.2, 5.0, correlation=0.5),
    "white": ns.WhiteNoise(3, 0.0 * u.mV, 0.2 * u.mV * u.ms**0.5),
    "poisson": ns.PoissonSpike(3, 500 * u.Hz),
    "input": ns.PoissonInput(3, 100, 20 * u.Hz, 0.5 * u.uS),
    "times": ns.SpikeTime(3, [0, 1], [0.1, 0.2] * u.ms, 2.0 * u.nA),
}


@pytest.mark.parametrize("name", CELLS)
def test_simulate_scan_and_vmap_agree(name):
    cell, key, dt = CELLS[name], jax.random.key(16), 0.1
    sol = ns.simulate(cell, jnp.zeros((6, 2)), dt=dt, key=key)
    assert sol.outputs.shape == (6, 2, 3)
    assert name == "times" or len(np.unique(sol.outputs.reshape(6, -1), axis=0)) > 1
    start = cell.init_state((2,), key=jax.random.fold_in(key, np.uint32(2**32 - 1)))

    def run(cell, start):
        body = lambda state, i: cell.step(state, dt=dt, key=jax.random.fold_in(key, i))  # noqa: E731
        return jax.lax.scan(body, start, jnp.arange(6))

    _, outputs = jax.jit(run)(cell, start)
    np.testing.assert_array_equal(sol.outputs, outputs)
    if name in ("ou", "times"):
        mapped = jax.jit(jax.vmap(run, in_axes=(None, 0)))(cell, start)[1]  # every lane with the same keys
        single = jax.jit(run)(cell, jax.tree.map(lambda x: x[0], start))[1]
        np.testing.assert_allclose(mapped[0], single, rtol=1e-5, atol=1e-6)
    assert not any(isinstance(leaf, u.Quantity) for leaf in jax.tree.leaves(cell, is_leaf=u.math.is_quantity))


@pytest.mark.parametrize("name", ["ou", "input"])
def test_the_facade_draws_a_key_for_each_step(name):
    cell = ns.nn.init_all_states(ns.nn.Stateful(CELLS[name]))
    run = T.jit(lambda: T.for_loop(lambda i: cell(), jnp.arange(30)))

    def seeded(seed, run):
        ns.random.seed(seed)
        ns.nn.reset_all_states(cell)
        return run()

    with ns.environ.context(dt=1.0 * u.ms):
        first = seeded(3, run)
        assert first.unit == {"ou": u.nA, "input": u.uS}[name] and (first == seeded(3, run)).all()
        assert (cell.x.value == first[-1]).all() and not (first == seeded(4, run)).all()
        assert u.math.allclose(seeded(3, cell), first[0])
        rows = np.asarray(first.mantissa)
        assert len(np.unique(rows, axis=0)) > 20 and len(np.unique(rows, axis=1)[0]) == 3
        ns.nn.vmap_init_all_states(cell, axis_size=4)
        lanes = T.vmap(run, in_states=cell.x, axis_size=4)()
        assert lanes.shape == (4, 30, 3) and len(np.unique(np.asarray(lanes.mantissa), axis=0)) == 4


def test_the_facade_runs_sources_without_randomness_and_drives_cells_with_units():
    times, lif = ns.nn.Stateful(CELLS["times"]), ns.nn.Stateful(ns.LIF(3, R=1.0 * u.Mohm))
    for cell in (times, lif):
        ns.nn.init_all_states(cell, batch_size=2)
    before = ns.random.get_key()
    with ns.environ.context(dt=0.1 * u.ms):
        V = T.for_loop(lambda i: (lif(times()), lif.V.value)[1], jnp.arange(3))
    assert times.i.value.tolist() == [3, 3] and ns.random.get_key() == before
    e = math.exp(-0.1 / 5)
    np.testing.assert_allclose(V[:, 0, 0] / u.mV, [0.0, 2 * (1 - e), 2 * (1 - e) * e], rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ns.OUProcess(2, 1 * u.nA, 1 * u.nA, 5), ns.UnitError, "`sigma` of `OUProcess`.*nA / ms"),
        (lambda: ns.OUProcess(2, 1 * u.nA, 1, 5 * u.mV), ns.UnitError, "`tau` of `OUProcess`"),
        (lambda: ns.OUProcess(2, 1, 1, 0), ValueError, "`tau` of `OUProcess` must be positive"),
        (lambda: ns.OUProcess(2, 1, 1, 5, correlation=1.5), ValueError, "`correlation`.*between 0 and 1"),
        (lambda: ns.OUProcess(2, 1, 1, [5, 6], correlation=0.5), ValueError, "`tau`.*one value if there is a"),
        (lambda: ns.OUProcess.from_std(2, 1 * u.nA, 1 * u.mV, 5), ns.UnitError, "`std`"),
        (lambda: ns.WhiteNoise(2, 1 * u.nA, 1 * u.nA), ns.UnitError, "`sigma` of `WhiteNoise`"),
        (lambda: ns.WhiteNoise(2, [1, 2, 3], 1), ValueError, "`mean` of `WhiteNoise`.*broadcast"),
        (lambda: ns.PoissonSpike(2, 5 * u.ms), ns.UnitError, "`freqs` of `PoissonSpike`"),
        (lambda: ns.PoissonSpike(2, -5), ValueError, "`freqs` must be not negative"),
        (lambda: ns.PoissonInput(2, 1.5, 1, 1), TypeError, "`num_input` of `PoissonInput` must be an int"),
        (lambda: ns.PoissonInput(2, -1, 1, 1), ValueError, "`num_input` must be not negative"),
        (lambda: ns.SpikeTime(2, [0], [1, 2]), ValueError, r"one index for each time.*\(1,\).*\(2,\)"),
        (lambda: ns.SpikeTime(2, [2], [1]), ValueError, "`indices` of `SpikeTime` must be from 0 to 1, got 2"),
        (lambda: ns.SpikeTime(2, [0.5], [1]), TypeError, "`indices` of `SpikeTime` must be integers"),
        (lambda: ns.SpikeTime(2, [0], [-1]), ValueError, "`times` of `SpikeTime` must not be negative, got -1"),
        (lambda: ns.SpikeTime(2, [0], [1] * u.mV), ns.UnitError, "`times` of `SpikeTime`"),
        (lambda: jax.jit(lambda t: ns.SpikeTime(2, [0], t))(jnp.ones(1)), TypeError, "known when JAX traces"),
        (lambda: jax.jit(lambda dt: _step("times", dt=dt))(0.1), TypeError, "`dt` that is known"),
        (lambda: _step("ou", dt=0.1), ValueError, r"`OUProcess.step` draws .* no `key`.*\n.*fold_in.*\n?.*simulate"),
        (lambda: _step("poisson", dt=0.1), ValueError, "`PoissonSpike.step` draws .* no `key`"),
        (lambda: _step("ou", dt=0.1 * u.mV, key=jax.random.key(0)), ns.UnitError, "`dt` of `OUProcess.step`"),
        (lambda: ns.simulate(CELLS["white"], jnp.zeros(3), dt=0.1), ValueError, "`WhiteNoise.step` draws"),
    ],
)
def test_errors_name_the_argument(make, error, message):
    with pytest.raises(error, match=message):
        make()


def _step(name, **options):
    return CELLS[name].step(CELLS[name].init_state(key=jax.random.key(0)), **options)


# Waveforms


def steps_of(time, dt):
    return round(Fraction(time) / Fraction(dt))


@pytest.mark.parametrize("dt", ["0.1", "0.025", "0.3"])
def test_sections_and_steps_switch_at_the_nearest_points_of_the_grid(dt):
    durations, values = ["0.3", "0.7", "10.1", "0.1", "5.33"], [0.0, 2.0, -1.0, 4.0, 0.5]
    ends = list(itertools.accumulate(map(Fraction, durations)))
    number = [steps_of(end, dt) for end in ends]
    expected = sum(([value] * (end - start) for value, start, end in zip(values, [0, *number], number)), [])
    sections = ns.source.section_input(values * u.nA, [float(t) for t in durations] * u.ms, dt=float(dt) * u.ms)
    np.testing.assert_array_equal(sections / u.nA, np.float32(expected))
    arrays = [jnp.full((2,), value) for value in values]
    assert ns.source.section_input(arrays, [float(t) for t in durations], dt=float(dt)).shape == (len(expected), 2)
    starts = [float(end) for end in ends[:-1]]
    steps = ns.source.step_input(values[1:], starts, float(ends[-1]), dt=float(dt))
    np.testing.assert_array_equal(steps, np.float32(expected))


@pytest.mark.parametrize("wide", [False, True])
def test_ramps_and_sines_are_their_closed_forms(wide):
    with x64(wide):
        dt, t = 0.1, 0.1 * np.arange(20_000)
        options = {"t_start": 100.0 * u.ms, "t_end": 1900.0 * u.ms, "dt": dt}
        on = (np.arange(20_000) >= 1000) & (np.arange(20_000) < 19_000)
        ramp = ns.source.ramp_input(1.0 * u.uA, 4000.0 * u.nA, 2 * u.second, **options)
        sine = ns.source.sinusoidal_input([2.0, 3.0] * u.nA, 40 * u.Hz, 2 * u.second, **options)
        constant = ns.source.constant_input(2.5, 2000.0, dt=dt)
        assert ramp.dtype == sine.dtype == constant.dtype == jnp.result_type(float)
        tolerance = 1e-12 if wide else 3e-6
        np.testing.assert_allclose(ramp / u.uA, on * (1 + 3 * (t - 100) / 1800), atol=tolerance)
        expected = on * np.sin(2 * np.pi * ((0.04 * (t - 100)) % 1))
        np.testing.assert_allclose(sine / u.nA, expected[:, None] * [2.0, 3.0], atol=tolerance)
        np.testing.assert_array_equal(constant, np.full(20_000, 2.5))


def test_values_of_waveforms_can_be_differentiated_and_have_units():
    total = lambda a: ns.source.ramp_input(a, 0.0, 1.0, dt=0.1).sum()  # noqa: E731
    assert float(jax.jit(jax.grad(total))(2.0)) == pytest.approx(5.5)
    current = ns.source.section_input([0 * u.nA, 1000 * u.pA], [1.0, 2.0], dt=0.5)
    assert current.unit == u.nA and current.mantissa.tolist() == [0, 0, 1, 1, 1, 1]
    assert ns.simulate(ns.LIF(1), current[:, None], dt=0.5).outputs.shape == (6, 1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ns.source.section_input([1, 2], [1.0], dt=0.1), ValueError, r"one duration for each.*\(2,\).*\(1,\)"),
        (lambda: ns.source.section_input([1 * u.mV, 1 * u.nA], [1, 1], dt=0.1), ns.UnitError, "`values"),
        (lambda: ns.source.section_input([1, 2], [1, -1], dt=0.1), ValueError, "`durations`.*must not be negative"),
        (lambda: ns.source.section_input([1, 2], [1, 1] * u.mV, dt=0.1), ns.UnitError, "`durations`"),
        (lambda: ns.source.constant_input(1, 1.0, dt=0.0), ValueError, "`dt` of `constant_input` must be positive"),
        (lambda: ns.source.constant_input(1, "x", dt=0.1), TypeError, "`duration` of `constant_input`"),
        (lambda: ns.source.step_input([1, 2], [2, 1], 3, dt=0.1), ValueError, "in rising order"),
        (lambda: ns.source.ramp_input(0, 1, 1, 0.5, 0.5, dt=0.1), ValueError, "`t_end` after `t_start`"),
        (lambda: ns.source.ramp_input(0 * u.mV, 1 * u.nA, 1, dt=0.1), ns.UnitError, "`c_end`"),
        (lambda: ns.source.sinusoidal_input(1, 5 * u.ms, 1, dt=0.1), ns.UnitError, "`frequency`"),
        (lambda: jax.jit(lambda t: ns.source.constant_input(1, t, dt=0.1))(1.0), TypeError, "known when JAX traces"),
    ],
)
def test_errors_of_waveforms(make, error, message):
    with pytest.raises(error, match=message):
        make()

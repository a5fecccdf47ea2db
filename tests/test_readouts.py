"""Readouts against plain loops and closed forms, and their gradients against finite differences."""

from __future__ import annotations

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns

from .helpers import x64


T = ns.transform
RNG = np.random.default_rng(0)
SPIKES = (RNG.random((30, 2, 4)) < 0.4).astype(float)  # (time, batch, input)
WEIGHT = RNG.normal(size=(4, 3))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("dt", [0.1, 3.0])
def test_the_rate_readout_is_a_sum_of_decaying_spikes(dt, wide):
    with x64(wide):
        tau = np.array([2.0, 5.0, 11.0])
        cell = ns.LeakyRateReadout(4, 3, tau * u.ms, WEIGHT, r_initializer=0.3)
        sol = ns.simulate(cell, jnp.asarray(SPIKES), dt=dt * u.ms)
        assert sol.outputs.dtype == jnp.result_type(float) and cell.in_size == (4,) and cell.out_size == (3,)
    time = dt * np.arange(31)
    kernel = np.exp(-time[:, None] / tau)
    for step in range(30):
        past = [kernel[step - k] * (SPIKES[k] @ WEIGHT) for k in range(step + 1)]
        expected = 0.3 * kernel[step + 1] + np.sum(past, axis=0)
        np.testing.assert_allclose(
            sol.outputs[step], expected, rtol=1e-12 if wide else 1e-5, atol=1e-12 if wide else 1e-5
        )


def test_the_spike_readout_is_lif_with_weights():
    with x64():
        options = {"R": 2.0 * u.Mohm, "tau": 4.0 * u.ms, "V_th": 0.8 * u.mV, "spk_reset": "hard", "tau_ref": 0.3 * u.ms}
        cell = ns.LeakySpikeReadout(4, 3, w_init=8e3 * np.abs(WEIGHT) * u.pA, **options)
        lif = ns.LIF(3, **options)
        assert cell.I_unit == u.nA and ns.quantity(cell, "weight").unit == u.nA
        ns.check_units(cell)
        sol = ns.simulate(cell, jnp.asarray(SPIKES), dt=0.1, record="V")
        expected = ns.simulate(lif, jnp.asarray(SPIKES @ (8 * np.abs(WEIGHT))), dt=0.1, record="V")
        np.testing.assert_allclose(sol.records["V"], expected.records["V"], rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(sol.outputs, expected.outputs)
        assert sol.outputs.sum() > 5


def test_gradients_of_the_rate_readout_are_finite_differences():
    with x64():
        spikes = jnp.asarray(SPIKES)

        @jax.jit
        def loss(values):
            cell = ns.LeakyRateReadout(4, 3, values["tau"], values["weight"], values["r"])
            return jnp.sum(jnp.sin(ns.simulate(cell, spikes, dt=0.5).outputs))

        at = {"tau": jnp.array([2.0, 5.0, 11.0]), "weight": jnp.asarray(WEIGHT), "r": jnp.array(0.2)}
        gradient = jax.jit(jax.grad(loss))(at)
        for name, value in at.items():
            for index in np.ndindex(value.shape):
                high, low = (loss({**at, name: value.at[index].add(h)}) for h in (1e-6, -1e-6))
                assert float(gradient[name][index]) == pytest.approx(float((high - low) / 2e-6), rel=1e-5, abs=1e-7)


def test_gradients_of_the_spike_readout_are_those_of_its_potential():
    with x64():
        spikes = jnp.asarray(SPIKES[:5])

        @jax.jit
        def loss(weight):  # without a reset all is smooth
            cell = ns.LeakySpikeReadout(4, 3, spk_reset=None, w_init=weight)
            return jnp.sum(jnp.sin(ns.simulate(cell, spikes, dt=0.5, record="V").records["V"]))

        weight = jnp.asarray(WEIGHT)
        gradient = jax.jit(jax.grad(loss))(weight)
        for index in np.ndindex(weight.shape):
            difference = (loss(weight.at[index].add(1e-6)) - loss(weight.at[index].add(-1e-6))) / 2e-6
            assert float(gradient[index]) == pytest.approx(float(difference), rel=1e-5)
        cell = ns.LeakySpikeReadout(4, 3, w_init=weight)
        surrogate = jax.grad(lambda w: ns.readout.count(ns.simulate(_with(cell, w), spikes, dt=0.5).outputs).sum())
        assert float(jnp.abs(surrogate(weight)).sum()) > 0


def _with(cell, weight):
    return ns.LeakySpikeReadout(4, 3, w_init=weight, tau=cell.tau)


@pytest.mark.parametrize("make", [ns.LeakyRateReadout, ns.LeakySpikeReadout])
def test_initialisers_draw_from_the_key(make):
    a, b = (make(4, 3, w_init=ns.init.KaimingNormal(), key=jax.random.key(k)) for k in (0, 1))
    assert a.weight.shape == (4, 3) and not (a.weight == b.weight).any()
    np.testing.assert_array_equal(a.weight, ns.init.KaimingNormal()((4, 3), key=jax.random.key(0)))


@pytest.mark.parametrize("make", [ns.LeakyRateReadout, ns.LeakySpikeReadout])
def test_the_facade_runs_the_same_step_and_trains_the_weights(make):
    core = make(4, 3, w_init=WEIGHT * u.mA)
    cell = ns.nn.init_all_states(ns.nn.Stateful(core), batch_size=2)
    with ns.environ.context(dt=0.5 * u.ms):
        outputs = T.jit(lambda xs: T.for_loop(cell, xs))(jnp.asarray(SPIKES))
        weight = cell.states(ns.ParamState)["weight"]
        assert weight.value.unit == u.mA

        def loss(xs):
            ns.nn.reset_all_states(cell, batch_size=2)
            return u.get_mantissa(T.for_loop(cell, xs)).sum()

        gradient = T.grad(loss, weight)(jnp.asarray(SPIKES))
    assert u.get_unit(outputs) == (u.mA if make is ns.LeakyRateReadout else u.UNITLESS)
    expected = ns.simulate(core, jnp.asarray(SPIKES), dt=0.5 * u.ms).outputs
    np.testing.assert_allclose(u.get_mantissa(outputs), expected, rtol=1e-6)
    assert float(jnp.abs(u.get_mantissa(gradient)).max()) > 0


def test_the_unit_of_the_weights_is_that_of_the_rate():
    cell = ns.LeakyRateReadout(4, 3, w_init=ns.init.Constant(2.0 * u.mV))
    state, r = cell.step(cell.init_state(), jnp.ones(4), dt=1.0)
    assert cell.I_unit == u.mV and r.tolist() == [8.0] * 3 and not isinstance(r, u.Quantity)
    assert (ns.quantity(state, "r", owner=cell) == 8.0 * u.mV).all()
    assert ns.LeakyRateReadout(4, 3, w_init=WEIGHT * 1e-3 * u.volt, I_unit=u.mV).weight == pytest.approx(
        np.float32(WEIGHT)
    )


def test_readouts_over_time():
    V = RNG.normal(size=(5, 2, 3))
    np.testing.assert_allclose(ns.readout.count(SPIKES), SPIKES.sum(axis=0))
    np.testing.assert_allclose(ns.readout.count(SPIKES.swapaxes(0, 1), time_axis=1), SPIKES.sum(axis=0))
    made = ns.readout.max_membrane(V * u.mV, time_axis=-3)
    assert made.unit == u.mV
    np.testing.assert_allclose(made.mantissa, V.max(axis=0), rtol=1e-6)
    gradient = jax.grad(lambda V: ns.readout.max_membrane(V).sum())(jnp.asarray(V))
    np.testing.assert_array_equal(gradient, V == V.max(axis=0))
    shared = jax.grad(lambda V: ns.readout.max_membrane(V))(jnp.array([1.0, 2.0, 2.0]))
    assert shared.tolist() == [0.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ns.LeakyRateReadout((2, 2), 3), ValueError, "`in_size` of `LeakyRateReadout` must be one number"),
        (lambda: ns.LeakyRateReadout(4, 3, w_init=np.ones((3, 4))), ValueError, r"\(3, 4\).*broadcast"),
        (lambda: ns.LeakyRateReadout(4, 3, w_init=1.0), ValueError, r"`w_init` .* shape \(4, 3\), got \(\)"),
        (lambda: ns.LeakyRateReadout(4, 3, tau=1 * u.mV), ns.UnitError, "`tau` of `LeakyRateReadout`"),
        (lambda: ns.LeakyRateReadout(4, 3, tau=0.0), ValueError, "`tau` of `LeakyRateReadout` must be positive"),
        (lambda: ns.LeakyRateReadout(4, 3, w_init=WEIGHT * u.nA, I_unit=u.mV), ns.UnitError, "`w_init`"),
        (lambda: ns.LeakySpikeReadout(4, 3, w_init=WEIGHT * u.mV), ns.UnitError, "`w_init` of `LeakySpikeReadout`"),
        (lambda: _step(jnp.ones(3)), ValueError, r"input of shape \(3,\).*needs \(4,\).*\n?.*batch_shape"),
        (lambda: _step(jnp.ones((2, 4))), ValueError, r"input of shape \(2, 4\)"),
        (lambda: _step(jnp.ones(4) * u.mA), ns.UnitError, "`input` of `LeakyRateReadout.step`"),
        (lambda: ns.readout.count(jnp.ones(3), time_axis=1), ValueError, r"\(3,\), which has no `time_axis` 1"),
    ],
)
def test_errors_name_the_argument(make, error, message):
    with pytest.raises(error, match=message):
        make()


def _step(x):
    cell = ns.LeakyRateReadout(4, 3, w_init=WEIGHT)
    return cell.step(cell.init_state(), x, dt=1.0)

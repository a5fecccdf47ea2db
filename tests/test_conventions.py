"""The neurons of other libraries against what the originals did: `data/peers/record.py` says how that was recorded."""

from __future__ import annotations

import dataclasses
import functools

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns
from neurostate import conventions, surrogate
from neurostate._errors import UnitError

from .data.peers import record
from .helpers import x64


SPIKE_FUNCTIONS = {
    ("snntorch", "fast_sigmoid"): lambda slope: surrogate.InvSquareGrad(slope, h0=0),
    ("snntorch", "atan"): lambda alpha: surrogate.Arctan(alpha, h0=0),
    ("spikingjelly", "Sigmoid"): surrogate.Sigmoid,
    ("spikingjelly", "ATan"): surrogate.Arctan,
    ("spyx", "superspike"): lambda k: surrogate.InvSquareGrad(k, h0=0),
    ("spyx", "arctan"): conventions.spyx_arctan,
    ("brainpy", "ReluGrad"): surrogate.ReluGrad,
}
MODELS = {
    ("snntorch", "Leaky"): conventions.snntorch_leaky,
    ("snntorch", "Synaptic"): conventions.snntorch_synaptic,
    ("norse", "LIFBoxCell"): functools.partial(conventions.norse_lif_box, dt=record.NORSE_DT),
    ("norse", "LIFCell"): functools.partial(conventions.norse_lif, dt=record.NORSE_DT),
    ("spikingjelly", "LIFNode"): conventions.spikingjelly_lif,
    ("spikingjelly", "IFNode"): conventions.spikingjelly_if,
    ("spyx", "LIF"): conventions.spyx_lif,
    ("spyx", "CuBaLIF"): conventions.spyx_cuba_lif,
    ("brainpy", "LIF"): ns.LIF,
    ("brainpy", "ALIF"): ns.ALIF,
}
CASES = [(library, name) for library, cases in record.CASES.items() for name in cases]
every_case = pytest.mark.parametrize(("library", "name"), CASES)


@functools.cache
def recorded(library):
    with np.load(record.HERE / f"{library}.npz") as file:
        return dict(file)


@functools.cache
def original(library, name):
    """The inputs of a case, and what the original did, by name."""
    found = {
        key.removeprefix(f"{name}/"): value for key, value in recorded(library).items() if key.startswith(f"{name}/")
    }
    inputs = record.drive(library, record.CASES[library][name], int(found["seed"]), found["aimed"])
    return inputs, found


def make(library, name, size, p):
    case = record.CASES[library][name]
    settings = case["settings"]
    if "surrogate" in case:
        kind, parameter = case["surrogate"]
        settings = settings | {"spk_fun": SPIKE_FUNCTIONS[library, kind](parameter)}
    return MODELS[library, case["model"]](size, **p, **settings)


def make_all(library, name):
    return make(library, name, record.SIZE, record.parameters(library, record.CASES[library][name]))


def changed(cell, **changes):
    """The same neuron with other conventions."""
    names = [field.name for field in dataclasses.fields(cell) if field.name != "I_unit"]
    return conventions.DiscreteLIF(**{name: getattr(cell, name) for name in names} | changes)


@eqx.filter_jit
def run(cell, inputs):
    def body(state, x):
        state, spike = cell.step(state, x, dt=1.0)
        return state, (spike, state.V)

    return jax.lax.scan(body, cell.init_state(), inputs)[1]


def spikes_of(found):
    return np.unpackbits(found["spikes"]).reshape(record.STEPS, record.SIZE)


@every_case
def test_the_same_spikes_and_potentials(library, name):
    inputs, found = original(library, name)
    spikes, V = map(np.asarray, run(make_all(library, name), inputs))
    assert V.dtype == spikes.dtype == np.float32
    expected = spikes_of(found)
    assert 0.02 < expected.mean() < 0.5
    np.testing.assert_array_equal(spikes, expected)
    # Where V is a small difference of two sums, an ulp is that of the sums, which go up to the threshold.
    error, scale = np.abs(V[record.sampled()] - found["V"]), np.maximum(np.abs(found["V"]), 1.0)
    assert (error <= 16 * np.spacing(scale)).all()
    exact = np.nonzero(record.sampled())[1] < record.num_exact(library, record.CASES[library][name])
    np.testing.assert_array_equal(V[record.sampled()][exact], found["V"][exact])


@every_case
def test_the_same_gradients(library, name):
    inputs, found = original(library, name)
    p = {key: value[record.GRADED] for key, value in record.parameters(library, record.CASES[library][name]).items()}
    given = p | {"input": inputs[: record.GRAD_STEPS, record.GRADED]}

    @jax.jit
    @jax.grad
    def gradient(given):
        cell = make(library, name, inputs[0, record.GRADED].shape, {key: given[key] for key in p})
        return sum((w * y).sum() for w, y in zip(record.weights(), run(cell, given["input"]), strict=True))

    for key, value in gradient(given).items():
        expected = found[f"gradient/{key}"]
        size = np.abs(expected).max()
        assert size * np.abs(given[key]).max() > 0.05
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5 * size, err_msg=key)


@pytest.mark.parametrize(("library", "name"), [key for key in SPIKE_FUNCTIONS if key[0] != "brainpy"])
def test_the_same_surrogate_gradients(library, name):
    (parameter,) = {case["surrogate"][1] for case in record.CASES[library].values() if case["surrogate"][0] == name}
    computed = jax.vmap(jax.grad(SPIKE_FUNCTIONS[library, name](parameter)))(jnp.asarray(record.SLOPES))
    np.testing.assert_allclose(computed, recorded(library)[f"slope/{name}"], rtol=1e-5, atol=1e-6)


# The recordings tell the conventions apart


@pytest.mark.parametrize(
    ("library", "name", "changes"),
    [
        ("snntorch", "Leaky-subtract", {"h0": 1}),
        ("snntorch", "Synaptic-zero-at-once", {"h0": 1}),
        ("norse", "LIFBoxCell-subtract", {"h0": 1}),
        ("norse", "LIFCell", {"h0": 1}),
        ("spikingjelly", "LIFNode-soft", {"h0": 0}),
        ("spikingjelly", "IFNode-hard", {"h0": 0}),
        ("spyx", "LIF", {"h0": 1}),
        ("spyx", "CuBaLIF", {"h0": 1}),
        ("snntorch", "Leaky-subtract", {"reset_at": "before_decay"}),
        ("snntorch", "Leaky-subtract", {"reset_at": "both"}),
        ("snntorch", "Leaky-subtract", {"spk_reset": None}),
        ("snntorch", "Leaky-subtract", {"V_rest": 1e-5}),
        ("snntorch", "Leaky-subtract-at-once", {"reset_at": "same_step"}),
        ("snntorch", "Synaptic-zero", {"reset_at": "before_decay"}),
        ("norse", "LIFBoxCell-value", {"scale_input": False}),
        ("norse", "LIFBoxCell-value", {"spk_reset": "soft"}),
        ("norse", "LIFBoxCell-value", {"V_reset": 1e-5}),
        ("spyx", "CuBaLIF", {"spike_of": "new"}),
        ("spyx", "CuBaLIF", {"reset_at": "after_decay"}),
    ],
)
def test_every_convention_matters(library, name, changes):
    inputs, found = original(library, name)
    cell = make_all(library, name)
    if "h0" in changes:
        changes = {"spk_fun": dataclasses.replace(cell.spk_fun, **changes)}
    spikes = np.asarray(run(changed(cell, **changes), inputs)[0])
    assert (spikes != spikes_of(found)).any()


# Time constants


def test_between_factors_and_time_constants():
    with x64():
        tau, dt = np.array([2.0, 10.0, 500.0]), 1.0
        decay = conventions.tau_to_decay(tau * u.ms, dt * u.ms)
        np.testing.assert_allclose(decay, np.exp(-dt / tau), rtol=1e-15)
        np.testing.assert_allclose(conventions.decay_to_tau(decay, 1000.0 * u.us), tau, rtol=1e-12)
        np.testing.assert_allclose(np.exp(-dt / conventions.exact_tau(tau, dt)), 1 - dt / tau, rtol=1e-14)
        np.testing.assert_allclose(conventions.exact_tau(1e9, dt), 1e9 - 0.5, rtol=1e-15)


def test_a_model_with_time_constants_takes_the_steps_of_norse():
    inputs, found = original("norse", "LIFBoxCell-value")
    own = slice(record.AIMED, None)  # off the threshold, where it matters how a sum is rounded
    p = {
        key: value[own] for key, value in record.parameters("norse", record.CASES["norse"]["LIFBoxCell-value"]).items()
    }
    cell = ns.LIF(
        record.SIZE - record.AIMED,
        tau=conventions.exact_tau(1 / (p["tau_mem_inv"] * record.NORSE_DT), 1.0),
        V_reset=p["v_reset"],
        V_rest=p["v_leak"],
        V_initializer=p["v_leak"],
        spk_fun=surrogate.InvSquareGrad(1.0, h0=0),
        spk_reset="hard",
    )
    # Norse adds the resting potential to the input, here it is apart: `v_leak + i` and `V_rest + R i` are the same.
    spikes, _ = run(cell, inputs[:, own])
    np.testing.assert_array_equal(spikes, spikes_of(found)[:, own])


# As a cell


def test_it_is_a_cell_like_others():
    cell = conventions.snntorch_synaptic((2, 3), alpha=0.5, beta=[0.7, 0.8, 0.9])
    inputs = jnp.asarray(record.noise(9, 20, 4, 2, 3), jnp.float32)
    sol = ns.simulate(cell, inputs, dt=0.1 * u.ms, record=("V", "g"))
    assert sol.outputs.shape == (20, 4, 2, 3) and set(np.unique(sol.outputs)) == {0.0, 1.0}
    one = jax.vmap(lambda x: ns.simulate(cell, x, dt=1.0).outputs, in_axes=1, out_axes=1)(inputs)
    np.testing.assert_array_equal(one, sol.outputs)  # `dt` changes nothing
    module = ns.nn.Stateful(cell)
    module.init_state(4)
    assert set(module.states(ns.ParamState)) == {
        "decay",
        "syn_decay",
        "V_th",
        "V_reset",
        "V_rest",
        "V_initializer.value",
    }
    with ns.environ.context(dt=1.0 * u.ms):
        spikes = ns.transform.for_loop(module, inputs)
    np.testing.assert_array_equal(spikes, sol.outputs)
    np.testing.assert_array_equal(module.g.value, sol.state.g)
    # A float32 state stays so where the default is float64, and a float64 one takes float32 inputs.
    with x64():
        state, spike = cell.step(sol.state, np.ones((2, 3)))
        assert state.V.dtype == state.g.dtype == spike.dtype == jnp.float32
        wide = conventions.snntorch_leaky(3, beta=0.7)
        assert wide.step(wide.init_state(), inputs[0, 0, 0])[0].V.dtype == jnp.float64


def test_a_factor_that_training_moves_out_of_range_is_clipped():
    cell = eqx.tree_at(lambda cell: cell.decay, conventions.snntorch_leaky(1, beta=0.5), jnp.float32(1.5))
    state = conventions.DiscreteLIFState(jnp.array([0.25]))
    assert float(cell.step(state, 0.5)[0].V[0]) == 0.75


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: conventions.snntorch_leaky(3, beta=10.0), ValueError, "`decay` of `DiscreteLIF` is a factor per step"),
        (
            lambda: conventions.spyx_cuba_lif(3, 2.0, 0.5),
            ValueError,
            "`syn_decay` of `DiscreteLIF` is a factor per step",
        ),
        (lambda: conventions.norse_lif_box(3, 2000.0), ValueError, "must lie between 0 and 1, got Array"),
        (
            lambda: conventions.snntorch_leaky(3, 0.5 * u.ms),
            UnitError,
            "`decay` of `DiscreteLIF` must be dimensionless",
        ),
        (lambda: conventions.snntorch_leaky(3, [0.5, 0.6]), ValueError, r"shape \(2,\), which does not broadcast to"),
        (
            lambda: conventions.snntorch_leaky(3, 0.5, reset_mechanism="soft"),
            ValueError,
            r"`reset_mechanism` of `snntorch_leaky` must be one of \['subtract', 'zero', 'none'\], got 'soft'",
        ),
        (lambda: conventions.norse_lif_box(3, reset_method="zero"), ValueError, "`reset_method` of `norse_lif_box`"),
        (
            lambda: conventions.DiscreteLIF(3, 0.5, reset_at="end"),
            ValueError,
            "`reset_at` of `DiscreteLIF` must be one",
        ),
        (lambda: conventions.DiscreteLIF(3, 0.5, V_th=0.0), ValueError, "`V_th` of `DiscreteLIF` must be above"),
        (lambda: conventions.DiscreteLIF(3, 0.5, spk_fun=1.0), TypeError, "`spk_fun` of `DiscreteLIF` must be"),
        (lambda: step(u.mA * np.ones(3)), UnitError, "`input` of `DiscreteLIF.step` must be dimensionless"),
        (lambda: step(np.ones(4)), ValueError, r"an input of shape \(4,\) for a state of shape \(3,\)"),
        (lambda: step(ns.Drive(current=1.0)), TypeError, "`input` of `DiscreteLIF.step` must be a number or an array"),
        (lambda: conventions.exact_tau(10.0 * u.mV, 1.0), UnitError, "`tau` of `exact_tau` must have a unit like ms"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def step(x):
    cell = conventions.spyx_lif(3, 0.5)
    return cell.step(cell.init_state(), x)

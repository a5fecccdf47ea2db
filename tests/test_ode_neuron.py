"""Neurons from equations: the same bits as those written by hand, and what is wrong is said at once."""

from __future__ import annotations

import copy
import functools
import pickle

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns

from .helpers import x64


def leak(y, x, p):
    return {"V": (-(y.V - p.V_rest) + p.R * x) / p.tau}


def soft(y, p):
    return {"V": y.V - (p.V_th - p.V_reset)}


LEAK = {"R": 1.0 * u.ohm, "tau": 5.0 * u.ms, "V_rest": 0.1 * u.mV, "V_reset": -0.1 * u.mV, "V_th": 1.0 * u.mV}


def lif(size=3, parameters=LEAK, **options):
    given = {"initial": {"V": 0.0 * u.mV}, "reset": soft, "integrator": "exp_euler"} | options
    threshold, scale = lambda p: p.V_th, lambda p: p.V_th - p.V_reset
    return ns.ODENeuron(size, leak, threshold=threshold, scale=scale, parameters=parameters, **given)


def adex_field(y, x, p):
    rise = u.math.exp(u.math.minimum((y.V - p.V_T) / p.delta_T, (p.V_th - p.V_T) / p.delta_T))
    upstroke = p.delta_T * rise
    V = (-(y.V - p.V_rest) + upstroke - p.R * y.w + p.R * x) / p.tau
    return {"V": V, "w": (p.a * (y.V - p.V_rest) - y.w) / p.tau_w}


ADEX = {
    "R": 1.0 * u.Mohm,
    "tau": 10.0 * u.ms,
    "tau_w": 30.0 * u.ms,
    "V_th": -55.0 * u.mV,
    "V_reset": -68.0 * u.mV,
    "V_rest": -65.0 * u.mV,
    "V_T": -59.9 * u.mV,
    "delta_T": 3.48 * u.mV,
    "a": 1.0 * u.uS,
    "b": 1.0 * u.nA,
}


def adex(**options):
    return ns.ODENeuron(
        3,
        adex_field,
        initial={"V": -65.0 * u.mV, "w": 0.0 * u.nA},
        threshold=lambda p: p.V_th,
        scale=lambda p: p.V_th - p.V_reset,
        V_max=lambda p: p.V_th + (p.V_th - p.V_reset),
        reset=lambda y, p: {"V": p.V_reset, "w": y.w + p.b},
        parameters=ADEX,
        **options,
    )


def fhn_field(y, x, p):
    return {"V": (y.V - y.V**3 / 3 - y.w + x) / p.tau, "w": (y.V + p.a - p.b * y.w) / p.tau_w}


def fhn(**units):
    parameters = {"a": 0.7, "b": 0.8, "tau": 1.0, "tau_w": 12.5} | units
    return ns.ODENeuron(
        3, fhn_field, initial={"V": -1.2, "w": -0.62}, threshold=1.0, parameters=parameters, integrator="rk4"
    )


def currents(high, num_steps=600):
    return jnp.asarray(np.random.default_rng(0).uniform(0.0, high, (num_steps, 3)))


# Beside the neurons written by hand


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("options", [{}, {"tau_ref": 2.0 * u.ms}, {"spike_time": "interpolated"}])
def test_a_leaky_neuron_has_the_bits_of_lif(options, wide):
    with x64(wide):
        tau = jnp.linspace(4.0, 9.0, 3) * u.ms
        ours = lif(parameters=LEAK | {"tau": tau}, **options)
        theirs = ns.LIF(3, **(LEAK | {"tau": tau}), **options)
        drive = ns.Drive(current=currents(4.0), g=jnp.full((600, 3), 0.1), E=jnp.full((600, 3), 2.0))
        a, b = (
            ns.simulate(cell, drive, dt=0.1, record=tuple(vars(cell.init_state())), state=cell.init_state())
            for cell in (ours, theirs)
        )
        for left, right in zip(jax.tree.leaves((a.outputs, a.records)), jax.tree.leaves((b.outputs, b.records))):
            assert left.dtype == right.dtype and bool((left == right).all())
        assert 20 < float(a.outputs.sum()) < 1000


@pytest.mark.parametrize("spike_time", ["grid", "interpolated"])
def test_an_adaptive_exponential_neuron_has_the_spikes_of_adexif(spike_time):
    with x64():
        ours, theirs = adex(spike_time=spike_time), ns.AdExIF(3, integrator="exp_midpoint", spike_time=spike_time)
        a, b = (ns.simulate(cell, currents(60.0), dt=0.1, record=("V", "w")) for cell in (ours, theirs))
        assert bool((a.outputs == b.outputs).all()) and 20 < float(a.outputs.sum()) < 300
        np.testing.assert_allclose(jnp.minimum(a.records["V"], -42.0), b.records["V"], rtol=1e-12)
        np.testing.assert_allclose(a.records["w"], b.records["w"], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("units", [{}, {"tau": 1.0 * u.ms, "tau_w": 12.5 * u.ms}])
def test_plain_numbers_are_a_dimensionless_neuron(units):
    ours, theirs = fhn(**units), ns.FitzHughNagumo(3)
    a, b = (ns.simulate(cell, jnp.full((1000, 3), 0.5), dt=0.1, record=("V", "w")) for cell in (ours, theirs))
    assert bool((a.outputs == b.outputs).all()) and 3 < float(a.outputs.sum()) < 30
    assert bool((a.records["V"] == b.records["V"]).all()) and ours.I_unit == u.UNITLESS


def test_the_program_is_that_of_the_class_written_by_hand():
    def program(cell):
        run = lambda x, current: jax.tree.leaves(cell.derivative(x, ns.Drive(current=current)))  # noqa: E731
        return str(jax.make_jaxpr(run)(cell.init_state(), jnp.zeros(3)))

    for ours, theirs in ((lif(), ns.LIF(3, **LEAK)), (fhn(), ns.FitzHughNagumo(3))):
        assert program(ours) == program(theirs)
    for cell in (lif(), adex(), fhn(tau=1.0 * u.ms, tau_w=12.5 * u.ms)):
        assert not [x for x in jax.tree.leaves(cell, is_leaf=u.math.is_quantity) if u.math.is_quantity(x)]
        ns.check_units(cell)


@pytest.mark.parametrize("detach_reset", [False, True])
def test_gradients_through_resets_are_those_of_lif(detach_reset):
    names = [*LEAK]

    def loss(values, start, make):
        cell = make(values, start)
        sol = ns.simulate(cell, currents(4.0, 100), dt=0.5, record="V")
        return (sol.outputs * currents(1.0, 100)).sum() + (sol.records["V"] ** 2).sum()

    def ours(values, start):
        given = {name: value * u.get_unit(LEAK[name]) for name, value in zip(names, values)}
        return lif(parameters=given, initial={"V": start * u.mV}, detach_reset=detach_reset)

    def theirs(values, start):
        return ns.LIF(3, **dict(zip(names, values)), V_initializer=start, detach_reset=detach_reset)

    with x64():
        values = [jnp.asarray(u.get_mantissa(LEAK[name])) for name in names]
        a, b = (jax.grad(loss, (0, 1))(values, jnp.full(3, 0.2), make) for make in (ours, theirs))
    for left, right in zip(map(np.asarray, jax.tree.leaves(a)), jax.tree.leaves(b)):
        np.testing.assert_allclose(left, right, rtol=1e-10)
        assert (left != 0).all()


# Parameters, units, transforms


def test_parameters_are_fields_in_one_family():
    cell = lif(parameters=LEAK | {"tau": 0.02 * u.second, "R": jnp.ones(3) * u.kohm})
    assert cell.I_unit == u.uA and float(cell.tau) == 20.0 and ns.quantity(cell, "tau").unit == u.ms
    assert "tau=20.0 * ms" in repr(cell) and "R=f32[3] * kohm" in repr(cell)
    state, _ = cell.step(cell.init_state(), 1.0 * u.mA, dt=0.1 * u.ms)
    same, _ = cell.step(cell.init_state(), 1000.0, dt=0.1)
    assert bool((state.V == same.V).all())


@pytest.mark.parametrize(
    ("given", "I_unit", "needed"),
    [
        ({"C": 200 * u.pF}, None, u.pA),
        ({"g": 0.3 * u.mS / u.cm**2}, None, u.uA / u.cm**2),
        ({"tau": 5 * u.ms}, None, u.nA),
        ({"tau": 5 * u.ms}, u.mA, u.mA),
        ({"a": 0.02 / u.ms}, u.mV / u.ms, u.mV / u.ms),
        ({"w": 0.02 * u.uA}, None, u.uA),
    ],
)
def test_the_unit_of_current(given, I_unit, needed):
    rest = {name: value for name, value in given.items() if name != "w"}
    initial = {"V": ns.init.Constant(-65.0 * u.mV), **{name: given[name] for name in given if name == "w"}}
    slopes = lambda y, x, p: {name: 0.0 * getattr(y, name) / u.ms for name in initial}  # noqa: E731
    cell = ns.ODENeuron(1, slopes, initial=initial, threshold=0.0 * u.mV, parameters=rest, I_unit=I_unit)
    assert cell.I_unit.dim == needed.dim and cell.I_unit == needed


def test_every_transform():
    with x64():
        cell, drive = adex(), currents(60.0, 50)
        step = functools.partial(cell.step, dt=0.1)
        state, spikes = jax.jit(lambda s: jax.lax.scan(step, s, drive))(cell.init_state())
        batched = cell.init_state((2,), key=jax.random.key(0))
        both, _ = jax.vmap(lambda s: jax.lax.scan(step, s, drive))(batched)
        np.testing.assert_allclose(both.V, [state.V, state.V], rtol=1e-12)
        assert spikes.shape == (50, 3)

        implicit = ns.nn.init_all_states(ns.nn.Stateful(cell))
        assert {"R", "tau_w", "V_initializer", "w_initializer"} <= set(implicit.states(ns.ParamState))
        with ns.environ.context(dt=0.1 * u.ms):
            out = ns.transform.for_loop(implicit, drive)
        sol = ns.simulate(cell, drive, dt=0.1)
        assert bool((implicit.V.value == sol.state.V * u.mV).all()) and bool((out == sol.outputs).all())
        assert implicit.w.value.unit == u.nA and implicit.tau_w.value.unit == u.ms


def test_gradients_below_threshold_against_finite_differences():
    with x64():
        cell = adex(spk_fun=ns.surrogate.ReluGrad(alpha=0.0))  # else that of a spike that does not happen counts

        def loss(values):
            there = eqx.tree_at(lambda c: [getattr(c, name) for name in (*ADEX, "V_initializer")], cell, values)
            return (ns.simulate(there, jnp.full((40, 3), 1.0), dt=0.1).state.V ** 2).sum()

        values = [getattr(cell, name) for name in (*ADEX, "V_initializer")]
        for k, slope in enumerate(jax.grad(loss)(values)):
            h = 1e-6 * float(jnp.abs(values[k]))
            low, high = (loss([*values[:k], values[k] + side * h, *values[k + 1 :]]) for side in (-1, 1))
            np.testing.assert_allclose(slope, (high - low) / (2 * h), rtol=1e-5, atol=1e-6)


def test_equal_neurons_share_a_trace():
    calls = []

    def field(y, x, p):
        calls.append(None)
        return leak(y, x, p)

    def make(tau):
        return ns.ODENeuron(
            2, field, initial={"V": 0 * u.mV}, threshold=1 * u.mV, parameters=LEAK | {"tau": tau}, reset=soft
        )

    run = eqx.filter_jit(lambda cell, state: cell.step(state, 2.0, dt=0.1))
    first, second = make(5.0 * u.ms), make(7.0 * u.ms)
    assert type(first) is type(second)
    run(first, first.init_state())
    before = len(calls)
    _, spikes = run(second, second.init_state())
    assert len(calls) == before > 0 and spikes.shape == (2,)


def test_copies():
    cell = ns.ODENeuron(2, leak, initial={"V": 0 * u.mV}, threshold=1 * u.mV, parameters=LEAK, reset=soft)
    state = cell.init_state()
    for again in (copy.deepcopy((cell, state)), pickle.loads(pickle.dumps((cell, state)))):
        assert bool(eqx.tree_equal(again, (cell, state)))
        assert type(again[0]) is type(cell) and type(again[1]) is type(state)


def test_a_module_as_the_vector_field_is_trained():
    class Field(eqx.Module):
        rate: jax.Array

        def __call__(self, y, x, p):
            return {"V": -self.rate * y.V + x}

    with x64():
        run = lambda rate: ns.ODENeuron(1, Field(rate), initial={"V": 1.0}, threshold=2.0)  # noqa: E731
        after = lambda rate: run(rate).step(run(rate).init_state(), 0.0, dt=0.5)[0].V[0]  # noqa: E731
        value, slope = jax.value_and_grad(after)(jnp.asarray(0.3))
        np.testing.assert_allclose([value, slope], [np.exp(-0.15), -0.5 * np.exp(-0.15)], rtol=1e-13)


# What is refused


def neuron(field=leak, **changes):
    given = {"initial": {"V": 0.0 * u.mV}, "threshold": 1.0 * u.mV, "reset": soft, "parameters": LEAK}
    return ns.ODENeuron(2, field, **(given | changes))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: neuron(lambda y, x, p: {"V": p.R * x - y.V}),
            ns.UnitError,
            "`vector_field` of `ODENeuron` gives dV/dt with the unit mV, but it needs a unit like mV / ms",
        ),
        (
            lambda: neuron(lambda y, x, p: {"V": x - y.V}),
            ns.UnitError,
            r"(?s)`vector_field` .*different dimensions: .*It got y: V: mV; I: mA; p: R: ohm, tau: ms",
        ),
        (lambda: neuron(lambda y, x, p: {"V": 0.0}), ns.UnitError, "gives dV/dt with no unit, but it needs .* mV / ms"),
        (
            lambda: neuron(lambda y, x, p: {"V": -y.V / p.tau, "n": 1.0}, initial={"V": 0 * u.mV, "n": 0.0}),
            ns.UnitError,
            "gives dn/dt with no unit, but it needs a unit like (.*ms|kHz)",
        ),
        (
            lambda: neuron(reset=lambda y, p: {"V": p.tau}),
            ns.UnitError,
            "`reset` .* gives V with the unit ms, but it needs a unit like mV",
        ),
        (lambda: neuron(reset=lambda y, p: {"w": p.tau}), ValueError, r"`reset` .* may change \['V'\], but it gives"),
        (lambda: neuron(threshold=lambda p: p.R), ns.UnitError, "`threshold` .* gives a value with the unit ohm"),
        (lambda: neuron(threshold=1.0 * u.ms), ns.UnitError, "`threshold` of `ODENeuron` must have a unit like mV"),
        (lambda: neuron(scale=1.0 * u.mA), ns.UnitError, "`scale` of `ODENeuron` must have a unit like mV"),
        (lambda: neuron(lambda y, x, p: {"w": y.V}), ValueError, r"derivative of each of \['V'\], got \['w'\]"),
        (lambda: neuron(lambda y, x, p: {"V": y.V / p.taw}), AttributeError, "no 'taw' among .*'R', 'tau'"),
        (lambda: neuron(initial={"U": 0.0 * u.mV}), ValueError, r"`initial` .* must give `V`.*it has \['U'\]"),
        (lambda: neuron(initial={"V": 0.0 * u.mA}), ns.UnitError, "`V` .* must be a voltage or a plain number"),
        (lambda: neuron(initial={"V": jnp.zeros(3) * u.mV}), ValueError, r"initial\['V'\].* shape \(3,\)"),
        (lambda: neuron(parameters=LEAK | {"size": 1.0}), ValueError, "parameter called 'size'"),
        (lambda: neuron(parameters=LEAK | {"V": 1.0 * u.mV}), ValueError, "'V' is both in `initial` and"),
        (lambda: neuron(parameters=LEAK | {"Ca": 1.0 * u.mmolar}), ns.UnitError, "`Ca` .* no product of powers"),
        (lambda: neuron(parameters=LEAK | {"tau": "5"}), TypeError, r"parameters\['tau'\].* must be a number"),
        (lambda: neuron(reset=3.0), TypeError, "`reset` of `ODENeuron` must be a function"),
        (lambda: neuron(spike_time="exact"), ValueError, "`spike_time` of `ODENeuron` must be"),
        (lambda: neuron(integrator="heun"), ValueError, "`integrator` of `ODENeuron` must be one of"),
        (lambda: neuron(I_unit="nA"), TypeError, "`I_unit` of `ODENeuron` must be a unit such as"),
        (
            lambda: neuron(lambda y, x, p: {"V": jnp.ones((3, 2)) * u.mV / u.ms}),
            ValueError,
            r"gives dV/dt of shape \(3, 2\), which does not broadcast to that of the state, \(2,\)",
        ),
    ],
)
def test_what_is_wrong_is_said_when_the_neuron_is_made(make, error, message):
    with pytest.raises(error, match=message):
        make()

"""The two faces of one model give equal results: the same bits forward, the same gradients."""

import functools
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns

from .helpers import x64


DT = 0.1 * u.ms


class Leaky(ns.nn.Dynamics):
    """A leaky integrate-and-fire neuron as a user writes it, with units and implicit state."""

    V_th: Any
    V_reset: Any
    V_rest: Any

    def __init__(self, size, R, tau, V_th, V_reset, V_rest, spk_reset):
        super().__init__(size)
        self.R = ns.init.param(R, self.varshape)
        self.tau = ns.init.param(tau, self.varshape)
        self.V_th = ns.init.param(V_th, self.varshape)
        self.V_reset = ns.init.param(V_reset, self.varshape)
        self.V_rest = ns.init.param(V_rest, self.varshape)
        self.spk_fun = ns.surrogate.ReluGrad()
        self.spk_reset = spk_reset

    def init_state(self, batch_size=None):
        self.V = ns.HiddenState(ns.init.param(ns.init.Constant(0.0 * u.mV), self.varshape, batch_size))

    def spike(self, V):
        return self.spk_fun((V - self.V_th) / (self.V_th - self.V_reset))

    def update(self, current):
        V = self.V.value
        spike = self.spike(V)
        if self.spk_reset == "soft":
            V = V - (self.V_th - self.V_reset) * spike
        else:
            top = jax.lax.stop_gradient(V)
            V = (V - top) + top * (1 - spike) + self.V_reset * spike
        self.V.value = ns.nn.exp_euler_step(self.slope, V, current)
        return self.spike(self.V.value)

    def slope(self, V, current):
        return (-(V - self.V_rest) + self.R * current) / self.tau


CASES = {
    "defaults": dict(R=1.0, tau=5.0, V_th=1.0, V_reset=0.0, V_rest=0.0, spk_reset="soft"),
    "hard": dict(R=1.3, tau=7.7, V_th=0.9, V_reset=-0.13, V_rest=0.05, spk_reset="hard"),
    "per neuron": dict(
        R=np.array([0.7, 1.0, 1.9]),
        tau=np.array([3.3, 11.0, 20.0]),
        V_th=1.1,
        V_reset=0.1,
        V_rest=-0.2,
        spk_reset="soft",
    ),
}


def with_units(case):
    units = dict(R=u.ohm, tau=u.ms, V_th=u.mV, V_reset=u.mV, V_rest=u.mV)
    return {name: value * units[name] if name in units else value for name, value in case.items()}


def drive(steps=300):
    return np.random.default_rng(0).uniform(0.0, 4.0, (steps, 3)) * u.mA


def implicit(cell, currents):
    ns.nn.init_all_states(cell)

    def step(current):
        spike = cell(current)
        return u.get_mantissa(cell.V.value), spike

    with ns.environ.context(dt=DT):
        return ns.transform.for_loop(step, currents)


def explicit(lif, currents):
    def step(state, current):
        state, spike = lif.step(state, current, dt=DT)
        return state, (state.V, spike)

    return jax.lax.scan(step, lif.init_state(), currents)[1]


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_all_ways_to_run_give_the_same_bits(name, double):
    with x64(double):
        case = with_units(CASES[name])
        lif, currents = ns.LIF(3, **case), drive()
        V, spikes = explicit(lif, currents)
        assert spikes.sum() > 5
        sol = ns.simulate(lif, currents, dt=DT, record="V")
        np.testing.assert_array_equal(sol.outputs, spikes)
        np.testing.assert_array_equal(sol.records["V"], V)
        for cell in (ns.nn.Stateful(lif), Leaky(3, **case)):
            facade_V, facade_spikes = implicit(cell, currents)
            assert facade_V.dtype == V.dtype
            np.testing.assert_array_equal(facade_spikes, spikes)
            np.testing.assert_array_equal(facade_V, V)


def test_compiled_and_eager_loops_give_the_same_bits():
    lif, currents = ns.LIF(3, **with_units(CASES["hard"])), drive()
    V, spikes = explicit(lif, currents)
    cell = ns.nn.Stateful(lif)
    compiled = ns.transform.jit(lambda currents: implicit(cell, currents))
    for _ in range(2):
        facade_V, facade_spikes = compiled(currents)
        np.testing.assert_array_equal(facade_V, V)
        np.testing.assert_array_equal(facade_spikes, spikes)


def test_the_loop_over_a_stateful_cell_is_the_scan_over_its_step():
    lif = ns.LIF(3, tau=9 * u.ms)
    cell = ns.nn.init_all_states(ns.nn.Stateful(lif))
    currents = drive(10).mantissa

    with ns.environ.context(dt=DT):
        pure, state = ns.functionalize(lambda xs: ns.transform.for_loop(cell, xs), currents)
        facade = jax.make_jaxpr(pure)(state, currents)
    step = functools.partial(lif.step, dt=DT)
    core = jax.make_jaxpr(lambda s, xs: jax.lax.scan(step, s, xs))(lif.init_state(), currents)

    def body(closed):
        (scan,) = [eqn for eqn in closed.jaxpr.eqns if eqn.primitive.name == "scan"]
        return [str(eqn.primitive) for eqn in scan.params["jaxpr"].jaxpr.eqns]

    def outer(closed):
        return [str(eqn.primitive) for eqn in closed.jaxpr.eqns]

    assert outer(core) == ["scan"]
    assert outer(facade) == ["scan"]
    assert body(core) == body(facade)


@pytest.mark.parametrize(("double", "tolerance"), [(False, 1e-6), (True, 1e-13)], ids=["float32", "float64"])
def test_gradients_agree(double, tolerance):
    with x64(double):
        case = with_units(CASES["hard"])
        currents = drive(100)

        def loss_of(V, spikes):
            return (V**2).mean() + spikes.mean()

        def core(params):
            R, tau = params
            lif = ns.LIF(3, **{**case, "R": R, "tau": tau})
            return loss_of(*explicit(lif, currents))

        dtype = jnp.zeros(()).dtype
        expected = jax.grad(core)([jnp.asarray(case[name].mantissa, dtype) for name in ("R", "tau")])

        cell = ns.nn.init_all_states(ns.nn.Stateful(ns.LIF(3, **case)))
        facade = ns.transform.grad(lambda: loss_of(*implicit(cell, currents)), grad_states=[cell.R, cell.tau])()
        written = ns.nn.init_all_states(Leaky(3, **case))
        written.R, written.tau = ns.ParamState(written.R), ns.ParamState(written.tau)
        written.slope = lambda V, x: (-(V - written.V_rest) + written.R.value * x) / written.tau.value
        own = ns.transform.grad(lambda: loss_of(*implicit(written, currents)), grad_states=[written.R, written.tau])()
        for name, want, *got in zip(("R", "tau"), expected, facade, own, strict=True):
            assert abs(want) > 1e-3
            for value in got:
                assert value.unit == case[name].unit
                np.testing.assert_allclose(value.mantissa, want, rtol=tolerance)


def test_batches_agree():
    lif, currents = ns.LIF(3), drive(50).mantissa[:, None] * np.ones((1, 4, 1))
    cell = ns.nn.init_all_states(ns.nn.Stateful(lif), batch_size=4)
    assert cell.V.value.shape == (4, 3)
    with ns.environ.context(dt=DT):
        spikes = ns.transform.for_loop(cell, currents)
    np.testing.assert_array_equal(spikes, ns.simulate(lif, currents, dt=DT).outputs)


def test_units_in_another_scale_agree_within_rounding():
    plain = ns.LIF(3, R=1.0 * u.ohm, tau=5.0 * u.ms)
    scaled = ns.LIF(3, R=1e-3 * u.kohm, tau=0.005 * u.second, V_th=1e-3 * u.volt, I_unit=u.mA)
    currents = drive()
    a, b = explicit(plain, currents), explicit(scaled, currents.to(u.uA))
    np.testing.assert_array_equal(a[1], b[1])
    np.testing.assert_allclose(a[0], b[0], rtol=1e-5, atol=1e-6)

"""Running over all time steps at once: the same as step by step, and a refusal of what cannot be."""

import functools
from typing import Any

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns
from neurostate._parallel import scan_parallel

from .helpers import x64


KEY = jax.random.key(0)
N, DT = 3, 0.2


def linear_neuron(reset=None):
    return ns.ODENeuron(
        N,
        lambda y, current, p: {"V": (p.R * current - y.V - 0.5 * y.w) / p.tau, "w": (y.V - y.w) / (10 * p.tau)},
        initial={"V": jnp.array([0.1, 0.2, -0.3]) * u.mV, "w": 0.2 * u.mV},
        threshold=0.5 * u.mV,
        parameters={"tau": 4.0 * u.ms, "R": 1.0 * u.Mohm},
        reset=reset,
    )


def feed_forward():
    keys = jax.random.split(KEY)
    return ns.Sequential(
        ns.connect.Dense(N, 4, ns.init.Normal(0.5, 1.0), key=keys[0]),
        ns.Sequential(ns.DualExpon(4, tau_decay=3.0, tau_rise=0.5), lambda x: jnp.tanh(x) + x.sum(-1, keepdims=True)),
        ns.LIF(4, tau=jnp.array([0.01, 2.0, 5.0, 10.0]), V_th=1.5, spk_reset=None, spk_fun=ns.surrogate.Sigmoid()),
        ns.LeakyRateReadout(4, 2, key=keys[1]),
    )


MODELS = {
    "LI": lambda: ns.LI(N, tau=jnp.array([0.05, 3.0, 10.0]), V_rest=-2.0, V_initializer=-1.0),
    "CubaLIF": lambda: ns.CubaLIF(N, tau=5.0, tau_syn=4.0, V_th=0.3, spk_reset=None),
    "Alpha": lambda: ns.Alpha(N, tau=4.0),
    "ODENeuron": linear_neuron,
    "Sequential": feed_forward,
}


def given(name, num_steps):
    x = jax.random.normal(jax.random.key(1), (num_steps, 2, N))
    if name == "LI":  # with a conductance, so that the map differs from step to step
        return ns.Drive(current=x, g=jnp.exp(x[::-1]), E=jnp.full((num_steps,), -1.0), jump=0.1 * x)
    return ns.Drive(g_jump=x, g=jnp.full((num_steps, 1), 0.2), E=jnp.zeros(num_steps)) if name == "CubaLIF" else x


def step_by_step(model, state, inputs):
    return jax.lax.scan(functools.partial(model.step, dt=DT), state, inputs)


def at_once(model, state, inputs):
    return scan_parallel(model, state, inputs, dt=DT * u.ms)[:2]


@eqx.filter_jit
def results(model, inputs, with_gradients):
    """Of both ways: the final state and the outputs, and the gradients of a loss of these."""

    def loss(both, run):
        model, inputs = both
        values = run(model, model.init_state((2,)), inputs)
        return sum(jnp.mean(jnp.sin(x)) for x in jax.tree.leaves(values)), values

    def result(run):
        if not with_gradients:
            return loss((model, inputs), run)
        return eqx.filter_value_and_grad(loss, has_aux=True)((model, inputs), run)

    return result(step_by_step), result(at_once)


def assert_close(expected, found, tolerance):
    expected, found = jax.tree.leaves(expected), jax.tree.leaves(found)
    for a, b in zip(expected, found, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance * max(1.0, np.abs(a).max()))


@pytest.mark.parametrize("name", list(MODELS))
def test_values_and_gradients_are_those_of_step_by_step(name):
    with x64():
        expected, found = results(MODELS[name](), given(name, 6), True)
    assert jax.tree.leaves(found)[0].dtype == jnp.float64
    assert np.any(jax.tree.leaves(expected[1])[-1])
    assert_close(expected, found, 1e-12)


@pytest.mark.parametrize("name", ["CubaLIF", "Alpha"])
def test_in_single_precision(name):
    expected, found = results(MODELS[name](), given(name, 70 if name == "CubaLIF" else 300), False)
    assert_close(expected, found, 1e-5)


def test_any_number_of_steps():
    with x64():
        for num_steps in (1, 2, 77):
            lif = ns.LIF(N, tau=5.0, V_th=0.05, spk_reset=None)
            (_, (state, spikes)), found = results(lif, given("LIF", num_steps), False)
            assert spikes.shape == (num_steps, 2, N) and (num_steps < 77 or 0 < spikes.sum() < spikes.size)
            assert_close((state, spikes), found[1], 1e-12)


def test_states_of_all_steps():
    lif = ns.LIF(N, spk_reset=None)
    final, _, states = scan_parallel(lif, lif.init_state(), jnp.ones((30, N)), dt=0.1)
    np.testing.assert_allclose(states.V[:, 0], 1 - np.exp(-np.arange(1, 31) * 0.1 / 5), rtol=1e-5)
    assert (final.V == states.V[-1]).all()
    readout = ns.LeakyRateReadout(N, 1, w_init=jnp.ones((N, 1)))
    net = ns.Sequential(lambda x: 2 * x, readout)
    final, outputs, states = scan_parallel(net, net.init_state(), jnp.ones((5, N)), dt=1e-9)
    np.testing.assert_allclose(outputs[:, 0], [6, 12, 18, 24, 30], rtol=1e-6)
    assert states.layers[0] is None and (states.layers[1].r == outputs).all() and final.layers[1].r == outputs[-1]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: ns.LIF(N), r"LIF cannot be run in parallel.*it has a reset.*spk_reset=None"),
        (lambda: ns.LIF(N, spk_reset=None, tau_ref=1.0), "LIF .*it has a refractory period"),
        (lambda: ns.CubaLIF(N, spk_reset=None, spike_time="interpolated"), 'it has spike_time="interpolated"'),
        (lambda: linear_neuron(lambda y, p: {"V": 0 * y.V}), "ODENeuron.*`V`.*not an affine function"),
        (lambda: ns.ALIF(N, spk_reset=None), "ALIF .*new `a` is not an affine function"),
        (lambda: ns.QuaIF(N, spk_reset=None), "QuaIF .*`V`.*not an affine function"),
        (lambda: ns.Sequential(lambda x: x, ns.LIF(N)), "layer 1 of Sequential, LIF .*it has a reset"),
        (
            lambda: ns.Recurrent(ns.LI(N), ns.connect.Dense(N, N, 0.1)),
            "Recurrent .*not an affine function of the same element",
        ),
    ],
)
def test_a_model_with_feedback_is_refused(model, words):
    model = model()
    with pytest.raises(ValueError, match=f"(?s){words}"):
        scan_parallel(model, model.init_state(), jnp.ones((4, N)), dt=0.1)


class Cell(eqx.Module):
    """A cell with the map of its state as a function."""

    move: Any = eqx.field(static=True)

    def step(self, state, x, *, dt):
        return self.move(state, x), state


X = jnp.ones(4)


@pytest.mark.parametrize(
    ("move", "allowed"),
    [
        (lambda s, x: 2 * s / (1 + x) - (x - s), True),
        (lambda s, x: jnp.where(x > 0, -s, x), True),
        (lambda s, x: jax.jit(lambda s: s + x)(s), True),
        (lambda s, x: jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, x - c[1]), (0, s))[1], True),
        (lambda s, x: jnp.exp(s) * 0 + x, False),
        (lambda s, x: s * s, False),
        (lambda s, x: x / (1 + s), False),
        (lambda s, x: jnp.where(s > 0, s, s), False),
        (lambda s, x: jax.lax.stop_gradient(s), False),
        (lambda s, x: s[::-1], False),
        (lambda s, x: jax.lax.while_loop(lambda s: s[0] < 3, lambda s: s + 1, s), False),
        (lambda s, x: jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * s), (0, s))[1], False),
        (lambda s, x: s.sum() + x, False),
        (lambda s, x: jnp.cumsum(s), False),
        (lambda s, x: s.astype(int).astype(s.dtype), False),
        (lambda s, x: jax.lax.fori_loop(0, 2, lambda i, s: s + i, s), False),
        (lambda s, x: ns.surrogate.Sigmoid()(s), False),
    ],
)
def test_the_proof_that_a_map_is_affine(move, allowed):
    xs = jnp.linspace(-1.0, 1.0, 12).reshape(3, 4)
    if not allowed:
        with pytest.raises(ValueError, match="not an affine function"):
            scan_parallel(Cell(move), X, xs, dt=0.1)
        return
    _, _, states = scan_parallel(Cell(move), X, xs, dt=0.1)
    for before, x, after in zip([X, *states], xs, states, strict=False):
        np.testing.assert_allclose(move(before, x), after, rtol=1e-6)

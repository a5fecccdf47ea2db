"""Fluctuation-driven weights: the potential that they make is that which was asked for."""

from __future__ import annotations

import functools

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns
from neurostate import diagnostics
from neurostate.init import FluctuationDriven


KEYS = jax.random.split(jax.random.key(11), 6)
DT, RATE = 1.0, 20 * u.Hz
# No threshold and no reset: the potential alone.
QUIET = dict(tau=10.0, spk_reset=None, V_th=1e6, V_rest=-60.0, V_initializer=-60.0)


def on_synapses(cell):
    """A neuron whose spikes act on its synaptic current."""
    return ns.Sequential(lambda x: ns.Drive(g_jump=x), cell)


MODELS = {
    "LIF": lambda size: ns.Sequential(ns.LIF(size, R=2.0, **QUIET)),
    "CubaLIF": lambda size: on_synapses(ns.CubaLIF(size, R=2.0, tau_syn=4.0, **QUIET)),
}


def closed_form(name, dt, R=2.0, tau=10.0, tau_syn=4.0):
    """Geometric series of the response at the ends of the steps."""
    if name == "LIF":
        return R * dt, R**2 * dt * np.tanh(dt / (2 * tau))
    x, y = np.exp(-dt / tau), np.exp(-dt / tau_syn)
    c = R * tau_syn / (tau - tau_syn)
    squares = x**2 / (1 - x**2) - 2 * x * y / (1 - x * y) + y**2 / (1 - y**2)
    return c * (x / (1 - x) - y / (1 - y)) * dt, c**2 * squares * dt


def test_integrals_of_the_response_to_a_spike():
    for name, model in MODELS.items():
        found = diagnostics.kernel_integrals(model(1), dt=DT * u.ms, num_steps=300)
        np.testing.assert_allclose(np.ravel(found), closed_form(name, DT), rtol=1e-5)
    # For short steps those of the paper, section 2.2: tau_syn and tau_syn^2 / 2 (tau_mem + tau_syn), times R and R^2.
    fine = diagnostics.kernel_integrals(MODELS["CubaLIF"](1), dt=0.02)
    np.testing.assert_allclose(np.ravel(fine), [2.0 * 4.0, 4.0 * 4.0**2 / (2 * 14.0)], rtol=0.01)
    # The reset, the threshold, adaptation and where the run starts play no part.
    plain = diagnostics.kernel_integrals(ns.ALIF(1, tau=10.0, V_th=1e-3), dt=DT, num_steps=300)
    np.testing.assert_allclose(np.ravel(plain), closed_form("LIF", DT, R=1.0), rtol=1e-5)
    with pytest.raises(ValueError, match="has not decayed after `num_steps=300`: it is .* of .* mV at most"):
        diagnostics.kernel_integrals(ns.IF(1), dt=DT, num_steps=300)


N, NUM_STEPS, OUT = 200, 4000, 1000


@functools.cache
def potential_of(name):
    @jax.jit
    def run(weight):
        drive = jax.random.poisson(KEYS[1], 0.02 * DT, (NUM_STEPS, N)).astype(float) @ weight
        V = ns.simulate(MODELS[name](OUT), drive, dt=DT, record=lambda state, _: state.layers[-1].V).records
        return V[100:] + 60.0

    return run


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize(("xi", "mu"), [(1.0, 0.0), (3.0, 5.0)])
def test_the_potential_has_the_mean_and_deviation_asked_for(name, xi, mu):
    theta = 20.0 * u.mV
    eps = diagnostics.kernel_integrals(MODELS[name](1), dt=DT, num_steps=300)
    weights = FluctuationDriven(*eps, rate=RATE, xi=xi, mu=mu * 1e-3 * u.volt, theta=theta)
    V = np.asarray(potential_of(name)(weights((N, OUT), key=KEYS[0])), np.float64)
    sigma = (20.0 - mu) / xi
    # The mean over time differs from neuron to neuron with the sum of its weights: so many deviations of their mean.
    eps_bar, eps_hat = closed_form(name, DT)
    spread = 0.02 * eps_bar * np.sqrt(N) * sigma / np.sqrt(N * 0.02 * eps_hat) / np.sqrt(OUT)
    # and is known as well as `time / (2 * correlation time)` independent samples tell it.
    samples = V.shape[0] * DT / (2 * 15.0)
    assert abs(V.mean() - mu) < 4 * np.hypot(spread, sigma / np.sqrt(samples * OUT) * 3)
    assert abs(np.sqrt(V.var(0).mean()) / sigma - 1) < 0.05


def test_shares_of_input_and_recurrent_weights():
    eps = diagnostics.kernel_integrals(MODELS["LIF"](1), dt=DT, num_steps=300)
    make = functools.partial(FluctuationDriven, *eps, rate=RATE, xi=8.0, mu=4.0, theta=20.0)
    every = {alpha: make(alpha=alpha)((n, 3000), key=KEYS[2]) for alpha, n in ((1.0, 400), (0.9, 400), (0.1, 100))}
    moments = {
        alpha: (w.shape[0] * 0.02 * w.mean() * eps[0][0], w.shape[0] * 0.02 * (w**2).mean() * eps[1][0])
        for alpha, w in every.items()
    }
    np.testing.assert_allclose(moments[1.0], (4.0, 4.0), rtol=0.03)
    np.testing.assert_allclose(np.add(moments[0.9], moments[0.1]), (4.0, 4.0), rtol=0.03)
    np.testing.assert_allclose(moments[0.1], (0.4, 0.4), rtol=0.06)
    # A kernel of a convolution has as many inputs as it has positions and channels; one scale for each output.
    kernel = make(unit=u.mA)((5, 5, 16, 8), key=KEYS[3])
    np.testing.assert_allclose(kernel.to_decimal(u.mA).std(), every[1.0].std(), rtol=0.05)
    two = FluctuationDriven(eps[0], eps[1] * jnp.array([1.0, 4.0]), rate=RATE)((400, 2), key=KEYS[3])
    np.testing.assert_allclose(two[:, 0].std() / two[:, 1].std(), 2.0, rtol=0.15)


def test_a_deep_network_starts_alive():
    sizes, x = (100, 60, 60, 60), jax.random.bernoulli(KEYS[4], 0.02, (300, 4, 100)).astype(float)
    eps = diagnostics.kernel_integrals(ns.LIF(1, tau=10.0), dt=DT, num_steps=300)

    def layers(weight):
        for k, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            yield ns.connect.Dense(n_in, n_out, weight, key=KEYS[k])
            yield ns.LIF(n_out, tau=10.0)

    def dead(weight):
        spikes = diagnostics.layer_spikes(ns.Sequential(*layers(weight)), x, dt=DT)
        return [float(report.dead_fraction) for report in diagnostics.activity(spikes, dt=DT).values()]

    driven, lecun = dead(FluctuationDriven(*eps, rate=RATE, xi=1.0)), dead(ns.init.LecunNormal())
    assert max(driven) < 0.3 and lecun == [1.0] * 3


def test_what_is_refused():
    for changes, message in (
        (dict(rate=1 * u.ms), "`rate` of `FluctuationDriven` must have a unit like"),
        (dict(xi=0.0), "`xi` must be positive"),
        (dict(alpha=1.5), "`alpha` must be above 0 and at most 1"),
        (dict(eps_hat=-1.0), "`eps_hat` must be positive"),
        (dict(mu=1 * u.nA), "`mu` of `FluctuationDriven` must have a unit like mV"),
    ):
        with pytest.raises(ValueError, match=message):
            FluctuationDriven(**{"eps_bar": 1.0, "eps_hat": 1.0, "rate": RATE, **changes})
    with pytest.raises(ValueError, match="`mu` must be so far from the threshold.*lower `xi` or `mu`"):
        FluctuationDriven(1.0, 1.0, rate=RATE, mu=0.99)((10, 10), key=KEYS[0])
    words = "FluctuationDriven(eps_bar=1.0, eps_hat=0.5, rate=0.02, mu=0.5)"
    assert repr(FluctuationDriven(1.0, 0.5, rate=RATE, mu=0.5)) == words

"""Networks of the literature: Brunel (2000), Vogels et al. (2011), Potjans and Diesmann (2014)."""

from __future__ import annotations

import functools

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import erfcx

import neurostate as ns

from .benchmarks import brunel
from .benchmarks import potjans_diesmann as microcircuit


DT = 0.1


# Brunel (2000), model A, at the size of figure 8: 12,500 neurons with 1,250 synapses each of 0.1 mV.


@functools.cache
def edges():
    return brunel.drawn(10_000, seed=0)


def by_theory(g, drive, C=1000, J=0.1, tau=20.0, tau_ref=2.0, threshold=20.0, reset=10.0):
    """The rate in Hz at which a neuron with the mean and variance of its input fires, if all fire at that rate."""

    def surplus(rate):
        mean = C * J * tau * rate * (1 - g / 4) + drive * threshold
        sigma = np.sqrt(C * J**2 * tau * rate * (1 + g**2 / 4) + J * drive * threshold)
        passage = quad(lambda x: erfcx(-x), (reset - mean) / sigma, (threshold - mean) / sigma, limit=200)[0]
        return 1 / (tau_ref + tau * np.sqrt(np.pi) * passage) - rate

    return 1e3 * float(brentq(surplus, 1e-4, 0.4))  # pyright: ignore[reportArgumentType]


def test_the_theory_gives_the_rates_of_the_paper():
    for (g, drive), rate in {(5.0, 2.0): 38.0, (6.0, 4.0): 55.8, (4.5, 0.9): 6.5}.items():
        assert abs(by_theory(g, drive) - rate) < 0.1


def figures_of_brunel(regime, duration, skipped):
    """Of the spikes in each ms: the rate and the irregularity of intervals; the standard deviation of the part of the
    neurons that spike, over its mean; the frequency of its spectrum's peak, and what part of the power is there."""
    net = brunel.network(regime, 10_000, edges())
    run = ns.simulate(net, round(duration / DT), dt=DT, key=jax.random.key(0), every=10, reduce="sum")
    counts = np.asarray(run.outputs["N"])[skipped:]
    time, part = np.nonzero(counts.T)[1], counts.mean(1)
    same = np.diff(np.nonzero(counts.T)[0]) == 0
    intervals = np.diff(time)[same]
    power = np.abs(np.fft.rfft(part - part.mean())) ** 2
    frequency = np.fft.rfftfreq(len(part), 1e-3)
    peak = np.argmax(np.where(frequency > 5, power, 0))
    share = power[np.abs(frequency - frequency[peak]) < 10].sum() / power.sum()
    return 1e3 * part.mean(), intervals.std() / intervals.mean(), part.std() / part.mean(), frequency[peak], share, part


def test_brunel_synchronous_regular():
    """Two clusters spike in turn, each when the spikes of the other arrive: a delay and a step later."""
    rate, cv, _, _, _, part = figures_of_brunel("SR", 80, 40)
    assert abs(rate * 3.2e-3 - 1) < 0.03 and cv < 0.2
    assert (part[1:] + part[:-1]).max() > 0.95


def test_brunel_asynchronous_irregular_and_fast_oscillations():
    """The rate is that of the theory where it is stable; else fast and global, while the neurons stay irregular."""
    rate, cv, spread, _, share, _ = figures_of_brunel("AI", 460, 60)
    assert abs(rate / by_theory(5.0, 2.0) - 1) < 0.06 and cv > 0.35 and spread < 0.7
    fast, fast_cv, fast_spread, frequency, fast_share, _ = figures_of_brunel("SI_fast", 460, 60)
    assert abs(fast / 60.7 - 1) < 0.05  # as the paper simulates, above the theory of 55.8 Hz
    assert fast_cv > 0.7 and fast_spread > 0.85 and fast_share > 1.5 * share
    assert 140 < frequency < 200 and frequency > 2 * fast


def test_brunel_slow_oscillations():
    """Global waves, in each of which few neurons take part."""
    rate, cv, spread, _, _, part = figures_of_brunel("SI_slow", 1060, 60)
    assert abs(rate / 5.5 - 1) < 0.15 and cv > 0.5 and spread > 1.1 and part.max() < 0.25
    # The waves come at intervals of 35 to 65 ms, of which the peak of the autocorrelation tells the most frequent one.
    away = part - part.mean()
    alike = np.correlate(away, away, "full")[away.size - 1 :] / (away**2).sum()
    interval = 20 + np.argmax(alike[20:80])
    assert 35 < interval < 65 and alike[interval] > 0.05 and 1e3 / interval > 2 * rate


# Vogels et al. (2011): inhibition that learns to balance excitation.

VOGELS = {
    "R": 100 * u.Mohm, "tau": 20 * u.ms, "V_rest": -60 * u.mV, "V_reset": -60 * u.mV, "V_th": -50 * u.mV,
    "tau_ref": 5 * u.ms, "spk_reset": "hard", "V_initializer": ns.init.Uniform(-60.0, -50.0, unit=u.mV),
}  # fmt: skip
HALF = 0.5  # the time step in ms


def excitatory(num):
    return ns.Expon(num, tau=5 * u.ms, g_unit=u.nS), ns.COBA(0 * u.mV)


def inhibitory(num):
    return ns.Expon(num, tau=10 * u.ms, g_unit=u.nS), ns.COBA(-80 * u.mV)


def test_inhibition_learns_the_tuning_of_excitation():
    """One cell with 8 channels, whose excitatory and inhibitory inputs follow one signal each (figure 1)."""
    channels, num_E, num_I, steps = 8, 160, 80, 50_000
    tuning = 0.9 + 3.3 * np.exp(-(((np.arange(channels) - 3) / 1.5) ** 2))
    rng, keep = np.random.default_rng(0), np.exp(-HALF / 50)
    signal, noise = np.zeros((steps, channels)), np.sqrt(1 - keep**2) * rng.standard_normal((steps, channels))
    for n in range(1, steps):
        signal[n] = keep * signal[n - 1] + noise[n]
    chance = (2 + 30 * signal.clip(0)) * HALF * 1e-3
    of_channel = np.concatenate([np.repeat(np.arange(channels), num // channels) for num in (num_E, num_I)])
    spikes = rng.random((steps, num_E + num_I), np.float32) < chance[:, of_channel]
    weight = np.repeat(tuning, num_E // channels)[:, None] * u.nS
    rule = ns.InhibitorySTDP(60 * u.nS, eta=0.01, tau=20 * u.ms, rho0=5 * u.Hz)
    net = ns.Network(
        {"S": ns.LIF(num_E + num_I, V_th=0.5 * u.mV, spk_reset="hard"), "N": ns.LIF(1, **VOGELS)},
        {
            "E": ns.Projection(f"S[:{num_E}]", "N", ns.connect.Dense(num_E, 1, weight), *excitatory(1)),
            "I": ns.Projection(
                f"S[{num_E}:]", "N", ns.connect.Dense(num_I, 1, 0.1 * u.nS), *inhibitory(1), plasticity=rule
            ),
        },
    )
    # A jump above the threshold makes those spike that shall.
    drive = {"S": ns.Drive(jump=jnp.asarray(spikes, jnp.float32))}
    key, second = jax.random.key(0), round(1000 / HALF)
    sol = ns.simulate(net, drive, dt=HALF, key=key, every=second, reduce="sum", record="I.weight")
    rate, learned = np.asarray(sol.outputs["N"])[:, 0], np.asarray(sol.records["I.weight"])[-1]
    assert np.array_equal(sol.outputs["S"].sum(0), spikes.sum(0))
    assert rate[0] > 15 and abs(rate[10:].mean() / 5 - 1) < 0.35
    assert np.corrcoef(learned.reshape(channels, -1).mean(1), tuning)[0, 1] > 0.85


def test_a_network_learns_its_rate_and_forgets_an_assembly_in_its_activity():
    """Rates are drawn to 5 Hz. An assembly whose synapses grow is active, until inhibition balances it (figure 4)."""
    num_E, num_I, rows = 400, 100, {"E": 400, "I": 100}
    keys = iter(jax.random.split(jax.random.key(0), 4))
    edges = {
        pre + post: ns.connect.fixed_probability(rows[pre], rows[post], p, key=next(keys))
        for pre, post, p in (("E", "E", 0.05), ("E", "I", 0.05), ("I", "E", 0.2), ("I", "I", 0.1))
    }
    rule = ns.InhibitorySTDP(50 * u.nS, eta=0.005, tau=20 * u.ms, rho0=5 * u.Hz)
    sparse = {
        name: ns.connect.EventSparse(edges[name], weight * u.nS)
        for name, weight in {"EE": 1.0, "EI": 3.0, "IE": 1.0, "II": 10.0}.items()
    }
    net = ns.Network(
        {"E": ns.LIF(num_E, **VOGELS), "I": ns.LIF(num_I, **VOGELS)},
        {
            "EE": ns.Projection("E", "E", sparse["EE"], *excitatory(num_E)),
            "EI": ns.Projection("E", "I", sparse["EI"], *excitatory(num_I)),
            "IE": ns.Projection("I", "E", sparse["IE"], *inhibitory(num_E), plasticity=rule),
            "II": ns.Projection("I", "I", sparse["II"], *inhibitory(num_I)),
        },
        inputs={"E": np.linspace(100, 300, num_E) * u.pA, "I": 150 * u.pA},
    )
    key, second, duration = jax.random.key(1), round(1000 / HALF), 25
    run = functools.partial(ns.simulate, inputs=duration * second, dt=HALF, key=key, every=second, reduce="sum")
    before = run(net)
    rates = np.asarray(before.outputs["E"])
    assert rates[0].std() > 4 and rates[-10:].mean(0).std() < 1 and abs(rates[-10:].mean() / 5 - 1) < 0.25

    members = np.arange(num_E) % 8 == 0
    within = members[edges["EE"].pre] & members[edges["EE"].post]
    where = lambda net: net.projections["EE"].connection.weight  # noqa: E731
    grown = eqx.tree_at(where, net, where(net) * np.where(within, 10.0, 1.0).astype(np.float32))
    after = run(grown, state=before.state)
    rates = np.asarray(after.outputs["E"])
    assert rates[0, members].mean() > 1.5 * rates[0, ~members].mean()
    assert abs(rates[-10:, members].mean() / rates[-10:, ~members].mean() - 1) < 0.2
    inhibition = [np.bincount(edges["IE"].post, x.state.projections["IE"].weight) for x in (before, after)]
    gained = inhibition[1] / inhibition[0]
    assert gained[members].mean() > 1.4 and gained[~members].mean() < 1.15


# Potjans and Diesmann (2014) at a tenth of the size.


def test_the_rates_of_the_layers_of_the_cortical_microcircuit():
    counts = microcircuit.run(microcircuit.network(0.1), 1000, 100, seed=0)
    found = microcircuit.figures_of(counts, 0.1)
    for name, rate in found["published_hz"].items():
        assert abs(found["rate_hz"][name] / rate - 1) < 0.25
    assert found["synchrony"] < 8 and microcircuit.irregularity_of(counts) > 0.5

"""The cortical microcircuit of Potjans and Diesmann (2014): four layers, each of excitatory and inhibitory neurons.

    python -m tests.benchmarks.potjans_diesmann [--scale 0.1] [--duration-ms 1000] [--skip-ms 200] [--seed 0] [--json]

`--scale` multiplies the numbers of neurons and of synapses onto each of them; 1 are 77,169 neurons and 299 million
synapses. With fewer synapses the weights grow by `1 / sqrt(scale)`, which keeps the variance of the input, and a
constant current makes up for the mean that is missing at the published rates (van Albada, Helias and Diesmann 2015).

Prints for each population the rate and the published one; `synchrony`, the variance of the number of spikes in 3 ms
over its mean, averaged over populations; `irregularity`, the local variation of the intervals between the spikes of a
neuron; and the time of construction, of the first call and of a second one.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import brainunit as u
import jax
import numpy as np

import neurostate as ns

from . import _networks as common
from ._networks import DT


NAMES = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
SIZES = np.array([20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948])
PUBLISHED = np.array([0.86, 2.80, 4.45, 5.93, 7.59, 8.64, 1.09, 7.88])  # table 6, in Hz
EXTERNAL = np.array([1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100])  # inputs of 8 Hz onto each neuron
# Table 5: the probability of at least one synapse, onto the population of the row from that of the column.
PROBABILITY = np.array(
    [
        [0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0000, 0.0076, 0.0000],
        [0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0000, 0.0042, 0.0000],
        [0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0000],
        [0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0000, 0.1057, 0.0000],
        [0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0000],
        [0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0000],
        [0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252],
        [0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443],
    ]
)
WEIGHT, RELATIVE_I, BACKGROUND = 87.8, -4.0, 8.0  # in pA, for 0.15 mV; the inhibitory ones; in Hz
TAU_SYN, DELAYS = 0.5, (1.5, 0.75)  # in ms, of excitatory and of inhibitory synapses


def in_degrees() -> Any:
    """The numbers of synapses onto a neuron of each population (row) from each, at full size."""
    pairs = np.outer(SIZES, SIZES).astype(float)
    return np.log1p(-PROBABILITY) / np.log1p(-1 / pairs) / SIZES[:, None]


def mean_weights() -> Any:
    """Their weights in pA; those from L4E onto L23E are twice as large."""
    weights = np.tile(np.where(np.arange(8) % 2, RELATIVE_I * WEIGHT, WEIGHT), (8, 1))
    weights[0, 2] *= 2
    return weights


def drawn(scale: float, seed: int) -> tuple[Any, Any, Any, Any]:
    """The sizes of the populations; the edges between their neurons, one population after the other; weights, delays.

    Weights vary by a tenth, delays by a half; a delay is at least one time step, and a whole number of them.
    """
    sizes, weights, degrees = np.round(SIZES * scale).astype(int), mean_weights() / scale**0.5, in_degrees() * scale
    first, rng, parts = np.cumsum(sizes) - sizes, np.random.default_rng(seed), []
    keys = iter(jax.random.split(jax.random.key(seed), 64))
    for post in range(8):
        for pre in range(8):
            total = round(degrees[post, pre] * sizes[post])
            edges = ns.connect.fixed_total(int(sizes[pre]), int(sizes[post]), total, key=next(keys))
            weight = weights[post, pre] * (1 + 0.1 * rng.standard_normal(total))
            delay = DELAYS[pre % 2] * (1 + 0.5 * rng.standard_normal(total))
            parts.append((edges.pre + first[pre], edges.post + first[post], weight, delay))
    pre, post, weight, delay = map(np.concatenate, zip(*parts, strict=True))
    steps = np.maximum(np.round(delay / DT), 1).astype(int)
    return sizes, ns.connect.Edges(pre, post, int(sizes.sum()), int(sizes.sum())), weight, steps


def network(scale: float, seed: int = 0) -> ns.Network:
    """All neurons as one population, and the spikes from outside as another, one for each neuron."""
    sizes, edges, weight, delay = drawn(scale, seed)
    num, each = edges.num_in, lambda values: np.repeat(values, sizes)  # noqa: E731
    missing = (mean_weights() * in_degrees()) @ PUBLISHED + WEIGHT * EXTERNAL * BACKGROUND
    current = TAU_SYN * 1e-3 * (1 - scale**0.5) * missing  # of what is not there at this scale
    lif = ns.LIF(
        num, R=40 * u.Mohm, tau=10 * u.ms, V_rest=-65 * u.mV, V_reset=-65 * u.mV, V_th=-50 * u.mV, tau_ref=2 * u.ms,
        spk_reset="hard", V_initializer=ns.init.Normal(-58.0, 10.0, unit=u.mV),
    )  # fmt: skip
    outside = ns.PoissonInput(num, num_input=1, freq=each(EXTERNAL * scale) * BACKGROUND * u.Hz, weight=1.0)
    synapse = ns.Expon(num, tau=TAU_SYN * u.ms, g_unit=u.pA)
    from_outside = ns.connect.OneToOne(num, WEIGHT / scale**0.5 * u.pA)
    return ns.Network(
        {"N": lif, "outside": outside},
        {
            "within": ns.Projection("N", "N", ns.connect.EventSparse(edges, weight * u.pA), synapse, delay=delay),
            "from outside": ns.Projection("outside", "N", from_outside, synapse),
        },
        inputs={"N": each(current) * u.pA},
        outputs=("N",),
    )


def figures_of(counts: Any, scale: float) -> dict[str, Any]:
    """Rates and synchrony, from the number of spikes of each neuron in each ms."""
    edges = np.cumsum(np.round(SIZES * scale).astype(int))[:-1]
    layers = np.split(counts, edges, axis=1)
    bins = [layer[: len(layer) // 3 * 3].sum(1).reshape(-1, 3).sum(1) for layer in layers]
    return {
        "rate_hz": {name: float(layer.mean()) * 1e3 for name, layer in zip(NAMES, layers, strict=True)},
        "published_hz": dict(zip(NAMES, PUBLISHED.tolist(), strict=True)),
        "synchrony": float(np.mean([x.var() / x.mean() for x in bins])),
    }


def irregularity_of(counts: Any) -> float:
    """The local variation of intervals (Shinomoto et al. 2003): 0 for a regular train, 1 for a Poisson process."""
    neuron, time = np.nonzero(counts.T)
    same = neuron[2:] == neuron[:-2]
    first, second = np.diff(time)[:-1][same], np.diff(time)[1:][same]
    return float(3 * np.mean(((first - second) / (first + second)) ** 2))


def run(net: ns.Network, duration: float, skipped: float, seed: int) -> Any:
    """The number of spikes of each neuron in each ms, after those that are skipped."""
    steps, key, each = round((skipped + duration) / DT), jax.random.key(seed), round(1 / DT)
    sol = ns.simulate(net, steps, dt=DT, key=key, every=each, reduce="sum")
    return np.asarray(sol.outputs["N"]).astype(np.uint8)[round(skipped) :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--duration-ms", type=float, default=1000.0)
    parser.add_argument("--skip-ms", type=float, default=200.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    start = time.perf_counter()
    net = network(options.scale, options.seed)
    built = time.perf_counter()
    counts = run(net, options.duration_ms, options.skip_ms, options.seed)
    found = {**figures_of(counts, options.scale), "irregularity": irregularity_of(counts)}
    found |= {"synapses": net.projections["within"].connection.num_synapses, "build_s": built - start}
    found |= {"first_call_s": time.perf_counter() - built}
    found |= {"run_s": common.seconds(lambda: run(net, options.duration_ms, options.skip_ms, options.seed))}
    common.show({**found, "peak_mb": common.peak_mb()}, options.json)


if __name__ == "__main__":
    main()

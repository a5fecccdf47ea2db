"""The network of Brunel (2000, figure 8) in four regimes: delta synapses with a delay, and external Poisson spikes.

    python -m tests.benchmarks.brunel [--scale 1] [--duration-ms 1000] [--seed 0] [--regimes SR SI_fast AI SI_slow]
        [--rounds 3] [--compiled] [--brian2] [--json]

`--scale 1` are 10,000 excitatory and 2,500 inhibitory neurons, each with synapses from a tenth of either. With another
scale there are fewer or more of both, and the weights change so that the mean input stays. For each regime there are

- `rate_hz`, `cv`: The mean rate, and the mean variation of the intervals between the spikes of a neuron.
- `synchrony`: The variance of the number of spikes in 1 ms as a multiple of that of independent Poisson processes.
- `frequency_hz`: Where the spectrum of that number is greatest, above 5 Hz.
- `run_s`, `first_call_s`, `neurons_s`, and what `--compiled` and `--brian2` add: as in `tests.benchmarks.coba`.
    `neurons_s` are the neurons and their external spikes.
"""

from __future__ import annotations

import argparse
import functools
from typing import Any

import brainunit as u
import jax
import numpy as np

import neurostate as ns

from . import _networks as common
from ._networks import DT, Standalone, runner, seconds


# The strength of inhibition, and the external rate as a multiple of that which reaches the threshold by itself.
REGIMES = {"SR": (3.0, 2.0), "SI_fast": (6.0, 4.0), "AI": (5.0, 2.0), "SI_slow": (4.5, 0.9)}
DELAY, EDGE = 1.5, 10_000


def drawn(num_E: int, seed: int) -> dict[str, tuple[Any, Any]]:
    """The neurons in front of and behind the synapses, ordered by the first, of a fixed number onto each neuron."""
    rng, found, num = np.random.default_rng(seed), {}, num_E + num_E // 4
    for name, count in (("E", num_E), ("I", num_E // 4)):
        pre = rng.integers(0, count, num * (count // 10), dtype=np.int32)
        order = np.argsort(pre, kind="stable")
        found[name] = pre[order], (order // (count // 10)).astype(np.int32)
    return found


def sizes_of(num_E: int) -> tuple[int, float]:
    """The number of excitatory synapses onto a neuron, and their weight in mV."""
    return num_E // 10, 0.1 * EDGE / num_E


def network(regime: str, num_E: int, edges: Any, connect: Any = ns.connect.EventSparse) -> ns.Network:
    (g, drive), (degree, J), num = REGIMES[regime], sizes_of(num_E), num_E + num_E // 4
    constants: dict[str, Any] = {
        "V_rest": 0.0,
        "V_th": 20.0,
        "V_reset": 10.0,
        "tau": 20.0,
        "tau_ref": 2.0,
        "spk_reset": "hard",
    }
    start = np.random.default_rng(0).uniform(0, 20, num)
    projections = {}
    for name, weight, source in (("E", J, f"N[:{num_E}]"), ("I", -g * J, f"N[{num_E}:]")):
        count = num_E if name == "E" else num_E // 4
        connection = connect(
            ns.connect.Edges(*edges[name], in_size=count, out_size=num), weight * u.mV, values="binary"
        )
        projections[name] = ns.Projection(source, "N", connection, delay=DELAY * u.ms)
    # The rate at which the mean input is at the threshold is 20 mV / (J * degree * tau).
    rate = drive * 20.0 / (J * degree * 20.0)
    noise = ns.PoissonInput(num, num_input=degree, freq=rate / u.ms, weight=J * u.mV)
    return ns.Network({"N": ns.LIF(num, **constants, V_initializer=start)}, projections, inputs={"N": noise}, dt=DT)


def in_brian2(regime: str, num_E: int, edges: Any, duration: float, dtype: Any) -> Standalone:
    (g, drive), (degree, J), num = REGIMES[regime], sizes_of(num_E), num_E + num_E // 4

    def build(b2: Any) -> list[Any]:
        equation = "dv/dt = -v/(20*ms) : 1 (unless refractory)"
        rule = {"threshold": "v >= 20", "reset": "v = 10", "refractory": 2 * b2.ms, "method": "exact"}
        group = b2.NeuronGroup(num, equation, **rule)
        group.v = "20*rand()"
        spikes = b2.BinomialFunction(degree, drive * 20.0 / (J * degree * 20.0) * DT)
        group.namespace.update(spikes=spikes, J=J)
        group.run_regularly("v += J*spikes()*int(not_refractory)", when="synapses")
        synapses = []
        for name, weight, shift in (("E", J, 0), ("I", -g * J, num_E)):
            of = b2.Synapses(group, group, on_pre="v_post += w*int(not_refractory_post)", namespace={"w": weight})
            of.connect(i=edges[name][0] + shift, j=edges[name][1])
            of.delay = DELAY * b2.ms
            synapses.append(of)
        return [group, *synapses, b2.SpikeMonitor(group, name="spikes")]

    return Standalone(build, duration, dtype)


def figures_of(spikes: Any, num: int, duration: float) -> dict[str, float]:
    """The rate, irregularity and synchrony after the first fifth of the run."""
    skipped = duration / 5
    later = spikes[spikes[:, 0] * DT >= skipped]
    rate, cv = common.statistics_of(later, num, duration - skipped)
    counts = np.histogram(later[:, 0] * DT, np.arange(skipped, duration + 1e-6, 1.0))[0]
    spectrum = np.abs(np.fft.rfft(counts - counts.mean())) ** 2
    frequency = np.fft.rfftfreq(len(counts), 1e-3)
    peak = frequency[np.argmax(np.where(frequency > 5, spectrum, 0))]
    synchrony = counts.var() / max(counts.mean(), 1e-9)
    return {"rate_hz": rate, "cv": cv, "synchrony": float(synchrony), "frequency_hz": float(peak)}


def measure(regime: str, num_E: int, options: argparse.Namespace) -> dict[str, float]:
    edges, duration, num = drawn(num_E, options.seed), options.duration_ms, num_E + num_E // 4
    key, steps = jax.random.key(options.seed), round(duration / DT)
    of = lambda connect: network(regime, num_E, edges, connect)  # noqa: E731
    net = of(ns.connect.EventSparse)
    found = figures_of(common.spikes_of(net, net.init_state(), steps, key=key), num, duration)
    nets = {"run_s": net, "neurons_s": of(common.silent)}
    if options.compiled:
        nets["compiled_s"] = of(common.compiled)
    ways: dict[str, Any] = {
        way: functools.partial(seconds, runner(net, net.init_state(), steps, key=key)) for way, net in nets.items()
    }
    if options.brian2:
        ways["brian2_float32"] = in_brian2(regime, num_E, edges, duration, np.float32)
    firsts = {way: call() for way, call in ways.items()}
    found |= {"first_call_s": firsts["run_s"], **common.rounds_of(ways, options.rounds)}
    if options.brian2:
        ours = [mine for mine in ("run_s", "compiled_s") if mine in found]
        found |= {f"{mine}/brian2_float32": found[mine] / found["brian2_float32"] for mine in ours}
        theirs = figures_of(common.spikes_of_brian2(ways["brian2_float32"]), num, duration)
        found |= {f"{name}_brian2": value for name, value in theirs.items()}
    return found


def main() -> None:
    parser = common.options_of(__doc__)
    parser.add_argument("--regimes", nargs="+", choices=tuple(REGIMES), default=list(REGIMES))
    parser.set_defaults(rounds=3)
    options = common.parse(parser)
    num_E = round(EDGE * options.scale / 40) * 40
    found: dict[str, Any] = {name: measure(name, num_E, options) for name in options.regimes}
    common.show({**found, "overflow": 0, "peak_mb": common.peak_mb()}, options.json)


if __name__ == "__main__":
    main()

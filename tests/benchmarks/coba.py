"""The COBA network of spiking neurons, driven and not, on its own and against other simulators.

    python -m tests.benchmarks.coba [--scale 1] [--duration-ms 1000] [--seed 0] [--model driven|coba|cobahh] [--json]
        [--rounds 5] [--cores 1] [--compiled] [--brian2] [--brainstate] [--trials 100] [--backward] [--plastic]
        [--sizes] [--check]

`--scale 1` are 4,000 neurons. All run on one core, unless `--cores` gives more: with more, XLA divides the step of the
neurons between threads, and up to some ten thousand of them waiting for each other costs more than that gains. The
figures:

- `rate_hz`: The mean rate.
- `run_s`, `first_call_s`: Seconds of a run, the median of the rounds, and of the first one, which compiles.
- `neurons_s`: Of a run without connections: what the neurons and their conductances take.
- `overflow`: How many steps lost spikes. Always 0: the loop over the spikes of a step has no bound, so none is dropped.
- `peak_mb`: The peak memory of this process up to the end of the second run.

Options add to these:

- `--compiled`: Seconds of a run with `EventSparse(backend="compiled")`.
- `--brian2`: Seconds of the loop of Brian2 (C++ standalone, one thread) in the same rounds, with the same synapses from
    the same start, and `run_s` as a multiple of it, for single and double precision; and its rate.
- `--brainstate`: The same for brainstate with brainevent, whose synapses are other ones of the same number.
- `--trials`: Seconds of so many starts in one `vmap`, for each of them.
- `--backward`: Seconds of the gradient over 100 steps with respect to the weight of each synapse, and of these steps.
- `--plastic`: Seconds of 100 ms of 1,000 synapses from each neuron, with random delays up to 5 ms and pair STDP of the
    excitatory ones, here and with `--brian2` there.
- `--sizes`: Microseconds per step, and so on, of processes of their own for 4,000 to 250,000 neurons.
- `--check`: With the same synapses and start, the greatest difference from Brian2 in the mean `V` and conductances over
    20 ms, whether the first 100 spikes are the same, and how many are before the first one that is not, there and in
    the whole run; then the probability of the rates, and of the variation of the intervals between spikes, of 20
    networks of each, none in common, under one distribution (Kolmogorov-Smirnov, Welch). It must not be below 0.01.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from typing import Any

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import neurostate as ns

from . import _networks as common
from ._networks import DT, MODELS, Case, case, in_order, network, runner, seconds, started


# Pair STDP with the numbers of `neurostate.STDP`.
LEARNING = {
    "model": """w : 1
        dx/dt = -x/(20*ms) : 1 (event-driven)
        dy/dt = -y/(20*ms) : 1 (event-driven)""",
    "on_pre": """ge_post += w
        x += 1
        w = clip(w - 0.00525*top*y, 0, top)""",
    "on_post": """y += 1
        w = clip(w + 0.005*top*x, 0, top)""",
}
SIZES = (4_000, 16_000, 64_000, 250_000)


def traces_of(here: Case, steps: int) -> tuple[dict[str, Any], Any]:
    """The means over the neurons after each step of `V`, in which spikes have been reset, and of both conductances;
    and the spikes."""
    net = network(here)
    names = {"v": "N.V", "ge": "E.synapse.g", "gi": "I.synapse.g"}
    sol = ns.simulate(net, steps, dt=DT, state=started(net, here), record=list(names.values()))
    spikes = np.asarray(sol.outputs["N"])
    kept = {name: np.asarray(sol.records[of], np.float64) for name, of in names.items()}
    kept["v"] = np.where(spikes > 0, -60.0, kept["v"])
    return {name: x.mean(1) for name, x in kept.items()}, in_order(*np.nonzero(spikes))


def first_spikes(num: int, seed: int, enable_x64: bool) -> dict[str, Any]:
    """How far the first 20 ms are from those of Brian2 in double precision."""
    here, steps = case("driven", num, seed), 200
    program = common.in_brian2(here, steps * DT, np.float64, record=True)
    program()
    theirs = common.spikes_of_brian2(program)
    found = {}
    with jax.enable_x64(enable_x64):
        ours, spikes = traces_of(here, steps)
    for name, trace in ours.items():
        mean = program.read(f"_dynamic_array_trace_{name}_*", np.float64).reshape(-1, num).mean(1)
        found[name] = float(np.abs(trace - mean * (1e3 if name == "v" else 1)).max())
    found["first_spikes"] = bool(np.array_equal(spikes[:100], theirs[:100]))
    found["spikes"], found["equal_spikes"] = len(theirs), equal_at_first(spikes, theirs)
    return found


def equal_at_first(ours: Any, theirs: Any) -> int:
    """How many spikes are the same before the first one that is not."""
    count = min(len(ours), len(theirs))
    differ = np.nonzero((ours[:count] != theirs[:count]).any(1))[0]
    return int(differ[0]) if len(differ) else count


def whole_run(num: int, duration: float) -> dict[str, int]:
    """How many of the spikes of a run in double precision are the same before the first one that is not."""
    here = case("driven", num)
    program = common.in_brian2(here, duration, np.float64)
    program()
    theirs = common.spikes_of_brian2(program)
    with jax.enable_x64(True):
        net = network(here)
        ours = common.spikes_of(net, started(net, here), round(duration / DT))
    return {"spikes": len(theirs), "ours": len(ours), "equal_spikes": equal_at_first(ours, theirs)}


def check(num: int, duration: float, seeds: int) -> dict[str, Any]:
    from scipy import stats  # pyright: ignore[reportMissingImports]

    found: dict[str, Any] = {"float64": first_spikes(num, 0, True), "float32": first_spikes(num, 0, False)}
    found["whole_run"] = whole_run(num, duration)
    ours, theirs = [], []
    for seed in range(1, seeds + 1):
        here = case("driven", num, seed)
        net = network(here)
        ours.append(
            common.statistics_of(common.spikes_of(net, started(net, here), round(duration / DT)), num, duration)
        )
        program = common.in_brian2(case("driven", num, seed + seeds), duration, np.float64)
        program()
        theirs.append(common.statistics_of(common.spikes_of_brian2(program), num, duration))
    for k, name in enumerate(("rate_hz", "cv")):
        a, b = (np.array(x)[:, k] for x in (ours, theirs))
        found[name] = {"ours": a.mean(), "brian2": b.mean(), "std": a.std(ddof=1), "std_brian2": b.std(ddof=1)}
        found[name] |= {"p_ks": stats.ks_2samp(a, b).pvalue, "p_welch": stats.ttest_ind(a, b, equal_var=False).pvalue}
    found["passed"] = bool(
        max(found["float64"][x] for x in ("v", "ge", "gi")) < 1e-3
        and found["float64"]["first_spikes"]
        and min(found[x][p] for x in ("rate_hz", "cv") for p in ("p_ks", "p_welch")) >= 0.01
    )
    return found


def trials(name: str, num: int, duration: float, count: int) -> dict[str, float]:
    """Seconds for each of so many starts in one `vmap`, and alone."""
    here, steps = case(name, num), round(duration / DT)
    net = network(here)
    starts = [started(net, here._replace(start=here.model.start(np.random.default_rng(k), num))) for k in range(count)]
    states = jax.tree.map(lambda *x: jnp.stack(x), *starts)
    alone = runner(net, starts[0], steps)
    together = lambda: jax.block_until_ready(jax.vmap(one)(states))  # noqa: E731
    one = lambda state: ns.simulate(net, steps, dt=DT, state=state, record="N.rate", outputs=False).records  # noqa: E731
    rates = together()["N.rate"].mean(1)
    alone()
    found = common.rounds_of({"trial_s": lambda: seconds(together) / count, "alone_s": lambda: seconds(alone)}, 3)
    return {**found, "trials_rate_hz": float(rates.mean()), "ratio_trial": found["trial_s"] / found["alone_s"]}


def backward(num: int, steps: int = 100) -> dict[str, float]:
    """Seconds of the gradient of a loss of the spikes with respect to the weights of all synapses."""
    here = case("driven", num)
    net = network(here, lambda edges, w, **kwargs: ns.connect.EventSparse(edges, np.full(len(edges), w), **kwargs))
    state = started(net, here)
    at = lambda net: [net.projections[name].connection.weight for name in ("E", "I")]  # noqa: E731

    @jax.jit
    def loss(weights: Any) -> Any:
        spikes = ns.simulate(eqx.tree_at(at, net, weights), steps, dt=DT, state=state).outputs["N"]
        return (spikes.mean(0) ** 2).sum()

    slope = jax.jit(jax.grad(loss))
    ways = {"steps_s": loss, "gradient_s": slope}
    calls = {name: lambda f=f: seconds(lambda: jax.block_until_ready(f(at(net)))) for name, f in ways.items()}
    firsts = {name: call() for name, call in calls.items()}
    found = common.rounds_of(calls, 5)
    size = sum(float(jnp.abs(x).sum()) for x in slope(at(net)))
    return {
        **found,
        "first_gradient_s": firsts["gradient_s"],
        "gradient_size": size,
        "gradient_peak_mb": common.peak_mb(),
    }


def in_brainstate(num: int, duration: float) -> Any:
    """The driven network in brainstate with brainevent, as a function that gives its mean rate."""
    import brainpy.state as bp  # pyright: ignore[reportMissingImports]
    import brainstate as bs  # pyright: ignore[reportMissingImports]
    import braintools as bt  # pyright: ignore[reportMissingImports]

    bs.environ.set(dt=DT * u.ms)
    here, steps, constant = case("driven", num), round(duration / DT), bt.init.Constant
    num_E = here.num_E

    class Net(bs.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            mV, ms = u.mV, u.ms
            constants = {"V_rest": -60 * mV, "V_th": -50 * mV, "V_reset": -60 * mV, "tau": 20 * ms, "tau_ref": 5 * ms}
            self.N = bp.LIFRef(num, **constants, V_initializer=constant(-60 * mV), spk_reset="hard")
            self.E = self.onto(num_E, 0.6, 5.0, 0.0)
            self.I = self.onto(num - num_E, 6.7, 10.0, -80.0)

        def onto(self, count: int, weight: float, tau: float, E: float) -> Any:
            return bp.AlignPostProj(
                comm=bs.nn.EventFixedNumConn(count, num, conn_num=80, conn_weight=weight * u.siemens, seed=count),
                syn=bp.Expon.desc(num, tau=tau * u.ms, g_initializer=constant(0 * u.siemens)),
                out=bp.COBA.desc(E=E * u.mV),
                post=self.N,
            )

        def update(self, i: Any) -> Any:
            with bs.environ.context(t=i * DT * u.ms):
                spike = self.N.get_spike() != 0
                self.E(spike[:num_E])
                self.I(spike[num_E:])
                self.N(20 * u.mA)
                return jnp.sum(self.N.get_spike())

    net = Net()
    bs.nn.init_all_states(net)
    index = jnp.arange(steps)
    loop = bs.transform.jit(lambda: bs.transform.for_loop(net.update, index))

    def run() -> float:
        bs.nn.reset_all_states(net)
        V, g_E, g_I = (jnp.asarray(x, jnp.float32) for x in here.start)
        net.N.V.value, net.E.syn.g.value, net.I.syn.g.value = V * u.mV, g_E * u.siemens, g_I * u.siemens
        return float(jax.block_until_ready(loop()).sum()) / num / (duration * 1e-3)

    return run


def against_brainstate(num: int, options: Any) -> dict[str, float]:
    here, theirs = case("driven", num), in_brainstate(num, options.duration_ms)
    calls: dict[str, Any] = {"brainstate": theirs}
    for name, connect in {"run_s": ns.connect.EventSparse, "compiled_s": common.compiled}.items():
        if name == "run_s" or options.compiled:
            net = network(here, connect)
            calls[name] = runner(net, started(net, here), round(options.duration_ms / DT))
            calls[name]()
    rate = theirs()
    found = common.rounds_of({name: functools.partial(seconds, call) for name, call in calls.items()}, options.rounds)
    theirs_s = found.pop("brainstate")
    ratios = {f"{name}/brainstate": value / theirs_s for name, value in found.items()}
    return {"brainstate": theirs_s, **ratios, "rate_hz_brainstate": rate}


def plastic(num: int, options: Any, steps: int = 1000, degree: int = 1000) -> dict[str, Any]:
    """Seconds of a network in which each synapse has a delay of its own, and the excitatory ones learn."""
    rng = np.random.default_rng(options.seed)
    model = MODELS["driven"]
    model = dataclasses.replace(model, weights=tuple(w * 80 / degree for w in model.weights), degree=degree)
    here = common.drawn(model, num, options.seed)
    middle = num * 4 // 5 * degree
    lag = rng.integers(1, 51, num * degree, dtype=np.int32)
    top = 2 * model.weights[0]
    rule = {"E": {"delay": lag[:middle], "plasticity": ns.STDP(top * u.siemens)}, "I": {"delay": lag[middle:]}}
    ways: dict[str, Any] = {}
    for name, connect in {"plastic_s": ns.connect.EventSparse, "plastic_compiled_s": common.compiled}.items():
        net = network(here, functools.partial(connect, learns_by_events=True), **rule)
        ways[name] = functools.partial(seconds, runner(net, started(net, here), steps))
    if options.brian2:
        more = {"E": {**LEARNING, "namespace": {"top": top}, "start": model.weights[0]}, "I": {}}
        more = {name: {**given, "delay": rule[name]["delay"]} for name, given in more.items()}
        ways["plastic_brian2"] = common.in_brian2(here, steps * DT, np.float32, more=more)
    for way in ways.values():
        way()
    return common.rounds_of(ways, 3)


def sizes(duration: float) -> dict[str, Any]:
    """The figures at all sizes, each of a process of its own."""
    found = {}
    for num in SIZES:
        command = [sys.executable, "-m", __spec__.name, "--scale", str(num / 4000), "--json", "--rounds", "3"]
        done = subprocess.run([*command, "--duration-ms", str(duration)], check=True, capture_output=True, text=True)
        figures = json.loads(done.stdout)
        per_step = DT * 1e6 / duration
        found[str(num)] = {
            "us_per_step": figures["run_s"] * per_step,
            "neurons_us_per_step": figures["neurons_s"] * per_step,
            "ns_per_synaptic_event": (figures["run_s"] - figures["neurons_s"])
            / (figures["rate_hz"] * num * 80 * duration * 1e-3)
            * 1e9,
            **{name: figures[name] for name in ("rate_hz", "first_call_s", "peak_mb")},
        }
    return found


def main() -> None:
    parser = common.options_of(__doc__)
    parser.add_argument("--model", choices=("driven", "coba", "cobahh"), default="driven")
    parser.add_argument("--trials", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    for name in ("brainstate", "backward", "plastic", "sizes", "check"):
        parser.add_argument(f"--{name}", action="store_true")
    options = common.parse(parser)
    num, duration = round(4000 * options.scale), options.duration_ms
    if options.check:
        common.show(check(num, duration, options.seeds), options.json)
        return
    if options.sizes:
        common.show(sizes(duration), options.json)
        return
    found = common.measure(options.model, num, options)
    extras = {
        "brainstate": functools.partial(against_brainstate, num, options),
        "trials": functools.partial(trials, options.model, num, duration, options.trials),
        "backward": functools.partial(backward, num),
        "plastic": functools.partial(plastic, num, options),
    }
    for name, more in extras.items():
        if getattr(options, name):
            found |= more()
    common.show(found, options.json)


if __name__ == "__main__":
    main()

"""The networks of the benchmarks of this folder, for neurostate and for Brian2, and how they are timed.

All have 80 % excitatory neurons, which come first. `driven` is COBA of Vogels and Abbott (2005) with 20 mV of constant
drive and 80 synapses from each neuron to random ones, conductances in units of that of the leak. `coba`, `cobahh` and
`cuba` are benchmarks 1, 3 and 2 of Brette et al. (2007): no drive, and a synapse between two neurons with a
probability of 2 % whatever their number.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import glob
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import neurostate as ns
from neurostate.connect import AbstractConnection


DT = 0.1
TAU_E, TAU_I = 5.0, 10.0


@dataclasses.dataclass(frozen=True)
class Model:
    """A kind of network. `start` draws `V` and both conductances; `degree` is `None` for a probability of 2 %."""

    neuron: Callable[[int], Any]
    weights: tuple[float, float]
    reversals: tuple[float, float] | None  # `None` where synapses are currents
    unit: Any
    drive: float
    start: Callable[[np.random.Generator, int], list[Any]]
    degree: int | None
    brian2: str
    rule: dict[str, Any]


def integrate_and_fire(V_rest: float) -> Callable[[int], Any]:
    constants = {"V_rest": V_rest, "V_th": -50.0, "V_reset": -60.0, "tau": 20.0, "R": 1.0, "tau_ref": 5.0}
    return lambda num: ns.LIF(num, **constants, spk_reset="hard")


def traub_miles(num: int) -> Any:
    """The neuron of COBAHH: in mV, ms, nS, pA and pF."""

    def exprel(x: Any) -> Any:
        return jnp.where(x == 0, 1.0, jnp.expm1(x) / jnp.where(x == 0, 1.0, x))

    def slopes(y: Any, I: Any, p: Any) -> dict[str, Any]:  # noqa: E741
        v = y.V + 63.0
        rates = {
            "m": (1.28 / exprel((13.0 - v) / 4.0), 1.4 / exprel((v - 40.0) / 5.0)),
            "h": (0.128 * jnp.exp((17.0 - v) / 18.0), 4.0 / (1.0 + jnp.exp((40.0 - v) / 5.0))),
            "n": (0.16 / exprel((15.0 - v) / 5.0), 0.5 * jnp.exp((10.0 - v) / 40.0)),
        }
        gates = {name: a * (1.0 - getattr(y, name)) - b * getattr(y, name) for name, (a, b) in rates.items()}
        through = 10.0 * (-60.0 - y.V) - 2e4 * y.m**3 * y.h * (y.V - 50.0) - 6e3 * y.n**4 * (y.V + 90.0)
        return {"V": (through + I) / p.C, **gates}

    initial = {"V": -60.0, "m": 0.0, "h": 0.0, "n": 0.0}
    parameters = {"C": 200.0}
    rule = {"threshold": -20.0, "tau_ref": 3.0, "integrator": "exp_euler"}
    return ns.ODENeuron(num, slopes, initial=initial, parameters=parameters, **rule)


def resting(scale: float) -> Callable[[np.random.Generator, int], list[Any]]:
    def start(rng: np.random.Generator, num: int) -> list[Any]:
        # Below the threshold: a neuron that starts above it has its spike behind it here, and before it in Brian2.
        V = (-65 + 5 * rng.standard_normal(num)).clip(max=-50.01)
        return [V, *(scale * (m + s * rng.standard_normal(num)).clip(0) for m, s in ((4, 1.5), (20, 12)))]

    return start


def spread(rng: np.random.Generator, num: int) -> list[Any]:
    return [-60 + 10 * rng.random(num), np.zeros(num), np.zeros(num)]


LEAKY = """dv/dt = (ge*(0*mV - v) + gi*(-80*mV - v) + (-60*mV + {drive}*mV - v))/(20*ms) : volt (unless refractory)
           dge/dt = -ge/(5*ms) : 1
           dgi/dt = -gi/(10*ms) : 1"""
CURRENTS = """dv/dt = (ge + gi - (v + 49*mV))/(20*ms) : volt (unless refractory)
              dge/dt = -ge/(5*ms) : volt
              dgi/dt = -gi/(10*ms) : volt"""
GATES = """dv/dt = (10*nS*(-60*mV - v) + ge*(0*mV - v) + gi*(-80*mV - v) - 20*uS*m**3*h*(v - 50*mV)
                    - 6*uS*n**4*(v + 90*mV))/(200*pF) : volt
           dm/dt = (1.28/exprel((13 - x)/4)*(1 - m) - 1.4/exprel((x - 40)/5)*m)/ms : 1
           dn/dt = (0.16/exprel((15 - x)/5)*(1 - n) - 0.5*exp((10 - x)/40)*n)/ms : 1
           dh/dt = (0.128*exp((17 - x)/18)*(1 - h) - 4/(1 + exp((40 - x)/5))*h)/ms : 1
           x = v/mV + 63 : 1
           dge/dt = -ge/(5*ms) : siemens
           dgi/dt = -gi/(10*ms) : siemens"""
FIRE = {"threshold": "v > -50*mV", "reset": "v = -60*mV", "refractory": 5.0, "method": "exponential_euler"}
CROSS = {"threshold": "v > -20*mV", "refractory": 3.0, "method": "exponential_euler"}

COBA = Model(
    integrate_and_fire(-60.0), (0.6, 6.7), (0.0, -80.0), u.siemens, 0.0, resting(1.0), None, LEAKY.format(drive=0), FIRE
)
MODELS: dict[str, Model] = {
    "driven": dataclasses.replace(COBA, drive=20.0, degree=80, brian2=LEAKY.format(drive=20)),
    "coba": COBA,
    "cobahh": Model(traub_miles, (6.0, 67.0), (0.0, -80.0), u.UNITLESS, 0.0, resting(10.0), None, GATES, CROSS),
    "cuba": Model(
        integrate_and_fire(-49.0), (1.62, -9.0), None, u.mA, 0.0, spread, None, CURRENTS, {**FIRE, "method": "exact"}
    ),
}


class Case(NamedTuple):
    """One network: which synapses there are, ordered by `pre`, and where it starts."""

    model: Model
    num: int
    num_E: int
    pre: Any
    post: Any
    start: list[Any]

    def synapses(self) -> list[tuple[str, slice, float, Any, Any]]:
        """For each kind, its name, which neurons send, its weight, and its `pre` and `post`."""
        middle, (w_E, w_I) = np.searchsorted(self.pre, self.num_E), self.model.weights
        return [
            ("E", slice(0, self.num_E), w_E, self.pre[:middle], self.post[:middle]),
            ("I", slice(self.num_E, self.num), w_I, self.pre[middle:], self.post[middle:]),
        ]


def case(name: str, num: int, seed: int = 0) -> Case:
    return drawn(MODELS[name], num, seed)


def drawn(model: Model, num: int, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    if model.degree is not None:
        pre = np.repeat(np.arange(num, dtype=np.int32), model.degree)
        post = rng.integers(0, num, (num, model.degree), dtype=np.int32).reshape(-1)
    else:
        # The gaps between the synapses along the rows of the matrix.
        mean, steps = 0.02 * num * num, rng.geometric
        every = np.cumsum(steps(0.02, int(mean + 10 * mean**0.5 + 10))) - 1
        pre, post = (x.astype(np.int32) for x in divmod(every[every < num * num], num))
    start = [x.astype(np.float32) for x in model.start(rng, num)]
    return Case(model, num, num * 4 // 5, pre, post, start)


def network(
    case: Case, connect: Callable[..., AbstractConnection] = ns.connect.EventSparse, **more: dict[str, Any]
) -> ns.Network:
    """`more` are further arguments of the projections, by their names."""
    model, outputs = case.model, case.model.reversals
    projections = {}
    for k, (name, sends, weight, pre, post) in enumerate(case.synapses()):
        edges = ns.connect.Edges(pre - sends.start, post, sends.stop - sends.start, case.num)
        synapse = ns.Expon(case.num, tau=(TAU_E, TAU_I)[k], g_unit=model.unit)
        output = None if outputs is None else ns.COBA(E=outputs[k])
        source = f"N[{sends.start}:{sends.stop}]"
        connection = connect(edges, weight, values="binary")
        projections[name] = ns.Projection(source, "N", connection, synapse, output, **more.get(name, {}))
    inputs = {"N": model.drive} if model.drive else None
    return ns.Network({"N": model.neuron(case.num)}, projections, inputs=inputs)


def started(net: ns.Network, case: Case) -> ns.NetworkState:
    where = lambda s: (s.populations["N"].V, s.projections["E"].synapse.g, s.projections["I"].synapse.g)  # noqa: E731
    state = net.init_state()
    return eqx.tree_at(where, state, [jnp.asarray(x, state.populations["N"].V.dtype) for x in case.start])


class Silent(AbstractConnection):
    """No connection at all: what is left is the time of the neurons and of their conductances."""

    in_size: Any = eqx.field(static=True)
    out_size: Any = eqx.field(static=True)
    I_unit: Any = eqx.field(static=True, default=u.UNITLESS)

    def sum(self, x: Any) -> Any:
        return jnp.zeros((x.shape[0], *self.out_size), x.dtype)

    def scaled(self, factor: float, I_unit: Any) -> Any:
        return dataclasses.replace(self, I_unit=I_unit)

    @property
    def num_synapses(self) -> int:
        return 1

    def at_pre(self, x: Any) -> Any:
        return x[:1]

    def at_post(self, y: Any) -> Any:
        return y[:1]


def silent(edges: Any, weight: Any, values: str) -> Silent:
    unit = weight.unit if isinstance(weight, u.Quantity) else u.UNITLESS
    return Silent(edges.in_size, edges.out_size, unit)


def runner(net: ns.Network, state: Any, steps: int, **kwargs: Any) -> Callable[[], Any]:
    """A function that runs the network, and gives the rate of `N` in each step."""
    record = {"record": "N.rate", "outputs": False, **kwargs}
    return lambda: jax.block_until_ready(ns.simulate(net, steps, dt=DT, state=state, **record).records["N.rate"])


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def rounds_of(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of what each way gives, in rounds, every other one of them backwards."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for k in range(rounds):
        for name in list(ways)[:: -1 if k % 2 else 1]:
            found[name].append(ways[name]())
    return {name: statistics.median(values) for name, values in found.items()}


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


class Standalone:
    """A network of Brian2, compiled by its C++ standalone mode with one thread.

    `build(b2)` makes its objects. A call runs it from the start, and gives the seconds of its loop.
    """

    def __init__(self, build: Callable[[Any], list[Any]], duration: float, dtype: Any = np.float32, dt: float = DT):
        import brian2 as b2  # pyright: ignore[reportMissingImports]

        self.folder = tempfile.TemporaryDirectory(prefix="brian2_")
        b2.prefs.core.default_float_dtype = dtype
        b2.device.reinit()
        b2.set_device("cpp_standalone", build_on_run=False)
        b2.defaultclock.dt = dt * b2.ms
        b2.Network(build(b2)).run(duration * b2.ms)
        b2.device.build(directory=self.folder.name, compile=True, run=False, debug=False)

    def __call__(self) -> float:
        main = os.path.join(self.folder.name, "main")
        subprocess.run([main], cwd=self.folder.name, check=True, stdout=subprocess.DEVNULL)
        with open(self._path("last_run_info*")) as file:
            return float(file.read().split()[0])

    def read(self, name: str, dtype: Any) -> Any:
        """A result of the last run, by a pattern of the name of its file."""
        return np.fromfile(self._path(name), dtype)

    def _path(self, name: str) -> str:
        return glob.glob(os.path.join(self.folder.name, "results", name))[0]


def in_brian2(
    case: Case, duration: float, dtype: Any = np.float32, *, record: bool = False, more: Any = None
) -> Standalone:
    """The same network, with the same synapses and from the same start, in Brian2.

    `more` are further arguments of the synapses, by their kind, with their `delay` in steps, and where `w` starts.
    """
    model, more = case.model, more or {}

    def build(b2: Any) -> list[Any]:
        rule = {**model.rule, "refractory": model.rule["refractory"] * b2.ms}
        group = b2.NeuronGroup(case.num, model.brian2, name="cells", **rule)
        unit = {u.siemens: 1, u.mA: b2.mV, u.UNITLESS: b2.nS}[model.unit]
        synapses = []
        for name, _, weight, pre, post in case.synapses():
            given = dict(more.get(name, {}))
            delay, start = given.pop("delay", None), given.pop("start", None)
            plain = {"on_pre": f"g{name.lower()}_post += w", "namespace": {"w": weight * unit}}
            synapses.append(b2.Synapses(group, group, **(given or plain)))
            synapses[-1].connect(i=pre, j=post)
            if delay is not None:
                synapses[-1].delay = delay * DT * b2.ms
            if start is not None:
                synapses[-1].w = start
        group.v, group.ge, group.gi = case.start[0] * b2.mV, case.start[1] * unit, case.start[2] * unit
        monitors = [b2.SpikeMonitor(group, name="spikes")]
        if record:
            monitors.append(b2.StateMonitor(group, ["v", "ge", "gi"], record=True, when="end", name="trace"))
        return [group, *synapses, *monitors]

    return Standalone(build, duration, dtype)


def in_order(step: Any, neuron: Any) -> Any:
    """Spikes as rows of step and neuron, ordered."""
    spikes = np.stack([step, neuron], 1).astype(np.int64)
    return spikes[np.lexsort(spikes.T[::-1])]


def spikes_of_brian2(run: Standalone) -> Any:
    times = run.read("_dynamic_array_spikes_t*", np.float64)
    return in_order(np.round(times * 1e3 / DT), run.read("_dynamic_array_spikes_i*", np.int32))


def spikes_of(net: ns.Network, state: Any, steps: int, part: int = 1000, **kwargs: Any) -> Any:
    """The step and the neuron of each spike, of a run in parts, so that little is kept of it."""
    found = []
    for first in range(0, steps, part):
        sol = ns.simulate(net, min(part, steps - first), dt=DT, state=state, start=first, **kwargs)
        state = sol.state
        step, neuron = np.nonzero(np.asarray(sol.outputs["N"]))
        found.append(in_order(step + first, neuron))
    return np.concatenate(found)


def statistics_of(spikes: Any, num: int, duration: float) -> tuple[float, float]:
    """The mean rate in Hz, and the mean variation of the intervals of the neurons with at least five."""
    order = np.lexsort((spikes[:, 0], spikes[:, 1]))
    step, neuron = spikes[order].T
    trains = np.split(step, np.flatnonzero(np.diff(neuron)) + 1)
    intervals = [np.diff(train) for train in trains if len(train) > 5]
    return len(spikes) / num / (duration * 1e-3), float(np.mean([x.std() / x.mean() for x in intervals]))


def compiled(edges: Any, weight: Any, **kwargs: Any) -> ns.connect.EventSparse:
    return ns.connect.EventSparse(edges, weight, backend="compiled", **kwargs)


def measure(name: str, num: int, options: argparse.Namespace) -> dict[str, Any]:
    """Times a network in rounds: with and without its connections, with the kernel, and in Brian2."""
    here, duration = case(name, num, options.seed), options.duration_ms
    of = lambda net: runner(net, started(net, here), round(duration / DT))  # noqa: E731
    run = of(network(here))
    first = seconds(run)
    found: dict[str, Any] = {"rate_hz": float(run().mean()), "first_call_s": first, "overflow": 0, "peak_mb": peak_mb()}
    calls = {"run_s": run, "neurons_s": of(network(here, silent))}
    if options.compiled:
        calls["compiled_s"] = of(network(here, compiled))
    ways: dict[str, Callable[[], float]] = {way: functools.partial(seconds, call) for way, call in calls.items()}
    if options.brian2:
        ways |= {f"brian2_{kind.__name__}": in_brian2(here, duration, kind) for kind in (np.float32, np.float64)}
    for way in ways.values():
        way()
    found |= rounds_of(ways, options.rounds)
    for way, program in ways.items():
        if isinstance(program, Standalone):
            ours = [mine for mine in ("run_s", "compiled_s") if mine in found]
            found |= {f"{mine}/{way}": found[mine] / found[way] for mine in ours}
            count = len(program.read("_dynamic_array_spikes_i*", np.int32))
            found[f"rate_hz_{way}"] = count / num / (duration * 1e-3)
    return found


def options_of(doc: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="in 4,000 neurons")
    parser.add_argument("--duration-ms", type=float, default=1000.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1, help="for everything, also what is compared with; 0 for all")
    for name in ("compiled", "brian2", "json"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, of a process that then has so many cores: to be called before JAX starts its threads."""
    options = parser.parse_args()
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    return options


def show(found: dict[str, Any], as_json: bool) -> None:
    """Prints the figures, with the load of the machine."""
    found = {**found, "load": os.getloadavg()[0], "jax": jax.__version__}
    if as_json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        parts = value if isinstance(value, dict) else {"": value}
        texts = (f"{part} {x:.4g}" if isinstance(x, float) else f"{part} {x}" for part, x in parts.items())
        print(f"{name:26s}", "  ".join(texts))

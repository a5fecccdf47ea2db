"""Gradients through layers of LIF neurons: both faces against hand-written JAX and peers.

    python -m tests.benchmarks.train_ff [--rows 0123456] [--rounds 12] [--processes 3] [--peers spyx,brainstate]

A row is a network and a shape: Linear(512, 512) and LIF, forward and backward of the mean spike with respect to weight
and bias, for 100 and 500 steps in batches of 16 and 64; a classifier 700-256-256-20 with one step of Adam; and 256
neurons that are connected to each other, with under 2 % of them active, and the gradient to the weights and the input.
All use the same surrogate derivative, and must agree in the number of spikes and, with a cosine above 0.999, in the
gradient of the first weights: peers whose neuron steps otherwise (Norse and SpikingJelly with the derivative
that they have) with neurostate in their convention, which is timed beside them.

The rounds are interleaved; `x best` is the median of the ratios to the fastest hand-written one, as the median of the
processes. `products` does only the matrix products that a step cannot do without. Peers need their packages:
spyx, brainstate (with braintools and brainpy), snntorch, norse, spikingjelly (with torch).
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import neurostate as ns

from . import _train_ff_peers as peers
from ._train_ff_peers import BETA, SLOPE, Answer


class Row(NamedTuple):
    name: str
    sizes: tuple[int, ...]
    num_steps: int
    batch: int


ROWS = (
    Row("linear", (512, 512), 100, 16),
    Row("linear", (512, 512), 100, 64),
    Row("linear", (512, 512), 500, 16),
    Row("linear", (512, 512), 500, 64),
    Row("classifier", (700, 256, 256, 20), 100, 128),
    Row("recurrent", (256, 256), 100, 16),
    Row("recurrent", (256, 256), 100, 64),
)
Run = Callable[[], Answer]


class Data(NamedTuple):
    x: jax.Array
    labels: jax.Array
    weights: list[jax.Array]


def data(row: Row) -> Data:
    rng = np.random.default_rng(0)
    sizes = row.sizes
    if row.name == "recurrent":
        x = rng.standard_normal((row.num_steps, row.batch, sizes[0])).astype(np.float32) * 0.2
    else:
        x = (rng.random((row.num_steps, row.batch, sizes[0])) < 0.1).astype(np.float32)
    labels = rng.integers(0, sizes[-1], row.batch)
    scale = 0.5 if row.name == "recurrent" else 1.5
    weights = [rng.standard_normal((a, b)) * scale / np.sqrt(a) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
    return Data(jnp.asarray(x), jnp.asarray(labels), [jnp.asarray(w, jnp.float32) for w in weights])


# By hand


@jax.custom_jvp
def spike(x: Any) -> Any:
    return (x >= 0).astype(x.dtype)


@spike.defjvp
def _spike_jvp(primals: Any, tangents: Any) -> Any:
    return spike(primals[0]), tangents[0] / (1.0 + SLOPE * jnp.abs(primals[0])) ** 2


def lif_step(carry: Any, x: Any) -> Any:
    V, s = carry
    V = BETA * (V - s) + x
    s = spike(V - 1.0)
    return (V, s), s


def lif(x: Any) -> Any:
    zero = jnp.zeros(x.shape[1:], x.dtype)
    return jax.lax.scan(lif_step, (zero, zero), x)[1]


@jax.custom_vjp
def lif_by_hand(x: Any) -> Any:
    return _lif_forward(x)[0]


def _lif_forward(x: Any) -> Any:
    def step(V: Any, x: Any) -> Any:
        V = BETA * (V - (V >= 1.0).astype(V.dtype)) + x
        return V, V

    V = jax.lax.scan(step, jnp.zeros(x.shape[1:], x.dtype), x)[1]
    return (V >= 1.0).astype(x.dtype), V


def _lif_backward(V: Any, gradient: Any) -> Any:
    def step(later: Any, at: Any) -> Any:
        V, of_spike = at
        slope = 1.0 / (1.0 + SLOPE * jnp.abs(V - 1.0)) ** 2
        of_V = of_spike * slope + later * (1.0 - slope)
        return BETA * of_V, of_V

    return (jax.lax.scan(step, jnp.zeros(V.shape[1:], V.dtype), (V, gradient), reverse=True)[1],)


lif_by_hand.defvjp(_lif_forward, _lif_backward)


def product(x: Any, layer: Any) -> Any:
    return (x.reshape(-1, x.shape[-1]) @ layer["w"]).reshape(*x.shape[:-1], -1) + layer["b"]


def hoisted(neurons: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def forward(layers: Any, x: Any) -> Any:
        for layer in layers:
            x = neurons(product(x, layer))
        return x

    return forward


def one_scan(layers: Any, x: Any) -> Any:
    def step(carry: Any, h: Any) -> Any:
        new = []
        for layer, at in zip(layers, carry, strict=True):
            at, h = lif_step(at, h @ layer["w"] + layer["b"])
            new.append(at)
        return new, h

    start = [(jnp.zeros((x.shape[1], layer["b"].size)),) * 2 for layer in layers]
    return jax.lax.scan(step, start, x)[1]


def one_recurrent_scan(layers: Any, x: Any) -> Any:
    def step(carry: Any, x: Any) -> Any:
        return lif_step(carry, x + carry[1] @ layers[0]["w"])

    zero = jnp.zeros(x.shape[1:])
    return jax.lax.scan(step, (zero, zero), x)[1]


def products_of_recurrence(layers: Any, x: Any) -> Any:
    return jax.lax.scan(lambda h, x: (x + h @ layers[0]["w"],) * 2, jnp.zeros(x.shape[1:]), x)[1]


def by_hand(row: Row, forward: Callable[[Any, Any], Any]) -> Run:
    given = data(row)
    layers = [{"w": w, "b": jnp.zeros(w.shape[1])} for w in given.weights]
    return finish(row, given, layers, forward, lambda layers: layers[0]["w"])


def finish(row: Row, given: Data, model: Any, forward: Callable[[Any, Any], Any], first: Callable[[Any], Any]) -> Run:
    """A run of the row's task for a model that is a pytree of parameters."""
    if row.name == "classifier":
        optimiser = optax.adam(1e-3)

        def loss(model: Any, x: Any, labels: Any) -> Any:
            spikes = forward(model, x)
            return optax.softmax_cross_entropy_with_integer_labels(spikes.sum(0), labels).mean(), spikes.sum()

        @jax.jit
        def update(model: Any, state: Any, x: Any, labels: Any) -> Any:
            (_, count), gradient = jax.value_and_grad(loss, has_aux=True)(model, x, labels)
            updates, state = optimiser.update(gradient, state)
            return optax.apply_updates(model, updates), state, count, first(gradient)

        state = [model, optimiser.init(model)]

        def run() -> Answer:
            state[0], state[1], count, of_first = jax.block_until_ready(update(*state, given.x, given.labels))
            return Answer(count, of_first)

        return run
    wanted: Any = (0, 1) if row.name == "recurrent" else 0

    def mean(model: Any, x: Any) -> Any:
        spikes = forward(model, x)
        return spikes.mean(), spikes.sum()

    gradient = jax.jit(jax.value_and_grad(mean, wanted, has_aux=True))

    def run_once() -> Answer:
        (_, count), slopes = jax.block_until_ready(gradient(model, given.x))
        return Answer(count, first(slopes[0] if row.name == "recurrent" else slopes))

    return run_once


# neurostate


class Slope(ns.surrogate.Surrogate):
    def surrogate_grad(self, x: Any) -> Any:
        return 1.0 / (1.0 + SLOPE * jnp.abs(x)) ** 2


TAU, GAIN = float(-1.0 / np.log(BETA)), 1.0 / (1.0 - BETA)


def neurons(size: int) -> ns.LIF:
    return ns.LIF(size, tau=TAU * u.ms, R=GAIN * u.ohm, spk_fun=Slope())


# The neurons of peers whose steps are others, in their conventions: with these a peer must agree.
FAST = ns.surrogate.InvSquareGrad(SLOPE, h0=0)
CONVENTIONS: dict[str, Callable[[int], Any]] = {
    "spyx": lambda n: ns.conventions.spyx_lif(n, BETA, spk_fun=FAST),
    "snntorch": lambda n: ns.conventions.snntorch_leaky(n, BETA, spk_fun=FAST),
    "norse": lambda n: ns.Sequential(lambda x: x / (1 - BETA), ns.conventions.norse_lif_box(n, (1 - BETA) / 1e-3)),
    "spikingjelly": lambda n: ns.conventions.spikingjelly_lif(
        n, GAIN, decay_input=False, v_reset=None, spk_fun=ns.surrogate.Arctan(2.0)
    ),
}


def core(row: Row, layerwise: bool = True, neurons: Callable[[int], Any] = neurons) -> Run:
    given = data(row)
    if row.name == "recurrent":
        net = ns.Recurrent(neurons(256), ns.connect.Dense(256, 256, given.weights[0]))
        trained = ns.train.select(net, ns.connect.Dense)
    else:
        net = layers(given, neurons)
        trained = ns.train.select(net, ns.layers.Linear)
    model, rest = eqx.partition(net, trained)

    def forward(model: Any, x: Any) -> Any:
        return ns.simulate(eqx.combine(model, rest), x, dt=1.0, layerwise=layerwise).outputs

    def first(model: Any) -> Any:
        return model.projection.connection.weight if row.name == "recurrent" else model.layers[0].weight

    return finish(row, given, model, forward, first)


def layers(given: Data, neurons: Callable[[int], Any]) -> ns.Sequential:
    linears = [ns.layers.Linear(w.shape[0], w.shape[1], w) for w in given.weights]
    return ns.Sequential(*(layer for linear in linears for layer in (linear, neurons(linear.out_size[0]))))


def facade(row: Row) -> Run:
    given, T = data(row), ns.transform
    net = layers(given, neurons)
    if row.name == "recurrent":
        net = ns.Recurrent(neurons(256), ns.connect.Dense(256, 256, given.weights[0]))
    with ns.environ.context(dt=1.0 * u.ms):
        cell = ns.nn.init_all_states(ns.nn.Stateful(net), batch_size=row.batch)
        weights = {k: ref for k, ref in cell.states(ns.ParamState).items() if k.endswith(("weight", "bias"))}
        optimiser = ns.Optimizer(optax.adam(1e-3), weights) if row.name == "classifier" else None
    first = next(path for path in weights if path.endswith("weight"))
    spikes = ns.StateRef(jnp.zeros(()))

    def mean(x: Any) -> Any:
        cell.init_state(row.batch)
        out = T.for_loop(cell, x)
        spikes.value = out.sum()
        if row.name == "classifier":
            return optax.softmax_cross_entropy_with_integer_labels(out.sum(0), given.labels).mean()
        return out.mean()

    @T.jit
    def step(x: Any) -> Any:
        with ns.environ.context(dt=1.0 * u.ms):
            if row.name == "recurrent":
                return T.grad(mean, weights, argnums=0)(x)
            gradients = T.grad(mean, weights)(x)
            if optimiser is not None:
                optimiser.update(gradients)
            return gradients

    def run() -> Answer:
        gradients = jax.block_until_ready(step(given.x))
        gradients = gradients[0] if row.name == "recurrent" else gradients
        return Answer(spikes.value, gradients[first])

    return run


# Measuring


def peer(row: Row, name: str) -> Run:
    return peers.PEERS[name](row, data(row))


def ways(row: Row, others: list[str]) -> dict[str, Callable[[Row], Run]]:
    if row.name == "recurrent":
        own: dict[str, Callable[[Row], Run]] = {
            "by hand, scan": lambda row: by_hand(row, one_recurrent_scan),
            "products": lambda row: by_hand(row, products_of_recurrence),
        }
        others = []
    else:
        own = {
            "by hand, scan": lambda row: by_hand(row, one_scan),
            "by hand, hoisted": lambda row: by_hand(row, hoisted(lif)),
            "by hand, hoisted, vjp": lambda row: by_hand(row, hoisted(lif_by_hand)),
            "products": lambda row: by_hand(row, hoisted(lambda x: x)),
        }
    own |= {"neurostate": core, "neurostate, stepwise": lambda row: core(row, False), "neurostate, façade": facade}
    for name in others:
        own[name] = functools.partial(peer, name=name)
        if name in CONVENTIONS:
            own[f"neurostate as {name}"] = functools.partial(core, neurons=CONVENTIONS[name])
    return own


def measure(row: Row, rounds: int, others: list[str]) -> dict[str, list[float]]:
    """Seconds of each run, in rounds; the answers are compared beforehand."""
    runs = {name: way(row) for name, way in ways(row, others).items()}
    answers = {name: run() for name, run in runs.items()}
    check(row, answers)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for k in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if k:
                times[name].append(time.perf_counter() - start)
    return times


def check(row: Row, answers: dict[str, Answer]) -> None:
    """Each against the hand-written scan, or against neurostate in its own convention."""
    count = answers["by hand, scan"].count
    active = float(count) / (row.num_steps * row.batch * row.sizes[-1])
    if row.name == "recurrent" and not 0 < active < 0.02:
        raise AssertionError(f"{row} has {active:.1%} active neurons, not under 2 %.")
    for name, (found, gradient) in answers.items():
        if name == "products" or name.startswith("neurostate as"):
            continue
        other = answers.get(f"neurostate as {name}", answers["by hand, scan"])
        a, b = (np.asarray(g, np.float64).ravel() for g in (gradient, other.gradient))
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        if not (abs(float(found) - float(other.count)) <= 1e-3 * float(other.count) and cosine > 0.999):
            raise AssertionError(f"{row}: {name} has {found} spikes, not {other.count}, and a cosine of {cosine:.4f}.")


def figures(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    best = min((name for name in times if name.startswith("by hand")), key=lambda name: statistics.median(times[name]))
    ratios = lambda name: [t / b for t, b in zip(times[name], times[best], strict=True)]  # noqa: E731
    return {
        name: {"ms": statistics.median(found) * 1e3, "ratio": statistics.median(ratios(name))}
        for name, found in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="".join(map(str, range(len(ROWS)))))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--peers", default="", help=f"of {', '.join(peers.PEERS)}")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    others = [name for name in options.peers.split(",") if name]
    chosen = [ROWS[int(k)] for k in options.rows]
    if options.processes == 1:
        found = [figures(measure(row, options.rounds, others)) for row in chosen]
    else:
        command = [sys.executable, "-m", "tests.benchmarks.train_ff", "--processes", "1", "--json"]
        command += ["--rows", options.rows, "--rounds", str(options.rounds), "--peers", options.peers]
        outputs = [
            subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(options.processes)
        ]
        each = [json.loads(output.splitlines()[-1]) for output in outputs]
        found = [
            {
                name: {key: statistics.median(e[k][name][key] for e in each) for key in ("ms", "ratio")}
                for name in each[0][k]
            }
            for k in range(len(chosen))
        ]
    if options.json:
        print(json.dumps(found))
        return
    print(f"jax {jax.__version__}")
    for row, ways_found in zip(chosen, found, strict=True):
        print(f"{row.name} {'-'.join(map(str, row.sizes))}, {row.num_steps} steps, batch {row.batch}")
        for name, figure in ways_found.items():
            print(f"  {name:24s} {figure['ms']:8.2f} ms  {figure['ratio']:.2f} x best")


if __name__ == "__main__":
    main()

"""Gradients through 10,000 steps with bounded memory: against plain BPTT and a square-root checkpoint by hand.

    python -m tests.benchmarks.long_bptt [--rounds 9] [--only NAME,...] [--steps 10000]

Two tasks. `lif N`: the mean spike of N LIF neurons, with respect to their drive. `recurrent`: 256 LIF neurons that are
connected to each other, with 64 inputs, in batches of 8; the mean spike with respect to both matrices. Each way runs in
a fresh process, which reports XLA's temporary size (of the compiled gradient), its own peak memory less that before the
first run, the times to trace in Python, to compile in XLA, and of a run. The columns with `x` are ratios: of sizes to
plain BPTT, of times to the square-root checkpoint by hand, as medians of the rounds, each of which runs every way once.
The parameters of the formulas by hand are constants that XLA folds; `not folded` is written like `neurostate.LIF`.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

import neurostate as ns

from .train_ff import Slope, spike


DT, TAU = 0.1, 5.0
DECAY = float(np.exp(-DT / TAU))
INPUTS, SIZE, BATCH = 64, 256, 8
TASKS = ("lif 256", "lif 4096", "recurrent")


def example(task: str, steps: int) -> tuple[Any, Any]:
    """What the gradient is with respect to, and the input."""
    if task != "recurrent":
        return jnp.linspace(0.9, 1.9, int(task.split()[1])), None
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape) for shape in ((INPUTS, SIZE), (SIZE, SIZE))]
    x = rng.random((steps, BATCH, INPUTS)) < 0.1
    scaled = [jnp.asarray(w * s, jnp.float32) for w, s in zip(weights, (0.2, 0.03), strict=True)]
    return scaled, jnp.asarray(x, jnp.float32)


# By hand: `scan(step, carry, x)`


def by_hand(
    task: str, steps: int, scan: Callable[[Any, Any, Any], Any], folded: bool = True
) -> Callable[[Any, Any], Any]:
    """With the parameters folded into one factor, or the formula and the association of `neurostate.LIF`."""
    R, tau, V_th, V_reset, V_rest = (jnp.float32(p) for p in (1.0, TAU, 1.0, 0.0, 0.0))
    factor = DT * jnp.expm1(-DT / tau) / (-DT / tau)

    def loss(given: Any, x: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            V, s, total = carry
            if not folded:
                V = V - (V_th - V_reset) * s
                V = V + factor * ((-(V - V_rest) + R * given) / tau)
                s = spike((V - V_th) / (V_th - V_reset))
                return (V, s, total + s), None
            current = (1 - DECAY) * given if task != "recurrent" else x @ given[0] + s @ given[1]
            V = DECAY * (V - s) + current
            s = spike(V - 1.0)
            return (V, s, total + s), None

        zero = jnp.zeros((BATCH, SIZE) if task == "recurrent" else given.shape)
        total = scan(step, (zero, zero, zero), x)[2]
        return total.sum() / (steps * total.size)

    return loss


def plain(task: str, steps: int) -> Any:
    return by_hand(task, steps, lambda f, c, x: jax.lax.scan(f, c, x, length=steps)[0])


def square_root(task: str, steps: int, folded: bool = True) -> Any:
    segment = math.isqrt(steps)

    def scan(f: Any, carry: Any, x: Any) -> Any:
        def part(carry: Any, x: Any) -> Any:
            return jax.lax.scan(f, carry, x, length=segment)

        parts = jax.tree.map(lambda x: x.reshape(steps // segment, segment, *x.shape[1:]), x)
        return jax.lax.scan(jax.checkpoint(part, prevent_cse=False), carry, parts, length=steps // segment)[0]

    return by_hand(task, steps, scan, folded or task == "recurrent")


# neurostate


def core(task: str, steps: int, checkpoint: bool = True) -> Any:
    """`simulate`, which keeps the mean of all outputs only."""
    options: dict[str, Any] = {"dt": DT, "every": steps, "reduce": "mean", "checkpoint": checkpoint}
    cell = functools.partial(ns.LIF, tau=TAU * u.ms, spk_fun=Slope())

    def loss(given: Any, x: Any) -> Any:
        if task != "recurrent":
            net = ns.Network({"N": cell(given.size)}, inputs={"N": given})
            return ns.simulate(net, steps, **options).outputs["N"].mean()
        gain = 1 / (1 - DECAY)
        net = ns.Sequential(
            ns.layers.Linear(INPUTS, SIZE, given[0], None),
            ns.Recurrent(cell(SIZE, R=gain * u.ohm), ns.connect.Dense(SIZE, SIZE, given[1])),
        )
        return ns.simulate(net, x, **options).outputs.mean()

    return loss


def facade(task: str, steps: int) -> Any:
    """`checkpointed_for_loop`, over references made pure by `functionalize`."""
    T = ns.transform
    shape = (BATCH, SIZE) if task == "recurrent" else (int(task.split()[1]),)
    gain = 1 / (1 - DECAY) if task == "recurrent" else 1.0
    cell = ns.nn.Stateful(ns.LIF(shape[-1], tau=TAU * u.ms, R=gain * u.ohm, spk_fun=Slope()))
    ns.nn.init_all_states(cell, batch_size=None if task != "recurrent" else BATCH)
    total, sent = ns.ShortTermState(jnp.zeros(shape)), ns.ShortTermState(jnp.zeros(shape))

    def loss(given: Any, x: Any) -> Any:
        cell.init_state(None if task != "recurrent" else BATCH)
        total.value = sent.value = jnp.zeros(shape)

        def step(at: Any) -> None:
            current = given if task != "recurrent" else at @ given[0] + sent.value @ given[1]
            sent.value = cell(current * u.mA)
            total.value = total.value + sent.value

        with ns.environ.context(dt=DT * u.ms):
            T.checkpointed_for_loop(step, jnp.arange(steps) if x is None else x, base=math.isqrt(steps))
        return total.value.sum() / (steps * total.value.size)

    pure, state = ns.functionalize(loss, *example(task, steps))
    return lambda given, x: pure(state, given, x)[1]


WAYS: dict[str, Callable[[str, int], Any]] = {
    "by hand, plain": plain,
    "by hand, square root": square_root,
    "the same, not folded": lambda task, steps: square_root(task, steps, False),
    "neurostate, plain": lambda task, steps: core(task, steps, False),
    "neurostate": core,
    "neurostate, façade": facade,
}


# Measuring


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def child(name: str, task: str, steps: int) -> None:
    """Compiles one way, says what it needs, and then runs once for each line of its standard input."""
    given, x = example(task, steps)
    jax.block_until_ready(jax.jit(lambda x: jnp.sin(x).sum())(jnp.ones(8)))
    start = time.perf_counter()
    traced: Any = jax.jit(jax.grad(WAYS[name](task, steps))).trace(given, x)
    tracing = time.perf_counter() - start
    compiled = traced.lower().compile()
    compiling = time.perf_counter() - start - tracing
    temporary = compiled.memory_analysis().temp_size_in_bytes / 2**20
    before = peak_mb()
    slopes = jax.block_until_ready(compiled(given, x))
    total = float(sum(jnp.abs(s).sum() for s in jax.tree.leaves(slopes)))
    seconds = {"trace": tracing, "compile": compiling}
    print(json.dumps({"temp": temporary, "peak": peak_mb() - before, "sum": total, **seconds}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        jax.block_until_ready(compiled(given, x))
        print(time.perf_counter() - start, flush=True)


def measure(task: str, steps: int, names: list[str], rounds: int) -> dict[str, dict[str, Any]]:
    command = [sys.executable, "-m", "tests.benchmarks.long_bptt", "--steps", str(steps), "--child"]
    found, children = {}, {}
    for name in names:
        children[name] = subprocess.Popen(
            [*command, name, task], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        found[name] = json.loads(_line(children[name])) | {"times": []}
    for k in range(rounds + 1):
        for name, process in children.items():
            assert process.stdin is not None
            process.stdin.write("\n")
            seconds = float(_line(process))
            if k:
                found[name]["times"].append(seconds)
    for process in children.values():
        process.communicate()
    return found


def _line(process: Any) -> str:
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("A way failed; its message is above.")
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--only", default=",".join(TASKS), help="tasks")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], options.child[1], options.steps)
        return
    print(f"jax {jax.__version__}, {options.steps} steps")
    for task in options.only.split(","):
        found = measure(task, options.steps, list(WAYS), options.rounds)
        anchor, base = found["by hand, square root"], found["by hand, plain"]
        print(f"{task}")
        for name, figures in found.items():
            ratio = statistics.median(t / a for t, a in zip(figures["times"], anchor["times"], strict=True))
            agrees = abs(figures["sum"] - base["sum"]) <= 2e-3 * base["sum"]
            temporary, compiling = figures["temp"], figures["compile"]
            print(
                f"  {name:22s} temporary {temporary:8.2f} MB ({temporary / base['temp']:.3f} x plain)"
                f"  peak {figures['peak']:7.1f} MB  trace {figures['trace']:5.2f} s"
                f"  compile {compiling:5.2f} s ({compiling / anchor['compile']:.2f} x)"
                f"  run {statistics.median(figures['times']) * 1e3:8.2f} ms ({ratio:.2f} x)"
                f"{'' if agrees else '  GRADIENTS DIFFER'}"
            )


if __name__ == "__main__":
    main()

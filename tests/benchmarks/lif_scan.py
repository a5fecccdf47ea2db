"""A population of LIF neurons over time: `jit(for_loop(...))` against hand-written `lax.scan`.

    python -m tests.benchmarks.lif_scan [--rounds 15] [--json]

The anchor takes its parameters as arguments, as a trainable cell must; `constants` has them, and what follows from
them, folded into the program. Both give the same spikes. The figures are the medians of the rounds' ratios:
of a run, and of the first call, which traces and compiles.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

import neurostate as ns


DT, TAU = 0.1, 5.0
SIZES = ((100, 10_000), (10_000, 2_000), (100_000, 300))


def drive(size: int) -> jax.Array:
    return jnp.linspace(0.8, 1.6, size)


def hand_written(size: int, steps: int) -> tuple[Any, tuple[Any, ...]]:
    def run(parameters: tuple[jax.Array, ...], V: jax.Array, current: jax.Array) -> Any:
        R, tau, V_th, V_reset, V_rest = parameters

        def step(V: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            V = V - (V_th - V_reset) * ((V - V_th) / (V_th - V_reset) >= 0).astype(V.dtype)
            V = V + DT * (jnp.expm1(-DT / tau) / (-DT / tau)) * ((-(V - V_rest) + R * current) / tau)
            return V, ((V - V_th) / (V_th - V_reset) >= 0).astype(V.dtype).sum()

        return jax.lax.scan(step, V, None, length=steps)[1]

    parameters = tuple(jnp.float32(x) for x in (1.0, TAU, 1.0, 0.0, 0.0))
    return jax.jit(run), (parameters, jnp.zeros(size), drive(size))


def with_constants(size: int, steps: int) -> tuple[Any, tuple[Any, ...]]:
    decay = float(np.exp(-DT / TAU))
    gain = drive(size) * (1 - decay)

    def step(V: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        V = (V - (V >= 1.0).astype(V.dtype)) * decay + gain
        return V, (V >= 1.0).astype(V.dtype).sum()

    return jax.jit(lambda V: jax.lax.scan(step, V, None, length=steps)[1]), (jnp.zeros(size),)


def with_facade(size: int, steps: int) -> tuple[Any, tuple[Any, ...]]:
    cell, current = ns.nn.init_all_states(ns.nn.Stateful(ns.LIF(size))), drive(size)

    @ns.transform.jit
    def run() -> jax.Array:
        cell.init_state()
        return ns.transform.for_loop(lambda: cell(current).sum(), length=steps)

    return run, ()


WAYS: dict[str, Callable[[int, int], tuple[Any, tuple[Any, ...]]]] = {
    "hand-written": hand_written,
    "hand-written, constants": with_constants,
    "neurostate": with_facade,
}


def first_calls(size: int, steps: int, rounds: int = 7) -> dict[str, list[float]]:
    """Seconds of the first call of a new function: tracing, compiling and one run."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, make in WAYS.items():
            run, args = make(size, steps)
            jax.block_until_ready(args)
            start = time.perf_counter()
            jax.block_until_ready(run(*args))
            seconds[name].append(time.perf_counter() - start)
    return seconds


def measure(size: int, steps: int, rounds: int) -> dict[str, dict[str, float]]:
    first = first_calls(size, steps)
    runs = {name: make(size, steps) for name, make in WAYS.items()}
    spikes = {name: float(np.asarray(run(*args)).sum()) for name, (run, args) in runs.items()}
    if len(set(spikes.values())) != 1:
        raise AssertionError(f"The spike counts differ: {spikes}")
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (run, args) in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run(*args))
            times[name].append(time.perf_counter() - start)
    return {
        name: {
            "ms": statistics.median(times[name]) * 1e3,
            "ratio": ratio(times[name], times["hand-written"]),
            "first_ms": statistics.median(first[name]) * 1e3,
            "first_ratio": ratio(first[name], first["hand-written"]),
        }
        for name in WAYS
    }


def ratio(times: list[float], anchor: list[float]) -> float:
    return statistics.median(t / a for t, a in zip(times, anchor, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with ns.environ.context(dt=DT * u.ms):
        results = {size: measure(size, steps, options.rounds) for size, steps in SIZES}
    if options.json:
        print(json.dumps({"jax": jax.__version__, "results": results}))
        return
    print(f"jax {jax.__version__}")
    for size, ways in results.items():
        for name, figures in ways.items():
            row = f"{size:7d} neurons  {name:24s} {figures['ms']:8.2f} ms  {figures['ratio']:.3f} x hand-written"
            print(f"{row}   first call {figures['first_ms']:6.0f} ms  {figures['first_ratio']:.3f} x")


if __name__ == "__main__":
    main()

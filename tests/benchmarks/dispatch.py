"""The cost of one call of a compiled function, as a ratio to `jax.jit` on the same leaves.

    python -m tests.benchmarks.dispatch [--states 1 10 100] [--rounds 61] [--json]

Each round times both in turn, in one process; the figure is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

import neurostate as ns


def with_jax(count: int) -> Callable[[], None]:
    add = jax.jit(lambda values: [value + 1.0 for value in values])
    box = [[jnp.zeros(10) + k for k in range(count)]]

    def call() -> None:
        box[0] = add(box[0])

    return call


def with_equinox(count: int) -> Callable[[], None]:
    add = eqx.filter_jit(lambda values: [value + 1.0 for value in values])
    box = [[jnp.zeros(10) + k for k in range(count)]]

    def call() -> None:
        box[0] = add(box[0])

    return call


def with_neurostate(count: int, **options: Any) -> Callable[[], None]:
    refs = [ns.HiddenState(jnp.zeros(10) + k) for k in range(count)]

    @ns.transform.jit(**options)
    def add() -> None:
        for ref in refs:
            ref.value = ref.value + 1.0

    return add


def with_donation(count: int) -> Callable[[], None]:
    return with_neurostate(count, donate_states=True)


WAYS = {
    "jax.jit": with_jax,
    "neurostate": with_neurostate,
    "neurostate, donated": with_donation,
    "equinox.filter_jit": with_equinox,
}


def measure(count: int, rounds: int) -> dict[str, dict[str, float]]:
    """Median ratio to `jax.jit` and median microseconds of each way."""
    calls = {name: make(count) for name, make in WAYS.items()}
    for call in calls.values():
        for _ in range(5):
            call()
    repeats = 2000 // count + 50
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            times[name].append((time.perf_counter() - start) / repeats * 1e6)
    anchor = times["jax.jit"]
    return {
        name: {
            "ratio": round(statistics.median(t / a for t, a in zip(ts, anchor, strict=True)), 3),
            "us": round(statistics.median(ts), 2),
        }
        for name, ts in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {count: measure(count, options.rounds) for count in options.states}
    if options.json:
        print(json.dumps({"jax": jax.__version__, "results": results}))
        return
    print(f"jax {jax.__version__}")
    for count, ways in results.items():
        for name, figures in ways.items():
            print(f"{count:4d} states  {name:20s} {figures['us']:8.2f} us  {figures['ratio']:.3f} x jax.jit")


if __name__ == "__main__":
    main()

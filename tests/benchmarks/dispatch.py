"""The cost of one call of a compiled function, as a ratio to `jax.jit` on the same leaves.

    python -m tests.benchmarks.dispatch [--states 1 10 100] [--signatures 8] [--rounds 61] [--json]

Each round times every way once, in one process, the order changing from round to round; the figure is the median
of the rounds' ratios. brainstate is one of the ways where it is installed. `--signatures` lets the calls alternate
among so many shapes of the argument.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

import neurostate as ns


Call = Callable[[jax.Array], None]


def arrays(count: int) -> list[jax.Array]:
    return [jnp.zeros(10) + k for k in range(count)]


def with_jax(count: int, jit: Callable[..., Any] = jax.jit) -> Call:
    add = jit(lambda values, x: [value + x[0] for value in values])
    box = [arrays(count)]

    def call(x: jax.Array) -> None:
        box[0] = add(box[0], x)

    return call


def with_equinox(count: int) -> Call:
    return with_jax(count, eqx.filter_jit)


def with_references(jit: Callable[..., Any], refs: list[Any]) -> Call:
    @jit
    def add(x: jax.Array) -> None:
        for ref in refs:
            ref.value = ref.value + x[0]

    return add


def with_neurostate(count: int, **options: Any) -> Call:
    return with_references(ns.transform.jit(**options), list(map(ns.HiddenState, arrays(count))))


def with_donation(count: int) -> Call:
    return with_neurostate(count, donate_states=True)


def with_brainstate(count: int) -> Call:
    import brainstate  # pyright: ignore[reportMissingImports]

    return with_references(brainstate.transform.jit, list(map(brainstate.HiddenState, arrays(count))))


WAYS = {
    "jax.jit": with_jax,
    "neurostate": with_neurostate,
    "neurostate, donated": with_donation,
    "equinox.filter_jit": with_equinox,
    "brainstate": with_brainstate,
}


def measure(count: int, rounds: int, signatures: int) -> dict[str, dict[str, float]]:
    """Median ratio to `jax.jit` and median microseconds of each way."""
    inputs = [jnp.ones(1 + k) for k in range(signatures)]
    left_out = "brainstate" if importlib.util.find_spec("brainstate") is None else None
    calls = {name: make(count) for name, make in WAYS.items() if name != left_out}
    for call, x in itertools.product(calls.values(), 5 * inputs):
        call(x)
    repeats = [x for _ in range((2000 // count + 50) // signatures) for x in inputs]
    times: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls.items())
    for _ in range(rounds):
        random.shuffle(order)
        for name, call in order:
            start = time.perf_counter()
            for x in repeats:
                call(x)
            times[name].append((time.perf_counter() - start) / len(repeats) * 1e6)
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
    parser.add_argument("--signatures", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {count: measure(count, options.rounds, options.signatures) for count in options.states}
    if options.json:
        print(json.dumps({"jax": jax.__version__, "results": results}))
        return
    print(f"jax {jax.__version__}")
    for count, ways in results.items():
        for name, figures in ways.items():
            print(f"{count:4d} states  {name:20s} {figures['us']:8.2f} us  {figures['ratio']:.3f} x jax.jit")


if __name__ == "__main__":
    main()

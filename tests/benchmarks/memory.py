"""Resident memory over many eager calls with fresh closures, and what unrelated live references cost.

    python -m tests.benchmarks.memory [--calls 500] [--json]

Each transform is called with a new closure of the same program each time: it is traced each time and compiled once.
The growth is that of the process' peak memory after the first fifth of the calls, in MB. `trace` is the time of a first
call of a compiled function, and `call` that of a repeated one, with 10,000 unrelated references alive and without, in
microseconds (medians).
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import neurostate as ns


T = ns.transform
XS, ONE = jnp.arange(20.0), jnp.array(1.0)
CALLS: dict[str, Callable[[Callable[[Any], Any]], Any]] = {
    "for_loop": lambda f: T.for_loop(f, XS),
    "scan": lambda f: T.scan(lambda c, x: (c + 1, f(x)), 0, XS),
    "cond": lambda f: T.cond(True, f, lambda x: x, ONE),
    "while_loop": lambda f: T.while_loop(lambda x: x < 3, lambda x: x + 0 * f(x) + 1, ONE),
}


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def growth(name: str, calls: int) -> float:
    """How many MB the peak memory grows in the last four fifths of the calls."""
    ref, start = ns.StateRef(jnp.array(0.0)), 0.0

    def fresh() -> Callable[[Any], Any]:
        def f(x: Any) -> Any:
            ref.value = ref.value + x
            return ref.value

        return f

    for k in range(calls):
        CALLS[name](fresh())
        if k == calls // 5:
            gc.collect()
            start = peak_mb()
    gc.collect()
    return peak_mb() - start


def bystanders(count: int, rounds: int = 15) -> dict[str, float]:
    """Microseconds of a trace and of a call while so many unrelated references live."""
    others = [ns.StateRef(0.0) for _ in range(count)]
    traces, calls = [], []
    for _ in range(rounds):
        ref = ns.StateRef(jnp.zeros(3))

        def add(x: Any, ref: ns.StateRef = ref) -> None:
            ref.value = ref.value + x

        start = time.perf_counter()
        T.make_jaxpr(add)(ONE)
        traces.append(time.perf_counter() - start)
        f = T.jit(add)
        for _ in range(2):
            f(ONE)
        start = time.perf_counter()
        for _ in range(200):
            f(ONE)
        calls.append((time.perf_counter() - start) / 200)
    assert len(others) == count
    return {"trace": statistics.median(traces) * 1e6, "call": statistics.median(calls) * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    grown = {name: growth(name, options.calls) for name in CALLS}
    if options.json:
        print(json.dumps(grown))
        return
    print(f"jax {jax.__version__}")
    for name, mb in grown.items():
        print(f"{name:12s} {options.calls} calls: {mb:5.1f} MB after the first fifth")
    for count in (0, 10_000):
        times = bystanders(count)
        print(f"{count:6d} unrelated references: trace {times['trace']:7.0f} us, call {times['call']:5.2f} us")


if __name__ == "__main__":
    main()

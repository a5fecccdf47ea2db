"""How long a simulation takes that has its spike times right to 0.1 ms, against Brian2's C++.

    python -m tests.benchmarks.spike_times [--size 10000] [--rounds 5] [--json]

HH and AdExIF at constant currents for 50 ms, with time steps from 0.4 ms down. The error is the mean over 100 of the
neurons of how far their last spike is from that of a reference: the Runge-Kutta method of fourth order at 0.001 ms with
interpolated spikes, in float64. Time is that of the loop, without compilation. Ours are the default integrators, with
`spike_time` of both kinds; Brian2 runs its exponential Euler method and, for HH, its `rk4` too, as C++ standalone with
one thread.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import neurostate as ns

from .neurons import MODELS, drive, with_brian2


DURATION, TOLERANCE = 50.0, 0.1
STEPS = (0.4, 0.2, 0.1, 0.05, 0.025, 0.0125)
OURS = ("grid", "interpolated")
METHODS = {"HH": ("exponential_euler", "rk4"), "AdExIF": ("exponential_euler",)}


def last_spikes(cell: Any, I: Any, dt: float, dtype: Any) -> Any:  # noqa: E741
    """The number of spikes of each neuron, and the time of its last one."""

    @jax.jit
    def run(cell: Any, state: Any, I: Any) -> Any:  # noqa: E741
        def body(carry: Any, k: Any) -> Any:
            state, count, last = carry
            state, spike = cell.step(state, I, dt=dt)
            late = 0.0 if state.since_spike is None else state.since_spike
            last = jnp.where(spike > 0, (k + 1) * dt - late, last)
            return (state, count + spike, last), None

        zeros = jnp.zeros(I.shape, dtype)
        start = (state, zeros, zeros)
        return jax.lax.scan(body, start, jnp.arange(round(DURATION / dt), dtype=dtype))[0][1:]

    state = cell.init_state()
    return lambda: jax.block_until_ready(run(cell, state, I))


@functools.cache
def reference(name: str, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which neurons are compared, how many spikes they have, and when the last one is."""
    chosen = np.linspace(0, size - 1, 100).astype(int)
    with jax.enable_x64(True):
        I = jnp.asarray(np.asarray(drive(size, MODELS[name][3]))[chosen], jnp.float64)  # noqa: E741
        make = getattr(ns, name)
        cell = make(100, integrator="rk4", spike_time="interpolated")
        count, last = last_spikes(cell, I, 0.001, jnp.float64)()
        return chosen, np.asarray(count), np.asarray(last)


def error(name: str, size: int, count: Any, last: Any) -> float:
    chosen, true_count, true_last = reference(name, size)
    same = (np.asarray(count)[chosen] == true_count) & (true_count > 0)
    if same.sum() < 0.9 * (true_count > 0).sum():
        return float("inf")
    return float(np.abs(np.asarray(last)[chosen] - true_last)[same].mean())


def ours(name: str, size: int, dt: float, rounds: int, spike_time: Any) -> dict[str, float]:
    current = MODELS[name][3]
    run = last_spikes(getattr(ns, name)(size, spike_time=spike_time), drive(size, current), dt, jnp.float32)
    count, last = run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {"seconds": statistics.median(times), "error": error(name, size, count, last)}


def theirs(name: str, size: int, dt: float, rounds: int, method: str) -> dict[str, float]:
    run = with_brian2(name, size, round(DURATION / dt), dt=dt, method=method, record=True)
    results = [run() for _ in range(rounds)]
    _, count, last = results[0]
    return {"seconds": statistics.median(r[0] for r in results), "error": error(name, size, count, last)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for name, methods in METHODS.items():
        for dt in STEPS:
            for way in OURS:
                results[f"{name} {way} {dt}"] = ours(name, options.size, dt, options.rounds, way)
            for method in methods:
                results[f"{name} {method} {dt}"] = theirs(name, options.size, dt, options.rounds, method)
    if options.json:
        print(json.dumps(results))
        return
    for key, found in results.items():
        print(f"{key:36s} {found['seconds'] * 1e3:9.1f} ms   error {found['error']:.4f} ms")
    for name, methods in METHODS.items():
        for way in (*OURS, *methods):
            enough = [results[f"{name} {way} {dt}"] for dt in STEPS]
            enough = [found["seconds"] for found in enough if found["error"] <= TOLERANCE]
            print(f"{name} to {TOLERANCE} ms, {way}: {min(enough) * 1e3:.1f} ms" if enough else f"{name} {way}: never")


if __name__ == "__main__":
    main()

"""Steps of the neurons against the same formulas written by hand in JAX, and against Brian2's C++.

    python -m tests.benchmarks.neurons [--size 10000] [--steps 1000] [--rounds 15] [--brian2] [--json]

Each model runs over time in one `lax.scan` of its default step, which sums its spikes; the hand-written one is a scan
of the same formulas on plain arrays, parameters as arguments. The figure is the median of the rounds' ratios. With
`--brian2` HH and AdEx also run in Brian2 (C++ standalone, one thread, its own loop time, built beforehand), with
exponential Euler there and the default integrators here; the spike counts are printed too.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import neurostate as ns


DT = 0.05
Step = Callable[[Any, Any, Any], tuple[Any, Any]]


def phi(z: Any) -> Any:
    return jnp.expm1(z) / z


def lif(p: Any, V: Any, I: Any) -> tuple[Any, Any]:  # noqa: E741
    V = V - (p.V_th - p.V_reset) * ((V - p.V_th) / (p.V_th - p.V_reset) >= 0)
    V = V + DT * phi(-DT / p.tau) * ((-(V - p.V_rest) + p.R * I) / p.tau)
    return V, (V - p.V_th) / (p.V_th - p.V_reset) >= 0


def alif(p: Any, y: Any, I: Any) -> tuple[Any, Any]:  # noqa: E741
    V, a = y
    spike = ((V - p.V_th - p.beta * a) / (p.V_th - p.V_reset) >= 0).astype(V.dtype)
    V, a = V - (p.V_th - p.V_reset) * spike, a + spike
    V = V + DT * phi(-DT / p.tau) * ((-(V - p.V_rest) + p.R * I) / p.tau)
    a = a + DT * phi(-DT / p.tau_a) * (-a / p.tau_a)
    return (V, a), (V - p.V_th - p.beta * a) / (p.V_th - p.V_reset) >= 0


def exponential(p: Any, V: Any, w: Any, I: Any, dt: float, top: Any) -> Any:  # noqa: E741
    leak = lambda V: (-(V - p.V_rest) - p.R * w + p.R * I) / p.tau  # noqa: E731
    V = V + dt / 2 * phi(-dt / 2 / p.tau) * leak(V)
    part = dt / p.tau * jnp.exp(jnp.minimum((V - p.V_T) / p.delta_T, 40.0))
    V = jnp.where(part < 1, V - p.delta_T * jnp.log(1 - jnp.where(part < 1, part, 0)), top)
    V = jnp.minimum(V, top)
    after = V + dt / 2 * phi(-dt / 2 / p.tau) * leak(V)
    return jnp.where(part < 1, jnp.minimum(after, top), top)


def adex(p: Any, y: Any, I: Any) -> tuple[Any, Any]:  # noqa: E741
    V, w = y
    spike = (V - p.V_th) / (p.V_th - p.V_reset) >= 0
    V, w = jnp.where(spike, p.V_reset, V), jnp.where(spike, w + p.b, w)
    top = p.V_th + 0.1 * (p.V_th - p.V_reset)
    V = exponential(p, V, w, I, DT / 2, top)
    w = w + DT * phi(-DT / p.tau_w) * ((p.a * (jnp.minimum(V, p.V_th) - p.V_rest) - w) / p.tau_w)
    V = exponential(p, V, w, I, DT / 2, top)
    return (V, w), (V - p.V_th) / (p.V_th - p.V_reset) >= 0


def quadratic(p: Any, V: Any, u: Any, I: Any, dt: float, top: Any) -> Any:  # noqa: E741
    slope, J = p.p1 * V * V + p.p2 * V + p.p3 - u + I, 2 * p.p1 * V + p.p2
    q = (J * J - 4 * slope * p.p1) * dt * dt / 4
    above, below = 10395 + q * (1260 + q * 21), 10395 + q * (4725 + q * (210 + q))
    below = below - J * dt / 2 * above
    ends = (below > 0) & (q > -9.0)
    after = V + slope * dt * above / jnp.where(ends, below, 1)
    return jnp.where(ends, jnp.minimum(after, top), top)


def izhikevich(p: Any, y: Any, I: Any) -> tuple[Any, Any]:  # noqa: E741
    V, u = y
    spike = (V - p.V_th) / (p.V_th - p.c) >= 0
    V, u = jnp.where(spike, p.c, V), jnp.where(spike, u + p.d, u)
    top = p.V_th + 0.1 * (p.V_th - p.c)
    V = quadratic(p, V, u, I, DT / 2, top)
    u = u + DT * phi(-DT * p.a) * (p.a * (p.b * jnp.minimum(V, p.V_th) - u))
    V = quadratic(p, V, u, I, DT / 2, top)
    return (V, u), (V - p.V_th) / (p.V_th - p.c) >= 0


def exprel(x: Any) -> Any:
    return jnp.where(x == 0, 1.0, phi(jnp.where(x == 0, 1.0, x)))


def hh_rates(V: Any) -> Any:
    return (
        (1 / exprel(-(V + 40) / 10), 4 * jnp.exp(-(V + 65) / 18)),
        (0.07 * jnp.exp(-(V + 65) / 20), 1 / (1 + jnp.exp(-(V + 35) / 10))),
        (0.1 / exprel(-(V + 55) / 10), 0.125 * jnp.exp(-(V + 65) / 80)),
    )


def hh(p: Any, y: Any, I: Any) -> tuple[Any, Any]:  # noqa: E741
    def move_V(V: Any, gates: Any, dt: float) -> Any:
        m, h, n = gates
        g = p.gNa * m**3 * h, p.gK * n**4
        slope = (g[0] * (p.ENa - V) + g[1] * (p.EK - V) + p.gL * (p.EL - V) + I) / p.C
        return V + dt * exprel(-dt * (g[0] + g[1] + p.gL) / p.C) * slope

    def strang(V: Any, gates: Any, dt: float) -> tuple[Any, Any]:
        V, new = move_V(V, gates, dt / 2), []
        for x, (a, b) in zip(gates, hh_rates(V), strict=True):
            for _ in range(2):
                x = x + dt / 2 * exprel(-dt / 2 * (a + b)) * (a * (1 - x) - b * x)
            new.append(x)
        return move_V(V, new, dt / 2), tuple(new)

    V, x = strang(y[0], y[1], DT / 2)
    fine, coarse = strang(V, x, DT / 2), strang(y[0], y[1], DT)
    new, gates = jax.tree.map(lambda a, b: (4 * a - b) / 3, fine, coarse)
    return (new, gates), (new >= p.V_th) & (y[0] < p.V_th)


Model = tuple[Callable[[int], Any], Step, Callable[[Any], Any], float]
MODELS: dict[str, Model] = {
    "LIF": (ns.LIF, lif, lambda s: s.V, 1.5),
    "ALIF": (ns.ALIF, alif, lambda s: (s.V, s.a), 1.5),
    "AdExIF": (ns.AdExIF, adex, lambda s: (s.V, s.w), 12.0),
    "Izhikevich": (ns.Izhikevich, izhikevich, lambda s: (s.V, s.u), 10.0),
    "HH": (ns.HH, hh, lambda s: (s.V, (s.m, s.h, s.n)), 10.0),
}


def drive(size: int, current: float) -> jax.Array:
    return jnp.linspace(0.5 * current, 1.5 * current, size)


def runs(name: str, size: int, steps: int) -> dict[str, Callable[[], Any]]:
    make, step, unpack, current = MODELS[name]
    cell, I = make(size), drive(size, current)  # noqa: E741

    @jax.jit
    def with_neurostate(cell: Any, state: Any, I: Any) -> Any:  # noqa: E741
        def body(state: Any, _: None) -> Any:
            state, spike = cell.step(state, I, dt=DT)
            return state, spike.sum()

        return jax.lax.scan(body, state, None, length=steps)[1]

    @jax.jit
    def by_hand(cell: Any, y: Any, I: Any) -> Any:  # noqa: E741
        def body(y: Any, _: None) -> Any:
            y, spike = step(cell, y, I)
            return y, spike.astype(jnp.float32).sum()

        return jax.lax.scan(body, y, None, length=steps)[1]

    state = cell.init_state()
    return {
        "neurostate": lambda: with_neurostate(cell, state, I),
        "hand-written": lambda: by_hand(cell, unpack(state), I),
    }


def measure(name: str, size: int, steps: int, rounds: int) -> dict[str, float]:
    calls = runs(name, size, steps)
    spikes = {way: float(np.asarray(call()).sum()) for way, call in calls.items()}
    times: dict[str, list[float]] = {way: [] for way in calls}
    for k in range(rounds):
        for way in sorted(calls, reverse=bool(k % 2)):
            start = time.perf_counter()
            jax.block_until_ready(calls[way]())
            times[way].append(time.perf_counter() - start)
    pairs = zip(times["neurostate"], times["hand-written"], strict=True)
    return {
        "us_per_step": statistics.median(times["neurostate"]) / steps * 1e6,
        "ratio": statistics.median(a / b for a, b in pairs),
        "spikes": spikes["neurostate"],
        "spikes_by_hand": spikes["hand-written"],
    }


BRIAN2 = {
    "HH": """
        dV/dt = (120*m**3*h*(50 - V) + 36*n**4*(-77 - V) + 0.3*(-54.387 - V) + I)/ms : 1
        dm/dt = (1/exprel(-(V + 40)/10)*(1 - m) - 4*exp(-(V + 65)/18)*m)/ms : 1
        dh/dt = (0.07*exp(-(V + 65)/20)*(1 - h) - 1/(1 + exp(-(V + 35)/10))*h)/ms : 1
        dn/dt = (0.1/exprel(-(V + 55)/10)*(1 - n) - 0.125*exp(-(V + 65)/80)*n)/ms : 1
        I : 1 (constant)""",
    "AdExIF": """
        dV/dt = (-(V + 65) + 3.48*exp(clip((V + 59.9)/3.48, -100, 20)) - w + I)/(10*ms) : 1
        dw/dt = (V + 65 - w)/(30*ms) : 1
        I : 1 (constant)""",
}


def with_brian2(
    name: str, size: int, steps: int, *, dt: float = DT, method: str = "exponential_euler", record: bool = False
) -> Callable[[], tuple[float, Any, Any]]:
    """A function that runs the built program and gives the seconds of its loop, the number of spikes of each neuron
    and, with `record`, the time of its last one."""
    import brian2 as b2  # pyright: ignore[reportMissingImports]

    folder = tempfile.mkdtemp()
    b2.prefs.core.default_float_dtype = np.float32
    b2.device.reinit()
    b2.set_device("cpp_standalone", build_on_run=False)
    b2.defaultclock.dt = dt * b2.ms
    rule: dict[str, Any] = {"threshold": "V > 20", "refractory": "V > 20"}
    if name == "AdExIF":
        rule = {"threshold": "V >= -55", "reset": "V = -68; w += 1"}
    group = b2.NeuronGroup(size, BRIAN2[name], method=method, **rule)
    group.V, group.I = -65, np.asarray(drive(size, MODELS[name][3]))
    if name == "HH":
        state = ns.HH(1).init_state()
        group.m, group.h, group.n = (float(getattr(state, gate)[0]) for gate in "mhn")
    spikes = b2.SpikeMonitor(group, record=record)
    b2.Network(group, spikes).run(steps * dt * b2.ms)
    b2.device.build(directory=folder, compile=True, run=False)

    def result(name: str, dtype: Any) -> Any:
        return np.fromfile(glob.glob(os.path.join(folder, "results", f"*spikemonitor*{name}_*"))[0], dtype)

    def run() -> tuple[float, Any, Any]:
        subprocess.run([os.path.join(folder, "main")], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with open(glob.glob(os.path.join(folder, "results", "last_run_info*"))[0]) as file:
            seconds = float(file.read().split()[0])
        last = np.zeros(size)
        if record:
            last[result("_i", np.int32)] = (
                result("_t", np.float64) * 1e3 + dt
            )  # the end of the step; the last one stays
        return seconds, result("count", np.int32), last

    return run


def against_brian2(name: str, size: int, steps: int, rounds: int) -> dict[str, float]:
    brian, ours = with_brian2(name, size, steps), runs(name, size, steps)["neurostate"]
    count = float(np.asarray(ours()).sum())
    ratios, spikes = [], 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(ours())
        mine = time.perf_counter() - start
        theirs, counts, _ = brian()
        ratios.append(mine / theirs)
        spikes = float(counts.sum())
    return {"ratio": statistics.median(ratios), "spikes": count, "spikes_brian2": spikes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--brian2", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    shape = (options.size, options.steps, options.rounds)
    results = {name: measure(name, *shape) for name in MODELS}
    brian = {name: against_brian2(name, *shape) for name in BRIAN2} if options.brian2 else {}
    if options.json:
        print(json.dumps({"jax": jax.__version__, "by_hand": results, "brian2": brian}))
        return
    print(f"jax {jax.__version__}, {options.size} neurons, {options.steps} steps of {DT} ms")
    for name, f in results.items():
        counts = f"spikes {f['spikes']:.0f}, by hand {f['spikes_by_hand']:.0f}"
        print(f"{name:12s} {f['us_per_step']:8.1f} us a step  {f['ratio']:.3f} x hand-written   {counts}")
    for name, f in brian.items():
        print(f"{name:12s} {f['ratio']:.3f} x Brian2 C++   spikes {f['spikes']:.0f}, there {f['spikes_brian2']:.0f}")


if __name__ == "__main__":
    main()

"""The neurons that several test files run through, with drives under which they spike, and SciPy's answer to them."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

import neurostate as ns


# Three currents of each neuron, in its own unit, for which it spikes within 200 ms.
RESETTING: dict[Any, tuple[float, float, float]] = {
    ns.IF: (0.317, 0.713, 1.711),
    ns.LIF: (1.13, 1.71, 3.37),
    ns.ALIF: (1.23, 1.71, 3.37),
    ns.CubaLIF: (1.13, 1.71, 3.37),
    ns.CobaLIF: (1.13, 1.71, 3.37),
    ns.ExpIF: (4.0, 7.0, 13.0),
    ns.AdExIF: (13.0, 17.0, 23.0),
    ns.QuaIF: (5.0, 9.0, 17.0),
    ns.AdQuaIF: (15.0, 17.0, 43.0),
    ns.Gif: (1.1, 1.5, 2.3),
    ns.Izhikevich: (7.0, 17.0, 23.0),
}
UNRESET: dict[Any, tuple[float, float, float]] = {
    ns.HH: (7.0, 10.0, 20.0),
    ns.WangBuzsakiHH: (0.5, 1.0, 5.0),
    ns.MorrisLecar: (90.0, 100.0, 150.0),
    ns.FitzHughNagumo: (0.5, 0.7, 1.0),
    ns.HindmarshRose: (2.0, 2.0, 2.0),
}
CURRENTS = RESETTING | UNRESET
NEURONS = [*CURRENTS]
DIVERGING = [ns.ExpIF, ns.AdExIF, ns.QuaIF, ns.AdQuaIF, ns.Izhikevich]


def name(x: Any) -> str:
    """For the identifiers of parametrised tests."""
    return getattr(x, "__name__", None) or repr(x)


DURATION = 200.0
# Beside the defaults: synapses that are active at the start, and the AdEx neuron of Brette and Gerstner (2005).
EXTRA = {ns.CubaLIF: {"g_initializer": 2.0}, ns.CobaLIF: {"g_initializer": 1.0, "E": 3.0}}
BRETTE_GERSTNER = dict(C=0.281, gL=0.03, tau_w=144.0, a=0.004, b=0.0805, V_th=20.0, V_reset=-70.6, V_rest=-70.6)
BRETTE_GERSTNER |= dict(V_T=-50.4, delta_T=2.0, V_initializer=-70.6)


def currents_for(kind, num_steps=60, strength=1.5):
    return jnp.broadcast_to(jnp.asarray((CURRENTS | {ns.LI: (0.5, 1.0, 2.0)})[kind]) * strength, (num_steps, 3))


class Reference:
    """The equations of a neuron in plain NumPy, one neuron at a constant current, integrated by SciPy."""

    def __init__(self, kind, **options):
        cell = kind(1, **EXTRA.get(kind, {}), **options)
        flat, restore = ravel_pytree(cell.init_state())
        self.start = np.asarray(flat)
        self.V = cell.variables().index("V")
        top = getattr(cell, "diverges_above", None)
        # The map: `V` does not go further than this, and the other variables see it up to the threshold.
        self.top = np.inf if top is None else float(cell.V_th + 0.1 * (cell.V_th - getattr(cell, top)))

        @jax.jit
        def slope(y, current):
            y, drive = restore(y), ns.Drive(current=current)
            if kind is ns.CubaLIF:
                V = (-(y.V - cell.V_rest) + cell.R * (y.g + current)) / cell.tau
                return ravel_pytree(y.with_(V=V, g=-y.g / cell.tau_syn))[0]
            if top is None:
                return ravel_pytree(cell.derivative(y, drive))[0]
            V = cell.derivative(y.with_(V=jnp.minimum(y.V, self.top)), drive).V
            return ravel_pytree(cell.derivative(y.with_(V=jnp.minimum(y.V, cell.V_th)), drive).with_(V=V))[0]

        distance = jax.jit(lambda y: cell.distance(restore(y))[0])
        reset = jax.jit(lambda y: ravel_pytree(cell.reset(restore(y), jnp.ones(1)))[0])
        self.slope = lambda y, current: np.asarray(slope(y, current))
        self.distance = lambda y: float(distance(y))
        self.reset = lambda y: np.asarray(reset(y))

    def run(self, y, start, end, current, *, to_crossing=False, held=False, tolerance=1e-9):
        def f(t, y):
            slope = self.slope(y, current)
            return np.where(np.arange(len(y)) == self.V, 0.0, slope) if held else slope

        crossing = lambda t, y: self.distance(y)  # noqa: E731
        crossing.terminal, crossing.direction = True, 1.0
        options = {"method": "DOP853", "rtol": tolerance, "atol": tolerance}
        return solve_ivp(f, (start, end), y, events=crossing if to_crossing else None, **options)

    def on_the_grid(self, current, dt):
        """The steps at whose end it spikes, and is reset."""
        y, step, steps, num_steps = self.start, 0, [], round(DURATION / dt)
        while True:
            found = self.run(y, step * dt, num_steps * dt, current, to_crossing=True)
            if found.status == 0:
                return steps
            y, step = found.y[:, -1], int(np.ceil(found.t[-1] / dt))
            if step * dt > found.t[-1]:
                y = self.run(y, found.t[-1], step * dt, current).y[:, -1]
            y[self.V] = min(y[self.V], self.top)
            steps.append(step - 1)
            y = self.reset(y)

    @functools.cache
    def in_continuous_time(self, current, tau_ref):
        """The times at which it spikes, and is reset."""
        y, t, times = self.start, 0.0, []
        while True:
            found = self.run(y, t, DURATION, current, to_crossing=True)
            if found.status == 0:
                return np.array(times)
            t = found.t[-1]
            times.append(t)
            y = self.reset(found.y[:, -1])
            if tau_ref:
                y, t = self.run(y, t, t + tau_ref, current, held=True).y[:, -1], t + tau_ref

    @functools.cache
    def crossings(self, current):
        """The times at which `V` crosses the threshold from below, of a neuron without reset."""
        crossing = lambda t, y: self.distance(y)  # noqa: E731
        crossing.direction = 1.0
        f = lambda t, y: self.slope(y, current)  # noqa: E731
        found = solve_ivp(f, (0, DURATION), self.start, method="DOP853", rtol=1e-9, atol=1e-9, events=crossing)
        return found.t_events[0]


@functools.cache
def reference(kind, **options):
    return Reference(kind, **options)


def spikes_of(kind, currents, dt, **options):
    """For each of three neurons the steps with a spike, and the times of the spikes."""
    cell = kind(3, **EXTRA.get(kind, {}), **options)
    drive = jnp.broadcast_to(jnp.asarray(currents), (round(DURATION / dt), 3))
    record = "since_spike" if cell.spike_time == "interpolated" else None
    sol = ns.simulate(cell, drive, dt=dt, record=record)
    steps = [np.flatnonzero(lane) for lane in np.asarray(sol.outputs).T]
    if record is None:
        return steps, [(k + 1) * dt for k in steps]
    since = np.asarray(sol.records["since_spike"]).T
    return steps, [(k + 1) * dt - since[lane, k] for lane, k in enumerate(steps)]


# Gradients


# Nothing starts at its steady state, and no parameter that counts is zero.
LEAKY = {"V_rest": 0.1, "V_reset": -0.2}
UNSETTLED = {
    ns.HH: {"m_initializer": 0.1, "h_initializer": 0.5, "n_initializer": 0.4},
    ns.WangBuzsakiHH: {"h_initializer": 0.7, "n_initializer": 0.2},
    ns.MorrisLecar: {"W_initializer": 0.1},
    ns.LIF: LEAKY,
    ns.ALIF: {"a_initializer": 0.2, **LEAKY},
    ns.CubaLIF: {"g_initializer": 0.3, **LEAKY},
    ns.CobaLIF: {"g_initializer": 0.3, "E": 1.5, **LEAKY},
    ns.Gif: {"a": 0.01, "A1": 0.3, "A2": -0.1, "R1": 0.3, "I1_initializer": 0.2, "I2_initializer": -0.1},
}


def gradient(cell, current, dt, num_steps=100):
    """That of the last state with respect to all arrays of the cell and of the drive, compared; by path."""
    drive = ns.Drive(current=jnp.full(cell.size, current), g=jnp.asarray(0.01), E=jnp.asarray(0.5))
    arrays, rest = eqx.partition(cell, eqx.is_inexact_array)
    flat, restore = ravel_pytree((arrays, drive))
    weights = jnp.asarray([0.7, 0.5, 0.9, 0.6, 0.8])

    def loss(flat):
        arrays, drive = restore(flat)
        cell = eqx.combine(arrays, rest)
        step = lambda state, _: (cell.step(state, drive, dt=dt)[0], None)  # noqa: E731
        state = jax.lax.scan(step, cell.init_state(), None, length=num_steps)[0]
        values = ravel_pytree(state.with_(refractory=None))[0]
        return weights[: len(values)] @ values

    scale = np.maximum(np.abs(flat), 0.1)
    h = 3e-6 * scale
    points = np.asarray(flat) + np.concatenate([np.zeros((1, len(h))), np.diag(h), -np.diag(h)])
    # One program for the gradient and the values beside it: less to compile than two.
    values, slopes = jax.jit(lambda points: jax.lax.map(jax.value_and_grad(loss), points))(points)
    plus, minus = np.split(np.asarray(values)[1:], 2)
    expected, found = (plus - minus) / (2 * h) * scale, np.asarray(slopes)[0] * scale
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path((arrays, drive))]
    assert len(paths) == len(flat)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8 * np.abs(expected).max(), err_msg=str(paths))
    return dict(zip(paths, found))


def without_effect(found):
    return {path.split(".")[1] for path, x in found.items() if x == 0.0}

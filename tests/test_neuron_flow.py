"""How the neurons move below the threshold: closed forms, and the order of each integrator against SciPy."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

import neurostate as ns
from neurostate.integrate import INTEGRATORS

from .helpers import x64
from .zoo import name


# Closed forms


LEAKY = [ns.LIF, ns.LI, ns.ALIF, ns.CubaLIF, ns.CobaLIF, ns.IF]
NAMES = ("tau", "tau_2", "R", "V_rest", "start", "second", "current", "g", "E")
positive = st.floats(0.5, 100.0)
value = st.floats(-80.0, 80.0)
values = st.fixed_dictionaries(
    dict(zip(NAMES, (positive, positive, st.floats(0.1, 5.0), *[value] * 4, st.floats(0.0, 3.0), value), strict=True))
)


def make(kind, p):
    """The neuron with these parameters, which cannot spike."""
    cell_options = {"R": p["R"], "tau": p["tau"], "V_initializer": p["start"]}
    if kind is not ns.LI:
        cell_options |= {"V_th": 1e9}
    if kind is not ns.IF:
        cell_options |= {"V_rest": p["V_rest"]}
    second = {ns.ALIF: ("tau_a", "a"), ns.CubaLIF: ("tau_syn", "g"), ns.CobaLIF: ("tau_syn", "g")}.get(kind)
    if second is not None:
        cell_options |= {second[0]: p["tau_2"], f"{second[1]}_initializer": p["second"]}
    return kind((), **cell_options)


@eqx.filter_jit
def run(kind, p, dt, num_steps):
    cell = make(kind, p)
    drive = ns.Drive(current=p["current"], g=p["g"], E=p["E"])
    state = cell.init_state()
    return jax.lax.fori_loop(0, num_steps, lambda _, state: cell.step(state, drive, dt=dt)[0], state)


def relative_mean(x):
    """The mean of exp(s x) over 0 to 1."""
    return np.expm1(x) / x if x else 1.0


def closed_form(kind, p, t):
    """`V`, the second variable, and the size of the terms that make up `V`, in NumPy."""
    conductance = 0.0 if kind is ns.IF else 1.0
    rate = (conductance + p["R"] * p["g"]) / p["tau"]
    pull = p["R"] * (p["current"] + p["g"] * p["E"]) + (0.0 if kind is ns.IF else p["V_rest"])
    V = p["start"] * np.exp(-rate * t) + pull / p["tau"] * t * relative_mean(-rate * t)
    second = p["second"] * np.exp(-t / p["tau_2"])
    size = max(abs(p["start"]), abs(V), *(abs(pull) / (rate * p["tau"]) if rate else 0.0,))
    if kind is ns.CubaLIF:
        a, b = rate * t, t / p["tau_2"]
        added = p["R"] * p["second"] * t / p["tau"] * np.exp(-min(a, b)) * relative_mean(-abs(a - b))
        V, size = V + added, max(size, abs(added))
    return V, second, max(size, 1.0)


@pytest.mark.parametrize("kind", [kind for kind in LEAKY if kind is not ns.CobaLIF], ids=name)
@given(p=values, dt=st.floats(1e-3, 50.0), near=st.sampled_from([None, 1.0, 2.0, 1 + 1e-9, 1 - 1e-5]))
def test_any_step_of_linear_neurons_is_the_closed_form(kind, p, dt, near):
    p = p if near is None else p | {"tau_2": near * p["tau"]}
    with x64():
        state = run(kind, jax.tree.map(jnp.asarray, p), jnp.asarray(dt), jnp.asarray(1))
        V, second, size = closed_form(kind, p, dt)
        # A current that the conductance balances is a difference of larger terms.
        size += p["R"] * dt / p["tau"] * (abs(p["current"]) if kind is ns.IF else 0.0)
        assert abs(float(state.V) - V) <= 1e-12 * size
        if kind in (ns.ALIF, ns.CubaLIF):
            assert float(state.a if kind is ns.ALIF else state.g) == pytest.approx(
                second, abs=1e-12 * abs(p["second"]) + 1e-300
            )


@pytest.mark.parametrize("kind", [ns.LIF, ns.LI, ns.ALIF, ns.CubaLIF], ids=name)
@given(p=values, dt=st.floats(1e-2, 50.0), num_steps=st.sampled_from([1, 30, 1000]))
def test_in_float32_rounding_stays_small(kind, p, dt, num_steps):
    p = {name: float(np.float32(x)) for name, x in p.items()} | {"g": 0.0}
    dt = float(np.float32(dt))
    state = run(kind, jax.tree.map(jnp.float32, p), jnp.float32(dt), jnp.asarray(num_steps))
    assert state.V.dtype == jnp.float32
    V, _, _ = closed_form(kind, p, dt * num_steps)
    # Two units in the last place of all terms, and what they add up to until they are forgotten.
    terms, slowest = abs(p["start"]) + abs(p["V_rest"]) + abs(p["R"] * p["current"]), p["tau"]
    if kind is ns.CubaLIF:
        terms, slowest = terms + abs(p["R"] * p["second"]), max(p["tau"], p["tau_2"])
    bound = 2 * np.finfo(np.float32).eps * terms * max(1.0, slowest / dt)
    assert abs(float(state.V) - V) <= bound + 1e-30  # far above where float32 ends


@eqx.filter_jit
def many_steps(values, dt, num_steps):
    cell = ns.LIF(values["R"].shape, **{k: x for k, x in values.items() if k != "I"}, V_th=1e30)
    return jax.lax.fori_loop(0, num_steps, lambda _, s: cell.step(s, values["I"], dt=dt)[0], cell.init_state()).V


@pytest.mark.parametrize("num_steps", [1, 3, 30, 1000])
def test_rounding_in_float32_stays_within_the_documented_bound(num_steps):
    rng, size, dt = np.random.default_rng(num_steps), 100_000, np.float32(0.1)
    log_uniform = lambda low, high: 10.0 ** rng.uniform(low, high, size)  # noqa: E731
    signed = lambda: log_uniform(-3, 3) * rng.choice([-1, 1], size)  # noqa: E731
    part = log_uniform(-4, 3)  # dt / tau
    R, rest, start, current, kind = log_uniform(-2, 2), signed(), signed(), signed(), rng.integers(0, 4, size)
    rest[kind == 0] = 0.0
    balanced = -rest / R * (1 + log_uniform(-8, 0) * rng.choice([-1, 1], size))
    current = np.where(kind == 1, balanced, current)  # up to a small rest that R * I leaves of V_rest
    start = np.where(kind == 2, rest + R * current, start)
    values = {"R": R, "tau": dt / part, "V_rest": rest, "V_initializer": start, "I": current}
    values = {name: x.astype(np.float32) for name, x in values.items()}
    found = np.asarray(many_steps(values, dt, num_steps), float)
    R, tau, rest, start, current = (x.astype(float) for x in values.values())
    end = rest + R * current
    expected = end + (start - end) * np.exp(-num_steps * float(dt) / tau)
    error = np.abs(found - expected) / (np.finfo(np.float32).eps * np.maximum(1, tau / dt))
    largest = np.abs([start, expected, end, rest, R * current]).max(axis=0)
    assert (error <= np.where(part <= 1 / 3, 1, 4) * largest).all()
    # The largest of `abs(V)` and `abs(V_rest + R * I)` is not enough, where they cancel.
    assert (error > 10 * np.abs([start, expected, end]).max(axis=0)).any()


# The order of the integrators


class Flow:
    """A neuron at a constant drive, and where SciPy says it is at the times `grid`."""

    def __init__(self, kind, current, duration, options):
        self.kind, self.options, self.duration = kind, options, duration
        self.drive = ns.Drive(current=jnp.full(1, current))
        cell = kind(1, **options)
        self.state = cell.init_state()
        flat, restore = ravel_pytree(self.state)
        slope = jax.jit(lambda y: ravel_pytree(cell.derivative(restore(y), self.drive))[0])
        self.grid = np.linspace(0, duration, 251)[1:]
        found = solve_ivp(
            lambda t, y: np.asarray(slope(y)),
            (0, duration),
            np.asarray(flat),
            method="DOP853",
            rtol=1e-12,
            atol=1e-13,
            t_eval=self.grid,
        )
        self.y, self.V = found.y, found.y[cell.variables().index("V")]
        self.scale = np.ptp(np.column_stack([flat, found.y]), axis=1) + 1e-300

    def errors(self, integrators, lengths):
        """The error of each integrator for each step length, relative to the range of each variable."""

        def at_end(integrator, dt, num_steps):
            cell = self.kind(1, integrator=integrator, **self.options)
            step = lambda _, state: cell.flow(state, self.drive, dt)  # noqa: E731
            return ravel_pytree(jax.lax.fori_loop(0, num_steps, step, self.state))[0]

        @jax.jit
        def all_of_them(dts, nums):
            run = lambda x: [at_end(integrator, *x) for integrator in integrators]  # noqa: E731
            return jax.lax.map(run, (dts, nums))

        nums = np.round(self.duration / np.array(lengths)).astype(int)
        ends = all_of_them(jnp.asarray(self.duration / nums), jnp.asarray(nums))
        return [np.abs((np.asarray(end) - self.y[:, -1]) / self.scale).max(axis=1) for end in ends]

    def error_of_default(self, dt):
        """The greatest error of `V` on the grid, relative to its range."""
        cell = self.kind(1, **self.options)
        every = round(self.duration / 250 / dt)

        def body(state, _):
            state = jax.lax.fori_loop(0, every, lambda _, state: cell.flow(state, self.drive, dt), state)
            return state, state.V[0]

        V = jax.jit(lambda state: jax.lax.scan(body, state, None, length=250)[1])(self.state)
        return np.abs(np.asarray(V) - self.V).max() / self.scale[cell.variables().index("V")]


@functools.cache
def flow(case):
    return Flow(*(CASES | SPIKING)[case])


CASES = {
    "LIF": (ns.LIF, 0.7, 10.0, {}),
    "IF": (ns.IF, 0.7, 10.0, {"V_th": 1e9}),
    "ALIF": (ns.ALIF, 0.7, 10.0, {"a_initializer": 1.0}),
    "CobaLIF": (ns.CobaLIF, 0.7, 10.0, {"V_th": 1e9, "E": 3.0, "g_initializer": 1.0}),
    "ExpIF": (ns.ExpIF, 2.5, 40.0, {}),
    "QuaIF": (ns.QuaIF, 3.0, 40.0, {}),
    "AdExIF": (ns.AdExIF, 3.0, 40.0, {}),
    "AdQuaIF": (ns.AdQuaIF, 5.0, 40.0, {}),
    "Gif": (ns.Gif, 0.3, 40.0, {"a": 0.005, "I1_initializer": 0.3, "I2_initializer": 0.2}),
    "Izhikevich": (ns.Izhikevich, 2.0, 40.0, {"V_initializer": -70.0, "u_initializer": -10.0}),
    "HH": (ns.HH, 2.0, 20.0, {}),
    "WangBuzsakiHH": (ns.WangBuzsakiHH, 0.1, 40.0, {}),
    "MorrisLecar": (ns.MorrisLecar, 30.0, 40.0, {}),
    "FitzHughNagumo": (ns.FitzHughNagumo, 0.2, 10.0, {"V_initializer": 0.0}),
    "HindmarshRose": (ns.HindmarshRose, 0.5, 10.0, {"y_initializer": -11.8}),
}
SPIKING = {
    "HH, spiking": (ns.HH, 10.0, 50.0, {}),
    "WangBuzsakiHH, spiking": (ns.WangBuzsakiHH, 1.0, 50.0, {}),
    "MorrisLecar, spiking": (ns.MorrisLecar, 100.0, 200.0, {}),
    "FitzHughNagumo, spiking": (ns.FitzHughNagumo, 0.7, 100.0, {}),
    "HindmarshRose, spiking": (ns.HindmarshRose, 2.0, 100.0, {}),
}
# Two lengths of the step at which the orders show: small enough for that, and large enough for rounding not to.
LENGTHS = {
    "HH": (0.04, 0.02),
    "WangBuzsakiHH": (0.4, 0.2),
    "FitzHughNagumo": (0.1, 0.05),
    "HindmarshRose": (0.02, 0.01),
    "Izhikevich": (0.5, 0.25),
    "MorrisLecar": (0.5, 0.25),
}
EXACT = {"LIF", "IF", "ALIF"}
ONE_VARIABLE = {"ExpIF", "QuaIF"}


def order_of(case, integrator):
    """The least order that it must show, `None` where it is exact."""
    if case == "IF" or (case in EXACT and integrator.startswith(("exp", "strang"))):
        return None
    if case == "QuaIF" and integrator == "strang":
        return None
    least = {"euler": 0.9, "exp_euler": 0.9, "exp_midpoint": 1.9, "strang": 1.9, "exp4": 2.8, "rk2": 1.9, "rk4": 3.7}
    if integrator == "exp_euler" and case in ONE_VARIABLE:
        return 1.9
    if integrator == "exp4" and case in ("CobaLIF", "Gif", "HH"):
        return 3.7
    return least[integrator]


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_every_integrator(case):
    with x64():
        errors = flow(case).errors([*INTEGRATORS], LENGTHS.get(case, (1.0, 0.5)))
        for integrator, (coarse, fine) in zip(INTEGRATORS, errors, strict=True):
            least = order_of(case, integrator)
            if least is None:
                assert max(coarse, fine) < 1e-11, integrator
            else:
                assert np.log2(coarse / fine) >= least, integrator


@pytest.mark.parametrize("case", CASES | SPIKING)
def test_the_default_integrator_at_a_hundredth_of_a_millisecond(case):
    with x64():
        assert flow(case).error_of_default(0.01) < 1e-4

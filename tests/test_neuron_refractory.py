"""Refractory periods hold: for any neuron, reset, drive, length of the period and kind of spike time."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurostate as ns

from .helpers import x64
from .zoo import CURRENTS, RESETTING, UNRESET, name


NUM_STEPS, SIZE = 300, 4
# A cheap integrator where the default takes long to compile.
OPTIONS = {ns.HH: {"integrator": "exp_midpoint"}, ns.WangBuzsakiHH: {"integrator": "exp_midpoint"}}
RESETS = [(kind, "grid", reset) for kind in RESETTING for reset in ("soft", "hard")]
RESETS += [(kind, "grid", None) for kind in (ns.LIF, ns.ALIF, ns.AdExIF, ns.Gif)]
RESETS += [(kind, "interpolated", "hard") for kind in RESETTING]
RESETS += [(kind, "interpolated", reset) for kind in (ns.LIF, ns.ALIF, ns.AdExIF) for reset in ("soft", None)]
ALL = RESETS + [(kind, mode, None) for kind in UNRESET for mode in ("grid", "interpolated")]


@eqx.filter_jit
def run(cell, drive, dt):
    def step(state, drive):
        state, spike = cell.step(state, drive, dt=dt)
        return state, (spike, state.V, state.since_spike)

    return jax.lax.scan(step, cell.init_state(), drive)[1]


def make(kind, mode, reset, tau_ref):
    options = {"spk_reset": reset} if kind in RESETTING else {}
    return kind(SIZE, tau_ref=tau_ref, spike_time=mode, **options, **OPTIONS.get(kind, {}))


def erratic(kind, strength, seed):
    """Currents, conductances and jumps, most of the time strong, at times absent or negative."""
    rng = np.random.default_rng(seed)
    shape = (NUM_STEPS, SIZE)
    scale = CURRENTS[kind][2] * strength
    current = scale * rng.choice([-1.0, 0.0, 1.0, 10.0], shape, p=[0.1, 0.2, 0.5, 0.2])
    small = (ns.IF, ns.LIF, ns.ALIF, ns.CubaLIF, ns.CobaLIF, ns.FitzHughNagumo, ns.HindmarshRose)
    span = 2.0 if kind in small else 60.0
    if kind in UNRESET:
        current, span = np.clip(current, -scale, scale), span / 4
    g = 0.1 * rng.exponential(size=shape) * rng.choice([0.0, 1.0], shape)
    E = span * rng.normal(size=shape)
    jump = span * rng.normal(size=shape) * rng.choice([0.0, 1.0], shape, p=[0.9, 0.1])
    return jax.tree.map(jnp.asarray, ns.Drive(current=current, g=g, E=E, jump=jump))


@settings(max_examples=settings.default.max_examples // 2)
@given(
    tau_ref=st.lists(st.floats(0.0, 20.0), min_size=SIZE, max_size=SIZE),
    dt=st.sampled_from([0.05, 0.1, 0.1234567, 0.3]),
    strength=st.sampled_from([1.0, 5.0, 30.0]),
    seed=st.integers(0, 2**16),
)
@pytest.mark.parametrize(("kind", "mode", "reset"), ALL, ids=name)
def test_no_two_spikes_are_closer_than_the_refractory_period(kind, mode, reset, tau_ref, dt, strength, seed):
    if kind in UNRESET:  # explicit methods are not stable at any strength
        dt, strength = min(dt, 0.05), 1.0
    with x64():
        cell = make(kind, mode, reset, np.array(tau_ref))
        spikes, V, since = run(cell, erratic(kind, strength, seed), jnp.asarray(dt))
        assert bool(jnp.isfinite(V).all())
        for lane, period in enumerate(tau_ref):
            steps = np.flatnonzero(np.asarray(spikes)[:, lane])
            if mode == "grid":
                assert (np.diff(steps) >= np.ceil(period / dt - 1e-3)).all()
            else:
                times = (steps + 1) * dt - np.asarray(since)[steps, lane]
                assert (np.diff(times) >= period - 1e-9).all()


@pytest.mark.parametrize(("kind", "mode", "reset"), RESETS, ids=name)
def test_a_huge_drive_makes_it_spike_as_often_as_the_refractory_period_allows(kind, mode, reset):
    with x64():
        nothing = jnp.zeros((NUM_STEPS, SIZE))
        drive = ns.Drive(current=nothing + 3e3 * CURRENTS[kind][2], g=nothing, E=nothing, jump=nothing)
        spikes, V, since = run(make(kind, mode, reset, np.full(SIZE, 5.0)), drive, jnp.asarray(0.1))
    assert bool(jnp.isfinite(V).all())
    for lane in range(SIZE):
        steps = np.flatnonzero(np.asarray(spikes)[:, lane])
        times = (steps + 1) * 0.1 - (0 if mode == "grid" else np.asarray(since)[steps, lane])
        assert len(steps) >= 6
        if mode == "grid":
            assert set(np.diff(steps)) == {50}
        else:
            assert (np.diff(times) > 5.0 - 1e-9).all() and np.diff(times).mean() < 5.05


def test_the_refractory_period_in_float32():
    cell = ns.LIF(3, tau_ref=[5.0, 1.7, 20.0])
    spikes = np.asarray(ns.simulate(cell, jnp.full((2000, 3), 1e3), dt=0.1).outputs)
    assert [set(np.diff(np.flatnonzero(lane))) for lane in spikes.T] == [{50}, {17}, {200}]


def test_a_soft_reset_from_far_above_the_threshold():
    cell = ns.LIF(1, tau_ref=1.0, V_initializer=5.0)
    state, spikes = cell.init_state(), []
    for _ in range(25):
        state, spike = cell.step(state, 0.0, dt=0.1)
        spikes.append(int(spike[0]))
    # It starts above, is reset to 4 mV and held there, and so on.
    assert np.flatnonzero(spikes).tolist() == [9, 19]


@pytest.mark.parametrize("dt", [0.1, 1.0, 5.0, 50.0])
def test_the_length_of_a_step_may_change(dt):
    with x64():
        cell = ns.LIF(1, tau_ref=1.0, V_initializer=0.5)
        state, _ = cell.step(cell.init_state(), 0.0, dt=0.01)
        state, spike = cell.step(state, ns.Drive(jump=1.0), dt=dt)
        V = float(state.V[0])
        assert float(spike[0]) == 1.0 and V == pytest.approx(1 + 0.5 * np.exp(-(0.01 + dt) / 5))
        state, spike = cell.step(state, 0.0, dt=10.0)
        assert float(state.V[0]) == pytest.approx((V - 1) * np.exp(-2.0))


def test_jumps_in_continuous_time():
    with x64():
        cell = functools.partial(ns.LIF, 1, spike_time="interpolated")

        def after(cell, **drive):
            state, spike = cell.step(cell.init_state(), ns.Drive(**drive), dt=2.0)
            return state, *(float(x[0]) for x in (spike, state.V, state.since_spike))

        # Over the threshold by the jump: at the end of the step, and reset there.
        _, spike, V, since = after(cell(V_initializer=0.5), jump=2.0)
        assert (spike, since) == (1.0, 0.0) and V == pytest.approx(0.5 * np.exp(-0.4) + 2.0 - 1.0)
        # Over it by the current; the jump comes after the reset.
        crossing = 5 * np.log(10 / 9)
        rest = 2.0 - crossing
        free = 10 * (1 - np.exp(-rest / 5))
        _, spike, V, since = after(cell(V_th=1.0), current=10.0, jump=-30.0)
        assert spike == 1.0 and (since, V) == pytest.approx((rest, free - 30.0))
        # A neuron in its refractory period takes none.
        _, spike, V, since = after(cell(tau_ref=5.0), current=10.0, jump=-30.0)
        assert spike == 1.0 and (since, V) == pytest.approx((rest, 0.0))
        # Back over the threshold by a jump in the step of a spike: the next spike is at the start of the next step.
        state, spike, V, since = after(cell(), current=10.0, jump=3.0)
        assert spike == 1.0 and (since, V) == pytest.approx((rest, free + 3.0))
        state, spike = cell().step(state, 0.0, dt=2.0)
        assert float(spike[0]) == 1.0 and float(state.since_spike[0]) == 2.0

"""`simulate`: the same bits as a scan, and what it keeps, stores and compiles."""

from __future__ import annotations

import functools

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neurostate import Sequential, connect, init, source, surrogate
from neurostate._units import quantity
from neurostate.neuron import LIF
from neurostate.simulate import simulate

from .helpers import x64


T, N = 23, 4
CURRENTS = np.linspace(0.0, 6.0, T * N).reshape(T, N)


def make_cell():
    return LIF(N, tau=np.linspace(3.0, 9.0, N), V_reset=-0.1, V_initializer=0.3)


def same(one, other):
    """Equal structure, dtypes and bits."""
    return bool(eqx.tree_equal(one, other, typematch=True))


class Walk(eqx.Module):
    """A model of one's own: a random walk that counts how often Python runs its step."""

    traces: list = eqx.field(static=True)
    in_size: tuple[int, ...] = eqx.field(static=True, default=(N,))
    scale: jax.Array = eqx.field(converter=jnp.asarray, default=1.0)

    def init_state(self, batch_shape=(), key=None):
        shape = (*batch_shape, *self.in_size)
        return jnp.zeros(shape) if key is None else jax.random.normal(key, shape)

    def step(self, state, current, *, dt, key=None):
        self.traces.append(key is not None)
        noise = 0.0 if key is None else jax.random.normal(key, state.shape)
        state = state + self.scale * current * dt + noise
        return state, {"twice": 2 * state, "sum": state.sum(-1)}


# The same as a scan


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_the_bits_of_a_scan_over_the_step(batch, wide):
    with x64(wide):
        cell = make_cell()
        currents = jnp.asarray(np.broadcast_to(CURRENTS[:, *([None] * len(batch))], (T, *batch, N)))
        for drive in (currents, 1000 * currents * u.uA):
            sol = simulate(cell, drive, dt=0.5 * u.ms)
            step = functools.partial(cell.step, dt=0.5 * u.ms)
            state, spikes = jax.lax.scan(step, cell.init_state(batch), drive)
            assert same((sol.state, sol.outputs), (state, spikes)) and sol.records is None
            assert float(spikes.sum()) > 5 and spikes.dtype == currents.dtype


def test_the_program_of_a_scan_over_the_step():
    cell, state = make_cell(), make_cell().init_state()
    program = jax.make_jaxpr(lambda state, c: simulate(cell, c, dt=0.5, state=state).outputs)(state, CURRENTS)
    # In place, without a jit of its own, which XLA would not look through.
    assert [e.primitive.name for e in program.eqns if e.primitive.name != "broadcast_in_dim"] == ["scan"]
    (actual,) = [e for e in program.eqns if e.primitive.name == "scan"]
    program = jax.make_jaxpr(lambda state, c: jax.lax.scan(functools.partial(cell.step, dt=0.5), state, c))
    (expected,) = [e for e in program(state, CURRENTS).eqns if e.primitive.name == "scan"]
    names = [[e.primitive.name for e in scan.params["jaxpr"].eqns] for scan in (actual, expected)]
    assert names[0] == names[1]


def test_under_jit_vmap_and_grad():
    cell = make_cell()
    currents = jnp.asarray(CURRENTS)

    def spikes(c):
        return simulate(cell, c, dt=0.5).outputs

    expected = spikes(currents)
    np.testing.assert_array_equal(jax.jit(spikes)(currents), expected)
    np.testing.assert_array_equal(jax.vmap(spikes)(jnp.stack([currents, currents])), jnp.stack([expected, expected]))
    gradient = jax.grad(lambda c: spikes(c).sum())(currents)
    by_scan = jax.grad(lambda c: jax.lax.scan(functools.partial(cell.step, dt=0.5), cell.init_state(), c)[1].sum())(
        currents
    )
    np.testing.assert_allclose(gradient, by_scan, rtol=1e-6, atol=1e-7)
    assert float(jnp.abs(gradient).max()) > 0


def test_a_traced_time_step():
    cell = make_cell()
    sol = jax.jit(lambda dt: simulate(cell, CURRENTS, dt=dt))(0.5)
    expected = simulate(cell, CURRENTS, dt=0.5)
    np.testing.assert_allclose(sol.ts, expected.ts)
    np.testing.assert_allclose(sol.state.V, expected.state.V, rtol=1e-5)


# Compiled once


def test_equal_calls_neither_trace_nor_compile_again():
    traces = []
    for scale in (1.0, 2.0, 3.0):  # a new model, new values, names, and equal options each time
        sol = simulate(Walk(traces, scale=scale), CURRENTS * scale, dt=0.5, record=None, every=2)
        assert float(sol.outputs["sum"][-1]) == pytest.approx(scale**2 * 0.5 * CURRENTS[:22].sum(), rel=1e-5)
    count = len(traces)
    assert count <= 2  # the shapes of the output, and the body of the loop
    simulate(Walk(traces), CURRENTS, dt=0.25, every=2)
    assert len(traces) == 2 * count
    for _ in range(3):
        simulate(Walk(traces), CURRENTS, dt=0.5, every=2)
    assert len(traces) == 2 * count


def test_names_and_bars_do_not_make_a_new_program(capfd):
    traces = []

    def spike(x):
        traces.append(1)
        return surrogate.relu_grad(x)

    for options in ({"record": "V"}, {"record": ("V",)}, {"progress": True}, {"progress": "again"}, {"progress": 2}):
        before = len(traces)
        for _ in range(3):
            simulate(LIF(N, spk_fun=spike), CURRENTS, dt=0.5, **options)
        is_new = "progress" not in options and options["record"] == "V" or options.get("progress") in (True, 2)
        assert len(traces) - before == (2 if is_new else 0)  # a step asks twice who spikes
    assert "again: 100%" in capfd.readouterr().err


# What is kept


@pytest.mark.parametrize("every", [1, 2, 5, 7, 22, 23])
@pytest.mark.parametrize("checkpoint", [None, 4])
def test_every(every, checkpoint):
    cell = make_cell()
    full = simulate(cell, CURRENTS, dt=0.5, record="V")
    thin = simulate(cell, CURRENTS, dt=0.5, record="V", every=every, checkpoint=checkpoint)
    assert thin.ts.shape == (T // every,)
    np.testing.assert_array_equal(thin.outputs, full.outputs[every - 1 :: every])
    np.testing.assert_allclose(thin.records["V"], full.records["V"][every - 1 :: every], rtol=1e-6)
    np.testing.assert_allclose(thin.state.V, full.state.V, rtol=1e-6)  # the remainder still ran
    np.testing.assert_array_equal(thin.ts, full.ts[every - 1 :: every])


def test_times_are_those_at_the_end_of_the_steps():
    for dt in (0.5, 0.5 * u.ms, 500 * u.us):
        sol = simulate(make_cell(), CURRENTS, dt=dt, every=5)
        np.testing.assert_array_equal(sol.ts, [2.5, 5.0, 7.5, 10.0])
    assert quantity(sol, "ts").unit == u.ms and quantity(sol, "ts").mantissa is sol.ts
    with x64():
        ts = simulate(make_cell(), CURRENTS, dt=0.1).ts
        assert ts.dtype == jnp.float64 and bool((np.asarray(ts) == 0.1 * np.arange(1, T + 1)).all())


def test_records():
    cell = make_cell()
    by_function = simulate(cell, CURRENTS, dt=0.5, record=lambda state, spike: (state.V, spike.sum()))
    by_name = simulate(cell, CURRENTS, dt=0.5, record=["V"])
    assert list(by_name.records) == ["V"] and by_name.records["V"].shape == (T, N)
    np.testing.assert_array_equal(by_function.records[0], by_name.records["V"])
    np.testing.assert_array_equal(by_function.records[1], by_name.outputs.sum(1))
    np.testing.assert_array_equal(by_name.records["V"][-1], by_name.state.V)


def test_memory_is_proportional_to_what_is_kept():
    cell, num_steps, size = LIF(500), 1000, 4 * 500 * 1000

    def temporary(every):
        def final(c):
            sol = simulate(cell, jnp.broadcast_to(c, (num_steps, 500)), dt=0.1, every=every, record="V")
            return sol.outputs, sol.records

        memory = jax.jit(final).lower(1.5).compile().memory_analysis()
        return memory.temp_size_in_bytes + memory.output_size_in_bytes

    # With the scalar drive the input is an array that XLA may or may not write out: size.
    assert temporary(1) >= 2 * size
    assert temporary(100) <= 1.2 * size


# Gradients and memory


@pytest.mark.parametrize("every", [1, 3])
def test_checkpointing_changes_nothing_but_memory(every):
    cell = make_cell()
    weights = np.random.default_rng(0).normal(size=(T // every, N))

    def loss(cell, currents, checkpoint):
        sol = simulate(cell, currents, dt=0.5, record="V", every=every, checkpoint=checkpoint)
        return (weights * (sol.outputs + sol.records["V"])).sum() + sol.state.V.sum()

    with x64():
        cell = make_cell()
        run = eqx.filter_jit(eqx.filter_value_and_grad(loss))
        expected = run(cell, CURRENTS, None)
        for checkpoint in (True, 1, 22) if every == 1 else (True, 2):
            value, gradient = run(cell, CURRENTS, checkpoint)
            np.testing.assert_allclose(value, expected[0], rtol=1e-12)
            for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected[1])):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_checkpointing_bounds_the_memory_of_the_backward_pass():
    cell = LIF(500)
    currents = jax.ShapeDtypeStruct((1024, 500), jnp.float32)

    def memory(checkpoint):
        gradient = jax.grad(lambda c: simulate(cell, c, dt=0.1, checkpoint=checkpoint).outputs.sum())
        return jax.jit(gradient).lower(currents).compile().memory_analysis().temp_size_in_bytes

    plain, segmented = memory(None), memory(True)
    assert segmented < plain / 2


def test_unroll():
    cell = make_cell()
    expected = simulate(cell, CURRENTS, dt=0.5)
    for unroll in (4, True):
        sol = simulate(cell, CURRENTS, dt=0.5, unroll=unroll)
        np.testing.assert_array_equal(sol.outputs, expected.outputs)


# Keys, states and other models


def test_each_step_gets_its_own_key():
    key = jax.random.key(7)
    draw = jax.jit(jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i), (N,))))
    walks = 1.0 + np.cumsum(draw(jnp.arange(T)), axis=0)
    traces = []
    for every, checkpoint in ((1, None), (4, 5)):
        options = {"key": key, "every": every, "checkpoint": checkpoint}
        sol = simulate(Walk(traces), 0 * CURRENTS, dt=0.5, state=jnp.ones(N), **options)
        np.testing.assert_allclose(sol.state, walks[-1], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(sol.outputs["twice"], 2 * walks[every - 1 :: every], rtol=1e-4, atol=1e-5)
    assert all(traces)
    traces.clear()
    simulate(Walk(traces, scale=9.0, in_size=(2, 2)), CURRENTS.reshape(T, 2, 2), dt=0.5)
    assert not any(traces)


def test_the_start_draws_from_a_stream_of_its_own():
    cell = LIF(N, V_initializer=init.Normal(0.0, 0.1))
    one, two = (simulate(cell, 0 * CURRENTS, dt=0.5, key=jax.random.key(seed)).state.V for seed in (0, 1))
    assert not bool((one == two).any())
    walk = simulate(Walk([]), 0 * CURRENTS, dt=0.5, key=jax.random.key(0))
    first_noise = jax.random.normal(jax.random.fold_in(jax.random.key(0), 0), (N,))
    assert not bool(jnp.isclose(walk.outputs["twice"][0] / 2 - first_noise, first_noise).any())


def test_the_state_is_carried_from_run_to_run():
    cell = make_cell()
    whole = simulate(cell, CURRENTS, dt=0.5)
    first = simulate(cell, CURRENTS[:10], dt=0.5)
    second = simulate(cell, CURRENTS[10:], dt=0.5, state=first.state)
    assert same(whole.state, second.state)
    assert same(whole.outputs, jnp.concatenate([first.outputs, second.outputs]))


def test_one_drive_for_all_neurons_needs_the_state():
    cell = make_cell()
    sol = simulate(cell, np.full(T, 1.5), dt=0.5, state=cell.init_state(2))
    assert sol.outputs.shape == (T, 2, N)


@pytest.mark.parametrize(("size", "shape", "batch"), [((), (T,), ()), ((), (T, 5), (5,)), ((2, 2), (T, 3, 2, 2), (3,))])
def test_the_batch_shape_is_that_of_the_inputs(size, shape, batch):
    sol = simulate(LIF(size), jnp.ones(shape), dt=0.5)
    assert sol.state.V.shape == batch + size and sol.outputs.shape == (T, *batch, *size)


# Errors


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (1.5, "`inputs` must be arrays with time as their first axis"),
        ((), "`inputs` must be arrays with time as their first axis"),
        (np.ones((0, N)), "`inputs` must have at least one time step"),
        ((np.ones((3, N)), np.ones((4, N))), "all of one length; got the shapes"),
        (np.ones(T), r"do not all end in the model's `in_size`, \(4,\)"),
        (np.ones((T, 1)), "The batch axes cannot be told from `inputs`"),
        ((np.ones((T, 2, N)), np.ones((T, 3, N))), "after the same batch axes"),
    ],
)
def test_bad_inputs(inputs, message):
    with pytest.raises(ValueError, match=message):
        simulate(make_cell(), inputs, dt=0.5)


def test_a_number_of_steps_for_a_model_that_needs_an_input():
    net = Sequential(connect.Dense(3, N, 1.0), make_cell())
    for model in (net, make_cell()):
        name = type(model).__name__
        with pytest.raises(TypeError, match=f"number of steps, 5, in place of inputs.*the `{name}` had the input None"):
            simulate(model, 5, dt=0.5)
    with pytest.raises(ValueError, match="^`PoissonSpike.step` draws"):
        simulate(source.PoissonSpike(N, freqs=10.0), 5, dt=0.5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every": 0}, ValueError, "`every` must be between 1 and the number of time steps, 23, got 0"),
        ({"every": T + 1}, ValueError, "`every` must be between 1 and the number of time steps, 23, got 24"),
        ({"every": 1.5}, TypeError, "`every` must be an int, got 1.5"),
        ({"every": True}, TypeError, "`every` must be an int, got True"),
        ({"checkpoint": 0}, ValueError, "`checkpoint` must be at least 1, got 0"),
        ({"record": "W"}, ValueError, "`record` names the field 'W', which the state does not have"),
        ({"record": [1]}, TypeError, "`record` must be a function or names of fields"),
        ({"progress": 24}, ValueError, "The `freq` of a `ProgressBar` is 24, but the loop has only 23 iterations"),
        ({"progress": 1.5}, TypeError, "`progress` must be a `ProgressBar`, an int, a string or a bool"),
        ({"dt": 0.0}, ValueError, "`dt` of `simulate` must be positive"),
        ({"dt": 1 * u.mV}, ValueError, "`dt` of `simulate` must have a unit like ms"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        simulate(make_cell(), CURRENTS, **{"dt": 0.5, **options})

"""`LIF` against its closed form, plain NumPy, finite differences and itself under every transformation."""

from __future__ import annotations

import functools
import math

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from neurostate import init, surrogate
from neurostate._errors import UnitError
from neurostate.neuron import LIF, AbstractNeuron, LIFState

from .helpers import x64


@eqx.filter_jit
def run(cell, state, currents, dt):
    """Potentials and spikes over time."""

    def body(state, current):
        state, spike = cell.step(state, current, dt=dt)
        return state, (state.V, spike)

    return jax.lax.scan(body, state, currents)[1]


# Against the closed form


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("rest", [0.0, -65.0])
@pytest.mark.parametrize("dt", [0.01, 0.1, 1.0])
def test_below_threshold_it_is_the_closed_form(dt, rest, wide):
    num_steps, drives = 2000, np.array([-3.0, 0.0, 0.3, 1.0, 5.0, 14.9])
    with x64(wide):
        cell = LIF(6, tau=10.0, V_th=rest + 15.0, V_reset=rest - 5.0, V_rest=rest, V_initializer=rest + 1.0)
        V, spikes = run(cell, cell.init_state(), jnp.tile(jnp.asarray(drives), (num_steps, 1)), dt)
        used = np.asarray(jnp.asarray(drives), np.float64)
        assert V.dtype == spikes.dtype == (jnp.float64 if wide else jnp.float32) and float(spikes.sum()) == 0.0
    end = rest + used
    t = dt * np.arange(1, num_steps + 1)[:, None]
    expected = end + (rest + 1.0 - end) * np.exp(-t / 10.0)
    scale = np.maximum(np.abs(expected).max(axis=0), np.abs(end))
    bound = 1e-12 * np.maximum(scale, 1.0) if wide else np.finfo(np.float32).eps * scale * max(1.0, 10.0 / dt)
    assert (np.abs(np.asarray(V, np.float64) - expected) <= bound).all()


@given(st.lists(st.floats(1.2, 20.0), min_size=8, max_size=8), st.sampled_from([0.01, 0.1, 1.0]), st.booleans())
def test_the_first_spike_is_in_the_exact_step(drives, dt, wide):
    with x64(wide):
        currents = jnp.asarray(np.array(drives))
        crossing = 5.0 * np.log(np.asarray(currents, float) / (np.asarray(currents, float) - 1.0)) / dt
        near_the_grid = np.abs(crossing - np.round(crossing)) < 1e-3
        assume(not near_the_grid.all())
        cell = LIF(8)
        _, spikes = run(cell, cell.init_state(), jnp.broadcast_to(currents, (1000, 8)), dt)
    first = np.argmax(np.asarray(spikes), axis=0) + 1  # step n ends at n * dt
    assert (first == np.ceil(crossing))[~near_the_grid].all()


def test_a_potential_exactly_at_the_threshold_spikes_unless_told_otherwise():
    for spk_fun, expected in ((surrogate.ReluGrad(), 1 - math.exp(-0.02)), (surrogate.ReluGrad(h0=0), 1.0)):
        cell = LIF(1, V_rest=1.0, V_initializer=1.0, spk_fun=spk_fun)
        state, _ = cell.step(cell.init_state(), 0.0, dt=0.1)  # resets to 0 mV, or stays at the threshold
        assert float(state.V[0]) == pytest.approx(expected)


# Against plain loops


@pytest.mark.parametrize("spk_reset", ["soft", "hard"])
def test_resets_against_a_plain_loop(spk_reset):
    rng = np.random.default_rng(0)
    num_steps, size, dt = 400, (2, 3), 0.5
    values = {
        "R": rng.uniform(0.5, 2.0, size),
        "tau": rng.uniform(3.0, 20.0, size),
        "V_th": rng.uniform(-50.0, -45.0, (3,)),
        "V_reset": rng.uniform(-70.0, -60.0, (2, 1)),
        "V_rest": rng.uniform(-66.0, -60.0, size),
        "V_initializer": rng.uniform(-66.0, -30.0, size),  # some start above threshold
    }
    currents = rng.uniform(0.0, 60.0, (num_steps, *size))
    V = values["V_initializer"]
    expected_V, expected_spikes = [], []
    for current in currents:
        fired = values["V_th"] <= V
        V = np.where(fired, V - values["V_th"] + values["V_reset"] if spk_reset == "soft" else values["V_reset"], V)
        end = values["V_rest"] + values["R"] * current
        V = end + (V - end) * np.exp(-dt / values["tau"])
        expected_V.append(V)
        expected_spikes.append(values["V_th"] <= V)
    with x64():
        cell = LIF(size, spk_reset=spk_reset, **values)
        V, spikes = map(np.asarray, run(cell, cell.init_state(), currents, dt))
    np.testing.assert_array_equal(spikes, np.array(expected_spikes))
    np.testing.assert_allclose(V, expected_V, rtol=1e-11)
    assert 100 < spikes.sum() < spikes.size and set(np.unique(spikes)) == {0.0, 1.0}


def relu_grad_spike(x):
    """The default spike function, written by hand."""

    @jax.custom_jvp
    def spike(x):
        return (x >= 0).astype(x.dtype)

    spike.defjvp(lambda p, t: (spike(p[0]), 0.3 * jnp.maximum(1 - jnp.abs(p[0]), 0) * t[0]))
    return spike(x)


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("spk_reset", ["soft", "hard"])
def test_gradients_through_spikes_against_a_plain_loop(spk_reset, detach_reset):
    currents = np.random.default_rng(1).uniform(0.0, 4.0, (40, 3))
    weights = np.random.default_rng(2).normal(size=(40, 3))

    def written_out(p, currents):
        def scaled(V):
            return (V - p["V_th"]) / (p["V_th"] - p["V_reset"])

        def body(V, x):
            current, weight = x
            spike = relu_grad_spike(scaled(V))
            spike = jax.lax.stop_gradient(spike) if detach_reset else spike
            top = p["V_th"] if spk_reset == "soft" else jax.lax.stop_gradient(V)
            V = V - (top - p["V_reset"]) * spike
            end = p["V_rest"] + p["R"] * current
            V = end + (V - end) * jnp.exp(-1.0 / p["tau"])
            return V, (weight * relu_grad_spike(scaled(V)) + 0.1 * V**2).sum()

        return jax.lax.scan(body, p["V_initializer"], (currents, weights))[1].sum()

    def by_cell(p, currents):
        cell = LIF(3, **p, spk_reset=spk_reset, detach_reset=detach_reset)
        V, spikes = run(cell, cell.init_state(), currents, 1.0)
        return (weights * spikes + 0.1 * V**2).sum()

    with x64():
        p = {"R": 1.1, "tau": 6.0, "V_th": 1.0, "V_reset": -0.1, "V_rest": 0.05, "V_initializer": 0.2}
        p = {name: jnp.full(3, value) for name, value in p.items()}
        (actual_loss, actual), (expected_loss, expected) = (
            jax.tree.map(np.asarray, jax.jit(jax.value_and_grad(f, (0, 1)))(p, currents))
            for f in (by_cell, written_out)
        )
    np.testing.assert_allclose(actual_loss, expected_loss, rtol=1e-12)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-11)
        assert np.abs(a).max() > 0


def test_gradients_of_a_smooth_loss_against_finite_differences():
    with x64():
        currents = jnp.asarray(np.random.default_rng(3).uniform(0.0, 2.0, (50, 2)))
        # V stays where the surrogate derivative is zero, which reaches as far below V_th as V_reset is.
        cell = LIF(2, R=[1.0, 2.0], tau=[5.0, 8.0], V_th=50.0, V_reset=10.0, V_rest=0.1, V_initializer=[0.3, -0.2])
        dynamic, static = eqx.partition(cell, eqx.is_inexact_array)

        @jax.jit
        def loss(dynamic, currents):
            cell = eqx.combine(dynamic, static)
            V, spikes = run(cell, cell.init_state(), currents, 0.5)
            return jnp.sin(V).sum() + spikes.sum()

        gradient = jax.jit(jax.grad(loss, (0, 1)))(dynamic, currents)
        point, unravel = ravel_pytree((dynamic, currents[:3]))
        flat = np.asarray(ravel_pytree((gradient[0], gradient[1][:3]))[0])
        for i in range(point.size):
            up, down = (unravel(point.at[i].add(s * 1e-6)) for s in (1, -1))
            slope = loss(up[0], currents.at[:3].set(up[1])) - loss(down[0], currents.at[:3].set(down[1]))
            assert abs(flat[i] - slope / 2e-6) < 1e-7
        # The threshold and the reset do nothing below threshold; everything else does.
        assert np.count_nonzero(np.abs(flat) > 1e-9) == point.size - 2


def test_forward_mode_is_reverse_mode_through_spikes():
    cell = LIF(3, tau=6.0)
    currents = jnp.linspace(0.5, 3.0, 60).reshape(20, 3)
    end = lambda c: run(cell, cell.init_state(), c, 1.0)[0][-1]  # noqa: E731
    forward, reverse = jax.jit(lambda c: (jax.jacfwd(end)(c), jax.jacrev(end)(c)))(currents)
    np.testing.assert_allclose(forward, reverse, rtol=1e-5, atol=1e-7)


# Transformations, shapes and dtypes


@pytest.mark.parametrize("wide", [False, True])
def test_a_scan_over_the_step_is_the_step_again_and_again(wide):
    with x64(wide):
        cell = LIF(5, tau=jnp.linspace(3.0, 9.0, 5))
        currents = np.linspace(0.0, 4.0, 250).reshape(50, 5)
        step = functools.partial(cell.step, dt=0.5)
        final, spikes = jax.lax.scan(step, cell.init_state(), currents)
        state, rows, compiled = cell.init_state(), [], jax.jit(step)
        for current in currents:
            state, spike = compiled(state, current)
            rows.append(np.asarray(spike))
        np.testing.assert_array_equal(np.asarray(spikes), rows)
        # The compiler may fuse, and so round, differently inside a loop.
        np.testing.assert_allclose(final.V, state.V, rtol=20 * float(jnp.finfo(state.V.dtype).eps))


def test_jax_transformations_take_the_cell_as_it_is():
    cell = LIF(3, tau=[4.0, 5.0, 6.0])
    currents = jnp.linspace(0.0, 3.0, 6).reshape(2, 3)
    states = cell.init_state(2)
    step = functools.partial(cell.step, dt=0.1)
    expected = np.asarray(currents) * -np.expm1(-0.1 / np.array([4.0, 5.0, 6.0]))
    for run_step in (
        step,
        jax.jit(step),
        jax.jit(jax.vmap(step)),
        lambda state, c: jax.jit(lambda cell, state, c: cell.step(state, c, dt=0.1))(cell, state, c),
    ):
        state, spikes = run_step(states, currents)
        np.testing.assert_allclose(state.V, expected, rtol=1e-6)
        assert isinstance(state, LIFState) and not np.asarray(spikes).any()
    slope = jax.jit(jax.grad(lambda c: step(states, c)[0].V.sum()))(currents)
    np.testing.assert_allclose(slope, np.tile(-np.expm1(-0.1 / np.array([4.0, 5.0, 6.0])), (2, 1)), rtol=1e-5)


def test_an_ensemble_of_cells():
    taus = jnp.array([3.0, 5.0, 9.0])
    cells = eqx.filter_vmap(lambda tau: LIF(4, tau=tau))(taus)
    assert cells.tau.shape == (3,) and cells.size == (4,)
    out = eqx.filter_jit(eqx.filter_vmap(lambda c: c.step(c.init_state(), 1.0, dt=0.1)[0].V))(cells)
    np.testing.assert_allclose(out, np.tile(-np.expm1(-0.1 / np.asarray(taus))[:, None], (1, 4)), rtol=1e-6)


def test_heterogeneous_parameters_are_single_neurons_side_by_side():
    taus, thresholds = [3.0, 5.0, 9.0], [0.8, 1.0, 1.2]
    currents = jnp.linspace(0.0, 4.0, 300).reshape(100, 3)
    cell = LIF(3, tau=taus, V_th=thresholds)
    V, spikes = run(cell, cell.init_state(), currents, 0.5)
    for i in range(3):
        single = LIF(1, tau=taus[i], V_th=thresholds[i])
        single_V, single_spikes = run(single, single.init_state(), currents[:, i : i + 1], 0.5)
        np.testing.assert_array_equal(spikes[:, i : i + 1], single_spikes)
        np.testing.assert_allclose(V[:, i : i + 1], single_V, rtol=1e-5, atol=1e-6)


def test_shapes():
    for size, shape in ((4, (4,)), ((2, 3), (2, 3)), ((), ()), (np.int64(4), (4,))):
        cell = LIF(size)
        assert cell.size == cell.in_size == cell.out_size == shape
        for batch, batch_shape in (((), ()), (5, (5,)), ((5, 2), (5, 2))):
            state = cell.init_state(batch)
            assert state.V.shape == batch_shape + shape
            state, spike = jax.eval_shape(functools.partial(cell.step, dt=0.1), state, 1.0)
            assert state.V.shape == spike.shape == batch_shape + shape


def test_inputs_broadcast_but_never_enlarge():
    cell = LIF((2, 3))
    step = functools.partial(cell.step, dt=0.1)
    state = cell.init_state(4)
    for shape in ((), (3,), (1, 3), (2, 1), (4, 1, 1), (4, 2, 3)):
        assert jax.eval_shape(step, state, jnp.ones(shape))[0].V.shape == (4, 2, 3)
    for shape in ((2,), (4, 2), (1, 4, 2, 3), (5, 4, 2, 3)):
        with pytest.raises(ValueError, match=r"`LIF.step` got a current of shape .* for a state of shape \(4, 2, 3\)"):
            step(state, jnp.ones(shape))


def test_a_step_keeps_the_dtype_of_the_state():
    with x64():
        for dtype in (jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64):
            cell = LIF(3, V_initializer=jnp.zeros(3, dtype))
            for current in (1, 1.0, np.float64(1.0), jnp.ones(3), jnp.ones(3, jnp.float32), np.ones(3, np.int32)):
                for dt in (0.1, np.float64(0.1), jnp.asarray(0.1)):
                    state, spike = jax.eval_shape(lambda s: cell.step(s, current, dt=dt), cell.init_state())
                    assert state.V.dtype == spike.dtype == dtype and not state.V.weak_type


def test_a_random_start():
    cell = LIF(1000, V_initializer=init.Normal(-60.0 * u.mV, 2.0 * u.mV))
    V = cell.init_state(2, key=jax.random.key(0)).V
    assert V.shape == (2, 1000) and not bool((V[0] == V[1]).any())
    assert abs(float(V.mean()) + 60.0) < 5 * 2 / math.sqrt(2000)
    by_function = LIF(3, V_initializer=lambda shape, key: jax.random.normal(key, shape) * u.volt)
    expected = 1000 * jax.random.normal(jax.random.key(1), (3,))
    np.testing.assert_allclose(by_function.init_state(key=jax.random.key(1)).V, expected, rtol=1e-6)


def test_trainable_leaves():
    def trainable(cell):
        leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(cell, eqx.is_inexact_array))
        return [jax.tree_util.keystr(path) for path, _ in leaves]

    names = [".R", ".tau", ".V_th", ".V_reset", ".V_rest"]
    assert trainable(LIF(2)) == [*names, ".V_initializer.value"]
    for start in (0.5, 0.5 * u.mV, [0.0, 1.0], jnp.zeros(2), 1 * u.mV):
        assert trainable(LIF(2, V_initializer=start)) == [*names, ".V_initializer"]
    # One of them, trained: the potential at the start reaches the loss.
    gradient = eqx.filter_grad(lambda cell: cell.init_state(3).V.sum())(LIF(2))
    assert float(gradient.V_initializer.value) == 6.0


# Units


def test_units_leave_no_trace_in_the_program():
    plain = LIF(3, R=2.0, tau=10.0, V_th=15.0, V_reset=-5.0, V_rest=1.0, I_unit=u.nA)
    united = LIF(3, R=2.0 * u.Mohm, tau=10.0 * u.ms, V_th=15.0 * u.mV, V_reset=-0.005 * u.volt, V_rest=1000.0 * u.uvolt)
    assert united.I_unit == u.nA and eqx.tree_equal(plain, united)
    current = jnp.ones(3)
    programs = {
        str(jax.make_jaxpr(lambda s, c: plain.step(s, c, dt=0.1))(plain.init_state(), current)),
        str(jax.make_jaxpr(lambda s, c: united.step(s, c, dt=0.1 * u.ms))(united.init_state(), current * u.nA)),
        str(jax.make_jaxpr(lambda s, c: united.step(s, c * u.nA, dt=100.0 * u.us))(united.init_state(), current)),
    }
    assert len(programs) == 1
    assert "cond" not in programs.pop().replace("second", "")


def test_any_scale_of_the_input():
    cell = LIF(3, R=2.0 * u.Mohm)
    step = functools.partial(cell.step, cell.init_state(), dt=0.1 * u.ms)
    expected = step(jnp.array([0.1, 0.2, 0.3]))[0].V
    for current in ([100.0, 200.0, 300.0] * u.pA, [1e-4, 2e-4, 3e-4] * u.uA):
        np.testing.assert_allclose(step(current)[0].V, expected, rtol=1e-6)


def test_the_unit_of_R_decides_the_family():
    for R, unit in ((1.0, u.mA), (1.0 * u.ohm, u.mA), (1.0 * u.Mohm, u.nA), (1.0 * u.mV / u.pA, u.pA)):
        cell = LIF(2, R=R)
        assert cell.I_unit == unit and float(cell.R) == 1.0
        assert cell.field_unit("R") == u.mV / unit and cell.field_unit("tau") == cell.field_unit("tau") == u.ms
    assert float(LIF(2, R=1.0 * u.Gohm, I_unit=u.nA).R) == 1000.0
    assert float(LIF(2, I_unit=u.nA).R) == pytest.approx(1e-6)  # the default of 1 ohm
    assert cell.state_unit("V") == u.mV and cell.field_unit("size") is None
    assert repr(LIF(2, R=1.5 * u.Mohm)).startswith("LIF(\n  size=(2,),\n  R=1.5 * Mohm,\n  tau=5.0 * ms")


# Errors


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"spk_reset": "zero"}, ValueError, "`spk_reset` of `LIF` must be one of .*, got 'zero'"),
        ({"tau": [1.0, 2.0]}, ValueError, r"`tau` of `LIF` has the shape \(2,\), which does not broadcast to \(3,\)"),
        ({"V_initializer": jnp.ones(4)}, ValueError, r"`V_initializer` of `LIF` has the shape \(4,\)"),
        ({"V_initializer": init.Constant(jnp.ones(4))}, ValueError, r"`V_initializer` of `LIF` has the shape \(4,\)"),
        ({"tau": 0.0 * u.ms}, ValueError, "`tau` of `LIF` must be positive everywhere"),
        ({"V_th": -50.0 * u.mV}, ValueError, "`V_th` of `LIF` must be above `V_reset` everywhere"),
        ({"tau": 1.0 * u.mV}, UnitError, "`tau` of `LIF` must have a unit like ms, but it has the unit mV"),
        ({"R": 1.0 * u.mV}, UnitError, "`R` of `LIF` must have a unit like ohm, but it has the unit mV"),
        ({"V_initializer": init.Constant(1.0 * u.ms)}, UnitError, "`V_initializer` of `LIF` must have a unit like mV"),
        ({"I_unit": u.mV}, UnitError, "`I_unit` of `LIF` must be a unit like mA, got mV"),
        ({"R": "one"}, TypeError, "`R` of `LIF` must be a number or an array, got 'one'"),
        ({"spk_fun": 3.0}, TypeError, "`spk_fun` of `LIF` must be a function"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        LIF(3, **arguments)


def test_bad_steps():
    cell = LIF(3)
    state = cell.init_state()
    with pytest.raises(UnitError, match="`current` of `LIF.step` must have a unit like mA, but it has the unit mV"):
        cell.step(state, 1.0 * u.mV, dt=0.1)
    with pytest.raises(UnitError, match="`dt` of `LIF.step` must have a unit like ms"):
        cell.step(state, 1.0, dt=0.1 * u.mV)
    with pytest.raises(TypeError, match="`current` of `LIF.step` must be a number or an array, got None"):
        cell.step(state, None, dt=0.1)
    with pytest.raises(UnitError, match="`V_initializer` of `LIF` must have a unit like mV"):
        LIF(3, V_initializer=lambda shape: jnp.ones(shape) * u.ms).init_state()


def test_a_neuron_without_equations_is_refused():
    class Unfinished(AbstractNeuron[LIFState]):
        size: tuple[int, ...]
        I_unit: object

        def init_state(self, batch_shape=(), key=None):
            return LIFState(V=jnp.zeros(self.size))

        def step(self, state, current, *, dt, key=None):
            return state, current

    with pytest.raises(TypeError, match="distance.*flow.*reset"):
        Unfinished((1,), u.mA)  # pyright: ignore[reportCallIssue, reportAbstractUsage]

"""Counts, not clocks: how often Python runs a function and how often a program is compiled."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns


T = ns.transform


class Counter:
    """A function that writes a reference, and how often Python ran it."""

    def __init__(self, ref):
        self.ref = ref
        self.runs = 0

    def __call__(self, x):
        self.runs += 1
        self.ref.value = self.ref.value + x
        return self.ref.value


@pytest.fixture(scope="module")
def bystanders():
    return [ns.StateRef(jnp.zeros(())) for _ in range(10_000)]


def test_a_compiled_loop_runs_its_body_once_ever(bystanders):
    assert len(bystanders) == 10_000
    ref = ns.StateRef(0.0)
    f = Counter(ref)
    run = T.jit(lambda xs: T.for_loop(f, xs))
    for k in range(3):
        run(jnp.arange(4.0))
        assert f.runs == (1 if k == 0 else 2)  # the second call finds a strong dtype
    assert ref.value == 18.0


def test_nested_loops_under_vmap_and_jit_run_their_body_once_ever(bystanders):
    ref = ns.StateRef(jnp.zeros(5))
    f = Counter(ref)

    def inner(x):
        return T.for_loop(lambda y: T.for_loop(f, jnp.arange(2.0) * y), jnp.arange(3.0) * x)

    run = T.jit(T.vmap(inner, in_states=ref))
    first = run(jnp.arange(5.0))
    assert f.runs == 1
    run(jnp.arange(5.0))
    run(jnp.arange(5.0))
    assert f.runs == 1
    expected = 3 * np.arange(5.0) * np.arange(3).sum() * np.arange(2).sum()
    np.testing.assert_allclose(ref.value, expected)
    assert first.shape == (5, 3, 2)


EAGER = {
    "for_loop": lambda f: T.for_loop(f, jnp.arange(3.0)),
    "scan": lambda f: T.scan(lambda c, x: (c, f(x)), 0.0, jnp.arange(3.0)),
    "cond": lambda f: T.cond(True, f, lambda x: x, jnp.array(1.0)),
    "switch": lambda f: T.switch(1, [lambda x: x, f], jnp.array(1.0)),
    "grad": lambda f: T.grad(f)(1.0),
    "vmap": lambda f: T.vmap(lambda x: (f(1.0), x)[1])(jnp.arange(3.0)),
    "map": lambda f: T.map(f, jnp.arange(3.0)),
}


@pytest.mark.parametrize("name", EAGER)
def test_an_eager_call_runs_its_function_once(name):
    f = Counter(ns.StateRef(jnp.zeros(())))
    EAGER[name](f)
    assert f.runs == 1
    EAGER[name](f)
    assert f.runs == 2


@pytest.mark.parametrize("name", EAGER)
def test_eager_calls_with_fresh_closures_compile_once(name):
    ref = ns.StateRef(jnp.zeros(()))

    def call():
        def fresh(x):
            ref.value = ref.value + x
            return ref.value

        return EAGER[name](fresh)

    call()
    call()
    with jax.log_compiles(False):
        compiled = _compilations(lambda: [call() for _ in range(20)])
    assert compiled == 0


def test_memory_stays_flat_over_eager_calls_with_fresh_closures():
    command = [sys.executable, "-m", "tests.benchmarks.memory", "--calls", "300", "--json"]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=True)
    assert max(json.loads(done.stdout).values()) < 3.0  # MB; a program that is compiled each time takes 0.2 and more


def _compilations(run):
    events = []

    def listen(event, duration, **kwargs):
        del duration, kwargs
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    run()
    # There is no public way to remove one listener; this one only appends to a list that dies.
    return len(events)


def test_the_compile_counter_can_count():
    assert _compilations(lambda: jax.jit(lambda x: x * 3.25 + 1.75)(2.0)) == 1


def test_a_changed_dt_is_traced_again_and_an_old_one_is_remembered():
    runs = []
    cell = ns.nn.init_all_states(ns.nn.Stateful(ns.LIF(2)))

    @T.jit
    def step(current):
        runs.append(1)
        return cell(current)

    values = []
    for dt in (0.1 * u.ms, 0.2 * u.ms, 0.1 * u.ms, 200.0 * u.us, 0.2 * u.ms):
        cell.init_state()
        with ns.environ.context(dt=dt):
            step(0.5)
            values.append(float(cell.V.value.mantissa[0]))
    expected = [0.5 * -np.expm1(-dt / 5.0) for dt in (0.1, 0.2, 0.1, 0.2, 0.2)]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert len(runs) == 3  # microseconds are another signature, by unit


def test_a_changed_state_shape_is_traced_again():
    ref = ns.StateRef(jnp.zeros(2))
    f = Counter(ref)
    run = T.jit(lambda: f(1.0))
    run()
    ref.value = jnp.zeros((3, 2))
    assert run().shape == (3, 2)
    ref.value = jnp.zeros(2, jnp.int32)
    run()
    ref.value = jnp.zeros(2)
    np.testing.assert_array_equal(run(), [1.0, 1.0])
    assert f.runs == 3


def test_changing_time_does_not_trace_again():
    runs = []
    ref = ns.StateRef(jnp.zeros(()))

    @T.jit
    def step():
        runs.append(1)
        ref.value = ref.value + u.get_mantissa(ns.environ.get("t")) + ns.environ.get("i")
        return ref.value

    for i in range(5):
        with ns.environ.context(i=i, t=i * 0.1 * u.ms):
            step()
    for i in np.arange(5, 8):
        with ns.environ.context(i=i, t=i * 0.1 * u.ms):
            step()
    np.testing.assert_allclose(ref.value, 1.1 * np.arange(8).sum(), rtol=1e-6)
    assert len(runs) <= 2  # Python numbers are weakly typed, NumPy's are not


def test_a_key_that_was_absent_is_part_of_the_signature():
    runs = []

    @T.jit
    def f():
        runs.append(1)
        return 1.0 if ns.environ.get("fit", False) else 0.0

    assert f() == 0.0
    with ns.environ.context(fit=True):
        assert f() == 1.0
    assert f() == 0.0
    ns.environ.set(fit=True)
    assert f() == 1.0
    assert len(runs) == 2


def test_a_replaced_reference_is_never_stale():
    class Net(ns.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = ns.StateRef(jnp.array(2.0))

    class Outer(ns.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()

    outer = Outer()
    f = T.jit(lambda: outer.net.w.value * 10)
    assert f() == 20
    outer.net.w = ns.StateRef(jnp.array(3.0))
    assert f() == 30
    outer.net = Net()
    assert f() == 20
    outer.net.w.value = jnp.array(4.0)
    assert f() == 40


def test_a_replaced_attribute_of_any_kind_is_never_stale():
    class Gain(ns.nn.Module):
        def __init__(self):
            self.w, self.factor, self.runs = ns.StateRef(jnp.array(2.0)), 10.0, 0

        def update(self):
            self.runs += 1  # while tracing: it does not make other functions trace again
            return self.w.value * self.factor

    gain, other = Gain(), Gain()
    f, g, h = T.jit(gain), T.jit(lambda: gain() + 1), T.jit(other)
    for _ in range(3):
        assert (f(), g(), h()) == (20, 21, 20)
    assert (gain.runs, other.runs) == (2, 1)
    gain.factor = 10.0  # as it was
    assert f() == 20 and gain.runs == 2
    gain.factor = 5.0
    assert (f(), g(), h()) == (10, 11, 20) and (gain.runs, other.runs) == (4, 1)
    assert "a module's attribute was replaced" in T.explain_retrace(f)
    cell = ns.nn.Dynamics(2)
    cell.w, cell.update = ns.StateRef(jnp.array(1.0)), lambda: cell.w.value
    step, seen = T.jit(cell), []
    step()
    cell.add_after_update("look", seen.append)
    step()
    assert len(seen) == 1


def test_reinitialising_keeps_the_references():
    cell = ns.nn.init_all_states(ns.nn.Stateful(ns.LIF(2)))
    reference, f = cell.V, T.jit(lambda: u.get_mantissa(cell.V.value) + 1)
    assert f().shape == (2,)
    ns.nn.init_all_states(cell, batch_size=3)
    assert cell.V is reference
    assert f().shape == (3, 2)


def test_dead_references_release_their_arrays():
    class Net(ns.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = ns.StateRef(jnp.ones(1000))

    @T.jit
    def total(net):
        return net.w.value.sum()

    before = len(jax.live_arrays())
    for _ in range(3):
        assert total(Net()) == 1000
    gc.collect()
    assert len(jax.live_arrays()) <= before + 1

"""The inputs that are left with a `Dynamics`: summed like brainpy.state's, and safe in every transform."""

import copy
import pickle

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns


T = ns.transform
KINDS = ["current", "delta"]


class Cell(ns.nn.Dynamics):
    """Adds its current inputs, called with `V`, and twice its delta inputs to `V`."""

    def init_state(self):
        self.V = ns.HiddenState(jnp.zeros(self.varshape))

    def update(self):
        V = self.V.value
        self.V.value = self.sum_current_inputs(V, V) + 2 * self.sum_delta_inputs(jnp.zeros_like(V))
        return self.V.value


class Leak(ns.nn.Module):
    """An input that has a state."""

    def init_state(self):
        self.calls = ns.HiddenState(0)

    def __call__(self, V):
        self.calls.value = self.calls.value + 1
        return -0.5 * V


def made():
    return ns.nn.init_all_states(Cell(2, name="net.cell"))


def add(cell, kind, *args, **kwargs):
    getattr(cell, f"add_{kind}_input")(*args, **kwargs)


def total(cell, kind, *args, **kwargs):
    return getattr(cell, f"sum_{kind}_inputs")(*args, **kwargs)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_count_once_and_functions_stay(kind):
    cell, double = made(), lambda x, scale=1.0: 2 * x * scale
    add(cell, kind, "array", np.ones(2))
    add(cell, kind, "list", [1.0, 2.0], label="syn")
    add(cell, kind, "function", double, label="syn")
    add(cell, kind, "function", double, label="syn")
    assert cell.get_input("syn // function") is double and cell.get_input("array").tolist() == [1, 1]
    assert total(cell, kind, 0.0, 3.0, label="syn", pop=False).tolist() == [7, 8]
    assert total(cell, kind, 0.0, 3.0, label="syn").tolist() == [7, 8]
    assert total(cell, kind, 0.0, 3.0, label="syn", scale=2.0) == 12
    assert total(cell, kind, 0.0, 3.0).tolist() == [7, 7]
    assert total(cell, kind, 0.0, 3.0) == 6
    other = KINDS[1 - KINDS.index(kind)]
    assert total(cell, other, 5.0) == 5 and "syn // function" in repr(cell)


def test_units():
    cell = made()
    cell.add_current_input("a", 1.0 * u.mA)
    cell.add_current_input("b", lambda V: jnp.ones(2) * u.uA, label="syn")
    np.testing.assert_allclose(cell.sum_current_inputs(0.0 * u.mA, 0.0).to_decimal(u.uA), [1001, 1001])
    for init, words in ((1.0 * u.mV, "the unit uA.*the unit mV"), (0.0, "the unit uA.*no unit")):
        with pytest.raises(ns.UnitError, match=f"'syn // b' of net.cell.current_inputs has {words}"):
            cell.sum_current_inputs(init, 0.0)
    cell.add_delta_input("c", jnp.ones(2))
    with pytest.raises(ns.UnitError, match="'c' of net.cell.delta_inputs has no unit.*the unit mV"):
        cell.sum_delta_inputs(1.0 * u.mV)
    assert cell.get_input("c").tolist() == [1, 1]


def step(cell):
    def run(x):
        cell.add_current_input("x", x)
        cell.add_delta_input("y", 10 * x, label="syn")
        return cell()

    return run


@pytest.mark.parametrize(
    "wrap", [lambda f: f, T.jit, T.remat, lambda f: T.jit(T.remat(f))], ids=["", "jit", "remat", "both"]
)
@pytest.mark.parametrize("loop", [T.for_loop, lambda f, xs: jnp.stack([f(x) for x in xs])], ids=["loop", "eager"])
def test_in_transforms_as_in_python(wrap, loop):
    cell, xs = made(), jnp.arange(8.0).reshape(4, 2)
    leak = Leak()
    cell.add_current_input("leak", leak)
    ns.nn.init_all_states(cell)
    V, want = np.zeros(2), []
    for x in np.asarray(xs):
        V = V - 0.5 * V + x + 20 * x
        want.append(V)
    np.testing.assert_allclose(loop(wrap(step(cell)), xs), want)
    assert leak.calls.value == 4 and cell.sum_current_inputs(0.0, 0.0) == 0
    assert list(cell.states()) == ["V", "current_inputs['leak'].calls"]


def test_lanes_and_gradients():
    cell = ns.nn.vmap_init_all_states(Cell(2), axis_size=3)
    xs = jnp.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(T.vmap(step(cell), in_states=cell.V)(xs), 21 * xs)
    cell = made()
    np.testing.assert_array_equal(T.grad(lambda x: step(cell)(x).sum())(jnp.ones(2)), [21, 21])
    np.testing.assert_array_equal(T.cond(True, step(cell), lambda x: x, jnp.ones(2)), [42, 42])


@pytest.mark.parametrize("wrap", [T.jit, lambda f: f], ids=["jit", "eager"])
def test_what_is_left_in_one_call_counts_in_the_next(wrap):
    """An array that is not summed comes out of the transform as a value, like any other state."""
    cell = made()
    leave = wrap(lambda x: cell.add_current_input("x", x))
    run = wrap(lambda: cell())
    for k in (1.0, 2.0, 3.0):
        leave(k * jnp.ones(2))
        assert not isinstance(cell.get_input("x"), jax.core.Tracer)
        run()
        run()
        assert cell.V.value.tolist() == [k * (k + 1) / 2] * 2
    cell.add_current_input("f", lambda V: 100.0)  # also a compiled call sees a new function
    assert run().tolist() == [106, 106]


FAILING = {
    "jit": lambda f: T.jit(f)(1.0),
    "for_loop": lambda f: T.for_loop(f, jnp.ones(3)),
    "vmap": lambda f: T.vmap(f)(jnp.ones(3)),
    "grad": lambda f: T.grad(f)(1.0),
    "nested": lambda f: T.jit(lambda x: T.for_loop(f, x))(jnp.ones(3)),
    "cond": lambda f: T.cond(True, f, f, 1.0),
}


@pytest.mark.parametrize("fail", FAILING.values(), ids=FAILING)
def test_nothing_of_a_failed_trace_remains(fail):
    cell = made()
    cell.add_current_input("kept", jnp.ones(2))

    def body(x):
        cell.sum_current_inputs(0.0)
        cell.add_current_input("x", x)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail(body)
    with pytest.raises(ValueError, match="'x'"):
        cell.get_input("x")
    assert cell().tolist() == [1, 1]


def unsummed(cell):
    return T.for_loop(lambda x: cell.add_current_input("x", x), jnp.ones(3))


def used_up(cell):
    cell.add_current_input("x", 1.0)
    T.for_loop(cell, length=3)


def one_branch(cell):
    T.cond(jnp.array(True), lambda: cell.add_current_input("x", 1.0), lambda: None)


def twice(cell, label=None):
    for value in (1.0, 2.0):
        cell.add_delta_input("x", value, label)


def function_inside(cell):
    T.jit(lambda x: cell.add_current_input("f", lambda V: x))(1.0)


MISUSES = {
    "taken": (twice, ValueError, ["'x'", "net.cell.delta_inputs", "another key"]),
    "taken with label": (lambda cell: twice(cell, "a"), ValueError, ["'a // x'"]),
    "unknown": (lambda cell: cell.get_input("x"), ValueError, ["'x'", "net.cell"]),
    "unsummed in a loop": (unsummed, ns.StateStructureError, ["net.cell.current_inputs", "'x'"]),
    "used up by a loop": (used_up, ns.StateStructureError, ["net.cell.current_inputs", "'x'"]),
    "one branch": (one_branch, ns.StateStructureError, ["net.cell.current_inputs", "'x'"]),
    "one lane": (lambda cell: T.vmap(unsummed_lane(cell))(jnp.ones(3)), ns.BatchAxisError, ["net.cell.current_inputs"]),
    "function in a trace": (function_inside, ns.TraceContextError, ["'f'", "net.cell", "`__init__`"]),
    "raw jit": (lambda cell: jax.jit(unsummed_lane(cell))(1.0), ns.TraceContextError, ["net.cell.current_inputs"]),
    "raw grad": (lambda cell: jax.grad(step(cell))(1.0), ns.TraceContextError, ["net.cell.current_inputs"]),
    "raw in jit": (lambda cell: T.jit(jax.vmap(step(cell)))(jnp.ones(3)), ns.TraceContextError, ["net.cell"]),
    "not an input": (lambda cell: cell.add_current_input("x", "y"), TypeError, ["y"]),
}


def unsummed_lane(cell):
    return lambda x: cell.add_current_input("x", x)


@pytest.mark.parametrize(("run", "error", "words"), MISUSES.values(), ids=MISUSES)
def test_misuse_is_explained(run, error, words):
    cell = made()
    with pytest.raises(error) as caught:
        run(cell)
    for word in words:
        assert word in str(caught.value)
    assert cell.sum_current_inputs(0.0) in (0.0, 1.0)  # nothing of a trace is left


class Scale(eqx.Module):
    by: jax.Array

    def __call__(self, V):
        return self.by * V


def test_inputs_are_copied_with_their_cell():
    cell = made()
    cell.add_current_input("leak", Leak())
    cell.add_current_input("scale", Scale(jnp.array(3.0)))
    cell.add_delta_input("x", jnp.ones(2))
    ns.nn.init_all_states(cell)
    for twin in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        twin.V.value = jnp.ones(2)
        assert twin().tolist() == [5.5, 5.5]
        leak = twin.get_input("leak")
        assert leak is not cell.get_input("leak") and leak.calls.value == 1
        assert twin.states("calls") == {"current_inputs['leak'].calls": leak.calls}
    assert cell().tolist() == [2, 2] and cell.get_input("leak").calls.value == 1


def test_a_cell_made_inside_may_add_functions():
    @T.jit
    def run(x):
        cell = ns.nn.init_all_states(Cell(2))
        cell.add_current_input("x", lambda V: x)
        return T.for_loop(cell, length=2)[-1]

    for x in (1.0, 3.0):
        assert run(x).tolist() == [2 * x] * 2

"""`StateRef`: values, identity, copies, pickles, reprs."""

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
VALUES = {
    "array": jnp.arange(3.0),
    "numpy": np.arange(3.0, dtype=np.float32),
    "float": 1.5,
    "int": 2,
    "bool": True,
    "quantity": jnp.ones(2) * u.mV,
    "number quantity": 1.5 * u.ms,
    "dict": {"a": jnp.ones(2), "b": [1.0, 2 * u.mV]},
    "none": None,
    "static leaves": ("name", jnp.ones(2), len),
    "module": eqx.nn.Linear(2, 2, key=jax.random.key(0)),
    "key": jax.random.key(0),
    "raw key": jax.random.PRNGKey(0),
}


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


def same(a, b):
    def leaf(x, y):
        if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        if callable(x) or isinstance(x, str):
            assert x == y
        else:
            np.testing.assert_array_equal(np.asarray(x), np.asarray(y))

    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(leaf, a, b)


@pytest.mark.parametrize("name", VALUES)
def test_a_value_goes_through_every_transform_unchanged(name):
    value = VALUES[name]
    ref = ns.StateRef(value, name="r")
    assert ref.value is value

    def touch(x):
        ref.value = ref.value
        return x

    T.jit(touch)(1.0)
    same(ref.value, value)
    T.jit(touch)(1.0)
    T.for_loop(touch, jnp.arange(2))
    T.cond(True, touch, lambda x: x, 1.0)
    T.vmap(touch)(jnp.arange(2.0))
    T.grad(touch)(1.0)
    same(ref.value, value)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("how", COPIES)
def test_copies(name, how):
    how = COPIES[how]
    ref = ns.ParamState(VALUES[name], name="w", tag="t")
    new = how(ref)
    assert new is not ref and type(new) is ns.ParamState and new != ref
    assert (new.name, new.tags) == ("w", {"t"})
    same(new.value, ref.value)
    new.value = 0
    same(ref.value, VALUES[name])


class Net(ns.nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = ns.nn.Stateful(ns.LIF(2))
        self.shared = [self.cell, ns.StateRef(1.0)]
        self.again = self.cell


@pytest.mark.parametrize("initialised", [True, False])
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_of_modules_keep_aliases_and_run(how, initialised):
    how, net = COPIES[how], Net()
    if initialised:
        ns.nn.init_all_states(net)
    new = how(net)
    assert new.again is new.cell is new.shared[0] and new.cell is not net.cell
    assert list(new.states()) == list(net.states())
    ns.nn.init_all_states(new)
    with ns.environ.context(dt=0.1 * u.ms):
        new.cell(60.0 * u.mA)
    assert (new.cell.V.value.mantissa > 1).all()
    if initialised:
        assert (net.cell.V.value.mantissa == 0).all()


@pytest.mark.parametrize("what", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copies_inside_a_trace_are_refused(what):
    ref = ns.StateRef(1.0, name="net.V")
    with pytest.raises(ns.TraceContextError, match=r"net\.V.*outside"):
        T.jit(lambda: what(ref) and None)()


def test_identity():
    a, b = ns.StateRef(1.0), ns.StateRef(1.0)
    assert a != b and len({a, b, a}) == 2
    held = eqx.tree_at(lambda m: m.bias, eqx.nn.Linear(2, 2, key=jax.random.key(0)), a)
    assert any(leaf is a for leaf in jax.tree.leaves(held))

    def f():
        a.value = a.value + 1.0
        return [ref.value for ref in (a, a)]

    assert T.jit(f)() == [2.0, 2.0]


def test_two_references_to_one_array_are_two_states():
    x = jnp.zeros(2)
    a, b = ns.StateRef(x), ns.StateRef(x)

    def f(i):
        a.value, b.value = a.value + 1, b.value + 2

    T.jit(f)(0)
    T.for_loop(f, jnp.arange(2))
    assert (a.value.tolist(), b.value.tolist()) == ([3, 3], [6, 6])


def test_changes_in_place_are_seen_and_kept():
    ref = ns.StateRef({"a": jnp.float32(1.0)})
    f = T.jit(lambda: ref.value["a"])
    assert f() == 1.0
    ref.value["a"] = jnp.float32(5.0)
    assert f() == 5.0
    assert T.for_loop(lambda: ref.value["a"], length=1).tolist() == [5.0]

    def add(x):
        ref.value["a"] = ref.value["a"] + x

    T.for_loop(add, jnp.arange(3.0))
    T.jit(add)(10.0)
    T.vmap(lambda x: add(1.0))(jnp.arange(2))
    assert ref.value["a"] == 19.0


def test_repr_outside_and_under_a_trace():
    ref = ns.HiddenState(jnp.zeros(3) * u.mV, name="V")
    assert repr(ref) == "HiddenState('V', float32[3] * mV)"
    seen = []
    T.jit(lambda: seen.append(repr(ref)))()
    assert seen == [repr(ref)]
    assert "no value" in repr(ns.StateRef())


def test_reading_before_initialisation_names_the_cure():
    cell = ns.nn.Stateful(ns.LIF(2))
    with pytest.raises(ns.StateNotInitialisedError, match="init_all_states"):
        _ = cell.V
    assert not hasattr(cell, "V")
    ref = ns.StateRef(name="net.V")
    with pytest.raises(ns.StateNotInitialisedError, match=r"net\.V"):
        _ = ref.value


def test_a_random_state_of_ones_own_works_at_once_everywhere():
    draws = []
    for run in (
        lambda f: f(),
        lambda f: T.jit(f)(),
        lambda f: T.for_loop(lambda i: f(), jnp.arange(1))[0],
        lambda f: T.cond(True, f, lambda: jnp.zeros(())),
        lambda f: T.grad(lambda x: (x * f(), f())[0])(1.0),
    ):
        own = ns.RandomState(3)
        draws.append(float(run(lambda: jax.random.normal(own.split_key()))))
    assert len(set(draws)) == 1
    inside = T.jit(lambda: jax.random.normal(ns.RandomState(3).split_key()))()
    assert float(inside) == draws[0]


def test_weak_numbers_promote_as_in_scan_and_commit_strong():
    ref = ns.StateRef(0)
    T.for_loop(lambda: setattr(ref, "value", ref.value + 1.5), length=2)
    assert ref.value == 3.0 and ref.value.dtype == jnp.float32 and not ref.value.weak_type
    carry, _ = T.scan(lambda c, x: (c * jnp.int8(2), c), 1, length=3)
    expected, _ = jax.lax.scan(lambda c, x: (c * jnp.int8(2), c), 1, length=3)
    assert carry.dtype == expected.dtype == jnp.int8 and carry == expected
    strong = ns.StateRef(jnp.int32(0), name="count")
    with pytest.raises(ns.StateStructureError, match=r"count[\s\S]*int32\[\][\s\S]*float32\[\]"):
        T.for_loop(lambda: setattr(strong, "value", strong.value + 1.5), length=2)


@pytest.mark.parametrize("value", [2.5, True, jnp.float16(1)])
def test_branches_never_cast_down(value):
    ref = ns.StateRef(jnp.int32(1), name="count")
    with pytest.raises(ns.StateStructureError, match=r"count[\s\S]*int32"):
        T.cond(True, lambda: setattr(ref, "value", value), lambda: None)
    with pytest.raises(ns.StateStructureError):
        T.cond(True, lambda: value, lambda: jnp.int32(1))
    assert ref.value == 1


def test_branches_may_return_python_numbers():
    assert T.cond(True, lambda: True, lambda: False)
    assert T.switch(1, [lambda: (True, 3), lambda: (False, 4)]) == (False, 4)


def test_units_of_another_scale_are_converted_to_the_references():
    ref = ns.StateRef(jnp.ones(2) * u.mV, name="V")

    def f(x):
        ref.value = ref.value.to(u.volt) * 2

    T.for_loop(f, jnp.arange(3))
    assert ref.value.unit == u.mV
    np.testing.assert_allclose(ref.value.mantissa, 8.0, rtol=1e-6)
    with pytest.raises(ns.StateStructureError, match=r"V[\s\S]*mV[\s\S]*mA"):
        T.for_loop(lambda x: setattr(ref, "value", jnp.ones(2) * u.mA), jnp.arange(3))


def test_functionalize_names_paths_and_goes_back():
    net, loose, nameless = ns.nn.init_all_states(Net()), ns.StateRef(1.0, name="loose"), ns.StateRef(2.0)

    def f(x):
        loose.value = loose.value + nameless.value * x
        return net.cell(x * u.mA) + loose.value * (isinstance(loose, ns.ParamState) + 1)

    with ns.environ.context(dt=0.1 * u.ms):
        pure, state = ns.functionalize(f, 1.0)
        assert {"net.cell.V", "net.cell.tau", "loose"} <= set(state)
        assert len(set(state)) == len(state)
        new, out = jax.jit(pure)(state, 2.0)
        np.testing.assert_allclose(out, 5.0)
        assert loose.value == 1.0 and new["loose"] == 5.0 and new["net.cell.V"].unit == u.mV
        lanes, _ = jax.vmap(pure, in_axes=(None, 0))(state, jnp.arange(3.0))
        np.testing.assert_allclose(lanes["loose"], [1.0, 3.0, 5.0])
        pure.restore(new)
        assert loose.value == 5.0
        with pytest.raises(KeyError, match="loose"):
            pure({key: value for key, value in state.items() if key != "loose"}, 1.0)

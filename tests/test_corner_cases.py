"""Corner cases of transforms: what is easily got wrong without a word."""

import logging
import sys
import threading

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neurostate as ns

from .helpers import in_threads


T = ns.transform


@pytest.fixture
def s():
    return ns.StateRef(jnp.float32(1.0), name="s")


class Holder(ns.nn.Module):
    def __init__(self, **attributes):
        for name, value in attributes.items():
            setattr(self, name, value)


# Units


def test_tangents_of_states_are_in_the_states_units():
    q = ns.StateRef(2.0 * u.mV, name="q")

    def jvp(tangent):
        return T.jvp(lambda: q.value**2, (), (), grad_states=q, state_tangents=tangent)[1]

    assert jvp(1.0 * u.mV) == jvp(0.001 * u.volt) == jvp(1.0) == 4.0 * u.mV**2
    with pytest.raises(ns.UnitError, match="state_tangents of q"):
        jvp(1.0 * u.ms)


def test_hessians_of_quantities():
    q, t = ns.ParamState(2.0 * u.mV, name="q"), ns.ParamState(1.0 * u.ms, name="t")
    for unit_aware in (False, True):
        second = T.hessian(lambda x: x**3, unit_aware=unit_aware)(2.0 * u.mV)
        assert second.unit == u.mV and second.mantissa == 12.0
    assert T.hessian(lambda: q.value**3, q, unit_aware=True)() == 12.0 * u.mV
    (qq, qt), (tq, tt) = T.hessian(lambda: q.value**2 * t.value, [q, t], unit_aware=True)()
    assert qq == 2.0 * u.ms and qt == tq == 4.0 * u.mV and tt.mantissa == 0 and tt.unit.has_same_dim(u.mV**2 / u.ms)


def test_trainable_parameters_are_plain_and_keep_their_shape():
    module = Holder(d=ns.ParamState({"a": jnp.ones(2), "b": jnp.ones(2) * u.mV}))
    arrays, put = ns.trainable(module)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.5))
    updates, _ = optimiser.update(arrays, optimiser.init(arrays))
    put(optax.apply_updates(arrays, updates))
    np.testing.assert_allclose(module.d.value["b"].mantissa, 0.75)
    assert module.d.value["b"].unit == u.mV
    with pytest.raises(ValueError, match="d has the shape"):
        put({"d": {"a": jnp.ones(3), "b": jnp.ones(2)}})


# Loops and maps


@pytest.mark.parametrize(
    "loop", [lambda xs: T.for_loop(lambda x: x, xs), lambda xs: T.scan(lambda c, x: (c, x), 0, xs)]
)
def test_a_range_is_no_input(loop):
    with pytest.raises(TypeError, match="jnp.arange"):
        loop(range(3))


@pytest.mark.parametrize("count, size", [(4, 2), (3, 2), (3, 8), (1, 1)])
def test_map_traces_once_and_keeps_births(count, size):
    module, runs = Holder(), []

    def f(x):
        runs.append(1)
        module.s = ns.StateRef(x * jnp.ones(2))
        return 2 * x

    out = T.map(f, jnp.arange(float(count)), batch_size=size)
    np.testing.assert_allclose(out, 2 * np.arange(count))
    np.testing.assert_allclose(module.s.value, np.arange(count)[:, None] * np.ones(2))
    assert len(runs) == 1


FAILING = {
    "ragged outputs": lambda put: T.for_loop(lambda x: (put(), jnp.zeros(int(x)))[1], jnp.arange(3.0)),
    "a changed carry": lambda put: T.scan(lambda c, x: (put(), (jnp.stack([c, c]), c))[1], jnp.float32(0), jnp.ones(2)),
    "remat": lambda put: T.remat(lambda x: (put(), ns.random.normal(), 1 / 0))(1.0),
    "a condition that writes": lambda put: T.while_loop(lambda c: (put(), c < 3)[1], lambda c: c + 1, 0),
}


@pytest.mark.parametrize("name", FAILING)
def test_without_jit_it_is_still_all_or_nothing(s, name):
    before, key = s.value, ns.random.get_key()
    with jax.disable_jit(), pytest.raises((ValueError, TypeError, ZeroDivisionError, ns.TraceContextError)):
        FAILING[name](lambda: setattr(s, "value", s.value + 1))
    assert s.value is before and ns.random.get_key() is key


def test_static_outputs_of_a_loop_are_the_same_without_jit():
    for disable in (False, True):
        with jax.disable_jit(disable):
            out, word = T.for_loop(lambda x: (2 * x, "a"), jnp.arange(2.0))
        assert word == "a" and out.shape == (2,)


# Derivatives of maps


def test_reverse_mode_through_unbatched_writes_in_vmap(s):
    w, v = ns.ParamState(jnp.float32(3.0), name="w"), ns.HiddenState(jnp.zeros(2), name="v")

    def undeclared():
        T.vmap(lambda x: setattr(s, "value", w.value * 2))(jnp.arange(2.0))
        return s.value

    def declared():
        T.vmap(lambda x: setattr(v, "value", w.value * 2), in_states=v)(jnp.arange(2.0))
        return v.value.sum()

    def local():
        def lane(y):
            own = ns.StateRef(1.0)
            own.value = own.value * w.value + 0 * y
            return own.value

        return T.vmap(lane)(jnp.arange(2.0)).sum()

    for f, slope in ((undeclared, 2.0), (declared, 4.0), (local, 2.0)):
        assert T.grad(f, w)() == T.jit(T.grad(f, w))() == T.jacfwd(f, w)() == slope
        assert T.hessian(f, w)() == 0.0


def test_a_state_of_integers_has_no_derivative():
    p = ns.ParamState({"w": jnp.float32(2.0), "n": jnp.int32(3)}, name="net.p")
    for derivative in (T.grad, T.jacrev, T.jacfwd):
        with pytest.raises(TypeError, match=r"net\.p is not made of floats.*int32"):
            derivative(lambda: p.value["w"] ** 2, p)()


# What modules hold


def test_a_failed_transform_gives_attributes_back(s):
    module, kept = Holder(a=s), s.value

    def replace(x):
        module.a = ns.StateRef(x)
        raise ValueError

    for run in (T.jit(replace), lambda x: T.jit(lambda: T.vmap(replace)(jnp.ones(2)))()):
        with pytest.raises(ValueError):
            run(1.0)
        assert module.a is s and s.value is kept and list(module.states()) == ["a"]


def test_items_of_a_list_that_changed_places_are_seen():
    a, b = ns.StateRef(jnp.float32(1.0)), ns.StateRef(jnp.float32(2.0))
    lists, dicts = Holder(items=[a, b]), Holder(items={"x": a, "y": b})
    f, g = T.jit(lambda: lists.items[0].value), T.jit(lambda: dicts.items["x"].value)
    assert (f(), g()) == (1, 1)
    lists.items.reverse()
    dicts.items["x"] = b
    assert (f(), g()) == (2, 2) and (f(), g()) == (2, 2)


def test_references_show_their_path():
    module = Holder(V=ns.HiddenState(jnp.zeros(2)))
    assert repr(module.V) == "HiddenState('Holder.V', float32[2])"
    twins = Holder(V=ns.HiddenState(jnp.zeros(2)))
    assert len(T.StateFinder(lambda: module.V.value + twins.V.value)()) == 2


# Threads


def test_no_key_is_given_twice():
    keys = []
    rng = ns.random.RandomState(0)

    def draw(k):
        keys.extend(np.asarray(jax.random.key_data(rng.split_key())).tobytes() for _ in range(50))

    assert in_threads(4, draw) == []
    assert len(set(keys)) == len(keys) == 200


def test_one_signature_is_traced_once_by_several_threads():
    runs, at_once = [], threading.Barrier(4)

    @T.jit
    def f(x):
        runs.append(1)
        return x + 1

    assert in_threads(4, lambda k: (at_once.wait(), f(1.0))) == []
    assert len(runs) == 1


def test_eager_loops_in_threads():
    refs, interval = [ns.StateRef(jnp.float32(0)) for _ in range(4)], sys.getswitchinterval()

    def work(k):
        def step(x):
            refs[k].value = refs[k].value + x

        for _ in range(40):
            T.for_loop(step, jnp.arange(3.0))

    sys.setswitchinterval(1e-5)
    try:
        assert in_threads(4, work) == []
    finally:
        sys.setswitchinterval(interval)
    assert [ref.value for ref in refs] == [120.0] * 4


# What is kept and told


def test_a_loop_with_the_same_callback_is_compiled_once(caplog):
    def count(run):
        caplog.clear()
        with jax.log_compiles(True), caplog.at_level(logging.WARNING, logger="jax"):
            run()
        return sum("Finished XLA compilation" in record.getMessage() for record in caplog.records)

    def run(callback):
        T.for_loop(lambda x: jax.debug.callback(callback, x), jnp.arange(3.0))
        jax.effects_barrier()

    seen, other = [], []
    run(seen.append)
    assert count(lambda: run(seen.append)) == 0
    assert count(lambda: run(other.append)) > 0
    assert (len(seen), len(other)) == (6, 3)


def test_explain_retrace_compares_with_the_most_similar_trace():
    f = T.jit(lambda x, y: x + y)
    for arguments in ((1.0, 2.0), (jnp.ones(2), 2.0), (1.0, jnp.ones(2))):
        f(*arguments)
    text = T.explain_retrace(f)
    assert "argument 1" in text and "argument 0" not in text


@pytest.mark.parametrize(
    "run, step",
    [
        (lambda: T.for_loop(lambda x: x / x, jnp.array([1.0, 1.0, 0.0])), "step 2 of `for_loop`"),
        (lambda: T.scan(lambda c, x: (c + jnp.log(x), 0), 0.0, jnp.array([1.0, -1.0])), "step 1 of `scan`"),
        (lambda: T.while_loop(lambda c: c < 5, lambda c: c * jnp.nan, 1.0), "`while_loop`"),
    ],
    ids=["output", "carry", "while"],
)
def test_debug_nan_names_the_step_of_an_output(run, step):
    with pytest.raises(FloatingPointError, match=step):
        T.debug_nan(run)


LEAKS = {
    "jit": lambda put, s: T.jit(put)(1.0),
    "for_loop": lambda put, s: T.for_loop(put, jnp.ones(3)),
    "while_loop": lambda put, s: T.while_loop(lambda x: x < 3, lambda x: x + 1 + 0 * put(x), jnp.float32(0)),
    "bounded": lambda put, s: T.bounded_while_loop(lambda x: x < 3, lambda x: x + put(x) ** 2, 0.0, max_steps=4),
    "cond": lambda put, s: T.cond(True, put, lambda x: x, jnp.float32(1)),
    "vjp": lambda put, s: T.vjp(put, 1.0)[1](1.0),
    "jvp": lambda put, s: T.jvp(put, (1.0,), (1.0,)),
    "hessian": lambda put, s: T.hessian(put)(1.0),
    "vmap": lambda put, s: T.vmap(lambda x: ns.random.normal() + x * s.value)(jnp.ones(3)),
    "map": lambda put, s: T.map(lambda x: x * s.value, jnp.ones(5), batch_size=2),
    "remat": lambda put, s: T.remat(put)(1.0),
    "accumulated gradients": lambda put, s: T.for_loop(lambda x: T.grad(lambda: put(x) ** 2, s)(), jnp.ones(3)),
    "gradient through a loop": lambda put, s: T.jit(T.grad(lambda x: T.for_loop(put, jnp.ones(3) * x).sum()))(1.0),
    "checkpointed": lambda put, s: T.grad(lambda x: T.checkpointed_for_loop(put, jnp.ones(4) * x, base=2).sum())(1.0),
}


@pytest.mark.parametrize("name", LEAKS)
def test_nothing_leaks_from_a_trace(s, name):
    def put(x):
        s.value = s.value * 0.5 + x
        return s.value

    with jax.checking_leaks():
        LEAKS[name](put, s)

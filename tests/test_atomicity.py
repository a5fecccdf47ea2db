"""All or nothing: whatever raises, every reference holds the very object that it held before."""

import jax
import jax.numpy as jnp
import pytest

import neurostate as ns


T = ns.transform


class Boom(Exception):
    pass


def programs(a, b, error):
    """Each transform around a function that writes two references and then raises."""

    def write_and_raise(*args):
        a.value = a.value + 1.0
        b.value = {"x": b.value["x"] * 2.0}
        raise error

    def write(*args):
        a.value = a.value + 1.0
        b.value = {"x": b.value["x"] * 2.0}
        return jnp.sum(a.value)

    def write_twice(x):
        T.for_loop(lambda i: write(), jnp.arange(2))
        return write_and_raise()

    xs = jnp.arange(3.0)
    return {
        "jit": lambda: T.jit(write_and_raise)(1.0),
        "for_loop": lambda: T.for_loop(write_and_raise, xs),
        "scan": lambda: T.scan(lambda c, x: write_and_raise(), 0.0, xs),
        "vmap": lambda: T.vmap(write_and_raise, in_states=[a])(xs),
        "map": lambda: T.map(write_and_raise, xs, batch_size=2),
        "cond": lambda: T.cond(True, write_and_raise, write, 1.0),
        "cond, branch not taken": lambda: T.cond(True, write, write_and_raise, 1.0),
        "switch": lambda: T.switch(0, [write, write_and_raise]),
        "grad": lambda: T.grad(write_and_raise, grad_states=a)(),
        "after an inner commit": lambda: T.jit(write_twice)(1.0),
        "jit of vmap of for_loop": lambda: T.jit(T.vmap(lambda x: T.for_loop(write_and_raise, xs), in_states=a))(xs),
        "grad of for_loop": lambda: T.grad(lambda: T.for_loop(write_and_raise, xs), grad_states=a)(),
        "for_loop of cond": lambda: T.for_loop(lambda x: T.cond(x > 1, write_and_raise, write, x), xs),
        "functionalize": lambda: ns.functionalize(write_and_raise, 1.0),
    }


NAMES = list(programs(None, None, None))
NOT_TAKEN = ("cond, branch not taken", "switch")  # plain Python does not look at such a branch


@pytest.mark.parametrize("error", [Boom("boom"), KeyboardInterrupt()], ids=["exception", "interrupt"])
@pytest.mark.parametrize(
    ("name", "disable"),
    [*((name, False) for name in NAMES), *((name, True) for name in NAMES if name not in NOT_TAKEN)],
)
def test_an_exception_changes_no_reference(name, error, disable):
    a, b = ns.StateRef(jnp.zeros(3), name="a"), ns.StateRef({"x": jnp.ones(())}, name="b")
    before = a.value, b.value
    with jax.disable_jit(disable), pytest.raises(type(error)):
        programs(a, b, error)[name]()
    assert a.value is before[0]
    assert b.value is before[1]
    a.value = a.value + 1  # and it works as ever
    assert T.jit(lambda: a.value.sum())() == 3.0


def test_an_inner_failure_that_is_caught_rolls_back_the_inner_transform_only():
    a = ns.StateRef(0.0, name="a")

    def inner(x):
        a.value = a.value + 100.0
        raise Boom

    @T.jit
    def outer():
        a.value = a.value + 1.0
        with pytest.raises(Boom):
            T.for_loop(inner, jnp.arange(2.0))
        a.value = a.value + 10.0

    outer()
    outer()
    assert a.value == 22.0


def test_a_failed_dispatch_changes_nothing():
    a = ns.StateRef(jnp.zeros(3), name="a")

    @T.jit
    def add(x):
        a.value = a.value + x

    add(jnp.ones(3))
    before = a.value
    with pytest.raises(TypeError):
        add(jnp.ones(4))
    assert a.value is before


def test_sync_waits_before_it_commits():
    a = ns.StateRef(0.0, name="a")

    def fail(x):
        if x > 1:
            raise Boom
        return x

    @T.jit
    def add(x):
        checked = jax.pure_callback(fail, jax.ShapeDtypeStruct((), jnp.float32), x)
        a.value = a.value + checked

    waiting = ns.transform.jit(add.fun, sync=True)
    waiting(1.0)
    before = a.value
    with pytest.raises(Exception, match="Boom"):
        waiting(2.0)
    assert a.value is before


def test_a_structure_error_in_a_loop_changes_nothing():
    a = ns.StateRef(jnp.zeros(3), name="net.V")

    def grow(x):
        a.value = a.value[None] + x

    before = a.value
    with pytest.raises(ns.StateStructureError) as error:
        T.for_loop(grow, jnp.arange(3.0))
    assert a.value is before
    for words in ("net.V", "float32[3]", "float32[1,3]", "for_loop", "batch_size"):
        assert words in str(error.value)

"""`environ`: keys, contexts, and how compiled functions depend on them."""

import threading

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns


T, environ = ns.transform, ns.environ


def test_contexts_nest_and_belong_to_a_thread():
    environ.set(dt=0.1, mode="a")
    seen = {}
    with environ.context(dt=0.2):
        with environ.context(mode="b", extra=1):
            assert environ.all() == {"dt": 0.2, "mode": "b", "extra": 1}
            thread = threading.Thread(target=lambda: seen.update(environ.all()))
            thread.start()
            thread.join()
        assert environ.get("mode") == "a"
    assert environ.get_dt() == 0.1
    assert seen == {"dt": 0.1, "mode": "a"}
    assert environ.pop("mode") == "a"
    environ.reset()
    assert environ.all() == {}


def test_a_missing_key_says_how_to_set_it():
    with pytest.raises(KeyError, match=r"environ\.set\(dt=.*environ\.context\(dt=") as error:
        environ.get_dt()
    assert isinstance(error.value, ns.EnvironmentKeyError)
    assert environ.get("dt", None) is None
    with pytest.raises(KeyError, match="tau.*the time constant"):
        environ.get("tau", desc="the time constant")


def test_precision():
    assert environ.get_precision() == 32 and environ.dftype() == jnp.float32
    with environ.context(precision=64):
        assert jnp.zeros(()).dtype == jnp.float64 and environ.dftype() == jnp.float64
    assert jnp.zeros(()).dtype == jnp.float32
    with pytest.raises(ValueError, match="precision is one of"):
        environ.set(precision=33)


@pytest.mark.parametrize("wrap", [T.jit, lambda f: lambda: T.for_loop(f, length=1)], ids=["jit", "loop"])
def test_setting_inside_a_trace_is_refused(wrap):
    for change in (lambda: environ.set(dt=1.0), lambda: environ.reset(), lambda: environ.pop("dt", 1)):
        with pytest.raises(ns.TraceContextError, match="environ.*context"):
            wrap(change)()


CHANGES = {
    "float": (0.1, 0.2),
    "int and float": (1, 1.0),
    "bool": (True, False),
    "string": ("a", "b"),
    "unit": (1.0 * u.ms, 1.0 * u.second),
    "quantity": (1.0 * u.ms, 2.0 * u.ms),
    "sign of zero": (0.0, -0.0),
    "list": ([1.0, 2.0], [1.0, 2.0, 3.0]),
    "none": (None, 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_static_change_is_traced_once_again(name):
    runs = []

    def describe(value):  # under a trace, the repr of a Quantity shows a tracer
        return f"{value.mantissa} {value.unit}" if hasattr(value, "unit") else repr(value)

    f = T.jit(lambda x: (runs.append(1), describe(environ.get("key")))[1])
    for value in CHANGES[name] * 2:
        with environ.context(key=value):
            assert f(1.0) == describe(value)
    assert len(runs) == 2


def test_a_list_that_was_changed_in_place_is_seen():
    values = [1.0, 2.0]
    environ.set(values=values)
    f = T.jit(lambda x: x * sum(environ.get("values")))
    assert f(1.0) == 3.0
    values.append(4.0)
    assert f(1.0) == 7.0


def test_nan_does_not_trace_each_time():
    runs = []
    f = T.jit(lambda: (runs.append(1), environ.get("key"))[1])
    for _ in range(3):
        with environ.context(key=float("nan")):
            f()
    assert len(runs) == 1


def test_asking_for_all_keys_depends_on_all():
    f = T.jit(lambda: "z" in environ.all())
    assert not f()
    with environ.context(z=1.0):
        assert f()
    assert not f()


def test_nested_functions_pass_their_dependence_on():
    inner = T.jit(lambda x: x * environ.get("gain", 1.0))
    outer = T.jit(lambda x: T.for_loop(lambda y: inner(y), x))
    for gain in (2.0, 3.0, 2.0):
        with environ.context(gain=gain):
            np.testing.assert_allclose(outer(jnp.ones(2)), gain)
    np.testing.assert_allclose(outer(jnp.ones(2)), 1.0)


RAW = {
    "scan": lambda f: jax.lax.scan(lambda c, x: (c, f()), 0.0, jnp.arange(2)),
    "jit": lambda f: jax.jit(lambda: f())(),
    "checkpoint": lambda f: jax.checkpoint(lambda x: x * f())(1.0),
    "cond": lambda f: jax.lax.cond(True, lambda: f(), lambda: 0.0),
}


@pytest.mark.parametrize("raw", RAW)
@pytest.mark.parametrize("wrap", [lambda f: f, T.jit, T.grad], ids=["eager", "jit", "grad"])
def test_reading_while_a_raw_transform_stages_is_refused(raw, wrap):
    def f(x=1.0):
        RAW[raw](lambda: environ.get("dt"))
        return x

    with environ.context(dt=0.1), pytest.raises(ns.TraceContextError, match=r"environ\.dt.*pass it in"):
        wrap(f)(1.0)


def test_a_context_inside_a_raw_transform_can_be_read_there():
    @jax.jit
    def f(x):
        with environ.context(t=x, dt=0.5):
            return T.vmap(lambda y: y * environ.get("t") * environ.get("dt"))(jnp.arange(3.0)) + environ.get("t")

    np.testing.assert_allclose(f(2.0), [2.0, 3.0, 4.0])
    np.testing.assert_allclose(f(4.0), [4.0, 6.0, 8.0])


def test_a_context_that_outlives_its_trace_says_so_and_loses_nothing():
    kept = []

    def generator(x):
        with environ.context(t=x):
            yield

    def f(x):
        kept.append(generator(x))
        next(kept[-1])
        return x

    T.jit(f)(1.0)
    with pytest.raises(ns.TraceContextError, match=r"environ\.t.*jit.*over"):
        environ.get("t")
    first = environ.context(t=5.0)
    first.__enter__()
    kept[0].close()
    with environ.context(t=1.0):
        first.__exit__(None, None, None)
        assert environ.get("t") == 1.0
    assert environ.get("t", None) is None

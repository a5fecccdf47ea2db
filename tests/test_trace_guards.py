"""References below raw JAX transforms: refused wherever the result could be lost or stale."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import neurostate as ns


T = ns.transform


def write(ref, with_tracer):
    def function(x):
        ref.value = x * 1.0 if with_tracer else 1.0
        return x

    return function


RAW = {
    "jax.jit": lambda f: jax.jit(f)(1.0),
    "jax.vmap": lambda f: jax.vmap(f)(jnp.arange(3.0)),
    "jax.grad": lambda f: jax.grad(f)(1.0),
    "lax.scan": lambda f: lax.scan(lambda c, x: (c, f(x)), 0.0, jnp.arange(3.0)),
    "lax.cond": lambda f: lax.cond(True, f, lambda x: x, 1.0),
    "lax.while_loop": lambda f: lax.while_loop(lambda x: x < 3.0, lambda x: f(x) + 1.0, 0.0),
    "jax.checkpoint": lambda f: jax.checkpoint(f)(1.0),
    "jax.make_jaxpr": lambda f: jax.make_jaxpr(f)(1.0),
    "jax.jvp": lambda f: jax.jvp(f, (1.0,), (1.0,)),
}
STAGING = [name for name in RAW if name not in ("jax.vmap", "jax.grad", "jax.jvp")]
INSIDE = {
    "eager": lambda g: g(),
    "jit": lambda g: T.jit(g)(),
    "for_loop": lambda g: T.for_loop(lambda i: g(), jnp.arange(2)),
    "grad": lambda g: T.grad(lambda x: g() * x)(1.0),
    "vmap": lambda g: T.vmap(lambda x: g())(jnp.arange(2.0)),
}


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("raw", RAW)
@pytest.mark.parametrize("with_tracer", [True, False])
def test_a_write_below_a_raw_transform_is_refused(raw, inside, with_tracer):
    ref = ns.StateRef(5.0, name="net.V")

    def run():
        RAW[raw](write(ref, with_tracer))
        return 1.0

    with pytest.raises(ns.TraceContextError, match=r"net\.V.*neurostate\.transform"):
        INSIDE[inside](run)
    assert ref.value == 5.0


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("raw", STAGING)
def test_a_read_while_a_raw_transform_stages_is_refused(raw, inside):
    ref = ns.StateRef(5.0, name="net.V")

    def run():
        RAW[raw](lambda x: x * ref.value)
        return 1.0

    with pytest.raises(ns.TraceContextError, match=r"net\.V.*peek"):
        INSIDE[inside](run)


@pytest.mark.parametrize("inside", INSIDE)
def test_reads_below_raw_vmap_and_grad_are_right_on_every_call(inside):
    ref = ns.StateRef(5.0, name="V")

    def run():
        return jax.vmap(lambda x: x * ref.value)(jnp.arange(3.0)).sum() + jax.grad(lambda x: x * ref.value)(1.0)

    call = T.jit(run) if inside == "jit" else run
    for value in (5.0, 7.0):
        ref.value = value
        result = call() if inside in ("eager", "jit") else INSIDE[inside](run)
        assert jnp.all(result == 4 * value)


def test_peek_reads_a_constant_on_purpose():
    ref = ns.StateRef(5.0, name="V")
    f = jax.jit(lambda x: x * ref.peek())
    assert f(2.0) == 10.0
    ref.value = 7.0
    assert f(2.0) == 10.0
    assert ref.peek() == 7.0


@pytest.mark.parametrize(
    "convert", [float, int, bool, lambda x: jnp.zeros(3)[: int(x)]], ids=["float", "int", "bool", "slice"]
)
def test_a_value_in_a_trace_cannot_become_a_python_constant(convert):
    ref = ns.StateRef(jnp.array(1.0), name="V")
    with pytest.raises(jax.errors.ConcretizationTypeError):
        T.jit(lambda: convert(ref.value))()
    with pytest.raises(jax.errors.ConcretizationTypeError):
        T.for_loop(lambda i: convert(ref.value), jnp.arange(2))


def test_a_reference_whose_trace_is_over_says_so():
    kept = []

    def body(x):
        kept.append(ns.StateRef(x, name="inner"))
        return x

    T.for_loop(body, jnp.arange(3.0))
    with pytest.raises(ns.TraceContextError, match=r"inner.*for_loop.*over"):
        _ = kept[0].value
    assert "inner" in repr(kept[0])


@pytest.mark.parametrize("transform", ["for_loop", "cond", "grad"])
def test_a_birth_that_a_module_keeps_is_an_error_at_exit(transform):
    class Net(ns.nn.Module):
        def init_state(self):
            self.V = ns.HiddenState(jnp.zeros(()))

    net = Net()

    def body(x):
        net.init_state()
        return x * net.V.value

    run = {
        "for_loop": lambda: T.for_loop(body, jnp.arange(2.0)),
        "cond": lambda: T.cond(True, body, body, 1.0),
        "grad": lambda: T.grad(body)(1.0),
    }[transform]
    with pytest.raises(ns.TraceContextError, match=rf"Net\.V.*{transform}.*init_all_states"):
        run()


def test_births_in_jit_come_out_and_are_updated_by_later_calls():
    class Net(ns.nn.Module):
        def init_state(self, x):
            self.V = ns.HiddenState(x * jnp.ones(2))

    net = Net()

    @T.jit
    def make(x):
        net.init_state(x)

    make(1.0)
    first = net.V
    assert (first.value == 1.0).all()
    make(2.0)
    assert net.V is first
    assert (first.value == 2.0).all()


def test_births_in_vmap_get_a_batch_axis():
    class Net(ns.nn.Module):
        def init_state(self, x):
            self.a = ns.HiddenState(x * jnp.ones(2))
            self.b = ns.HiddenState(jnp.zeros(4))

    net = Net()
    T.vmap(net.init_state)(jnp.arange(3.0))
    assert net.a.value.shape == (3, 2)
    assert net.b.value.shape == (3, 4)
    assert (net.a.value[:, 0] == jnp.arange(3.0)).all()


@pytest.mark.parametrize("make", [lambda ref: ref, lambda ref: [1.0, {"x": ref}]])
def test_returning_a_reference_is_an_error(make):
    ref = ns.StateRef(1.0, name="V")
    for run in (T.jit(lambda: make(ref)), lambda: T.for_loop(lambda i: make(ref), jnp.arange(2))):
        with pytest.raises(TypeError, match=r"returned the reference V.*V\.value"):
            run()

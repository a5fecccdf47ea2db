"""`vmap` and `map`: declared axes, births, random numbers, and errors that name the reference."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns


T = ns.transform


class Net(ns.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = ns.ParamState(jnp.array([2.0, 3.0]))

    def init_state(self, batch_size=None):
        self.V = ns.HiddenState(jnp.zeros(() if batch_size is None else (batch_size,)))

    def __call__(self, x):
        self.V.value = self.V.value + (self.w.value * x).sum()
        return self.V.value


XS = jnp.arange(8.0).reshape(4, 2)


def declarations(net):
    return {
        "reference": dict(in_states=net.V),
        "list": dict(in_states=[net.V]),
        "type": dict(in_states=ns.HiddenState),
        "path": dict(in_states=lambda path, ref: ref is net.V),
        "axis": dict(in_states={0: net.V}),
        "names": dict(in_states={"V": net.V}),
        "states": dict(in_states=net.states(ns.HiddenState)),
    }


@pytest.mark.parametrize("how", list(declarations(ns.nn.init_all_states(Net()))))
def test_lanes_are_separate_runs(how):
    net = ns.nn.init_all_states(Net(), batch_size=4)
    mapped = T.vmap(net, **declarations(net)[how])
    for k in (1, 2, 3):
        out = mapped(XS)
        np.testing.assert_allclose(out, k * XS @ jnp.array([2.0, 3.0]))
        np.testing.assert_allclose(net.V.value, out)
    assert net.w.value.shape == (2,)


def test_other_axes_and_quantities():
    ref = ns.StateRef(jnp.ones((3, 4, 2)) * u.mV, name="V")

    def step(x):
        assert ref.value.shape == (3, 2)
        ref.value = ref.value * 2 + x * u.mV
        return ref.value.sum()

    out = T.vmap(step, in_states={1: ref}, out_axes=0)(jnp.arange(4.0))
    np.testing.assert_allclose(out.mantissa, 6 * (2 + np.arange(4.0)))
    assert ref.value.shape == (3, 4, 2) and ref.value.unit == u.mV
    np.testing.assert_allclose(ref.value.mantissa[0, :, 0], 2 + np.arange(4.0))


def test_out_states_make_a_batch_axis():
    ref = ns.StateRef(jnp.zeros(()), name="V")
    T.vmap(lambda x: setattr(ref, "value", x), out_states=ref)(jnp.arange(3.0))
    np.testing.assert_array_equal(ref.value, np.arange(3.0))


@pytest.mark.parametrize("wrap", [lambda f: f, T.jit], ids=["eager", "jit"])
def test_an_undeclared_batched_write_names_just_the_batched_references(wrap):
    a, b = ns.StateRef(jnp.zeros(()), name="net.a"), ns.StateRef(jnp.zeros(()), name="net.b")
    before = a.value, b.value

    def f(x):
        a.value = x
        b.value = b.value + 1.0
        return x

    with pytest.raises(ns.BatchAxisError, match=r"net\.a") as error:
        wrap(T.vmap(f))(jnp.arange(3.0))
    assert "net.b" not in str(error.value) and "out_states" in str(error.value)
    assert a.value is before[0] and b.value is before[1]


def test_an_unbatched_write_is_allowed():
    count = ns.StateRef(0)

    def f(x):
        count.value = count.value + 1
        return x

    T.vmap(f)(jnp.arange(5.0))
    assert count.value == 1


def test_keyword_arguments_and_axes():
    f = T.vmap(lambda x, y, *, z: (x + y, z), in_axes=(1, None), out_axes=(0, 1))
    a, b = f(jnp.ones((2, 3)), 1.0, z=jnp.arange(6.0).reshape(3, 2))
    assert a.shape == (3, 2) and b.shape == (2, 3)
    with pytest.raises(ValueError, match="in_axes for 2 arguments"):
        f(jnp.ones((2, 3)))


def test_each_lane_draws_its_own_numbers_from_a_key_that_moves_once():
    ns.random.seed(0)
    key = ns.random.get_key()
    draws = T.vmap(lambda x: ns.random.normal())(jnp.arange(4.0))
    assert len(set(np.asarray(draws).tolist())) == 4
    moved = ns.random.get_key()
    assert not (jax.random.key_data(moved) == jax.random.key_data(key)).all()
    T.vmap(lambda x: x)(jnp.arange(4.0))
    assert (jax.random.key_data(ns.random.get_key()) == jax.random.key_data(moved)).all()

    def lane(i):  # the documented rule: lane i has fold_in(key, i)
        return jax.random.normal(jax.random.split(jax.random.fold_in(key, i))[1])

    np.testing.assert_allclose(draws, [lane(i) for i in range(4)], rtol=1e-6)


def test_nested_maps_with_inner_and_outer_states():
    inner, outer = ns.StateRef(jnp.zeros((2, 3))), ns.StateRef(jnp.zeros(2))

    def f(x, y):
        inner.value = inner.value + x * y
        return inner.value

    def g(x):
        outer.value = outer.value + x
        return T.vmap(lambda y: f(x, y), in_states=inner)(jnp.arange(3.0))

    out = T.vmap(g, in_states=[inner, outer])(jnp.arange(2.0))
    np.testing.assert_allclose(out, np.outer(np.arange(2), np.arange(3)))
    np.testing.assert_allclose(inner.value, out)
    np.testing.assert_allclose(outer.value, [0, 1])


def test_branches_under_vmap():
    hits = ns.StateRef(jnp.zeros(4, jnp.int32))

    def f(x):
        def hit():
            hits.value = hits.value + 1
            return x

        return T.cond(x > 1, hit, lambda: -x)

    np.testing.assert_array_equal(T.vmap(f, in_states=hits)(jnp.arange(4.0)), [0, -1, 2, 3])
    np.testing.assert_array_equal(hits.value, [0, 0, 1, 1])


@pytest.mark.parametrize(
    ("run", "error", "words"),
    [
        (lambda r: T.vmap(lambda x: x)(1.0), ValueError, ["axis 0", "argument 0", "()", "in_axes=None"]),
        (lambda r: T.vmap(lambda x, y: x)(jnp.ones(2), jnp.ones(3)), ValueError, ["argument 0: 2", "argument 1: 3"]),
        (lambda r: T.vmap(lambda: 1.0)(), ValueError, ["axis_size"]),
        (lambda r: T.vmap(lambda x: r.value, in_states=r)(jnp.ones(3)), ns.BatchAxisError, ["net.V", "(2,)", "3"]),
        (lambda r: T.vmap(lambda x: x, in_states=3), TypeError, ["in_states", "3"]),
        (lambda r: T.map(lambda x: x, jnp.ones(3), batch_size=0), ValueError, ["batch_size", "0"]),
    ],
    ids=["scalar", "sizes", "no size", "state size", "bad states", "bad batch"],
)
def test_misuse_is_explained(run, error, words):
    with pytest.raises(error) as caught:
        run(ns.StateRef(jnp.zeros(2), name="net.V"))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 7, 10])
def test_map_in_chunks_is_a_loop(batch_size):
    xs = {"x": jnp.arange(7.0), "y": jnp.arange(14.0).reshape(7, 2)}
    out = T.map(lambda d: {"s": d["x"] * d["y"].sum()}, xs, batch_size=batch_size)
    np.testing.assert_allclose(out["s"], xs["x"] * xs["y"].sum(1))


def test_states_can_be_made_in_map():
    def f(x):
        net = ns.nn.init_all_states(Net())
        return T.for_loop(lambda: net(x), length=3)

    np.testing.assert_allclose(T.map(f, XS, batch_size=3)[:, -1], 3 * XS @ jnp.array([2.0, 3.0]))


def test_map_may_not_write_an_undeclared_state():
    ref = ns.StateRef(jnp.zeros(()), name="net.V")
    with pytest.raises(ns.BatchAxisError, match=r"net\.V"):
        T.map(lambda x: setattr(ref, "value", x), jnp.arange(4.0), batch_size=2)
    T.map(lambda x: setattr(ref, "value", x), jnp.arange(4.0))
    assert ref.value == 3.0

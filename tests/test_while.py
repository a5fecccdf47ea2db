"""`while_loop`, `bounded_while_loop`, and the checkpointed loops."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns


T = ns.transform


def counting(ref):
    def body(x):
        ref.value = ref.value + 1
        return x * 1.5

    return body


@pytest.mark.parametrize("disable", [False, True], ids=["traced", "disable_jit"])
@pytest.mark.parametrize("start", [1.0, 20.0])
def test_while_loop(start, disable):
    steps = ns.StateRef(0, name="steps")
    with jax.disable_jit(disable):
        out = T.while_loop(lambda x: x < 10, counting(steps), jnp.float32(start))
    expected = 0 if start > 10 else int(np.ceil(np.log(10) / np.log(1.5)))
    assert steps.value == expected
    np.testing.assert_allclose(out, start * 1.5**expected, rtol=1e-6)


@pytest.mark.parametrize("max_steps", [0, 1, 3, 5, 6, 7, 40])
def test_a_bounded_loop_stops_exactly(max_steps):
    steps = ns.StateRef(0)
    loop = lambda x: T.bounded_while_loop(lambda x: x < 10, counting(steps), x, max_steps=max_steps, base=3)  # noqa: E731
    count = min(max_steps, 6)
    out, slope = T.vjp(loop, jnp.float32(1.0))[0], T.grad(loop)(1.0)
    np.testing.assert_allclose([out, slope], 1.5**count, rtol=1e-6)
    assert steps.value == 2 * count


def test_each_lane_stops_by_itself():
    starts = jnp.array([1.0, 5.0, 20.0])
    for loop in (
        lambda x: T.while_loop(lambda y: y < 10, lambda y: y * 1.5, x),
        lambda x: T.bounded_while_loop(lambda y: y < 10, lambda y: y * 1.5, x, max_steps=20),
    ):
        np.testing.assert_allclose(T.vmap(loop)(starts), [1.5**6, 5 * 1.5**2, 20.0], rtol=1e-6)
    steps = ns.StateRef(jnp.zeros(3, jnp.int32))
    T.vmap(lambda x: T.while_loop(lambda y: y < 10, counting(steps), x), in_states=steps)(starts)
    assert steps.value.tolist() == [6, 2, 0]


def test_the_condition_sees_what_the_body_wrote_and_may_not_write():
    left = ns.StateRef(jnp.int32(3), name="left")

    def body(x):
        left.value = left.value - 1
        return x + 1.0

    assert T.while_loop(lambda x: left.value > 0, body, 0.0) == 3.0
    with pytest.raises(ns.TraceContextError, match="left.*only read.*body"):
        T.while_loop(lambda x: (setattr(left, "value", left.value + 1), x < 3)[1], lambda x: x + 1.0, 0.0)
    assert left.value == 0


@pytest.mark.parametrize(
    ("run", "error", "words"),
    [
        (lambda r: T.bounded_while_loop(lambda x: x < 1, lambda x: x, 0.0, max_steps=-1), ValueError, "max_steps"),
        (lambda r: T.bounded_while_loop(lambda x: x < 1, lambda x: x, 0.0, max_steps=1, base=1), ValueError, "base"),
        (lambda r: T.while_loop(lambda x: jnp.ones(2) > 0, lambda x: x, 0.0), TypeError, "scalar condition"),
        (lambda r: T.while_loop(lambda x: x < 1, lambda x: jnp.ones(2), 0.0), ns.StateStructureError, "carry"),
        (lambda r: T.while_loop(lambda x: x < 1, lambda x: (x, x), 0.0), ns.StateStructureError, "structure"),
        (
            lambda r: T.while_loop(lambda x: x < 1, lambda x: (setattr(r, "value", jnp.ones(2)), x)[1], 0.0),
            ns.StateStructureError,
            "net.V",
        ),
        (lambda r: T.while_loop(1, lambda x: x, 0.0), TypeError, "function"),
        (lambda r: T.checkpointed_for_loop(lambda x: x, jnp.ones(3), base=1), ValueError, "base"),
    ],
)
def test_misuse_is_explained(run, error, words):
    ref = ns.StateRef(jnp.zeros(3), name="net.V")
    before = ref.value
    with pytest.raises(error, match=words):
        run(ref)
    assert ref.value is before


@pytest.mark.parametrize("base", [2, 5, 16, 100])
@pytest.mark.parametrize("steps", [1, 16, 37])
def test_checkpointed_loops_are_loops(base, steps):
    V, w, xs = ns.StateRef(jnp.zeros(3)), ns.ParamState(jnp.float32(0.8)), jnp.linspace(0, 1, steps)

    def step(x):
        V.value = jnp.tanh(V.value * w.value + x)
        return V.value.sum()

    def result(loop):
        V.value = jnp.zeros(3)
        gradient, value = T.grad(lambda: loop(step, xs).sum(), w, return_value=True)()
        return gradient, value, V.value

    plain = result(T.for_loop)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6),
        result(lambda f, xs: T.checkpointed_for_loop(f, xs, base=base)),
        plain,
    )
    carry, stacked = T.checkpointed_scan(lambda c, x: (c + x, c), 0.0, xs, base=base)
    expected = jax.lax.scan(lambda c, x: (c + x, c), 0.0, xs)
    np.testing.assert_allclose(carry, expected[0], rtol=1e-5)
    np.testing.assert_allclose(stacked, expected[1], rtol=1e-5, atol=1e-6)


def test_checkpointed_loops_take_a_length_and_a_progress_bar():
    count, out = ns.StateRef(0), io.StringIO()
    T.checkpointed_for_loop(
        lambda: setattr(count, "value", count.value + 1), length=50, base=8, pbar=T.ProgressBar(file=out)
    )
    assert count.value == 50
    assert out.getvalue().count("100%") == 1


@pytest.mark.parametrize("loop", [T.for_loop, T.checkpointed_for_loop])
@pytest.mark.parametrize("steps", [0, 1])
def test_loops_of_no_and_one_step(loop, steps):
    ref = ns.StateRef(jnp.zeros(2))

    def step(x):
        ref.value = ref.value + x
        return {"a": ref.value, "b": x}

    out = loop(step, jnp.ones(steps))
    assert out["a"].shape == (steps, 2) and out["b"].shape == (steps,)
    assert ref.value.tolist() == [steps, steps]


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: T.for_loop(lambda x, y: x, jnp.ones(3), jnp.ones(4)), "xs.*3.*4|3.*4"),
        (lambda: T.for_loop(lambda x: x, jnp.ones(3), length=4), "length: 4"),
        (lambda: T.for_loop(lambda: 1.0), "length="),
        (lambda: T.for_loop(lambda x: x, 1.0), "scalar"),
        (lambda: T.for_loop(lambda: 1.0, length=-1), "negative"),
        (lambda: T.for_loop(lambda x: x, jnp.ones(3), pbar=10), "freq.*10.*3"),
    ],
)
def test_wrong_lengths_are_explained(run, words):
    with pytest.raises(ValueError, match=words):
        run()


def test_reverse_unroll_and_pytrees():
    ref = ns.StateRef(jnp.float32(0))

    def step(x):
        ref.value = ref.value * 2 + x["a"]
        return ref.value, x["b"]

    xs = {"a": jnp.arange(4.0), "b": jnp.arange(8.0).reshape(4, 2)}
    out, b = T.for_loop(step, xs, reverse=True, unroll=2)
    expected, total = [], 0.0
    for x in reversed(range(4)):
        total = total * 2 + x
        expected.insert(0, total)
    np.testing.assert_allclose(out, expected)
    np.testing.assert_allclose(b, xs["b"])
    assert ref.value == total

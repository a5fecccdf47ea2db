"""The progress bar: how often it is drawn, under which transformations, and that programs are reused."""

from __future__ import annotations

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neurostate import _progress
from neurostate._progress import ProgressBar, as_progress_bar
from neurostate.neuron import LIF
from neurostate.simulate import simulate


@pytest.fixture
def reports(monkeypatch):
    """The iterations that reach the host, in order."""
    seen = []
    receive = _progress._Bar.update

    def update(self, done, *args):
        seen.append(done)
        receive(self, done, *args)

    monkeypatch.setattr(_progress._Bar, "update", update)
    return seen


def loop(bar, x):
    def body(carry, i):
        carry = carry + jnp.sin(x)
        bar.tick(i, carry, 2 * carry)
        return carry, None

    return jax.lax.scan(body, x, jnp.arange(bar.n))[0]


def shown(run, **options):
    out = io.StringIO()
    jax.block_until_ready(run(ProgressBar(file=out, **options)))
    jax.effects_barrier()
    return out.getvalue()


@pytest.mark.parametrize(
    ("n", "options", "expected"),
    [
        (100, {}, [1, *range(5, 101, 5)]),
        (100, {"freq": 30}, [1, 30, 60, 90, 100]),
        (100, {"count": 3}, [1, 33, 66, 99, 100]),
        (7, {}, [1, 2, 3, 4, 5, 6, 7]),
        (5, {"freq": 5}, [1, 5]),
        (1, {}, [1]),
    ],
)
def test_how_often_it_reports(n, options, expected, reports):
    text = shown(lambda bar: jax.jit(loop)(bar.bind(n), 1.0), **options)
    assert reports == expected
    assert text.count("100%") == 1 and f"{n}/{n}" in text and f"| 0/{n} " in text


@pytest.mark.parametrize(
    ("shape", "transform"),
    [
        ((), lambda f: f),
        ((3,), lambda f: jax.vmap(f, in_axes=(None, 0))),
        ((2, 3), lambda f: jax.jit(jax.vmap(jax.vmap(f, in_axes=(None, 0)), in_axes=(None, 0)))),
        ((), lambda f: jax.grad(f, argnums=1)),
        ((3,), lambda f: jax.vmap(jax.value_and_grad(f, argnums=1), in_axes=(None, 0))),
    ],
)
def test_one_bar_under_transformations(shape, transform, reports):
    describe = ("mean {m:.2f} at {i}", lambda d: {"m": d["carry"].mean(), "i": d["i"]})
    text = shown(lambda bar: transform(loop)(bar.bind(40), jnp.ones(shape)), freq=15, desc=describe)
    assert reports == [1, 15, 30, 40] and text.count("100%") == 1
    assert f"mean {1 + 40 * np.sin(1.0):.2f} at 39: 100%" in text


def test_a_program_is_reused_with_another_bar(reports):
    compiled = jax.jit(lambda bar, x: loop(bar, x))
    texts = [shown(lambda bar: compiled(bar.bind(10), 1.0), desc=desc) for desc in ("one", "two", "three")]
    assert compiled._cache_size() == 1
    for text, desc in zip(texts, ("one", "two", "three")):
        assert text.count("100%") == 1 and f"{desc}: 100%" in text


def test_a_bar_in_a_compiled_function_is_shown_on_every_run(reports):
    out = io.StringIO()
    compiled = jax.jit(lambda x: loop(ProgressBar(desc="again", freq=4, file=out).bind(10), x))
    for x in (1.0, 2.0, 3.0):
        jax.block_until_ready(compiled(x))
        jax.effects_barrier()
    assert reports == 3 * [1, 4, 8, 10] and out.getvalue().count("again: 100%") == 3


def test_bars_are_forgotten_but_still_drawn(capfd):
    compiled = jax.jit(loop)
    bar = ProgressBar(desc="old").bind(10)
    for _ in range(_progress._MAX_BARS + 5):
        number = _progress._register(_progress._Bar(None, False, {}))
    assert len(_progress._bars) <= _progress._MAX_BARS and number in _progress._bars
    jax.block_until_ready(compiled(bar, 1.0))
    jax.effects_barrier()
    text = capfd.readouterr().err
    assert "old" not in text and text.count("100%") == 1


def test_a_run_that_stopped_early_does_not_disturb_the_next(reports):
    out = io.StringIO()
    bar = _progress._Bar("run", False, {"file": out})
    bar.update(1, 10, True, {})
    bar.update(6, 10, False, {})
    bar.update(1, 10, True, {})  # starts again
    bar.update(10, 10, False, {})
    bar.update(10, 10, False, {})  # a second report, after the end
    assert bar.bar is None and out.getvalue().count("100%") == 1 and out.getvalue().count("0/10") >= 2


@pytest.mark.parametrize(("every", "checkpoint"), [(1, None), (1, 16), (8, None), (8, 3), (8, 33), (50, 60)])
def test_simulate_shows_one_bar(every, checkpoint, reports):
    currents = jnp.full((100, 2), 1.5)

    def loss(currents, bar):
        return simulate(LIF(2), currents, dt=0.1, progress=bar, every=every, checkpoint=checkpoint).outputs.sum()

    # In the backward pass the segments run again, but are not reported again.
    text = shown(lambda bar: jax.grad(loss)(currents, bar), count=5, desc="x")
    assert text.count("x: 100%") == 1 and "| 100/100 " in text
    assert reports == sorted(set(reports)) and reports[-1] == 100 and 2 <= len(reports) <= 7


def test_the_ways_to_ask_for_a_bar(capfd):
    assert as_progress_bar(None) is None and as_progress_bar(False) is None
    bar = ProgressBar(count=3)
    assert as_progress_bar(bar) is bar
    assert as_progress_bar(1000).freq == 1000 and as_progress_bar(np.int64(3)).freq == 3
    assert as_progress_bar(True).freq is None and repr(as_progress_bar("run")) == "ProgressBar(desc='run')"
    simulate(LIF(2), jnp.ones((10, 2)), dt=0.1, progress="run")
    assert capfd.readouterr().err.count("run: 100%") == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"freq": 2, "count": 3}, ValueError, "takes `freq` or `count`, not both"),
        ({"freq": 0}, ValueError, "The `freq` of a `ProgressBar` must be positive, got 0"),
        ({"count": 1.5}, TypeError, "The `count` of a `ProgressBar` must be an int, got 1.5"),
        ({"freq": 11}, ValueError, "The `freq` of a `ProgressBar` is 11, but the loop has only 10 iterations"),
        ({"count": 11}, ValueError, "The `count` of a `ProgressBar` is 11, but the loop has only 10 iterations"),
        ({"desc": 3}, TypeError, "`desc` must be a string, or a pair"),
        ({"desc": ("x", "y")}, TypeError, "`desc` must be a string, or a pair"),
        ({"total": 3}, TypeError, "`total` is the length of the loop"),
        ({"desc": ("{x}", lambda d: d["i"])}, TypeError, "The function in `desc` must return a dictionary"),
    ],
)
def test_bad_bars(options, error, message):
    with pytest.raises(error, match=message):
        loop(ProgressBar(**options).bind(10), 1.0)

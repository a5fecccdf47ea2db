"""The compiled kernel of `EventSparse` against the pure one: the same numbers, and what happens without a compiler."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns
from neurostate.connect import _kernel
from neurostate.connect._delayed import arrive_late

from .helpers import x64


needs_compiler = pytest.mark.skipif(not ns.connect.kernel_is_available(), reason="there is no C++ compiler")
RNG = np.random.default_rng(0)
NUM_IN, NUM_OUT, SYNAPSES = 50, 40, 300
EDGES = ns.connect.Edges(RNG.integers(0, NUM_IN, SYNAPSES), RNG.integers(0, NUM_OUT, SYNAPSES), NUM_IN, NUM_OUT)
X = (RNG.random((3, NUM_IN)) < 0.3) * RNG.standard_normal((3, NUM_IN))
LAGS = {"int": 3, "ints": RNG.integers(0, 7, SYNAPSES), "number": 2.25, "numbers": 6 * RNG.random(SYNAPSES)}


def both(weight, **kwargs):
    return [ns.connect.EventSparse(EDGES, weight, backend=backend, **kwargs) for backend in ("jax", "compiled")]


@needs_compiler
@pytest.mark.parametrize(
    ("double", "values", "weight"),
    [(False, "graded", RNG.standard_normal(SYNAPSES)), (True, "binary", 0.5), (False, "binary", 0.5)],
    ids=["graded", "binary, double", "binary"],
)
def test_both_ways_give_the_same(double, values, weight):
    with x64(double):
        eps = float(np.finfo(np.float64 if double else np.float32).eps)
        pure, compiled = both(jnp.asarray(weight, float), values=values)
        x = jnp.asarray(X, float)
        for f in (
            lambda c: c(x),
            lambda c: jax.jit(jax.vmap(c))(x),
            lambda c: jax.grad(lambda x: (c(x) ** 2).sum())(x),
        ):
            a, b = f(pure), f(compiled)
            assert a.dtype == b.dtype == x.dtype and np.abs(a - b).max() <= 16 * eps * np.abs(a).max()
        for lag in LAGS.values():
            lag, slot = jnp.asarray(lag), jnp.asarray(5, jnp.int32)
            ring = jnp.asarray(RNG.random((8, 3, NUM_OUT)), float)
            run = lambda c: jax.jit(arrive_late)(c, x, lag, ring, slot)  # noqa: B023, E731
            a, b = run(pure), run(compiled)
            assert np.abs(a - b).max() <= 16 * eps * np.abs(a).max() and np.abs(a - ring).max() > 0.1


@needs_compiler
def test_half_precision_takes_the_pure_way():
    pure, compiled = both(0.5)
    x = jnp.asarray(X, jnp.bfloat16)
    assert np.array_equal(pure(x), compiled(x)) and compiled(x).dtype == jnp.bfloat16


def test_without_a_compiler_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(_kernel.shutil, "which", lambda name: None)
    with pytest.raises(ns.connect.KernelError, match="(?s)needs a C\\+\\+ compiler.*or use `backend='jax'`"):
        _kernel.load.__wrapped__()


@needs_compiler
def test_a_compiler_that_fails_gives_its_message(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(_kernel, "_FLAGS", ("--no-such-option",))
    with pytest.raises(ns.connect.KernelError, match="could not build the compiled kernel(.|\\n)*no-such-option"):
        _kernel.load.__wrapped__()
    assert not list(tmp_path.glob("neurostate/*.so"))


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="`backend` of `EventSparse` must be 'jax' or 'compiled'"):
        ns.connect.EventSparse(EDGES, backend="cuda")  # pyright: ignore[reportArgumentType]

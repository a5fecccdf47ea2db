"""Cases of loops."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax.numpy as jnp

from ._library import XS, A, Library, Thunk, adds, distinct, fail, put


def loops(lib: Library) -> dict[str, Thunk]:
    T, S, on, bs = lib.T, lib.S, lib.on, lib.bs
    both = {"a": XS, "b": (jnp.ones((4, 2)), None)}
    sums = lambda V: lambda c, x: (c + x, adds(V)(x))  # noqa: E731

    def nested(V: Any) -> Any:
        return T.for_loop(lambda x: T.for_loop(lambda y: adds(V)(x * y), XS), A)

    def bar() -> Any:
        return T.ProgressBar(count=2, desc=("step {i}", lambda seen: {"i": seen["i"]}))

    def slopes(loop: Callable[..., Any]) -> Any:
        w, V = bs.ParamState(A), S(jnp.ones(3))
        out = T.grad(lambda: loop(lambda x: adds(V)(w.value * V.value * x), XS).sum(), [w, V])()
        return out, V.value

    each = {
        "no steps": lambda loop: on(lambda V: loop(adds(V), XS[:0]), 1.0),
        "one step": lambda loop: on(lambda V: loop(adds(V), XS[:1]), 1.0),
        "4 steps": lambda loop: on(lambda V: loop(adds(V), XS), 1.0),
        "a vector": lambda loop: on(lambda V: loop(adds(V), XS), A),
        "length": lambda loop: on(lambda V: loop(lambda: adds(V)(2.0), length=3), 1.0),
        "no length": lambda loop: loop(lambda: 1.0),
        "length 0": lambda loop: loop(lambda: 1.0, length=0),
        "length -1": lambda loop: loop(lambda: 1.0, length=-1),
        "length of xs": lambda loop: loop(lambda x: x, XS, length=4),
        "another length": lambda loop: loop(lambda x: x, XS, length=3),
        "lengths differ": lambda loop: loop(lambda x, y: x, XS, A),
        "a scalar": lambda loop: loop(lambda x, y: x + y, XS, 1.0),
        "trees": lambda loop: loop(lambda x, y: (x, {"y": y}), both, [XS]),
        "None": lambda loop: loop(lambda x, y: (x, y), None, XS),
        "a Quantity": lambda loop: on(lambda V: loop(adds(V), XS * u.mV), 1.0 * u.mV),
        "no output": lambda loop: on(lambda V: loop(lambda x: put(V, V.value + x), XS), 0.0),
        "Python numbers out": lambda loop: loop(lambda x: (1, 2.0), XS),
        "a weak state": lambda loop: on(lambda V: loop(adds(V), XS), 1),
        "a state changes its dtype": lambda loop: on(lambda V: loop(adds(V), XS), jnp.int32(1)),
        "a state changes its shape": lambda loop: on(lambda V: loop(lambda x: put(V, V.value[None]), XS), A),
        "a state changes its structure": lambda loop: on(lambda V: loop(lambda x: put(V, (V.value,)), XS), A),
        "a state changes its scale": lambda loop: on(lambda V: loop(lambda x: put(V, x * u.volt), XS), 1.0 * u.mV),
        "a state changes its unit": lambda loop: on(lambda V: loop(lambda x: put(V, x * u.ms), XS), 1.0 * u.mV),
        "failing": lambda loop: on(lambda V: loop(lambda x: put(V, x) or fail(), XS), 0.0),
        "not a function": lambda loop: loop(3, XS),
        "a coarse progress bar": lambda loop: loop(lambda x: x, XS, pbar=10),
        "gradient": slopes,
    }  # fmt: skip
    scans = {
        "carry, output, state": lambda scan: on(lambda V: scan(sums(V), 0.0, XS), 1.0),
        "no steps": lambda scan: scan(lambda c, x: (c + x, c), 1.0, XS[:0]),
        "no xs": lambda scan: scan(lambda c, x: (c * 2, x), A, None, length=2),
        "no xs, no length": lambda scan: scan(lambda c, x: (c * 2, x), A, None),
        "a weak carry": lambda scan: scan(lambda c, x: (c + 0.5, c), 0, XS),
        "a carry changes its dtype": lambda scan: scan(lambda c, x: (c + 0.5, c), jnp.int32(0), XS),
        "a carry changes its structure": lambda scan: scan(lambda c, x: ((c, c), c), 0.0, XS),
        "no pair": lambda scan: scan(lambda c, x: c, 0.0, XS),
        "a list for a pair": lambda scan: scan(lambda c, x: [c, x], 0.0, XS),
        "a Quantity": lambda scan: scan(lambda c, x: (c + x * u.mV, x), 1.0 * u.mV, XS),
        "trees": lambda scan: scan(lambda c, x: ({"c": c["c"] + x[0]}, x[1]), {"c": A}, (XS, {"b": XS})),
    }
    out: dict[str, Thunk] = {}
    for name, case in each.items():
        for loop in ("for_loop", "checkpointed_for_loop"):
            out[f"{loop}: {name}"] = lambda case=case, loop=loop: case(getattr(T, loop))
    for name, case in scans.items():
        for loop in ("scan", "checkpointed_scan"):
            out[f"{loop}: {name}"] = lambda case=case, loop=loop: case(getattr(T, loop))
    return out | {
        "for_loop: reverse": lambda: on(lambda V: T.for_loop(adds(V), XS, reverse=True), 1.0),
        "for_loop: unroll": lambda: on(lambda V: T.for_loop(adds(V), XS, unroll=3), 1.0),
        "for_loop: unroll all": lambda: on(lambda V: T.for_loop(adds(V), XS, unroll=True), 1.0),
        "for_loop: nested": lambda: on(nested, jnp.zeros(())),
        "for_loop: in jit": lambda: on(lambda V: T.jit(lambda: T.for_loop(adds(V), XS))(), A),
        "for_loop: random numbers": lambda: lib.moved(lambda: distinct(T.for_loop(lambda x: bs.random.rand(), XS))),
        "for_loop: disable_jit": lambda: on(lambda V: lib.plain(lambda: T.for_loop(adds(V), XS, reverse=True)), 1.0),
        "for_loop: no steps, disable_jit": lambda: on(lambda V: lib.plain(lambda: T.for_loop(adds(V), XS[:0])), 1.0),
        "for_loop: a progress bar": lambda: on(lambda V: T.for_loop(adds(V), XS, pbar=2), 1.0),
        "scan: a progress bar with a text": lambda: T.scan(lambda c, x: (c + x, x), 0.0, XS, pbar=bar()),
        "scan: disable_jit": lambda: lib.plain(lambda: T.scan(lambda c, x: (c + x, c), 0.0, XS)),
        "scan: reverse": lambda: on(lambda V: T.scan(sums(V), 0.0, XS, reverse=True, unroll=2), 1.0),
        "checkpointed_for_loop: base 2": lambda: slopes(lambda f, xs: T.checkpointed_for_loop(f, xs, base=2)),
        "checkpointed_for_loop: 5 steps, base 2": lambda: on(lambda V: T.checkpointed_for_loop(adds(V), jnp.ones(5), base=2), 1.0),
        "checkpointed_for_loop: base 1": lambda: T.checkpointed_for_loop(lambda x: x, XS, base=1),
        "checkpointed_for_loop: base 2.0": lambda: T.checkpointed_for_loop(lambda x: x, XS, base=2.0),
        "checkpointed_scan: base 3": lambda: on(lambda V: T.checkpointed_scan(sums(V), 0.0, XS, base=3), 1.0),
        "ProgressBar: freq and count": lambda: T.ProgressBar(freq=1, count=1),
        "ProgressBar: freq 0": lambda: T.for_loop(lambda x: x, XS, pbar=T.ProgressBar(freq=0)),
    }  # fmt: skip


def whiles(lib: Library) -> dict[str, Thunk]:
    T, S, on = lib.T, lib.S, lib.on
    below, double, fives = lambda x: x < 10, lambda x: x * 2, jnp.array([1.0, 5.0, 20.0])  # noqa: E731
    bounded = lambda n, **options: lambda c, b, x: T.bounded_while_loop(c, b, x, max_steps=n, **options)  # noqa: E731
    each = {
        "steps": lambda loop: loop(below, double, 1.0),
        "no steps": lambda loop: on(lambda V: loop(below, adds(V), 20.0), 1.0),
        "a state": lambda loop: on(lambda V: loop(below, lambda x: adds(V)(x), 1.0), 0.0),
        "the condition reads": lambda loop: on(lambda V: loop(lambda x: V.value < 5, lambda x: put(V, V.value + 1, x * 2), 1.0), 0.0),
        "the condition writes": lambda loop: on(lambda V: loop(lambda x: put(V, 1.0, x < 10), double, 1.0), 0.0),
        "a vector condition": lambda loop: loop(lambda x: x < 10, double, A),
        "a number as condition": lambda loop: loop(lambda n: n, lambda n: n - 1, 3),
        "a weak value": lambda loop: loop(below, lambda x: x + 0.5, 1),
        "a value changes its dtype": lambda loop: loop(below, lambda x: x + 0.5, jnp.int32(1)),
        "a value changes its structure": lambda loop: loop(lambda x: True, lambda x: (x, x), 1.0),
        "a tree": lambda loop: loop(lambda d: d["n"] < 3, lambda d: {"n": d["n"] + 1, "x": d["x"] * 2}, {"n": 0, "x": A}),
        "a Quantity": lambda loop: loop(lambda x: x < 10 * u.mV, double, 1.0 * u.mV),
        "a state changes its shape": lambda loop: on(lambda V: loop(below, lambda x: put(V, V.value[None], x * 2), 1.0), A),
        "failing": lambda loop: on(lambda V: loop(below, lambda x: put(V, x) or fail(), 1.0), 0.0),
        "under vmap": lambda loop: T.vmap(lambda x: loop(below, double, x))(fives),
        "a state under vmap": lambda loop: on(lambda V: T.vmap(lambda x: loop(below, adds(V), x), in_states=V)(fives), jnp.zeros(3)),
    }  # fmt: skip
    out: dict[str, Thunk] = {}
    for name, case in each.items():
        for kind, loop in (("while_loop", T.while_loop), ("bounded_while_loop", bounded(9))):
            out[f"{kind}: {name}"] = lambda case=case, loop=loop: case(loop)

    def slope(loop: Callable[..., Any]) -> Any:
        w, V = lib.bs.ParamState(1.5), S(1.0)
        return T.grad(lambda: loop(lambda x: x < 10, lambda x: adds(V)(w.value * x), 1.0), [w, V])(), V.value

    return out | {
        "bounded_while_loop: max_steps 2": lambda: bounded(2)(below, double, 1.0),
        "bounded_while_loop: max_steps 4": lambda: bounded(4)(below, double, 1.0),
        "bounded_while_loop: max_steps 5, base 2": lambda: bounded(5, base=2)(below, double, 0.1),
        "bounded_while_loop: max_steps 0": lambda: bounded(0)(below, double, 1.0),
        "bounded_while_loop: max_steps -1": lambda: bounded(-1)(below, double, 1.0),
        "bounded_while_loop: base 1": lambda: bounded(4, base=1)(below, double, 1.0),
        "bounded_while_loop: gradient": lambda: slope(bounded(6, base=2)),
        "bounded_while_loop: gradient, no steps left": lambda: slope(bounded(2)),
        "while_loop: disable_jit": lambda: on(lambda V: lib.plain(lambda: T.while_loop(below, adds(V), 1.0)), 1.0),
        "while_loop: gradient": lambda: slope(T.while_loop),
    }

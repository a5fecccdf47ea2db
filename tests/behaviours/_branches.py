"""Cases of `cond`, `switch` and `ifelse`."""

# ruff: noqa: E501
from __future__ import annotations

from typing import Any

import brainunit as u
import jax.numpy as jnp

from ._library import XS, A, Library, Thunk, adds, fail, put


def branches(lib: Library) -> dict[str, Thunk]:
    T, on = lib.T, lib.on
    neg, double = lambda x: -x, lambda x: 2 * x  # noqa: E731
    three = [lambda x: x, double, neg]

    def asymmetric(pred: Any) -> Any:
        return on(lambda V, W: T.cond(pred, adds(V), lambda x: adds(W)(x) - 1, 3.0), 1.0, 10.0)

    def if_else(conditions: list[Any], **options: Any) -> Any:
        return on(lambda V: T.ifelse(conditions, [adds(V), double, neg], 3.0, **options), 1.0)

    def draws(pred: Any) -> Any:
        return lib.moved(lambda: T.cond(pred, lambda: lib.bs.random.rand() >= 0, lambda: jnp.array(False)))

    preds = {"true": True, "false": False, "2": 2, "0": 0, "0.5": 0.5, "an array": jnp.array(1), "a vector": A > 0,
             "None": None, "a string": "yes", "a list": [True]}  # fmt: skip
    out: dict[str, Thunk] = {
        f"cond: {name}": lambda p=pred: T.cond(p, double, neg, 3.0) for name, pred in preds.items()
    }
    out |= {f"switch: index {k!r}": lambda k=k: T.switch(k, three, 3.0) for k in (0, 2, 7, -4, True, 0.5, None)}
    out |= {
        "ifelse: " + "".join("ft"[c] for c in conditions) + ("" if check else ", unchecked"): (
            lambda conditions=conditions, check=check: if_else(list(conditions), check_cond=check)
        )
        for conditions in [(1, 0, 0), (0, 0, 1), (0, 0, 0), (0, 1, 1)]
        for check in (True, False)
    }
    return out | {
        "cond: asymmetric writes, true": lambda: asymmetric(True),
        "cond: asymmetric writes, false": lambda: asymmetric(False),
        "cond: no operands": lambda: T.cond(True, lambda: 1.0, lambda: 2.0),
        "cond: tree operands": lambda: T.cond(False, lambda d, x: d["a"] + x, lambda d, x: d["a"] - x, {"a": A, "n": None}, 2),
        "cond: a Quantity": lambda: T.cond(True, double, neg, A * u.mV),
        "cond: outputs differ in dtype": lambda: T.cond(True, lambda x: x > 0, double, 3.0),
        "cond: outputs differ in weak type": lambda: T.cond(False, lambda x: 1, lambda x: jnp.int32(2), 3.0),
        "cond: outputs 1 and 2.0": lambda: T.cond(True, lambda: 1, lambda: 2.0),
        "cond: outputs differ in structure": lambda: T.cond(True, lambda x: (x, x), double, 3.0),
        "cond: None out": lambda: on(lambda V: T.cond(True, lambda x: put(V, x), lambda x: None, A), jnp.zeros(3)),
        "cond: a weak state": lambda: on(lambda V: T.cond(True, lambda: put(V, 2.5), lambda: None), 1),
        "cond: a state changes its dtype": lambda: on(lambda V: T.cond(True, lambda: put(V, 2.5), lambda: None), jnp.int32(1)),
        "cond: a state changes its shape": lambda: on(lambda V: T.cond(True, lambda: put(V, A), lambda: None), 1.0),
        "cond: both branches change a shape": lambda: on(lambda V: T.cond(True, lambda: put(V, A), lambda: put(V, -A)), 1.0),
        "cond: failing": lambda: on(lambda V: T.cond(True, lambda: put(V, 2.0), fail), 1.0),
        "cond: nested": lambda: on(lambda V: T.cond(True, lambda: T.cond(False, lambda: 1.0, lambda: adds(V)(2.0)), lambda: 0.0), 1.0),
        "cond: disable_jit": lambda: on(lambda V: lib.plain(lambda: T.cond(0, double, adds(V), A)), 1.0),
        "cond: not a function": lambda: T.cond(True, 3, neg, 1.0),
        "cond: a draw, taken": lambda: draws(True),
        "cond: a draw, not taken": lambda: draws(False),
        "cond: under vmap": lambda: on(lambda V, W: T.vmap(lambda x: T.cond(x > 1, adds(V), adds(W), x), in_states=[V, W])(XS), XS, XS * 10),
        "cond: gradient": lambda: T.grad(lambda x: T.cond(x > 0, lambda y: y**2, neg, x))(3.0),
        "switch: one branch": lambda: on(lambda V: T.switch(5, [adds(V)], 3.0), 1.0),
        "switch: no branches": lambda: T.switch(0, [], 3.0),
        "switch: asymmetric writes": lambda: on(lambda V, W: T.switch(1, [neg, adds(V), adds(W)], 3.0), 1.0, 2.0),
        "switch: no operands": lambda: T.switch(1, [lambda: 1.0, lambda: 2.0]),
        "switch: an array index": lambda: T.jit(lambda k: T.switch(k, three, A))(1),
        "ifelse: arrays in jit": lambda: T.jit(lambda x: T.ifelse([x < 0, x >= 0], [neg, double], x))(3.0),
        "ifelse: none true in jit": lambda: T.jit(lambda x: T.ifelse([x < 0, x < 1], [neg, double], x))(3.0),
        "ifelse: one branch": lambda: T.ifelse([True], [double], 3.0),
        "ifelse: fewer conditions": lambda: T.ifelse([True], [double, neg], 3.0),
        "ifelse: no branches": lambda: T.ifelse([], [], 3.0),
    }  # fmt: skip

"""Cases of the derivatives."""

# ruff: noqa: E501
from __future__ import annotations

import functools
import itertools
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

from ._library import XS, A, Library, Thunk, adds, attempt, fail, put


def derivatives(lib: Library) -> dict[str, Thunk]:
    T, on, bs = lib.T, lib.on, lib.bs
    x = jnp.array(0.7)

    def table(kind: str, structure: str, argnums: Any) -> Any:
        w, b = bs.ParamState(A), bs.ParamState(jnp.array(1.5))
        states = {"no states": None, "a state": w, "a list": [w, b], "a tuple": (w, b), "a dict": {"p": b, "q": w}}[
            structure
        ]
        scalar = kind in ("grad", "hessian", "fwd_grad")

        def fun(x: Any, y: Any) -> Any:
            out = jnp.sin(w.value * x) * b.value + y * x**2
            return out.sum() if scalar else out

        outcomes = []
        for has_aux, return_value in itertools.product((False, True), repeat=2):
            aux = (lambda x, y: (fun(x, y), {"aux": x + 1})) if has_aux else fun
            options = {"has_aux": has_aux, "return_value": return_value}
            derivative = getattr(T, kind)(aux, states, argnums=argnums, **options)
            call = functools.partial(T.eval_shape, derivative) if kind == "fwd_grad" else derivative
            outcomes.append(attempt(lambda call=call: call(x, 0.3)))
        return outcomes

    combinations: dict[str, list[tuple[str, list[Any]]]] = {
        "grad": [(s, [None, 1, (0,)]) for s in ("no states", "a state", "a list", "a tuple", "a dict")],
        "hessian": [("no states", [None, (0, 1)]), ("a state", [None]), ("a list", [None]), ("a dict", [None])],
        "fwd_grad": [("no states", [None]), ("a list", [None])],
    }
    others = [("no states", [None, (0, 1)]), ("a list", [None]), ("a dict", [0])]
    combinations |= {kind: others for kind in ("vector_grad", "jacrev", "jacfwd")}
    out: dict[str, Thunk] = {}
    for kind, rows in combinations.items():
        for structure, each in rows:
            for argnums in each:
                case = lambda *row: lambda: table(*row)  # noqa: E731
                out[f"{kind}: {structure}, argnums {argnums}"] = case(kind, structure, argnums)

    def written(V: Any) -> Any:
        return T.grad(lambda: put(V, 3 * V.value, 9 * V.value**2), V, return_value=True)()

    def over_loop(V: Any, W: Any) -> Any:
        return T.grad(lambda: put(W, W.value + 1, T.for_loop(adds(V), XS).sum()), V)()

    def hidden() -> Any:
        V = bs.HiddenState(jnp.array(2.0))
        return T.grad(lambda: T.for_loop(lambda y: put(V, V.value * y, V.value), XS[1:]).sum(), V)(), V.value

    return out | {
        "grad: argnums -1": lambda: T.grad(lambda x: x, argnums=-1)(1.0),
        "grad: argnums True": lambda: T.grad(lambda x: x, argnums=True)(1.0),
        "grad: argnums 0.5": lambda: T.grad(lambda x: x, argnums=0.5)(1.0),
        "grad: argnums 2 of 1": lambda: T.grad(lambda x: x, argnums=2)(1.0),
        "grad: an unread state": lambda: on(lambda V: T.grad(lambda: jnp.array(1.0), V)(), 1.0),
        "grad: an unread state, unchecked": lambda: on(lambda V: T.grad(lambda: jnp.array(1.0), V, check_states=False)(), 1.0),
        "grad: an unread state beside, unchecked": lambda: on(lambda V, W: T.grad(lambda: W.value**2, [V, W], check_states=False)(), A, 2.0),
        "grad: no state": lambda: T.grad(lambda x: x, [1.0])(1.0),
        "grad: an empty list": lambda: T.grad(lambda x: x * 2, [])(1.0),
        "grad: a state twice": lambda: on(lambda V: T.grad(lambda: V.value**2, [V, V])(), 2.0),
        "grad: a written state": lambda: on(written, 2.0),
        "grad: a state written before it is read": lambda: on(lambda V: T.grad(lambda: put(V, 3.0, V.value**2), V)(), 2.0),
        "grad: of for_loop": lambda: on(over_loop, 2.0, 0.0),
        "grad: of a hidden state through for_loop": hidden,
        "grad: a tree": lambda: on(lambda V: T.grad(lambda: (V.value["a"] * V.value["b"][0]).sum(), V)(), {"a": A, "b": [2.0]}),
        "grad: an int state": lambda: on(lambda V: T.grad(lambda: V.value * 2.0, V)(), jnp.array(2)),
        "grad: an int argument": lambda: T.grad(lambda x: x * 2.0)(2),
        "grad: allow_int": lambda: T.grad(lambda x: x * 2.0, allow_int=True)(jnp.array(2)).dtype.name,
        "grad: holomorphic": lambda: attempt(lambda: T.grad(lambda x: x**2, holomorphic=True)(1 + 2j).imag),
        "grad: a vector loss": lambda: T.grad(lambda x: x)(A),
        "grad: a loss of shape (1,)": lambda: T.grad(lambda x: x[:1])(A),
        "grad: a tree loss": lambda: T.grad(lambda x: (x,))(1.0),
        "grad: an int loss": lambda: T.grad(lambda x: 3)(1.0),
        "grad: has_aux without a pair": lambda: T.grad(lambda x: x, has_aux=True)(1.0),
        "grad: has_aux and a list": lambda: T.grad(lambda x: [x**2, x], has_aux=True)(1.0),
        "grad: has_aux and three": lambda: T.grad(lambda x: (x**2, x, x), has_aux=True)(1.0),
        "grad: an aux text": lambda: T.grad(lambda x: (x**2, "text"), has_aux=True)(1.0),
        "grad: keyword arguments": lambda: T.grad(lambda x, *, y: x * y)(2.0, y=3.0),
        "grad: options first": lambda: T.grad(argnums=1)(lambda x, y: x * y)(2.0, 3.0),
        "grad: failing": lambda: on(lambda V: T.grad(lambda x: put(V, x) or fail())(1.0), 0.0),
        "grad: of grad": lambda: on(lambda V: T.grad(T.grad(lambda x: V.value * x**3))(2.0), 2.0),
        "grad: in jit": lambda: on(lambda V: T.jit(lambda x: T.grad(lambda: put(V, V.value * x, V.value**2), V)())(2.0), 3.0),
        "grad: of jit": lambda: on(lambda V: T.grad(T.jit(lambda x: put(V, V.value * x, V.value**2)), V)(2.0), 3.0),
        "grad: a Quantity": lambda: on(lambda V: T.grad(lambda: (V.value / u.mV) ** 2, V)(), 2.0 * u.mV),
        "grad: a Quantity, unit_aware": lambda: on(lambda V: T.grad(lambda: (V.value / u.mV) ** 2, V, unit_aware=True)(), 2.0 * u.mV),
        "grad: a Quantity loss": lambda: on(lambda V: T.grad(lambda: V.value**2, V)(), 2.0 * u.mV),
        "grad: a Quantity loss, unit_aware": lambda: on(lambda V: T.grad(lambda: V.value**2, V, unit_aware=True)(), 2.0 * u.mV),
        "grad: a Quantity argument, unit_aware": lambda: T.grad(lambda x: x**2, unit_aware=True)(2.0 * u.mV),
        "grad: debug_nan": lambda: T.grad(jnp.log, debug_nan=True)(1.0),
        "grad: traces of 3 calls": lambda: lib.traces(T.grad, 1.0, 2.0, 3.0),
        "jacrev: a matrix": lambda: on(lambda V: T.jacrev(lambda x: V.value * x.sum(), V, argnums=0)(A), A),
        "jacrev: two outputs": lambda: T.jacrev(lambda x: (x * 2, {"s": x.sum()}))(A),
        "jacfwd: two outputs": lambda: T.jacfwd(lambda x: (x * 2, {"s": x.sum()}))(A),
        "jacrev: two outputs, two states": lambda: on(lambda V, W: T.jacrev(lambda: (V.value * W.value, W.value), [V, W])(), A, 2.0),
        "jacrev: a tree state": lambda: on(lambda V: T.jacrev(lambda: V.value["a"] * 2, V)(), {"a": A}),
        "jacfwd: a write": lambda: on(lambda V: T.jacfwd(lambda x: put(V, x, x**2))(A), A),
        "jacobian: is jacrev": lambda: T.jacobian(lambda x: x**2)(A),
        "vector_grad: two outputs": lambda: T.vector_grad(lambda x: (x * 2, x**2))(A),
        "vector_grad: options by position": lambda: T.vector_grad(lambda x: x**2, None, 0, True)(A),
        "vector_grad: the function by name": lambda: T.vector_grad(func=lambda x: x**2)(A),
        "vector_grad: a scalar": lambda: T.vector_grad(lambda x: x**2)(3.0),
        "hessian: states and arguments": lambda: on(lambda V: T.hessian(lambda x: V.value * x**2, V, argnums=0)(3.0), 2.0),
        "fwd_grad: one variable": lambda: T.fwd_grad(lambda x: x**2, key=jax.random.PRNGKey(0))(jnp.array(0.0)),
        "fwd_grad: a Python number": lambda: T.fwd_grad(lambda x: x**2)(0.0),
        "fwd_grad: argnums (0,)": lambda: T.fwd_grad(lambda x: x**2, argnums=(0,))(jnp.array(0.0)),
        "fwd_grad: a vector output": lambda: T.fwd_grad(lambda x: x**2)(A),
        "fwd_grad: moves the key": lambda: lib.moved(lambda: T.fwd_grad(lambda x: x * 0.0)(A[0])),
    }  # fmt: skip


def directions(lib: Library) -> dict[str, Thunk]:
    T, on = lib.T, lib.on

    def pull(V: Any, *primals: Any, f: Any = None, **options: Any) -> Any:
        f = f or (lambda *xs: put(V, V.value + 1, V.value * sum(xs, start=1.0) * A))
        out, back, *aux = T.vjp(f, *primals, **options)
        return out, back(jnp.ones(3)), *aux

    def push(V: Any, **options: Any) -> Any:
        return T.jvp(lambda x, y: put(V, V.value + 1, (V.value * x * y, {"s": y})), (2.0, A), (1.0, A), **options)

    def tilted(V: Any) -> Any:
        return T.jvp(lambda x: V.value * x, (2.0,), (0.0,), grad_states=V, state_tangents=1.0)

    return {
        "vjp: an argument": lambda: on(lambda V: pull(V, 2.0), 3.0),
        "vjp: argnums 1": lambda: on(lambda V: pull(V, 2.0, 1.0, argnums=1), 3.0),
        "vjp: argnums (0, 1)": lambda: on(lambda V: pull(V, 2.0, 1.0, argnums=(0, 1)), 3.0),
        "vjp: argnums -1": lambda: on(lambda V: pull(V, 2.0, 1.0, argnums=-1), 3.0),
        "vjp: argnums 1 of 1": lambda: on(lambda V: pull(V, 2.0, argnums=1), 3.0),
        "vjp: argnums None": lambda: on(lambda V: pull(V, 2.0, argnums=None), 3.0),
        "vjp: a state": lambda: on(lambda V: pull(V, grad_states=V), 3.0),
        "vjp: a state and argnums None": lambda: on(lambda V: pull(V, 2.0, grad_states=V, argnums=None), 3.0),
        "vjp: a list and an argument": lambda: on(lambda V: pull(V, 2.0, grad_states=[V]), 3.0),
        "vjp: a dict and arguments": lambda: on(lambda V: pull(V, 2.0, 1.0, grad_states={"V": V}, argnums=(1,)), 3.0),
        "vjp: an unread state": lambda: on(lambda V: pull(V, 2.0, f=lambda x: x * A, grad_states=V), 3.0),
        "vjp: aux": lambda: on(lambda V: pull(V, 2.0, f=lambda x: (x * A, {"a": x}), has_aux=True), 3.0),
        "vjp: a cotangent of another structure": lambda: T.vjp(lambda x: x * A, 1.0)[1]({"a": A}),
        "vjp: a cotangent of another shape": lambda: T.vjp(lambda x: x * A, 1.0)[1](XS),
        "vjp: a tree": lambda: T.vjp(lambda x: {"a": x * A}, 1.0)[1]({"a": A}),
        "vjp: nothing": lambda: T.vjp(lambda: A),
        "jvp: a tree": lambda: on(push, 3.0),
        "jvp: aux": lambda: on(lambda V: push(V, has_aux=True), 3.0),
        "jvp: a list of primals": lambda: T.jvp(lambda x: x**2, [3.0], [1.0]),
        "jvp: fewer tangents": lambda: T.jvp(lambda x, y: x * y, (3.0, 2.0), (1.0,)),
        "jvp: a tangent of another shape": lambda: T.jvp(lambda x: x**2, (3.0,), (A,)),
        "jvp: a tangent of another dtype": lambda: T.jvp(lambda x: x**2, (3.0,), (1,)),
        "jvp: a tangent of a state": lambda: on(tilted, 3.0),
        "jvp: no primals": lambda: T.jvp(lambda: A, (), ()),
    }  # fmt: skip

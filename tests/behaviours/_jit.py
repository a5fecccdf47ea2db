"""Cases of `jit`."""

# ruff: noqa: E501
from __future__ import annotations

from typing import Any

import brainunit as u
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from ._library import MESH, A, Library, Thunk, adds, fail, put


def jits(lib: Library) -> dict[str, Thunk]:
    T, S, on, bs = lib.T, lib.S, lib.on, lib.bs
    many = lambda x, n: [x] * n  # noqa: E731

    def stale() -> Any:
        f = T.jit(lambda x: x * bs.environ.get_dt())
        out = []
        for dt in (0.1, 0.2):
            with bs.environ.context(dt=dt):
                out.append(f(1.0))
        return out

    def method() -> Any:
        class Cell:
            def __init__(self) -> None:
                self.V = S(1.0)

            @T.jit
            def add(self, x: Any) -> Any:
                return adds(self.V)(x)

        cell = Cell()
        return cell.add(2.0), cell.V.value

    def replaced(V: Any) -> Any:
        f = T.jit(lambda: V.value * 2)
        f()
        V.value = jnp.ones(2)
        return f()

    def born(bind: bool) -> Any:
        net = lib.net(S)
        kept: list[Any] = []
        T.jit(lambda x: net.init_state(x) if bind else kept.append(S(x)))(1.0)
        return net.V.value if bind else kept[0].value

    def ahead(V: Any) -> Any:
        f = T.jit(adds(V))
        return f.eval_shape(1.0), f.lower(1.0) is not None, f.compile(1.0) is not None

    def cleared(V: Any) -> Any:
        f = T.jit(adds(V))
        f(1.0)
        f.clear_cache()
        return f(1.0)

    return {
        "jit: a write": lambda: on(lambda V: T.jit(adds(V))(1.0), 0.0),
        "jit: two calls": lambda: on(lambda V: [T.jit(adds(V))(x) for x in (1.0, 2.0)], A),
        "jit: static_argnums": lambda: T.jit(many, static_argnums=1)(1.0, 2),
        "jit: static_argnums and a keyword": lambda: T.jit(many, static_argnums=1)(1.0, n=2),
        "jit: static_argnames and a keyword": lambda: T.jit(many, static_argnames="n")(1.0, n=2),
        "jit: static_argnames and a position": lambda: T.jit(many, static_argnames="n")(1.0, 2),
        "jit: options first": lambda: T.jit(static_argnums=1)(many)(1.0, 2),
        "jit: an unhashable static argument": lambda: T.jit(lambda x, n: x, static_argnums=1)(1.0, [2]),
        "jit: a string argument": lambda: T.jit(lambda x, n: x * len(n))(1.0, "ab"),
        "jit: negative static_argnums": lambda: T.jit(many, static_argnums=-1),
        "jit: negative donate_argnums": lambda: T.jit(many, donate_argnums=-1),
        "jit: weak type": lambda: [T.jit(lambda x: x * 2)(x).weak_type for x in (1.0, jnp.float32(1), 1)],
        "jit: weak type of a state": lambda: on(lambda V: put(V, T.jit(adds(V))(1), V.value.weak_type), 0),
        "jit: a state changes its dtype": lambda: on(lambda V: T.jit(adds(V))(0.5), 1),
        "jit: a state changes its shape": lambda: on(lambda V: T.jit(adds(V))(A), 1.0),
        "jit: a state changes its structure": lambda: on(lambda V: T.jit(lambda x: put(V, {"a": x}))(A), 1.0),
        "jit: keyword arguments": lambda: T.jit(lambda x, *, y=2.0: x - y)(1.0, y=3.0),
        "jit: a default": lambda: T.jit(lambda x, y=2.0: x - y)(1.0),
        "jit: containers": lambda: T.jit(lambda d: (d["a"], [d["b"], None]))({"a": 1, "b": A}),
        "jit: Python numbers out": lambda: T.jit(lambda: (3, 2.5, True))(),
        "jit: a string out": lambda: T.jit(lambda x: (x, "text"))(1.0),
        "jit: a Quantity": lambda: T.jit(lambda x: x * 2)(A * u.mV),
        "jit: nested": lambda: on(lambda V, W: T.jit(lambda x: T.jit(adds(V))(x) + adds(W)(V.value))(1.0), 0.0, A),
        "jit: a state as an argument": lambda: on(lambda V: T.jit(lambda V: V.value * 2)(V), A),
        "jit: a state as output": lambda: on(lambda V: T.jit(lambda: V)(), A),
        "jit: failing": lambda: on(lambda V: T.jit(lambda: put(V, A) or fail())(), 0.0),
        "jit: not a function": lambda: T.jit(3)(1.0),
        "jit: dt changes": stale,
        "jit: a method": method,
        "jit: a new shape of a state": lambda: on(replaced, 1.0),
        "jit: traces": lambda: lib.traces(T.jit, 1.0, 2.0, jnp.float32(1), jnp.ones(2), jnp.zeros(2), 1, True),
        "jit: a state made inside": lambda: born(False),
        "jit: a module's state made inside": lambda: born(True),
        "jit: disable_jit": lambda: on(lambda V: lib.plain(lambda: T.jit(adds(V))(1.0)), A),
        "jit: eval_shape, lower, compile": lambda: on(ahead, 0.0),
        "jit: donate_states": lambda: on(lambda V: T.jit(adds(V), donate_states=True)(1.0), jnp.zeros(2)),
        "jit: the function by name": lambda: T.jit(fun=lambda x: x * 2)(1.0),
        "jit: clear_cache": lambda: on(cleared, 0.0),
        "jit: in_shardings": lambda: T.jit(lambda x: x, in_shardings=NamedSharding(MESH, PartitionSpec()))(A),
        "jit: a tuple of in_shardings": lambda: T.jit(lambda x: x, in_shardings=(NamedSharding(MESH, PartitionSpec()),))(A),
    }  # fmt: skip

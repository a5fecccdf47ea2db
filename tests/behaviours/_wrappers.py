"""Cases of `remat`, `checkify`, `jit_error_if`, `eval_shape`, `make_jaxpr`, `StateFinder`, `debug_nan`, `shard_map`."""

# ruff: noqa: E501
from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from ._library import MESH, XS, A, Library, Thunk, adds, fail, put


def wrappers(lib: Library) -> dict[str, Thunk]:
    T, S, on, bs = lib.T, lib.S, lib.on, lib.bs

    def cubed(V: Any, **options: Any) -> Any:
        f = T.remat(lambda x: put(V, V.value * x, (V.value**3).sum()), **options)
        return T.grad(f, V, argnums=0)(2.0), T.checkpoint(lambda x, y: x - y)(1.0, y=2.0)

    def replay() -> Any:
        """The slope of a draw times x is the draw itself."""
        bs.random.seed(1)
        value, slope = jax.tree.leaves(T.grad(T.remat(lambda x: x * bs.random.rand()), return_value=True)(1.0))
        return bool(abs(value - slope) < 1e-6)

    def checked(V: Any, x: Any) -> Any:
        def f(x: Any) -> Any:
            T.check(x > 0, "x is {x}", x=x)
            return adds(V)(x)

        error, out = T.checkify(f)(x)
        return error.get() and error.get().split(" (")[0], out

    def thrown(V: Any) -> Any:
        return T.checkify(lambda x: T.check(x > 0, "no"))(-1.0)[0].throw()

    def error_if(pred: Any, error: Any = "value {}", wrap: Any = lambda f: f) -> Any:
        def f(pred: Any) -> Any:
            T.jit_error_if(pred, error, 1.5)
            return jnp.asarray(pred)

        return wrap(f)(pred)

    def seen(V: Any, W: Any) -> Any:
        def f(x: Any) -> Any:
            V.value = V.value + W.value * x
            return {"out": V.value[:2]}

        shapes, out = T.eval_shape(f, jax.ShapeDtypeStruct((3,), jnp.float32), return_state_shapes=True)
        return out, [shapes[ref] for ref in (V, W) if ref in shapes]

    def jaxpr(V: Any, W: Any, **options: Any) -> Any:
        made = T.make_jaxpr(lambda x: put(V, V.value + W.value * x, x), **options)(jnp.ones(3))
        program, states = made[0].jaxpr if hasattr(made[0], "jaxpr") else made[0], made[1]
        counts = len(program.invars), len(program.outvars), [e.primitive.name for e in program.eqns]
        return [r in states for r in (V, W)], isinstance(states, tuple), counts, *made[2:]

    def finder(usage: str, return_type: str = "list", filter: Any = None, **options: Any) -> Any:
        V, W, read = bs.HiddenState(A), S(A), bs.ParamState(A)

        def f(x: Any) -> Any:
            V.value = V.value + read.value * x
            W.value = x

        names = {V: "V", W: "W", read: "read"}
        found = T.StateFinder(f, filter, usage=usage, return_type=return_type, **options)(A)
        named = jax.tree.map(names.get, found, is_leaf=lambda s: isinstance(s, S))
        before = [ref.value for ref in names]
        return sorted(named) if isinstance(named, list) else named, all(v is A for v in before)

    spec = PartitionSpec("i")
    shard = lambda V, f=adds, **options: T.shard_map(f(V), MESH, spec, spec, **options)(XS)  # noqa: E731
    both = ("all", "read", "write", "both")
    return {
        "remat: gradient": lambda: on(cubed, A),
        "remat: policy": lambda: on(lambda V: cubed(V, policy=jax.checkpoint_policies.everything_saveable), A),
        "remat: static_argnums": lambda: T.remat(lambda x, n: x * len(n), static_argnums=1)(2.0, "ab"),
        "remat: failing": lambda: on(lambda V: T.remat(lambda x: put(V, x) or fail())(1.0), 0.0),
        "remat: replays its draw": replay,
        "checkify: passes": lambda: on(lambda V: checked(V, A[0]), 0.0),
        "checkify: fails": lambda: on(lambda V: checked(V, A[1]), 0.0),
        "checkify: a Python number": lambda: on(lambda V: checked(V, 1.0), 0.0),
        "checkify: throw": lambda: on(thrown, 0.0),
        "checkify: failing": lambda: on(lambda V: T.checkify(lambda x: put(V, x) or fail())(1.0), 0.0),
        "check: without checkify": lambda: T.check(False, "no"),
        "jit_error_if: holds": lambda: error_if(True),
        "jit_error_if: does not hold": lambda: error_if(False),
        "jit_error_if: percent format": lambda: error_if(True, "value %f"),
        "jit_error_if: keywords": lambda: T.jit_error_if(True, "value {n}", n=2),
        "jit_error_if: an array": lambda: error_if(A > 1),
        "jit_error_if: a function": lambda: error_if(True, fail),
        "jit_error_if: in jit": lambda: error_if(True, wrap=T.jit),
        "jit_error_if: in jit, does not hold": lambda: error_if(False, wrap=T.jit),
        "jit_error_if: in vmap": lambda: error_if(A > 1, wrap=T.vmap),
        "eval_shape: output": lambda: on(lambda V: T.eval_shape(adds(V), A), A),
        "eval_shape: shapes of states": lambda: on(seen, A, A),
        "eval_shape: keyword arguments": lambda: T.eval_shape(lambda x, *, n: x[:2], A, n=3),
        "eval_shape: failing": lambda: on(lambda V: T.eval_shape(lambda: put(V, A) or fail()), 0.0),
        "make_jaxpr: counts": lambda: on(jaxpr, A, A),
        "make_jaxpr: return_shape": lambda: on(lambda V, W: jaxpr(V, W, return_shape=True), A, A),
        **{f"StateFinder: {usage}": lambda usage=usage: finder(usage) for usage in both},
        "StateFinder: a dict": lambda: finder("all", "dict", bs.ParamState, key_fn=lambda k, ref: f"k{k}"),
        "StateFinder: keys": lambda: finder("all", "dict", bs.ParamState),
        "StateFinder: two states without a name": lambda: on(lambda V, W: len(T.StateFinder(lambda x: adds(V)(x) + adds(W)(x))(A)), A, A),
        "StateFinder: a tuple": lambda: len(finder("all", "tuple")[0]),
        "StateFinder: a filter": lambda: finder("all", "list", bs.ParamState),
        "StateFinder: an unknown usage": lambda: finder("use"),
        "named_scope: value": lambda: on(lambda V: T.named_scope("here")(adds(V))(1.0), 0.0),
        "named_scope: traces": lambda: lib.traces(T.named_scope("here"), 1.0, 2.0, 3.0),
        "debug_nan: none": lambda: T.debug_nan(lambda x: x * 2, A),
        "debug_nan: a NaN": lambda: T.debug_nan(lambda x: jnp.log(x), A),
        "debug_nan: a write": lambda: on(lambda V: T.debug_nan(adds(V), A) is None, A),
        "shard_map: a read": lambda: on(lambda V: shard(V, lambda V: lambda x: x * V.value), 2.0),
        "shard_map: a shard of a state": lambda: on(lambda V: shard(V, state_in_specs={V: spec}, state_out_specs={V: spec}), XS),
        "shard_map: state_in_specs only": lambda: on(lambda V: shard(V, state_in_specs={V: spec}), XS),
        "shard_map: one spec for all": lambda: on(lambda V: shard(V, state_in_specs=spec, state_out_specs=spec), XS),
        "shard_map: a write without spec": lambda: on(lambda V: shard(V, lambda V: lambda x: put(V, V.value + 1, x)), 2.0),
    }  # fmt: skip

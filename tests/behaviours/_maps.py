"""Cases of `vmap`, `vmap_new_states` and `map`."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

from ._library import XS, A, Library, Thunk, adds, distinct, fail, put


def maps(lib: Library) -> dict[str, Thunk]:
    T, S, on, bs = lib.T, lib.S, lib.on, lib.bs
    grid, row = jnp.arange(6.0).reshape(2, 3), jnp.ones(2)

    def mapped(start: Any, f: Any = adds, xs: Any = A, **states: Any) -> Any:
        return on(lambda V: T.vmap(f(V), **{key: make(V) for key, make in states.items()})(xs), start)

    def inner(V: Any) -> Any:
        return T.vmap(lambda x: T.vmap(adds(V), in_states=V)(x), in_states=V)(grid)

    def twice(lanes: Callable[[], Any]) -> Any:
        bs.random.seed(0)
        first, second = lanes(), lanes()
        bs.random.seed(0)
        return distinct(jnp.concatenate([first, second])), bool((first == lanes()).all())

    def pairs() -> Any:
        return T.vmap(lambda x: jnp.stack([draw(x), draw(x)]))(XS).ravel()

    def new(make: Callable[..., Any], *args: Any, **options: Any) -> Any:
        net = lib.net(make)
        T.vmap_new_states(net.init_state, **options)(*args)
        return net.V.value

    def leaking(V: Any, x: Any) -> Any:
        return T.vmap_new_states(lambda x: put(V, x, S(x).value))(x)

    draw = lambda x: bs.random.rand()  # noqa: E731
    one = lambda V: V  # noqa: E731
    param = lambda path, ref: isinstance(ref, bs.ParamState)  # noqa: E731
    return {
        "vmap: in_axes": lambda: T.vmap(lambda x, y: x * y, in_axes=(1, None))(grid, jnp.ones(2)),
        "vmap: in_axes of a list": lambda: T.vmap(lambda x, y: x * y, in_axes=[0, 1])(jnp.ones(3), grid),
        "vmap: in_axes of a tree": lambda: T.vmap(lambda d: d["a"] * d["b"], in_axes=({"a": 0, "b": None},))({"a": A, "b": A}),
        "vmap: negative axis": lambda: T.vmap(lambda x: x.sum(), in_axes=-1)(grid),
        "vmap: out_axes": lambda: T.vmap(lambda x: (x, 1.0), out_axes=(1, None))(grid),
        "vmap: out_axes None of a batch": lambda: T.vmap(lambda x: x, out_axes=None)(grid),
        "vmap: fewer in_axes": lambda: T.vmap(lambda x, y: x, in_axes=(0,))(A, A),
        "vmap: sizes differ": lambda: T.vmap(lambda x, y: x)(A, XS),
        "vmap: a scalar": lambda: T.vmap(lambda x, y: x + y)(A, 1.0),
        "vmap: nothing to map": lambda: T.vmap(lambda: 1.0)(),
        "vmap: axis_size": lambda: T.vmap(lambda: 1.0, axis_size=3)(),
        "vmap: another axis_size": lambda: T.vmap(lambda x: x, axis_size=4)(A),
        "vmap: options first": lambda: T.vmap(in_axes=1)(lambda x: x.sum())(grid),
        "vmap: keyword arguments": lambda: T.vmap(lambda x, y: x + y)(A, y=A),
        "vmap: a Quantity": lambda: mapped(A * u.mV, xs=A * u.mV, in_states=one),
        "vmap: a string out": lambda: T.vmap(lambda x: (x, "text"))(A),
        "vmap: None out": lambda: T.vmap(lambda x: None)(A),
        "vmap: not a function": lambda: T.vmap(3)(A),
        "vmap: in_states": lambda: mapped(A, in_states=one),
        "vmap: in_states, a list": lambda: mapped(A, in_states=lambda V: [V]),
        "vmap: in_states, a dict": lambda: mapped(A, in_states=lambda V: {"V": V}),
        "vmap: in_states, an axis and a dict": lambda: mapped(grid, xs=A, in_states=lambda V: {1: {"V": V}}),
        "vmap: in_states, an axis and a state": lambda: mapped(grid, xs=A, in_states=lambda V: {1: V}),
        "vmap: in_states, a type": lambda: mapped(A, in_states=lambda V: S),
        "vmap: in_states of a tree": lambda: mapped({"a": A}, lambda V: lambda x: put(V, {"a": V.value["a"] + x}, x), in_states=one),
        "vmap: in_states, axis -1": lambda: mapped(grid, xs=A, in_states=lambda V: {-1: {"V": V}}),
        "vmap: in_states of another size": lambda: mapped(XS, in_states=one),
        "vmap: in_states of a scalar": lambda: mapped(1.0, in_states=one),
        "vmap: in_states only": lambda: on(lambda V: T.vmap(lambda: adds(V)(1.0), in_states=V)(), A),
        "vmap: in_states read only": lambda: on(lambda V: T.vmap(lambda x: V.value * x, in_states=V)(A), A),
        "vmap: in_states never touched": lambda: on(lambda V: T.vmap(lambda x: x, in_states=V)(A), A),
        "vmap: in_states of no states": lambda: mapped(A, in_states=lambda V: 3.5),
        "vmap: out_states": lambda: mapped(1.0, out_states=one),
        "vmap: out_states never written": lambda: on(lambda V: T.vmap(lambda x: x, out_states=V)(A), 1.0),
        "vmap: out_states, axis 1": lambda: on(lambda V: T.vmap(lambda x: put(V, x), out_states={1: {"V": V}})(grid), row),
        "vmap: out_states, written alike": lambda: on(lambda V: T.vmap(lambda x: put(V, 2.0), out_states=V)(A), 1.0),
        "vmap: in and out along two axes": lambda: mapped(grid.T, xs=A, in_states=one, out_states=lambda V: {1: {"V": V}}),
        "vmap: an undeclared write": lambda: mapped(1.0),
        "vmap: an undeclared write beside": lambda: on(lambda V, W: T.vmap(lambda x: put(W, W.value + 1, adds(V)(x)))(A), 1.0, 2.0),
        "vmap: a write alike": lambda: on(lambda V: T.vmap(lambda x: put(V, V.value + 1, x))(A), 1.0),
        "vmap: a read": lambda: on(lambda V: T.vmap(lambda x: V.value * x)(A), 2.0),
        "vmap: failing": lambda: on(lambda V: T.vmap(lambda x: put(V, x) or fail(), in_states=V)(A), A),
        "vmap: nested": lambda: on(inner, grid),
        "vmap: nested, undeclared": lambda: on(lambda V: T.vmap(lambda x: T.vmap(adds(V), in_states=V)(x))(grid), A),
        "vmap: in jit": lambda: on(lambda V: T.jit(lambda: T.vmap(adds(V), in_states=V)(A))(), A),
        "vmap: of for_loop": lambda: on(lambda V: T.vmap(lambda x: T.for_loop(adds(V), x), in_states=V)(grid), row),
        "vmap: in for_loop": lambda: on(lambda V: T.for_loop(T.vmap(adds(V), in_states=V), grid), A),
        "vmap: gradient": lambda: on(lambda V: T.grad(lambda: T.vmap(lambda x: V.value * x, in_states=V)(A).sum(), V)(), A),
        "vmap: of grad": lambda: on(lambda V: T.vmap(T.grad(lambda x: V.value * x**2))(A), 2.0),
        "vmap: axis_name": lambda: T.vmap(lambda x: (jax.lax.psum(x, "i"), jax.lax.axis_index("i")), axis_name="i")(A),
        "vmap: a psum written alike": lambda: on(lambda V: T.vmap(lambda x: put(V, jax.lax.psum(x, "i")), axis_name="i")(A), 0.0),
        "vmap: a draw per lane": lambda: lib.moved(lambda: distinct(T.vmap(draw)(XS))),
        "vmap: two draws per lane": lambda: lib.moved(lambda: distinct(pairs())),
        "vmap: the numbers drawn": lambda: (bs.random.seed(0), T.vmap(draw)(XS)),
        "vmap: draws in lanes, twice, and after": lambda: distinct(jnp.concatenate([pairs(), pairs(), bs.random.rand(2)])),
        "vmap: no draws": lambda: lib.moved(lambda: T.vmap(lambda x: x)(XS)),
        "vmap: draws again": lambda: twice(lambda: T.vmap(draw)(XS)),
        "vmap_new_states: lanes": lambda: new(lambda x: S(x * A), row),
        "vmap_new_states: axis_size": lambda: new(lambda: S(A), axis_size=2),
        "vmap_new_states: axis_size 0": lambda: new(lambda: S(A), axis_size=0),
        "vmap_new_states: draws": lambda: distinct(new(lambda: S(draw(0)), axis_size=3)),
        "vmap_new_states: output": lambda: T.vmap_new_states(lambda x: S(x).value * 2)(A),
        "vmap_new_states: axis_size -1": lambda: new(lambda: S(A), axis_size=-1),
        "vmap_new_states: excluded": lambda: new(lambda: bs.ParamState(A), axis_size=2, state_to_exclude=param),
        "vmap_new_states: excluded, written per lane": lambda: new(lambda x: bs.ParamState(x), A, state_to_exclude=param),
        "vmap_new_states: excluded by a type": lambda: new(lambda: bs.ParamState(A), axis_size=2, state_to_exclude=bs.ParamState),
        "vmap_new_states: others excluded": lambda: new(lambda: S(A), axis_size=2, state_to_exclude=param),
        "vmap_new_states: declared": lambda: new(lambda: S(A), axis_size=2, in_states=[S(A)]),
        "vmap_new_states: keyword arguments": lambda: T.vmap_new_states(lambda x: S(x).value * 2)(x=A),
        "vmap_new_states: a batched write to an old state": lambda: on(lambda V: leaking(V, A), 1.0),
        "vmap_new_states: a write alike to an old state": lambda: on(lambda V: T.vmap_new_states(lambda x: put(V, 2.0, x))(A), 1.0),
        "map: xs": lambda: on(lambda V: T.map(lambda x, y: V.value * x + y["a"], XS, {"a": XS}), 2.0),
        "map: writes": lambda: on(lambda V: T.map(adds(V), XS), 2.0),
        **{f"map: batch_size {n!r}": lambda n=n: T.map(lambda x: (x * 2, 1.0), jnp.arange(5.0), batch_size=n) for n in (1, 2, 5, 8, 0, 2.0)},
        "map: batch_size, a read": lambda: on(lambda V: T.map(lambda x: V.value * x, XS, batch_size=2), 2.0),
        "map: batch_size, a batched write": lambda: on(lambda V: T.map(adds(V), XS, batch_size=2), 2.0),
        "map: batch_size, a write alike": lambda: on(lambda V: T.map(lambda x: put(V, V.value + 1, x), XS, batch_size=2), 2.0),
        "map: batch_size, draws": lambda: lib.moved(lambda: distinct(T.map(draw, jnp.arange(5.0), batch_size=2))),
        "map: no items": lambda: T.map(lambda x: x * 2, XS[:0]),
        "map: no items, batch_size": lambda: T.map(lambda x: x * 2, XS[:0], batch_size=2),
        "map: lengths differ": lambda: T.map(lambda x, y: x, XS, A),
        "map: a Quantity, batch_size": lambda: T.map(lambda x: x * 2, XS * u.mV, batch_size=2),
    }  # fmt: skip

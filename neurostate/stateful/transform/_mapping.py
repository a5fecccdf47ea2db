"""`vmap` and `map`: a function over a batch, its references' batch axes declared."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from ... import _errors
from ..._errors import BatchAxisError
from .. import _staging, _tracing
from .._collector import STACK, Frame, commit, path_of
from .._functionalize import check_output
from .._values import flatten, is_array, leaves_of, pack, pack_argument, repack, struct_of, unpack
from ..filters import Axes, as_axes, as_predicate
from ._loops import loop


class VmapFrame(Frame):
    """The frame of one `vmap`: the function's values are those of one lane.

    A value that is mapped enters the running `jax.vmap` through the batching rule of a custom
    function, and leaves it in the same way. So nothing has to be known before the one run.
    """

    def __init__(self, kind: str, size: int, in_axes: Axes, out_axes: Axes, births: Callable[[Any], bool]):
        super().__init__(kind)
        self.size = size
        self.births = births
        self.in_axes = in_axes
        self.out_axes = out_axes
        self.outside = self.trace
        self.lane: Any = None
        self.outer_keys: dict[Any, Any] = {}

    def enter(self, ref: Any, outer: Any) -> Any:
        axis = self.in_axes.of(ref)
        if axis is None:
            if hasattr(ref, "lane_value"):
                self.outer_keys[ref] = outer
                with _tracing.inside(self.trace):
                    return ref.lane_value(outer, self.lane)
            return outer
        leaves = [self._slice(ref, leaf, axis) for leaf in leaves_of(outer)]
        return repack(struct_of(outer), leaves)

    def _slice(self, ref: Any, leaf: Any, axis: int) -> Any:
        shape = jnp.shape(leaf)
        if not -len(shape) <= axis < len(shape) or shape[axis] != self.size:
            raise BatchAxisError(_errors.state_axis(path_of(ref), axis, shape, self.size))
        if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
            with _tracing.inside(self.outside):
                data = jax.random.key_data(leaf)
            data = self._slice(ref, data, axis if axis >= 0 else axis - 1)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        with _tracing.inside(self.outside):
            whole = jnp.moveaxis(jnp.asarray(leaf), axis, 0)

        @custom_vmap
        def take(lane: Any) -> Any:
            del lane
            return jnp.empty(whole.shape[1:], whole.dtype)

        @take.def_vmap
        def rule(axis_size: int, in_batched: Any, lane: Any) -> Any:
            del axis_size, in_batched, lane
            return whole, True

        with _tracing.inside(self.trace):
            return take(self.lane)

    def lift(self, leaves: list[Any]) -> list[tuple[Any, bool]]:
        """The arrays of all lanes, with the batch first, and which of them are batched at all."""
        found: list[tuple[Any, bool]] = [(leaf, False) for leaf in (self.lane, *leaves)]
        if not leaves:
            return []

        @custom_vmap
        def look(*lanes: Any) -> Any:
            return lanes

        @look.def_vmap
        def rule(axis_size: int, in_batched: Any, *whole: Any) -> Any:
            del axis_size
            if _tracing.current_trace() is self.outside:
                found[:] = list(zip(whole, in_batched, strict=True))
            return whole, tuple(in_batched)

        # The index of the lane is always batched: so it is this `vmap` that looks, and not a derivative around it.
        look(self.lane, *[jnp.asarray(leaf) for leaf in leaves])
        return found[1:]

    def results(self) -> list[tuple[Any, Any, bool]]:
        """What was written: references, carried values outside, and which are born. Runs inside."""
        refs = [*self.written(), *self.born]
        carried = [pack(self.slots[ref].value) for ref in refs]
        lifted = iter(self.lift([leaf for value in carried for leaf in leaves_of(value)]))
        results, undeclared = [], []
        for ref, value in zip(refs, carried, strict=True):
            pairs = [next(lifted) for _ in leaves_of(value)]
            axis = (0 if self.births(ref) else None) if ref in self.born else self.out_axes.of(ref)
            if ref in self.outer_keys:
                results.append((ref, None, False))
            elif axis is None and (any(batched for _, batched in pairs) or self.kind == "map"):
                undeclared.append(path_of(ref))
            else:
                leaves = [leaf if axis is None else (leaf, batched, axis) for leaf, batched in pairs]
                results.append((ref, (struct_of(value), leaves), ref in self.born))
        if undeclared:
            raise BatchAxisError((_errors.map_write if self.kind == "map" else _errors.batched_write)(undeclared))
        return results

    def place(self, struct: Any, leaves: list[Any]) -> Any:
        """A carried value with its batch axis where it was declared. Runs outside."""
        return repack(struct, [self._place(*leaf) if isinstance(leaf, tuple) else leaf for leaf in leaves])

    def _place(self, leaf: Any, batched: bool, axis: int) -> Any:
        if not batched:
            leaf = jnp.broadcast_to(leaf, (self.size, *jnp.shape(leaf)))
        return jnp.moveaxis(leaf, 0, axis)


def vmap(
    fn: Callable[..., Any] | None = None,
    *,
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Any = None,
    axis_size: int | None = None,
    spmd_axis_name: Any = None,
    in_states: Any = None,
    out_states: Any = None,
) -> Any:
    """[`jax.vmap`][] for a function that may read and write references.

    A reference is one value for all lanes unless an axis is declared for it. References that are
    made inside come out with a batch axis in front. Each lane draws its own random numbers.

    **Arguments:** as [`jax.vmap`][]. Keyword arguments of the mapped function are mapped over
    their axis 0.

    - `in_states`: The references that are mapped: one, a list or dict of them, a type such as
      `ns.HiddenState`, an `nn.Module` (all that it holds), or `{axis: any of these}`. Without
      an axis it is 0. They are written back along the same axis, unless `out_states` declares another.
    - `out_states`: The references that are written with a batch axis, in the same forms.

    **Returns:** The mapped function; without `fn`, a decorator.

    **Raises:** `BatchAxisError` if a batched value is written to a reference without a declared
    axis (all references are then as before), or if a reference has not the batch size.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> total = ns.StateRef(jnp.zeros(3))
    >>> def add(x):
    ...     total.value = total.value + x
    ...     return 2 * x
    >>> print(ns.transform.vmap(add, in_states=total)(jnp.arange(3.0)), total.value)
    [0. 2. 4.] [0. 1. 2.]
    """
    if fn is None:
        return functools.partial(vmap, **{key: value for key, value in locals().items() if key != "fn"})
    if not callable(fn):
        raise TypeError(_errors.not_callable("vmap", fn))
    entering = as_axes(in_states, "in_states")
    leaving = entering | as_axes(out_states, "out_states")
    options = {"axis_name": axis_name, "spmd_axis_name": spmd_axis_name}
    return _mapped(fn, in_axes, out_axes, axis_size, entering, leaving, lambda ref: True, options)


def _mapped(
    fn: Callable[..., Any],
    in_axes: Any,
    out_axes: Any,
    axis_size: int | None,
    entering: Axes,
    leaving: Axes,
    births: Callable[[Any], bool],
    options: dict[str, Any],
    kind: str = "vmap",
) -> Callable[..., Any]:
    @functools.wraps(fn)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        axes = _argument_axes(in_axes, args)
        size = _batch_size(args, axes, kwargs, axis_size, entering)

        def run(args: Any, kwargs: Any) -> Any:
            frame = VmapFrame(kind, size, entering, leaving, births)
            return _vmap(fn, args, kwargs, axes, out_axes, frame, options)

        return _staging.run(kind, run, args, kwargs)

    return mapped


def vmap_new_states(
    fun: Callable[..., Any] | None = None,
    *,
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Any = None,
    axis_size: int | None = None,
    spmd_axis_name: Any = None,
    state_tag: str | None = None,
    state_to_exclude: Any = None,
) -> Any:
    """[`neurostate.transform.vmap`][] for a function that makes references: they get a batch axis in front.

    **Arguments:** as `vmap`, without declared states.

    - `state_tag`: A tag for the references that are made.
    - `state_to_exclude`: Which of them stay without a batch axis: a type, a part of a path, a
      function `(path, ref) -> bool`, or a list of these. Their values must be the same in each lane.

    **Returns:** The mapped function; without `fun`, a decorator.

    **Raises:** `BatchAxisError` if a batched value is written to a reference that existed before, or to an
    excluded one.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> class Net(ns.nn.Module):
    ...     def init_state(self, start):
    ...         self.V = ns.HiddenState(start * jnp.ones(3))
    >>> net = Net()
    >>> ns.transform.vmap_new_states(net.init_state)(jnp.arange(2.0))
    >>> net.V.value.shape
    (2, 3)
    """
    options = dict(in_axes=in_axes, out_axes=out_axes, axis_name=axis_name, axis_size=axis_size)
    options.update(spmd_axis_name=spmd_axis_name, state_tag=state_tag, state_to_exclude=state_to_exclude)
    if fun is None:
        return functools.partial(vmap_new_states, **options)
    if not callable(fun):
        raise TypeError(_errors.not_callable("vmap_new_states", fun))
    names = {"axis_name": axis_name, "spmd_axis_name": spmd_axis_name}
    return _with_new_states(fun, in_axes, out_axes, axis_size, Axes(), names, state_tag, state_to_exclude)


def _with_new_states(
    fun: Callable[..., Any],
    in_axes: Any,
    out_axes: Any,
    axis_size: int | None,
    leaving: Axes,
    names: dict[str, Any],
    state_tag: str | None,
    state_to_exclude: Any,
) -> Callable[..., Any]:
    excluded = as_predicate(state_to_exclude)

    def is_batched(ref: Any) -> bool:
        if state_tag is not None:
            ref.tags |= {state_tag}
        return not excluded(path_of(ref), ref)

    return _mapped(fun, in_axes, out_axes, axis_size, Axes(), leaving, is_batched, names)


def map_initialisation(
    fun: Callable[..., Any], axis_size: int, refs: Callable[[], dict[str, Any]], state_tag: Any, state_to_exclude: Any
) -> Any:
    """Calls `fun` once for each lane; the references in `refs()` and new ones get a batch axis in front."""
    excluded = as_predicate(state_to_exclude)
    found = {id(ref): path for path, ref in refs().items()}
    rule = (lambda path, ref: id(ref) in found and not excluded(found[id(ref)], ref), 0)
    return _with_new_states(fun, 0, 0, axis_size, Axes(rules=(rule,)), {}, state_tag, state_to_exclude)()


def _vmap(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    in_axes: tuple[Any, ...],
    out_axes: Any,
    frame: VmapFrame,
    options: dict[str, Any],
) -> Any:
    results: list[Any] = []
    structured = not (out_axes is None or isinstance(out_axes, int))

    def lane(index: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        frame.lane = index
        with frame.running():
            out = fn(*[unpack(arg) for arg in args], **{name: unpack(arg) for name, arg in kwargs.items()})
            check_output(flatten(out)[1], frame.kind)
            results.extend(frame.results())
        frame.lane = None
        frame.forget()
        return out if structured else pack(out)

    mapped = jax.vmap(lane, in_axes=(0, in_axes, 0), out_axes=out_axes, axis_size=frame.size, **options)
    packed_args = tuple(pack_argument(arg) for arg in args)
    packed_kwargs = {name: pack_argument(arg) for name, arg in kwargs.items()}
    out = mapped(jnp.arange(frame.size), packed_args, packed_kwargs)
    values = [
        ref.after_lanes(frame.outer_keys[ref]) if value is None else frame.place(*value) for ref, value, _ in results
    ]
    commit([ref for ref, _, _ in results], values, born=[ref for ref, _, is_born in results if is_born])
    return unpack(out)


def _argument_axes(in_axes: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """One entry of `in_axes` for each argument."""
    if isinstance(in_axes, list | tuple):
        if len(in_axes) != len(args):
            raise ValueError(
                f"`vmap` got in_axes for {len(in_axes)} arguments, but was called with {len(args)}. "
                "Give one entry for each positional argument (keyword arguments are mapped over axis 0)."
            )
        return tuple(in_axes)
    return (in_axes,) * len(args)


def _batch_size(
    args: tuple[Any, ...], axes: tuple[Any, ...], kwargs: dict[str, Any], axis_size: int | None, states: Axes
) -> int:
    sizes: dict[str, int] = {} if axis_size is None else {"axis_size": axis_size}

    def add(name: str, axis: Any, subtree: Any) -> None:
        for path, leaf in jax.tree_util.tree_leaves_with_path(subtree):
            if axis is None or not is_array(leaf):
                continue
            shape, where = jnp.shape(leaf), name + jax.tree_util.keystr(path)
            if not -len(shape) <= axis < len(shape):
                raise ValueError(
                    f"`vmap` maps axis {axis} of {where}, whose shape is {shape}. Pass in_axes=None for it."
                )
            sizes[where] = shape[axis]

    for k, (arg, axis) in enumerate(zip(args, axes, strict=True)):
        jax.tree.map(functools.partial(add, f"argument {k}"), axis, arg, is_leaf=lambda x: x is None)
    for name, arg in kwargs.items():
        add(f"argument {name}", 0, arg)
    if not sizes:
        for ref, axis in states.refs.items():
            for leaf in leaves_of(pack(ref.peek())):
                sizes[path_of(ref)] = jnp.shape(leaf)[axis]
    if not sizes:
        raise ValueError(_errors.no_batch_size("vmap"))
    if len(set(sizes.values())) > 1:
        raise ValueError(_errors.batch_sizes("vmap", sizes))
    return next(iter(sizes.values()))


def map(f: Callable[..., Any], *xs: Any, batch_size: int | None = None) -> Any:
    """Calls `f` on each slice of `xs`: one after the other, or `batch_size` at a time.

    **Arguments:**

    - `f`: A function of one slice of each of `xs`. It may read references and make new ones.
    - `xs`: Pytrees of arrays with the same leading axis.
    - `batch_size`: How many slices [`neurostate.transform.vmap`][] takes at once. References that exist can then be
      read, but not written: how often would depend on the batches. Memory is bounded by one batch; the last one
      is filled up with the last slice. Without it, `map` is [`neurostate.transform.for_loop`][].

    **Returns:** The outputs, each with a leading axis.

    **Raises:** as `vmap` and `for_loop`; `ValueError` for a `batch_size` below 1.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.transform.map(lambda x: x * x, jnp.arange(5.0), batch_size=2))
    [ 0.  1.  4.  9. 16.]
    """
    if not callable(f):
        raise TypeError(_errors.not_callable("map", f))
    if batch_size is None:
        return loop("map", f, xs)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"The batch_size of `map` must be an int of at least 1, got {batch_size!r}.")
    axes = _argument_axes(0, xs)
    count = _batch_size(xs, axes, {}, None, Axes())
    size = min(batch_size, count)
    chunks = -(-count // size) if size else 1
    mapped = _mapped(f, 0, 0, None, Axes(), Axes(), lambda ref: True, {}, "map")

    def cut(x: Any) -> Any:
        filled = jnp.concatenate([x, jnp.repeat(x[-1:], chunks * size - count, axis=0)]) if chunks * size > count else x
        return filled.reshape(chunks, size, *x.shape[1:])

    def join(x: Any) -> Any:
        return x.reshape(chunks * size, *jnp.shape(x)[2:])[:count]

    def run(*xs: Any) -> Any:
        born: list[Any] = []

        def batch(*slices: Any) -> Any:
            out = mapped(*slices)
            frame = STACK.top
            assert frame is not None
            born[:] = frame.born
            return out, [pack(frame.adopt(ref)) for ref in born]

        out, values = loop("map", batch, jax.tree.map(cut, xs))
        commit(born, jax.tree.map(join, values), born=born)
        return jax.tree.map(join, out)

    return _staging.run("map", run, *jax.tree.map(jnp.asarray, xs))

"""`jit`: compiles a function that touches references."""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections.abc import Callable, Sequence
from operator import call
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from ... import _errors
from ..._errors import StateLostError
from .. import _tracing, environ
from .._collector import (
    COMMIT,
    STACK,
    THREADS,
    Frame,
    StagedFrame,
    check_eager,
    commit,
    commit_frame,
    get_leaf,
    path_of,
    store,
)
from .._config import configuration, jit_is_disabled
from .._functionalize import Program, trace
from .._links import EPOCH, Links
from .._ref import StateRef
from .._tracing import EAGER, top_trace
from .._values import Cell, Missing, Packed, aval, leaves_of, pack_argument, pack_static, unpack
from ._explain import History


class _Miss(Exception):
    """Leaves `jax.jit` when it is about to trace for a signature that has no program yet."""


def _signature(*trees: Any) -> Any:
    leaves, treedef = jax.tree.flatten(trees)
    return (treedef, tuple(map(aval, leaves)), configuration())


def _weak(ref: Any, on_death: Callable[[Any], None] | None = None) -> Callable[[], Any]:
    return (lambda: ref) if getattr(ref, "read_only", False) else weakref.ref(ref, on_death)


class _Plan:
    """One compiled function, for all signatures that touch the same references in the same way.

    `jax.jit` tells these signatures apart, in C++. References are held weakly.
    """

    def __init__(self, program: Program, donate: bool, options: dict[str, Any]):
        self.inputs = [_weak(ref, self._on_death) for ref in program.inputs]
        # Constants are given at each call too: compiled into the program, they would be folded, and round
        # otherwise than in an eager call.
        self.constants = program.constants
        self.cells = [ref._cell for ref in program.inputs] + [Cell(jnp.asarray(const)) for const in self.constants]
        self.writes = [_weak(ref) for ref in program.writes]
        self.updates = program.updates
        self.only_updates = self.updates == len(program.writes)
        self.donate = donate
        self.born = program.born
        self.statics = program.statics
        self.links = Links([*program.inputs, *program.writes])
        self.epoch = -1 if environ.can_change_in_place(program.statics) else EPOCH.value
        self.mark: Any = STACK.mark
        self.programs: dict[Any, Program] = {}
        self.arguments: set[Any] = set()
        self.pending: dict[int, Program] = {}
        self.run = jax.jit(self._run_giving if donate else self._run, **options)

    def _run_giving(self, given: list[Any], kept: list[Any], /, *args: Any, **kwargs: Any) -> Any:
        return self._run([*given, *kept], *args, **kwargs)

    def _run(self, values: list[Any], /, *args: Any, **kwargs: Any) -> Any:
        signature = _signature(values, args, kwargs)
        program = self.programs.get(signature)
        if program is None:
            program = self.pending.pop(threading.get_ident(), None)
            if program is None:
                raise _Miss
            self.programs[signature] = program
        count = len(self.inputs)
        out, writes = program(values[:count], jax.tree.leaves((args, kwargs)), values[count:])
        packed = Packed(tuple(out), program.out_struct)
        return packed.value if program.out_struct.is_pure else packed, writes

    def leading(self, values: list[Any], args: Any, kwargs: Any) -> tuple[list[Any], ...]:
        """The first arguments of `run`, made from the values of the inputs."""
        if not self.donate:
            return (values,)
        given, kept = values[: self.updates], values[self.updates :]
        return _without_aliases(given, (kept, args, kwargs)), kept

    def _on_death(self, _: Any) -> None:
        """One of the inputs is gone: its array goes too, and the next call looks for another plan."""
        self.epoch, self.cells = -1, []

    def serves(self, program: Program) -> bool:
        """Whether a program touches the same references, and depends on `environ`, in the same way."""
        mine = [*map(call, self.inputs), *map(call, self.writes)]
        its = [*program.inputs, *program.writes]
        return (
            len(self.inputs) == len(program.inputs)
            and len(mine) == len(its)
            and all(a is b for a, b in zip(mine, its, strict=True))
            and self.statics == program.statics
            and [*map(id, self.constants)] == [*map(id, program.constants)]
        )

    def is_current(self) -> bool:
        """Whether `environ` and the way to the references are as they were."""
        if self.epoch != EPOCH.value or self.mark is not STACK.mark:
            epoch = EPOCH.value
            if self.is_dead() or not environ.holds(self.statics) or not self.links.hold():
                return False
            if STACK.top is None and not environ.can_change_in_place(self.statics):
                self.epoch, self.mark = epoch, STACK.mark
        return True

    def is_dead(self) -> bool:
        return None in list(map(call, self.inputs)) or (self.epoch != EPOCH.value and not self.links.hold())


class Jitted:
    """A compiled function, made by [`neurostate.transform.jit`][]."""

    def __init__(self, fn: Callable[..., Any], arguments: _Arguments, sync: bool, options: dict[str, Any]):
        functools.update_wrapper(self, fn)
        self.fun = fn
        self._arguments = arguments
        self._sync = sync
        self._options = options
        self._plans: list[_Plan] = []
        self._fast: _Plan | None = None
        self._donating: _Plan | None = None
        self.history = History(getattr(fn, "__name__", None) or repr(fn))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # The repeated call: every microsecond counts here, so it is one flat piece.
        plan = self._fast
        if plan is None or plan.mark is not STACK.mark or plan.epoch != EPOCH.value or top_trace(None) is not EAGER:
            return self._slow(args, kwargs)
        cells = plan.cells
        try:
            values = [cell.leaf for cell in cells]
            out, new = plan.run(values, *args, **kwargs)
        except (_Miss, TypeError):
            return self._slow(args, kwargs)
        if plan.only_updates and not THREADS.several:
            try:
                for cell, value in zip(cells, new):
                    cell.leaf = value
            except BaseException:
                for cell, value, _ in zip(cells, values, new):
                    cell.leaf = value
                raise
        else:
            refs, new = _alive([ref() for ref in plan.writes], new)
            with COMMIT:
                store(refs, new, values[: plan.updates])
        return out.value if type(out) is Packed else out

    def _slow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that may have to trace, is inside another transform, or has static arguments."""
        if jit_is_disabled():
            return self._plain(args, kwargs)
        plan = self._donating
        if plan is not None and STACK.mark is None and top_trace(None) is EAGER and plan.is_current():
            given = self._donate(plan, args, kwargs)
            if given is not None:
                return given[0]
        args, kwargs = self._arguments.pack(args, kwargs)
        plan, values = self._find(args, kwargs)
        return self._execute(plan, values, args, kwargs)

    def _donate(self, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any] | None:
        """The repeated call with donated states; `None` where the careful way is needed."""
        values = [cell.leaf for cell in plan.cells]
        if len(set(map(id, (*values, *args, *kwargs.values())))) < len(values) + len(args) + len(kwargs):
            return None
        try:
            out, new = plan.run(values[: plan.updates], values[plan.updates :], *args, **kwargs)
        except (_Miss, TypeError):
            return None
        except BaseException as error:
            if not _mark_lost(list(map(call, plan.inputs)), error):
                return None  # such as a buffer that occurs twice, deep in an argument
            raise
        with COMMIT:
            store([ref() for ref in plan.writes], new, values[: plan.updates])
        return (out.value if type(out) is Packed else out,)

    def _find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[_Plan, list[Any]]:
        """The plan for these arguments and the values of its inputs; traces where there is none."""
        signature = _signature(args, kwargs)
        for plan in list(self._plans):
            if plan.is_dead():
                self._drop(plan)
            elif signature in plan.arguments and plan.is_current():
                values = _values_now(plan)
                if _signature(values, args, kwargs) in plan.programs:
                    return plan, values
        plan, values = self._trace(args, kwargs)
        plan.arguments.add(signature)
        return plan, values

    def _trace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[_Plan, list[Any]]:
        """Runs the function once for this signature; gives its plan, ready to compile."""
        leaves, treedef = jax.tree.flatten((args, kwargs))

        def call(*tracers: Any) -> Any:
            packed_args, packed_kwargs = jax.tree.unflatten(treedef, tracers)
            return self.fun(*map(unpack, packed_args), **{k: unpack(v) for k, v in packed_kwargs.items()})

        program, values = trace(call, leaves, StagedFrame("jit", keeps_births=True))
        self.history.add(args, kwargs, program, values)
        found = [plan for plan in self._plans if plan.serves(program) and not plan.is_dead()]
        if found and not program.captures_tracer:
            plan = found[0]
        else:
            plan = _Plan(program, self._arguments.donate_states, self._options)
            if not program.captures_tracer:
                self._plans.insert(0, plan)
        plan.pending[threading.get_ident()] = program.without_values()
        return plan, [*values, *(cell.leaf for cell in plan.cells[len(values) :])]

    def _execute(self, plan: _Plan, values: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs a plan on the values of its inputs and commits what it writes."""
        environ.note(plan.statics)
        try:
            out, new = plan.run(*plan.leading(values, args, kwargs), *args, **kwargs)
            if self._sync:
                jax.block_until_ready((out, new))
        except BaseException as error:
            _mark_lost([ref() for ref in plan.inputs[: plan.updates if plan.donate else 0]], error)
            raise
        finally:
            plan.pending.pop(threading.get_ident(), None)
        refs = list(map(call, plan.writes))
        born = [ref for ref in refs[len(refs) - plan.born :] if ref is not None]
        refs, new = _alive(refs, new)
        commit(refs, new, values[: plan.updates], born)
        if plan in self._plans and STACK.top is None:
            self._plans.remove(plan)
            self._plans.insert(0, plan)
            self._fast = None if plan.donate or self._sync else plan
            self._donating = plan if plan.donate and plan.only_updates and not self._sync else None
        return out.value if type(out) is Packed else out

    def _plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        frame = Frame("jit")
        with frame.running():
            out = self.fun(*args, **kwargs)
        commit_frame(frame)
        return out

    def _drop(self, plan: _Plan) -> None:
        if plan in self._plans:
            self._plans.remove(plan)
        if plan in (self._fast, self._donating):
            self._fast = self._donating = None

    def _ready(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[_Plan, tuple[Any, ...], dict[str, Any]]:
        """A plan with its arguments, traced if need be, without running it."""
        args, kwargs = self._arguments.pack(args, kwargs)
        plan, values = self._find(args, kwargs)
        return plan, (*plan.leading(values, args, kwargs), *args), kwargs

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """As `jax.jit(f).lower`. References are not written."""
        plan, args, kwargs = self._ready(args, kwargs)
        return plan.run.lower(*args, **kwargs)

    def trace(self, *args: Any, **kwargs: Any) -> jax.stages.Traced:
        """As `jax.jit(f).trace`. References are not written."""
        plan, args, kwargs = self._ready(args, kwargs)
        return plan.run.trace(*args, **kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> jax.stages.Compiled:
        """As `jax.jit(f).lower(…).compile()`. References are not written."""
        return self.lower(*args, **kwargs).compile()

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """As `jax.eval_shape`. References are not written."""
        plan, args, kwargs = self._ready(args, kwargs)
        return unpack(plan.run.eval_shape(*args, **kwargs)[0])

    def clear_cache(self) -> None:
        """Forgets every trace and every compiled program."""
        self._plans.clear()
        self._fast = self._donating = None


def _alive(refs: list[Any], values: list[Any]) -> tuple[list[Any], list[Any]]:
    pairs = [(ref, value) for ref, value in zip(refs, values, strict=True) if ref is not None]
    return [ref for ref, _ in pairs], [value for _, value in pairs]


def _values_now(plan: _Plan) -> list[Any]:
    """The carried values of a plan's inputs, in the frame of now."""
    refs, top = [ref() for ref in plan.inputs], STACK.top
    constants = [cell.leaf for cell in plan.cells[len(refs) :]]
    if top is not None:
        raw = _tracing.raw_transform_inside(top.trace)
        return [*(top.take(ref, raw) for ref in refs), *constants]
    for ref in refs[:1]:
        check_eager(ref, writing=False)
    for ref in refs:
        if type(ref._leaf) is Missing:
            raise ref._leaf.error(ref)
    return [*map(get_leaf, refs), *constants]


def _without_aliases(given: list[Any], others: Any) -> list[Any]:
    """Copies of those donated buffers that occur twice, since a buffer can be given away once."""
    if not given:
        return given
    seen = {id(leaf) for leaf in jax.tree.leaves(others)}

    def once(leaf: Any) -> Any:
        if id(leaf) in seen:
            return jnp.copy(leaf)
        seen.add(id(leaf))
        return leaf

    return jax.tree.map(once, given)


def _mark_lost(refs: list[Any], error: BaseException) -> bool:
    """Marks the references whose donated buffer a failed program has taken; says whether there are any."""
    lost = [ref for ref in refs if isinstance(ref, StateRef) and type(ref._leaf) is not Missing]
    lost = [ref for ref in lost if any(map(_is_deleted, leaves_of(ref._leaf)))]
    for ref in lost:
        ref._leaf = Missing(lambda ref: StateLostError(_errors.state_lost(path_of(ref), error)))
    return bool(lost)


def _is_deleted(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer) and leaf.is_deleted()


class _Arguments:
    """Which arguments of a function are static, and which are donated."""

    def __init__(
        self,
        fn: Callable[..., Any],
        static_argnums: int | Sequence[int] | None,
        static_argnames: str | Sequence[str] | None,
        donate_states: bool,
    ):
        nums, names = _as_tuple(static_argnums, int), _as_tuple(static_argnames, str)
        for number in nums:
            if number < 0:
                raise ValueError(_errors.negative_argnum("static_argnums", number))
        parameters = _positional_names(fn)
        if parameters is not None:
            if nums and not names:
                names = tuple(parameters[k] for k in nums if k < len(parameters))
            elif names and not nums:
                nums = tuple(parameters.index(name) for name in names if name in parameters)
        self.nums, self.names = frozenset(nums), frozenset(names)
        self.donate_states = donate_states

    def pack(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (
            tuple(pack_static(arg) if k in self.nums else pack_argument(arg) for k, arg in enumerate(args)),
            {k: pack_static(arg) if k in self.names else pack_argument(arg) for k, arg in kwargs.items()},
        )


def _as_tuple(value: Any, kind: type) -> tuple[Any, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, kind) else tuple(value)


def _positional_names(fn: Callable[..., Any]) -> list[str] | None:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def jit(
    fn: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    donate_argnames: str | Sequence[str] | None = None,
    donate_states: bool = False,
    sync: bool = False,
    keep_unused: bool = False,
    inline: bool = False,
    in_shardings: Any = None,
    out_shardings: Any = None,
) -> Any:
    """Compiles `fn`, which may read and write references, as [`jax.jit`][] compiles a pure one.

    Python runs `fn` once for each signature: the static arguments, the shapes and dtypes of the
    others and of every reference that `fn` touches, and the static values that it reads from
    `environ`. Numbers and arrays among the arguments are traced; every other leaf is static and
    compared by `==` (a module or a reference by identity). The writes of one call are committed
    together, after the program was dispatched; if anything raises before, no reference changes.

    **Arguments:**

    - `static_argnums`, `static_argnames`, `donate_argnums`, `donate_argnames`, `keep_unused`,
      `inline`, `in_shardings`, `out_shardings`: as [`jax.jit`][]; one sharding that is not in a tuple
      is that of every argument. References keep their own.
    - `donate_states`: Gives the buffers of the references that `fn` reads and writes to the
      program, which saves their copies. What else holds such an array cannot read it afterwards.
    - `sync`: Waits for the program to end before it commits, so that an error inside the running
      program leaves the references unchanged too.

    **Returns:** A function with the attributes `lower`, `trace`, `compile`, `eval_shape` and
    `clear_cache`. Without `fn`, a decorator.

    **Raises:** `TraceContextError` where a reference is written under a raw JAX transform,
    `StateLostError` on reading a donated reference whose program failed.

    >>> import neurostate as ns
    >>> total = ns.StateRef(0.0)
    >>> @ns.transform.jit
    ... def add(x):
    ...     total.value = total.value + x
    ...     return total.value * 2
    >>> float(add(1.0)), float(total.value)
    (2.0, 1.0)
    """
    if fn is None:
        given = {key: value for key, value in locals().items() if key != "fn"}
        return functools.partial(jit, **given)
    if not callable(fn):
        raise TypeError(_errors.not_callable("jit", fn))
    given = _as_tuple(donate_argnums, int)
    for number in given:
        if number < 0:
            raise ValueError(_errors.negative_argnum("donate_argnums", number))
    options: dict[str, Any] = {"keep_unused": keep_unused, "inline": inline}
    donated = [*(number + 1 + donate_states for number in given), *([0] if donate_states else [])]
    if donated:
        options["donate_argnums"] = tuple(donated)
    if in_shardings is not None:
        count = len(_positional_names(fn) or ()) or 1
        each = in_shardings if isinstance(in_shardings, tuple) else (in_shardings,) * count
        options["in_shardings"] = (None,) * (1 + donate_states) + each
    if out_shardings is not None:
        options["out_shardings"] = (out_shardings, None)
    if donate_argnames is not None:
        options["donate_argnames"] = donate_argnames
    return Jitted(fn, _Arguments(fn, static_argnums, static_argnames, donate_states), sync, options)

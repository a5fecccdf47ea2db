"""`jit`: compiles a function that touches references."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from operator import call
from typing import Any

import jax

from ... import _errors
from .. import environ
from .._collector import COMMIT, STACK, THREADS, StagedFrame, commit, run_plainly, store
from .._config import jit_is_disabled
from .._functionalize import Program, trace
from .._links import EPOCH
from .._tracing import EAGER, top_trace
from .._values import Packed, unpack
from ._arguments import Arguments, as_tuple, positional_names
from ._explain import History
from ._plan import Miss, Plan, Raised, mark_lost, signature_of


class Jitted:
    """A compiled function, made by [`neurostate.transform.jit`][]."""

    def __init__(self, fn: Callable[..., Any], arguments: Arguments, sync: bool, donate: bool, options: dict[str, Any]):
        functools.update_wrapper(self, fn)
        self.fun = fn
        self._arguments = arguments
        self._packs = bool(arguments.nums or arguments.names)
        self._sync, self._donate_states = sync, donate
        self._options = options
        self._plans: list[Plan] = []
        self._index: dict[tuple[str, ...], dict[Any, list[Plan]]] = {}
        self._fast: Plan | None = None
        self._tracing = threading.RLock()
        self.history = History(getattr(fn, "__name__", None) or repr(fn))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # The repeated call: every microsecond counts here, so it is one flat piece.
        plan = self._fast
        if (
            plan is None
            or plan.mark is not STACK.mark
            or plan.epoch != EPOCH.value
            or (plan.has_containers and plan.links.changed_in_place())
            or top_trace(None) is not EAGER
        ):
            plan = self._choose()
            if plan is None:
                return self._slow(args, kwargs)
        cells = plan.cells
        try:
            if self._packs:
                args, kwargs = self._arguments.pack(args, kwargs)
            values = [cell.leaf for cell in cells]
            if plan.donate:
                out, new = self._donate(plan, values, args, kwargs)
            else:
                out, new = plan.run(values, *args, **kwargs)
        except (Miss, Raised, TypeError) as reason:
            return self._slow(args, kwargs, reason)
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

    def _choose(self) -> Plan | None:
        """The plan for an eager call, if there is no doubt which."""
        if STACK.top is not None or top_trace(None) is not EAGER or self._sync or jit_is_disabled():
            return None
        current = [plan for keys, table in self._index.items() for plan in table.get(environ.signature(keys), ())]
        only = current[0] if len(current) == 1 and current[0].is_current(environ_holds=True) else None
        self._fast = only
        return only

    def _donate(self, plan: Plan, values: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs a plan that takes the buffers of the references it writes."""
        if len(set(map(id, (*values, *args, *kwargs.values())))) < len(values) + len(args) + len(kwargs):
            raise TypeError("A buffer occurs twice.")  # for the careful way, which copies it
        try:
            return plan.run(values[: plan.updates], values[plan.updates :], *args, **kwargs)
        except Exception as error:
            if isinstance(error, Miss | Raised) or mark_lost(list(map(call, plan.inputs)), error):
                raise
            raise TypeError("The donation was refused.") from error

    def _slow(self, args: tuple[Any, ...], kwargs: dict[str, Any], reason: BaseException | None = None) -> Any:
        """A call that may have to trace, is inside another transform, or has static arguments."""
        if isinstance(reason, Raised):
            raise reason.error
        if jit_is_disabled():
            return run_plainly("jit", lambda: self.fun(*args, **kwargs))
        packed = self._arguments.pack(args, kwargs)
        self._packs = self._packs or any(a is not b for a, b in zip(packed[0], args, strict=True))
        if isinstance(reason, Miss):
            plan, values = self._adopt(reason.program, reason.values, signature_of(*packed))
        else:
            with self._tracing if STACK.top is None else nullcontext():  # so that no two threads trace the same
                plan, values = self._find(*packed)
        return self._execute(plan, values, *packed)

    def _find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Plan, list[Any]]:
        """The plan for these arguments and the values of its inputs; traces where there is none."""
        signature = signature_of(args, kwargs)
        for plan in list(self._plans):
            if plan.is_dead():
                self._drop(plan)
            elif signature in plan.arguments and plan.is_current():
                values = plan.values_now()
                if signature_of(values, args, kwargs) in plan.programs:
                    return plan, values
        return self._adopt(*self._trace(args, kwargs), signature)

    def _trace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Program, list[Any]]:
        """Runs the function once; gives its program, and the values of its inputs."""
        leaves, treedef = jax.tree.flatten((args, kwargs))

        def call(*tracers: Any) -> Any:
            packed_args, packed_kwargs = jax.tree.unflatten(treedef, tracers)
            return self.fun(*map(unpack, packed_args), **{k: unpack(v) for k, v in packed_kwargs.items()})

        program, values = trace(call, leaves, StagedFrame("jit", keeps_births=True))
        self.history.add(args, kwargs, program, values)
        return program, values

    def _adopt(self, program: Program, values: list[Any], signature: Any) -> tuple[Plan, list[Any]]:
        """A plan for a newly traced program, and the values to run it on."""
        found = [plan for plan in self._plans if plan.serves(program) and not plan.is_dead()]
        if found and not program.captures_tracer:
            plan = found[0]
        else:
            plan = Plan(program, self._donate_states, self._trace, self._options)
            if not program.captures_tracer:
                self._plans.insert(0, plan)
                keys, values_of = tuple(plan.statics), tuple(plan.statics.values())
                self._index.setdefault(keys, {}).setdefault(values_of, []).append(plan)
        plan.arguments.add(signature)
        plan.pending[threading.get_ident()] = program.without_values()
        return plan, [*values, *(cell.leaf for cell in plan.cells[len(values) :])]

    def _execute(self, plan: Plan, values: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs a plan on the values of its inputs and commits what it writes."""
        environ.note(plan.statics)
        try:
            out, new = plan.run(*plan.leading(values, args, kwargs), *args, **kwargs)
            if self._sync:
                jax.block_until_ready((out, new))
        except BaseException as error:
            if plan.donate:
                mark_lost(list(map(call, plan.inputs)), error)
            raise error.error if isinstance(error, Raised) else error
        finally:
            plan.pending.pop(threading.get_ident(), None)
        refs = list(map(call, plan.writes))
        born = [ref for ref in refs[len(refs) - plan.born :] if ref is not None]
        refs, new = _alive(refs, new)
        commit(refs, new, values[: plan.updates], born)
        return out.value if type(out) is Packed else out

    def _drop(self, plan: Plan) -> None:
        if plan in self._plans:
            self._plans.remove(plan)
            self._index[tuple(plan.statics)][tuple(plan.statics.values())].remove(plan)
        if self._fast is plan:
            self._fast = None

    def _ready(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Plan, tuple[Any, ...], dict[str, Any]]:
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
        """As `jax.jit(f).lower(…).compile()`, of the program beneath: it takes and gives the references' values too."""
        return self.lower(*args, **kwargs).compile()

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """As `jax.eval_shape`. References are not written."""
        plan, args, kwargs = self._ready(args, kwargs)
        return unpack(plan.run.eval_shape(*args, **kwargs)[0])

    def clear_cache(self) -> None:
        """Forgets every trace and every compiled program."""
        self._plans.clear()
        self._index.clear()
        self._fast = None


def _alive(refs: list[Any], values: list[Any]) -> tuple[list[Any], list[Any]]:
    pairs = [(ref, value) for ref, value in zip(refs, values, strict=True) if ref is not None]
    return [ref for ref, _ in pairs], [value for _, value in pairs]


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
    given = as_tuple(donate_argnums, int)
    for number in given:
        if number < 0:
            raise ValueError(_errors.negative_argnum("donate_argnums", number))
    options: dict[str, Any] = {"keep_unused": keep_unused, "inline": inline}
    donated = [*(number + 1 + donate_states for number in given), *([0] if donate_states else [])]
    if donated:
        options["donate_argnums"] = tuple(donated)
    if in_shardings is not None:
        count = len(positional_names(fn) or ()) or 1
        each = in_shardings if isinstance(in_shardings, tuple) else (in_shardings,) * count
        options["in_shardings"] = (None,) * (1 + donate_states) + each
    if out_shardings is not None:
        options["out_shardings"] = (out_shardings, None)
    if donate_argnames is not None:
        options["donate_argnames"] = donate_argnames
    return Jitted(fn, Arguments(fn, static_argnums, static_argnames), sync, donate_states, options)

"""A compiled function with the references that it reads and writes."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from operator import call
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from ... import _errors
from ..._errors import StateLostError
from .. import _tracing, environ
from .._collector import STACK, check_eager, get_leaf, path_of
from .._config import configuration
from .._functionalize import Program
from .._links import EPOCH, Links
from .._ref import StateRef
from .._values import Cell, Missing, Packed, aval, leaves_of


class Miss(Exception):
    """Leaves `jax.jit` with a newly traced program that touches other references than the plan."""

    def __init__(self, program: Program, values: list[Any]):
        super().__init__()
        self.program, self.values = program, values


class Raised(Exception):
    """Carries an error of the user's function out of `jax.jit`, apart from those of `jax.jit` itself."""

    def __init__(self, error: BaseException):
        super().__init__()
        self.error = error


_NEVER = object()  # a mark that no thread has


def signature_of(*trees: Any) -> Any:
    """Equal for arguments that one program serves."""
    leaves, treedef = jax.tree.flatten(trees)
    return (treedef, tuple(map(aval, leaves)), configuration())


def _weak(ref: Any, on_death: Callable[[Any], None] | None = None) -> Callable[[], Any]:
    return (lambda: ref) if getattr(ref, "read_only", False) else weakref.ref(ref, on_death)


class Plan:
    """One compiled function, for all signatures that touch the same references in the same way.

    `jax.jit` tells these signatures apart, in C++. For a new one it runs `_run`, which traces the user's
    function. An exception there would spoil the signature for the fast way through `jax.jit`, so none
    is raised unless the new program does not fit. References are held weakly.
    """

    def __init__(self, program: Program, donate: bool, trace: Callable[..., Any], options: dict[str, Any]):
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
        self.volatile = environ.can_change_in_place(program.statics)
        self.links = Links([*program.inputs, *program.writes])
        self.has_containers = bool(self.links.containers)
        self.epoch = EPOCH.value
        self.mark: Any = _NEVER
        self.programs: dict[Any, Program] = {}
        self.arguments: set[Any] = set()
        self.pending: dict[int, Program] = {}
        self._trace = trace

        def run(values: list[Any], /, *args: Any, **kwargs: Any) -> Any:
            return self._run(values, args, kwargs)

        def run_giving(given: list[Any], kept: list[Any], /, *args: Any, **kwargs: Any) -> Any:
            return self._run([*given, *kept], args, kwargs)

        self.run = jax.jit(run_giving if donate else run, **options)

    def _run(self, values: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        signature = signature_of(values, args, kwargs)
        program = self.programs.get(signature) or self.pending.pop(threading.get_ident(), None)
        if program is None:
            try:
                with _tracing.inside(_tracing.EAGER):
                    program, found = self._trace(*jax.tree.map(_abstract, (args, kwargs)))
            except BaseException as error:
                raise Raised(error) from None
            if not self.serves(program):
                raise Miss(program, found)
            program = program.without_values()
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
        mine = [*map(call, self.inputs), *map(call, self.writes), *self.constants]
        its = [*program.inputs, *program.writes, *program.constants]
        counts = len(self.inputs) == len(program.inputs) and len(self.writes) == len(program.writes)
        same = counts and len(mine) == len(its) and all(a is b for a, b in zip(mine, its, strict=True))
        return same and self.statics == program.statics

    def is_current(self, environ_holds: bool = False) -> bool:
        """Whether `environ` and the way to the references are as they were."""
        if self.has_containers and self.links.changed_in_place():
            self.epoch = -1
        if self.epoch != EPOCH.value:
            epoch = EPOCH.value
            if self.is_dead():
                return False
            self.epoch, self.mark = epoch, _NEVER
        if self.mark is not STACK.mark:
            if not environ_holds and not environ.holds(self.statics):
                return False
            if STACK.top is None and not self.volatile:
                self.mark = STACK.mark
        return True

    def is_dead(self) -> bool:
        """Whether a reference is gone, or was replaced in a module."""
        return self.epoch != EPOCH.value and (None in list(map(call, self.inputs)) or not self.links.hold())

    def values_now(self) -> list[Any]:
        """The carried values of the inputs in the frame of now, and the constants."""
        refs, top = list(map(call, self.inputs)), STACK.top
        constants = [cell.leaf for cell in self.cells[len(refs) :]]
        if top is not None:
            raw = _tracing.raw_transform_inside(top.trace)
            return [*(top.take(ref, raw) for ref in refs), *constants]
        for ref in refs[:1]:
            check_eager(ref, writing=False)
        for ref in refs:
            if type(ref._leaf) is Missing:
                raise ref._leaf.error(ref)
        return [*map(get_leaf, refs), *constants]


def _abstract(tracer: Any) -> jax.ShapeDtypeStruct:
    shape, dtype, weak = aval(tracer)
    return jax.ShapeDtypeStruct(shape, dtype, weak_type=weak)


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


def mark_lost(refs: list[Any], error: BaseException) -> bool:
    """Marks the references whose donated buffer a failed program has taken; says whether there are any."""
    lost = [ref for ref in refs if isinstance(ref, StateRef) and type(ref._leaf) is not Missing]
    lost = [ref for ref in lost if any(map(_is_deleted, leaves_of(ref._leaf)))]
    for ref in lost:
        ref._leaf = Missing(lambda ref: StateLostError(_errors.state_lost(path_of(ref), error)))
    return bool(lost)


def _is_deleted(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer) and leaf.is_deleted()

"""Frames: where the values of references live while a transform traces a function.

Each transform pushes a frame on a stack that belongs to the thread. A reference that is read or
written while a frame is on top has a slot in it; the reference itself does not change. A frame
asks the frame below it (or, the lowest, the reference) for the value on entry, once.
"""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax.numpy as jnp

from .. import _errors
from .._errors import StateConflictError, TraceContextError
from . import _tracing
from ._values import Missing, Packed, flatten, leaves_of, mark_for, pack, repack, struct_of, unpack


class _Threads:
    """Whether references have been used in more than one thread."""

    first: int | None = None
    several = False


THREADS = _Threads()


class Context:
    """One open `environ.context`: its values, and the frame and JAX trace in which it was entered."""

    __slots__ = ("frame", "trace", "values")

    def __init__(self, values: dict[str, Any]):
        self.values = values
        self.frame = STACK.top
        self.trace = _tracing.current_trace()


class _Stack(threading.local):
    """What belongs to one thread: its innermost frame, and its contexts of `environ`.

    `mark` is another object for each other state of the two, `None` where there is neither. `watch` is
    told of each value that is written in a frame.
    """

    mark: Any = None
    top: Frame | None = None
    contexts: tuple[Context, ...] = ()
    watch: Callable[[Any, Any], None] | None = None

    def __init__(self) -> None:
        # Runs in each thread on its first use of a reference or transform. While there is one thread
        # only, a commit needs no lock. It may be about to store now, having seen that it was alone:
        # this lets it finish before the second one reads anything.
        if THREADS.first is None:
            THREADS.first = threading.get_ident()
        elif not THREADS.several:
            THREADS.several = True
            time.sleep(0.02)


STACK = _Stack()
COMMIT = threading.Lock()


def frames() -> Iterator[Frame]:
    """The frames of this thread, the innermost first."""
    frame = STACK.top
    while frame is not None:
        yield frame
        frame = frame.parent


def path_of(ref: Any) -> str:
    """The words by which messages name a reference: its path from modules, else its name."""
    parts: list[str] = []
    holder, seen = ref, set()
    while id(holder) not in seen:
        seen.add(id(holder))
        links = [(owner, name) for weak, name in getattr(holder, "_owners", ()) if (owner := weak()) is not None]
        if not links:
            break
        holder, attribute = links[0]
        parts.append(attribute)
    if not parts:
        return getattr(ref, "name", None) or f"an unnamed {type(ref).__name__}"
    root = getattr(holder, "name", None) or type(holder).__name__
    return ".".join([root, *reversed(parts)])


class Slot:
    """What one frame knows of one reference.

    `entry` is its carried value on entry, as this frame's function sees it (`None` until it is
    asked for), `given` the object that was handed out for it, `outer` the carried value as the frame
    below sees it, `value` the value now.
    """

    __slots__ = ("entry", "given", "outer", "read", "value", "written")

    def __init__(self) -> None:
        self.entry: Any = None
        self.given: Any = None
        self.outer: Any = None
        self.value: Any = None
        self.read = self.written = False


class Frame:
    """One transform at work: the slots of the references that its function touches.

    `kind` is the transform's name for messages. The base class is the frame of the transforms
    whose function runs at once on the values of the frame below.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self.parent: Frame | None = STACK.top
        self.trace: Any = _tracing.current_trace()
        self.below: Any = self.trace
        self.slots: dict[Any, Slot] = {}
        self.born: dict[Any, None] = {}
        self.rebound: list[tuple[Any, str, Any]] = []
        self.statics: dict[str, Any] = {}
        self.modules: set[int] = set()
        self.step: int | None = None
        if self.parent is None and self.trace is not _tracing.EAGER:
            self.raw = _tracing.raw_transform_inside(_tracing.EAGER)
        else:
            self.raw = None if self.parent is None else _tracing.raw_transform_inside(self.parent.trace)

    @contextmanager
    def running(self) -> Iterator[Frame]:
        """Runs a block in this frame, in the JAX trace that is innermost now."""
        outside, below, mark = self.trace, STACK.top, STACK.mark
        self.trace = _tracing.current_trace()
        STACK.top = STACK.mark = self
        try:
            yield self
            if below is not None:
                below.rebound.extend(self.rebound)
        except BaseException:
            for owner, name, old in reversed(self.rebound):
                owner._rebind(name, old)
            raise
        finally:
            STACK.top, STACK.mark = below, mark
            self.trace = outside

    def enter(self, ref: Any, outer: Any) -> Any:
        """The carried value of `ref` inside this frame, from that outside."""
        del ref
        return repack(struct_of(outer), leaves_of(outer))

    def leave(self, ref: Any) -> Any:
        """The carried value that `ref` has at the end, for the frame below."""
        return pack(self.slots[ref].value)

    def slot(self, ref: Any) -> Slot:
        """The slot of `ref`, its value on entry known."""
        slot = self.slots.get(ref)
        if slot is None:
            slot = self.slots[ref] = Slot()
        if slot.entry is None and ref not in self.born:
            try:
                slot.outer = self.outer(ref)
                slot.entry = self.enter(ref, slot.outer)
            finally:
                if slot.entry is None and not slot.written:
                    del self.slots[ref]
            if not slot.written:
                slot.value = slot.given = unpack(repack(struct_of(slot.entry), leaves_of(slot.entry)))
        return slot

    def outer(self, ref: Any) -> Any:
        """The carried value of `ref` in the frame below."""
        if self.parent is None:
            raw = ref.raw_inside(self.below) if hasattr(ref, "raw_inside") else self.raw
            if raw == "staging":
                raise TraceContextError(_errors.raw_read(path_of(ref), self.kind))
            if type(ref._leaf) is Missing:
                ref._committed()  # which raises, or makes the value that was waiting to be made
            return ref._leaf
        return self.parent.take(ref, self.raw)

    def take(self, ref: Any, raw: str | None = None) -> Any:
        """The carried value of `ref` now, for a frame above."""
        if raw == "staging":
            raise TraceContextError(_errors.raw_read(path_of(ref), self.kind))
        found = ref.found_in(self) if hasattr(ref, "found_in") else None
        if found is not None:
            return pack(found[0])
        slot = self.slot(ref)
        slot.read = slot.read or not slot.written
        return pack(slot.value)

    def read(self, ref: Any) -> Any:
        raw = _tracing.raw_transform_inside(self.trace)
        if raw == "staging":
            raise TraceContextError(_errors.raw_read(path_of(ref), self.kind))
        slot = self.slots.get(ref)
        if slot is None or not slot.written:
            slot = self.slot(ref)
            slot.read = True
        return slot.value

    def write(self, ref: Any, value: Any) -> None:
        raw = _tracing.raw_transform_inside(self.trace)
        if raw is not None:
            raise TraceContextError(_errors.raw_write(path_of(ref)))
        self.put(ref, value)

    def put(self, ref: Any, value: Any) -> None:
        """Writes without asking whether a raw transform is running."""
        pack(value)
        if STACK.watch is not None:
            STACK.watch(ref, value)
        slot = self.slots.get(ref)
        if slot is None:
            slot = self.slots[ref] = Slot()
        slot.value, slot.written = value, True

    def bear(self, ref: Any, value: Any) -> None:
        """Notes that `ref` was made in this frame."""
        if _tracing.raw_transform_inside(self.trace) == "staging":
            raise TraceContextError(_errors.raw_write(path_of(ref)))
        self.put(ref, value)
        self.born[ref] = None

    def adopt(self, ref: Any) -> Any:
        """The value of a reference that was born in this frame, which from now on is not of this frame."""
        del self.born[ref]
        return self.slots.pop(ref).value

    def forget(self) -> None:
        """Lets go of the values, which belong to a trace that ends."""
        for slot in self.slots.values():
            slot.entry = slot.given = slot.value = None

    def written(self) -> list[Any]:
        """The references that exist outside this frame and were written in it, or changed in place."""
        for slot in self.slots.values():
            if not slot.written and _changed_in_place(slot):
                slot.written = True
        return [ref for ref, slot in self.slots.items() if slot.written and ref not in self.born]

    def check_births(self, cure: str) -> None:
        """Refuses a reference that was born in this frame and that an outer module holds."""
        for ref in self.born:
            if _held_from_outside(ref, self.modules):
                raise TraceContextError(_errors.born_inside(path_of(ref), self.kind, cure))


def _changed_in_place(slot: Slot) -> bool:
    entry = slot.entry
    if type(entry) is not Packed or not entry.struct.is_mutable or slot.value is not slot.given:
        return False
    leaves, struct = flatten(slot.value)
    return struct != entry.struct or any(map(operator.is_not, leaves, entry.leaves))


def _held_from_outside(holder: Any, inside: set[int]) -> bool:
    for weak, _ in getattr(holder, "_owners", ()):
        owner = weak()
        if owner is not None and (owner._serial not in inside or _held_from_outside(owner, inside)):
            return True
    return False


class StagedFrame(Frame):
    """The frame of a function that is traced into a program: each value on entry is marked.

    The marks are array objects of their own, which turn up among the constants of the traced
    program; `marks` has those of each reference. `keeps_births` lets references that are born
    inside come out with their value.
    """

    def __init__(self, kind: str, keeps_births: bool = False):
        super().__init__(kind)
        self.keeps_births = keeps_births
        self.marks: dict[Any, list[Any]] = {}

    def enter(self, ref: Any, outer: Any) -> Any:
        return repack(struct_of(outer), [self._stage(ref, mark_for(leaf)) for leaf in leaves_of(outer)])

    def _stage(self, ref: Any, mark: Any) -> Any:
        # The copy makes it a tracer: a concrete array would let `float(ref.value)` bake a constant in.
        with _tracing.inside(self.trace):
            staged = jnp.copy(mark)
        self.marks.setdefault(ref, []).append(mark)
        return staged


def check_eager(ref: Any, writing: bool) -> None:
    """Refuses to touch a reference below a raw JAX transform, where no frame is."""
    raw = _tracing.raw_transform_inside(_tracing.EAGER)
    if raw is not None and writing:
        raise TraceContextError(_errors.raw_write(path_of(ref)))
    if raw == "staging":
        raise TraceContextError(_errors.raw_read(path_of(ref), None))


get_leaf: Callable[[Any], Any] = operator.attrgetter("_leaf")


def commit(refs: Sequence[Any], values: Sequence[Any], before: Sequence[Any] = (), born: Sequence[Any] = ()) -> None:
    """Writes carried values into references, all or none.

    Inside a frame they go to its slots, else into the references. The first of the references are
    those whose new value was computed from the carried value in `before`; `born` are those that
    were born in the transform that ends.
    """
    frame = STACK.top
    if not refs:
        return
    if frame is None:
        check_eager(refs[0], writing=True)
        with COMMIT:
            return store(refs, values, before)
    if _tracing.raw_transform_inside(frame.trace) is not None:
        raise TraceContextError(_errors.raw_write(path_of(refs[0])))
    slots, births = dict(frame.slots), dict(frame.born)
    try:
        for ref, value in zip(refs, values, strict=True):
            slot = frame.slots.get(ref)
            frame.slots[ref] = new = Slot()
            if slot is not None:
                new.entry, new.given, new.outer, new.read = slot.entry, slot.given, slot.outer, slot.read
            new.value, new.written = unpack(value), True
        frame.born.update(dict.fromkeys(born))
    except BaseException:
        frame.slots, frame.born = slots, births
        raise


def store(refs: Sequence[Any], values: Sequence[Any], before: Sequence[Any]) -> None:
    """Stores carried values in references, with `COMMIT` held; it undoes itself on any exception.

    There may be more `refs` than `values`, or more of `before`: the first ones count.
    """
    for ref, old in zip(refs, before):
        if ref._leaf is not old:
            for ref, _, old in zip(refs, values, before):
                if ref._leaf is not old:
                    raise StateConflictError(_errors.lost_update(path_of(ref)))
            break
    if len(before) < len(values):
        before = list(map(get_leaf, refs))
    try:
        for ref, value in zip(refs, values):
            ref._leaf = value
    except BaseException:
        for ref, _, old in zip(refs, values, before):
            ref._leaf = old
        raise


def commit_frame(frame: Frame, births: bool = True) -> None:
    """Commits everything that was written in a frame whose values are those of the frame below."""
    slots, born = frame.slots, tuple(frame.born) if births else ()
    updated = [ref for ref in frame.written() if slots[ref].entry is not None]
    written = [*updated, *(ref for ref in frame.written() if slots[ref].entry is None), *born]
    values = [pack(slots[ref].value) for ref in written]
    commit(written, values, [slots[ref].outer for ref in updated], born)


def run_plainly(kind: str, fn: Callable[[], Any], births: str | None = None) -> Any:
    """Calls `fn` on the values of now, for `jax.disable_jit`, still all or nothing.

    `births` is the cure for a reference that is made inside and kept; without it, it comes out with its value.
    """
    frame = Frame(kind)
    with frame.running():
        out = fn()
    if births is not None:
        frame.check_births(births)
    commit_frame(frame, births=births is None)
    return out

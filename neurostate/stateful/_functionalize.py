"""The engine: a function that touches references, traced once into a program without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax.core import Tracer, eval_jaxpr

from .. import _errors
from ._collector import StagedFrame, path_of
from ._values import Struct, flatten, leaves_of, pack, repack, struct_of


_GIVEN = object()  # stands for a constant that is given at each call


@dataclass(frozen=True, eq=False)
class Program:
    """A traced function, its references and environment made explicit.

    Calling it with the leaves of its inputs' values and of its arguments gives the leaves of the
    output and those of the values that it writes.

    - `inputs`: The references (and `environ` keys) whose values on entry it uses, in order, those
      that it writes first.
    - `structs`: Their static parts.
    - `writes`, `write_structs`: The references it writes: first those in `inputs`, in the same
      order, then the others, and the born ones last.
    - `updates`: How many of `inputs` it writes.
    - `born`: How many of `writes` were born inside.
    - `statics`: The static `environ` values it depends on.
    - `used`: Which of `inputs` the function read, rather than only wrote.
    """

    jaxpr: Any
    consts: tuple[Any, ...]
    places: tuple[tuple[int, int], ...]
    inputs: tuple[Any, ...]
    structs: tuple[Struct | None, ...]
    writes: tuple[Any, ...]
    write_structs: tuple[Struct | None, ...]
    write_counts: tuple[int, ...]
    updates: int
    born: int
    out_struct: Struct
    out_count: int
    statics: dict[str, Any]
    used: tuple[bool, ...]

    @property
    def out_avals(self) -> list[Any]:
        """The shapes and dtypes of all results: the output's leaves, then those of the values written."""
        return [variable.aval for variable in self.jaxpr.outvars]

    @property
    def captures_tracer(self) -> bool:
        """Whether it closes over a value of an enclosing trace, so that it dies with that."""
        return any(isinstance(const, Tracer) for const in self.consts)

    @property
    def constants(self) -> list[Any]:
        """The arrays that the function closes over."""
        return [const for const in self.consts if const is not None]

    def without_values(self) -> Program:
        """The same without what it keeps alive: its references and constants."""
        consts = tuple(const if const is None else _GIVEN for const in self.consts)
        return replace(self, inputs=(), writes=(), consts=consts)

    def __call__(
        self, inputs: Sequence[Any], args: Sequence[Any], constants: Sequence[Any] | None = None
    ) -> tuple[list[Any], list[Any]]:
        """Runs on carried values; gives the output's leaves and the carried values written."""
        leaves = [leaf for value in inputs for leaf in leaves_of(value)]
        rest = iter(self.constants if constants is None else constants)
        consts = [None if const is None else next(rest) for const in self.consts]
        for place, k in self.places:
            consts[place] = leaves[k]
        results = eval_jaxpr(self.jaxpr, (), *consts, *args)
        out, rest = results[: self.out_count], results[self.out_count :]
        return out, self.pack_writes(rest)

    def pack_writes(self, leaves: Sequence[Any]) -> list[Any]:
        values, k = [], 0
        for struct, count in zip(self.write_structs, self.write_counts, strict=True):
            values.append(repack(struct, leaves[k : k + count]))
            k += count
        return values


def trace(fn: Callable[..., Any], avals: Sequence[Any], frame: StagedFrame) -> tuple[Program, list[Any]]:
    """Runs `fn` once, on tracers, in `frame`, and gives the program that it stands for.

    `fn` takes one tracer for each of `avals` (arrays or `jax.ShapeDtypeStruct`s). Beside the
    program comes the list of its inputs' carried values, as the frame below has them. The program
    itself keeps no value of a reference alive.
    """
    out: list[Any] = []

    def run(*tracers: Any) -> list[Any]:
        with frame.running():
            leaves, struct = flatten(fn(*tracers))
            check_output(struct, frame.kind)
            carried = {ref: frame.leave(ref) for ref in frame.written()}
            written = sorted(carried, key=lambda ref: frame.slots[ref].entry is None)
            if frame.keeps_births:
                written.extend(frame.born)
            values = [carried[ref] if ref in carried else pack(frame.slots[ref].value) for ref in written]
            entered = [
                (ref, slot, struct_of(slot.entry)) for ref, slot in frame.slots.items() if slot.entry is not None
            ]
            entered.sort(key=lambda item: not item[1].written)
            counts = tuple(len(leaves_of(value)) for value in values)
            out.extend([struct, len(leaves), written, tuple(map(struct_of, values)), counts, entered])
            frame.forget()
            return [*leaves, *(leaf for value in values for leaf in leaves_of(value))]

    closed = jax.make_jaxpr(run)(*avals)
    struct, count, written, write_structs, write_counts, entered = out
    born = len(frame.born) if frame.keeps_births else 0
    marks = [mark for ref, _, _ in entered for mark in frame.marks.get(ref, ())]
    jaxpr, consts, places = _without_marks(closed, {id(mark): k for k, mark in enumerate(marks)})
    program = Program(
        jaxpr=jaxpr,
        consts=consts,
        places=places,
        inputs=tuple(ref for ref, _, _ in entered),
        structs=tuple(entry for _, _, entry in entered),
        writes=tuple(written),
        write_structs=write_structs,
        write_counts=write_counts,
        born=born,
        updates=sum(slot.written for _, slot, _ in entered),
        out_struct=struct,
        out_count=count,
        statics=dict(frame.statics),
        used=tuple(slot.read for _, slot, _ in entered),
    )
    return program, [slot.outer for _, slot, _ in entered]


def _without_marks(closed: Any, marks: dict[int, int]) -> tuple[Any, tuple[Any, ...], tuple[tuple[int, int], ...]]:
    """The program, its constants, and which of them are marks, as pairs of place and number of the mark.

    The constants are the first arguments of the program.

    Each mark is a constant that only one copy uses; the copy goes, and its result becomes the constant. (Within a
    `shard_map` JAX may put the constant on the mesh first: then both stay.)
    """
    jaxpr, consts, marked = closed.jaxpr, list(closed.consts), []
    copies = {id(eqn.invars[0]): eqn for eqn in jaxpr.eqns if eqn.primitive.name == "copy"}
    constvars, dropped = list(jaxpr.constvars), set()
    for place, const in enumerate(consts):
        if id(const) in marks:
            copied = copies.get(id(constvars[place]))
            if copied is not None:
                constvars[place] = copied.outvars[0]
                dropped.add(id(copied))
            marked.append((place, marks[id(const)]))
            consts[place] = None
    eqns = [eqn for eqn in jaxpr.eqns if id(eqn) not in dropped]
    jaxpr = jaxpr.replace(constvars=[], invars=[*constvars, *jaxpr.invars], eqns=eqns)
    return jaxpr, tuple(consts), tuple(marked)


def check_output(struct: Struct, kind: str) -> None:
    """Refuses a reference among the outputs of a transformed function."""
    for leaf in struct.statics:
        if hasattr(leaf, "_leaf") and hasattr(leaf, "peek"):
            raise TypeError(_errors.reference_returned(path_of(leaf), kind))

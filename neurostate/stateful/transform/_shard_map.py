"""`shard_map`: a function that sees its shard of arguments and references."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec

from ... import _errors
from .. import _staging
from .._collector import commit, path_of
from .._functionalize import check_output
from .._ref import StateRef
from .._values import flatten, leaves_of, pack, repack, struct_of
from ._target import DerivativeFrame


def shard_map(
    fun: Callable[..., Any],
    mesh: Mesh,
    in_specs: Any,
    out_specs: Any,
    *,
    state_in_specs: dict[Any, Any] | None = None,
    state_out_specs: dict[Any, Any] | None = None,
    check_vma: bool = True,
) -> Callable[..., Any]:
    """[`jax.shard_map`][] for a function that may read and write references.

    **Arguments:** as [`jax.shard_map`][].

    - `state_in_specs`: For each reference that `fun` sees a shard of, its `PartitionSpec`.
    - `state_out_specs`: How those come out, where that differs.

    Of the other references each shard sees the whole value; what is written to them must be the same in all shards.

    **Returns:** The mapped function. References keep their `NamedSharding` across calls.

    **Raises:** `TypeError` for specs that are not given by reference; `ValueError` if shards write different values to
    a reference without a spec.

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> from jax.sharding import PartitionSpec as P
    >>> V = ns.HiddenState(jnp.zeros(4))
    >>> def add(x):
    ...     V.value = V.value + x
    >>> mesh = jax.sharding.Mesh(jax.devices()[:1], ("i",))
    >>> ns.transform.shard_map(add, mesh, P("i"), P(), state_in_specs={V: P("i")})(jnp.arange(4.0))
    >>> print(V.value)
    [0. 1. 2. 3.]
    """
    if not callable(fun):
        raise TypeError(_errors.not_callable("shard_map", fun))
    for name, specs in (("state_in_specs", state_in_specs), ("state_out_specs", state_out_specs)):
        if specs is not None and not (isinstance(specs, dict) and all(isinstance(ref, StateRef) for ref in specs)):
            raise TypeError(
                f"The {name} of `shard_map` must be a dict from reference to PartitionSpec, got {specs!r:.80}."
            )
    specs_in = dict(state_in_specs or {})
    specs_out = {**specs_in, **(state_out_specs or {})}
    refs = list(specs_out)

    def run(args: tuple[Any, ...]) -> Any:
        frame = DerivativeFrame("shard_map")
        values = [frame.outer(ref) for ref in refs]
        structs: list[Any] = []
        others: list[Any] = []

        def shard(leaves: list[Any], *args: Any) -> Any:
            frame.given = {ref: repack(struct_of(v), part) for ref, v, part in zip(refs, values, leaves, strict=True)}
            with frame.running():
                out = fun(*args)
                check_output(flatten(out)[1], "shard_map")
                frame.check_births(_errors.INIT_BEFORE)
                others[:] = [ref for ref in frame.written() if ref not in specs_out]
                new = [pack(frame.slot(ref).value) for ref in (*refs, *others)]
            structs.extend(map(struct_of, new))
            leaves = [list(leaves_of(value)) for value in new]
            return out, leaves[: len(refs)], leaves[len(refs) :]

        given = [list(leaves_of(value)) for value in values]
        one = isinstance(in_specs, PartitionSpec) or not isinstance(in_specs, tuple)
        mapped = jax.shard_map(
            shard,
            mesh=mesh,
            in_specs=([specs_in.get(ref, PartitionSpec()) for ref in refs], *((in_specs,) if one else in_specs)),
            out_specs=(out_specs, [specs_out[ref] for ref in refs], PartitionSpec()),
            check_vma=check_vma,
        )
        try:
            out, new, more = mapped(given, *args)
        except ValueError as error:
            if not others:
                raise
            raise ValueError(_errors.no_state_spec(list(map(path_of, others)))) from error
        new = [repack(struct, leaves) for struct, leaves in zip(structs, [*new, *more], strict=True)]
        commit([*refs, *others], new)
        return out

    return functools.wraps(fun)(lambda *args: _staging.run("shard_map", run, args))

"""New weights for the synapses of the neurons that spike, whose cost follows how many these are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_jaxpr
from jax.custom_batching import custom_vmap

from .._custom_types import Array, Float, Int
from ._edges import Edges
from ._events import for_each_event
from ._rows import Rows


class Columns(eqx.Module):
    """The synapses of each neuron behind: their places in the list of all, and the neurons in front of them."""

    rows: Rows
    sources: Int[Array, " synapses"]

    @classmethod
    def of(cls, edges: Edges) -> Columns:
        by_post = Edges(edges.post, np.arange(len(edges)), edges.num_out, len(edges))
        return cls(Rows.of(by_post), jnp.asarray(edges.pre[by_post.post]))


def update(
    rows: Rows,
    columns: Columns | None,
    weight: Float[Array, " synapses"],
    spike: Float[Array, " num"],
    new: Callable[..., Array],
    values: tuple[Float[Array, " num_other"], ...],
) -> Float[Array, " synapses"]:
    """Sets the weights of the synapses of `rows` whose neuron in front spikes, or with `columns`, that behind.

    `new(weight, *values)` is as in `AbstractConnection.update_pre`. Differentiable, at the cost of all synapses, in
    whatever it depends on.
    """
    one = [jax.ShapeDtypeStruct((), x.dtype) for x in (weight, *values)]
    closed = jax.make_jaxpr(new)(*one)

    def renew(constants: Any, weight: Array, *values: Array) -> Array:
        each = jax.vmap(lambda *args: eval_jaxpr(closed.jaxpr, constants, *args)[0])
        return each(weight, *values).astype(weight.dtype)

    @jax.custom_jvp
    def run(tables: Any, constants: Any, weight: Array, spike: Array, values: Any) -> Array:
        batched = jax.tree.map(lambda x: x[None], (weight, spike, values))
        return _joined(renew)(tables, constants, *batched)[0]

    def in_full(tables: Any, constants: Any, weight: Array, spike: Array, values: Any) -> Array:
        rows, columns = tables
        near, far = rows.sources(), rows.targets
        near, far = (near, far) if columns is None else (far, near)
        spike = spike[near]
        return (1 - spike) * weight + spike * renew(constants, weight, *(value[far] for value in values))

    @run.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return run(*primals), jax.jvp(in_full, primals, tangents)[1]

    return run((rows, columns), closed.consts, weight, spike, values)


def _joined(renew: Callable[..., Array]) -> Any:
    """The loop over events, which `vmap` joins to one."""

    @custom_vmap
    def run(tables: Any, constants: Any, weight: Array, spike: Array, values: Any) -> Array:
        return _loop(renew, tables, constants, weight, spike, values)

    @run.def_vmap
    def _(size: int, in_batched: Any, *args: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        mapped = jax.tree.leaves(in_batched)
        every = [x if is_mapped else jnp.broadcast_to(x, (size, *x.shape)) for x, is_mapped in zip(leaves, mapped)]
        if any(jax.tree.leaves(in_batched[:2])):
            return jax.lax.map(lambda leaves: run(*jax.tree.unflatten(tree, leaves)), every), True
        weight, spike, values = jax.tree.unflatten(tree, every)[2:]
        joined = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), (weight, spike, values))
        return run(*args[:2], *joined).reshape(weight.shape), True

    return run


def _loop(renew: Any, tables: Any, constants: Any, weight: Array, spike: Array, values: Any) -> Array:
    rows, columns = tables
    (batch, synapses), num = weight.shape, spike.shape[1]
    table, partners = (rows, rows.targets) if columns is None else (columns.rows, columns.sources)
    flat, values = spike.reshape(-1), [value.reshape(-1) for value in values]
    size = rows.num_out if columns is None else rows.num_in

    def one(event: Any, weight: Array) -> Array:
        i, lane = (event, 0) if batch == 1 else (event % num, event // num)

        def part(place: Any, valid: Array | None, weight: Array) -> Array:
            here = lambda a: jax.lax.dynamic_slice_in_dim(a, place, table.part)  # noqa: E731
            first, at = lane * synapses, None
            if columns is None:  # they lie one after the other
                old = jax.lax.dynamic_slice_in_dim(weight, first + place, table.part)
            else:
                at = here(table.targets) + first
                old = weight[at]
            far, share = here(partners) + lane * size, flat[event]
            changed = (1 - share) * old + share * renew(constants, old, *(value[far] for value in values))
            changed = changed if valid is None else jnp.where(valid, changed, old)
            if at is None:
                return jax.lax.dynamic_update_slice_in_dim(weight, changed, first + place, 0)
            return weight.at[at].set(changed, mode="promise_in_bounds", unique_indices=True)

        return table.for_each_part(i, part, weight)

    return for_each_event(flat != 0, one, weight.reshape(-1)).reshape(batch, synapses)

"""The sum over all synapses, silent ones too."""

from __future__ import annotations

from typing import Final

import jax
import jax.numpy as jnp

from .._custom_types import Array, Float, Int


# How many synapses are looked at together, so that what they send stays in the cache of a CPU.
_BLOCK: Final = 1 << 14


def sum_over_synapses(
    pre: Int[Array, " synapses"],
    post: Int[Array, " synapses"],
    x: Float[Array, "batch num_in"],
    weight: Float[Array, "..."],
    num_out: int,
) -> Float[Array, "batch num_out"]:
    """What arrives at each neuron: linear in `x`, and in `weight`, which is one for all or one for each synapse.

    Batches lie next to each other in memory, and synapses are taken in blocks, forwards and in the derivative, which
    computes them again instead of keeping them.
    """
    columns, weight = x.T, weight.astype(x.dtype)

    def add(out: Array, block: tuple[Array, ...]) -> Array:
        pre, post, *own = block
        terms = columns.at[pre].get(mode="promise_in_bounds") * (own[0][:, None] if own else weight)
        return out.at[post].add(terms, mode="promise_in_bounds")

    synapses = (pre, post) if weight.ndim == 0 else (pre, post, weight)
    out = jnp.zeros((num_out, x.shape[0]), x.dtype)
    blocks = pre.shape[0] // _BLOCK
    if blocks:
        whole = [a[: blocks * _BLOCK].reshape(blocks, _BLOCK) for a in synapses]
        step = jax.checkpoint(add, prevent_cse=False)
        out, _ = jax.lax.scan(lambda out, block: (step(out, block), None), out, tuple(whole))
    return add(out, tuple(a[blocks * _BLOCK :] for a in synapses)).T

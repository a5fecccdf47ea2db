"""Random connectivities, of a probability, of numbers of synapses, and of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._custom_types import Key, Size, as_shape
from .._units import argument
from ._draws import (
    BLOCK,
    check_count,
    check_probability,
    check_square,
    count,
    distinct,
    generator,
    in_order,
    skipping_self,
)
from ._edges import Edges


def fixed_probability(in_size: Size, out_size: Size, p: float, *, key: Key, autapses: bool = True) -> Edges:
    """Connects each pair of neurons with the probability `p`, independently.

    Needs memory for the synapses only.

    **Arguments:**

    - `in_size`, `out_size`: The sizes of the populations.
    - `p`: The probability.
    - `key`: A random key, on which alone the result depends.
    - `autapses`: Whether a neuron may be connected to itself, where both are one population.

    **Raises:** `ValueError` for a `p` that is none, without a key, or for different sizes without autapses.

    >>> import jax, neurostate as ns
    >>> ns.connect.fixed_probability(1000, 1000, 0.1, key=jax.random.key(0))
    Edges(100083 synapses, (1000,) -> (1000,))
    """
    owner, rng = "fixed_probability", generator(key, "fixed_probability")
    p, num_in = check_probability(p, owner), count(in_size)
    num_out = count(out_size) if autapses else check_square(in_size, out_size, owner) - 1
    pre, post = _pairs(rng, num_in, num_out, p)
    return Edges(pre, post if autapses else skipping_self(post, pre), in_size, out_size)


def _pairs(rng: np.random.Generator, num_in: int, num_out: int, p: float) -> tuple[Any, Any]:
    """The pairs that a probability connects, in order."""
    total = num_in * num_out
    if total <= 0 or p == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if p == 1:
        return np.divmod(np.arange(total), num_out)
    # The gaps between those that are connected, in a row of all pairs, are geometric.
    parts, at = [], -1
    while at < total:
        gaps = rng.geometric(p, min(BLOCK, int((total - at) * p * 1.01) + 64))
        part = at + np.cumsum(gaps)
        at = int(part[-1])
        pre, post = np.divmod(part[part < total], num_out)
        parts.append((pre.astype(np.int32), post.astype(np.int32)))
    pres, posts = zip(*parts, strict=True)
    return np.concatenate(pres), np.concatenate(posts)


def fixed_outdegree(
    in_size: Size, out_size: Size, k: int, *, key: Key, multapses: bool = True, autapses: bool = True
) -> Edges:
    """Connects each neuron to `k` others, drawn from all with equal probability.

    **Arguments:**

    - `in_size`, `out_size`: The sizes of the populations.
    - `k`: The number of synapses of each neuron.
    - `key`: A random key.
    - `multapses`: Whether two neurons may be connected more than once.
    - `autapses`: Whether a neuron may be connected to itself.

    **Raises:** as [`neurostate.connect.fixed_probability`][]; `ValueError` for a `k` that is negative, or larger than
    the population without multapses.

    >>> import jax, neurostate as ns
    >>> edges = ns.connect.fixed_outdegree(5, 100, 3, key=jax.random.key(0))
    >>> print(edges.pre)
    [0 0 0 1 1 1 2 2 2 3 3 3 4 4 4]
    """
    post = _partners("fixed_outdegree", in_size, out_size, k, key, multapses, autapses)
    return Edges(np.repeat(np.arange(count(in_size), dtype=np.int32), k), post.reshape(-1), in_size, out_size)


def fixed_indegree(
    in_size: Size, out_size: Size, k: int, *, key: Key, multapses: bool = True, autapses: bool = True
) -> Edges:
    """Connects `k` neurons to each neuron, drawn from all with equal probability.

    **Arguments:** and **Raises:** as [`neurostate.connect.fixed_outdegree`][], with `k` synapses behind which each
    neuron is.

    >>> import jax, neurostate as ns, numpy as np
    >>> edges = ns.connect.fixed_indegree(100, 5, 3, key=jax.random.key(0))
    >>> print(np.bincount(edges.post))
    [3 3 3 3 3]
    """
    pre = _partners("fixed_indegree", out_size, in_size, k, key, multapses, autapses).reshape(-1)
    post = np.repeat(np.arange(count(out_size), dtype=np.int32), k)
    return Edges(*in_order(pre, post), in_size, out_size)


def _partners(owner: str, size: Size, partner_size: Size, k: int, key: Key, multapses: bool, autapses: bool) -> Any:
    """For each neuron `k` of the other population, as an array of shape `(size, k)`."""
    rng, rows, choices = generator(key, owner), count(size), count(partner_size)
    if not autapses:
        choices = check_square(size, partner_size, owner) - 1
    k = check_count(k, None if multapses else choices, owner)
    if k and choices < 1:
        raise ValueError(f"`{owner}` has no neuron to connect with: the sizes are {size} and {partner_size}.")
    if multapses:
        chosen = rng.integers(0, choices, (rows, k), dtype=np.int32)
    else:
        step = max(1, BLOCK // max(k, choices if k * 4 >= choices else k, 1))
        parts = [distinct(rng, min(step, rows - first), k, choices) for first in range(0, rows, step)]
        chosen = np.concatenate(parts) if parts else np.zeros((0, k), np.int32)
    return chosen if autapses else skipping_self(chosen, np.arange(rows, dtype=np.int32)[:, None])


def fixed_total(
    in_size: Size, out_size: Size, total: int, *, key: Key, multapses: bool = True, autapses: bool = True
) -> Edges:
    """Draws so many synapses in all, each between two neurons that are drawn with equal probability.

    **Arguments:** and **Raises:** as [`neurostate.connect.fixed_outdegree`][], with the number of all synapses.

    >>> import jax, neurostate as ns
    >>> ns.connect.fixed_total(100, 50, 7, key=jax.random.key(0))
    Edges(7 synapses, (100,) -> (50,))
    """
    owner, rng = "fixed_total", generator(key, "fixed_total")
    num_in, num_out = count(in_size), count(out_size)
    if not autapses:
        num_out = check_square(in_size, out_size, owner) - 1
    pairs = num_in * num_out
    total = check_count(total, None if multapses else pairs, owner, "total")
    if multapses:
        place = np.sort(rng.integers(0, pairs, total)) if total else np.zeros(0, np.int64)
    elif total * 2 > pairs:  # then those that are left out are fewer
        place = np.delete(np.arange(pairs), _different(rng, pairs - total, pairs))
    else:
        place = _different(rng, total, pairs)
    pre, post = np.divmod(place, max(num_out, 1))
    return Edges(pre, post if autapses else skipping_self(post, pre), in_size, out_size)


def _different(rng: np.random.Generator, many: int, below: int) -> Any:
    """So many different numbers, in order; at most half of those below the bound."""
    found = np.zeros(0, np.int64)
    while found.size < many:
        found = np.concatenate([found, rng.integers(0, below, many - found.size)])
        found.sort()
        found = found[np.append(True, found[1:] != found[:-1])]
    return found


def blocks(sizes: Sequence[int], p: Any, *, key: Key, autapses: bool = True) -> Edges:
    """Connects the neurons of one population with a probability that depends on their blocks.

    **Arguments:**

    - `sizes`: The numbers of neurons of the blocks, one after the other in the population.
    - `p`: The probabilities: `p[i][j]` from block `i` to block `j`.
    - `key`, `autapses`: As in [`neurostate.connect.fixed_probability`][].

    For weights with a sign for each block, see [`neurostate.connect.block_values`][].

    **Raises:** as [`neurostate.connect.fixed_probability`][]; `ValueError` if `p` does not have the shape.

    >>> import jax, neurostate as ns
    >>> edges = ns.connect.blocks([80, 20], [[0.1, 0.2], [0.4, 0.4]], key=jax.random.key(0))
    >>> weight = ns.connect.block_values([80, 20], [1.0, -4.0])[edges.pre]  # excitatory, inhibitory
    """
    sizes = tuple(int(n) for n in sizes)
    p = np.asarray(p, float)
    if p.shape != (len(sizes),) * 2:
        raise ValueError(f"{argument('blocks', 'p')} must have the shape {(len(sizes),) * 2}, got {p.shape}.")
    rng, total, first = generator(key, "blocks"), sum(sizes), np.cumsum([0, *sizes], dtype=np.int32)
    ordered = [(np.zeros(0, np.int32),) * 2]
    for i, rows in enumerate(sizes):
        pres, posts = [], []
        for j, columns in enumerate(sizes):
            skips = not autapses and i == j
            chance = check_probability(float(p[i, j]), "blocks")
            pre, post = _pairs(rng, rows, columns - skips, chance)
            pres.append(pre + first[i])
            posts.append((skipping_self(post, pre) if skips else post) + first[j])
        ordered.append(in_order(np.concatenate(pres), np.concatenate(posts)))
    pre, post = (np.concatenate(parts) for parts in zip(*ordered, strict=True))
    return Edges(pre, post, total, total)


def block_values(sizes: Sequence[int], values: Sequence[float]) -> Any:
    """One value for each neuron, that of its block: a sign for `Dense(sign=...)`, or a weight.

    >>> import neurostate as ns
    >>> print(ns.connect.block_values([3, 2], [1, -1]))
    [ 1  1  1 -1 -1]
    """
    return np.repeat(np.asarray(values), sizes)


def one_to_one(size: Size) -> Edges:
    """Connects each neuron to that of the same index.

    >>> import neurostate as ns
    >>> ns.connect.one_to_one(4)
    Edges(4 synapses, (4,) -> (4,))
    """
    every = np.arange(count(size), dtype=np.int32)
    return Edges(every, every, size, size)


def all_to_all(in_size: Size, out_size: Size, *, autapses: bool = True) -> Edges:
    """Connects all neurons to all.

    **Raises:** `ValueError` for different sizes without autapses.

    >>> import neurostate as ns
    >>> ns.connect.all_to_all(4, 4, autapses=False)
    Edges(12 synapses, (4,) -> (4,))
    """
    num_in, num_out = count(in_size), count(out_size)
    if not autapses:
        num_out = check_square(in_size, out_size, "all_to_all") - 1
    pre, post = np.divmod(np.arange(num_in * max(num_out, 0)), max(num_out, 1))
    return Edges(pre, post if autapses else skipping_self(post, pre), in_size, out_size)


def from_scipy(matrix: Any) -> tuple[Edges, Any]:
    """The synapses of a matrix of SciPy's `sparse`, with a row for each neuron in front, and their weights.

    **Returns:** The edges, and the weights in their order.

    **Raises:** `TypeError` for what has no method `tocoo`.

    >>> import neurostate as ns, scipy.sparse
    >>> edges, weight = ns.connect.from_scipy(scipy.sparse.csr_array([[0.0, 2.0], [3.0, 0.0]]))
    >>> print(edges.pre, edges.post, weight)
    [0 1] [1 0] [2. 3.]
    """
    if not callable(getattr(matrix, "tocoo", None)):
        raise TypeError(f"`from_scipy` needs a sparse matrix of SciPy, got one of type {type(matrix).__name__}.")
    found = matrix.tocoo()
    num_in, num_out = as_shape(found.shape)
    order = np.argsort(found.row, kind="stable")
    return Edges(found.row[order], found.col[order], num_in, num_out), np.asarray(found.data)[order]

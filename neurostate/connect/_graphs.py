"""Connectivities of graphs and of space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._custom_types import Key, Size, as_shape
from .._units import argument
from ._draws import BLOCK, check_count, check_probability, count, generator, in_order, skipping_self
from ._edges import Edges


def small_world(size: Size, k: int, p: float, *, key: Key) -> Edges:
    """A directed small world (Watts and Strogatz 1998, *Collective dynamics of 'small-world' networks*).

    On a ring, each neuron sends to its `k` nearest ones, half of them on each side; then each synapse is, with the
    probability `p`, sent to another neuron that is drawn from all that have none from it. So each neuron keeps `k`.

    **Arguments:**

    - `size`: The size of the population.
    - `k`: The number of synapses of each neuron: even, and below the number of neurons.
    - `p`: The probability with which a synapse is sent elsewhere.
    - `key`: A random key.

    **Raises:** `ValueError` for a `k` or `p` out of range, or without a key.

    >>> import jax, neurostate as ns
    >>> ns.connect.small_world(100, 4, 0.1, key=jax.random.key(0))
    Edges(400 synapses, (100,) -> (100,))
    """
    owner, rng, n = "small_world", generator(key, "small_world"), count(size)
    k, p = check_count(k, n - 1, owner), check_probability(p, owner)
    if k % 2:
        raise ValueError(f"{argument(owner, 'k')} must be even, half of it for each side of the ring, got {k}.")
    steps = np.concatenate([np.arange(1, k // 2 + 1), -np.arange(1, k // 2 + 1)])
    parts = [np.zeros(0, np.int32)]
    for first in range(0, n, max(1, BLOCK // max(k, 1))):
        own = np.arange(first, min(n, first + max(1, BLOCK // max(k, 1))))
        parts.append(_rewired(rng, own, (own[:, None] + steps) % n, p, n).reshape(-1))
    return Edges(np.repeat(np.arange(n, dtype=np.int32), k), np.concatenate(parts), size, size)


def _rewired(rng: np.random.Generator, own: Any, post: Any, p: float, n: int) -> Any:
    """The targets in rows, ordered, of which each was drawn anew with the probability `p`, all of a row different."""
    # The last bit tells those that were drawn; they come behind one that stays, and are drawn again if it is the same.
    draw = lambda own: 2 * skipping_self(rng.integers(0, n - 1, own.shape), own) + 1  # noqa: E731
    moved = rng.random(post.shape) < p
    chosen = 2 * post
    chosen[moved] = draw(np.broadcast_to(own[:, None], post.shape)[moved])
    rows = np.flatnonzero(moved.any(axis=1))
    chosen.sort(axis=1)
    while rows.size:
        some = chosen[rows]
        again = np.zeros(some.shape, bool)
        again[:, 1:] = some[:, 1:] // 2 == some[:, :-1] // 2
        some[again] = draw(np.broadcast_to(own[rows, None], some.shape)[again])
        some.sort(axis=1)
        chosen[rows] = some
        rows = rows[again.any(axis=1)]
    return (chosen // 2).astype(np.int32)


def scale_free(size: Size, m: int, *, key: Key) -> Edges:
    """A scale-free network (Barabási and Albert 1999, *Emergence of scaling in random networks*).

    Neurons join one after the other, each connected to `m` of those before it, which are drawn in proportion to how
    many connections they have. Each connection is a synapse in both directions.

    **Arguments:**

    - `size`: The size of the population.
    - `m`: With how many a neuron connects when it joins: at least 1, below the number of neurons.
    - `key`: A random key.

    **Raises:** `ValueError` for an `m` out of range, or without a key.

    >>> import jax, neurostate as ns
    >>> ns.connect.scale_free(100, 2, key=jax.random.key(0))
    Edges(392 synapses, (100,) -> (100,))
    """
    owner, rng, n = "scale_free", generator(key, "scale_free"), count(size)
    if check_count(m, None, owner, "m") < 1 or m >= n:
        raise ValueError(f"{argument(owner, 'm')} must be at least 1 and below the number of neurons, {n}, got {m}.")
    # Each neuron is in this list as often as it has connections, so that drawing from it is in their proportion.
    ends = np.zeros(2 * m * (n - m), np.int32)
    filled = 0
    for new in range(m, n):
        if new == m:
            chosen = np.arange(m)
        else:
            chosen = np.unique(ends[rng.integers(0, filled, m)])
            while chosen.size < m:
                chosen = np.unique(np.append(chosen, ends[rng.integers(0, filled, m - chosen.size)]))
        ends[filled : filled + m], ends[filled + m : filled + 2 * m] = chosen, new
        filled += 2 * m
    pairs = ends.reshape(n - m, 2, m)
    old, new = pairs[:, 0].reshape(-1), pairs[:, 1].reshape(-1)
    pre, post = np.concatenate([old, new]), np.concatenate([new, old])
    return Edges(*in_order(pre, post), size, size)


def positions(size: Size, spacing: float = 1.0) -> Any:
    """The points of a grid, one for each neuron of a population of that shape: an array `(neurons, axes)`.

    >>> import neurostate as ns
    >>> print(ns.connect.positions((2, 2)).tolist())
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    shape = as_shape(size)
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, len(shape)) * spacing


def distances(edges: Edges, at: Any, to: Any = None, *, period: Any = None) -> Any:
    """How long each synapse is, e.g. for delays that grow with it.

    **Arguments:**

    - `edges`: The synapses.
    - `at`, `to`: The positions of the neurons in front and behind, `(neurons, axes)`; `to` is by default `at`.
    - `period`: The length of each axis of a ring or torus; `None` for a space that has ends.

    **Returns:** The lengths, in the order in which the edges were given, which is that of weights and delays.

    >>> import neurostate as ns
    >>> print(ns.connect.distances(ns.connect.Edges([0, 0], [1, 3], 4, 4), ns.connect.positions(4), period=4.0))
    [1. 1.]
    """
    at = np.asarray(at, float)
    to = at if to is None else np.asarray(to, float)
    lengths = _lengths(at[edges.pre] - to[edges.post], period)
    if edges.order is not None:
        lengths[edges.order] = lengths.copy()
    return lengths


def pairwise(
    p: Callable[[Any], Any], at: Any, to: Any = None, *, key: Key, period: Any = None, autapses: bool = True
) -> Edges:
    """Connects each pair of neurons with a probability that depends on their distance.

    **Arguments:**

    - `p`: Gives the probabilities for an array of distances, such as `lambda d: 0.8 * np.exp(-((d / 3) ** 2))`.
    - `at`, `to`: The positions of the neurons in front and behind, `(neurons, axes)`; `to` is by default `at`. Those of
        a grid are `positions((20, 20))`.
    - `key`: A random key.
    - `period`: The length of each axis of a ring or torus; `None` for a space that has ends.
    - `autapses`: Whether a neuron may be connected to itself, where `to` is not given.

    **Raises:** `ValueError` for probabilities out of range, positions of different spaces, or without a key.

    >>> import jax, neurostate as ns, numpy as np
    >>> ring = ns.connect.positions(50)
    >>> near = lambda distance: distance <= 2
    >>> ns.connect.pairwise(near, ring, key=jax.random.key(0), period=50.0, autapses=False)
    Edges(200 synapses, (50,) -> (50,))
    """
    owner, rng = "pairwise", generator(key, "pairwise")
    at = np.asarray(at, float)
    own = to is None
    to = at if to is None else np.asarray(to, float)
    if at.ndim != 2 or to.ndim != 2 or at.shape[1] != to.shape[1]:
        raise ValueError(f"`{owner}` needs positions of shape (neurons, axes), got {at.shape} and {to.shape}.")
    rows = max(1, BLOCK // max(len(to), 1))
    pres, posts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first in range(0, len(at), rows):
        chance = np.asarray(p(_lengths(at[first : first + rows, None] - to, period)), float)
        if chance.shape != (min(rows, len(at) - first), len(to)) or np.any((chance < 0) | (chance > 1)):
            raise ValueError(f"{argument(owner, 'p')} must give a probability between 0 and 1 for each distance.")
        pre, post = np.nonzero(rng.random(chance.shape) < chance)
        keep = np.ones(pre.size, bool) if autapses or not own else pre + first != post
        pres.append(pre[keep] + first)
        posts.append(post[keep])
    return Edges(np.concatenate(pres), np.concatenate(posts), len(at), len(to))


def _lengths(difference: Any, period: Any) -> Any:
    if period is not None:
        difference = np.abs(difference)
        difference = np.minimum(difference, period - difference)
    return np.sqrt((difference**2).sum(-1)) if difference.shape[-1] > 1 else np.abs(difference[..., 0])

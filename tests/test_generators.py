"""Connectivities: their numbers, their laws, one result for each key, and what is refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import scipy.sparse

import neurostate as ns


C = ns.connect
KEY = jax.random.key(0)
GENERATORS = {
    "fixed_probability": lambda key, **kw: C.fixed_probability(60, 60, 0.2, key=key, **kw),
    "fixed_outdegree": lambda key, **kw: C.fixed_outdegree(60, 60, 12, key=key, **kw),
    "fixed_indegree": lambda key, **kw: C.fixed_indegree(60, 60, 12, key=key, **kw),
    "fixed_total": lambda key, **kw: C.fixed_total(60, 60, 700, key=key, **kw),
    "blocks": lambda key, **kw: C.blocks([40, 20], [[0.1, 0.2], [0.3, 0.4]], key=key, **kw),
    "pairwise": lambda key, **kw: C.pairwise(lambda d: np.exp(-d / 4), C.positions((6, 10)), key=key, **kw),
    "small_world": lambda key: C.small_world(60, 6, 0.3, key=key),
    "scale_free": lambda key: C.scale_free(60, 3, key=key),
}
WITHOUT_MULTAPSES = ("fixed_outdegree", "fixed_indegree", "fixed_total")


def pairs(edges):
    return edges.pre.astype(int) * edges.num_out + edges.post


@pytest.mark.parametrize("name", GENERATORS)
def test_one_result_for_each_key_in_order(name):
    make = GENERATORS[name]
    first, again, other = make(KEY), make(KEY), make(jax.random.key(1))
    assert np.array_equal(first.pre, again.pre) and np.array_equal(first.post, again.post)
    assert first.pre.shape != other.pre.shape or not np.array_equal(pairs(first), pairs(other))
    assert first.order is None and first.pre.dtype == first.post.dtype == np.int32
    assert first.post.min() >= 0 and first.post.max() < 60 and np.all(np.diff(first.pre) >= 0)
    old = make(jax.random.PRNGKey(0))
    assert np.array_equal(pairs(first), pairs(old))
    with pytest.raises(ValueError, match=f"`{name}` draws random numbers and needs a key"):
        make(None)


@pytest.mark.parametrize("name", [name for name in GENERATORS if name not in ("small_world", "scale_free")])
def test_no_autapses_or_multapses_where_none_are_wanted(name):
    some = GENERATORS[name](KEY)
    assert (some.pre == some.post).any()
    none = GENERATORS[name](KEY, autapses=False)
    assert not (none.pre == none.post).any() and len(none) > 300
    if name in WITHOUT_MULTAPSES:
        assert np.unique(pairs(some)).size < len(some)
        none = GENERATORS[name](KEY, autapses=False, multapses=False)
        assert not (none.pre == none.post).any()
    assert np.unique(pairs(none)).size == len(none)


@pytest.mark.parametrize("k", [3, 150, 199])
def test_degrees(k):
    for multapses in (False, True):
        out = C.fixed_outdegree(50, 200, k, key=KEY, multapses=multapses)
        into = C.fixed_indegree(200, 50, k, key=KEY, multapses=multapses)
        assert np.all(np.bincount(out.pre, minlength=50) == k) and np.all(np.bincount(into.post, minlength=50) == k)
        uses = np.bincount(out.post, minlength=200)
        assert abs(uses.mean() - k / 4) < 1e-9 and uses.std() < 4 * np.sqrt(k / 4) + 1
    assert len(C.fixed_total(50, 200, 10 * k, key=KEY, multapses=False)) == 10 * k
    assert len(C.fixed_total(50, 200, 9900, key=KEY, multapses=False)) == 9900


@pytest.mark.parametrize("p", [0.0, 0.01, 0.5, 1.0])
def test_probabilities(p):
    edges = C.fixed_probability(300, 400, p, key=KEY)
    assert abs(len(edges) - 120_000 * p) <= 4 * np.sqrt(120_000 * p * (1 - p))
    for counts, number in ((np.bincount(edges.pre, minlength=300), 400), (np.bincount(edges.post, minlength=400), 300)):
        assert abs(counts.var() / max(number * p * (1 - p), 1) - 1) < 0.4 or p in (0.0, 1.0)
    sizes, chances = [100, 300], np.array([[p, 0.3], [0.7, 1 - p]])
    blocks = C.blocks(sizes, chances, key=KEY)
    which = C.block_values(sizes, [0, 1])
    found = np.zeros((2, 2))
    np.add.at(found, (which[blocks.pre], which[blocks.post]), 1)
    pairs_of = np.outer(sizes, sizes)
    assert np.all(np.abs(found - pairs_of * chances) <= 4 * np.sqrt(pairs_of * chances * (1 - chances)))


def test_the_small_world_and_the_scale_free_network():
    ring = C.small_world(100, 6, 0.0, key=KEY)
    assert np.all(np.isin((ring.post - ring.pre) % 100, [1, 2, 3, 97, 98, 99]))
    moved = C.small_world(1000, 6, 0.2, key=KEY)
    assert np.all(np.bincount(moved.pre) == 6) and np.unique(pairs(moved)).size == 6000
    away = ~np.isin((moved.post - moved.pre) % 1000, [1, 2, 3, 997, 998, 999])
    assert abs(away.mean() - 0.2) < 4 * np.sqrt(0.16 / 6000) + 0.005
    free = C.scale_free(4000, 3, key=KEY)
    degree = np.bincount(free.pre)
    assert np.array_equal(np.sort(pairs(free)), np.sort(free.post.astype(int) * 4000 + free.pre)) and degree.min() == 3
    # P(degree >= k) goes like k**-2: a tail far heavier than any of a random network of the same mean.
    tail = [(degree >= k).mean() for k in (10, 20, 40)]
    assert 1.5 < np.log2(tail[0] / tail[1]) < 2.5 and 1.5 < np.log2(tail[1] / tail[2]) < 2.7


def test_space():
    at = C.positions((20, 30), spacing=2.0)
    near = C.pairwise(lambda d: (d <= 2.0) * 1.0, at, key=KEY, autapses=False)
    assert np.all(C.distances(near, at) == 2.0) and len(near) == 2 * (19 * 30 + 20 * 29)
    torus = C.pairwise(lambda d: (d <= 2.0) * 1.0, at, key=KEY, period=np.array([40.0, 60.0]), autapses=False)
    assert len(torus) == 4 * 600 and np.all(C.distances(torus, at, period=np.array([40.0, 60.0])) == 2.0)
    soft = C.pairwise(lambda d: np.exp(-d / 10), at, at + 1.0, key=KEY)
    d = np.sqrt(((at[:, None] - at - 1.0) ** 2).sum(-1))
    assert abs(len(soft) - np.exp(-d / 10).sum()) < 4 * np.sqrt(np.exp(-d / 10).sum())


def test_fixed_graphs_and_matrices():
    assert np.array_equal(C.one_to_one((2, 3)).pre, np.arange(6))
    assert len(C.all_to_all(3, 4)) == 12 and np.unique(pairs(C.all_to_all(5, 5, autapses=False))).size == 20
    rng = np.random.default_rng(0)
    matrix = scipy.sparse.csc_array(rng.random((30, 20)) * (rng.random((30, 20)) < 0.1))
    edges, weight = C.from_scipy(matrix)
    dense = np.zeros((30, 20))
    dense[edges.pre, edges.post] = weight
    assert np.array_equal(dense, matrix.toarray())
    assert np.allclose(C.EventSparse(edges, weight).matrix(), matrix.toarray())


def test_edges_in_any_order_keep_their_weights():
    pre, post, w = np.array([2, 0, 1, 0]), np.array([1, 1, 0, 0]), np.array([1.0, 2.0, 3.0, 4.0])
    edges = C.Edges(pre, post, 3, 2)
    assert np.allclose(C.EventSparse(edges, w).matrix(), [[4, 2], [3, 0], [0, 1]])


WRONG = {
    "p": (lambda: C.fixed_probability(3, 3, 1.5, key=KEY), ValueError, "`p` of `fixed_probability` must be between"),
    "k": (lambda: C.fixed_outdegree(3, 3, 4, key=KEY, multapses=False), ValueError, "only 3 to choose from"),
    "float k": (lambda: C.fixed_indegree(3, 3, 1.5, key=KEY), TypeError, "`k` of `fixed_indegree` must be an int"),
    "sizes": (lambda: C.fixed_probability(3, 4, 0.1, key=KEY, autapses=False), ValueError, "one population on both"),
    "odd": (lambda: C.small_world(10, 3, 0.1, key=KEY), ValueError, "must be even"),
    "m": (lambda: C.scale_free(5, 5, key=KEY), ValueError, "below the number of neurons"),
    "blocks": (lambda: C.blocks([3, 4], [[0.1]], key=KEY), ValueError, "must have the shape \\(2, 2\\)"),
    "distance": (lambda: C.pairwise(lambda d: d, C.positions(9), key=KEY), ValueError, "probability between 0 and 1"),
    "range": (lambda: C.Edges([0, 3], [0, 0], 3, 1), ValueError, "pre indices from 0 to 3, .* the indices 0 to 2"),
    "lengths": (lambda: C.Edges([0, 1], [0], 3, 1), ValueError, "as many `post` as `pre`"),
    "floats": (lambda: C.Edges([0.5], [0], 3, 1), TypeError, "pre indices that are ints"),
    "none": (lambda: C.EventSparse(C.Edges([], [], 3, 1)), ValueError, "at least one synapse"),
    "no matrix": (lambda: C.from_scipy(np.eye(2)), TypeError, "sparse matrix of SciPy"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case):
    make, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        make()


def test_lengths_are_in_the_order_of_the_weights():
    at, pre, post = C.positions(9), np.array([5, 0, 3]), np.array([6, 2, 8])
    edges = C.Edges(pre, post, 9, 9)
    assert np.array_equal(C.distances(edges, at), [1.0, 2.0, 5.0])
    lengths = np.asarray(C.EventSparse(edges, C.distances(edges, at)).matrix())
    assert np.array_equal(lengths[pre, post], [1.0, 2.0, 5.0])


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_a_rewired_ring_has_no_autapses_or_multapses_even_if_nearly_full(p):
    ring = C.small_world(12, 10, p, key=KEY)
    assert np.all(np.bincount(ring.pre) == 10) and np.unique(pairs(ring)).size == 120
    assert not (ring.pre == ring.post).any() and C.small_world(5, 0, 0.1, key=KEY).pre.size == 0


def test_every_subset_is_as_likely():
    # 6 subsets of 2 out of 4 pairs, and 10 pairs of targets out of 5 on a ring that is all drawn anew.
    keys = [jax.random.key(k) for k in range(600)]
    found = [tuple(pairs(C.fixed_total(2, 2, 2, key=key, multapses=False))) for key in keys]
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert counts.size == 6 and np.all(np.abs(counts - 100) < 4 * np.sqrt(100))
    found = [tuple(C.small_world(6, 2, 1.0, key=key).post[:2]) for key in keys]
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert counts.size == 10 and np.all(np.abs(counts - 60) < 4 * np.sqrt(60))

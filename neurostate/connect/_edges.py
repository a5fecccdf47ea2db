"""Which neuron is connected to which: the edges of a connectivity."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final

import numpy as np

from .._custom_types import Shape, Size, as_shape


_MSG_RANGE: Final = (
    "`Edges` has {name} indices from {low} to {high}, but a population of the size {size} has the indices 0 to {last}. "
    "Are `pre` and `post`, or the sizes, in the wrong order? A population of more than one axis is counted in C order."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Edges:
    """A list of synapses: synapse `k` goes from neuron `pre[k]` to neuron `post[k]`.

    Kept on the host, ordered by `pre`. Two synapses may join the same two neurons (a multapse), and a neuron may be
    connected to itself (an autapse). Weights and delays of the synapses are given in the order in which these were.

    **Arguments:**

    - `pre`, `post`: Indices of neurons, arrays of ints of the same length; counted in C order where a population has
        more than one axis.
    - `in_size`, `out_size`: The shape of the population in front of the synapses, and of that behind them.

    **Raises:** `ValueError` for indices out of range, or arrays that do not fit; `TypeError` if they are not ints.

    >>> import neurostate as ns
    >>> edges = ns.connect.Edges([1, 0, 0], [2, 1, 2], in_size=2, out_size=3)
    >>> edges.pre, edges.post, edges.order
    (array([0, 0, 1], dtype=int32), array([1, 2, 2], dtype=int32), array([1, 2, 0]))
    """

    pre: Any
    post: Any
    in_size: Size
    out_size: Size
    # Where each synapse was in the arrays that were given; `None` if they were ordered by `pre`.
    order: Any = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        in_size, out_size = as_shape(self.in_size), as_shape(self.out_size)
        pre = _as_indices(self.pre, "pre", in_size)
        post = _as_indices(self.post, "post", out_size)
        if pre.shape != post.shape:
            raise ValueError(f"`Edges` needs as many `post` as `pre`, got {post.size} and {pre.size}.")
        order = None
        if np.any(pre[1:] < pre[:-1]):
            order = np.argsort(pre, kind="stable")
            pre, post = pre[order], post[order]
        for name, value in {"pre": pre, "post": post, "in_size": in_size, "out_size": out_size, "order": order}.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return self.pre.size

    @property
    def num_in(self) -> int:
        """How many neurons are in front of the synapses."""
        return math.prod(as_shape(self.in_size))

    @property
    def num_out(self) -> int:
        """How many neurons are behind the synapses."""
        return math.prod(as_shape(self.out_size))

    def starts(self) -> Any:
        """Where the synapses of each neuron of `pre` begin, and, as the last, how many synapses there are."""
        counts = np.bincount(self.pre, minlength=self.num_in)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)

    def __repr__(self) -> str:
        return f"Edges({len(self)} synapses, {self.in_size} -> {self.out_size})"


def _as_indices(given: Any, name: str, size: Shape) -> Any:
    array = np.asarray(given)
    if array.size == 0:
        array = array.astype(np.int32)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"`Edges` needs {name} indices that are ints, got an array of {array.dtype}.")
    if array.ndim != 1:
        raise ValueError(f"`Edges` needs {name} indices of one axis, got an array of shape {array.shape}.")
    count = math.prod(size)
    if array.size and (array.min() < 0 or array.max() >= count):
        raise ValueError(_MSG_RANGE.format(name=name, low=array.min(), high=array.max(), size=size, last=count - 1))
    return array.astype(np.int32)

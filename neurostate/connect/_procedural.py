"""Connections that are computed when they are needed, and never stored."""

from __future__ import annotations

import functools
import math
from typing import Any, Final, Self

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from .._custom_types import Array, Float, Int, Key, QuantityLike, Shape, Size, as_shape
from .._units import Unit, argument, to_plain, unitless
from ..neuron._fields import static_field
from ._base import hidden_field, replaced, unit_field, weight_field, weights
from ._draws import check_count
from ._events import for_each_event
from ._shared import AbstractShared


# About how many synapses exist at a time in the derivative.
_BLOCK: Final = 1 << 16


class Procedural(AbstractShared):
    r"""Random synapses, as many for each neuron, which are drawn anew at each of its spikes.

    $$y_j = \sum_i x_i \sum_{k:\,t_{ik} = j} (w + \sigma\,z_{ik})$$

    The targets `t[i, k]` of a neuron are drawn with equal probability from all neurons behind, multapses and autapses
    included, and `z[i, k]` from the standard normal distribution. Both depend on `key` and `i` alone, so that they are
    the same each time. Memory is needed for the populations only, whatever the number of synapses is; a spike costs
    several times what it costs in [`neurostate.connect.EventSparse`][]. The gradient with respect to `x` is that of all
    neurons, silent ones too, and costs as much as the spikes of all.

    **Arguments:**

    - `in_size`, `out_size`: The shapes of the two populations.
    - `outdegree`: The number of synapses of each neuron.
    - `weight`: The mean of the weights: a scalar in any unit. It can be trained.
    - `std`: Their standard deviation: a scalar in that unit, which can be trained, or `None` for equal weights.
    - `key`: A random key.

    **Raises:** `ValueError` for a weight that is not a scalar, no synapses, or without a key; `UnitError` if `std` does
    not have the unit of `weight`; `TypeError` for what is not numeric.

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> connection = ns.connect.Procedural(10**6, 100, 50, 0.5, key=jax.random.key(0))
    >>> print(connection(jnp.zeros(10**6).at[123456].set(1.0)).sum(), connection.num_synapses)
    25.0 50000000
    """

    weight: Float[Array, ""] = weight_field()
    std: Float[Array, ""] | None = weight_field()
    key: Key = hidden_field()
    in_size: Shape = static_field()
    out_size: Shape = static_field()
    outdegree: int = static_field()
    I_unit: Unit = unit_field()

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        outdegree: int,
        weight: QuantityLike = 1.0,
        *,
        std: QuantityLike = None,
        key: Key,
    ):
        owner = "Procedural"
        self.in_size, self.out_size = as_shape(in_size), as_shape(out_size)
        if check_count(outdegree, None, owner, "outdegree") < 1 or not math.prod(self.out_size):
            given = f"{argument(owner, 'outdegree')} is {outdegree} and `out_size` is {out_size}"
            raise ValueError(f"`{owner}` needs an `outdegree` of at least 1, and neurons to send to, but {given}.")
        if key is None:
            raise ValueError(f"`{owner}` draws random numbers and needs a key: `key=jax.random.key(0)`.")
        self.outdegree, self.key = int(outdegree), key
        self.weight, self.I_unit = weights(weight, (), owner, None)
        self.std = None
        if std is not None:
            plain = to_plain(std, None if self.I_unit is unitless else self.I_unit, "std", owner)
            self.std, _ = weights(plain, (), owner, None, "std")

    def sum(self, x: Float[Array, "batch num_in"]) -> Float[Array, "batch num_out"]:
        run = _delivery(self.outdegree, math.prod(self.out_size), 1 if self.std is None else 2)
        count, *deviation = run(self.key, x)
        out = self.weight.astype(x.dtype) * count
        return out if self.std is None else out + self.std.astype(x.dtype) * deviation[0]

    def scaled(self, factor: float, I_unit: Unit) -> Self:
        std = None if self.std is None else self.std * factor
        return replaced(self, weight=self.weight * factor, std=std, I_unit=I_unit)

    @property
    def num_synapses(self) -> int:
        return math.prod(self.in_size) * self.outdegree


def _synapses(key: Key, i: Int[Array, ""], outdegree: int, num_out: int, kinds: int) -> tuple[Array, list[Any]]:
    """The targets of a neuron, and of each kind what its synapses multiply: the mean with 1, the deviation with `z`."""
    key = jax.random.fold_in(key, i)
    # The remainder prefers some neurons, by a part of at most num_out / 2**32.
    targets = (jax.random.bits(key, (outdegree,), jnp.uint32) % jnp.uint32(num_out)).astype(jnp.int32)
    values: list[Any] = [jnp.ones(outdegree, jnp.float32)]
    if kinds == 2:
        values.append(jax.random.normal(jax.random.fold_in(key, 0), (outdegree,), jnp.float32))
    return targets, values


@functools.cache
def _delivery(outdegree: int, num_out: int, kinds: int) -> Any:
    """What arrives of each kind, as a function of the key and of `x`."""

    @custom_vmap
    def by_events(key: Key, x: Array) -> list[Array]:
        (batch, num_in), flat = x.shape, x.reshape(-1)

        def one(event: Any, outs: list[Array]) -> list[Array]:
            targets, values = _synapses(key, event % num_in, outdegree, num_out, kinds)
            at = targets + event // num_in * num_out
            terms = [value.astype(x.dtype) * flat[event] for value in values]
            return [out.at[at].add(term, mode="promise_in_bounds") for out, term in zip(outs, terms, strict=True)]

        outs = for_each_event(flat != 0, one, [jnp.zeros(batch * num_out, x.dtype)] * kinds)
        return [out.reshape(batch, num_out) for out in outs]

    @by_events.def_vmap
    def _(size: int, in_batched: Any, key: Key, x: Array) -> Any:
        if in_batched[0]:
            x = x if in_batched[1] else jnp.broadcast_to(x, (size, *x.shape))
            return jax.lax.map(lambda both: by_events(*both), (key, x)), [True] * kinds
        outs = by_events(key, x.reshape(-1, x.shape[-1]))
        return [out.reshape(size, -1, num_out) for out in outs], [True] * kinds

    @jax.custom_jvp
    def run(key: Key, x: Array) -> list[Array]:
        return by_events(key, x)

    @run.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return run(*primals), _of_all(primals[0], tangents[1], outdegree, num_out, kinds)

    return run


def _of_all(key: Key, x: Array, outdegree: int, num_out: int, kinds: int) -> list[Array]:
    """The same over all neurons, linear in `x`, in blocks of them that are computed again in the derivative."""
    batch, num_in = x.shape
    rows = min(max(num_in, 1), max(1, _BLOCK // outdegree))
    columns = jnp.pad(x.T, ((0, -num_in % rows), (0, 0))).reshape(-1, rows, batch)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def add(outs: list[Array], first: Array, part: Array) -> list[Array]:
        each = first + jnp.arange(rows, dtype=jnp.int32)
        at, values = jax.vmap(lambda i: _synapses(key, i, outdegree, num_out, kinds))(each)
        terms = [value.astype(x.dtype)[..., None] * part[:, None] for value in values]
        return [out.at[at].add(term, mode="promise_in_bounds") for out, term in zip(outs, terms, strict=True)]

    firsts = jnp.arange(columns.shape[0], dtype=jnp.int32) * rows
    outs = [jnp.zeros((num_out, batch), x.dtype)] * kinds
    return [out.T for out in jax.lax.scan(lambda outs, each: (add(outs, *each), None), outs, (firsts, columns))[0]]

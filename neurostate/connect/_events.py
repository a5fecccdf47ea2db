"""A loop over the neurons that spike, whose cost follows how many these are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import jax
import jax.numpy as jnp

from .._custom_types import Array, Bool, Int


Carry = TypeVar("Carry")

_BITS: Final = 32
# Up to how many words one search looks at; more of them are searched in groups.
_WORDS: Final = 1024
_GROUP: Final = 64


def for_each_event(happened: Bool[Array, " n"], body: Callable[[Int[Array, ""], Carry], Carry], carry: Carry) -> Carry:
    """Calls `carry = body(index, carry)` for each index at which `happened`, in order.

    The same as a loop over all indices with a condition, but what does not happen is passed over 32 at a time, as the
    bits of a word. The loop has no bound: it is exact whatever the number of events, and cannot be differentiated in
    reverse mode.
    """
    words = _pack(happened)
    count = words.shape[0]
    if count <= _WORDS:
        return _for_each_bit(words, jnp.int32(0), body, carry)
    groups = jnp.pad(words, (0, -count % _GROUP)).reshape(-1, _GROUP)

    def visit(group: Any, carry: Carry) -> Carry:
        word = jax.lax.dynamic_index_in_dim(groups, group, keepdims=False)
        return _for_each_bit(word, group * _GROUP * _BITS, body, carry)

    return _for_each_true((groups != 0).any(1), visit, carry)


def _pack(happened: Array) -> Array:
    """The bits as words, the first one the lowest."""
    size = happened.shape[0]
    bits = jnp.pad(happened, (0, -size % _BITS)).reshape(-1, _BITS)
    values = jnp.uint32(1) << jnp.arange(_BITS, dtype=jnp.uint32)
    return jnp.sum(jnp.where(bits, values, jnp.uint32(0)), axis=1, dtype=jnp.uint32)


def _for_each_bit(words: Array, first: Any, body: Callable[[Any, Carry], Carry], carry: Carry) -> Carry:
    def visit(place: Any, carry: Carry) -> Carry:
        def one(state: tuple[Array, Carry]) -> tuple[Array, Carry]:
            word, carry = state
            lowest = jax.lax.population_count((word & -word) - 1).astype(jnp.int32)
            return word & (word - 1), body(first + place * _BITS + lowest, carry)

        return jax.lax.while_loop(lambda state: state[0] != 0, one, (words[place], carry))[1]

    return _for_each_true(words != 0, visit, carry)


def _for_each_true(is_true: Array, visit: Callable[[Any, Carry], Carry], carry: Carry) -> Carry:
    size = is_true.shape[0]
    index = jnp.arange(size, dtype=jnp.int32)

    def after(place: Any) -> Array:
        return jnp.min(jnp.where(is_true & (index > place), index, size))

    def one(state: tuple[Array, Carry]) -> tuple[Array, Carry]:
        place, carry = state
        carry = visit(place, carry)
        return after(place), carry

    return jax.lax.while_loop(lambda state: state[0] < size, one, (after(-1), carry))[1]

"""Dropout that stays the same over time."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Bool, Float, Key, QuantityLike, Shape, Size, as_shape
from .._units import argument
from ._inference import either
from ._layer_norm import check_size
from ._sized import AbstractSizedLayer


class DropoutState(eqx.Module):
    """The state of `Dropout`: which elements are kept, of shape `(*batch, *size)`."""

    kept: Bool[Array, "..."]


class Dropout(AbstractSizedLayer):
    """Sets elements to zero, the same ones in each step of a run, and divides the others by `1 - p`.

    Which ones is drawn once, when the state is made, for each member of a batch by itself: over a run a neuron is
    either there or not. With a mask of its own in each step the others would see no less of it, only noise.

    `equinox.nn.inference_mode(model)` switches it off, in a whole model at once.

    **Arguments:**

    - `size`: The shape of the population.
    - `p`: The probability with which an element is zero, from 0 to below 1.
    - `inference`: Whether the input passes as it is.

    **Raises:** `ValueError` for a `p` out of range; if `init_state` needs a key and gets none; and for an input of
    another shape than the state.

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> net = ns.Sequential(ns.layers.Dropout(4, 0.5))
    >>> print(ns.simulate(net, jnp.ones((3, 4)), dt=1.0, key=jax.random.key(1)).outputs)
    [[0. 2. 0. 2.]
     [0. 2. 0. 2.]
     [0. 2. 0. 2.]]
    """

    size: Shape = eqx.field(static=True)
    p: float = eqx.field(static=True)
    inference: bool

    state_type: ClassVar[type[DropoutState]] = DropoutState

    def __init__(self, size: Size, p: float = 0.5, *, inference: bool = False):
        if not 0 <= p < 1:
            raise ValueError(f"{argument('Dropout', 'p')} must be a probability from 0 to below 1, got {p!r}.")
        self.size, self.p, self.inference = as_shape(size), float(p), inference

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> DropoutState:
        """Draws which elements are kept. With `inference` that does not matter, and needs no key."""
        shape = (*as_shape(batch_shape), *self.size)
        if key is None:
            if self.inference is True:
                return DropoutState(jnp.ones(shape, bool))
            raise ValueError(
                "`Dropout` draws what it keeps when its state is made, but got no `key`. Pass one, "
                "`init_state(batch_shape, key=jax.random.key(0))` or `simulate(..., key=...)`, or switch it off with "
                "`equinox.nn.inference_mode(model)`."
            )
        return DropoutState(jax.random.bernoulli(key, 1 - self.p, shape))

    def step(
        self, state: DropoutState, input: Float[Array, "..."], /, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[DropoutState, Array]:
        """What is kept of the input. `dt` and `key` are not used."""
        del dt, key
        x: Any = jnp.asarray(input)
        check_size(x.shape, state.kept.shape, "Dropout.step")
        return state, either(self.inference, lambda: x, lambda: jnp.where(state.kept, x / (1 - self.p), 0))

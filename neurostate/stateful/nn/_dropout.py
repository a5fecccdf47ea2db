"""Dropout, drawn on each call or once for a whole run."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from ..._custom_types import Size, as_shape
from ..._units import join_quantity, split_quantity
from .. import environ, random
from .._ref import ShortTermState
from ._layers import Sized
from ._module import Module


class Dropout(Module):
    """Sets elements to zero at random while a network is trained, as `equinox.nn.Dropout`.

    Where `fit` is true in `environ`, an element is kept with probability `prob` and then divided by
    `prob`, so that the mean stays; where it is false nothing happens. Each call draws anew from
    `neurostate.random`.

    **Arguments:**

    - `prob`: The probability to *keep* an element, above 0 and at most 1.
    - `name`: A name for messages.

    **Raises:** `ValueError` for another `prob`; `EnvironmentKeyError` when called where `environ` has no `fit`.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> dropout = ns.nn.Dropout(0.5)
    >>> with ns.environ.context(fit=False):
    ...     dropout(jnp.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(self, prob: float = 0.5, name: str | None = None):
        super().__init__(name=name)
        self.prob = _probability(prob, "Dropout")

    def update(self, x: Any) -> Any:
        """The input with elements left out, or as it is; takes an array or a Quantity of any shape."""
        if not _is_fit("Dropout"):
            return x
        x, unit = split_quantity(x)
        return join_quantity(eqx.nn.Dropout(1 - self.prob)(jnp.asarray(x), key=random.split_key()), unit)

    def __call__(self, x: Any) -> Any:
        return self.update(x)


class DropoutFixed(Sized):
    """Dropout that leaves out the same elements on each call, until `init_state` draws again.

    For networks that run over many time steps, which may not see another set of neurons at each.

    **Arguments:**

    - `in_size`: The shape of the input without batch axes.
    - `prob`: The probability to *keep* an element, above 0 and at most 1.
    - `name`: A name for messages.

    **Raises:** `ValueError` for another `prob` or for an input of another shape than the state `mask`;
    `EnvironmentKeyError` when called where `environ` has no `fit`; `StateNotInitialisedError` before `init_state`.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> dropout = ns.nn.init_all_states(ns.nn.DropoutFixed(4, 0.5))
    >>> with ns.environ.context(fit=True):
    ...     bool((dropout(jnp.ones(4)) == dropout(jnp.ones(4))).all())
    True
    """

    def __init__(self, in_size: Size, prob: float = 0.5, name: str | None = None):
        super().__init__(name=name)
        self.in_size = self.out_size = as_shape(in_size)
        self.prob = _probability(prob, "DropoutFixed")

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Draws the elements that are kept: the state `mask`, of the shape `(batch_size, *in_size)`."""
        del kwargs
        batch = () if batch_size is None else (batch_size,)
        self.mask = ShortTermState(random.bernoulli(self.prob, (*batch, *(self.in_size or ()))))

    def update(self, x: Any) -> Any:
        """The input with elements left out, or as it is; takes an array or a Quantity of the shape of `mask`."""
        if not _is_fit("DropoutFixed"):
            return x
        x, unit = split_quantity(x)
        self.check_batch(x, self.mask)
        return join_quantity(jnp.where(self.mask.value, jnp.asarray(x) / self.prob, 0), unit)


def _probability(prob: float, owner: str) -> float:
    if not 0 < prob <= 1:
        raise ValueError(
            f"The argument `prob` of `{owner}` is the probability to keep an element, above 0 and at most 1, "
            f"got {prob!r}."
        )
    return float(prob)


def _is_fit(owner: str) -> bool:
    return environ.get("fit", desc=f"whether the network is being trained, for `{owner}`")

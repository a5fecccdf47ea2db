"""Initialisers made of others: zeros with a unit, mixtures, choices by index, multiples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Key, QuantityLike, Shape, as_shape
from .._parameters import check_broadcast
from .._units import Unit, join_quantity
from ._base import Initialization, Initializer, as_initialiser, as_leafless, draw
from ._keys import given_key, required_key, split_given
from ._support import common_unit, default_float, mantissa_in, split


class ZeroInit(Initialization):
    """Zeros.

    **Arguments:**

    - `unit`: Their unit; none by default.

    >>> import brainunit as u
    >>> from neurostate.init import ZeroInit
    >>> ZeroInit(u.mV)
    ZeroInit(unit=mvolt)
    >>> ZeroInit()(2).tolist()
    [0.0, 0.0]
    """

    unit: Unit | None = eqx.field(static=True)

    def __init__(self, unit: Unit | None = None):
        self.unit, _ = common_unit("ZeroInit", unit)

    def __call__(self, size, key=None, *, batch_shape=(), rng=None, **kwargs):
        del key, rng, kwargs
        return join_quantity(jnp.zeros((*batch_shape, *as_shape(size)), default_float()), self.unit)

    def __repr__(self) -> str:
        return "ZeroInit()" if self.unit is None else f"ZeroInit(unit={self.unit.name})"


class Mixture(Initialization):
    """Each value comes from one of several initialisers, chosen at random.

    The values are in the unit of the first one.

    **Arguments:**

    - `distributions`: The initialisers.
    - `weights`: Their probabilities; equal ones by default.

    **Raises:** `ValueError` if there is no initialiser, or if the weights are negative, do not sum to 1 or
    are of another number than the initialisers; `UnitError` when called, if the dimensions differ.

    >>> import jax
    >>> from neurostate.init import Constant, Mixture
    >>> values = Mixture([Constant(1.0), Constant(5.0)], [0.8, 0.2])(1000, key=jax.random.key(0))
    >>> sorted(set(values.tolist()))
    [1.0, 5.0]
    """

    distributions: tuple[Initialization, ...]
    weights: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, distributions: Sequence[Initializer], weights: Sequence[float] | None = None):
        self.distributions = tuple(as_initialiser(x, "Mixture") for x in distributions)
        count = len(self.distributions)
        if count == 0:
            raise ValueError("`Mixture` needs at least one initialiser in `distributions`, got none.")
        probabilities = np.full(count, 1 / count) if weights is None else np.asarray(weights, dtype=np.float64)
        if probabilities.shape != (count,):
            raise ValueError(
                f"`Mixture` needs one of `weights` for each of its {count} initialisers, "
                f"got weights of shape {probabilities.shape}."
            )
        total = float(probabilities.sum())
        if not (np.all(probabilities >= 0) and np.isclose(total, 1.0)):
            raise ValueError(
                f"`Mixture`: `weights` must be at least 0 and sum to 1, got {probabilities.tolist()} with the sum "
                f"{total}. Divide them by their sum."
            )
        self.weights = tuple(probabilities.tolist())

    def __call__(self, size, key=None, *, batch_shape=(), rng=None, **kwargs):
        key = given_key("Mixture", key, rng)
        choice_key, *keys = split_given(key, 1 + len(self.distributions))
        shape = (*batch_shape, *as_shape(size))
        parts = [draw(d, size, k, batch_shape, kwargs) for d, k in zip(self.distributions, keys, strict=True)]
        mantissa, unit = split(parts[0])
        choice = _choose(required_key("Mixture", choice_key), shape, jnp.asarray(self.weights, default_float()))
        for i, part in enumerate(parts[1:], start=1):
            other = mantissa_in(unit, part, "Mixture", f"distributions[{i}]", "distributions[0]")
            mantissa = jnp.where(choice == i, other, mantissa)
        return join_quantity(mantissa, unit)


class Conditional(Initialization):
    """One initialiser where a condition on the index of a value holds, another one elsewhere.

    Indices count the values of `size` in row-major order. The values are in the unit of `true_dist`.

    **Arguments:**

    - `condition_fn`: A function from an array of indices to an array of booleans.
    - `true_dist`, `false_dist`: The initialisers.

    When called, it also takes

    - `neuron_indices`: The indices to use, one for each value, instead of 0, 1, 2, ....

    **Raises:** when called, `ValueError` unless there is one boolean for each value, `UnitError` if the
    dimensions of the two initialisers differ.

    >>> from neurostate.init import Conditional
    >>> Conditional(lambda i: i < 2, 1.0, -4.0)(3).tolist()
    [1.0, 1.0, -4.0]
    """

    condition_fn: Callable[[Any], Any]
    true_dist: Initialization
    false_dist: Initialization

    def __init__(self, condition_fn: Callable[[Any], Any], true_dist: Initializer, false_dist: Initializer):
        if not callable(condition_fn):
            raise TypeError(f"`Conditional` needs a function of indices as its `condition_fn`, got {condition_fn!r}.")
        self.condition_fn = as_leafless(condition_fn)
        self.true_dist = as_initialiser(true_dist, "Conditional")
        self.false_dist = as_initialiser(false_dist, "Conditional")

    def __call__(self, size, key=None, *, batch_shape=(), rng=None, neuron_indices=None, **kwargs):
        shape = as_shape(size)
        count = int(np.prod(shape))
        indices = np.arange(count) if neuron_indices is None else neuron_indices
        condition = jnp.asarray(self.condition_fn(indices))
        if condition.size != count:
            raise ValueError(
                f"`Conditional` needs one boolean from `condition_fn` for each of the {count} values of size {shape}, "
                f"got an array of shape {condition.shape}. With `neuron_indices`, pass one index for each value."
            )
        condition = condition.astype(bool).reshape(shape)
        true_key, false_key = split_given(given_key("Conditional", key, rng), 2)
        # Both are drawn in full: a choice by value keeps the shapes known in a trace.
        kept, unit = split(draw(self.true_dist, size, true_key, batch_shape, kwargs))
        other = draw(self.false_dist, size, false_key, batch_shape, kwargs)
        other = mantissa_in(unit, other, "Conditional", "false_dist", "true_dist")
        return join_quantity(jnp.where(condition, kept, other), unit)


class Scaled(Initialization):
    """An initialiser whose values are multiplied by a factor.

    **Arguments:**

    - `base_dist`: The initialiser.
    - `scale_factor`: A number, an array that broadcasts to the size, or a Quantity; units multiply.

    >>> import brainunit as u
    >>> from neurostate.init import Constant, Scaled
    >>> Scaled(Constant(4.0), 0.5 * u.nS)
    Scaled(base_dist=Constant(value=4.0), scale_factor=0.5 * nsiemens)
    """

    base_dist: Initialization
    scale_factor: float | Array
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale_factor",)

    def __init__(self, base_dist: Initializer, scale_factor: QuantityLike):
        self.base_dist = as_initialiser(base_dist, "Scaled")
        if scale_factor is None:
            raise ValueError("`Scaled` needs a `scale_factor`, got None.")
        self.unit, (self.scale_factor,) = common_unit("Scaled", None, scale_factor=scale_factor)

    def __call__(self, size, key=None, *, batch_shape=(), rng=None, **kwargs):
        values = draw(self.base_dist, size, given_key("Scaled", key, rng), batch_shape, kwargs)
        shape = jnp.shape(split(values)[0])
        check_broadcast(jnp.shape(self.scale_factor), shape, "scale_factor", "Scaled")
        return join_quantity(*split(values * join_quantity(self.scale_factor, self.unit)))


@functools.partial(jax.jit, static_argnames="shape")
def _choose(key: Key, shape: Shape, weights: Array) -> Array:
    """Draws indices with the given probabilities."""
    return jax.random.choice(key, weights.size, shape, p=weights)

"""Maps between free numbers, which an optimiser may move anywhere, and parameters with bounds."""

from __future__ import annotations

import abc
import math
from typing import Any, ClassVar, Self, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Float, QuantityLike
from .._units import Unit, argument, join_quantity, split_quantity, to_plain


# A number or nested tuples of numbers: static, so that no optimiser reaches it.
Constant: TypeAlias = float | tuple[Any, ...]


class AbstractBijector(eqx.Module):
    """A differentiable map of all real numbers onto those within bounds, element by element unless it says otherwise.

    The constants in it are static and never trained. Given as Quantities, they count in the unit of the parameter that
    [`neurostate.train.Constraints`][] puts the bijector on.
    """

    constants: ClassVar[tuple[str, ...]] = ()
    unit: eqx.AbstractVar[Unit | None]

    @abc.abstractmethod
    def forward(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The parameter that a free number stands for: strictly within the bounds, whatever `x` is."""

    @abc.abstractmethod
    def inverse(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """The free number that stands for a parameter."""

    @abc.abstractmethod
    def contains(self, y: Any) -> np.ndarray:
        """Whether each of some known parameters is within the bounds."""

    @property
    @abc.abstractmethod
    def bounds(self) -> str:
        """The bounds, in words that continue "must be"."""

    def in_unit(self, unit: Unit | None, path: str) -> Self:
        """The same with plain constants in a unit.

        **Raises:** `UnitError` if they have another dimension, naming the parameter `path`.
        """
        if self.unit is None:
            return self
        owner = f"{type(self).__name__} on {path}"
        values = (join_quantity(np.asarray(getattr(self, name)), self.unit) for name in self.constants)
        return type(self)(*(to_plain(value, unit, name, owner) for name, value in zip(self.constants, values)))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the constants have together."""
        return np.broadcast_shapes(*(np.shape(getattr(self, name)) for name in self.constants))


class Softplus(AbstractBijector):
    r"""Numbers above a bound: $y = \text{lower} + \log(1 + e^x)$, which for large $x$ is nearly linear.

    **Arguments:**

    - `lower`: The bound: a number, an array that broadcasts to the parameter, or a Quantity.

    **Raises:** `ValueError` for a bound that is not finite.

    >>> import brainunit as u, neurostate as ns
    >>> constraints = ns.train.Constraints(ns.LIF(2), {"tau": ns.train.Softplus(lower=1 * u.ms)})
    >>> free = constraints.free(ns.LIF(2))
    >>> print(free.tau, constraints.model(free).tau)
    3.9815147 5.0
    """

    lower: Constant = eqx.field(static=True)
    unit: Unit | None = eqx.field(static=True)
    constants = ("lower",)

    def __init__(self, lower: QuantityLike = 0.0):
        (self.lower,), self.unit = _constants("Softplus", lower=lower)

    def forward(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        x = _as_float(x)
        return _clipped(_constant(self.lower, x.dtype) + jax.nn.softplus(x), _above(self.lower, x.dtype))

    def inverse(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        y = _as_float(y)
        return _inverse_softplus(y - _constant(self.lower, y.dtype))

    def contains(self, y: Any) -> np.ndarray:
        return _between(y, self.lower, None)

    @property
    def bounds(self) -> str:
        return f"above {self.lower}"


class Exp(AbstractBijector):
    r"""Numbers above a bound: $y = \text{lower} + e^x$, so that steps of $x$ are relative ones of $y$.

    **Arguments:**

    - `lower`: As in [`neurostate.train.Softplus`][].

    **Raises:** `ValueError` for a bound that is not finite.
    """

    lower: Constant = eqx.field(static=True)
    unit: Unit | None = eqx.field(static=True)
    constants = ("lower",)

    def __init__(self, lower: QuantityLike = 0.0):
        (self.lower,), self.unit = _constants("Exp", lower=lower)

    def forward(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        x = _as_float(x)
        limits = jnp.finfo(x.dtype)
        # Beyond these, `exp` and its derivative overflow.
        x = jnp.clip(x, math.log(limits.tiny) + 0.01, math.log(limits.max) - 0.01)
        return _clipped(_constant(self.lower, x.dtype) + jnp.exp(x), _above(self.lower, x.dtype))

    def inverse(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        y = _as_float(y)
        return jnp.log(jnp.maximum(y - _constant(self.lower, y.dtype), jnp.finfo(y.dtype).tiny))

    def contains(self, y: Any) -> np.ndarray:
        return _between(y, self.lower, None)

    @property
    def bounds(self) -> str:
        return f"above {self.lower}"


class Sigmoid(AbstractBijector):
    r"""Numbers between two bounds: $y = \text{low} + (\text{high} - \text{low}) / (1 + e^{-x})$.

    **Arguments:**

    - `low`, `high`: The bounds, as in [`neurostate.train.Softplus`][]. A plain number beside a Quantity counts in its
        unit.

    **Raises:** `ValueError` for a bound that is not finite, or a `low` that is not below `high`; when used, for bounds
    without a number of the parameter's dtype between them, or whose difference is too large for it.
    """

    low: Constant = eqx.field(static=True)
    high: Constant = eqx.field(static=True)
    unit: Unit | None = eqx.field(static=True)
    constants = ("low", "high")

    def __init__(self, low: QuantityLike, high: QuantityLike):
        (self.low, self.high), self.unit = _constants("Sigmoid", low=low, high=high)
        if not np.all(np.less(self.low, self.high)):
            raise ValueError(f"The `low` of a `Sigmoid` must be below its `high`, got {self.low} and {self.high}.")

    def forward(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        x = _as_float(x)
        low, high = self._known(x.dtype)
        # Each half is measured from the bound that is nearer, which keeps its digits.
        y = jnp.where(x < 0, low + (high - low) * jax.nn.sigmoid(x), high - (high - low) * jax.nn.sigmoid(-x))
        return _clipped(y, _above(self.low, x.dtype), -_above(np.negative(self.high), x.dtype))

    def inverse(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        y = _as_float(y)
        low, high = self._known(y.dtype)
        return jnp.log(y - low) - jnp.log(high - y)

    def _known(self, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        """The bounds as numbers of a dtype.

        **Raises:** `ValueError` if they are so close that there is none between them, or too far apart.
        """
        low, high = _constant(self.low, dtype), _constant(self.high, dtype)
        with np.errstate(over="ignore"):
            is_wide = np.isfinite(high - low) & (_above(self.low, dtype) <= -_above(np.negative(self.high), dtype))
        if not is_wide.all():
            raise ValueError(f"`Sigmoid` needs a number of {dtype} {self.bounds}, and a finite difference of the two.")
        return low, high

    def contains(self, y: Any) -> np.ndarray:
        return _between(y, self.low, self.high)

    @property
    def bounds(self) -> str:
        return f"above {self.low} and below {self.high}"


class Affine(AbstractBijector):
    r"""All numbers, in another scale: $y = \text{scale} \cdot x + \text{shift}$.

    It changes how far a step of the optimiser goes.

    **Arguments:**

    - `scale`, `shift`: Numbers, arrays that broadcast to the parameter, or Quantities; `scale` is nowhere zero.

    **Raises:** `ValueError` for a number that is not finite, or a `scale` of zero.
    """

    scale: Constant = eqx.field(static=True)
    shift: Constant = eqx.field(static=True)
    unit: Unit | None = eqx.field(static=True)
    constants = ("scale", "shift")

    def __init__(self, scale: QuantityLike, shift: QuantityLike = 0.0):
        (self.scale, self.shift), self.unit = _constants("Affine", scale=scale, shift=shift)
        if not np.all(np.asarray(self.scale)):
            raise ValueError(f"The `scale` of an `Affine` must not be zero, got {self.scale}.")

    def forward(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        x = _as_float(x)
        return _constant(self.scale, x.dtype) * x + _constant(self.shift, x.dtype)

    def inverse(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        y = _as_float(y)
        return (y - _constant(self.shift, y.dtype)) / _constant(self.scale, y.dtype)

    def contains(self, y: Any) -> np.ndarray:
        return np.isfinite(y)

    @property
    def bounds(self) -> str:
        return "finite"


class Ordered(AbstractBijector):
    r"""Numbers that ascend strictly along the last axis: $y_0 = x_0$, $y_i = y_{i-1} + \log(1 + e^{x_i})$.

    **Raises:** `ValueError` when used on a scalar.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.train.Ordered().forward(jnp.array([1.0, 0.0, -1e4])))
    [1.        1.6931472 1.6931473]
    """

    unit: ClassVar[Unit | None] = None  # type: ignore[misc]

    def forward(self, x: Float[Array, "... n"]) -> Float[Array, "... n"]:
        x = jnp.moveaxis(_as_levels(_as_float(x)), -1, 0)
        # Below the largest number, one after the other for those that come after.
        largest = np.asarray(jnp.finfo(x.dtype).max, x.dtype)
        spacing = largest - np.nextafter(largest, np.zeros_like(largest))
        most = largest - np.arange(len(x))[::-1].astype(x.dtype) * spacing

        def step(y: Array, x: tuple[Array, Array]) -> tuple[Array, Array]:
            last = jax.lax.stop_gradient(y)
            least = jnp.maximum(jnp.nextafter(last, jnp.full_like(last, jnp.inf)), last + jnp.finfo(y.dtype).tiny)
            y = jnp.minimum(jnp.maximum(y + jax.nn.softplus(x[0]), least), x[1])
            return y, y

        first = jnp.clip(x[0], -largest, most[0])
        _, rest = jax.lax.scan(step, first, (x[1:], jnp.asarray(most[1:])))
        return jnp.moveaxis(jnp.concatenate([first[None], rest]), 0, -1)

    def inverse(self, y: Float[Array, "... n"]) -> Float[Array, "... n"]:
        y = _as_levels(_as_float(y))
        return jnp.concatenate([y[..., :1], _inverse_softplus(jnp.diff(y))], axis=-1)

    def contains(self, y: Any) -> np.ndarray:
        y = _as_levels(np.asarray(y))
        return np.isfinite(y) & (np.diff(y, axis=-1, prepend=-np.inf) > 0)

    @property
    def bounds(self) -> str:
        return "ascending along the last axis"


class Chain(AbstractBijector):
    """One bijector after the other: the last one gives the parameter.

    **Arguments:**

    - `bijectors`: At least one. `Chain(Affine(0.1), Softplus())` is the softplus of a tenth of the free number.

    **Raises:** `TypeError` without any, or for what is no bijector.
    """

    bijectors: tuple[AbstractBijector, ...]
    unit: ClassVar[Unit | None] = None  # type: ignore[misc]

    def __init__(self, *bijectors: AbstractBijector):
        if not bijectors:
            raise TypeError("A `Chain` needs at least one bijector.")
        for each in bijectors:
            check_bijector(each, "A part of a `Chain`")
        self.bijectors = bijectors

    def forward(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        for each in self.bijectors:
            x = each.forward(x)
        return x

    def inverse(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        for each in reversed(self.bijectors):
            y = each.inverse(y)
        return y

    def contains(self, y: Any) -> np.ndarray:
        within = self.bijectors[-1].contains(y)
        if len(self.bijectors) > 1 and within.all():
            # What the chain gave may be on a bound inside by rounding, in the last digits.
            y, inner = np.asarray(_as_float(y)), Chain(*self.bijectors[:-1])
            sides = (y, np.full_like(y, -np.inf), np.full_like(y, np.inf))
            near = [self.bijectors[-1].inverse(np.nextafter(y, side)) for side in sides]
            eps = float(jnp.finfo(near[0].dtype).eps)
            return np.any([inner.contains(x * (1 + k * eps)) for x in near for k in (-4, 0, 4)], axis=0)
        return within

    @property
    def bounds(self) -> str:
        return f"what {self!r} can give"

    def in_unit(self, unit: Unit | None, path: str) -> Self:
        return type(self)(*(each.in_unit(unit, path) for each in self.bijectors))

    @property
    def shape(self) -> tuple[int, ...]:
        return np.broadcast_shapes(*(each.shape for each in self.bijectors))


def _constants(owner: str, **given: QuantityLike) -> tuple[list[Constant], Unit | None]:
    """The constants of a bijector as plain static numbers, and their unit: that of the first Quantity."""
    unit = next((unit for value in given.values() if (unit := split_quantity(value)[1]) is not None), None)
    found = []
    for name, value in given.items():
        array = np.asarray(to_plain(value, unit, name, owner), np.float64)
        if not np.isfinite(array).all():
            raise ValueError(f"{argument(owner, name)} must be finite, got {value!r}.")
        found.append(_as_static(array.tolist()))
    return found, unit


def check_bijector(given: Any, what: str) -> None:
    """Checks that what a user gave is a bijector."""
    if not isinstance(given, AbstractBijector):
        name = getattr(given, "__name__", "")
        cure = f"Make one: `{name}(...)`." if isinstance(given, type) else "Give one such as `train.Softplus()`."
        raise TypeError(f"{what} must be a bijector, got {given!r:.80} of type {type(given).__name__}. {cure}")


def _as_levels(y: Any) -> Any:
    if y.ndim == 0:
        raise ValueError("`Ordered` is for numbers along an axis, but got a scalar.")
    return y


def _as_static(value: Any) -> Constant:
    return tuple(map(_as_static, value)) if isinstance(value, list) else value


def _as_float(x: Any) -> Array:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def _constant(value: Any, dtype: Any) -> Any:
    with np.errstate(over="ignore"):
        constant = np.asarray(value, dtype)
    if not np.isfinite(constant).all():
        raise ValueError(f"The constant {value} of a bijector is too large for a parameter of {dtype}.")
    return constant


def _above(bound: Any, dtype: Any) -> np.ndarray:
    """The least number above a bound. Next to zero it is a normal one, for processors that take others for zero."""
    bound, tiny = _constant(bound, dtype), np.asarray(jnp.finfo(dtype).tiny, dtype)
    above = np.nextafter(bound, np.asarray(np.inf, dtype))
    return np.where((bound > -tiny) & (above < tiny), tiny, above)


def _clipped(y: Array, least: np.ndarray, greatest: np.ndarray | None = None) -> Array:
    return jnp.clip(y, least, np.asarray(jnp.finfo(y.dtype).max, y.dtype) if greatest is None else greatest)


def _inverse_softplus(y: Array) -> Array:
    y = jnp.maximum(y, jnp.finfo(y.dtype).tiny)
    return y + jnp.log(-jnp.expm1(-y))


def _between(y: Any, low: Any, high: Any) -> np.ndarray:
    y = np.asarray(y)
    within = np.isfinite(y) & (y > _constant(low, y.dtype))
    return within if high is None else within & (y < _constant(high, y.dtype))

"""Initialisers that draw each value independently from a probability distribution."""

from __future__ import annotations

import abc
import functools
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from .._custom_types import Array, Key, QuantityLike, Shape, as_shape
from .._units import Unit, join_quantity
from ._base import Initialization
from ._keys import required_key
from ._support import check, check_fields, check_order, common_unit, default_float, is_not_negative, is_positive, plain


class Distribution(Initialization):
    """The base class of the initialisers that draw each value independently."""

    unit: eqx.AbstractVar[Unit | None]

    @abc.abstractmethod
    def _draw(self, key: Key, shape: Shape, dtype: Any) -> Array:
        """Draws the plain values."""

    def __call__(self, size, key=None, *, batch_shape=(), rng=None, **kwargs):
        del kwargs
        shape = (*batch_shape, *as_shape(size))
        check_fields(self, shape)
        key = required_key(type(self).__name__, key, rng)
        return join_quantity(self._draw(key, shape, default_float()), self.unit)


class Uniform(Distribution):
    """Values uniformly distributed in `[low, high)`.

    **Arguments:**

    - `low`, `high`: The bounds: numbers, or arrays that broadcast to the size, with a common dimension.
    - `unit`: The unit of plain `low` and `high`.

    **Raises:** `UnitError` if `low` and `high` have different dimensions, `ValueError` unless `low < high`.

    >>> import jax, brainunit as u
    >>> from neurostate.init import Uniform
    >>> Uniform(0.1 * u.nS, 1.0 * u.nS)
    Uniform(low=0.1 * nsiemens, high=1.0 * nsiemens)
    >>> Uniform(0.0, 1.0)((2, 3), key=jax.random.key(0)).shape
    (2, 3)
    """

    low: float | Array
    high: float | Array
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("low", "high")

    def __init__(self, low: QuantityLike, high: QuantityLike, unit: Unit | None = None):
        self.unit, (self.low, self.high) = common_unit("Uniform", unit, low=low, high=high)
        check_order("Uniform", self.low, self.high)

    def _draw(self, key, shape, dtype):
        return jax.random.uniform(key, shape, dtype, self.low, self.high)


class Normal(Distribution):
    """Normally distributed values.

    **Arguments:**

    - `mean`, `std`: Mean and standard deviation: numbers, or arrays that broadcast to the size, with a
        common dimension.
    - `unit`: The unit of plain `mean` and `std`.

    **Raises:** `UnitError` if `mean` and `std` have different dimensions, `ValueError` if `std` is negative.

    >>> import jax, brainunit as u
    >>> from neurostate.init import Normal
    >>> Normal(-65.0 * u.mV, 0.002 * u.volt)
    Normal(mean=-65.0 * mvolt, std=2.0 * mvolt)
    >>> Normal(0.0, 1.0)(4, key=jax.random.key(0)).shape
    (4,)
    """

    mean: float | Array
    std: float | Array
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("mean", "std")

    def __init__(self, mean: QuantityLike, std: QuantityLike, unit: Unit | None = None):
        self.unit, (self.mean, self.std) = common_unit("Normal", unit, mean=mean, std=std)
        check("Normal", "std", self.std, is_not_negative, "at least 0")

    def _draw(self, key, shape, dtype):
        mean, std = jnp.asarray(self.mean, dtype), jnp.asarray(self.std, dtype)
        return mean + std * jax.random.normal(key, shape, dtype)


class LogNormal(Distribution):
    r"""Positive values whose logarithm is normally distributed.

    The parameters are those of the values themselves, not of their logarithm. With the mean $m$ and the
    standard deviation $s$ the logarithm has variance $\sigma^2 = \log(1 + s^2 / m^2)$ and mean
    $\log m - \sigma^2 / 2$.

    **Arguments:**

    - `mean`, `std`: Mean and standard deviation of the values, with a common dimension.
    - `unit`: The unit of plain `mean` and `std`.

    **Raises:** `UnitError` if `mean` and `std` have different dimensions, `ValueError` if `mean` is not
    positive or `std` is negative.

    >>> import jax
    >>> from neurostate.init import LogNormal
    >>> bool((LogNormal(0.5, 0.2)(100, key=jax.random.key(0)) > 0).all())
    True
    """

    mean: float | Array
    std: float | Array
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("mean", "std")

    def __init__(self, mean: QuantityLike, std: QuantityLike, unit: Unit | None = None):
        self.unit, (self.mean, self.std) = common_unit("LogNormal", unit, mean=mean, std=std)
        check("LogNormal", "mean", self.mean, is_positive, "positive")
        check("LogNormal", "std", self.std, is_not_negative, "at least 0")

    def _draw(self, key, shape, dtype):
        mean, std = jnp.asarray(self.mean, dtype), jnp.asarray(self.std, dtype)
        variance = jnp.log1p((std / mean) ** 2)
        return mean * jnp.exp(jnp.sqrt(variance) * jax.random.normal(key, shape, dtype) - variance / 2)


class Gamma(Distribution):
    """Gamma distributed values: mean `shape * scale`, variance `shape * scale**2`.

    **Arguments:**

    - `shape`: The shape parameter, a positive number.
    - `scale`: The scale, a positive value.
    - `unit`: The unit of a plain `scale`.

    **Raises:** `UnitError` if `shape` has a dimension, `ValueError` unless both are positive.

    >>> import jax
    >>> from neurostate.init import Gamma
    >>> bool((Gamma(2.0, 0.5)(100, key=jax.random.key(0)) > 0).all())
    True
    """

    shape: float | Array
    scale: float | Array
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, shape: QuantityLike, scale: QuantityLike, unit: Unit | None = None):
        self.shape = plain("Gamma", "shape", shape)
        self.unit, (self.scale,) = common_unit("Gamma", unit, scale=scale)
        check("Gamma", "shape", self.shape, is_positive, "positive")
        check("Gamma", "scale", self.scale, is_positive, "positive")

    def _draw(self, key, shape, dtype):
        return jnp.asarray(self.scale, dtype) * jax.random.gamma(key, jnp.asarray(self.shape, dtype), shape, dtype)


class Exponential(Distribution):
    """Exponentially distributed values with the mean `scale`.

    **Arguments:**

    - `scale`: The mean, a positive value.
    - `unit`: The unit of a plain `scale`.

    **Raises:** `ValueError` unless `scale` is positive.

    >>> import jax
    >>> from neurostate.init import Exponential
    >>> bool((Exponential(0.5)(100, key=jax.random.key(0)) >= 0).all())
    True
    """

    scale: float | Array
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, scale: QuantityLike, unit: Unit | None = None):
        self.unit, (self.scale,) = common_unit("Exponential", unit, scale=scale)
        check("Exponential", "scale", self.scale, is_positive, "positive")

    def _draw(self, key, shape, dtype):
        return jnp.asarray(self.scale, dtype) * jax.random.exponential(key, shape, dtype)


class TruncatedNormal(Distribution):
    """Normally distributed values of which only those in `[low, high]` are kept.

    `mean` and `std` are those of the distribution before it is cut. Intervals far out in a tail work too.

    **Arguments:**

    - `mean`, `std`: Mean and standard deviation before the cut.
    - `low`, `high`: The bounds; `None` is no bound. All four have a common dimension.
    - `unit`: The unit of plain values.

    **Raises:** `UnitError` if two parameters have different dimensions, `ValueError` if `std` is negative
    or unless `low < high`.

    >>> import jax, brainunit as u
    >>> from neurostate.init import TruncatedNormal
    >>> values = TruncatedNormal(0.5 * u.nS, 0.2 * u.nS, low=0.0 * u.nS)(100, key=jax.random.key(0))
    >>> bool((values.mantissa >= 0).all())
    True
    """

    mean: float | Array
    std: float | Array
    low: float | Array | None
    high: float | Array | None
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("mean", "std", "low", "high")

    def __init__(
        self,
        mean: QuantityLike,
        std: QuantityLike,
        low: QuantityLike = None,
        high: QuantityLike = None,
        unit: Unit | None = None,
    ):
        owner = "TruncatedNormal"
        self.unit, stored = common_unit(owner, unit, mean=mean, std=std, low=low, high=high)
        self.mean, self.std, self.low, self.high = stored
        check(owner, "std", self.std, is_not_negative, "at least 0")
        check_order(owner, self.low, self.high)

    def _draw(self, key, shape, dtype):
        mean, std = jnp.asarray(self.mean, dtype), jnp.asarray(self.std, dtype)
        low = jnp.asarray(-jnp.inf if self.low is None else self.low, dtype)
        high = jnp.asarray(jnp.inf if self.high is None else self.high, dtype)
        return _truncated_normal(key, mean, std, low, high, shape)


class Beta(Distribution):
    """Beta distributed values, stretched from `[0, 1]` to `[low, high]`.

    **Arguments:**

    - `alpha`, `beta`: The shape parameters, positive numbers.
    - `low`, `high`: The bounds, with a common dimension.
    - `unit`: The unit of plain `low` and `high`.

    **Raises:** `UnitError` if `alpha` or `beta` has a dimension or `low` and `high` have different ones,
    `ValueError` unless `alpha` and `beta` are positive and `low < high`.

    >>> import jax
    >>> from neurostate.init import Beta
    >>> values = Beta(2.0, 5.0, low=1.0, high=3.0)(100, key=jax.random.key(0))
    >>> bool(((values >= 1) & (values <= 3)).all())
    True
    """

    alpha: float | Array
    beta: float | Array
    low: float | Array
    high: float | Array
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("low", "high")

    def __init__(
        self,
        alpha: QuantityLike,
        beta: QuantityLike,
        low: QuantityLike,
        high: QuantityLike,
        unit: Unit | None = None,
    ):
        self.alpha, self.beta = plain("Beta", "alpha", alpha), plain("Beta", "beta", beta)
        self.unit, (self.low, self.high) = common_unit("Beta", unit, low=low, high=high)
        check("Beta", "alpha", self.alpha, is_positive, "positive")
        check("Beta", "beta", self.beta, is_positive, "positive")
        check_order("Beta", self.low, self.high)

    def _draw(self, key, shape, dtype):
        low, high = jnp.asarray(self.low, dtype), jnp.asarray(self.high, dtype)
        alpha, beta = jnp.asarray(self.alpha, dtype), jnp.asarray(self.beta, dtype)
        return low + (high - low) * jax.random.beta(key, alpha, beta, shape, dtype)


class Weibull(Distribution):
    r"""Weibull distributed values, with distribution function $1 - \exp(-(x / \text{scale})^\text{shape})$.

    **Arguments:**

    - `shape`: The shape parameter, a positive number.
    - `scale`: The scale, a positive value.
    - `unit`: The unit of a plain `scale`.

    **Raises:** `UnitError` if `shape` has a dimension, `ValueError` unless both are positive.

    >>> import jax
    >>> from neurostate.init import Weibull
    >>> bool((Weibull(1.5, 0.5)(100, key=jax.random.key(0)) >= 0).all())
    True
    """

    shape: float | Array
    scale: float | Array
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, shape: QuantityLike, scale: QuantityLike, unit: Unit | None = None):
        self.shape = plain("Weibull", "shape", shape)
        self.unit, (self.scale,) = common_unit("Weibull", unit, scale=scale)
        check("Weibull", "shape", self.shape, is_positive, "positive")
        check("Weibull", "scale", self.scale, is_positive, "positive")

    def _draw(self, key, shape, dtype):
        scale, concentration = jnp.asarray(self.scale, dtype), jnp.asarray(self.shape, dtype)
        return jax.random.weibull_min(key, scale, concentration, shape, dtype)


@functools.partial(jax.jit, static_argnames="shape")
def _truncated_normal(key: Key, mean: Array, std: Array, low: Array, high: Array, shape: Shape) -> Array:
    """Draws by inverting the distribution function between the bounds."""
    scale = jnp.where(std == 0, 1, std)
    a, b = (low - mean) / scale, (high - mean) / scale
    # The distribution function resolves the left tail only, since near 1 it has no digits left: an
    # interval to the right of the mean is drawn mirrored.
    mirrored = a > 0
    a, b = jnp.where(mirrored, -b, a), jnp.where(mirrored, -a, b)
    tiny = jnp.finfo(mean.dtype).tiny
    fraction = jax.random.uniform(key, shape, mean.dtype, minval=tiny)
    p = ndtr(a) + fraction * (ndtr(b) - ndtr(a))
    z = ndtri(jnp.clip(p, tiny, 1 - jnp.finfo(mean.dtype).epsneg))
    return jnp.clip(mean + std * jnp.where(mirrored, -z, z), low, high)

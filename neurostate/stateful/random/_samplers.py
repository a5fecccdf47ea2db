"""Samplers with NumPy's names and signatures, over [`jax.random`][]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from ..._custom_types import Key
from ..._errors import UnitError
from ..._units import join_quantity, split_quantity, to_plain
from ._state import RandomState, as_key, split_key


ShapeLike: TypeAlias = int | Sequence[int] | None
Draw: TypeAlias = Callable[[Key, tuple[int, ...], Any], Array]


def _draw(draw: Draw, key: Any, size: ShapeLike, dtype: Any, *parameters: Any) -> Array:
    """Draws an array of the given size, or of the shape that the parameters broadcast to."""
    if size is None:
        shape = jnp.broadcast_shapes(*map(jnp.shape, parameters))
    else:
        shape = (int(size),) if isinstance(size, int | np.integer) else tuple(size)
    dtype = jnp.zeros(()).dtype if dtype is None else jnp.dtype(dtype)
    return draw(split_key() if key is None else as_key(key), shape, dtype)


def _plain(name: str, **parameters: Any) -> tuple[Any, ...]:
    """Parameters without their common unit, and that unit.

    **Raises:** `UnitError` if their dimensions differ.
    """
    units = {key: split_quantity(value)[1] for key, value in parameters.items()}
    unit = next((unit for unit in units.values() if unit is not None), None)
    if unit is None:
        return (*parameters.values(), None)
    mantissas = [
        to_plain(value, unit, key, name) if units[key] is not None or _is_zero(value) else _refuse(name, key, unit)
        for key, value in parameters.items()
    ]
    return (*mantissas, unit)


def _is_zero(value: Any) -> bool:
    return isinstance(value, int | float) and value == 0


def _refuse(name: str, key: str, unit: Any) -> Any:
    raise UnitError(f"`{name}` needs `{key}` with a unit like {unit}, as its other parameters; got a plain number.")


def _located(name: str, draw: Draw, loc: Any, scale: Any, size: ShapeLike, key: Any, dtype: Any) -> Any:
    loc, scale = 0.0 if loc is None else loc, 1.0 if scale is None else scale
    loc, scale, unit = _plain(name, loc=loc, scale=scale)
    numbers = _draw(draw, key, size, dtype, loc, scale)
    return join_quantity(jnp.asarray(loc, numbers.dtype) + jnp.asarray(scale, numbers.dtype) * numbers, unit)


def _scaled(name: str, draw: Draw, scale: Any, size: ShapeLike, key: Any, dtype: Any, *parameters: Any) -> Any:
    scale, unit = _plain(name, scale=1.0 if scale is None else scale)
    numbers = _draw(draw, key, size, dtype, scale, *parameters)
    return join_quantity(jnp.asarray(scale, numbers.dtype) * numbers, unit)


# Uniform numbers and integers


def rand(*dn: int, key: Any = None, dtype: Any = None) -> Array:
    """Uniform numbers in [0, 1) in an array of the given dimensions."""
    return _draw(jax.random.uniform, key, dn, dtype)


def random(size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Uniform numbers in [0, 1)."""
    return _draw(jax.random.uniform, key, size, dtype)


random_sample = ranf = sample = random


def uniform(low: Any = 0.0, high: Any = 1.0, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Any:
    """Uniform numbers in [low, high)."""
    low, high, unit = _plain("uniform", low=low, high=high)
    draw: Draw = lambda k, s, d: jax.random.uniform(k, s, d, minval=low, maxval=high)  # noqa: E731
    return join_quantity(_draw(draw, key, size, dtype, low, high), unit)


def randint(
    low: ArrayLike, high: ArrayLike | None = None, size: ShapeLike = None, key: Any = None, dtype: Any = None
) -> Array:
    """Integers in [low, high), or in [0, low) without `high`."""
    bounds = (0, low) if high is None else (low, high)
    return _draw(lambda k, s, d: jax.random.randint(k, s, *bounds, d), key, size, dtype or jnp.int32, *bounds)


def random_integers(
    low: ArrayLike, high: ArrayLike | None = None, size: ShapeLike = None, key: Any = None, dtype: Any = None
) -> Array:
    """Integers in [low, high], or in [1, low] without `high`."""
    low, high = (1, low) if high is None else (low, high)
    return randint(low, jnp.asarray(high) + 1, size, key, dtype)


def rand_like(input: ArrayLike, *, dtype: Any = None, key: Any = None) -> Array:
    """Uniform numbers in [0, 1), as many as in an array."""
    return random(jnp.shape(input), key, dtype)


def randint_like(
    input: ArrayLike, low: ArrayLike = 0, high: ArrayLike | None = None, *, dtype: Any = None, key: Any = None
) -> Array:
    """Integers in [low, high), or in [0, low) without `high`, as many as in an array."""
    return randint(low, high, jnp.shape(input), key, dtype)


def bernoulli(p: ArrayLike = 0.5, size: ShapeLike = None, key: Any = None) -> Array:
    """Booleans that are true with probability `p`."""
    return _draw(lambda k, s, d: jax.random.bernoulli(k, p, s), key, size, None, p)


# Normal numbers and their relatives


def randn(*dn: int, key: Any = None, dtype: Any = None) -> Array:
    """Standard normal numbers in an array of the given dimensions."""
    return _draw(jax.random.normal, key, dn, dtype)


def randn_like(input: ArrayLike, *, dtype: Any = None, key: Any = None) -> Array:
    """Standard normal numbers, as many as in an array."""
    return standard_normal(jnp.shape(input), key, dtype)


def standard_normal(size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Standard normal numbers."""
    return _draw(jax.random.normal, key, size, dtype)


def normal(loc: Any = None, scale: Any = None, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Any:
    """Normal numbers with mean `loc` and standard deviation `scale`."""
    return _located("normal", jax.random.normal, loc, scale, size, key, dtype)


def truncated_normal(
    lower: Any,
    upper: Any,
    size: ShapeLike = None,
    loc: Any = 0.0,
    scale: Any = 1.0,
    key: Any = None,
    dtype: Any = None,
) -> Any:
    """Normal numbers with mean `loc` and standard deviation `scale` before they are cut to [lower, upper]."""
    lower, upper, loc, scale, unit = _plain("truncated_normal", lower=lower, upper=upper, loc=loc, scale=scale)
    low, high = ((jnp.asarray(bound) - loc) / scale for bound in (lower, upper))
    draw: Draw = lambda k, s, d: jax.random.truncated_normal(k, low, high, s, d)  # noqa: E731
    return join_quantity(loc + scale * _draw(draw, key, size, dtype, low, high), unit)


def lognormal(mean: Any = None, sigma: Any = None, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Numbers whose logarithm is normal with mean `mean` and standard deviation `sigma`."""
    return jnp.exp(normal(mean, sigma, size, key, dtype))


def multivariate_normal(
    mean: ArrayLike,
    cov: ArrayLike,
    size: ShapeLike = None,
    method: str = "cholesky",
    key: Any = None,
    dtype: Any = None,
) -> Array:
    """Vectors that are normal with a mean and a covariance matrix."""
    draw: Draw = lambda k, s, d: jax.random.multivariate_normal(k, mean, cov, s, d, method)  # noqa: E731
    return _draw(draw, key, () if size is None else size, dtype)


def chisquare(df: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Chi-square numbers with `df` degrees of freedom."""
    return _draw(lambda k, s, d: jax.random.chisquare(k, df, s, d), key, size, dtype, df)


def noncentral_chisquare(
    df: ArrayLike, nonc: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None
) -> Array:
    """Chi-square numbers with `df` degrees of freedom and non-centrality `nonc`."""

    def draw(key: Key, shape: tuple[int, ...], dtype: Any) -> Array:
        first, second = jax.random.split(key)
        extra = 2 * jax.random.poisson(first, jnp.asarray(nonc) / 2, shape)
        return jax.random.chisquare(second, jnp.asarray(df, dtype) + extra, shape, dtype)

    return _draw(draw, key, size, dtype, df, nonc)


def f(dfnum: ArrayLike, dfden: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """F numbers with `dfnum` and `dfden` degrees of freedom."""
    return noncentral_f(dfnum, dfden, 0.0, size, key, dtype)


def noncentral_f(
    dfnum: ArrayLike, dfden: ArrayLike, nonc: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None
) -> Array:
    """F numbers with `dfnum` and `dfden` degrees of freedom and non-centrality `nonc`."""

    def draw(key: Key, shape: tuple[int, ...], dtype: Any) -> Array:
        first, second = jax.random.split(key)
        above = noncentral_chisquare(dfnum, nonc, shape, first, dtype) / dfnum
        return above / (jax.random.chisquare(second, dfden, shape, dtype) / dfden)

    return _draw(draw, key, size, dtype, dfnum, dfden, nonc)


def standard_t(df: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Student's t numbers with `df` degrees of freedom."""
    return _draw(lambda k, s, d: jax.random.t(k, df, s, d), key, size, dtype, df)


t = standard_t


def standard_cauchy(size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Standard Cauchy numbers."""
    return _draw(jax.random.cauchy, key, size, dtype)


def laplace(loc: Any = None, scale: Any = None, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Any:
    """Laplace numbers around `loc`."""
    return _located("laplace", jax.random.laplace, loc, scale, size, key, dtype)


def logistic(loc: Any = None, scale: Any = None, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Any:
    """Logistic numbers around `loc`."""
    return _located("logistic", jax.random.logistic, loc, scale, size, key, dtype)


def gumbel(loc: Any = None, scale: Any = None, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Any:
    """Gumbel numbers with mode `loc`."""
    return _located("gumbel", jax.random.gumbel, loc, scale, size, key, dtype)


def maxwell(size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Maxwell numbers: lengths of three-dimensional standard normal vectors."""
    return _draw(jax.random.maxwell, key, size, dtype)


# Positive numbers


def exponential(scale: Any = None, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Any:
    """Exponential numbers with mean `scale`."""
    return _scaled("exponential", jax.random.exponential, scale, size, key, dtype)


def standard_exponential(size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Exponential numbers with mean 1."""
    return _draw(jax.random.exponential, key, size, dtype)


def gamma(shape: ArrayLike, scale: Any = None, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Any:
    """Gamma numbers with a shape and a scale."""
    return _scaled("gamma", lambda k, s, d: jax.random.gamma(k, shape, s, d), scale, size, key, dtype, shape)


def standard_gamma(shape: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Gamma numbers with scale 1."""
    return gamma(shape, None, size, key, dtype)


def loggamma(a: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Logarithms of gamma numbers with shape `a`."""
    return _draw(lambda k, s, d: jax.random.loggamma(k, a, s, d), key, size, dtype, a)


def beta(a: ArrayLike, b: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Beta numbers."""
    return _draw(lambda k, s, d: jax.random.beta(k, a, b, s, d), key, size, dtype, a, b)


def dirichlet(alpha: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Dirichlet vectors."""
    draw: Draw = lambda k, s, d: jax.random.dirichlet(k, jnp.asarray(alpha, d), s, d)  # noqa: E731
    return _draw(draw, key, () if size is None else size, dtype)


def pareto(a: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Pareto II (Lomax) numbers with exponent `a`, as NumPy's: they start at 0."""
    return _draw(lambda k, s, d: jax.random.pareto(k, a, s, d) - 1, key, size, dtype, a)


def power(a: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Numbers in [0, 1] with density `a x**(a - 1)`."""
    return _draw(lambda k, s, d: jax.random.uniform(k, s, d) ** (1 / jnp.asarray(a, d)), key, size, dtype, a)


def rayleigh(scale: Any = 1.0, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Any:
    """Rayleigh numbers."""
    one: Draw = lambda k, s, d: jnp.sqrt(2 * jax.random.exponential(k, s, d))  # noqa: E731
    return _scaled("rayleigh", one, scale, size, key, dtype)


def triangular(
    left: Any = 0.0, mode: Any = 0.5, right: Any = 1.0, size: ShapeLike = None, key: Any = None, dtype: Any = None
) -> Any:
    """Triangular numbers in [left, right] with a peak at `mode`."""
    left, mode, right, unit = _plain("triangular", left=left, mode=mode, right=right)
    draw: Draw = lambda k, s, d: jax.random.triangular(k, left, mode, right, s, d)  # noqa: E731
    return join_quantity(_draw(draw, key, size, dtype, left, mode, right), unit)


def wald(mean: Any, scale: Any, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Any:
    """Wald (inverse Gaussian) numbers with a mean and a shape parameter `scale`."""
    mean, scale, unit = _plain("wald", mean=mean, scale=scale)

    def draw(key: Key, shape: tuple[int, ...], dtype: Any) -> Array:
        ratio = jnp.broadcast_to(jnp.asarray(mean, dtype) / jnp.asarray(scale, dtype), shape)
        return jax.random.wald(key, ratio, shape, dtype) * jnp.asarray(scale, dtype)

    return join_quantity(_draw(draw, key, size, dtype, mean, scale), unit)


def weibull(a: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Weibull numbers with exponent `a` and scale 1."""
    return weibull_min(a, None, size, key, dtype)


def weibull_min(a: ArrayLike, scale: Any = None, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Any:
    """Weibull numbers with exponent `a`."""
    draw: Draw = lambda k, s, d: jax.random.weibull_min(k, jnp.ones((), d), jnp.asarray(a, d), s, d)  # noqa: E731
    return _scaled("weibull_min", draw, scale, size, key, dtype, a)


# Counts


def poisson(lam: ArrayLike = 1.0, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Poisson numbers with mean `lam`."""
    return _draw(lambda k, s, d: jax.random.poisson(k, lam, s, d), key, size, dtype or jnp.int32, lam)


def binomial(n: ArrayLike, p: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """How many of `n` trials succeed that succeed with probability `p`."""
    return _draw(lambda k, s, d: jax.random.binomial(k, n, p, s), key, size, None, n, p).astype(dtype or jnp.int32)


def geometric(p: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """The number of trials up to the first success, at least 1."""
    return _draw(lambda k, s, d: jax.random.geometric(k, p, s, d), key, size, dtype or jnp.int32, p)


def negative_binomial(n: ArrayLike, p: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """The number of failures before `n` successes."""

    def draw(key: Key, shape: tuple[int, ...], _: Any) -> Array:
        first, second = jax.random.split(key)
        odds = (1 - jnp.asarray(p)) / jnp.asarray(p)
        rate = jax.random.gamma(first, jnp.asarray(n, odds.dtype), shape) * odds
        return jax.random.poisson(second, rate, shape, dtype or jnp.int32)

    return _draw(draw, key, size, None, n, p)


def multinomial(n: int, pvals: ArrayLike, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """How many of `n` trials have each of some outcomes."""
    logits = jnp.log(jnp.asarray(pvals))

    def draw(key: Key, shape: tuple[int, ...], _: Any) -> Array:
        outcomes = jax.random.categorical(key, logits, shape=(n, *shape))
        return jax.nn.one_hot(outcomes, logits.shape[-1], dtype=dtype or jnp.int32).sum(0)

    return _draw(draw, key, () if size is None else size, None)


def categorical(logits: ArrayLike, axis: int = -1, size: ShapeLike = None, key: Any = None) -> Array:
    """Indices of outcomes with the given unnormalised logarithms of probabilities."""
    logits = jnp.asarray(logits)
    shape = logits.shape[:axis] + logits.shape[axis:][1:] if axis != -1 else logits.shape[:-1]
    return _draw(lambda k, s, d: jax.random.categorical(k, logits, axis, s), key, shape if size is None else size, None)


# Orders and choices


def permutation(x: int | ArrayLike, axis: int = 0, independent: bool = False, key: Any = None) -> Any:
    """A permutation of `range(x)`, or of an array along an axis."""
    mantissa, unit = split_quantity(x)
    draw: Draw = lambda k, s, d: jax.random.permutation(k, mantissa, axis, independent=independent)  # noqa: E731
    return join_quantity(_draw(draw, key, (), None), unit)


def shuffle(x: ArrayLike, axis: int = 0, key: Any = None) -> Any:
    """An array shuffled along an axis. Unlike NumPy's it gives a new array."""
    return permutation(x, axis, key=key)


def choice(
    a: int | ArrayLike, size: ShapeLike = None, replace: bool = True, p: ArrayLike | None = None, key: Any = None
) -> Any:
    """Draws from `range(a)` or from the items of an array, with probabilities `p`."""
    mantissa, unit = split_quantity(a)
    items = mantissa if isinstance(mantissa, int) else jnp.asarray(mantissa)
    draw: Draw = lambda k, s, d: jax.random.choice(k, items, s, replace, None if p is None else jnp.asarray(p))  # noqa: E731
    return join_quantity(_draw(draw, key, () if size is None else size, None), unit)


def orthogonal(n: int, size: ShapeLike = None, key: Any = None, dtype: Any = None) -> Array:
    """Random orthogonal matrices of `n` rows."""
    shape = () if size is None else size
    return _draw(lambda k, s, d: jax.random.orthogonal(k, n, s, d), key, shape, dtype)


_NOT_SAMPLERS = {"as_key", "split_key", "join_quantity", "split_quantity", "to_plain"}
SAMPLERS: dict[str, Callable[..., Any]] = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and not isinstance(value, type) and not name.startswith("_") and name.islower()
    if name not in _NOT_SAMPLERS and getattr(value, "__module__", "") == __name__
}
RandomState.samplers = SAMPLERS

"""Spike trains that are drawn with given rates or probabilities."""

from __future__ import annotations

import jax.numpy as jnp

from .._custom_types import Array, Key, QuantityLike
from .._parameters import as_milliseconds
from .._units import per_ms
from ..source._base import happens, poisson_probability
from ._arguments import require, required_key, steps, values


def poisson(rates: QuantityLike, num_steps: int, *, dt: QuantityLike, key: Key | None = None) -> Array:
    r"""Rate code: spikes of Poisson processes (Dayan and Abbott 2001, *Theoretical Neuroscience*, section 1.4).

    In each step there is a spike with the probability $1 - e^{-f\,\Delta t}$ that a process of the rate $f$ has at
    least one event within `dt`, as with [`neurostate.PoissonSpike`][].

    **Arguments:**

    - `rates`: Rates such as `20 * u.Hz`, in 1/ms if they are plain numbers, of any shape.
    - `num_steps`: The number of steps.
    - `dt`: The time step.
    - `key`: A random key. The same key gives the same spikes.

    **Returns:** An array of 0 and 1 of shape `(num_steps, *shape of rates)`.

    **Raises:** `UnitError` for a wrong dimension; `ValueError` without a key, or for a negative rate.

    >>> import brainunit as u, jax, jax.numpy as jnp, neurostate as ns
    >>> intensity = jnp.array([0.0, 0.5, 1.0])
    >>> spikes = ns.encode.poisson(100 * u.Hz * intensity, 1000, dt=1 * u.ms, key=jax.random.key(0))
    >>> spikes.shape, float(spikes[:, 0].sum())
    ((1000, 3), 0.0)
    """
    key = required_key(key, "poisson")
    f = values(rates, per_ms, "rates", "poisson")
    require(f >= 0, "not negative", rates, "rates", "poisson")
    p = poisson_probability(f, as_milliseconds(dt, "poisson"))
    return happens(key, p, (steps(num_steps, "poisson"), *p.shape))


def bernoulli(p: QuantityLike, num_steps: int, *, key: Key | None = None) -> Array:
    """Rate code: in each step a spike with a given probability, as with intensities between 0 and 1.

    **Arguments:**

    - `p`: Probabilities, of any shape.
    - `num_steps`, `key`: as in [`neurostate.encode.poisson`][].

    **Returns:** An array of 0 and 1 of shape `(num_steps, *shape of p)`.

    **Raises:** `UnitError` if `p` has a dimension; `ValueError` without a key, or if `p` is not between 0 and 1.

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> spikes = ns.encode.bernoulli(jnp.array([0.0, 0.5, 1.0]), 100, key=jax.random.key(0))
    >>> spikes.shape, float(spikes[:, 2].sum())
    ((100, 3), 100.0)
    """
    key = required_key(key, "bernoulli")
    plain = values(p, None, "p", "bernoulli")
    require(jnp.logical_and(plain >= 0, plain <= 1), "between 0 and 1", p, "p", "bernoulli")
    return happens(key, plain, (steps(num_steps, "bernoulli"), *plain.shape))

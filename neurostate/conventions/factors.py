"""Between factors per step and time constants."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .._custom_types import Array, QuantityLike
from .._parameters import as_milliseconds
from .._units import as_float_array, ms, to_plain


def decay_to_tau(decay: QuantityLike, dt: QuantityLike) -> Array:
    r"""The time constant of what a step of `dt` multiplies by `decay`: $\tau = -\Delta t / \ln \beta$.

    **Arguments:**

    - `decay`: The factor per step, a number or an array between 0 and 1.
    - `dt`: The time step: a number in ms or a `Quantity`.

    **Returns:** The time constant in ms.

    >>> import brainunit as u, neurostate as ns
    >>> print(f"{ns.conventions.decay_to_tau(0.9, 1.0 * u.ms):.3f}")
    9.491
    """
    return -_step(dt, "decay_to_tau") / jnp.log(as_float_array(to_plain(decay, None, "decay", "decay_to_tau")))


def tau_to_decay(tau: QuantityLike, dt: QuantityLike) -> Array:
    r"""The factor by which a time constant multiplies in a step of `dt`: $\beta = e^{-\Delta t / \tau}$.

    **Arguments:**

    - `tau`, `dt`: Times: numbers in ms or `Quantity`s; `tau` may be an array.

    **Returns:** The factor per step.

    >>> import brainunit as u, neurostate as ns
    >>> print(f"{ns.conventions.tau_to_decay(10.0 * u.ms, 1.0 * u.ms):.4f}")
    0.9048
    """
    return jnp.exp(-_step(dt, "tau_to_decay") / as_float_array(to_plain(tau, ms, "tau", "tau_to_decay")))


def exact_tau(tau: QuantityLike, dt: QuantityLike) -> Array:
    r"""The time constant whose exact step is the forward Euler step of `tau`: $\tau' = -\Delta t / \ln(1 -
    \Delta t / \tau)$.

    With it a model that is integrated exactly, such as [`neurostate.LIF`][], takes the steps of a library that uses
    forward Euler, such as Norse, if their `dt` are the same.

    **Arguments:**

    - `tau`: The time constant of the Euler step, longer than `dt`: a number in ms, an array or a `Quantity`.
    - `dt`: The time step: a number in ms or a `Quantity`.

    **Returns:** The time constant in ms.

    >>> import brainunit as u, neurostate as ns
    >>> print(f"{ns.conventions.exact_tau(10.0 * u.ms, 1.0 * u.ms):.3f}")
    9.491
    """
    dt = _step(dt, "exact_tau")
    return -dt / jnp.log1p(-dt / as_float_array(to_plain(tau, ms, "tau", "exact_tau")))


def _step(dt: QuantityLike, owner: str) -> Any:
    return as_milliseconds(dt, f"conventions.{owner}")

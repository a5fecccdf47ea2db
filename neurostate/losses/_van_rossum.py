"""The distance of spike trains as a loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .._custom_types import Array, Bool, Float, QuantityLike
from .._parameters import as_milliseconds
from ._axes import as_series


def van_rossum(
    spikes: QuantityLike,
    targets: QuantityLike,
    tau: QuantityLike,
    *,
    dt: QuantityLike,
    axes: str = "time batch neuron",
    mask: Bool[Array, "..."] | None = None,
) -> Float[Array, ""]:
    r"""The square of the distance of van Rossum (2001) between spike trains.

    $$D^2 = \frac{1}{\tau} \int_0^\infty \big(f(t) - g(t)\big)^2 \,\mathrm{d}t, \qquad
    f(t) = \sum_{t_i \le t} e^{-(t - t_i)/\tau}$$

    with the spikes at the start of their time steps. The integral is exact, after the last step too. One spike more
    or less gives 1/2, and so does each of two spikes that are far apart.

    **Arguments:**

    - `spikes`: Spikes with the axes that `axes` declares.
    - `targets`: The spikes wanted, of the same shape.
    - `tau`: The time constant: small to compare each spike, large to compare numbers of spikes. A time.
    - `dt`: The time step.
    - `axes`: What each axis of `spikes` is: `time` once, `neuron` (or `class`) once; all other names are axes of the
        batch.
    - `mask`: Which time steps count: booleans of the shape of `spikes` without the neurons. Spikes in the others are
        left out, on both sides.

    **Returns:** The mean over the batch and the neurons.

    **Raises:** `ValueError` if the shapes do not fit `axes`; `UnitError` for a wrong dimension.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> spikes, targets = jnp.array([[0.0], [1.0], [0.0]]), jnp.zeros((3, 1))
    >>> print(ns.losses.van_rossum(spikes, targets, tau=5 * u.ms, dt=1 * u.ms, axes="time neuron"))
    0.5
    """
    scale, step = as_milliseconds(tau, "van_rossum", "tau"), as_milliseconds(dt, "van_rossum")
    series = as_series(spikes, None, "spikes", "van_rossum", axes, mask)
    difference = series.values - series.targets(targets, None, "targets", over_time=True)
    if series.mask is not None:
        difference = jnp.where(series.mask[..., None], difference, 0)
    decay = jnp.exp(jnp.asarray(-step / scale, difference.dtype))
    # Of the integral of the squared trace from one step to infinity, a part falls into that step.
    part = -jnp.expm1(jnp.asarray(-2 * step / scale, difference.dtype))

    def move(carry: tuple[Array, Array], change: Array) -> tuple[tuple[Array, Array], None]:
        trace, integral = carry
        past = integral + part * jnp.square(trace)
        return (trace * decay + change, past), None

    zeros = jnp.zeros(difference.shape[1:], difference.dtype)
    (last, integral), _ = jax.lax.scan(move, (zeros, zeros), difference)
    return series.over_batch((integral + jnp.square(last)) / 2)

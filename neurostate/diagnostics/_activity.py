"""How much each neuron spikes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Bool, Float, QuantityLike, Size, as_shape
from .._parameters import as_milliseconds
from .._units import argument, is_traced


class Activity(eqx.Module):
    """What `activity` tells of a population.

    - `rates`: The rate of each neuron in Hz, the mean over time and batch, of shape `size`.
    - `dead`: Which neurons never spike.
    - `saturated`: Which neurons spike in more than a given part of the steps.
    """

    rates: Float[Array, "..."]
    dead: Bool[Array, "..."]
    saturated: Bool[Array, "..."]

    @property
    def dead_fraction(self) -> Float[Array, ""]:
        """The part of the neurons that is dead."""
        return self.dead.mean()

    @property
    def saturated_fraction(self) -> Float[Array, ""]:
        """The part of the neurons that is saturated."""
        return self.saturated.mean()

    def __repr__(self) -> str:
        if is_traced(self.rates):
            return f"Activity(rates={eqx.tree_pformat(self.rates)})"
        rates = np.asarray(self.rates)
        low, middle, high = np.percentile(rates, (0, 50, 100))
        return (
            f"Activity({rates.size} neurons: {rates.mean():.3g} Hz on average, {low:.3g} to {high:.3g} Hz, median "
            f"{middle:.3g} Hz; {self.dead_fraction:.1%} dead, {self.saturated_fraction:.1%} saturated)"
        )


def activity(
    spikes: Array | Mapping[str, Array], *, dt: QuantityLike, size: Size | None = None, saturated: float = 0.5
) -> Any:
    """How much each neuron spikes, and how many never do, or in most of the steps.

    A neuron that never spikes gets gradient only through its surrogate derivative, if at all; one that spikes in
    nearly every step tells nothing either.

    **Arguments:**

    - `spikes`: 0 and 1, of shape `(time, *batch, *size)`; or a dictionary of such, as `layer_spikes` and networks give.
    - `dt`: The time step.
    - `size`: The shape of the population. By default it is the last axis. Where `spikes` is a dictionary, it is that of
        all of its entries.
    - `saturated`: In what part of the steps, at all in the batch, a saturated neuron spikes at least; over it.

    **Returns:** An [`neurostate.diagnostics.Activity`][], or a dictionary of them.

    **Raises:** `ValueError` if the shape does not fit; `UnitError` if `dt` is not a time.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> spikes = jnp.array([[0, 1, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1.0]])  # (time, neuron)
    >>> ns.diagnostics.activity(spikes, dt=1.0)
    Activity(3 neurons: 417 Hz on average, 0 to 1e+03 Hz, median 250 Hz; 33.3% dead, 33.3% saturated)
    """
    dt = as_milliseconds(dt, "activity")
    if isinstance(spikes, Mapping):
        return {name: activity(x, dt=dt, size=size, saturated=saturated) for name, x in spikes.items()}
    spikes = jnp.asarray(spikes)
    shape = spikes.shape[-1:] if size is None else as_shape(size)
    split = spikes.ndim - len(shape)
    if split < 1 or spikes.shape[split:] != shape:
        given = f"got the shape {spikes.shape} for a population of the size {shape}"
        raise ValueError(f"{argument('activity', 'spikes')} must have the axes (time, *batch, *size), {given}.")
    part = spikes.mean(tuple(range(split)), dtype=jnp.result_type(float))
    return Activity(1000 * part / dt, part == 0, part > saturated)

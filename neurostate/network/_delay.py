"""Delays of a projection: where spikes, or what they send, are kept until they arrive."""

from __future__ import annotations

import math
from typing import Any, Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Float, Int, QuantityLike, Shape
from .._units import as_float_array, is_traced, ms, split_quantity, to_plain
from ..connect._base import AbstractConnection
from ..connect._delayed import arrive_late


# How far from a whole number of steps a delay may be and still be one, in steps.
_SLACK: Final = 1e-4


class DelayState(eqx.Module):
    """What is on its way: `values` are in order of time along the first axis, around its end, and `newest` is the slot
    of the present step. Of shape `(length, *batch, num_in)` or, with a delay for each synapse, `(length, *batch,
    num_out)`."""

    values: Float[Array, "length ..."]
    newest: Int[Array, ""]


class Delay(eqx.Module):
    """A delay of a projection: one for all, one for each neuron in front, or one for each synapse.

    `lag` is in steps: of an integer dtype where all delays are whole, else any numbers, between which spikes are
    divided.
    """

    lag: Array
    kind: str = eqx.field(static=True)  # "one", "pre" or "synapse"
    length: int = eqx.field(static=True)
    size: int = eqx.field(static=True)  # of what is kept

    def init_state(self, batch_shape: Shape) -> DelayState:
        return DelayState(jnp.zeros((self.length, *batch_shape, self.size)), jnp.asarray(0, jnp.int32))

    def send(
        self, state: DelayState, connection: AbstractConnection, x: Float[Array, "..."]
    ) -> tuple[DelayState, Array]:
        """What arrives now through the connection, where `x` of shape `(*batch, num_in)` is sent now."""
        slot = (state.newest + 1) % self.length
        if self.kind != "synapse":
            values = state.values.at[slot].set(x.astype(state.values.dtype))
            delayed = self._read(values, slot)
            return DelayState(values, slot), delayed
        batch = x.shape[:-1]
        count = math.prod(batch)
        values = state.values.at[state.newest].set(0).reshape(self.length, count, self.size)
        values = arrive_late(connection, x.reshape(count, -1), self._clipped(), values, slot)
        values = values.reshape(self.length, *batch, self.size)
        return DelayState(values, slot), jax.lax.dynamic_index_in_dim(values, slot, keepdims=False)

    def _clipped(self) -> Array:
        """The lags within the length that there is, for delays that are trained."""
        if jnp.issubdtype(self.lag.dtype, jnp.integer):
            return self.lag
        return jnp.clip(self.lag, 0, self.length - 2)

    def _read(self, values: Array, slot: Array) -> Array:
        lag = self._clipped()
        if jnp.issubdtype(lag.dtype, jnp.integer):
            return self._pick(values, slot - lag)
        whole = jnp.floor(jax.lax.stop_gradient(lag))
        rest, steps = lag - whole, whole.astype(jnp.int32)
        newer, older = self._pick(values, slot - steps), self._pick(values, slot - steps - 1)
        return newer + rest * (older - newer)

    def _pick(self, values: Array, slot: Array) -> Array:
        slot = jnp.where(slot < 0, slot + self.length, slot)
        if slot.ndim == 0:
            return jax.lax.dynamic_index_in_dim(values, slot, keepdims=False)
        return jnp.moveaxis(values[slot, ..., jnp.arange(self.size)], 0, -1)


def as_delay(
    given: QuantityLike,
    connection: AbstractConnection,
    *,
    dt: float | None,
    longest: QuantityLike | None,
    interpolate: bool | None,
    owner: str,
) -> Delay | None:
    """The delay that a projection was given: a number of steps as an int, or a time.

    **Raises:** `ValueError` for a negative one, one of a wrong shape, a time without `dt`; `UnitError` if it is none.
    """
    if given is None:
        return None
    num_in, num_out = math.prod(connection.in_size), math.prod(connection.out_size)
    lag = _in_steps(given, dt, "delay", owner)
    if not np.all(np.isfinite(lag)) or np.any(lag < 0):
        raise ValueError(f"The `delay` of {owner} must not be negative, got {float(np.min(lag))} steps.")
    synapses = connection.synapse_shape if lag.ndim else ()
    if lag.ndim == 0:
        kind = "one"
    elif lag.shape == synapses == (num_in,) and not _means_one(connection, lag):
        raise ValueError(
            f"The `delay` of {owner} has {num_in} values, but there are as many neurons in front as synapses. Give "
            "`delay[:, None]` if there is one for each neuron, `delay[None]` if there is one for each synapse."
        )
    elif lag.shape == synapses != (num_in,) or lag.shape == (1, *synapses):
        kind, lag = "synapse", lag.reshape(synapses)
    elif lag.shape in ((num_in,), connection.in_size, (num_in, 1)):
        kind, lag = "pre", lag.reshape(-1)
    else:
        raise ValueError(
            f"The `delay` of {owner} must be a scalar, have one value for each neuron in front, {num_in}, or for each "
            f"synapse, {synapses}; got the shape {lag.shape}."
        )
    whole = bool(np.all(np.abs(lag - np.round(lag)) <= _SLACK)) if interpolate is None else not interpolate
    if whole and not np.all(np.abs(lag - np.round(lag)) <= _SLACK):
        raise ValueError(f"The `delay` of {owner} is not a whole number of steps; leave out `interpolate=False`.")
    most = float(lag.max()) if longest is None else float(np.max(_in_steps(longest, dt, "max_delay", owner)))
    if most < float(lag.max()):
        raise ValueError(f"The `max_delay` of {owner}, {most} steps, is below its longest delay, {lag.max()} steps.")
    length = int(math.ceil(most - _SLACK)) + (1 if whole else 2)
    lag = np.asarray(connection.in_order(lag)) if kind == "synapse" else lag
    array = jnp.asarray(np.round(lag), jnp.int32) if whole else as_float_array(lag)
    return Delay(array, kind, length, num_out if kind == "synapse" else num_in)


def _means_one(connection: AbstractConnection, lag: Any) -> bool:
    """Whether one value for each neuron in front and one for each synapse are the same."""
    by_neuron = connection.at_pre(jnp.asarray(lag))
    return bool(jnp.array_equal(by_neuron, connection.in_order(jnp.asarray(lag))))


def _in_steps(given: QuantityLike, dt: float | None, name: str, owner: str) -> Any:
    mantissa, unit = split_quantity(given)
    if is_traced(mantissa):
        raise ValueError(f"The `{name}` of {owner} must be known when the network is made, not traced.")
    if unit is None and np.issubdtype(np.asarray(mantissa).dtype, np.integer):
        return np.asarray(mantissa, np.float64)
    if dt is None:
        raise ValueError(
            f"The `{name}` of {owner} is a time, {given!r:.60}, so the network must know the time step: "
            f"`Network(..., dt=0.1 * u.ms)`. Or give it as a whole number of steps, an int."
        )
    return np.asarray(to_plain(given, ms, name, owner), np.float64) / dt

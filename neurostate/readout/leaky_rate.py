"""A readout that adds up weighted spikes, and forgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from .._cell import AbstractCell
from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size, as_shape
from .._parameters import as_milliseconds
from .._units import Unit, measures, ms, split_quantity, to_plain, unitless
from ..init import Constant, KaimingNormal
from ..neuron._fields import fill, initial_arrays, initial_field, quantity_field, static_field
from ..source._base import with_dimension
from ._weight import as_inputs, make_weight


class LeakyRateReadoutState(eqx.Module):
    """The state of `LeakyRateReadout`: `r` in the unit of the weights, of shape `(*batch, *out_size)`."""

    r: Float[Array, " *state"] = eqx.field(metadata=measures("current"))


class LeakyRateReadout(AbstractCell[LeakyRateReadoutState]):
    r"""A leaky sum of weighted spikes, for each output.

    Between spikes $r$ decays, and a spike of input $i$ adds its weights (the readout of Neftci, Mostafa and Zenke
    2019):

    $$\frac{\mathrm{d}r_j}{\mathrm{d}t} = -\frac{r_j}{\tau} + \sum_i W_{ij} \sum_k \delta(t - t_i^k)$$

    The step is exact for spikes at the points of the grid: it decays over `dt`, then adds `x @ weight`, so that

    $$r(t + \Delta t) = e^{-\Delta t/\tau}\,r(t) + x\,W$$

    The input of a step acts at its end, undamped, and the output is the new `r`. Numerically the same as
    `LeakyRateReadout` of brainpy.state.

    **Arguments:**

    - `in_size`, `out_size`: Numbers of inputs and outputs.
    - `tau`: The time constant. A time, positive: a scalar, or an array over the outputs.
    - `w_init`: The weights, of shape `(in_size, out_size)`: an initialiser, or an array. Their unit is that of `r`, the
        `I_unit`: any unit, or none.
    - `r_initializer`: `r` at the start.
    - `key`: A random key, for an initialiser that draws.
    - `I_unit`: The unit of `r`, for weights that are plain numbers.

    `weight`, `tau` and a value of `r_initializer` can be trained.

    **Raises:** `UnitError` for a wrong dimension, naming the argument; `ValueError` for a wrong shape, or a `tau` that
    is not positive.

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> readout = ns.LeakyRateReadout(100, 10, key=jax.random.key(0))
    >>> sol = ns.simulate(readout, jnp.ones((50, 8, 100)), dt=1.0)  # (time, batch, input)
    >>> sol.outputs.shape, readout.weight.shape
    ((50, 8, 10), (100, 10))
    """

    size: Shape = static_field()
    weight: Float[Array, "inputs outputs"] = quantity_field("current")
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    r_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("current")
    I_unit: Unit = static_field()

    state_type: ClassVar[type[LeakyRateReadoutState]] = LeakyRateReadoutState

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        tau: QuantityLike = 5.0 * ms,
        w_init: QuantityLike | Callable[..., Any] = KaimingNormal(),
        r_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
        *,
        key: Key | None = None,
        I_unit: Unit | None = None,
    ):
        owner = "LeakyRateReadout"
        made = make_weight(w_init, in_size, out_size, key, owner)
        unit = I_unit or split_quantity(made)[1] or unitless
        fill(self, {"size": out_size, "tau": tau, "r_initializer": r_initializer, "I_unit": unit}, unit)
        self.weight = to_plain(made, unit, "w_init", owner)

    @property
    def in_size(self) -> Shape:
        """The shape of the input, without time and batch axes."""
        return (self.weight.shape[0],)

    @property
    def out_unit(self) -> Unit | None:
        """The unit of the output; `None` if it has no unit."""
        return with_dimension(self.I_unit)

    def field_unit(self, name: str) -> Unit | None:
        """The unit of the field `name` of this object; `None` if it has no unit."""
        return with_dimension(super().field_unit(name))

    def state_unit(self, name: str) -> Unit | None:
        """The unit of the field `name` of the state; `None` if it has no unit."""
        return with_dimension(super().state_unit(name))

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> LeakyRateReadoutState:
        """Makes the state at the start. See `AbstractCell.init_state`."""
        return LeakyRateReadoutState(**initial_arrays(self, {"r": self.r_initializer}, as_shape(batch_shape), key))

    def step(
        self, state: LeakyRateReadoutState, input: QuantityLike, /, *, dt: QuantityLike, key: Key | None = None
    ) -> tuple[LeakyRateReadoutState, Float[Array, " *state"]]:
        """Moves time forward by one step; the output is the new `r`, in `I_unit`. `key` is not used.

        **Arguments:**

        - `state`: The state before the step.
        - `input`: The spikes, of shape `(*batch, in_size)`, without a unit.
        - `dt`: The time step: a number in ms or a `Quantity`.

        **Raises:** `UnitError` if `input` has a dimension; `ValueError` for a wrong shape.
        """
        del key
        x = as_inputs(input, self.weight, state.r, "LeakyRateReadout")
        dt = as_milliseconds(dt, "LeakyRateReadout.step")
        r = (jnp.exp(-dt / self.tau) * state.r + x @ self.weight).astype(state.r.dtype)
        return LeakyRateReadoutState(r), r

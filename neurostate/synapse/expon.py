"""The synapse whose conductance decays exponentially."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._units import Unit, ms
from ..init import Constant
from ..neuron._fields import initial_field, quantity_field, static_field
from ..neuron._state import variable
from ._base import OF_G, AbstractSynapse, fill_conductance, unit_field


class ExponState(eqx.Module):
    """The state of `Expon`: the conductance `g`, of shape `(*batch, *size)`."""

    g: Float[Array, " *state"] = variable(OF_G)


class Expon(AbstractSynapse[ExponState]):
    r"""Synapses whose conductance jumps when something arrives, and decays (Roth and van Rossum 2009, *Modeling
    synapses*).

    $$\frac{\mathrm{d}g}{\mathrm{d}t} = -\frac{g}{\tau} + \sum_k x_k\,\delta(t - t_k)$$

    so that $x\,e^{-t/\tau}$ follows the arrival of $x$. It is integrated exactly. What a step is given arrives at the
    end of the step, and the output is `g` after that: with a single arrival in step `k`, it is
    $x\,e^{-(n - k)\Delta t/\tau}$ in step `n`, beginning with $x$ itself.

    What arrives, `g` and the output are in `g_unit`: siemens, unless that is given or `g_initializer` has a unit. It
    may be that of a conductance or a current, absolute or per area, or of a number, `u.UNITLESS`.

    **Arguments:**

    - `size`: Number of synapses, or the shape of the population.
    - `tau`: The time constant of the decay. A time, positive.
    - `g_initializer`: `g` at the start: a value, or an initialiser called with a shape and a key.
    - `g_unit`: The unit of `g`, such as `u.nS`.

    Each of `tau` and `g_initializer` is a scalar or an array that broadcasts to `size`, and can be trained.

    **Raises:** `UnitError` for a wrong dimension, naming the argument; `ValueError` for a wrong shape or a `tau` that
    is not positive; `TypeError` for what is not a number, or not a unit.

    >>> import brainunit as u, neurostate as ns
    >>> synapse = ns.Expon(2, tau=5 * u.ms, g_unit=u.nS)
    >>> state, g = synapse.step(synapse.init_state(), [1.0, 3.0] * u.nS, dt=1 * u.ms)
    >>> state, g = synapse.step(state, 0.0, dt=1 * u.ms)
    >>> print(g)
    [0.8187308 2.4561923]
    """

    size: Shape = static_field()
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    g_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(OF_G)
    I_unit: Unit = unit_field()

    state_type: ClassVar[type[ExponState]] = ExponState

    def __init__(
        self,
        size: Size,
        tau: QuantityLike = 8.0 * ms,
        g_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
        *,
        g_unit: Unit | None = None,
    ):
        fill_conductance(self, locals())

    def flow(self, state: ExponState, dt: Any) -> ExponState:
        return ExponState(g=state.g * jnp.exp(-dt / self.tau))

    def arrive(self, state: ExponState, x: Array) -> tuple[ExponState, Array]:
        g = state.g + x
        return ExponState(g=g), g

"""The synapse whose conductance is an alpha function."""

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


class AlphaState(eqx.Module):
    """The state of `Alpha`: the conductance `g` and what makes it rise, `h`, of shape `(*batch, *size)`."""

    g: Float[Array, " *state"] = variable(OF_G)
    h: Float[Array, " *state"] = variable(OF_G)


class Alpha(AbstractSynapse[AlphaState]):
    r"""Synapses whose conductance is an alpha function (Rall 1967, *Distinguishing theoretical synaptic potentials
    computed for different soma-dendritic distributions of synaptic input*).

    $$\tau\frac{\mathrm{d}g}{\mathrm{d}t} = -g + h, \qquad
    \frac{\mathrm{d}h}{\mathrm{d}t} = -\frac{h}{\tau} + \sum_k x_k\,\delta(t - t_k)$$

    so that $x\,(t/\tau)\,e^{-t/\tau}$ follows the arrival of $x$. Its area is $x\,\tau$, as that of
    [`neurostate.Expon`][], and its peak, at $t = \tau$, is $x/e$; for a peak of $x$ take a
    [`neurostate.DualExpon`][] with two equal time constants. It is integrated exactly. When what is given arrives, and
    in which unit: as in [`neurostate.Expon`][].

    **Arguments:**

    - `size`: Number of synapses, or the shape of the population.
    - `tau`: The time constant. A time, positive.
    - `g_initializer`, `h_initializer`: `g` and `h`, which has the unit of `g`, at the start.
    - `g_unit`: The unit of `g`, as in [`neurostate.Expon`][].

    **Raises:** as [`neurostate.Expon`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> sol = ns.simulate(ns.Alpha(1, tau=5 * u.ms), jnp.zeros((51, 1)).at[0].set(1.0), dt=0.1 * u.ms)
    >>> print(f"{sol.outputs[50, 0]:.4f}")  # exp(-1)
    0.3679
    """

    size: Shape = static_field()
    tau: Float[Array, " *#size"] = quantity_field("time", positive=True)
    g_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(OF_G)
    h_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(OF_G)
    I_unit: Unit = unit_field()

    state_type: ClassVar[type[AlphaState]] = AlphaState

    def __init__(
        self,
        size: Size,
        tau: QuantityLike = 8.0 * ms,
        g_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
        h_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
        *,
        g_unit: Unit | None = None,
    ):
        fill_conductance(self, locals())

    def flow(self, state: AlphaState, dt: Any) -> AlphaState:
        z = dt / self.tau
        decay = jnp.exp(-z)
        return AlphaState(g=(state.g + z * state.h) * decay, h=state.h * decay)

    def arrive(self, state: AlphaState, x: Array) -> tuple[AlphaState, Array]:
        return AlphaState(g=state.g, h=state.h + x), state.g

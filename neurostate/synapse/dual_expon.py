"""The synapse whose conductance rises and decays exponentially."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike, Shape, Size
from .._units import Unit, ms
from ..init import Constant
from ..integrate import phi
from ..neuron._fields import initial_field, quantity_field, static_field
from ..neuron._state import variable
from ._base import OF_G, AbstractSynapse, fill_conductance, unit_field


class DualExponState(eqx.Module):
    """The state of `DualExpon`: the conductance `g` and what makes it rise, `h`, of shape `(*batch, *size)`."""

    g: Float[Array, " *state"] = variable(OF_G)
    h: Float[Array, " *state"] = variable(OF_G)


class DualExpon(AbstractSynapse[DualExponState]):
    r"""Synapses whose conductance is the difference of two exponentials (Roth and van Rossum 2009, *Modeling
    synapses*).

    $$g(t) = a\,x \left(e^{-t/\tau_\text{decay}} - e^{-t/\tau_\text{rise}}\right)$$

    follows the arrival of $x$. With `normalize` it is divided by the peak of the bracket, so that the peak of $g$ is
    `amplitude` times $x$. It is kept as

    $$\frac{\mathrm{d}g}{\mathrm{d}t} = -\frac{g}{\tau_\text{decay}} + c\,h, \qquad
    \frac{\mathrm{d}h}{\mathrm{d}t} = -\frac{h}{\tau_\text{rise}} + \sum_k x_k\,\delta(t - t_k)$$

    and integrated exactly, also where the two time constants are equal or nearly so. In that limit the normalised $g$
    is $a\,x\,(t/\tau)\,e^{1 - t/\tau}$; without `normalize` nothing is left of it. Swapping the two time constants
    changes nothing if it is normalised, and the sign if it is not.

    When what is given arrives, and in which unit: as in [`neurostate.Expon`][].

    **Arguments:**

    - `size`: Number of synapses, or the shape of the population.
    - `tau_decay`, `tau_rise`: The time constants. Times, positive.
    - `amplitude`: A factor of the output, a number.
    - `normalize`: Whether the peak is `amplitude` for an arrival of 1.
    - `g_initializer`, `h_initializer`: `g` and `h`, which has the unit of `g`, at the start.
    - `g_unit`: The unit of `g`, as in [`neurostate.Expon`][].

    **Raises:** as [`neurostate.Expon`][].

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> synapse = ns.DualExpon(1, tau_decay=10 * u.ms, tau_rise=1 * u.ms)
    >>> sol = ns.simulate(synapse, jnp.zeros((500, 1)).at[0].set(2.0), dt=0.1 * u.ms)
    >>> print(f"{sol.outputs.max():.3f} S after {sol.ts[sol.outputs[:, 0].argmax()] - sol.ts[0]:.1f} ms")
    2.000 S after 2.6 ms
    """

    size: Shape = static_field()
    tau_decay: Float[Array, " *#size"] = quantity_field("time", positive=True)
    tau_rise: Float[Array, " *#size"] = quantity_field("time", positive=True)
    amplitude: Float[Array, " *#size"] = quantity_field(None)
    normalize: bool = static_field()
    g_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(OF_G)
    h_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(OF_G)
    I_unit: Unit = unit_field()

    state_type: ClassVar[type[DualExponState]] = DualExponState

    def __init__(
        self,
        size: Size,
        tau_decay: QuantityLike = 10.0 * ms,
        tau_rise: QuantityLike = 1.0 * ms,
        amplitude: QuantityLike = 1.0,
        normalize: bool = True,
        g_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
        h_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
        *,
        g_unit: Unit | None = None,
    ):
        fill_conductance(self, locals())
        self.normalize = bool(normalize)

    def flow(self, state: DualExponState, dt: Any) -> DualExponState:
        a, b = dt / self.tau_decay, dt / self.tau_rise
        # The mean of exp(-a (1 - s)) exp(-b s) over 0 to 1. It does not cancel where the rates are equal, and has its
        # true derivatives there, as `minimum` and `maximum` share theirs between equal arguments.
        low, high = jnp.minimum(a, b), jnp.maximum(a, b)
        shared = jnp.exp(-low) * phi(low - high)
        g = state.g * jnp.exp(-a) + self.amplitude * self.rise() * dt * state.h * shared
        return DualExponState(g=g, h=state.h * jnp.exp(-b))

    def arrive(self, state: DualExponState, x: Array) -> tuple[DualExponState, Array]:
        return DualExponState(g=state.g, h=state.h + x), state.g

    def rise(self) -> Any:
        """The slope of `g` in 1/ms when 1 arrives, for an `amplitude` of 1."""
        if self.normalize:
            # The peak is (1 - ratio) * ratio**(ratio / (1 - ratio)); log(ratio) / (ratio - 1) is 1 / phi(log(ratio)).
            ratio = self.tau_rise / self.tau_decay
            return jnp.exp(ratio / phi(jnp.log(ratio))) / self.tau_rise
        return (self.tau_decay - self.tau_rise) / (self.tau_decay * self.tau_rise)

"""The output of a conductance that magnesium blocks."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike
from .._drive import Drive
from .._units import measures, mV, per_mV
from ._output import AbstractOutput, constant, times_millivolts


class MgBlock(AbstractOutput):
    r"""The current through NMDA receptors, which magnesium blocks at a low potential (Jahr and Stevens 1990, *Voltage
    dependence of NMDA-activated macroscopic conductances predicted by single-channel kinetics*).

    $$I = g\,(E - V)\,B(V), \qquad B(V) =
    \frac{1}{1 + \frac{[\mathrm{Mg}]}{\beta}\,e^{-\alpha\,(V - V_\text{offset})}}$$

    `out(g, V)` is that current at a given `V`. `out.drive(g, V)` is a [`neurostate.Drive`][] with the conductance
    $g\,B(V)$ and its reversal potential: during a step the block stays as it is at this `V`, and the driving force
    follows the neuron.

    Concentrations are plain numbers in mM.

    **Arguments:**

    - `E`: The reversal potential. A voltage.
    - `cc_Mg`: The concentration of magnesium outside. A number in mM.
    - `alpha`: How steep the block is, per voltage.
    - `beta`: The concentration of magnesium that blocks half of the receptors at `V_offset`. A number in mM, positive.
    - `V_offset`: A voltage by which the block is shifted.

    Each is a scalar, or an array that broadcasts with `g`, and can be trained.

    **Raises:** `UnitError` for a wrong dimension, `TypeError` for what is not numeric, `ValueError` if `beta` is not
    positive.

    >>> import brainunit as u, neurostate as ns
    >>> out = ns.MgBlock(cc_Mg=1.0)
    >>> print(f"{out.block(-65 * u.mV):.3f} {out.block(0.0):.3f}")
    0.060 0.781
    """

    E: Float[Array, "..."] = eqx.field(metadata=measures("voltage"))
    cc_Mg: Float[Array, "..."]
    alpha: Float[Array, "..."] = eqx.field(metadata=measures((0, -1, 0)))
    beta: Float[Array, "..."]
    V_offset: Float[Array, "..."] = eqx.field(metadata=measures("voltage"))

    def __init__(
        self,
        E: QuantityLike = 0.0 * mV,
        cc_Mg: QuantityLike = 1.2,
        alpha: QuantityLike = 0.062 * per_mV,
        beta: QuantityLike = 3.57,
        V_offset: QuantityLike = 0.0 * mV,
    ):
        self.E = constant(E, mV, "E", "MgBlock")
        self.cc_Mg = constant(cc_Mg, None, "cc_Mg", "MgBlock")
        self.alpha = constant(alpha, per_mV, "alpha", "MgBlock")
        self.beta = constant(beta, None, "beta", "MgBlock", positive=True)
        self.V_offset = constant(V_offset, mV, "V_offset", "MgBlock")

    def block(self, V: QuantityLike) -> Array:
        """The fraction of the receptors that are not blocked at the potential `V`."""
        V = self.potential(V)
        return 1 / (1 + self.cc_Mg / self.beta * jnp.exp(-self.alpha * (V - self.V_offset)))

    def __call__(self, g: QuantityLike, V: QuantityLike) -> Any:
        return times_millivolts(g, (self.E - self.potential(V)) * self.block(V))

    def drive(self, g: QuantityLike, V: QuantityLike) -> Drive:
        return Drive(g=g * self.block(V), E=self.E)

"""The output of a conductance with a reversal potential."""

from __future__ import annotations

from typing import Any

import equinox as eqx

from .._custom_types import Array, Float, QuantityLike
from .._drive import Drive
from .._units import measures, mV
from ._output import AbstractOutput, constant, times_millivolts


class COBA(AbstractOutput):
    r"""The current through a conductance with a reversal potential.

    $$I = g\,(E - V)$$

    `out(g, V)` is that current at a given `V`. `out.drive(g)` is a [`neurostate.Drive`][] with the conductance and its
    reversal potential, which a neuron whose equation is linear in `V` integrates exactly, and any other one at every
    `V` within the step: prefer it.

    **Arguments:**

    - `E`: The reversal potential. A voltage: a scalar, or an array that broadcasts with `g`. It can be trained.

    **Raises:** `UnitError` if it is not a voltage, `TypeError` if it is not numeric.

    >>> import brainunit as u, neurostate as ns
    >>> out = ns.COBA(E=0 * u.mV)
    >>> print(out(2.0 * u.nS, -60 * u.mV))
    120. pA
    >>> lif = ns.LIF(2)
    >>> state, spike = lif.step(lif.init_state(), out.drive(0.5 * u.siemens), dt=0.1 * u.ms)
    """

    E: Float[Array, "..."] = eqx.field(metadata=measures("voltage"))

    def __init__(self, E: QuantityLike):
        self.E = constant(E, mV, "E", "COBA")

    def __call__(self, g: QuantityLike, V: QuantityLike) -> Any:
        return times_millivolts(g, self.E - self.potential(V))

    def drive(self, g: QuantityLike, V: QuantityLike = None) -> Drive:
        del V
        return Drive(g=g, E=self.E)

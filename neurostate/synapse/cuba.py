"""The output of a conductance that acts as a current."""

from __future__ import annotations

from typing import Any

import equinox as eqx

from .._custom_types import Array, Float, QuantityLike
from .._drive import Drive
from .._units import measures, mV
from ._output import AbstractOutput, constant, times_millivolts


class CUBA(AbstractOutput):
    r"""The current of a conductance at a fixed driving force.

    $$I = g \cdot \text{scale}$$

    It does not depend on `V`. A synapse whose `g` is a current needs no output: its `g` is the input of a neuron.

    **Arguments:**

    - `scale`: The driving force. A voltage, in mV if it is a plain number: a scalar, or an array that broadcasts with
        `g`. It can be trained.

    **Raises:** `UnitError` if it is not a voltage, `TypeError` if it is not numeric.

    >>> import brainunit as u, neurostate as ns
    >>> out = ns.CUBA(scale=60 * u.mV)
    >>> print(out(2.0 * u.nS))
    120. pA
    """

    scale: Float[Array, "..."] = eqx.field(metadata=measures("voltage"))

    def __init__(self, scale: QuantityLike = 1000.0 * mV):
        self.scale = constant(scale, mV, "scale", "CUBA")

    def __call__(self, g: QuantityLike, V: QuantityLike = None) -> Any:
        del V
        return times_millivolts(g, self.scale)

    def drive(self, g: QuantityLike, V: QuantityLike = None) -> Drive:
        return Drive(current=self(g, V))

"""Gap junctions."""

from __future__ import annotations

from typing import Any, Final, cast

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, ArrayLike, Float, Int, QuantityLike
from .._parameters import parameter
from .._units import (
    Unit,
    argument,
    current_unit,
    family_unit,
    format_with_units,
    is_traced,
    join_quantity,
    mA,
    measures,
    mV,
    split_quantity,
    to_plain,
    uA_per_cm2,
)


_MSG_MATRIX: Final = (
    "The argument `g` of `GapJunction` must be a symmetric matrix, as gap junctions conduct both ways, got {}.\n"
    "Give `(g + g.T) / 2`, or the conductance of each junction with `edges` and `size`."
)


class GapJunction(eqx.Module):
    r"""Gap junctions between the neurons of one population, which conduct equally in both directions.

    $$I_i = \sum_j g_{ij}\,(V_j - V_i), \qquad g_{ij} = g_{ji}$$

    `gap(V)` gives the current into each neuron at the potentials `V`; the currents of all neurons add up to zero. Each
    junction has one conductance, so that it stays symmetric when it is trained.

    **Arguments:**

    - `g`: The conductances, in `I_unit`/mV if they are plain numbers: a symmetric matrix, whose diagonal does not
        matter, or with `edges` a scalar or one for each edge.
    - `edges`: The pairs of neurons that are connected, of shape `(edges, 2)`. A pair that occurs twice counts twice.
    - `size`: The number of neurons. Only with `edges`.
    - `I_unit`: The unit of current: mA, unless it is given or follows from the unit of `g`.

    **Raises:** `UnitError` if `g` is not a conductance; `ValueError` for a matrix that is not symmetric, edges of
    another shape or out of range, or a `g` that does not fit to them; `TypeError` for what is not numeric.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> gap = ns.GapJunction(2.0 * u.nS, edges=[(0, 1), (1, 2)], size=3)
    >>> print(gap(jnp.array([-60.0, -65.0, -65.0]) * u.mV), gap.I_unit)
    [-10.  10.   0.] pA
    """

    g: Float[Array, " #edges"] = eqx.field(metadata=measures("conductance"))
    first: Int[Array, " edges"]
    second: Int[Array, " edges"]
    size: int = eqx.field(static=True)
    I_unit: Unit = eqx.field(static=True)

    def __init__(
        self,
        g: QuantityLike,
        edges: ArrayLike | None = None,
        size: int | None = None,
        *,
        I_unit: Unit | None = None,
    ):
        self.I_unit = current_unit(
            "GapJunction", mA, I_unit, alternatives=(cast(Unit, uA_per_cm2),), g=(g, "conductance")
        )
        if edges is None:
            g, edges, size = _from_matrix(g)
        pairs = np.asarray(edges)
        if size is None or pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
            raise ValueError(
                f"{argument('GapJunction', 'edges')} must be pairs of integers, of shape (edges, 2), and needs `size`, "
                f"got an array of shape {pairs.shape} and dtype {pairs.dtype}, and size={size}."
            )
        if np.any((pairs < 0) | (pairs >= size)):
            raise ValueError(f"{argument('GapJunction', 'edges')} must be pairs of neurons from 0 to {size - 1}.")
        unit = family_unit("conductance", self.I_unit)
        self.g = parameter(g, unit, "g", size=(len(pairs),), owner="GapJunction")
        self.first, self.second = jnp.asarray(pairs[:, 0]), jnp.asarray(pairs[:, 1])
        self.size = int(size)

    def __call__(self, V: QuantityLike) -> Float[Array, "*batch neurons"]:
        """The current into each neuron.

        **Arguments:**

        - `V`: The potentials, of shape `(*batch, size)`: an array in mV, or a `Quantity`.

        **Returns:** An array of this shape, in `I_unit`.

        **Raises:** `UnitError` if `V` is not a voltage; `ValueError` if its last axis is not `size`.
        """
        V = jnp.asarray(to_plain(V, mV, "V", "GapJunction"))
        if V.shape[-1:] != (self.size,):
            raise ValueError(
                f"{argument('GapJunction', 'V')} must have the shape (*batch, {self.size}), got {V.shape}."
            )
        flow = (self.g * (V[..., self.second] - V[..., self.first])).astype(V.dtype)
        return jnp.zeros_like(V).at[..., self.first].add(flow).at[..., self.second].add(-flow)

    def __repr__(self) -> str:
        return format_with_units(self)


def _from_matrix(given: QuantityLike) -> tuple[Any, np.ndarray, int]:
    """The conductance and the pair of each edge of a symmetric matrix, and its length."""
    matrix, unit = split_quantity(given)
    shape = np.shape(matrix)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(_MSG_MATRIX.format(f"an array of shape {shape}"))
    if is_traced(matrix):
        rows, columns = np.triu_indices(shape[0], 1)
    else:
        if not np.allclose(matrix, np.transpose(matrix), rtol=1e-5, atol=0.0):
            raise ValueError(_MSG_MATRIX.format("one that is not"))
        rows, columns = np.nonzero(np.triu(matrix, 1))
    values = jnp.asarray(matrix)[rows, columns] if is_traced(matrix) else np.asarray(matrix)[rows, columns]
    return join_quantity(values, unit), np.stack([rows, columns], axis=1), shape[0]

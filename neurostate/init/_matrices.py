"""Initialisers of whole weight matrices: identity and orthogonal; the base of those that draw at random."""

from __future__ import annotations

import abc
import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Key, QuantityLike, Shape, as_shape
from .._units import Unit, join_quantity
from ._base import Initialization
from ._keys import required_key
from ._support import check_fields, common_unit, default_float


class RandomMatrix(Initialization):
    """The base class of the initialisers that draw a weight matrix as a whole."""

    unit: eqx.AbstractVar[Unit | None]

    @abc.abstractmethod
    def _draw(self, key: Key, shape: Shape, dtype: Any) -> Array:
        """Draws one plain matrix or kernel."""

    def __call__(self, size, key=None, *, batch_shape=(), rng=None, **kwargs):
        del kwargs
        shape, batch_shape, dtype = as_shape(size), tuple(batch_shape), default_float()
        check_fields(self, shape)
        key = required_key(type(self).__name__, key, rng)
        if math.prod((*batch_shape, *shape)) == 0:
            values = jnp.zeros((*batch_shape, *shape), dtype)
        elif batch_shape:
            keys = jax.random.split(key, math.prod(batch_shape))
            values = jax.vmap(lambda k: self._draw(k, shape, dtype))(keys).reshape((*batch_shape, *shape))
        else:
            values = self._draw(key, shape, dtype)
        return join_quantity(values, self.unit)


class Orthogonal(RandomMatrix):
    """A random matrix with orthonormal columns or rows, times `scale`.

    All axes but the last are taken together as rows. The columns are orthonormal if there are at least
    as many rows as columns, else the rows are. The matrix is uniformly distributed among all such (Saxe,
    McClelland & Ganguli 2014; Mezzadri 2007).

    **Arguments:**

    - `scale`: The factor, a number or a Quantity.
    - `unit`: The unit of a plain `scale`.

    **Raises:** `ValueError` when called with fewer than two axes.

    >>> import jax.numpy as jnp
    >>> import jax
    >>> from neurostate.init import Orthogonal
    >>> q = Orthogonal()((3, 3), key=jax.random.key(0))
    >>> bool(jnp.allclose(q.T @ q, jnp.eye(3), atol=1e-5))
    True
    """

    scale: float | Array
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, scale: QuantityLike = 1.0, unit: Unit | None = None):
        self.unit, (self.scale,) = common_unit("Orthogonal", unit, scale=scale)

    def _draw(self, key, shape, dtype):
        _check_rank("Orthogonal", shape, 2, "(rows, columns)")
        return jnp.asarray(self.scale, dtype) * jax.nn.initializers.orthogonal()(key, shape, dtype)


class DeltaOrthogonal(RandomMatrix):
    """A convolution kernel that is an orthogonal matrix at its spatial centre and zero elsewhere.

    The kernel has the shape `(*spatial, in_channels, out_channels)` and preserves the norm of its input
    if there are no more inputs than outputs (Xiao et al. 2018).

    **Arguments:**

    - `scale`: The factor of the orthogonal matrix, a number or a Quantity.
    - `unit`: The unit of a plain `scale`.

    **Raises:** `ValueError` when called with fewer than three axes.

    >>> import jax.numpy as jnp
    >>> import jax
    >>> from neurostate.init import DeltaOrthogonal
    >>> kernel = DeltaOrthogonal()((3, 2, 4), key=jax.random.key(0))
    >>> float(jnp.abs(kernel[0]).max()), float(jnp.abs(kernel[2]).max())
    (0.0, 0.0)
    """

    scale: float | Array
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, scale: QuantityLike = 1.0, unit: Unit | None = None):
        self.unit, (self.scale,) = common_unit("DeltaOrthogonal", unit, scale=scale)

    def _draw(self, key, shape, dtype):
        _check_rank("DeltaOrthogonal", shape, 3, "(*spatial, in_channels, out_channels)")
        centre = tuple(n // 2 for n in shape[:-2])
        matrix = jax.nn.initializers.orthogonal()(key, shape[-2:], dtype)
        return jnp.zeros(shape, dtype).at[centre].set(jnp.asarray(self.scale, dtype) * matrix)


class Identity(Initialization):
    """The identity matrix times `scale`, cut or padded with zeros where it is not square.

    The identity is in the last two axes and repeated along the others. With one axis, where there is no
    identity matrix, all values are `scale`.

    **Arguments:**

    - `scale`: The factor, a number or a Quantity.
    - `unit`: The unit of a plain `scale`.

    >>> from neurostate.init import Identity
    >>> Identity(2.0)((2, 3)).tolist()
    [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    """

    scale: float | Array
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, scale: QuantityLike = 1.0, unit: Unit | None = None):
        self.unit, (self.scale,) = common_unit("Identity", unit, scale=scale)

    def __call__(self, size, key=None, *, batch_shape=(), rng=None, **kwargs):
        del key, rng, kwargs
        shape, dtype = as_shape(size), default_float()
        matrix = jnp.eye(*shape[-2:], dtype=dtype) if len(shape) > 1 else jnp.ones(shape, dtype)
        check_fields(self, shape)
        values = jnp.asarray(self.scale, dtype) * matrix
        return join_quantity(jnp.broadcast_to(values, (*batch_shape, *shape)), self.unit)


def _check_rank(owner: str, shape: Shape, rank: int, layout: str) -> None:
    if len(shape) < rank:
        raise ValueError(
            f"`{owner}` needs a size with at least {rank} axes, {layout}, got {shape}. "
            "For a vector use another initialiser, such as `Normal`."
        )

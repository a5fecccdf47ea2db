"""The types of neurostate's signatures, under the names that brainstate has for them."""

from ._custom_types import (
    Array as Array,
    ArrayLike as ArrayLike,
    Key as Key,
    PyTree as PyTree,
    QuantityLike as QuantityLike,
    Shape as Shape,
    Size as Size,
)

"""The types of neurostate's signatures, under the names that brainstate has for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
from jax.typing import DTypeLike as DTypeLike

from ._custom_types import (
    Array as Array,
)
from ._custom_types import (
    ArrayLike as ArrayLike,
)
from ._custom_types import (
    Key as Key,
)
from ._custom_types import (
    PyTree as PyTree,
)
from ._custom_types import (
    QuantityLike as QuantityLike,
)
from ._custom_types import (
    Shape as Shape,
)
from ._custom_types import (
    Size as Size,
)


Axes: TypeAlias = int | Sequence[int]
DType: TypeAlias = np.dtype
SeedOrKey: TypeAlias = int | Array | np.ndarray
Filter: TypeAlias = type | str | Callable[[str, Any], bool] | bool | EllipsisType | None | Sequence[Any]

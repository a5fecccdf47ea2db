"""The types of neurostate's signatures, under the names that brainstate has for them."""

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

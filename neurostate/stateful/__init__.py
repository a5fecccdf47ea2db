"""The façade: references, and transforms that find out which of them a function touches."""

from .. import init as _init
from . import random as _random
from ._ref import StateRef as _StateRef


# The core draws from the global key, and takes references for values, only through these hooks.
_init._set_default_key_source(_random.split_key)
_init._set_reference_type(_StateRef)

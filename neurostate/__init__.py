"""Spiking neurons in JAX: immutable Equinox modules with explicit state, and a stateful façade on top."""

import sys as _sys

from . import init as init
from . import integrate as integrate
from . import surrogate as surrogate
from . import typing as typing
from ._errors import (
    BatchAxisError as BatchAxisError,
)
from ._errors import (
    EnvironmentKeyError as EnvironmentKeyError,
)
from ._errors import (
    NeurostateError as NeurostateError,
)
from ._errors import (
    StateConflictError as StateConflictError,
)
from ._errors import (
    StateLostError as StateLostError,
)
from ._errors import (
    StateNotInitialisedError as StateNotInitialisedError,
)
from ._errors import (
    StateStructureError as StateStructureError,
)
from ._errors import (
    TraceContextError as TraceContextError,
)
from ._errors import (
    UnitError as UnitError,
)
from ._units import quantity as quantity
from .neuron import LIF as LIF
from .neuron import AbstractNeuron as AbstractNeuron
from .neuron import LIFState as LIFState
from .simulate import Solution as Solution
from .simulate import simulate as simulate
from .stateful import _porting
from .stateful import environ as environ
from .stateful import filters as filters
from .stateful import nn as nn
from .stateful import random as random
from .stateful import transform as transform
from .stateful._catch import catch_new_states as catch_new_states
from .stateful._pure import functionalize as functionalize
from .stateful._ref import (
    BatchState as BatchState,
)
from .stateful._ref import (
    DelayState as DelayState,
)
from .stateful._ref import (
    HiddenState as HiddenState,
)
from .stateful._ref import (
    LongTermState as LongTermState,
)
from .stateful._ref import (
    ParamState as ParamState,
)
from .stateful._ref import (
    ShortTermState as ShortTermState,
)
from .stateful._ref import (
    State as State,
)
from .stateful._ref import (
    StateRef as StateRef,
)
from .stateful.nn._trainable import trainable as trainable
from .stateful.random import RandomState as RandomState


__version__ = "0.1.0"

# `import neurostate.nn` and `from neurostate.transform import jit` work, and a missing name says what to use instead.
for _module in (environ, filters, nn, random, transform):
    _sys.modules[f"{__name__}.{_module.__name__.rpartition('.')[2]}"] = _module
for _space, _module in {
    "": _sys.modules[__name__],
    "environ": environ,
    "nn": nn,
    "random": random,
    "transform": transform,
    "typing": typing,
}.items():
    _porting.explain_missing(_module, _space)

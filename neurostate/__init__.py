"""Spiking neurons in JAX: immutable Equinox modules with explicit state, and a stateful façade on top."""

from . import init as init, integrate as integrate, surrogate as surrogate, typing as typing
from ._errors import (
    BatchAxisError as BatchAxisError,
    EnvironmentKeyError as EnvironmentKeyError,
    NeurostateError as NeurostateError,
    StateConflictError as StateConflictError,
    StateLostError as StateLostError,
    StateNotInitialisedError as StateNotInitialisedError,
    StateStructureError as StateStructureError,
    TraceContextError as TraceContextError,
    UnitError as UnitError,
)
from ._units import quantity as quantity
from .neuron import LIF as LIF, AbstractNeuron as AbstractNeuron, LIFState as LIFState
from .simulate import Solution as Solution, simulate as simulate
from .stateful import environ as environ, nn as nn, random as random, transform as transform
from .stateful._pure import functionalize as functionalize
from .stateful._ref import (
    BatchState as BatchState,
    DelayState as DelayState,
    HiddenState as HiddenState,
    LongTermState as LongTermState,
    ParamState as ParamState,
    ShortTermState as ShortTermState,
    State as State,
    StateRef as StateRef,
)
from .stateful.random import RandomState as RandomState


__version__ = "0.1.0"

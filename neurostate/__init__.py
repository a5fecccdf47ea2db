"""Spiking neurons in JAX: immutable Equinox modules with explicit state, and a stateful façade on top."""

import sys as _sys

from . import connect as connect
from . import conventions as conventions
from . import datasets as datasets
from . import diagnostics as diagnostics
from . import encode as encode
from . import exact as exact
from . import init as init
from . import integrate as integrate
from . import layers as layers
from . import losses as losses
from . import metrics as metrics
from . import plasticity as plasticity
from . import readout as readout
from . import source as source
from . import surrogate as surrogate
from . import train as train
from . import typing as typing
from ._check_units import check_units as check_units
from ._drive import Drive as Drive
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
    NonFiniteError as NonFiniteError,
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
from .adaptive import AdaptiveSolution as AdaptiveSolution
from .adaptive import solve_adaptive as solve_adaptive
from .network import Network as Network
from .network import NetworkState as NetworkState
from .network import Projection as Projection
from .network import ProjectionState as ProjectionState
from .network import Recurrent as Recurrent
from .network import RecurrentState as RecurrentState
from .network import Sequential as Sequential
from .network import SequentialState as SequentialState
from .neuron import ALIF as ALIF
from .neuron import HH as HH
from .neuron import IF as IF
from .neuron import LI as LI
from .neuron import LIF as LIF
from .neuron import AbstractNeuron as AbstractNeuron
from .neuron import AbstractODENeuron as AbstractODENeuron
from .neuron import AdExIF as AdExIF
from .neuron import AdExIFRef as AdExIFRef
from .neuron import AdExIFState as AdExIFState
from .neuron import AdQuaIF as AdQuaIF
from .neuron import AdQuaIFRef as AdQuaIFRef
from .neuron import AdQuaIFState as AdQuaIFState
from .neuron import ALIFState as ALIFState
from .neuron import CobaLIF as CobaLIF
from .neuron import CobaLIFState as CobaLIFState
from .neuron import CubaLIF as CubaLIF
from .neuron import CubaLIFState as CubaLIFState
from .neuron import ExpIF as ExpIF
from .neuron import ExpIFRef as ExpIFRef
from .neuron import ExpIFState as ExpIFState
from .neuron import FitzHughNagumo as FitzHughNagumo
from .neuron import FitzHughNagumoState as FitzHughNagumoState
from .neuron import GapCoupled as GapCoupled
from .neuron import Gif as Gif
from .neuron import GifRef as GifRef
from .neuron import GifState as GifState
from .neuron import HHState as HHState
from .neuron import HindmarshRose as HindmarshRose
from .neuron import HindmarshRoseState as HindmarshRoseState
from .neuron import IFState as IFState
from .neuron import Izhikevich as Izhikevich
from .neuron import IzhikevichRef as IzhikevichRef
from .neuron import IzhikevichState as IzhikevichState
from .neuron import LIFRef as LIFRef
from .neuron import LIFState as LIFState
from .neuron import LIState as LIState
from .neuron import MorrisLecar as MorrisLecar
from .neuron import MorrisLecarState as MorrisLecarState
from .neuron import NeuronState as NeuronState
from .neuron import ODENeuron as ODENeuron
from .neuron import QuaIF as QuaIF
from .neuron import QuaIFRef as QuaIFRef
from .neuron import QuaIFState as QuaIFState
from .neuron import TwoCompartment as TwoCompartment
from .neuron import TwoCompartmentState as TwoCompartmentState
from .neuron import WangBuzsakiHH as WangBuzsakiHH
from .neuron import WangBuzsakiHHState as WangBuzsakiHHState
from .plasticity import STDP as STDP
from .plasticity import AbstractPlasticity as AbstractPlasticity
from .plasticity import HomeostaticScaling as HomeostaticScaling
from .plasticity import HomeostaticScalingState as HomeostaticScalingState
from .plasticity import InhibitorySTDP as InhibitorySTDP
from .plasticity import RewardSTDP as RewardSTDP
from .plasticity import RewardSTDPState as RewardSTDPState
from .plasticity import STDPState as STDPState
from .plasticity import TripletSTDP as TripletSTDP
from .plasticity import TripletSTDPState as TripletSTDPState
from .readout import LeakyRateReadout as LeakyRateReadout
from .readout import LeakyRateReadoutState as LeakyRateReadoutState
from .readout import LeakySpikeReadout as LeakySpikeReadout
from .simulate import Solution as Solution
from .simulate import simulate as simulate
from .source import OUProcess as OUProcess
from .source import PoissonInput as PoissonInput
from .source import PoissonSpike as PoissonSpike
from .source import SourceState as SourceState
from .source import SpikeTime as SpikeTime
from .source import SpikeTimeState as SpikeTimeState
from .source import WhiteNoise as WhiteNoise
from .stateful import _porting
from .stateful import environ as environ
from .stateful import filters as filters
from .stateful import nn as nn
from .stateful import random as random
from .stateful import transform as transform
from .stateful._catch import catch_new_states as catch_new_states
from .stateful._optimizer import Optimizer as Optimizer
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
from .synapse import AMPA as AMPA
from .synapse import COBA as COBA
from .synapse import CUBA as CUBA
from .synapse import NMDA as NMDA
from .synapse import STD as STD
from .synapse import STP as STP
from .synapse import AbstractOutput as AbstractOutput
from .synapse import AbstractSynapse as AbstractSynapse
from .synapse import Alpha as Alpha
from .synapse import AlphaState as AlphaState
from .synapse import BioNMDA as BioNMDA
from .synapse import BioNMDAState as BioNMDAState
from .synapse import DualExpon as DualExpon
from .synapse import DualExponState as DualExponState
from .synapse import Expon as Expon
from .synapse import ExponState as ExponState
from .synapse import GABAa as GABAa
from .synapse import GapJunction as GapJunction
from .synapse import MgBlock as MgBlock
from .synapse import NMDAState as NMDAState
from .synapse import ReceptorState as ReceptorState
from .synapse import STDState as STDState
from .synapse import STPState as STPState


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

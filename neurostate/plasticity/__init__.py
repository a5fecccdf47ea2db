"""Plasticity: rules by which weights change with spikes."""

from ._base import AbstractPlasticity as AbstractPlasticity
from .homeostatic_scaling import HomeostaticScaling as HomeostaticScaling
from .homeostatic_scaling import HomeostaticScalingState as HomeostaticScalingState
from .inhibitory_stdp import InhibitorySTDP as InhibitorySTDP
from .reward_stdp import RewardSTDP as RewardSTDP
from .reward_stdp import RewardSTDPState as RewardSTDPState
from .stdp import STDP as STDP
from .stdp import STDPState as STDPState
from .triplet_stdp import TripletSTDP as TripletSTDP
from .triplet_stdp import TripletSTDPState as TripletSTDPState

"""Populations of spiking neurons: one model with its state per file."""

from ._base import AbstractNeuron as AbstractNeuron
from .lif import LIF as LIF
from .lif import LIFState as LIFState

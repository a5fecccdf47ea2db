"""Readouts: cells that turn spikes into outputs, and functions that turn outputs over time into scores."""

from ._over_time import count as count
from ._over_time import max_membrane as max_membrane
from .leaky_rate import LeakyRateReadout as LeakyRateReadout
from .leaky_rate import LeakyRateReadoutState as LeakyRateReadoutState
from .leaky_spike import LeakySpikeReadout as LeakySpikeReadout

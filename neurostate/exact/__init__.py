"""Simulation from event to event: exact spike times, and their exact derivatives."""

from ._events import SpikeTimes as SpikeTimes
from ._spike_times import spike_times as spike_times
from ._spike_times import spike_times_of_current as spike_times_of_current

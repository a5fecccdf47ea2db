"""Codes: functions that turn values into spikes or currents, with time as the first axis."""

from ._delta import delta as delta
from ._latency import latency as latency
from ._poisson import bernoulli as bernoulli
from ._poisson import poisson as poisson
from ._population import population as population
from ._step_current import step_current as step_current

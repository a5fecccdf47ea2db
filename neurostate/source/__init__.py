"""Sources: noise and spike trains, which are cells, and waveforms, which are arrays over time."""

from ._base import AbstractRandomSource as AbstractRandomSource
from ._base import AbstractSource as AbstractSource
from ._base import SourceState as SourceState
from .ou_process import OUProcess as OUProcess
from .poisson_input import PoissonInput as PoissonInput
from .poisson_spike import PoissonSpike as PoissonSpike
from .spike_time import SpikeTime as SpikeTime
from .spike_time import SpikeTimeState as SpikeTimeState
from .waveforms import constant_input as constant_input
from .waveforms import ramp_input as ramp_input
from .waveforms import section_input as section_input
from .waveforms import sinusoidal_input as sinusoidal_input
from .waveforms import step_input as step_input
from .white_noise import WhiteNoise as WhiteNoise

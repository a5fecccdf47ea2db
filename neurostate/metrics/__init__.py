"""Metrics: accuracies, distances of spike trains, and statistics of spikes. The axes are declared."""

from ._accuracy import accuracy as accuracy
from ._accuracy import accuracy_by_count as accuracy_by_count
from ._accuracy import accuracy_by_first_spike as accuracy_by_first_spike
from ._accuracy import accuracy_by_max_membrane as accuracy_by_max_membrane
from ._distance import van_rossum_distance as van_rossum_distance
from ._distance import victor_purpura as victor_purpura
from ._statistics import correlation as correlation
from ._statistics import cv_isi as cv_isi
from ._statistics import fano_factor as fano_factor
from ._statistics import firing_rate as firing_rate
from ._times import spike_times as spike_times

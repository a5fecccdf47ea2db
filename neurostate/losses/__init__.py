"""Losses of spikes and potentials over time. The axes are declared; the value is the mean over the batch.

For the loss of each example, `jax.vmap` a loss with `axes="time class"` over the batch.
"""

from ._activity import rate_penalty as rate_penalty
from ._activity import silence_penalty as silence_penalty
from ._cross_entropy import count_cross_entropy as count_cross_entropy
from ._cross_entropy import max_membrane_cross_entropy as max_membrane_cross_entropy
from ._cross_entropy import rate_cross_entropy as rate_cross_entropy
from ._first_spike import first_spike_cross_entropy as first_spike_cross_entropy
from ._first_spike import first_spike_time as first_spike_time
from ._first_spike import mean_square_time as mean_square_time
from ._first_spike import spike_time_cross_entropy as spike_time_cross_entropy
from ._mean_square import mean_square_count as mean_square_count
from ._mean_square import mean_square_membrane as mean_square_membrane
from ._van_rossum import van_rossum as van_rossum

"""Event data sets: from events to spikes in steps, and to batches.

The data sets themselves come from elsewhere, such as the package `tonic` (`pip install neurostate[events]`), whose
data sets are sequences of `(events, label)`:

    dataset = tonic.datasets.SHD("data", train=True)
    inputs, labels, lengths = ns.datasets.from_tonic(dataset, dt=10 * u.ms, t_end=1 * u.second)

All of it is NumPy on the host, and works on any arrays of events.
"""

from ._batches import batches as batches
from ._batches import from_tonic as from_tonic
from ._batches import pad as pad
from ._bin_events import bin_events as bin_events

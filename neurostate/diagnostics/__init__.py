"""What to look at when a network does not learn: activity, gradients over time, numbers of operations."""

from ._activity import Activity as Activity
from ._activity import activity as activity
from ._gradients import GradientNorms as GradientNorms
from ._gradients import gradient_norms as gradient_norms
from ._kernel import kernel_integrals as kernel_integrals
from ._layers import layer_outputs as layer_outputs
from ._layers import layer_spikes as layer_spikes
from ._operations import SynapticOperations as SynapticOperations
from ._operations import fan_out as fan_out
from ._operations import synaptic_operations as synaptic_operations

"""Networks: populations, projections, and layers."""

from .network import Network as Network
from .network import NetworkState as NetworkState
from .projection import Projection as Projection
from .projection import ProjectionState as ProjectionState
from .recurrent import Recurrent as Recurrent
from .recurrent import RecurrentState as RecurrentState
from .sequential import Sequential as Sequential
from .sequential import SequentialState as SequentialState

"""Connections: which neuron sends to which, and with which weight."""

from ._all_to_all import AllToAll as AllToAll
from ._base import AbstractConnection as AbstractConnection
from ._conv import Conv as Conv
from ._dense import Dense as Dense
from ._edges import Edges as Edges
from ._event_sparse import EventSparse as EventSparse
from ._graphs import distances as distances
from ._graphs import pairwise as pairwise
from ._graphs import positions as positions
from ._graphs import scale_free as scale_free
from ._graphs import small_world as small_world
from ._kernel import KernelError as KernelError
from ._kernel import kernel_is_available as kernel_is_available
from ._low_rank import LowRank as LowRank
from ._one_to_one import OneToOne as OneToOne
from ._procedural import Procedural as Procedural
from ._random import all_to_all as all_to_all
from ._random import block_values as block_values
from ._random import blocks as blocks
from ._random import fixed_indegree as fixed_indegree
from ._random import fixed_outdegree as fixed_outdegree
from ._random import fixed_probability as fixed_probability
from ._random import fixed_total as fixed_total
from ._random import from_scipy as from_scipy
from ._random import one_to_one as one_to_one
from ._sparse import Sparse as Sparse

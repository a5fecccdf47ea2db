"""Transforms of functions that read and write references."""

from ..._progress import ProgressBar as ProgressBar
from ._branches import cond as cond
from ._branches import switch as switch
from ._grad import fwd_grad as fwd_grad
from ._grad import grad as grad
from ._grad import hessian as hessian
from ._grad import jacfwd as jacfwd
from ._grad import jacobian as jacobian
from ._grad import jacrev as jacrev
from ._grad import jvp as jvp
from ._grad import vector_grad as vector_grad
from ._grad import vjp as vjp
from ._jit import jit as jit
from ._loops import checkpointed_for_loop as checkpointed_for_loop
from ._loops import checkpointed_scan as checkpointed_scan
from ._loops import for_loop as for_loop
from ._loops import scan as scan
from ._mapping import map as map
from ._mapping import vmap as vmap
from ._while import bounded_while_loop as bounded_while_loop
from ._while import while_loop as while_loop

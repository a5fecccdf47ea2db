"""Training: which arrays are trained, within which bounds, and the loop over epochs and batches.

Optimisers are those of [Optax](https://optax.readthedocs.io), gradients those of JAX. Nothing here is needed to train a
model; each part saves some lines and can be replaced.
"""

from ._bijectors import AbstractBijector as AbstractBijector
from ._bijectors import Affine as Affine
from ._bijectors import Chain as Chain
from ._bijectors import Exp as Exp
from ._bijectors import Ordered as Ordered
from ._bijectors import Sigmoid as Sigmoid
from ._bijectors import Softplus as Softplus
from ._constraints import Constraints as Constraints
from ._diagonal import DiagonalRTRL as DiagonalRTRL
from ._eprop import EProp as EProp
from ._fit import epochs as epochs
from ._fit import fit as fit
from ._local import LocalCarry as LocalCarry
from ._online import AbstractLearner as AbstractLearner
from ._online import online_value_and_grad as online_value_and_grad
from ._rtrl import RTRL as RTRL
from ._rtrl import RTRLCarry as RTRLCarry
from ._select import Labels as Labels
from ._select import labels as labels
from ._select import partition as partition
from ._select import per_label as per_label
from ._select import select as select
from ._state import TrainState as TrainState
from ._state import load as load
from ._state import save as save
from ._state import start as start
from ._truncated import Truncated as Truncated
from ._truncated import Window as Window
from ._truncated import truncated_updates as truncated_updates
from ._truncated import truncated_value_and_grad as truncated_value_and_grad

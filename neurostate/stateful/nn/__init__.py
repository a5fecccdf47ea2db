"""Modules that own references, and functions over whole trees of them."""

from ._collective import assign_state_values as assign_state_values
from ._collective import call_all_fns as call_all_fns
from ._collective import call_order as call_order
from ._collective import init_all_states as init_all_states
from ._collective import reset_all_states as reset_all_states
from ._collective import state_values as state_values
from ._dynamics import Dynamics as Dynamics
from ._exp_euler import exp_euler_step as exp_euler_step
from ._mapped import vmap_init_all_states as vmap_init_all_states
from ._mapped import vmap_reset_all_states as vmap_reset_all_states
from ._module import Module as Module
from ._stateful import Stateful as Stateful
from ._trainable import trainable as trainable

"""Initialisers of parameters, weights and states.

An initialiser is an immutable pytree that is called with a size, and with a random key if it draws:

>>> import brainunit as u, jax
>>> from neurostate import init
>>> init.Normal(-65.0 * u.mV, 2.0 * u.mV)((2, 3), key=jax.random.key(0)).shape
(2, 3)

`param` makes a parameter from whatever a user gives for it: a number, an array, a Quantity, an
initialiser or a function of the shape.
"""

from ._base import Clipped as Clipped
from ._base import Compose as Compose
from ._base import Constant as Constant
from ._base import Initialization as Initialization
from ._base import Initializer as Initializer
from ._composite import Conditional as Conditional
from ._composite import Mixture as Mixture
from ._composite import Scaled as Scaled
from ._composite import ZeroInit as ZeroInit
from ._distributions import Beta as Beta
from ._distributions import Exponential as Exponential
from ._distributions import Gamma as Gamma
from ._distributions import LogNormal as LogNormal
from ._distributions import Normal as Normal
from ._distributions import TruncatedNormal as TruncatedNormal
from ._distributions import Uniform as Uniform
from ._distributions import Weibull as Weibull
from ._fluctuation import FluctuationDriven as FluctuationDriven
from ._keys import _set_default_key_source as _set_default_key_source
from ._matrices import DeltaOrthogonal as DeltaOrthogonal
from ._matrices import Identity as Identity
from ._matrices import Orthogonal as Orthogonal
from ._param import _set_reference_type as _set_reference_type
from ._param import param as param
from ._scaling import KaimingNormal as KaimingNormal
from ._scaling import KaimingUniform as KaimingUniform
from ._scaling import LecunNormal as LecunNormal
from ._scaling import LecunUniform as LecunUniform
from ._scaling import VarianceScaling as VarianceScaling
from ._scaling import XavierNormal as XavierNormal
from ._scaling import XavierUniform as XavierUniform

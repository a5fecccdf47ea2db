"""Synapses: what arrives, and the conductance that follows from it."""

from ._base import AbstractSynapse as AbstractSynapse
from ._output import AbstractOutput as AbstractOutput
from ._receptor import ReceptorState as ReceptorState
from .alpha import Alpha as Alpha
from .alpha import AlphaState as AlphaState
from .ampa import AMPA as AMPA
from .bio_nmda import BioNMDA as BioNMDA
from .bio_nmda import BioNMDAState as BioNMDAState
from .coba import COBA as COBA
from .cuba import CUBA as CUBA
from .dual_expon import DualExpon as DualExpon
from .dual_expon import DualExponState as DualExponState
from .expon import Expon as Expon
from .expon import ExponState as ExponState
from .gabaa import GABAa as GABAa
from .gap_junction import GapJunction as GapJunction
from .mg_block import MgBlock as MgBlock
from .nmda import NMDA as NMDA
from .nmda import NMDAState as NMDAState
from .std import STD as STD
from .std import STDState as STDState
from .stp import STP as STP
from .stp import STPState as STPState

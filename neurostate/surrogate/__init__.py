"""Spike functions whose derivative is replaced by a surrogate.

Each of the 18 surrogates is a class (`ReluGrad(alpha=0.3, width=1.0)`) and a function
(`relu_grad(x, alpha=0.3, width=1.0)`), under the names and with the parameters that braintools has for
them. `Custom` and subclasses of `Surrogate` make others; `heaviside` is the step without any. All spike
at `x >= 0` unless `h0=0` is given, which makes it `x > 0`.
"""

from ._base import Custom as Custom
from ._base import Surrogate as Surrogate
from ._base import heaviside as heaviside
from ._peaked import InvSquareGrad as InvSquareGrad
from ._peaked import NonzeroSignLog as NonzeroSignLog
from ._peaked import PiecewiseExp as PiecewiseExp
from ._peaked import QPseudoSpike as QPseudoSpike
from ._peaked import SlayerGrad as SlayerGrad
from ._peaked import SoftSign as SoftSign
from ._peaked import inv_square_grad as inv_square_grad
from ._peaked import nonzero_sign_log as nonzero_sign_log
from ._peaked import piecewise_exp as piecewise_exp
from ._peaked import q_pseudo_spike as q_pseudo_spike
from ._peaked import slayer_grad as slayer_grad
from ._peaked import soft_sign as soft_sign
from ._piecewise import S2NN as S2NN
from ._piecewise import LeakyRelu as LeakyRelu
from ._piecewise import LogTailedRelu as LogTailedRelu
from ._piecewise import PiecewiseLeakyRelu as PiecewiseLeakyRelu
from ._piecewise import PiecewiseQuadratic as PiecewiseQuadratic
from ._piecewise import ReluGrad as ReluGrad
from ._piecewise import leaky_relu as leaky_relu
from ._piecewise import log_tailed_relu as log_tailed_relu
from ._piecewise import piecewise_leaky_relu as piecewise_leaky_relu
from ._piecewise import piecewise_quadratic as piecewise_quadratic
from ._piecewise import relu_grad as relu_grad
from ._piecewise import s2nn as s2nn
from ._smooth import ERF as ERF
from ._smooth import Arctan as Arctan
from ._smooth import GaussianGrad as GaussianGrad
from ._smooth import MultiGaussianGrad as MultiGaussianGrad
from ._smooth import Sigmoid as Sigmoid
from ._smooth import SquarewaveFourierSeries as SquarewaveFourierSeries
from ._smooth import arctan as arctan
from ._smooth import erf as erf
from ._smooth import gaussian_grad as gaussian_grad
from ._smooth import multi_gaussian_grad as multi_gaussian_grad
from ._smooth import sigmoid as sigmoid
from ._smooth import squarewave_fourier_series as squarewave_fourier_series

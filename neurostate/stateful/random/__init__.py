"""Random numbers from one global key, which every draw moves on.

The names and signatures are those of NumPy, over [`jax.random`][]. The global key is a reference:
loops carry it, `cond` moves it in the branch that is taken only, and each lane of `vmap` draws its
own numbers. With `key=` (a seed, a typed or a raw key) a function is pure. Locations, scales and
bounds may be Quantities: the numbers then have their unit.

>>> import brainunit as u, neurostate as ns
>>> ns.random.seed(0)
>>> a = ns.random.normal(-65.0 * u.mV, 2.0 * u.mV, size=3)
>>> ns.random.seed(0)
>>> b = ns.random.normal(-65.0 * u.mV, 2.0 * u.mV, size=3)
>>> bool((a == b).all())
True
"""

from ._samplers import bernoulli as bernoulli
from ._samplers import beta as beta
from ._samplers import binomial as binomial
from ._samplers import categorical as categorical
from ._samplers import chisquare as chisquare
from ._samplers import choice as choice
from ._samplers import dirichlet as dirichlet
from ._samplers import exponential as exponential
from ._samplers import f as f
from ._samplers import gamma as gamma
from ._samplers import geometric as geometric
from ._samplers import gumbel as gumbel
from ._samplers import laplace as laplace
from ._samplers import loggamma as loggamma
from ._samplers import logistic as logistic
from ._samplers import lognormal as lognormal
from ._samplers import maxwell as maxwell
from ._samplers import multinomial as multinomial
from ._samplers import multivariate_normal as multivariate_normal
from ._samplers import negative_binomial as negative_binomial
from ._samplers import noncentral_chisquare as noncentral_chisquare
from ._samplers import noncentral_f as noncentral_f
from ._samplers import normal as normal
from ._samplers import orthogonal as orthogonal
from ._samplers import pareto as pareto
from ._samplers import permutation as permutation
from ._samplers import poisson as poisson
from ._samplers import power as power
from ._samplers import rand as rand
from ._samplers import rand_like as rand_like
from ._samplers import randint as randint
from ._samplers import randint_like as randint_like
from ._samplers import randn as randn
from ._samplers import randn_like as randn_like
from ._samplers import random as random
from ._samplers import random_integers as random_integers
from ._samplers import random_sample as random_sample
from ._samplers import ranf as ranf
from ._samplers import rayleigh as rayleigh
from ._samplers import sample as sample
from ._samplers import shuffle as shuffle
from ._samplers import standard_cauchy as standard_cauchy
from ._samplers import standard_exponential as standard_exponential
from ._samplers import standard_gamma as standard_gamma
from ._samplers import standard_normal as standard_normal
from ._samplers import standard_t as standard_t
from ._samplers import t as t
from ._samplers import triangular as triangular
from ._samplers import truncated_normal as truncated_normal
from ._samplers import uniform as uniform
from ._samplers import wald as wald
from ._samplers import weibull as weibull
from ._samplers import weibull_min as weibull_min
from ._state import DEFAULT as DEFAULT
from ._state import RandomState as RandomState
from ._state import as_key as as_key
from ._state import clone_rng as clone_rng
from ._state import default_rng as default_rng
from ._state import get_key as get_key
from ._state import get_key_data as get_key_data
from ._state import seed as seed
from ._state import seed_context as seed_context
from ._state import set_key as set_key
from ._state import split_key as split_key
from ._state import split_keys as split_keys

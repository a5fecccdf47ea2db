"""Layers of trained networks, for `neurostate.Sequential`: normalisation, dropout, weights of less precision.

What changes while a network is trained needs no layer of its own: `equinox.tree_at` sets it inside the training step,
and a value that is traced there, as that of an Optax schedule is, never compiles again. The width of a surrogate
derivative:

>>> import equinox as eqx, jax.numpy as jnp, neurostate as ns, optax
>>> net = ns.Sequential(ns.LIF(2, spk_fun=ns.surrogate.Sigmoid(2.0)))
>>> steepness = optax.linear_schedule(2.0, 10.0, transition_steps=100)
>>> net = eqx.tree_at(lambda net: net[0].spk_fun.alpha, net, steepness(jnp.array(50)))
>>> print(net[0].spk_fun.alpha)
6.0
"""

from ._batch_norm import BatchNorm as BatchNorm
from ._batch_norm import BatchNormState as BatchNormState
from ._batch_norm import with_statistics as with_statistics
from ._cast import cast as cast
from ._dropout import Dropout as Dropout
from ._dropout import DropoutState as DropoutState
from ._layer_norm import LayerNorm as LayerNorm
from ._linear import Linear as Linear

"""Real-time recurrent learning with a diagonal approximation."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from .._custom_types import Array, Float, PyTree
from ._local import AbstractLocalLearner, check_model
from ._online import Loss, with_model
from ._select import Where


class DiagonalRTRL(AbstractLocalLearner):
    r"""Real-time recurrent learning with a diagonal approximation: SnAp-1 (Menick et al. 2021, *Practical real time
    recurrent learning with a sparse approximation*) for neurons of several variables.

    Of the derivative of the state of a layer by that before, it keeps the block of each neuron: how its variables and
    its spike depend on its own variables, by their dynamics, by the whole reset, and by the connection of the neuron to
    itself. So it needs one trace for each synapse. All else is as in [`neurostate.train.EProp`][] with symmetric
    feedback, which leaves out the reset of `V` and the connection to itself too:

    $$\epsilon_{ji}^t = D_j^t\,\epsilon_{ji}^{t-1} + \frac{\partial s_j^t}{\partial W_{ji}}, \qquad
    D_j^t = \frac{\partial s_j^t}{\partial s_j^{t-1}}, \qquad s_j = (h_j, z_j)$$

    For neurons that are not connected to each other this is the exact gradient.

    **Arguments:** `model`, `loss` and `trained`, as in [`neurostate.train.EProp`][].

    **Raises:** as [`neurostate.train.EProp`][].

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> keys = jax.random.split(jax.random.key(0))
    >>> net = ns.Sequential(
    ...     ns.connect.Dense(4, 10, ns.init.Normal(0.0, 1.0), key=keys[0]), ns.LIF(10),
    ...     ns.LeakyRateReadout(10, 2, key=keys[1]),
    ... )  # fmt: skip
    >>> learner = ns.train.DiagonalRTRL(net, lambda y, target: jnp.mean((y - target) ** 2))
    >>> inputs, targets = jnp.ones((100, 8, 4)), jnp.zeros((100, 8, 2))  # (time, batch, ...)
    >>> loss, gradients = ns.train.online_value_and_grad(learner, inputs, targets, dt=1.0)
    >>> gradients[0].weight.shape
    (4, 10)
    """

    model: Any
    loss: Loss
    trained: Where | tuple[Where, ...]

    keeps_own_spike: ClassVar[bool] = True

    def __init__(self, model: Any, loss: Loss, *, trained: Where | tuple[Where, ...] = ()):
        check_model(model, trained, "DiagonalRTRL")
        self.model, self.loss, self.trained = model, loss, trained

    def feedback_weights(self) -> Float[Array, "neurons outputs"]:
        """The weights of the readout."""
        return self.model.layers[2].weight

    def update(self, updates: PyTree) -> Self:
        """The learner with changed weights. See `AbstractLearner.update`."""
        return with_model(self, updates)

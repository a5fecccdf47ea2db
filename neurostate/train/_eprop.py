r"""e-prop: learning with eligibility traces and learning signals."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import equinox as eqx
import jax

from .._custom_types import Array, Float, Key, PyTree
from ._local import AbstractLocalLearner, check_model
from ._online import Loss, with_model
from ._select import Where


class EProp(AbstractLocalLearner):
    r"""e-prop (Bellec et al. 2020, *Nature Communications* 11:3625): learning with one eligibility trace for each
    synapse, and a learning signal for each neuron.

    It trains a `Sequential(connection, neurons, LeakyRateReadout(...))` forward in time. A weight $W_{ji}$ from $i$ to
    $j$ moves the variables $h_j$ of the neuron $j$ and its spike $z_j$, which its eligibility trace follows:

    $$\epsilon_{ji}^t = \frac{\partial h_j^t}{\partial h_j^{t-1}}\,\epsilon_{ji}^{t-1} +
    \frac{\partial h_j^t}{\partial W_{ji}}, \qquad
    e_{ji}^t = \frac{\partial z_j^t}{\partial h_j^t}\,\epsilon_{ji}^t$$

    With the decay $\kappa = e^{-\Delta t/\tau}$ of the readout $y_k$, the feedback $B_{jk}$ and the loss $\ell^t$, the
    gradient is

    $$\frac{\mathrm{d}E}{\mathrm{d}W_{ji}} \approx \sum_t \Big(\sum_k B_{jk} \frac{\partial \ell^t}{\partial y_k^t}\Big)
    \bar e_{ji}^t, \qquad \bar e_{ji}^t = \kappa\,\bar e_{ji}^{t-1} + e_{ji}^t$$

    The derivatives are those of the step of the cell, whichever it is. Left out are the paths through its spike to
    other neurons and itself, and to its own `V` by the reset; what a spike does to other variables, as to the threshold
    of an `ALIF`, is kept. With symmetric feedback this is the gradient of backpropagation through time of the
    program in which these paths are stopped. The gradient for the weights of the readout is exact. The parameters of
    single neurons, such as `tau` and `V_th`, and those of the readout are trained likewise.

    Times: the spike $z_j^t$ is the output of the step $t$, of the $V_j^t$ at its end, before the reset, which acts at
    the start of the step $t+1$. That step also gets the input $x^{t+1}$ and the spikes $z^t$ of its own layer. So for a
    `LIF`, with $\alpha = e^{-\Delta t/\tau}$, a trace is that of the paper, $e_{ji}^t = \psi_j^t\,\bar z_i^{t-1}$ (and
    $\psi_j^t\,\bar x_i^t$ for inputs), times $(1 - \alpha) R$, by which a weight moves `V` here. For an `ALIF`, $a$
    decays after the spike was added, so that $\rho\beta$ here, $\rho = e^{-\Delta t/\tau_a}$, is the paper's $\beta$.

    Memory and time of a step are those of a few arrays of the shape `(*batch, num_in, neurons)` for each connection,
    one for each variable of the neuron and one for $\bar e$.

    **Arguments:**

    - `model`: The network. Its neurons are a cell, or a `Recurrent` with a connection alone. Masks and signs of
        connections are respected. The `tau` of the readout is one number.
    - `loss`: A function `loss(output, target)` of the output of one step, which gives a scalar, for instance a squared
        error or a cross-entropy. The losses of all steps are added up.
    - `trained`: Which arrays of the model are trained, as [`neurostate.train.select`][] takes it, or a tuple of these.
        By default all arrays of floats, initial values included.
    - `feedback`: What $B$ is. `"symmetric"`: the weights of the readout. `"random"`: fixed random weights.
        `"adaptive"`: random weights that `update` changes as it does those of the readout, while both decay, so that
        they become equal.
    - `decay`: With adaptive feedback, the part of the weights that decays with each update.
    - `key`: A random key, for random feedback, which is normal with the variance 1 / neurons.

    **Raises:** `TypeError` for another kind of model; `ValueError` for parts that it cannot train, a cell whose own
    step couples neurons, an unknown `feedback`, or a missing `key`; and as `select`.

    >>> import jax, jax.numpy as jnp, neurostate as ns
    >>> keys = jax.random.split(jax.random.key(0), 3)
    >>> dense = lambda n, key: ns.connect.Dense(n, 10, ns.init.Normal(0.0, 1.0), key=key)
    >>> net = ns.Sequential(
    ...     dense(4, keys[0]), ns.Recurrent(ns.ALIF(10), dense(10, keys[1])), ns.LeakyRateReadout(10, 2, key=keys[2])
    ... )  # fmt: skip
    >>> learner = ns.train.EProp(net, lambda y, target: jnp.mean((y - target) ** 2))
    >>> inputs, targets = jnp.ones((100, 8, 4)), jnp.zeros((100, 8, 2))  # (time, batch, ...)
    >>> loss, gradients = ns.train.online_value_and_grad(learner, inputs, targets, dt=1.0)
    >>> gradients[1].projection.connection.weight.shape
    (10, 10)
    """

    model: Any
    loss: Loss
    trained: Where | tuple[Where, ...]
    feedback: Literal["symmetric", "random", "adaptive"] = eqx.field(static=True)
    random_weights: Float[Array, "neurons outputs"] | None
    decay: float = eqx.field(static=True)

    keeps_own_spike: ClassVar[bool] = False

    def __init__(
        self,
        model: Any,
        loss: Loss,
        *,
        trained: Where | tuple[Where, ...] = (),
        feedback: Literal["symmetric", "random", "adaptive"] = "symmetric",
        decay: float = 1e-3,
        key: Key | None = None,
    ):
        check_model(model, trained, "EProp")
        if feedback not in ("symmetric", "random", "adaptive"):
            raise ValueError(f"`feedback` of `EProp` must be 'symmetric', 'random' or 'adaptive', got {feedback!r}.")
        if key is None and feedback != "symmetric":
            raise ValueError(f"`EProp` draws weights for `feedback={feedback!r}`: give a `key`.")
        self.model, self.loss, self.trained = model, loss, trained
        self.feedback, self.decay, self.random_weights = feedback, float(decay), None
        if key is not None and feedback != "symmetric":
            weight = model.layers[2].weight
            self.random_weights = jax.random.normal(key, weight.shape, weight.dtype) / weight.shape[0] ** 0.5

    def feedback_weights(self) -> Float[Array, "neurons outputs"]:
        """How the derivative of the loss by the outputs comes back to the neurons."""
        return self.model.layers[2].weight if self.random_weights is None else self.random_weights

    def update(self, updates: PyTree) -> Self:
        """The learner with changed weights, adaptive feedback too. See `AbstractLearner.update`."""
        new = with_model(self, updates)
        if self.feedback != "adaptive" or self.random_weights is None:
            return new
        change, weight = new.model.layers[2].weight - self.model.layers[2].weight, self.model.layers[2].weight
        left = 1 - self.decay
        changed = (left * weight + change, left * self.random_weights + change)
        return eqx.tree_at(lambda learner: (learner.model.layers[2].weight, learner.random_weights), new, changed)

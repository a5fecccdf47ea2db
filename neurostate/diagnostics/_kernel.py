"""The response of the potential to one spike."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, QuantityLike
from .._parameters import as_milliseconds
from ..connect._base import replaced
from ..network.sequential import Sequential
from ..simulate import simulate


def kernel_integrals(model: Any, *, dt: QuantityLike, num_steps: int = 10_000) -> tuple[Array, Array]:
    r"""The integrals of the response $\epsilon(t)$ of the potential to one spike of weight 1, and of its square.

    $$\bar\epsilon = \sum_k \epsilon_k\,\Delta t, \qquad \hat\epsilon = \sum_k \epsilon_k^2\,\Delta t$$

    They are what [`neurostate.init.FluctuationDriven`][] needs. $\epsilon_k$ is `V` at the end of the $k$th step from
    that of the spike on, as it is simulated: without threshold and reset, to first order around the state at the start.
    So they are exact for the step of any model, whatever `dt` is. For example a spike is a current for one step in a
    `LIF`: $\bar\epsilon = R\,\Delta t$ and $\hat\epsilon = R^2\,\Delta t\,\tanh(\Delta t / 2\tau)$.

    **Arguments:**

    - `model`: What is behind the weights: a neuron, which takes a spike as its current; or a
        [`neurostate.Sequential`][] whose last layer is one, with a synapse or a function in front of it.
        `Sequential(lambda x: Drive(g_jump=x), CubaLIF(...))` lets spikes act on the synaptic current.
    - `dt`: The time step.
    - `num_steps`: For how many steps to simulate.

    **Returns:** Both integrals, of the shape of the population, in mV ms and mV² ms for a weight of 1.

    **Raises:** `ValueError` if the response has not decayed after `num_steps`.

    >>> import brainunit as u, neurostate as ns
    >>> mean, square = ns.diagnostics.kernel_integrals(ns.LIF(1, tau=10 * u.ms), dt=1 * u.ms)
    >>> print(f"{mean[0]:.4f} {square[0]:.4f}")
    1.0000 0.0500
    """
    step = as_milliseconds(dt, "kernel_integrals")
    layers = model.layers if isinstance(model, Sequential) else (model,)
    # No reset, and no derivative of one: the response is that of the potential alone.
    changes = {name: value for name, value in _QUIET.items() if name in type(layers[-1]).__dataclass_fields__}
    chain = eqx.tree_at(lambda s: s.layers, Sequential(*layers), (*layers[:-1], replaced(layers[-1], **changes)))
    zeros = jnp.zeros((num_steps, *chain.in_size))

    def potential(weight: Array) -> Array:
        inputs = zeros.at[0].set(weight)
        return simulate(chain, inputs, dt=step, record=_potential, outputs=False).records

    _, response = jax.jvp(potential, (jnp.zeros(()),), (jnp.ones(()),))
    largest, last = (np.max(np.abs(x)) for x in (response, response[-1]))
    if not last <= 1e-4 * largest:
        raise ValueError(
            f"The response to a spike has not decayed after `num_steps={num_steps}`: it is {last:.3g} mV "
            f"of {largest:.3g} mV at most. Simulate more steps; a model without leak has no such integrals."
        )
    return response.sum(0) * step, jnp.square(response).sum(0) * step


_QUIET = {"spk_reset": None, "detach_reset": True}


def _potential(state: Any, output: Any) -> Array:
    del output
    return state.layers[-1].V

"""Receptors that transmitter opens: the pulse of transmitter after a spike, and the two kinds of opening."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Float
from .._units import maximum
from ..integrate import phi
from ..neuron._state import variable
from ._base import AbstractSynapse


# Gauss quadrature on the interval from 0 to 1.
_NODES, _WEIGHTS = (array / 2 for array in np.polynomial.legendre.leggauss(8))
_NODES = _NODES + 0.5


class ReceptorState(eqx.Module):
    """The state of `AMPA` and `GABAa`, each of shape `(*batch, *size)`.

    - `g`: The fraction of the receptors that are open, between 0 and 1.
    - `pulse`: For how long there is still transmitter, in ms.
    """

    g: Float[Array, " *state"] = variable(None)
    pulse: Float[Array, " *state"] = variable("time")


class AbstractReceptor(AbstractSynapse[ReceptorState]):
    """Receptors with one open and one closed state, see [`neurostate.AMPA`][]."""

    alpha: eqx.AbstractVar[Float[Array, " *#size"]]
    beta: eqx.AbstractVar[Float[Array, " *#size"]]
    T: eqx.AbstractVar[Float[Array, " *#size"]]
    T_dur: eqx.AbstractVar[Float[Array, " *#size"]]

    state_type: ClassVar[type[ReceptorState]] = ReceptorState

    def start(self, name: str) -> Any:
        """What the variable `name` starts from; there is no transmitter at the start."""
        return jnp.zeros_like(self.T_dur) if name == "pulse" else super().start(name)

    def flow(self, state: ReceptorState, dt: Any) -> ReceptorState:
        there, pulse = during(state.pulse, dt)
        g = opened(state.g, self.alpha * self.T, self.beta, there)
        return ReceptorState(g=g * jnp.exp(-self.beta * (dt - there)), pulse=pulse)

    def arrive(self, state: ReceptorState, x: Array) -> tuple[ReceptorState, Array]:
        return ReceptorState(g=state.g, pulse=started(state.pulse, self.T_dur, x)), state.g


def during(pulse: Any, dt: Any) -> tuple[Any, Any]:
    """How much of a step of `dt` has transmitter, and how much of the pulse is left after it."""
    there = -maximum(-pulse, -dt)
    return there, pulse - there


def started(pulse: Any, T_dur: Any, spike: Any) -> Any:
    """The pulse after a spike, which is 0 or 1: it starts again."""
    return (1 - spike) * pulse + spike * T_dur


def opened(g: Any, opening: Any, closing: Any, t: Any) -> Any:
    """What `g` is after `t` if dg/dt = opening * (1 - g) - closing * g, with constant rates."""
    return g + t * phi(-t * (opening + closing)) * (opening * (1 - g) - closing * g)


def opened_by(x: Any, end: Any, rate: Any, g: Any, alpha: Any, beta: Any, t: Any) -> Any:
    """What `g` is after `t` if dg/dt = alpha * x * (1 - g) - beta * g, while `x` goes to `end` at a constant rate.

    What was open is multiplied exactly; what opens is an integral without a closed form, by 8-point Gauss quadrature,
    whose error is below rounding as long as `t` times the fastest of the rates is not much larger than 1. Where
    receptors open faster than that, it is what closes that is integrated, so that `g` goes to 1 and not beyond it.
    """

    def mean(s: Any) -> Any:
        return end + (x - end) * jnp.exp(-rate * s) * phi(-rate * (t - s))

    def left(s: Any) -> Any:
        """Which part of what is open at `s` still is so at `t`, or has opened again."""
        return jnp.exp(-(t - s) * (beta + alpha * mean(s)))

    # The nodes are an axis in front: one fused loop, and a program that is as small as for one node.
    node, weight = (jnp.asarray(v, x.dtype).reshape(-1, *(1 for _ in x.shape)) for v in (_NODES, _WEIGHTS))
    ready = end + (x - end) * jnp.exp(-rate * (node * t))
    from_start, from_node = left(0 * t), weight * left(node * t)
    few = g * from_start + alpha * t * jnp.sum(ready * from_node, axis=0)
    many = 1 - (1 - g) * from_start - beta * t * jnp.sum(from_node, axis=0)
    return jnp.where(alpha * t * mean(0 * t) < 1, few, many)

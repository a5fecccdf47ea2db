"""The neurons of other libraries, under their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import jax
import jax.numpy as jnp

from .._custom_types import Array, ArrayLike, QuantityLike, Size
from .._units import argument
from ..surrogate import Arctan, Custom, InvSquareGrad, Sigmoid
from .discrete_lif import DiscreteLIF


SpikeFunction: TypeAlias = Callable[[Array], Array]
Reset: TypeAlias = Literal["soft", "hard"] | None

_SNNTORCH_RESETS: Final[dict[str, Reset]] = {"subtract": "soft", "zero": "hard", "none": None}
_NORSE_RESETS: Final[dict[str, Reset]] = {"value": "hard", "subtract": "soft"}


def snntorch_leaky(
    size: Size,
    beta: QuantityLike,
    threshold: QuantityLike = 1.0,
    *,
    reset_mechanism: Literal["subtract", "zero", "none"] = "subtract",
    reset_delay: bool = True,
    spk_fun: SpikeFunction = Arctan(alpha=2.0, h0=0),
) -> DiscreteLIF:
    """The steps of `snntorch.Leaky`; `mem` is `V`.

    Spikes at `mem > threshold`. With `reset_delay` the reset acts in the next step and is detached: `"subtract"` after
    the decay, `"zero"` before it. Without, it acts in the same step, with a gradient; a neuron that is still above the
    threshold after a `"subtract"` has it taken off once more before it is asked whether it spikes, and given back if it
    does not.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `beta`, `threshold`, `reset_mechanism`, `reset_delay`: as in snnTorch.
    - `spk_fun`: The `spike_grad`. `atan(alpha)` is `Arctan(alpha, h0=0)`, `fast_sigmoid(slope)` is
        `InvSquareGrad(slope, h0=0)`.

    **Raises:** as [`neurostate.conventions.DiscreteLIF`][], and `ValueError` for an unknown `reset_mechanism`.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> cell = ns.conventions.snntorch_leaky(1, beta=0.5)
    >>> print(ns.simulate(cell, jnp.full((4, 1), 0.75), dt=1.0).outputs[:, 0])
    [0. 1. 0. 0.]
    """
    spk_reset = _choose(_SNNTORCH_RESETS, reset_mechanism, "snntorch_leaky", "reset_mechanism")
    at_once = "both" if spk_reset == "soft" else "same_step"
    later = "after_decay" if spk_reset == "soft" else "before_decay"
    return DiscreteLIF(
        size,
        decay=beta,
        V_th=threshold,
        spk_fun=spk_fun,
        spk_reset=spk_reset,
        reset_at=later if reset_delay else at_once,
        detach_reset=reset_delay,
    )


def snntorch_synaptic(
    size: Size,
    alpha: QuantityLike,
    beta: QuantityLike,
    threshold: QuantityLike = 1.0,
    *,
    reset_mechanism: Literal["subtract", "zero", "none"] = "subtract",
    reset_delay: bool = True,
    spk_fun: SpikeFunction = Arctan(alpha=2.0, h0=0),
) -> DiscreteLIF:
    """The steps of `snntorch.Synaptic`; `syn` is `g`, `mem` is `V`.

    As [`neurostate.conventions.snntorch_leaky`][], but that `"zero"` with `reset_delay` acts after decay and input:
    the step after a spike ends at 0, whatever the input was.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `alpha`, `beta`, `threshold`, `reset_mechanism`, `reset_delay`: as in snnTorch.
    - `spk_fun`: as in [`neurostate.conventions.snntorch_leaky`][].

    **Raises:** as [`neurostate.conventions.snntorch_leaky`][].

    >>> import jax.numpy as jnp, neurostate as ns
    >>> cell = ns.conventions.snntorch_synaptic(1, alpha=0.5, beta=0.5)
    >>> print(ns.simulate(cell, jnp.full((4, 1), 0.6), dt=1.0).outputs[:, 0])
    [0. 1. 0. 1.]
    """
    spk_reset = _choose(_SNNTORCH_RESETS, reset_mechanism, "snntorch_synaptic", "reset_mechanism")
    at_once = "both" if spk_reset == "soft" else "same_step"
    return DiscreteLIF(
        size,
        decay=beta,
        syn_decay=alpha,
        V_th=threshold,
        spk_fun=spk_fun,
        spk_reset=spk_reset,
        reset_at="after_decay" if reset_delay else at_once,
        detach_reset=reset_delay,
    )


def norse_lif_box(
    size: Size,
    tau_mem_inv: ArrayLike = 100.0,
    v_leak: QuantityLike = 0.0,
    v_th: QuantityLike = 1.0,
    v_reset: QuantityLike = 0.0,
    *,
    dt: float = 0.001,
    reset_method: Literal["value", "subtract"] = "value",
    spk_fun: SpikeFunction = InvSquareGrad(alpha=1.0, h0=0),
) -> DiscreteLIF:
    """The steps of `norse.torch.LIFBoxCell`; `v` is `V`.

    Spikes at `v > v_th`, after a forward Euler step in which the input is scaled by `dt * tau_mem_inv`. The reset acts
    in the same step, with a gradient.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `tau_mem_inv`, `v_leak`, `v_th`, `v_reset`, `dt`: as in Norse: one in 1/s and the other in s, by its defaults.
        The product is from 0 to 1.
    - `reset_method`: `"value"` for `reset_value`, `"subtract"` for `reset_subtract`, which takes off `v_th`.
    - `spk_fun`: The `method`. Norse 1.1.0 does not use the `alpha` of its `"super"`, whose slope always is
        `InvSquareGrad(1.0)`; that of the formula in its documentation is `InvSquareGrad(alpha)`.

    **Raises:** as [`neurostate.conventions.DiscreteLIF`][], and `ValueError` for an unknown `reset_method`.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> cell = ns.conventions.norse_lif_box(1, tau_mem_inv=500.0)
    >>> print(ns.simulate(cell, jnp.full((4, 1), 1.5), dt=1.0).outputs[:, 0])
    [0. 1. 0. 1.]
    """
    spk_reset = _choose(_NORSE_RESETS, reset_method, "norse_lif_box", "reset_method")
    return DiscreteLIF(
        size,
        decay=1.0 - dt * jnp.asarray(tau_mem_inv, float),
        V_th=v_th,
        V_reset=v_reset if spk_reset == "hard" else 0.0,
        V_rest=v_leak,
        V_initializer=v_leak,
        spk_fun=spk_fun,
        spk_reset=spk_reset,
        scale_input=True,
    )


def norse_lif(
    size: Size,
    tau_syn_inv: ArrayLike = 200.0,
    tau_mem_inv: ArrayLike = 100.0,
    v_leak: QuantityLike = 0.0,
    v_th: QuantityLike = 1.0,
    v_reset: QuantityLike = 0.0,
    *,
    dt: float = 0.001,
    spk_fun: SpikeFunction = InvSquareGrad(alpha=1.0, h0=0),
) -> DiscreteLIF:
    """The steps of `norse.torch.LIFCell`; `v` is `V`.

    As [`neurostate.conventions.norse_lif_box`][], and the input is added to the synaptic current before that acts on
    `v`. Norse keeps the current as it is after it has decayed: its `i` is `g` times `1 - dt * tau_syn_inv`.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `tau_syn_inv`, `tau_mem_inv`, `v_leak`, `v_th`, `v_reset`, `dt`: as in Norse.
    - `spk_fun`: as in [`neurostate.conventions.norse_lif_box`][].

    **Raises:** as [`neurostate.conventions.DiscreteLIF`][].

    >>> import jax.numpy as jnp, neurostate as ns
    >>> cell = ns.conventions.norse_lif(1, tau_syn_inv=500.0, tau_mem_inv=500.0)
    >>> print(ns.simulate(cell, jnp.full((4, 1), 0.9), dt=1.0).outputs[:, 0])
    [0. 0. 1. 0.]
    """
    return DiscreteLIF(
        size,
        decay=1.0 - dt * jnp.asarray(tau_mem_inv, float),
        syn_decay=1.0 - dt * jnp.asarray(tau_syn_inv, float),
        V_th=v_th,
        V_reset=v_reset,
        V_rest=v_leak,
        V_initializer=v_leak,
        spk_fun=spk_fun,
        spk_reset="hard",
        scale_input=True,
    )


def spikingjelly_lif(
    size: Size,
    tau: ArrayLike = 2.0,
    decay_input: bool = True,
    v_threshold: QuantityLike = 1.0,
    v_reset: QuantityLike | None = 0.0,
    *,
    detach_reset: bool = False,
    spk_fun: SpikeFunction = Sigmoid(alpha=4.0),
) -> DiscreteLIF:
    """The steps of `LIFNode` in `spikingjelly.activation_based.neuron`; `v` is `V`.

    Spikes at `v >= v_threshold`. `v` decays towards `v_reset`, and the reset acts in the same step.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `tau`: The time constant in steps, above 1: an Euler step, whose factor is `1 - 1 / tau`.
    - `decay_input`: Whether the input is divided by `tau`.
    - `v_threshold`: The threshold.
    - `v_reset`: Where the hard reset goes, and the resting potential; `None` for the soft reset, and rest at 0.
    - `detach_reset`: Whether the gradient ignores that the reset depends on the spike.
    - `spk_fun`: The `surrogate_function`. `Sigmoid(alpha)` and `ATan(alpha)` are our `Sigmoid(alpha)` and
        `Arctan(alpha)`.

    **Raises:** as [`neurostate.conventions.DiscreteLIF`][].

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.simulate(ns.conventions.spikingjelly_lif(1), jnp.full((4, 1), 1.5), dt=1.0).outputs[:, 0])
    [0. 1. 0. 1.]
    """
    return DiscreteLIF(
        size,
        decay=1.0 - 1.0 / jnp.asarray(tau, float),
        V_th=v_threshold,
        V_reset=0.0 if v_reset is None else v_reset,
        V_rest=0.0 if v_reset is None else v_reset,
        V_initializer=0.0 if v_reset is None else v_reset,
        spk_fun=spk_fun,
        spk_reset="soft" if v_reset is None else "hard",
        scale_input=decay_input,
        detach_reset=detach_reset,
    )


def spikingjelly_if(
    size: Size,
    v_threshold: QuantityLike = 1.0,
    v_reset: QuantityLike | None = 0.0,
    *,
    detach_reset: bool = False,
    spk_fun: SpikeFunction = Sigmoid(alpha=4.0),
) -> DiscreteLIF:
    """The steps of `IFNode` in `spikingjelly.activation_based.neuron`: no leak, the input is added.

    **Arguments** and **Raises:** as in [`neurostate.conventions.spikingjelly_lif`][].

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.simulate(ns.conventions.spikingjelly_if(1), jnp.full((4, 1), 0.5), dt=1.0).outputs[:, 0])
    [0. 1. 0. 1.]
    """
    return DiscreteLIF(
        size,
        decay=1.0,
        V_th=v_threshold,
        V_reset=0.0 if v_reset is None else v_reset,
        V_initializer=0.0 if v_reset is None else v_reset,
        spk_fun=spk_fun,
        spk_reset="soft" if v_reset is None else "hard",
        detach_reset=detach_reset,
    )


def spyx_lif(
    size: Size,
    beta: QuantityLike,
    threshold: QuantityLike = 1.0,
    *,
    spk_fun: SpikeFunction = InvSquareGrad(alpha=25.0, h0=0),
) -> DiscreteLIF:
    """The steps of `spyx.nn.LIF`.

    Spikes at `V > threshold`, where `V` is that at the start of the step: what an input brings about comes out one step
    later. The reset takes off `threshold` after the decay, with a gradient.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `beta`, `threshold`: as in Spyx.
    - `spk_fun`: The `activation`. `superspike(k)` is `InvSquareGrad(k, h0=0)`, and `arctan(k)` is
        [`neurostate.conventions.spyx_arctan`][].

    **Raises:** as [`neurostate.conventions.DiscreteLIF`][].

    >>> import jax.numpy as jnp, neurostate as ns
    >>> cell = ns.conventions.spyx_lif(1, beta=0.5)
    >>> print(ns.simulate(cell, jnp.full((4, 1), 0.75), dt=1.0).outputs[:, 0])
    [0. 0. 1. 0.]
    """
    return DiscreteLIF(
        size, decay=beta, V_th=threshold, spk_fun=spk_fun, spk_reset="soft", reset_at="after_decay", spike_of="old"
    )


def spyx_cuba_lif(
    size: Size,
    alpha: QuantityLike,
    beta: QuantityLike,
    threshold: QuantityLike = 1.0,
    *,
    spk_fun: SpikeFunction = InvSquareGrad(alpha=25.0, h0=0),
) -> DiscreteLIF:
    """The steps of `spyx.nn.CuBaLIF`; its state is `V` and `g`, one after the other.

    As [`neurostate.conventions.spyx_lif`][], but that the reset takes off `threshold` before the decay.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `alpha`, `beta`, `threshold`: as in Spyx.
    - `spk_fun`: as in [`neurostate.conventions.spyx_lif`][].

    **Raises:** as [`neurostate.conventions.DiscreteLIF`][].

    >>> import jax.numpy as jnp, neurostate as ns
    >>> cell = ns.conventions.spyx_cuba_lif(1, alpha=0.5, beta=0.5)
    >>> print(ns.simulate(cell, jnp.full((4, 1), 0.6), dt=1.0).outputs[:, 0])
    [0. 0. 1. 1.]
    """
    return DiscreteLIF(
        size,
        decay=beta,
        syn_decay=alpha,
        V_th=threshold,
        spk_fun=spk_fun,
        spk_reset="soft",
        reset_at="before_decay",
        spike_of="old",
    )


def spyx_arctan(k: float = 2.0) -> Custom:
    r"""The spike function `spyx.axn.arctan(k)`, with the derivative $1 / (\pi\,(1 + (\pi k x)^2))$ and $H(0) = 0$.

    >>> import jax, neurostate as ns
    >>> print(f"{jax.grad(ns.conventions.spyx_arctan())(0.0):.4f}")
    0.3183
    """
    return Custom(jax.tree_util.Partial(_arctan_slope, k=k), h0=0)


def _arctan_slope(x: Array, k: Any) -> Array:
    return 1.0 / (jnp.pi * (1.0 + (jnp.pi * k * x) ** 2))


def _choose(options: dict[str, Reset], name: str, owner: str, argument_name: str) -> Reset:
    if name not in options:
        raise ValueError(f"{argument(owner, argument_name)} must be one of {list(options)}, got {name!r}.")
    return options[name]

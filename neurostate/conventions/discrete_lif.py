"""The leaky integrate-and-fire neuron of the machine-learning libraries, given by factors per step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._cell import AbstractCell
from .._custom_types import Array, Float, Key, QuantityLike, Shape, Size
from .._parameters import broadcasts
from .._units import Unit, argument, is_traced, to_plain, unitless
from ..init import Constant
from ..neuron._fields import (
    as_spike_function,
    check_threshold,
    fill,
    function_field,
    initial_arrays,
    initial_field,
    quantity_field,
    static_field,
)
from ..surrogate import ReluGrad


_SETTINGS: Final = {
    "spk_reset": ("soft", "hard", None),
    "reset_at": ("before_decay", "after_decay", "same_step", "both"),
    "spike_of": ("new", "old"),
}


class DiscreteLIFState(eqx.Module):
    """The state of `DiscreteLIF`: `V`, and with `syn_decay` the synaptic variable `g`, of shape `(*batch, *size)`."""

    V: Float[Array, " *state"]
    g: Float[Array, " *state"] | None = None


class DiscreteLIF(AbstractCell[DiscreteLIFState]):
    r"""Leaky integrate-and-fire neurons by factors per step, whose conventions are fields.

    One step, with the input $x$, the spike function $S$, the old potential $V$ and its spike
    $s_0 = S(V - V_\text{th})$:

    | what happens | formula | where |
    |---|---|---|
    | synapse | $g \leftarrow \alpha g + x$, and $x \leftarrow g$ | with `syn_decay` $\alpha$ |
    | reset by $s_0$ | $V \leftarrow \text{reset}(V, s_0)$ | `reset_at="before_decay"` |
    | decay and input | $V \leftarrow V_\text{rest} + \beta\,(V - V_\text{rest}) + x$ | `scale_input=False` |
    | | $V \leftarrow V + (1 - \beta)\,(x - (V - V_\text{rest}))$ | `scale_input=True` |
    | reset by $s_0$ | $V \leftarrow \text{reset}(V, s_0)$ | `reset_at="after_decay"`, `"both"` |
    | spike | $s = S(V - V_\text{th})$ | |
    | reset by $s$ | $V \leftarrow \text{reset}(V, s)$ | `reset_at="same_step"` |
    | | $V \leftarrow \text{reset}(V, s - s_0)$ | `reset_at="both"` |
    | output | $s$ with `spike_of="new"`, $s_0$ with `spike_of="old"` | |

    where the soft reset is $V - s\,(V_\text{th} - V_\text{reset})$ and the hard one $(1 - s)\,V + s\,V_\text{reset}$,
    with that gradient. The state holds `V` after all of this. Whether a neuron spikes at the threshold is the `h0` of
    `spk_fun`, which gets $V - V_\text{th}$ as it is. Potentials and inputs have no unit, and time is counted in
    steps: `dt` changes nothing. To let it, take a model with time constants and
    [`neurostate.conventions.decay_to_tau`][].

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `decay`: $\beta$, the factor of `V` per step, from 0 to 1; 1 for no leak. A step clips it to this range, so that
        training may leave it.
    - `syn_decay`: $\alpha$, that of the synaptic variable `g`, likewise, or `None` for neurons without one.
    - `V_th`, `V_reset`, `V_rest`: Threshold, reset and resting potential, `V_th` above `V_reset`.
    - `V_initializer`: `V` at the start: a number, an array, or an initialiser. `g` starts at 0.
    - `spk_fun`: The spike function, with its `h0`.
    - `spk_reset`: `"soft"`, `"hard"` or `None`.
    - `reset_at`, `spike_of`, `scale_input`: as in the table.
    - `detach_reset`: Whether the gradient ignores that the reset depends on the spike. With `reset_at="both"` this is
        about $s$, and that of $s_0$ is always ignored.

    All numbers are scalars or arrays that broadcast to `size`, and can be trained.

    **Raises:** `ValueError` for a factor outside 0 to 1, a `V_th` not above `V_reset`, a wrong shape or an unknown
    setting; `TypeError` for what is not a number or a function; `UnitError` for a value with a dimension.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> cell = ns.conventions.DiscreteLIF(1, decay=0.5)
    >>> state, spike = cell.step(cell.init_state(), jnp.array([0.75]))
    >>> state, spike = cell.step(state, jnp.array([0.75]))
    >>> print(state.V, spike)
    [0.125] [1.]
    """

    size: Shape = static_field()
    decay: Float[Array, " *#size"] = quantity_field(None)
    syn_decay: Float[Array, " *#size"] | None = quantity_field(None)
    V_th: Float[Array, " *#size"] = quantity_field(None)
    V_reset: Float[Array, " *#size"] = quantity_field(None)
    V_rest: Float[Array, " *#size"] = quantity_field(None)
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field(None)
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    reset_at: Literal["before_decay", "after_decay", "same_step", "both"] = static_field()
    spike_of: Literal["new", "old"] = static_field()
    scale_input: bool = static_field()
    detach_reset: bool = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[DiscreteLIFState]] = DiscreteLIFState

    def __init__(
        self,
        size: Size,
        decay: QuantityLike,
        syn_decay: QuantityLike | None = None,
        V_th: QuantityLike = 1.0,
        V_reset: QuantityLike = 0.0,
        V_rest: QuantityLike = 0.0,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(0.0),
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        spk_reset: Literal["soft", "hard"] | None = "soft",
        *,
        reset_at: Literal["before_decay", "after_decay", "same_step", "both"] = "same_step",
        spike_of: Literal["new", "old"] = "new",
        scale_input: bool = False,
        detach_reset: bool = False,
    ):
        given = {name: value for name, value in locals().items() if name != "spk_fun"}
        fill(self, {**given, "I_unit": None}, unitless)
        check_threshold(self.V_th, self.V_reset, "DiscreteLIF")
        for name in ("decay", "syn_decay"):
            _check_factor(getattr(self, name), name)
        for name, allowed in _SETTINGS.items():
            if given[name] not in allowed:
                raise ValueError(
                    f"{argument('DiscreteLIF', name)} must be one of {list(allowed)}, got {given[name]!r}."
                )
        self.spk_fun = as_spike_function(spk_fun, "DiscreteLIF")
        self.spk_reset, self.reset_at, self.spike_of = spk_reset, reset_at, spike_of
        self.scale_input, self.detach_reset = bool(scale_input), bool(detach_reset)

    def init_state(self, batch_shape: Size = (), key: Key | None = None) -> DiscreteLIFState:
        """Makes the state at the start. See `AbstractCell.init_state`."""
        V = initial_arrays(self, {"V": self.V_initializer}, batch_shape, key)["V"]
        return DiscreteLIFState(V, None if self.syn_decay is None else jnp.zeros_like(V))

    def step(
        self, state: DiscreteLIFState, input: QuantityLike, /, *, dt: Any = None, key: Key | None = None
    ) -> tuple[DiscreteLIFState, Float[Array, " *state"]]:
        """Moves on by one step. Pure.

        **Arguments:**

        - `state`: The state before the step.
        - `input`: A number or an array without unit that broadcasts to the shape of the state.
        - `dt`, `key`: Not used.

        **Returns:** The state after the step, and the spikes, of the shape and dtype of the state.

        **Raises:** `UnitError` if `input` has a dimension; `ValueError` if it does not broadcast to the state.
        """
        del dt, key
        V, g = state.V, state.g
        x = _as_input(input, V)
        old = self.spk_fun(V - self.V_th)
        first = jax.lax.stop_gradient(old) if self.detach_reset or self.reset_at == "both" else old
        if self.syn_decay is not None:
            x = g = jnp.clip(self.syn_decay, 0.0, 1.0) * cast(Array, g) + x
        decay = jnp.clip(self.decay, 0.0, 1.0)
        if self.reset_at == "before_decay":
            V = self._reset(V, first)
        if self.scale_input:
            V = V + (1.0 - decay) * (x - (V - self.V_rest))
        else:
            V = self.V_rest + decay * (V - self.V_rest) + x
        if self.reset_at in ("after_decay", "both"):
            V = self._reset(V, first)
        new = self.spk_fun(V - self.V_th)
        last = jax.lax.stop_gradient(new) if self.detach_reset else new
        if self.reset_at in ("same_step", "both"):
            V = self._reset(V, last - first if self.reset_at == "both" else last)
        spike = new if self.spike_of == "new" else old
        return jax.tree.map(lambda a, b: a.astype(b.dtype), (DiscreteLIFState(V, g), spike), (state, state.V))

    def _reset(self, V: Array, spike: Array) -> Array:
        if self.spk_reset is None:
            return V
        if self.spk_reset == "soft":
            return V - spike * (self.V_th - self.V_reset)
        return (1.0 - spike) * V + spike * self.V_reset


def _check_factor(value: Array | None, name: str) -> None:
    if value is not None and not is_traced(value) and not np.all((np.asarray(value) >= 0) & (np.asarray(value) <= 1)):
        raise ValueError(
            f"{argument('DiscreteLIF', name)} is a factor per step and must lie between 0 and 1, got {value!r}. "
            "A time constant `tau` makes it `exp(-dt / tau)`: see `conventions.tau_to_decay`."
        )


def _as_input(given: QuantityLike, like: Array) -> Array:
    plain = to_plain(given, None, "input", "DiscreteLIF.step")
    try:
        x = jnp.asarray(plain, like.dtype)
    except (TypeError, ValueError):
        raise TypeError(
            f"{argument('DiscreteLIF.step', 'input')} must be a number or an array, got {given!r}."
        ) from None
    if not broadcasts(x.shape, like.shape):
        raise ValueError(
            f"`DiscreteLIF.step` got an input of shape {x.shape} for a state of shape {like.shape}. It must broadcast "
            "to the state without enlarging it.\nFor a batch, make the state with the batch axes: "
            "`init_state(batch_shape=...)`."
        )
    return x

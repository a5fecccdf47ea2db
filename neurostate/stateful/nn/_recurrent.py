"""Recurrent cells: `RNNCell`, `MGUCell`, `GRUCell` and `LSTMCell`."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import Array, QuantityLike
from ..._units import to_plain
from ...init import Orthogonal, XavierNormal, ZeroInit
from .._ref import HiddenState
from ._affine import Linear
from ._equinox import blank, drawn_plain, over_batch, with_arrays
from ._layers import Sized
from ._lift import fill, lift


class _Cell(Sized):
    """A cell whose states, each of the shape `(*batch, num_out)`, a step maps to new ones; the first is its output."""

    state_names: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(self, num_in: int, num_out: int, state_init: QuantityLike, name: str | None):
        super().__init__(name=name)
        self.in_size, self.out_size = (num_in,), (num_out,)
        self._state_init = state_init

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Makes the states, of the shape `(num_out,)` or `(batch_size, num_out)`."""
        del kwargs
        copies = () if batch_size is None else (batch_size,)
        for name in self.state_names:
            value = drawn_plain(self._state_init, self.out_size or (), "state_init", type(self).__name__, copies)
            setattr(self, name, HiddenState(value))

    def update(self, x: Any) -> Any:
        """One time step: takes an array of the shape `(*batch, num_in)`, gives the new `h`."""
        x = to_plain(x, None, "x", type(self).__name__)
        refs = [getattr(self, name) for name in self.state_names]
        for ref in refs:
            self.check_batch(x, ref)
        states = [ref.value for ref in refs]
        new = self._step(jnp.asarray(x, states[0].dtype), *states)
        for ref, value in zip(refs, new, strict=True):
            ref.value = value
        return new[0]

    @abc.abstractmethod
    def _step(self, x: Array, *states: Array) -> tuple[Array, ...]:
        """The new states."""


class RNNCell(_Cell):
    r"""A recurrent cell without gates: $h_t = \phi(W [x_t, h_{t-1}] + b)$.

    It has the state `h`, of the shape `(*batch, num_out)`, and the [`neurostate.nn.Linear`][] `W`.

    **Arguments:**

    - `num_in`, `num_out`: The numbers of inputs and of outputs.
    - `state_init`: An initialiser of the state, of the shape `(num_out,)`.
    - `w_init`: One of the weights, of the shape `(num_in + num_out, num_out)`.
    - `b_init`: One of the bias, of the shape `(num_out,)`; no bias if it is `None`.
    - `activation`: The function, or its name in [`jax.nn`][].
    - `name`: A name for messages.

    **Raises:** `ValueError` when called with an input of another size, or with other batch axes than the
    state's; `StateNotInitialisedError` before `init_state`.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> cell = ns.nn.init_all_states(ns.nn.RNNCell(3, 4), batch_size=5)
    >>> ns.transform.for_loop(cell, jnp.ones((10, 5, 3))).shape, cell.h.value.shape
    ((10, 5, 4), (5, 4))
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        state_init: QuantityLike = ZeroInit(),
        w_init: QuantityLike = XavierNormal(),
        b_init: QuantityLike = ZeroInit(),
        activation: str | Callable[[Array], Array] = "relu",
        name: str | None = None,
    ):
        super().__init__(num_in, num_out, state_init, name)
        self.activation = _activation(activation, "RNNCell")
        self.W = Linear(num_in + num_out, num_out, w_init, b_init)

    def _step(self, x: Array, *states: Array) -> tuple[Array, ...]:
        return (self.activation(self.W(jnp.concatenate([x, *states], axis=-1))),)


ValinaRNNCell = RNNCell


class MGUCell(_Cell):
    r"""The minimal gated unit (Zhou et al. 2016).

    $$f_t = \sigma(W_f [x_t, h_{t-1}] + b_f)$$

    $$h_t = (1 - f_t)\,h_{t-1} + f_t\,\phi(W_h [x_t, f_t h_{t-1}] + b_h)$$

    State, arguments and errors are those of [`neurostate.nn.RNNCell`][]; the maps are `Wf` and `Wh`.

    >>> import neurostate as ns
    >>> list(ns.nn.MGUCell(3, 4).states(ns.ParamState))
    ['Wf.weight', 'Wf.bias', 'Wh.weight', 'Wh.bias']
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        w_init: QuantityLike = Orthogonal(),
        b_init: QuantityLike = ZeroInit(),
        state_init: QuantityLike = ZeroInit(),
        activation: str | Callable[[Array], Array] = "tanh",
        name: str | None = None,
    ):
        super().__init__(num_in, num_out, state_init, name)
        self.activation = _activation(activation, "MGUCell")
        self.Wf = Linear(num_in + num_out, num_out, w_init, b_init)
        self.Wh = Linear(num_in + num_out, num_out, w_init, b_init)

    def _step(self, x: Array, *states: Array) -> tuple[Array, ...]:
        (h,) = states
        f = jax.nn.sigmoid(self.Wf(jnp.concatenate([x, h], axis=-1)))
        new = self.activation(self.Wh(jnp.concatenate([x, f * h], axis=-1)))
        return (h + f * (new - h),)


class _Gated(_Cell):
    """A cell of Equinox, with its parameters under Equinox' names; each gate's weights are drawn for themselves."""

    cell_type: ClassVar[Callable[..., Any]]
    gates: ClassVar[int]

    def __init__(
        self,
        num_in: int,
        num_out: int,
        w_init: QuantityLike,
        b_init: QuantityLike,
        state_init: QuantityLike,
        name: str | None,
    ):
        super().__init__(num_in, num_out, state_init, name)
        gates, owner = self.gates, type(self).__name__

        def weight(inputs: int) -> Array:
            array = drawn_plain(w_init, (inputs, num_out), "w_init", owner, (gates,))
            return jnp.swapaxes(array, -1, -2).reshape(gates * num_out, inputs)

        arrays = {"weight_ih": weight(num_in), "weight_hh": weight(num_out)}
        if b_init is not None:
            arrays |= self._biases(lambda gates: drawn_plain(b_init, (num_out,), "b_init", owner, (gates,)))
        layer = blank(type(self).cell_type, num_in, num_out, use_bias=b_init is not None)
        self._tree = lift(self, with_arrays(layer, **arrays))

    @property
    def layer(self) -> Any:
        """The Equinox cell with the parameters of now, as plain arrays."""
        return fill(self, self._tree)

    @abc.abstractmethod
    def _biases(self, draw: Callable[[int], Array]) -> dict[str, Array]:
        """The bias fields; `draw` draws the biases of so many gates."""


class GRUCell(_Gated):
    """A gated recurrent unit, as `equinox.nn.GRUCell`.

    It has the state `h`, of the shape `(*batch, num_out)`, and Equinox' parameters `weight_ih`,
    `weight_hh`, `bias` and `bias_n`: three gates one below the other (reset, update, candidate). The reset
    gate acts after the matrix, as in cuDNN.

    **Arguments:**

    - `num_in`, `num_out`: The numbers of inputs and of outputs.
    - `w_init`: An initialiser of the weights of each gate, of the shapes `(num_in, num_out)` and
        `(num_out, num_out)`.
    - `b_init`: One of the bias of each gate, of the shape `(num_out,)`; no bias if it is `None`.
    - `state_init`: One of the state, of the shape `(num_out,)`.
    - `name`: A name for messages.

    **Raises:** as [`neurostate.nn.RNNCell`][].

    >>> import jax.numpy as jnp, neurostate as ns
    >>> cell = ns.nn.init_all_states(ns.nn.GRUCell(3, 4))
    >>> ns.transform.for_loop(cell, jnp.ones((10, 3))).shape, cell.weight_hh.value.shape
    ((10, 4), (12, 4))
    """

    cell_type, gates = eqx.nn.GRUCell, 3

    def __init__(
        self,
        num_in: int,
        num_out: int,
        w_init: QuantityLike = Orthogonal(),
        b_init: QuantityLike = ZeroInit(),
        state_init: QuantityLike = ZeroInit(),
        name: str | None = None,
    ):
        super().__init__(num_in, num_out, w_init, b_init, state_init, name)

    def _biases(self, draw: Callable[[int], Array]) -> dict[str, Array]:
        return {"bias": draw(3).ravel(), "bias_n": draw(1).ravel()}

    def _step(self, x: Array, *states: Array) -> tuple[Array, ...]:
        return (over_batch(self.layer, x.ndim - 1)(x, *states),)


class LSTMCell(_Gated):
    """A long short-term memory, as `equinox.nn.LSTMCell`.

    It has the states `h` and `c`, of the shape `(*batch, num_out)`, and Equinox' parameters `weight_ih`,
    `weight_hh` and `bias`: four gates one below the other (input, forget, candidate, output). The bias
    of the forget gate starts 1 higher than `b_init` (Jozefowicz et al. 2015).

    The arguments and errors are those of [`neurostate.nn.GRUCell`][]; `state_init` makes both states.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> cell = ns.nn.init_all_states(ns.nn.LSTMCell(3, 4))
    >>> ns.transform.for_loop(cell, jnp.ones((10, 3))).shape, cell.c.value.shape
    ((10, 4), (4,))
    """

    cell_type, gates, state_names = eqx.nn.LSTMCell, 4, ("h", "c")

    def __init__(
        self,
        num_in: int,
        num_out: int,
        w_init: QuantityLike = XavierNormal(),
        b_init: QuantityLike = ZeroInit(),
        state_init: QuantityLike = ZeroInit(),
        name: str | None = None,
    ):
        super().__init__(num_in, num_out, w_init, b_init, state_init, name)

    def _biases(self, draw: Callable[[int], Array]) -> dict[str, Array]:
        return {"bias": draw(4).at[1].add(1.0).ravel()}

    def _step(self, x: Array, *states: Array) -> tuple[Array, ...]:
        cell = self.layer
        return over_batch(lambda x, *states: cell(x, states), x.ndim - 1)(x, *states)


def _activation(activation: str | Callable[[Array], Array], owner: str) -> Callable[[Array], Array]:
    found = getattr(jax.nn, activation, None) if isinstance(activation, str) else activation
    if not callable(found):
        raise ValueError(
            f"The argument `activation` of `{owner}` is a function or the name of one in jax.nn, got {activation!r}."
        )
    return cast(Callable[[Array], Array], found)

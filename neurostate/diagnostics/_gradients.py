"""How large the gradient is at each step of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, Key, PyTree, QuantityLike
from .._units import is_traced
from ..simulate import _INIT_INDEX, _batch_shape, simulate


class GradientNorms(eqx.Module):
    """What `gradient_norms` tells: norms of shape `(time,)`.

    - `states`: A norm for each floating array of the state, in the structure of the state, `None` for the others.
        Entry `t` is for the state at the start of step `t`.
    - `inputs`: Likewise for the input of step `t`.
    """

    states: PyTree
    inputs: PyTree

    def __repr__(self) -> str:
        if any(map(is_traced, jax.tree.leaves(self))):
            return f"GradientNorms(states={eqx.tree_pformat(self.states)}, inputs={eqx.tree_pformat(self.inputs)})"
        named = jax.tree_util.tree_leaves_with_path({"states": self.states, "inputs": self.inputs})
        lines = [
            f"  {jax.tree_util.keystr(path, simple=True, separator='.')}: {norm[0]:.3g} at the first step, "
            f"{norm.max():.3g} at most, {norm[-1]:.3g} at the last"
            for path, norm in ((path, np.asarray(norm)) for path, norm in named)
        ]
        return "\n".join(["GradientNorms(", *lines, ")"])


def gradient_norms(
    loss: Callable[[PyTree], Array],
    model: Any,
    inputs: PyTree,
    *,
    dt: QuantityLike,
    state: PyTree = None,
    key: Key | None = None,
) -> GradientNorms:
    r"""The norm of the gradient of a loss with respect to the state and the input, at each step of a run.

    $$\lVert \partial L / \partial s_t \rVert_2$$

    over all elements of an array of the state $s_t$, batch axes too: what is added to it at the start of step $t$ acts
    on all later steps. Norms that fall or grow exponentially towards the first step are gradients that vanish or
    explode. It costs one run with its backward pass, and no memory beyond that.

    **Arguments:**

    - `loss`: A function of the outputs over time that gives a scalar.
    - `model`, `inputs`, `dt`, `state`, `key`: as in [`neurostate.simulate`][]. Inputs are an array, or a pytree of
        floating arrays.

    **Returns:** A [`neurostate.diagnostics.GradientNorms`][].

    **Raises:** `TypeError` if `loss` does not give a scalar; and as [`neurostate.simulate`][].

    >>> import jax.numpy as jnp, neurostate as ns
    >>> norms = ns.diagnostics.gradient_norms(lambda V: V[-1, 0], ns.LI(1, tau=2.0), jnp.ones((3, 1)), dt=1.0)
    >>> print(" ".join(f"{norm:.3f}" for norm in norms.states.V))
    0.223 0.368 0.607
    """
    inputs = jax.tree.map(jnp.asarray, inputs)
    if state is None:
        init_key = None if key is None else jax.random.fold_in(key, _INIT_INDEX)
        state = model.init_state(_batch_shape(inputs, model.in_size), key=init_key)
    num_steps = jax.tree.leaves(inputs)[0].shape[0]

    def no_change(x: Any) -> Array | None:
        return jnp.zeros(num_steps, x.dtype) if eqx.is_inexact_array(x) else None

    def run(probes: PyTree) -> Array:
        probed: Any = _Probed(model)
        sol = simulate(probed, (inputs, probes), dt=dt, state=state, key=key)
        value = jnp.asarray(loss(sol.outputs))
        if value.shape:
            raise TypeError(f"The `loss` of `gradient_norms` must give a scalar, got an array of shape {value.shape}.")
        return value

    squares = jax.grad(run)(jax.tree.map(no_change, (state, inputs)))
    return GradientNorms(*jax.tree.map(jnp.sqrt, squares))


class _Probed(eqx.Module):
    """A model each of whose inputs comes with a probe for every array of the state and of the input."""

    model: Any

    def step(self, state: PyTree, input: Any, /, *, dt: Any, key: Key | None = None) -> tuple[PyTree, Any]:
        x, probes = input
        state, x = jax.tree.map(
            lambda probe, value: value if probe is None else _probed(value, probe),
            probes,
            (state, x),
            is_leaf=lambda probe: probe is None,
        )
        keyed = {} if key is None else {"key": key}
        return self.model.step(state, x, dt=dt, **keyed)


@jax.custom_vjp
def _probed(x: Array, probe: Array) -> Array:
    """`x` itself. The derivative with respect to the number `probe` is the squared norm of that with respect to `x`."""
    del probe
    return x


_probed.defvjp(lambda x, probe: (x, None), lambda _, slope: (slope, jnp.sum(jnp.square(slope))))

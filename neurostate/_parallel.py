"""Running a model without feedback over all its time steps at once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from ._custom_types import Array, PyTree, QuantityLike
from ._dependence import AFFINE, OTHER, dependence
from ._errors import not_parallel
from ._parameters import as_milliseconds
from .connect._base import AbstractConnection
from .network.sequential import Sequential, SequentialState


# By rows; each entry is an array over the elements.
Matrix: TypeAlias = list[list[Array]]


def scan_parallel(model: Any, state: PyTree, inputs: PyTree, *, dt: QuantityLike) -> tuple[PyTree, PyTree, PyTree]:
    r"""Runs a model whose state moves by an affine map of each element, over the whole time axis at once.

    Without a reset and a refractory period the state of a neuron, and that of a synapse or a leaky readout, moves by

    $$s_t = A_t\,s_{t-1} + b_t$$

    with a small matrix for each element, which has as many rows as there are variables. Such maps are composed by an
    associative scan (Blelloch 1990, *Prefix sums and their applications*), in a number of rounds that grows with the
    logarithm of the number of steps. $A_t$ and $b_t$ are taken from `model.step`, and all outputs are those of
    `model.step` from the states before. The results are those of `simulate` up to rounding, which grows like `tau / dt`
    in either, and so are all derivatives. That the map is affine is proved from the program of the step, for any state.

    **Arguments:**

    - `model`: A cell, or a [`neurostate.Sequential`][] of such cells, connections and functions, which is run layer by
        layer.
    - `state`: The state before the first step.
    - `inputs`: The drive of each step, a pytree of arrays with time as their first axis.
    - `dt`: The time step: a number in ms or a `Quantity`.

    **Returns:** The state after the last step; the outputs of all steps; the states after each step. The last two have
    time as their first axis.

    **Raises:** `ValueError` for a cell whose state does not move by an affine map of each element, naming the cell and
    why; and what `model.step` raises.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> li = ns.LI(2)
    >>> final, V, states = scan_parallel(li, li.init_state(), jnp.ones((50, 2)), dt=0.1)
    >>> print(V.shape, f"{final.V[0]:.4f}")
    (50, 2) 0.6321
    """
    dt = as_milliseconds(dt, "scan_parallel")
    return _run(model, state, jax.tree.map(jnp.asarray, inputs), dt, type(model).__name__)


@eqx.filter_jit
def _run(model: Any, state: PyTree, inputs: PyTree, dt: Any, name: str) -> tuple[PyTree, PyTree, PyTree]:
    if not isinstance(model, Sequential):
        return _run_cell(model, state, inputs, dt, name)
    finals, states, x = [], [], inputs
    for k, (layer, at) in enumerate(zip(model.layers, state.layers, strict=True)):
        after = at
        if at is not None:
            at, x, after = _run(layer, at, x, dt, f"layer {k} of {name}, {type(layer).__name__}")
        else:
            x = layer(x) if isinstance(layer, AbstractConnection) else jax.vmap(layer)(x)
        finals.append(at)
        states.append(after)
    return SequentialState(tuple(finals)), x, SequentialState(tuple(states))


def _run_cell(cell: Any, state: PyTree, inputs: PyTree, dt: Any, name: str) -> tuple[PyTree, PyTree, PyTree]:
    def step(state: PyTree, x: PyTree) -> tuple[PyTree, PyTree]:
        return cell.step(state, x, dt=dt)

    first = jax.tree.map(lambda x: x[0], inputs)
    _check_affine(cell, step, state, first, name)
    start, structure = jax.tree.flatten(state)

    def move(values: Sequence[Array], x: PyTree) -> list[Array]:
        return jax.tree.leaves(step(structure.unflatten(values), x)[0])

    def matrix(x: PyTree) -> Matrix:
        """The derivative of each variable by each, element by element."""
        columns = []
        for k in range(len(start)):
            tangent = [jnp.ones_like(v) if i == k else jnp.zeros_like(v) for i, v in enumerate(start)]
            columns.append(jax.jvp(functools.partial(move, x=x), (start,), (tangent,))[1])
        return [list(row) for row in zip(*columns, strict=True)]

    # What is scanned is how far the state is from where it started, so that an offset costs no precision.
    b = jax.vmap(lambda x: jax.tree.map(jnp.subtract, move(start, x), start))(inputs)
    varies = dependence(jax.make_jaxpr(matrix)(first), [AFFINE] * len(jax.tree.leaves(first)))
    if any(varies):
        far = jax.lax.associative_scan(_compose, (jax.vmap(matrix)(inputs), b))[1]
    else:
        far = _scan_of_one_matrix(matrix(first), b)
    before = [jnp.concatenate([v[None], v + x[:-1]]) for v, x in zip(start, far, strict=True)]
    states, outputs = jax.vmap(step)(structure.unflatten(before), inputs)
    return jax.tree.map(lambda x: x[-1], states), outputs, states


def _compose(first: tuple[Matrix, list[Array]], then: tuple[Matrix, list[Array]]) -> tuple[Matrix, list[Array]]:
    """The affine map that is one after the other."""
    (A, a), (B, b) = first, then
    return _product(B, A), _applied(B, a, b)


def _product(B: Matrix, A: Matrix) -> Matrix:
    columns = [_applied(B, list(column)) for column in zip(*A, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _applied(A: Matrix, x: list[Array], b: list[Array] | None = None) -> list[Array]:
    """`A x + b`."""
    products = [[factor * value for factor, value in zip(row, x, strict=True)] for row in A]
    sums = [sum(terms[1:], terms[0]) for terms in products]
    return sums if b is None else [total + more for total, more in zip(sums, b, strict=True)]


def _scan_of_one_matrix(A: Matrix, b: list[Array]) -> list[Array]:
    """What `associative_scan` of `_compose` gives where all matrices are `A`, which are not stored for each step."""
    num_steps = len(b[0])
    if num_steps == 1:
        return b
    half = num_steps // 2
    odd = _scan_of_one_matrix(_product(A, A), _applied(A, [x[0::2][:half] for x in b], [x[1::2] for x in b]))
    later = num_steps - half - 1
    even = _applied(A, [x[:later] for x in odd], [x[2::2] for x in b])
    result = []
    for x, at_even, at_odd in zip(b, even, odd, strict=True):
        at_even = jnp.concatenate([x[:1], at_even])
        at_odd = jnp.concatenate([at_odd, at_even[: len(at_even) - half]])  # of the same length
        both = jnp.stack([at_even, at_odd], axis=1)
        result.append(both.reshape(-1, *x.shape[1:])[:num_steps])
    return result


# The proof


def _check_affine(cell: Any, step: Any, state: PyTree, first: PyTree, name: str) -> None:
    paths, leaves = zip(*jax.tree.leaves_with_path(state), strict=True)
    names = [jax.tree_util.keystr(path).lstrip(".") for path in paths]
    kinds = {f"{x.dtype}{list(x.shape)}" for x in leaves}
    if len(kinds) > 1 or not jnp.issubdtype(leaves[0].dtype, jnp.floating):
        raise ValueError(not_parallel(name, f"its state must be floats of one shape and dtype, got {sorted(kinds)}"))
    program = jax.make_jaxpr(lambda state: step(state, first)[0])(state)
    found = dependence(program, [AFFINE] * len(leaves))
    wrong = [path for path, how in zip(names, found, strict=True) if how == OTHER]
    if wrong:
        reasons = {
            "it has a reset": getattr(cell, "has_reset", False) and getattr(cell, "spk_reset", None) is not None,
            "it has a refractory period": getattr(cell, "tau_ref", None) is not None,
            'it has spike_time="interpolated"': getattr(cell, "spike_time", "grid") != "grid",
        }
        known = " and ".join(reason for reason, holds in reasons.items() if holds)
        of = f"the new `{'`, `'.join(wrong)}` is not an affine function of the same element of the state before"
        raise ValueError(not_parallel(name, known or of))

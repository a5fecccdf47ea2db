"""Derivatives with respect to references and arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ... import _errors
from ..._units import is_quantity, join_quantity, split_quantity, to_plain
from .. import _staging, random
from .._collector import path_of
from .._values import flatten, unpack
from ._target import Call, Target
from ._wrap import jit_error_if


_TABLE = """

    **Arguments:**

    - `fun`: The function; with `has_aux` it returns `(output, aux)`.
    - `grad_states`: A reference, or a list, tuple or dict of references.
    - `argnums`: Which arguments, an int or a sequence of ints; 0 if `grad_states` is not given.
    - `has_aux`, `return_value`: Also gives `aux`, the output of `fun`.
    - `unit_aware`: Gives a derivative its true unit, that of the output over that of the reference.
    - `debug_nan`: Raises `FloatingPointError` where a derivative is NaN.
    - `check_states`: Asks that `fun` reads each of `grad_states`. Without it, a reference that
      is not read has a derivative of zeros.

    **Returns:** A function that gives `G`; `(G, value)` with `return_value`; `(G, aux)` with
    `has_aux`; `(G, value, aux)` with both. `G` is the derivative by the references in the structure
    of `grad_states`, or that by the arguments (bare for an int, a tuple for a sequence), or
    `(of_references, of_arguments)` if both are asked for. It is taken at the values that the
    references have on entry, and has their units. What `fun` writes persists, as values.

    **Raises:** `ValueError` if a reference of `grad_states` is never read, or for negative `argnums`;
    `TypeError` if the output has not the form that is needed.
    """


def _derivative(differentiate: Callable[..., tuple[Any, Any]]) -> Callable[..., Any]:
    """Makes a transform from `differentiate(call, options) -> (arranged derivative, rest)`."""
    kind = differentiate.__name__

    def transform(
        fun: Callable[..., Any] | None = None,
        grad_states: Any = None,
        argnums: int | Sequence[int] | None = None,
        has_aux: bool | None = None,
        return_value: bool = False,
        unit_aware: bool = False,
        check_states: bool = True,
        debug_nan: bool = False,
        **options: Any,
    ) -> Any:
        if fun is None:
            options.update(grad_states=grad_states, argnums=argnums, has_aux=has_aux, return_value=return_value)
            options.update(unit_aware=unit_aware, check_states=check_states, debug_nan=debug_nan)
            return functools.partial(transform, **options)
        target = Target(kind, fun, grad_states, argnums, has_aux, check_states)

        def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            call = Call(target, args, kwargs, options.get("allow_int", False), unit_aware)
            derivative, rest = differentiate(call, **options)
            if debug_nan:
                _refuse_nan(derivative, kind)
            value, aux = call.finish(rest)
            if unit_aware and kind != "hessian":  # which divides by two units
                derivative = _with_true_units(derivative, value)
            return target.result(derivative, value, aux, return_value)

        return functools.wraps(fun)(lambda *args, **kwargs: _staging.run(kind, run, args, kwargs))

    transform.__name__ = transform.__qualname__ = kind
    transform.__doc__ = differentiate.__doc__ and differentiate.__doc__.replace("{table}", _TABLE.strip())
    return transform


def _refuse_nan(derivative: Any, kind: str) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(derivative):
        where = f"The result{jax.tree_util.keystr(path)} of `{kind}`"
        jit_error_if(jnp.isnan(leaf).any(), FloatingPointError(_errors.became_nan(where, [], None, "")))


def _in_units_of(value: Any, tangent: Any, ref: Any) -> list[Any]:
    """The leaves of a reference's tangent, in the units of its value; plain ones are in these."""

    def convert(like: Any, t: Any) -> Any:
        return to_plain(t, split_quantity(like)[1], f"state_tangents of {path_of(ref)}", "jvp")

    return flatten(jax.tree.map(convert, unpack(value), tangent, is_leaf=is_quantity))[0]


def _with_true_units(derivative: Any, value: Any) -> Any:
    _, of_value = split_quantity(value)

    def convert(leaf: Any) -> Any:
        mantissa, unit = split_quantity(leaf)
        if of_value is None and unit is None:
            return leaf
        true: Any = of_value if unit is None else unit**-1 if of_value is None else of_value / unit
        return join_quantity(mantissa, true)

    return jax.tree.map(convert, derivative, is_leaf=is_quantity)


def _per_output(derivatives: list[Any], rest: Any) -> Any:
    """One derivative for each leaf of the output, in the structure of the output."""
    structure = jax.tree.structure(unpack(rest[0]), is_leaf=is_quantity)
    return jax.tree.unflatten(structure, derivatives)


@_derivative
def grad(call: Call, holomorphic: bool = False, allow_int: bool = False) -> tuple[Any, Any]:
    """The gradient of a scalar function with respect to references and arguments.

    {table}

    >>> import neurostate as ns
    >>> w = ns.ParamState(3.0)
    >>> def loss(x):
    ...     return (w.value * x) ** 2
    >>> gradient, value = ns.transform.grad(loss, grad_states=w, return_value=True)(2.0)
    >>> print(gradient, value)
    24.0 36.0
    """
    differentiate = functools.partial(jax.grad, has_aux=True, holomorphic=holomorphic, allow_int=allow_int)
    gradient, rest = differentiate(call.scalar)(call.point)
    return call.arrange(gradient), rest


@_derivative
def vector_grad(call: Call) -> tuple[Any, Any]:
    """The sum over all outputs of their gradients: for a function that acts element by element, its derivative.

    {table}

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.transform.vector_grad(lambda x: x**2)(jnp.arange(3.0)))
    [0. 2. 4.]
    """
    out, pull, rest = jax.vjp(call.arrays, call.point, has_aux=True)
    (gradient,) = pull([jnp.ones_like(leaf) for leaf in out])
    return call.arrange(gradient), rest


@_derivative
def jacrev(call: Call, holomorphic: bool = False, allow_int: bool = False) -> tuple[Any, Any]:
    """The Jacobian, row by row in reverse mode: best for few outputs.

    {table}

    For an output with several leaves `G` has one derivative for each, in the output's structure.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> print(ns.transform.jacrev(lambda x: jnp.stack([x.sum(), x.prod()]))(jnp.array([2.0, 3.0])))
    [[1. 1.]
     [3. 2.]]
    """
    jacobians, rest = jax.jacrev(call.arrays, has_aux=True, holomorphic=holomorphic, allow_int=allow_int)(call.point)
    return _per_output([call.arrange(each) for each in jacobians], rest), rest


jacobian = jacrev


@_derivative
def jacfwd(call: Call, holomorphic: bool = False) -> tuple[Any, Any]:
    """The Jacobian, column by column in forward mode: best for few inputs.

    {table}

    For an output with several leaves `G` has one derivative for each, in the output's structure.
    """
    jacobians, rest = jax.jacfwd(call.arrays, has_aux=True, holomorphic=holomorphic)(call.point)
    return _per_output([call.arrange(each) for each in jacobians], rest), rest


@_derivative
def hessian(call: Call, holomorphic: bool = False) -> tuple[Any, Any]:
    """The matrix of second derivatives of a scalar function, forward over reverse.

    {table}

    `G` is nested: in the place of each variable stands the derivative of its gradient by all.

    >>> import jax.numpy as jnp, neurostate as ns
    >>> w = ns.ParamState(jnp.array(3.0))
    >>> print(ns.transform.hessian(lambda: w.value**3, w)())
    18.0
    """
    gradient = jax.grad(call.scalar, has_aux=True, holomorphic=holomorphic)
    second, rest = jax.jacfwd(gradient, has_aux=True, holomorphic=holomorphic)(call.point)
    structure = jax.tree.structure(call.point)
    rows = [call.arrange(row) for row in structure.flatten_up_to(second)]
    if call.unit_aware:
        rows = [_over(_with_true_units(row, unpack(rest[0])), unit) for row, unit in zip(rows, call.units, strict=True)]
    return call.arrange(jax.tree.unflatten(structure, rows), units=False), rest


def _over(derivative: Any, unit: Any) -> Any:
    """A derivative divided by a unit."""

    def divide(leaf: Any) -> Any:
        mantissa, own = split_quantity(leaf)
        return leaf if unit is None else join_quantity(mantissa, unit**-1 if own is None else own / unit)

    return jax.tree.map(divide, derivative, is_leaf=is_quantity)


@_derivative
def fwd_grad(
    call: Call, tangent_size: int | None = None, drct_der_clip: float | None = None, key: Any = None
) -> tuple[Any, Any]:
    """An unbiased estimate of the gradient of a scalar function, in forward mode only.

    The derivative in a random normal direction times that direction (Baydin et al. 2022).

    {table}

    - `tangent_size`: The number of directions to average over; 1 without it.
    - `drct_der_clip`: Clips the directional derivatives to this size.
    - `key`: A random key; from the global one without it.
    """
    leaves, structure = jax.tree.flatten(call.point)
    keys = (
        random.split_key(tangent_size or 1) if key is None else jax.random.split(random.as_key(key), tangent_size or 1)
    )

    def direction(key: Any) -> Any:
        each = jax.random.split(key, len(leaves))
        return [jax.random.normal(k, jnp.shape(x), jnp.result_type(x)) for k, x in zip(each, leaves, strict=True)]

    directions = jax.vmap(direction)(keys)
    _, push, rest = jax.linearize(call.scalar, call.point, has_aux=True)
    slopes = jax.vmap(lambda d: push(jax.tree.unflatten(structure, d)))(directions)
    if drct_der_clip is not None:
        slopes = jnp.clip(slopes, -drct_der_clip, drct_der_clip)
    estimate = [jnp.tensordot(slopes, d, axes=1) / len(keys) for d in directions]
    return call.arrange(jax.tree.unflatten(structure, estimate)), rest


def vjp(
    fun: Callable[..., Any],
    *primals: Any,
    grad_states: Any = None,
    argnums: int | Sequence[int] | None = 0,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """[`jax.vjp`][] with respect to references and arguments.

    **Arguments:** as [`neurostate.transform.grad`][]; without `primals`, or with `argnums=None`, only
    with respect to `grad_states`.

    **Returns:** `(out, pull)`, and `aux` with `has_aux`. `pull(cotangent)` gives what `grad` gives.

    >>> import neurostate as ns
    >>> out, pull = ns.transform.vjp(lambda x: x**2, 3.0)
    >>> print(out, pull(1.0))
    9.0 6.0
    """
    if not primals and grad_states is not None:
        argnums = None
    target = Target("vjp", fun, grad_states, argnums, has_aux, True)
    calls: list[Call] = []

    def run(primals: tuple[Any, ...]) -> Any:
        call = Call(target, primals, {})
        _, pull, rest = jax.vjp(call.arrays, call.point, has_aux=True)
        finished = call.finish(rest)
        calls.append(call.without_values())
        return finished, pull

    (value, aux), pull = _staging.run("vjp", run, primals)
    call = calls[0]

    def pull_back(cotangent: Any) -> Any:
        leaves, struct = flatten(cotangent)
        if struct != flatten(value)[1]:
            raise TypeError(f"The cotangent of `vjp` must be like the output, {value!r:.80}, got {cotangent!r:.80}.")
        return call.arrange(pull([jnp.asarray(x, jnp.result_type(v)) for x, v in zip(leaves, flatten(value)[0])])[0])

    return (value, pull_back, aux) if has_aux else (value, pull_back)


def jvp(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    grad_states: Any = None,
    state_tangents: Any = None,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """[`jax.jvp`][] with respect to references and arguments.

    **Arguments:**

    - `fun`, `primals`, `tangents`, `has_aux`: as [`jax.jvp`][].
    - `grad_states`: A reference, or a list, tuple or dict of references.
    - `state_tangents`: Their tangents, in the same structure, with the values' structures and units.

    **Returns:** `(out, tangent_out)`, and `aux` with `has_aux`.

    >>> import neurostate as ns
    >>> w = ns.ParamState(2.0)
    >>> print(*ns.transform.jvp(lambda x: w.value * x, (3.0,), (1.0,), grad_states=w, state_tangents=10.0))
    6.0 32.0
    """
    if len(primals) != len(tangents):
        raise TypeError(
            f"`jvp` needs one tangent for each primal, got {len(primals)} primals, {len(tangents)} tangents."
        )
    target = Target("jvp", fun, grad_states, tuple(range(len(primals))), has_aux, True)

    def run(primals: Any, tangents: Any, state_tangents: Any) -> Any:
        call = Call(target, primals, {})
        given = [] if target.refs_struct is None else target.refs_struct.flatten_up_to(state_tangents)
        of_ref = dict(zip(target.refs, given, strict=True))
        of_args = [flatten(tangent)[0] for tangent in tangents]
        point_tangent = ([_in_units_of(value, of_ref[ref], ref) for ref, value in call.values.items()], of_args)
        as_given = jax.tree.map(lambda x, t: jnp.asarray(t, jnp.result_type(x)), call.point, point_tangent)
        _, out_tangents, rest = jax.jvp(call.arrays, (call.point,), (as_given,), has_aux=True)
        value, aux = call.finish(rest)
        return value, flatten(value)[1].unflatten(out_tangents), aux

    value, tangent, aux = _staging.run("jvp", run, tuple(primals), tuple(tangents), state_tangents)
    return (value, tangent, aux) if has_aux else (value, tangent)

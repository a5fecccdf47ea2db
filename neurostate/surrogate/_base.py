"""The spike function itself, the base class of all surrogates, and the checks of their arguments."""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Array, ArrayLike, QuantityLike
from .._units import as_dimensionless


@jax.custom_jvp
def _attach_slope(spike: Array, x: Array, slope: Array) -> Array:
    # `slope` is an argument, not computed inside the rule: whatever it depends on (arrays in a
    # closure, parameters) is then traced like any other value. Where nothing is differentiated XLA
    # removes it as dead code.
    del x, slope
    return spike


@_attach_slope.defjvp
def _attach_slope_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    _, _, slope = primals
    _, x_dot, _ = tangents
    return _attach_slope(*primals), slope * x_dot


def _as_input(x: QuantityLike, owner: str) -> Array:
    array = jnp.asarray(as_dimensionless(x, "x", owner))
    if jnp.issubdtype(array.dtype, jnp.floating):
        return array
    if jnp.issubdtype(array.dtype, jnp.integer) or jnp.issubdtype(array.dtype, jnp.bool_):
        return array.astype(jnp.result_type(float))
    raise TypeError(
        f"The argument `x` of `{owner}` must be an array of real numbers, got the dtype {array.dtype}. "
        "Pass a floating-point array, e.g. `(V - V_th) / (V_th - V_reset)`, or the real part of it."
    )


def _step(x: Array, h0: int) -> Array:
    return (x >= 0 if h0 else x > 0).astype(x.dtype)


def _as_h0(h0: Any) -> int:
    if isinstance(h0, int | float | np.number | np.bool_) and h0 in (0, 1):
        return int(h0)
    raise ValueError(
        f"`h0`, the value of the spike function at zero, must be 0 or 1, got {h0!r}. "
        "Use `h0=1` to spike at x >= 0 and `h0=0` to spike at x > 0."
    )


def _as_parameter(value: Any, name: str, minimum: float, strict: bool) -> float | Array:
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        value = float(value)
        if not math.isfinite(value) or value < minimum or (strict and value == minimum):
            bound = "" if minimum == -math.inf else f" {'greater than' if strict else 'of at least'} {minimum:g}"
            raise ValueError(f"`{name}` of a surrogate gradient must be a finite number{bound}, got {value!r}.")
        return value
    if not isinstance(value, jax.Array | np.ndarray):
        value = as_dimensionless(value, name)
    if isinstance(value, jax.Array | np.ndarray):
        if jnp.issubdtype(value.dtype, jnp.floating):
            return jnp.asarray(value)
        if jnp.issubdtype(value.dtype, jnp.integer):
            return jnp.asarray(value, jnp.result_type(float))
        raise TypeError(f"`{name}` of a surrogate gradient must be an array of real numbers, got dtype {value.dtype}.")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _as_parameter(value, name, minimum, strict)
    raise TypeError(
        f"`{name}` of a surrogate gradient must be a real number or an array of them, "
        f"got {value!r} of type {type(value).__name__}."
    )


def parameter(
    name: str, *, minimum: float = -math.inf, strict: bool = False
) -> Callable[[QuantityLike], float | Array]:
    """A converter for a field of a surrogate: a number as a float, or an array that can be trained.

    Numbers below `minimum` (or, if `strict`, equal to it) are refused. Arrays are not compared with
    it, because their values may not be known while tracing.
    """
    return functools.partial(_as_parameter, name=name, minimum=minimum, strict=strict)


def _describe(value: Any) -> str:
    if isinstance(value, jax.tree_util.Partial) and not value.args and not value.keywords:
        return getattr(value.func, "__name__", repr(value.func))
    if isinstance(value, jax.Array):
        return eqx.tree_pformat(value)
    return repr(value)


class Surrogate(eqx.Module):
    r"""The base class of the spike functions with a surrogate gradient.

    Calling one gives the Heaviside step of `x`: exactly 0 or 1, in the dtype of `x`. Its derivative is
    taken to be `surrogate_grad(x)`, in forward and in reverse mode, and the second derivative is the
    derivative of that formula (at a corner of it, the one that JAX takes). At zero the value is `h0`, 1
    unless told otherwise; NaN gives 0.

    A surrogate is an immutable pytree. A parameter given as a Python number stays one: it is compared
    by value, so two instances with equal numbers share one trace and can be static arguments. A
    parameter given as an array becomes a leaf that `eqx.filter(…, eqx.is_inexact_array)` finds, with any
    shape that broadcasts to that of `x`. The spikes do not depend on the parameters, so their
    derivative with respect to them is zero; what depends on them is the gradient with respect to `x`,
    and that can be differentiated again.

    Subclass it and write `surrogate_grad(x)` to make your own, or wrap a function in
    [`neurostate.surrogate.Custom`][].

    **Arguments** of the instance, called as `spk_fun(x)`:

    - `x`: A floating-point array of any shape, usually how far the membrane potential is above the
        threshold, divided by a voltage. Integers and booleans are converted to the default float type. A
        dimensionless `Quantity` is taken by its value.

    **Returns:** An array of zeros and ones with the shape and dtype of `x`.

    **Raises:** `UnitError` if `x` is a `Quantity` with a dimension; `TypeError` if it is complex;
    `ValueError` if an array parameter has a shape that does not broadcast to that of `x`.

    !!! example

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from neurostate import surrogate
        >>> class Rectangle(surrogate.Surrogate):
        ...     width: float = 0.5
        ...     def surrogate_grad(self, x):
        ...         return jnp.where(jnp.abs(x) < self.width, 1.0, 0.0)
        >>> spk_fun = Rectangle(width=0.25)
        >>> spk_fun
        Rectangle(width=0.25)
        >>> print(spk_fun(jnp.array([-0.1, 0.0, 2.0])))
        [0. 1. 1.]
        >>> print(jax.vmap(jax.grad(spk_fun))(jnp.array([-0.1, 0.0, 2.0])))
        [1. 1. 0.]
    """

    h0: int = eqx.field(default=1, converter=_as_h0, static=True, kw_only=True)

    def __call__(self, x: QuantityLike) -> Array:
        x = _as_input(x, type(self).__name__)
        slope = jnp.asarray(self.surrogate_grad(x)).astype(x.dtype)
        if slope.shape != x.shape:
            try:
                slope = jnp.broadcast_to(slope, x.shape)
            except ValueError:
                raise ValueError(
                    f"{type(self).__name__}: the derivative has shape {slope.shape}, which does not broadcast to "
                    f"the shape {x.shape} of the input. Give each array parameter a shape that broadcasts to "
                    "that of the input, e.g. the shape of the population."
                ) from None
        return _attach_slope(_step(x, self.h0), x, slope)

    @abc.abstractmethod
    def surrogate_grad(self, x: Array) -> ArrayLike:
        """The derivative at `x`, elementwise: what stands in for that of the step.

        >>> from neurostate import surrogate
        >>> surrogate.ReluGrad(alpha=0.5).surrogate_grad(0.0).item()
        0.5
        """

    def __repr__(self) -> str:
        names = [field.name for field in dataclasses.fields(self) if field.repr]
        shown = [name for name in names if name != "h0"] + (["h0"] if self.h0 != 1 else [])
        return f"{type(self).__name__}({', '.join(f'{name}={_describe(getattr(self, name))}' for name in shown)})"


def _as_pytree_function(fn: Any) -> Any:
    if not callable(fn):
        raise TypeError(
            f"`grad_fn` must be a function of `x` that returns the derivative, got {fn!r} of type {type(fn).__name__}."
        )
    leaves = jax.tree_util.tree_leaves(fn)
    if len(leaves) == 1 and leaves[0] is fn:
        return jax.tree_util.Partial(fn)
    return fn


class Custom(Surrogate):
    r"""A spike function whose derivative is $g(x)$, for a function $g$ of your own.

    The function itself is compared by identity: pass one that lives as long as your program, since
    a `lambda` written at each call would make each call a new trace. To train a parameter of it, pass a
    callable pytree (an `eqx.Module`, or `jax.tree_util.Partial` as below).

    **Arguments:**

    - `grad_fn`: `grad_fn(x)` is the derivative at `x`, elementwise, in JAX operations.
    - `h0`: The value at zero, 0 or 1.

    **Raises:** `TypeError` if `grad_fn` is not callable.

    !!! example

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from neurostate import surrogate
        >>> def cauchy(x, gamma=1.0):
        ...     return gamma / (jnp.pi * (gamma**2 + x**2))
        >>> spk_fun = surrogate.Custom(cauchy)
        >>> spk_fun
        Custom(grad_fn=cauchy)
        >>> print(f"{spk_fun(0.0):.0f} {jax.grad(spk_fun)(1.0):.4f}")
        1 0.1592
        >>> trainable = surrogate.Custom(jax.tree_util.Partial(cauchy, gamma=jnp.array(2.0)))
        >>> print(f"{jax.grad(trainable)(1.0):.4f}")
        0.1273
    """

    grad_fn: Callable[[Array], ArrayLike] = eqx.field(converter=_as_pytree_function)

    def surrogate_grad(self, x: Array) -> ArrayLike:
        return self.grad_fn(x)


def heaviside(x: QuantityLike, h0: int = 1) -> Array:
    r"""The step function $H(x)$ with its own derivative, which is zero: no surrogate.

    **Arguments:**

    - `x`: As for [`neurostate.surrogate.Surrogate`][].
    - `h0`: $H(0)$, 0 or 1.

    **Returns:** An array of zeros and ones with the shape and dtype of `x`.

    **Raises:** As [`neurostate.surrogate.Surrogate`][]; `ValueError` if `h0` is neither 0 nor 1.

    !!! example

        >>> import jax.numpy as jnp
        >>> from neurostate import surrogate
        >>> print(surrogate.heaviside(jnp.array([-0.1, 0.0, 0.1])))
        [0. 1. 1.]
        >>> print(surrogate.heaviside(jnp.array([-0.1, 0.0, 0.1]), h0=0))
        [0. 0. 1.]
    """
    return _step(_as_input(x, "heaviside"), _as_h0(h0))

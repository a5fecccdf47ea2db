"""`exp_euler_step` with the time step of the environment and with units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax.numpy as jnp

from ... import integrate
from ..._errors import UnitError
from ..._units import is_quantity, join_quantity, split_quantity, to_plain
from .. import environ, random


def exp_euler_step(fn: Callable[..., Any], *args: Any) -> Any:
    r"""One exponential Euler step of $\mathrm{d}x/\mathrm{d}t = f(x, \ldots)$ over `environ`'s `dt`.

    As [`neurostate.integrate.exp_euler_step`][], with units: `x` may be a `Quantity`, and `fn` must
    then return one of the dimension of `x` over time. With a diffusion it adds
    $g(x, \ldots)\sqrt{\Delta t}\,\xi$ with standard normal $\xi$ from the global random key.

    **Arguments:**

    - `fn`: The drift, called as `fn(x, *args)`. It acts element by element.
    - `diffusion`: Optional, a function called in the same way.
    - `x`: The present value.
    - `args`: Passed on.

    **Returns:** The next value, in the unit and dtype of `x`.

    **Raises:** `UnitError` if the drift or the diffusion has the wrong dimension.

    >>> import brainunit as u, neurostate as ns
    >>> with ns.environ.context(dt=0.1 * u.ms):
    ...     V = ns.nn.exp_euler_step(lambda v: -v / (5.0 * u.ms), 1.0 * u.mV)
    >>> print(f"{V.mantissa:.4f}")
    0.9802
    """
    diffusion = None
    if args and callable(args[0]) and not is_quantity(args[0]):
        diffusion, args = args[0], args[1:]
    if not args:
        raise TypeError("`exp_euler_step` needs the present value: exp_euler_step(fn, x, *args).")
    x, rest = args[0], args[1:]
    dt, dt_unit = split_quantity(environ.get_dt())
    mantissa, unit = split_quantity(x)
    mantissa = jnp.asarray(mantissa)
    if not jnp.issubdtype(mantissa.dtype, jnp.floating):
        mantissa = mantissa.astype(float)

    def plain(function: Callable[..., Any], name: str, power: Any) -> Callable[..., Any]:
        needed = _over_time(unit, dt_unit, power)

        def call(x: Any, *rest: Any) -> Any:
            value = function(join_quantity(x, unit), *rest)
            if needed is None and is_quantity(value):
                value = value.to_decimal() if value.is_unitless else _refuse(name, value.unit)
            return to_plain(value, needed, name, "exp_euler_step")

        return call

    new = integrate.exp_euler_step(plain(fn, "fn(x)", 1), mantissa, *rest, dt=dt)
    if diffusion is not None:
        noise = random.normal(size=mantissa.shape).astype(new.dtype)
        spread = plain(diffusion, "diffusion(x)", 0.5)(mantissa, *rest)
        new = new + jnp.asarray(spread, new.dtype) * jnp.sqrt(jnp.asarray(dt, new.dtype)) * noise
    return join_quantity(new, unit)


def _over_time(unit: Any, time: Any, power: float) -> Any:
    if unit is None and time is None:
        return None
    return (u.UNITLESS if unit is None else unit) / (u.UNITLESS if time is None else time) ** power


def _refuse(name: str, unit: Any) -> Any:
    raise UnitError(
        f"`exp_euler_step` got a plain x and a plain dt, but {name} has the unit {unit}. "
        "Give x and dt units too, or none to all."
    )

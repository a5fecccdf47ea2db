"""The base class of all initialisers, the constant, and how initialisers are combined."""

from __future__ import annotations

import abc
import dataclasses
import inspect
import operator
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeAlias

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import Array, Key, QuantityLike, Shape, Size, as_shape
from .._parameters import check_broadcast
from .._units import Unit, as_float_array, join_quantity
from ._keys import RandomSource, given_key, required_key, split_given
from ._support import common_unit, mantissa_in, show, split


_MSG_NOT_A_TRANSFORM: Final = (
    "`{owner}` applies functions of the generated values, but got {got}.\n"
    "An initialiser takes a size, not values, so it can only come first. Wrap what should happen in a "
    "function, for example `{owner}(initialiser, lambda values: 2 * values)`."
)


class Initialization(eqx.Module):
    """The base class of all initialisers: called with a size, it returns an array or a Quantity.

    Initialisers are immutable pytrees. They combine with `+`, `-`, `*`, `/` (with each other, a
    number, an array or a Quantity), with `|` (a function of the generated values) and with the methods
    `clip`, `add`, `multiply` and `apply`. Write a Quantity on the right of the operator: on the left it is
    brainunit's operator that runs, and it does not know initialisers.

    A subclass is an `equinox.Module` with declared fields and a method `__call__(size, key=None, **kwargs)`.

    >>> import jax, brainunit as u
    >>> from neurostate.init import Uniform
    >>> weights = (2.0 * Uniform(0.0 * u.nS, 1.0 * u.nS) + 1.0 * u.nS).clip(max_val=1.5 * u.nS)
    >>> weights((3, 4), key=jax.random.key(0)).shape
    (3, 4)
    """

    __array_ufunc__ = None  # NumPy arrays leave `array * initialiser` to us
    _quantities: ClassVar[tuple[str, ...]] = ()  # the fields that `unit` belongs to

    @abc.abstractmethod
    def __call__(
        self,
        size: Size,
        key: Key | None = None,
        *,
        batch_shape: Shape = (),
        rng: RandomSource = None,
        **kwargs: Any,
    ) -> Array | QuantityLike:
        """Makes values of shape `(*batch_shape, *size)` in JAX's default float dtype.

        **Arguments:**

        - `size`: An int or a shape.
        - `key`: A JAX random key, for initialisers that draw random numbers.
        - `batch_shape`: Leading axes along which the values are independent copies.
        - `rng`: Another spelling of the source of randomness: a key, a `numpy.random.Generator` or an
            object with a `split_key()` method. `key` wins.
        - `kwargs`: Handed on to inner initialisers; one that does not know a keyword ignores it.

        **Returns:** A JAX array, or a Quantity with a JAX array if the parameters have a unit.

        **Raises:** `ValueError` if random numbers are needed and there is no key, or if a parameter does
        not broadcast to the size.
        """

    def __add__(self, other: Initializer) -> Arithmetic:
        return Arithmetic("+", self, other)

    def __radd__(self, other: Initializer) -> Arithmetic:
        return Arithmetic("+", other, self)

    def __sub__(self, other: Initializer) -> Arithmetic:
        return Arithmetic("-", self, other)

    def __rsub__(self, other: Initializer) -> Arithmetic:
        return Arithmetic("-", other, self)

    def __mul__(self, other: Initializer) -> Arithmetic:
        return Arithmetic("*", self, other)

    def __rmul__(self, other: Initializer) -> Arithmetic:
        return Arithmetic("*", other, self)

    def __truediv__(self, other: Initializer) -> Arithmetic:
        return Arithmetic("/", self, other)

    def __rtruediv__(self, other: Initializer) -> Arithmetic:
        return Arithmetic("/", other, self)

    def __or__(self, function: Callable[..., Any]) -> Compose:
        return Compose(self, function)

    def clip(self, min_val: QuantityLike = None, max_val: QuantityLike = None) -> Clipped:
        """This initialiser with its values limited to `[min_val, max_val]`."""
        return Clipped(self, min_val, max_val)

    def add(self, value: Initializer) -> Arithmetic:
        """This initialiser plus a value."""
        return Arithmetic("+", self, value)

    def multiply(self, value: Initializer) -> Arithmetic:
        """This initialiser times a value."""
        return Arithmetic("*", self, value)

    def apply(self, function: Callable[..., Any]) -> Compose:
        """This initialiser followed by a function of its values."""
        return Compose(self, function)

    def __repr__(self) -> str:
        """The values with their unit, and the other arguments that differ from their defaults."""
        arguments = inspect.signature(type(self)).parameters
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        unit = values.pop("unit", None)
        parts = []
        for name, value in values.items():
            has_unit = name in self._quantities
            comparable = name in arguments and isinstance(value, str | int | float)
            is_default = comparable and not has_unit and value == arguments[name].default
            if value is not None and not is_default:
                parts.append(f"{name}={show(value, unit if has_unit else None)}")
        return f"{type(self).__name__}({', '.join(parts)})"


Initializer: TypeAlias = Initialization | QuantityLike


class Constant(Initialization):
    """The same value everywhere, or an array that broadcasts to the size.

    A number stays a number and takes the default float dtype when it is used. An array becomes a
    floating JAX array, a leaf that can be trained.

    **Arguments:**

    - `value`: A number, an array, or a Quantity of either.
    - `unit`: The unit of a plain `value`; a Quantity is converted to it.

    **Raises:** `UnitError` if `value` does not have the dimension of `unit`; when called, `ValueError`
    if the shape of `value` does not broadcast to the size.

    >>> import brainunit as u
    >>> from neurostate.init import Constant
    >>> Constant(-65.0 * u.mV)
    Constant(value=-65.0 * mvolt)
    >>> Constant(-65.0 * u.mV)(2).mantissa.tolist()
    [-65.0, -65.0]
    """

    value: float | Array
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("value",)

    def __init__(self, value: QuantityLike, unit: Unit | None = None):
        if value is None:
            raise ValueError("`Constant` needs a `value`, got None. For zeros, use `ZeroInit()`.")
        self.unit, (self.value,) = common_unit("Constant", unit, value=value)

    def __call__(self, size, key=None, *, batch_shape=(), rng=None, **kwargs):
        del key, rng, kwargs
        shape = (*batch_shape, *as_shape(size))
        check_broadcast(jnp.shape(self.value), shape, "value", "Constant")
        return join_quantity(jnp.broadcast_to(as_float_array(self.value), shape), self.unit)


class Arithmetic(Initialization):
    """Two initialisers combined with `+`, `-`, `*` or `/`; made by these operators, not by hand.

    Both sides draw independently. A sum is in the unit of its left side; a product has the product of
    the units. Raises `UnitError` when called, if the sides of a sum have different dimensions.

    >>> from neurostate.init import Constant
    >>> Constant(1.0) + 2.0
    (Constant(value=1.0) + 2.0)
    """

    symbol: str = eqx.field(static=True)
    left: Initialization
    right: Initialization

    def __init__(self, symbol: str, left: Initializer, right: Initializer):
        self.symbol = symbol
        self.left = as_initialiser(left, f"initialiser {symbol}")
        self.right = as_initialiser(right, f"initialiser {symbol}")

    def __call__(self, size, key=None, *, batch_shape=(), rng=None, **kwargs):
        owner = f"left {self.symbol} right"
        left_key, right_key = split_given(given_key(owner, key, rng), 2)
        left = draw(self.left, size, left_key, batch_shape, kwargs)
        right = draw(self.right, size, right_key, batch_shape, kwargs)
        if self.symbol in "*/":
            combine = operator.mul if self.symbol == "*" else operator.truediv
            return join_quantity(*split(combine(left, right)))
        mantissa, unit = split(left)
        other = mantissa_in(unit, right, owner, "right", "left")
        return join_quantity(mantissa + other if self.symbol == "+" else mantissa - other, unit)

    def __repr__(self) -> str:
        left, right = _show_operand(self.left), _show_operand(self.right)
        # With a constant on both sides it would read as an expression of numbers.
        both = type(self.left) is Constant and type(self.right) is Constant
        return f"({repr(self.left) if both else left} {self.symbol} {right})"


def _show_operand(x: Initialization) -> str:
    if type(x) is not Constant:
        return repr(x)
    return show(x.value) if x.unit is None else f"({show(x.value, x.unit)})"


class Compose(Initialization):
    """An initialiser followed by functions of its values, applied from left to right.

    Each function gets the values with their unit and returns new ones. `initialiser | f | g` and
    `initialiser.apply(f).apply(g)` mean the same.

    **Arguments:**

    - `inits`: First an initialiser (or a number, an array, a Quantity), then the functions.

    **Raises:** `TypeError` if a later argument is not a function of values.

    >>> import jax.numpy as jnp
    >>> from neurostate.init import Compose, Constant
    >>> Compose(Constant(2.0), jnp.sqrt, lambda x: x + 1)(2).tolist()
    [2.4142136573791504, 2.4142136573791504]
    """

    base: Initialization
    functions: tuple[Callable[..., Any], ...]

    def __init__(self, *inits: Callable[..., Any] | QuantityLike):
        if not inits:
            raise ValueError("`Compose` needs an initialiser as its first argument, got none.")
        self.base = as_initialiser(inits[0], "Compose")
        for function in inits[1:]:
            if isinstance(function, Initialization) or not callable(function):
                raise TypeError(_MSG_NOT_A_TRANSFORM.format(owner="Compose", got=repr(function)))
        self.functions = tuple(as_leafless(function) for function in inits[1:])

    def __call__(self, size, key=None, *, batch_shape=(), rng=None, **kwargs):
        values = draw(self.base, size, given_key("Compose", key, rng), batch_shape, kwargs)
        for function in self.functions:
            values = function(values)
        return values

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, (self.base, *self.functions)))})"


class Clipped(Initialization):
    """An initialiser with its values limited to `[min_val, max_val]`.

    **Arguments:**

    - `base_dist`: The initialiser.
    - `min_val`, `max_val`: The bounds, in units of the values' dimension; `None` is no bound.

    **Raises:** `UnitError` if the bounds have different dimensions, or, when called, if they do not have
    the dimension of the values.

    >>> from neurostate.init import Clipped, Constant
    >>> Clipped(Constant(3.0), max_val=1.0)(2).tolist()
    [1.0, 1.0]
    """

    base_dist: Initialization
    min_val: float | Array | None
    max_val: float | Array | None
    unit: Unit | None = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("min_val", "max_val")

    def __init__(self, base_dist: Initializer, min_val: QuantityLike = None, max_val: QuantityLike = None):
        self.base_dist = as_initialiser(base_dist, "Clipped")
        self.unit, (self.min_val, self.max_val) = common_unit("Clipped", None, min_val=min_val, max_val=max_val)

    def __call__(self, size, key=None, *, batch_shape=(), rng=None, **kwargs):
        values = draw(self.base_dist, size, given_key("Clipped", key, rng), batch_shape, kwargs)
        mantissa, unit = split(values)
        for name, bound, limit in (("min_val", self.min_val, jnp.maximum), ("max_val", self.max_val, jnp.minimum)):
            if bound is not None:
                check_broadcast(jnp.shape(bound), jnp.shape(mantissa), name, "Clipped")
                bound = mantissa_in(unit, join_quantity(bound, self.unit), "Clipped", name, "base_dist")
                mantissa = limit(mantissa, jnp.asarray(bound, dtype=jnp.asarray(mantissa).dtype))
        return join_quantity(mantissa, unit)


class Function(Initialization):
    """A user's callable in the place of an initialiser.

    One whose first parameter is called `key`, like those of `jax.nn.initializers`, is called as
    `function(key, shape)`. Any other is called as `function(shape)`, with `key=` if there is a key and
    the signature has a place for it, and, if it is an `Initialization` of the user's own, with
    `batch_shape=` if it has that parameter.
    """

    function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]):
        self.function = as_leafless(function)

    def __call__(self, size, key=None, *, batch_shape=(), rng=None, **kwargs):
        key = given_key(repr(self), key, rng)
        return draw(unwrap(self.function), size, key, batch_shape, kwargs)

    def __repr__(self) -> str:
        return repr(self.function)


class _Leafless(eqx.Module):
    """A function as a static part of a pytree, so that raw JAX transforms do not meet it as a leaf."""

    function: Callable[..., Any] = eqx.field(static=True)

    def __call__(self, values: Any) -> Any:
        return self.function(values)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", None) or repr(self.function)


def as_leafless(function: Any) -> Any:
    """A callable as a field: a module keeps its leaves, any other is static."""
    return function if isinstance(function, eqx.Module) else _Leafless(function)


def unwrap(function: Callable[..., Any]) -> Callable[..., Any]:
    return function.function if isinstance(function, _Leafless) else function


def as_initialiser(x: Initializer | Callable[..., Any], owner: str) -> Initialization:
    """An initialiser as it is, a callable as `Function`, a number, an array or a Quantity as `Constant`."""
    if isinstance(x, Initialization):
        return x
    if callable(x):
        return Function(x)
    if x is None:
        raise TypeError(f"`{owner}` needs an initialiser, a number, an array or a Quantity, got None.")
    return Constant(x)


def draw(
    initialiser: Callable[..., Any], size: Size, key: Key | None, batch_shape: Shape, kwargs: dict[str, Any]
) -> Any:
    """Calls an initialiser, ours or a user's, with what its signature has a place for."""
    shape = as_shape(size)
    full = (*batch_shape, *shape)
    try:
        parameters = inspect.signature(initialiser).parameters
    except (TypeError, ValueError):
        return initialiser(full, **kwargs)
    if "batch_shape" in parameters:
        return initialiser(shape, key=key, batch_shape=tuple(batch_shape), **kwargs)
    if next(iter(parameters), None) == "key":
        return initialiser(required_key(repr(initialiser), key), full, **kwargs)
    takes_key = "key" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if key is not None and takes_key:
        return initialiser(full, key=key, **kwargs)
    return initialiser(full, **kwargs)

"""A neuron from its equations."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal, TypeAlias, cast

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Float, QuantityLike, Shape, Size, as_shape
from .._drive import Drive
from .._errors import UnitError
from .._parameters import broadcasts, parameter
from .._units import (
    Exponents,
    Unit,
    argument,
    is_quantity,
    join_quantity,
    maximum,
    ms,
    per_ms,
    split_quantity,
    to_plain,
)
from ..init import Initialization, param
from ..integrate import Integrator, as_integrator
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._family import exponents, unit_of, unit_of_current
from ._fields import (
    StaticFunction,
    as_initial_value,
    as_spike_function,
    function_field,
    initial_field,
    quantity_field,
    static_field,
)
from ._state import NeuronState, variable


# The names of quantities and the exponents of their units; the names of variables, of parameters, and whether a reset.
_Dimensions: TypeAlias = tuple[tuple[str, Exponents | None], ...]
_Spec: TypeAlias = tuple[_Dimensions, _Dimensions, bool]

# What is given as a value like `V`, or as a function of the parameters.
_LIKE_V: Final = ("threshold", "scale", "V_max")


def ODENeuron(
    size: Size,
    vector_field: Callable[[Any, Any, Any], Mapping[str, Any]],
    *,
    initial: Mapping[str, QuantityLike | Callable[..., Any]],
    threshold: QuantityLike | Callable[[Any], Any],
    reset: Callable[[Any, Any], Mapping[str, Any]] | None = None,
    parameters: Mapping[str, QuantityLike] | None = None,
    scale: QuantityLike | Callable[[Any], Any] | None = None,
    V_max: QuantityLike | Callable[[Any], Any] | None = None,
    spk_fun: Callable[[Array], Array] = ReluGrad(),
    tau_ref: QuantityLike | None = None,
    detach_reset: bool = False,
    integrator: Integrator | str = "exp_midpoint",
    spike_time: Literal["grid", "interpolated"] = "grid",
    I_unit: Unit | None = None,
) -> AbstractODENeuron[Any]:
    r"""Makes a population of neurons from differential equations, a threshold and a reset.

    $$\frac{\mathrm{d}y}{\mathrm{d}t} = f(y, I, p), \qquad y \leftarrow r(y, p) \text{ where } V \geq V_\text{th}(p)$$

    The functions see the variables `y`, the current `I` and the parameters `p` as `Quantity`s where they were given
    with units, as `y.V` or `p.tau`, and as plain arrays where they were given as plain numbers. Their dimensions are
    checked here, abstractly; the program that runs holds plain arrays only, the same as for a class written by hand.
    Parameters and initial values are fields of the neuron, as those of [`neurostate.LIF`][]: scalars or arrays over the
    population, kept in ms, mV and `I_unit`, and trainable. Equations without any unit count time in ms.

    The step is that of `LIF`: reset where the old `V` spikes, integrate for a drive that is constant during the step,
    spike where the new `V` is at the threshold. Without `reset`, it spikes where `V` crosses the threshold from below.
    The gradient of a reset is that of `y + spike * (r(y, p) - y)`.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `vector_field`: `f(y, I, p)` gives the derivative of each variable, by name. `I` is the whole current, that of
        conductances included. A function, or a callable `equinox.Module`, whose arrays can then be trained.
    - `initial`: The value at the start of each variable, or an initialiser. One of them is `V`, the membrane potential.
    - `threshold`: A value like `V`, or a function of `p` that gives it.
    - `reset`: `r(y, p)` gives the new values of the variables that a spike changes, by name.
    - `parameters`: The values of the parameters by name.
    - `scale`: `spk_fun` is applied to `(V - threshold) / scale`. A value like `V`, or a function of `p`;
        1 mV by default.
    - `V_max`: The equations see no `V` above it, a value like `V` or a function of `p`. For an upstroke that diverges,
        which no step resolves: without it, the other variables see how far `V` gets in a step.
    - `spk_fun`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`: as in [`neurostate.LIF`][]. `integrator` is
        `"exp_midpoint"` by default, exact for one linear equation and of second order for others.
    - `I_unit`: The unit of `I`. By default it follows from the first parameter or variable whose unit involves a
        current or a current density; else it is nA, or no unit if `V` has none.

    **Returns:** A neuron whose class has a field for each parameter, and `<name>_initializer` for each variable.

    **Raises:** `UnitError` for equations that are dimensionally wrong, naming the variable, what it has and what it
    needs; `ValueError` for a name that is missing, unknown or taken, or a wrong shape; `TypeError` for what is not a
    number or a function.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> lif = ns.ODENeuron(
    ...     3,
    ...     lambda y, I, p: {"V": (p.V_rest - y.V + p.R * I) / p.tau},
    ...     initial={"V": -65 * u.mV},
    ...     threshold=-50 * u.mV,
    ...     reset=lambda y, p: {"V": p.V_rest},
    ...     parameters={"V_rest": -65 * u.mV, "R": 10 * u.Mohm, "tau": 0.02 * u.second},
    ... )
    >>> sol = ns.simulate(lif, jnp.full((1000, 3), 2.0) * u.nA, dt=0.1 * u.ms)
    >>> print(ns.quantity(lif, "tau"), sol.outputs.sum(axis=0))
    20. ms [3. 3. 3.]
    """
    owner, size, initial, parameters = "ODENeuron", as_shape(size), dict(initial), dict(parameters or {})
    if "V" not in initial:
        raise ValueError(f"{argument(owner, 'initial')} must give `V`, the membrane potential; it has {list(initial)}.")
    _check_names(initial, parameters)
    units = {name: unit_of(value, size) for name, value in (parameters | initial).items()}
    I_unit = unit_of_current(units, I_unit)
    dimensions = {name: exponents(unit, I_unit, name) for name, unit in units.items()}
    if dimensions["V"] not in (None, (0, 1, 0)):
        raise UnitError(f"`V` of `{owner}` must be a voltage or a plain number, but it has the unit {units['V']}.")
    variables, constants = (tuple((name, dimensions[name]) for name in given) for given in (initial, parameters))
    given = {"vector_field": vector_field, "reset_rule": reset}
    given |= dict(zip(_LIKE_V, (threshold, scale, V_max), strict=True))
    settings = {"spk_fun": spk_fun, "integrator": integrator, "spike_time": spike_time, "tau_ref": tau_ref}
    kind = _kind((variables, constants, reset is not None))
    return kind(size, initial, parameters, given, settings, bool(detach_reset), I_unit)


class _Equations(AbstractODENeuron[Any]):
    """What the neurons that `ODENeuron` makes share. Their classes add the fields that their names ask for."""

    parameter_names: eqx.AbstractClassVar[tuple[str, ...]]
    with_units: eqx.AbstractClassVar[bool]

    vector_field: Callable[..., Any]
    reset_rule: Callable[..., Any] | None
    threshold: Any
    scale: Any
    V_max: Any
    spk_fun: Callable[[Array], Array] = function_field()
    size: Shape = static_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    def __init__(
        self,
        size: Shape,
        initial: dict[str, Any],
        parameters: dict[str, Any],
        rules: dict[str, Any],
        settings: dict[str, Any],
        detach_reset: bool,
        I_unit: Unit,
    ):
        owner = type(self).__name__
        set_ = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        self.size, self.I_unit, self.detach_reset, self.spk_reset = size, I_unit, detach_reset, None
        for name, value in initial.items():
            start = as_initial_value(value, self.state_unit(name), f"initial[{name!r}]", size=size, owner=owner)
            set_(f"{name}_initializer", start)
        for name, value in parameters.items():
            value = param(value, size) if isinstance(value, Initialization) else value
            place = f"parameters[{name!r}]"
            set_(name, parameter(value, self.field_unit(name), place, size=size, owner=owner))
        for name, rule in rules.items():
            if rule is None or (callable(rule) and not is_quantity(rule)):
                set_(name, rule if rule is None or isinstance(rule, eqx.Module) else StaticFunction(rule))
            elif name in _LIKE_V:
                set_(name, parameter(rule, self.state_unit("V"), name, size=size, owner=owner))
            else:
                name = name.removesuffix("_rule")
                raise TypeError(f"{argument(owner, name)} must be a function, got {rule!r}.")
        self.spk_fun = as_spike_function(settings["spk_fun"], owner)
        self.integrator = as_integrator(settings["integrator"], owner)
        self.spike_time = settings["spike_time"]
        if self.spike_time not in ("grid", "interpolated"):
            raise ValueError(
                f"{argument(owner, 'spike_time')} must be 'grid' or 'interpolated', got {self.spike_time!r}."
            )
        tau_ref = settings["tau_ref"]
        self.tau_ref = None if tau_ref is None else parameter(tau_ref, ms, "tau_ref", size=size, owner=owner)
        jax.eval_shape(self._try)

    def _try(self) -> None:
        """Runs all formulas once, so that what is wrong with them is said now."""
        zero = jnp.zeros(self.size)
        state = self.state_type(**dict.fromkeys(self.variables(), zero))
        self.derivative(state, Drive(current=zero))
        self.distance(state)
        self.reset(state, zero)

    def derivative(self, state: Any, drive: Drive) -> Any:
        y, p = self._y(state), self._p()
        I = _with_unit(drive.total(state.V), self.I_unit)  # noqa: E741
        if self.V_max is not None:
            y.V = -maximum(-y.V, -self._like_V("V_max", p))
        slopes = _call("vector_field", self.vector_field, {"y": y, "I": I, "p": p})
        names = self.variables()
        if set(slopes) != set(names):
            raise ValueError(
                f"`vector_field` of `ODENeuron` must give the derivative of each of {list(names)}, got {list(slopes)}."
            )
        values = {}
        for name in names:
            unit = self.state_unit(name)
            needed = cast(Unit, unit / ms) if unit is not None else per_ms if self.with_units else None
            text = f"`vector_field` of `ODENeuron` gives d{name}/dt"
            values[name] = self._checked(_plain(slopes[name], needed, state.V, text), needed)
        return self.state_type(**values)

    def distance(self, state: Any) -> Array:
        p, unit = self._p(), self.state_unit("V")
        scale = join_quantity(1.0, unit) if self.scale is None else self._like_V("scale", p)
        gap = _with_unit(state.V, unit) - self._like_V("threshold", p)
        return to_plain(gap / scale, None, "scale", "ODENeuron")

    def _like_V(self, name: str, p: _Names) -> Any:
        rule, unit = getattr(self, name), self.state_unit("V")
        if is_quantity(rule) or not callable(rule):
            return _with_unit(rule, unit)
        value = _call(name, rule, {"p": p})
        return _with_unit(_plain(value, unit, None, f"`{name}` of `ODENeuron` gives a value"), unit)

    def reset(self, state: Any, spike: Array) -> Any:
        if self.reset_rule is None:
            return state
        changes = _call("reset", self.reset_rule, {"y": self._y(state), "p": self._p()})
        if unknown := set(changes) - set(self.variables()):
            raise ValueError(
                f"`reset` of `ODENeuron` may change {list(self.variables())}, but it gives {sorted(unknown)} too."
            )
        values = {}
        for name, value in changes.items():
            unit = self.state_unit(name)
            old = to_plain(getattr(state, name), unit, name)
            new = _plain(value, unit, state.V, f"`reset` of `ODENeuron` gives {name}")
            # The second term is zero; it carries the derivative with respect to the spike.
            both = jnp.where(spike > 0, new, old) + (spike - jax.lax.stop_gradient(spike)) * (new - old)
            values[name] = self._checked(both, unit)
        return state.with_(**values)

    def _y(self, state: Any) -> _Names:
        return _Names(**{name: _with_unit(getattr(state, name), self.state_unit(name)) for name in self.variables()})

    def _p(self) -> _Names:
        return _Names(**{name: _with_unit(getattr(self, name), self.field_unit(name)) for name in self.parameter_names})

    def _checked(self, value: Any, unit: Unit | None) -> Any:
        """`value` with its unit while `check_units` looks at the formulas."""
        return join_quantity(value, unit) if is_quantity(self.one("time")) else value


class _Names(types.SimpleNamespace):
    """What a user's function reads its values from."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"There is no {name!r} among the variables or parameters {list(vars(self))}.")

    def units(self) -> str:
        return ", ".join(f"{name}: {split_quantity(value)[1] or 'no unit'}" for name, value in vars(self).items())


def _with_unit(value: Any, unit: Unit | None) -> Any:
    plain = is_quantity(value) or unit is None or unit.dim.is_dimensionless
    return value if plain else join_quantity(value, unit)


def _call(name: str, rule: Callable[..., Any], given: dict[str, Any]) -> Any:
    """Calls a user's function, and says of an error of units where it is and what the function was given."""
    try:
        return rule(*given.values())
    except Exception as error:
        if "unit" not in f"{type(error).__name__} {error}".lower():
            raise
        parts = [
            f"{key}: {value.units() if isinstance(value, _Names) else split_quantity(value)[1] or 'no unit'}"
            for key, value in given.items()
        ]
        raise UnitError(
            f"`{name}` of `ODENeuron` combines values of different dimensions: {error}\nIt got {'; '.join(parts)}."
        ) from error


def _plain(value: Any, unit: Unit | None, like: Any, text: str) -> Array:
    """What a user's function gave as a plain array in `unit`, of the shape of `like`, a variable."""
    given = split_quantity(value)[1]
    given = None if given is None or given.dim.is_dimensionless else given
    if (given is None) != (unit is None) or (given is not None and unit is not None and given.dim != unit.dim):
        has, needs = (f"{'no unit' if x is None else f'the unit {x}'}" for x in (given, unit))
        raise UnitError(f"{text} with {has}, but it needs {needs if unit is None else f'a unit like {unit}'}.")
    array = to_plain(value, unit, "value")
    if like is None:
        return array
    array, shape = jnp.asarray(array), split_quantity(like)[0].shape
    if not broadcasts(array.shape, shape):
        raise ValueError(f"{text} of shape {array.shape}, which does not broadcast to that of the state, {shape}.")
    return jnp.broadcast_to(array, shape)


def _check_names(initial: dict[str, Any], parameters: dict[str, Any]) -> None:
    taken = {*_Equations.__dataclass_fields__, *NeuronState.__dataclass_fields__, *dir(_Equations)}
    for name in (*initial, *parameters):
        if not str(name).isidentifier() or name in taken or name.startswith("_") or name.endswith("_initializer"):
            raise ValueError(f"`ODENeuron` cannot have a variable or parameter called {name!r}; choose another name.")
        if name in initial and name in parameters:
            raise ValueError(f"{name!r} is both in `initial` and in `parameters` of `ODENeuron`; rename one of them.")


@functools.cache
def _kind(spec: _Spec) -> type[_Equations]:
    """The class of the neurons with these variables and parameters: equal ones are of one class."""
    variables, parameters, has_reset = spec
    V_dimension = dict(variables)["V"]
    state = _module("ODENeuronState", NeuronState, spec, {name: variable(of) for name, of in variables})
    fields = {name: quantity_field(of) for name, of in parameters}
    fields |= {f"{name}_initializer": initial_field(of) for name, of in variables}
    fields |= {name: quantity_field(V_dimension) for name in _LIKE_V}
    constants = {
        "state_type": state,
        "parameter_names": tuple(name for name, _ in parameters),
        "has_reset": has_reset,
        "with_units": any(of is not None for _, of in (*variables, *parameters)),
    }
    return _module("ODENeuron", _Equations, spec, fields, constants)


def _module(name: str, base: type, spec: _Spec, fields: dict[str, Any], constants: dict[str, Any] | None = None) -> Any:
    """A class of modules with these fields and class variables."""
    annotations = dict.fromkeys(fields, Any) | {key: ClassVar for key in constants or {}}
    reduce = lambda self: (_restore, (spec, base is NeuronState, dict(vars(self))))  # noqa: E731
    body = {"__annotations__": annotations, "__module__": __name__, "__doc__": base.__doc__, "__reduce__": reduce}
    return types.new_class(name, (base,), {}, lambda space: space.update(body | fields | (constants or {})))


def _restore(spec: _Spec, is_state: bool, values: dict[str, Any]) -> Any:
    """What pickle makes a neuron or a state from again."""
    kind: Any = _kind(spec)
    made = object.__new__(kind.state_type if is_state else kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made

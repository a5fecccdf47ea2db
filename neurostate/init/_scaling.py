"""Initialisers whose variance is scaled by the number of inputs or outputs of a layer.

A dense weight has the shape `(inputs, outputs)`, a convolution kernel `(*spatial, inputs, outputs)`;
`in_axis` and `out_axis` tell where the two are if not there, and every other axis counts as spatial. The
fan is the number of inputs (`"fan_in"`), of outputs (`"fan_out"`) or their mean (`"fan_avg"`), times the
number of spatial positions. Of a vector it is the length.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import equinox as eqx
import jax

from .._custom_types import Array, QuantityLike
from .._units import Unit
from ._matrices import RandomMatrix
from ._support import check, common_unit, is_positive, plain


Mode: TypeAlias = Literal["fan_in", "fan_out", "fan_avg"]
Form: TypeAlias = Literal["uniform", "normal", "truncated_normal"]
Nonlinearity: TypeAlias = Literal["relu", "leaky_relu"]


class FanScaled(RandomMatrix):
    """The base class of the initialisers with mean 0 and variance `scale / fan`."""

    scale: eqx.AbstractVar[float | Array]
    in_axis: eqx.AbstractVar[int]
    out_axis: eqx.AbstractVar[int]

    @abc.abstractmethod
    def _rule(self) -> tuple[Mode, Form]:
        """The kind of fan and the form of the distribution."""

    def _draw(self, key, shape, dtype):
        mode, form = self._rule()
        if len(shape) < 2:
            draw = jax.nn.initializers.variance_scaling(self.scale, "fan_in", form, in_axis=0, out_axis=1)
            return draw(key, (*shape, 1) if shape else (1, 1), dtype).reshape(shape)
        draw = jax.nn.initializers.variance_scaling(
            self.scale, mode, form, in_axis=self.in_axis, out_axis=self.out_axis
        )
        return draw(key, shape, dtype)


class VarianceScaling(FanScaled):
    r"""Random weights with mean 0 and variance $\text{scale} / \text{fan}$.

    **Arguments:**

    - `scale`: The factor of the variance: a positive number. The unit of a Quantity becomes the unit of
        the weights.
    - `mode`: `"fan_in"`, `"fan_out"` or `"fan_avg"`: what the fan counts.
    - `distribution`: `"uniform"`, `"normal"` or `"truncated_normal"` (cut at two standard deviations and
        widened to the same variance).
    - `unit`: The unit of the weights for a plain `scale`.
    - `in_axis`, `out_axis`: The axes of inputs and outputs; every other axis is spatial.

    **Raises:** `ValueError` if `scale` is not positive, or `mode` or `distribution` is none of the above.

    >>> import jax
    >>> from neurostate.init import VarianceScaling
    >>> VarianceScaling(2.0, "fan_avg", "uniform")((64, 32), key=jax.random.key(0)).shape
    (64, 32)
    """

    scale: float | Array
    mode: Mode = eqx.field(static=True)
    distribution: Form = eqx.field(static=True)
    unit: Unit | None = eqx.field(static=True)
    in_axis: int = eqx.field(static=True)
    out_axis: int = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(
        self,
        scale: QuantityLike = 1.0,
        mode: Mode = "fan_in",
        distribution: Form = "normal",
        unit: Unit | None = None,
        in_axis: int = -2,
        out_axis: int = -1,
    ):
        _check_choice("VarianceScaling", "mode", mode, Mode)
        _check_choice("VarianceScaling", "distribution", distribution, Form)
        self.unit, self.scale = _unit_and_scale("VarianceScaling", unit, scale)
        self.mode, self.distribution = mode, distribution
        self.in_axis, self.out_axis = in_axis, out_axis

    def _rule(self):
        return self.mode, self.distribution


class KaimingUniform(FanScaled):
    r"""Uniform weights for layers that a rectifier follows, with variance $2 / ((1 + a^2)\,\text{fan})$.

    $a$ is `negative_slope` for `"leaky_relu"` and 0 for `"relu"` (He et al. 2015).

    **Arguments:**

    - `scale`: Replaces the numerator $2 / (1 + a^2)$ if given; may carry the unit of the weights.
    - `mode`: `"fan_in"`, `"fan_out"` or `"fan_avg"`: what the fan counts.
    - `nonlinearity`: `"relu"` or `"leaky_relu"`.
    - `negative_slope`: The slope of the leaky rectifier below 0.
    - `unit`: The unit of the weights for a plain `scale`.
    - `in_axis`, `out_axis`: The axes of inputs and outputs; every other axis is spatial.

    **Raises:** `ValueError` if `scale` is not positive, or `mode` or `nonlinearity` is none of the above.

    >>> import jax
    >>> from neurostate.init import KaimingUniform
    >>> bool((abs(KaimingUniform()((6, 2), key=jax.random.key(0))) <= 1).all())
    True
    """

    scale: float | Array
    mode: Mode = eqx.field(static=True)
    nonlinearity: Nonlinearity = eqx.field(static=True)
    negative_slope: float = eqx.field(static=True)
    unit: Unit | None = eqx.field(static=True)
    in_axis: int = eqx.field(static=True)
    out_axis: int = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(
        self,
        scale: QuantityLike = None,
        mode: Mode = "fan_in",
        nonlinearity: Nonlinearity = "relu",
        negative_slope: float = 0.01,
        unit: Unit | None = None,
        in_axis: int = -2,
        out_axis: int = -1,
    ):
        _check_choice("KaimingUniform", "mode", mode, Mode)
        scale = _rectifier_scale("KaimingUniform", scale, nonlinearity, negative_slope)
        self.unit, self.scale = _unit_and_scale("KaimingUniform", unit, scale)
        self.mode, self.nonlinearity, self.negative_slope = mode, nonlinearity, float(negative_slope)
        self.in_axis, self.out_axis = in_axis, out_axis

    def _rule(self):
        return self.mode, "uniform"


class KaimingNormal(FanScaled):
    r"""Normal weights for layers that a rectifier follows, with variance $2 / ((1 + a^2)\,\text{fan})$.

    The arguments and errors are those of [`neurostate.init.KaimingUniform`][] (He et al. 2015).

    >>> import jax
    >>> from neurostate.init import KaimingNormal
    >>> KaimingNormal(mode="fan_out")((64, 32), key=jax.random.key(0)).shape
    (64, 32)
    """

    scale: float | Array
    mode: Mode = eqx.field(static=True)
    nonlinearity: Nonlinearity = eqx.field(static=True)
    negative_slope: float = eqx.field(static=True)
    unit: Unit | None = eqx.field(static=True)
    in_axis: int = eqx.field(static=True)
    out_axis: int = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(
        self,
        scale: QuantityLike = None,
        mode: Mode = "fan_in",
        nonlinearity: Nonlinearity = "relu",
        negative_slope: float = 0.01,
        unit: Unit | None = None,
        in_axis: int = -2,
        out_axis: int = -1,
    ):
        _check_choice("KaimingNormal", "mode", mode, Mode)
        scale = _rectifier_scale("KaimingNormal", scale, nonlinearity, negative_slope)
        self.unit, self.scale = _unit_and_scale("KaimingNormal", unit, scale)
        self.mode, self.nonlinearity, self.negative_slope = mode, nonlinearity, float(negative_slope)
        self.in_axis, self.out_axis = in_axis, out_axis

    def _rule(self):
        return self.mode, "normal"


class XavierUniform(FanScaled):
    r"""Uniform weights with variance $2\,\text{scale} / (\text{inputs} + \text{outputs})$ (Glorot & Bengio 2010).

    **Arguments:**

    - `scale`: The factor of the variance: a positive number, or a Quantity whose unit becomes that of
        the weights.
    - `unit`: The unit of the weights for a plain `scale`.
    - `in_axis`, `out_axis`: The axes of inputs and outputs; every other axis is spatial.

    **Raises:** `ValueError` if `scale` is not positive.

    >>> import jax
    >>> from neurostate.init import XavierUniform
    >>> bool((abs(XavierUniform()((4, 2), key=jax.random.key(0))) <= 1).all())
    True
    """

    scale: float | Array
    unit: Unit | None = eqx.field(static=True)
    in_axis: int = eqx.field(static=True)
    out_axis: int = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, scale: QuantityLike = 1.0, unit: Unit | None = None, in_axis: int = -2, out_axis: int = -1):
        self.unit, self.scale = _unit_and_scale("XavierUniform", unit, scale)
        self.in_axis, self.out_axis = in_axis, out_axis

    def _rule(self):
        return "fan_avg", "uniform"


class XavierNormal(FanScaled):
    r"""Normal weights with variance $2\,\text{scale} / (\text{inputs} + \text{outputs})$ (Glorot & Bengio 2010).

    The arguments and errors are those of [`neurostate.init.XavierUniform`][].

    >>> import brainunit as u
    >>> from neurostate.init import XavierNormal
    >>> XavierNormal(0.5 * u.nS)
    XavierNormal(scale=0.5 * nsiemens)
    """

    scale: float | Array
    unit: Unit | None = eqx.field(static=True)
    in_axis: int = eqx.field(static=True)
    out_axis: int = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, scale: QuantityLike = 1.0, unit: Unit | None = None, in_axis: int = -2, out_axis: int = -1):
        self.unit, self.scale = _unit_and_scale("XavierNormal", unit, scale)
        self.in_axis, self.out_axis = in_axis, out_axis

    def _rule(self):
        return "fan_avg", "normal"


class LecunUniform(FanScaled):
    r"""Uniform weights with variance $\text{scale} / \text{inputs}$ (LeCun et al. 1998).

    The arguments and errors are those of [`neurostate.init.XavierUniform`][].

    >>> import jax
    >>> from neurostate.init import LecunUniform
    >>> bool((abs(LecunUniform()((3, 2), key=jax.random.key(0))) <= 1).all())
    True
    """

    scale: float | Array
    unit: Unit | None = eqx.field(static=True)
    in_axis: int = eqx.field(static=True)
    out_axis: int = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, scale: QuantityLike = 1.0, unit: Unit | None = None, in_axis: int = -2, out_axis: int = -1):
        self.unit, self.scale = _unit_and_scale("LecunUniform", unit, scale)
        self.in_axis, self.out_axis = in_axis, out_axis

    def _rule(self):
        return "fan_in", "uniform"


class LecunNormal(FanScaled):
    r"""Normal weights with variance $\text{scale} / \text{inputs}$ (LeCun et al. 1998).

    The arguments and errors are those of [`neurostate.init.XavierUniform`][].

    >>> import jax
    >>> from neurostate.init import LecunNormal
    >>> LecunNormal()((64, 32), key=jax.random.key(0)).shape
    (64, 32)
    """

    scale: float | Array
    unit: Unit | None = eqx.field(static=True)
    in_axis: int = eqx.field(static=True)
    out_axis: int = eqx.field(static=True)
    _quantities: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, scale: QuantityLike = 1.0, unit: Unit | None = None, in_axis: int = -2, out_axis: int = -1):
        self.unit, self.scale = _unit_and_scale("LecunNormal", unit, scale)
        self.in_axis, self.out_axis = in_axis, out_axis

    def _rule(self):
        return "fan_in", "normal"


def _unit_and_scale(owner: str, unit: Unit | None, scale: QuantityLike) -> tuple[Unit | None, float | Array]:
    if scale is None:
        raise ValueError(f"`{owner}` needs a positive `scale`, got None. The usual value is 1.0.")
    unit, (stored,) = common_unit(owner, unit, scale=scale)
    check(owner, "scale", stored, is_positive, "positive")
    return unit, stored


def _rectifier_scale(owner: str, scale: QuantityLike, nonlinearity: str, negative_slope: float) -> QuantityLike:
    """He's numerator, unless the user gave one."""
    _check_choice(owner, "nonlinearity", nonlinearity, Nonlinearity)
    if scale is not None:
        return scale
    slope = plain(owner, "negative_slope", negative_slope) if nonlinearity == "leaky_relu" else 0.0
    return 2.0 / (1.0 + slope**2)


def _check_choice(owner: str, name: str, value: Any, choices: Any) -> None:
    if value not in get_args(choices):
        words = ", ".join(map(repr, get_args(choices)))
        raise ValueError(f"`{owner}`: `{name}` must be one of {words}, got {value!r}.")

"""The environment of a simulation: `dt`, `t`, `i`, `fit`, `precision`, and keys of one's own.

Values are set for the whole process by `set` and for a block of one thread by `context`. Python
numbers, strings and Quantities of them are static: compiled functions that read them trace again
when they change. `t`, `i`, arrays and Quantities of arrays are inputs of compiled functions.

>>> import brainunit as u
>>> from neurostate import environ
>>> with environ.context(dt=0.1 * u.ms):
...     print(environ.get_dt().mantissa)
0.1
"""

from __future__ import annotations

import builtins
from contextlib import ContextDecorator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _errors
from .._errors import EnvironmentKeyError, TraceContextError
from .._units import is_quantity
from . import _tracing
from ._collector import STACK, Context, Frame, frames
from ._config import setting
from ._links import EPOCH
from ._values import Missing, flatten, pack


DT, T, I, FIT = "dt", "t", "i", "fit"  # noqa: E741
PRECISION, PLATFORM, HOST_DEVICE_COUNT = "precision", "platform", "host_device_count"
DEFAULT_PRECISION = 32

_MISSING = object()
_INPUT_KEYS = frozenset({T, I})
_PROCESS_KEYS = frozenset({PLATFORM, HOST_DEVICE_COUNT})
_PRECISIONS = {8: "float8_e4m3fn", 16: "float16", "bf16": "bfloat16", 32: "float32", 64: "float64"}
SUPPORTED_PRECISIONS = tuple(_PRECISIONS)
SUPPORTED_PLATFORMS = ("cpu", "gpu", "tpu")


_settings: dict[str, Any] = {}


def _is_input(key: str, value: Any) -> bool:
    """Whether a value is a dynamic input of compiled functions, not part of their signature."""
    leaves, _ = flatten(value)
    if key in _INPUT_KEYS:
        return bool(leaves)
    return any(isinstance(leaf, jax.Array) or (isinstance(leaf, np.ndarray) and leaf.ndim > 0) for leaf in leaves)


def _signature(value: Any) -> Any:
    """A static value as something that compares fast, by equality and unit."""
    kind = type(value)
    if kind is float:
        return (kind, value.hex())  # which tells 0.0 from -0.0, and finds NaN equal to itself
    if kind in _SIMPLE:
        return (kind, value)
    leaves, treedef = jax.tree.flatten(value)
    if treedef == _ONE_LEAF:
        return (kind, value)
    return (treedef, tuple(map(_signature, leaves)))


_SIMPLE = frozenset({float, int, bool, str, type(None)})
_ONE_LEAF = jax.tree.structure(0)
_ALL_KEYS = "all keys"  # stands for the set of keys, where a program asked for all of them


class _Key:
    """An input of `environ`, as a program sees it: a reference that is only read."""

    read_only = True

    def __init__(self, key: str):
        self.name = f"environ.{key}"
        self.key = key
        self._cell = self

    @property
    def leaf(self) -> Any:
        return self._leaf

    def found_in(self, frame: Frame) -> tuple[Any] | None:
        """The value, if the innermost context that has it was entered in that frame."""
        value, context = _find(self.key)
        return (value,) if context is not None and context.frame is frame else None

    def raw_inside(self, below: Any) -> str | None:
        """What raw transform runs between the context that has the key and the trace `below`."""
        _, context = _find(self.key)
        return _tracing.raw_transform_inside(_tracing.EAGER if context is None else context.trace, below)

    def _committed(self) -> Any:
        return _find(self.key)[0]

    @property
    def _leaf(self) -> Any:
        value, _ = _find(self.key)
        if value is _MISSING or not _is_input(self.key, value):
            return Missing(lambda ref: EnvironmentKeyError(_errors.missing_key(self.key, "")))
        return pack(value)


_keys: dict[str, _Key] = {}


def _find(key: str) -> tuple[Any, Context | None]:
    """The value of a key and the context that has it, `None` for `set`."""
    for context in reversed(STACK.contexts):
        if key in context.values:
            return context.values[key], context
    return _settings.get(key, _MISSING), None


def _visible_keys() -> frozenset[str]:
    return frozenset(_settings).union(*(context.values for context in STACK.contexts))


def peek(key: str) -> Any:
    """The value of a key, without a note of it."""
    value, _ = _find(key)
    return "absent" if value is _MISSING else value


def holds(statics: dict[str, Any]) -> bool:
    """Whether the static values that a program read are those of now."""
    return builtins.all(_static_signature(key) == value for key, value in statics.items())


def can_change_in_place(statics: dict[str, Any]) -> bool:
    """Whether a static value is a list or dict, which nobody tells when it changes."""
    return any(flatten(_find(key)[0])[1].is_mutable for key in statics if key != _ALL_KEYS)


def signature(keys: tuple[str, ...]) -> tuple[Any, ...]:
    """What the static values of those keys are now."""
    return tuple(map(_static_signature, keys))


def _static_signature(key: str) -> Any:
    if key == _ALL_KEYS:
        return _visible_keys()
    value, _ = _find(key)
    if value is _MISSING:
        return None
    if key not in _INPUT_KEYS:
        if type(value) in _SIMPLE:
            return _signature(value)
        if is_quantity(value) and type(value.mantissa) in _SIMPLE:
            return (value.unit, *_signature(value.mantissa))
    return "an input" if _is_input(key, value) else _signature(value)


def value_of(ref: Any) -> Any:
    """The carried value of an input key, in the frame of now."""
    top = STACK.top
    return ref._leaf if top is None else top.take(ref)


def note(statics: dict[str, Any]) -> None:
    """Marks static keys as read in the frames of now."""
    for key, signature in statics.items():
        _note(key, signature, _find(key)[1])


def _note(key: str, signature: Any, context: Context | None) -> None:
    for frame in frames():
        if context is not None and frame is context.frame:
            return
        frame.statics.setdefault(key, signature)


def _read(key: str) -> Any:
    value, context = _find(key)
    top = STACK.top
    _check_alive(key, context)
    here = top is None or (context is not None and context.frame is top)
    start = context.trace if here and context is not None else _tracing.EAGER if top is None else top.trace
    if _tracing.raw_transform_inside(start) == "staging":
        raise TraceContextError(_errors.environ_in_raw(key))
    if here or top is None:
        return value
    if value is not _MISSING and _is_input(key, value):
        slot = top.slot(_keys.setdefault(key, _Key(key)))
        slot.read = True
        _note(key, "an input", context)
        return slot.value
    _note(key, _static_signature(key), context)
    return value


def _check_alive(key: str, context: Context | None) -> None:
    if context is not None and context.frame is not None and context.frame not in frames():
        raise TraceContextError(_errors.environ_trace_is_over(key, context.frame.kind))


def get(key: str, default: Any = _MISSING, desc: str | None = None) -> Any:
    """The value of a key, from the innermost `context` that has it, else from `set`.

    **Arguments:**

    - `key`: The name, such as `"dt"`.
    - `default`: What to give back if there is none.
    - `desc`: What the key is for, to be part of the error's text.

    **Raises:** `EnvironmentKeyError` (a `KeyError`) if there is neither value nor default.
    """
    if not isinstance(key, str):
        raise TypeError(f"A key of environ is a string, got {key!r}.")
    value = _read(key)
    if value is not _MISSING:
        return value
    if default is _MISSING:
        raise EnvironmentKeyError(_errors.missing_key(key, desc))
    return default


def get_dt() -> Any:
    """The time step `dt`."""
    return get("dt", desc="the time step of the simulation")


def get_precision() -> Any:
    """The precision of floats: 8, 16, `"bf16"`, 32 or 64."""
    return get("precision", default=64 if setting("jax_enable_x64") else 32)


def dftype() -> Any:
    """The float dtype that the precision of now stands for."""
    return jnp.dtype(_PRECISIONS[get_precision()])


def ditype() -> Any:
    """The integer dtype that the precision of now stands for."""
    return jnp.dtype(f"int{8 * dftype().itemsize}")


def dutype() -> Any:
    """The unsigned integer dtype that the precision of now stands for."""
    return jnp.dtype(f"uint{8 * dftype().itemsize}")


def dctype() -> Any:
    """The complex dtype that the precision of now stands for: the smallest that holds its floats."""
    return jnp.dtype("complex128" if get_precision() == 64 else "complex64")


def tolerance() -> float:
    """How far apart two numbers may be that are equal up to rounding: 1e-12, 1e-5 or, below 32 bits, 1e-2."""
    return {64: 1e-12, 32: 1e-5}.get(get_precision(), 1e-2)


def get_platform() -> str:
    """The platform on which JAX computes by default: `"cpu"`, `"gpu"` or `"tpu"`."""
    device = setting("jax_default_device")
    now = jax.default_backend() if device is None else device if isinstance(device, str) else device.platform
    return get(PLATFORM, default=now)


def get_host_device_count() -> int:
    """The number of devices into which JAX splits the CPU."""
    return get(HOST_DEVICE_COUNT, default=jax.local_device_count("cpu"))


def all() -> dict[str, Any]:
    """Every key with the value that it has here."""
    _note(_ALL_KEYS, _visible_keys(), None)
    return {key: get(key) for key in sorted(_visible_keys())}


def _check_outside(what: str) -> None:
    if STACK.top is not None or not _tracing.is_eager():
        raise TraceContextError(_errors.environ_in_trace(what))


def set(**values: Any) -> None:
    """Sets keys for the whole process, until `pop` or `reset`.

    `precision=64` switches JAX to 64-bit floats, any other precision switches that off. `platform` is
    where JAX computes by default from now on, `"cpu"`, `"gpu"` or `"tpu"`. `host_device_count` is the
    number of devices into which JAX splits the CPU, and must come before its first operation.

    **Raises:** `TraceContextError` inside a transform: there a `context` is the way. `ValueError` for
    a value that one of the three cannot have, `RuntimeError` if `host_device_count` comes too late.
    """
    _check_outside("set")
    _check_process_keys(values)
    if HOST_DEVICE_COUNT in values:
        _set_host_devices(values[HOST_DEVICE_COUNT])
    if PLATFORM in values:
        jax.config.update("jax_default_device", values[PLATFORM])
    if PRECISION in values:
        jax.config.update("jax_enable_x64", values[PRECISION] == 64)
    for key, value in values.items():
        flatten(value)
        _settings[key] = value
    EPOCH.value += 1


def set_precision(precision: int | str) -> None:
    """The same as `set(precision=precision)`."""
    set(precision=precision)


def set_platform(platform: str) -> None:
    """The same as `set(platform=platform)`."""
    set(platform=platform)


def set_host_device_count(n: int) -> None:
    """The same as `set(host_device_count=n)`."""
    set(host_device_count=n)


def _check_process_keys(values: dict[str, Any]) -> None:
    _check_precision(values.get(PRECISION, DEFAULT_PRECISION))
    if values.get(PLATFORM, "cpu") not in SUPPORTED_PLATFORMS:
        raise ValueError(f"platform is one of {SUPPORTED_PLATFORMS}, got {values[PLATFORM]!r}.")
    count = values.get(HOST_DEVICE_COUNT, 1)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"host_device_count is an int of at least 1, got {count!r}.")


def _set_host_devices(count: int) -> None:
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError as error:
        if jax.local_device_count("cpu") != count:
            raise RuntimeError(
                f"environ.set(host_device_count={count}) comes too late: JAX has its devices already. "
                "Set it before the first operation, at the top of the program."
            ) from error


class context(ContextDecorator):
    """Sets keys for a block, in this thread.

    >>> from neurostate import environ
    >>> with environ.context(fit=True):
    ...     environ.get("fit")
    True
    """

    def __init__(self, **values: Any):
        for key in _PROCESS_KEYS & values.keys():
            raise ValueError(f"environ.context cannot set {key!r} for a block only: use environ.set.")
        self._values = values
        self._entered: list[tuple[Context, Any, Any, Any]] = []

    def __enter__(self) -> dict[str, Any]:
        values, switch = self._values, None
        if "precision" in values:
            _check_precision(values["precision"])
            switch = jax.enable_x64(values["precision"] == 64)
            switch.__enter__()
        mine = Context(values)
        self._entered.append((mine, STACK.contexts, STACK.mark, switch))
        STACK.contexts = STACK.mark = (*STACK.contexts, mine)
        return values

    def __exit__(self, *error: Any) -> None:
        mine, before, mark, switch = self._entered.pop()
        if STACK.contexts and STACK.contexts[-1] is mine and STACK.contexts[:-1] == before:
            STACK.contexts, STACK.mark = before, mark
        else:  # a generator may leave its context out of order
            STACK.contexts = STACK.mark = tuple(context for context in STACK.contexts if context is not mine)
        if switch is not None:
            switch.__exit__(*error)


def _check_precision(precision: Any) -> None:
    if precision not in _PRECISIONS:
        raise ValueError(f"precision is one of {list(_PRECISIONS)}, got {precision!r}.")


def pop(key: str, default: Any = _MISSING) -> Any:
    """Removes a key that `set` made, and gives its value.

    **Raises:** `EnvironmentKeyError` if there is neither value nor default.
    """
    _check_outside("pop")
    EPOCH.value += 1
    value = _settings.pop(key, default)
    if value is _MISSING:
        raise EnvironmentKeyError(_errors.missing_key(key, None))
    return value


def reset() -> None:
    """Forgets everything that `set` made."""
    _check_outside("reset")
    _settings.clear()
    EPOCH.value += 1

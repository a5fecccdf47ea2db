"""The environment of a simulation: `dt`, `t`, `i`, `fit`, `precision`, and keys of one's own.

Values are set for the whole process by `set` and for a block of one thread by `context`. Python
numbers, strings and Quantities of them are static: compiled functions that read them trace again
when they change. `t`, `i`, arrays and Quantities of arrays are inputs of compiled functions.

>>> import brainunit as u
>>> from neurostate import environ
>>> with environ.context(dt=0.1 * u.ms):
...     print(environ.get_dt())
0.1 * msecond
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _errors
from .._errors import EnvironmentKeyError, TraceContextError
from . import _tracing
from ._collector import STACK, Frame, frames
from ._config import setting
from ._links import EPOCH
from ._values import Missing, flatten, pack


_MISSING = object()
_INPUT_KEYS = frozenset({"t", "i"})
_PRECISIONS = {8: "float8_e4m3fn", 16: "float16", "bf16": "bfloat16", 32: "float32", 64: "float64"}


_settings: dict[str, Any] = {}


def _is_input(key: str, value: Any) -> bool:
    """Whether a value is a dynamic input of compiled functions, not part of their signature."""
    leaves, _ = flatten(value)
    if key in _INPUT_KEYS:
        return bool(leaves)
    return any(isinstance(leaf, jax.Array) or (isinstance(leaf, np.ndarray) and leaf.ndim > 0) for leaf in leaves)


def _signature(value: Any) -> Any:
    """A static value as something that compares fast, by equality and unit."""
    if hasattr(value, "mantissa") and hasattr(value, "unit"):
        return (type(value.mantissa), value.mantissa, value.unit)
    return (type(value), value)


class _Key:
    """An input of `environ`, as a program sees it: a reference that is only read."""

    read_only = True

    def __init__(self, key: str):
        self.name = f"environ.{key}"
        self.key = key

    def found_in(self, frame: Frame) -> tuple[Any] | None:
        value, level = _find(self.key)
        return (value,) if level is frame else None

    def _committed(self) -> Any:
        return _find(self.key)[0]

    @property
    def _leaf(self) -> Any:
        value = _find(self.key)[0]
        if value is _MISSING or not _is_input(self.key, value):
            return Missing(lambda ref: EnvironmentKeyError(_errors.missing_key(self.key, "")))
        return pack(value)


_keys: dict[str, _Key] = {}


def _find(key: str) -> tuple[Any, Frame | None]:
    """The value of a key and the frame in which it was set, `None` for outside of all."""
    for values, frame in reversed(STACK.contexts):
        if key in values:
            return values[key], frame
    return _settings.get(key, _MISSING), None


def holds(statics: dict[str, Any]) -> bool:
    """Whether the static values that a program read are those of now."""
    return builtins.all(_static_signature(key) == value for key, value in statics.items())


def _static_signature(key: str) -> Any:
    value, _ = _find(key)
    if value is _MISSING:
        return None
    return "an input" if _is_input(key, value) else _signature(value)


def value_of(ref: Any) -> Any:
    """The carried value of an input key, in the frame of now."""
    top = STACK.top
    return ref._leaf if top is None else top.take(ref)


def note(statics: dict[str, Any]) -> None:
    """Marks static keys as read in the frames of now."""
    for key in statics:
        _read(key)


def _read(key: str) -> Any:
    value, level = _find(key)
    top = STACK.top
    if top is None or level is top:
        return value
    if value is not _MISSING and _is_input(key, value):
        ref = _keys.setdefault(key, _Key(key))
        slot = top.slot(ref)
        slot.read = True
        signature = "an input"
        value = slot.value
    else:
        signature = None if value is _MISSING else _signature(value)
    for frame in frames():
        if frame is level:
            break
        frame.statics.setdefault(key, signature)
    return value


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


def all() -> dict[str, Any]:
    """Every key with the value that it has here."""
    keys = dict.fromkeys(_settings)
    for values, _ in STACK.contexts:
        keys.update(dict.fromkeys(values))
    return {key: get(key) for key in keys}


def _check_outside(what: str) -> None:
    if STACK.top is not None or not _tracing.is_eager():
        raise TraceContextError(_errors.environ_in_trace(what))


def set(**values: Any) -> None:
    """Sets keys for the whole process, until `pop` or `reset`.

    `precision=64` switches JAX to 64-bit floats, any other precision switches that off.

    **Raises:** `TraceContextError` inside a transform: there a `context` is the way.
    """
    _check_outside("set")
    if "precision" in values:
        _set_jax_precision(values["precision"])
    for key, value in values.items():
        flatten(value)
        _settings[key] = value
    EPOCH.value += 1


def set_precision(precision: int | str) -> None:
    """The same as `set(precision=precision)`."""
    set(precision=precision)


def _set_jax_precision(precision: Any) -> None:
    if precision not in _PRECISIONS:
        raise ValueError(f"precision is one of {list(_PRECISIONS)}, got {precision!r}.")
    jax.config.update("jax_enable_x64", precision == 64)


@contextmanager
def context(**values: Any) -> Iterator[dict[str, Any]]:
    """Sets keys for a block, in this thread.

    >>> from neurostate import environ
    >>> with environ.context(fit=True):
    ...     environ.get("fit")
    True
    """
    for key in ("platform", "host_device_count"):
        if key in values:
            raise ValueError(f"environ.context cannot set {key!r} for a block only: use environ.set.")
    with _precision_of(values):
        before, mark = STACK.contexts, STACK.mark
        STACK.contexts = STACK.mark = (*before, (values, STACK.top))
        try:
            yield values
        finally:
            STACK.contexts, STACK.mark = before, mark


@contextmanager
def _precision_of(values: dict[str, Any]) -> Iterator[None]:
    if "precision" not in values:
        yield
        return
    if values["precision"] not in _PRECISIONS:
        raise ValueError(f"precision is one of {list(_PRECISIONS)}, got {values['precision']!r}.")
    with jax.enable_x64(values["precision"] == 64):
        yield


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

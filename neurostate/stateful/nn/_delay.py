"""`Delay`: the last values of something, to be read at a lag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..._custom_types import QuantityLike, Shape, Size, as_shape
from ..._errors import BatchAxisError, UnitError
from ..._parameters import as_milliseconds, broadcasts
from ..._units import Unit, as_dimensionless, is_quantity, is_traced, join_quantity, ms, split_quantity, to_plain
from ...init import param
from .. import environ
from .._collector import path_of
from .._ref import DelayState, StateRef
from ._collective import call_order
from ._module import Module
from ._ring import Ring, between, pick, snapped


_MSG_DT: Final = (
    "{path} was initialised with dt = {then:g} ms, but environ's dt is {now:g} ms now: a lag would be another number "
    "of steps. Call `init_state` again under the new dt, or read under the old one."
)
_MSG_TRACED_DT: Final = (
    "A `Delay` needs a dt that is known when a program is traced, got {dt!r:.80}. "
    "Give environ a number: `environ.context(dt=0.1 * u.ms)`."
)
_MSG_TOO_LONG: Final = (
    "{what} of {path} reads {lag:g} ms back, but the longest delay is {longest:g} ms. "
    "Make that longer, `Delay(..., time=...)`, and call `init_state` again."
)
_MSG_NEGATIVE: Final = (
    "{what} of {path} has a delay of {lag:g} ms. It reads the past: give a time that is not negative."
)
_MSG_SHAPE: Final = (
    "{path} keeps values of shape {needed}, but got one of shape {got}. A batch axis is made by "
    "`init_state(batch_size=...)`."
)
_MSG_BATCHED: Final = (
    "{path} was initialised for {count} lanes, but is used without them. Map it, "
    "`vmap(..., in_states=neurostate.DelayState)`, or make a batch with `init_state(batch_size=...)` instead."
)


class Delay(Module):
    """Keeps the values of the last steps and reads them back at a lag.

    A lag counts from the newest value: lag 0 is what the last `update` pushed, lag 1 what the one
    before pushed. So within one step, a read after `update` gives the present value at lag 0, and a
    read before `update` gives the one of the step before.

    A lag is a time over `environ`'s `dt`. A whole number of steps is read exactly. Between two steps
    `"linear"` interpolates and has a derivative with respect to the lag; `"nearest"` takes the
    nearer step, the older one of two at the same distance. An array of lags belongs to the elements of
    the value: it broadcasts against the value's shape, so `(post, 1)` or `(post, pre)` lags of `(pre,)`
    values give `(post, pre)` of them.

    A lag that is known while tracing is checked. One that is not, such as a trained one, is held between
    0 and the longest delay.

    The values are kept in the reference `history`, whose value has the fields `values`, of shape
    `(longest + 1, *batch, *shape)`, and `newest`, the place of the newest one. In a compiled loop a step
    writes its slot in place, unless it calls `retrieve_at_step` or `retrieve_at_time`, or reads an entry
    whose time is a reference, before `update`: then XLA copies them all. Outside of all transforms each
    `update` copies them.

    **Arguments:**

    - `target`: What the value of one step is like: a shape, an array, a Quantity, or a
      `jax.ShapeDtypeStruct`. Or a function without arguments that gives that value, such as
      `cell.prefetch("V")`: then `update()` needs no argument, and a batch is that of the value.
    - `time`: The longest delay; a plain number is in ms. Without it, the longest of the entries.
    - `init`: What was before the first `update`, else zeros: a number, an array or a Quantity that
      broadcasts to the value's shape (or to all of `values`, the oldest first), or an initialiser. Its unit
      is that of the delay if `target` has none.
    - `interpolation`: `"linear"` or `"nearest"`.
    - `name`: A name for messages.

    **Raises:** `ValueError` for a negative or a too long time, or if `dt` has changed since
    `init_state`; `UnitError` if `time` is not one; `StateNotInitialisedError` before `init_state`.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> delay = ns.nn.Delay((), time=2.0 * u.ms)
    >>> delay.register_entry("synapse", 0.2 * u.ms)
    >>> with ns.environ.context(dt=0.1 * u.ms):
    ...     delay.init_state()
    ...     def step(x):
    ...         delay.update(x)
    ...         return delay.at("synapse")
    ...     print(ns.transform.for_loop(step, jnp.arange(1.0, 6.0)))
    [0. 0. 1. 2. 3.]
    """

    history: DelayState

    def __init__(
        self,
        target: Any,
        time: QuantityLike | None = None,
        init: Any = None,
        *,
        interpolation: Literal["linear", "nearest"] = "linear",
        name: str | None = None,
    ):
        super().__init__(name=name)
        if interpolation not in ("linear", "nearest"):
            raise ValueError(f"The interpolation of a `Delay` is 'linear' or 'nearest', got {interpolation!r}.")
        self.interpolation = interpolation
        self.init = init
        self.time = None if time is None else float(np.max(self._known(time, "The argument `time`")))
        self._source = target if callable(target) else None
        self._like = ((), None, None) if callable(target) else _described(target)
        self.entries: dict[str, tuple[Any, tuple[Any, ...]]] = {}

    @call_order(3)
    def init_state(self, batch_size: Size | None = None, **kwargs: Any) -> None:
        """Makes the reference `history`, for the entries and `environ`'s `dt` of now.

        **Arguments:**

        - `batch_size`: Adds a batch axis in front of the value's shape.
        """
        del kwargs
        batch = () if batch_size is None or self._source is not None else as_shape(batch_size)
        shape, dtype, unit = _described(self._source()) if self._source is not None else self._like
        dt = _time_step()
        known = [np.max(time) for time, _ in self.entries.values() if not isinstance(time, StateRef)]
        longest = max([0.0, *known]) if self.time is None else self.time
        length = int(np.ceil(snapped(longest / dt))) + 1
        if self.init is None:
            values = jnp.zeros((length, *batch, *shape), dtype)
        else:
            start = param(self.init, shape, (length, *batch))
            unit = split_quantity(start)[1] if unit is None else unit
            values = jnp.asarray(to_plain(start, unit, "init", "Delay"), dtype)
        names = tuple(name for name, (time, _) in self.entries.items() if not isinstance(time, StateRef))
        self.history = DelayState(self._ring(join_quantity(values, unit), jnp.int32(length - 1), names, dt))

    def register_entry(self, name: str, time: QuantityLike | StateRef | None, *indices: Any) -> None:
        """Names a delay, for `at`.

        **Arguments:**

        - `name`: The name.
        - `time`: The delay, or an array of them; a plain number is in ms, `None` is no delay. Or a
          reference that holds it, such as a `ParamState` to train: it is read at each step.
        - `indices`: As in `retrieve_at_step`.

        **Raises:** `KeyError` if the name is taken, `ValueError` if the time is negative or longer than
        the delay's, `TypeError` if it is not known yet.
        """
        if name in self.entries:
            raise KeyError(f"{path_of(self)} has an entry {name!r} already. Choose another name.")
        what = f"The entry {name!r}"
        if isinstance(time, StateRef):
            if self.time is None:
                raise TypeError(f"{what} of {path_of(self)} has a time that can change. Give `Delay` its longest time.")
            self.entries = {**self.entries, name: (time, indices)}
            return
        known = self._known(0.0 if time is None else time, what)
        if self.time is not None and known.max() > self.time * (1 + 1e-6):
            raise ValueError(_MSG_TOO_LONG.format(what=what, path=path_of(self), lag=known.max(), longest=self.time))
        self.entries = {**self.entries, name: (known, indices)}

    def access(self, name: str, time: QuantityLike | StateRef | None, *indices: Any) -> DelayAccess:
        """Names a delay, as `register_entry`, and gives an object that reads it when it is called."""
        self.register_entry(name, time, *indices)
        return DelayAccess(self, name)

    def update(self, value: Any = None) -> None:
        """Pushes the value of one step, which is at lag 0 from now on.

        **Raises:** `ValueError` for a wrong shape, `UnitError` for a wrong unit, `TypeError` for a
        float where integers or booleans are kept.
        """
        ring = self._now()
        if value is None:
            if self._source is None:
                raise TypeError(f"`update` of {path_of(self)} needs the value of the step.")
            value = self._source()
        values, unit = split_quantity(ring.values)
        if unit is None and is_quantity(value) and not value.unit.dim.is_dimensionless:
            raise UnitError(
                f"{path_of(self)} keeps values without a unit, but got one in {value.unit}. Give it a target that is "
                "a Quantity, or `init=` with a unit."
            )
        new = jnp.asarray(to_plain(value, unit, "value", "Delay.update"))
        if jnp.issubdtype(new.dtype, jnp.inexact) and not jnp.issubdtype(values.dtype, jnp.inexact):
            raise TypeError(f"{path_of(self)} keeps {values.dtype}, but got {new.dtype}. Give it a target of floats.")
        if not broadcasts(new.shape, values.shape[1:]):
            raise ValueError(_MSG_SHAPE.format(path=path_of(self), needed=values.shape[1:], got=new.shape))
        new = jnp.broadcast_to(new.astype(values.dtype), values.shape[1:])
        newest = lax.rem(ring.newest + 1, jnp.int32(values.shape[0]))
        values = lax.dynamic_update_index_in_dim(values, new, newest, 0)
        self.history.value = self._ring(join_quantity(values, unit), newest, ring.names, ring.dt)

    def __call__(self, *value: Any) -> None:
        """The same as `update`, for use as a hook."""
        self.update(*value)

    @property
    def not_receive_update_output(self) -> bool:
        """Whether, as a hook after `update`, it takes its value from `target`."""
        return self._source is not None

    def at(self, name: str) -> Any:
        """The value at a registered delay.

        **Raises:** `KeyError` if there is no entry of that name.
        """
        if name not in self.entries:
            raise KeyError(f"{path_of(self)} has no entry {name!r}; its entries are {list(self.entries)}.")
        ring = self._now(check_dt=True)
        return ring.read[ring.names.index(name)] if name in ring.names else self._entry(ring, name)

    def retrieve_at_step(self, steps: Any, *indices: Any) -> Any:
        """The value at a lag in steps of `dt`.

        **Arguments:**

        - `steps`: A number or an array of numbers, whole or not.
        - `indices`: Which elements to read, as `value[indices]` (the batch axis, if there is one,
          first). Arrays of them broadcast with `steps`, as in NumPy's indexing.
        """
        steps = as_dimensionless(steps, "steps", "Delay.retrieve_at_step")
        return self._read(self._now(check_dt=True), "`retrieve_at_step`", steps, indices)

    def retrieve_at_time(self, time: QuantityLike, *indices: Any) -> Any:
        """The value at a time in the past, where the newest value is that of `environ`'s `t`.

        The lag is `(t - time) / dt`, and a whole number within the rounding of `t`.

        **Arguments:**

        - `time`: A time of the simulation, not a delay; a plain number is in ms.
        - `indices`: As in `retrieve_at_step`.
        """
        now = _float(to_plain(environ.get("t", desc="the time of now"), ms, "t", "environ"))
        then = _float(to_plain(time, ms, "time", "Delay.retrieve_at_time"))
        ring = self._now(check_dt=True)
        rounding = 4 * max(jnp.finfo(x.dtype).eps for x in (now, then)) * (abs(now) + abs(then))
        return self._read(ring, "`retrieve_at_time`", (now - then) / ring.dt, indices, rounding / ring.dt)

    def _fields(self) -> Iterator[tuple[str, str]]:
        yield "time", f"{self.time} * ms"
        yield "interpolation", repr(self.interpolation)
        yield "entries", repr(list(self.entries))
        if "history" in self.__dict__:
            yield "history", repr(self.history)

    def _now(self, check_dt: bool = False) -> Ring:
        """The ring; on request checked against the time step of now."""
        ring = self.history.value
        if jnp.ndim(ring.newest):
            raise BatchAxisError(_MSG_BATCHED.format(path=path_of(self), count=ring.newest.shape[0]))
        if check_dt and abs(_time_step() - ring.dt) > 1e-6 * ring.dt:
            raise ValueError(_MSG_DT.format(path=path_of(self), then=ring.dt, now=_time_step()))
        return ring

    def _ring(self, values: Any, newest: Any, names: tuple[str, ...], dt: float) -> Ring:
        ring = Ring(values, newest, (), (), dt)
        return Ring(values, newest, tuple(self._entry(ring, name) for name in names), names, dt)

    def _entry(self, ring: Ring, name: str) -> Any:
        time, indices = self.entries[name]
        if isinstance(time, StateRef):
            time = to_plain(time.value, ms, f"time of the entry {name}", "Delay")
        return self._read(ring, f"The entry {name!r}", _float(time) / ring.dt, indices)

    def _known(self, time: QuantityLike, what: str) -> Any:
        """A time in ms that is a constant and not negative."""
        plain = to_plain(time, ms, "time", "Delay")
        if is_traced(plain):
            raise TypeError(
                f"{what} of {path_of(self)} must be known before tracing. Compute it outside, hold it in a "
                "`ParamState`, or read it with `retrieve_at_step(time / dt)`."
            )
        array = np.asarray(plain, np.float64)
        if not (array >= 0).all():
            raise ValueError(_MSG_NEGATIVE.format(what=what, path=path_of(self), lag=array.min()))
        return array

    def _read(self, ring: Ring, what: str, steps: Any, indices: tuple[Any, ...], slack: Any = 0.0) -> Any:
        values, unit = split_quantity(ring.values)
        last = values.shape[0] - 1
        if is_traced(steps) and not jnp.issubdtype(steps.dtype, jnp.floating):
            return join_quantity(pick(values, ring.newest, jnp.clip(steps, 0, last).astype(np.int32), indices), unit)
        steps = snapped(steps, slack)
        if is_traced(steps):
            steps = jnp.where(steps < 0, 0, jnp.where(steps > last, last, steps))
        else:
            self._check(what, steps, last, ring.dt)
        xp = jnp if is_traced(steps) else np
        whole = xp.floor(steps + 0.5 if self.interpolation == "nearest" else steps)
        picked = pick(values, ring.newest, whole.astype(np.int32), indices)
        fraction = steps - whole
        if self.interpolation == "linear" and (is_traced(steps) or fraction.any()):
            older = pick(values, ring.newest, xp.minimum(whole + 1, last).astype(np.int32), indices)
            picked = between(picked, older, fraction, indices)
        return join_quantity(picked, unit)

    def _check(self, what: str, steps: Any, last: int, dt: float) -> None:
        if not (steps >= 0).all():
            raise ValueError(_MSG_NEGATIVE.format(what=what, path=path_of(self), lag=steps.min() * dt))
        if (steps > last).any():
            lag, longest = steps.max() * dt, last * dt
            raise ValueError(_MSG_TOO_LONG.format(what=what, path=path_of(self), lag=lag, longest=longest))


class DelayAccess(Module):
    """Reads one entry of a delay when it is called."""

    def __init__(self, delay: Delay, entry: str):
        super().__init__()
        self.delay = delay
        self.entry = entry

    def __call__(self) -> Any:
        return self.delay.at(self.entry)


def _described(target: Any) -> tuple[Shape, Any, Unit | None]:
    """Shape, dtype and unit of a value, an abstract value, or a shape."""
    mantissa, unit = split_quantity(target)
    if isinstance(mantissa, jax.ShapeDtypeStruct | jax.Array | np.ndarray | np.generic):
        return mantissa.shape, mantissa.dtype, unit
    if unit is not None:
        return jnp.shape(mantissa), jnp.result_type(float), unit
    return as_shape(target), None, None


def _time_step() -> float:
    """`environ`'s `dt` in ms."""
    dt = as_milliseconds(environ.get_dt(), "environ")
    if is_traced(dt):
        raise TypeError(_MSG_TRACED_DT.format(dt=dt))
    return float(dt)


def _float(x: Any) -> Any:
    """A traced array as it is, anything else as a NumPy array of floats."""
    if is_traced(x):
        return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)
    array = np.asarray(x)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(np.float64)

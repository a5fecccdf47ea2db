"""A progress bar for compiled loops.

A loop binds a bar to its length and calls `tick` in its body. A tick that is due reaches the host through
one callback, the same for all bars of the process, which gets the number of the bar as a runtime value.
So a compiled loop can be reused with another bar, and nothing of a bar is baked into a program except how
often it ticks.
"""

from __future__ import annotations

import collections
import functools
import itertools
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from ._custom_types import Array, ArrayLike, PyTree


Describe: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any]]

_MAX_BARS: Final = 1024


class ProgressBar:
    """How the progress of a loop is shown, with [tqdm](https://tqdm.github.io).

    The bar appears when the first iteration is done and is redrawn after every `freq` iterations and after
    the last one. Under `jax.vmap` the lanes share one bar, and a description comes from lane 0.

    **Arguments:**

    - `freq`: The number of iterations between two redraws.
    - `count`: The number of redraws instead. With neither, the bar is redrawn every 5 %.
    - `desc`: The text in front of the bar. Or a pair of a format string and a function that makes the
        values for it from the iteration's `{"i": index, "carry": state, "y": output}`; it is traced once
        with the loop, and returns a dictionary of scalars.
    - `tqdm_kw`: Passed on to `tqdm.tqdm`, e.g. `file`, `leave`, `ncols`.

    **Raises:** `ValueError` if both `freq` and `count` are given or one is not positive, and, when the loop
    starts, if it is greater than the number of iterations; `TypeError` if an argument has a wrong type.

    !!! example

        >>> import io, jax.numpy as jnp, neurostate as ns
        >>> out = io.StringIO()
        >>> bar = ns.transform.ProgressBar(count=4, desc="run", file=out)
        >>> sol = ns.simulate(ns.LIF(1), jnp.ones((100, 1)), dt=0.1, progress=bar)
        >>> "run: 100%" in out.getvalue()
        True
    """

    freq: int | None
    count: int | None

    def __init__(
        self,
        freq: int | None = None,
        count: int | None = None,
        desc: str | tuple[str, Describe] | None = None,
        **tqdm_kw: Any,
    ):
        if freq is not None and count is not None:
            raise ValueError("A `ProgressBar` takes `freq` or `count`, not both.")
        self.freq = _positive_int(freq, "freq")
        self.count = _positive_int(count, "count")
        self._format, self._describe = desc if isinstance(desc, tuple) and len(desc) == 2 else (desc, None)
        if self._format is not None and not isinstance(self._format, str) or not _is_optional_function(self._describe):
            raise TypeError(
                f"`desc` must be a string, or a pair of a format string and a function of the dictionary of "
                f'`i`, `carry` and `y`, e.g. `("V = {{V}}", lambda d: {{"V": d["carry"].V.mean()}})`; got {desc!r}.'
            )
        if "total" in tqdm_kw:
            raise TypeError("`total` is the length of the loop and cannot be given to a `ProgressBar`.")
        self._tqdm_kw = tqdm_kw

    def bind(self, n: int) -> BoundBar:
        """Prepares this bar for one loop of `n` iterations.

        **Raises:** `ValueError` if `freq` or `count` is greater than `n`.
        """
        for name, value in (("freq", self.freq), ("count", self.count)):
            if value is not None and value > n:
                raise ValueError(f"The `{name}` of a `ProgressBar` is {value}, but the loop has only {n} iterations.")
        freq = self.freq or max(1, n // (self.count or 20))
        number = _register(_Bar(self._format, self._describe is not None, self._tqdm_kw))
        # One axis, because JAX may turn scalars into literals of the program.
        return BoundBar(number=jnp.full((1,), number, jnp.int32), n=n, freq=freq, describe=self._describe)

    def __repr__(self) -> str:
        given = {"freq": self.freq, "count": self.count, "desc": self._format, **self._tqdm_kw}
        return f"ProgressBar({', '.join(f'{k}={v!r}' for k, v in given.items() if v is not None)})"


class BoundBar(eqx.Module):
    """A progress bar of one loop: a pytree that can be passed into a compiled function.

    Its only leaf is the number of the bar. Two loops of equal length share one compiled program.
    """

    number: Array
    n: int = eqx.field(static=True)
    freq: int = eqx.field(static=True)
    describe: Describe | None = eqx.field(static=True)

    def tick(
        self, i: ArrayLike, carry: PyTree = None, y: PyTree = None, *, stride: int = 1, wait: bool = False
    ) -> None:
        """Tells the bar that iteration `i` is done. Called in the body of the loop.

        `i` counts from 0 and must not be batched. A body inside `jax.checkpoint` runs again in the backward
        pass and would tick again: tick outside of it, once per segment.

        **Arguments:**

        - `i`: The index of the iteration.
        - `carry`, `y`: What the description may use.
        - `stride`: The number of iterations since the last tick.
        - `wait`: Whether to wait for `carry`. Within the body of a loop, ticks are in order anyway; outside,
            nothing else keeps the compiler from reporting the end of a loop before its start.
        """
        values: Mapping[str, Any] = {}
        if self.describe is not None:
            values = self.describe({"i": i, "carry": carry, "y": y})
            if not isinstance(values, Mapping):
                raise TypeError(f"The function in `desc` must return a dictionary, got {values!r}.")
        values = jax.tree.map(jax.lax.stop_gradient, dict(values))
        # The callback gets a number of each array, since a barrier does not outlive all of XLA's passes.
        awaited = [_first_number(leaf) for leaf in jax.tree.leaves(carry) if wait and _has_numbers(leaf)]
        _tick(self.number, i, values, awaited, n=self.n, freq=self.freq, stride=stride)


def as_progress_bar(progress: ProgressBar | bool | int | str | None, name: str = "progress") -> ProgressBar | None:
    """Reads the argument of a loop: `True`, the iterations between two redraws, a description, or a bar."""
    if progress is None or progress is False:
        return None
    if isinstance(progress, ProgressBar):
        return progress
    if progress is True:
        return ProgressBar()
    if isinstance(progress, str):
        return ProgressBar(desc=progress)
    if isinstance(progress, int | np.integer):
        return ProgressBar(freq=int(progress))
    raise TypeError(f"`{name}` must be a `ProgressBar`, an int, a string or a bool, got {progress!r}.")


# On the device


@functools.partial(jax.jit, static_argnames=("n", "freq", "stride"))
def _tick(
    number: Array, i: Array, values: dict[str, Any], awaited: list[Array], *, n: int, freq: int, stride: int
) -> None:
    # A compiled function of the module, so that every loop gets the very same program for its tick.
    done = i + 1
    first = done <= stride
    due = first | (done // freq > (done - stride) // freq) | (done == n)
    jax.lax.cond(due, lambda: _send(number, done, jnp.int32(n), first, values, awaited), lambda: None)


@jax.custom_batching.custom_vmap
def _send(number: Array, done: Array, total: Array, first: Array, values: dict[str, Any], awaited: list[Array]) -> None:
    jax.debug.callback(_receive, number, done, total, first, values, awaited)


@_send.def_vmap
def _send_once(axis_size: int, in_batched: list[Any], *args: Any) -> tuple[None, None]:
    del axis_size
    first = jax.tree.map(lambda x, batched: x[0] if batched else x, args, tuple(in_batched))
    _send(*first)
    return None, None


def _has_numbers(x: Any) -> bool:
    return eqx.is_array(x) and x.size > 0 and not jnp.issubdtype(x.dtype, jax.dtypes.extended)


def _first_number(x: Array) -> Array:
    return jax.lax.stop_gradient(x).reshape(-1)[0]


# On the host


class _Bar:
    """What is drawn for one number, and the bar on the screen while its loop runs."""

    def __init__(self, text: str | None, has_values: bool, tqdm_kw: dict[str, Any]):
        self.text = text
        self.has_values = has_values
        self.tqdm_kw = tqdm_kw
        self.bar: tqdm.tqdm | None = None

    def update(self, done: int, total: int, first: bool, values: dict[str, Any]) -> None:
        if first and self.bar is not None and self.bar.n > done:
            self.bar.close()  # its loop ended before the last iteration
            self.bar = None
        if self.bar is None:
            if not first:
                return  # a second report of an iteration, after the loop ended
            desc = None if self.has_values else self.text
            self.bar = tqdm.tqdm(**{"total": total, "desc": desc, "miniters": 1, **self.tqdm_kw})
        if self.has_values and self.text is not None:
            self.bar.set_description(self.text.format(**jax.tree.map(_as_number, values)), refresh=False)
        self.bar.n = done
        if done >= total:
            self.bar.close()  # which draws it
            self.bar = None
        elif not first:
            self.bar.refresh()


_numbers = itertools.count()
_bars: collections.OrderedDict[int, _Bar] = collections.OrderedDict()
_lock = threading.RLock()


def _register(bar: _Bar) -> int:
    with _lock:
        number = next(_numbers) % 2**31
        _bars[number] = bar
        while len(_bars) > _MAX_BARS:
            _bars.popitem(last=False)
    return number


def _receive(
    number: np.ndarray,
    done: np.ndarray,
    total: np.ndarray,
    first: np.ndarray,
    values: dict[str, Any],
    awaited: list[np.ndarray],
) -> None:
    """Redraws a bar: the one callback of all loops."""
    del awaited
    with _lock:
        key = int(np.asarray(number)[0])
        # A program may outlive the description of its bar, and then shows a plain one.
        bar = _bars.setdefault(key, _Bar(None, False, {}))
        _bars.move_to_end(key)
        bar.update(int(done), int(total), bool(first), values)


def _as_number(x: Any) -> Any:
    array = np.asarray(x)
    return array.item() if array.ndim == 0 else array


def _positive_int(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"The `{name}` of a `ProgressBar` must be an int, got {value!r}.")
    if value <= 0:
        raise ValueError(f"The `{name}` of a `ProgressBar` must be positive, got {value}.")
    return int(value)


def _is_optional_function(x: Any) -> bool:
    return x is None or callable(x)

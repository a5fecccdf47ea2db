"""What all cases use: a library, ways to run programs on new states, and outcomes as JSON."""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh


XS, A, MESH = jnp.arange(4.0), jnp.array([0.5, -1.0, 2.0]), Mesh(np.array(jax.devices()[:1]), ("i",))
Thunk = Callable[[], Any]


@dataclass(frozen=True)
class Failure:
    """An exception as an outcome: the names of its class and bases, as far as Python or both libraries have them."""

    names: str


def attempt(run: Thunk) -> Any:
    """The outcome of a function, waited for."""
    try:
        out = jax.block_until_ready(run())
        jax.effects_barrier()
        return out
    except Exception as error:
        with contextlib.suppress(Exception):
            jax.effects_barrier()  # which tells of the same failure once more
        names = [kind.__name__ for kind in type(error).__mro__ if kind is not Exception]
        known = ("BatchAxisError", "TraceContextError", *dir(builtins))
        return Failure(" ".join(name for name in names if name in known and name not in ("BaseException", "object")))


def describe(value: Any) -> Any:
    """An outcome as JSON: containers with their type, arrays and numbers with dtype, shape and unit."""
    if isinstance(value, Failure):
        return {"error": value.names}
    if isinstance(value, jax.core.Tracer):
        return {"tracer": value.aval.str_short()}
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, dict):
        return {"dict": {str(key): describe(item) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [describe(item) for item in value]}
    if isinstance(value, u.Quantity):
        ((name, numbers),) = describe(value.mantissa).items()
        return {f"{name} {value.unit}": numbers}
    if isinstance(value, jax.ShapeDtypeStruct):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, int | float | jax.Array | np.ndarray | np.generic):
        array = jnp.asarray(value)
        return {f"{array.dtype}[{','.join(map(str, array.shape))}]": array.tolist()}
    return {"object": type(value).__name__}


def alike(theirs: Any, ours: Any) -> bool:
    """Whether two outcomes are the same. An error is, if who catches theirs catches ours."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if theirs.keys() == ours.keys() == {"error"}:
            return theirs["error"].split()[0] in ours["error"].split()
        return theirs.keys() == ours.keys() and all(alike(theirs[key], ours[key]) for key in theirs)
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(theirs) == len(ours) and all(map(alike, theirs, ours))
    if isinstance(theirs, float) and isinstance(ours, float):
        return bool(np.isclose(theirs, ours, rtol=1e-5, atol=1e-6))
    return type(theirs) is type(ours) and theirs == ours


def adds(ref: Any) -> Callable[[Any], Any]:
    """A function that adds its argument to a state and gives twice the new value."""

    def add(x: Any) -> Any:
        ref.value = ref.value + x
        return 2 * ref.value

    return add


def put(ref: Any, value: Any, out: Any = None) -> Any:
    """A write as an expression."""
    ref.value = value
    return out


def fail(*args: Any) -> Any:
    raise LookupError("on purpose")


def likes(array: Any) -> list[Any]:
    """What is left of random numbers: shape and dtype."""
    return [list(array.shape), str(array.dtype)]


def distinct(draws: Any) -> int:
    return len(set(np.asarray(draws).ravel().tolist()))


class Library:
    """The names of a library, and ways to run a program on new states."""

    def __init__(self, bs: Any):
        self.bs, self.T, self.S = bs, bs.transform, bs.State

    def on(self, program: Callable[..., Any], *starts: Any) -> tuple[Any, ...]:
        """The outcome of a program on new states, then their values: also where it failed."""
        refs = [self.S(start) for start in starts]
        out = attempt(lambda: program(*refs))
        return (out, *(attempt(lambda ref=ref: ref.value) for ref in refs))

    def traces(self, transform: Callable[[Any], Any], *calls: Any) -> int:
        """How often Python runs a function that is called with each of some arguments."""
        runs: list[int] = []

        def f(x: Any) -> Any:
            runs.append(1)
            return x * 2

        mapped = transform(f)
        for x in calls:
            mapped(x)
        return len(runs)

    def net(self, make: Callable[..., Any]) -> Any:
        """A module whose `init_state` assigns `V`."""

        class Net(self.bs.nn.Module):
            def init_state(self, *args: Any) -> None:
                self.V = make(*args)

        return Net()

    def plain(self, run: Thunk) -> Any:
        with jax.disable_jit():
            return run()

    def moved(self, run: Thunk) -> tuple[Any, bool]:
        """The outcome of a function, and whether the global key moved."""
        self.bs.random.seed(0)
        before = np.asarray(self.bs.random.get_key_data())
        out = attempt(run)
        return out, bool((before != np.asarray(self.bs.random.get_key_data())).any())

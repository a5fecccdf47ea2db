"""Which arguments of a function are static."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ... import _errors
from .._values import pack_argument, pack_static


class Arguments:
    """Which arguments of a function are static."""

    def __init__(
        self,
        fn: Callable[..., Any],
        static_argnums: int | Sequence[int] | None,
        static_argnames: str | Sequence[str] | None,
    ):
        nums, names = as_tuple(static_argnums, int), as_tuple(static_argnames, str)
        for number in nums:
            if number < 0:
                raise ValueError(_errors.negative_argnum("static_argnums", number))
        parameters = positional_names(fn)
        if parameters is not None:
            if nums and not names:
                names = tuple(parameters[k] for k in nums if k < len(parameters))
            elif names and not nums:
                nums = tuple(parameters.index(name) for name in names if name in parameters)
        self.nums, self.names = frozenset(nums), frozenset(names)

    def pack(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (
            tuple(pack_static(arg) if k in self.nums else pack_argument(arg) for k, arg in enumerate(args)),
            {k: pack_static(arg) if k in self.names else pack_argument(arg) for k, arg in kwargs.items()},
        )


def as_tuple(value: Any, kind: type) -> tuple[Any, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, kind) else tuple(value)


def positional_names(fn: Callable[..., Any]) -> list[str] | None:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]

"""What several test files share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax


def x64(enabled: bool = True) -> AbstractContextManager[None]:
    """A context in which JAX computes in float64 by default (or, with `enabled=False`, in float32)."""
    return jax.enable_x64(enabled)


def in_threads(count: int, work: Callable[[int], Any]) -> list[BaseException]:
    """Calls `work(k)` in so many threads at once, and gives what they raised."""
    errors: list[BaseException] = []

    def guarded(k: int) -> None:
        try:
            work(k)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors

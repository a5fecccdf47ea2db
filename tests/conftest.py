"""Settings and fixtures of all tests; doctests load them with `-p tests.conftest`.

`HYPOTHESIS_PROFILE` chooses how hard Hypothesis tries: `dev` (the default), `ci` (the default if
`CI` is set: the same examples on every run) or `thorough`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from typing import Any


os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402


# A first call compiles, so the time of an example says nothing.
settings.register_profile("dev", deadline=None, max_examples=20)
settings.register_profile("ci", deadline=None, max_examples=20, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def pytest_collection_finish() -> None:
    """Looks for garbage less often: JAX makes many objects, which reference counting alone sets free."""
    gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Callable[..., None]) -> Any:
    """With `-n`, the tests of a file share a process, and so what they compile and compute once for all."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


@pytest.fixture(autouse=True)
def restored_environment() -> Iterator[None]:
    """What a test sets in `environ`, and JAX's 64-bit switch, is undone after it."""
    from neurostate import environ

    before = environ.all()
    x64_before = jax.config.jax_enable_x64
    yield
    environ.reset()
    environ.set(**before)
    jax.config.update("jax_enable_x64", x64_before)


@pytest.fixture
def strict_promotion() -> Iterator[None]:
    """JAX refuses to mix dtypes or ranks by itself: for code that must never rely on it.

    Not for all tests: users do mix them, and units multiply arrays by Python numbers of any kind.
    """
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield

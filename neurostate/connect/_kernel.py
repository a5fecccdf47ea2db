"""The compiled kernel of event-driven connections, built from `_kernel.cc` with the system's C++ compiler."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp

from .._custom_types import Array


_SOURCE: Final = Path(__file__).with_suffix(".cc")
_TARGETS: Final = (
    "deliver_f32",
    "deliver_f64",
    "deliver_late_f32_s32",
    "deliver_late_f64_s32",
    "deliver_late_f32_f32",
    "deliver_late_f64_f64",
)
_FLAGS: Final = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")


class KernelError(RuntimeError):
    """The compiled kernel cannot be had here."""


def kernel_is_available() -> bool:
    """Whether the kernel is there, or can be built: there is a C++ compiler that builds it.

    >>> kernel_is_available() in (True, False)
    True
    """
    try:
        load()
    except KernelError:
        return False
    return True


@functools.cache
def load() -> None:
    """Builds the kernel, unless it is in the cache, and tells JAX about it.

    The cache is the folder `neurostate` in `$XDG_CACHE_HOME`, or in `~/.cache`; the compiler is `$CXX`, or `c++`.

    **Raises:** `KernelError` without a compiler, or with its message if it fails.
    """
    text = _SOURCE.read_bytes()
    stamp = hashlib.sha256(text + f"{jax.__version__} {platform.machine()} {platform.node()} {_FLAGS}".encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neurostate"
    library = cache / f"kernel-{stamp.hexdigest()[:16]}.so"
    if not library.exists():
        _build(library)
    loaded = ctypes.CDLL(str(library))
    for name in _TARGETS:
        jax.ffi.register_ffi_target(f"neurostate_{name}", jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")


def _build(library: Path) -> None:
    compiler = shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise KernelError(
            "The compiled kernel needs a C++ compiler (`c++`, or what `$CXX` names), and there is none.\n"
            "Install one, or use `backend='jax'`, which gives the same results."
        )
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        # Under another name first, so that another process never loads half of it.
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            part = Path(folder) / library.name
            command = [compiler, *_FLAGS, f"-I{jax.ffi.include_dir()}", str(_SOURCE), "-o", str(part)]
            subprocess.run(command, check=True, capture_output=True, text=True)
            part.replace(library)
    except subprocess.CalledProcessError as error:
        raise KernelError(f"`{compiler}` could not build the compiled kernel:\n{error.stderr[-2000:]}") from None
    except OSError as error:
        raise KernelError(f"The compiled kernel could not be written to {library.parent}: {error}") from None


def deliver(starts: Array, targets: Array, x: Array, weight: Array, num_out: int, graded: bool) -> Array:
    """What `_rows.deliver` sums, for `x` of shape `(batch, num_in)`."""
    out = jax.ShapeDtypeStruct((x.shape[0], num_out), x.dtype)
    call: Any = jax.ffi.ffi_call(f"neurostate_deliver_{_name(x)}", out)
    return call(x, starts, targets, weight.astype(x.dtype), graded=graded)


def deliver_late(
    starts: Array, targets: Array, x: Array, weight: Array, lag: Array, ring: Array, slot: Array, graded: bool
) -> Array:
    """What `_delayed.arrive_late` adds to the ring."""
    is_whole = jnp.issubdtype(lag.dtype, jnp.integer)
    lag = lag.astype(jnp.int32) if is_whole else lag.astype(ring.dtype)
    name = f"neurostate_deliver_late_{_name(ring)}_{'s32' if is_whole else _name(ring)}"
    call: Any = jax.ffi.ffi_call(name, jax.ShapeDtypeStruct(ring.shape, ring.dtype), input_output_aliases={5: 0})
    x, weight = x.astype(ring.dtype), weight.astype(ring.dtype)
    return call(x, starts, targets, weight, lag, ring, slot.astype(jnp.int32), graded=graded)


def has_dtype(dtype: Any) -> bool:
    """Whether there is a kernel for numbers of that type."""
    return dtype in (jnp.float32, jnp.float64)


def _name(x: Array) -> str:
    return "f32" if x.dtype == jnp.float32 else "f64"

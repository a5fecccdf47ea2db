"""What transforms do, case by case, for any library with brainstate's names: data for `tests/test_behaviours.py`.

`cases(bs)` gives functions without arguments, by name; `bs` is neurostate or brainstate. What brainstate 0.6.0 does was
recorded in `tests/data/brainstate-0.6.json`: `__main__.py` says how.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

from ._branches import branches
from ._derivatives import derivatives, directions
from ._differences import DIFFERENCES as DIFFERENCES
from ._differences import ROWS as ROWS
from ._differences import page as page
from ._environ import draws, environs
from ._jit import jits
from ._library import Library, Thunk
from ._library import alike as alike
from ._library import attempt as attempt
from ._library import describe as describe
from ._loops import loops, whiles
from ._maps import maps
from ._wrappers import wrappers


GROUPS = (jits, loops, whiles, branches, maps, derivatives, directions, wrappers, environs, draws)


_STARS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def cases(bs: Any) -> dict[str, Thunk]:
    """Every case, by name."""
    return {name: case for group in GROUPS for name, case in group(Library(bs)).items()}


def parameters(bs: Any) -> dict[str, list[str]]:
    """The parameters of every public name of `transform`, `random` and `environ` that can be called."""
    found: dict[str, list[str]] = {}
    for module in ("transform", "random", "environ"):
        of_module = getattr(bs, module)
        for name in getattr(of_module, "__all__", dir(of_module)):
            value = getattr(of_module, name)
            if not name.startswith("_") and callable(value):
                with contextlib.suppress(ValueError):
                    found[f"{module}.{name}"] = [
                        _STARS.get(p.kind, "") + p.name for p in inspect.signature(value).parameters.values()
                    ]
    return found

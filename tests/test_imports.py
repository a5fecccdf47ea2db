"""Which file may import what. Every check has a test that shows that it can fail."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest


PACKAGE = Path(__file__).resolve().parent.parent / "neurostate"

# The layers, from the lowest up: a file imports from its own layer and from those below it.
LAYERS = (
    {"_custom_types", "_errors", "typing"},
    {"_units", "_parameters", "_progress", "_segments", "_dependence", "_cell", "_drive", "surrogate"}
    | {"init", "integrate"},
    {"neuron", "synapse", "connect", "plasticity", "readout", "encode", "source", "conventions", "losses", "metrics"},
    {"network", "layers", "_check_units"},
    {"simulate", "_parallel", "_simulation", "adaptive", "train", "exact", "diagnostics", "datasets"}
    | {"nir", "snapshot", "plot", "testing"},
    {"stateful"},
    {"__init__", "__main__", "_demo"},
)
FACADE = len(LAYERS) - 2

PRIVATE = re.compile(
    r"(jax|jaxlib|equinox|optax|jaxtyping|brainunit|saiunit)(\.\w+)*\._(?!_)\w*(\.|$)"
    r"|jax\.interpreters(\.|$)|equinox\.internal(\.|$)"
)


@dataclass(frozen=True)
class Use:
    """One dotted name that a file imports, reaches by attributes, or spells out as a string."""

    name: str
    line: int
    imported: bool


@dataclass(frozen=True)
class File:
    """A Python file of the package."""

    package: Path
    path: Path

    @property
    def where(self) -> str:
        return self.path.relative_to(self.package).as_posix()

    @property
    def module(self) -> str:
        parts = (self.package.name, *self.path.relative_to(self.package).with_suffix("").parts)
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def layer(self) -> int | None:
        first = self.path.relative_to(self.package).parts[0].removesuffix(".py")
        return next((level for level, names in enumerate(LAYERS) if first in names), None)

    @cached_property
    def uses(self) -> tuple[Use, ...]:
        tree = ast.parse(self.path.read_text(), str(self.path))
        aliases: dict[str, str] = {}
        found = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found.append(Use(alias.name, node.lineno, True))
                    aliases[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                for alias in node.names:
                    found.append(Use(f"{base}.{alias.name}", node.lineno, True))
                    aliases[alias.asname or alias.name] = f"{base}.{alias.name}"
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and (name := _dotted(node, aliases)):
                found.append(Use(name, node.lineno, False))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                if re.fullmatch(r"\w+(\.\w+)+", node.value):
                    found.append(Use(node.value, node.lineno, False))
        return tuple(found)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.module.split(".")
        inside = parts if self.path.name == "__init__.py" else parts[:-1]
        return ".".join([*inside[: len(inside) - node.level + 1], *((node.module,) if node.module else ())])


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str | None:
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id in aliases:
        return ".".join([aliases[node.id], *reversed(names)])
    return None


def files(package: Path) -> list[File]:
    found = [File(package, path) for path in sorted(package.rglob("*.py"))]
    assert found, f"no Python file in {package}"
    return found


def imports(file: File, modules: dict[str, File]) -> Iterator[tuple[File, int]]:
    """The files of the package that a file imports, with the line."""
    for use in file.uses:
        if use.imported:
            target = modules.get(use.name) or modules.get(use.name.rpartition(".")[0])
            if target is not None and target is not file:
                yield target, use.line


def imports_that_point_up(package: Path) -> list[str]:
    modules = {file.module: file for file in files(package)}
    wrong = [f"{file.where}: has no layer in LAYERS" for file in modules.values() if file.layer is None]
    for file in modules.values():
        for target, line in imports(file, modules):
            if file.layer is not None and target.layer is not None and target.layer > file.layer:
                wrong.append(f"{file.where}:{line}: imports {target.where}, which is above it")
    return wrong


def core_files_that_import_the_facade(package: Path) -> list[str]:
    below = [file for file in files(package) if file.layer is None or file.layer < FACADE]
    facade = f"{package.name}.stateful"
    return [
        f"{file.where}:{use.line}: uses {use.name}"
        for file in below
        for use in file.uses
        if use.name == facade or use.name.startswith(f"{facade}.")
    ]


def cycles(package: Path) -> list[str]:
    """Groups of files that import each other, in whatever roundabout way."""
    modules = {file.module: file for file in files(package)}
    reach = {file.where: {target.where for target, _ in imports(file, modules)} for file in modules.values()}
    for middle in reach:
        for targets in reach.values():
            if middle in targets:
                targets |= reach[middle]
    return [where for where, targets in reach.items() if where in targets]


def private_names(package: Path) -> list[str]:
    return [
        f"{file.where}:{use.line}: {use.name}"
        for file in files(package)
        for use in file.uses
        if PRIVATE.match(use.name)
    ]


def core_files_that_use_brainunit(package: Path) -> list[str]:
    allowed = {"_units.py"}
    return [
        f"{file.where}:{use.line}: {use.name}"
        for file in files(package)
        if file.where not in allowed and (file.layer is None or file.layer < FACADE)
        for use in file.uses
        if use.name.split(".")[0] in {"brainunit", "saiunit"} and use.imported
    ]


def uses_of_quantities(package: Path) -> list[str]:
    return [
        f"{file.where}:{use.line}"
        for file in files(package)
        for use in file.uses
        if use.name.split(".")[0] == "quantities" and use.imported
    ]


def second_users_of_jax_extend(package: Path) -> list[str]:
    allowed = {"stateful/_tracing.py"}
    return [
        f"{file.where}:{use.line}: {use.name}"
        for file in files(package)
        if file.where not in allowed
        for use in file.uses
        if use.name == "jax.extend" or use.name.startswith("jax.extend.")
    ]


Check = Callable[[Path], list[str]]
CHECKS: tuple[Check, ...] = (
    imports_that_point_up,
    core_files_that_import_the_facade,
    cycles,
    private_names,
    core_files_that_use_brainunit,
    uses_of_quantities,
    second_users_of_jax_extend,
)


@pytest.mark.parametrize("check", CHECKS)
def test_the_package_keeps_the_rule(check: Check):
    assert check(PACKAGE) == []


# A small package that keeps every rule, and what each bad file adds to it.
GOOD = {
    "__init__.py": "from . import stateful as stateful\nfrom .neuron import LIF as LIF",
    "_errors.py": "",
    "_units.py": "import brainunit as u\nfrom . import _errors",
    "neuron/__init__.py": "from .lif import LIF as LIF",
    "neuron/_base.py": "'''A docstring about jax._src and equinox.internal.'''\nimport jax\njax.core.Tracer.__mro__",
    "neuron/lif.py": "import equinox as eqx\nfrom .._units import u\nfrom ._base import jax\neqx.filter_jit",
    "stateful/__init__.py": "import brainunit\nfrom ..neuron import LIF\nfrom ._tracing import trace",
    "stateful/_tracing.py": "from jax.extend.core import take_current_trace as trace",
}
BAD = [
    (imports_that_point_up, "_errors.py", "from .neuron import LIF"),
    (imports_that_point_up, "_errors.py", "import example.neuron.lif"),
    (imports_that_point_up, "neuron/lif.py", "from .. import stateful"),
    (imports_that_point_up, "neuron/lif.py", "def f():\n    from example import LIF"),
    (imports_that_point_up, "unheard_of.py", ""),
    (core_files_that_import_the_facade, "neuron/lif.py", "from ..stateful import StateRef"),
    (core_files_that_import_the_facade, "neuron/lif.py", "def f():\n    import example.stateful._ref as r"),
    (core_files_that_import_the_facade, "_units.py", "from example import stateful"),
    (core_files_that_import_the_facade, "_units.py", "import importlib\nimportlib.import_module('example.stateful')"),
    (cycles, "neuron/_base.py", "from .lif import LIF"),
    (cycles, "neuron/_base.py", "def f():\n    from . import LIF"),
    (private_names, "neuron/lif.py", "from jax._src import core"),
    (private_names, "neuron/lif.py", "import jax\njax._src.core.trace_ctx"),
    (private_names, "neuron/lif.py", "from jax import lax\nlax._convert_element_type"),
    (private_names, "neuron/lif.py", "from jax.interpreters import batching"),
    (private_names, "neuron/lif.py", "import jax\njax.interpreters.ad.jvp"),
    (private_names, "neuron/lif.py", "import equinox.internal as eqxi"),
    (private_names, "neuron/lif.py", "import equinox as eqx\neqx.internal.while_loop"),
    (private_names, "neuron/lif.py", "from equinox._module import Module"),
    (private_names, "neuron/lif.py", "__import__('importlib').import_module('jax._src.core')"),
    (core_files_that_use_brainunit, "neuron/lif.py", "import brainunit as u"),
    (core_files_that_use_brainunit, "neuron/lif.py", "def f():\n    from saiunit import mV"),
    (uses_of_quantities, "stateful/__init__.py", "import quantities as pq"),
    (second_users_of_jax_extend, "stateful/__init__.py", "from jax.extend import core"),
    (second_users_of_jax_extend, "neuron/lif.py", "import jax\njax.extend.core.Jaxpr"),
]


def _write(folder: Path, sources: dict[str, str]) -> Path:
    package = folder / "example"
    for where, source in sources.items():
        path = package / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source + "\n")
    return package


@pytest.mark.parametrize("check", CHECKS)
def test_a_good_package_passes(check: Check, tmp_path: Path):
    assert check(_write(tmp_path, GOOD)) == []


@pytest.mark.parametrize(("check", "where", "source"), BAD)
def test_a_bad_file_is_found(check: Check, where: str, source: str, tmp_path: Path):
    package = _write(tmp_path, {**GOOD, where: f"{GOOD.get(where, '')}\n{source}"})
    found = check(package)
    assert found
    assert any(message.startswith(where) for message in found)


def test_every_check_is_shown_to_fail():
    assert {check for check, _, _ in BAD} == set(CHECKS)


# Imports the core without `__init__.py`, which brings in the façade, and names what came with it.
CORE_ALONE = """
import importlib, sys, types
name, folder, *modules = sys.argv[1:]
package = types.ModuleType(name)
package.__path__ = [folder]
sys.modules[name] = package
for module in modules:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:  # an optional dependency
        if error.name is None or error.name.startswith(name):
            raise
print(*(module for module in sys.modules if module.startswith(f"{name}.stateful")))
"""


def facade_modules_loaded_by_the_core(package: Path) -> list[str]:
    modules = [file.module for file in files(package) if file.layer is not None and file.layer < FACADE]
    command = [sys.executable, "-c", CORE_ALONE, package.name, str(package), *modules]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return result.stdout.split()


def test_the_core_runs_without_the_facade():
    assert facade_modules_loaded_by_the_core(PACKAGE) == []


def test_a_core_that_loads_the_facade_is_found(tmp_path: Path):
    hidden = "import importlib\nimportlib.import_module('.'.join(['example', 'stateful', '_ref']))"
    package = _write(tmp_path, {"_errors.py": hidden, "stateful/__init__.py": "", "stateful/_ref.py": ""})
    assert core_files_that_import_the_facade(package) == []
    assert facade_modules_loaded_by_the_core(package) == ["example.stateful", "example.stateful._ref"]

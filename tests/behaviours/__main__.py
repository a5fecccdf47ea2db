"""Records what a library does, or writes the page of differences.

python -m tests.behaviours --library brainstate --out tests/data/brainstate-0.6.json
python -m tests.behaviours --page > notebooks/differences.md
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

import jax

from . import attempt, cases, describe, page, parameters


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", default="brainstate")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    if given.page:
        print(page(), end="")
    if given.out is not None:
        record(given.library, given.out)


def record(library: str, out: Path) -> None:
    bs = importlib.import_module(library)
    sections = {
        "versions": {library: bs.__version__, "jax": jax.__version__},
        "parameters": parameters(bs),
        "outcomes": {name: describe(attempt(case)) for name, case in cases(bs).items()},
    }
    texts = []
    for section, content in sections.items():
        lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in content.items()]
        texts.append(json.dumps(section) + ": {\n" + ",\n".join(lines) + "\n}")
    out.write_text("{\n" + ",\n".join(texts) + "\n}\n")


if __name__ == "__main__":
    main()

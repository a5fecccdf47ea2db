"""Runs the notebooks that are given, from first cell to last, and fails at the first error."""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient


for path in map(Path, sys.argv[1:]):
    start = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": path.parent}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    print(f"{path}: {time.monotonic() - start:.0f} s")

"""`python -m neurostate`: a neuron, its firing rates and a trained spiking classifier, in one picture."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import __version__


try:
    from ._demo import job
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in ("matplotlib", "sklearn"):
        raise
    MISSING: str | None = error.name.partition(".")[0]
else:
    MISSING = None

if TYPE_CHECKING:
    from ._demo.job import Report

SUFFIXES: Final = (".jpg", ".pdf", ".png", ".svg")
DESCRIPTION: Final = """\
Simulates a leaky integrate-and-fire neuron, compares its firing rates with the closed form, trains a spiking
classifier on scikit-learn's handwritten digits, prints what came out and draws it. Takes less than a
minute on two cores, needs no display and no network, and gives the same numbers for the same seed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the job with the given command-line arguments; gives the exit code."""
    options = _parser().parse_args(arguments)
    if MISSING is not None:
        print(
            f"python -m neurostate needs {MISSING}, which is not installed. Install it with the other packages of "
            'the examples: pip install "neurostate[examples]"',
            file=sys.stderr,
        )
        return 1
    report = job.run(seed=options.seed, epochs=options.epochs, out=options.out)
    print(f"neurostate {__version__}, seed {options.seed}, {options.epochs} epochs")
    for name, value in _rows(report):
        print(f"{name:<18}{value}")
    print(f"{'picture':<18}{options.out}")
    print(f"test accuracy: {report.test_accuracy:.3f}")
    return 0


def _rows(report: Report) -> list[tuple[str, str]]:
    trace, curve, drive = report.trace, report.curve, job.neuron.as_text(job.neuron.CURRENT)
    return [
        ("spikes", f"{trace.count} in {trace.times[-1]:.0f} ms at {drive}, a rate of {trace.rate:.1f} Hz"),
        ("f-I curve", f"{len(curve.currents)} currents, at most {curve.error:.1%} from the closed form"),
        ("digits", f"{report.num_train} to train, {report.num_test} to test"),
        ("hidden neurons", f"{report.hidden_rate:.0f} Hz on average, over the test digits"),
        ("train accuracy", f"{report.train_accuracy:.3f}"),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m neurostate", description=DESCRIPTION)
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="random seed (default: 0)")
    parser.add_argument("--epochs", type=_epochs, default=40, metavar="N", help="epochs of training (default: 40)")
    parser.add_argument(
        "--out",
        type=_picture,
        default="neurostate-demo.png",
        metavar="PATH",
        help=f"the picture: a file in an existing folder, ending in {', '.join(SUFFIXES)} (default: %(default)s)",
    )
    return parser


def _seed(text: str) -> int:
    return _int_between(text, 0, 2**32 - 1)


def _epochs(text: str) -> int:
    return _int_between(text, 1, 10_000)


def _int_between(text: str, low: int, high: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, got {text!r}")
    return value


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(
            f"{text!r} ends in {path.suffix or 'no suffix'!r}, but the picture can only be written as "
            f"{', '.join(SUFFIXES)}; for example, --out neurostate-demo.png"
        )
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder; name a file in it, as in --out {path / 'demo.png'}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"the folder {str(path.parent)!r} does not exist; make it first, or choose another --out"
        )
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written; choose an --out that you may write to")
    return path


if __name__ == "__main__":
    sys.exit(main())

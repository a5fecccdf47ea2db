"""The main job: its options, its numbers, its table and its picture."""

from __future__ import annotations

import contextlib
import io
import math
import re
import subprocess
import sys
from typing import NamedTuple

import brainunit as u
import jax
import numpy as np
import pytest

from neurostate import __main__ as command
from neurostate._demo import classifier, digits, job, neuron, picture


class Run(NamedTuple):
    code: int
    out: str
    err: str
    path: object
    trained_on: digits.Digits


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One short run of everything."""
    path = tmp_path_factory.mktemp("main") / "demo.png"
    out, err, given = io.StringIO(), io.StringIO(), []

    def train(part, **options):
        given.append(part)
        return original(part, **options)

    original = classifier.train
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(classifier, "train", train)
        code = command.main(["--epochs", "1", "--seed", "3", "--out", str(path)])
    (trained_on,) = given
    return Run(code, out.getvalue(), err.getvalue(), path, trained_on)


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False)


# Options


def test_help():
    done = python("-W", "error", "-m", "neurostate", "--help")
    assert done.returncode == 0 and not done.stderr
    for option in ("--seed", "--epochs", "--out"):
        assert option in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epochs", "-1"], r"argument --epochs: must be a whole number from 1 to \d+, got '-1'"),
        (["--epochs=0"], "got '0'"),
        (["--epochs", "few"], "got 'few'"),
        (["--seed", "-1"], "argument --seed: must be a whole number from 0 to 4294967295, got '-1'"),
        (["--seed", "1.5"], "got '1.5'"),
        (["--seed", str(2**32)], "got '4294967296'"),
        (["--out", "picture.gif"], r"ends in '\.gif', .* \.jpg, \.pdf, \.png, \.svg"),
        (["--out", "picture"], "ends in 'no suffix'"),
        (["--out", "nowhere/at/all.png"], "the folder 'nowhere/at' does not exist; make it first"),
        (["--out", "folder.png"], "'folder.png' is a folder; name a file in it"),
        (["--frames", "3"], "unrecognized arguments: --frames 3"),
    ],
)
def test_bad_options_are_refused_before_any_work(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    monkeypatch.setattr(job, "run", lambda **_: pytest.fail("the work was done"))
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    assert re.search(said, capsys.readouterr().err.replace("\n", " "))


@pytest.mark.parametrize("package", ["matplotlib", "sklearn"])
def test_a_missing_package_names_the_extra(package):
    code = f"import runpy, sys; sys.modules[{package!r}] = None; runpy.run_module('neurostate', run_name='__main__')"
    done = python("-c", code)
    assert done.returncode == 1
    assert f"needs {package}" in done.stderr and 'pip install "neurostate[examples]"' in done.stderr
    assert "Traceback" not in done.stderr


# The whole run


def test_the_table_ends_in_the_test_accuracy(run):
    assert run.code == 0
    lines = run.out.splitlines()
    assert re.fullmatch(r"test accuracy: [01]\.\d{3}", lines[-1])
    assert float(lines[-1].split()[-1]) > 0.5  # one epoch, ten classes
    assert "seed 3, 1 epochs" in lines[0]
    assert any(line.startswith("spikes") and "9 in 50 ms at 1.5 mA" in line for line in lines)
    assert any(line.startswith("picture") and str(run.path) in line for line in lines)


def test_the_progress_shows_the_loss(run):
    assert "training: 100%" in run.err and re.search(r"loss=\d\.\d{3}", run.err)


def test_the_picture_is_a_png_of_some_size(run):
    content = run.path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(content[k : k + 4], "big") for k in (16, 20))
    assert width > 1000 and height > 600 and len(content) > 50_000


def test_no_test_digit_is_trained_on(run):
    train, test = digits.load(3)
    np.testing.assert_array_equal(run.trained_on.places, train.places)
    assert not set(run.trained_on.places) & set(test.places)


@pytest.mark.parametrize("suffix", [".jpg", ".pdf", ".svg"])
def test_the_other_formats(suffix, tmp_path):
    random = np.random.default_rng(0)
    currents = np.linspace(0.0, 3.0, 7)
    rates = neuron.closed_form_rate(u.Quantity(currents, u.mA))
    path = tmp_path / f"demo{suffix}"
    picture.save(
        path,
        trace=neuron.Trace(np.arange(1.0, 4.0), np.array([0.0, 1.0, 0.5]), np.array([0.0, 1.0, 0.0]), 1.0),
        curve=neuron.RateCurve(currents, rates, rates),
        history=classifier.History([1.0, 0.1], [0.5, 0.9]),
        test_accuracy=0.8,
        examples=picture.Examples(random.random((10, 64)), random.integers(0, 2, (10, 5, 10)), 5.0),
    )
    start = {".jpg": b"\xff\xd8\xff", ".pdf": b"%PDF-", ".svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(start)


# The parts


def test_the_split_is_disjoint_whole_and_stratified():
    train, test = digits.load(0)
    both = np.concatenate([train.places, test.places])
    np.testing.assert_array_equal(np.sort(both), np.arange(len(both)))
    assert len(test.places) == math.ceil(digits.TEST_FRACTION * len(both))
    whole = np.bincount(np.concatenate([train.labels, test.labels]), minlength=10)
    np.testing.assert_allclose(np.bincount(test.labels, minlength=10), digits.TEST_FRACTION * whole, atol=1)
    assert (
        train.images.shape == (len(train.labels), digits.SIDE**2) and 0 <= train.images.min() < train.images.max() == 1
    )


def test_the_split_follows_the_seed():
    np.testing.assert_array_equal(digits.load(1)[1].places, digits.load(1)[1].places)
    assert set(digits.load(1)[1].places) != set(digits.load(2)[1].places)


def test_the_rates_are_those_of_the_closed_form():
    currents = [0.0, 0.5, 1.0, 1.5, 2.0]
    expected = [0.0, 0.0, 0.0, 1000 / (5 * math.log(3)), 1000 / (5 * math.log(2))]
    np.testing.assert_allclose(neuron.closed_form_rate(u.Quantity(np.array(currents), u.mA)), expected, rtol=1e-12)
    trace = neuron.simulate_neuron()
    assert trace.count == math.floor(50 / (5 * math.log(3))) and math.isclose(trace.rate, trace.count / 0.05)
    curve = neuron.sweep_currents()
    # A reset takes place at the start of the step after the spike, so that a period is too long by less than a step;
    # and a count within one second is exact to one spike.
    fires = curve.expected > 0
    assert np.all(curve.rates[~fires] == 0)
    assert np.all(curve.rates[fires] <= curve.expected[fires])
    assert np.all(curve.rates[fires] >= 1000 / (1000 / curve.expected[fires] + 0.1) - 1)
    assert curve.error == np.max(1 - curve.rates[fires] / curve.expected[fires])


def test_training_is_deterministic_and_leaves_the_neurons_alone():
    train, _ = digits.load(0)
    few = digits.Digits(*(part[:256] for part in train))
    (first, history), (second, _) = (classifier.train(few, seed=5, epochs=4) for _ in range(2))
    assert jax.tree.all(jax.tree.map(np.array_equal, first, second))
    assert history.loss[-1] < history.loss[0] and len(history.accuracy) == 4
    start = classifier.Classifier(jax.random.split(jax.random.key(5))[0])
    assert jax.tree.all(jax.tree.map(np.array_equal, (start.hidden, start.output), (first.hidden, first.output)))
    assert not np.array_equal(start.to_hidden.weight, first.to_hidden.weight)

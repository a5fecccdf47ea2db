"""Every transform does what brainstate 0.6 does on the same inputs, as recorded, or differs as listed."""

import json
from pathlib import Path

import pytest

import neurostate as ns

from .behaviours import (
    DIFFERENCES,
    ROWS,
    alike,
    attempt,
    cases,
    describe,
    page,
    parameters,
)


ROOT = Path(__file__).parent
RECORD = json.loads((ROOT / "data" / "brainstate-0.6.json").read_text())
CASES = cases(ns)


def outcome(name):
    return describe(attempt(CASES[name]))


@pytest.mark.parametrize("name", [name for name in CASES if name not in DIFFERENCES])
def test_like_brainstate(name):
    ours = outcome(name)
    assert alike(RECORD["outcomes"][name], ours), f"{RECORD['outcomes'][name]} there, {ours} here"


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_as_listed(name):
    ours = outcome(name)
    assert alike(describe(DIFFERENCES[name].outcomes[name]), ours)
    assert not alike(RECORD["outcomes"][name], ours)


def test_the_record_has_every_case():
    assert list(RECORD["outcomes"]) == list(CASES)


def test_every_parameter_is_there_or_listed():
    ours, missing = parameters(ns), set()
    for name, given in RECORD["parameters"].items():
        if name in ours and not any(parameter.startswith("**") for parameter in ours[name]):
            missing |= {f"{name}({p})" for p in given if p not in ours[name] and not p.startswith("*")}
    listed = {name for row in ROWS for name in row.missing}
    assert missing == {name for name in listed if "(" in name}
    assert not ours.keys() & listed


@pytest.mark.parametrize(
    "theirs, ours, same",
    [
        (1.0, 1.0 + 5e-6, True),
        (1.0, 1.1, False),
        ({"error": "ValueError"}, {"error": "BatchAxisError ValueError"}, True),
        ({"error": "BatchAxisError"}, {"error": "ValueError"}, False),
        ({"float32[1]": [1.0]}, {"float32[2]": [1.0]}, False),
        ({"tuple": []}, {"list": []}, False),
        ([1.0], [1.0, 2.0], False),
        (1, True, False),
    ],
)
def test_outcomes_are_told_apart(theirs, ours, same):
    assert alike(theirs, ours) is same


def test_the_page_has_them_all():
    assert (ROOT.parent / "notebooks" / "differences.md").read_text() == page()

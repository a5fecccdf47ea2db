"""Random programs of nested transforms do what plain Python on explicit states does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .programs import Facade, Maker, changed_by_an_error, mismatches, with_boom


@st.composite
def programs(draw, depth=3, boom=False):
    def pick(options):
        return draw(st.sampled_from(list(options)))

    program = Maker(pick).program(depth, size=2)
    return with_boom(program, pick) if boom else program


@pytest.mark.parametrize("how", ["jit", "eager", "disable_jit"])
@settings(max_examples=12)
@given(program=programs())
def test_a_program_of_transforms_is_plain_python(program, how):
    assert mismatches(program, how) == []


@pytest.mark.parametrize("how", ["jit", "for_loop", "grad", "cond"])
@settings(max_examples=10)
@given(program=programs(boom=True))
def test_an_error_anywhere_changes_no_reference(program, how):
    assert changed_by_an_error(program, how) == []


def test_the_comparison_can_fail(monkeypatch):
    program = (("write", "a", ("k",)), ("for", 3, False, (("count",),)))
    assert mismatches(program, "jit") == []
    monkeypatch.setattr(Facade, "environ", lambda self, key: 0.123)
    assert mismatches(program, "jit") != []
    assert changed_by_an_error((("set", ("x",)),), "jit") == ["no error was raised"]

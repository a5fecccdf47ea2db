"""Every public name of brainstate 0.6 is here, is spelled differently, or is refused by an error that names another.

python -m tests.test_porting > notebooks/porting.md

The names are in `tests/data/brainstate-names.json`, recorded where brainstate and brainpy are installed with

import json, brainpy.state, brainstate as b
spaces = "transform nn environ random typing graph mixin util".split()
names = {space: sorted(name for name in getattr(b, space).__all__ if name[0] != "_") for space in spaces}
names[""] = sorted([*b.__all__, "interop"])
for space, owner in {"State": b.State(0.0), "nn.Module": b.nn.Module, "nn.Dynamics": brainpy.state.Dynamics}.items():
    known = names["nn.Module"] if space == "nn.Dynamics" else []
    names[space] = [name for name in dir(owner) if name[0] != "_" and name not in known]
json.dump({space: " ".join(names[space]) for space in sorted(names)}, open("brainstate-names.json", "w"), indent=1)
"""

from __future__ import annotations

import builtins
import functools
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns
from neurostate.stateful._porting import BRAINTOOLS, TABLE, answer


T, environ = ns.transform, ns.environ
ROOT = Path(__file__).parent.parent
RECORDED = {
    space: set(names.split())
    for space, names in json.loads((ROOT / "tests" / "data" / "brainstate-names.json").read_text()).items()
}
INSTANCES = {"State": lambda: ns.State(0.0), "nn.Module": ns.nn.Module, "nn.Dynamics": lambda: ns.nn.Dynamics(1)}
ELSEWHERE = ("graph", "mixin", "util")  # the modules that are not here


def resolve(name: str) -> Any:
    """What a dotted name stands for; one without a dot is Python's own."""
    parts = name.split(".")
    for k in range(len(parts) - 1, 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:k]))
        except ImportError:
            continue
        return functools.reduce(getattr, parts[k:], module)
    return getattr(builtins, name)


def module_of(space: str) -> Any:
    return resolve(f"neurostate.{space}") if space else ns


def words(said: str) -> list[str]:
    return re.findall(r"`([\w.]+)`", said) if " " in said else [said]


def check(space: str, name: str, said: str) -> None:
    """Whether a row of the table is true."""
    owner, attribute = (ns, space) if space in ELSEWHERE else (module_of(space), name)
    if space in INSTANCES:
        owner = INSTANCES[space]()
    if said == "" or said.startswith("~"):
        getattr(owner, attribute)
        substitutes = [word for word in words(said) if "." in word]
    else:  # the text names the substitute before any other word in quotes
        substitutes = [word for k, word in enumerate(words(said)) if k == 0 or "." in word]
        with pytest.raises(AttributeError, match=re.escape(f"`{substitutes[0]}`")) as caught:
            getattr(owner, attribute)
        assert f"{attribute!r}" in str(caught.value)
    for word in substitutes:
        resolve(word)


@pytest.mark.parametrize(("space", "name"), [(space, name) for space, rows in TABLE.items() for name in rows])
def test_a_row_is_true(space, name):
    check(space, name, TABLE[space][name])


@pytest.mark.parametrize("name", ["conn", "input", "metric", "optim", "quad", "spike", "trainer"])
def test_a_module_of_braintools_says_where_its_names_are(name):
    check("", name, BRAINTOOLS[name])


WRONG = [
    ("transform", "vmap2", ""),
    ("transform", "jit", "neurostate.transform.scan"),
    ("transform", "vmap2", "neurostate.transform.map"),
    ("transform", "unheard_of", "Use `neurostate.transform.vmap`."),
    ("transform", "make_jaxpr", "~It is `neurostate.unheard_of`."),
    ("State", "register_hook", ""),
    ("util", "freeze", "frozenset"),
]


@pytest.mark.parametrize(("space", "name", "said"), WRONG)
def test_a_wrong_row_is_found(space, name, said):
    with pytest.raises((AttributeError, AssertionError, pytest.fail.Exception)):
        check(space, name, said)


def not_covered(table: dict[str, dict[str, str]]) -> set[tuple[str, str]]:
    ours = {(space, name) for space, rows in table.items() for name in rows}
    return ours ^ {(space, name) for space, names in RECORDED.items() for name in names}


def test_the_table_has_each_name_and_no_other():
    assert not_covered(TABLE) == set()
    assert sum(map(len, TABLE.values())) > 600
    fewer = {name: said for name, said in TABLE["transform"].items() if name != "vmap2"}
    assert not_covered({**TABLE, "transform": fewer}) == {("transform", "vmap2")}
    assert not_covered({**TABLE, "nn": {**TABLE["nn"], "new": ""}}) == {("nn", "new")}


@pytest.mark.parametrize("space", ["", "environ", "nn", "random", "transform", "typing"])
def test_an_import_of_a_missing_name_explains_it(space):
    module = f"neurostate.{space}".rstrip(".")
    name = next(name for name in TABLE[space] if answer(space, name))
    with pytest.raises(ImportError, match=re.escape(f"{module} has no {name!r}")):
        exec(f"from {module} import {name}")
    assert not hasattr(module_of(space), name)
    with pytest.raises(ImportError, match="cannot import name 'unheard_of'"):
        exec(f"from {module} import unheard_of")
    exec(f"from {module} import {next(name for name, said in TABLE[space].items() if not said)}")


def page() -> str:
    """The table as a page of the documentation."""
    lines = ["# Coming from brainstate", ""]
    lines += ["Each public name of brainstate 0.6 and of brainpy.state's `Dynamics`, and what it is here."]
    lines += ["A name that is missing here says so itself. Each row is tested.", ""]
    for space, rows in TABLE.items():
        owner = "brainpy.state.Dynamics" if space == "nn.Dynamics" else f"brainstate.{space}".rstrip(".")
        same = ", ".join(f"`{name}`" for name, said in rows.items() if said == "")
        lines += [f"## `{owner}`", "", *([f"The same: {same}.", ""] if same else [])]
        others: dict[str, list[str]] = {}
        for name, said in rows.items():
            others.setdefault(said, []).append(f"`{name}`")
        others.pop("", None)
        lines += ["| brainstate | neurostate |", "| --- | --- |"] if others else []
        for said, names in others.items():
            here = f"the same. {said[1:]}" if said.startswith("~") else said if " " in said else f"`{said}`"
            lines.append(f"| {', '.join(names)} | {here} |")
        lines += [""] if others else []
    return "\n".join(lines)


def test_the_page_has_the_table():
    assert (ROOT / "notebooks" / "porting.md").read_text() == page()


VALUES = {
    "array": (jnp.ones((2, 3)), 6),
    "number": (2.0, 1),
    "quantity": (jnp.ones(4) * u.mV, 4),
    "dict": ({"a": jnp.ones(2), "b": (3.0, 1 * u.ms)}, 4),
    "none": (None, 0),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("wrap", [lambda f: f, T.jit], ids=["eager", "jit"])
def test_the_methods_of_a_reference(name, wrap):
    value, size = VALUES[name]
    ref = ns.HiddenState(value, name="V", tag="old")
    double = jax.tree.map(lambda x: 2 * x, value)

    def run():
        assert ref.numel() == size
        doubled = ref.value_call(lambda x: 2 * x)
        ref.restore_value(doubled)
        new = ref.replace(value)
        assert type(new) is ns.HiddenState and (new.name, new.tags) == ("V", {"old"})
        return doubled, new.value

    doubled, again = wrap(run)()
    for got, expected in ((ref.value, double), (doubled, double), (again, value)):
        assert jax.tree.structure(got) == jax.tree.structure(expected)
        jax.tree.map(np.testing.assert_array_equal, got, expected)


@pytest.mark.parametrize("other", [{"a": 1.0}, None, 1.0 * u.mV, (1.0,), "text"], ids=repr)
def test_restore_value_keeps_the_structure(other):
    ref = ns.State(jnp.zeros(2), name="net.V")
    with pytest.raises(ns.StateStructureError, match=r"net\.V(.|\n)*float32\[2\](.|\n)*got"):
        ref.restore_value(other)
    assert (ref.value == 0).all()
    ref.restore_value(jnp.ones(3))
    assert ref.value.shape == (3,)


def test_copies_and_tags_of_references():
    a, b = ns.State(1.0, name="a", tag="x"), ns.State({"k": 2.0}, name="b", tag="y")
    new = a.copy()
    assert new is not a and (new.value, new.name, new.tags) == (1.0, "a", {"x"})
    new.add_tag("z")
    assert (new.tags, a.tags) == ({"x", "z"}, {"x"})
    a.copy_from(b)
    assert (a.value, a.name, a.tags) == ({"k": 2.0}, "b", {"y"})
    with pytest.raises(TypeError, match=r"copy_from.*State.*ParamState"):
        a.copy_from(ns.ParamState(1.0))
    with pytest.raises(ns.TraceContextError, match="outside"):
        T.jit(lambda: a.copy() and None)()


class Net(ns.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = ns.ParamState(jnp.ones(2))

    def init_state(self):
        self.V = ns.HiddenState(jnp.zeros(2))
        self.u = ns.HiddenState(jnp.ones(2), tag="slow")


def test_new_states_are_caught():
    with ns.catch_new_states("all") as outer:
        first = ns.State(1.0)
        with ns.catch_new_states("inner", state_to_exclude=ns.ParamState) as inner:
            net = ns.nn.init_all_states(Net())
            assert inner.get_states() == [net.V, net.u] and inner.get_by_tag("slow") == [net.u]
            ns.nn.init_all_states(net)
        last = ns.State(2.0)
    ns.State(3.0)
    assert inner.get_states() == [net.V, net.u] and outer.get_states() == [first, net.w, net.V, net.u, last]
    assert (net.V.tags, net.w.tags, net.u.tags) == ({"all", "inner"}, {"all"}, {"all", "inner", "slow"})
    first.value = 5.0
    assert outer.get_state_values()[0] == 5.0 and outer.get_by_tag("inner") == [net.V, net.u]
    with ns.catch_new_states(state_to_exclude="V") as again, pytest.raises(ValueError, match="stop"):
        ns.nn.init_all_states(net)
        raise ValueError("stop")
    assert again.get_states() == [net.u]


def caught_in(wrap, use=lambda ref: None):
    kept = []

    def f(x):
        kept.append(ns.HiddenState(x * jnp.ones(2), name="born"))
        return x

    with ns.catch_new_states() as caught:
        run = wrap(f)
        run()
    return run, kept, caught


def test_new_states_under_transforms():
    run, kept, caught = caught_in(lambda f: functools.partial(T.jit(f), 2.0))
    assert caught.get_states() == kept and (caught.get_state_values()[0] == 2).all()
    with ns.catch_new_states() as again:
        run()  # a cached call makes no reference, but writes the one that it made
    assert again.get_states() == []
    _, kept, caught = caught_in(lambda f: functools.partial(T.vmap(f), jnp.arange(3.0)))
    assert caught.get_states() == kept and caught.get_state_values()[0].shape == (3, 2)
    _, kept, caught = caught_in(lambda f: functools.partial(T.for_loop, f, jnp.arange(3.0)))
    assert caught.get_states() == kept
    with pytest.raises(ns.TraceContextError, match="born.*for_loop"):
        caught.get_state_values()

    @T.jit
    def inside(x):
        with ns.catch_new_states() as caught:
            ns.State(x + 1)
        return caught.get_state_values()

    assert inside(1.0)[0] == 2.0
    net = ns.nn.init_all_states(Net())
    before = net.V
    with ns.catch_new_states() as caught:
        ns.nn.vmap_init_all_states(net, axis_size=3)
    assert caught.get_states() == [before, net.u] and before is net.V and net.V.value.shape == (3, 2)


PRECISIONS = {
    16: ("float16", "int16", "uint16", "complex64", 1e-2),
    "bf16": ("bfloat16", "int16", "uint16", "complex64", 1e-2),
    32: ("float32", "int32", "uint32", "complex64", 1e-5),
    64: ("float64", "int64", "uint64", "complex128", 1e-12),
}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_dtypes_follow_the_precision(precision):
    with environ.context(precision=precision):
        found = (environ.dftype(), environ.ditype(), environ.dutype(), environ.dctype(), environ.tolerance())
        assert found == PRECISIONS[precision]
    assert precision in environ.SUPPORTED_PRECISIONS and environ.DEFAULT_PRECISION == 32


def test_the_platform():
    before = jax.config.jax_default_device
    try:
        assert environ.get_platform() == jax.default_backend()
        environ.set(platform="cpu")
        assert environ.get_platform() == environ.get(environ.PLATFORM) == "cpu" == jnp.ones(2).device.platform
        environ.reset()
        assert environ.get_platform() == "cpu"
    finally:
        jax.config.update("jax_default_device", before)
    for wrong in ({"platform": "abacus"}, {"host_device_count": 0}, {"host_device_count": True}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is.*{next(iter(wrong.values()))!r}"):
            environ.set(dt=1.0, **wrong)
    assert environ.all() == {}


COUNT = """
import jax, neurostate as ns
ns.environ.set_host_device_count(3)
assert ns.environ.get_host_device_count() == len(jax.devices("cpu")) == 3
ns.environ.set(host_device_count=3)
try:
    ns.environ.set(host_device_count=2)
except RuntimeError as error:
    print(error)
assert ns.environ.get_host_device_count() == 3
"""


def test_the_number_of_host_devices():
    result = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True, timeout=120)
    assert "host_device_count=2" in result.stdout and "too late" in result.stdout


if __name__ == "__main__":
    print(page(), end="")

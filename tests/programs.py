"""Random programs of nested transforms, and what they mean in plain Python on explicit states.

    python -m tests.programs --count 2000 --seed 0

A program is a tree of tuples, such as `("for", 2, False, (("write", "a", ("x",)),))`. It computes a scalar from a
scalar and changes the states `a` and `b` (scalars), `n` (an integer), `V` and `W` (arrays of three, which `vmap` may
map). `Plain` runs it on a dict of states, step by step; `Facade` with references and transforms.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import neurostate as ns


T = ns.transform
Program = tuple[Any, ...]
SCALARS, ARRAYS = ("a", "b"), ("V", "W")
NAMES = (*SCALARS, "n", *ARRAYS)
ANGLES = np.arange(4, dtype=np.float32) * np.float32(0.1)


class Boom(Exception):
    """The error that a program can be made to raise."""


# Making programs


class Maker:
    """Makes programs from choices: `pick(options)` chooses one of a sequence."""

    def __init__(self, pick: Callable[[Sequence[Any]], Any]):
        self.pick = pick
        self.differentiated = False  # there a `while` has no derivative

    def program(self, depth: int, mapped: frozenset[str] | None = None, size: int = 3) -> Program:
        """A sequence of statements; `mapped` is `None` outside `vmap`, else the states that may be written."""
        return tuple(self.statement(depth, mapped) for _ in range(self.pick(range(1, size + 1))))

    def expression(self, depth: int = 2) -> Program:
        kind = self.pick(("x", "x", "state", "t", "k", "constant", "sin", "add", "mul") if depth else ("x", "state"))
        if kind == "state":
            return ("state", self.pick(NAMES))
        if kind == "constant":
            return ("constant", self.pick((-0.7, 0.2, 1.0)))
        if kind in ("sin", "add", "mul"):
            return (kind, *(self.expression(depth - 1) for _ in range(1 if kind == "sin" else 2)))
        return (kind,)

    def write(self, mapped: frozenset[str] | None) -> Program:
        if mapped is None:
            name = self.pick(NAMES)
            return ("count",) if name == "n" else ("write", name, self.expression())
        return ("write", self.pick(sorted(mapped)), self.expression()) if mapped else ("set", self.expression())

    def statement(self, depth: int, mapped: frozenset[str] | None) -> Program:
        kinds = ["write", "write", "set"]
        if depth:
            kinds += ["jit", "for", "checkpointed", "scan", "while", "bounded", "cond", "switch", "ifelse", "grad"]
            kinds += ["remat", "map", "context", "born", "caught"] + (["vmap", "vmap"] if mapped is None else [])
        kind = self.pick([kind for kind in kinds if kind != "while" or not self.differentiated])
        body = lambda: self.program(depth - 1, mapped, 2)  # noqa: E731
        if kind == "write":
            return self.write(mapped)
        if kind == "set":
            return ("set", self.expression())
        if kind == "for":
            return ("for", self.pick((0, 1, 3)), self.pick((False, True)), body())
        if kind in ("checkpointed", "scan"):
            return (kind, self.pick((1, 3)), body())
        if kind in ("while", "bounded"):
            return (kind, self.pick((0, 1, 3)), body())
        if kind in ("cond", "ifelse"):
            return (kind, self.expression(1), body(), body())
        if kind == "switch":
            return (kind, self.expression(1), tuple(body() for _ in range(self.pick((1, 2, 3)))))
        if kind == "grad":
            states = tuple(name for name in ("a", "b", "V") if self.pick((False, True)))
            of_x, before, self.differentiated = not states or self.pick((False, True)), self.differentiated, True
            inner, self.differentiated = body(), before
            return (kind, states, of_x, inner)
        if kind == "map":
            batch = self.pick((None, 2))
            return (
                kind,
                self.pick((1, 3)),
                batch,
                body() if batch is None else self.program(depth - 1, frozenset(), 2),
            )
        if kind == "context":
            key = self.pick(("t", "k"))
            return (kind, key, self.expression(1) if key == "t" else self.pick((0.5, 1.5)), body())
        if kind == "vmap":
            declared = frozenset(name for name in ARRAYS if self.pick((False, True)))
            return (kind, tuple(sorted(declared)), self.program(depth - 1, declared, 2))
        return (kind, body())  # jit, remat, born, caught


def with_boom(program: Program, pick: Callable[[Sequence[Any]], Any]) -> Program:
    """The same with a statement somewhere that raises."""
    places = [k for k, s in enumerate(program) if s[0] != "caught" and any(map(is_program, s))]
    if not places or pick((False, True)):
        k = pick(range(len(program) + 1))
        return (*program[:k], ("boom",), *program[k:])
    k = pick(places)
    statement = list(program[k])
    j = pick([j for j, part in enumerate(statement) if is_program(part)])
    statement[j] = with_boom(statement[j], pick)
    return (*program[:k], tuple(statement), *program[k + 1 :])


def is_program(part: Any) -> bool:
    return isinstance(part, tuple) and len(part) > 0 and all(isinstance(s, tuple) and s and s[0] in STEPS for s in part)


STEPS = frozenset(
    "write set count boom jit for checkpointed scan while bounded cond switch ifelse grad remat map context".split()
) | {"born", "caught", "vmap"}


# What they mean


def evaluate(e: Program, x: Any, world: Any) -> Any:
    kind = e[0]
    if kind == "x":
        return x
    if kind == "constant":
        return jnp.float32(e[1])
    if kind == "state":
        return jnp.sum(jnp.asarray(world.get(e[1]), jnp.float32)) * jnp.float32(0.5)
    if kind in ("t", "k"):
        return jnp.asarray(world.environ(kind), jnp.float32)
    parts = [evaluate(part, x, world) for part in e[1:]]
    return (
        jnp.sin(parts[0]) if kind == "sin" else parts[0] + parts[1] if kind == "add" else jnp.sin(parts[0]) * parts[1]
    )


def run(program: Program, x: Any, world: Any) -> Any:
    for statement in program:
        x = step(statement, x, world)
    return x


def step(s: Program, x: Any, world: Any) -> Any:
    kind, last = s[0], s[-1]
    body = lambda y: run(last, y, world)  # noqa: E731
    if kind == "boom":
        raise Boom
    if kind == "set":
        return jnp.sin(evaluate(s[1], x, world) + 0.3)
    if kind == "count":
        world.set("n", world.get("n") + 1)
        return x
    if kind == "write":
        old = world.get(s[1])
        slope = 1 + 0.1 * jnp.arange(3.0) if jnp.ndim(old) else 1.0
        world.set(s[1], jnp.sin(old * 0.5 + evaluate(s[2], x, world) * slope))
        return x
    if kind in ("jit", "remat"):
        return getattr(world, kind)(body)(x)
    if kind == "for":
        return jnp.sin(x + jnp.sum(world.for_loop(body, x + ANGLES[: s[1]], reverse=s[2])))
    if kind == "checkpointed":
        return jnp.sin(x + jnp.sum(world.checkpointed_for_loop(body, x + ANGLES[: s[1]], base=2)))
    if kind == "scan":
        last_carry, stacked = world.scan(lambda c, y: (body(c + y), jnp.sin(c)), x, jnp.asarray(ANGLES[: s[1]]))
        return jnp.sin(last_carry + jnp.sum(stacked))
    if kind in ("while", "bounded"):
        more = {} if kind == "while" else {"max_steps": 2}
        loop = world.while_loop if kind == "while" else world.bounded_while_loop
        return loop(lambda c: c[0] < s[1], lambda c: (c[0] + 1, body(c[1])), (jnp.int32(0), x), **more)[1]
    if kind == "cond":
        branches = [lambda y, b=b: run(b, y, world) for b in s[2:]]
        return world.cond(jnp.sin(7 * evaluate(s[1], x, world)) > 0, *branches, x)
    if kind == "ifelse":
        holds = jnp.sin(7 * evaluate(s[1], x, world)) > 0
        return world.ifelse([holds, ~holds], [lambda y, b=b: run(b, y, world) for b in s[2:]], x)
    if kind == "switch":
        index = jnp.int32(jnp.floor((jnp.sin(5 * evaluate(s[1], x, world)) + 1) * 2)) - 1
        return world.switch(index, [lambda y, b=b: run(b, y, world) for b in last], x)
    if kind == "grad":
        gradients, value = world.grad(body, s[1], s[2], x)
        return jnp.sin(sum(jnp.sum(g) for g in gradients) + value)
    if kind == "map":
        return jnp.sin(jnp.sum(world.map(body, x + ANGLES[: s[1]], s[2])))
    if kind == "context":
        with world.context(s[1], evaluate(s[2], x, world) if s[1] == "t" else s[2]):
            return body(x)
    if kind == "born":
        return world.born(body, x)
    if kind == "caught":
        return world.caught(body, x)
    return jnp.sin(jnp.sum(world.vmap(body, s[1], x + ANGLES[:3])))


class Plain:
    """States in a dict, loops in Python: what a program should do."""

    def __init__(self, states: dict[str, Any], t: float, k: float):
        self.states, self.keys = dict(states), [{"t": t, "k": k}]
        self.lanes: list[tuple[Sequence[str], int]] = []

    def get(self, name: str) -> Any:
        lane = [k for names, k in self.lanes if name in names]
        return self.states[name][lane[0]] if lane else self.states[name]

    def set(self, name: str, value: Any) -> None:
        lane = [k for names, k in self.lanes if name in names]
        self.states[name] = jnp.asarray(self.states[name]).at[lane[0]].set(value) if lane else value

    def environ(self, key: str) -> Any:
        return self.keys[-1][key]

    @contextmanager
    def context(self, key: str, value: Any) -> Iterator[None]:
        self.keys.append({**self.keys[-1], key: value})
        try:
            yield
        finally:
            self.keys.pop()

    def jit(self, f: Any) -> Any:
        return f

    remat = jit

    def for_loop(self, f: Any, xs: Any, reverse: bool = False) -> Any:
        out: list[Any] = [None] * len(xs)
        for k in reversed(range(len(xs))) if reverse else range(len(xs)):
            out[k] = f(xs[k])
        return jnp.stack(out) if out else jnp.zeros(0)

    def checkpointed_for_loop(self, f: Any, xs: Any, base: int) -> Any:
        return self.for_loop(f, xs)

    def map(self, f: Any, xs: Any, batch_size: int | None) -> Any:
        return self.for_loop(f, xs)

    def scan(self, f: Any, carry: Any, xs: Any) -> Any:
        out = []
        for x in xs:
            carry, y = f(carry, x)
            out.append(y)
        return carry, jnp.stack(out)

    def while_loop(self, condition: Any, body: Any, value: Any, max_steps: int = 99) -> Any:
        steps = 0
        while steps < max_steps and bool(condition(value)):
            value, steps = body(value), steps + 1
        return value

    bounded_while_loop = while_loop

    def cond(self, holds: Any, true: Any, false: Any, x: Any) -> Any:
        return true(x) if bool(holds) else false(x)

    def ifelse(self, conditions: Any, branches: Any, x: Any) -> Any:
        return branches[[bool(c) for c in conditions].index(True)](x)

    def switch(self, index: Any, branches: Any, x: Any) -> Any:
        return branches[max(0, min(int(index), len(branches) - 1))](x)

    def grad(self, f: Any, names: Sequence[str], of_x: bool, x: Any) -> Any:
        before, keys = dict(self.states), list(self.keys)

        def loss(values: list[Any], x: Any) -> Any:
            self.states, self.keys = dict(before), list(keys)
            for name, value in zip(names, values, strict=True):
                self.set(name, value)
            out = f(x)
            return out, (out, dict(self.states))

        gradients, (value, self.states) = jax.grad(loss, argnums=(0, 1), has_aux=True)([*map(self.get, names)], x)
        return [*gradients[0], *([gradients[1]] if of_x else [])], value

    def vmap(self, f: Any, names: Sequence[str], xs: Any) -> Any:
        out = []
        for k in range(3):
            self.lanes.append((names, k))
            out.append(f(xs[k]))
            self.lanes.pop()
        return jnp.stack(out)

    def born(self, f: Any, x: Any) -> Any:
        return f(x) * 2 + x

    def caught(self, f: Any, x: Any) -> Any:
        return x


class Facade:
    """The same with references and transforms."""

    def __init__(self, refs: dict[str, ns.StateRef]):
        self.refs = refs

    def get(self, name: str) -> Any:
        return self.refs[name].value

    def set(self, name: str, value: Any) -> None:
        self.refs[name].value = value

    def environ(self, key: str) -> Any:
        return ns.environ.get(key)

    def context(self, key: str, value: Any) -> Any:
        return ns.environ.context(**{key: value})

    def map(self, f: Any, xs: Any, batch_size: int | None) -> Any:
        return T.map(f, xs, batch_size=batch_size)

    def grad(self, f: Any, names: Sequence[str], of_x: bool, x: Any) -> Any:
        refs = [self.refs[name] for name in names] or None
        options: dict[str, Any] = {"argnums": 0 if of_x else None, "check_states": False, "return_value": True}
        gradients, value = T.grad(f, refs, **options)(x)
        if refs is None:
            return [gradients], value
        return ([*gradients[0], gradients[1]] if of_x else gradients), value

    def vmap(self, f: Any, names: Sequence[str], xs: Any) -> Any:
        return T.vmap(f, in_states=[self.refs[name] for name in names])(xs)

    def born(self, f: Any, x: Any) -> Any:
        def inside(x: Any) -> Any:
            fresh = ns.StateRef(x)
            fresh.value = fresh.value + f(x) * 2
            return fresh.value

        return T.jit(inside)(x)

    def caught(self, f: Any, x: Any) -> Any:
        def fail(x: Any) -> Any:
            f(x)
            raise Boom

        try:
            T.for_loop(fail, x + ANGLES[:2])
        except Boom:
            return x
        raise AssertionError("The loop did not raise.")

    def __getattr__(self, name: str) -> Any:
        if name == "ifelse":
            return lambda conditions, branches, x: T.ifelse(conditions, branches, x)
        return getattr(T, name)


# Comparing


def first_states() -> dict[str, Any]:
    values = {"a": jnp.float32(0.3), "b": jnp.float32(-0.8), "n": jnp.int32(0)}
    return {**values, "V": jnp.array([0.1, -0.4, 0.9]), "W": jnp.array([1.0, 0.2, -0.3])}


def mismatches(program: Program, how: str) -> list[str]:
    """Runs a program three times with changing inputs, and says where façade and plain Python differ."""
    refs = {name: ns.StateRef(value, name=name) for name, value in first_states().items()}
    facade, states, found = Facade(refs), first_states(), []
    call = T.jit(lambda x: run(program, x, facade)) if how == "jit" else lambda x: run(program, x, facade)
    for k, (t, key, x) in enumerate([(0.2, 0.5, 0.4), (0.9, 0.5, -0.6), (0.9, 1.5, 0.4)]):
        plain = Plain(states, jnp.float32(t), key)
        expected = run(program, jnp.float32(x), plain)
        with ns.environ.context(t=jnp.float32(t), k=key), jax.disable_jit(how == "disable_jit"):
            got = call(jnp.float32(x))
        pairs = {"output": (got, expected), **{n: (refs[n].value, v) for n, v in plain.states.items()}}
        for name, (a, b) in pairs.items():
            if jnp.shape(a) != jnp.shape(b) or not np.allclose(a, b, rtol=2e-4, atol=2e-5):
                found.append(f"call {k}, {name}: {a} instead of {b}")
        # Where rounding differs, small differences must not add up: both go on from the same states.
        states = {
            name: value * jnp.asarray(0.5 if name != "n" else 1, value.dtype) for name, value in plain.states.items()
        }
        for name, value in states.items():
            refs[name].value = value
    return found


def changed_by_an_error(program: Program, how: str) -> list[str]:
    """The references that do not hold the very objects they held, after a program that raises."""
    refs = {name: ns.StateRef(value, name=name) for name, value in first_states().items()}
    before = {name: ref.value for name, ref in refs.items()}
    transforms = {
        "jit": lambda f: T.jit(f)(jnp.float32(0.4)),
        "for_loop": lambda f: T.for_loop(f, jnp.float32(0.4) + ANGLES[:2]),
        "grad": lambda f: T.grad(f)(jnp.float32(0.4)),
        "cond": lambda f: T.cond(True, f, lambda x: x, jnp.float32(0.4)),
    }
    try:
        with ns.environ.context(t=jnp.float32(0.2), k=0.5):
            transforms[how](lambda x: run(program, x, Facade(refs)))
    except Boom:
        return [name for name, ref in refs.items() if ref.value is not before[name]]
    return ["no error was raised"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--depth", type=int, default=3)
    options = parser.parse_args()
    start, wrong = time.monotonic(), 0
    for k in range(options.count):
        rng = random.Random(f"{options.seed}-{k}")
        program = Maker(rng.choice).program(1 + k % options.depth)
        how = ("jit", "eager", "jit", "disable_jit")[k % 4]
        try:
            found = mismatches(program, how)
        except Exception as error:
            found = [f"{type(error).__name__}: {error}"]
        if found:
            wrong += 1
            print(f"{k} ({how}): {program}\n  " + "\n  ".join(found), flush=True)
        broken = with_boom(program, rng.choice)
        changed = changed_by_an_error(broken, ("jit", "for_loop", "grad", "cond")[k % 4])
        if changed:
            wrong += 1
            print(f"{k}, with an error: {broken}\n  changed: {changed}", flush=True)
        if k % 50 == 49:
            jax.clear_caches()
    print(f"{options.count} programs, {wrong} wrong, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()

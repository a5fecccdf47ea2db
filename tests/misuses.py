"""Ways to misuse the façade, with the error that each gives: data for a test and for `notebooks/errors.md`.

python -m tests.misuses > notebooks/errors.md
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

import neurostate as ns


T, S = ns.transform, ns.StateRef


class Net(ns.nn.Module):
    """A module whose state `V` is called `Net.V`, with a parameter `Net.w`."""

    def __init__(self) -> None:
        super().__init__()
        self.w = ns.ParamState(jnp.ones(3))
        self.V = ns.HiddenState(jnp.zeros(3))
        self.I = ns.HiddenState(jnp.zeros(3) * u.mA)  # noqa: E741

    def set(self, value: Any) -> Any:
        self.V.value = value
        return jnp.float32(0)


# ruff: noqa: E501
@dataclass(frozen=True)
class Misuse:
    """What is done wrong, the error, the words that its text has, and the fix that it names."""

    what: str
    run: Callable[[Net], Any]
    error: type[BaseException]
    named: tuple[str, ...]
    fix: str


def rows() -> list[Misuse]:
    xs = jnp.arange(3.0)
    cell = ns.nn.Stateful(ns.LIF(2))
    ready = ns.nn.init_all_states(ns.nn.Stateful(ns.LIF(2)))

    def lost(net: Net) -> Any:
        kept: list[Any] = []
        T.for_loop(lambda x: kept.append(S(x, name="inner")), xs)
        return kept[0].value

    def outlived(net: Net) -> Any:
        kept: list[Any] = []

        def generator(x: Any) -> Any:
            with ns.environ.context(t=x):
                yield

        def f(x: Any) -> Any:
            kept.append(generator(x))
            next(kept[0])
            return x

        T.jit(f)(1.0)
        try:
            return ns.environ.get("t")
        finally:
            kept[0].close()

    def donated(net: Net) -> Any:
        def fail(x: Any) -> Any:
            raise RuntimeError("no luck")

        def f(x: Any) -> None:
            shape = jax.ShapeDtypeStruct((3,), jnp.float32)
            net.V.value = net.V.value + jax.pure_callback(fail, shape, x * net.V.value)

        with contextlib.suppress(Exception):
            T.jit(f, donate_states=True, sync=True)(1.0)
        return net.V.value

    class Tree(ns.nn.Module):
        def init_state(self) -> None:
            self.V = ns.HiddenState(jnp.zeros(3))

    def born(transform: Callable[[Any], Any]) -> Callable[[Net], Any]:
        def run(net: Net) -> Any:
            tree = Tree()
            return transform(lambda x: (tree.init_state(), x * 1.0)[1])

        return run

    return [
        Misuse("a loop changes a state's shape", lambda n: T.for_loop(lambda x: n.set(n.V.value[None]), xs),
               ns.StateStructureError, ("Net.V", "float32[3]", "float32[1,3]", "for_loop"), "init_state(batch_size=...)"),
        Misuse("a loop changes a state's dtype", lambda n: T.for_loop(lambda x: n.set(n.V.value.astype(int)), xs),
               ns.StateStructureError, ("Net.V", "float32[3]", "int32[3]"), ".astype"),
        Misuse("a loop changes a state's unit", lambda n: T.for_loop(lambda x: setattr(n.I, "value", xs * u.mV), xs),
               ns.StateStructureError, ("Net.I", "mA", "mV"), "same shape, dtype and unit"),
        Misuse("a loop drops a state's unit", lambda n: T.for_loop(lambda x: setattr(n.I, "value", xs), xs),
               ns.StateStructureError, ("Net.I", "mA", "float32[3]"), "same shape, dtype and unit"),
        Misuse("a loop changes a state's structure", lambda n: T.for_loop(lambda x: n.set({"a": xs}), xs),
               ns.StateStructureError, ("Net.V", "float32[3]", "'a'"), "another reference"),
        Misuse("a scan changes its carry's structure", lambda n: T.scan(lambda c, x: ((c, c), x), 0.0, xs),
               ns.StateStructureError, ("carry", "scan"), "same containers"),
        Misuse("a scan changes its carry's shape", lambda n: T.scan(lambda c, x: (jnp.ones(2), x), 0.0, xs),
               ns.StateStructureError, ("carry", "[2]"), "same shape"),
        Misuse("a scan changes its carry's dtype", lambda n: T.scan(lambda c, x: (c + 0.5, x), jnp.int32(0), xs),
               ns.StateStructureError, ("carry", "int32", "float32"), "later dtype"),
        Misuse("a scan returns no pair", lambda n: T.scan(lambda c, x: c, 0.0, xs), TypeError, ("scan", "pair"), "(carry, output)"),
        Misuse("inputs of a loop differ in length", lambda n: T.for_loop(lambda x, y: x, xs, jnp.ones(4)), ValueError,
               ("for_loop", "3", "4"), "same number of steps"),
        Misuse("an input of a loop is a scalar", lambda n: T.for_loop(lambda x: x, 1.0), ValueError, ("for_loop", "scalar"), "time axis"),
        Misuse("a loop has no length", lambda n: T.for_loop(lambda: 1.0), ValueError, ("for_loop",), "`length=`"),
        Misuse("a negative length", lambda n: T.for_loop(lambda: 1.0, length=-1), ValueError, ("length", "-1"), "not be negative"),
        Misuse("a progress bar coarser than the loop", lambda n: T.for_loop(lambda x: x, xs, pbar=10), ValueError,
               ("freq", "10", "3"), "only"),
        Misuse("a progress bar of a wrong type", lambda n: T.for_loop(lambda x: x, xs, pbar=1.5), TypeError, ("pbar", "1.5"), "an int"),
        Misuse("freq and count at once", lambda n: T.ProgressBar(freq=1, count=1), ValueError, ("freq", "count"), "not both"),
        Misuse("a loop over what is no function", lambda n: T.for_loop(3.0, xs), TypeError, ("for_loop", "3.0"), "function"),
        Misuse("checkpoints of one step", lambda n: T.checkpointed_for_loop(lambda x: x, xs, base=1), ValueError, ("base", "1"), "at least 2"),
        Misuse("a while condition writes", lambda n: T.while_loop(lambda x: (n.set(xs), x < 1)[1], lambda x: x + 1, 0.0),
               ns.TraceContextError, ("Net.V", "while_loop"), "Write it in the body"),
        Misuse("a while condition is no scalar", lambda n: T.while_loop(lambda x: xs > 0, lambda x: x, 0.0), TypeError,
               ("while_loop", "[3]"), "jnp.all"),
        Misuse("a bound below 0", lambda n: T.bounded_while_loop(lambda x: x < 1, lambda x: x, 0.0, max_steps=-1), ValueError,
               ("max_steps", "-1"), "at least 0"),
        Misuse("branches return different structures", lambda n: T.cond(True, lambda: 1.0, lambda: (1.0, 2.0)),
               ns.StateStructureError, ("cond",), "same containers"),
        Misuse("branches return different dtypes", lambda n: T.cond(True, lambda: 1.0, lambda: jnp.int32(1)),
               ns.StateStructureError, ("cond", "int32", "float32"), "dtypes"),
        Misuse("branches return different units", lambda n: T.cond(True, lambda: 1.0 * u.mV, lambda: 1.0 * u.mA),
               ns.StateStructureError, ("cond", "mV", "mA"), "units"),
        Misuse("branches leave a state with different shapes", lambda n: T.cond(True, lambda: n.set(jnp.ones(2)), lambda: n.set(xs)),
               ns.StateStructureError, ("Net.V", "[2]", "[3]"), "in each"),
        Misuse("one branch changes a state's dtype", lambda n: T.cond(True, lambda: n.set(jnp.ones(3, int)), lambda: jnp.float32(0)),
               ns.StateStructureError, ("Net.V", "int32", "float32"), ".astype"),
        Misuse("a condition of shape (3,)", lambda n: T.cond(xs > 0, lambda: 1.0, lambda: 2.0), TypeError, ("cond", "(3,)"), "jnp.where"),
        Misuse("a string as a condition", lambda n: T.cond("yes", lambda: 1.0, lambda: 2.0), TypeError, ("cond", "'yes'"), "scalar condition"),
        Misuse("a float as an index", lambda n: T.switch(0.5, [lambda: 1.0]), TypeError, ("switch", "0.5"), "integer"),
        Misuse("a switch without branches", lambda n: T.switch(0, []), ValueError, ("switch",), "at least one"),
        Misuse("conditions and branches differ in number", lambda n: T.ifelse([True], [lambda: 1.0, lambda: 2.0]), ValueError,
               ("1 conditions", "2 branches"), "one condition for each branch"),
        Misuse("no condition of ifelse holds", lambda n: T.ifelse([False, False], [lambda: 1.0, lambda: 2.0]), ValueError,
               ("ifelse", "0"), "exactly one"),
        Misuse("vmap writes a batched value to a shared state", lambda n: T.vmap(lambda x: n.set(x * jnp.ones(3)))(xs),
               ns.BatchAxisError, ("Net.V",), "out_states"),
        Misuse("a mapped state has another batch size", lambda n: T.vmap(lambda x: n.V.value, in_states=n.V)(jnp.ones(4)),
               ns.BatchAxisError, ("Net.V", "(3,)", "4"), "vmap_init_all_states"),
        Misuse("mapped arguments differ in size", lambda n: T.vmap(lambda x, y: x)(xs, jnp.ones(4)), ValueError, ("3", "4"), "same size"),
        Misuse("vmap over a scalar", lambda n: T.vmap(lambda x: x)(1.0), ValueError, ("argument 0", "()"), "in_axes=None"),
        Misuse("vmap without a size", lambda n: T.vmap(lambda: 1.0)(), ValueError, ("batch size",), "axis_size"),
        Misuse("in_axes for other arguments", lambda n: T.vmap(lambda x: x, in_axes=(0, 0))(xs), ValueError, ("2", "1"), "one entry for each"),
        Misuse("in_states of a wrong type", lambda n: T.vmap(lambda x: x, in_states=3), TypeError, ("in_states", "3"), "Use a reference"),
        Misuse("map with a batch size of 0", lambda n: T.map(lambda x: x, xs, batch_size=0), ValueError, ("batch_size", "0"), "at least 1"),
        Misuse("grad of a vector", lambda n: T.grad(lambda x: x * xs)(1.0), TypeError, ("grad", "float32[3]"), ".mean()"),
        Misuse("grad by a state that is not read", lambda n: T.grad(lambda: jnp.float32(1), n.w)(), ValueError, ("Net.w",), "check_states=False"),
        Misuse("grad by a module", lambda n: T.grad(lambda: n.w.value.sum(), n)(), TypeError, ("grad_states", "Net"), "module.states"),
        Misuse("grad by a negative argument", lambda n: T.grad(lambda x: x, argnums=-1)(1.0), ValueError, ("argnums", "-1"), "from the front"),
        Misuse("grad by an argument that is not there", lambda n: T.grad(lambda x: x, argnums=3)(1.0), ValueError, ("argument 3", "1"), "positional"),
        Misuse("has_aux without a pair", lambda n: T.grad(lambda x: x, has_aux=True)(1.0), TypeError, ("has_aux",), "(loss, aux)"),
        Misuse("a negative static argument", lambda n: T.jit(lambda x: x, static_argnums=-1), ValueError, ("static_argnums", "-1"), "from the front"),
        Misuse("a negative donated argument", lambda n: T.jit(lambda x: x, donate_argnums=-1), ValueError, ("donate_argnums", "-1"), "from the front"),
        Misuse("a static argument that cannot be hashed", lambda n: T.jit(lambda x: 1, static_argnums=0)([1]), TypeError, ("list",), "__hash__"),
        Misuse("a leaf that cannot be hashed", lambda n: T.jit(lambda x: 1)(bytearray(b"x")), TypeError, ("bytearray",), "make it an array"),
        Misuse("jit of what is no function", lambda n: T.jit(3), TypeError, ("jit", "3"), "function"),
        Misuse("a function returns a reference", lambda n: T.jit(lambda: n.V)(), TypeError, ("Net.V", "jit"), "Net.V.value"),
        Misuse("a reference as a value", lambda n: S(n.V), TypeError, ("Net.V",), "Net.V.value"),
        Misuse("a write in jax.jit", lambda n: jax.jit(lambda x: n.set(x))(xs), ns.TraceContextError, ("Net.V",), "neurostate.transform"),
        Misuse("a write in jax.vmap", lambda n: jax.vmap(lambda x: n.set(x))(xs), ns.TraceContextError, ("Net.V",), "neurostate.transform"),
        Misuse("a write in jax.grad", lambda n: jax.grad(lambda x: n.set(xs) * x)(1.0), ns.TraceContextError, ("Net.V",), "functionalize"),
        Misuse("a read in lax.scan", lambda n: jax.lax.scan(lambda c, x: (c, n.V.value), 0.0, xs), ns.TraceContextError, ("Net.V",), ".peek()"),
        Misuse("environ read in jax.jit", lambda n: jax.jit(lambda: ns.environ.get("dt", 1.0))(), ns.TraceContextError, ("environ.dt",), "pass it in"),
        Misuse("a reference after its trace", lost, ns.TraceContextError, ("inner", "for_loop"), "before `for_loop`"),
        Misuse("an environ value after its trace", outlived, ns.TraceContextError, ("environ.t", "jit"), "with environ.context"),
        Misuse("a state made in a loop", born(lambda f: T.for_loop(f, xs)), ns.TraceContextError, ("Tree.V", "for_loop"), "init_all_states"),
        Misuse("a state made in a branch", born(lambda f: T.cond(True, f, f, 1.0)), ns.TraceContextError, ("Tree.V", "cond"), "init_all_states"),
        Misuse("a state made in a derivative", born(lambda f: T.grad(f)(1.0)), ns.TraceContextError, ("Tree.V", "grad"), "init_all_states"),
        Misuse("a donated state whose program failed", donated, ns.StateLostError, ("Net.V", "no luck"), "donate_states"),
        Misuse("a copy inside a transform", lambda n: T.jit(lambda: copy.deepcopy(n.V) and None)(), ns.TraceContextError, ("Net.V",), "outside"),
        Misuse("a state before init_state", lambda n: cell.V, ns.StateNotInitialisedError, ("Stateful", "V"), "init_all_states"),
        Misuse("a cell without dt", lambda n: ready(1.0 * u.mA), ns.EnvironmentKeyError, ("dt",), "environ.set(dt=...)"),
        Misuse("a current with a wrong unit", lambda n: _with_dt(lambda: ready(1.0 * u.mV)), ns.UnitError, ("current", "mV", "mA"), "current"),
        Misuse("a dt with a wrong unit", lambda n: _with_dt(lambda: ready(1.0), 1.0 * u.mV), ns.UnitError, ("dt", "mV", "ms"), "dt"),
        Misuse("a current of a wrong shape", lambda n: _with_dt(lambda: ready(jnp.ones(3))), ValueError, ("current", "(3,)", "(2,)"), "batch_shape"),
        Misuse("Stateful of no cell", lambda n: ns.nn.Stateful(3), TypeError, ("Stateful", "3"), "neurostate.LIF"),
        Misuse("environ.set inside a trace", lambda n: T.jit(lambda: ns.environ.set(dt=1.0))(), ns.TraceContextError, ("environ.set",), "environ.context"),
        Misuse("a missing key of environ", lambda n: ns.environ.get("tau"), ns.EnvironmentKeyError, ("tau",), "environ.context(tau=...)"),
        Misuse("a key of environ that is no string", lambda n: ns.environ.get(3), TypeError, ("3",), "string"),
        Misuse("an unknown precision", lambda n: ns.environ.set(precision=33), ValueError, ("precision", "33"), "one of"),
        Misuse("a seed that is no integer", lambda n: ns.random.seed(0.5), TypeError, ("0.5",), "integer"),
        Misuse("random numbers of two units", lambda n: ns.random.normal(1 * u.mV, 1 * u.ms), ns.UnitError, ("normal", "mV", "ms"), "normal"),
        Misuse("functionalize with other states", lambda n: ns.functionalize(lambda: n.V.value)[0]({}), KeyError, ("n.V",), "pure.collect()"),
        Misuse("an array for a parameter of another shape", lambda n: ns.init.param(jnp.ones(4), 3), ValueError, ("(4,)", "(3,)"), "broadcast"),
        Misuse("a parameter with a wrong unit", lambda n: ns.LIF(2, tau=5 * u.mV), ns.UnitError, ("tau", "mV", "ms"), "tau"),
        Misuse("initialising what is no module", lambda n: ns.nn.init_all_states(3), TypeError, ("init_all_states", "3"), "nn.Module"),
        Misuse("a size that is no int", lambda n: ns.nn.Dynamics("3"), TypeError, ("'3'",), "int or a sequence"),
        Misuse("a selector of a wrong type", lambda n: n.states(3), TypeError, ("3",), "Use a reference"),
        Misuse("a NaN in a loop", lambda n: T.debug_nan(lambda: T.for_loop(lambda x: n.set(jnp.log(n.V.value - 1)), xs)),
               FloatingPointError, ("Net.V", "step 0", "for_loop"), "NaN"),
    ]  # fmt: skip


def _with_dt(run: Callable[[], Any], dt: Any = 0.1 * u.ms) -> Any:
    with ns.environ.context(dt=dt):
        return run()


def page() -> str:
    """The table of misuses as a page of the documentation."""
    lines = ["# Errors", "", "What the façade says to a misuse. Each row is tested.", ""]
    lines += ["| misuse | exception | the text names | and the way out |", "| --- | --- | --- | --- |"]
    for row in rows():
        named = ", ".join(f"`{word}`" for word in row.named)
        lines.append(f"| {row.what} | `{row.error.__name__}` | {named} | `{row.fix.strip('`')}` |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(page(), end="")

"""The compiled programs of the façade are those of hand-written JAX."""

import re

import brainunit as u
import jax
import jax.numpy as jnp
import pytest

import neurostate as ns

from .benchmarks import lif_scan


T = ns.transform


def instructions_of_the_loop(compiled: str) -> tuple[int, int]:
    """How many instructions the body of the only loop has, and its fusions."""
    (body,) = set(re.findall(r"body=%?([\w.\-]+)", compiled))

    def block(name: str) -> str:
        found = re.search(rf"\n%?{re.escape(name)} .*?\n}}", compiled, re.DOTALL)
        assert found is not None
        return found.group(0)

    fusions = re.findall(r"calls=%?([\w.\-]+)", block(body))
    return block(body).count(" = "), sum(block(name).count(" = ") for name in fusions)


@pytest.mark.parametrize("size", [100, 10_000])
def test_a_loop_over_a_cell_has_no_more_instructions_than_a_hand_written_scan(size):
    with ns.environ.context(dt=lif_scan.DT * u.ms):
        counts = {}
        for name in ("hand-written", "neurostate"):
            run, args = lif_scan.WAYS[name](size, 200)
            counts[name] = instructions_of_the_loop(run.lower(*args).compile().as_text())
    assert counts["neurostate"] <= counts["hand-written"]


def test_the_count_of_instructions_can_differ():
    def compiled(step):
        return jax.jit(lambda V: jax.lax.scan(step, V, None, length=9)).lower(jnp.ones(99)).compile().as_text()

    few = instructions_of_the_loop(compiled(lambda V, _: (V * 0.5, None)))
    more = instructions_of_the_loop(compiled(lambda V, _: (jnp.sin(V) * jnp.cos(V) + V, None)))
    assert more > few


def test_a_step_has_no_branch():
    cell = ns.nn.init_all_states(ns.nn.Stateful(ns.LIF(3)))
    with ns.environ.context(dt=0.1 * u.ms):
        jaxpr, _ = T.make_jaxpr(cell)(jnp.ones(3))
    assert "cond" not in {str(eqn.primitive) for eqn in jaxpr.eqns}


def test_a_compiled_call_returns_before_a_long_computation_ends():
    import time

    state = ns.StateRef(jnp.eye(1500))

    @T.jit
    def work():
        state.value = T.for_loop(lambda: state.value @ state.value, length=20)[-1]
        return state.value.sum()

    jax.block_until_ready(work())
    start = time.perf_counter()
    out = work()
    called = time.perf_counter() - start
    jax.block_until_ready(out)
    assert called < 0.5 * (time.perf_counter() - start)

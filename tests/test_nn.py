"""Modules: trees of references, their initialisation, and training them."""

import functools
import gc
import time
import weakref

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neurostate as ns


T = ns.transform


class Layer(ns.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.w = ns.ParamState(jnp.eye(size))
        self.size = size
        self.calls = 0

    def init_state(self, batch_size=None):
        self.V = ns.HiddenState(jnp.zeros(self.size if batch_size is None else (batch_size, self.size)))
        self.calls += 1


class Net(ns.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Layer(2)
        self.more = [Layer(3), {"x": Layer(4)}]
        self.shared = self.first


def test_paths_and_filters():
    net = ns.nn.init_all_states(Net())
    assert list(net.nodes()) == ["", "first", "more[0]", "more[1]['x']"]
    assert list(net.children()) == ["first", "more[0]", "more[1]['x']", "shared"]
    assert list(net.states(ns.ParamState)) == ["first.w", "more[0].w", "more[1]['x'].w"]
    assert list(net.states("first")) == ["first.w", "first.V"]
    assert list(net.states(lambda path, ref: path.endswith("V"))) == ["first.V", "more[0].V", "more[1]['x'].V"]
    assert list(net.states(net.first.V)) == ["first.V"]
    assert len(net.states()) == 6
    assert list(net.nodes(Layer)) == ["first", "more[0]", "more[1]['x']"]
    with pytest.raises(TypeError, match="select"):
        net.states(3)


def test_filters_and_several_at_once():
    net, f = ns.nn.init_all_states(Net()), ns.filters
    net.first.w.tags |= {"frozen"}
    params, hidden = net.states(ns.ParamState, ns.HiddenState)
    assert len(params) == len(hidden) == 3
    assert list(net.states(f.WithTag("frozen"))) == ["first.w"]
    assert list(net.states(f.All(f.OfType(ns.ParamState), f.Not(f.WithTag("frozen"))))) == [
        "more[0].w",
        "more[1]['x'].w",
    ]
    assert set(net.states(f.Any(f.WithTag("frozen"), f.PathContains("V")))) == {"first.w", *hidden}
    assert len(net.states(f.Everything())) == 6 and not net.states(f.Nothing())
    assert net.parameters() == params


def test_order_and_method_calls():
    calls = []

    class Node(ns.nn.Module):
        def init_state(self):
            calls.append("plain")

        def extra(self, x):
            calls.append(("extra", x))

    class Late(Node):
        @ns.nn.call_order(9)
        def init_state(self):
            calls.append("late")

    class Early(Node):
        @ns.nn.call_order(0)
        def init_state(self):
            calls.append("early")

    class Tree(ns.nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = [Late(), Early(), Node()]

    tree = Tree()
    ns.nn.init_all_states(tree)
    assert calls == ["plain", "early", "late"]
    calls.clear()
    ns.nn.init_all_states(tree, node_to_exclude=Late)
    assert calls == ["plain", "early"]
    calls.clear()
    with pytest.raises(AttributeError, match="Tree.*extra"):
        ns.nn.call_all_fns(tree, "extra", 1)
    ns.nn.call_all_fns(tree, "extra", 1, fn_if_not_exist="pass")
    assert calls == [("extra", 1)] * 3
    with pytest.warns(UserWarning, match="extra"):
        ns.nn.call_all_fns(tree, "extra", (2,), fn_if_not_exist="warn")
    for wrong in (lambda: ns.nn.call_order(10), lambda: ns.nn.call_all_fns(tree, "extra", fn_if_not_exist="x")):
        with pytest.raises(ValueError, match="10|'x'"):
            wrong()


def test_states_are_saved_and_assigned_by_path():
    net = ns.nn.init_all_states(Net())
    saved = ns.nn.state_values(net, ns.HiddenState)
    net.first.V.value = net.first.V.value + 5
    unexpected, missing = ns.nn.assign_state_values(net, saved, {"nowhere": 1})
    assert unexpected == ["nowhere"] and missing == ["first.w", "more[0].w", "more[1]['x'].w"]
    assert net.first.V.value.tolist() == [0, 0]


def test_initialising_and_resetting_reach_each_module_once():
    net = ns.nn.init_all_states(Net(), batch_size=5)
    assert [node.calls for node in net.nodes(Layer).values()] == [1, 1, 1]
    assert net.more[0].V.value.shape == (5, 3)
    reference = net.first.V
    reference.value = reference.value + 1
    ns.nn.reset_all_states(net)
    assert net.first.V is reference and reference.value.tolist() == [0, 0]
    for function in (ns.nn.init_all_states, ns.nn.reset_all_states):
        with pytest.raises(TypeError, match="nn.Module"):
            function(3)


def test_hooks_of_dynamics():
    calls = []

    class Doubler(ns.nn.Dynamics):
        def update(self, x):
            return 2 * x

    def told(x):
        calls.append(("before", x))

    told.receive_update_input = True
    node = Doubler((2, 3))
    node.add_before_update("told", told)
    node.add_before_update("silent", lambda: calls.append("silent"))
    node.add_after_update("out", lambda out: calls.append(("after", out)))
    assert node(1.0) == 2.0 and node.varshape == (2, 3) and node.num == 6
    assert calls == [("before", 1.0), "silent", ("after", 2.0)]
    with pytest.raises(KeyError, match="told"):
        node.add_before_update("told", told)
    with pytest.raises(TypeError, match="update"):
        ns.nn.Dynamics(1)(1.0)


def test_batched_initialisation_draws_per_lane_and_shares_weights():
    cell = ns.nn.Stateful(ns.LIF(2, V_initializer=ns.init.Uniform(0.0, 1.0)))
    ns.nn.vmap_init_all_states(cell, axis_size=3)
    V = cell.V.value.mantissa
    assert V.shape == (3, 2) and len(np.unique(V)) == 6
    assert cell.tau.value.shape == ()
    reference = cell.V
    ns.nn.vmap_init_all_states(cell, axis_size=4, state_tag="batched")
    assert cell.V is reference and cell.V.value.shape == (4, 2)
    ns.nn.vmap_reset_all_states(cell, axis_size=4)
    assert cell.V.value.shape == (4, 2)
    other = ns.nn.vmap_init_all_states(ns.nn.Stateful(ns.LIF(2)), axis_size=3, state_to_exclude=ns.HiddenState)
    assert other.V.value.shape == (2,)
    with ns.environ.context(dt=0.1 * u.ms):
        spikes = T.vmap(lambda x: cell(x), in_states=ns.HiddenState)(jnp.full((4, 2), 80.0))
    assert spikes.shape == (4, 2) and cell.V.value.shape == (4, 2)


def test_an_eager_step_is_compiled_once_and_lets_go():
    cell = ns.nn.init_all_states(ns.nn.Stateful(ns.LIF(200)))
    with ns.environ.context(dt=0.1 * u.ms):
        cell(1.5 * u.mA)
        start = time.perf_counter()
        for _ in range(20):
            cell(1.5 * u.mA)
        assert time.perf_counter() - start < 1.0
        loop = ns.nn.init_all_states(ns.nn.Stateful(ns.LIF(200)))
        T.for_loop(lambda: loop(1.5 * u.mA), length=21)
    np.testing.assert_array_equal(cell.V.value.mantissa, loop.V.value.mantissa)
    gone = weakref.ref(cell)
    del cell
    gc.collect()
    assert gone() is None


def test_optax_trains_both_faces_alike():
    """One model, 100 steps of Adam: `trainable` on references, `eqx.filter_grad` on the core."""
    currents = jnp.linspace(0.5, 2.0, 12).reshape(3, 4).repeat(10, axis=0)
    target = jnp.linspace(0.0, 1.0, 4)
    optimiser = optax.adam(1e-2)
    lif = ns.LIF(4, tau=jnp.linspace(3.0, 8.0, 4) * u.ms, detach_reset=True)

    def loss_of(V):
        return ((V[-1] - target) ** 2).mean()

    def core_loss(cell):
        return loss_of(ns.simulate(cell, currents, dt=0.1 * u.ms, record="V").records["V"])

    @eqx.filter_jit
    def core_step(cell, state):
        loss, gradients = eqx.filter_value_and_grad(core_loss)(cell)
        updates, state = optimiser.update(gradients, state, eqx.filter(cell, eqx.is_inexact_array))
        return eqx.apply_updates(cell, updates), state, loss

    cell = ns.nn.init_all_states(ns.nn.Stateful(lif))
    params = cell.states(ns.ParamState)

    def facade_loss():
        ns.nn.init_all_states(cell)
        step = functools.partial(lambda x: (cell(x), u.get_mantissa(cell.V.value))[1])
        with ns.environ.context(dt=0.1 * u.ms):
            return loss_of(T.for_loop(step, currents))

    @T.jit
    def facade_step(state):
        gradients, loss = T.grad(facade_loss, params, return_value=True, check_states=False)()
        arrays, put = ns.trainable(cell)
        updates, state = optimiser.update(jax.tree.map(u.get_mantissa, gradients, is_leaf=is_quantity), state, arrays)
        put(optax.apply_updates(arrays, updates))
        return state, loss

    core, core_state = lif, optimiser.init(eqx.filter(lif, eqx.is_inexact_array))
    facade_state, losses = optimiser.init(ns.trainable(cell)[0]), []
    for _ in range(100):
        core, core_state, a = core_step(core, core_state)
        facade_state, b = facade_step(facade_state)
        losses.append((float(a), float(b)))
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-6, atol=1e-6)
    assert losses[-1][0] < 0.7 * losses[0][0]
    np.testing.assert_allclose(cell.tau.value.mantissa, core.tau, rtol=1e-5)


def is_quantity(x):
    return isinstance(x, u.Quantity)


def test_trainable_checks():
    net = Net()
    arrays, put = ns.trainable(net)
    assert list(arrays) == ["first.w", "more[0].w", "more[1]['x'].w"]
    with pytest.raises(KeyError, match="more.*missing"):
        put({"first.w": jnp.eye(2)})
    net.first.w.value = 1
    with pytest.raises(TypeError, match="first.w.*float"):
        ns.trainable(net)

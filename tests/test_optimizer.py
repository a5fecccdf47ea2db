"""The optimiser of the façade: Optax on references, in step with the core."""

import copy
import functools
import pickle

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neurostate as ns
from neurostate import train


T, nn = ns.transform, ns.nn
SCHEDULE = optax.exponential_decay(0.05, 20, 0.5)
CLIPPED = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(SCHEDULE))
DT = 1.0 * u.ms
NUM_UPDATES = 100


class Net(nn.Module):
    """A leaky layer of the core, driven through weights in mA."""

    def __init__(self, weight, cell):
        self.weight = ns.ParamState(weight * u.mA)
        self.hidden = nn.Stateful(cell)

    def update(self, x):
        return self.hidden(x @ self.weight.value.mantissa * u.mA)


WEIGHT = jax.random.normal(jax.random.key(0), (3, 4))
CELL = ns.LIF(4, tau=jnp.array([2.0, 4.0, 8.0, 16.0]) * u.ms, V_th=1.0 * u.mV)
INPUTS = jax.random.uniform(jax.random.key(1), (10, 3))
TARGET = jnp.array([1.0, 3.0, 0.0, 5.0])
TRAINED = ("weight", "hidden.tau")


class Core(eqx.Module):
    weight: jax.Array
    hidden: ns.LIF


def make():
    net = Net(WEIGHT, CELL)
    return net, net.states(ns.filters.All(ns.ParamState, lambda path, ref: path in TRAINED))


def facade_loss(net):
    nn.init_all_states(net)
    spikes = T.for_loop(net, INPUTS)
    return jnp.mean((spikes.sum(0) - TARGET) ** 2) + 0.01 * jnp.mean(net.hidden.V.value.mantissa**2)


def core_loss(model):
    state = model.hidden.init_state()
    state, spikes = jax.lax.scan(functools.partial(model.hidden.step, dt=DT), state, INPUTS @ model.weight)
    return jnp.mean((spikes.sum(0) - TARGET) ** 2) + 0.01 * jnp.mean(state.V**2)


def facade_curve(net, params, optimizer):
    """The losses of so many updates, in one compiled loop."""
    nn.init_all_states(net)

    def update(i):
        gradients, loss = T.grad(lambda: facade_loss(net), params, return_value=True)()
        optimizer.update(gradients, value=loss)
        return loss

    with ns.environ.context(dt=DT):
        return T.jit(lambda: T.for_loop(update, jnp.arange(NUM_UPDATES)))()


@pytest.mark.parametrize("bounded", [False, True])
def test_equal_loss_curves(bounded):
    bounds = {"*.tau": train.Softplus(1000 * u.us)} if bounded else {}
    net, params = make()
    optimizer = ns.Optimizer(CLIPPED, params, constraints=bounds)
    losses = facade_curve(net, params, optimizer)

    model = Core(WEIGHT, CELL)
    constraints = train.Constraints(model, bounds)
    start, rest = train.partition(model, *TRAINED)
    free = constraints.free(start)

    @jax.jit
    def core_curve(free):
        def update(carry, _):
            free, state = carry
            objective = lambda free: core_loss(eqx.combine(constraints.model(free), rest))  # noqa: E731
            loss, gradients = jax.value_and_grad(objective)(free)
            updates, state = CLIPPED.update(gradients, state, free)
            return (eqx.apply_updates(free, updates), state), loss

        return jax.lax.scan(update, (free, CLIPPED.init(free)), length=NUM_UPDATES)

    (last, _), expected = core_curve(free)
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-6 * float(expected[0]))
    assert losses[-1] < 0.7 * losses[0] and int(optimizer.step) == NUM_UPDATES
    last = constraints.model(last)
    assert net.weight.value.unit == u.mA and net.hidden.tau.value.unit == u.ms
    np.testing.assert_allclose(net.weight.value.mantissa, last.weight, atol=1e-5)
    np.testing.assert_allclose(net.hidden.tau.value.mantissa, last.hidden.tau, atol=1e-4)


def quadratic(*refs):
    """A loss whose gradient is known: the sum of squares, without units."""
    return lambda: sum(jnp.sum(jnp.square(getattr(ref.value, "mantissa", ref.value))) for ref in refs)


def test_params_of_any_structure():
    a, b = ns.ParamState(jnp.array([1.0, 2.0])), ns.ParamState(jnp.array(3.0) * u.mV, name="b")
    pair = ns.ParamState({"x": jnp.array(4.0) * u.ms, "y": jnp.ones(2)})
    holder = nn.Sequential(nn.Linear(2, 3))
    optimizer = ns.Optimizer(optax.sgd(0.5), {"some": [a, b], "pair": pair})
    gradients = {"some": [jnp.array([2.0, 4.0]), 0.004 * u.volt], "pair": {"x": 2000 * u.us, "y": jnp.zeros(2)}}
    optimizer.update(gradients)
    assert a.value.tolist() == [0.0, 0.0] and b.value == 1.0 * u.mV
    assert pair.value["x"] == 3.0 * u.ms and pair.value["y"].tolist() == [1.0, 1.0]
    optimizer.update({"some": [jnp.ones(2), jnp.array(2.0)], "pair": {"x": jnp.array(2.0), "y": jnp.ones(2)}})
    assert b.value == 0.0 * u.mV and pair.value["x"] == 2.0 * u.ms and b.value.unit == u.mV
    assert repr(optimizer).startswith("Optimizer(\n  params=[pair, some.0, some.1],")
    before = holder.states(ns.ParamState)["layers[0].weight"].value
    ns.Optimizer(optax.sgd(1.0), holder).update(jax.tree.map(lambda ref: ref.value, holder.states(ns.ParamState)))
    assert (holder.states(ns.ParamState)["layers[0].weight"].value == 0 * before).all()


def test_bounds():
    tau, V_th = ns.ParamState(jnp.array([2.0, 5.0]) * u.ms), ns.ParamState(jnp.array(1.0) * u.mV)
    params = {"tau": tau, "V_th": V_th}
    bounds = {"tau": train.Exp(1 * u.ms), lambda path, leaf: path == "V_th": train.Sigmoid(0.5 * u.mV, 0.002 * u.volt)}
    optimizer = ns.Optimizer(optax.sgd(1.0), params, constraints=bounds)
    optimizer.update({"tau": jnp.array([0.5, 0.0]), "V_th": jnp.array(0.0)})
    # x = log(tau - 1) = 0, less the gradient 0.5 * (tau - 1).
    np.testing.assert_allclose(tau.value.mantissa, [1 + np.exp(-0.5), 5.0], rtol=1e-6)
    push = {"tau": jnp.full(2, 50.0), "V_th": jnp.array(-50.0)}
    T.jit(lambda: T.for_loop(lambda i: optimizer.update(push), jnp.arange(200)))()
    assert (tau.value > 1 * u.ms).all() and V_th.value < 2 * u.mV and int(optimizer.step) == 201
    np.testing.assert_allclose([*tau.value.mantissa, V_th.value.mantissa], [1.0, 1.0, 2.0], atol=0.01)
    V_th.value = 3.0 * u.mV
    with pytest.raises(ValueError, match=r"V_th must be above 0\.5 and below 2\.0.*3\.0"):
        optimizer.update(push)
    V_th.value = 1.0 * u.mV
    half = ns.ParamState(jnp.ones(2, jnp.float16))
    ns.Optimizer(optax.sgd(0.1), half, constraints={"*": train.Exp()}).update(jnp.ones(2))
    assert half.value.dtype == jnp.float16 and (half.value < 1).all()
    for wrong, error, said in [
        ({"tau": train.Exp(7 * u.ms)}, ValueError, r"tau must be above 7\.0"),
        ({"V_th": train.Exp(0 * u.ms)}, ns.UnitError, "lower.*Exp on V_th.*unit like mV"),
        ({"tau": train.Exp}, TypeError, "'tau' must be a bijector"),
        ({"taw": train.Exp()}, ValueError, "'taw' selects none.*tau"),
        ({"tau": train.Exp(), "*": train.Exp()}, ValueError, "tau is selected by two"),
    ]:
        with pytest.raises(error, match=said):
            ns.Optimizer(optax.sgd(1.0), params, constraints=wrong)


def test_optax_extras():
    """Accumulation, labels, hyperparameters, and transformations that want the loss."""
    w, v = ns.ParamState(jnp.array(3.0), name="w"), ns.ParamState(jnp.array(2.0) * u.mV, name="v")
    params = {"w": w, "v": v}
    optimizer = ns.Optimizer(optax.MultiSteps(optax.sgd(0.1), 2), params)
    for _ in range(2):
        assert w.value == 3.0
        optimizer.update(T.grad(quadratic(w, v), params)())
    np.testing.assert_allclose([w.value, v.value.mantissa], [3.0 - 0.6, 2.0 - 0.4], rtol=1e-6)
    labelled = optax.multi_transform({"a": optax.sgd(1.0), "b": optax.set_to_zero()}, {"w": "b", "v": "a"})
    ns.Optimizer(labelled, params).update({"w": jnp.array(1.0), "v": jnp.array(1.0)})
    np.testing.assert_allclose([w.value, v.value.mantissa], [2.4, 0.6], rtol=1e-6)
    plateau = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1, factor=0.5, rtol=1.0))
    told = ns.Optimizer(plateau, w)
    for value in (1.0, 1.0 * u.mV, 2.0):
        told.update(jnp.array(0.0), value=value)
    assert told.state.value[1][1].scale < 1.0
    fast = ns.Optimizer(optax.inject_hyperparams(optax.sgd)(learning_rate=0.0), w)
    run = T.jit(lambda: fast.update(jnp.array(1.0)))
    run()
    assert abs(w.value - 2.4) < 1e-6
    fast.state.value[1].hyperparams["learning_rate"] = jnp.array(0.4)
    run()
    assert abs(w.value - 2.0) < 1e-6


def test_all_or_nothing():
    w, v = ns.ParamState(jnp.array(3.0), name="w"), ns.ParamState(jnp.ones(2) * u.mV)
    params = {"w": w, "v": v}
    optimizer = ns.Optimizer(optax.adam(0.1), params)
    before = (w.value, v.value, optimizer.state.value)
    good = {"w": jnp.array(1.0), "v": jnp.ones(2)}
    for gradients, error, said in [
        ({"w": good["w"]}, ValueError, r"missing: \['v'\], not known: \[\]"),
        ({**good, "x": 1.0}, ValueError, r"missing: \[\], not known: \['x'\]"),
        ([1.0, jnp.ones(2)], ValueError, r"parameters are \['v', 'w'\].*PyTreeDef"),
        ({**good, "v": None}, ValueError, "gradient of v must have the structure"),
        ({**good, "v": {"a": 1.0}}, ValueError, "gradient of v must have the structure"),
        ({**good, "v": jnp.ones(3)}, ValueError, r"gradient of v has the shape \(3,\), but the parameter \(2,\)"),
        ({**good, "v": jnp.ones(2) / u.mV}, ns.UnitError, "gradient of v.*unit like mV"),
        ({**good, "w": 1.0 * u.ms}, ns.UnitError, "gradient of w.*dimensionless"),
    ]:
        with pytest.raises(error, match=said):
            optimizer.update(gradients)
        assert (w.value, v.value, optimizer.state.value) == before or all(
            one is other for one, other in zip((w.value, v.value, optimizer.state.value), before)
        )

    @T.jit
    def fails_late():
        optimizer.update(good)
        raise RuntimeError("late")

    with pytest.raises(RuntimeError, match="late"):
        fails_late()
    assert w.value is before[0] and optimizer.state.value is before[2]
    for params, error, said in [
        (jnp.ones(2), TypeError, "params.*of `Optimizer` holds references"),
        ({"n": ns.ParamState(3)}, TypeError, "n cannot be trained.*3"),
        ([w, w], ValueError, "reference twice"),
        ([], TypeError, "no reference"),
    ]:
        with pytest.raises(error, match=said):
            ns.Optimizer(optax.sgd(0.1), params)
    reshaping = optax.stateless(lambda updates, params: jax.tree.map(lambda x: jnp.ones((3, 2)), updates))
    for transformation, error, said in [
        (reshaping, ValueError, r"update of \['w'\] has the shape \(3, 2\), but the parameter \(\)"),
        (optax.lbfgs(), TypeError, "lbfgs.*not supported"),
    ]:
        with pytest.raises(error, match=said):
            ns.Optimizer(transformation, {"w": w}).update({"w": jnp.array(1.0)})
    assert w.value is before[0]
    with pytest.raises(TypeError, match="needs an Optax transformation such as"):
        ns.Optimizer("adam", w)


def test_references_that_the_module_has_replaced():
    holder = nn.Sequential(nn.Linear(2, 3))
    gradients = lambda: jax.tree.map(lambda ref: ref.value, holder.states(ns.ParamState))  # noqa: E731
    whole, each = ns.Optimizer(optax.sgd(1.0), holder), ns.Optimizer(optax.sgd(1.0), holder.states(ns.ParamState))
    holder.layers[0].weight = ns.ParamState(holder.layers[0].weight.value)
    for optimizer in (whole, each):
        with pytest.raises(ValueError, match=r"other references than .* made: layers\[0\]\.weight\. .*new `Optimizer`"):
            optimizer.update(gradients())
    optimizer = ns.Optimizer(optax.sgd(1.0), holder)
    holder.layers = (nn.Linear(2, 3),)
    with pytest.raises(ValueError, match=r"layers\[0\]\.(weight|bias).*layers\[0\]\.(weight|bias)"):
        optimizer.update(gradients())
    # What no module held is moved as long as it is there.
    params = nn.Sequential(nn.Linear(2, 3)).states(ns.ParamState)
    ns.Optimizer(optax.sgd(1.0), params).update(jax.tree.map(lambda ref: ref.value, params))
    assert not params["layers[0].weight"].value.any()


def test_copies():
    net, params = make()
    optimizer = ns.Optimizer(functools.partial(optax.adam, 0.1), params, constraints={"*.tau": train.Exp()})
    gradients = {path: jax.tree.map(jnp.ones_like, ref.value) for path, ref in params.items()}
    optimizer.update(gradients)
    for copied in (copy.deepcopy((net, optimizer)), pickle.loads(pickle.dumps((net, optimizer)))):
        new_net, new = copied
        assert new_net.weight is not net.weight and int(new.step) == 1
        np.testing.assert_array_equal(new_net.weight.value.mantissa, net.weight.value.mantissa)
        for _ in range(2):
            new.update(gradients)
        assert int(new.step) == 3 and int(optimizer.step) == 1
        expected = net.weight.value.mantissa - 0.2  # equal gradients: each step of Adam is the learning rate
        np.testing.assert_allclose(new_net.weight.value.mantissa, expected, atol=1e-5)
        assert (new_net.hidden.tau.value < net.hidden.tau.value).all()
    assert ns.Optimizer(optax.sgd(0.1), net.weight).step == copy.deepcopy(ns.Optimizer(optax.sgd(0.1), net.weight)).step

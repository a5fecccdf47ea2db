"""The layers of `nn` against the same layers of Equinox, and against closed forms; their errors."""

import copy
import pickle

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neurostate as ns


T, nn, init = ns.transform, ns.nn, ns.init
KEY = jax.random.key(0)
RANDOM = dict(w_init=init.Normal(0.0, 1.0), b_init=init.Normal(0.0, 1.0))


def channels_last(layer):
    return lambda x: jnp.moveaxis(layer(jnp.moveaxis(x, -1, 0)), 0, -1)


def plain(layer):
    return layer


# Our layer, Equinox' with its own arrays, and how that one is to be called for one input.
CASES = {
    "linear": (lambda: nn.Linear(3, 4, **RANDOM), eqx.nn.Linear(3, 4, key=KEY), plain),
    "without bias": (lambda: nn.Linear(3, 4, b_init=None), eqx.nn.Linear(3, 4, use_bias=False, key=KEY), plain),
    "last axis": (lambda: nn.Linear((2, 3), (2, 4), **RANDOM), eqx.nn.Linear(3, 4, key=KEY), jax.vmap),
    "conv1d": (
        lambda: nn.Conv1d((6, 2), 4, 3, 2, **RANDOM),
        eqx.nn.Conv1d(2, 4, 3, 2, "SAME", key=KEY),
        channels_last,
    ),
    "conv2d": (
        lambda: nn.Conv2d((6, 5, 4), 2, (3, 2), 1, [(1, 0), (0, 2)], rhs_dilation=2, groups=2, **RANDOM),
        eqx.nn.Conv2d(4, 2, (3, 2), 1, [(1, 0), (0, 2)], dilation=2, groups=2, key=KEY),
        channels_last,
    ),
    "norm": (
        lambda: nn.LayerNorm((2, 3), scale_init=init.Normal(1.0, 1.0), bias_init=init.Normal(0.0, 1.0)),
        eqx.nn.LayerNorm(3, 1e-6),
        jax.vmap,
    ),
    "max1d": (lambda: nn.MaxPool1d(2, in_size=(6, 2)), eqx.nn.MaxPool1d(2, 2), channels_last),
    "max2d": (lambda: nn.MaxPool2d((2, 3), 1, 1, in_size=(4, 6, 2)), eqx.nn.MaxPool2d((2, 3), 1, 1), channels_last),
    "avg1d": (lambda: nn.AvgPool1d(3, in_size=(6, 2)), eqx.nn.AvgPool1d(3, 1), channels_last),
    "avg2d": (lambda: nn.AvgPool2d(2, (2, 1), in_size=(4, 6, 2)), eqx.nn.AvgPool2d(2, (2, 1)), channels_last),
    "any": (
        lambda: nn.Layer(eqx.nn.MLP(3, 2, 4, 1, key=KEY), 3),
        eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(1)),
        plain,
    ),
    "scalars": (
        lambda: nn.Layer(eqx.nn.Lambda(jnp.tanh), in_size=()),
        eqx.nn.Lambda(jnp.tanh),
        plain,
    ),
}


def with_parameters(theirs, ours):
    """Equinox' layer with the arrays of ours, found by their paths."""
    arrays, rest = eqx.partition(theirs, eqx.is_inexact_array)
    values = {path: ref.value for path, ref in ours.states(ns.ParamState).items()}
    taken = jax.tree_util.tree_map_with_path(lambda path, leaf: values.pop(dotted(path)).reshape(leaf.shape), arrays)
    assert not values
    return eqx.combine(taken, rest)


def dotted(path):
    return jax.tree_util.keystr(path, simple=True, separator=".")


def by_path(tree):
    return {dotted(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.parametrize("case", list(CASES))
def test_values_gradients_batches_and_sizes_are_those_of_equinox(case):
    make, theirs, call = CASES[case]
    with ns.random.seed_context(1):
        ours = make()
    theirs = with_parameters(theirs, ours)
    batches = ((), (2,), (2, 3))
    xs = [np.random.default_rng(0).normal(size=(*batch, *ours.in_size)).astype(np.float32) for batch in batches]
    params = ours.states(ns.ParamState)

    @T.jit
    def results(*xs):
        gradients = T.grad(lambda: (ours(xs[-1]) ** 2).sum(), params)() if params else {}
        return [ours(x) for x in xs], gradients

    @eqx.filter_jit
    def needed(layer, *xs):
        def outputs(layer):
            one = call(layer)
            return [one(xs[0]), jax.vmap(one)(xs[1]), jax.vmap(jax.vmap(one))(xs[2])]

        return outputs(layer), eqx.filter_grad(lambda layer: (outputs(layer)[-1] ** 2).sum())(layer) if params else {}

    outputs, gradients = results(*xs)
    expected, expected_gradients = needed(theirs, *xs)
    for batch, out, other in zip(batches, outputs, expected, strict=True):
        assert out.shape == (*batch, *ours.out_size)
        np.testing.assert_allclose(out, other, rtol=1e-5, atol=1e-5)
    expected_gradients = by_path(expected_gradients)
    assert gradients.keys() == expected_gradients.keys()
    for path, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected_gradients[path].reshape(gradient.shape), rtol=1e-4, atol=1e-4)


def test_layers_in_jit_and_loops_give_the_same():
    layer, x = nn.Linear(3, 4, **RANDOM), jax.random.normal(KEY, (2, 3))
    expected = x @ layer.weight.value.T + layer.bias.value
    jitted = T.jit(layer)
    for call in (layer, jitted, T.vmap(layer), lambda x: T.for_loop(layer, x)):
        np.testing.assert_allclose(call(x), expected, rtol=1e-6, atol=1e-6)
    layer.bias.value = layer.bias.value + 1
    np.testing.assert_allclose(jitted(x), expected + 1, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "make, weight_fan",
    [
        (lambda w: nn.Linear(200, 100, w_init=w), {"fan_in": 200, "fan_out": 100}),
        (lambda w: nn.Conv2d((9, 9, 32), 24, 5, groups=4, w_init=w), {"fan_in": 200, "fan_out": 600}),
    ],
    ids=["linear", "grouped conv2d"],
)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_weights_start_with_the_variance_of_their_fan(make, weight_fan, mode):
    with ns.random.seed_context(2):
        layer = make(init.KaimingNormal(mode=mode))
    weight = layer.weight.value
    assert weight.size >= 4800
    np.testing.assert_allclose(weight.var(), 2 / weight_fan[mode], rtol=0.1)
    np.testing.assert_allclose(layer.layer.weight, weight)


def test_initialisers_draw_a_weight_of_each_input_and_output():
    w = np.arange(12.0).reshape(3, 4)
    layer = nn.Linear(3, 4, w_init=w, b_init=2.0, w_mask=w > 5)
    np.testing.assert_array_equal(layer.weight.value, w.T)
    np.testing.assert_allclose(layer(jnp.ones(3)), (w * (w > 5)).sum(axis=0) + 2)
    gradient = T.grad(lambda: layer(jnp.ones(3)).sum(), layer.weight)()
    np.testing.assert_array_equal(gradient, (w > 5).T)
    kernel = np.arange(24.0).reshape(3, 2, 4)
    conv = nn.Conv1d((3, 2), 4, 3, padding="VALID", w_init=lambda shape: kernel.reshape(shape), b_init=1)
    np.testing.assert_allclose(conv(jnp.ones((3, 2))), kernel.sum(axis=(0, 1))[None] + 1)
    assert list(nn.Linear(2, 2, 1.0, param_type=ns.LongTermState).states(ns.ParamState)) == []


def test_units_of_weights_bias_and_input():
    weights, x = init.Constant(2.0 * u.mS), jnp.ones((5, 3))
    layer = nn.Linear(3, 4, w_init=weights, b_init=init.Constant(1.0 * u.nA))
    assert layer.weight.value.unit == u.mS and layer.bias.value.unit == u.nA
    for call, given, factor in ((layer, x * u.mV, 1.0), (T.jit(layer), x * u.volt, 1e3)):
        out = call(given)
        np.testing.assert_allclose(out.to_decimal(u.uA), np.full((5, 4), 6 * factor + 1e-3), rtol=1e-6)
    with pytest.raises(ns.UnitError, match="bias.*Linear.*mS.*nA"):
        layer(x)
    np.testing.assert_allclose(nn.Linear(3, 4, w_init=weights)(x).to_decimal(u.uS), np.full((5, 4), 6e3), rtol=1e-6)
    np.testing.assert_allclose(nn.Linear(3, 1, w_init=1.0)(x * u.mV).to_decimal(u.mV), np.full((5, 1), 3.0))
    cancels = nn.Linear(3, 1, w_init=1.0 / u.volt, b_init=1.0)(x * u.mV)
    np.testing.assert_allclose(cancels, np.full((5, 1), 1.003), rtol=1e-6)
    conv = nn.Conv1d((3, 1), 1, 3, padding="VALID", w_init=weights, b_init=1.0 * u.mA)
    np.testing.assert_allclose(conv(jnp.ones((3, 1)) * u.volt).to_decimal(u.mA), [[7.0]])
    for same in (nn.MaxPool1d(3), nn.AvgPool1d(3), nn.Flatten()):
        assert same(jnp.ones((3, 1)) * u.mV).unit == u.mV
    with pytest.raises(ns.UnitError, match="LayerNorm.*mV"):
        nn.LayerNorm(3)(x * u.mV)
    layer.weight.value = layer.weight.value.to(u.uS)
    np.testing.assert_allclose(layer(x * u.mV).to_decimal(u.uA), np.full((5, 4), 6 + 1e-3), rtol=1e-6)
    arrays, put = ns.trainable(layer)
    put(jax.tree.map(lambda a: a / 2, arrays))
    assert layer.bias.value.unit == u.nA and layer.bias.value.mantissa.tolist() == [0.5] * 4


def test_means_leave_out_what_is_padded_and_flatten_joins_axes():
    out = nn.AvgPool2d((1, 3), 1, [(0, 0), (2, 0)])(jnp.arange(4.0).reshape(1, 1, 4, 1))
    np.testing.assert_allclose(out.ravel(), [0.0, 0.5, 1.0, 2.0])
    x = jnp.arange(24.0).reshape(2, 3, 4)
    assert nn.Flatten()(x).shape == (24,) and nn.Flatten(1)(x).shape == (2, 12)
    for flatten, size in ((nn.Flatten(in_size=(3, 4)), (12,)), (nn.Flatten(0, -2, in_size=(2, 3, 4)), (6, 4))):
        assert flatten.out_size == size
        np.testing.assert_array_equal(flatten(x).ravel(), x.ravel())
        assert flatten(x).shape == (*x.shape[: 3 - len(flatten.in_size)], *size)


def network():
    with ns.random.seed_context(3):
        return nn.Sequential(nn.Linear(3, 8), jax.nn.relu, nn.Sequential(nn.Linear(8, 2)), name="net")


def test_sequential_is_trained_as_in_equinox():
    net, optimiser = network(), optax.adam(1e-2)
    first, second = (
        with_parameters(eqx.nn.Linear(*size, key=KEY), layer) for size, layer in (((3, 8), net[0]), ((8, 2), net[2][0]))
    )
    x = jax.random.normal(KEY, (16, 3))
    y = jnp.stack([jnp.sin(x[:, 0]), x[:, 1] * x[:, 2]], axis=-1)

    @eqx.filter_jit
    def their_step(layers, state):
        def loss_of(layers):
            return ((jax.vmap(lambda x: layers[1](jax.nn.relu(layers[0](x))))(x) - y) ** 2).mean()

        loss, gradients = eqx.filter_value_and_grad(loss_of)(layers)
        updates, state = optimiser.update(gradients, state)
        return eqx.apply_updates(layers, updates), state, loss

    @T.jit
    def our_step(state):
        gradients, loss = T.grad(lambda: ((net(x) - y) ** 2).mean(), net.states(ns.ParamState), return_value=True)()
        arrays, put = ns.trainable(net)
        updates, state = optimiser.update(gradients, state)
        put(optax.apply_updates(arrays, updates))
        return state, loss

    layers = (first, second)
    theirs, ours = optimiser.init(eqx.filter(layers, eqx.is_inexact_array)), optimiser.init(ns.trainable(net)[0])
    losses = []
    for _ in range(20):
        layers, theirs, a = their_step(layers, theirs)
        ours, b = our_step(ours)
        losses.append((float(a), float(b)))
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-6, atol=1e-6)
    assert losses[-1][1] < 0.9 * losses[0][1]
    for path, leaf in by_path(layers).items():
        ref = net.states()[{"0": "layers[0].", "1": "layers[2].layers[0]."}[path[0]] + path[2:]]
        np.testing.assert_allclose(ref.value, leaf, rtol=1e-6, atol=1e-6)


def test_sequential_is_a_sequence_with_sizes():
    net = network()
    assert list(net.states()) == [
        *("layers[0].weight", "layers[0].bias"),
        *("layers[2].layers[0].weight", "layers[2].layers[0].bias"),
    ]
    assert len(net) == 3 and net[1] is jax.nn.relu and net[-1] is net[2] and list(net) == list(net.layers)
    part = net[:2]
    assert part.out_size == (8,) and net.in_size == (3,) and net.out_size == (2,)
    assert part[0].weight is net[0].weight
    np.testing.assert_array_equal(net[2](part(jnp.ones(3))), net(jnp.ones(3)))
    assert nn.Sequential(jnp.tanh, nn.Dropout()).in_size is None
    assert nn.Sequential(nn.Linear(3, 4, 1.0), nn.Dropout()).out_size == (4,)
    assert nn.Sequential(nn.Linear(3, 4, 1.0), nn.Flatten()).out_size is None
    text = repr(net)
    assert text.startswith(
        "Sequential(\n  layers[0]=Linear(\n    in_size=(3,),\n    out_size=(8,),\n    weight=ParamState("
    )
    assert "\n  layers[1]=relu,\n" in text and "\n    layers[0]=Linear(\n      in_size=(8,)," in text
    cell = nn.Sequential(nn.Linear(3, 4, 1.0), nn.Stateful(ns.LIF(4)))
    nn.init_all_states(cell, batch_size=5)
    assert cell[1].V.value.shape == (5, 4)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_compute_the_same_and_are_their_own(copied):
    net = network()
    x = jnp.ones((5, 3))
    cell = nn.init_all_states(nn.RNNCell(3, 2, w_init=0.1, activation=jnp.tanh), batch_size=5)
    for layer in (net, nn.Layer(eqx.nn.Linear(3, 2, key=KEY), 3), nn.MaxPool1d(2), cell):
        np.testing.assert_array_equal(copied(layer)(x), layer(x))
    other = copied(net)
    other[0].weight.value = other[0].weight.value * 0
    assert other[0].weight is not net[0].weight and np.any(net[0].weight.value != 0)


# Errors


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        (
            lambda: nn.Linear(3, 4, 1.0, name="readout")(jnp.ones((5, 2))),
            ValueError,
            r"`Linear` \(readout\).*batch, 3\).*5, 2",
        ),
        (lambda: network()(jnp.ones((3, 5))), ValueError, r"`Linear` \(net.layers\[0\]\).*\(3,\).*\(3, 5\)"),
        (
            lambda: nn.Conv2d((4, 4, 2), 3, 2, w_init=1.0)(jnp.ones((4, 3, 2))),
            ValueError,
            r"Conv2d.*\(4, 4, 2\).*\(4, 3, 2\)",
        ),
        (lambda: nn.MaxPool1d(2, in_size=(4, 1))(jnp.ones((5, 1))), ValueError, r"MaxPool1d.*\(4, 1\).*\(5, 1\)"),
        (lambda: nn.MaxPool2d(2)(jnp.ones((5, 1))), ValueError, r"MaxPool2d.*height, width, channels\).*\(5, 1\)"),
        (lambda: nn.MaxPool2d(2, padding="SAME"), ValueError, "padding.*MaxPool2d.*VALID.*SAME"),
        (lambda: nn.LayerNorm(3)(jnp.ones(2)), ValueError, r"LayerNorm.*\(3,\).*\(2,\)"),
        (lambda: nn.LayerNorm(()), ValueError, "LayerNorm.*one axis"),
        (lambda: nn.Linear((2, 3), 4), ValueError, r"in_size.*\(2, 3\).*\(4,\).*Flatten"),
        (lambda: nn.Conv1d((2, 3, 4), 4, 3), ValueError, r"in_size.*Conv1d.*length, channels.*\(2, 3, 4\)"),
        (lambda: nn.Linear(3, 4, w_init=np.ones((4, 3))), ValueError, r"w_init.*Linear.*\(4, 3\).*\(3, 4\)"),
        (lambda: nn.Linear(3, 4, w_init=None), TypeError, "w_init.*Linear.*None"),
        (lambda: nn.Linear(3, 4, 1.0, w_mask=1.0 * u.mV), ns.UnitError, "w_mask.*Linear.*mV"),
        (lambda: nn.Flatten(2)(jnp.ones((3, 2))), ValueError, r"Flatten.*2 to -1.*\(3, 2\)"),
        (lambda: nn.Sequential(), TypeError, "at least one"),
        (lambda: nn.Sequential(nn.Dropout(), 3), TypeError, "Layer 1.*3"),
        (lambda: nn.Sequential(nn.Flatten), TypeError, "Layer 0.*Flatten"),
        (lambda: nn.Layer(jnp.tanh, 3), TypeError, "Layer.*Equinox"),
        (lambda: nn.GRUCell(3, 2, 1.0)(jnp.ones(3)), ns.StateNotInitialisedError, "GRUCell.*'h'.*init_all_states"),
        (
            lambda: nn.init_all_states(nn.LSTMCell(3, 2, 1.0))(jnp.ones((5, 3))),
            ValueError,
            r"LSTMCell.*\(5,\).*\.h.*\(2,\)",
        ),
        (lambda: nn.init_all_states(nn.MGUCell(3, 2, 1.0))(jnp.ones(4)), ValueError, r"MGUCell.*\(3,\).*\(4,\)"),
        (lambda: nn.init_all_states(nn.RNNCell(3, 2, w_init=1.0))(jnp.ones(3) * u.mV), ns.UnitError, "RNNCell.*mV"),
        (lambda: nn.RNNCell(3, 2, activation="sin"), ValueError, "activation.*RNNCell.*'sin'"),
    ],
)
def test_errors_name_the_layer_and_what_it_needs(wrong, error, words):
    with pytest.raises(error, match=words):
        wrong()

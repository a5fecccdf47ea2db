"""What of a model is trained: marks for Equinox, labels and masks for Optax, also of models that can be called."""

import re

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neurostate as ns
from neurostate import train


class Parts(eqx.Module):
    """A model with a dictionary, a list, a function and an array of ints in it."""

    cells: dict
    stack: list
    counts: jax.Array
    function: object


def model():
    keys = jax.random.split(jax.random.key(0))
    return Parts(
        cells={"E": ns.LIF(3), "I": ns.LIF(2, tau=8.0 * u.ms)},
        stack=[ns.connect.Dense(2, 3, jnp.ones((2, 3))), eqx.nn.Linear(3, 1, key=keys[0])],
        counts=jnp.arange(3),
        function=jnp.tanh,
    )


LIF = ["R", "tau", "V_th", "V_reset", "V_rest"]
E, I_ = [[f"cells['{name}'].{field}" for field in LIF] for name in "EI"]
INITIAL = ["cells['E'].V_initializer.value", "cells['I'].V_initializer.value"]
LINEAR = ["stack[1].weight", "stack[1].bias"]


def paths(spec, sort=True):
    found = [jax.tree_util.keystr(path)[1:] for path, leaf in jax.tree_util.tree_leaves_with_path(spec) if leaf]
    assert all(isinstance(leaf, bool) for leaf in jax.tree.leaves(spec))
    return sorted(found) if sort else found


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ((), [*E, *I_, *INITIAL, "stack[0].weight", *LINEAR]),
        (("cells['E'].tau",), ["cells['E'].tau"]),
        (("*.tau",), ["cells['E'].tau", "cells['I'].tau"]),
        (("stack[1].*",), LINEAR),
        (("stack[1]",), LINEAR),
        (("stack[*].weight",), ["stack[0].weight", "stack[1].weight"]),
        ((ns.connect.Dense,), ["stack[0].weight"]),
        ((ns.LIF, "*.bias"), [*E, *I_, *INITIAL, "stack[1].bias"]),
        ((lambda path, leaf: leaf.shape == (2, 3),), ["stack[0].weight"]),
        ((Parts, lambda path, leaf: False), None),
        (("*.ta",), None),
        (("stack[2]",), None),
        ((eqx.nn.Conv1d,), None),
    ],
)  # fmt: skip
def test_select(where, found):
    net = model()
    if found is None:
        with pytest.raises(ValueError, match=r"selects none of.*There are: cells\['E'\]\.R.*stack\[1\]\.bias"):
            train.select(net, *where)
        return
    spec = train.select(net, *where)
    assert paths(spec) == sorted(found)
    assert paths(train.select(net, spec)) == sorted(found)
    trained, rest = train.partition(net, *where)
    assert len(jax.tree.leaves(trained)) == len(found)
    assert eqx.tree_equal(eqx.combine(trained, rest), net)
    assert eqx.tree_equal(eqx.partition(net, spec), (trained, rest))


def test_exclude():
    assert paths(train.select(model(), ns.LIF, exclude=("*.V_*", "*.R"))) == ["cells['E'].tau", "cells['I'].tau"]
    assert paths(train.select(model(), exclude=ns.LIF)) == sorted(["stack[0].weight", *LINEAR])
    with pytest.raises(ValueError, match="No array is selected"):
        train.select(model(), "*.tau", exclude="*.tau")
    with pytest.raises(TypeError, match="pattern of their paths, a type.*got 3 of type int"):
        train.select(model(), 3)


LINEAR_MODEL = eqx.nn.Linear(2, 3, key=jax.random.key(1))
CALLABLE = {
    "linear": (LINEAR_MODEL, "weight", "bias"),
    "dense": (eqx.tree_at(lambda c: c.weight, ns.connect.Dense(2, 3), jnp.ones((2, 3))), "weight", None),
    "mlp": (eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(2)), "layers[0]", "layers[1].bias"),
    "cell": (ns.LIF(2), "tau", "V_th"),
}


@pytest.mark.parametrize("name", CALLABLE)
def test_labels_of_callable_models(name):
    net, fast, slow = CALLABLE[name]
    labels = train.labels(net, {"fast": fast, "slow": slow} if slow else {"fast": fast}, default="frozen")
    steps = {"fast": optax.adam(0.1), "slow": optax.sgd(0.01)}
    params, rest = eqx.partition(net, eqx.is_inexact_array)
    gradients = jax.tree.map(jnp.ones_like, params)
    moved = {"fast": 0.1, "slow": 0.01, "frozen": 0.0}
    expected = [moved[labels.labels[path]] for path in paths(train.select(net), sort=False)]
    for optimizer in (
        optax.multi_transform({**steps, "frozen": optax.set_to_zero()}, labels),
        optax.chain(optax.clip_by_global_norm(1e9), train.per_label({**steps, "frozen": None}, labels)),
    ):
        state, (updates, _) = jax.jit(lambda: (s := optimizer.init(params), optimizer.update(gradients, s, params)))()
        for update, by in zip(jax.tree.leaves(updates), expected, strict=True):
            np.testing.assert_allclose(update, np.full(update.shape, -by), atol=1e-6)
        # Of floats, Adam's two moments of what is fast, and nothing else.
        slots = [leaf.shape for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.float32]
        assert slots == 2 * [leaf.shape for leaf in jax.tree.leaves(train.partition(net, fast)[0])]
        new = eqx.combine(eqx.apply_updates(params, updates), rest)
        assert jax.tree.structure(new) == jax.tree.structure(net)
    assert callable(net) or name == "cell"


@pytest.mark.parametrize("name", CALLABLE)
def test_masks_of_callable_models(name):
    net, where, _ = CALLABLE[name]
    spec, params = train.select(net, where), eqx.filter(net, eqx.is_inexact_array)
    marks = jax.tree.leaves(jax.tree.map(lambda mark, leaf: None if leaf is None else mark, spec, params))
    decay = train.per_label({1: optax.add_decayed_weights(2.0, mask=spec)}, train.labels(net, {}, default=1))
    for optimizer in (optax.masked(optax.add_decayed_weights(2.0), spec), decay):
        nothing = jax.tree.map(jnp.zeros_like, params)
        updates, _ = jax.jit(lambda: optimizer.update(nothing, optimizer.init(params), params))()
        for update, leaf, mark in zip(*map(jax.tree.leaves, (updates, params)), marks, strict=True):
            np.testing.assert_array_equal(update, 2.0 * leaf if mark else 0.0 * leaf)


def test_labels_of_a_trained_part_and_wrong_labels():
    net = model()
    labels = train.labels(net, {"a": ("*.tau", "stack[1]"), "b": ns.LIF}, default="c")
    assert labels.labels["cells['E'].tau"] == "a" and labels.labels["cells['E'].R"] == "b"
    trained, _ = train.partition(net, "stack[1].bias")
    optimizer = train.per_label({"a": optax.sgd(1.0), "b": None, "c": None}, labels)
    updates, _ = optimizer.update(trained, optimizer.init(trained), trained)
    np.testing.assert_array_equal(updates.stack[1].bias, -trained.stack[1].bias)
    with pytest.raises(ValueError, match=re.escape("cells['I'].R, cells['I'].V_th have no label")):
        train.labels(net, {"a": ("*.tau", "stack", "cells['E']", "*.V_initializer", "*.V_re*")})
    with pytest.raises(ValueError, match="The labels 'c' have no transformation.*'a', 'b'"):
        train.per_label({"a": None, "b": None}, labels)
    with pytest.raises(ValueError, match=r"counts has no label"):
        optimizer.init(eqx.filter(net, eqx.is_array))

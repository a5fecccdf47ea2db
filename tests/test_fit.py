"""The training loop: what it computes, where it stops, and how it goes on after an interruption."""

import functools
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


KEY = jax.random.key(7)
NUM, SIZE = 40, 8


class Model(eqx.Module):
    """A leaky unit: linear weights over a time constant."""

    weight: jax.Array
    cell: ns.LIF
    draws: jax.Array  # not of floats: never trained

    def __call__(self, x):
        return x @ self.weight / self.cell.tau


def make():
    return Model(jax.random.normal(jax.random.key(1), (3,)), ns.LIF(1, tau=2.0 * u.ms), jnp.arange(2))


def make_data(num=NUM, seed=0):
    x = jax.random.normal(jax.random.key(seed), (num, 3))
    return {"x": x, "y": x @ jnp.array([1.0, -2.0, 0.5])}


def loss(model, batch, key):
    error = model(batch["x"]) - batch["y"]
    noise = jax.random.normal(key, error.shape)
    return jnp.mean(error**2) + 0.01 * jnp.mean(noise * error), {"worst": jnp.abs(error).max(), "count": len(error)}


TRAINED = ("weight", "cell.tau")
BOUNDS = train.Constraints(make(), {"cell.tau": train.Softplus(1.0)})
ADAM = optax.adam(0.05)
fit = functools.partial(
    train.fit, loss=loss, optimizer=ADAM, batch_size=SIZE, key=KEY, trained=TRAINED, constraints=BOUNDS, progress=False
)
GIVEN = dict(data=make_data(), validation=make_data(19, 5))


def assert_same(one, other):
    """Equal bits: arrays, numbers and history."""
    assert bool(eqx.tree_equal(one, other))


def test_an_epoch_is_the_plain_loop():
    data, model = make_data(NUM + 5), make()  # five examples do not fill a batch
    free, rest = train.partition(BOUNDS.free(model), *TRAINED)
    opt_state, losses, worst = ADAM.init(free), [], []
    assert jnp.isclose(free.cell.tau, jnp.log(jnp.expm1(1.0)))

    @jax.jit
    def step(free, opt_state, batch, key):
        def objective(free):
            return loss(BOUNDS.model(eqx.combine(free, rest)), batch, key)

        (value, metrics), gradient = jax.value_and_grad(objective, has_aux=True)(free)
        updates, opt_state = ADAM.update(gradient, opt_state, free)
        return eqx.apply_updates(free, updates), opt_state, value, metrics["worst"]

    epoch_key = jax.random.fold_in(KEY, 0)
    order = jax.random.permutation(epoch_key, NUM + 5)[:NUM].reshape(-1, SIZE)
    for i, index in enumerate(order):
        key = jax.random.fold_in(jax.random.fold_in(epoch_key, np.uint32(2**32 - 1)), i)
        batch = jax.tree.map(lambda x: x[index], data)
        free, opt_state, value, most = step(free, opt_state, batch, key)
        losses.append(value)
        worst.append(most)
    state = fit(model, data=data, epochs=1)
    for found, expected in zip(jax.tree.leaves(state.trained), jax.tree.leaves(free), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(state.model.cell.tau, 1.0 + jnp.logaddexp(free.cell.tau, 0), rtol=1e-5)
    np.testing.assert_allclose(state.history["loss"], [np.mean(losses)], rtol=1e-5)
    np.testing.assert_allclose(state.history["worst"], [np.mean(worst)], rtol=1e-5)
    assert state.history["count"] == (SIZE,) and (state.epoch, state.step) == (1, NUM // SIZE)
    assert state.model.cell.R is model.cell.R and model.cell.tau == 2.0 and state.best is state.model


def test_validation_and_the_loop_by_hand(capsys):
    state = fit(make(), **GIVEN, epochs=5, progress="five")
    assert re.search(r"five: 100%.*5/5.*loss=.*val_loss=", capsys.readouterr().err)
    error = state.model(GIVEN["validation"]["x"]) - GIVEN["validation"]["y"]
    np.testing.assert_allclose(state.history["val_loss"][-1], jnp.mean(error**2), rtol=0.05)
    # 16 of 19 in two whole batches, each with its share.
    parts = [jnp.abs(error[k : k + SIZE]).max() * len(error[k : k + SIZE]) for k in (0, 8, 16)]
    np.testing.assert_allclose(state.history["val_worst"][-1], sum(parts) / 19, rtol=1e-5)
    np.testing.assert_allclose(state.history["val_count"][-1], (8 * 8 + 8 * 8 + 3 * 3) / 19, rtol=1e-6)
    loop = train.epochs(
        make(), loss, ADAM, GIVEN["data"], batch_size=SIZE, key=KEY, trained=TRAINED, constraints=BOUNDS,
        validation=GIVEN["validation"],
    )  # fmt: skip
    states = [next(loop) for _ in range(5)]
    assert_same(states[-1], state)
    assert [each.epoch for each in states] == [1, 2, 3, 4, 5] and states[0].history["loss"] == state.history["loss"][:1]
    # From the middle of the loop on.
    again = train.epochs(
        make(), loss, ADAM, GIVEN["data"], batch_size=SIZE, key=KEY, constraints=BOUNDS,
        validation=GIVEN["validation"], state=states[2],
    )  # fmt: skip
    next(again)
    assert_same(next(again), state)


def test_early_stopping_keeps_the_best_model():
    # Steps that grow make the loss go down and then up again.
    growing = optax.chain(optax.sgd(1.0), optax.scale_by_schedule(lambda i: 0.02 * 1.25**i))
    seen = []
    state = fit(make(), **GIVEN, epochs=60, optimizer=growing, patience=3, callbacks=[seen.append])
    losses = state.history["val_loss"]
    assert state.epoch == len(losses) == len(seen) < 60
    assert state.best_epoch == int(np.argmin(losses)) + 1 == state.epoch - 3
    assert_same(state.best, seen[state.best_epoch - 1].model)
    assert not eqx.tree_equal(state.best, state.model)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("every", [1, 2])
def test_an_interrupted_run_ends_with_equal_bits(error, every, tmp_path):
    path = tmp_path / "run.eqx"
    whole = fit(make(), **GIVEN, epochs=5)

    def interrupt(state):
        if state.epoch == 3:
            raise error("stop")

    with pytest.raises(error, match="stop"):
        fit(make(), **GIVEN, epochs=5, path=path, every=every, callbacks=[interrupt])
    blank = train.start(make(), ADAM, trained=TRAINED, constraints=BOUNDS)
    assert train.load(path, blank).epoch == 3 and [each.name for each in tmp_path.iterdir()] == ["run.eqx"]
    model = eqx.tree_at(lambda m: m.weight, make(), jnp.zeros(3))  # what counts is the file
    seen = []
    resumed = fit(model, **GIVEN, epochs=5, path=path, resume=True, callbacks=[lambda state: seen.append(state.epoch)])
    assert seen == [4, 5]
    assert_same(resumed, whole)
    assert_same(train.load(path, blank), whole)
    assert_same(fit(make(), **GIVEN, epochs=4, path=path, resume=True), whole)  # there is nothing left to do
    assert_same(fit(make(), **GIVEN, epochs=5, path=tmp_path / "new.eqx", resume=True), whole)


def test_a_run_goes_on_as_it_was(tmp_path):
    path = tmp_path / "run.eqx"
    first = fit(make(), **GIVEN, epochs=1, path=path)
    bounds = lambda bijector, model: train.Constraints(model, {"cell.tau": bijector})  # noqa: E731
    hard, other = (eqx.tree_at(lambda m: m.cell, make(), cell) for cell in (
        ns.LIF(1, tau=2.0 * u.ms, spk_reset="hard"), ns.LIF(1, tau=2.0 * u.ms, R=1.0 * u.Mohm)
    ))  # fmt: skip
    for model, given, said in [
        (make(), {"constraints": bounds(train.Exp(), make())}, r"bijectors\['cell\.tau'\] was Softplus .* is Exp now"),
        (make(), {"constraints": bounds(train.Softplus(0.5), make())}, r"\.lower was 1\.0 .* is 0\.5 now"),
        (make(), {"constraints": None}, r"\['constraints'\] was Constraints .* is missing now"),
        (hard, {"constraints": bounds(train.Softplus(1.0), hard)}, r"cell\.spk_reset was 'soft' .* is 'hard' now"),
        (other, {"constraints": bounds(train.Softplus(1.0), other)}, r"cell\.I_unit was mA .* is nA now"),
        (make(), {"key": jax.random.key(8)}, r"`key` was \[0, 7\] .* is \[0, 8\] now"),
        (make(), {"batch_size": 4}, "`batch_size` was 8 .* is 4 now"),
    ]:
        with pytest.raises(ValueError, match=said):
            fit(model, **GIVEN, epochs=2, path=path, resume=True, **given)
    with pytest.raises(ValueError, match="free numbers in `state`.*Softplus.*`constraints` are None"):
        train.epochs(make(), loss, ADAM, GIVEN["data"], batch_size=SIZE, key=KEY, state=first)


def test_validation_that_is_not_finite():
    validation = {**GIVEN["validation"], "y": GIVEN["validation"]["y"].at[3].set(jnp.nan)}
    with pytest.raises(ns.NonFiniteError, match="in epoch 1: the loss of the validation data is nan") as caught:
        fit(make(), data=GIVEN["data"], validation=validation, epochs=3)
    assert (caught.value.epoch, caught.value.step, caught.value.state.step) == (1, NUM // SIZE, NUM // SIZE)


def test_save_and_load(tmp_path):
    path = tmp_path / "net.eqx"
    tree = {
        "cell": ns.LIF(3, tau=jnp.array([1.0, 2.0, 3.0])), "half": jnp.ones(2, jnp.bfloat16), "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(4), 2), "host": np.arange(3), "text": "kept", "rate": 0.5,
        "scalar": np.float32(3), "voltage": jnp.ones(2) * u.mV, "function": jnp.tanh,
    }  # fmt: skip
    tree["twice"] = tree["cell"].tau
    train.save(path, tree)
    assert path.read_bytes().partition(b"\n")[0].count(b'"shape": [3]') == 3
    like = {
        **tree, "cell": ns.LIF(3, tau=jnp.ones(3)), "half": jnp.zeros(2, jnp.bfloat16), "key": jax.random.key(0),
        "keys": jax.random.split(jax.random.key(0), 2), "host": np.zeros(3, int), "twice": jnp.zeros(3),
        "scalar": np.float32(0),
    }  # fmt: skip
    found = train.load(path, like)
    assert jax.tree.structure(found) == jax.tree.structure(tree)
    for one, other in zip(*map(jax.tree.leaves, (found, tree)), strict=True):
        assert np.all(one == other) and getattr(one, "dtype", None) == getattr(other, "dtype", None)
    for wrong, said in [
        ({**like, "twice": jnp.ones(4)}, r"\['twice'\] is float32\[3\] in the file, but float32\[4\] in `like`"),
        ({**like, "half": jnp.ones(2)}, r"\['half'\] is bfloat16\[2\] in the file, but float32\[2\]"),
        ({**like, "cell": ns.LIF(3)}, r"\['cell'\]\.tau is float32\[3\] in the file, but float32\[\]"),
        ({**like, "more": jnp.ones(1)}, r"\['more'\] is missing in the file, but float32\[1\]"),
        ({name: like[name] for name in like if name != "key"}, r"\['key'\] is key<fry>\[\] in the file, but missing"),
        ({**like, "voltage": jnp.ones(2) * u.volt}, r"\['voltage'\] was mV when it was saved, but is V now"),
        ({**like, "function": jax.nn.relu}, r"\['function'\] was tanh .* is relu now"),
        (
            {**like, "cell": ns.LIF(3, tau=jnp.ones(3), detach_reset=True)},
            r"\['cell'\]\.detach_reset was False .* True",
        ),
        (train.start(make(), ADAM), "has another pytree, but `like` is a `TrainState`"),
    ]:
        with pytest.raises(ValueError, match=said):
            train.load(path, wrong)
    state = train.start(make(), ADAM)
    train.save(path, state)
    with pytest.raises(ValueError, match=r"\['optimizer_state'\]\[0\]\.count is int32\[\] in the file, but missing"):
        train.load(path, train.start(make(), optax.sgd(0.1)))
    with pytest.raises(ValueError, match="has a `TrainState`, but `like` is another pytree"):
        train.load(path, make())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"net\.eqx' is damaged: its arrays end too early"):
        train.load(path, state)
    path.write_bytes(b"no header\n")
    with pytest.raises(ValueError, match="was not written by `train.save`"):
        train.load(path, state)


def nan_after(model, batch, key):
    """A loss without a finite gradient by `cell.tau` once the first weight is below 0.5."""
    broken = jnp.where(model.weight[0] < 0.5, jnp.nan, 0.0)
    return jnp.sum(model.weight) + model.cell.tau * jax.lax.stop_gradient(broken)


def nan_gradient(model, batch, key):
    """A finite loss whose gradient by `cell.tau` becomes NaN: that of a square root at zero, times zero."""
    return jnp.sum(model.weight) + jnp.sqrt(jnp.where(model.weight[0] < 0.5, 0.0, 1.0) + 0.0 * model.cell.tau)


def explode(model, batch, key):
    """A finite gradient with which the weights, but not the others, become infinite."""
    return jnp.sum(model.weight) * jnp.where(model.weight[0] < 0.5, 1e38, 1.0) + 0.0 * model.cell.tau


@pytest.mark.parametrize(
    ("loss", "gradients", "values", "value"),
    [
        (nan_after, ["cell.tau"], ["cell.tau"], "nan"),
        (nan_gradient, ["cell.tau"], ["cell.tau"], "1.4"),
        (explode, [], ["weight"], "1.4[0-9]*e.38"),
    ],
)
def test_it_stops_at_what_is_not_finite(loss, gradients, values, value, tmp_path):
    model = eqx.tree_at(lambda m: m.weight, make(), jnp.ones(3) * 0.94)
    # 0.94 - 0.03 k is below 0.5 for the first time for k = 15, so in the fourth epoch of five steps, at step 16.
    blow_up = optax.stateless_with_tree_map(lambda x, _: jnp.where(abs(x) > 1e30, x * 1e3, x))
    optimizer = optax.chain(optax.sgd(0.03), blow_up)
    said = rf"epoch 4 at step 16: the loss is .*{value}.*not finite: .*{(gradients + values)[0]}.*error\.state\.model"
    with pytest.raises(ns.NonFiniteError, match=said) as caught:
        path = tmp_path / "run.eqx"
        fit(model, loss=loss, optimizer=optimizer, data=make_data(), epochs=9, constraints=None, path=path)
    error = caught.value
    assert (error.epoch, error.step, error.gradients, error.values) == (4, 16, gradients, values)
    assert isinstance(error, ns.NeurostateError) and (error.state.epoch, error.state.step) == (3, 15)
    np.testing.assert_allclose(error.state.model.weight, 0.94 - 15 * 0.03, rtol=1e-5)
    assert error.state.model.cell.tau == 2.0 and len(error.state.history["loss"]) == 3
    saved = train.load(path, train.start(model, optimizer, trained=TRAINED))
    assert (saved.epoch, saved.step) == (3, 15)


def test_accumulation_clipping_schedules_and_labels():
    """The optimisers of Optax with a callable module: against the same by hand."""
    net = eqx.nn.Linear(3, 1, key=KEY)
    data = {"x": make_data()["x"], "y": make_data()["y"]}

    def loss(net, batch, key):
        return jnp.mean((jax.vmap(net)(batch["x"])[:, 0] - batch["y"]) ** 2)

    run = functools.partial(train.fit, net, loss, data=data, key=KEY, progress=False, epochs=2)
    # Four batches of ten examples, accumulated over all four, are the mean over all examples.
    accumulated = run(optimizer=optax.MultiSteps(optax.sgd(0.1), 4), batch_size=NUM // 4)
    whole = run(optimizer=optax.sgd(0.1), batch_size=NUM)
    np.testing.assert_allclose(accumulated.model.weight, whole.model.weight, rtol=1e-5)
    assert (accumulated.step, whole.step) == (8, 2)
    schedule = optax.piecewise_constant_schedule(0.1, {1: 0.0})
    labels = train.labels(net, {"w": "weight"}, default="rest")
    clipped = run(
        optimizer=optax.chain(
            optax.clip_by_global_norm(1e-3), train.per_label({"w": optax.sgd(schedule), "rest": None}, labels)
        ),
        batch_size=NUM,
    )
    gradient = jax.jit(jax.grad(loss))(net, data, KEY)
    norm = np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(clipped.model.weight, net.weight - 0.1 * 1e-3 * gradient.weight / norm, rtol=1e-6)
    assert (clipped.model.bias == net.bias).all()
    plateau = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1, factor=0.5, rtol=1.0))
    assert run(optimizer=plateau, batch_size=10).optimizer_state[1].scale < 1.0  # it was told the loss


TIME_FIRST = {"x": jnp.zeros((12, NUM, 3)), "y": jnp.zeros(NUM)}


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"data": TIME_FIRST}, ValueError, r"\['x'\]: \(12, 40, 3\), \['y'\]: \(40,\).*jnp\.moveaxis\(\['x'\], 1, 0\)"),
        ({"data": {"x": jnp.zeros((4, 3)), "y": jnp.zeros(5)}}, ValueError, r"\(4, 3\).*\(5,\).*equally many"),
        ({"data": {"x": jnp.zeros(3), "y": 1.0}}, ValueError, r"\['y'\]: \(\)"),
        ({"data": {}}, ValueError, "no arrays"),
        ({"validation": TIME_FIRST}, ValueError, "in `validation` must count the examples"),
        ({"batch_size": NUM + 1}, ValueError, "`batch_size` must be from 1 to the number of examples, 40; got 41"),
        ({"batch_size": 2.5}, ValueError, "`batch_size`.*2.5"),
        ({"validation": {"x": jnp.ones((9, 3))}}, ValueError, r"`validation` must have the structure of `data`.*'y'"),
        ({"data": np.array(["a", "b"])}, TypeError, "`data` must hold arrays of numbers, but it is of dtype <U1"),
        ({"epochs": -1}, ValueError, "`epochs` must be an int of at least 0, got -1"),
        ({"epochs": 2.5}, ValueError, "`epochs`.*2.5"),
        ({"patience": 0}, ValueError, "`patience` must be an int of at least 1, got 0"),
        ({"key": 0}, TypeError, "`key` must be a random key.*got 0"),
        ({"constraints": 3}, TypeError, "`constraints` must be `train.Constraints"),
        ({"optimizer": optax.adam}, TypeError, r"`optimizer` must be an Optax transformation.*Call it: `adam\("),
        ({"optimizer": optax.lookahead(optax.sgd(0.1), 5, 0.5)}, TypeError, "lookahead.*not supported"),
        ({"optimizer": optax.lbfgs()}, TypeError, "'value_fn'.*lbfgs.*not supported"),
        (
            {"optimizer": optax.stateless(lambda g, p: jax.tree.map(lambda x: x[None], g))},
            ValueError,
            r"update of weight has the shape \(1, 3\), but the parameter \(3,\)",
        ),
        ({"patience": 2}, ValueError, "`patience`.*`validation`"),
        ({"resume": True}, ValueError, "`resume`.*`path`"),
        ({"every": 0}, ValueError, "`every`"),
        ({"loss": lambda model, batch: 0.0}, TypeError, r"loss\(model, batch, key\).*too many positional.*unused"),
        ({"loss": 3}, TypeError, "`loss` must be a function"),
        ({"loss": lambda m, b, k: m.weight}, TypeError, r"scalar of a floating dtype.*float32\[3\].*mean"),
        ({"loss": lambda m, b, k: m.weight.sum() * u.mV}, TypeError, "divide a Quantity by its unit"),
        ({"loss": lambda m, b, k: (m.weight.sum(), m.weight)}, TypeError, "metrics of `loss` must be a dictionary"),
        ({"loss": lambda m, b, k: (m.weight.sum(), {"w": m.weight})}, TypeError, "to scalars"),
        ({"loss": lambda m, b, k: (m.weight.sum(), {"loss": 1.0})}, TypeError, "other than 'loss'"),
        ({"trained": "cell.w"}, ValueError, r"'cell\.w' selects none.*cell\.tau"),
    ],
)
def test_wrong_arguments(given, error, said):
    arguments = {"data": make_data(), **given}
    with pytest.raises(error, match=said):
        fit(make(), **{"epochs": 1, **arguments})


def test_compiled_once():
    """One program for all epochs, and the same for another run with the same functions."""
    traces = []

    def loss(model, batch, key):
        traces.append(1)
        return jnp.mean(model(batch["x"]) ** 2)

    state = fit(make(), loss=loss, data=make_data(), epochs=4)
    fit(make(), loss=loss, data=make_data(seed=3), epochs=6, key=jax.random.key(1))
    assert len(traces) == 1 and state.step == 20

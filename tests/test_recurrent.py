"""Layers that draw or have states: dropout, and recurrent cells against those of Equinox or closed forms."""

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns


T, nn, init = ns.transform, ns.nn, ns.init
KEY = jax.random.key(0)
RANDOM = dict(w_init=init.Normal(0.0, 1.0), b_init=init.Normal(0.0, 1.0))


# Dropout


def test_dropout_keeps_the_mean_where_the_network_is_trained():
    dropout, x = nn.Dropout(0.8), jnp.ones((100, 100)) * u.mV
    with ns.environ.context(fit=False):
        assert dropout(x) is x
    with ns.environ.context(fit=True), ns.random.seed_context(4):
        out = dropout(x).to_decimal(u.mV)
        assert nn.Dropout(1.0)(jnp.ones(3)).tolist() == [1, 1, 1]
        assert set(np.unique(T.grad(lambda x: dropout(x).sum())(jnp.ones(50)))) == {0.0, np.float32(1.25)}
    assert set(np.unique(out)) == {0.0, np.float32(1.25)}
    np.testing.assert_allclose([out.mean(), (out > 0).mean()], [1.0, 0.8], rtol=0.02)
    with pytest.raises(ns.EnvironmentKeyError, match="'fit'.*trained.*Dropout"):
        dropout(x)
    for prob in (0.0, 1.5):
        with pytest.raises(ValueError, match=f"prob.*Dropout.*keep.*{prob}"):
            nn.Dropout(prob)


def test_dropout_differs_by_step_lane_and_call():
    dropout, x = nn.Dropout(0.5), jnp.ones((4, 30))
    jitted = T.jit(dropout)
    with ns.environ.context(fit=True), ns.random.seed_context(5):
        for outs in (
            T.for_loop(dropout, x),
            T.vmap(dropout)(x),
            jnp.stack([dropout(x[0]), dropout(x[0])]),
            jnp.stack([jitted(x), jitted(x)]).reshape(8, 30),
        ):
            assert len(np.unique(np.asarray(outs), axis=0)) == len(outs)
    with ns.environ.context(fit=False):
        np.testing.assert_array_equal(jitted(x), x)


def test_fixed_dropout_draws_with_the_states():
    dropout, x = nn.DropoutFixed(30, 0.5), jnp.ones((4, 2, 30))
    with pytest.raises(ns.StateNotInitialisedError), ns.environ.context(fit=True):
        dropout(x)
    nn.init_all_states(dropout, batch_size=2)
    with ns.environ.context(fit=True):
        first = T.for_loop(dropout, x)
        mask = dropout.mask.value
        np.testing.assert_array_equal(first, jnp.broadcast_to(2.0 * mask, (4, 2, 30)))
        assert (mask[0] != mask[1]).any()
        nn.reset_all_states(dropout, batch_size=2)
        assert (dropout(x[0]) != first[0]).any()
        nn.vmap_init_all_states(dropout, axis_size=3)
        assert len(np.unique(np.asarray(dropout.mask.value), axis=0)) == 3
        with pytest.raises(ValueError, match=r"DropoutFixed.*batch axes \(2,\).*mask.*\(3, 30\).*batch_size"):
            dropout(x[0])
    with ns.environ.context(fit=False):
        assert dropout(x) is x


# Recurrent cells


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mgu(cell):
    Wf, bf, Wh, bh = (
        np.asarray(cell.states()[name].value) for name in ("Wf.weight", "Wf.bias", "Wh.weight", "Wh.bias")
    )

    def step(h, x):
        f = sigmoid(np.concatenate([x, h]) @ Wf.T + bf)
        return (1 - f) * h + f * np.tanh(np.concatenate([x, f * h]) @ Wh.T + bh)

    return step


def rnn(cell):
    W, b = np.asarray(cell.W.weight.value), np.asarray(cell.W.bias.value)
    return lambda h, x: np.maximum(W[:, :3] @ x + W[:, 3:] @ h + b, 0)


CELLS = {
    "rnn": lambda: nn.RNNCell(3, 2, **RANDOM),
    "mgu": lambda: nn.MGUCell(3, 2, **RANDOM),
    "gru": lambda: nn.GRUCell(3, 2, **RANDOM),
    "lstm": lambda: nn.LSTMCell(3, 2, **RANDOM),
    "gru without bias": lambda: nn.GRUCell(3, 2, RANDOM["w_init"], None),
}
THEIRS = {
    "gru": eqx.nn.GRUCell(3, 2, key=KEY),
    "lstm": eqx.nn.LSTMCell(3, 2, key=KEY),
    "gru without bias": eqx.nn.GRUCell(3, 2, use_bias=False, key=KEY),
}
XS = jax.random.normal(KEY, (5, 4, 3))


def expected_outputs(name, cell):
    """Outputs over time for each lane of `XS`, by `lax.scan` over Equinox' cell or by NumPy."""
    if name in THEIRS:
        values = {path: ref.value for path, ref in cell.states(ns.ParamState).items()}
        theirs = eqx.tree_at(lambda c: [getattr(c, path) for path in values], THEIRS[name], list(values.values()))

        def step(state, x):
            state = theirs(x, state)
            return state, state[0] if name == "lstm" else state

        start = (jnp.zeros(2), jnp.zeros(2)) if name == "lstm" else jnp.zeros(2)
        return jax.jit(jax.vmap(lambda xs: jax.lax.scan(step, start, xs)[1], in_axes=1, out_axes=1))(XS)
    step = {"rnn": rnn, "mgu": mgu}[name](cell)
    states = [np.zeros((4, 2))]
    for x in np.asarray(XS):
        states.append(np.stack([step(*lane) for lane in zip(states[-1], x, strict=True)]))
    return np.stack(states[1:])


@pytest.mark.parametrize("name", list(CELLS))
def test_recurrent_cells_in_loops(name):
    with ns.random.seed_context(6):
        cell = CELLS[name]()
    expected = expected_outputs(name, cell)
    nn.init_all_states(cell)
    h, params = cell.h, cell.states(ns.ParamState)

    def loss_of():
        outputs = T.for_loop(cell, XS)
        return outputs.sum(), outputs

    np.testing.assert_allclose(T.for_loop(cell, XS[:, 0]), expected[:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(h.value, expected[-1, 0], rtol=1e-5, atol=1e-6)
    nn.reset_all_states(cell)
    assert cell.h is h and not h.value.any()
    nn.init_all_states(cell, batch_size=4)
    assert cell.h is h and h.value.shape == (4, 2)
    gradients, outputs = T.grad(loss_of, params, has_aux=True)()
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    assert all(np.any(np.asarray(gradient) != 0) for gradient in gradients.values())
    assert cell.in_size == (3,) and cell.out_size == (2,) and f"{type(cell).__name__}(\n  in_size" in repr(cell)


def test_recurrent_cells_in_lanes():
    with ns.random.seed_context(6):
        cell = CELLS["gru"]()
    expected = T.for_loop(nn.init_all_states(cell, batch_size=4), XS)
    nn.vmap_init_all_states(cell, axis_size=4)
    assert cell.h.value.shape == (4, 2)
    lanes = T.vmap(lambda xs: T.for_loop(cell, xs), in_axes=1, out_axes=1, in_states=ns.HiddenState)(XS)
    np.testing.assert_allclose(lanes, expected, rtol=1e-5, atol=1e-6)


def test_initial_weights_and_states_of_recurrent_cells():
    assert nn.ValinaRNNCell is nn.RNNCell
    gru, lstm = nn.GRUCell(4, 4), nn.LSTMCell(3, 4, w_init=0.0, state_init=init.Uniform(1.0, 2.0))
    gates = np.concatenate([gru.weight_hh.value, gru.weight_ih.value]).reshape(6, 4, 4)
    np.testing.assert_allclose(gates @ gates.transpose(0, 2, 1), np.tile(np.eye(4), (6, 1, 1)), atol=1e-5)
    assert len(np.unique(gates[:, 0, 0])) == 6
    assert lstm.bias.value.tolist() == [0] * 4 + [1] * 4 + [0] * 8
    nn.init_all_states(lstm, batch_size=2)
    assert len(np.unique(np.concatenate([lstm.h.value, lstm.c.value]))) == 16
    wide = nn.LSTMCell(60, 60, w_init=init.LecunNormal()).weight_ih.value
    np.testing.assert_allclose(wide.var(), 1 / 60, rtol=0.1)

"""The seed tutorial's experiments on code of our own: the same numbers, with only names of neurostate."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns


T = ns.transform


class Neuron(ns.nn.Dynamics):
    """A leaky integrator with a soft reset, whose state and parameters are Quantities."""

    def __init__(self, size: ns.typing.Size, tau: ns.typing.ArrayLike = 5.0 * u.ms):
        super().__init__(size)
        self.tau = ns.init.param(tau, self.varshape)
        self.R = ns.init.param(1.0 * u.ohm, self.varshape)
        self.threshold = ns.init.param(1.0 * u.mV, self.varshape)
        self.start = ns.init.Constant(0.0 * u.mV)
        self.fire = ns.surrogate.ReluGrad()

    def init_state(self, batch_size=None):
        self.V = ns.HiddenState(ns.init.param(self.start, self.varshape, batch_size))

    def reset_state(self, batch_size=None):
        self.V.value = ns.init.param(self.start, self.varshape, batch_size)

    def spikes(self):
        return self.fire((self.V.value - self.threshold) / self.threshold)

    def update(self, current):
        V = self.V.value - self.threshold * self.spikes()
        self.V.value = ns.nn.exp_euler_step(lambda v: (-v + self.R * current) / self.tau, V)
        return self.spikes()


@pytest.fixture(autouse=True)
def time_step():
    with ns.environ.context(dt=0.1 * u.ms):
        yield


def run(neuron, currents):
    def step(i, current):
        with ns.environ.context(i=i, t=i * ns.environ.get_dt()):
            spike = neuron(current)
        return neuron.V.value, spike

    return T.for_loop(step, np.arange(len(currents)), currents)


def one_trial(currents):
    return run(ns.nn.init_all_states(Neuron(1)), currents)


def constant(trials, steps, current=1.5):
    return u.math.asarray([np.ones(steps) * current * u.mA for _ in range(trials)])


def test_the_repr_shows_parameters_and_states():
    shown = repr(ns.nn.init_all_states(Neuron(1)))
    for line in ("in_size=(1,)", "tau=5. * ms", "R=1. * ohm", "start=Constant(value=0.0 * mvolt)", "ReluGrad("):
        assert line in shown
    assert "V=HiddenState(float32[1] * mV)" in shown


def test_a_long_loop_with_a_progress_bar(capfd):
    neuron = ns.nn.init_all_states(Neuron(1))
    neuron.reset_state()
    currents = np.ones(10_000) * 1.5 * u.mA
    T.for_loop(lambda i, x: neuron(x), np.arange(10_000), currents, pbar=T.ProgressBar(1000)).block_until_ready()
    shown = capfd.readouterr().err
    assert "10000/10000" in shown and shown.count("100%") == 1


def test_eager_and_compiled_runs_agree():
    neuron = ns.nn.init_all_states(Neuron(1))
    currents = np.ones(5000) * 1.5 * u.mA

    def fresh_run(currents):
        neuron.reset_state()
        return run(neuron, currents)

    V, spikes = fresh_run(currents)
    compiled = T.jit(fresh_run)
    for _ in range(2):
        again = compiled(currents)
        np.testing.assert_array_equal(again[0].mantissa, V.mantissa)
        np.testing.assert_array_equal(again[1], spikes)
    assert spikes.sum() == 90


def test_batched_trials_have_the_shapes_of_the_tutorial():
    currents = u.math.asarray([np.ones(1000) * current * u.mA for current in np.linspace(0.1, 0.2, 10)])
    V, spikes = T.vmap(one_trial)(currents)
    assert V.shape == spikes.shape == (10, 1000, 1)
    assert V.unit == u.mV
    V, spikes = T.jit(T.vmap(one_trial))(constant(50, 2000))
    assert spikes.shape == (50, 2000, 1)
    assert (spikes.sum(axis=(1, 2)) == 36).all()


@pytest.mark.parametrize("batch_size", [20, 30])
def test_1800_spikes_in_100_trials(batch_size):
    currents = constant(100, 1000)
    spikes = T.vmap(lambda x: one_trial(x)[1])(currents)
    assert spikes.shape == (100, 1000, 1)
    assert spikes.sum() == 1800
    assert T.map(lambda x: one_trial(x)[1], currents, batch_size=batch_size).sum() == 1800


def test_nested_loops_with_noise_give_nine_spikes_each():
    neuron = ns.nn.init_all_states(Neuron(1))

    def trial(k):
        neuron.reset_state()
        noise = jax.random.normal(jax.random.PRNGKey(k), (500,)) * 0.03 * u.mA
        return (run(neuron, 1.5 * u.mA + noise)[1] >= 0.5).sum()

    assert T.for_loop(trial, jnp.arange(5)).tolist() == [9, 9, 9, 9, 9]


def test_branches_scale_as_in_the_table():
    def scale(x):
        return T.cond(x > 1.5, lambda v: v * 2.0, lambda v: v * 0.5, x)

    table = [f"{scale(x):.1f}" for x in jnp.array([0.5, 1.0, 1.5, 2.0, 2.5])]
    assert table == ["0.2", "0.5", "0.8", "4.0", "5.0"]


def test_a_switched_current_gives_5_and_12_spikes():
    neuron = ns.nn.init_all_states(Neuron(1))

    def step(i):
        current = T.cond(i < 500, lambda _: 1.2 * u.mA, lambda _: 1.8 * u.mA, None)
        return current, neuron(current)

    currents, spikes = T.for_loop(step, np.arange(1000))
    assert currents.unit == u.mA
    assert (spikes[:500].sum(), spikes[500:].sum()) == (5, 12)


def test_gradients_of_a_square_loss():
    def loss(x, y):
        return ((x - y) ** 2).sum()

    x, y = jnp.array([1.0, 2.0, 3.0]), jnp.array([0.5, 1.5, 2.5])
    assert T.grad(loss, argnums=0)(x, y).tolist() == [1, 1, 1]
    of_x, of_y = T.grad(loss, argnums=[0, 1])(x, y)
    assert (of_x.tolist(), of_y.tolist()) == ([1, 1, 1], [-1, -1, -1])


def test_the_linear_regressor_follows_the_printed_losses_and_weights():
    class Linear(ns.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = ns.ParamState(jax.random.normal(jax.random.PRNGKey(0), (1, 1)) * 0.1)
            self.b = ns.ParamState(jnp.zeros(1))

        def __call__(self, x):
            return x @ self.w.value + self.b.value

    model, key = Linear(), jax.random.PRNGKey(42)
    x = jax.random.uniform(key, (20, 1))
    y = 2.0 * x + 1.0 + jax.random.normal(key, (20, 1)) * 0.1
    gradient = T.grad(lambda x, y: ((model(x) - y) ** 2).mean(), grad_states=[model.w, model.b], return_value=True)
    printed = []
    for epoch in range(150):
        (dw, db), loss = gradient(x, y)
        model.w.value = model.w.value - 0.1 * dw
        model.b.value = model.b.value - 0.1 * db
        if epoch % 20 == 0:
            printed.append(f"{epoch} {loss:.6f} {model.w.value[0, 0]:.4f} {model.b.value[0]:.4f}")
    printed.append(f"{model.w.value[0, 0]:.4f} {model.b.value[0]:.4f}")
    assert printed == [
        "0 4.882305 0.4485 0.4302",
        "20 0.053904 1.3369 1.4566",
        "40 0.039217 1.4816 1.3671",
        "60 0.028541 1.6041 1.2893",
        "80 0.020774 1.7085 1.2229",
        "100 0.015124 1.7976 1.1663",
        "120 0.011013 1.8736 1.1180",
        "140 0.008023 1.9384 1.0768",
        "1.9644 1.0603",
    ]

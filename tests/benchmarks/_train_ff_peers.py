"""The networks of `train_ff` in other libraries; each imports its own when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np


BETA: Final = 0.9
SLOPE: Final = 25.0


class Answer(NamedTuple):
    """What must agree: the number of spikes, and the gradient of the first weights, of shape `(in, out)`."""

    count: Any
    gradient: Any


def spyx(row: Any, given: Any) -> Callable[[], Answer]:
    import jax
    import optax

    snn, nnx = importlib.import_module("spyx.nn"), importlib.import_module("flax.nnx")
    rngs, layers = nnx.Rngs(0), []
    for w in given.weights:
        layers += [nnx.Linear(*w.shape, rngs=rngs), snn.LIF((w.shape[1],), beta=BETA, rngs=rngs)]
        layers[-2].kernel[...] = w
    model = snn.Sequential(*layers)
    is_linear = lambda path, x: isinstance(x, nnx.Param) and any(p in ("kernel", "bias") for p in path)  # noqa: E731

    def loss(model: Any, x: Any, labels: Any) -> Any:
        spikes = snn.run(model, x)[0]
        if row.name == "classifier":
            return optax.softmax_cross_entropy_with_integer_labels(spikes.sum(0), labels).mean(), spikes.sum()
        return spikes.mean(), spikes.sum()

    value_and_grad = nnx.value_and_grad(loss, argnums=nnx.DiffState(0, is_linear), has_aux=True)
    optimiser = nnx.Optimizer(model, optax.adam(1e-3), wrt=is_linear)

    @nnx.jit
    def step(model: Any, optimiser: Any, x: Any, labels: Any) -> Any:
        (_, count), gradient = value_and_grad(model, x, labels)
        if row.name == "classifier":
            optimiser.update(model, gradient)
        return count, gradient

    def run() -> Answer:
        count, gradient = step(model, optimiser, given.x, given.labels)
        leaves = jax.block_until_ready(jax.tree.leaves(gradient))
        jax.block_until_ready(jax.tree.leaves(nnx.state(model)))
        return Answer(count, next(leaf for leaf in leaves if leaf.shape == given.weights[0].shape))

    return run


def brainstate(row: Any, given: Any) -> Callable[[], Answer]:
    import brainunit as u
    import jax
    import jax.numpy as jnp
    import optax

    bs, bt = importlib.import_module("brainstate"), importlib.import_module("braintools")
    lif = importlib.import_module("brainpy.state").LIF
    bs.environ.set(dt=1.0 * u.ms)
    surrogate = bt.surrogate.InvSquareGrad(SLOPE)

    class Net(bs.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            tau = -1.0 / np.log(BETA) * u.ms
            self.linears = [bs.nn.Linear(*w.shape) for w in given.weights]
            self.cells = [lif(w.shape[1], tau=tau, spk_fun=surrogate) for w in given.weights]

        def update(self, x: Any) -> Any:
            for linear, cell in zip(self.linears, self.cells, strict=True):
                x = cell(linear(x) / (1 - BETA) * u.mA)
            return x

    net, spikes = Net(), bs.ShortTermState(jnp.zeros(()))
    for linear, w in zip(net.linears, given.weights, strict=True):
        linear.weight.value = dict(linear.weight.value) | {"weight": w}
    weights = net.states(bs.ParamState)
    bs.nn.init_all_states(net, batch_size=row.batch)

    def loss() -> Any:
        bs.nn.reset_all_states(net, batch_size=row.batch)
        out = bs.transform.for_loop(net.update, given.x)
        spikes.value = out.sum()
        if row.name == "classifier":
            return optax.softmax_cross_entropy_with_integer_labels(out.sum(0), given.labels).mean()
        return out.mean()

    optimiser = bt.optim.Adam(lr=1e-3)
    optimiser.register_trainable_weights(weights)

    @bs.transform.jit
    def step() -> Any:
        gradients = bs.transform.grad(loss, weights)()
        if row.name == "classifier":
            optimiser.update(gradients)
        return gradients

    def run() -> Answer:
        leaves = jax.tree.leaves(jax.block_until_ready(step()))
        return Answer(spikes.value, next(leaf for leaf in leaves if leaf.shape == given.weights[0].shape))

    return run


def _torch(row: Any, given: Any, make: Callable[[Any, int], Callable[[Any], Any]]) -> Callable[[], Answer]:
    """`make(torch, n)` gives neurons that map currents of shape `(time, batch, n)` to spikes."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(2)
    x, labels = (torch.from_numpy(np.array(a)) for a in (given.x, given.labels))
    linears = torch.nn.ModuleList([torch.nn.Linear(*w.shape) for w in given.weights])
    for linear, w in zip(linears, given.weights, strict=True):
        linear.weight.data[:] = torch.from_numpy(np.array(w).T.copy())
        linear.bias.data.zero_()
    cells = [make(torch, w.shape[1]) for w in given.weights]
    optimiser = torch.optim.Adam(linears.parameters(), lr=1e-3)

    def run() -> Answer:
        optimiser.zero_grad(set_to_none=True)
        spikes = x
        for linear, cell in zip(linears, cells, strict=True):
            spikes = cell(linear(spikes))
        is_classifier = row.name == "classifier"
        loss = torch.nn.functional.cross_entropy(spikes.sum(0), labels.long()) if is_classifier else spikes.mean()
        loss.backward()
        if is_classifier:
            optimiser.step()
        return Answer(spikes.detach().sum().numpy(), linears[0].weight.grad.numpy().T)

    return run


def _loop(torch: Any, step: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """Runs `step(x, state) -> (spike, state)` over time, from the state `None`."""

    def neurons(x: Any) -> Any:
        state, out = None, []
        for at in x.unbind(0):
            spike, state = step(at, state)
            out.append(spike)
        return torch.stack(out)

    return neurons


def snntorch(row: Any, given: Any) -> Callable[[], Answer]:
    snn, surrogate = importlib.import_module("snntorch"), importlib.import_module("snntorch.surrogate")

    def make(torch: Any, n: int) -> Any:
        del n
        cell = snn.Leaky(beta=BETA, spike_grad=surrogate.fast_sigmoid(slope=int(SLOPE)))
        return _loop(torch, lambda x, V: cell(x, torch.zeros_like(x) if V is None else V))

    return _torch(row, given, make)


def norse(row: Any, given: Any) -> Callable[[], Answer]:
    nt = importlib.import_module("norse.torch")

    def make(torch: Any, n: int) -> Any:
        del n
        parameters = nt.LIFBoxParameters(tau_mem_inv=torch.tensor((1 - BETA) / 1e-3))
        cell = nt.LIFBoxCell(parameters, dt=1e-3)
        return _loop(torch, lambda x, state: cell(x / (1 - BETA), state))

    return _torch(row, given, make)


def spikingjelly(row: Any, given: Any) -> Callable[[], Answer]:
    name = "spikingjelly.activation_based"
    neuron, surrogate, functional = (
        importlib.import_module(f"{name}.{x}") for x in ("neuron", "surrogate", "functional")
    )

    def make(torch: Any, n: int) -> Any:
        del torch, n
        options = {"tau": 1.0 / (1 - BETA), "decay_input": False, "v_reset": None, "step_mode": "m"}
        cell = neuron.LIFNode(surrogate_function=surrogate.ATan(), **options)

        def run(x: Any) -> Any:
            functional.reset_net(cell)
            return cell(x)

        return run

    return _torch(row, given, make)


PEERS: Final[dict[str, Callable[[Any, Any], Callable[[], Answer]]]] = {
    "spyx": spyx,
    "brainstate": brainstate,
    "snntorch": snntorch,
    "norse": norse,
    "spikingjelly": spikingjelly,
}

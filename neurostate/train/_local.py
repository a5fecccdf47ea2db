"""Learners that keep, of the influence of a weight, only that on the neuron behind it: one trace for each synapse."""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Float, Int, Key, PyTree, QuantityLike, Size
from .._dependence import AFFINE, FREE, OTHER, dependence
from .._drive import Drive, as_drive
from .._parameters import as_milliseconds, broadcasts
from ..connect._base import AbstractConnection
from ..network._drives import flat, folded, summed
from ..network.projection import Pathway, ProjectionState
from ..network.recurrent import Recurrent, RecurrentState
from ..network.sequential import Sequential, SequentialState
from ..neuron import AbstractNeuron
from ..readout.leaky_rate import LeakyRateReadout
from ._online import AbstractLearner, as_scalar, initial_state, keyed, split


class LocalCarry(eqx.Module):
    """What `EProp` and `DiagonalRTRL` carry from step to step.

    - `state`: The state of the model.
    - `spike`: The spikes of the last step.
    - `traces`: The eligibility traces: for each synapse and each trained parameter of a neuron, the influence on each
        variable of the neuron behind it, of shape `(*batch, num_in, neurons)` or `(*batch, neurons)`.
    - `filtered`: That on its spike, filtered as the readout filters; and likewise the spikes.
    - `gradient`: The gradient up to now, of matrices of weights and of parameters of each neuron.
    - `loss`: The sum of the losses up to now.
    - `index`: The number of steps up to now.
    """

    state: SequentialState
    spike: Float[Array, "..."]
    traces: dict[str, Any]
    filtered: dict[str, Any]
    gradient: dict[str, Any]
    loss: Float[Array, ""]
    index: Int[Array, ""]
    key: Key | None


class AbstractLocalLearner(AbstractLearner[LocalCarry]):
    """A learner for one layer of neurons between a connection and a leaky readout."""

    # Whether a trace sees the reset of `V`, and the connection of a neuron to itself.
    keeps_own_spike: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def feedback_weights(self) -> Float[Array, "neurons outputs"]:
        """How the derivative of the loss by the outputs comes back to the neurons."""

    def init(self, batch_shape: Size = (), *, key: Key | None = None) -> LocalCarry:
        """What is remembered before the first step. See `AbstractLearner.init`."""
        params, parts = _parts(split(self.model, self.trained)[0]), _parts(self.model)

        def start(cell: Any, readout: Any) -> tuple[Any, SequentialState]:
            made = (eqx.combine(cell, parts.cell), eqx.combine(readout, parts.readout))
            model = eqx.tree_at(lambda model: (_parts(model).cell, _parts(model).readout), self.model, made)
            state = initial_state(model, batch_shape, key)
            return (_variables(_cell_state(state)), state.layers[2].r), state

        given = (params.cell, _without_weight(params.readout))
        _, slopes, state = _elementwise(start, *given)
        cell_slopes, num_params = jax.tree.leaves(slopes[0]), len(jax.tree.leaves(params.cell))
        V = _cell_state(state).V
        _check_variables(_cell_state(state), V.shape)
        zeros, own = jnp.zeros_like(V), parts.recurrent is not None and self.keeps_own_spike
        traces: dict[str, Any] = {}
        filtered: dict[str, Any] = {"spike": zeros}
        gradient: dict[str, Any] = {}
        for name, connection in _trained_connections(params, parts).items():
            shape = (*V.shape[:-1], math.prod(connection.in_size), V.shape[-1])
            trace = jnp.zeros(shape, V.dtype)
            traces[name], filtered[name] = [trace] * (len(cell_slopes) + own), trace
            gradient[name] = jnp.zeros(shape[-2:], V.dtype)
        traces["cell"] = [[slope[k] for slope in cell_slopes] + [zeros] * own for k in range(num_params)]
        traces["readout"] = list(slopes[1][num_params:])
        filtered["cell"] = [zeros] * num_params
        gradient["cell"] = [jnp.zeros(parts.cell.size, V.dtype)] * num_params
        gradient["readout"] = [jnp.zeros(parts.readout.size, V.dtype)] * len(traces["readout"])
        if params.readout.weight is not None:
            gradient["weight"] = jnp.zeros_like(parts.readout.weight)
        loss, index = jnp.zeros((), jnp.result_type(float)), jnp.zeros((), jnp.int32)
        return LocalCarry(state, zeros, traces, filtered, gradient, loss, index, key)

    def step(self, carry: LocalCarry, input: PyTree, target: PyTree, *, dt: QuantityLike) -> tuple[LocalCarry, PyTree]:
        """Moves model and gradient forward by one step. See `AbstractLearner.step`."""
        dt = as_milliseconds(dt, f"{type(self).__name__}.step")
        params, parts = _parts(split(self.model, self.trained)[0]), _parts(self.model)
        key = keyed(carry.key, carry.index).get("key")
        x = jnp.asarray(input, carry.spike.dtype)
        layer, spike, slopes, arguments = self._move_neurons(carry, parts, params.cell, x, dt, key)

        def move_readout(r: Array, params: Any) -> tuple[Array, Any]:
            readout = eqx.combine(params, parts.readout)
            state, output = readout.step(eqx.tree_at(lambda s: s.r, before, r), spike, dt=dt, key=folded(key, 2))
            return output, state

        before = carry.state.layers[2]
        output, by_readout, readout = _elementwise(move_readout, before.r, _without_weight(params.readout))
        value, error = jax.value_and_grad(lambda y: as_scalar(self.loss(y, target)))(output)
        traces, eligibility = _moved_traces(carry, slopes, arguments, flat(x, parts.connection.in_size))
        traces["readout"] = [by_readout[0] * q + by_readout[k + 1] for k, q in enumerate(carry.traces["readout"])]
        decay = jnp.exp(-dt / parts.readout.tau.reshape(())).astype(spike.dtype)
        eligibility["spike"] = spike
        filtered = jax.tree.map(lambda old, new: decay * old + new, carry.filtered, eligibility)
        found = _slopes_of_loss(filtered, traces["readout"], error, self.feedback_weights().astype(spike.dtype))
        gradient = {name: jax.tree.map(jnp.add, old, found[name]) for name, old in carry.gradient.items()}
        state = SequentialState((None, layer, readout))
        new = LocalCarry(state, spike, traces, filtered, gradient, carry.loss + value, carry.index + 1, carry.key)
        return new, output

    def _move_neurons(
        self, carry: LocalCarry, parts: Parts, params: Any, x: Array, dt: Any, key: Key | None
    ) -> tuple[Any, Array, list[Array], list[str]]:
        """The layer of neurons after a step, its spikes, and the derivatives of each of its variables, the spike as the
        last one: along the first axis by each variable before and each other argument, whose names come with them."""
        layer, cell_state = carry.state.layers[1], _cell_state(carry.state)
        kept = eqx.filter(cell_state, eqx.is_inexact_array, inverse=True)
        pathway, own = parts.recurrent, None
        inputs = {"input": parts.connection(x)}
        if pathway is not None:
            inputs["recurrent"] = layer.projection.arrived
            if self.keeps_own_spike:
                own = jnp.diagonal(pathway.connection.matrix())

        def move(variables: Any, inputs: dict[str, Array], params: Any) -> tuple[Any, Any]:
            cell, state = eqx.combine(params, parts.cell), eqx.combine(variables["cell"], kept)
            if not self.keeps_own_spike:
                cell = detached(cell)
            drive: Any = inputs["input"]
            if pathway is not None:
                arrived = inputs["recurrent"]
                if own is not None:  # what arrives already holds it: only the derivative is added
                    spike = variables["spike"]
                    arrived = arrived + own * (spike - jax.lax.stop_gradient(spike))
                drive = as_drive(drive, cell, state.V, type(self).__name__)
                drive = summed([drive, pathway.drive(ProjectionState(arrived=arrived), state.V)], state.V)
            state, spike = cell.step(state, drive, dt=dt, key=folded(key, 1))
            return {"cell": _variables(state), "spike": spike}, state

        before = {"cell": _variables(cell_state)} | ({} if own is None else {"spike": carry.spike})
        after, slopes, state = _elementwise(move, before, inputs, params)
        spike = after["spike"]
        if pathway is not None:
            state = RecurrentState(state, pathway.step(layer.projection, spike, spike, dt))
        names = ["variable"] * len(jax.tree.leaves(before)) + sorted(inputs) + ["cell"] * len(jax.tree.leaves(params))
        return state, spike, jax.tree.leaves(slopes), names

    def gradients(self, carry: LocalCarry) -> PyTree:
        """The gradient of the sum of the losses. See `AbstractLearner.gradients`."""
        params, rest = split(self.model, self.trained)

        def exposed(params: Any) -> dict[str, Any]:
            trained, parts = _parts(params), _parts(eqx.combine(params, rest))
            readout = jax.tree.leaves(_without_weight(trained.readout))
            matrices = {name: c.matrix() for name, c in _trained_connections(trained, parts).items()}
            matrices |= {} if trained.readout.weight is None else {"weight": parts.readout.weight}
            return matrices | {
                "cell": [jnp.broadcast_to(leaf, parts.cell.size) for leaf in jax.tree.leaves(trained.cell)],
                "readout": [jnp.broadcast_to(leaf, parts.readout.size) for leaf in readout],
            }

        shapes, pull = jax.vjp(exposed, params)
        cotangent = jax.tree.map(lambda x, like: x.astype(like.dtype), carry.gradient, shapes)
        return pull(cotangent)[0]

    def restart(self, carry: LocalCarry) -> LocalCarry:
        """The same carry, with the sums of losses and gradients at zero."""
        zeros = jax.tree.map(jnp.zeros_like, (carry.gradient, carry.loss))
        return eqx.tree_at(lambda carry: (carry.gradient, carry.loss), carry, zeros)


# The model


class Parts(NamedTuple):
    """The parts of a model, or of its trained arrays."""

    connection: AbstractConnection
    cell: Any
    recurrent: Pathway | None
    readout: LeakyRateReadout


def _parts(model: Any) -> Parts:
    connection, layer, readout = model.layers
    recurrent = layer.projection if isinstance(layer, Recurrent) else None
    return Parts(connection, layer if recurrent is None else layer.cell, recurrent, readout)


def check_model(model: Any, trained: Any, owner: str) -> None:
    """Checks that a model is of the kind that a local learner can train.

    **Raises:** `TypeError` for another kind of model; `ValueError` for parameters that it cannot train.
    """
    layers = model.layers if isinstance(model, Sequential) else ()
    kinds = (AbstractConnection, (Recurrent, AbstractNeuron), LeakyRateReadout)
    if len(layers) != 3 or not all(map(isinstance, layers, kinds)):
        raise TypeError(
            f"`{owner}` trains a `Sequential(connection, neurons, LeakyRateReadout(...))`, where `neurons` is a neuron "
            f"or a `Recurrent`; got {[type(layer).__name__ for layer in layers] or type(model).__name__}. "
            "`RTRL` trains any model."
        )
    parts = _parts(model)
    pathway = parts.recurrent
    between = ("synapse", "output", "short_term", "plasticity", "delay")
    found = [name for name in between if pathway is not None and getattr(pathway, name) is not None]
    if found:
        raise ValueError(f"The `Recurrent` that `{owner}` trains must be a connection alone, but it has {found}.")
    if parts.readout.tau.size != 1:
        raise ValueError(
            f"`{owner}` filters a trace as the readout does, so the `tau` of the readout must be one number; it has "
            f"the shape {parts.readout.tau.shape}."
        )
    params = _parts(split(model, trained)[0])
    for leaf in jax.tree.leaves(params.cell):
        if not broadcasts(leaf.shape, parts.cell.size):
            raise ValueError(
                f"`{owner}` trains parameters of single neurons, but one of the `{type(parts.cell).__name__}` has the "
                f"shape {leaf.shape}, which does not broadcast to {parts.cell.size}. Leave it out of `trained`."
            )
    _check_apart(parts, params.cell, owner)


def _check_apart(parts: Parts, params: Any, owner: str) -> None:
    """Checks that the derivative of a step of the cell is one of each neuron by what is its own, in any state.

    That is proved from the program of the derivative, which is linear.
    """
    key = jax.random.key(0)
    state = parts.cell.init_state((), key=key)
    kept = eqx.filter(state, eqx.is_inexact_array, inverse=True)

    def move(params: Any, variables: Any, x: Array) -> Any:
        drive = x if parts.recurrent is None else Drive(current=x)
        cell, state = eqx.combine(params, parts.cell), eqx.combine(variables, kept)
        state, spike = cell.step(state, drive, dt=1.0, key=key)
        return _variables(state), spike

    given = (params, _variables(state), jnp.zeros_like(state.V))
    program = jax.make_jaxpr(lambda given, change: jax.jvp(move, given, change)[1])(given, given)
    count = len(jax.tree.leaves(given))
    found = dependence(program, [FREE] * count + [AFFINE] * count)
    names = [*(jax.tree_util.keystr(path).lstrip(".") for path, _ in jax.tree.leaves_with_path(given[1])), "spike"]
    wrong = [name for name, how in zip(names, found, strict=True) if how == OTHER]
    if wrong:
        raise ValueError(
            f"`{owner}` keeps a trace for each neuron, so that in a step of the cell none may depend on others, but "
            f"for the new `{'`, `'.join(wrong)}` of `{type(parts.cell).__name__}` that cannot be shown. Couple neurons "
            "by the connection of a `Recurrent`, or train with `RTRL`."
        )


def _trained_connections(params: Parts, parts: Parts) -> dict[str, AbstractConnection]:
    """The connections that have trained arrays."""
    trained = {"input": params.connection}
    connections = {"input": parts.connection}
    if parts.recurrent is not None and params.recurrent is not None:
        trained["recurrent"] = params.recurrent.connection
        connections["recurrent"] = parts.recurrent.connection
    return {name: connections[name] for name, arrays in trained.items() if jax.tree.leaves(arrays)}


def _without_weight(readout: Any) -> Any:
    return eqx.tree_at(lambda readout: readout.weight, readout, None, is_leaf=lambda x: x is None)


def _cell_state(state: SequentialState) -> Any:
    layer = state.layers[1]
    return layer.neurons if isinstance(layer, RecurrentState) else layer


def _variables(state: Any) -> Any:
    return eqx.filter(state, eqx.is_inexact_array)


def _check_variables(state: Any, shape: tuple[int, ...]) -> None:
    shapes = {leaf.shape for leaf in jax.tree.leaves(_variables(state))}
    if shapes != {shape}:
        raise ValueError(f"Each variable of a neuron must have the shape {shape}, got the shapes {sorted(shapes)}.")


@functools.cache
def _detached_class(kind: type) -> type:
    def reset(self: Any, state: Any, spike: Array) -> Any:
        return kind.reset(self, state, spike).with_(V=kind.reset(self, state, jax.lax.stop_gradient(spike)).V)

    return type(kind)(kind.__name__, (kind,), {"reset": reset, "__module__": kind.__module__})


def detached(cell: Any) -> Any:
    """The cell with a reset whose `V` does not see the derivative of the spike. Its other variables do."""
    copy = object.__new__(_detached_class(type(cell)))
    for field in dataclasses.fields(cell):
        object.__setattr__(copy, field.name, getattr(cell, field.name))
    return copy


# The traces


def _elementwise(function: Callable[..., tuple[Any, Any]], *args: Any) -> tuple[Any, Any, Any]:
    """`function(*args)`, where its results depend on its arguments neuron by neuron, and their derivatives: along the
    first axis by each array of the arguments, in their order. Last comes what it gives besides."""
    leaves, treedef = jax.tree.flatten(args)

    def along(k: Array) -> Any:
        tangents = [jnp.broadcast_to((k == j).astype(leaf.dtype), leaf.shape) for j, leaf in enumerate(leaves)]
        return jax.jvp(function, args, treedef.unflatten(tangents), has_aux=True)

    if not leaves:
        out, aux = function(*args)
        return out, jax.tree.map(lambda x: jnp.zeros((0, *x.shape), x.dtype), out), aux
    return jax.vmap(along, out_axes=(None, 0, None))(jnp.arange(len(leaves)))


def _moved_traces(
    carry: LocalCarry, slopes: list[Array], arguments: list[str], x: Array
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The traces after a step, and the part of them that tells of the spikes."""
    count = arguments.count("variable")
    sent = {"input": x, "recurrent": carry.spike}
    traces: dict[str, Any] = {"cell": []}
    spikes: dict[str, Any] = {"cell": []}

    def moved(old: list[Array], place: int, pre: Array | None) -> tuple[list[Array], Array]:
        new = []
        for slope in slopes:
            put = (lambda s: s) if pre is None else (lambda s: s[..., None, :])
            terms = [put(slope[b]) * old[b] for b in range(count)]
            terms.append(slope[place] if pre is None else put(slope[place]) * pre[..., :, None])
            new.append(sum(terms[1:], terms[0]))
        return new[:count], new[-1]

    for place, name in enumerate(arguments):
        if name == "cell":
            trace, of_spike = moved(carry.traces[name][len(traces[name])], place, None)
            traces[name].append(trace)
            spikes[name].append(of_spike)
        elif name in carry.traces:
            traces[name], spikes[name] = moved(carry.traces[name], place, sent[name])
    return traces, spikes


def _slopes_of_loss(filtered: dict[str, Any], of_readout: list[Array], error: Array, feedback: Array) -> dict[str, Any]:
    """The gradient of the loss of one step, summed over the batch."""
    signal = error @ feedback.T
    sum_ = lambda x: x.reshape(-1, x.shape[-1]).sum(0)  # noqa: E731
    found: dict[str, Any] = {
        name: jnp.einsum("...j,...ij->ij", signal, trace)
        for name, trace in filtered.items()
        if name not in ("spike", "cell")
    }
    found["cell"] = [sum_(signal * trace) for trace in filtered["cell"]]
    found["readout"] = [sum_(error * trace) for trace in of_readout]
    found["weight"] = jnp.einsum("...j,...k->jk", filtered["spike"], error)
    return found

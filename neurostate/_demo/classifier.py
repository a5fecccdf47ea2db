"""A spiking classifier of two layers, trained with Optax through surrogate gradients."""

from __future__ import annotations

import functools
from typing import Any, Final, NamedTuple

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import neurostate as ns

from .._custom_types import Array, Float, Int, Key
from .digits import NUM_CLASSES, SIDE, Digits


DT: Final = u.Quantity(1.0, u.ms)
TAU: Final = u.Quantity(10.0, u.ms)
NUM_STEPS: Final = 25
NUM_HIDDEN: Final = 128
BATCH_SIZE: Final = 32
LEARNING_RATE: Final = 5e-3
# What the brightest pixel and a spike give to the layer behind them, in mA, before the weights.
PIXEL_GAIN: Final = 4.0
SPIKE_GAIN: Final = 3.0
# What it costs if every neuron fires on every step. It keeps the activity sparse.
RATE_COST: Final = 1.0


class Batch(NamedTuple):
    """Some images, of shape `(example, pixel)`, and their classes."""

    images: Float[Array, "example pixel"]
    labels: Int[Array, " example"]


class Spikes(NamedTuple):
    """The spikes of both layers, of shape `(time, neuron)`."""

    hidden: Float[Array, "time hidden"]
    output: Float[Array, "time class"]


class Classifier(eqx.Module):
    """Pixels drive a layer of LIF neurons, and its spikes drive one LIF neuron for each class.

    A pixel is a constant current. The class is that of the output neuron with the most spikes.
    """

    to_hidden: eqx.nn.Linear
    hidden: ns.LIF
    to_output: eqx.nn.Linear
    output: ns.LIF

    def __init__(self, key: Key):
        hidden_key, output_key = jax.random.split(key)
        cell = functools.partial(ns.LIF, tau=TAU, spk_fun=ns.surrogate.ReluGrad(width=2.0), detach_reset=True)
        self.to_hidden = eqx.nn.Linear(SIDE * SIDE, NUM_HIDDEN, key=hidden_key)
        self.hidden = cell(NUM_HIDDEN)
        self.to_output = eqx.nn.Linear(NUM_HIDDEN, NUM_CLASSES, key=output_key)
        self.output = cell(NUM_CLASSES)

    def __call__(self, image: Float[Array, " pixel"]) -> Spikes:
        current = self.to_hidden(PIXEL_GAIN * image)  # the same on every step

        def step(states: tuple[ns.LIFState, ns.LIFState], _: None) -> tuple[tuple[ns.LIFState, ns.LIFState], Spikes]:
            hidden, hidden_spikes = self.hidden.step(states[0], current, dt=DT)
            output, output_spikes = self.output.step(states[1], self.to_output(SPIKE_GAIN * hidden_spikes), dt=DT)
            return (hidden, output), Spikes(hidden_spikes, output_spikes)

        states = (self.hidden.init_state(), self.output.init_state())
        return jax.lax.scan(step, states, length=NUM_STEPS)[1]


class History(NamedTuple):
    """Mean loss and accuracy on the training part, one of each per epoch."""

    loss: list[float]
    accuracy: list[float]


def train(digits: Digits, *, seed: int, epochs: int) -> tuple[Classifier, History]:
    """Trains the weights of a new classifier, and shows the progress on standard error."""
    model_key, order_key = jax.random.split(jax.random.key(seed))
    num_updates = epochs * (len(digits.labels) // BATCH_SIZE)
    state = ns.train.fit(
        Classifier(model_key),
        loss,
        optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, num_updates)),
        Batch(jnp.asarray(digits.images), jnp.asarray(digits.labels)),
        epochs=epochs,
        batch_size=BATCH_SIZE,
        key=order_key,
        trained=eqx.nn.Linear,  # the weights and biases, but not the neurons' parameters
    )
    return state.model, History(list(state.history["loss"]), list(state.history["accuracy"]))


def loss(model: Classifier, batch: Batch, key: Key) -> tuple[Array, dict[str, Array]]:
    """The cross-entropy of the output neurons' spike counts and the cost of all spikes; and the accuracy, beside it."""
    spikes = jax.vmap(model)(moved(batch.images, key))
    counts = spikes.output.sum(axis=1)
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(counts, batch.labels).mean()
    cost = RATE_COST * (spikes.hidden.mean() + spikes.output.mean())
    return cross_entropy + cost, {"accuracy": _hits(counts, batch.labels).mean()}


def moved(images: Float[Array, "example pixel"], key: Key) -> Float[Array, "example pixel"]:
    """The images, half of them moved by up to one pixel each way: so that the place of a stroke is not learned."""
    which_key, where_key = jax.random.split(key)
    offsets = jax.random.randint(where_key, (len(images), 2), 0, 3)
    offsets = jnp.where(jax.random.bernoulli(which_key, shape=(len(images), 1)), offsets, 1)

    def move(image: Float[Array, " pixel"], offset: Int[Array, "2"]) -> Float[Array, " pixel"]:
        padded = jnp.pad(image.reshape(SIDE, SIDE), 1)
        return jax.lax.dynamic_slice(padded, tuple(offset), (SIDE, SIDE)).reshape(-1)

    return jax.vmap(move)(images, offsets)


@eqx.filter_jit
def respond(model: Classifier, images: Float[Array, "example pixel"]) -> Spikes:
    """The spikes for each image, of shape `(example, time, neuron)`."""
    return jax.vmap(model)(images)


def accuracy(spikes: Spikes, digits: Digits) -> float:
    """The part of the digits whose class fires most; of classes with equal counts, the first is taken."""
    return float(np.mean(_hits(np.asarray(spikes.output).sum(axis=1), digits.labels)))


def hidden_rate(spikes: Spikes) -> float:
    """How often a hidden neuron fires, on average, in Hz."""
    return float((spikes.hidden.mean() / DT).to_decimal(u.Hz))


def _hits(counts: Array | np.ndarray, labels: Array | np.ndarray) -> Any:
    return counts.argmax(axis=1) == labels

"""The whole job: simulate, sweep, train, test, draw."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import brainunit as u
import jax.numpy as jnp
import numpy as np

from . import classifier, digits, neuron, picture


class Report(NamedTuple):
    """What the job found, to be printed."""

    trace: neuron.Trace
    curve: neuron.RateCurve
    num_train: int
    num_test: int
    train_accuracy: float
    test_accuracy: float
    hidden_rate: float


def run(*, seed: int, epochs: int, out: Path) -> Report:
    """Does all of it and writes the picture to `out`."""
    trace = neuron.simulate_neuron()
    curve = neuron.sweep_currents()
    train, test = digits.load(seed)
    model, history = classifier.train(train, seed=seed, epochs=epochs)
    spikes = classifier.respond(model, jnp.asarray(test.images))
    report = Report(
        trace=trace,
        curve=curve,
        num_train=len(train.labels),
        num_test=len(test.labels),
        train_accuracy=classifier.accuracy(classifier.respond(model, jnp.asarray(train.images)), train),
        test_accuracy=classifier.accuracy(spikes, test),
        hidden_rate=classifier.hidden_rate(spikes),
    )
    firsts = np.array([np.argmax(test.labels == label) for label in range(digits.NUM_CLASSES)])
    examples = picture.Examples(
        images=test.images[firsts],
        spikes=np.asarray(spikes.output[firsts]),
        duration=float((classifier.NUM_STEPS * classifier.DT).to_decimal(u.ms)),
    )
    picture.save(out, trace=trace, curve=curve, history=history, test_accuracy=report.test_accuracy, examples=examples)
    return report

"""Handwritten digits: the spiking classifier of `python -m neurostate` over several seeds, beside an MLP.

    python -m tests.benchmarks.digits [--seeds 5] [--epochs 40]

Two splits of scikit-learn's 1,797 digits: a random fifth of each class for testing (seed 0), and the last fifth in the
order of the file, which other people wrote. The MLP has the same sizes, images, batches and optimiser, and no spikes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import neurostate as ns
from neurostate._demo import classifier, digits


def last_fifth() -> tuple[digits.Digits, digits.Digits]:
    parts = digits.load(0)
    whole = digits.Digits(*(np.concatenate(pair) for pair in zip(*parts, strict=True)))
    order = np.argsort(whole.places)
    split = round(len(order) * (1 - digits.TEST_FRACTION))
    first, last = (digits.Digits(*(part[rows] for part in whole)) for rows in (order[:split], order[split:]))
    return first, last


def spiking(train: digits.Digits, test: digits.Digits, seed: int, epochs: int) -> float:
    model, _ = classifier.train(train, seed=seed, epochs=epochs)
    return classifier.accuracy(classifier.respond(model, jnp.asarray(test.images)), test)


def mlp(train: digits.Digits, test: digits.Digits, seed: int, epochs: int) -> float:
    keys = jax.random.split(jax.random.key(seed))
    pixels, size = digits.SIDE**2, classifier.NUM_HIDDEN
    model = eqx.nn.MLP(pixels, digits.NUM_CLASSES, size, 1, key=keys[0])

    def loss(model: eqx.nn.MLP, batch: classifier.Batch, key: jax.Array) -> jax.Array:
        scores = jax.vmap(model)(classifier.moved(batch.images, key))
        return optax.softmax_cross_entropy_with_integer_labels(scores, batch.labels).mean()

    updates = epochs * (len(train.labels) // classifier.BATCH_SIZE)
    optimiser = optax.adam(optax.cosine_decay_schedule(classifier.LEARNING_RATE, updates))
    batch = classifier.Batch(jnp.asarray(train.images), jnp.asarray(train.labels))
    options = {"epochs": epochs, "batch_size": classifier.BATCH_SIZE, "key": keys[1], "progress": False}
    model = ns.train.fit(model, loss, optimiser, batch, **options).model
    return float(np.mean(np.asarray(jax.vmap(model)(jnp.asarray(test.images)).argmax(1)) == test.labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    ways: dict[str, Callable[..., float]] = {"spiking": spiking, "MLP": mlp}
    for split, (train, test) in {"random fifth": digits.load(0), "last fifth": last_fifth()}.items():
        for name, way in ways.items():
            start = time.perf_counter()
            found = [way(train, test, seed, options.epochs) for seed in range(options.seeds)]
            seconds = (time.perf_counter() - start) / options.seeds
            each = " ".join(f"{accuracy:.3f}" for accuracy in found)
            print(f"{split:12s} {name:8s} {statistics.mean(found):.4f} ({each}), {seconds:.1f} s a seed")


if __name__ == "__main__":
    main()

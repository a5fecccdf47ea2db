"""Handwritten digits, split into a part for training and one that training never sees."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


SIDE: Final = 8
NUM_CLASSES: Final = 10
TEST_FRACTION: Final = 0.2


class Digits(NamedTuple):
    """Images of shape `(example, 64)` with values from 0 to 1, their classes, and their places in the whole set."""

    images: np.ndarray
    labels: np.ndarray
    places: np.ndarray


def load(seed: int) -> tuple[Digits, Digits]:
    """scikit-learn's bundled digits as `(train, test)`: a random fifth of each class is for testing."""
    images, labels = load_digits(return_X_y=True)
    whole = Digits((images / images.max()).astype(np.float32), labels.astype(np.int32), np.arange(len(labels)))
    train, test = train_test_split(whole.places, test_size=TEST_FRACTION, stratify=labels, random_state=seed)
    return Digits(*(part[train] for part in whole)), Digits(*(part[test] for part in whole))

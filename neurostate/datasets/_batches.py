"""Examples of different lengths, in one array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jax.typing import DTypeLike

from .._custom_types import QuantityLike
from .._units import argument
from ._bin_events import bin_events


def pad(examples: Sequence[Any], num_steps: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Puts examples of different lengths into one array, with zeros after the end of the shorter ones.

    **Arguments:**

    - `examples`: Arrays of shapes `(time, ...)`, which differ in the length of time only.
    - `num_steps`: How many steps the result has. By default as many as the longest example; the same for all batches
        means one compilation.

    **Returns:** An array of shape `(time, batch, ...)`, and where in it there are data: an array of `True` and `False`
    of shape `(time, batch)`.

    **Raises:** `ValueError` without examples, for shapes that do not fit, or an example longer than `num_steps`.

    >>> import numpy as np, neurostate as ns
    >>> x, mask = ns.datasets.pad([np.ones((1, 4)), np.ones((3, 4))])
    >>> print(x.shape, mask.astype(int).tolist())
    (3, 2, 4) [[1, 1], [0, 1], [0, 1]]
    """
    arrays = [np.asarray(example) for example in examples]
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) != 1 or not all(array.ndim for array in arrays):
        raise ValueError(f"`pad` needs examples of shapes (time, ...) alike but for time, got {sorted(shapes)}.")
    lengths = np.array([len(array) for array in arrays])
    longest = int(lengths.max())
    num_steps = longest if num_steps is None else num_steps
    if longest > num_steps:
        raise ValueError(
            f"{argument('pad', 'num_steps')} is {num_steps}, but an example has {longest} steps. Give more, or cut the "
            "examples, for example with `t_end` of `bin_events`."
        )
    padded = np.zeros((num_steps, len(arrays), *shapes.pop()), np.result_type(*arrays))
    for k, array in enumerate(arrays):
        padded[: len(array), k] = array
    return padded, np.arange(num_steps)[:, None] < lengths


def batches(
    examples: Sequence[Any],
    labels: Sequence[Any],
    batch_size: int,
    *,
    num_steps: int | None = None,
    seed: int | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Goes once through examples of different lengths in batches, each as `pad` makes it.

    **Arguments:**

    - `examples`: Arrays of shapes `(time, ...)`.
    - `labels`: A label for each.
    - `batch_size`: How many examples are in a batch. The last one has what is left.
    - `num_steps`: As in `pad`.
    - `seed`: Of the order, which without it is that of the examples; another one for each epoch.

    **Returns:** An iterator over inputs `(time, batch, ...)`, masks `(time, batch)` and labels `(batch, ...)`.

    **Raises:** as `pad`; and `ValueError` if there are not as many labels as examples, or `batch_size` is not positive.

    >>> import numpy as np, neurostate as ns
    >>> examples = [np.ones((length, 4)) for length in (1, 3, 2)]
    >>> [(x.shape, labels.tolist()) for x, _, labels in ns.datasets.batches(examples, [0, 1, 2], 2)]
    [((3, 2, 4), [0, 1]), ((2, 1, 4), [2])]
    """
    array = np.asarray(labels)
    if len(array) != len(examples) or batch_size < 1:
        given = f"{len(examples)} examples, {len(array)} labels and `batch_size={batch_size}`"
        raise ValueError(f"`batches` needs a label for each example and a positive `batch_size`, got {given}.")
    order = np.arange(len(array)) if seed is None else np.random.default_rng(seed).permutation(len(array))
    parts = [order[begin : begin + batch_size] for begin in range(0, len(order), batch_size)]
    return ((*pad([examples[k] for k in part], num_steps), array[part]) for part in parts)


def from_tonic(
    dataset: Any,
    *,
    dt: QuantityLike,
    sensor_size: int | Sequence[int] | None = None,
    t_end: QuantityLike | None = None,
    binary: bool = False,
    dtype: DTypeLike = np.float32,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins a whole data set into one array, the examples along its first axis.

    **Arguments:**

    - `dataset`: A sequence of `(events, label)`, such as a data set of `tonic`, all of it or a part.
    - `sensor_size`: As in `bin_events`. By default `dataset.sensor_size`.
    - `dt`, `t_end`, `binary`, `dtype`: as in `bin_events`. Without `t_end`, all examples get as many steps as the
        longest one.

    **Returns:** Inputs of shape `(example, time, *sensor)`, labels `(example, ...)`, and the number of steps of each
    example before it was padded, `(example,)`.

    **Raises:** as `bin_events`; `ValueError` for an empty data set, or one without `sensor_size`.

    >>> import neurostate as ns
    >>> dataset = [({"t": [0, 4200], "x": [0, 1]}, 3), ({"t": [1500], "x": [1]}, 7)]
    >>> inputs, labels, lengths = ns.datasets.from_tonic(dataset, dt=1.0, sensor_size=2)
    >>> inputs.shape, labels.tolist(), lengths.tolist()
    ((2, 5, 2), [3, 7], [5, 2])
    """
    sensor_size = getattr(dataset, "sensor_size", None) if sensor_size is None else sensor_size
    if sensor_size is None or not len(dataset):
        given = "it is empty" if sensor_size is not None else "it has no `sensor_size` and none was given"
        raise ValueError(f"`from_tonic` needs a data set with examples and their sensor, but {given}.")
    pairs = (dataset[k] for k in range(len(dataset)))
    examples, labels = zip(
        *(
            (bin_events(events, dt=dt, sensor_size=sensor_size, t_end=t_end, binary=binary, dtype=dtype), label)
            for events, label in pairs
        ),
        strict=True,
    )
    inputs = np.zeros((len(examples), max(map(len, examples)), *examples[0].shape[1:]), dtype)
    for k, example in enumerate(examples):
        inputs[k, : len(example)] = example
    return inputs, np.asarray(labels), np.array([len(example) for example in examples])

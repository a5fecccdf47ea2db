"""Events in steps against NumPy's histogram, and examples of different lengths in one array."""

from __future__ import annotations

import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neurostate as ns
from neurostate import datasets


SIZE = (5, 3, 2)
DTYPE = [("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", bool)]
EVENT = st.tuples(st.integers(0, 9000), st.integers(0, 4), st.integers(0, 2), st.booleans())


@given(st.lists(EVENT, max_size=40), st.integers(1, 4000), st.integers(1, 9500))
def test_events_against_a_histogram(rows, dt, t_end):
    events = np.array(rows, DTYPE)
    step, end = dt / 1000 * u.ms, t_end / 1000 * u.ms
    counts = datasets.bin_events(events, dt=step, sensor_size=SIZE, t_end=end)
    steps = -(-t_end // dt)
    inside = events[events["t"] < t_end]
    sample = np.stack([inside[name].astype(float) for name in ("t", "y", "x", "p")], 1)
    # The edges are whole numbers; the last bin of a histogram is closed, but no event is at its end.
    edges = [np.arange(n + 1) * width - shift for n, width, shift in ((steps, dt, 0), (3, 1, 0.5), (5, 1, 0.5))]
    expected, _ = np.histogramdd(sample, [*edges, np.array([-0.5, 0.5, 1.5])])
    np.testing.assert_array_equal(counts, expected)
    assert counts.sum() == len(inside) and counts.shape == (steps, 3, 5, 2) and counts.dtype == np.float32
    merged = datasets.bin_events(events, dt=step, sensor_size=(5, 3, 1), t_end=end, dtype=np.uint8)
    np.testing.assert_array_equal(merged[..., 0], expected.sum(-1))
    once = datasets.bin_events(events, dt=step, sensor_size=SIZE, t_end=end, binary=True, dtype=bool)
    np.testing.assert_array_equal(once, expected > 0)
    every = datasets.bin_events(events, dt=step, sensor_size=SIZE)
    assert every.sum() == len(rows) and len(every) == (max(events["t"]) // dt + 1 if rows else 0)


def test_events_at_the_edges_of_steps_and_times_in_units():
    # 0.3 ms is no binary number: in floats 0.9 // 0.3 is 2.
    edges = np.arange(20) * 300
    for times in (edges, edges * 1.0, edges * 1e-6 * u.second, edges * u.us):
        spikes = datasets.bin_events({"t": times, "x": np.zeros(20, int)}, dt=0.3 * u.ms, sensor_size=(1, 1, 1))
        assert spikes.shape == (20, 1) and (spikes == 1).all()
    before = datasets.bin_events({"t": edges[1:] - 1, "x": np.zeros(19, int)}, dt=0.3, sensor_size=1)
    assert before.shape == (19, 1) and (before == 1).all()


def test_what_is_refused():
    good = {"t": [0, 500], "x": [0, 3]}
    cases = (
        (dict(events=good, dt=0.0005, sensor_size=4), "`dt` of `bin_events` must be a whole number of microseconds"),
        (dict(events=good, dt=1.0, sensor_size=3), "`x` from 0 to 3, but the sensor has the indices 0 to 2"),
        (dict(events=good, dt=1.0, sensor_size=(4, 2, 1)), "the field 'y', but it only has \\['t', 'x'\\]"),
        (dict(events=np.zeros((3, 4)), dt=1.0, sensor_size=4), "the field 't', but it is a `ndarray`"),
        (dict(events=good, dt=1.0, sensor_size=(4, 4)), "must be an int or \\(width, height, polarities\\)"),
        (dict(events={"t": [-1], "x": [0]}, dt=1.0, sensor_size=1), "an event at -1 microseconds"),
        (dict(events={"t": [1], "x": [0.7]}, dt=1.0, sensor_size=1), "an event with `x` of 0.7, .* a whole number"),
        (dict(events={"t": [np.inf], "x": [0]}, dt=1.0, sensor_size=1, t_end=2.0), "`t` of inf, .* a whole number"),
        (dict(events={"t": [0], "x": [np.nan]}, dt=1.0, sensor_size=1), "`x` of nan, .* a whole number"),
        (dict(events={"t": [1], "x": [0, 1]}, dt=1.0, sensor_size=2), "fields of one length, got {'t': 1, 'x': 2}"),
        (
            dict(events={"t": [0] * 300, "x": [0] * 300}, dt=1.0, sensor_size=1, dtype=np.uint8),
            "300 events in one step",
        ),
        (dict(events=good, dt=1.0 * u.mV, sensor_size=4), "`dt` of `bin_events` must have a unit like ms"),
    )
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            datasets.bin_events(**arguments)
    ones = np.ones((3, 2))
    for call, message in (
        (lambda: datasets.pad([]), "examples of shapes \\(time, ...\\) alike"),
        (lambda: datasets.pad([ones, ones[:, :1]]), "got \\[\\(1,\\), \\(2,\\)\\]"),
        (lambda: datasets.pad([ones], 2), "`num_steps` of `pad` is 2, but an example has 3"),
        (lambda: datasets.batches([ones], [1, 2], 1), "1 examples, 2 labels"),
        (lambda: datasets.from_tonic([], dt=1.0, sensor_size=1), "it is empty"),
        (lambda: datasets.from_tonic([(good, 1)], dt=1.0), "no `sensor_size`"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


class Recordings:
    """What a data set of `tonic` is: a sequence of pairs that knows its sensor."""

    sensor_size = (6, 1, 1)

    def __init__(self, lengths):
        rng = np.random.default_rng(0)
        self.times = [np.sort(rng.integers(0, 1000 * n, 30)) for n in lengths]

    def __len__(self):
        return len(self.times)

    def __getitem__(self, k):
        t = self.times[k]
        return {"t": t, "x": t % 6, "p": np.ones_like(t)}, k % 3


def test_a_data_set_in_one_array_and_in_batches():
    dataset = Recordings([4, 9, 6, 9, 2])
    inputs, labels, lengths = datasets.from_tonic(dataset, dt=1.0 * u.ms)
    assert inputs.shape == (5, lengths.max(), 6) and labels.tolist() == [0, 1, 2, 0, 1]
    assert inputs.sum((1, 2)).tolist() == [30] * 5
    assert all(not x[n:].any() and x[n - 1].any() for x, n in zip(inputs, lengths, strict=True))
    cut, _, same = datasets.from_tonic(dataset, dt=1.0, t_end=3.0, sensor_size=6)
    assert cut.shape == (5, 3, 6) and same.tolist() == [3] * 5
    np.testing.assert_array_equal(cut, inputs[:, :3])

    examples = [x[:n] for x, n in zip(inputs, lengths, strict=True)]
    parts = list(datasets.batches(examples, labels, 2, num_steps=10))
    assert [x.shape for x, _, _ in parts] == [(10, 2, 6), (10, 2, 6), (10, 1, 6)]
    x, mask, y = (np.concatenate(arrays, -1 if k == 2 else 1) for k, arrays in enumerate(zip(*parts, strict=True)))
    np.testing.assert_array_equal(x[: inputs.shape[1]].swapaxes(0, 1), inputs)
    np.testing.assert_array_equal(mask.sum(0), lengths)
    assert mask.dtype == bool and not x[~mask].any() and y.tolist() == labels.tolist()
    shuffled = [datasets.batches(examples, np.arange(5), 2, seed=seed) for seed in (1, 1, 2)]
    orders = [np.concatenate([y for *_, y in each]).tolist() for each in shuffled]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == sorted(orders[2]) == list(range(5))
    net = ns.Sequential(ns.connect.Dense(6, 2), ns.LIF(2))
    from_bytes = ns.simulate(net, jnp.asarray(parts[0][0].astype(np.uint8)), dt=1.0).outputs
    np.testing.assert_array_equal(from_bytes, ns.simulate(net, jnp.asarray(parts[0][0]), dt=1.0).outputs)

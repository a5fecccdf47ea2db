"""`Delay` and the delays of `Dynamics`, against plain Python lists, closed forms and finite differences."""

import copy
import pickle
import re

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns


T, Delay = ns.transform, ns.nn.Delay
DT = 0.1 * u.ms
LAGS = (0, 1, 2, 20)
XS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def time_step():
    with ns.environ.context(dt=DT):
        yield


def made(*args, entries=(), batch_size=None, **kwargs):
    delay = Delay(*args, **kwargs)
    for name, time, *indices in entries:
        delay.register_entry(name, time, *indices)
    delay.init_state(batch_size)
    return delay


def lagged(xs, lag, before=0.0):
    """Row k is what was pushed `lag` steps before row k."""
    return np.concatenate([np.full_like(xs[:1], before)] * lag + [xs])[: len(xs)]


def eagerly(step, xs):
    return jax.tree.map(lambda *rows: jnp.stack(rows), *[step(x) for x in xs])


RUNS = {"eager": eagerly, "for_loop": T.for_loop, "jit": T.jit(T.for_loop, static_argnums=0)}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("reads", ["entries", "steps"])
def test_whole_lags_are_exact(run, reads):
    delay = made(3, time=2.0 * u.ms, init=7.0, entries=[(str(k), k * 0.1 * u.ms) for k in LAGS])
    assert delay.history.value.values.shape == (21, 3)

    def read():
        return [delay.at(str(k)) if reads == "entries" else delay.retrieve_at_step(k) for k in LAGS]

    def step(x):
        before = read()
        delay.update(x)
        return before, read()

    before, after = run(step, jnp.asarray(XS))
    for k, a, b in zip(LAGS, after, before, strict=True):
        np.testing.assert_array_equal(a, lagged(XS, k, 7.0))
        np.testing.assert_array_equal(b, lagged(XS, k + 1, 7.0))


def test_arrays_of_lags_indices_and_batches():
    each, grid = np.array([0, 2, 20]), np.array([[3, 0, 1], [20, 5, 4]])
    entries = [("each", each * DT), ("grid", grid * DT), ("picked", np.array([4, 1]) * DT, np.array([2, 0]))]
    delay = made((3,), time=2.0, entries=entries)
    batched = made((3,), time=2.0, entries=entries[:1], batch_size=2)

    def step(x):
        delay.update(x)
        batched.update(jnp.stack([x, 2 * x]))
        out = [delay.at(name) for name in ("each", "grid", "picked")]
        return [*out, batched.at("each"), delay.retrieve_at_step(jnp.arange(3) + 1), delay.retrieve_at_step(5, 1)]

    out = T.for_loop(step, jnp.asarray(XS))
    want = np.stack([lagged(XS[:, k], lag) for k, lag in enumerate(each)], 1)
    np.testing.assert_array_equal(out[0], want)
    np.testing.assert_array_equal(
        out[1], np.stack([[lagged(XS[:, k], row[k]) for k in range(3)] for row in grid]).transpose(2, 0, 1)
    )
    np.testing.assert_array_equal(out[2], np.stack([lagged(XS[:, 2], 4), lagged(XS[:, 0], 1)], 1))
    np.testing.assert_array_equal(out[3], np.stack([want, 2 * want], 1))
    assert batched.history.value.values.shape == (21, 2, 3)
    np.testing.assert_array_equal(out[4], np.stack([lagged(XS[:, k], k + 1) for k in range(3)], 1))
    np.testing.assert_array_equal(out[5], lagged(XS[:, 1], 5))


@pytest.mark.parametrize("lag", [0.5, 1.25, 7.9, np.array([0.5, 3.0, 19.9])])
def test_fractional_lags(lag):
    """Linear interpolation is exact on a ramp; the nearest step is the older one in the middle."""
    linear = made(3, 2.0, entries=[("lag", lag * DT)])
    nearest = made(3, 2.0, interpolation="nearest", entries=[("lag", lag * DT)])
    trained = made(3, 2.0)
    time = ns.ParamState(jnp.asarray(lag) * 0.1)
    trained.register_entry("lag", time)

    def step(i):
        for delay in (linear, nearest, trained):
            delay.update(jnp.full(3, 1.0) * i * 0.5)
        t = i * DT
        with ns.environ.context(t=t):
            reads = [linear.retrieve_at_step(lag), linear.retrieve_at_time(t - lag * DT), trained.at("lag")]
        return linear.at("lag"), nearest.at("lag"), reads

    steps = jnp.arange(40.0)
    out, near, others = T.for_loop(step, steps)
    want = 0.5 * (np.arange(40.0)[25:, None] - np.broadcast_to(lag, 3))
    for values in (out, *others):
        np.testing.assert_allclose(values[25:], want, rtol=1e-6)
    np.testing.assert_array_equal(near[25:], 0.5 * (steps[25:, None] - np.floor(np.broadcast_to(lag, 3) + 0.5)))


def test_times_of_the_simulation_are_whole_steps_within_rounding():
    delay = made((), 2.0)

    def step(i):
        delay.update(i)
        with ns.environ.context(i=i, t=i * DT):
            return delay.retrieve_at_time(i * DT - 0.7 * u.ms)

    late = 20_000 + jnp.arange(30.0)
    np.testing.assert_array_equal(T.for_loop(step, late)[10:], late[10:] - 7)
    with ns.environ.context(t=1.0):
        assert delay.retrieve_at_time(0.3 * u.ms) == late[-1] - 7


def pushing(delay):
    def step(x):
        delay.update(x)
        return delay.at("lag")

    return step


def test_lanes_are_separate_delays():
    lag = ("lag", np.array([1, 0, 2.5]) * DT)
    delay = Delay(3, 2.0)
    delay.register_entry(*lag)
    ns.nn.vmap_init_all_states(delay, axis_size=4)
    assert delay.history.value.values.shape == (4, 21, 3)
    lanes = np.stack([XS, 2 * XS, 4 * XS, -XS], 1)
    want = T.for_loop(pushing(made(3, 2.0, entries=[lag])), jnp.asarray(XS))
    mapped = T.vmap(pushing(delay), in_states=ns.DelayState)
    out = T.for_loop(mapped, jnp.asarray(lanes))
    np.testing.assert_array_equal(out, np.stack([want, 2 * want, 4 * want, -want], 1))
    kept = delay.history.value
    for wrong in (lambda: T.vmap(pushing(delay))(jnp.ones((4, 3))), lambda: delay.update(jnp.ones((4, 3)))):
        with pytest.raises(ns.BatchAxisError, match="4 lanes"):
            wrong()
    assert delay.history.value is kept
    with pytest.raises(ns.BatchAxisError, match="history"):
        T.vmap(made(3, 2.0).update)(jnp.ones((4, 3)))


@pytest.mark.parametrize("shape", [(), (3,)], ids=["one", "each"])
def test_gradients(shape):
    """Through the values, and by the lag: a train of smooth bumps, delayed."""
    delay = Delay(3, 3.0)
    time = ns.ParamState(jnp.full(shape, 1.234) * u.ms, name="time")
    delay.register_entry("lag", time)
    bumps = jnp.asarray(np.exp(-0.5 * ((np.arange(60)[:, None] - [20, 25, 30]) / 5) ** 2), jnp.float32)

    delay.init_state()

    def loss(scale):
        ns.nn.init_all_states(delay)
        out = T.for_loop(pushing(delay), scale * bumps)
        return (jnp.arange(60.0)[:, None] * out).mean()

    by_time, by_scale = T.jit(T.grad(loss, time, argnums=0))(1.0)
    assert by_time.unit == u.ms and by_time.shape == shape
    np.testing.assert_allclose(by_scale, loss(1.0), rtol=1e-5)  # the loss is linear in the scale
    bump = 1e-2
    for k in np.ndindex(shape):
        moved = []
        for sign in (1, -1):
            time.value = jnp.full(shape, 1.234).at[k].add(sign * bump) * u.ms
            moved.append(loss(1.0))
        np.testing.assert_allclose(by_time.mantissa[k], (moved[0] - moved[1]) / (2 * bump), rtol=1e-3)
        time.value = jnp.full(shape, 1.234) * u.ms


def test_a_lag_that_is_not_known_is_held_in_range():
    delay = made((), 2.0)
    T.for_loop(delay.update, jnp.arange(30.0))
    for steps in (jnp.array([-3.0, 25.0]), jnp.array([-3, 25])):
        read = T.jit(lambda x: (delay.retrieve_at_step(x[0]), delay.retrieve_at_step(x[1])))
        assert [float(x) for x in read(steps)] == [29.0, 9.0]
    slope = T.grad(lambda x: delay.retrieve_at_step(x))
    assert [slope(x) for x in (0.0, 1.0, 1.5, -0.5, 25.0)] == [-1.0, -1.0, -1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("target", "init"),
    [(jnp.zeros(3) * u.mV, None), (jnp.zeros(3) * u.volt, -5.0 * u.mV), (3, -5.0 * u.mV), (jnp.zeros(3) * u.mV, -5)],
    ids=["target", "both", "init", "plain init"],
)
def test_units_are_kept(target, init):
    delay = made(target, 0.5 * u.ms, init=init, entries=[("lag", 150.0 * u.us)])
    delay.update(3.0 * u.mV)
    first = 0.0 if init is None else -5.0
    unit = target.unit if isinstance(target, u.Quantity) else u.mV
    for value, want in ((delay.at("lag"), first), (delay.retrieve_at_step(0.5), (3 + first) / 2)):
        assert value.unit == unit
        np.testing.assert_allclose(value.to_decimal(u.mV), want, rtol=1e-6)
    with pytest.raises(ns.UnitError, match="value.*Delay.update.*mA"):
        delay.update(3.0 * u.mA)


@pytest.mark.parametrize("dtype", ["bool", "int32", "bfloat16", "float32", "complex64"])
def test_dtypes_and_starts(dtype):
    delay = made(jax.ShapeDtypeStruct((2,), dtype), 1.0, init=ns.init.Constant(1.0), entries=[("lag", 0.1)])
    assert delay.history.value.values.dtype == dtype and delay.at("lag").tolist() == [1, 1]
    delay.update(jnp.zeros(2, dtype))
    assert delay.retrieve_at_step(0).dtype == delay.at("lag").dtype == dtype
    assert delay.retrieve_at_step(0.5).tolist() == [0.5, 0.5]
    if dtype in ("bool", "int32"):
        with pytest.raises(TypeError, match=f"{dtype}.*float32"):
            delay.update(jnp.zeros(2))
    oldest_first = made((), 0.3, init=jnp.arange(4.0))
    assert [oldest_first.retrieve_at_step(k) for k in range(4)] == [3, 2, 1, 0]


class Net(ns.nn.Module):
    def __init__(self):
        super().__init__()
        self.delay = Delay(3, 2.0)
        self.read = self.delay.access("lag", 0.5 * u.ms)


def test_reset_copies_and_paths():
    net = ns.nn.init_all_states(Net())
    assert list(net.states(ns.DelayState)) == ["delay.history"]
    reference = net.delay.history
    T.for_loop(net.delay.update, jnp.asarray(XS))
    twins = copy.deepcopy(net), pickle.loads(pickle.dumps(net))
    for twin in twins:
        assert twin.read.delay is twin.delay and twin.delay.history is not reference
        np.testing.assert_array_equal(twin.read(), XS[-6])
    ns.nn.reset_all_states(net)
    assert net.delay.history is reference and not net.read().any()
    np.testing.assert_array_equal(twins[0].read(), XS[-6])
    pure, state = ns.functionalize(lambda x: (net.delay.update(x), net.read())[1], jnp.zeros(3))
    _, out = jax.lax.scan(pure, state, jnp.asarray(XS))
    np.testing.assert_array_equal(out, lagged(XS, 5))
    assert "entries=['lag']" in repr(net) and "values=float32[21,3]" in repr(net)


@pytest.mark.parametrize("lanes", [None, 2])
def test_a_step_does_not_copy_the_values(lanes):
    """In the compiled loop nothing copies the buffer; the program copies its input once, as it is not donated."""
    delay = Delay(1000, 20.0)
    for name, lag in (("whole", 7 * DT), ("between", 7.5 * DT), ("each", np.linspace(0, 20, 1000))):
        delay.register_entry(name, lag)
    delay = ns.nn.vmap_init_all_states(delay, axis_size=lanes) if lanes else ns.nn.init_all_states(delay)

    def step(x):
        before = [delay.at(name).sum() for name in delay.entries]
        delay.update(x * jnp.ones(1000))
        return before, [delay.at(name).sum() for name in delay.entries], delay.retrieve_at_step(3.5).sum()

    step = T.vmap(step, in_states=ns.DelayState) if lanes else step
    text = T.jit(lambda xs: T.for_loop(step, xs)).compile(jnp.ones((5, lanes) if lanes else 5)).as_text()
    shape = re.escape(f"f32[{2},201,1000]" if lanes else "f32[201,1000]")
    assert re.search(rf"= {shape}\S* .*dynamic-update-slice|= {shape}\S* .*scatter", text)
    assert len(re.findall(rf"= {shape}\S* copy\(", text)) <= 1


def test_a_changed_time_step_is_told():
    delay = made((), 2.0, entries=[("lag", 0.5)])
    read = T.jit(lambda: delay.at("lag"))
    read()
    with ns.environ.context(dt=100 * u.us):
        read()
    with ns.environ.context(dt=0.2 * u.ms):
        for wrong in (read, lambda: delay.retrieve_at_step(1)):
            with pytest.raises(ValueError, match=r"dt = 0.1 ms, but environ's dt is 0.2 ms.*init_state"):
                wrong()
        delay.init_state()
        read()
        assert delay.history.value.values.shape == (11,)
        T.for_loop(delay.update, jnp.arange(1.0, 6.0))
        assert read() == 2.5


def register(*entry, **kwargs):
    delay = Delay(3, name="net.delay", **kwargs)
    delay.register_entry(*entry)
    return delay


def grown():
    delay = made(3, entries=[("a", 1.0)], name="net.delay")
    delay.register_entry("b", 1.5)
    return delay.at("b")


MISUSES = {
    "too long": (lambda: register("syn", 2.5, time=2.0), ValueError, ["'syn'", "net.delay", "2.5 ms", "2 ms", "time="]),
    "too long array": (lambda: register("syn", np.array([0, 2.1]), time=2.0), ValueError, ["'syn'", "2.1 ms"]),
    "too long later": (grown, ValueError, ["'b'", "net.delay", "1.5 ms", "1 ms", "init_state"]),
    "too many steps": (lambda: made(3, 2.0).retrieve_at_step(21), ValueError, ["2.1 ms", "2 ms"]),
    "negative": (lambda: register("syn", -0.5 * u.ms), ValueError, ["'syn'", "-0.5 ms", "past"]),
    "negative time": (lambda: Delay(3, -1.0), ValueError, ["`time`", "-1 ms"]),
    "negative steps": (lambda: made(3, 2.0).retrieve_at_step(-1), ValueError, ["retrieve_at_step", "-0.1 ms"]),
    "not a time": (lambda: Delay(3, 2.0 * u.mV), ns.UnitError, ["time", "mV", "ms"]),
    "taken": (lambda: made(3, entries=[("a", 0), ("a", 0)]), KeyError, ["'a'"]),
    "unknown": (lambda: made(3, entries=[("a", 0)]).at("b"), KeyError, ["'b'", "['a']"]),
    "early": (lambda: register("a", 0.0).at("a"), ns.StateNotInitialisedError, ["init_state"]),
    "interpolation": (lambda: Delay(3, interpolation="cubic"), ValueError, ["'linear'", "'cubic'"]),
    "target": (lambda: Delay("V"), TypeError, ["'V'"]),
    "shape": (lambda: made(3).update(jnp.ones((2, 3))), ValueError, ["(3,)", "(2, 3)", "batch_size"]),
    "lags": (lambda: made(3, 2.0).retrieve_at_step(np.arange(2)), ValueError, ["(2,)", "(3,)", "indices"]),
    "unit": (lambda: made(3).update(jnp.ones(3) * u.mV), ns.UnitError, ["mV", "init="]),
    "no value": (lambda: made(3).update(), TypeError, ["value of the step"]),
    "no t": (lambda: made(3, 2.0).retrieve_at_time(0.0), KeyError, ["'t'", "environ"]),
    "future": (lambda: at(1.0, 1.5), ValueError, ["retrieve_at_time", "-0.5 ms"]),
    "traced": (lambda: T.jit(lambda x: register("a", x))(1.0), TypeError, ["'a'", "ParamState"]),
    "no longest": (lambda: register("a", ns.ParamState(1.0)), TypeError, ["'a'", "longest"]),
    "traced dt": (lambda: T.jit(traced_dt)(0.1), TypeError, ["dt", "number"]),
}


def at(t, time):
    with ns.environ.context(t=t):
        made(3, 2.0).retrieve_at_time(time)


def traced_dt(dt):
    with ns.environ.context(dt=dt):
        made(3, 2.0)


@pytest.mark.parametrize(("run", "error", "words"), MISUSES.values(), ids=MISUSES)
def test_misuse_is_explained(run, error, words):
    with pytest.raises(error) as caught:
        run()
    for word in words:
        assert word in str(caught.value)


class Ramp(ns.nn.Dynamics):
    """`V` counts the steps from 0, the output is its double."""

    def init_state(self, batch_size=None):
        shape = self.varshape if batch_size is None else (batch_size, *self.varshape)
        self.V = ns.HiddenState(jnp.full(shape, -1.0) * u.mV)

    def update(self):
        self.V.value = self.V.value + 1.0 * u.mV
        return 2 * self.V.value.mantissa


class Pair(ns.nn.Module):
    def __init__(self):
        super().__init__()
        self.pre = Ramp(3)
        self.now = self.pre.prefetch("V")
        self.reads = [
            self.pre.prefetch_delay("V", 0.2 * u.ms),
            self.pre.prefetch("V").delay.at(np.array([0, 1, 2.5]) * DT),
            self.pre.output_delay(0.3 * u.ms, init=-9.0),
        ]

    def __call__(self):
        before = self.reads[0]()
        self.pre()
        return before, self.now(), *(read() for read in self.reads)


@pytest.mark.parametrize("batch", [None, 2])
def test_delays_of_a_module(batch):
    net = Pair()
    nodes = [node for node in net.nodes().values() if isinstance(node, Delay)]
    assert len(nodes) == 2
    for net in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        ns.nn.init_all_states(net, batch_size=batch)
        before, now, V, each, out = T.for_loop(net, length=6)
        shape = (6, *([] if batch is None else [batch]), 3)
        steps = np.broadcast_to(np.arange(6.0).reshape(6, *[1] * (len(shape) - 1)), shape)
        assert V.unit == u.mV and V.shape == out.shape == shape
        np.testing.assert_array_equal(now.mantissa, steps)
        np.testing.assert_array_equal(V.mantissa[2:], steps[:-2])
        np.testing.assert_array_equal(before.mantissa[3:], steps[:-3])
        np.testing.assert_array_equal(each.mantissa[3:], (steps - [0, 1, 2.5])[3:])
        np.testing.assert_array_equal(out[:3], np.full_like(steps, -9.0)[:3])
        np.testing.assert_array_equal(out[3:], 2 * steps[:-3])
    with pytest.raises(ValueError, match="init"):
        net.pre.output_delay(0.1, init=3.0)
    with pytest.raises(AttributeError, match="'U'"):
        net.pre.prefetch("U")()

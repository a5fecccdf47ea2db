"""Units, errors, pytrees and printed form of the initialisers, and `param`."""

from __future__ import annotations

import inspect

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurostate import init
from neurostate._errors import UnitError


KEY = jax.random.key(2024)
SIZE = (200, 100)  # one for most tests: each new shape is a compilation


# Units


def test_results_carry_the_unit_of_the_parameters():
    cases = [
        init.Constant(1.0 * u.mV),
        init.Constant(1.0, unit=u.mV),
        init.Constant([1.0 * u.mV, 1e-3 * u.volt]),
        init.ZeroInit(u.mV),
        init.Uniform(0.0 * u.mV, 1.0 * u.mV),
        init.Uniform(0.0, 1.0, unit=u.mV),
        init.Uniform(0.0 * u.volt, 1e-3 * u.volt, unit=u.mV),
        init.Normal(0.0 * u.mV, 1e-3 * u.volt),
        init.LogNormal(1.0 * u.mV, 1.0 * u.mV),
        init.Gamma(1.0, 1.0 * u.mV),
        init.Exponential(1.0 * u.mV),
        init.TruncatedNormal(0.0 * u.mV, 1.0 * u.mV, low=-1e-3 * u.volt),
        init.Beta(1.0, 1.0, 0.0 * u.mV, 1.0 * u.mV),
        init.Weibull(1.0, 1.0 * u.mV),
        init.KaimingNormal(2.0 * u.mV),
        init.XavierUniform(unit=u.mV),
    ]
    for initialiser in cases:
        values = init.param(initialiser, (200, 2) if initialiser is cases[2] else SIZE, key=KEY)
        assert values.unit == u.mV and isinstance(values.mantissa, jax.Array), initialiser
        assert not any(isinstance(leaf, u.Quantity) for leaf in jax.tree.leaves(initialiser, is_leaf=_is_quantity))
    np.testing.assert_allclose(init.Normal(0.0 * u.mV, 1e-3 * u.volt).std, 1.0)
    assert isinstance(init.Constant(1.0 * u.mV / u.mV)(2), jax.Array)


def _is_quantity(x):
    return isinstance(x, u.Quantity)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: init.Normal(0.0 * u.mV, 1.0 * u.ms), ("std", "mean")),
        (lambda: init.Normal(0.0 * u.mV, 1.0), ("std", "mean")),
        (lambda: init.Uniform(0.0, 1.0 * u.mV), ("high", "low")),
        (lambda: init.Uniform(0.0 * u.ms, 1.0 * u.ms, unit=u.mV), ("low", "unit")),
        (lambda: init.TruncatedNormal(0.0 * u.mV, 1.0 * u.mV, high=1.0 * u.nS), ("high", "mean")),
        (lambda: init.Clipped(init.ZeroInit(), 0.0 * u.mV, 1.0 * u.ms), ("max_val", "min_val")),
        (lambda: init.Constant([1.0 * u.mV, 1.0 * u.ms]), (r"value\[1\]", r"value\[0\]")),
    ],
)
def test_a_mismatch_of_units_names_both_parameters(make, names):
    with pytest.raises(UnitError, match="`{}` and `{}` have different dimensions".format(*names)):
        make()
    with pytest.raises(UnitError, match="must be dimensionless"):
        init.Gamma(1.0 * u.mV, 1.0)


# Values that are refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: init.Normal(0.0, -1.0), "`Normal`: `std` must be at least 0, got -1.0"),
        (lambda: init.Normal(0.0, np.array([1.0, np.nan])), "`Normal`: `std` must be at least 0"),
        (lambda: init.LogNormal(0.0, 1.0), "`LogNormal`: `mean` must be positive"),
        (lambda: init.Gamma(0.0, 1.0), "`Gamma`: `shape` must be positive"),
        (lambda: init.Exponential(-1.0 * u.ms), "`Exponential`: `scale` must be positive"),
        (lambda: init.Weibull(1.0, 0.0), "`Weibull`: `scale` must be positive"),
        (lambda: init.Beta(1.0, 0.0, 0.0, 1.0), "`Beta`: `beta` must be positive"),
        (lambda: init.Uniform(1.0 * u.mV, 1.0 * u.mV), "`Uniform`: `low` must be below `high`"),
        (lambda: init.TruncatedNormal(0.0, 1.0, 2.0, 1.0), "`TruncatedNormal`: `low` must be below `high`"),
        (lambda: init.KaimingNormal(mode="fan"), "`KaimingNormal`: `mode` must be one of 'fan_in'"),  # pyright: ignore
        (lambda: init.KaimingUniform(nonlinearity="tanh"), "`nonlinearity` must be one of 'relu'"),  # pyright: ignore
        (lambda: init.VarianceScaling(distribution="beta"), "`distribution` must be one of"),  # pyright: ignore
        (lambda: init.XavierNormal(0.0), "`XavierNormal`: `scale` must be positive"),
        (lambda: init.Constant(None), "`Constant` needs a `value`"),
        (lambda: init.Mixture([]), "at least one initialiser"),
        (lambda: init.Orthogonal()(3, key=KEY), "at least 2 axes"),
        (lambda: init.DeltaOrthogonal()((3, 3), key=KEY), "at least 3 axes"),
        (lambda: init.Constant(np.ones(3))(4), r"`value` of `Constant` has the shape \(3,\).*\(4,\)"),
        (lambda: init.Normal(np.ones(3), 1.0)((3, 2), key=KEY), r"`mean` of `Normal` has the shape \(3,\).*\(3, 2\)"),
        (lambda: init.Normal(np.ones((2, 3)), 1.0)(3, key=KEY), r"shape \(2, 3\).*\(3,\)"),
        (lambda: init.Constant(1.0)(-1), "must not be negative"),
    ],
)
def test_bad_values_are_refused_with_their_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("wrong", ["1", init.Constant(1.0), object(), 1j])
def test_values_of_a_wrong_type(wrong):
    with pytest.raises(TypeError, match="`Constant` needs a number, an array or a Quantity as its `value`"):
        init.Constant(wrong)
    with pytest.raises(TypeError, match="needs a unit such as"):
        init.Constant(1.0, unit="mV")  # pyright: ignore[reportArgumentType]


# Pytrees


def test_an_array_is_a_trainable_leaf_and_a_number_is_not():
    trainable = init.Constant(np.array([1, 2]) * u.mV)
    (leaf,) = jax.tree.leaves(eqx.filter(trainable, eqx.is_inexact_array))
    assert leaf.dtype == jnp.float32
    assert not jax.tree.leaves(eqx.filter(init.Constant(0.0 * u.mV), eqx.is_inexact_array))
    gradient = jax.grad(lambda c: jnp.sum(c((3, 2)).mantissa ** 2))(trainable)
    np.testing.assert_allclose(gradient.value, [6.0, 12.0])


def test_gradients_reach_the_parameters_of_a_distribution():
    def loss(mean, std):
        return jnp.sum(init.Normal(mean, std)(5, key=KEY))

    noise = init.Normal(0.0, 1.0)(5, key=KEY)
    d_mean, d_std = jax.grad(loss, argnums=(0, 1))(1.0, 2.0)
    np.testing.assert_allclose([d_mean, d_std], [5.0, noise.sum()], rtol=1e-6)


def test_works_under_jit_and_vmap_unwrapped():
    initialiser = init.Normal(0.0 * u.mV, 1.0 * u.mV) | (lambda x: 2 * x)
    traces = []

    @jax.jit
    def make(initialiser, key):
        traces.append(1)
        return initialiser(SIZE, key=key)

    np.testing.assert_allclose(
        u.get_mantissa(make(initialiser, KEY)), u.get_mantissa(initialiser(SIZE, key=KEY)), atol=1e-6
    )
    make(jax.tree.map(lambda x: x, initialiser), KEY)
    assert len(traces) == 1
    keys = jax.random.split(KEY, 2)
    lanes = jax.vmap(lambda k: initialiser(SIZE, key=k))(keys)
    np.testing.assert_allclose(u.get_mantissa(lanes[1]), u.get_mantissa(initialiser(SIZE, key=keys[1])), atol=1e-5)


@pytest.mark.parametrize(
    ("initialiser", "text"),
    [
        (init.Constant(0.0 * u.mV), "Constant(value=0.0 * mvolt)"),
        (init.Constant(2), "Constant(value=2.0)"),
        (init.Constant(np.float32(0.1) * u.ms), "Constant(value=0.10000000149011612 * msecond)"),
        (init.Constant(jnp.asarray(0.1) * u.ms), "Constant(value=0.1 * msecond)"),
        (init.Constant(np.ones((2, 3)) * u.mV), "Constant(value=f32[2,3] * mvolt)"),
        (init.ZeroInit(), "ZeroInit()"),
        (init.ZeroInit(u.nS), "ZeroInit(unit=nsiemens)"),
        (init.TruncatedNormal(0.0, 1.0, high=2.0), "TruncatedNormal(mean=0.0, std=1.0, high=2.0)"),
        (init.KaimingNormal(), "KaimingNormal(scale=2.0)"),
        (init.KaimingNormal(mode="fan_out", unit=u.nS), "KaimingNormal(scale=2.0 * nsiemens, mode='fan_out')"),
        (2 * init.Normal(0.0, 1.0) + 1.0, "((2.0 * Normal(mean=0.0, std=1.0)) + 1.0)"),
        (init.ZeroInit() + 1.0 * u.mV, "(ZeroInit() + (1.0 * mvolt))"),
        (init.Constant(1.0) * 2.0, "(Constant(value=1.0) * 2.0)"),
        (init.ZeroInit() | jnp.exp, "Compose(ZeroInit(), exp)"),
    ],
)
def test_repr(initialiser, text):
    assert repr(initialiser) == text


def test_signatures_are_those_that_code_in_the_field_uses():
    expected = {
        "Constant": "value, unit=None",
        "ZeroInit": "unit=None",
        "Uniform": "low, high, unit=None",
        "Normal": "mean, std, unit=None",
        "LogNormal": "mean, std, unit=None",
        "Gamma": "shape, scale, unit=None",
        "Exponential": "scale, unit=None",
        "TruncatedNormal": "mean, std, low=None, high=None, unit=None",
        "Beta": "alpha, beta, low, high, unit=None",
        "Weibull": "shape, scale, unit=None",
        "Mixture": "distributions, weights=None",
        "Conditional": "condition_fn, true_dist, false_dist",
        "Scaled": "base_dist, scale_factor",
        "Clipped": "base_dist, min_val=None, max_val=None",
        "Orthogonal": "scale=1.0, unit=None",
        "DeltaOrthogonal": "scale=1.0, unit=None",
        "Identity": "scale=1.0, unit=None",
        "VarianceScaling": "scale=1.0, mode=fan_in, distribution=normal, unit=None, in_axis=-2, out_axis=-1",
        "KaimingUniform": "scale=None, mode=fan_in, nonlinearity=relu, negative_slope=0.01, unit=None, "
        "in_axis=-2, out_axis=-1",
        "XavierUniform": "scale=1.0, unit=None, in_axis=-2, out_axis=-1",
        "Compose": "*inits",
    }
    for name, same in [("Kaiming", "Normal"), ("Xavier", "Normal")]:
        expected[name + same] = expected[name + "Uniform"]
    expected["LecunUniform"] = expected["LecunNormal"] = expected["XavierUniform"]
    for name, signature in expected.items():
        cls = getattr(init, name)
        assert issubclass(cls, init.Initialization)
        found = inspect.signature(cls).parameters.values()
        assert ", ".join(str(p.replace(annotation=p.empty)).replace("'", "") for p in found) == signature
    assert list(inspect.signature(init.param).parameters)[:3] == ["value", "shape", "batch_size"]


# param


@pytest.mark.parametrize(
    ("value", "shape", "unit"),
    [
        (2.0, (), None),
        (2, (), None),
        (np.float64(2.0), (), None),
        (np.int64(2), (), None),
        ([2, 2, 2], (3,), None),
        ([2.0 * u.mV, 2e-3 * u.volt, 2 * u.mV], (3,), u.mV),
        (np.full(3, 2.0), (3,), None),
        (np.full(1, 2.0), (1,), None),
        (jnp.full((4, 3), 2.0), (4, 3), None),
        (2 * u.ms, (), u.ms),
        (2.0 * u.ms, (), u.ms),
        (np.full(3, 2) * u.ms, (3,), u.ms),
        (jnp.asarray(2.0), (), None),
        (init.Constant(2.0 * u.mV), (4, 3), u.mV),
        (lambda shape: np.full(shape, 2.0) * u.mV, (4, 3), u.mV),
        (lambda shape: 2.0, (), None),
    ],
)
def test_param(value, shape, unit):
    result = init.param(value, (4, 3))
    mantissa = u.get_mantissa(result)
    assert isinstance(result, u.Quantity) == (unit is not None)
    assert unit is None or result.unit == unit
    assert isinstance(mantissa, jax.Array) and mantissa.dtype == jnp.float32 and not mantissa.weak_type
    assert mantissa.shape == shape
    np.testing.assert_allclose(mantissa, 2.0)
    batched = u.get_mantissa(init.param(value, (4, 3), 5))
    assert batched.shape == (5, 4, 3) and batched.dtype == jnp.float32
    np.testing.assert_allclose(batched, 2.0)
    assert u.get_mantissa(init.param(value, (4, 3), ())).shape == (4, 3)
    assert u.get_mantissa(init.param(value, sizes=(4, 3), batch_size=(2, 2))).shape == (2, 2, 4, 3)


def test_param_keeps_what_is_already_right():
    array = jnp.ones(3)
    assert init.param(array, 3) is array
    assert init.param(array * u.mV, 3).mantissa is array
    assert init.param(np.arange(3), 3).dtype == jnp.int32
    assert init.param(np.array([True, False]), 2).dtype == bool
    assert init.param(jnp.ones(3, jnp.bfloat16), 3).dtype == jnp.bfloat16
    batched = jnp.ones((5, 3))
    np.testing.assert_array_equal(init.param(batched, 3, 5), batched)
    assert init.param(None, 3) is None


def test_param_draws():
    normal = init.Normal(0.0 * u.mV, 1.0 * u.mV)
    assert eqx.tree_equal(init.param(normal, (3,), key=KEY), normal(3, key=KEY))
    lanes = init.param(normal, (3,), 2, key=KEY)
    assert lanes.shape == (2, 3) and not np.allclose(lanes.mantissa[0], lanes.mantissa[1])
    jax_values = jax.nn.initializers.he_normal()(KEY, (4, 4))
    np.testing.assert_array_equal(init.param(jax.nn.initializers.he_normal(), (4, 4), key=KEY), jax_values)
    drawn = init.param(lambda shape, key: jax.random.uniform(key, shape), 3, key=KEY)
    np.testing.assert_array_equal(drawn, jax.random.uniform(KEY, 3))
    product = (init.Constant(2.0) * jax.nn.initializers.ones)(3, key=KEY)
    assert product.tolist() == [2.0] * 3
    assert init.param(lambda shape, fill: np.full(shape, fill), 2, fill=4.0).tolist() == [4.0, 4.0]


def test_param_errors():
    with pytest.raises(ValueError, match=r"shape \(2,\), which does not broadcast to \(3,\).*\nGive a scalar"):
        init.param(np.ones(2), 3)
    with pytest.raises(ValueError, match=r"shape \(5, 3\), which does not broadcast to \(3,\)"):
        init.param(np.ones((5, 3)) * u.mV, 3)
    with pytest.raises(ValueError, match=r"\(4, 3\).*broadcast to \(5, 3\).*batch axes \(5,\) before \(3,\)"):
        init.param(np.ones((4, 3)), 3, 5)
    with pytest.raises(ValueError, match=r"result of `<lambda>` has shape \(2,\)"):
        init.param(lambda shape: np.ones(2), 3)
    with pytest.raises(ValueError, match="None where a parameter is needed"):
        init.param(None, 3, allow_none=False)
    with pytest.raises(TypeError, match="scalar .* where one value for each"):
        init.param(1.0 * u.mV, 3, allow_scalar=False)
    with pytest.raises(TypeError, match="second argument"):
        init.param(1.0)
    for wrong in ("tau", {"tau": 1.0}, object(), ["a"], np.array(["a"])):
        with pytest.raises(TypeError, match="`param` needs a number"):
            init.param(wrong, 3)
    with pytest.raises(UnitError, match=r"`value\[1\]` is in ms"):
        init.param([1.0 * u.mV, 1.0 * u.ms], 2)


@settings(deadline=None, max_examples=50)
@given(own=st.lists(st.sampled_from([1, 2, 3]), max_size=3), shape=st.lists(st.sampled_from([1, 2, 3]), max_size=2))
def test_param_accepts_what_broadcasts(own, shape):
    array, shape = np.zeros(own), tuple(shape)
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if fits:
        assert init.param(array, shape).shape == array.shape
    else:
        with pytest.raises(ValueError, match="does not broadcast"):
            init.param(array, shape)


def test_param_takes_references():
    class Reference:
        def __init__(self, value):
            self.value = value

    with pytest.raises(TypeError, match="`param` needs"):
        init.param(Reference(1.0), 3)
    previous = init._set_reference_type(Reference)
    try:
        reference = Reference(jnp.ones(3))
        assert init.param(reference, 3) is reference and reference.value.shape == (3,)
        assert init.param(reference, 3, 2) is reference and reference.value.shape == (2, 3)
        with pytest.raises(ValueError, match="does not broadcast"):
            init.param(Reference(jnp.ones(2)), 3)
    finally:
        init._set_reference_type(previous)

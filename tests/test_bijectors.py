"""Bounds of parameters: exact at the extremes, differentiable, and kept through long training."""

import brainunit as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neurostate as ns
from neurostate import train

from .helpers import x64


BIJECTORS = {
    "softplus": (train.Softplus(), 0.0, np.inf),
    "softplus above": (train.Softplus(lower=[1.0, -2.5, 0.3, 1e3]), [1.0, -2.5, 0.3, 1e3], np.inf),
    "exp": (train.Exp(), 0.0, np.inf),
    "exp above": (train.Exp(-65.0), -65.0, np.inf),
    "sigmoid": (train.Sigmoid(0.0, 1.0), 0.0, 1.0),
    "sigmoid wide": (train.Sigmoid(-70.0, [-50.0, 0.0, 1e3, -69.0]), -70.0, [-50.0, 0.0, 1e3, -69.0]),
    "affine": (train.Affine([2.0, -3.0, 1e-3, 1.0], 5.0), -np.inf, np.inf),
    "chain": (train.Chain(train.Affine(0.5), train.Softplus(1.0)), 1.0, np.inf),
}
POINTS = np.array([-1e4, -500.0, -100.0, -20.0, -3.0, -0.1, 0.0, 0.2, 4.0, 30.0, 90.0, 800.0, 1e4])


def values_slopes_and_inverses(x, bijectors):
    """For each bijector its values, their derivatives, and what the inverse makes of the values."""

    def one(bijector):
        y, pull = jax.vjp(bijector.forward, x)
        return y, pull(jnp.ones_like(y))[0], bijector.inverse(y)

    return jax.tree.map(np.asarray, jax.jit(lambda: [one(each) for each in bijectors])())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_element_by_element(dtype):
    eps = np.finfo(dtype).eps
    with x64(dtype == "float64"):
        x = jnp.asarray(POINTS[:, None] * np.ones(4), dtype)
        found = values_slopes_and_inverses(x, [bijector for bijector, _, _ in BIJECTORS.values()])
    for (name, (bijector, low, high)), (y, slope, back) in zip(BIJECTORS.items(), found, strict=True):
        assert y.dtype == slope.dtype == back.dtype == dtype, name
        assert all(np.isfinite(each).all() for each in (y, slope, back)), name
        # In exact numbers, whatever the rounding of the bound.
        exact = y.astype(np.float64)
        assert (exact > np.asarray(low)).all() and (exact < np.asarray(high)).all() and bijector.contains(y).all(), name
        assert (np.diff(exact, axis=0) * np.sign(slope[6]) >= 0).all(), name
        # The inverse is as good as the digits of `y` beside its bounds allow.
        size = np.abs(exact) + sum(np.abs(np.where(np.isfinite(bound), bound, 5.0)) for bound in (low, high))
        with np.errstate(over="ignore"):
            error = 8 * eps * (size / np.maximum(np.abs(slope), 1e-30) + np.abs(POINTS[:, None]) + 1)
        fair = (error < 0.5) | ((np.abs(POINTS[:, None]) < 3) & (np.abs(slope) > 0.05))
        assert fair[5:8].all() and (np.abs(back - POINTS[:, None]) <= error)[fair].all(), name


def test_dtypes_of_half_precision():
    cases = [*(each for each, _, _ in BIJECTORS.values()), train.Ordered(), train.Chain(train.Affine(2.0), train.Exp())]
    for dtype in (jnp.bfloat16, jnp.float16):
        x = jax.ShapeDtypeStruct((4,), dtype)
        for bijector in cases:
            found = jax.eval_shape(lambda x, of=bijector: (of.forward(x), of.inverse(x)), x)
            assert {each.dtype for each in found} == {jnp.dtype(dtype)}, bijector
        y = train.Exp().forward(jnp.asarray([-1e4, 0.0, 3e4, 1.0], dtype))
        assert jnp.isfinite(y).all() and train.Exp().contains(y).all()


def test_a_chain_contains_what_it_gives():
    chain = train.Chain(train.Softplus(1.0), train.Affine(0.3, -65.0))
    y = chain.forward(jnp.array([-1e4, -20.0, 0.0, 90.0]))
    assert chain.contains(y).all() and not chain.contains(np.float32([-64.71, -60.0, -60.0, -60.0])).all()


@pytest.mark.parametrize(
    ("bijector", "x", "y"),
    [
        (train.Softplus(2.0), [0.0, 1.0], [2 + np.log(2), 2 + np.log1p(np.e)]),
        (train.Exp(2.0), [0.0, 1.0], [3.0, 2 + np.e]),
        (train.Sigmoid(-1.0, 3.0), [0.0, np.log(3.0)], [1.0, 2.0]),
        (train.Affine(3.0, 1.0), [0.0, 1.0], [1.0, 4.0]),
        (train.Ordered(), [-1.0, 0.0, 1.0], [-1.0, np.log(2) - 1, np.log(2) - 1 + np.log1p(np.e)]),
        (train.Chain(train.Affine(2.0), train.Exp()), [0.0, 1.0], [1.0, np.exp(2.0)]),
    ],
)
def test_closed_forms_and_derivatives(bijector, x, y):
    with x64():
        x = jnp.asarray(x)
        np.testing.assert_allclose(bijector.forward(x), y, rtol=1e-14)
        np.testing.assert_allclose(bijector.inverse(jnp.asarray(y)), x, atol=1e-14)
        for function, at in ((jax.jit(bijector.forward), x), (jax.jit(bijector.inverse), jnp.asarray(y))):
            step = 1e-6 * np.eye(len(at))
            columns = [(function(at + each) - function(at - each)) / 2e-6 for each in step]
            np.testing.assert_allclose(jax.jacrev(function)(at), np.stack(columns, axis=1), rtol=1e-5, atol=1e-8)


def test_ordered_at_the_extremes():
    x = jnp.array(
        [
            [0.0, -1e4, -1e4, -1e4],
            [1e4, -50.0, -1e4, 0.0],
            [-3.0, 1e4, -1e4, -1e4],
            [-1e4, -1e4, 1e4, 1e4],
            [1e8, 1e38, 3e38, 3e38],
        ]
    )
    for dtype in ("float32", "float64"):
        with x64(dtype == "float64"):
            ((y, slope, back),) = values_slopes_and_inverses(jnp.asarray(x, dtype), [train.Ordered()])
        assert (np.diff(y) > 0).all() and np.isfinite(slope).all() and np.isfinite(back).all()
        assert train.Ordered().contains(y).all()
    assert not train.Ordered().contains(np.array([1.0, 1.0])).all()


class Gate(eqx.Module):
    levels: jax.Array
    cell: ns.LIF
    recurrent: ns.connect.Dense
    initial: ns.LIF


def gate(**given):
    return Gate(
        levels=jnp.array([[0.0, 1.0, 2.0], [-1.0, 0.5, 0.75]]),
        cell=ns.LIF(3, tau=given.get("tau", jnp.array([2.0, 5.0, 20.0]) * u.ms), V_th=1.0 * u.mV),
        recurrent=ns.connect.Dense(3, 3, 0.5 * u.nA),
        initial=ns.LIF(2, R=2 * u.Mohm, V_initializer=ns.init.Constant(0.25 * u.mV)),
    )


BOUNDS = {
    "cell.tau": train.Softplus(lower=1000 * u.us),
    "cell.V_th": train.Sigmoid(0.5 * u.mV, 0.002 * u.volt),
    "levels": train.Ordered(),
    ns.connect.Dense: train.Exp(100 * u.pA),
    "initial.R": train.Chain(train.Affine(0.1), train.Softplus(1e6 * u.ohm)),
    "initial.V_initializer": train.Sigmoid(-1e-3 * u.volt, 1.0),
}


def test_constraints_convert_units_and_hold_no_arrays():
    model, constraints = gate(), train.Constraints(gate(), BOUNDS)
    assert jax.tree.leaves(constraints) == []
    free = eqx.filter_jit(constraints.free)(model)
    assert jax.tree.structure(free) == jax.tree.structure(model)
    np.testing.assert_allclose(free.cell.tau, np.log(np.expm1([1.0, 4.0, 19.0])), rtol=1e-6)
    np.testing.assert_allclose(free.cell.V_th, np.log(0.5 / 1.0), rtol=1e-6)
    np.testing.assert_allclose(free.recurrent.weight, np.full((3, 3), np.log(0.4)), rtol=1e-6)
    np.testing.assert_allclose(free.initial.R, 10 * np.log(np.expm1(1.0)), rtol=1e-6)
    np.testing.assert_allclose(free.initial.V_initializer.value, np.log(1.25 / 999.75), rtol=1e-5)
    back = jax.jit(lambda constraints, free: constraints.model(free))(constraints, free)
    for before, after in zip(*map(jax.tree.leaves, (model, back)), strict=True):
        np.testing.assert_allclose(before, after, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("bounds", "error", "said"),
    [
        (
            {"cell.tau": train.Softplus(3 * u.ms)},
            ValueError,
            r"cell\.tau must be above 3\.0, but 1 of its 3 values.*2\.0",
        ),
        (
            {"cell.tau": train.Sigmoid(1.0, 20 * u.ms)},
            ValueError,
            r"cell\.tau must be above 1\.0 and below 20\.0.*20\.0",
        ),
        ({"levels": train.Ordered(), "*": train.Affine(1.0)}, ValueError, r"levels is selected by two"),
        ({"levels": train.Chain(train.Exp(), train.Exp(1.5))}, ValueError, r"levels must be what Chain"),
        ({"cell.tau": train.Softplus([1.0, 2.0])}, ValueError, r"bounds.*Softplus on cell\.tau.*\(2,\)"),
        ({"cell.tau": train.Softplus(1 * u.mV)}, ns.UnitError, r"lower.*Softplus on cell\.tau.*unit like ms.*mV"),
        ({"levels": train.Exp(1 * u.mV)}, ns.UnitError, r"lower.*Exp on levels.*dimensionless"),
        ({"cell.taw": train.Exp()}, ValueError, r"'cell\.taw' selects none of.*cell\.tau"),
        ({"cell.tau": train.Exp}, TypeError, r"'cell\.tau' must be a bijector.*Make one: `Exp\(\.\.\.\)`"),
        ({"cell.tau": jnp.exp}, TypeError, r"'cell\.tau' must be a bijector.*train\.Softplus\(\)"),
        ({"cell.V_th": train.Ordered()}, ValueError, r"cell\.V_th cannot be bounded.*`Ordered`.*scalar"),
        ({"levels": train.Sigmoid(-1e300, 1e300)}, ValueError, r"levels cannot be bounded.*too large.*float32"),
    ],
)
def test_wrong_bounds(bounds, error, said):
    with pytest.raises(error, match=said):
        train.Constraints(gate(), bounds)


def test_constraints_are_those_of_the_model():
    two, three = (ns.Sequential(*[ns.LIF(2) for _ in range(n)]) for n in (2, 3))
    constraints = train.Constraints(two, {"*.tau": train.Softplus(4.0)})
    for use in (constraints.free, constraints.model):
        with pytest.raises(ValueError, match=r"for another model: .* such as layers\[2\]\.R"):
            use(three)
    part, _ = train.partition(two, "layers[0].tau")
    assert constraints.free(part).layers[0].tau < 1.0
    for model in (ns.LIF(2), ns.Sequential(ns.LIF(2)), three):
        with pytest.raises(ValueError, match="for another model"):
            train.start(model, optax.sgd(0.1), constraints=constraints)
    outside = ns.Sequential(ns.LIF(2), ns.LIF(2, tau=0.5))
    for use in (constraints.free, lambda model: train.start(model, optax.sgd(0.1), constraints=constraints)):
        with pytest.raises(ValueError, match=r"layers\[1\]\.tau must be above 4\.0, .*0\.5"):
            use(outside)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: train.Sigmoid(2.0, [3.0, 1.0]), ValueError, "low.*below its `high`"),
        (lambda: train.Sigmoid(1 * u.ms, 3 * u.mV), ns.UnitError, "high.*Sigmoid.*unit like ms"),
        (lambda: train.Softplus(np.inf), ValueError, "lower.*Softplus.*finite"),
        (lambda: train.Affine(0.0), ValueError, "scale.*zero"),
        (lambda: train.Chain(), TypeError, "at least one"),
        (lambda: train.Chain(train.Exp(), 3), TypeError, "part of a `Chain` must be a bijector, got 3"),
        (lambda: train.Sigmoid(-3e38, 3e38).forward(jnp.ones(2)), ValueError, "float32.*finite difference"),
        (lambda: train.Sigmoid(100.0, 100.00001).inverse(jnp.ones(2)), ValueError, "a number of float32 above 100.0"),
        (lambda: train.Sigmoid(0.0, 1e30).forward(jnp.ones(2, jnp.float16)), ValueError, r"1e\+30.*float16"),
    ],
)
def test_wrong_constants(make, error, said):
    with pytest.raises(error, match=said):
        make()


def test_bounds_hold_through_ten_thousand_updates():
    model, optimizer = gate(), optax.adam(0.3)
    bounded = {where: BOUNDS[where] for where in ("cell.tau", "cell.V_th", "levels")}
    constraints = train.Constraints(model, bounded)
    params, rest = train.partition(constraints.free(model), *bounded)

    leaves, struct = jax.tree.flatten(params)

    def run(push, noise):
        def step(carry, noise):
            params, state = carry
            shown, pull = jax.vjp(constraints.model, params)
            (pushed,) = pull(jax.tree.map(lambda x: push * jnp.ones_like(x), shown))
            random = jax.tree.unflatten(struct, [n.reshape(x.shape) for n, x in zip(jnp.split(noise, splits), leaves)])
            gradients = jax.tree.map(lambda g, n: jnp.where(push == 0, n, g), pushed, random)
            updates, state = optimizer.update(gradients, state, params)
            holds = (
                (shown.cell.tau > 1.0).all()
                & (shown.cell.V_th > 0.5)
                & (shown.cell.V_th < 2.0)
                & (jnp.diff(shown.levels) > 0).all()
                & jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves((shown, gradients))]).all()
            )
            return (eqx.apply_updates(params, updates), state), holds

        (last, _), holds = jax.lax.scan(step, (params, optimizer.init(params)), noise)
        return constraints.model(last), holds.all()

    splits = np.cumsum([leaf.size for leaf in leaves])[:-1]
    noise = 100.0 * jax.random.cauchy(jax.random.key(0), (10_000, sum(leaf.size for leaf in leaves)))
    # Random gradients, and a loss that is least at the lower or the upper bounds.
    last, holds = jax.jit(jax.vmap(run, in_axes=(0, None)))(jnp.array([0.0, 1.0, -1.0]), noise)
    assert holds.all()
    assert abs(last.cell.tau[1] - 1.0).max() < 1e-3 and abs(last.cell.V_th[1] - 0.5) < 1e-3 < last.cell.V_th[2] - 1.99

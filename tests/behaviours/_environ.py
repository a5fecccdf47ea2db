"""Cases of `environ` and `random`."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from ._library import A, Library, Thunk, distinct, likes


def environs(lib: Library) -> dict[str, Thunk]:
    E, T = lib.bs.environ, lib.T

    def within(run: Thunk, **values: Any) -> Any:
        with E.context(**values):
            return run()

    def setting(run: Thunk, **values: Any) -> Any:
        E.set(**values)
        try:
            return run()
        finally:
            E.reset()
            jax.config.update("jax_enable_x64", False)

    def given() -> Any:
        with E.context(alpha=1) as values:
            return values.get("alpha"), values.get("beta")

    def popped() -> Any:
        return E.pop("alpha"), E.get("alpha", None)

    def dtype() -> Any:
        return str(jnp.zeros(1).dtype), jnp.dtype(E.dftype()).name

    return {
        "environ: a missing key": lambda: E.get("alpha"),
        "environ: a missing dt": lambda: E.get_dt(),
        "environ: a default": lambda: (E.get("alpha", 3), E.get("alpha", default=None), E.get("dt", 0.1, "the step")),
        "environ: a key that is no string": lambda: E.get(3),
        "environ: context": lambda: within(lambda: (E.get("alpha"), within(lambda: E.get("alpha"), alpha=2), E.get("alpha")), alpha=1),
        "environ: context over set": lambda: setting(lambda: (within(lambda: E.get("alpha"), alpha=2), E.get("alpha")), alpha=1),
        "environ: a key after its context": lambda: (within(lambda: 1, alpha=1), E.get("alpha", 0)),
        "environ: get_dt": lambda: within(lambda: E.get_dt(), dt=0.1 * u.ms),
        "environ: all": lambda: setting(lambda: {k: v for k, v in within(E.all, beta=2).items() if k in ("alpha", "beta")}, alpha=1),
        "environ: pop": lambda: setting(popped, alpha=1),
        "environ: pop a missing key": lambda: E.pop("alpha"),
        "environ: pop with a default": lambda: E.pop("alpha", 5),
        "environ: reset": lambda: (setting(lambda: E.get("alpha"), alpha=1), E.get("alpha", 0)),
        "environ: platform in a context": lambda: within(lambda: 1, platform="cpu"),
        "environ: precision 64": lambda: setting(dtype, precision=64),
        "environ: precision 64 in a context": lambda: within(dtype, precision=64),
        "environ: precision 16": lambda: setting(dtype, precision=16),
        "environ: precision bf16": lambda: within(dtype, precision="bf16"),
        "environ: precision 33": lambda: E.set(precision=33),
        "environ: context gives": lambda: setting(given, beta=2),
        "environ: dt of an array": lambda: setting(E.get_dt, dt=A),
        "environ: t in jit": lambda: within(lambda: T.jit(lambda x: x + E.get("t"))(1.0), t=2.0),
        "environ: t of a loop": lambda: T.for_loop(lambda i: within(lambda: E.get("t") * 2, i=i, t=i * 0.1), jnp.arange(3)),
        "environ: set in jit": lambda: T.jit(lambda x: (E.set(alpha=1), x)[1])(1.0),
    }  # fmt: skip


_SIZE: dict[str, Any] = {"size": (2, 3)}
_SAMPLERS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    **dict.fromkeys(("rand", "randn"), ((2, 3), {})),
    **dict.fromkeys(("random", "random_sample", "ranf", "sample", "normal", "uniform", "standard_normal", "gumbel", "laplace",
                     "logistic", "lognormal", "exponential", "standard_exponential", "standard_cauchy", "rayleigh",
                     "loggamma", "maxwell"), ((), _SIZE)),
    **dict.fromkeys(("gamma", "standard_gamma", "chisquare", "poisson", "power", "pareto", "standard_t", "t", "weibull",
                     "weibull_min", "zipf"), ((2.0,), _SIZE)),
    **dict.fromkeys(("bernoulli", "geometric", "logseries"), ((0.3,), _SIZE)),
    **dict.fromkeys(("beta", "f", "wald", "noncentral_chisquare", "truncated_normal", "vonmises"), ((1.0, 2.0), _SIZE)),
    **dict.fromkeys(("randint", "random_integers"), ((0, 5), _SIZE)),
    **dict.fromkeys(("rand_like", "randn_like"), ((jnp.ones((2, 3)),), {})),
    "randint_like": ((jnp.ones((2, 3), int), 0, 5), {}),
    "binomial": ((5, 0.3), _SIZE), "negative_binomial": ((5, 0.3), _SIZE), "hypergeometric": ((5, 4, 3), _SIZE),
    "noncentral_f": ((1.0, 2.0, 0.5), _SIZE), "triangular": ((0.0, 0.5, 1.0), _SIZE), "categorical": ((A,), _SIZE),
    "multinomial": ((5, jnp.full(4, 0.25)), {"size": (2,)}), "dirichlet": ((jnp.ones(4),), {"size": (2,)}),
    "multivariate_normal": ((jnp.zeros(2), jnp.eye(2)), {"size": (3,)}), "orthogonal": ((3,), {}), "choice": ((A,), _SIZE),
    "permutation": ((A,), {}), "shuffle": ((A,), {}),
}  # fmt: skip


def draws(lib: Library) -> dict[str, Thunk]:
    R, T = lib.bs.random, lib.T

    def seeded(seed: Callable[[int], Any], *seeds: int) -> int:
        numbers = []
        for k in seeds:
            seed(k)
            numbers.append(float(R.rand()))
        return len(set(numbers))

    def context() -> Any:
        R.seed(0)
        first = R.rand(2)
        R.seed(0)
        with R.seed_context(7):
            inside = R.rand(2)
        with R.seed_context(7):
            again = R.rand(2)
        return bool((R.rand(2) == first).all()), bool((inside == again).all())

    def with_key(key: Any) -> Any:
        return lib.moved(
            lambda: (likes(R.normal(0.0, 1.0, 3, key=key)), bool((R.rand(2, key=key) == R.rand(2, key=key)).all()))
        )

    def sampler(name: str) -> Any:
        args, kwargs = _SAMPLERS[name]
        return likes(T.eval_shape(lambda: getattr(R, name)(*args, **kwargs)))

    return {
        **{f"random.{name}": lambda name=name: sampler(name) for name in _SAMPLERS},
        "random.normal: no size": lambda: likes(R.normal()),
        "random.normal: size of the arguments": lambda: likes(R.normal(A, 1.0)),
        "random.normal: a Quantity": lambda: (R.normal(0.0 * u.mV, 1.0 * u.mV, 2) / u.mV).shape,
        "random.uniform: low, high": lambda: bool(((lambda v: (v >= 2) & (v < 3))(R.uniform(2.0, 3.0, 5))).all()),
        "random.randint: bound": lambda: sorted(set(np.asarray(R.randint(3, size=100)).tolist())),
        "random.choice: a number": lambda: sorted(np.asarray(R.choice(4, (4,), replace=False)).tolist()),
        "random.permutation: a number": lambda: sorted(np.asarray(R.permutation(4)).tolist()),
        "random: the key moves": lambda: lib.moved(lambda: likes(R.rand(2))),
        "random: a seed as key": lambda: with_key(3),
        "random: a raw key": lambda: with_key(jax.random.PRNGKey(3)),
        "random: a typed key": lambda: with_key(jax.random.key(3)),
        "random.seed: repeats": lambda: seeded(R.seed, 1, 2, 1),
        "random.seed: the same numbers": lambda: (R.seed(3), R.rand(2), R.normal(size=2)),
        "random.seed_context": context,
        "random.split_key": lambda: lib.moved(lambda: jax.random.key_data(R.split_key()).shape),
        "random.split_key: 3": lambda: lib.moved(lambda: jax.random.key_data(R.split_key(3)).shape),
        "random.split_keys": lambda: lib.moved(lambda: jax.random.key_data(R.split_keys(3)).shape),
        "random.RandomState": lambda: [likes(R.RandomState(1).normal(size=2)), bool((R.RandomState(1).rand(2) == R.RandomState(1).rand(2)).all())],
        "random.default_rng": lambda: lib.moved(lambda: likes(R.default_rng(3).normal(size=2))),
        "random: draws in jit": lambda: lib.moved(lambda: distinct(jnp.stack([T.jit(R.rand)() for _ in range(2)]))),
    }  # fmt: skip

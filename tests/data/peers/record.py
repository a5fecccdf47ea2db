"""Runs the neurons of other libraries on known inputs, and keeps what they did: the recipe of the files beside it.

`python record.py LIBRARY` writes LIBRARY.npz, where LIBRARY is a key of `CASES` that is installed. Recorded with

- Python 3.11, torch 2.13.0 (CPU): snntorch 1.0.0, norse 1.1.0, spikingjelly 2.0.0
- Python 3.12, jax 0.12.0.1 (CPU): spyx 1.0.0 with flax 0.12.12; brainpy 2.9.0 with brainstate 0.6.0

Each case runs in float32 for `STEPS` steps on `SIZE` neurons. The inputs follow from a seed, and come from integer
arithmetic that is the same everywhere. In the first `AIMED` neurons all products are exact, since all factors are one
half; one in eight of their inputs is chosen, looking at the original, so that the potential hits the threshold or one
of the four floats around it. For the other neurons the seed is such that the original spikes in the same steps with a
threshold `MARGIN` lower or higher, so that no spike hangs on how a sum was rounded. Kept are all spikes; the potential
at one place in a hundred; and, for the neurons `GRADED` and `GRAD_STEPS` steps, the gradient of a random weighted sum
of all spikes and potentials with respect to all inputs and parameters.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np


HERE = Path(__file__).parent
STEPS, SIZE, AIMED, GRAD_STEPS, GRADED, MARGIN = 1000, 256, 16, 100, slice(8, 24), 2e-6
NORSE_DT = 2.0**-10

# By library and case: the class, its settings, and its spike function by the name and parameter that the library has.
CASES: dict[str, dict[str, dict[str, Any]]] = {
    "snntorch": {
        f"{model}-{reset}{'' if delay else '-at-once'}": {
            "model": model,
            "settings": {"reset_mechanism": reset, "reset_delay": delay},
            "surrogate": ("fast_sigmoid", 25.0) if reset == "subtract" else ("atan", 2.0),
        }
        for model in ("Leaky", "Synaptic")
        for reset, delay in (("subtract", True), ("zero", True), ("none", True), ("subtract", False), ("zero", False))
    },
    "norse": {
        "LIFBoxCell-value": {"model": "LIFBoxCell", "settings": {"reset_method": "value"}},
        "LIFBoxCell-subtract": {"model": "LIFBoxCell", "settings": {"reset_method": "subtract"}},
        "LIFCell": {"model": "LIFCell", "settings": {}},
    },
    "spikingjelly": {
        f"{model}-{name}": {
            "model": model,
            "settings": {"v_reset": v_reset, "detach_reset": detach, **more},
            "surrogate": surrogate,
        }
        for model, name, v_reset, detach, surrogate, more in (
            ("LIFNode", "hard", 0.0, False, ("Sigmoid", 4.0), {"tau": 2.0, "decay_input": True}),
            ("LIFNode", "soft", None, True, ("ATan", 2.0), {"tau": 2.0, "decay_input": True}),
            ("LIFNode", "hard-added", 0.0, True, ("ATan", 2.0), {"tau": 2.0, "decay_input": False}),
            ("LIFNode", "soft-added", None, False, ("Sigmoid", 4.0), {"tau": 2.0, "decay_input": False}),
            ("LIFNode", "v_reset", -0.25, False, ("Sigmoid", 4.0), {"tau": 3.3, "decay_input": True}),
            ("LIFNode", "v_reset-added", -0.25, True, ("Sigmoid", 4.0), {"tau": 3.3, "decay_input": False}),
            ("IFNode", "hard", 0.0, False, ("Sigmoid", 4.0), {}),
            ("IFNode", "soft", None, True, ("ATan", 2.0), {}),
        )
    },
    "spyx": {
        "LIF": {"model": "LIF", "settings": {}, "surrogate": ("superspike", 25.0)},
        "CuBaLIF": {"model": "CuBaLIF", "settings": {}, "surrogate": ("arctan", 2.0)},
    },
    "brainpy": {
        f"{model}-{reset}": {"model": model, "settings": {"spk_reset": reset}, "surrogate": ("ReluGrad", 0.3)}
        for model in ("LIF", "ALIF")
        for reset in ("soft", "hard")
    },
}

SLOPES = np.linspace(-2.0, 2.0, 81, dtype=np.float32)  # where the derivatives of the spike functions are kept


def noise(seed: int, *shape: int) -> np.ndarray:
    """Uniform numbers of 24 bits from 0 to 1, by the mixing function of SplitMix64 (Steele et al. 2014)."""
    z = (np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(40)).reshape(shape) / 2.0**24


def aims() -> tuple[np.ndarray, np.ndarray]:
    """Where inputs of the first neurons are chosen, and the potential that they are to lead to."""
    target = 1.0 + np.floor(5.0 * noise(2, STEPS, AIMED) - 2.0) * 2.0**-24
    return noise(1, STEPS, AIMED) < 1 / 8, target.astype(np.float32)


def sampled() -> np.ndarray:
    """The places where the potential is kept."""
    return noise(3, STEPS, SIZE) < 1 / 100


def weights() -> tuple[np.ndarray, np.ndarray]:
    """Of the spikes and the potentials in the loss."""
    shape = (GRAD_STEPS, GRADED.stop - GRADED.start)
    return (noise(4, *shape) - 0.5).astype(np.float32), (noise(5, *shape) - 0.5).astype(np.float32)


def parameters(library: str, case: dict[str, Any]) -> dict[str, np.ndarray]:
    """The parameters that are arrays over the neurons."""
    decay, syn, third = 0.5 + 0.45 * noise(6, SIZE), 0.5 + 0.4 * noise(7, SIZE), noise(8, SIZE)
    decay[:AIMED] = syn[:AIMED] = 0.5
    third[:AIMED] = 0.0
    ones = np.ones(SIZE)
    chosen = {
        ("snntorch", "Leaky"): {"beta": decay, "threshold": ones},
        ("snntorch", "Synaptic"): {"alpha": syn, "beta": decay, "threshold": ones},
        ("norse", "LIFBoxCell"): {"tau_mem_inv": (1 - decay) / NORSE_DT, "v_leak": 0.2 * third}
        | ({} if case["settings"].get("reset_method") == "subtract" else {"v_reset": -third / 4}),
        ("norse", "LIFCell"): {"tau_syn_inv": (1 - syn) / NORSE_DT, "tau_mem_inv": (1 - decay) / NORSE_DT}
        | {"v_leak": 0.2 * third, "v_reset": -third / 4},
        ("spyx", "LIF"): {"beta": decay},
        ("spyx", "CuBaLIF"): {"alpha": syn, "beta": decay},
        ("brainpy", "LIF"): {"tau": 2.0 + 18.0 * third, "R": 1.0 + syn, "V_initializer": (third == 0.0) * 1.0},
        ("brainpy", "ALIF"): {"tau": 2.0 + 18.0 * third, "tau_a": 20.0 + 80.0 * syn, "beta": 0.2 * decay},
    }.get((library, case["model"]), {})
    return {name: value.astype(np.float32) for name, value in chosen.items()}


def num_exact(library: str, case: dict[str, Any]) -> int:
    """How many neurons, from the first, have only sums and exact products; the others are kept off the threshold."""
    if library == "spikingjelly":
        return SIZE if case["settings"].get("tau", 2.0) == 2.0 else 0
    return 0 if library == "brainpy" else AIMED


def drive(library: str, case: dict[str, Any], seed: int, aimed: np.ndarray) -> np.ndarray:
    """The inputs, with those that were chosen at their places."""
    p, settings = parameters(library, case), case["settings"]
    if library in ("snntorch", "spyx"):
        size = (1 - p["beta"]) * (1 - p.get("alpha", np.float32(0)))
    elif library == "norse":
        size = NORSE_DT * p.get("tau_syn_inv", np.float32(1 / NORSE_DT))
    else:
        size = {"IFNode": 0.25}.get(case["model"], 1.0 if settings.get("decay_input", True) else 0.5)
    u = noise(seed, STEPS, SIZE)
    x = size * np.where(noise(seed + 1, STEPS, SIZE) < 1 / 32, 9.0 * u, 4.0 * u - 1.2)
    x = x.astype(np.float32)
    if aimed.size:
        x[:, :AIMED][aims()[0]] = aimed
    return x


def gain(library: str, case: dict[str, Any]) -> float:
    """By how much an input moves the potential, in the aimed neurons."""
    return 0.5 if library == "norse" or case["settings"].get("decay_input") else 1.0


# The originals: each maker gives the state at the start, and `step(state, x) -> (state, spikes, potentials)`.


def make_snntorch(case: dict[str, Any], p: dict[str, Any], x: Any, th: float) -> tuple[Any, Any]:
    snn, torch = importlib.import_module("snntorch"), importlib.import_module("torch")
    surrogate = importlib.import_module("snntorch.surrogate")
    name, slope = case["surrogate"]
    p = {**p, "threshold": p["threshold"] * th}
    cell = getattr(snn, case["model"])(**p, **case["settings"], spike_grad=getattr(surrogate, name)(slope))
    variables = 1 if case["model"] == "Leaky" else 2

    def step(state: Any, x: Any) -> Any:
        spike, *state = cell(x, *state)
        return state, spike, state[-1]

    return [torch.zeros_like(x) for _ in range(variables)], step


def make_norse(case: dict[str, Any], p: dict[str, Any], x: Any, th: float) -> tuple[Any, Any]:
    norse, torch = importlib.import_module("norse.torch"), importlib.import_module("torch")
    options: dict[str, Any] = {"v_th": torch.as_tensor(th)}
    if case["model"] == "LIFBoxCell":
        reset = importlib.import_module("norse.torch.functional.reset")
        options["reset_method"] = getattr(reset, f"reset_{case['settings']['reset_method']}")
        given = importlib.import_module("norse.torch.functional.lif_box").LIFBoxParameters
        start = importlib.import_module("norse.torch.functional.lif_box").LIFBoxFeedForwardState(v=p["v_leak"])
    else:
        given = norse.LIFParameters
        start = norse.LIFFeedForwardState(v=p["v_leak"], i=torch.zeros_like(x))
    cell = getattr(norse, case["model"])(given(**p, **options), dt=NORSE_DT)

    def step(state: Any, x: Any) -> Any:
        spike, state = cell(x, state)
        return state, spike, state.v

    return start, step


def make_spikingjelly(case: dict[str, Any], p: dict[str, Any], x: Any, th: float) -> tuple[Any, Any]:
    module, torch = "spikingjelly.activation_based", importlib.import_module("torch")
    neuron, surrogate = (importlib.import_module(f"{module}.{name}") for name in ("neuron", "surrogate"))
    name, alpha = case["surrogate"]
    spike_function = getattr(surrogate, name)(alpha=alpha)
    cell = getattr(neuron, case["model"])(v_threshold=th, surrogate_function=spike_function, **case["settings"])
    start = torch.full_like(x, case["settings"]["v_reset"] or 0.0)

    def step(V: Any, x: Any) -> Any:
        cell.v = V
        spike = cell(x)
        return cell.v, spike, cell.v

    return start, step


def make_spyx(case: dict[str, Any], p: dict[str, Any], x: Any, th: float) -> tuple[Any, Any]:
    spyx, nnx, jnp = (importlib.import_module(name) for name in ("spyx", "flax.nnx", "jax.numpy"))
    name, k = case["surrogate"]
    options = {"threshold": th, "activation": getattr(spyx.axn, name)(k), "rngs": nnx.Rngs(0)}
    cell = getattr(spyx.nn, case["model"])(x.shape, **options)
    for name, value in p.items():
        setattr(cell, name, nnx.Param(value))

    def step(state: Any, x: Any) -> Any:
        spike, state = cell(x, state)
        return state, spike, state[: x.shape[0]]

    return jnp.zeros(x.shape[0] * (1 if case["model"] == "LIF" else 2)), importlib.import_module("jax").jit(step)


def make_brainpy(case: dict[str, Any], p: dict[str, Any], x: Any, th: float) -> tuple[Any, Any]:
    models, brainstate, u = (importlib.import_module(name) for name in ("brainpy.state", "brainstate", "brainunit"))
    units = {"tau": u.ms, "tau_a": u.ms, "R": u.ohm, "beta": u.mV, "V_initializer": u.mV}
    p = {name: value * units[name] * (th if name == "V_initializer" else 1.0) for name, value in p.items()}
    brainstate.environ.set(dt=1.0 * u.ms)
    cell = getattr(models, case["model"])(x.shape, V_th=th * u.mV, **p, **case["settings"])
    cell.init_state()
    names = [name for name in ("V", "a") if hasattr(cell, name)]

    def step(state: Any, x: Any) -> Any:
        for name, value in zip(names, state, strict=True):
            getattr(cell, name).value = value
        spike = cell.update(x * u.mA)
        state = tuple(getattr(cell, name).value for name in names)
        return state, spike, state[0].mantissa

    return tuple(getattr(cell, name).value for name in names), brainstate.transform.jit(step)


def as_arrays(library: str) -> Any:
    """The function that makes an array of the library's framework from one of NumPy."""
    on_torch = library in ("snntorch", "norse", "spikingjelly")
    return importlib.import_module("torch" if on_torch else "jax.numpy").asarray


def run(library: str, case: dict[str, Any], x: np.ndarray, th: float, *, aim: bool) -> tuple[np.ndarray, ...]:
    """The inputs, with those that were chosen now if `aim`; the spikes; the potentials."""
    array, p = as_arrays(library), parameters(library, case)
    state, step = globals()[f"make_{library}"](case, {k: array(v) for k, v in p.items()}, array(x[0]), th)
    where, target = aims()
    spikes, potentials, x = [], [], x.copy()
    for t in range(STEPS):
        if aim and where[t].any():
            _, spike, V = step(state, array(np.zeros_like(x[t])))
            rest = (target[t] - np.asarray(V)[:AIMED]) / np.float32(gain(library, case))
            x[t, :AIMED] = np.where(where[t] & (np.asarray(spike)[:AIMED] == 0), rest, x[t, :AIMED])
        state, spike, V = step(state, array(x[t]))
        spikes.append(np.asarray(spike))
        potentials.append(np.asarray(V))
    return x, np.array(spikes), np.array(potentials)


def gradients(library: str, case: dict[str, Any], x: np.ndarray) -> dict[str, np.ndarray]:
    """Those of the weighted sum of spikes and potentials, by name."""
    array, make = as_arrays(library), globals()[f"make_{library}"]
    p = {"input": x[:GRAD_STEPS, GRADED]} | {k: v[GRADED] for k, v in parameters(library, case).items()}
    given = {name: array(value) for name, value in p.items()}

    def loss(given: dict[str, Any]) -> Any:
        given = dict(given)
        inputs = given.pop("input")
        state, step = make(case, given, inputs[0], 1.0)
        total = 0.0
        for x, of_spike, of_V in zip(inputs, *map(array, weights()), strict=True):
            state, spike, V = step(state, x)
            total = total + (of_spike * spike).sum() + (of_V * V).sum()
        return total

    if library in ("spyx", "brainpy"):
        grad = importlib.import_module("jax" if library == "spyx" else "brainstate.transform").grad
        return {name: np.asarray(value) for name, value in grad(loss)(given).items()}
    for value in given.values():
        value.requires_grad_()
    loss(given).backward()
    return {name: value.grad.numpy() for name, value in given.items()}


def slopes(library: str) -> dict[str, np.ndarray]:
    """The derivatives of the spike functions at `SLOPES`, by name."""
    x, found = as_arrays(library)(SLOPES), {}
    for name, parameter in sorted({case["surrogate"] for case in CASES[library].values() if "surrogate" in case}):
        if library == "spyx":
            jax, axn = importlib.import_module("jax"), importlib.import_module("spyx.axn")
            found[name] = np.asarray(jax.vmap(jax.grad(getattr(axn, name)(parameter)))(x))
        elif library in ("snntorch", "spikingjelly"):
            module = "snntorch.surrogate" if library == "snntorch" else "spikingjelly.activation_based.surrogate"
            leaf = x.clone().requires_grad_()
            getattr(importlib.import_module(module), name)(parameter)(leaf).sum().backward()
            found[name] = leaf.grad.numpy()
    return found


def record(library: str) -> None:
    kept: dict[str, Any] = {f"slope/{name}": value for name, value in slopes(library).items()}
    for name, case in CASES[library].items():
        for seed in range(100, 200, 2):
            exact = num_exact(library, case)
            x, spikes, V = run(library, case, drive(library, case, seed, np.zeros(0)), 1.0, aim=exact > 0)
            shifted = [run(library, case, x, th, aim=False)[1] for th in (1 - MARGIN, 1 + MARGIN)]
            if all((spikes[:, exact:] == other[:, exact:]).all() for other in shifted):
                break
        else:
            raise RuntimeError(f"{library} {name}: with every seed some potential comes close to the threshold.")
        print(name, "seed", seed, "rate", spikes.mean(), "aimed", spikes[:, :AIMED].mean(), "V", V.min(), V.max())
        aimed = x[:, :AIMED][aims()[0]] if exact else np.zeros(0, np.float32)
        made = {"seed": seed, "aimed": aimed, "spikes": np.packbits(spikes > 0), "V": V[sampled()]}
        made |= {f"gradient/{key}": value for key, value in gradients(library, case, x).items()}
        kept |= {f"{name}/{key}": value for key, value in made.items()}
    np.savez_compressed(HERE / f"{library}.npz", **kept)


if __name__ == "__main__":
    record(sys.argv[1])

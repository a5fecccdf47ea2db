"""One neuron in time, and its firing rate over many currents."""

from __future__ import annotations

from typing import Final, NamedTuple

import brainunit as u
import jax.numpy as jnp
import numpy as np

import neurostate as ns


DT: Final = u.Quantity(0.1, u.ms)
TAU: Final = u.Quantity(5.0, u.ms)
CURRENT: Final = u.Quantity(1.5, u.mA)
NUM_STEPS: Final = 500
CURRENTS: Final = u.Quantity(np.linspace(0.0, 3.0, 61), u.mA)
NUM_SWEEP_STEPS: Final = 10_000


class Trace(NamedTuple):
    """One neuron over time: times in ms, potentials in mV, and spikes, which are 0 or 1."""

    times: np.ndarray
    V: np.ndarray
    spikes: np.ndarray
    V_th: float

    @property
    def count(self) -> int:
        return int(self.spikes.sum())

    @property
    def rate(self) -> float:
        """Spikes per second of simulated time."""
        return self.count / (NUM_STEPS * DT.to_decimal(u.second))


class RateCurve(NamedTuple):
    """Firing rates in Hz over currents in mA, from a simulation and in closed form."""

    currents: np.ndarray
    rates: np.ndarray
    expected: np.ndarray

    @property
    def error(self) -> float:
        """The largest relative difference between the two, where the neuron fires."""
        fires = self.expected > 0
        return float(np.max(np.abs(self.rates[fires] / self.expected[fires] - 1)))


def simulate_neuron() -> Trace:
    """Drives one LIF neuron with a constant current, in the functional core."""
    lif = ns.LIF(1, tau=TAU)
    solution = ns.simulate(lif, jnp.full((NUM_STEPS, 1), CURRENT.mantissa) * CURRENT.unit, dt=DT, record="V")
    V = solution.records["V"][:, 0]
    return Trace(np.asarray(solution.ts), np.asarray(V), np.asarray(solution.outputs[:, 0]), float(lif.V_th))


def sweep_currents() -> RateCurve:
    """Counts the spikes for each current, with the transforms of the stateful façade."""

    def count_spikes(current):
        cell = ns.nn.init_all_states(ns.nn.Stateful(ns.LIF(1, tau=TAU)))
        spikes = ns.transform.for_loop(lambda: cell(current), length=NUM_SWEEP_STEPS)
        return spikes.sum()

    with ns.environ.context(dt=DT):
        counts = ns.transform.jit(ns.transform.vmap(count_spikes))(CURRENTS)
    rates = np.asarray(counts, np.float64) / (NUM_SWEEP_STEPS * DT.to_decimal(u.second))
    return RateCurve(CURRENTS.mantissa, rates, closed_form_rate(CURRENTS))


def closed_form_rate(current: u.Quantity) -> np.ndarray:
    r"""The rate in Hz at which `LIF(1, tau=TAU)` fires for a constant current, in continuous time.

    From $V_\text{reset} = V_\text{rest} = 0$ the potential reaches the threshold after
    $\tau \ln\frac{I}{I - I_0}$ if $I$ is above the rheobase $I_0 = V_\text{th} / R$, and else never (Gerstner et
    al. 2014, *Neuronal Dynamics*, section 1.3).
    """
    lif = ns.LIF(1, tau=TAU)
    rheobase = ns.quantity(lif, "V_th") / ns.quantity(lif, "R")
    drive = np.asarray(current.to_decimal(u.mA), np.float64) / float(rheobase.to_decimal(u.mA))
    rates = np.zeros(drive.shape)
    fires = drive > 1.0
    rates[fires] = 1.0 / (TAU.to_decimal(u.second) * np.log(drive[fires] / (drive[fires] - 1.0)))
    return rates


def as_text(quantity: u.Quantity) -> str:
    """A quantity as it is written in a sentence, such as `1.5 mA`."""
    return f"{quantity.mantissa:g} {quantity.unit}"

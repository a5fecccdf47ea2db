"""`check_units` accepts what there is, and names what is wrong."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurostate as ns
from neurostate.synapse import AbstractOutput

from .helpers import x64
from .zoo import NEURONS


KEY = jax.random.key(0)
W = ns.init.Constant(0.5)
COUPLED = ns.LIF((2, 2), R=1 * u.Mohm)
CELLS = [
    *(kind(3) for kind in (*NEURONS, ns.LI, ns.LIFRef, ns.GifRef)),
    ns.Gif(3, escape_rate=10 * u.Hz, escape_width=2 * u.mV),
    ns.TwoCompartment(3),
    ns.TwoCompartment(3, delta_T=2.0, V_T=-50.0, V_th=-40.0),
    ns.GapCoupled(COUPLED, g=2.0 * u.uS, C=5 * u.nF),
    ns.GapCoupled(COUPLED, g=np.ones((4, 4)), C=5 * u.nF),
    ns.GapCoupled(ns.HH(3), g=0.1, C=1.0),
    *(kind(3) for kind in (ns.Expon, ns.DualExpon, ns.Alpha, ns.AMPA, ns.GABAa, ns.BioNMDA, ns.NMDA, ns.STP, ns.STD)),
    ns.DualExpon(3, normalize=False, g_unit=u.nA),
    ns.Alpha(3, g_unit=u.UNITLESS),
    ns.COBA(-70.0),
    ns.CUBA(),
    ns.MgBlock(),
    ns.OUProcess(3, 1.0 * u.nA, 0.5 * u.nA / u.ms**0.5, 5 * u.ms),
    ns.OUProcess(3, 1.0, 0.5, 5.0, correlation=0.5, x_initializer=0.0),
    ns.WhiteNoise(3, 0.0 * u.nA, 0.5 * u.nA * u.ms**0.5),
    ns.PoissonInput(3, 10, 1 * u.Hz, 0.1 * u.mV),
    ns.PoissonSpike(3, 100 * u.Hz),
    ns.SpikeTime(2, [0, 1, 1], [0.1, 0.3, 0.35] * u.ms, 0.2 * u.nA),
    ns.LeakyRateReadout(4, 3, w_init=W),
    ns.LeakyRateReadout(4, 3, w_init=np.ones((4, 3)) * u.nA),
    ns.LeakySpikeReadout(4, 3, w_init=W),
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: type(cell).__name__)
def test_the_formulas_are_dimensionally_right(cell):
    ns.check_units(cell)
    with x64():
        ns.check_units(cell)


class NoDecay(ns.Expon):
    def flow(self, state, dt):
        return ns.ExponState(g=state.g * dt)


class SumOfUnlike(ns.Alpha):
    def flow(self, state, dt):
        return ns.AlphaState(g=state.g + self.tau, h=state.h)


class ExponentWithUnit(ns.STD):
    def flow(self, state, dt):
        return ns.STDState(x=1 - (1 - state.x) * jnp.exp(-dt))


class WrongArrival(ns.AMPA):
    def arrive(self, state, x):
        return ns.ReceptorState(g=state.g, pulse=x), state.g


class WrongRelease(ns.NMDA):
    def arrive(self, state, x):
        return state, state.g * self.tau_rise


class WrongForce(ns.COBA):
    def __call__(self, g, V):
        return g * self.E * self.E


class PlainBlock(ns.MgBlock):
    def block(self, V):
        return 1 / (1 + jnp.exp(-0.062 * self.potential(V)))


class WrongDrive(ns.COBA):
    def drive(self, g, V=None):
        return ns.Drive(current=g)


class Forgotten(AbstractOutput):
    E: float = 0.0

    def __call__(self, g, V):
        return g

    def drive(self, g, V):
        return ns.Drive(current=g)


class WrongSpread(ns.OUProcess):
    def draw(self, x, dt, key):
        return self.mean + self.sigma * dt * jax.random.normal(key, x.shape)


class WrongStart(ns.OUProcess):
    def initial(self):
        return self.sigma * self.tau


class WrongWeight(ns.PoissonInput):
    def draw(self, x, dt, key):
        return self.weight * self.weight * (1 + jax.random.poisson(key, self.freq * dt, x.shape))


class WrongReadout(ns.LeakyRateReadout):
    def step(self, state, input, /, *, dt, key=None):
        r = state.r - dt * state.r + input @ self.weight
        return ns.LeakyRateReadoutState(r), r


class WrongOutput(ns.LeakyRateReadout):
    def step(self, state, input, /, *, dt, key=None):
        return state, state.r / self.tau


class WrongMixing(ns.GapCoupled):
    def mixed(self, V, dt):
        return V * jnp.exp(-dt * self.g)


class WrongDendrite(ns.TwoCompartment):
    def derivative(self, state, drive):
        return super().derivative(state, drive).with_(V_d=drive.dendrite.total(state.V_d))


class WrongHazard(ns.Gif):
    def escape_probability(self, state, dt):
        return dt * super().escape_probability(state, dt)


def made(kind: Any, *args: Any, **options: Any) -> Any:
    return kind(*args, **options)


NOISE = (3, 1.0 * u.nA, 0.5 * u.nA / u.ms**0.5, 5 * u.ms)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (made(NoDecay, 3), r"`NoDecay.flow` gives g in .*, but it needs a unit like S"),
        (made(SumOfUnlike, 3), "`SumOfUnlike.flow` combines values of different dimensions"),
        (made(ExponentWithUnit, 3), "`ExponentWithUnit.flow` combines values of different dimensions"),
        (made(WrongArrival, 3), "`WrongArrival.arrive` gives pulse without a unit, but it needs a unit like ms"),
        (made(WrongRelease, 3), "`WrongRelease.arrive` gives the output in ms, but it needs none"),
        (made(WrongForce, 0.0), "`WrongForce.__call__` gives the current in .*, but it needs a unit like mA"),
        (made(PlainBlock), "`PlainBlock.__call__` combines values of different dimensions"),
        (made(WrongDrive, 0.0), "`WrongDrive.drive` gives the current in S, but it needs a unit like mA"),
        (made(Forgotten), "`Forgotten.__call__` gives the current in S"),
        (
            made(WrongSpread, *NOISE),
            "`WrongSpread.step` gives x in a wrong unit: it needs a unit like nA, .* unit of time",
        ),
        (made(WrongStart, *NOISE), "`WrongStart.init_state` gives x in a wrong unit.* unit of time"),
        (made(WrongWeight, 3, 1, 1.0, 1.0 * u.nA), "`WrongWeight.step` gives x in a wrong unit.* unit of current"),
        (
            made(WrongReadout, 4, 3, w_init=W),
            "`WrongReadout.step` gives r in a wrong unit: it needs none.* unit of time",
        ),
        (made(WrongOutput, 4, 3, w_init=W), "`WrongOutput.step` gives the output in a wrong unit.* unit of time"),
        (made(WrongMixing, COUPLED, 1.0, 1.0), "`WrongMixing.mixed` gives V in a wrong unit: it needs a unit like mV"),
        (made(WrongDendrite, 3), "`WrongDendrite.derivative` gives dV_d/dt in nA, but it needs a unit like mV / ms"),
        (
            made(WrongHazard, 3, escape_rate=1.0, escape_width=1.0),
            "`WrongHazard.escape_probability` gives the probability in ms, but it needs none",
        ),
    ],
    ids=lambda x: type(x).__name__,
)
def test_a_wrong_formula_is_found(cell, message):
    with pytest.raises(ns.UnitError, match=message):
        ns.check_units(cell)


def test_what_is_no_cell():
    for wrong in (3, ns.Drive(current=1.0), ns.surrogate.ReluGrad()):
        with pytest.raises(TypeError, match="`check_units` needs a cell such as a neuron"):
            ns.check_units(wrong)

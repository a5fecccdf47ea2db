"""The neuron of two compartments, soma and dendrite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal

import jax
import jax.numpy as jnp

from .._custom_types import Array, ArrayLike, Float, Key, QuantityLike, Shape, Size
from .._drive import Drive, as_drive
from .._parameters import as_milliseconds
from .._units import Unit, argument, is_traced, ms, mV, nA, uS
from ..init import Constant
from ..integrate import Integrator, VectorField, phi
from ..surrogate import ReluGrad
from ._base import AbstractODENeuron
from ._fields import check_threshold, fill, function_field, initial_field, quantity_field, static_field
from ._state import NeuronState, variable
from ._step import step_to_crossing, step_to_grid
from ._upstroke import exponential


# The largest exponent of the growth within one step: where an upstroke is not resolved, it has no bound.
_LARGEST: Final = 40.0


class TwoCompartmentState(NeuronState):
    """The state of `TwoCompartment`: `V` of the soma and `V_d` of the dendrite, in mV."""

    V: Float[Array, " *state"] = variable("voltage")
    V_d: Float[Array, " *state"] = variable("voltage")


class _TwoDrives(Drive):
    """What acts on the soma, and on the dendrite."""

    dendrite: Drive | None = None


def exponential_pair(f: VectorField, y: TwoCompartmentState, dt: ArrayLike) -> TwoCompartmentState:
    r"""One step of the exponential Rosenbrock-Euler method for `V` and `V_d` together.

    $$y(t + \Delta t) = y + \Delta t\,\varphi(\Delta t J)\,f(y), \qquad J = \frac{\partial f}{\partial y}$$

    (Hochbruck and Ostermann 2010.) Exact, and so stable at any `dt`, where `f` is affine; of second order
    otherwise. $\varphi$ of the 2 by 2 matrix is that of its eigenvalues, by Newton's divided differences. Where the
    coupling is `r` times the leak, the rounding error of a step is `r` times the precision, so that `r` may go to 1e5
    in float32.
    """
    dt = jnp.asarray(dt, y.V.dtype)
    step = jnp.broadcast_to(dt, y.V.shape)
    # A column of z = dt * J, and the sum of both, to which the coupling between the two does not contribute: so what a
    # strong coupling would round away in the other column is kept.
    slopes, column = jax.jvp(lambda V: f(y.with_(V=V)), (y.V,), (step,))
    _, both = jax.jvp(lambda V, V_d: f(y.with_(V=V, V_d=V_d)), (y.V, y.V_d), (step, step))
    z, z_d = column.V, column.V_d
    mean, half = (z + both.V_d - z_d) / 2, (z - both.V_d + z_d) / 2
    square = half * half + (both.V - z) * z_d  # not negative, as the coupling acts both ways alike
    root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    # The eigenvalues. The larger one in size gives the other one, by the determinant, and is divided by.
    fast = jnp.where(mean < 0, mean - root, mean + root)
    moves = fast != 0
    slow = (z * both.V_d - both.V * z_d) / jnp.where(moves, fast, 1.0)
    fast, slow = jnp.minimum(fast, _LARGEST), jnp.minimum(slow, _LARGEST)
    upper, lower = jnp.maximum(fast, slow), jnp.minimum(fast, slow)
    of_exp = jnp.exp(upper) * phi(lower - upper)
    between = jnp.where(moves, (of_exp - phi(slow)) / jnp.where(moves, fast, 1.0), 0.5)
    F, F_d = slopes.V, slopes.V_d
    rest = z * (F - F_d) + both.V * F_d - slow * F
    rest_d = z_d * (F - F_d) + both.V_d * F_d - slow * F_d
    V, V_d = (dt * (phi(slow) * x + between * other) for x, other in ((F, rest), (F_d, rest_d)))
    return y.with_(V=(y.V + V).astype(y.V.dtype), V_d=(y.V_d + V_d).astype(y.V_d.dtype))


class TwoCompartment(AbstractODENeuron[TwoCompartmentState]):
    r"""Neurons of a soma that spikes and a passive dendrite, coupled by a conductance.

    $$C \frac{\mathrm{d}V}{\mathrm{d}t} = -g_\text{L}(V - E_\text{L}) + g_\text{L} \Delta_T e^{(V - V_T)/\Delta_T}
    + g_c (V_d - V) + I(t)$$
    $$C_d \frac{\mathrm{d}V_d}{\mathrm{d}t} = -g_{\text{L},d}(V_d - E_{\text{L},d}) + g_c (V - V_d) + I_d(t)$$

    (Koch 1999, *Biophysics of Computation*, chapter 3; with such a soma, Larkum, Senn and Lüscher 2004, *Top-down
    dendritic input increases the gain of layer 5 pyramidal neurons*.) Without `delta_T` there is no exponential term,
    and the soma is that of [`neurostate.LIF`][].

    The step is that of `LIF`: reset where the old `V` spikes, integrate for a drive that is constant during the step,
    spike where the new `V >= V_th`. A spike resets the soma alone. Both compartments are integrated together
    (`exponential_pair`): exactly without the exponential term, at any `dt` and any `g_c`; to second order with it. With
    it, the upstroke is bounded as in [`neurostate.ExpIF`][].

    The second argument of `step` acts on the soma; a tuple of two acts on soma and dendrite. A jump of `V_d` happens at
    the end of the step. In a refractory period the soma is held and ignores its drive, and the dendrite goes on.

    **Arguments:**

    - `size`: Number of neurons, or the shape of the population.
    - `C`, `gL`, `EL`: Capacitance, leak conductance and its reversal potential of the soma.
    - `C_d`, `gL_d`, `EL_d`: The same of the dendrite.
    - `g_c`: The conductance between the two, not negative.
    - `V_th`, `V_reset`: Threshold and reset potential of the soma. Voltages.
    - `delta_T`, `V_T`: The sharpness and the threshold of the upstroke, both or neither. Voltages.
    - `V_initializer`, `V_d_initializer`: `V` and `V_d` at the start.
    - `spk_fun`, `spk_reset`, `tau_ref`, `detach_reset`, `integrator`, `spike_time`, `I_unit`: as in
        [`neurostate.LIF`][].

    **Raises:** as [`neurostate.LIF`][]; `ValueError` for a negative `g_c`, or for one of `delta_T` and `V_T` alone.

    >>> import brainunit as u, jax.numpy as jnp, neurostate as ns
    >>> cell = ns.TwoCompartment(1, g_c=20 * u.nS)
    >>> dendrite = jnp.full((2000, 1), 0.6) * u.nA
    >>> sol = ns.simulate(cell, (jnp.zeros((2000, 1)) * u.nA, dendrite), dt=0.1 * u.ms, record="V_d")
    >>> print(cell.I_unit, bool(sol.outputs.sum() > 2))
    pA True
    """

    size: Shape = static_field()
    C: Float[Array, " *#size"] = quantity_field("capacitance", positive=True)
    gL: Float[Array, " *#size"] = quantity_field("conductance")
    EL: Float[Array, " *#size"] = quantity_field("voltage")
    C_d: Float[Array, " *#size"] = quantity_field("capacitance", positive=True)
    gL_d: Float[Array, " *#size"] = quantity_field("conductance")
    EL_d: Float[Array, " *#size"] = quantity_field("voltage")
    g_c: Float[Array, " *#size"] = quantity_field("conductance")
    V_th: Float[Array, " *#size"] = quantity_field("voltage")
    V_reset: Float[Array, " *#size"] = quantity_field("voltage")
    delta_T: Float[Array, " *#size"] | None = quantity_field("voltage", positive=True)
    V_T: Float[Array, " *#size"] | None = quantity_field("voltage")
    V_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    V_d_initializer: Float[Array, " *#size"] | Callable[..., Any] = initial_field("voltage")
    spk_fun: Callable[[Array], Array] = function_field()
    spk_reset: Literal["soft", "hard"] | None = static_field()
    tau_ref: Float[Array, " *#size"] | None = quantity_field("time")
    detach_reset: bool = static_field()
    integrator: Integrator = static_field()
    spike_time: Literal["grid", "interpolated"] = static_field()
    I_unit: Unit = static_field()

    state_type: ClassVar[type[TwoCompartmentState]] = TwoCompartmentState
    has_reset: ClassVar[bool] = True

    def __init__(
        self,
        size: Size,
        C: QuantityLike = 0.1 * (nA * ms / mV),
        gL: QuantityLike = 0.01 * uS,
        EL: QuantityLike = -70.0 * mV,
        C_d: QuantityLike = 0.1 * (nA * ms / mV),
        gL_d: QuantityLike = 0.01 * uS,
        EL_d: QuantityLike = -70.0 * mV,
        g_c: QuantityLike = 0.02 * uS,
        V_th: QuantityLike = -50.0 * mV,
        V_reset: QuantityLike = -60.0 * mV,
        delta_T: QuantityLike | None = None,
        V_T: QuantityLike | None = None,
        V_initializer: QuantityLike | Callable[..., Any] = Constant(-70.0 * mV),
        V_d_initializer: QuantityLike | Callable[..., Any] = Constant(-70.0 * mV),
        spk_fun: Callable[[Array], Array] = ReluGrad(),
        spk_reset: Literal["soft", "hard"] | None = "hard",
        *,
        tau_ref: QuantityLike | None = None,
        detach_reset: bool = False,
        integrator: Integrator | str = exponential_pair,
        spike_time: Literal["grid", "interpolated"] = "grid",
        I_unit: Unit | None = None,
    ):
        fill(self, locals(), nA)
        check_threshold(self.V_th, self.V_reset, "TwoCompartment")
        if (self.delta_T is None) != (self.V_T is None):
            raise ValueError("`TwoCompartment` needs both `delta_T` and `V_T`, or neither; got only one of them.")
        if not is_traced(self.g_c) and bool((self.g_c < 0).any()):
            raise ValueError(f"{argument('TwoCompartment', 'g_c')} must not be negative, got {g_c!r}.")

    @property
    def diverges_above(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """`V_reset`, above which `V` diverges if it has an upstroke."""
        return None if self.delta_T is None else "V_reset"

    def step(
        self,
        state: TwoCompartmentState,
        current: QuantityLike | Drive | tuple[QuantityLike | Drive, QuantityLike | Drive],
        *,
        dt: QuantityLike,
        key: Key | None = None,
    ) -> tuple[TwoCompartmentState, Float[Array, " *state"]]:
        """Moves time forward by one step; see `AbstractNeuron.step`. A tuple as `current` is for soma and dendrite."""
        del key
        soma, dendrite = current if isinstance(current, tuple) else (current, None)
        drive = _TwoDrives(**vars(as_drive(soma, self, state.V, "TwoCompartment")))
        if dendrite is not None:
            dendrite = as_drive(dendrite, self, state.V_d, "TwoCompartment")
            drive = _TwoDrives(**(vars(drive) | {"dendrite": dendrite}))
        advance = step_to_grid if self.spike_time == "grid" else step_to_crossing
        new, spike = advance(self, state, drive, as_milliseconds(dt, "TwoCompartment.step"))
        if dendrite is not None and dendrite.jump is not None:
            new = new.with_(V_d=(new.V_d + dendrite.jump).astype(state.V_d.dtype))
        return new, spike

    def derivative(self, state: TwoCompartmentState, drive: Drive) -> TwoCompartmentState:
        leak, leak_d = self.gL * (state.V - self.EL), self.gL_d * (state.V_d - self.EL_d)
        coupling = self.g_c * (state.V_d - state.V)
        V, V_d = -leak + coupling + drive.total(state.V), -leak_d - coupling
        if self.delta_T is not None:
            V = V + self.gL * exponential(state.V, self.V_T, self.delta_T, self.V_th)
        if isinstance(drive, _TwoDrives) and drive.dendrite is not None:
            V_d = V_d + drive.dendrite.total(state.V_d)
        return TwoCompartmentState(V=V / self.C, V_d=V_d / self.C_d)

    def distance(self, state: TwoCompartmentState) -> Array:
        return (state.V - self.V_th) / (self.V_th - self.V_reset)

    def reset(self, state: TwoCompartmentState, spike: Array) -> TwoCompartmentState:
        return state.with_(V=self.reset_voltage(state.V, spike, self.V_th, self.V_reset))

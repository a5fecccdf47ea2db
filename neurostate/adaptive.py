"""Neurons in continuous time, by the adaptive solvers of Diffrax: the reference for those with a fixed step."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Final

import equinox as eqx
import jax
import jax.numpy as jnp

from ._custom_types import Array, Float, QuantityLike
from ._drive import Drive, as_drive
from ._parameters import as_milliseconds
from ._units import argument, is_quantity, measures, ms, to_plain
from .neuron import AbstractODENeuron


_OWNER: Final = "solve_adaptive"
_MSG_SPIKES: Final = "`solve_adaptive`: a neuron spikes more often than there is room for. Increase `max_spikes`."
_MSG_STEPS: Final = "`solve_adaptive`: a neuron needs more steps than allowed. Increase `max_steps`, or loosen `rtol`."
# A spike after which the neuron is not below its threshold by that much has to leave it before the next one.
_AT_THRESHOLD: Final = 1e-6
# A time after 0 that does not underflow.
_FIRST_TIME: Final = 1e-30


class _Limits(eqx.Module):
    dt0: Array
    dt_max: Array
    rtol: Array
    atol: Array
    max_steps: Array
    max_spikes: int = eqx.field(static=True)


class AdaptiveSolution(eqx.Module):
    """What `solve_adaptive` returns. `state` is the shape of the state, `(*batch, *size)`.

    - `spike_times`: The times of the spikes of each neuron in ms, in order, of shape `(max_spikes, *state)`; infinite
        where there are no more.
    - `ts`, `V`: The times that were asked for, in ms, and `V` at these, of shape `(len(ts), *state)`. At the time of a
        spike it is `V` after the reset.
    - `state`: The state at `t1`.
    """

    spike_times: Float[Array, " spike *state"] = eqx.field(metadata=measures("time"))
    ts: Float[Array, " time"] = eqx.field(metadata=measures("time"))
    V: Float[Array, " time *state"]
    state: Any


def solve_adaptive(
    cell: AbstractODENeuron[Any],
    current: QuantityLike | Drive | Callable[[Array], QuantityLike | Drive],
    t1: QuantityLike,
    *,
    ts: QuantityLike = None,
    jump_ts: QuantityLike = None,
    state: Any = None,
    max_spikes: int = 64,
    rtol: float = 1e-10,
    atol: float = 1e-10,
    dt0: QuantityLike = 0.01,
    dt_max: QuantityLike = 0.5,
    solver: Any = None,
    max_steps: int = 1_000_000,
) -> AdaptiveSolution:
    r"""Solves the equations of `cell` from 0 to `t1` with steps that follow the error, as a reference.

    Between spikes, a solver of [Diffrax](https://docs.kidger.site/diffrax) integrates `cell.derivative`, in place of
    `cell.integrator`. A spike is where the distance to the threshold goes through zero from below. Its time is found to
    the last digits, by steps of the solver that end at it. There the neuron is reset, and its `V` is held for the
    refractory period. Neurons without reset spike at each crossing. Each neuron takes its own steps. As `dt` goes to 0,
    cells with `spike_time="interpolated"` go to this solution.

    **Arguments:**

    - `cell`: A neuron that is given by differential equations.
    - `current`: The drive: a number, array, `Quantity` or [`neurostate.Drive`][] that is constant, or a function of the
        time in ms that gives one.
    - `t1`: The end: a number in ms or a `Quantity`.

    **Other arguments:**

    - `ts`: The times at which `V` is wanted, in order; by default only `t1`. The solver steps to each.
    - `jump_ts`: The times at which `current` jumps, in order.
    - `state`: The state at the start; by default `cell.init_state()`. A neuron at its threshold is reset first, and
        that is no spike.
    - `max_spikes`: For how many spikes of each neuron there is room.
    - `rtol`, `atol`: The tolerances of the solver. Tight ones need float64.
    - `dt0`, `dt_max`: The first step, at the start and after each spike, and the longest one: two crossings of the
        threshold within one step are not seen.
    - `solver`: An explicit Runge-Kutta solver of Diffrax; by default `diffrax.Dopri8()`.
    - `max_steps`: The most steps of one neuron.

    **Returns:** An [`neurostate.AdaptiveSolution`][].

    **Raises:** `ImportError` without Diffrax; `TypeError` for another kind of cell; `ValueError` for escape noise,
    jumps in the drive, or tolerances beyond the precision of the state; an error at run time if there is no room for
    all spikes.

    >>> import jax, neurostate as ns
    >>> with jax.enable_x64(True):
    ...     sol = ns.solve_adaptive(ns.LIF(1), 1.5, 20.0)
    >>> print(sol.spike_times[:4, 0])  # 5 log 3 = 5.49306...
    [ 5.49306144 10.98612289 16.47918433         inf]
    """
    if not isinstance(cell, AbstractODENeuron):
        raise TypeError(
            f"`{_OWNER}` needs a neuron that is given by differential equations, got one of type {type(cell).__name__}."
        )
    if getattr(cell, "stochastic", False):
        raise ValueError(
            f"`{_OWNER}` cannot run neurons with escape noise, whose spikes are no events of their equations."
        )
    t1 = as_milliseconds(t1, _OWNER, "t1")
    state = cell.init_state() if state is None else state
    dtype = state.V.dtype
    if min(rtol, atol) < 10 * float(jnp.finfo(dtype).eps):
        raise ValueError(
            f"`{_OWNER}` got rtol={rtol} and atol={atol}, which a state of {dtype} cannot resolve. Enable float64, "
            '`jax.config.update("jax_enable_x64", True)`, before the neuron is made, or loosen both.'
        )
    plain = lambda x, name: jnp.atleast_1d(jnp.asarray(to_plain(x, ms, name, _OWNER), dtype))  # noqa: E731
    ts = plain(t1 if ts is None else ts, "ts")
    jump_ts = plain(t1 if jump_ts is None else jump_ts, "jump_ts")
    if not callable(current) or is_quantity(current):
        current = _drive(current, cell, state)
    dt0, dt_max = as_milliseconds(dt0, _OWNER, "dt0"), as_milliseconds(dt_max, _OWNER, "dt_max")
    numbers = (jnp.asarray(x, dtype) for x in (dt0, dt_max, rtol, atol, max_steps))
    limits = _Limits(*numbers, max_spikes=max_spikes)
    dfx = _diffrax()
    solver = dfx.Dopri8() if solver is None else solver
    if not isinstance(solver, dfx.AbstractERK):
        raise TypeError(
            f"{argument(_OWNER, 'solver')} must be an explicit Runge-Kutta solver such as `diffrax.Dopri8()`, "
            f"got {solver!r:.60}."
        )
    spike_times, V, state = _solve(cell, current, plain(t1, "t1")[0], ts, jump_ts, state, solver, limits)
    return AdaptiveSolution(spike_times=spike_times, ts=ts, V=V, state=state)


def _drive(given: Any, cell: Any, state: Any) -> Drive:
    drive = as_drive(given, cell, state.V, _OWNER)
    if drive.jump is not None or drive.g_jump is not None:
        raise ValueError(
            f"{argument(_OWNER, 'current')} must be without `jump` and `g_jump`, which happen at the steps of a grid. "
            "Put the jump into the state and solve on from there."
        )
    return drive


@eqx.filter_jit
def _solve(
    cell: Any, current: Any, t1: Array, ts: Array, jump_ts: Array, state: Any, solver: Any, limits: _Limits
) -> tuple[Array, Array, Any]:
    shape = state.V.shape
    names = [field.name for field in dataclasses.fields(cell) if field.metadata.get("kind") == "parameter"]
    names = [name for name in names if eqx.is_array(getattr(cell, name))]
    parameters = {name: jnp.broadcast_to(getattr(cell, name), shape).reshape(-1) for name in names}
    stops = jnp.sort(jnp.concatenate([ts, jump_ts, t1[None]]))

    def one(parameters: dict[str, Array], state: Any, k: Array) -> tuple[Array, Array, Any]:
        alone = eqx.tree_at(lambda c: [getattr(c, name) for name in names], cell, [parameters[n] for n in names])

        def drive(t: Array) -> Drive:
            like = state.with_(V=jnp.zeros(shape, state.V.dtype))
            whole = _drive(current(t), cell, like) if callable(current) else current
            return jax.tree.map(lambda x: jnp.broadcast_to(x, shape).reshape(-1)[k], whole)

        return _Neuron(alone, drive, t1, ts, stops, solver, limits).run(state)

    flat = jax.tree.map(lambda x: x.reshape(-1), state)
    spike_times, V, state = jax.vmap(one)(parameters, flat, jnp.arange(flat.V.size))
    spike_times, V = (jnp.moveaxis(x, 0, -1).reshape(-1, *shape) for x in (spike_times, V))
    return spike_times, V, jax.tree.map(lambda x: x.reshape(shape), state)


class _Search(eqx.Module):
    """The search for the event within a step: the bounds of its length, the distances there, and the upper state."""

    low: Array
    high: Array
    d_low: Array
    d_high: Array
    y_high: Any
    count: Array  # 0 without a search


class _Carry(eqx.Module):
    """Where a neuron is between two steps."""

    t: Array
    h: Array
    y: Any
    spike_times: Array
    spikes: Array
    V: Array
    free: Array  # the end of the refractory period
    rises: Array  # whether it is below the threshold, so that the next event is a spike
    search: _Search
    steps: Array


@dataclasses.dataclass(frozen=True)
class _Neuron:
    """One neuron, solved step by step, until the error is small enough and then on to the next event or stop."""

    cell: Any
    drive: Callable[[Array], Drive]
    t1: Array
    ts: Array
    stops: Array
    solver: Any
    limits: _Limits

    def run(self, state: Any) -> tuple[Array, Array, Any]:
        cell, room = self.cell, self.limits.max_spikes
        y = state.with_(refractory=None, since_spike=None)
        zero, none = jnp.zeros_like(y.V), jnp.zeros((), jnp.int32)
        if cell.has_reset:
            y = _where(cell.distance(y) >= 0, cell.reset(y, jnp.ones_like(y.V)), y)
        start = _Carry(
            t=zero,
            h=zero + self.limits.dt0,
            y=y,
            spike_times=jnp.full(room, jnp.inf, zero.dtype),
            spikes=none,
            V=jnp.full(self.ts.shape, y.V),
            free=zero if state.refractory is None else state.refractory,
            rises=cell.distance(y) < 0,
            search=_Search(zero, zero, zero, zero, y, none),
            steps=none,
        )

        def goes_on(c: _Carry) -> Array:
            return (c.t < self.t1) & (c.spikes <= room) & (c.steps < self.limits.max_steps)

        end = jax.lax.while_loop(goes_on, self.step, start)
        times = eqx.error_if(end.spike_times, end.spikes > room, _MSG_SPIKES)
        times = eqx.error_if(times, (end.t < self.t1) & (end.spikes <= room), _MSG_STEPS)
        after = end.y
        if state.refractory is not None:
            after = after.with_(refractory=jnp.where(end.free > self.t1, end.free - self.t1, -1.0))
        if state.since_spike is not None:
            last = jnp.max(jnp.where(jnp.isfinite(times), times, -jnp.inf))
            after = after.with_(since_spike=self.t1 - jnp.maximum(last, -state.since_spike))
        return times, end.V, after

    def step(self, c: _Carry) -> _Carry:
        cell, limits, search = self.cell, self.limits, c.search
        searching = search.count > 0
        held = (c.t < c.free) & cell.has_reset
        stop = self.stops[jnp.searchsorted(self.stops, c.t, side="right")]
        stop = jnp.where(held, jnp.minimum(c.free, stop), stop)
        lands = c.h >= stop - c.t
        h = jnp.where(searching, _within(search), jnp.where(lands, stop - c.t, c.h))
        new, error = self.candidate(c.t, h, c.y, held)
        # Where the upstroke is too steep for the tolerance, a step may be as short as the time resolves, not shorter.
        shortest = 8 * jnp.finfo(h.dtype).eps * (c.t + limits.dt0)
        keep = searching | (error <= 1.0) | (h <= shortest)

        side = jnp.where(c.rises, 1.0, -1.0)
        before, d = side * cell.distance(c.y), side * cell.distance(new)
        found = keep & ~searching & ~held & (before < 0) & (d >= 0)
        first = _Search(jnp.zeros_like(h), h, before, d, new, jnp.ones_like(search.count))
        search = _where(found, first, _where(searching, _narrowed(search, h, d, new), search))
        # As narrow as the precision of the time.
        event = searching & (search.high - search.low <= 4 * jnp.finfo(h.dtype).eps * (c.t + search.high))
        moves = event | (keep & ~found & ~searching)
        t = jnp.where(event, c.t + search.high, jnp.where(lands, stop, c.t + h))
        factor = jnp.clip(0.9 * error**self.power, 0.2, 5.0)
        end = _Carry(
            t=t,
            h=jnp.where(event, limits.dt0, jnp.clip(h * factor, shortest, limits.dt_max)),
            y=_where(event, search.y_high, new),
            spike_times=c.spike_times,
            spikes=c.spikes,
            V=c.V,
            free=c.free,
            rises=c.rises | event,
            search=search,
            steps=c.steps,
        )
        end = self.after_event(end, event & c.rises)
        end = _where(moves, end, dataclasses.replace(c, search=search, h=jnp.where(keep, c.h, end.h)))
        none = jnp.where(moves, 0, end.search.count)
        end = dataclasses.replace(end, search=dataclasses.replace(end.search, count=none), steps=c.steps + 1)
        return dataclasses.replace(end, V=jnp.where(moves & (self.ts == end.t), end.y.V, end.V))

    def after_event(self, c: _Carry, crossed: Array) -> _Carry:
        """The same after a spike, where the threshold was crossed from below."""
        cell = self.cell
        counts = crossed & (c.t >= c.free)
        y = _where(crossed, cell.reset(c.y, jnp.ones_like(c.y.V)), c.y)
        place = jnp.where(counts, c.spikes, self.limits.max_spikes)
        return dataclasses.replace(
            c,
            y=y,
            spike_times=c.spike_times.at[place].set(c.t, mode="drop"),
            spikes=c.spikes + counts,
            free=c.free if cell.tau_ref is None else jnp.where(counts, c.t + cell.tau_ref, c.free),
            rises=jnp.where(crossed, cell.distance(y) < -_AT_THRESHOLD, c.rises),
        )

    @property
    def power(self) -> Any:
        return -1.0 / self.solver.error_order(None)

    def term(self, held: Array, ends: tuple[Array, Array]) -> Any:
        def slope(t: Array, y: Any, args: Any) -> Any:
            del args
            slopes = self.cell.derivative(y, self.drive(jnp.clip(t, *ends)))
            return eqx.tree_at(lambda s: s.V, slopes, jnp.where(held, 0.0, slopes.V))

        return _diffrax().ODETerm(slope)

    def candidate(self, t: Array, h: Array, y: Any, held: Array) -> tuple[Any, Array]:
        """The state after a step of length `h`, and its error in units of the tolerance."""
        # The drive of this step is that between its ends, where it may jump.
        ends = jnp.nextafter(jnp.maximum(t, _FIRST_TIME), jnp.inf), jnp.nextafter(t + h, t)
        term = self.term(held, ends)
        kept = self.solver.init(term, t, t + h, y, None)
        new, error, _, _, _ = self.solver.step(term, t, t + h, y, None, kept, made_jump=False)
        allowed = lambda a, b: self.limits.atol + self.limits.rtol * jnp.maximum(jnp.abs(a), jnp.abs(b))  # noqa: E731
        ratios = jax.tree.map(lambda e, a, b: jnp.abs(e) / allowed(a, b), error, y, new)
        worst = functools.reduce(jnp.maximum, jax.tree.leaves(ratios))
        return new, jnp.where(jnp.isfinite(worst), jnp.maximum(worst, 1e-10), 1e10)


def _where(condition: Array, a: Any, b: Any) -> Any:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def _within(search: _Search) -> Array:
    """The next length to try: a secant step, or on each third try the middle."""
    width = search.high - search.low
    gap = jnp.where(search.d_high == search.d_low, 1.0, search.d_high - search.d_low)
    part = jnp.where(search.count % 3 == 0, 0.5, jnp.clip(-search.d_low / gap, 0.0, 1.0))
    return search.low + part * width


def _narrowed(search: _Search, h: Array, d: Array, y: Any) -> _Search:
    """The bounds after a try; the distance at the one that stays is halved (the Illinois rule), so that both move."""
    under = d < 0
    return _Search(
        low=jnp.where(under, h, search.low),
        high=jnp.where(under, search.high, h),
        d_low=jnp.where(under, d, search.d_low / 2),
        d_high=jnp.where(under, search.d_high / 2, d),
        y_high=_where(under, search.y_high, y),
        count=search.count + 1,
    )


def _diffrax() -> Any:
    try:
        import diffrax
    except ImportError as error:
        raise ImportError(
            f'`{_OWNER}` needs Diffrax, which is not installed. Install it with `pip install "neurostate[diffrax]"`.'
        ) from error
    return diffrax

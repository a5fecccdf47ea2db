"""What goes from one population to another."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Array, Float, Key, QuantityLike, Shape
from .._drive import Drive
from .._errors import UnitError
from .._units import DIMENSIONS, Unit, family_unit, format_with_units, to_plain
from ..connect._base import AbstractConnection
from ..connect._dense import Dense
from ..connect._event_sparse import EventSparse
from ..plasticity._base import AbstractPlasticity
from ..source._base import AbstractSource
from ..synapse._base import AbstractSynapse
from ..synapse._output import AbstractOutput
from ._delay import Delay, DelayState, as_delay
from ._select import Selector, parse


T = TypeVar("T")


class ProjectionState(eqx.Module):
    """The state of a projection: of its parts, each `None` where there is none.

    - `delay`: What is on its way.
    - `short_term`, `synapse`, `plasticity`: As of these cells.
    - `arrived`: Without a synapse, what arrived in the last step, of shape `(*batch, *out_size)`.
    - `weight`: With plasticity, the weights of now.
    """

    delay: DelayState | None = None
    short_term: Any = None
    synapse: Any = None
    plasticity: Any = None
    arrived: Float[Array, "..."] | None = None
    weight: Float[Array, "..."] | None = None


class Projection(eqx.Module):
    r"""From the spikes of one population to the drive of another, for a [`neurostate.Network`][].

    A spike goes through these parts, of which only the connection must be there:

    `pre -> delay -> short_term -> connection -> synapse -> output -> post`

    A spike in step `n` with a delay of `d` steps arrives at the end of step `n + d`, where the weights are added to
    the conductance of the synapse, and so acts on the neuron behind from step `n + d + 1` on. Without a synapse, what
    arrives at the end of a step acts during the next one: a voltage as a jump, a current for that one step, and a
    number as a current in the unit of the neuron behind.

    The synapse can be behind the connection, one for each neuron there (`align="post"`), which is right where its
    equations are linear; or in front of it, one for each neuron that sends (`align="pre"`), as those need that
    saturate. By default its size tells, and where both populations have one size, whether spikes arrive at it
    (`NMDA`, `AMPA`, ...: in front) or conductances (`Expon`, ...: behind).

    **Arguments:**

    - `pre`, `post`: The names of populations, `pre` with a slice if only a part of it sends: `"E"`, `"N[:800]"`.
    - `connection`: Which neurons, and with which weights.
    - `synapse`: A synapse of the core. What it turns into a drive is in the unit of its `g`.
    - `output`: For a conductance, what makes a current of it: [`neurostate.COBA`][], [`neurostate.CUBA`][] or
        [`neurostate.MgBlock`][].
    - `delay`: An int, a number of steps; or a time, for which the network must be given `dt`. A scalar, one for each
        neuron in front, or one for each synapse in the order of the edges. It can be trained if it is interpolated.
    - `interpolate`: Whether to interpolate between steps, linearly. By default if a delay is not a whole number of
        steps.
    - `max_delay`: The longest delay that training may reach. By default that of the longest one.
    - `short_term`: A [`neurostate.STP`][] or [`neurostate.STD`][] of the size of what sends.
    - `plasticity`: A rule of [`neurostate.plasticity`][], which sees the spikes that arrive, and those of `post`. With
        a delay for each synapse it sees spikes when they are sent.
    - `align`: `"post"` or `"pre"`.

    **Raises:** `TypeError` for what is not such a part, `ValueError` for an unknown `align`. All else the network
    raises, which knows both populations, and names the projection.

    >>> import brainunit as u, neurostate as ns
    >>> edges = ns.connect.Edges([0, 1, 1], [0, 0, 2], in_size=2, out_size=3)
    >>> projection = ns.Projection(
    ...     "A", "B", ns.connect.EventSparse(edges, [1.0, 2.0, 3.0] * u.nS), ns.Expon(3, tau=5 * u.ms, g_unit=u.nS),
    ...     ns.COBA(E=0 * u.mV), delay=[0.5, 1.0, 1.5] * u.ms,
    ... )
    >>> B = ns.LIF(3, R=100 * u.Mohm, tau=20 * u.ms)
    >>> net = ns.Network({"A": ns.SpikeTime(2, [1], [0.0]), "B": B}, {"AB": projection}, dt=0.5 * u.ms)
    >>> print(ns.simulate(net, 4, dt=0.5 * u.ms, record="AB.synapse.g").records["AB.synapse.g"][2:] * 1e3)  # in nS
    [[2.        0.        0.       ]
     [1.8096749 0.        3.       ]]
    """

    connection: AbstractConnection
    synapse: AbstractSynapse[Any] | None
    output: AbstractOutput | None
    short_term: AbstractSynapse[Any] | None
    plasticity: AbstractPlasticity[Any] | None
    delay: Any
    pre: str = eqx.field(static=True)
    post: str = eqx.field(static=True)
    interpolate: bool | None = eqx.field(static=True)
    max_delay: Any
    align: Literal["pre", "post"] | None = eqx.field(static=True)

    def __init__(
        self,
        pre: str,
        post: str,
        connection: AbstractConnection,
        synapse: AbstractSynapse[Any] | None = None,
        output: AbstractOutput | None = None,
        *,
        delay: QuantityLike = None,
        interpolate: bool | None = None,
        max_delay: QuantityLike = None,
        short_term: AbstractSynapse[Any] | None = None,
        plasticity: AbstractPlasticity[Any] | None = None,
        align: Literal["pre", "post"] | None = None,
    ):
        for name, value, kind in (
            ("connection", connection, AbstractConnection),
            ("synapse", synapse, AbstractSynapse),
            ("output", output, AbstractOutput),
            ("short_term", short_term, AbstractSynapse),
            ("plasticity", plasticity, AbstractPlasticity),
        ):
            if not isinstance(value, kind) and not (value is None and name != "connection"):
                needed = kind.__name__.removeprefix("Abstract").lower()
                raise TypeError(f"The `{name}` of a `Projection` must be a {needed} of the core, got {value!r:.60}.")
        if align not in (None, "pre", "post"):
            raise ValueError(f"The `align` of a `Projection` must be 'pre', 'post' or None, got {align!r}.")
        self.pre, self.post, self.connection, self.synapse, self.output = pre, post, connection, synapse, output
        self.delay, self.interpolate, self.max_delay = delay, interpolate, max_delay
        self.short_term, self.plasticity, self.align = short_term, plasticity, align

    def __repr__(self) -> str:
        return format_with_units(self)


class Pathway(eqx.Module):
    """A projection that knows its populations: checked, and in the units of the neurons behind it."""

    connection: AbstractConnection
    synapse: AbstractSynapse[Any] | None
    output: AbstractOutput | None
    short_term: AbstractSynapse[Any] | None
    plasticity: AbstractPlasticity[Any] | None
    delay: Delay | None
    pre: Selector = eqx.field(static=True)
    post: str = eqx.field(static=True)
    in_front: bool = eqx.field(static=True)  # the synapse, of the connection
    acts_as: Literal["current", "jump", "conductance"] = eqx.field(static=True)

    def init_state(self, batch_shape: Shape, key: Key | None) -> ProjectionState:
        keys = (None, None) if key is None else jax.random.split(key)
        weight = plasticity = None
        if self.plasticity is not None:
            shape = (*batch_shape, *self.connection.synapse_shape)
            weight = jnp.broadcast_to(getattr(self.connection, "weight"), shape)
            plasticity = self.plasticity.init_state(self.connection)
            plasticity = jax.tree.map(lambda x: jnp.broadcast_to(x, (*batch_shape, *x.shape)), plasticity)
        has_arrived = self.synapse is None
        return ProjectionState(
            delay=None if self.delay is None else self.delay.init_state(batch_shape),
            short_term=None if self.short_term is None else self.short_term.init_state(batch_shape, keys[0]),
            synapse=None if self.synapse is None else self.synapse.init_state(batch_shape, keys[1]),
            plasticity=plasticity,
            arrived=jnp.zeros((*batch_shape, *self.connection.out_size)) if has_arrived else None,
            weight=weight,
        )

    def drive(self, state: ProjectionState, V: Array | None) -> Drive:
        """What acts on the neurons behind during the step that begins."""
        if self.synapse is None:
            value = state.arrived
        else:
            x = jnp.zeros((), jax.tree.leaves(state.synapse)[0].dtype)
            value = self.synapse.arrive(state.synapse, x)[1]
            if self.in_front:
                value = self._through(value.reshape(*value.shape[: value.ndim - len(self.synapse.size)], -1), state)
        if self.output is not None:
            return self.output.drive(value, V)
        return Drive(jump=value) if self.acts_as == "jump" else Drive(current=value)

    def step(
        self, state: ProjectionState, spike: Array, post: Array, dt: Any, modulator: Any = None
    ) -> ProjectionState:
        """Lets the spikes of this step go on, and arrive."""
        x, delay = spike, state.delay
        late = self.delay is not None and self.delay.kind == "synapse"
        if self.delay is not None and state.delay is not None and not late:
            delay, x = self.delay.send(state.delay, self.connection, x)
        seen, short_term = x, state.short_term
        if self.short_term is not None:
            shaped = x.reshape(*x.shape[:-1], *self.short_term.size)
            short_term, x = self.short_term.step(state.short_term, shaped, dt=dt)
            x = x.reshape(seen.shape)
        if late and self.delay is not None and state.delay is not None:
            connection = self._with(state.weight)
            delay, value = self.delay.send(state.delay, connection, x)
            value = value.reshape(*value.shape[:-1], *self.connection.out_size)
        else:
            value = None if self.in_front else self._through(x, state)
        before = state.weight
        if before is not None and value is not None:
            # Weights change after they were used: then XLA may change them in place, and does not copy them.
            before, value = jax.lax.optimization_barrier((before, value))
        synapse, arrived = state.synapse, value
        if self.synapse is not None:
            given = x.reshape(*x.shape[:-1], *self.synapse.size) if self.in_front else value
            synapse, arrived = self.synapse.step(state.synapse, given, dt=dt)[0], None
        if arrived is not None and state.arrived is not None:
            arrived = arrived.astype(state.arrived.dtype)
        plasticity, weight = self._learn(state, before, seen, post, dt, modulator)
        return ProjectionState(delay, short_term, synapse, plasticity, arrived, weight)

    def _with(self, weight: Array | None) -> AbstractConnection:
        return self.connection if weight is None else eqx.tree_at(lambda c: c.weight, self.connection, weight)

    def _through(self, x: Array, state: ProjectionState) -> Array:
        """Through the connection: from `(*batch, num_in)` to `(*batch, *out_size)`."""
        run = lambda x, weight: self._with(weight)(x.reshape(*x.shape[:-1], *self.connection.in_size))  # noqa: E731
        if state.weight is None:
            return run(x, None)
        for _ in x.shape[:-1]:
            run = jax.vmap(run)
        return run(x, state.weight)

    def _learn(
        self, state: ProjectionState, weight: Array | None, pre: Array, post: Array, dt: Any, modulator: Any
    ) -> Any:
        rule = self.plasticity
        if rule is None:
            return state.plasticity, weight
        learn = lambda s, w, x, y, m: rule.step(s, w, x, y, self._with(w), dt=dt, modulator=m)  # noqa: E731
        batch = pre.shape[:-1]
        modulator = None if modulator is None else jnp.broadcast_to(modulator, batch)
        for _ in batch:
            learn = jax.vmap(learn)
        return learn(state.plasticity, weight, pre, post, modulator)


def as_pathway(projection: Projection, name: str, populations: dict[str, Any], dt: float | None) -> Pathway:
    """Checks a projection against its populations, and puts it into the units of those behind it.

    **Raises:** `ValueError`, `TypeError` or `UnitError` that names the projection.
    """
    owner = f"the projection {name!r}"
    if not isinstance(projection, Projection):
        raise TypeError(f"{owner.capitalize()} must be a `Projection`, got {projection!r:.60}.")
    pre, post = parse(projection.pre, f"The `pre` of {owner}"), projection.post
    for role, of in (("pre", pre.name), ("post", post)):
        if of not in populations or (role == "pre" and pre.path):
            raise ValueError(f"The `{role}` of {owner} is {of!r}; the populations are {list(populations)}.")
    connection, cell = projection.connection, populations[post]
    if isinstance(cell, AbstractSource):
        raise ValueError(f"The `post` of {owner} is {post!r}, a source, on which nothing can act.")
    sending = pre.count(tuple(populations[pre.name].out_size))
    for role, have, need in (("in", sending, connection.in_size), ("out", tuple(cell.size), connection.out_size)):
        if math.prod(have) != math.prod(need):
            of = projection.pre if role == "in" else post
            raise ValueError(f"The connection of {owner} has the `{role}_size` {need}, but {of!r} has the size {have}.")
    if connection.num_synapses == 0:
        raise ValueError(f"The connection of {owner} has no synapses.")
    in_front = _is_in_front(projection, owner)
    connection, synapse, acts_as, given = _in_units_of(projection, cell, in_front, owner)
    delay = as_delay(
        projection.delay,
        connection,
        dt=dt,
        longest=projection.max_delay,
        interpolate=projection.interpolate,
        owner=owner,
    )
    if delay is not None and delay.kind == "synapse" and in_front:
        raise ValueError(f"A delay for each synapse of {owner} needs a synapse behind the connection: `align='post'`.")
    short_term = projection.short_term
    if short_term is not None and math.prod(short_term.size) != math.prod(connection.in_size):
        raise ValueError(f"The `short_term` of {owner} has the size {short_term.size}, not {connection.in_size}.")
    if projection.plasticity is not None and not isinstance(getattr(connection, "weight", None), jax.Array):
        raise ValueError(f"The connection of {owner}, `{type(connection).__name__}`, has no weights that learn.")
    _check_values(connection, delay, short_term, in_front, owner)
    rule = projection.plasticity
    if rule is not None:
        rule = rule.in_unit(given).in_unit(connection.I_unit)
        if isinstance(connection, Dense) and connection.sign is not None:  # a rule acts on what the sign is put to
            connection = eqx.tree_at(lambda c: c.weight, connection, jnp.abs(connection.weight))
    return Pathway(connection, synapse, projection.output, short_term, rule, delay, pre, post, in_front, acts_as)


def _check_values(
    connection: AbstractConnection, delay: Delay | None, short_term: Any, in_front: bool, owner: str
) -> None:
    """Refuses to take for a whole spike what is a part of one."""
    divided = delay is not None and delay.kind != "synapse" and not jnp.issubdtype(delay.lag.dtype, jnp.integer)
    why = {"an interpolated delay": divided, "`short_term`": short_term is not None, "a synapse in front": in_front}
    found = [text for text, is_so in why.items() if is_so]
    if isinstance(connection, EventSparse) and connection.values == "binary" and found:
        raise ValueError(
            f"The connection of {owner} takes each value for a whole spike (`values='binary'`), but {found[0]} gives "
            "it parts of spikes. Use `values='graded'`."
        )


def _is_in_front(projection: Projection, owner: str) -> bool:
    synapse, connection = projection.synapse, projection.connection
    if synapse is None:
        return False
    size = math.prod(synapse.size)
    fits = {"pre": size == math.prod(connection.in_size), "post": size == math.prod(connection.out_size)}
    takes_spikes = synapse.out_unit is None
    align = projection.align or ("pre" if fits["pre"] and (takes_spikes or not fits["post"]) else "post")
    if not fits[align]:
        need = connection.in_size if align == "pre" else connection.out_size
        raise ValueError(f"The synapse of {owner} has the size {synapse.size}, but needs {need} (align={align!r}).")
    return align == "pre"


def _in_units_of(projection: Projection, cell: Any, in_front: bool, owner: str) -> Any:
    """The connection and the synapse in the units of the neurons behind, what they act as, and the unit of the weights
    as they were given."""
    connection, synapse, output = projection.connection, projection.synapse, projection.output
    given: Any = connection.unit
    if synapse is not None and not in_front:
        if given is not None and (synapse.out_unit is None or given.dim != synapse.out_unit.dim):
            raise UnitError(
                f"The weights of {owner} have the unit {given}, but its `{type(synapse).__name__}` takes "
                f"{'plain numbers' if synapse.out_unit is None else f'a unit like {synapse.out_unit}'}. Give `g_unit`."
            )
        given = synapse.out_unit if given is None else given
    current: Any = cell.I_unit
    voltage: Any = cell.state_unit("V")
    conductance: Any = family_unit("conductance", current) if voltage is not None else current
    same = lambda unit: unit is not None and given is not None and unit.dim == given.dim  # noqa: E731
    needed: Any
    if output is not None:
        acts_as, needed = "conductance", conductance
        fits = given is None or same(conductance)
    elif same(voltage):
        acts_as, needed, fits = "jump", voltage, True
    else:
        acts_as, needed, fits = "current", current, given is None or same(current)
    if not fits:
        cure = (
            "Give an `output` such as `COBA(E=0 * u.mV)`." if same(conductance) else "Are the weights in a wrong unit?"
        )
        raise UnitError(
            f"What arrives through {owner} has the unit {given}, but {projection.post!r} needs "
            f"{'a conductance, in ' if output is not None else 'a current or a voltage, in '}{needed}. {cure}"
        )
    behind: Any = synapse.out_unit if synapse is not None and not in_front else None
    unit: Any = connection.unit or behind or needed  # plain weights are in the unit that they are added to
    if connection.I_unit != needed:
        connection = connection.scaled(1.0 if unit == needed else _factor(unit, needed), needed)
    if synapse is not None and behind is not None and behind != needed:
        synapse = converted(synapse, needed)
    return connection, synapse, acts_as, unit


def _factor(old: Any, new: Any) -> float:
    return float(to_plain(1.0 * old, new, "weight"))


def converted(cell: T, unit: Unit) -> T:
    """A synapse in another unit of its conductance."""
    old = getattr(cell, "I_unit")
    copy = object.__new__(type(cell))
    for field in dataclasses.fields(cell):  # pyright: ignore[reportArgumentType]
        value, dimension = getattr(cell, field.name), field.metadata.get("dimension")
        exponents = DIMENSIONS[dimension] if isinstance(dimension, str) else dimension
        if field.name == "I_unit":
            value = unit
        elif exponents and exponents[2]:
            factor = _factor(old, unit) ** exponents[2]
            value = jax.tree.map(lambda x, f=factor: x * f if eqx.is_inexact_array(x) else x, value)
        object.__setattr__(copy, field.name, value)
    return copy

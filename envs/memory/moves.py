"""What the three moves of an event would do: section by section the table of actions in ``docs/memory.md``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.memory import space as sp
from dispatchgym.envs.memory.problem import NEVER, Event, MemoryProblem
from dispatchgym.envs.memory.space import Space
from dispatchgym.instances.memory.instance import READ, UPDATE, WRITE
from dispatchgym.instances.memory.plan import NONE

DROP, NO_COPY, COPY = 0, 1, 2


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Moves:
    """The moves of the current event, in the order Drop, NoCopy, Copy; anything where not legal."""

    legal: Any  # bool[3]
    first: Any  # i32[3]  steps first..last are newly reserved in fast memory; none where first > last
    last: Any  # i32[3]
    low: Any  # i32[3]  granule; NONE: the storage is not in fast memory afterwards
    new: Any  # bool[3]  a rectangle of its own; otherwise the newest one of the storage is prolonged
    held: Any  # i32[3]  last step of the storage's stay afterwards, NONE without one
    ready: Any  # i32[3]  step after which slow memory holds the contents, NEVER: not yet
    copy_in: Any  # i32[3]  exclusive start of a copy that ends before the step, NONE
    copy_out: Any  # i32[3]  last step of a copy that starts after the step, NONE


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MemoryState:
    """A partial mapping. Times are in ticks, space in granules."""

    k: Any  # i32[]  the event to decide
    space: Space  # of R = U rectangles
    inward: Any  # i32[T + 1]  supply left for copies to fast memory, of the steps before each
    outward: Any  # i32[T + 1]  the same for copies back
    saved: Any  # i32[T]  gains of the events served so far
    load: Any  # i32[T]  granules reserved
    latency: Any  # i32[]
    low: Any  # i32[B]  offset of the newest stay, NONE: not in fast memory
    held: Any  # i32[B]  last step of it
    ready: (
        Any  # i32[B]  step after which slow memory holds the contents; -1 parameters, NEVER: only fast memory has them
    )
    copy_in: Any  # i32[U]  of the decided events, as in ``Plan``; NONE - 1: served from slow memory, or not decided
    copy_out: Any  # i32[U]
    moves: Moves


def current(problem: MemoryProblem, k: Array) -> Event:
    """The k-th event; after the last one padding of kind -1."""
    return Event(*problem.events[k])


def consider(problem: MemoryProblem, state: MemoryState, free: bool) -> Moves:
    """The moves of the current event; ``free``: copies back cost nothing."""
    e = current(problem, state.k)
    capacity, steps = problem.instance.capacity, problem.instance.n_steps
    read, write, update = e.kind == READ, e.kind == WRITE, e.kind == UPDATE
    low, held, ready = state.low[e.buffer], state.held[e.buffer], state.ready[e.buffer]
    resident = low >= 0
    is_held = resident & (held >= e.step)
    in_slow = ready < e.step
    start = sp.latest(state.inward, e.step, e.demand)
    can_come = in_slow & (start >= ready) & (start >= -1)
    end = sp.finish(state.outward, e.step, e.demand)
    can_go = (end < steps) & (end < e.next_write) if not free else jnp.bool_(True)
    end = jnp.minimum(end, steps - 1)

    # Without a copy: to the last use (a pin), or from the end of the stay to this use.
    pinned = e.step if free else jnp.where(read, e.step, e.last)
    after_stay = held + 1
    until = jnp.where(read, e.step, e.step if free else end)
    copy_first = jnp.where(write, e.step, start + 1)
    spans = (jnp.stack([e.step, copy_first]), jnp.stack([pinned, until]))
    pin_low, copy_low = sp.first_fits(state.space, *spans, e.granules, capacity)
    prolonged = resident & sp.is_free(state.space, after_stay, pinned, low, e.granules)
    may_pin = True if free else ~(e.output > 0)
    no_copy = jnp.where(write, may_pin & (pin_low < NEVER), prolonged & (read | may_pin))
    no_copy_low = jnp.where(write, pin_low, low)

    # With copies: in before a read, back after a write; an update needs both unless its storage is there.
    from_stay = update & resident & sp.is_free(state.space, after_stay, until, low, e.granules) & (not free)
    fetched = can_come & (copy_low < NEVER)
    copy = jnp.where(
        read,
        ~is_held & fetched,
        jnp.where(
            write,
            can_go & ((e.last > e.step) | (e.output > 0)) & (copy_low < NEVER) & (not free),
            can_go & (from_stay | (fetched & ~(is_held & free))),
        ),
    )
    drop = jnp.where(read, ~is_held & in_slow, write | in_slow)

    slow_after = jnp.where(read, ready, e.step)  # of Drop, and where copies back are free
    comes = (copy_first <= e.step) & (read | (update & ~from_stay))
    goes = ~read & (not free)
    fetch_from = jnp.where(from_stay, after_stay, copy_first)

    def three(a: Any, b: Any, c: Any) -> Array:
        return jnp.stack([jnp.asarray(x, jnp.int32) for x in (a, b, c)])

    return Moves(
        legal=jnp.stack([drop, no_copy, copy]) & (e.kind >= 0),
        first=three(1, jnp.where(write, e.step, after_stay), fetch_from),
        last=three(0, pinned, until),
        low=three(NONE, no_copy_low, jnp.where(from_stay, low, copy_low)),
        new=jnp.stack([jnp.bool_(False), write, ~from_stay]),
        held=three(
            NONE,
            jnp.where(write, pinned, jnp.maximum(held, pinned)),
            jnp.where(from_stay, jnp.maximum(held, until), until),
        ),
        ready=three(
            slow_after,
            jnp.where(read, ready, e.step if free else NEVER),
            jnp.where(read, ready, e.step if free else end),
        ),
        copy_in=three(NONE, NONE, jnp.where(comes, start, NONE)),
        copy_out=three(NONE, NONE, jnp.where(goes, end, NONE)),
    )


def play(problem: MemoryProblem, state: MemoryState, action: Array) -> tuple[MemoryState, Array, Array]:
    """(state with the next event, its moves not considered; ticks saved; benefit collected) of a legal action."""
    e = current(problem, state.k)
    m = jax.tree.map(lambda x: x[jnp.clip(action, 0, 2)], state.moves)
    served = (m.low >= 0) & (e.kind >= 0)
    steps = jnp.arange(state.load.shape[0])
    reserved = served & (steps >= m.first) & (steps <= m.last)
    before = step_time(problem, e.step, state.saved[e.step])
    saved = state.saved.at[e.step].add(jnp.where(served, e.gain, 0))
    shorter = before - step_time(problem, e.step, saved[e.step])
    until = jnp.where(served & ~m.new, state.held[e.buffer], NONE)
    none = jnp.int32(0)
    after = replace(
        state,
        k=state.k + 1,
        space=sp.reserve(
            state.space, m.first, jnp.where(served, m.last, NONE), m.low, e.granules, served & m.new, until
        ),
        inward=sp.consume_before(state.inward, e.step, jnp.where(m.copy_in == NONE, none, e.demand)),
        outward=sp.consume_after(state.outward, e.step, jnp.where(m.copy_out == NONE, none, e.demand)),
        saved=saved,
        load=state.load + jnp.where(reserved, e.granules, 0),
        latency=state.latency - shorter,
        low=state.low.at[e.buffer].set(m.low),
        held=state.held.at[e.buffer].set(m.held),
        ready=state.ready.at[e.buffer].set(m.ready),
        copy_in=state.copy_in.at[state.k].set(jnp.where(served, m.copy_in, NONE - 1), mode="drop"),
        copy_out=state.copy_out.at[state.k].set(m.copy_out, mode="drop"),
    )
    return after, shorter, jnp.where(served, e.benefit, 0)


def step_time(problem: MemoryProblem, t: Array, saved: Array) -> Array:
    """i32[]: ticks of step t with gains of ``saved``."""
    return jnp.maximum(problem.instance.compute[t], problem.instance.memory[t] - saved)

"""How time passes on the chip: start what can start until the next moment at which something can be decided.

A PE that is idle starts, among the tasks committed to it whose data have arrived, the one committed first. The jump is exact
because a task that has not started can neither finish nor let its job leave before the earliest start of any PE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.soc.problem import NEVER, SocProblem, actual
from dispatchgym.envs.soc.state import SocState, take


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Drain:
    """What changes while queues drain."""

    until: Any  # i32[]  the next moment at which something can be decided, as far as known
    unstarted: Any
    completion: Any
    waiting: Any
    ready: Any
    queued: Any
    finish: Any
    free: Any
    expected: Any
    backlog: Any
    queue: Any
    first_data: Any


def release(problem: SocProblem, state: SocState) -> Array:
    """i32[]: from when on the next job may enter; NEVER if there is none."""
    k = jnp.minimum(state.admitted, problem.gap.shape[0] - 1)
    opened, closed = take(problem.arrival, k), state.last_admission + take(problem.gap, k)
    return jnp.where(state.admitted < problem.n_jobs, jnp.where(problem.closed, closed, opened), NEVER)


def drain(problem: SocProblem, state: SocState, active: Array) -> tuple[SocState, Array]:
    """(state with all starts before the next decision, that moment or NEVER); unchanged where not ``active``.

    Under vmap all lanes wait for the one with most starts. Starting several PEs at once, a loop of fixed length and one
    start a step, so that no lane waits, are measured against this form in ``benchmarks/event_loop.py``.
    """
    carry, more, start_one = pieces(problem, state, active)
    return drained(state, jax.lax.while_loop(more, start_one, carry))


def drained(state: SocState, end: Drain) -> tuple[SocState, Array]:
    """(the state after these starts, the next moment at which something can be decided)."""
    moved = {name: getattr(end, name) for name in end.__dataclass_fields__ if name != "until"}
    return replace(state, **moved), end.until


def pieces(
    problem: SocProblem, state: SocState, active: Array
) -> tuple[Drain, Callable[[Drain], Array], Callable[[Drain], Drain]]:
    """(what changes in the loop, whether a PE starts before the next decision, the first such start)."""
    slots, tasks = state.pe.shape
    released = release(problem, state)
    in_system = state.job >= 0
    full = in_system.sum() >= problem.cap

    def entry(left: Array, completion: Array) -> Array:
        """When the next job enters, as far as known."""
        leaves = jnp.where(in_system & (left == 0), completion, NEVER).min()
        return jnp.where(full, jnp.maximum(released, leaves), released)

    undecided = (state.waiting == 0) & (state.pe < 0)
    until = jnp.minimum(jnp.where(undecided, state.ready, NEVER).min(), entry(state.unstarted, state.completion))
    carry = Drain(
        until,
        state.unstarted,
        state.completion,
        state.waiting,
        state.ready,
        state.queued,
        state.finish,
        state.free,
        state.expected,
        state.backlog,
        state.queue,
        state.first_data,
    )
    flat_pe, flat_order = state.pe.ravel(), state.order.ravel()
    slot_template = take(problem.template, jnp.maximum(state.job, 0))

    def more(c: Drain) -> Array:
        return active & (jnp.maximum(c.free, c.first_data).min() < c.until)

    def start_one(c: Drain) -> Drain:
        at = jnp.maximum(c.free, c.first_data)
        p = jnp.argmin(at).astype(jnp.int32)
        begin = at[p]
        queued = c.queued.ravel()
        here = flat_pe == p
        code = jnp.argmin(jnp.where(here & (queued <= begin), flat_order, NEVER)).astype(jnp.int32)
        j, i = code // tasks, code % tasks
        template = take(slot_template, j)
        end = begin + actual(problem, take(state.job, j), template, i, p)
        shown = take(problem.shown, template, i, p)
        queued = queued.at[code].set(NEVER)
        left = c.unstarted.at[j].add(-1)
        completion = c.completion.at[j].max(end)
        after = take(problem.successors, template, i)
        waiting = c.waiting.at[j, after].add(-1, mode="drop")
        ready = c.ready.at[j, after].max(end, mode="drop")
        inside = jnp.minimum(after, tasks - 1)
        opened = (after < tasks) & (take(waiting, j, inside) == 0)
        until = jnp.minimum(c.until, jnp.where(opened, take(ready, j, inside), NEVER).min())
        return Drain(
            until=jnp.minimum(until, entry(left, completion)),
            unstarted=left,
            completion=completion,
            waiting=waiting,
            ready=ready,
            queued=queued.reshape(slots, tasks),
            finish=c.finish.at[j, i].set(end),
            free=c.free.at[p].set(end),
            expected=c.expected.at[p].set(begin + shown),
            backlog=c.backlog.at[p].add(-shown),
            queue=c.queue.at[p].add(-1),
            first_data=c.first_data.at[p].set(jnp.where(here, queued, NEVER).min()),
        )

    return carry, more, start_one


def depart_and_admit(problem: SocProblem, state: SocState, active: Array) -> SocState:
    """Let jobs that are complete leave, then admit what may enter, at ``state.now``."""
    now = state.now
    leaves = (state.job >= 0) & (state.unstarted == 0) & (state.completion <= now) & active
    free = (state.job < 0) | leaves
    room = jnp.maximum(problem.cap - (~free).sum(), 0)
    index = jnp.arange(problem.gap.shape[0])
    arrived = ((problem.arrival <= now) & (index >= state.admitted)).sum()
    k = jnp.minimum(state.admitted, problem.gap.shape[0] - 1)
    opened = release(problem, state) <= now
    enter = jnp.where(problem.closed, jnp.where(opened, take(problem.together, k), 0), arrived)
    enter = jnp.where(active, jnp.minimum(enter, room), 0).astype(jnp.int32)
    place = jnp.cumsum(free).astype(jnp.int32) - 1
    new = free & (place < enter)
    job = jnp.where(new, state.admitted + place, jnp.where(leaves, -1, state.job))
    known = jnp.maximum(job, 0)
    template = take(problem.template, known)
    n_tasks = take(problem.n_tasks, template)
    gone = free[:, None]  # rows to clear, whether a new job takes them or not
    started = new[:, None]
    waiting = take(problem.n_predecessors, template)
    return replace(
        state,
        admitted=state.admitted + enter,
        departed=state.departed + leaves.sum().astype(jnp.int32),
        last_admission=jnp.where(enter > 0, now, state.last_admission),
        job=job,
        arrival=jnp.where(new, jnp.where(problem.closed, now, take(problem.arrival, known)), state.arrival),
        unstarted=jnp.where(new, n_tasks, state.unstarted),
        uncommitted=jnp.where(new, n_tasks, state.uncommitted),
        work=jnp.where(new, take(problem.work, template), state.work),
        completion=jnp.where(new, 0, state.completion),
        waiting=jnp.where(started, waiting, jnp.where(gone, 1, state.waiting)),
        ready=jnp.where(started, now, state.ready),
        pe=jnp.where(gone, -1, state.pe),
        queued=jnp.where(gone, NEVER, state.queued),
        finish=jnp.where(gone, NEVER, state.finish),
    )


def flow_until(problem: SocProblem, state: SocState, moment: Array) -> Array:
    """i32[]: time that jobs in the system or waiting outside spend between ``state.now`` and ``moment``."""
    known = jnp.where(state.unstarted == 0, state.completion, NEVER)
    inside = jnp.where(state.job >= 0, jnp.minimum(known, moment) - state.now, 0)
    outside = jnp.arange(problem.arrival.shape[0]) >= state.admitted
    arrived = jnp.where(outside, moment - jnp.maximum(problem.arrival, state.now), 0)
    return jnp.maximum(inside, 0).sum() + jnp.maximum(arrived, 0).sum()

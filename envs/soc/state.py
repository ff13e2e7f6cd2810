"""The state of a chip, and the candidates it offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.soc.problem import NEVER, SocProblem


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SocState:
    """J job slots of T tasks, M PEs. Times are in ticks, absolute; NEVER = not known yet.

    All ready tasks became ready now: time advances only when none is left.
    """

    now: Any  # i32[]
    admitted: Any  # i32[]     jobs admitted so far
    departed: Any  # i32[]     jobs complete
    last_admission: Any  # i32[]
    decisions: Any  # i32[]     tasks committed so far
    n_ready: Any  # i32[]     ready tasks
    flow: Any  # i32[]     total flow time so far
    job: Any  # i32[J]     job in the slot, -1 = free
    arrival: Any  # i32[J]
    unstarted: Any  # i32[J]     tasks whose finish is not known
    uncommitted: Any  # i32[J]
    work: Any  # i32[J]     smallest shown times of the uncommitted tasks
    completion: Any  # i32[J]     largest known finish
    waiting: Any  # i32[J, T]  predecessors whose finish is not known; more than 0 in padding and free slots
    ready: Any  # i32[J, T]  largest known finish of the predecessors; admission for a head
    pe: Any  # i32[J, T]  PE it is committed to, -1 = none
    queued: Any  # i32[J, T]  when its data are on the PE, while it is committed and not started; else NEVER
    order: Any  # i32[J, T]  number of its commit
    finish: Any  # i32[J, T]  actual, known from the start on, and not to be shown before it is over
    free: Any  # i32[M]     actual finish of the last start
    expected: Any  # i32[M]     start + shown time of the last start
    backlog: Any  # i32[M]     shown times of the queued tasks
    queue: Any  # i32[M]     queued tasks
    first_data: Any  # i32[M]     smallest ``queued`` on the PE
    window: Any  # i32[K]     slot * T + task of the visible ready tasks, by job, then task; -1 = none


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Candidates:
    """The visible tasks, and what each would meet on each PE; times are absolute."""

    occupied: Any  # bool[K]
    slot: Any  # i32[K]
    task: Any  # i32[K]
    template: Any  # i32[K]
    time: Any  # i32[K, M]  shown time, -1 = not supported
    data_ready: Any  # i32[K, M]
    start: Any  # i32[K, M]  expected
    finish: Any  # i32[K, M]  expected; NEVER where not supported or not occupied
    mask: Any  # bool[K, M]


def take(table: Array, *index: Array) -> Array:
    """table[index] for indices known to be inside: without the checks that would double its cost."""
    return table.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def data_ready(problem: SocProblem, state: SocState, slot: Array, task: Array, template: Array) -> Array:
    """i32[M]: when all data of a task would be on each PE, now at the earliest."""
    before = take(problem.predecessors, template, task)  # [P]
    delay = take(problem.arrival_delay, template, task)  # [P, C]
    source = jnp.maximum(take(state.pe, slot, before), 0)
    finish = take(state.finish, slot, before)
    link = take(problem.link, source)  # [P, M]
    transfer = jnp.zeros_like(link)
    for c in range(delay.shape[-1]):
        transfer = jnp.where(link == c, delay[:, c, None], transfer)
    there = jnp.where(delay[:, :1] >= 0, finish[:, None] + transfer, 0)
    return jnp.maximum(there.max(0), state.now)


def expected_free(state: SocState) -> Array:
    """i32[M]: when the PE's running and queued work is expected to be done, by shown times (an overdue task: next tick)."""
    running = state.free > state.now
    residual = jnp.where(running, jnp.maximum(state.expected, state.now + 1), state.now)
    return residual + state.backlog


def candidates(problem: SocProblem, state: SocState) -> Candidates:
    """What the window offers."""
    tasks = state.pe.shape[1]
    occupied = state.window >= 0
    code = jnp.maximum(state.window, 0)
    slot, task = code // tasks, code % tasks
    template = take(problem.template, jnp.maximum(take(state.job, slot), 0))
    time = take(problem.shown, template, task)
    arrived = jax.vmap(data_ready, (None, None, 0, 0, 0))(problem, state, slot, task, template)
    start = jnp.maximum(expected_free(state), arrived)
    mask = occupied[:, None] & (time >= 0)
    return Candidates(
        occupied, slot, task, template, time, arrived, start, jnp.where(mask, start + time, NEVER), mask
    )  # fmt: skip


def window(state: SocState, size: int) -> tuple[Array, Array]:
    """(i32[K] the first ready tasks by job and task as slot * T + task, i32[] number of ready tasks)."""
    slots, tasks = state.pe.shape
    is_ready = (state.waiting == 0) & (state.pe < 0) & (state.ready <= state.now)
    count = is_ready.sum(1)
    earlier = (state.job < state.job[:, None]) & (state.job >= 0)
    place = jnp.where(earlier, count, 0).sum(1)[:, None] + jnp.cumsum(is_ready, 1) - 1
    place = jnp.where(is_ready & (place < size), place, size)
    code = jnp.arange(slots * tasks, dtype=jnp.int32)
    chosen = jnp.full(size, -1, jnp.int32).at[place.ravel()].set(code, mode="drop")
    return chosen, count.sum().astype(jnp.int32)

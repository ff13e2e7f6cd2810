"""A partial schedule of a workflow, and what the planning of one task does to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.slots import NEVER, earliest_gap, earliest_start, insert
from dispatchgym.envs.workflow.problem import WorkflowProblem


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WorkflowState:
    """T tasks on M processors. Times are in the instance's units."""

    processor: Any  # i32[T]  -1 while unplanned
    start: Any  # i32[T]  -1 while unplanned
    finish: Any  # i32[T]  -1 while unplanned
    waits_for: Any  # i32[T]  unplanned predecessors; -1 once planned, and where padded
    released: Any  # i32[T]  last finish of the planned predecessors
    data_ready: (
        Any  # i32[T, M]  last arrival of their data on the processor; online not before the clock of its planning
    )
    earliest: (
        Any  # i32[T, M]  insertion: start of a task without unplanned predecessors; anything for others. Else [0, M]
    )
    slot_start: Any  # i32[M, T]  insertion: planned tasks by time, NEVER = unused. Else [M, 0]
    slot_end: Any  # i32[M, T]
    last_finish: Any  # i32[M]
    work: Any  # i32[M]  of planned tasks
    makespan: Any  # i32[]
    planned: Any  # i32[]
    now: Any  # i32[]  online: the clock; otherwise NEVER, which hides nothing
    window: Any  # i32[K]  ready tasks of lowest number, T = none


def begin(problem: WorkflowProblem, window: int, insertion: bool, online: bool) -> WorkflowState:
    """Nothing is planned; at most ``window`` ready tasks can be chosen from."""
    tasks, processors = problem.supported.shape
    slots = tasks if insertion else 0
    none = jnp.full(tasks, -1, jnp.int32)
    zeros = jnp.zeros((tasks, processors), jnp.int32)
    state = WorkflowState(
        processor=none,
        start=none,
        finish=none,
        waits_for=jnp.where(problem.real, problem.predecessors, -1),
        released=jnp.zeros(tasks, jnp.int32),
        data_ready=zeros,
        earliest=zeros[:slots],
        slot_start=jnp.full((processors, slots), NEVER, jnp.int32),
        slot_end=jnp.full((processors, slots), NEVER, jnp.int32),
        last_finish=zeros[0],
        work=zeros[0],
        makespan=jnp.int32(0),
        planned=jnp.int32(0),
        now=jnp.int32(0 if online else NEVER),
        window=jnp.zeros(window, jnp.int32),
    )
    return replace(state, window=_window(ready(state), window))


def ready(state: WorkflowState) -> Array:
    """bool[T]: tasks that can be planned now. The clock, where it runs, hides those whose predecessors still run."""
    return (state.waits_for == 0) & (state.released <= state.now)


def starts(state: WorkflowState, task: Any) -> Array:
    """i32[..., M]: where ready tasks would start on each processor; ``task`` is a number or an array of them."""
    if state.earliest.shape[0]:
        return state.earliest[task]
    return jnp.maximum(state.data_ready[task], state.last_finish)


def plan(problem: WorkflowProblem, state: WorkflowState, task: Array, processor: Array, online: bool) -> WorkflowState:
    """The state after a ready task got its place on a processor."""
    duration = problem.duration[task, processor]
    slot_start, slot_end = state.slot_start, state.slot_end
    insertion = state.earliest.shape[0] > 0
    if insertion:
        arrived = state.data_ready[task, processor]
        start, slot = earliest_gap(slot_start[processor], slot_end[processor], arrived, duration)
        slot_start = slot_start.at[processor].set(insert(slot_start[processor], slot, start))
        slot_end = slot_end.at[processor].set(insert(slot_end[processor], slot, start + duration))
    else:
        start = starts(state, task)[processor]
    finish = start + duration
    successor = problem.successor[task]
    elsewhere = jnp.arange(state.work.shape[0]) != processor
    delay = problem.successor_volume[task][:, None] // problem.instance.bandwidth[processor] * elsewhere
    arrival = finish + delay
    if online:
        # Planned after its predecessors and never before now: the clock stands while a visible task waits to be planned.
        arrival = jnp.maximum(arrival, state.now)
    after = replace(
        state,
        processor=state.processor.at[task].set(processor),
        start=state.start.at[task].set(start),
        finish=state.finish.at[task].set(finish),
        waits_for=state.waits_for.at[task].set(-1).at[successor].add(-1, mode="drop"),
        released=state.released.at[successor].max(finish, mode="drop"),
        data_ready=state.data_ready.at[successor].max(arrival, mode="drop"),
        slot_start=slot_start,
        slot_end=slot_end,
        last_finish=state.last_finish.at[processor].max(finish),
        work=state.work.at[processor].add(duration),
        makespan=jnp.maximum(state.makespan, finish),
        planned=state.planned + 1,
    )
    if insertion:
        after = replace(after, earliest=_earliest(problem, after, processor, successor))
    if online:
        waiting = after.waits_for == 0
        next_release = jnp.where(waiting, after.released, NEVER).min()
        idle = ~(waiting & (after.released <= after.now)).any() & waiting.any()
        after = replace(after, now=jnp.where(idle, next_release, after.now))
    return replace(after, window=_window(ready(after), state.window.shape[0]))


def _earliest(problem: WorkflowProblem, state: WorkflowState, processor: Array, successor: Array) -> Array:
    """``earliest`` after a task was planned on ``processor``: other columns can only have changed for its successors."""
    column = earliest_start(
        state.slot_start[processor],
        state.slot_end[processor],
        state.data_ready[:, processor],
        problem.duration[:, processor],
    )
    task = jnp.minimum(successor, problem.real.shape[0] - 1)
    rows = earliest_start(state.slot_start, state.slot_end, state.data_ready[task], problem.duration[task])
    return state.earliest.at[:, processor].set(column).at[successor].set(rows, mode="drop")


def _window(ready: Array, size: int) -> Array:
    """i32[size]: the ready tasks of lowest number, then T."""
    tasks = ready.shape[0]
    place = jnp.where(ready, jnp.cumsum(ready) - 1, size)
    none = jnp.full(size, tasks, jnp.int32)
    return none.at[place].set(jnp.arange(tasks, dtype=jnp.int32), mode="drop")

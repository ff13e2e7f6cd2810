"""``dispatchgym/JobShop-v0``: build a schedule one operation at a time; the action is the job whose next operation comes next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from dispatchgym.envs.core import Array, Environment
from dispatchgym.envs.graph import GraphObservation
from dispatchgym.envs.job_shop.problem import JobShopProblem, columns, prepare
from dispatchgym.envs.job_shop.spec import graph_spec
from dispatchgym.envs.slots import NEVER, earliest_gap, insert
from dispatchgym.instances.base import DispatchGymError
from dispatchgym.instances.job_shop.instance import JobShopInstance, JobShopSize

SCHEMES = ("semi_active", "non_delay", "giffler_thompson", "left_shift")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class JobShopState:
    """A partial schedule. Times are in the instance's units."""

    next_operation: Any  # i32[J]     operations of job j scheduled so far
    machine: Any  # i32[J]     machine of the job's next operation; 0 once it is finished
    duration: Any  # i32[J]     its processing time; 0 once the job is finished
    after_machine: (
        Any  # i32[J]     the same for the operation after it; kept here because gathers cost more than memory
    )
    after_duration: Any  # i32[J]
    job_ready: Any  # i32[J]     completion of the job's last scheduled operation
    job_work: Any  # i32[J]     unscheduled work
    machine_ready: Any  # i32[M]     largest completion time on the machine
    machine_work: Any  # i32[M]     unscheduled work
    queue: Any  # i32[M]     jobs whose next operation is on the machine
    first_completion: Any  # i32[M]     smallest completion time among these, NEVER if there are none
    makespan: Any  # i32[]     largest completion time so far
    lower_bound: Any  # i32[]     of the makespan, given the partial schedule
    remaining: Any  # i32[]     operations without a start time
    start: Any  # i32[J, K]  start time, -1 while unscheduled
    slot_start: Any  # i32[M, Q]  scheme left_shift: operations of the machine by time, NEVER = unused; else Q = 0
    slot_end: Any  # i32[M, Q]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Candidates:
    """Whether a job has a next operation, and where it would start; 0 for finished jobs."""

    open: Any  # bool[J]
    start: Any  # i32[J]


class JobShop(Environment[JobShopInstance, JobShopProblem, JobShopState]):
    """Job shop scheduling by dispatching (Pinedo, *Scheduling*, ch. 7; the MDP of L2D, arXiv 2010.12367).

    ``scheme`` fixes which candidates are legal and where the chosen operation starts:

    * ``semi_active``: any unfinished job; start = max(job ready, machine ready).
    * ``non_delay``: only operations that can start at the earliest possible time.
    * ``giffler_thompson``: only the conflict set of the machine with the earliest completion (Giffler & Thompson 1960).
    * ``left_shift``: any unfinished job; start in the earliest idle gap of the machine that fits (L2D).

    Reward: minus the increase of the makespan's lower bound, max over jobs of (ready + work left) and over machines of
    (ready + work left); with ``left_shift`` a machine counts its load alone, since later operations may fill its gaps.
    The sum is exactly ``offset - makespan``, with ``offset`` = max(longest job, largest load).
    """

    family = "job_shop"
    sense = "min"
    unit = "time"
    render_modes = ("rgb_array", "ansi")

    def __init__(self, size: JobShopSize, scheme: str = "semi_active") -> None:
        if scheme not in SCHEMES:
            raise DispatchGymError(f"unknown scheme {scheme!r}; choose one of {', '.join(SCHEMES)}")
        self.size = size
        self.scheme = scheme
        self.graph = graph_spec(size)
        self.action_space = gymnasium.spaces.Discrete(size.jobs)
        self.max_steps = size.jobs * size.operations
        self.slots = size.jobs * size.visits if scheme == "left_shift" else 0

    def prepare(self, instance: JobShopInstance) -> JobShopProblem:
        return prepare(self.size, instance)

    def reset(self, problem: JobShopProblem) -> JobShopState:
        jobs, machines, width, _ = self.size
        return JobShopState(
            next_operation=jnp.zeros(jobs, jnp.int32),
            machine=problem.machine[:, 0],
            duration=problem.duration[:, 0],
            after_machine=problem.machine[:, 1] if width > 1 else jnp.zeros(jobs, jnp.int32),
            after_duration=problem.duration[:, 1] if width > 1 else jnp.zeros(jobs, jnp.int32),
            job_ready=jnp.zeros(jobs, jnp.int32),
            job_work=problem.work_before[:, -1],
            machine_ready=jnp.zeros(machines, jnp.int32),
            machine_work=problem.machine_load,
            queue=problem.queue,
            first_completion=problem.first_completion,
            makespan=jnp.int32(0),
            lower_bound=problem.lower_bound,
            remaining=problem.operations,
            start=jnp.full((jobs, width), -1, jnp.int32),
            slot_start=jnp.full((machines, self.slots), NEVER, jnp.int32),
            slot_end=jnp.full((machines, self.slots), NEVER, jnp.int32),
        )

    def advance(self, problem: JobShopProblem, state: JobShopState, action: Array) -> tuple[JobShopState, Array]:
        job = jnp.clip(action, 0, self.size.jobs - 1)
        k = state.next_operation[job]
        machine, duration = state.machine[job], state.duration[job]
        ready = state.job_ready[job]
        slot_start, slot_end = state.slot_start, state.slot_end
        if self.scheme == "left_shift":
            start, slot = earliest_gap(slot_start[machine], slot_end[machine], ready, duration)
            slot_start = slot_start.at[machine].set(insert(slot_start[machine], slot, start))
            slot_end = slot_end.at[machine].set(insert(slot_end[machine], slot, start + duration))
        else:
            start = jnp.maximum(ready, state.machine_ready[machine])
        end = start + duration
        job_ready = state.job_ready.at[job].set(end)
        machine_ready = state.machine_ready.at[machine].max(end)
        machine_work = state.machine_work.at[machine].add(-duration)
        job_work = state.job_work.at[job].add(-duration)
        bound = jnp.maximum(state.lower_bound, end + job_work[job])
        if self.scheme != "left_shift":
            bound = jnp.maximum(bound, machine_ready[machine] + machine_work[machine])
        following = jnp.minimum(k + 2, self.size.operations - 1)
        exists = k + 2 < self.size.operations
        after = JobShopState(
            next_operation=state.next_operation.at[job].add(1),
            machine=state.machine.at[job].set(state.after_machine[job]),
            duration=state.duration.at[job].set(state.after_duration[job]),
            after_machine=state.after_machine.at[job].set(problem.machine[job, following] * exists),
            after_duration=state.after_duration.at[job].set(problem.duration[job, following] * exists),
            job_ready=job_ready,
            job_work=job_work,
            machine_ready=machine_ready,
            machine_work=machine_work,
            queue=state.queue,
            first_completion=state.first_completion,
            makespan=jnp.maximum(state.makespan, end),
            lower_bound=bound,
            remaining=state.remaining - 1,
            start=state.start.at[job, k].set(start, mode="drop"),
            slot_start=slot_start,
            slot_end=slot_end,
        )
        return self._requeue(problem, after, machine, job), (state.lower_bound - bound).astype(jnp.float32)

    def _requeue(self, problem: JobShopProblem, state: JobShopState, left: Array, job: Array) -> JobShopState:
        """Refresh the queues of the machine that ``job`` left and of the one it joined; the others cannot have changed."""
        waits = state.next_operation[job] < problem.n_operations[job]
        joined = state.machine[job]
        queue = state.queue.at[left].add(-1).at[joined].add(waits)
        c = self.candidates(problem, state)
        completion = jnp.where(c.open, c.start + state.duration, NEVER)
        both = jnp.stack([left, joined])
        first = jnp.where(state.machine == both[:, None], completion, NEVER).min(axis=1)
        return replace(state, queue=queue, first_completion=state.first_completion.at[both].set(first))

    def candidates(self, problem: JobShopProblem, state: JobShopState) -> Candidates:
        """The next operation of every job and where it would start."""
        is_open = state.next_operation < problem.n_operations
        if self.scheme == "left_shift":
            start, _ = jax.vmap(earliest_gap)(
                state.slot_start[state.machine], state.slot_end[state.machine], state.job_ready, state.duration
            )
        else:
            start = jnp.maximum(state.job_ready, _take(state.machine_ready, state.machine))
        return Candidates(is_open, start * is_open)

    def action_mask(self, problem: JobShopProblem, state: JobShopState) -> Array:
        return self._mask(state, self.candidates(problem, state))

    def _mask(self, state: JobShopState, c: Candidates) -> Array:
        if self.scheme == "non_delay":
            legal = c.open & (c.start == jnp.where(c.open, c.start, NEVER).min())
        elif self.scheme == "giffler_thompson":
            completion = jnp.where(c.open, c.start + state.duration, NEVER)
            first = jnp.argmin(completion)
            rivals = (state.machine == state.machine[first]) & (c.start < completion[first])
            legal = c.open & (rivals | (jnp.arange(self.size.jobs) == first))
        else:
            legal = c.open
        return legal | (state.remaining == 0)

    def terminated(self, problem: JobShopProblem, state: JobShopState) -> Array:
        return state.remaining == 0

    def objective(self, problem: JobShopProblem, state: JobShopState) -> Array:
        return state.makespan

    def offset(self, problem: JobShopProblem) -> Array:
        return problem.lower_bound

    def observe(self, problem: JobShopProblem, state: JobShopState) -> GraphObservation:
        c = self.candidates(problem, state)
        global_columns = (
            problem.mean_duration,
            state.makespan,
            state.lower_bound,
            (problem.operations - state.remaining) / problem.operations,
            jnp.where(state.remaining > 0, jnp.where(c.open, c.start, NEVER).min(), state.makespan),
        )
        operation_node = jnp.arange(self.size.jobs) * self.size.operations + jnp.minimum(
            state.next_operation, self.size.operations - 1
        )
        machine_node = self.size.jobs * self.size.operations + state.machine
        return GraphObservation(
            nodes=self._nodes(problem, state),
            node_mask=problem.node_mask,
            edge_index=problem.edge_index,
            edges=problem.edges,
            edge_mask=problem.edge_mask,
            globals=columns(jnp.asarray(x, jnp.float32) for x in global_columns),
            action_mask=self._mask(state, c),
            action_nodes=jnp.stack([operation_node, machine_node], axis=1) * c.open[:, None],
            action_features=self._action_features(problem, state, c),
        )

    def render(self, problem: JobShopProblem, state: JobShopState, mode: str) -> Any:
        """The partial schedule as a Gantt chart: also "svg", a string."""
        from dispatchgym.envs.job_shop import render  # only who draws needs it

        draw: Any = {"rgb_array": render.rgb_array, "ansi": render.ansi, "svg": render.svg}.get(mode)
        if draw is None:
            return super().render(problem, state, mode)
        shop = (np.asarray(x) for x in (problem.machine, problem.duration, problem.n_operations))
        return draw(JobShopInstance(*shop), np.asarray(state.start))

    def _nodes(self, problem: JobShopProblem, state: JobShopState) -> Array:
        scheduled = state.start >= 0
        # An unscheduled operation can start once the rest of its job before it is done.
        begun = problem.work_before[:, -1] - state.job_work
        expected = (state.job_ready - begun)[:, None] + problem.work_before[:, :-1]
        real = problem.node_mask[: scheduled.size].reshape(scheduled.shape)
        operations = (scheduled, jnp.where(scheduled, state.start, expected), problem.duration * ~scheduled)
        machines = (jnp.zeros(self.size.machines), state.machine_ready, state.machine_work)
        dynamic = [
            jnp.concatenate([(operation * real).ravel().astype(jnp.float32), machine.astype(jnp.float32)])
            for operation, machine in zip(operations, machines, strict=True)
        ]
        # Row by row, since the compiler copies rows fast; the transpose is a change of layout where the consumer allows it.
        return jnp.stack([*problem.node_rows, *dynamic]).T

    def _action_features(self, problem: JobShopProblem, state: JobShopState, c: Candidates) -> Array:
        follows = state.next_operation + 1 < problem.n_operations
        completion = c.start + state.duration
        features = (
            state.duration,
            state.job_ready,
            _take(state.machine_ready, state.machine),
            c.start,
            state.job_work,
            problem.work_before[:, -1] - state.job_work + state.duration,
            problem.n_operations - state.next_operation,
            _take(state.machine_work, state.machine),
            _take(state.queue, state.machine),
            _take(state.first_completion, state.machine),
            state.after_duration,
            jnp.where(follows, _take(state.machine_ready, state.after_machine), completion),
            jnp.where(follows, _take(state.machine_work, state.after_machine), 0),
        )
        return jnp.stack([(f * c.open).astype(jnp.float32) for f in features]).T


def _take(table: Array, index: Array) -> Array:
    """table[index] for indices known to be inside: without the checks that would double its cost."""
    return table.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)

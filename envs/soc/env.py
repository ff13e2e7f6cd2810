"""``dispatchgym/SocDag-v0``: jobs keep arriving at a chip; the action commits one ready task to the queue of one PE."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import jax.numpy as jnp

from dispatchgym.envs.core import Array, Environment
from dispatchgym.envs.graph import GraphObservation
from dispatchgym.envs.soc import clock, observation
from dispatchgym.envs.soc.future import perturb
from dispatchgym.envs.soc.problem import NEVER, SocProblem, prepare
from dispatchgym.envs.soc.spec import graph_spec
from dispatchgym.envs.soc.state import SocState, candidates, data_ready, take, window
from dispatchgym.envs.task_graph import MAX_PROCESSORS
from dispatchgym.instances.base import DispatchGymError
from dispatchgym.instances.soc.instance import SocInstance, SocSize

CHOICES = {"decide": ("pair", "task"), "speeds": ("known", "order", "hidden")}


class SocDag(Environment[SocInstance, SocProblem, SocState]):
    """Streaming task graphs on a heterogeneous chip (the problem of DS3, gym-ds3 and DeepSoCS), event-driven.

    A task is ready once all its predecessors have finished. While tasks are ready, time stands still; the first ``window``
    of them, by job and then by task, can be chosen. A decision commits one to the queue of a PE, busy or idle; an idle PE
    starts, of the tasks whose data have arrived, the one committed first. Nothing is preempted or moved.

    * ``decide``: "pair" - action k * PEs + p commits the task at window position k to PE p; "task" - action k chooses the
      task alone and the PE of smallest expected finish follows, ties to the lower (the split of DeepSoCS).
    * ``speeds``: "known" - nominal times are shown; "order" - of each task only 1 + the number of faster PEs, in place of
      its times (speed-oblivious scheduling, arXiv 2302.00985); "hidden" - 1 in place of every time.

    Actual times are never visible before a task is over. Reward: minus (jobs that have arrived and are not complete x
    elapsed time), so the return is minus the total flow time (float32: exact below 2^24). In the closed mode flow counts from admission.
    """

    family = "soc"
    sense = "min"
    unit = "us"
    headline = "mean_latency"
    render_modes = ("rgb_array", "ansi")

    def __init__(self, size: SocSize, window: int = 8, decide: str = "pair", speeds: str = "known") -> None:
        for name, value in (("decide", decide), ("speeds", speeds)):
            if value not in CHOICES[name]:
                raise DispatchGymError(f"unknown {name} {value!r}; choose one of {', '.join(CHOICES[name])}")
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise DispatchGymError(f"window is {window!r}; give a number of tasks, at least 1")
        if size.pes > MAX_PROCESSORS:
            raise DispatchGymError(f"{size.pes} PEs are too many; give at most {MAX_PROCESSORS}")
        self.size = size
        self.window = min(window, size.slots * size.tasks)
        self.decide, self.speeds = decide, speeds
        count = self.window * (size.pes if decide == "pair" else 1)
        self.graph = graph_spec(size, count)
        self.action_space = gymnasium.spaces.Discrete(count)
        self.max_steps = size.jobs * size.tasks

    def prepare(self, instance: SocInstance) -> SocProblem:
        return prepare(self.size, instance, self.speeds)

    def reset(self, problem: SocProblem) -> SocState:
        j, t, m = self.size.slots, self.size.tasks, self.size.pes
        zero, of_job, of_pe = jnp.int32(0), jnp.zeros(j, jnp.int32), jnp.zeros(m, jnp.int32)
        of_task = jnp.zeros((j, t), jnp.int32)
        empty = SocState(
            now=zero,
            admitted=zero,
            departed=zero,
            last_admission=zero,
            decisions=zero,
            n_ready=zero,
            flow=zero,
            job=of_job - 1,
            arrival=of_job,
            unstarted=of_job,
            uncommitted=of_job,
            work=of_job,
            completion=of_job,
            waiting=of_task + 1,
            ready=of_task,
            pe=of_task - 1,
            queued=of_task + NEVER,
            order=of_task,
            finish=of_task + NEVER,
            free=of_pe,
            expected=of_pe,
            backlog=of_pe,
            queue=of_pe,
            first_data=of_pe + NEVER,
            window=jnp.full(self.window, -1, jnp.int32),
        )
        first = replace(empty, now=clock.release(problem, empty))
        return self._look(clock.depart_and_admit(problem, first, jnp.bool_(True)))

    def advance(self, problem: SocProblem, state: SocState, action: Array) -> tuple[SocState, Array]:
        committed = self._commit(problem, state, action)
        active = committed.n_ready == 0
        drained, until = self._drain(problem, committed, active)
        return self._jump(problem, drained, until, active)

    def _drain(self, problem: SocProblem, state: SocState, active: Array) -> tuple[SocState, Array]:
        """(state, next moment of a decision or NEVER) after all starts before it; unchanged where not ``active``."""
        return clock.drain(problem, state, active)

    def _jump(self, problem: SocProblem, state: SocState, until: Array, active: Array) -> tuple[SocState, Array]:
        """(state, reward) at the next decision; where that is NEVER, at the last completion. Only where ``active``."""
        until = jnp.where(until == NEVER, jnp.where(state.job >= 0, state.completion, 0).max(), until)
        until = jnp.where(active, until, state.now)
        flow = clock.flow_until(problem, state, until)
        later = replace(state, now=until, flow=state.flow + flow)
        after = self._look(clock.depart_and_admit(problem, later, active))
        return after, -flow.astype(jnp.float32)

    def _commit(self, problem: SocProblem, state: SocState, action: Array) -> SocState:
        if self.decide == "pair":
            position, pe = action // self.size.pes, action % self.size.pes
        else:
            position = action
            pe = jnp.argmin(candidates(problem, state).finish[jnp.clip(action, 0, self.window - 1)])
        code = jnp.maximum(state.window[jnp.clip(position, 0, self.window - 1)], 0)
        slot, task = code // self.size.tasks, code % self.size.tasks
        template = take(problem.template, jnp.maximum(take(state.job, slot), 0))
        there = data_ready(problem, state, slot, task, template)[pe]
        return replace(
            state,
            decisions=state.decisions + 1,
            n_ready=state.n_ready - 1,
            uncommitted=state.uncommitted.at[slot].add(-1),
            work=state.work.at[slot].add(-take(problem.best, template, task)),
            pe=state.pe.at[slot, task].set(pe.astype(jnp.int32)),
            queued=state.queued.at[slot, task].set(there),
            order=state.order.at[slot, task].set(state.decisions),
            backlog=state.backlog.at[pe].add(take(problem.shown, template, task, pe)),
            queue=state.queue.at[pe].add(1),
            first_data=state.first_data.at[pe].min(there),
        )

    def _look(self, state: SocState) -> SocState:
        chosen, count = window(state, self.window)
        return replace(state, window=chosen, n_ready=count)

    def action_mask(self, problem: SocProblem, state: SocState) -> Array:
        code = jnp.maximum(state.window, 0)
        slot, task = code // self.size.tasks, code % self.size.tasks
        template = take(problem.template, jnp.maximum(take(state.job, slot), 0))
        occupied = state.window >= 0
        legal = occupied if self.decide == "task" else self._pairs(occupied, take(problem.shown, template, task))
        return legal | self.terminated(problem, state)

    @staticmethod
    def _pairs(occupied: Array, time: Array) -> Array:
        return (occupied[:, None] & (time >= 0)).ravel()

    def terminated(self, problem: SocProblem, state: SocState) -> Array:
        return state.departed == problem.n_jobs

    def objective(self, problem: SocProblem, state: SocState) -> Array:
        return state.flow

    def offset(self, problem: SocProblem) -> Array:
        return jnp.int32(0)

    def metrics(self, problem: SocProblem, state: SocState) -> dict[str, Array]:
        """Flow time so far over the number of jobs, at the end the mean latency; the validator reports the rest."""
        return {"mean_latency": state.flow / problem.n_jobs}

    def perturb_future(self, problem: SocProblem, state: SocState, key: Array) -> SocProblem:
        """Other noise of the tasks that have not started, other jobs, and other releases after now."""
        return perturb(problem, state, key)

    def render(self, problem: SocProblem, state: SocState, mode: str) -> Any:
        """The tasks of the jobs in the system on a Gantt chart, queued ones by expected times: also "svg", a string."""
        from dispatchgym.envs.soc import render  # only who draws needs it

        if mode not in (*self.render_modes, "svg"):
            return super().render(problem, state, mode)
        return render.draw(problem, state, mode)

    def observe(self, problem: SocProblem, state: SocState) -> GraphObservation:
        c = candidates(problem, state)
        features, nodes = observation.action_features(problem, state, c)
        mask = c.mask.ravel()
        if self.decide == "task":
            best = jnp.argmin(c.finish, axis=1)
            chosen = jnp.arange(self.window) * self.size.pes + best
            features, nodes, mask = features[:, chosen], nodes[:, chosen], c.occupied
        edge_index, edges, edge_mask = observation.edges(problem, state)
        return GraphObservation(
            nodes=observation.nodes(problem, state),
            node_mask=observation.node_mask(problem, state),
            edge_index=edge_index,
            edges=edges,
            edge_mask=edge_mask,
            globals=observation.globals_(problem, state),
            action_mask=mask | self.terminated(problem, state),
            action_nodes=nodes.T,
            action_features=features.T,
        )

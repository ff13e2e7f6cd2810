"""``dispatchgym/WorkflowDag-v0``: plan one task after another on a processor."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array, Environment
from dispatchgym.envs.graph import GraphObservation
from dispatchgym.envs.slots import NEVER
from dispatchgym.envs.task_graph import MAX_PROCESSORS
from dispatchgym.envs.workflow.observation import observe
from dispatchgym.envs.workflow.problem import WorkflowProblem, prepare
from dispatchgym.envs.workflow.spec import graph_spec
from dispatchgym.envs.workflow.state import WorkflowState, begin, plan, ready, starts
from dispatchgym.instances.base import DispatchGymError
from dispatchgym.instances.workflow.instance import WorkflowInstance, WorkflowSize

CHOICES = {
    "decide": ("pair", "task"),
    "information": ("full", "online"),
    "prediction": ("none", "weight", "order"),
}


class WorkflowDag(Environment[WorkflowInstance, WorkflowProblem, WorkflowState]):
    """List scheduling of a task graph on unrelated processors with communication (the model of HEFT, Topcuoglu et al. 2002).

    A task is ready once its predecessors are planned. It starts when the data of all of them are on its processor and that
    is free; planned tasks never move.

    * ``window``: only so many ready tasks, those of lowest number, can be chosen; None: all.
    * ``insertion``: a task may start in an idle gap between planned ones; otherwise behind all of them.
    * ``decide``: "pair": action k * M + p plans the task at window position k on processor p; "task": action k, and the
      processor is the one of the earliest finish, ties to the lower (the split of DeepSoCS, arXiv 2005.07666).
    * ``information``: "online": a task becomes known once all its predecessors have finished, by a clock that stands while
      known tasks wait to be planned and then jumps to the next such time (online precedence constraints, arXiv 2301.12863);
      nothing starts before it. "full": all is known, and there is no clock.
    * ``prediction``: what is shown of the instance's predictions of known tasks: "none", the "weight", or only their "order".

    Reward: minus the increase of the makespan; the sum is exactly minus the makespan.
    """

    family = "workflow"
    sense = "min"
    unit = "time"
    render_modes = ("rgb_array", "ansi")

    def __init__(
        self,
        size: WorkflowSize,
        window: int | None = None,
        insertion: bool = True,
        decide: str = "pair",
        information: str = "full",
        prediction: str = "none",
    ) -> None:
        for option, value in (("decide", decide), ("information", information), ("prediction", prediction)):
            if value not in CHOICES[option]:
                raise DispatchGymError(f"unknown {option} {value!r}; choose one of {', '.join(CHOICES[option])}")
        if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
            raise DispatchGymError(f"window is {window!r}; give a number of tasks, at least 1, or None for all")
        if not isinstance(insertion, bool):
            raise DispatchGymError(f"insertion is {insertion!r}; give True or False")
        if size.processors > MAX_PROCESSORS:
            raise DispatchGymError(f"{size.processors} processors are too many; give at most {MAX_PROCESSORS}")
        self.size = size
        self.insertion = insertion
        self.by_pair = decide == "pair"
        self.online = information == "online"
        self.prediction = prediction
        self.window = size.tasks if window is None else min(window, size.tasks)
        self.graph = graph_spec(size, self.window, self.by_pair, self.online)
        self.action_space = gymnasium.spaces.Discrete(self.graph.n_actions)
        self.max_steps = size.tasks

    def prepare(self, instance: WorkflowInstance) -> WorkflowProblem:
        return prepare(self.size, instance, self.online)

    def reset(self, problem: WorkflowProblem) -> WorkflowState:
        return begin(problem, self.window, self.insertion, self.online)

    def choice(self, problem: WorkflowProblem, state: WorkflowState, action: Array) -> tuple[Array, Array]:
        """(task, processor) of an action; of an illegal one anything inside the arrays."""
        last = self.size.tasks - 1
        if self.by_pair:
            k = jnp.clip(action // self.size.processors, 0, self.window - 1)
            return jnp.minimum(state.window[k], last), action % self.size.processors
        task = jnp.minimum(state.window[jnp.clip(action, 0, self.window - 1)], last)
        finish = jnp.where(problem.supported[task], starts(state, task) + problem.duration[task], NEVER)
        return task, jnp.argmin(finish).astype(jnp.int32)

    def advance(self, problem: WorkflowProblem, state: WorkflowState, action: Array) -> tuple[WorkflowState, Array]:
        task, processor = self.choice(problem, state, jnp.asarray(action, jnp.int32))
        after = plan(problem, state, task, processor, self.online)
        return after, (state.makespan - after.makespan).astype(jnp.float32)

    def action_mask(self, problem: WorkflowProblem, state: WorkflowState) -> Array:
        occupied = state.window < self.size.tasks
        if self.by_pair:
            rows = problem.supported[jnp.minimum(state.window, self.size.tasks - 1)]
            occupied = (rows & occupied[:, None]).ravel()
        return occupied | self.terminated(problem, state)

    def terminated(self, problem: WorkflowProblem, state: WorkflowState) -> Array:
        return state.planned >= problem.instance.n_tasks

    def objective(self, problem: WorkflowProblem, state: WorkflowState) -> Array:
        return state.makespan

    def offset(self, problem: WorkflowProblem) -> Array:
        return jnp.int32(0)

    def observe(self, problem: WorkflowProblem, state: WorkflowState) -> GraphObservation:
        return observe(problem, state, self.action_mask(problem, state), self.by_pair, self.online, self.prediction)

    def perturb_future(self, problem: WorkflowProblem, state: WorkflowState, key: Array) -> WorkflowProblem | None:
        """Online, unseen tasks get other times and predictions, and the edges to them other volumes."""
        if not self.online:
            return None
        given = problem.instance
        seen = ready(state) | (state.processor >= 0)
        keys = jax.random.split(key, 3)

        def redrawn(values: Array, keep: Array, key: Array) -> Array:
            draw = jax.random.randint(key, values.shape, 0, values.max() + 2, jnp.int32)
            return jnp.where(keep | (values < 0), values, draw)

        source, target, volume = given.edges.T
        changed = WorkflowInstance(
            time=redrawn(given.time, seen[:, None], keys[0]),
            n_tasks=given.n_tasks,
            n_processors=given.n_processors,
            edges=jnp.stack([source, target, redrawn(volume, seen[target], keys[1])], axis=1),
            bandwidth=given.bandwidth,
            prediction=redrawn(given.prediction, seen, keys[2]),
        )
        return self.prepare(changed)

    def render(self, problem: WorkflowProblem, state: WorkflowState, mode: str) -> Any:
        """The partial schedule as a Gantt chart: also "svg", a string."""
        from dispatchgym.envs import gantt  # only who draws needs them
        from dispatchgym.envs.workflow.render import chart

        draw: Any = {"rgb_array": gantt.rgb_array, "ansi": gantt.ansi, "svg": gantt.svg}.get(mode)
        return super().render(problem, state, mode) if draw is None else draw(chart(problem, state))

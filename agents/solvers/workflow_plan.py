"""What the workflow solvers share: a plan built task by task with insertion, and its translation into actions and back."""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterable, Sequence

import numpy as np

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.task_graph import TaskGraph
from dispatchgym.instances.workflow.instance import WorkflowInstance

Steps = list[tuple[int, int]]  # (task, processor) in the order of planning

NONE = -1


class Plan:
    """A partial schedule. A task goes into the earliest gap of its processor that holds it, and never moves again."""

    def __init__(self, graph: TaskGraph) -> None:
        self.n, self.processors = graph.time.shape
        self.time: list[list[int]] = graph.time.tolist()
        self.supported = [[p for p, w in enumerate(row) if w >= 0] for row in self.time]
        self.bandwidth: list[list[int]] = graph.bandwidth.tolist()
        self.before: list[list[tuple[int, int]]] = [[] for _ in range(self.n)]  # (predecessor, volume)
        self.after: list[list[int]] = [[] for _ in range(self.n)]
        for a, b, volume in graph.edges.tolist():
            self.before[b].append((a, volume))
            self.after[a].append(b)
        self.pe, self.start, self.finish = ([NONE] * self.n for _ in range(3))
        self.busy: list[list[tuple[int, int]]] = [[] for _ in range(self.processors)]  # (start, finish), ascending

    def earliest(self, i: int, p: int) -> int:
        """When a task would start, by the data of those of its predecessors that are planned."""
        start, w = 0, self.time[i][p]
        for a, volume in self.before[i]:
            if (q := self.pe[a]) != NONE:
                start = max(start, self.finish[a] + (0 if p == q else volume // self.bandwidth[q][p]))
        for b, f in self.busy[p]:
            if start < f and b < start + w:
                start = f
        return start

    def best(self, i: int) -> tuple[int, int]:
        """(finish, processor) of smallest finish; ties to the lower processor."""
        return min((self.earliest(i, p) + self.time[i][p], p) for p in self.supported[i])

    def take(self, i: int, p: int) -> None:
        """Plan a task."""
        start = self.earliest(i, p)
        self.pe[i], self.start[i], self.finish[i] = p, start, start + self.time[i][p]
        bisect.insort(self.busy[p], (start, self.finish[i]))

    def undo(self, i: int) -> None:
        """Take a task out again."""
        self.busy[self.pe[i]].remove((self.start[i], self.finish[i]))
        self.pe[i] = self.start[i] = self.finish[i] = NONE

    @property
    def makespan(self) -> int:
        """Largest finish so far."""
        return max(0, *self.finish)


def heft_order(graph: TaskGraph) -> list[int]:
    """rank_u descending, ties in the topological order that takes the lowest ready task."""
    place = {i: at for at, i in enumerate(graph.order)}
    rank = graph.upward_ranks.tolist()
    return sorted(place, key=lambda i: (-rank[i], place[i]))


def heft(graph: TaskGraph) -> Steps:
    """HEFT (Topcuoglu, Hariri & Wu 2002): in this order, each task where it finishes first."""
    plan = Plan(graph)
    for i in (order := heft_order(graph)):
        plan.take(i, plan.best(i)[1])
    return [(i, plan.pe[i]) for i in order]


def planned(graph: TaskGraph, steps: Iterable[tuple[int, int]]) -> Plan:
    """The plan of these steps."""
    plan = Plan(graph)
    for i, p in steps:
        plan.take(i, p)
    return plan


def in_order(plan: Plan, topological: Sequence[int]) -> Steps:
    """The steps of a complete schedule, by start; planned again in this order no task starts later.

    Sorted by (start, finish, topological place): what ends before another starts on its processor, or sends it data,
    comes first, tasks of no duration included.
    """
    place = {i: at for at, i in enumerate(topological)}
    order = sorted(place, key=lambda i: (plan.start[i], plan.finish[i], place[i]))
    return [(i, plan.pe[i]) for i in order]


def actions_of(instance: WorkflowInstance, steps: Steps) -> list[int]:
    """Actions position * M + processor, the position among all ready tasks by number; M with padding."""
    width = np.shape(instance.time)[1]
    ready, missing, after = _ready(instance)
    actions = []
    for i, p in steps:
        actions.append(bisect.bisect_left(ready, i) * width + p)
        ready.remove(i)
        _release(i, ready, missing, after)
    return actions


def steps_of(instance: WorkflowInstance, actions: Iterable[int]) -> Steps:
    """The reverse. Raises InstanceError, naming the action, if they are no complete plan."""
    width = np.shape(instance.time)[1]
    time: list[list[int]] = np.asarray(instance.time).tolist()
    ready, missing, after = _ready(instance)
    steps: Steps = []
    for at, action in enumerate(actions):
        position, p = divmod(int(action), width)
        if not 0 <= position < len(ready) or time[ready[position]][p] < 0:
            raise InstanceError(f"action {at} of the hint, {action}, is masked; give actions of the default options")
        i = ready.pop(position)
        steps.append((i, p))
        _release(i, ready, missing, after)
    if left := len(missing) - len(steps):
        raise InstanceError(f"the hint leaves {left} tasks unplanned; give one action for each of {len(missing)}")
    return steps


def _ready(instance: WorkflowInstance) -> tuple[list[int], list[int], list[list[int]]]:
    plan = Plan(instance.graph())
    missing = [len(before) for before in plan.before]
    return [i for i, count in enumerate(missing) if not count], missing, plan.after


def _release(i: int, ready: list[int], missing: list[int], after: list[list[int]]) -> None:
    for j in after[i]:
        missing[j] -= 1
        if not missing[j]:
            bisect.insort(ready, j)


def solution(instance: WorkflowInstance, steps: Steps, started: float, bound: int | None = None) -> Solution:
    """A solution with its makespan recomputed; optimal if it meets ``bound`` (at least the trivial one).

    ``started`` is the ``time.perf_counter()`` at the solver's start.
    """
    value = planned(instance.graph(), steps).makespan
    bound = max(bound or 0, instance.lower_bound())
    status = "optimal" if value == bound else "feasible"
    return Solution(actions_of(instance, steps), value, status, bound, time.perf_counter() - started)

"""The workflow's validator: replays a list of actions and checks any schedule, in plain Python.

An action plans one task on one processor and never moves it again. Heterogeneous list scheduling in the sense of HEFT
(Topcuoglu, Hariri & Wu 2002): with insertion a task goes into the earliest gap that holds it, otherwise behind all that
is planned on its processor. Tasks occupy their processor over [start, start + time); data of an edge take
volume // bandwidth between distinct processors, and links have no contention.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dispatchgym.eval.validators.base import Verdict
from dispatchgym.instances.workflow.instance import WorkflowInstance

UNPLANNED = -1
MAX_ERRORS = 20  # of one schedule; a hopeless one would list thousands
INFORMATION = ("full", "online")
DECIDE = ("pair", "task")
DEFAULTS: dict[str, Any] = {"window": None, "insertion": True, "decide": "pair", "information": "full"}


@dataclass(frozen=True)
class Schedule:
    """Where and when every task runs; -1 where it is not planned."""

    pe: list[int]
    start: list[int]
    finish: list[int]


class _Graph:
    """The instance in plain Python."""

    def __init__(self, instance: WorkflowInstance) -> None:
        self.n, self.real = int(instance.n_tasks), int(instance.n_processors)
        self.width = np.shape(instance.time)[1]  # of an action's processor, padding included
        self.time: list[list[int]] = np.asarray(instance.time)[: self.n].tolist()
        edges: list[list[int]] = np.asarray(instance.edges).tolist()
        self.before: list[list[tuple[int, int]]] = [[] for _ in range(self.n)]  # (predecessor, volume)
        for a, b, volume in edges:
            if volume >= 0:
                self.before[b].append((a, volume))
        self._bandwidth: list[list[int]] = np.asarray(instance.bandwidth).tolist()

    def delay(self, volume: int, p: int, q: int) -> int:
        return 0 if p == q else volume // self._bandwidth[p][q]

    def supported(self, i: int) -> list[int]:
        return [p for p, w in enumerate(self.time[i]) if w >= 0]

    def critical_path(self) -> int:
        """Length of the longest path when every task is at its fastest and data take no time."""
        until: dict[int, int] = {}
        while len(until) < self.n:
            for i in range(self.n):
                if i not in until and all(a in until for a, _ in self.before[i]):
                    until[i] = max((until[a] for a, _ in self.before[i]), default=0) + self._fastest(i)
        return max(until.values())

    def work(self) -> int:
        """Sum of the tasks' shortest times."""
        return sum(self._fastest(i) for i in range(self.n))

    def _fastest(self, i: int) -> int:
        return min(self.time[i][p] for p in self.supported(i))


class _Plan:
    """A partial schedule. Online, a task can be planned when its predecessors have finished, and starts no earlier."""

    def __init__(self, graph: _Graph, insertion: bool, online: bool) -> None:
        self.graph, self.insertion, self.online = graph, insertion, online
        self.schedule = Schedule(*([UNPLANNED] * graph.n for _ in range(3)))
        self.now = self.makespan = 0

    def ready(self) -> list[int]:
        """The tasks that can be planned; online, the clock first moves to when there is one."""
        finish = self.schedule.finish
        since = {
            i: max((finish[a] for a, _ in before), default=0)
            for i, before in enumerate(self.graph.before)
            if finish[i] < 0 and all(finish[a] >= 0 for a, _ in before)
        }
        if self.online and since:
            self.now = max(self.now, min(since.values()))
            return [i for i, t in since.items() if t <= self.now]
        return list(since)

    def start(self, i: int, p: int) -> int:
        """When the task would start on this processor."""
        pe, start, finish = self.schedule.pe, self.schedule.start, self.schedule.finish
        data = max((finish[a] + self.graph.delay(v, pe[a], p) for a, v in self.graph.before[i]), default=0)
        earliest = max(data, self.now)
        taken = [(start[j], finish[j]) for j in range(self.graph.n) if pe[j] == p]
        if not self.insertion:
            return max([earliest] + [f for _, f in taken])
        # The earliest gap begins when the data are there or where another task ends.
        moments = sorted([earliest] + [f for _, f in taken if f > earliest])
        w = self.graph.time[i][p]
        return next(s for s in moments if not any(s < f and b < s + w for b, f in taken))

    def finish(self, i: int, p: int) -> int:
        return self.start(i, p) + self.graph.time[i][p]

    def take(self, i: int, p: int) -> int:
        """Plan a task; by how much the makespan grows."""
        start, end = self.start(i, p), self.finish(i, p)
        self.schedule.pe[i], self.schedule.start[i], self.schedule.finish[i] = p, start, end
        grown = max(self.makespan, end) - self.makespan
        self.makespan += grown
        return grown


def replay(
    instance: WorkflowInstance, actions: Iterable[Any], options: dict[str, Any] | None = None
) -> tuple[Schedule, list[int], Verdict]:
    """(schedule, rewards, verdict) of planning action by action; the verdict's objective is the makespan.

    Options: ``window`` (None: all), how many ready tasks can be chosen, those of lowest id; ``insertion`` (True);
    ``decide``: "pair", where an action is position * M + processor, or "task", where it is the position and the
    processor that of the smallest finish; ``information``: "full" or "online". The first illegal action ends the replay
    and is named by its position, as are missing and superfluous actions.
    """
    chosen = DEFAULTS | (options or {})
    graph = _Graph(instance)
    plan = _Plan(graph, bool(chosen["insertion"]), chosen["information"] == "online")
    for name, known in (("decide", DECIDE), ("information", INFORMATION)):
        if chosen[name] not in known:
            return (
                plan.schedule,
                [],
                Verdict.refuse(f"unknown {name} {chosen[name]!r}; choose one of {', '.join(known)}"),
            )
    pairs, m = chosen["decide"] == "pair", graph.width
    window = np.shape(instance.time)[0] if chosen["window"] is None else int(chosen["window"])
    rewards: list[int] = []

    def refuse(what: str) -> tuple[Schedule, list[int], Verdict]:
        return plan.schedule, rewards, Verdict.refuse(f"action {len(rewards)}: {what}")

    for given in actions:
        if len(rewards) == graph.n:
            return refuse(f"all is planned after {graph.n} actions")
        try:
            action = operator.index(given)
        except TypeError:
            return refuse(f"{given!r} is not an integer")
        if not 0 <= action < window * (m if pairs else 1):
            return refuse(f"there is no action {action}; the actions are 0..{window * (m if pairs else 1) - 1}")
        visible = plan.ready()[:window]
        row = action // m if pairs else action
        if row >= len(visible):
            return refuse(f"position {row} of the window is empty; {len(visible)} tasks can be chosen")
        i = visible[row]
        p = action % m if pairs else min(graph.supported(i), key=lambda q: plan.finish(i, q))
        if graph.time[i][p] < 0:
            return refuse(f"position {row} is task {i}, which processor {p} does not support")
        rewards.append(-plan.take(i, p))
    if missing := graph.n - len(rewards):
        return refuse(f"the trace ends with {missing} of {graph.n} tasks unplanned, among them task {plan.ready()[0]}")
    return plan.schedule, rewards, Verdict(True, plan.makespan)


def check_schedule(instance: WorkflowInstance, schedule: Schedule) -> Verdict:
    """Verify a schedule and compute its makespan and metrics.

    Every task runs once, on a processor that supports it, for exactly its time, after the data of its predecessors have
    arrived; on a processor no two tasks overlap, and one that takes no time does not lie inside another.
    """
    graph = _Graph(instance)
    if any(len(column) != graph.n for column in (schedule.pe, schedule.start, schedule.finish)):
        return Verdict.refuse(f"the schedule has rows for {len(schedule.pe)} tasks; the instance has {graph.n}")
    errors = []
    for i, (p, start, end) in enumerate(zip(schedule.pe, schedule.start, schedule.finish, strict=True)):
        if p not in graph.supported(i):
            errors.append(f"task {i} runs on processor {p}, which does not support it")
            continue
        if start < 0:
            errors.append(f"task {i} starts at {start}, before time 0")
        if end - start != graph.time[i][p]:
            errors.append(f"task {i} runs {start}-{end} on processor {p}, where it takes {graph.time[i][p]}")
        for a, volume in graph.before[i]:
            there = schedule.finish[a] + (graph.delay(volume, q, p) if (q := schedule.pe[a]) >= 0 else 0)
            if start < there:
                errors.append(f"task {i} starts at {start} on processor {p}, before the data of task {a} at {there}")
    for p in range(graph.width):
        last_end, last = 0, -1
        for start, end, i in sorted(
            (schedule.start[i], schedule.finish[i], i) for i in range(graph.n) if schedule.pe[i] == p
        ):
            if start < last_end:
                errors.append(f"processor {p}: task {i} starts at {start} while task {last} runs until {last_end}")
            if end >= last_end:
                last_end, last = end, i
    if len(errors) > MAX_ERRORS:
        errors[MAX_ERRORS:] = [f"and {len(errors) - MAX_ERRORS} more"]
    if errors:
        return Verdict.refuse(*errors)
    makespan = max(schedule.finish)
    return Verdict(True, makespan, metrics=metrics(instance, makespan))


def metrics(instance: WorkflowInstance, makespan: int) -> dict[str, float]:
    """Makespan, the trivial lower bound, and their ratios as in Topcuoglu et al.; a ratio without a meaning is left out.

    ``slr``: makespan over the critical path of shortest times, undefined if that takes no time. ``speedup``: time on the
    best single processor, if one supports all tasks, over the makespan; ``efficiency``: speedup per processor.
    """
    graph = _Graph(instance)
    path = graph.critical_path()
    values = {"makespan": float(makespan), "lower_bound": float(max(path, -(-graph.work() // graph.real)))}
    if path:
        values["slr"] = makespan / path
    alone = [sum(column) for column in zip(*graph.time, strict=True) if min(column) >= 0]
    if alone and makespan:
        values["speedup"] = min(alone) / makespan
        values["efficiency"] = values["speedup"] / graph.real
    return values


def schedule(instance: WorkflowInstance, actions: Sequence[Any], options: dict[str, Any] | None = None) -> Schedule:
    """The schedule that the actions lead to, up to the first illegal one; -1 for tasks not planned by then."""
    return replay(instance, actions, options)[0]


def validate(instance: WorkflowInstance, actions: Sequence[Any], options: dict[str, Any] | None = None) -> Verdict:
    """Replay the actions (see :func:`replay` for the options), then check the schedule for itself, and measure it."""
    planned, _, verdict = replay(instance, actions, options)
    if not verdict.valid:
        return verdict
    checked = check_schedule(instance, planned)
    if checked.valid and checked.objective != verdict.objective:
        return Verdict.refuse(f"the replay ends at {verdict.objective}, its schedule at {checked.objective}")
    return checked

"""Exact solvers of workflows: CP-SAT, and for tiny instances every list of actions, which shares only the plan with it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.workflow_plan import Plan, Steps, heft, in_order, planned, solution, steps_of
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.extras import require
from dispatchgym.instances.task_graph import TaskGraph
from dispatchgym.instances.workflow.instance import WorkflowInstance

MAX_SEQUENCES = 200_000  # of brute_force


class IntervalModel:
    """A task graph for CP-SAT: one interval per (task, supporting processor), present where the task runs.

    On a processor none overlap; data of an edge take the delay between the two processors chosen. ``horizon`` is the
    largest finish allowed.
    """

    def __init__(self, cp_model: Any, graph: TaskGraph, horizon: int) -> None:
        self.model = model = cp_model.CpModel()
        tasks, processors = graph.time.shape
        time: list[list[int]] = graph.time.tolist()
        self.start = [model.new_int_var(0, horizon, f"s{i}") for i in range(tasks)]
        self.end = [model.new_int_var(0, horizon, f"e{i}") for i in range(tasks)]
        self.on: list[dict[int, Any]] = []
        intervals: list[list[Any]] = [[] for _ in range(processors)]
        self.loads: list[Any] = [0] * processors
        for i, row in enumerate(time):
            self.on.append({p: model.new_bool_var(f"x{i},{p}") for p, w in enumerate(row) if w >= 0})
            model.add_exactly_one(self.on[i].values())
            for p, here in self.on[i].items():
                intervals[p].append(
                    model.new_optional_interval_var(self.start[i], row[p], self.end[i], here, f"i{i},{p}")
                )
                self.loads[p] += row[p] * here
            model.add(self.end[i] == self.start[i] + sum(row[p] * here for p, here in self.on[i].items()))
        for row in intervals:
            model.add_no_overlap(row)
        bandwidth: list[list[int]] = graph.bandwidth.tolist()
        for a, b, volume in graph.edges.tolist():
            model.add(self.start[b] >= self.end[a])
            for p, there in self.on[a].items():
                for q, here in self.on[b].items():
                    if p != q and (delay := volume // bandwidth[p][q]):
                        model.add(self.start[b] >= self.end[a] + delay).only_enforce_if([there, here])

    def suggest(self, plan: Plan) -> None:
        """Start the search from this schedule."""
        for i, on in enumerate(self.on):
            self.model.add_hint(self.start[i], plan.start[i])
            self.model.add_hint(self.end[i], plan.finish[i])
            for p, here in on.items():
                self.model.add_hint(here, int(plan.pe[i] == p))

    def read(self, solver: Any, graph: TaskGraph) -> Plan:
        """The schedule that the solver has found."""
        plan = Plan(graph)
        plan.start = [solver.value(s) for s in self.start]
        plan.finish = [solver.value(e) for e in self.end]
        plan.pe = [next(p for p, here in on.items() if solver.value(here)) for on in self.on]
        return plan


def configured(cp_model: Any, time_limit: float | None, seed: int, workers: int | None) -> Any:
    """A CP-SAT solver. Below 8 workers it leaves strategies out, which costs more than sharing cores does."""
    solver = cp_model.CpSolver()
    solver.parameters.random_seed = seed
    solver.parameters.num_workers = workers or max(8, os.cpu_count() or 1)
    if time_limit is not None:
        solver.parameters.max_time_in_seconds = time_limit
    return solver


def shortest(
    graph: TaskGraph, steps: Steps, time_limit: float | None = None, seed: int = 0, workers: int | None = None
) -> tuple[Steps, int]:
    """(steps at least as good as those given, a bound that no schedule beats), by CP-SAT."""
    cp_model = require("ortools.sat.python.cp_model", "exact", "CP-SAT")
    known, bound = planned(graph, steps), graph.lower_bound()
    if known.makespan == bound:
        return steps, bound
    m = IntervalModel(cp_model, graph, known.makespan)
    makespan = m.model.new_int_var(bound, known.makespan, "makespan")
    for end in m.end:
        m.model.add(makespan >= end)
    for load in m.loads:  # implied, and what the linear relaxation needs
        m.model.add(makespan >= load)
    m.model.minimize(makespan)
    m.suggest(known)
    m.model.add_hint(makespan, known.makespan)
    solver = configured(cp_model, time_limit, seed, workers)
    status = solver.solve(m.model)
    bound = max(bound, math.ceil(solver.best_objective_bound - 1e-6))
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return in_order(m.read(solver, graph), graph.order), bound
    return steps, bound  # stopped before it had confirmed the hint, which is a solution all the same


def cp_sat(
    instance: WorkflowInstance,
    *,
    time_limit: float | None = None,
    seed: int = 0,
    hint: Sequence[int] | None = None,
    workers: int | None = None,
) -> Solution:
    """Google OR-Tools CP-SAT: optional intervals per (task, processor), delays by processor pair, minimal makespan.

    Starts from ``hint``, an action list of the default options, or from HEFT. The schedule found is planned again in order
    of start, where insertion can only move tasks forward. Without a time limit the solver runs until it has proved the
    optimum.
    """
    started = time.perf_counter()
    graph = instance.graph()
    known = heft(graph) if hint is None else steps_of(instance, hint)
    steps, bound = shortest(graph, known, time_limit, seed, workers)
    return solution(instance, steps, started, bound)


def sequences(graph: TaskGraph) -> Iterator[tuple[Steps, int]]:
    """(steps, makespan) of every complete list of actions."""
    plan = Plan(graph)
    missing = [len(before) for before in plan.before]
    steps: Steps = []

    def deeper() -> Iterator[tuple[Steps, int]]:
        if len(steps) == plan.n:
            yield list(steps), plan.makespan
        for i in range(plan.n):
            if missing[i] or plan.pe[i] >= 0:
                continue
            for p in plan.supported[i]:
                plan.take(i, p)
                steps.append((i, p))
                for j in plan.after[i]:
                    missing[j] -= 1
                yield from deeper()
                for j in plan.after[i]:
                    missing[j] += 1
                steps.pop()
                plan.undo(i)

    return deeper()


def brute_force(instance: WorkflowInstance, **_: Any) -> Solution:
    """The best of all complete lists of actions; insertion reaches an optimal schedule by planning it in order of start.

    Raises InstanceError if there are more than MAX_SEQUENCES.
    """
    started = time.perf_counter()
    graph = instance.graph()
    best: tuple[Steps, int] | None = None
    for count, found in enumerate(sequences(graph)):
        if count == MAX_SEQUENCES:
            raise InstanceError(
                f"brute_force takes tiny instances only: {graph.time.shape[0]} tasks on {graph.time.shape[1]} processors "
                f"can be planned in more than {MAX_SEQUENCES} ways; use cp_sat"
            )
        if best is None or found[1] < best[1]:
            best = found
    assert best is not None
    return solution(instance, best[0], started, best[1])

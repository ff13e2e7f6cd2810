"""Bounds and optima in hindsight, when noise and arrivals are known: CP-SAT, and every play of a tiny stream."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.soc_chip import Chip
from dispatchgym.agents.solvers.soc_jobs import job_graphs, solution
from dispatchgym.agents.solvers.soc_randomised import WINDOW, best_play
from dispatchgym.agents.solvers.workflow_exact import IntervalModel, configured, shortest
from dispatchgym.agents.solvers.workflow_plan import Plan, heft
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.extras import require
from dispatchgym.instances.soc.instance import SocInstance
from dispatchgym.instances.task_graph import TaskGraph

MAX_PLAYS = 50_000  # of brute_force
MAX_JOINT = 60  # tasks of a stream that cp_sat models as a whole


def legal(chip: Chip, window: int) -> list[int]:
    """The actions that can be taken now."""
    visible = ((row, chip.inside[k].graph.time[i]) for row, (_, k, i) in enumerate(chip.ready[:window]))
    return [row * chip.pes + p for row, time in visible for p, w in enumerate(time) if w >= 0]


def sequences(instance: SocInstance, window: int = WINDOW) -> Iterator[tuple[list[int], int]]:
    """(actions, total flow time) of every complete play, in the order of the actions."""
    chip = Chip(instance)
    path: list[list[int]] = []  # at every decision the actions still to be tried, the present one first
    while True:
        chip.reset()
        for depth in range(10**9):
            if not chip.ready:
                break
            if depth == len(path):
                path.append(legal(chip, window))
            chip.commit(*divmod(path[depth][0], chip.pes))
        yield [options[0] for options in path], chip.flow
        while path and len(path[-1]) == 1:
            path.pop()
        if not path:
            return
        path[-1].pop(0)


def brute_force(instance: SocInstance, **_: Any) -> Solution:
    """The best of all plays. Raises InstanceError if there are more than MAX_PLAYS."""
    started = time.perf_counter()
    best: tuple[list[int], int] | None = None
    for count, found in enumerate(sequences(instance)):
        if count == MAX_PLAYS:
            raise InstanceError(
                f"brute_force takes tiny streams only: this one of {int(instance.n_jobs)} jobs has more than {MAX_PLAYS} "
                f"plays; use cp_sat or randomised_etf"
            )
        if best is None or found[1] < best[1]:
            best = found
    assert best is not None
    return solution(instance, *best, started, best[1])


def cp_sat(
    instance: SocInstance,
    *,
    time_limit: float | None = None,
    seed: int = 0,
    hint: Sequence[int] | None = None,
    workers: int | None = None,
) -> Solution:
    """A play and a bound by Google OR-Tools CP-SAT, both in hindsight.

    Bound: a stream of at most MAX_JOINT tasks is scheduled as a whole, without the rule that a PE never waits while a
    committed task has its data and with jobs that may enter later than they could: a relaxation. Of a longer one each job
    is scheduled alone on the chip, and the stays are added. Play: the best of ``hint``, of randomised ETF, and of the
    first kind of schedule when its order and PEs are played. It is optimal if it meets the bound; a gap may be due to either.
    """
    cp_model = require("ortools.sat.python.cp_model", "exact", "CP-SAT")
    started = time.perf_counter()

    def left(share: float = 1.0) -> float | None:
        return None if time_limit is None else max(0.01, share * (time_limit - (time.perf_counter() - started)))

    found = [best_play(instance, "etf_ds3", seed, left(0.3))]
    if hint is not None:
        found.append(_replayed(instance, hint))
    graphs = job_graphs(instance)
    if sum(len(graph.time) for graph in graphs) <= MAX_JOINT:
        plan, bound = _joint(cp_model, instance, graphs, min(flow for _, flow in found), left(), seed, workers)
        if plan is not None:
            found.append(_followed(instance, plan))
    else:
        alike = list({id(graph): graph for graph in graphs}.values())
        stay = {}
        for at, graph in enumerate(alike):
            stay[id(graph)] = shortest(graph, heft(graph), left(1 / (len(alike) - at)), seed, workers)[1]
        bound = sum(stay[id(graph)] for graph in graphs)
    return solution(instance, *min(found, key=lambda play: play[1]), started, bound)


def _joint(
    cp_model: Any,
    instance: SocInstance,
    graphs: list[TaskGraph],
    most: int,
    time_limit: float | None,
    seed: int,
    workers: int | None,
) -> tuple[Plan | None, int]:
    """(a schedule of all jobs on one chip, or None; a bound on the total flow time); only schedules up to ``most`` count."""
    first = np.cumsum([0, *(len(graph.time) for graph in graphs)]).tolist()
    shifts = [(at, at, 0) for at in first]
    edges = [graph.edges + shift for graph, shift in zip(graphs, shifts, strict=False)]
    whole = TaskGraph(np.concatenate([g.time for g in graphs]), np.concatenate(edges), graphs[0].bandwidth)
    gap: list[int] = np.asarray(instance.gap).tolist()
    cap, closed = int(instance.cap), bool(instance.closed)
    horizon = sum(gap) + whole.horizon()
    m = IntervalModel(cp_model, whole, horizon)
    model = m.model
    enter: list[Any] = []
    leave, stays, flow = [], [], 0
    arrival = 0
    for k in range(len(graphs)):
        arrival += gap[k]
        before = enter[-1] if enter else 0
        release = before + gap[k] if closed else arrival
        enter.append(model.new_int_var(0, horizon, f"enter{k}"))
        leave.append(model.new_int_var(0, horizon, f"leave{k}"))
        model.add(enter[k] >= before)
        model.add(enter[k] >= release)
        if k < cap:  # there is room
            model.add(enter[k] == release)
        for i in range(first[k], first[k + 1]):
            model.add(m.start[i] >= enter[k])
            model.add(m.end[i] <= leave[k])
        length = model.new_int_var(0, horizon, f"stay{k}")
        stays.append(model.new_interval_var(enter[k], length, leave[k], f"in{k}"))
        flow += leave[k] - (enter[k] if closed else arrival)
    model.add_cumulative(stays, [1] * len(stays), cap)
    model.add(flow <= most)
    model.minimize(flow)
    solver = configured(cp_model, time_limit, seed, workers)
    status = solver.solve(model)
    bound = min(most, math.ceil(solver.best_objective_bound - 1e-6)) if status != cp_model.UNKNOWN else 0
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    return (m.read(solver, whole) if found else None), bound


def _followed(instance: SocInstance, plan: Plan) -> tuple[list[int], int]:
    """Play a schedule's PEs, of the tasks in the window always the one that it starts first."""
    chip, actions = Chip(instance), []
    sizes = np.asarray(instance.n_tasks)[np.asarray(instance.template)]
    first = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    chip.reset()
    while chip.ready:
        tasks = [first[k] + i for _, k, i in chip.ready[:WINDOW]]
        row = min(range(len(tasks)), key=lambda at: (plan.start[tasks[at]], plan.finish[tasks[at]]))
        actions.append(row * chip.pes + plan.pe[tasks[row]])
        chip.commit(*divmod(actions[-1], chip.pes))
    return actions, chip.flow


def _replayed(instance: SocInstance, actions: Sequence[int]) -> tuple[list[int], int]:
    """The hint as a play. Raises InstanceError, naming the action, if it is none."""
    chip = Chip(instance)
    chip.reset()
    for at, action in enumerate(actions):
        if action not in legal(chip, WINDOW):
            raise InstanceError(f"action {at} of the hint, {action}, is masked; give actions of the default options")
        chip.commit(*divmod(int(action), chip.pes))
    if chip.ready:
        raise InstanceError(f"the hint ends after {len(actions)} actions; give one for each task of the stream")
    return [int(action) for action in actions], chip.flow

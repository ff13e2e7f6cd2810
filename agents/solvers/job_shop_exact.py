"""Exact solvers of the job shop: CP-SAT, and a dynamic programme for tiny instances that shares nothing with it."""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.job_shop_graph import NONE, Shop, actions_of, append, from_actions, makespan
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.extras import require
from dispatchgym.instances.job_shop.instance import JobShopInstance

MAX_STATES = 20_000  # of brute_force: combinations of operations done per job; 5 jobs of 6 operations have 16,807


def cp_sat(
    instance: JobShopInstance,
    *,
    time_limit: float | None = None,
    seed: int = 0,
    hint: Sequence[int] | None = None,
    workers: int | None = None,
) -> Solution:
    """Google OR-Tools CP-SAT: an interval per operation, no overlap on each machine, minimal makespan.

    ``hint``: an action list of any scheme but left_shift (a rule's, say); the search starts from its schedule, and its
    makespan is the first upper bound. Without a time limit the solver runs until it has proved the optimum.
    """
    cp_model = require("ortools.sat.python.cp_model", "exact", "CP-SAT")
    started = time.perf_counter()
    shop = Shop(instance)
    known = None if hint is None else append(shop, hint)
    horizon = sum(shop.duration) if known is None else makespan(shop, known)
    model = cp_model.CpModel()
    start = [model.new_int_var(0, horizon - p, f"s{v}") for v, p in enumerate(shop.duration)]
    end = model.new_int_var(min(shop.lower_bound, horizon), horizon, "makespan")
    for v, (p, after) in enumerate(zip(shop.duration, shop.after, strict=True)):
        model.add((end if after == NONE else start[after]) >= start[v] + p)
    for m in range(shop.machines):
        operations = [v for v in range(shop.n) if shop.machine[v] == m]
        model.add_no_overlap(
            [model.new_fixed_size_interval_var(start[v], shop.duration[v], f"i{v}") for v in operations]
        )
    model.minimize(end)
    if known is not None:
        for variable, value in zip([*start, end], [*known, horizon], strict=True):
            model.add_hint(variable, value)
    solver = cp_model.CpSolver()
    solver.parameters.random_seed = seed
    # Below 8 workers CP-SAT leaves strategies out: on 2 cores, 25 s of ft10 gave bound 903 with 8 workers, 808 with 2.
    solver.parameters.num_workers = workers or max(8, os.cpu_count() or 1)
    if time_limit is not None:
        solver.parameters.max_time_in_seconds = time_limit
    status = solver.solve(model)
    bound = max(shop.lower_bound, math.ceil(solver.best_objective_bound - 1e-6))
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        actions = actions_of(shop, [solver.value(s) for s in start])
        return from_actions(shop, actions, started, bound)
    if hint is not None:  # stopped before it had confirmed the hint, which is a solution all the same
        return from_actions(shop, list(hint), started, bound)
    return Solution(None, None, "unknown", bound, time.perf_counter() - started)


def brute_force(instance: JobShopInstance, **_: Any) -> Solution:
    """All semi-active schedules of a tiny instance, by dynamic programming over what has been done.

    States with the same operations done are compared by the times at which jobs and machines become free; one that is
    nowhere earlier than another is dropped (after Gromicho et al. 2012, Computers & Operations Research 39(12), whose
    programme is over ordered active schedules). Raises InstanceError if the product of (operations + 1) over the jobs
    exceeds MAX_STATES.
    """
    started = time.perf_counter()
    shop = Shop(instance)
    states = math.prod(n + 1 for n in shop.lengths)
    if states > MAX_STATES:
        raise InstanceError(
            f"brute_force takes tiny instances only: this one has {states} combinations of operations done, more than "
            f"{MAX_STATES}; use cp_sat"
        )
    first = [sum(shop.lengths[:j]) for j in range(len(shop.lengths))]
    # done per job -> [(times of jobs and machines, actions)], no times dominating others
    layer: dict[tuple[int, ...], list[tuple[tuple[int, ...], tuple[int, ...]]]]
    jobs = len(shop.lengths)
    layer = {(0,) * jobs: [((0,) * (jobs + shop.machines), ())]}
    for _step in range(shop.n):
        following = defaultdict(list)
        for done, entries in layer.items():
            for j in (j for j, n in enumerate(shop.lengths) if done[j] < n):
                v = first[j] + done[j]
                after = (*done[:j], done[j] + 1, *done[j + 1 :])
                for times, actions in entries:
                    free = list(times)
                    free[j] = free[jobs + shop.machine[v]] = (
                        max(times[j], times[jobs + shop.machine[v]]) + shop.duration[v]
                    )
                    following[after].append((tuple(free), (*actions, j)))
        layer = {done: _undominated(entries) for done, entries in following.items()}
    [entries] = layer.values()
    times, actions = min(entries, key=lambda entry: max(entry[0]))
    return from_actions(shop, list(actions), started, max(times))


def _undominated(
    entries: list[tuple[tuple[int, ...], tuple[int, ...]]],
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    kept: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for times, actions in sorted(entries):  # a dominating entry sorts before what it dominates
        if not any(all(a <= b for a, b in zip(other, times, strict=True)) for other, _ in kept):
            kept.append((times, actions))
    return kept

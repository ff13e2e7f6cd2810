"""Offsets for buffers with fixed lifetimes: greedy placement in four orders, and CP-SAT for a given capacity."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dispatchgym.agents.solvers.memory_heap import Taken, best_fit, first_fit
from dispatchgym.agents.solvers.workflow_exact import configured
from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.extras import require
from dispatchgym.instances.memory.allocation import Allocation

# Keys, ascending, of (lower, duration, size); buffers of equal keys stay in the order given.
ORDERS: dict[str, Callable[[int, int, int], tuple[int, ...]]] = {
    "size": lambda lower, duration, size: (-size,),  # of the TFLite arena (Pisarchyk and Lee, 2020)
    "duration": lambda lower, duration, size: (-duration, -size),  # of XLA's repacker
    "start": lambda lower, duration, size: (lower, -size),
    "area": lambda lower, duration, size: (-size * duration,),
}
FITS: dict[str, Callable[[Taken, int], int]] = {"first": first_fit, "best": best_fit}


def place(problem: Allocation, order: str = "size", fit: str = "first") -> np.ndarray:
    """i64[N] offsets of placing one buffer after the other, each at its "first" or "best" fit; the capacity is ignored.

    Raises UnknownNameError for another order or fit.
    """
    if order not in ORDERS:
        raise UnknownNameError("order", order, ORDERS)
    if fit not in FITS:
        raise UnknownNameError("fit", fit, FITS)
    lower, upper, size = problem.lower, problem.upper, problem.size
    columns = zip(lower.tolist(), (upper - lower).tolist(), size.tolist(), strict=True)
    keys = [ORDERS[order](*row) for row in columns]
    offsets, placed = np.zeros(len(size), np.int64), np.zeros(len(size), bool)
    for i in sorted(range(len(size)), key=keys.__getitem__):
        live = placed & (lower < upper[i]) & (upper > lower[i])
        taken = sorted(zip(offsets[live].tolist(), (offsets + size)[live].tolist(), strict=True))
        offsets[i] = FITS[fit](taken, int(size[i]))
        placed[i] = True
    return offsets


def pack(
    problem: Allocation,
    capacity: int | None = None,
    time_limit: float | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> tuple[np.ndarray | None, str]:
    """(i64[N] offsets within the capacity or None, "feasible", "infeasible" or "unknown") by CP-SAT.

    Every allocation can be pushed down until each offset is a sum of sizes, so offsets are in units of the sizes' greatest
    common divisor; of times, the order alone matters. The capacity is the problem's unless one is given; InstanceError
    if neither is.
    """
    cp_model = require("ortools.sat.python.cp_model", "exact", "CP-SAT")
    capacity = problem.capacity if capacity is None else capacity
    if capacity is None:
        raise InstanceError("the problem has no capacity; give one")
    if problem.load() > capacity:
        return None, "infeasible"
    unit = math.gcd(*problem.size.tolist())
    rank = {t: i for i, t in enumerate(np.unique(np.concatenate([problem.lower, problem.upper])).tolist())}
    model: Any = cp_model.CpModel()
    low, across, along = [], [], []
    for i, (lower, upper, size) in enumerate(
        zip(problem.lower.tolist(), problem.upper.tolist(), (problem.size // unit).tolist(), strict=True)
    ):
        low.append(model.new_int_var(0, capacity // unit - size, f"low{i}"))
        along.append(model.new_fixed_size_interval_var(rank[lower], rank[upper] - rank[lower], f"time{i}"))
        across.append(model.new_fixed_size_interval_var(low[-1], size, f"space{i}"))
    model.add_no_overlap_2d(along, across)
    solver = configured(cp_model, time_limit, seed, workers)
    status = solver.solve(model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return np.array([solver.value(v) for v in low], np.int64) * unit, "feasible"
    return None, "infeasible" if status == cp_model.INFEASIBLE else "unknown"

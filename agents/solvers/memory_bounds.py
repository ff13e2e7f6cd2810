"""Certified lower bounds on the latency of a memory mapping.

Each is an integer number of ticks that no play of the game beats. Without ``rules`` it also holds for every other mapping
that respects capacity and supplies, whatever its offsets and the intervals of its copies; with them it uses what the
game imposes besides. ``evictions`` is "charged" or "free", as for the game; time limits are in seconds of wall-clock time.
"""

from __future__ import annotations

import math
import time
from typing import Any

from dispatchgym.agents.solvers.memory_bounds_lp import MappingProgram
from dispatchgym.agents.solvers.memory_exact_copies import Candidates
from dispatchgym.agents.solvers.memory_exact_model import MappingModel
from dispatchgym.agents.solvers.memory_exact_rules import GameModel
from dispatchgym.agents.solvers.memory_game import DROP, Tables, followed
from dispatchgym.agents.solvers.workflow_exact import configured
from dispatchgym.instances.extras import require
from dispatchgym.instances.memory.instance import MemoryInstance
from dispatchgym.instances.memory.suites import everything_fast

TOLERANCE = 1e-6  # ticks, of a bound that CP-SAT states as a float; its arithmetic is that of integers


# Candidates for starts of copies that a model may have: with twice as many it takes minutes and gigabytes to be built.
MAX_STARTS = {"linear": 400_000, "relaxed": 200_000, "rules": 100_000}
BUILT = 5_000  # of them in a second, about


def affordable(tables: Tables, model: str, seconds: float | None) -> bool:
    """Whether a kind of model (a key of MAX_STARTS) can be built within the time."""
    count = Candidates(tables).count
    return count <= MAX_STARTS[model] and (seconds is None or count <= BUILT * seconds)


def proved(cp_model: Any, solver: Any, status: Any, tables: Tables) -> int:
    """Ticks that CP-SAT has proved no solution to be below; 0 if it was stopped before it proved anything.

    Only together with a solution is its bound one: before, it states 0, as if no tick could be saved.
    """
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE) or solver.best_objective_bound < solver.objective_value:
        return 0
    saved: float = solver.best_objective_bound
    return tables.all_slow - math.floor(saved + TOLERANCE)


def ideal_bound(instance: MemoryInstance) -> int:
    """Every event served from fast memory, whatever its capacity."""
    return everything_fast(instance)


def lp_bound(
    instance: MemoryInstance, evictions: str = "charged", rules: bool = False, time_limit: float | None = None
) -> int:
    """The linear relaxation, by HiGHS; ``ideal_bound`` if the time limit stops it or the program is too large."""
    tables = Tables(instance)
    if Candidates(tables).count > MAX_STARTS["linear"]:
        return ideal_bound(instance)
    saved = MappingProgram(tables, evictions, rules).bound(time_limit)
    return max(ideal_bound(instance), tables.all_slow - math.floor(saved))


def relaxed_bound(
    instance: MemoryInstance,
    evictions: str = "charged",
    rules: bool = False,
    time_limit: float | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> int:
    """The optimum without offsets, by CP-SAT, or what it has proved of it by the time limit; at least the linear one.

    The linear relaxation comes first, and before the rules the optimum without them, each with half of the time left:
    what is proved once need not be proved again. Programs that are too large for a model get the bounds before it.
    """
    cp_model = require("ortools.sat.python.cp_model", "exact", "CP-SAT")
    end = None if time_limit is None else time.perf_counter() + time_limit

    def left(share: float = 1.0) -> float | None:
        return None if end is None else max(0.01, share * (end - time.perf_counter()))

    known = relaxed_bound(instance, evictions, False, left(0.5), seed, workers) if rules else 0
    bound = max(known, lp_bound(instance, evictions, rules, left(0.5)))
    tables = Tables(instance)
    if not affordable(tables, "rules" if rules else "relaxed", left()):
        return bound
    model = (GameModel if rules else MappingModel)(cp_model, tables, evictions)
    model.limit(bound)
    model.suggest(followed(tables, [DROP] * tables.events, evictions))
    solver = configured(cp_model, left(), seed, workers)
    status = solver.solve(model.model)
    return max(bound, proved(cp_model, solver, status, tables))

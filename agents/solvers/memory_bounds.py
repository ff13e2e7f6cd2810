"""Certified lower bounds on the latency of a memory mapping.

Each is an integer number of ticks that no play of the game beats. Without ``rules`` a bound is one for *any plan*: it
holds for every mapping that respects capacity and supplies, whatever its offsets and the intervals of its copies, so
for XLA's own plans too. With ``rules`` it uses what the game imposes besides and holds for *plays of the game* only: a
plan that no play reaches may beat it, and is not to be compared with it. ``evictions`` is "charged" or "free", as for
the game, and InstanceError is raised for others; time limits are in seconds of wall-clock time and include the
building of models, whose size is estimated before.
"""

from __future__ import annotations

import math
import time

from dispatchgym.agents.solvers.memory_bounds_coarse import CoarseProgram, proved
from dispatchgym.agents.solvers.memory_bounds_lp import MappingProgram
from dispatchgym.agents.solvers.memory_exact_copies import MOST_TERMS, Candidates
from dispatchgym.agents.solvers.memory_exact_model import MappingModel
from dispatchgym.agents.solvers.memory_exact_rules import GameModel
from dispatchgym.agents.solvers.memory_game import DROP, followed
from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.agents.solvers.workflow_exact import configured
from dispatchgym.instances.extras import require
from dispatchgym.instances.memory.instance import MemoryInstance
from dispatchgym.instances.memory.suites import everything_fast

# Candidates for starts of copies that a model may have: with twice as many it takes minutes and gigabytes to be built.
MAX_STARTS = {"linear": 400_000, "relaxed": 200_000, "rules": 100_000}
BUILT = {"linear": 10_000, "relaxed": 10_000, "rules": 4_000}  # of them in a second, about
TERMS_BUILT = 100_000  # copies in intervals that a model states in a second, about
BUILDING = 0.5  # of the time may go into building


def affordable(tables: Tables, model: str, seconds: float | None) -> bool:
    """Whether a kind of model (a key of MAX_STARTS) can be built within half of the time."""
    count = Candidates(tables).count
    return count <= MAX_STARTS[model] and (seconds is None or count <= BUILDING * BUILT[model] * seconds)


def stated(seconds: float | None) -> int:
    """How many copies in intervals a model may state (``most`` of MappingModel), for a fifth of the time."""
    return MOST_TERMS if seconds is None else min(MOST_TERMS, int(0.2 * TERMS_BUILT * seconds))


def ideal_bound(instance: MemoryInstance) -> int:
    """Every event served from fast memory, whatever its capacity. For any plan."""
    return everything_fast(instance)


def coarse_bound(
    instance: MemoryInstance,
    evictions: str = "charged",
    time_limit: float | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> int:
    """The optimum of a small relaxation (``memory_bounds_coarse``), or what is proved of it in time. For any plan.

    On all programs tried it is as good as ``relaxed_bound``, or nearly so, in a fraction of the time.
    """
    end = None if time_limit is None else time.perf_counter() + time_limit
    program = CoarseProgram(Tables(instance), evictions)
    slow = program.tables.all_slow

    def left(share: float = 1.0) -> float | None:
        return None if end is None else max(0.01, share * (end - time.perf_counter()))

    bound = max(ideal_bound(instance), slow - math.floor(program.tightened(left(0.4))))
    while end is None or time.perf_counter() < end:
        found = program.integral(slow - bound, left(), seed, workers)
        bound = max(bound, found.bound)
        if found.solution is None or not program.overfilled(found.solution):
            break
    return bound


def lp_bound(
    instance: MemoryInstance, evictions: str = "charged", rules: bool = False, time_limit: float | None = None
) -> int:
    """The linear relaxation, by HiGHS; of programs that are too large for it, or for the time, the coarse one.

    At least ``ideal_bound``, which is also what is left if the time limit stops the solver.
    """
    tables, ideal = Tables(instance), ideal_bound(instance)
    if not affordable(tables, "linear", time_limit):
        return max(ideal, tables.all_slow - math.floor(CoarseProgram(tables, evictions).tightened(time_limit)))
    saved = MappingProgram(tables, evictions, rules).bound(time_limit)
    return max(ideal, tables.all_slow - math.floor(saved))


def relaxed_bound(
    instance: MemoryInstance,
    evictions: str = "charged",
    rules: bool = False,
    time_limit: float | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> int:
    """The optimum without offsets, by CP-SAT, or what it has proved of it by the time limit; at least the linear one.

    The coarse and the linear relaxation come first, and before the rules the optimum without them, each with half of
    the time left: what is proved once need not be proved again. Programs that are too large for a model, or for one
    within the time limit, get the bounds before it.
    """
    cp_model = require("ortools.sat.python.cp_model", "exact", "CP-SAT")
    end = None if time_limit is None else time.perf_counter() + time_limit

    def left(share: float = 1.0) -> float | None:
        return None if end is None else max(0.01, share * (end - time.perf_counter()))

    if rules:
        bound = relaxed_bound(instance, evictions, False, left(0.5), seed, workers)
    else:
        bound = coarse_bound(instance, evictions, left(0.5), seed, workers)
    tables, model = Tables(instance), "rules" if rules else "relaxed"
    if affordable(tables, "linear", left(0.5)):
        bound = max(bound, lp_bound(instance, evictions, rules, left(0.5)))
    if not affordable(tables, model, left()):
        return bound
    mapping = (GameModel if rules else MappingModel)(cp_model, tables, evictions, most=stated(left()))
    mapping.limit(bound)
    mapping.suggest(followed(tables, [DROP] * tables.events, evictions))
    solver = configured(cp_model, left(), seed, workers)
    status = solver.solve(mapping.model)
    return max(bound, proved(cp_model, solver, status, tables))

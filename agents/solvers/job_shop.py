"""The job shop's solvers: exact methods, constructive heuristics, and the best of k randomised dispatches.

Every solution's actions replay under the scheme ``semi_active``; those of the randomised rules are non-delay as well.
"""

from __future__ import annotations

from dispatchgym.agents.solvers.base import Solver
from dispatchgym.agents.solvers.job_shop_bottleneck import shifting_bottleneck
from dispatchgym.agents.solvers.job_shop_exact import brute_force, cp_sat
from dispatchgym.agents.solvers.job_shop_graph import APPEND
from dispatchgym.agents.solvers.job_shop_insertion import insa
from dispatchgym.agents.solvers.job_shop_randomised import KEYS, SAMPLES, randomised

_SOLVERS = (
    Solver(
        "cp_sat",
        "Google OR-Tools CP-SAT, interval model with no-overlap machines",
        cp_sat,
        extra="exact",
        exact=True,
        timed=True,
        threaded=True,
        options=APPEND,
    ),
    Solver("brute_force", "every semi-active schedule of a tiny instance", brute_force, exact=True, options=APPEND),
    Solver("insa", "insertion algorithm INSA (Nowicki & Smutnicki 1996)", insa, options=APPEND),
    Solver(
        "shifting_bottleneck",
        "shifting bottleneck with reoptimisation (Adams, Balas & Zawack 1988)",
        shifting_bottleneck,
        timed=True,
        options=APPEND,
    ),
    *(
        Solver(
            f"randomised_{rule}",
            f"best of {SAMPLES} non-delay schedules around the rule {rule}",
            randomised(rule),
            options=APPEND,
        )
        for rule in KEYS
    ),
)

SOLVERS: dict[str, Solver] = {solver.name: solver for solver in _SOLVERS}

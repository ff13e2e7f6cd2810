"""The workflow's solvers: exact methods and HEFT with lookahead.

Every solution's actions replay with the default options: insertion, the whole window, (task, processor) pairs.
"""

from __future__ import annotations

from dispatchgym.agents.solvers.base import Solver
from dispatchgym.agents.solvers.workflow_exact import brute_force, cp_sat
from dispatchgym.agents.solvers.workflow_lookahead import lookahead_heft

_SOLVERS = (
    Solver(
        "cp_sat",
        "Google OR-Tools CP-SAT, optional intervals on unlike processors with transfer delays",
        cp_sat,
        extra="exact",
        exact=True,
        timed=True,
        threaded=True,
    ),
    Solver("brute_force", "every list of actions of a tiny instance", brute_force, exact=True),
    Solver("lookahead_heft", "HEFT that places each task for its children (Bittencourt et al. 2010)", lookahead_heft),
)

SOLVERS: dict[str, Solver] = {solver.name: solver for solver in _SOLVERS}

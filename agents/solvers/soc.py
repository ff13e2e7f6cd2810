"""The SoC's solvers. All of them know the noise and the arrivals: marks of what hindsight can reach, not policies.

Every solution's actions replay with the default options: a window of 8 tasks and (task, PE) pairs.
"""

from __future__ import annotations

from dispatchgym.agents.solvers.base import Solver
from dispatchgym.agents.solvers.soc_exact import brute_force, cp_sat
from dispatchgym.agents.solvers.soc_randomised import SAMPLES, randomised

_SOLVERS = (
    Solver(
        "cp_sat",
        "hindsight: bound by Google OR-Tools CP-SAT, of short streams as a whole, of others job by job; best play found",
        cp_sat,
        extra="exact",
        timed=True,
        threaded=True,
    ),
    Solver("brute_force", "hindsight: every play of a tiny stream", brute_force, exact=True),
    Solver(
        "randomised_etf",
        f"hindsight: best of {SAMPLES} plays around DS3's ETF, earliest estimated finish",
        randomised("etf_ds3"),
        timed=True,
    ),
    Solver(
        "randomised_job_etf",
        f"hindsight: best of {SAMPLES} plays around ETF on the oldest job of the window",
        randomised("job_etf"),
        timed=True,
    ),
)

SOLVERS: dict[str, Solver] = {solver.name: solver for solver in _SOLVERS}

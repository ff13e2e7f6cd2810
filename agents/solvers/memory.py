"""The memory-mapping solvers: XLA's memory space assignment, local search and exact methods.

Every solution's actions replay with the default options; objectives and bounds are ticks of 2**-34 s.
"""

from __future__ import annotations

from dispatchgym.agents.solvers.base import Solver
from dispatchgym.agents.solvers.memory_beam import beam_search
from dispatchgym.agents.solvers.memory_exact import brute_force, cp_sat
from dispatchgym.agents.solvers.memory_learned import policy_search
from dispatchgym.agents.solvers.memory_msa import msa, msa_repack, msa_size, msa_strict
from dispatchgym.agents.solvers.memory_search import local_search

_SOLVERS = (
    Solver("msa", "XLA's memory space assignment, re-implemented, as near as the rules of the game come to it", msa),
    Solver("msa_strict", "the same without the evictions that XLA grants though there is no bandwidth", msa_strict),
    Solver("msa_size", "msa with the largest buffers first", msa_size),
    Solver("msa_repack", "msa with up to ten repacks", msa_repack),
    Solver(
        "cp_sat",
        "Google OR-Tools CP-SAT on the rules of the game, cut until its optimum can be played",
        cp_sat,
        extra="exact",
        exact=True,
        timed=True,
        threaded=True,
    ),
    Solver(
        "local_search", "mutants of the best plan, 256 games at once, from the greedy rules", local_search, timed=True
    ),
    Solver(
        "pilot_beam", "beam search, each partial game worth what a greedy rule makes of it", beam_search, timed=True
    ),
    Solver(
        "policy_search",
        "the pretrained policy's episodes, then a pilot beam, then local search from the best of them",
        policy_search,
        extra="train",
        timed=True,
    ),
    Solver("brute_force", "every list of actions of a tiny instance", brute_force, exact=True),
)

SOLVERS: dict[str, Solver] = {solver.name: solver for solver in _SOLVERS}

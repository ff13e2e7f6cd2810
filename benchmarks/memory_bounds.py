"""Certified lower bounds and CP-SAT's plans for the programs of a suite, each plan judged by the validator.

python benchmarks/memory_bounds.py                                 jax-programs, a minute for each of three methods: hours
python benchmarks/memory_bounds.py --suite published --time 300    another suite, with more time

A run goes on where an earlier one with the same time stopped, and writes benchmarks/results/memory/bounds_SUITE.json. All
values are ticks of 2**-34 s. "any" holds for every mapping within capacity and supplies, wherever its buffers lie;
"game" for plays of MemoryMapping-v0 with charged evictions. Both are the best of the linear program, CP-SAT without
offsets and, for the game, what CP-SAT proved on its way to the plan.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from dispatchgym.agents.solvers.memory_bounds import ideal_bound, relaxed_bound
from dispatchgym.agents.solvers.memory_exact import cp_sat
from dispatchgym.agents.solvers.memory_game import Tables
from dispatchgym.eval.validators.memory import validate
from dispatchgym.instances.base import SuiteEntry
from dispatchgym.instances.files import write_text
from dispatchgym.instances.memory import SUITES

RESULTS = Path(__file__).parent / "results" / "memory"


def bounds(entry: SuiteEntry, seconds: float, workers: int) -> dict[str, Any]:
    """Bounds and the plan of one program, with the seconds that each took."""
    took = {}

    def timed(name: str, run: Any, **arguments: Any) -> Any:
        began = time.perf_counter()
        result = run(entry.instance, time_limit=seconds, workers=workers, **arguments)
        took[name] = round(time.perf_counter() - began, 1)
        return result

    anyhow = timed("any", relaxed_bound)
    game = timed("game", relaxed_bound, rules=True)
    solution = timed("cp_sat", cp_sat)
    verdict = validate(entry.instance, solution.actions, solution.options)
    if not verdict.valid or verdict.objective != solution.objective:
        raise SystemExit(f"{entry.name}: the validator says {verdict}; not publishable")
    game = max(anyhow, game, solution.bound)
    return {
        "all_slow": Tables(entry.instance).all_slow,
        "ideal": ideal_bound(entry.instance),
        "any": anyhow,
        "game": game,
        "cp_sat": solution.objective,
        "optimal": solution.objective == game,
        "seconds": took,
    }


def main() -> None:
    """Fill in what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=list(SUITES), default="jax-programs")
    parser.add_argument("--time", type=float, default=60.0, help="seconds for each method and program")
    parser.add_argument("--workers", type=int, default=2, help="threads of CP-SAT")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    output = arguments.output or RESULTS / f"bounds_{arguments.suite}.json"
    settings = {"suite": arguments.suite, "time_limit": arguments.time, "workers": arguments.workers}
    document: dict[str, Any] = settings | {"programs": {}}
    if output.exists():
        document = json.loads(output.read_text(encoding="utf-8"))
        if {name: document.get(name) for name in settings} != settings:
            raise SystemExit(f"{output} was made with other settings; move it away")
    output.parent.mkdir(parents=True, exist_ok=True)
    for entry in SUITES[arguments.suite]():
        if entry.name in document["programs"]:
            continue
        row = document["programs"][entry.name] = bounds(entry, arguments.time, arguments.workers)
        write_text(output, json.dumps(document, indent=1) + "\n")
        print(entry.name, row, flush=True)


if __name__ == "__main__":
    main()

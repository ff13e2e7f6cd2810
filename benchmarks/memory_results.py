"""XLA's memory space assignment (MSA) and the greedy rules on every program of ``jax-programs``, each plan judged.

python benchmarks/memory_results.py                  a minute; writes benchmarks/results/memory/programs.json
python benchmarks/memory_results.py --search 60      and a minute of local search for each of the 76 cases

The second goes on where an earlier run stopped. MSA counts by its own plans, where the validator finds them within the supplies
of the channels, and as the game replays them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from dispatchgym.agents.solvers.memory_game import followed
from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.agents.solvers.memory_msa import Options, assign, replayed
from dispatchgym.envs.programs import let_go_of_programs
from dispatchgym.eval.validators.base import Verdict
from dispatchgym.eval.validators.memory import validate
from dispatchgym.eval.validators.memory_plan import judge
from dispatchgym.instances.files import write_text
from dispatchgym.instances.memory import SUITES
from dispatchgym.instances.memory.instance import MemoryInstance

OUTPUT = Path(__file__).parent / "results" / "memory" / "programs.json"
SUITE = "jax-programs"
RULES = {"copy_first": 2, "nocopy_first": 1, "all_slow": 0}
VARIANTS = {"msa": Options(), "msa_size": Options(order="size"), "msa_repack": Options(max_repacks=10)}


def score(verdict: Verdict) -> dict[str, Any]:
    """What is kept of a plan, in ticks."""
    if not verdict.valid:
        return {"valid": False, "why": verdict.errors[0]}
    return {"valid": True, "latency": verdict.objective, "simulated": int(verdict.metrics["simulated"])}


def played(instance: MemoryInstance) -> dict[str, Any]:
    """The rules, and MSA's variants by their own plans and replayed."""
    tables = Tables(instance)
    found = {}
    for name, wish in RULES.items():
        found[name] = score(validate(instance, followed(tables, [wish] * tables.events).actions, {}))
    for name, options in VARIANTS.items():
        found[name] = score(validate(instance, replayed(instance, options).actions, {}))
        found[f"{name}_own"] = score(judge(instance, assign(instance, options).plan))
    return found


def main() -> None:
    """Fill in what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--search", type=float, help="seconds of local search for each program")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    programs: dict[str, Any] = {}
    if arguments.output.exists():
        programs = json.loads(arguments.output.read_text(encoding="utf-8"))["programs"]
    for entry in SUITES[SUITE]():
        given = entry.instance
        row = programs.setdefault(entry.name, {"methods": {}})
        row["group"], row["events"] = entry.group, int(given.n_events)
        row["all_slow"] = int(np.maximum(given.compute, given.memory).sum())
        row["methods"] |= played(given)
        label = f"local_search_{arguments.search:g}" if arguments.search else None
        if label and label not in row["methods"]:
            from dispatchgym.agents.solvers.memory_search import local_search

            solution = local_search(given, time_limit=arguments.search)
            row["methods"][label] = score(validate(given, solution.actions, {}))
            let_go_of_programs()
        write_text(arguments.output, json.dumps({"suite": SUITE, "programs": programs}, indent=1) + "\n")
        print(entry.name, {name: m.get("latency") for name, m in row["methods"].items()}, flush=True)


if __name__ == "__main__":
    main()

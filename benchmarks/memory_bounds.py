"""Certified lower bounds for the programs of a suite, which scores and gaps are measured against.

python benchmarks/memory_bounds.py                                 jax-programs, 20 s a program: half an hour on one core
python benchmarks/memory_bounds.py --suite published --seconds 300    another suite, with more time
python benchmarks/memory_bounds.py --references                    only write what earlier runs found to references.json

A run goes on where an earlier one with the same settings stopped. It writes
benchmarks/results/memory/bounds_SUITE.json, and in the end instances/data/memory/references.json, from which suites
take their references. All values are ticks of 2**-34 s. Two kinds of bounds are kept apart: "any" holds for every
mapping within capacity and supplies, wherever its buffers lie; "game" only for plays of MemoryMapping-v0 with charged
evictions, which XLA's own plans are not. Both come from CP-SAT and linear programs without offsets. The time of a
program goes to the coarse relaxation first, half of what is left to the full one, and the rest to the rules of the
game. A reference is the better of the two, as suites score plays; its source says which kind it is. It is "optimal" if
a play of benchmarks/results/memory/programs.json is as fast.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dispatchgym.agents.solvers.memory_bounds import coarse_bound, ideal_bound, relaxed_bound
from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.instances.base import SuiteEntry
from dispatchgym.instances.files import write_text
from dispatchgym.instances.memory import SUITES

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "memory"
REFERENCES = ROOT / "instances" / "data" / "memory" / "references.json"
KINDS = {"any": "for any plan", "game": "for plays of the game"}


def bounds(entry: SuiteEntry, seconds: float, workers: int) -> dict[str, Any]:
    """The bounds of one program, with the seconds that each took."""
    began = time.perf_counter()
    end = began + seconds
    took = {}

    def timed(name: str, run: Any, share: float, **arguments: Any) -> int:
        start = time.perf_counter()
        found: int = run(entry.instance, time_limit=max(0.1, share * (end - start)), workers=workers, **arguments)
        took[name] = round(time.perf_counter() - start, 1)
        return found

    coarse = timed("coarse", coarse_bound, 0.5)
    anyhow = max(coarse, timed("any", relaxed_bound, 0.5))
    game = max(anyhow, timed("game", relaxed_bound, 1.0, rules=True))
    tables = Tables(entry.instance)
    return {
        "all_slow": tables.all_slow,
        "ideal": ideal_bound(entry.instance),
        "coarse": coarse,
        "any": anyhow,
        "game": game,
        "kind": "game" if game > anyhow else "any",
        "seconds": took,
    }


def best_play(name: str) -> int | None:
    """Ticks of the fastest play of a program that is on record, None without one; XLA's own plans are no plays."""
    path = RESULTS / "programs.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["programs"] if path.exists() else {}
    plays = (m for label, m in rows.get(name, {}).get("methods", {}).items() if not label.endswith("_own"))
    return min((m["latency"] for m in plays if m.get("valid")), default=None)


def write_references(document: dict[str, Any]) -> None:
    """Enter the bounds of a finished run; what is there for other programs stays."""
    references = json.loads(REFERENCES.read_text(encoding="utf-8"))
    made = f"memory_bounds.py, OR-Tools {document['ortools']}, SciPy {document['scipy']}"
    for name, row in document["programs"].items():
        bound, optimal = row["game"], row["game"] == best_play(name)
        references["references"][name] = {
            "value": bound,
            "status": "optimal" if optimal else "bound",
            "lower_bound": bound,
            "source": f"certified bound {KINDS[row['kind']]} ({made}){', reached by a play' if optimal else ''}",
            "date": row["date"],
        }
    write_text(REFERENCES, json.dumps(references, indent=1) + "\n")


def main() -> None:
    """Fill in what is missing, then write the references."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=list(SUITES), default="jax-programs")
    parser.add_argument("--seconds", type=float, default=20.0, help="for all bounds of a program together")
    parser.add_argument("--workers", type=int, default=8, help="threads of CP-SAT, whose strategies differ")
    parser.add_argument("--references", action="store_true", help="compute nothing")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    output = arguments.output or RESULTS / f"bounds_{arguments.suite}.json"
    settings = {
        "suite": arguments.suite,
        "seconds": arguments.seconds,
        "workers": arguments.workers,
        "ortools": version("ortools"),
        "scipy": version("scipy"),
    }
    document: dict[str, Any] = settings | {"programs": {}}
    if output.exists():
        document = json.loads(output.read_text(encoding="utf-8"))
        differ = [name for name in settings if document.get(name) != settings[name]]
        if differ and not arguments.references:
            raise SystemExit(f"{output} was made with another {' and '.join(differ)}; move it away, or set them alike")
    output.parent.mkdir(parents=True, exist_ok=True)
    entries = () if arguments.references else SUITES[arguments.suite]().entries
    for n, entry in enumerate(entries, 1):
        if entry.name in document["programs"]:
            continue
        row = bounds(entry, arguments.seconds, arguments.workers)
        row["date"] = datetime.now(UTC).date().isoformat()
        document["programs"][entry.name] = row
        write_text(output, json.dumps(document, indent=1) + "\n")
        gained = 100 * (row["game"] / row["ideal"] - 1)
        print(
            f"{n}/{len(entries)} {entry.name}: any {row['any']}, game {row['game']} "
            f"({gained:.1f} % above the ideal), {sum(row['seconds'].values()):.1f} s",
            flush=True,
        )
    write_references(document)
    print(f"{len(document['programs'])} references in {REFERENCES}")


if __name__ == "__main__":
    main()

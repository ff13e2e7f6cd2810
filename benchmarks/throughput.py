"""What an environment does per second with its full graph observation at each step: ours and the peers, in one run.

    python benchmarks/throughput.py                    ours, all batches
    python benchmarks/throughput.py --peers            the peers too (benchmarks/peers/setup.sh makes their environments)
    python benchmarks/throughput.py --env soc          another family; throughput_<family>.py holds what it measures
    python benchmarks/throughput.py --json out.json    also write what was measured

Each measurement is a process of its own, one after the other, and reports the load it started under. Ours runs one thread a
core; a peer runs as it is and as one process a core, and the faster counts. Ours carries the GraphObservation from step to
step, as an agent's loop does, so that the compiler cannot leave anything out; arrays that never change in an episode are
written once per instance and referred to, all others are written at every step. Peers consume their whole observation at
each step too.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

FAMILIES = ("job_shop", "soc", "memory")
HERE = Path(__file__).resolve().parent


def main() -> None:
    """Parse the command line; a worker call measures one thing and prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="job_shop", choices=FAMILIES)
    parser.add_argument("--peers", action="store_true", help="measure the peers too")
    parser.add_argument("--seconds", type=float, default=5.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=3, help="repeat everything this often, interleaved")
    parser.add_argument("--json", type=Path, help="write all measurements there")
    parser.add_argument("--worker", nargs=2, metavar=("KIND", "BATCH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    family = importlib.import_module(f"throughput_{arguments.env}")
    if arguments.worker:
        kind, batch = arguments.worker
        print(json.dumps(family.WORKERS[kind](int(batch), arguments.seconds)))
        return
    jobs = [*family.JOBS]
    jobs += [(peer, b) for peer, (_, batches) in family.PEERS.items() for b in batches] if arguments.peers else []
    best: dict[tuple[str, int], dict[str, Any]] = dict(family.quoted())
    for round_ in range(arguments.rounds):
        for kind, batch in jobs:
            print(f"round {round_ + 1}/{arguments.rounds}: {kind} {batch or ''} ...", file=sys.stderr)
            found = measure(family, arguments.env, kind, batch, arguments.seconds)
            if found is None:
                continue
            old = best.get((kind, batch))
            better = min if kind in family.COSTS else max  # of costs the worst round counts
            best[kind, batch] = found if old is None else better(old, found, key=lambda row: row["rate"])
    family.report(best)
    if arguments.json:
        rows = [v | {"kind": k, "batch": b} for (k, b), v in best.items()]
        command = "python benchmarks/throughput.py" + f" --env {arguments.env}" * (arguments.env != FAMILIES[0])
        command += " --peers" * arguments.peers
        command += f" --rounds {arguments.rounds} --seconds {arguments.seconds:g} --json {arguments.json}"
        about = {"command": command, "cores": os.cpu_count(), "rounds": arguments.rounds}
        document = about | {"measured": rows}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


def measure(family: ModuleType, env: str, kind: str, batch: int, seconds: float) -> dict[str, Any] | None:
    """Run one worker; None if a peer's environment is missing or fails."""
    load = os.getloadavg()[0]
    if kind in family.PEERS:
        folder = Path(os.environ.get("DISPATCHGYM_PEERS", HERE.parent / ".cache" / "peers")) / kind
        if not folder.exists():
            print(f"{kind}: no environment in {folder}; make it with benchmarks/peers/setup.sh", file=sys.stderr)
            return None
        script = HERE / "peers" / family.PEERS[kind][0]
        command = [str(folder / "bin" / "python"), str(script), "--seconds", str(seconds)]
        whole = run(family, [[*command, "--batch", str(batch)]])
        cores = os.cpu_count() or 1
        # The peer as it is, and as one process a core with its share of the batch: the faster counts.
        share = [[*command, "--batch", str(max(batch // cores, 1))]] * cores
        parts = run(family, share) if cores > 1 and batch >= 256 else None
        found = max((f for f in (whole, parts) if f), key=lambda f: f["rate"], default=None)
    else:
        command = [sys.executable, __file__, "--env", env, "--worker", kind, str(batch), "--seconds", str(seconds)]
        found = run(family, [command])
    return None if found is None else found | {"load": round(load, 2)}


def run(family: ModuleType, commands: list[list[str]]) -> dict[str, Any] | None:
    """Run commands at once and add up their rates; None if one fails."""
    started = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
    rows = []
    for process in started:
        out, err = process.communicate(timeout=600)
        if process.returncode:
            print(f"{process.args} failed: {err.strip().splitlines()[-1:]}", file=sys.stderr)
            return None
        rows.append(json.loads(out.strip().splitlines()[-1]))
    found = rows[0] | {"processes": len(rows)}
    if family.RATE in found:
        for key in family.RATES:
            if key in found:
                found[key] = sum(row[key] for row in rows)
    found["rate"] = found.get(family.RATE, found.get("rate"))
    return found


if __name__ == "__main__":
    main()

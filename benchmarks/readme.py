"""Write the tables of the README from the JSON documents in benchmarks/results/.

benchmarks/job_shop_results.sh                                                        makes job_shop/*.json
python benchmarks/throughput.py --peers --json benchmarks/results/throughput.json     makes throughput.json
benchmarks/soc_results.sh                                                             makes soc/*.json
python benchmarks/memory_results.py --search 60                                       makes memory/programs.json
python benchmarks/throughput.py --env memory --json benchmarks/results/throughput_memory.json    makes that
python benchmarks/readme.py                                                           writes the tables
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import memory_tables
import soc_tables

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "job_shop"
CLASSES = ("15x15", "20x15", "20x20", "30x15", "30x20", "50x15", "50x20", "100x20")
METHODS = (
    ("spt", "SPT", "non-delay"),
    ("fifo", "FIFO", "non-delay"),
    ("mwkr", "MWKR", "non-delay"),
    ("mopnr", "MOPNR", "non-delay"),
    ("fdd_mwkr", "FDD/MWKR, the best rule", "non-delay"),
    ("insa", "INSA", "constructive"),
    ("randomised_fdd_mwkr", "FDD/MWKR randomised", "best of 128"),
    ("shifting_bottleneck", "shifting bottleneck", "constructive"),
    ("pretrained", "**pretrained**", "**greedy**"),
    ("pretrained_128", "**pretrained**", "**best of 128**"),
)
# Quoted: output/Results.xlsx of AndreaCorsini1/SelfLabelingJobShop (arXiv 2401.11849); L2D re-run there.
PUBLISHED = (
    ("L2D, quoted", "greedy", (24.4, 30.2, 28.6, 30.1, 34.5, 19.6, 23.1, 13.4, 25.5)),
    ("SLIM, quoted", "greedy", (13.8, 15.0, 15.2, 17.1, 18.5, 10.1, 11.6, 5.9, 13.4)),
    ("SLIM, quoted", "best of 128", (7.3, 9.3, 10.0, 11.0, 13.4, 5.5, 8.4, 2.3, 8.4)),
    ("CP-SAT 1 h, quoted", "solver", (0.0, 0.3, 0.7, 2.1, 2.8, 0.0, 2.8, 4.0, 1.6)),
)


def main() -> None:
    """Replace what stands between the markers."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    blocks = (
        ("results", table()),
        ("speed", speed()),
        ("soc", soc_tables.table()),
        ("soc-speed", soc_tables.speed()),
        ("memory", memory_tables.table()),
        ("memory-speed", memory_tables.speed()),
    )
    for name, lines in blocks:
        block = f"<!-- {name}:begin -->\n" + "\n".join(lines) + f"\n<!-- {name}:end -->"
        pattern = f"<!-- {name}:begin -->.*<!-- {name}:end -->"
        text, found = re.subn(pattern, lambda _, block=block: block, text, flags=re.S)  # type: ignore[misc]
        if found != 1:
            raise SystemExit(f"README.md needs the markers of {name!r} exactly once, it has them {found} times")
    readme.write_text(text, encoding="utf-8")


def speed() -> list[str]:
    """Markdown lines: complete 10x10 schedules per second, ours and the peers, and what the rest of the run found."""
    path = RESULTS.parent / "throughput.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    found = {(row["kind"], row["batch"]): row for row in document["measured"]}
    names = {
        "scan": "dispatchgym, `lax.scan`",
        "scan, one thread": "the same on one thread",
        "single": "dispatchgym, `gym.make`",
        "jumanji": "jumanji JobShop",
        "rl4co": "RL4CO JSSP",
        "jssenv": "JSSEnv",
        "job_shop_lib": "job-shop-lib",
    }
    batches = (1, 256, 4096)
    lines = [
        "Complete 10x10 schedules per second, random legal actions, the observation written at each step (of ours all that",
        "changes in an episode: nodes, globals, candidates and their mask; edges are written once an instance), on",
        f"{document['cores']} CPU cores, the best of {document['rounds']} round(s):",
        "",
        "| environment | " + " | ".join(f"batch {b:,}" for b in batches) + " |",
        "|---|" + "---:|" * len(batches),
    ]
    for kind, name in names.items():
        rates = [found[kind, b]["schedules_per_second"] if (kind, b) in found else None for b in batches]
        if any(rates):
            cells = ["-" if r is None else f"{r:,.0f}" if r >= 100 else f"{r:,.1f}" for r in rates]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    reset, memory, copy = found["autoreset", 1024], found["memory", 4096], found["bandwidth", 0]
    ours = found["scan", 256]
    share = ours["bytes_per_step"] * ours["steps_per_second"] / copy["rate"]
    lines += [
        "",
        f"A step at batch 256 moves {ours['bytes_per_step']:,} bytes, {share:.0%} of what this machine copies per second. Autoreset",
        f"from the pool, episodes out of phase, costs at most {reset['cost']:.2f} times a step without.",
        f"4,096 environments of 20x15 peak at {memory['peak_gib']:.2f} GiB. Of these two the worst round counts. Peers run by their",
        "fastest documented path, in one process or in one a core, whichever is faster (`benchmarks/peers/`).",
        "",
        f"Measured by `{document['command']}`.",
    ]
    return lines


def table() -> list[str]:
    """Markdown lines: methods measured here, then quoted ones."""
    lines = [
        "Mean gap to the best known makespan on Taillard's instances, in %; ten instances a class, every schedule accepted by the",
        "validator. The last column is the 95 % bootstrap interval of the mean over all 80.",
        "",
        "| method | mode | " + " | ".join(CLASSES) + " | all | interval |",
        "|---|---|" + "---:|" * (len(CLASSES) + 2),
    ]
    for file, name, mode in METHODS:
        path = RESULTS / f"{file}.json"
        if path.exists():
            lines.append(row(name, mode, json.loads(path.read_text(encoding="utf-8"))))
    for name, mode, values in PUBLISHED:
        lines.append(f"| {name} | {mode} | " + " | ".join(f"{v:.1f}" for v in values) + " | |")
    lines += [
        "",
        "Measured by `benchmarks/job_shop_results.sh`, written here by `python benchmarks/readme.py`; the documents of",
        "`dispatchgym eval --json` are in `benchmarks/results/job_shop/`. Quoted rows are from the results of",
        "[SelfLabelingJobShop](https://github.com/AndreaCorsini1/SelfLabelingJobShop), gaps to its references.",
    ]
    return lines


def row(name: str, mode: str, document: dict[str, Any]) -> str:
    """One line of the table; refuses results that were not all validated."""
    summary = document["summary"]
    if summary["valid"] != summary["count"]:
        raise SystemExit(
            f"{document['policy']}: {summary['valid']} of {summary['count']} schedules are valid; not publishable"
        )
    classes = document["metrics"]["classes"]
    gaps = [100 * classes[c]["mean_gap"] for c in CLASSES] + [100 * summary["mean_gap"]]
    low, high = (100 * x for x in summary["ci95"])
    cells = " | ".join(f"{g:.1f}" for g in gaps)
    return f"| {name} | {mode} | {cells} | {low:.1f} .. {high:.1f} |"


if __name__ == "__main__":
    main()

"""Write the results table into the README from benchmarks/results/job_shop/*.json (made by job_shop_table.sh).

    python benchmarks/job_shop_table.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

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
    block = "<!-- results:begin -->\n" + "\n".join(table()) + "\n<!-- results:end -->"
    readme.write_text(re.sub(r"<!-- results:begin -->.*<!-- results:end -->", lambda _: block, text, flags=re.S), encoding="utf-8")


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
        "Measured by `benchmarks/job_shop_table.sh`, written here by `python benchmarks/job_shop_table.py`; the documents of",
        "`dispatchgym eval --json` are in `benchmarks/results/job_shop/`. Quoted rows are from the results of",
        "[SelfLabelingJobShop](https://github.com/AndreaCorsini1/SelfLabelingJobShop), gaps to its references.",
    ]
    return lines


def row(name: str, mode: str, document: dict[str, Any]) -> str:
    """One line of the table; refuses results that were not all validated."""
    summary = document["summary"]
    if summary["valid"] != summary["count"]:
        raise SystemExit(f"{document['policy']}: {summary['valid']} of {summary['count']} schedules are valid; not publishable")
    classes = document["metrics"]["classes"]
    gaps = [100 * classes[c]["mean_gap"] for c in CLASSES] + [100 * summary["mean_gap"]]
    low, high = (100 * x for x in summary["ci95"])
    cells = " | ".join(f"{g:.1f}" for g in gaps)
    return f"| {name} | {mode} | {cells} | {low:.1f} .. {high:.1f} |"


if __name__ == "__main__":
    main()

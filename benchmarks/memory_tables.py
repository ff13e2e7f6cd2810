"""The table of MemoryMapping-v0 in the README, from benchmarks/results/memory/programs.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "memory" / "programs.json"
RESAMPLES = 10_000
PARTS = (("held out", "held out"), ("train", "training"))
METHODS = ("copy_first", "nocopy_first", "msa_size", "msa_repack", "best MSA")


def best(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """Of the valid results of these methods that of the smallest latency."""
    valid = [row["methods"][name] for name in names if row["methods"][name]["valid"]]
    return min(valid, key=lambda m: m["latency"])


def variant(row: dict[str, Any], name: str) -> dict[str, Any]:
    """A rule; or a variant of MSA, the better of its own plan, where that is valid, and of its replay."""
    if name == "best MSA":
        return best(row, *(f"{v}{own}" for v in ("msa", "msa_size", "msa_repack") for own in ("", "_own")))
    return best(row, name, f"{name}_own") if name.startswith("msa") else row["methods"][name]


def interval(programs: list[str], values: np.ndarray) -> str:
    """Mean in percent with the 95 % bootstrap interval over programs, whose capacities stay together."""
    groups = [values[[i for i, p in enumerate(programs) if p == program]] for program in dict.fromkeys(programs)]
    sums, counts = np.array([g.sum() for g in groups]), np.array([len(g) for g in groups])
    draw = np.random.default_rng(0).integers(0, len(groups), (RESAMPLES, len(groups)))
    low, high = np.quantile(sums[draw].sum(1) / counts[draw].sum(1), (0.025, 0.975))
    return f"{100 * values.mean():+.1f} ({100 * low:+.1f} .. {100 * high:+.1f})"


def counts(own: np.ndarray, rival: np.ndarray) -> str:
    """How often faster, equal, slower."""
    return f"{(own < rival).sum()} / {(own == rival).sum()} / {(own > rival).sum()}"


def table() -> list[str]:
    """Markdown lines: rules and variants of MSA against MSA, by the model and in the simulation."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["programs"]
    names = {name.partition("@")[0] for name in rows}
    lines = [
        f"XLA's memory space assignment (MSA, re-implemented, default options) on the suite `jax-programs`: {len(names)} programs at",
        f"an eighth and half of their peak of live bytes, {len(rows)} cases. How often a method is faster / as fast / slower, and its mean",
        "reduction of the latency in % with the 95 % bootstrap interval over programs (above 0: faster than MSA) - by the model,",
        "which is the objective, and in the simulation where copies and computation share the bandwidth of slow memory.",
        "",
        "| programs | method | model: f / a / s | reduction, % | simulated: f / a / s | reduction, % |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for part, label in PARTS:
        chosen = {name: row for name, row in rows.items() if row["group"] == part}
        programs = [name.partition("@")[0] for name in chosen]
        for method in METHODS:
            pairs = [(variant(row, method), variant(row, "msa")) for row in chosen.values()]
            shown = []
            for measure in ("latency", "simulated"):
                own, rival = (np.array([pair[i][measure] for pair in pairs], float) for i in (0, 1))
                shown += [counts(own, rival), interval(programs, 1 - own / rival)]
            lines.append(f"| {label} ({len(chosen)}) | {method} | " + " | ".join(shown) + " |")
    return [
        *lines,
        "",
        "By the model the trivial rule copy_first beats MSA; in the simulation it loses, since the game, like XLA, hides copies behind",
        "steps that use the same memory: judge a policy by both. An MSA counts by its own plan where that keeps within the supplies",
        'of the copy channels, else as the game replays it; "best MSA" is the best of the three, case by case.',
        "",
        "Measured by `python benchmarks/memory_results.py`, written here by `python benchmarks/readme.py`. MSA is without slices,",
        "cross-program prefetch, window prefetch and conditional mirroring; its production settings are not public.",
    ]


if __name__ == "__main__":
    print("\n".join(table()))

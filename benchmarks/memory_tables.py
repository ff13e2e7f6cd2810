"""The table of MemoryMapping-v0 in the README, and its cases in docs/memory-results.md, from results/memory/programs.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "memory" / "programs.json"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "memory-results.md"
RESAMPLES = 10_000
MICROSECONDS = 1e6 / 2**34
PARTS = (("held out", "held out"), ("train", "training"))
METHODS = {
    "pretrained": "**pretrained, greedy**",
    "three plays": "best of three plays: pretrained, short_stays, copy_first",
    "pretrained_best_of_64": "**pretrained, best of 64**",
    "search_60": "**60 s of search from it**",
    "short_stays": "short_stays",
    "copy_first": "copy_first",
    "epsilon_copy_first_best_of_64": "copy_first with 5 % random, best of 64",
    "nocopy_first": "nocopy_first",
    "best MSA": "MSA, best of five variants",
}
MSA = ("msa", "msa_strict", "msa_size", "msa_repack", "msa_updates")
COMBINED = ("best MSA", "three plays")
SHOWN = ("pretrained", "search_60", "short_stays", "copy_first")


def best(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """Of the valid results of these methods that of the smallest latency."""
    valid = [row["methods"][name] for name in names if row["methods"][name]["valid"]]
    return min(valid, key=lambda m: m["latency"])


def variant(row: dict[str, Any], name: str) -> dict[str, Any]:
    """A method; or a variant of MSA, the better of its own plan, where that is valid, and of its replay."""
    if name == "best MSA":
        return best(row, *(f"{v}{own}" for v in MSA for own in ("", "_own")))
    if name == "three plays":
        return best(row, "pretrained", "short_stays", "copy_first")
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


def rows_of(part: str) -> tuple[dict[str, Any], list[str]]:
    """The cases of a part by name, and the program of each."""
    rows = {k: v for k, v in json.loads(RESULTS.read_text(encoding="utf-8"))["programs"].items() if v["group"] == part}
    return rows, [name.partition("@")[0] for name in rows]


def table() -> list[str]:
    """Markdown lines: every method against MSA, by the model and in the simulation."""
    lines = [
        "XLA's memory space assignment (MSA, re-implemented, default options) on the suite `jax-programs`: 38 programs at",
        "an eighth and half of their peak of live bytes, 76 cases. How often a method is faster / as fast / slower, and its mean",
        "reduction of the latency in % with the 95 % bootstrap interval over programs (above 0: faster than MSA) - by the model,",
        "which is the objective, and in the simulation where copies and computation share the bandwidth of slow memory.",
        "prod: the better of method and MSA. Gap: how far the method is above the certified lower bound, mean and median.",
        "",
        "| programs | method | model: f / a / s | reduction, % | prod, % | gap, % | simulated: f / a / s | reduction, % |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for part, label in PARTS:
        rows, programs = rows_of(part)
        bound = np.array([row["bound"] for row in rows.values()], float)
        for method, shown in METHODS.items():
            if method not in COMBINED and not all(method in row["methods"] for row in rows.values()):
                continue
            pairs = [(variant(row, method), variant(row, "msa")) for row in rows.values()]
            own, rival = (np.array([pair[i]["latency"] for pair in pairs], float) for i in (0, 1))
            gap = 100 * (own / bound - 1)
            cells = [counts(own, rival), interval(programs, 1 - own / rival)]
            cells += [
                f"{100 * (1 - np.minimum(own, rival) / rival).mean():+.1f}",
                f"{gap.mean():.1f}, {np.median(gap):.1f}",
            ]
            own, rival = (np.array([pair[i]["simulated"] for pair in pairs], float) for i in (0, 1))
            cells += [counts(own, rival), interval(programs, 1 - own / rival)]
            lines.append(f"| {label} ({len(rows)}) | {shown} | " + " | ".join(cells) + " |")
    return [
        *lines,
        "",
        *solved(),
        "",
        "By the model even the trivial rule copy_first beats MSA; in the simulation it loses, since the game, like XLA, hides copies",
        "behind steps that use the same memory: judge a policy by both. An MSA counts by its own plan where that keeps within the",
        "supplies of the copy channels, else as the game replays it; MSA is without slices, cross-program prefetch, window prefetch",
        "and conditional mirroring, and its production settings are not public.",
        "[docs/memory-results.md](docs/memory-results.md) has the cases one by one.",
        "",
        "Measured by `python benchmarks/memory_results.py --search 60` (a search has one core for 60 s), written here by",
        "`python benchmarks/readme.py`.",
    ]


def solved() -> list[str]:
    """Sentences on the cases where nobody can be faster than MSA, and on the rule that the policy was trained from."""
    lines = []
    for part, label in PARTS:
        rows, programs = rows_of(part)
        own, rule = (
            np.array([row["methods"][m]["latency"] for row in rows.values()]) for m in ("pretrained", "short_stays")
        )
        rival = np.array([variant(row, "msa")["latency"] for row in rows.values()])
        tight = rival <= np.array([row["bound"] for row in rows.values()])
        lines += [
            f"Programs {'held out' if label == 'held out' else 'of training'}: MSA is at the certified bound in {tight.sum()} of "
            f"{len(rows)} cases, where nothing can be faster; the greedy",
            f"policy is faster in {(own < rival).sum()} of the other {(~tight).sum()}. Compared with short_stays, the rule that it was "
            f"trained from, it is faster / as fast / slower in",
            f"{counts(own, rule)} cases and reduces the latency by {interval(programs, 1 - own / rule)} %.",
        ]
    return lines


def speed() -> list[str]:
    """Markdown lines: decisions per second by room for rectangles, and the first fit alone."""
    document = json.loads((RESULTS.parents[1] / "throughput_memory.json").read_text(encoding="utf-8"))
    found = {(row["kind"], row["batch"]): row for row in document["measured"]}
    lines = [
        "Memory mapping, decisions per second by copy_first, the whole observation written at each step; programs of up to 256,",
        "512 and 1,024 use-events, which is the room for rectangles:",
        "",
        "| rectangles | batch 1 | batch 256 | batch 1,024 | `gym.make` | our plain-Python twin, no observation |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for size in (256, 512, 1024):
        kinds = [("scan", 1), ("scan", 256), ("scan", 1024), ("gym.make", 1), ("twin", 1)]
        rates = [found[f"R={size}: {what}", batch]["rate"] for what, batch in kinds]
        lines.append(f"| {size:,} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |")
    lines += [
        "",
        "First fit alone, milliseconds for all environments at once: ours keeps the rectangles sorted; the others are a sort with a",
        "running maximum, and all pairs of rectangles.",
        "",
        "| rectangles | environments | ours | with the insertion that keeps the order | sort | pairs |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for (kind, batch), row in found.items():
        if kind.endswith("first fit"):
            times = [f"{row['milliseconds'][way]:.2f}" for way in ("ours", "ours with insertion", "sort", "pairs")]
            lines.append(f"| {kind[2:].partition(':')[0]} | {batch:,} | " + " | ".join(times) + " |")
    return [*lines, "", f"Measured by `{document['command']}` on {document['cores']} shared cores."]


def page() -> list[str]:
    """Markdown lines: every case in microseconds."""
    lines = [
        "# Memory mapping, case by case",
        "",
        "Latency by the model, in microseconds, of the suite `jax-programs`; simulated latency in brackets. MSA is the better of its own",
        "plan, where that is valid, and its replay. Written by `python benchmarks/memory_tables.py` from",
        "`benchmarks/results/memory/programs.json`.",
    ]
    for part, label in PARTS:
        rows, _ = rows_of(part)
        methods = [m for m in SHOWN if all(m in row["methods"] for row in rows.values())]
        lines += ["", f"## Programs {'held out' if label == 'held out' else 'of training'}", ""]
        lines += ["| program | uses | all slow | MSA | best MSA | " + " | ".join(methods) + " | bound |"]
        lines += ["|---|---:|---:|---:|---:|" + "---:|" * len(methods) + "---:|"]
        for name, row in rows.items():
            found = [variant(row, m) for m in ("msa", "best MSA", *methods)]
            shown = [f"{m['latency'] * MICROSECONDS:.1f} ({m['simulated'] * MICROSECONDS:.1f})" for m in found]
            ends = [f"{row['all_slow'] * MICROSECONDS:.1f}", *shown, f"{row['bound'] * MICROSECONDS:.1f}"]
            lines.append(f"| {name} | {row['events']} | " + " | ".join(ends) + " |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
    PAGE.write_text("\n".join(page()) + "\n", encoding="utf-8")

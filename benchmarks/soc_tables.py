"""Tables of SocDag-v0 from the documents in benchmarks/results/soc/, for the README and for the card of the shipped policy.

benchmarks/soc_results.sh                                                                     makes soc/SUITE.json
python benchmarks/throughput.py --env soc --json benchmarks/results/throughput_soc.json       makes throughput_soc.json
python benchmarks/soc_tables.py                                                               writes the card
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "soc"
POLICY = ROOT / "agents" / "pretrained" / "soc"
SUITES = (
    "canonical",
    "realworld",
    "canonical-burst",
    "canonical-closed",
    "realworld-burst",
    "realworld-five",
    "realworld-cpus",
)
DETAILED = ("canonical", "realworld")  # by class


def load(suite: str) -> dict[str, Any] | None:
    """The document of a suite, refused if anything in it was not validated."""
    path = RESULTS / f"{suite}.json"
    if not path.exists():
        return None
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    count, comparison = document["summary"]["count"], document["comparison"]
    for method in (comparison["policy"], *comparison["methods"].values()):
        if method.get("valid") != count:
            raise SystemExit(
                f"{suite}: {method['name']} has {method.get('valid')} of {count} valid results; not publishable"
            )
    return document


def cell(method: dict[str, Any]) -> str:
    """A paired difference in percent with its interval."""
    low, high = method["difference_ci95"]
    return f"{100 * method['difference']:+.1f} ({100 * low:+.1f} .. {100 * high:+.1f})"


def row(name: str, section: dict[str, Any]) -> str:
    """One class: means, and the policy's differences from DS3's ETF and from the best rule there."""
    etf, best = section["methods"]["etf_ds3"], section["best_rule"]
    rival = section["methods"][best]
    mark = "" if rival["verdict"] != "loses" else " **the rule wins**"
    values = f"{section['policy']['mean']:.1f} | {etf['mean']:.1f} | {rival['mean']:.1f}"
    return f"| {name} | {section['instances']} | {values} | {best}{mark} | {cell(etf)} | {cell(rival)} |"


def table() -> list[str]:
    """Markdown lines: every suite, and the published settings by class."""
    lines = [
        "Mean latency of a job in microseconds, and by how much the pretrained policy's differs from DS3's ETF and from the best of",
        "all rules of the row, in % with the 95 % bootstrap interval, paired by stream (below 0: the policy is faster). The best",
        "rule is chosen after the fact, row by row. Noise is the standard deviation of execution times, scale the mean gap between",
        "jobs. Every result was replayed by the validator.",
        "",
        "| streams | n | pretrained | ETF | best rule | its name | to ETF, % | to the best rule, % |",
        "|---|---:|---:|---:|---:|---|---|---|",
    ]
    for suite in SUITES:
        document = load(suite)
        if document is None:
            continue
        comparison = document["comparison"]
        lines.append(row(f"**{suite}**, all", comparison["all"]))
        if suite in DETAILED:
            lines += [row(f"{suite}, {group}", section) for group, section in comparison["classes"].items()]
    lines += [
        "",
        "Measured by `benchmarks/soc_results.sh`, written here by `python benchmarks/readme.py`; the documents, with every rule and",
        "class, are in `benchmarks/results/soc/`.",
    ]
    return lines


def card() -> None:
    """Replace the details of the shipped policy's card; weights, schema and architecture stay."""
    path = POLICY / "card.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    results, weak = {}, []
    for suite in SUITES:
        document = load(suite)
        if document is None:
            continue
        whole = document["comparison"]["all"]
        rules = {
            name: {"mean_latency_us": round(m["mean"], 2), "difference_percent": round(100 * m["difference"], 2),
                   "ci95": [round(100 * x, 2) for x in m["difference_ci95"]]}
            for name, m in sorted(whole["methods"].items(), key=lambda item: item[1]["mean"])
        }  # fmt: skip
        results[suite] = {"mean_latency_us": round(whole["policy"]["mean"], 2), "rules": rules}
        for group, section in document["comparison"]["classes"].items():
            for name in section["winning_rules"]:
                weak.append(f"{suite}, {group}: {name} is better, {cell(section['methods'][name])} %")
    content["details"] = {
        "description": "evolution strategies on an index of 21 features and the backlog; across chips, loads and noise",
        "algorithm": "evolution",
        "command": "dispatchgym train --env dispatchgym/SocDag-v0 --algo evolution --config soc --seed 1",
        "training": {
            "iterations": "210 of 240, the best on validation; the generators canonical-20, canonical-varied-20, "
            "realworld-15, realworld-varied-12: random loads, noise 0 to 0.5, and in the varied ones random speeds, "
            "missing PEs, mixes, bursts and closed admission",
            "seconds": 798,
            "hardware": "two shared CPU cores",
            "note": "The index head alone was trained; the rest of the network does not speak. One run, one seed.",
        },
        "weights_sha256": hashlib.sha256((POLICY / "policy.safetensors").read_bytes()).hexdigest(),
        "results": results,
        "weaknesses": weak or ["no rule was better on any class of these suites with an interval that excludes 0"],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    card()

"""Write results and provenance into the card of the shipped memory-mapping policy.

python benchmarks/memory_card.py        after benchmarks/memory_results.py
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import memory_tables
import numpy as np

POLICY = Path(__file__).resolve().parents[1] / "agents" / "pretrained" / "memory"
COMMAND = "dispatchgym train --env dispatchgym/MemoryMapping-v0 --algo rollout_improvement --config memory --seed 5"
NOTE = (
    "One run, one seed; the weights are those of its best validation, iteration 378 of 420. Programs of the held-out families were "
    "never trained on nor used to choose. Six runs of evolution strategies on an index head, imitation of 1,600 beam-search "
    "plans, and policy iteration without kept states were tried before and were no better than the rule short_stays."
)
RIVALS = ("msa", "best MSA", "copy_first", "short_stays")


def main() -> None:
    """Replace the card's details; weights, schema and architecture stay."""
    path = POLICY / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    results: dict[str, Any] = {}
    weak: list[str] = []
    for part, label in memory_tables.PARTS:
        rows, programs = memory_tables.rows_of(part)
        own = np.array([row["methods"]["pretrained"]["latency"] for row in rows.values()], float)
        for rival in RIVALS:
            other = np.array([memory_tables.variant(row, rival)["latency"] for row in rows.values()], float)
            results.setdefault(label, {"cases": len(rows)})[rival] = {
                "faster / as fast / slower": memory_tables.counts(own, other),
                "reduction of the latency, %": memory_tables.interval(programs, 1 - own / other),
            }
            for name, a, b in zip(rows, own, other, strict=True):
                if b < 0.98 * a:
                    weak.append(f"{name}: {rival} is faster by {100 * (1 - b / a):.1f} %")
    card["details"] = {
        "description": "policy improvement by rollouts of short_stays on windows of the training programs; greedy or sampled",
        "algorithm": "rollout_improvement",
        "training": {"command": COMMAND, "seconds": 1174, "hardware": "one of two shared CPU cores", "note": NOTE},
        "weights_sha256": hashlib.sha256((POLICY / "policy.safetensors").read_bytes()).hexdigest(),
        "results": results,
        "weaknesses": weak,
    }
    path.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

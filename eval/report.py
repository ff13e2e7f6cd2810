"""From results to the numbers people read: score, gap, intervals, means of metrics; one JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from dispatchgym.eval.runner import Request, Result

BOOTSTRAP = 10_000


@dataclass(frozen=True)
class Row:
    """One instance, scored. ``gap`` and ``score`` are fractions; None without a reference or a valid result."""

    instance: str
    group: str
    objective: int | None
    reference: int | None
    score: float | None
    gap: float | None
    valid: bool
    seconds: float
    decisions: int
    status: str
    bound: int | None
    errors: tuple[str, ...]
    metrics: dict[str, float] = field(default_factory=dict)


def rows(results: Sequence[Result], sense: str) -> list[Row]:
    """Score every result: reference / value if minimised, value / reference if maximised; infeasible scores 0."""
    out = []
    for r in results:
        reference = r.problem.reference.value if r.problem.reference else None
        score = gap = None
        if reference is not None:
            score = 0.0
            if r.valid and r.objective is not None:
                better, worse = (reference, r.objective) if sense == "min" else (r.objective, reference)
                score = better / worse if worse else 1.0
                gap = (r.objective - reference) / reference * (1 if sense == "min" else -1) if reference else 0.0
        o = r.outcome
        out.append(
            Row(r.problem.name, r.problem.group, r.objective if r.valid else None, reference, score, gap, r.valid,
                o.seconds, o.decisions, o.status, o.bound, r.errors, r.metrics)
        )  # fmt: skip
    return out


def interval(values: Sequence[float], seed: int = 0) -> list[float] | None:
    """95 % percentile bootstrap interval of the mean over instances; None for fewer than two."""
    if len(values) < 2:
        return None
    low, high = np.percentile(np.asarray(values, float)[resamples(len(values), seed)].mean(axis=1), [2.5, 97.5])
    return [float(low), float(high)]


@lru_cache(maxsize=4)
def resamples(count: int, seed: int = 0) -> np.ndarray:
    """i64[BOOTSTRAP, count]: the instances in every resample; the same draws for whatever is measured on them."""
    draws = np.random.RandomState(seed).randint(0, count, (BOOTSTRAP, count))
    draws.setflags(write=False)
    return draws


def metric_means(table: Sequence[Row]) -> dict[str, float]:
    """Mean of every metric over the instances that have it; a validator leaves out what has no meaning."""
    names = dict.fromkeys(name for row in table for name in row.metrics)
    return {name: float(np.mean([row.metrics[name] for row in table if name in row.metrics])) for name in names}


def summarise(table: Sequence[Row]) -> dict[str, Any]:
    """Means over valid instances (scores over all, failures counting 0), with the interval of the mean gap and the means of metrics."""
    gaps = [row.gap for row in table if row.gap is not None]
    scores = [row.score for row in table if row.score is not None]
    objectives = [row.objective for row in table if row.objective is not None]
    return {
        "count": len(table),
        "valid": sum(row.valid for row in table),
        "mean_objective": float(np.mean(objectives)) if objectives else None,
        "mean_score": float(np.mean(scores)) if scores else None,
        "mean_gap": float(np.mean(gaps)) if gaps else None,
        "ci95": interval(gaps),
        "metrics": metric_means(table),
    }


def by_group(table: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows per class, in order of appearance."""
    groups: dict[str, list[Row]] = {}
    for row in table:
        groups.setdefault(row.group, []).append(row)
    return groups


def document(
    request: Request, suite: str, mode: str, results: Sequence[Result], table: Sequence[Row]
) -> dict[str, Any]:
    """The JSON document of ``dispatchgym eval --json``."""
    seconds, decisions = sum(r.seconds for r in table), sum(r.decisions for r in table)
    return {
        "env": request.entry.id,
        "policy": request.policy,
        "suite": suite,
        "mode": mode,
        "instances": [
            {
                "instance": row.instance,
                "objective": row.objective,
                "reference": row.reference,
                "score": row.score,
                "gap": row.gap,
                "valid": row.valid,
                "seconds": round(row.seconds, 6),
            }
            | ({"status": row.status, "bound": row.bound} if row.status else {})
            | ({"metrics": row.metrics} if row.metrics else {})
            | ({"errors": list(row.errors)} if row.errors else {})
            for row in table
        ],
        "summary": summarise(table),
        "metrics": {
            "options": results[0].outcome.options,
            "seed": request.seed,
            "seconds": round(seconds, 6),
            "decisions_per_second": round(decisions / seconds, 1) if seconds else None,
            "classes": {group: summarise(members) for group, members in by_group(table).items() if group},
        },
    }

"""A policy against other methods on the same instances: means, paired differences with intervals, and where a rule wins.

The difference is that of the means, as a fraction of the other method's mean: below 0 the policy's mean is smaller. Its
95 % interval is the percentile bootstrap over instances, with the same draws for both. The policy wins or loses where
the interval excludes 0, and is tied otherwise; the many intervals of a table are not corrected for their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dispatchgym.agents.catalogue import find, kind
from dispatchgym.eval.report import interval, resamples
from dispatchgym.eval.runner import Progress, Request, Result, run
from dispatchgym.instances.base import DispatchGymError

ALL = "all"


@dataclass(frozen=True)
class Contender:
    """A method and what it reached: one value an instance, None where the validator accepted none."""

    name: str
    kind: str  # "pretrained" | "rule" | "solver"
    mode: str
    options: dict[str, Any]  # of the environment
    values: tuple[float | None, ...]
    error: str = ""  # why it could not run


def contender(request: Request, mode: str, results: Sequence[Result]) -> Contender:
    """What is compared of the results: the headline of the environment, or the objective if it has none."""
    headline = request.entry.load().headline
    values = [(r.metrics.get(headline) if headline else r.objective) if r.valid else None for r in results]
    options = request.entry.defaults() | results[0].outcome.options
    return Contender(request.policy, kind(find(request.entry, request.policy)), mode, options, tuple(values))


def challenge(request: Request, progress: Progress | None = None) -> Contender:
    """Run a method that a policy is compared with; one that refuses these instances is no reason to lose the others."""
    try:
        mode, results = run(request, progress)
    except DispatchGymError as error:
        nothing = (None,) * len(request.problems)
        return Contender(request.policy, kind(find(request.entry, request.policy)), "", {}, nothing, str(error))
    return contender(request, mode, results)


def difference(ours: Sequence[float], theirs: Sequence[float], sense: str) -> dict[str, Any]:
    """Relative difference of the means, its interval and the verdict, for values paired by instance.

    None without instances or where their mean is 0; one instance has no interval, and so no verdict.
    """
    x, y = np.asarray(ours, float), np.asarray(theirs, float)
    answer: dict[str, Any] = {"difference": None, "difference_ci95": None, "verdict": None}
    if not len(y) or not y.mean():
        return answer
    answer["difference"] = float((x.mean() - y.mean()) / abs(y.mean()))
    if len(y) < 2:
        return answer
    draws = resamples(len(y))
    a, b = x[draws].mean(axis=1), y[draws].mean(axis=1)
    if not b.all():
        return answer
    low, high = np.percentile((a - b) / np.abs(b), [2.5, 97.5])
    answer["difference_ci95"] = [float(low), float(high)]
    answer["verdict"] = "tied" if low <= 0 <= high else "wins" if (high < 0) == (sense == "min") else "loses"
    return answer


def compare(policy: Contender, rivals: Sequence[Contender], groups: Sequence[str], sense: str) -> dict[str, Any]:
    """The policy against all, per class and over all; ``groups`` names the class of every instance."""
    ran = [rival for rival in rivals if not rival.error]
    classes = {g: [i for i, group in enumerate(groups) if group == g] for g in dict.fromkeys(groups) if g}
    return {
        "sense": sense,
        "policy": _described(policy),
        "methods": {rival.name: _described(rival) for rival in rivals},
        "classes": {group: _section(policy, ran, members, sense) for group, members in classes.items()},
        ALL: _section(policy, ran, range(len(groups)), sense),
    }


def document(request: Request, policy: Contender, rivals: Sequence[Contender], groups: Sequence[str]) -> dict[str, Any]:
    """The part ``comparison`` of the JSON document of ``dispatchgym eval --against``."""
    environment = request.entry.load()
    measure = {"measure": environment.headline or "objective", "unit": environment.unit}
    return measure | compare(policy, rivals, groups, environment.sense)


def sections(comparison: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The classes, if there are several, and all."""
    classes: dict[str, dict[str, Any]] = comparison["classes"]
    return (classes if len(classes) > 1 else {}) | {ALL: comparison[ALL]}


def conclusion(comparison: dict[str, Any]) -> list[str]:
    """Lines that say where a rule wins, and where one is ahead without an interval to show for it."""
    rules = [m for m in comparison["methods"].values() if m["kind"] == "rule" and "error" not in m]
    policy, wins, ahead = comparison["policy"]["name"], [], []
    if not comparison["policy"]["valid"]:
        return [f"{policy} has no valid result to compare."]
    if not rules:
        return []
    for place, section in sections(comparison).items():
        if names := section["winning_rules"]:
            wins.append(f"  {place}: " + "; ".join(f"{name} {_margin(section, name)}" for name in names))
        elif (best := section["best_rule"]) and lead(section["methods"][best], comparison["sense"]) > 0:
            ahead.append(f"  {place}: {best} {_margin(section, best)}")
    lines = [f"A rule wins against {policy} (difference of {policy}, 95 % interval):", *wins] if wins else []
    if ahead:
        lines += [f"{'Elsewhere a' if wins else 'A'} rule is ahead of {policy}, but no interval shows it:", *ahead]
    return lines or [f"No rule wins or is ahead, in any class or over all; {len(rules)} compared with {policy}."]


def lead(method: dict[str, Any], sense: str) -> float:
    """By what fraction a method is ahead of the policy on the mean; below 0 it is behind."""
    return (method["difference"] or 0.0) * (1 if sense == "min" else -1)


def signed(fraction: float | None) -> str:
    """A difference as people read it."""
    return "-" if fraction is None else f"{100 * fraction:+.2f} %"


def bounds(ci95: Sequence[float] | None) -> str:
    """The interval of a difference as people read it."""
    return "-" if ci95 is None else f"{100 * ci95[0]:+.2f} .. {100 * ci95[1]:+.2f} %"


def _described(method: Contender) -> dict[str, Any]:
    if method.error:
        return {"name": method.name, "kind": method.kind, "error": method.error}
    valid = sum(value is not None for value in method.values)
    return {
        "name": method.name,
        "kind": method.kind,
        "mode": method.mode,
        "options": method.options,
        "valid": valid,
        "values": list(method.values),
    }


def _section(policy: Contender, rivals: Sequence[Contender], members: Sequence[int], sense: str) -> dict[str, Any]:
    """One class. A method's numbers are over the instances that it and the policy both solved."""
    methods = {}
    for rival in rivals:
        pairs = [(policy.values[i], rival.values[i]) for i in members]
        both = [(x, y) for x, y in pairs if x is not None and y is not None]
        ours, theirs = [x for x, _ in both], [y for _, y in both]
        methods[rival.name] = _mean(theirs) | difference(ours, theirs, sense)
    sign = 1 if sense == "min" else -1
    names = [r.name for r in rivals if r.kind == "rule" and methods[r.name]["instances"]]
    # A rule that failed on an instance is not the best for the rest of them.
    ranked = sorted(names, key=lambda name: (-methods[name]["instances"], sign * methods[name]["mean"]))
    return {
        "instances": len(members),
        "policy": _mean([x for i in members if (x := policy.values[i]) is not None]),
        "methods": methods,
        "best_rule": ranked[0] if ranked else None,
        "winning_rules": [name for name in ranked if methods[name]["verdict"] == "loses"],
    }


def _mean(values: Sequence[float]) -> dict[str, Any]:
    mean = float(np.mean(values)) if values else None
    return {"instances": len(values), "mean": mean, "ci95": interval(values)}


def _margin(section: dict[str, Any], name: str) -> str:
    method = section["methods"][name]
    interval_text = "" if method["difference_ci95"] is None else f", {bounds(method['difference_ci95'])}"
    return f"({signed(method['difference'])}{interval_text})"

"""Instances of the check files in ``tests/data``, built field by field and not by the readers of the package."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dispatchgym.instances.soc.instance import SocInstance
from dispatchgym.instances.workflow.instance import WorkflowInstance

DATA = Path(__file__).parents[1] / "data"


@cache
def read(name: str) -> Any:
    """A file of ``tests/data``, such as soc/mdp_traces.json."""
    return json.loads((DATA / name).read_text())


def workflow(time: Any, edges: Any, bandwidth: Any = None) -> WorkflowInstance:
    """A workflow from nested lists; bandwidth 1 unless given."""
    table = np.asarray(time, np.int32)
    m = table.shape[1]
    return WorkflowInstance(
        time=table,
        n_tasks=np.int32(len(table)),
        n_processors=np.int32(m),
        edges=np.asarray(edges or [(0, 0, -1)], np.int32),  # no array is empty
        bandwidth=np.ones((m, m), np.int32) if bandwidth is None else np.asarray(bandwidth, np.int32),
        prediction=np.zeros(len(table), np.int32),
    )


def soc(
    templates: list[tuple[Any, Any]],
    bandwidth: Any,
    *,
    template: list[int],
    gap: list[int],
    multiplier: list[list[int]] | None = None,
    cap: int,
    closed: bool,
    power: list[int] | None = None,
) -> SocInstance:
    """A stream from nested lists; a template is (times, edges)."""
    d, t = len(templates), max(len(w) for w, _ in templates)
    m, e = len(templates[0][0][0]), max(1, *(len(edges) for _, edges in templates))
    time, arcs = np.full((d, t, m), -1, np.int32), np.zeros((d, e, 3), np.int32)
    arcs[..., 2] = -1
    for row, (w, edges) in enumerate(templates):
        time[row, : len(w)] = w
        if edges:
            arcs[row, : len(edges)] = edges
    noise = np.full((len(template), t), 1000, np.int32)
    for k, values in enumerate(multiplier or []):
        noise[k, : len(values)] = values
    return SocInstance(
        time=time,
        n_tasks=np.array([len(w) for w, _ in templates], np.int32),
        edges=arcs,
        bandwidth=np.asarray(bandwidth, np.int32),
        n_pes=np.int32(m),
        power=np.asarray(power or [0] * m, np.int32),
        n_jobs=np.int32(len(template)),
        template=np.asarray(template, np.int32),
        gap=np.asarray(gap, np.int32),
        multiplier=noise,
        cap=np.int32(cap),
        closed=np.bool_(closed),
    )


def stream(record: dict[str, Any]) -> SocInstance:
    """A stream of mdp_instances.json or of the worked example."""
    platform = read("soc/mdp_platforms.json")[record["platform"]]
    return soc(
        [(template["w"], template["edges"]) for template in platform["templates"]],
        platform["bw"],
        template=record["template"],
        gap=record["gap"],
        multiplier=record["mult"],
        cap=record["cap"],
        closed=record["closed"],
        power=platform["power_mw"],
    )


def published(name: str) -> WorkflowInstance:
    """topcuoglu2002 or arabnejad2014: ten tasks on three processors, whose delay is the volume."""
    record = read("workflow/worked_examples.json")[name]
    return workflow(record["compute"], [(a - 1, b - 1, volume) for a, b, volume in record["edges"]])


def example(name: str) -> WorkflowInstance:
    """gap or unlike of mdp_workflow_check.json."""
    record = read("workflow/mdp_workflow_check.json")["examples"][name]
    return workflow(record["w"], record["edges"], record["bw"])


STREAMS = {record["name"]: record for record in read("soc/mdp_instances.json")}
WORKED = {name: case["instance"] for name, case in read("soc/mdp_check_values.json")["worked_example"].items()}


def sha256(values: list[int]) -> str:
    """Of decimal integers joined by commas, as the check files have it."""
    return hashlib.sha256(",".join(map(str, values)).encode()).hexdigest()


def random_workflow(seed: int, tasks: int = 8) -> WorkflowInstance:
    """A small workflow with times and delays of 0, missing support and tasks numbered in any order."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, tasks + 1)), int(rng.integers(1, 4))
    w = rng.choice([-1, 0, 0, 1, 2, 3, 5, 8], (n, m))
    w[np.arange(n), rng.integers(0, m, n)] = rng.choice([0, 2], n)  # every task has a processor
    order = rng.permutation(n).tolist()
    pairs = [(order[a], order[b]) for a in range(n) for b in range(a + 1, n) if rng.random() < 0.35]
    return workflow(w, [(a, b, int(rng.choice([0, 0, 2, 5]))) for a, b in pairs], rng.integers(1, 4, (m, m)))


def random_stream(seed: int) -> tuple[SocInstance, int]:
    """(a small stream, window) with times and delays of 0, missing support, noise, cap and window from 1 to 3."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 4))
    templates = []
    for _ in range(rng.integers(1, 3)):
        n = int(rng.integers(1, 5))
        w = rng.choice([-1, 0, 0, 1, 2, 3, 5], (n, m))
        w[np.arange(n), rng.integers(0, m, n)] = rng.choice([0, 2], n)  # every task has a PE
        pairs = [(a, b) for a in range(n) for b in range(a + 1, n) if rng.random() < 0.5]
        templates.append((w.tolist(), [(a, b, int(rng.choice([0, 0, 2, 5]))) for a, b in pairs]))
    jobs = int(rng.integers(1, 7))
    template = rng.integers(0, len(templates), jobs).tolist()
    instance = soc(
        templates,
        rng.integers(1, 4, (m, m)),
        template=template,
        gap=rng.choice([0, 0, 1, 3], jobs).tolist(),
        multiplier=[rng.integers(100, 3001, len(templates[d][0])).tolist() for d in template],
        cap=int(rng.integers(1, 4)),
        closed=bool(rng.random() < 0.5),
        power=[1] * m,
    )
    return instance, int(rng.integers(1, 4))

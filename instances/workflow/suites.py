"""The benchmark suites of workflows: published examples, random graphs and the graphs of algorithms.

Random and structured instances are drawn by ``portable`` and so are the same everywhere. A reference is read from
``data/workflow/references.json``; an instance without one is measured against its trivial lower bound.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache, partial
from importlib import resources
from typing import Any

from dispatchgym.instances.base import Reference, Suite, SuiteEntry, SuiteTable, UnknownNameError
from dispatchgym.instances.workflow.instance import WorkflowInstance
from dispatchgym.instances.workflow.portable import generate, parse_name

FAMILY = "workflow"

EXAMPLES = ("topcuoglu2002", "arabnejad2014", "gap", "unlike")
RANDOM_SIZES = (20, 50, 100, 200, 500)
STRUCTURED = {  # kind: orders
    "cholesky": (4, 8),
    "lu": (4, 6),
    "qr": (4, 6),
    "gaussian": (5, 15),
    "fft": (8, 32),
    "forkjoin": (8, 32),
    "layered": (50, 200),
    "series-parallel": (50, 200),
}
PROCESSORS = (4, 8)

# The parameters of Topcuoglu, Hariri and Wu (2002), in per mille but for the degree.
SHAPES = (500, 1000, 2000)
DEGREES = (1, 2, 3, 4, 5)
CCRS = (100, 500, 1000, 5000, 10_000)
BETAS = (100, 250, 500, 750, 1000)


def _random_parameters(k: int) -> dict[str, int]:
    """Instance k of 100: every pair of a ccr and a beta four times, twice on each number of processors."""
    cycle = k // 25  # 0..3
    degree, shape = DEGREES[(k + k // 5 + cycle) % 5], SHAPES[k % 3]
    return {"ccr": CCRS[k % 5], "beta": BETAS[k // 5 % 5], "degree": degree, "shape": shape}


def _random(tasks: int, k: int) -> WorkflowInstance:
    return generate(f"random-{tasks}x{PROCESSORS[k // 25 % 2]}", 1000 * tasks + k, **_random_parameters(k))


def _members() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every suite: its description and the names of its instances."""
    suites: dict[str, tuple[str, tuple[str, ...]]] = {
        "worked-examples": ("Topcuoglu 2002, Arabnejad 2014 and two made by hand", EXAMPLES)
    }
    for tasks in RANDOM_SIZES:
        names = tuple(f"random-{tasks}-{k:02d}" for k in range(100))
        suites[f"random-{tasks}"] = (f"100 random graphs of {tasks} tasks after Topcuoglu 2002", names)
    names = tuple(
        f"{kind}-{order}x{m}-ccr{ccr}"
        for kind, orders in STRUCTURED.items()
        for order in orders
        for m in PROCESSORS
        for ccr in (100, 1000, 5000)
    )
    suites["structured"] = ("graphs of algorithms, layered and series-parallel ones", names)
    return suites


_MEMBERS = _members()
INSTANCE_NAMES = tuple(name for _, names in _MEMBERS.values() for name in names)


@cache
def _data(file: str) -> dict[str, Any]:
    path = resources.files("dispatchgym.instances") / "data" / "workflow" / file
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _build(name: str) -> tuple[WorkflowInstance, str]:
    """The instance and its group: the ccr, or the kind of graph; alone if it is an example."""
    if name in EXAMPLES:
        example = _data("examples.json")["instances"][name]
        return WorkflowInstance.from_arrays(example["time"], example["edges"], example["bandwidth"]), name
    if name.startswith("random-"):
        _, tasks, k = name.split("-")
        return _random(int(tasks), int(k)), f"ccr {_random_parameters(int(k))['ccr'] / 1000:g}"
    graph, _, ccr = name.rpartition("-ccr")
    kind, order, processors = parse_name(graph, list(STRUCTURED))
    return generate(graph, 10**6 * order + 10**5 * processors + int(ccr), ccr=int(ccr)), kind


@cache
def _entry(name: str) -> SuiteEntry:
    instance, group = _build(name)
    for leaf in (instance.time, instance.edges, instance.bandwidth, instance.prediction):
        leaf.setflags(write=False)  # the entry is cached and shared
    known = _data("references.json")["references"].get(name)
    if known is None:
        bound = instance.lower_bound()
        return SuiteEntry(name, instance, Reference(bound, "bound", bound, "trivial lower bound"), group)
    return SuiteEntry(name, instance, Reference(**known), group)


def named(name: str) -> SuiteEntry:
    """The instance of that name ("topcuoglu2002", "random-20-07", "cholesky-8x4-ccr1000"). Raises UnknownNameError."""
    if name not in INSTANCE_NAMES:
        raise UnknownNameError("instance", name, INSTANCE_NAMES)
    return _entry(name)


@cache
def _suite(name: str) -> Suite:
    description, names = _MEMBERS[name]
    return Suite(name, FAMILY, 1, description, tuple(_entry(member) for member in names))


SUITES: SuiteTable = {name: partial(_suite, name) for name in _MEMBERS}


def digest(suite: Suite) -> str:
    """The sha256 of a suite's instances: of [[name, time, edges, bandwidth], ...] as JSON without spaces.

    Padding, array types, predictions and references do not enter. ``data/workflow/digests.json`` holds the committed values.
    """
    graphs = [(entry.name, entry.instance.graph()) for entry in suite]
    content = [[name, graph.time.tolist(), graph.edges.tolist(), graph.bandwidth.tolist()] for name, graph in graphs]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

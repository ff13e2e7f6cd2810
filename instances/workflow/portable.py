"""Workflows drawn on the host with integers alone, from a seed: the same on every machine and in every version.

Shared parameters: ``work`` is the mean time of a task, ``ccr`` the mean volume of an edge over that, in per mille, and
``beta`` how unlike the processors are: a task of mean w takes U[w (1 - beta / 2), w (1 + beta / 2)] on each, beta in per
mille (Topcuoglu, Hariri and Wu, 2002). The bandwidth is 1, so a volume is a time. No task takes 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, pairwise
from math import isqrt
from typing import Any

from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.lehmer import MODULUS, stream, uniform
from dispatchgym.instances.task_graph import MAX_PROCESSORS, MAX_TASKS
from dispatchgym.instances.workflow.instance import WorkflowInstance
from dispatchgym.instances.workflow.structures import STRUCTURES, check

Edge = tuple[int, int]


def states(seed: int) -> Iterator[int]:
    """The stream of a seed in 1..2^31 - 2, less its first ten values, which are small when the seed is."""
    check("seed", seed, 1, MODULUS - 1)
    return islice(stream(seed), 10, None)


def spread(mean: int, processors: int, beta: int, source: Iterator[int]) -> list[int]:
    """Times of a task on each processor: U[mean (1 - beta / 2), mean (1 + beta / 2)], beta in per mille, at least 1."""
    low, high = mean * (2000 - beta) // 2000, mean * (2000 + beta) // 2000
    return [max(1, low + uniform(next(source), high - low + 1)) for _ in range(processors)]


def _finish(
    means: Sequence[int], edges: Sequence[Edge], processors: int, source: Iterator[int], ccr: int, beta: int, work: int
) -> WorkflowInstance:
    """Draw times, task by task, then volumes U[0, 2 x mean], edge by edge."""
    check("processors", processors, 1, MAX_PROCESSORS)
    check("ccr", ccr, 0, 10**6)
    check("beta", beta, 0, 2000)
    time = [spread(mean, processors, beta, source) for mean in means]
    widest = 2 * ccr * work // 1000
    rows = [(i, j, uniform(next(source), widest + 1)) for i, j in edges]
    return WorkflowInstance.from_arrays(time, rows)


def _means(tasks: int, work: int, source: Iterator[int]) -> list[int]:
    check("tasks", tasks, 1, MAX_TASKS)
    check("work", work, 1, 10**6)
    return [1 + uniform(next(source), 2 * work - 1) for _ in range(tasks)]


def level_width(tasks: int, shape: int) -> int:
    """sqrt(tasks) x shape, shape in per mille, rounded, at least 1."""
    return max(1, (isqrt(4 * tasks * shape**2) + 1000) // 2000)


def random(
    tasks: int,
    processors: int,
    seed: int,
    shape: int = 1000,
    degree: int = 3,
    ccr: int = 1000,
    beta: int = 500,
    work: int = 100,
) -> WorkflowInstance:
    """A random graph in the manner of Topcuoglu, Hariri and Wu (2002): one head, then levels of random width.

    The width of a level is uniform with mean sqrt(tasks) x shape, shape in per mille, so there are about sqrt(tasks) /
    shape levels. Every task has a parent in the level above; further edges lead to the two levels below, so that a task
    has about ``degree`` successors (fewer where there are not as many tasks below). Mean times are U[1, 2 work - 1].
    """
    check("shape", shape, 1, 10**6)
    check("degree", degree, 1, MAX_TASKS)
    source = states(seed)
    means = _means(tasks, work, source)
    widest = 2 * level_width(tasks, shape) - 1
    starts = [0, 1]  # of the levels
    while starts[-1] < tasks:
        starts.append(min(tasks, starts[-1] + 1 + uniform(next(source), widest)))
    levels = list(pairwise(starts))
    edges: set[Edge] = set()
    for (above, start), (_, end) in pairwise(levels):
        edges |= {(above + uniform(next(source), start - above), i) for i in range(start, end)}
    for depth, (start, end) in enumerate(levels[:-1]):
        below = levels[min(depth + 2, len(levels) - 1)][1] - end
        for i in range(start, end):
            for _ in range(uniform(next(source), 2 * degree - 1)):
                edges.add((i, end + uniform(next(source), below)))
    return _finish(means, sorted(edges), processors, source, ccr, beta, work)


def layered(
    tasks: int,
    processors: int,
    seed: int,
    layers: int | None = None,
    degree: int = 3,
    ccr: int = 0,
    beta: int = 500,
    work: int = 100,
) -> WorkflowInstance:
    """Layers of equal width, in the manner of the Standard Task Graph Set's "layrprob".

    Each pair of tasks in consecutive layers is joined with the probability that gives a task ``degree`` predecessors on
    average, so that there may be several pieces; ``layers`` is the integer below sqrt(tasks) by default. Without
    communication, as there. Mean times are U[1, 2 work - 1].
    """
    source = states(seed)
    means = _means(tasks, work, source)
    layers = isqrt(tasks) if layers is None else layers
    check("layers", layers, 1, tasks)
    check("degree", degree, 1, MAX_TASKS)
    starts = [tasks * layer // layers for layer in range(layers + 1)]
    edges = [
        (i, j)
        for above, start, end in zip(starts[:-2], starts[1:-1], starts[2:], strict=True)
        for j in range(start, end)
        for i in range(above, start)
        if uniform(next(source), start - above) < degree
    ]
    return _finish(means, edges, processors, source, ccr, beta, work)


def series_parallel(
    tasks: int, processors: int, seed: int, ccr: int = 1000, beta: int = 500, work: int = 100
) -> WorkflowInstance:
    """A two-terminal series-parallel graph: tasks are put onto or beside a random edge, evenly, until there are enough.

    Mean times are U[1, 2 work - 1].
    """
    source = states(seed)
    means = _means(tasks, work, source)
    check("tasks", tasks, 2, MAX_TASKS)
    edges: list[Edge] = [(0, 1)]
    for k in range(2, tasks):
        at = uniform(next(source), len(edges))
        i, j = edges[at]
        edges.append((k, j))
        if uniform(next(source), 2):
            edges.append((i, k))  # beside the edge
        else:
            edges[at] = (i, k)
    return _finish(means, edges, processors, source, ccr, beta, work)


def structured(
    kind: str, size: int, processors: int, seed: int, ccr: int = 1000, beta: int = 500, work: int = 100
) -> WorkflowInstance:
    """A graph of ``structures.STRUCTURES``; a task's mean time is its weight's share of tasks x work."""
    weights, edges = STRUCTURES[kind](size)
    check("work", work, 1, 10**6)
    means = [max(1, work * weight * len(weights) // sum(weights)) for weight in weights]
    return _finish(means, edges, processors, states(seed), ccr, beta, work)


KINDS: dict[str, Callable[..., WorkflowInstance]] = {
    "random": random,
    "layered": layered,
    "series-parallel": series_parallel,
    **{kind: partial(structured, kind) for kind in STRUCTURES},
}


def parse_name(name: str, kinds: Sequence[str]) -> tuple[str, int, int]:
    """("cholesky", 8, 4) of "cholesky-8x4". Raises UnknownNameError unless the kind is among ``kinds``."""
    match = re.fullmatch(r"(?P<kind>.+)-(?P<size>[0-9]{1,9})x(?P<processors>[0-9]{1,9})", name)
    if match is None or match["kind"] not in kinds:
        sizes = f"{match['size']}x{match['processors']}" if match else "NxM"
        raise UnknownNameError("generator", name, [f"{kind}-{sizes}" for kind in kinds])
    return match["kind"], int(match["size"]), int(match["processors"])


def generate(name: str, seed: int, **parameters: Any) -> WorkflowInstance:
    """The workflow "kind-NxM" (M processors) of a seed, as in ``generate("cholesky-8x4", 1, ccr=100)``.

    Raises UnknownNameError for another name and InstanceError for a size or parameter that the kind refuses.
    """
    kind, size, processors = parse_name(name, list(KINDS))
    try:
        return KINDS[kind](size, processors, seed, **parameters)
    except TypeError as error:
        raise InstanceError(f"workflow {name!r}: {error}; see the parameters of its kind") from None

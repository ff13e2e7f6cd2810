"""The jobs of a stream as task graphs of their actual times, and bounds from each of them alone."""

from __future__ import annotations

import time

import numpy as np

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.instances.soc.instance import SocInstance
from dispatchgym.instances.task_graph import TaskGraph


def job_graphs(instance: SocInstance) -> list[TaskGraph]:
    """The graph of every job, with the times that its tasks will take: hindsight. Jobs that are alike share one."""
    m = int(instance.n_pes)
    time, edges = np.asarray(instance.time, np.int64)[..., :m], np.asarray(instance.edges, np.int64)
    bandwidth = np.asarray(instance.bandwidth, np.int64)[:m, :m]
    graphs: dict[tuple[int, bytes], TaskGraph] = {}
    jobs = []
    for k, d in enumerate(np.asarray(instance.template).tolist()[: int(instance.n_jobs)]):
        n = int(np.asarray(instance.n_tasks)[d])
        w, multiplier = time[d, :n], np.asarray(instance.multiplier, np.int64)[k, :n]
        actual = np.where(w > 0, np.maximum(1, (w * multiplier[:, None] + 500) // 1000), w)
        key = d, actual.tobytes()
        if key not in graphs:
            graphs[key] = TaskGraph(actual, edges[d][edges[d][:, 2] >= 0], bandwidth)
        jobs.append(graphs[key])
    return jobs


def lower_bound(instance: SocInstance) -> int:
    """Sum over the jobs of a bound for each alone on the chip: no play has a smaller total flow time.

    A job counts from its arrival or later admission and leaves when its last task is done, so it stays at least as long
    as its shortest schedule on a chip without other jobs, queues or limits takes.
    """
    graphs = job_graphs(instance)
    bounds = {id(graph): graph.lower_bound() for graph in graphs}
    return sum(bounds[id(graph)] for graph in graphs)


def solution(
    instance: SocInstance, actions: list[int], flow: int, started: float, bound: int | None = None
) -> Solution:
    """A solution; optimal if it meets ``bound`` (at least :func:`lower_bound`).

    ``started`` is the ``time.perf_counter()`` at the solver's start.
    """
    bound = max(bound or 0, lower_bound(instance))
    status = "optimal" if flow == bound else "feasible"
    return Solution(actions, flow, status, bound, time.perf_counter() - started)

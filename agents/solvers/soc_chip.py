"""A chip and its stream in plain Python: what the solvers play on, one decision at a time.

Commits go to the queue of a PE; once no ready task is left, the PEs are drained start by start up to the next decision.
The durations drawn with the instance are used as they fall due; estimates build on the times a scheduler is shown.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from dispatchgym.instances.soc.instance import SocInstance

INF = 2**31 - 1  # not known, or never


def shown_times(time: np.ndarray, speeds: str) -> np.ndarray:
    """What a scheduler is told of execution times: all, the order of the PEs for each task, or only who supports it."""
    supported = time >= 0
    if speeds == "known":
        return time
    if speeds == "hidden":
        return np.where(supported, 1, -1)
    faster = (time[..., None, :] < time[..., :, None]) & supported[..., None, :]
    return np.where(supported, 1 + faster.sum(-1), -1)


class Template:
    """A task graph with its delays spelled out."""

    def __init__(self, time: np.ndarray, shown: np.ndarray, edges: np.ndarray, bandwidth: np.ndarray) -> None:
        self.n = len(time)
        self.time: list[list[int]] = time.tolist()
        self.shown = shown
        self.shown_rows: list[list[int]] = shown.tolist()
        self.successors: list[list[int]] = [[] for _ in range(self.n)]
        self.predecessors: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(self.n)]  # (task, delay [M, M])
        distinct = ~np.eye(len(bandwidth), dtype=bool)
        for a, b, volume in edges.tolist():
            if volume >= 0:
                self.successors[a].append(b)
                self.predecessors[b].append((a, np.where(distinct, volume // bandwidth, 0)))
        self.heads = [i for i in range(self.n) if not self.predecessors[i]]


@dataclass
class Job:
    """A job in the system. ``finish`` is known from the start of a task on; nobody may be told before it has passed."""

    index: int
    graph: Template
    slot: int
    arrival: int
    waits_for: list[int]  # predecessors that have not started
    pe: list[int]
    start: list[int]
    finish: list[int]
    ready: list[int]
    missing: int  # tasks that have not started
    last: int = 0  # largest finish so far
    data: dict[int, np.ndarray] = field(default_factory=dict)  # of each uncommitted task: when its data reach each PE

    @property
    def completion(self) -> int:
        """When the job leaves, INF if that is not known."""
        return INF if self.missing else self.last


class Table(NamedTuple):
    """The first ready tasks [R] on every PE [M], by the times shown and relative to now; entries mean nothing unless
    ``time`` >= 0.
    """

    tasks: list[tuple[int, int, int]]  # (ready since, job, task)
    time: np.ndarray
    data_ready: np.ndarray
    start: np.ndarray
    finish: np.ndarray


class Chip:
    """One episode at a time: ``reset``, then ``commit`` until nothing is ``ready``."""

    def __init__(self, instance: SocInstance, speeds: str = "known") -> None:
        time = np.asarray(instance.time, np.int64)
        shown = shown_times(time, speeds)
        bandwidth, edges = np.asarray(instance.bandwidth, np.int64), np.asarray(instance.edges, np.int64)
        sizes = np.asarray(instance.n_tasks).tolist()
        self.templates = [Template(time[d, :n], shown[d, :n], edges[d], bandwidth) for d, n in enumerate(sizes)]
        self.pes = time.shape[2]
        self.n_jobs, self.cap, self.closed = int(instance.n_jobs), int(instance.cap), bool(instance.closed)
        self.template: list[int] = np.asarray(instance.template).tolist()
        self.gap: list[int] = np.asarray(instance.gap).tolist()
        self.multiplier: list[list[int]] = np.asarray(instance.multiplier).tolist()
        self.arrivals: list[int] = np.cumsum(np.asarray(instance.gap, np.int64)).tolist()  # of the open mode

    def reset(self) -> None:
        """Start over; time stands at the first decision."""
        self.now = self.flow = self.k_next = 0
        self.release = self.gap[0]
        self.inside: dict[int, Job] = {}  # by index
        self.admissions, self.completions = [INF] * self.n_jobs, [INF] * self.n_jobs
        self.schedule: dict[tuple[int, int], tuple[int, int, int]] = {}  # (job, task) -> (PE, start, finish)
        self.free_slots = list(range(self.cap))
        self.coming: list[tuple[int, int, int]] = []  # heap of (R, job, task): R is known, but not reached
        self.ready: list[tuple[int, int, int]] = []  # the same of what can be decided now, in order
        self.queues: list[list[tuple[int, Job, int]]] = [[] for _ in range(self.pes)]  # (data there, job, task)
        self.next_start = [INF] * self.pes
        self.free = [0] * self.pes
        self.expected = [0] * self.pes  # when the last started task should end by the times shown
        self.backlog = [0] * self.pes
        self._jump()

    def commit(self, position: int, pe: int) -> int:
        """Commit a ready task to the queue of a PE that supports it; the reward."""
        _, k, i = self.ready.pop(position)
        job = self.inside[k]
        job.pe[i] = pe
        data = max(self.now, int(job.data.pop(i)[pe]))
        self.queues[pe].append((data, job, i))
        self.next_start[pe] = min(self.next_start[pe], max(self.free[pe], data))
        self.backlog[pe] += job.graph.shown_rows[i][pe]
        return 0 if self.ready else self._jump()

    def residual(self) -> list[int]:
        """Expected time until the running tasks end; one that is overdue is expected one tick from now."""
        now = self.now
        return [max(e - now, 1) if f > now else 0 for e, f in zip(self.expected, self.free, strict=True)]

    def table(self, window: int) -> Table:
        """What is expected of the first tasks of the window."""
        tasks = self.ready[:window]
        time = np.array([self.inside[k].graph.shown[i] for _, k, i in tasks])
        data = np.maximum(np.array([self.inside[k].data[i] for _, k, i in tasks]) - self.now, 0)
        start = np.maximum(np.array(self.residual()) + np.array(self.backlog), data)
        return Table(tasks, time, data, start, start + time)

    def _jump(self) -> int:
        """Move to the next decision, or to the end; the reward of it."""
        while (start := min(self.next_start)) < (until := self._horizon()):
            self._start(self.next_start.index(start), start)
        if until == INF:
            until = max((job.last for job in self.inside.values()), default=self.now)
        reward = -sum(min(job.completion, until) - self.now for job in self.inside.values())
        if not self.closed:
            for k in range(self.k_next, self.n_jobs):
                if self.arrivals[k] >= until:
                    break
                reward -= until - max(self.arrivals[k], self.now)
        self.flow -= reward
        self.now = until
        self._depart()
        self._admit()
        while self.coming and self.coming[0][0] <= self.now:
            self.ready.append(heapq.heappop(self.coming))
        return reward

    def _horizon(self) -> int:
        """The next decision by what has started so far: a task becomes ready, or a job enters."""
        first = self.coming[0][0] if self.coming else INF
        if self.k_next == self.n_jobs:
            return first
        if len(self.inside) < self.cap:
            return min(first, self.release)
        return min(first, max(self.release, min(job.completion for job in self.inside.values())))

    def _start(self, pe: int, now: int) -> None:
        """Start on this PE the first committed of the tasks whose data are there."""
        queue = self.queues[pe]
        at = next(position for position, (data, _, _) in enumerate(queue) if data <= now)
        _, job, i = queue.pop(at)
        nominal = job.graph.time[i][pe]
        takes = nominal and max(1, (nominal * self.multiplier[job.index][i] + 500) // 1000)
        end = now + takes
        job.start[i], job.finish[i] = now, end
        self.schedule[job.index, i] = pe, now, end
        self.free[pe] = end
        self.expected[pe] = now + job.graph.shown_rows[i][pe]
        self.backlog[pe] -= job.graph.shown_rows[i][pe]
        self.next_start[pe] = max(end, min(data for data, _, _ in queue)) if queue else INF
        job.missing -= 1
        job.last = max(job.last, end)
        for j in job.graph.successors[i]:
            job.waits_for[j] -= 1
            if not job.waits_for[j]:
                before = job.graph.predecessors[j]
                job.ready[j] = max(job.finish[a] for a, _ in before)
                job.data[j] = np.max([job.finish[a] + delay[job.pe[a]] for a, delay in before], axis=0)
                heapq.heappush(self.coming, (job.ready[j], job.index, j))

    def _depart(self) -> None:
        for k in [k for k, job in self.inside.items() if job.completion <= self.now]:
            job = self.inside.pop(k)
            self.completions[k] = job.last
            self.free_slots.append(job.slot)
        self.free_slots.sort()

    def _admit(self) -> None:
        while self.k_next < self.n_jobs and len(self.inside) < self.cap and self.release <= self.now:
            k, self.k_next = self.k_next, self.k_next + 1
            graph = self.templates[self.template[k]]
            arrival = self.now if self.closed else self.arrivals[k]
            waits = [len(before) for before in graph.predecessors]
            start, finish, ready = ([INF] * graph.n for _ in range(3))
            slot = self.free_slots.pop(0)
            self.inside[k] = job = Job(
                k, graph, slot, arrival, waits, [-1] * graph.n, start, finish, ready, missing=graph.n
            )
            self.admissions[k] = self.now
            for i in graph.heads:
                job.ready[i] = self.now
                job.data[i] = np.full(self.pes, self.now)
                heapq.heappush(self.coming, (self.now, k, i))
            if self.k_next < self.n_jobs:
                self.release = self.now + self.gap[k + 1] if self.closed else self.arrivals[k + 1]

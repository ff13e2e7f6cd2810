"""A schedule of a stream on a SoC, judged for itself: is it one, what does it cost, how did the jobs fare.

Nothing here replays decisions. Ready tasks are committed before time goes on, so the task i of job k was committed the
moment its predecessors had finished, and where the tasks of a PE start follows from their order and their data.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dispatchgym.eval.validators.base import Verdict
from dispatchgym.instances.soc.instance import SocInstance

NEVER = -1
MAX_ERRORS = 20  # of one schedule; a hopeless one would list thousands


@dataclass(frozen=True)
class Schedule:
    """Where and when every task ran; -1 where nothing is known."""

    pe: list[list[int]]  # by job and task, like start and finish
    start: list[list[int]]
    finish: list[list[int]]
    order: list[tuple[int, int]]  # (job, task) as they were committed
    admitted: list[int]  # by job


class Stream:
    """The instance in plain Python."""

    def __init__(self, instance: SocInstance) -> None:
        self.jobs, self.pes = int(instance.n_jobs), np.shape(instance.time)[2]
        self.cap, self.closed = int(instance.cap), bool(instance.closed)
        self.template: list[int] = np.asarray(instance.template).tolist()
        self.gap: list[int] = np.asarray(instance.gap).tolist()
        self.tasks: list[int] = [int(np.asarray(instance.n_tasks)[self.template[k]]) for k in range(self.jobs)]
        self.time: list[list[list[int]]] = np.asarray(instance.time).tolist()
        self.power: list[int] = np.asarray(instance.power).tolist()
        self._multiplier: list[list[int]] = np.asarray(instance.multiplier).tolist()
        self._bandwidth: list[list[int]] = np.asarray(instance.bandwidth).tolist()
        edges: list[list[list[int]]] = np.asarray(instance.edges).tolist()
        tasks = range(np.shape(instance.time)[1])
        self._before = [[[(a, v) for a, b, v in rows if b == i and v >= 0] for i in tasks] for rows in edges]
        self._after = [[[b for a, b, v in rows if a == i and v >= 0] for i in tasks] for rows in edges]
        self.arrival: list[int] = np.cumsum(np.asarray(instance.gap, np.int64))[: self.jobs].tolist()  # if open

    def nominal(self, k: int, i: int, p: int) -> int:
        return self.time[self.template[k]][i][p]

    def actual(self, k: int, i: int, p: int) -> int:
        w = self.nominal(k, i, p)
        return w if w <= 0 else max(1, (w * self._multiplier[k][i] + 500) // 1000)

    def delay(self, volume: int, p: int, q: int) -> int:
        return 0 if p == q else volume // self._bandwidth[p][q]

    def before(self, k: int, i: int) -> list[tuple[int, int]]:
        """(predecessor, volume) of a task."""
        return self._before[self.template[k]][i]

    def after(self, k: int, i: int) -> list[int]:
        """The successors of a task."""
        return self._after[self.template[k]][i]


def check_schedule(instance: SocInstance, schedule: Schedule) -> Verdict:
    """Verify a schedule and compute its total flow time and metrics.

    Every task runs once, on a PE that supports it, for exactly its actual time and after its data are there; PEs run one
    task at a time, are never idle while a committed task has its data, and start the one committed first; jobs enter in
    order, as soon as they may, and never more than the cap are in the system.
    """
    stream = Stream(instance)
    shape = [len(schedule.admitted)], *([len(row) for row in x] for x in (schedule.pe, schedule.start, schedule.finish))
    if shape != ([stream.jobs], stream.tasks, stream.tasks, stream.tasks):
        return Verdict.refuse(
            f"the schedule has rows for {shape[0][0]} jobs, or of other lengths than the {stream.jobs}"
        )
    if sorted(schedule.order) != [(k, i) for k in range(stream.jobs) for i in range(stream.tasks[k])]:
        return Verdict.refuse("the order of commits does not name every task once")
    errors = _tasks(stream, schedule)
    if not errors:  # what follows builds on times that make sense
        errors = _admissions(stream, schedule) + _pes(stream, schedule)
    if len(errors) > MAX_ERRORS:
        errors[MAX_ERRORS:] = [f"and {len(errors) - MAX_ERRORS} more"]
    if errors:
        return Verdict.refuse(*errors)
    done = [max(row) for row in schedule.finish]
    flow = sum(c - a for c, a in zip(done, _counted_from(stream, schedule), strict=True))
    return Verdict(True, flow, metrics=metrics(instance, schedule))


def _counted_from(stream: Stream, schedule: Schedule) -> list[int]:
    """When the flow time of each job begins."""
    return schedule.admitted if stream.closed else stream.arrival


def _tasks(stream: Stream, schedule: Schedule) -> list[str]:
    errors = []
    for k, (pes, starts, ends) in enumerate(zip(schedule.pe, schedule.start, schedule.finish, strict=True)):
        for i, (p, start, end) in enumerate(zip(pes, starts, ends, strict=True)):
            name = f"task {i} of job {k}"
            if not 0 <= p < stream.pes or stream.nominal(k, i, p) < 0:
                errors.append(f"{name} ran on PE {p}, which does not support it")
                continue
            if end - start != (takes := stream.actual(k, i, p)):
                errors.append(f"{name} ran {start}-{end} on PE {p}, where it takes {takes}")
            if start < schedule.admitted[k]:
                errors.append(f"{name} starts at {start}, before its job is admitted at {schedule.admitted[k]}")
            for a, volume in stream.before(k, i):
                there = ends[a] + stream.delay(volume, pes[a], p)
                if start < there:
                    errors.append(
                        f"{name} starts at {start} on PE {p}, before the data of task {a} are there at {there}"
                    )
    return errors


def _admissions(stream: Stream, schedule: Schedule) -> list[str]:
    """Job k enters once it is released, k - 1 has entered, and all but cap - 1 of those before it have left."""
    errors = []
    done = [max(row) for row in schedule.finish]
    stay: list[int] = []  # the cap largest completions so far, smallest first
    last = 0
    for k, admitted in enumerate(schedule.admitted):
        release = last + stream.gap[k] if stream.closed else stream.arrival[k]
        first = max(release, last, stay[0] if len(stay) == stream.cap else 0)
        if admitted != first:
            errors.append(f"job {k} is admitted at {admitted}, not at {first}, the first instant it may enter")
        last = admitted
        (heapq.heappush if len(stay) < stream.cap else heapq.heappushpop)(stay, done[k])
    return errors


def _pes(stream: Stream, schedule: Schedule) -> list[str]:
    """Run the queue of every PE again, from the order of commits and the arrival of data."""
    errors = []
    queues: dict[int, list[tuple[int, int, int, int]]] = {}  # (data there, number of the commit, job, task)
    ready = 0
    for seq, (k, i) in enumerate(schedule.order):
        p, ends = schedule.pe[k][i], schedule.finish[k]
        before = stream.before(k, i)
        since = max((ends[a] for a, _ in before), default=schedule.admitted[k])
        if since < ready:
            errors.append(
                f"task {i} of job {k}, ready at {since}, is committed after one that is ready at {ready} only"
            )
        ready = max(ready, since)
        there = max((ends[a] + stream.delay(v, schedule.pe[k][a], p) for a, v in before), default=since)
        queues.setdefault(p, []).append((there, seq, k, i))
    for p, queue in sorted(queues.items()):
        heapq.heapify(queue)
        waiting: list[tuple[int, int, int]] = []  # those whose data are there, by number of the commit
        free = 0
        while queue or waiting:
            free = free if waiting else max(free, queue[0][0])
            while queue and queue[0][0] <= free:
                heapq.heappush(waiting, heapq.heappop(queue)[1:])
            _, k, i = heapq.heappop(waiting)
            if (start := schedule.start[k][i]) != free:
                errors.append(f"PE {p}: the next to start is task {i} of job {k}, at {free}, but it started at {start}")
                break
            free = schedule.finish[k][i]
    return errors


def metrics(instance: SocInstance, schedule: Schedule) -> dict[str, float]:
    """Latencies and makespan in ticks, energy in nJ (mW times ticks of one microsecond); rates are 0 without any time.

    ``jobs_in_system`` is the average over time, from the first arrival to the last completion, of the jobs that have
    arrived and are not complete, taken from a count of both; Little's law makes it throughput times mean latency.
    """
    stream = Stream(instance)
    arrived = _counted_from(stream, schedule)
    done = [max(row) for row in schedule.finish]
    latency = sorted(c - a for c, a in zip(done, arrived, strict=True))
    n, first = len(done), min(arrived)
    makespan = max(done) - first
    present = area = 0
    last = first
    for moment, change in sorted([(a, 1) for a in arrived] + [(c, -1) for c in done]):
        area += present * (moment - last)
        present, last = present + change, moment
    busy = [0] * stream.pes
    for pes, starts, ends in zip(schedule.pe, schedule.start, schedule.finish, strict=True):
        for p, start, end in zip(pes, starts, ends, strict=True):
            busy[p] += end - start
    energy = sum(b * watts for b, watts in zip(busy, stream.power, strict=True))
    waits = [] if stream.closed else [t - a for t, a in zip(schedule.admitted, arrived, strict=True) if t > a]
    real = int(instance.n_pes)

    def per_time(amount: float) -> float:
        return amount / makespan if makespan else 0.0

    values: dict[str, Any] = {
        "mean_latency": sum(latency) / n,
        **{f"p{q}": latency[math.ceil(q * n / 100) - 1] for q in (50, 95, 99)},
        "makespan": makespan,
        "throughput": per_time(n),
        "jobs_in_system": per_time(area),
        "utilisation": per_time(sum(busy) / real),
        "utilisation_max": per_time(max(busy)),
        "energy_nj": energy,
        "edp": energy * sum(latency) / n,
        "blocked_jobs": len(waits),
        "admission_wait": sum(waits),
        "refused_jobs": 0,
    }
    return {name: float(value) for name, value in values.items()}


def completed_by(instance: SocInstance, schedule: Schedule, horizon: int) -> tuple[int, float]:
    """(number, mean latency) of the jobs complete at the horizon: what gym-ds3 reports, at 4998; latency 0 of none."""
    stream = Stream(instance)
    done = (max(row) for row in schedule.finish)
    latency = [c - a for c, a in zip(done, _counted_from(stream, schedule), strict=True) if c <= horizon]
    return len(latency), sum(latency) / max(1, len(latency))

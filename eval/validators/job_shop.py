"""The job shop's validator: replays a list of actions and checks any schedule, in plain Python.

An action is the index of the job whose next operation is scheduled; where it starts and which jobs may be chosen is
the scheme's to say (Giffler and Thompson 1960 for active schedules; ``left_shift`` is the placement of L2D, arXiv
2010.12367). Times are in the units of the instance; operations occupy their machine over [start, start + duration).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dispatchgym.eval.validators.base import Verdict
from dispatchgym.instances.job_shop.instance import JobShopInstance

SCHEMES = ("semi_active", "non_delay", "giffler_thompson", "left_shift")
UNSCHEDULED = -1
MAX_ERRORS = 20  # of one schedule; a hopeless one would list thousands

Job = list[tuple[int, int]]  # (machine, duration) of each operation


def _jobs(instance: JobShopInstance) -> list[Job]:
    """Like ``instance.jobs()``, but a padded job keeps its place, with no operations, so that job indices hold."""
    machine, duration = np.asarray(instance.machine).tolist(), np.asarray(instance.duration).tolist()
    lengths = np.asarray(instance.n_operations).tolist()
    return [list(zip(machine[j][:n], duration[j][:n], strict=True)) for j, n in enumerate(lengths)]


class _Shop:
    """A partial schedule kept as one list of busy intervals per machine."""

    def __init__(self, jobs: list[Job], scheme: str) -> None:
        self.jobs = jobs
        self.scheme = scheme
        self.done = [0] * len(jobs)
        self.released = [0] * len(jobs)
        self.busy: dict[int, list[tuple[int, int]]] = {m: [] for job in jobs for m, _ in job}
        self.free = dict.fromkeys(self.busy, 0)  # largest completion on each machine

    def unfinished(self) -> list[int]:
        return [j for j, job in enumerate(self.jobs) if self.done[j] < len(job)]

    def next(self, j: int) -> tuple[int, int]:
        return self.jobs[j][self.done[j]]

    def start(self, j: int) -> int:
        """When the next operation of job j would start."""
        machine, duration = self.next(j)
        ready = self.released[j]
        if self.scheme != "left_shift":
            return max(ready, self.free[machine])
        # The earliest gap begins when the job is ready or where an interval ends.
        busy = self.busy[machine]
        moments = sorted([ready] + [b for _, b in busy if b > ready])
        return next(t for t in moments if all(t + duration <= a or b <= t for a, b in busy))

    def objection(self, j: int) -> str | None:
        """Why job j may not be chosen now, or None."""
        if not 0 <= j < len(self.jobs):
            return f"there is no job {j}; the jobs are 0..{len(self.jobs) - 1}"
        if j not in (candidates := self.unfinished()):
            return f"job {j} has no operation left"
        if self.scheme not in ("non_delay", "giffler_thompson"):
            return None
        starts = {i: self.start(i) for i in candidates}
        if self.scheme == "non_delay" and starts[j] > (earliest := min(starts.values())):
            return f"job {j} would start at {starts[j]}, while another can at {earliest}; non_delay takes only those"
        if self.scheme == "giffler_thompson":  # ties for the first completion go to the lowest job
            completion, first = min((starts[i] + self.next(i)[1], i) for i in candidates)
            machine = self.next(first)[0]
            if j != first and (self.next(j)[0] != machine or starts[j] >= completion):
                return (
                    f"job {j} would start at {starts[j]} on machine {self.next(j)[0]}, outside the conflict set of "
                    f"machine {machine} before {completion}"
                )
        return None

    def take(self, j: int) -> int:
        """Schedule the next operation of job j; its start."""
        start, (machine, duration) = self.start(j), self.next(j)
        self.busy[machine].append((start, start + duration))
        self.free[machine] = max(self.free[machine], start + duration)
        self.released[j] = start + duration
        self.done[j] += 1
        return start


def replay(instance: JobShopInstance, actions: Iterable[Any], scheme: str) -> tuple[np.ndarray, Verdict]:
    """(starts i32[J, K], verdict) of building a schedule action by action; -1 where nothing was scheduled.

    The first illegal action ends the replay and is named by its position, as are missing and superfluous actions.
    """
    jobs = _jobs(instance)
    starts = np.full(np.shape(instance.machine), UNSCHEDULED, np.int32)
    if scheme not in SCHEMES:
        return starts, Verdict.refuse(f"unknown scheme {scheme!r}; choose one of {', '.join(SCHEMES)}")
    shop = _Shop(jobs, scheme)
    total = sum(map(len, jobs))
    for position, action in enumerate(actions):
        if position == total:
            return starts, Verdict.refuse(f"action {position}: the schedule is complete after {total} actions")
        try:
            j = operator.index(action)
        except TypeError:
            return starts, Verdict.refuse(f"action {position}: {action!r} is not an integer")
        if objection := shop.objection(j):
            return starts, Verdict.refuse(f"action {position}: {objection}")
        k = shop.done[j]
        starts[j, k] = shop.take(j)
    if missing := total - sum(shop.done):
        return starts, Verdict.refuse(
            f"action {total - missing}: the trace ends with {missing} of {total} operations unscheduled, "
            f"among them those of job {shop.unfinished()[0]}"
        )
    return starts, Verdict(True, max(shop.released, default=0))


def check_schedule(instance: JobShopInstance, starts: Any) -> Verdict:
    """Verify a matrix of start times [J, K] (-1 where there is no operation) and recompute its makespan.

    Every operation must start at an integer time >= 0, after the end of the one before it in its job, and overlap no
    other on its machine; an operation of zero duration may touch others, but not lie inside one.
    """
    jobs, shape = _jobs(instance), np.shape(instance.machine)
    starts = np.asarray(starts)
    if starts.shape != shape:
        return Verdict.refuse(f"starts have shape {starts.shape}, the instance {shape}")
    if not np.issubdtype(starts.dtype, np.integer):
        return Verdict.refuse(f"starts are {starts.dtype}, not integers")
    rows: list[list[int]] = starts.tolist()
    errors: list[str] = []
    on_machine: dict[int, list[tuple[int, int, str]]] = {}
    makespan = 0
    for j, job in enumerate(jobs):
        errors += [f"job {j} has no operation {k}" for k in range(len(job), shape[1]) if rows[j][k] != UNSCHEDULED]
        ready = 0
        for k, (machine, duration) in enumerate(job):
            start = rows[j][k]
            if start < 0:
                what = "is not scheduled" if start == UNSCHEDULED else f"starts at {start}, before time 0"
                errors.append(f"operation {k} of job {j} {what}")
                continue
            if start < ready:
                errors.append(f"operation {k} of job {j} starts at {start}, before its predecessor ends at {ready}")
            ready = start + duration
            makespan = max(makespan, ready)
            on_machine.setdefault(machine, []).append((start, ready, f"operation {k} of job {j}"))
    errors += _overlaps(on_machine)
    if len(errors) > MAX_ERRORS:
        errors[MAX_ERRORS:] = [f"and {len(errors) - MAX_ERRORS} more"]
    return Verdict.refuse(*errors) if errors else Verdict(True, makespan)


def _overlaps(on_machine: dict[int, list[tuple[int, int, str]]]) -> list[str]:
    errors = []
    for machine, intervals in sorted(on_machine.items()):
        last_end, last = 0, ""
        for start, end, name in sorted(intervals):
            if start < last_end:
                errors.append(f"machine {machine}: {name} starts at {start} while {last} runs until {last_end}")
            if end >= last_end:
                last_end, last = end, name
    return errors


def starts(instance: JobShopInstance, actions: Sequence[Any], options: dict[str, Any] | None = None) -> np.ndarray:
    """i32[J, K]: the start times that the actions lead to, up to the first illegal one; -1 elsewhere."""
    return replay(instance, actions, _scheme(options))[0]


def validate(instance: JobShopInstance, actions: Sequence[Any], options: dict[str, Any] | None = None) -> Verdict:
    """Replay the actions under ``options["scheme"]`` (default semi_active), then check the schedule for itself."""
    schedule, verdict = replay(instance, actions, _scheme(options))
    if not verdict.valid:
        return verdict
    checked = check_schedule(instance, schedule)
    if checked.valid and checked.objective != verdict.objective:
        return Verdict.refuse(f"the replay ends at {verdict.objective}, its schedule at {checked.objective}")
    return checked


def _scheme(options: dict[str, Any] | None) -> str:
    return str((options or {}).get("scheme", "semi_active"))

"""The validator of streams on a SoC: plays a list of actions event by event, then judges the schedule for itself.

The model is that of DS3 and gym-ds3 (github.com/EpiSci/SoCRATES), with the queues of the PEs made exact. A decision
commits one ready task to the queue of one PE; an idle PE starts the first committed of the tasks whose data are there.
At one instant come finishes, then departures and admissions, then all decisions, then starts by PE; a task that takes no
time finishes where it starts. Nothing is known ahead: the clock moves from one event to the next.
"""

from __future__ import annotations

import bisect
import heapq
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from dispatchgym.eval.validators.base import Verdict
from dispatchgym.eval.validators.soc_schedule import NEVER, Schedule, Stream, check_schedule
from dispatchgym.instances.soc.instance import SocInstance

DECIDE = ("pair", "task")
SPEEDS = ("known", "order", "hidden")
DEFAULTS: dict[str, Any] = {"window": 8, "decide": "pair", "speeds": "known"}


class _Chip:
    """Jobs, queues and PEs at one instant."""

    def __init__(self, stream: Stream, speeds: str) -> None:
        self.stream = stream
        self.shown = [[_shown(row, speeds) for row in rows] for rows in stream.time]
        blank = [[NEVER] * n for n in stream.tasks]
        pe, start, finish = ([row[:] for row in blank] for _ in range(3))
        self.schedule = Schedule(pe, start, finish, [], [NEVER] * stream.jobs)
        self.since = [row[:] for row in blank]  # when a task became ready
        self.now = self.admitted = self.complete = self.area = 0  # area: jobs present, summed over time
        self.ready: list[tuple[int, int, int]] = []  # (since, job, task), ascending
        self.queue: list[list[tuple[int, int, int]]] = [[] for _ in range(stream.pes)]  # (data there, job, task)
        self.runs: list[tuple[int, int] | None] = [None] * stream.pes
        self.finishes: list[tuple[int, int, int, int]] = []  # heap of (time, job, task, PE)
        self.waits_for = [[len(stream.before(k, i)) for i in range(n)] for k, n in enumerate(stream.tasks)]
        self.unfinished = list(stream.tasks)
        self.release = stream.gap[0]
        self.moments = [self.release] if stream.closed else stream.arrival[:]  # heap of when something may happen

    def advance(self) -> None:
        """To the next decision, or until nothing is left to happen."""
        while True:
            self._finish()
            self._admit()
            if self.ready:
                return
            if self._start():
                continue
            while self.moments and self.moments[0] <= self.now:
                heapq.heappop(self.moments)
            if not self.moments:
                return
            stream = self.stream
            arrived = self.admitted if stream.closed else bisect.bisect_right(stream.arrival, self.now)
            self.area += (arrived - self.complete) * (self.moments[0] - self.now)
            self.now = self.moments[0]

    def _finish(self) -> None:
        while self.finishes and self.finishes[0][0] <= self.now:
            _, k, i, p = heapq.heappop(self.finishes)
            self.runs[p] = None
            self.unfinished[k] -= 1
            self.complete += not self.unfinished[k]
            for j in self.stream.after(k, i):
                self.waits_for[k][j] -= 1
                if not self.waits_for[k][j]:
                    self._make_ready(k, j)

    def _admit(self) -> None:
        stream = self.stream
        while self.admitted < stream.jobs and self.release <= self.now and self.admitted - self.complete < stream.cap:
            k, self.admitted = self.admitted, self.admitted + 1
            self.schedule.admitted[k] = self.now
            for i in range(stream.tasks[k]):
                if not self.waits_for[k][i]:
                    self._make_ready(k, i)
            if self.admitted < stream.jobs:
                self.release = self.now + stream.gap[k + 1] if stream.closed else stream.arrival[k + 1]
                heapq.heappush(self.moments, self.release)

    def _make_ready(self, k: int, i: int) -> None:
        self.since[k][i] = self.now
        bisect.insort(self.ready, (self.now, k, i))

    def _start(self) -> bool:
        """Start one task, on the lowest PE that can; whether there was one."""
        for p, queue in enumerate(self.queue):
            if self.runs[p] is not None:
                continue
            for at, (there, k, i) in enumerate(queue):
                if there <= self.now:
                    del queue[at]
                    self.runs[p] = k, i
                    end = self.now + self.stream.actual(k, i, p)
                    self.schedule.start[k][i], self.schedule.finish[k][i] = self.now, end
                    heapq.heappush(self.finishes, (end, k, i, p))
                    heapq.heappush(self.moments, end)
                    return True
        return False

    def data(self, k: int, i: int, p: int) -> int:
        """When a ready task has its data on a PE."""
        pe, finish = self.schedule.pe[k], self.schedule.finish[k]
        before = self.stream.before(k, i)
        return max((finish[a] + self.stream.delay(v, pe[a], p) for a, v in before), default=self.since[k][i])

    def commit(self, position: int, p: int) -> None:
        _, k, i = self.ready.pop(position)
        there = max(self.now, self.data(k, i, p))
        self.schedule.pe[k][i] = p
        self.schedule.order.append((k, i))
        self.queue[p].append((there, k, i))
        heapq.heappush(self.moments, there)

    def told(self, k: int, i: int) -> list[int]:
        """The times of a task as a scheduler is told them."""
        return self.shown[self.stream.template[k]][i]

    def quickest(self, k: int, i: int) -> int:
        """The PE on which a task is expected to finish first by the times shown, with tasks queued one behind the other."""
        finish = []
        for p, time in enumerate(self.told(k, i)):
            if time < 0:
                continue
            free = self.now + sum(self.told(j, b)[p] for _, j, b in self.queue[p])
            if (running := self.runs[p]) is not None:
                j, b = running
                # An overdue task is expected one tick from now.
                free += max(self.schedule.start[j][b] + self.told(j, b)[p], self.now + 1) - self.now
            finish.append((max(free, self.data(k, i, p)) + time, p))
        return min(finish)[1]

    def objection(self, action: int, window: int, decide: str) -> str | None:
        """Why the action may not be taken now, or None."""
        position, p = divmod(action, self.stream.pes) if decide == "pair" else (action, NEVER)
        if not 0 <= position < window:
            most = window * (self.stream.pes if decide == "pair" else 1) - 1
            return f"there is no action {action}; the actions are 0..{most}"
        if position >= len(self.ready):
            return f"position {position} of the window is empty; {len(self.ready)} tasks are ready at {self.now}"
        _, k, i = self.ready[position]
        if decide == "pair" and self.stream.nominal(k, i, p) < 0:
            return f"position {position} is task {i} of job {k}, which PE {p} does not support"
        return None


def _shown(times: list[int], speeds: str) -> list[int]:
    """Row of a task under what is known of speeds: all; the order of the PEs, 1 for the fastest; who supports it."""
    if speeds == "known":
        return times
    supported = [w for w in times if w >= 0]
    rank = {w: 1 + sum(v < w for v in supported) if speeds == "order" else 1 for w in supported}
    return [rank[w] if w >= 0 else -1 for w in times]


def replay(
    instance: SocInstance, actions: Iterable[Any], options: dict[str, Any] | None = None
) -> tuple[Schedule, list[int], Verdict]:
    """(schedule, rewards, verdict) of playing the actions; the verdict's objective is the total flow time.

    Options: ``window`` (8), the ready tasks that can be chosen; ``decide``: "pair" or "task", where an action is the
    position of a task and the PE that of the smallest expected finish; ``speeds``: "known", "order" or "hidden", what
    such an expectation builds on. The first illegal action ends the play and is named by its position, as are missing
    and superfluous actions.
    """
    chosen = DEFAULTS | (options or {})
    window, decide, speeds = chosen["window"], chosen["decide"], chosen["speeds"]
    stream = Stream(instance)
    chip = _Chip(stream, speeds)
    for name, known in (("decide", DECIDE), ("speeds", SPEEDS)):
        if chosen[name] not in known:
            return (
                chip.schedule,
                [],
                Verdict.refuse(f"unknown {name} {chosen[name]!r}; choose one of {', '.join(known)}"),
            )
    rewards: list[int] = []
    total = sum(stream.tasks)
    chip.advance()
    for position, given in enumerate(actions):
        if position == total:
            return chip.schedule, rewards, Verdict.refuse(f"action {position}: all is decided after {total} actions")
        try:
            action = operator.index(given)
        except TypeError:
            return chip.schedule, rewards, Verdict.refuse(f"action {position}: {given!r} is not an integer")
        if objection := chip.objection(action, window, decide):
            return chip.schedule, rewards, Verdict.refuse(f"action {position}: {objection}")
        row, p = divmod(action, stream.pes) if decide == "pair" else (action, chip.quickest(*chip.ready[action][1:]))
        before = chip.area
        chip.commit(row, p)
        chip.advance()
        rewards.append(before - chip.area)
    if missing := total - len(rewards):
        _, k, i = chip.ready[0]
        return (
            chip.schedule,
            rewards,
            Verdict.refuse(
                f"action {len(rewards)}: the trace ends with {missing} of {total} tasks undecided, the next task {i} of job {k}"
            ),
        )
    return chip.schedule, rewards, Verdict(True, chip.area)


def schedule(instance: SocInstance, actions: Sequence[Any], options: dict[str, Any] | None = None) -> Schedule:
    """The schedule that the actions lead to, up to the first illegal one; -1 for what has not happened by then."""
    return replay(instance, actions, options)[0]


def validate(instance: SocInstance, actions: Sequence[Any], options: dict[str, Any] | None = None) -> Verdict:
    """Play the actions (see :func:`replay` for the options), then check the schedule for itself, and measure it."""
    plan, _, verdict = replay(instance, actions, options)
    if not verdict.valid:
        return verdict
    checked = check_schedule(instance, plan)
    if checked.valid and checked.objective != verdict.objective:
        return Verdict.refuse(f"the play adds up to {verdict.objective}, its schedule to {checked.objective}")
    return checked

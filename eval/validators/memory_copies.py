"""Copies between slow and fast memory, in ticks: do the supplies of the steps carry them, and how long do they take.

The model of the game follows XLA's memory space assignment: step t supplies max(compute, memory) ticks to copies in, and
as much again to copies out, whatever the step itself moves. The simulation charges what that leaves out: steps and copies
of both directions share the one slow memory.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dispatchgym.instances.memory.instance import MemoryInstance
from dispatchgym.instances.memory.plan import NONE, Plan

IN, OUT = 0, 1


class Copy(NamedTuple):
    """``need`` ticks of copying within the steps release .. deadline - 1."""

    deadline: int  # step before which it must be complete; T: by the end
    event: int
    direction: int  # IN or OUT
    release: int  # first step in which it can run
    need: int


class Case:
    """The instance in plain Python, without padding."""

    def __init__(self, instance: MemoryInstance) -> None:
        plain = {name: np.asarray(value).tolist() for name, value in vars(instance.trimmed()).items()}
        self.compute: list[int] = plain["compute"]
        self.memory: list[int] = plain["memory"]
        self.capacity: int = plain["capacity"]
        self.granules: list[int] = plain["granules"]
        self.define: list[int] = plain["define"]
        self.output: list[int] = plain["output"]
        self.demand: list[int] = plain["demand"]
        self.buffer: list[int] = plain["event_buffer"]
        self.step: list[int] = plain["event_step"]
        self.kind: list[int] = plain["event_kind"]
        self.gain: list[int] = plain["gain"]
        self.traffic: list[int] = plain["traffic"]
        self.steps, self.buffers, self.events = len(self.compute), len(self.define), len(self.step)

    def supply(self) -> list[int]:
        """Ticks of each step with everything in slow memory."""
        return [max(c, m) for c, m in zip(self.compute, self.memory, strict=True)]

    def saved(self, served: Sequence[bool], per_event: list[int]) -> list[int]:
        """By step, the sum of a column of events over those that fast memory serves."""
        total = [0] * self.steps
        for e, from_fast in enumerate(served):
            if from_fast:
                total[self.step[e]] += per_event[e]
        return total

    def durations(self, served: Sequence[bool]) -> list[int]:
        """Ticks of each step if fast memory serves these events."""
        gains = self.saved(served, self.gain)
        return [max(c, m - g) for c, m, g in zip(self.compute, self.memory, gains, strict=True)]

    def copies(self, plan: Plan) -> list[Copy]:
        """All copies of a plan."""
        found = []
        for e, (a, end) in enumerate(zip(plan.copy_in.tolist(), plan.copy_out.tolist(), strict=True)):
            need = self.demand[self.buffer[e]]
            if a != NONE:
                found.append(Copy(self.step[e], e, IN, a + 1, need))
            if end != NONE:
                found.append(Copy(end + 1, e, OUT, self.step[e] + 1, need))
        return found


class _Channel:
    """Released copies, the earliest deadline first; ties: the lower event, then copies in."""

    def __init__(self, copies: Iterable[Copy]) -> None:
        self._coming = sorted(copies, key=lambda copy: copy.release, reverse=True)
        self._queue: list[Copy] = []
        self._left: dict[Copy, int] = {}

    def release(self, t: int) -> None:
        """Let the copies begin that may run in step t."""
        while self._coming and self._coming[-1].release <= t:
            copy = self._coming.pop()
            self._left[copy] = copy.need
            heapq.heappush(self._queue, copy)

    def due(self, t: int) -> Copy | None:
        """A copy that is not complete, although it should be before step t."""
        return self._queue[0] if self._queue and self._queue[0].deadline <= t else None

    def run(self, ticks: int) -> None:
        """Copy for that long."""
        while ticks and self._queue:
            first = self._queue[0]
            done = min(ticks, self._left[first])
            ticks -= done
            self._left[first] -= done
            if not self._left[first]:
                heapq.heappop(self._queue)

    def complete(self, copy: Copy) -> int:
        """Bring the first copy to its end; the ticks that were left of it."""
        heapq.heappop(self._queue)
        return self._left[copy]


def first_late(copies: Iterable[Copy], supply: list[int]) -> Copy | None:
    """A copy of one direction that misses its deadline, or None if the supplies carry all of them.

    Serving the earliest deadline first, with preemption, meets all deadlines if any order does (Horn 1974); that the
    steps supply unequal amounts is a change of the clock.
    """
    channel = _Channel(copies)
    for t, ticks in enumerate(supply):
        channel.release(t)
        if late := channel.due(t):
            return late
        channel.run(ticks)
    return channel.due(len(supply))


def simulated(case: Case, served: Sequence[bool], copies: Iterable[Copy]) -> int:
    """Ticks of the program when its copies get only the slow memory that its steps leave idle.

    Before step t everything waits until the copies due before it are complete. The step takes max(compute, memory - gains)
    ticks and uses slow memory for memory - traffic of its events from fast memory; in the idle rest copies run, both
    directions in one queue. What is left after the last step is waited for.
    """
    channel, time = _Channel(copies), 0
    busy = [m - moved for m, moved in zip(case.memory, case.saved(served, case.traffic), strict=True)]
    for t, duration in enumerate(case.durations(served)):
        channel.release(t)
        while due := channel.due(t):
            time += channel.complete(due)
        time += duration
        channel.run(duration - max(0, busy[t]))
    channel.release(case.steps)
    while rest := channel.due(case.steps):
        time += channel.complete(rest)
    return time

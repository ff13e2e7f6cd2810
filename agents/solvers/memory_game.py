"""The memory-mapping game on the host, fast enough to be replayed thousands of times.

Events come in order of their steps, so no supply after the current step has been taken by a copy inwards, and copies
outwards leave one point up to which their channel is busy: both searches for an interval are bisections.
"""

from __future__ import annotations

import copy
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.memory_heap import first_fit
from dispatchgym.agents.solvers.memory_tables import Tables, is_free
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.instance import READ, UPDATE, WRITE
from dispatchgym.instances.memory.plan import NONE, Plan, Rectangle

DROP, NO_COPY, COPY = range(3)
NEVER = 2**40  # step after which slow memory holds what only fast memory has

# Which actions are tried for a wanted one, in order. Where Drop is illegal the storage is held, and NoCopy changes nothing.
PREFERENCES = ((DROP, NO_COPY, COPY), (NO_COPY, COPY, DROP), (COPY, NO_COPY, DROP))


class Move(NamedTuple):
    """What an action does to the storage of the event."""

    ready: int  # step after which slow memory holds the contents
    low: int  # offset of the stay in fast memory, -1: none
    until: int  # last step of the stay
    first: int = 0  # fast memory is reserved from this step until ``until``; nothing is if first > until
    copy_in: int = NONE  # as in Plan
    copy_out: int = NONE


class Game:
    """One episode; ``evictions``: "charged", or "free" where contents defined in fast memory are in slow memory too.

    Raises InstanceError for other evictions.
    """

    def __init__(self, tables: Tables, evictions: str = "charged") -> None:
        self.tables, self.free = tables, is_free(evictions)
        self.actions: list[int] = []
        self.latency = tables.all_slow
        self.saved = [0] * tables.steps
        self.ready = [-1 if d < 0 else NEVER for d in tables.define]
        self.low, self.until = [-1] * tables.buffers, [-1] * tables.buffers
        self.copies_in: dict[int, int] = {}  # event: a of Plan.copy_in
        self.copies_out: dict[int, int] = {}
        self.rectangles: list[Rectangle] = []
        self._ends: list[tuple[int, int, int, int]] = []  # (last, first, low, top) of the rectangles, sorted
        self._inward = [0]  # supply that copies inwards have left of all steps before, up to the current one
        self._outward = 0  # copies outwards have taken the supply up to here, counted from the start of the program

    def copy(self) -> Game:
        """An episode in the same state, to be continued on its own."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, list | dict):
                setattr(other, name, value.copy())
        return other

    @property
    def over(self) -> bool:
        """Whether all events are decided."""
        return len(self.actions) == self.tables.events

    def legal(self) -> tuple[int, ...]:
        """The legal actions of the next event; there is always one."""
        return tuple(action for action in (DROP, NO_COPY, COPY) if self.move(action) is not None)

    def play(self, action: int) -> int:
        """Take the action; the ticks it saves. Raises InstanceError if it is illegal."""
        move = self.move(action)
        if move is None:
            raise InstanceError(
                f"action {action} of event {len(self.actions)} is illegal; choose one of {self.legal()}"
            )
        return self._take(action, move)

    def follow(self, wanted: int) -> int:
        """Take the wanted action if it is legal, otherwise the nearest one; which it was."""
        for action in PREFERENCES[wanted]:
            move = self.move(action)
            if move is not None:
                self._take(action, move)
                return action
        raise AssertionError("an event has no legal action")

    def move(self, action: int) -> Move | None:
        """What the action would do to the next event; None if it is illegal."""
        e, tables = len(self.actions), self.tables
        b, t, kind = tables.buffer[e], tables.step[e], tables.kind[e]
        ready, low, until = self.ready[b], self.low[b], self.until[b]
        if kind == READ:
            if low >= 0 and until >= t:
                return Move(ready, low, until, until + 1) if action == NO_COPY else None
            if action == DROP:
                return Move(ready, -1, -1) if ready < t else None
            return self._stayed(b, t, ready) if action == NO_COPY else self._fetched(b, t, t, ready)
        if action == DROP:
            return Move(t, -1, -1) if kind == WRITE or ready < t else None
        if self.free:
            if action == NO_COPY:
                return self._placed(b, t, t, t) if kind == WRITE else self._stayed(b, t, t)
            return self._fetched(b, t, t, t) if kind == UPDATE else None
        if action == NO_COPY:
            if tables.output[b]:
                return None
            last = tables.last[b]
            return self._placed(b, t, last, NEVER) if kind == WRITE else self._stayed(b, last, NEVER)
        if kind == WRITE and tables.last[b] == t and not tables.output[b]:
            return None
        end = self._finish(t, tables.demand[b])
        if end >= tables.next_write[e]:
            return None
        move = self._placed(b, t, end, end) if kind == WRITE else self._stayed(b, end, end)
        if kind == UPDATE and move is None:
            move = self._fetched(b, t, end, end)
        return move and move._replace(copy_out=end)

    def _take(self, action: int, move: Move) -> int:
        e, tables = len(self.actions), self.tables
        b, t = tables.buffer[e], tables.step[e]
        if move.copy_in != NONE:
            self.copies_in[e] = move.copy_in
            left = self._inward[t] - tables.demand[b]
            self._inward[move.copy_in + 2 :] = [left] * (t - move.copy_in - 1)
        if move.copy_out != NONE:
            self.copies_out[e] = move.copy_out
            self._outward = max(self._outward, tables.supplied[t + 1]) + tables.demand[b]
        if action != DROP and move.first <= move.until:
            size = tables.granules[b]
            self.rectangles.append(Rectangle(b, move.first, move.until, move.low, size))
            insort(self._ends, (move.until, move.first, move.low, move.low + size))
        self.ready[b], self.low[b], self.until[b] = move.ready, move.low, move.until
        self.actions.append(action)
        if action == DROP:
            return 0
        compute, memory, saved = tables.compute[t], tables.memory[t], self.saved[t]
        self.saved[t] = saved + tables.gain[e]
        shorter = max(compute, memory - saved) - max(compute, memory - self.saved[t])
        self.latency -= shorter
        return shorter

    def _latest(self, t: int, demand: int) -> int:
        """Exclusive start of the latest copy that is there in step t; below -1 if the supply does not suffice."""
        inward, supply = self._inward, self.tables.supply
        while len(inward) <= t:
            inward.append(inward[-1] + supply[len(inward) - 1])
        return bisect_right(inward, inward[t] - demand, 0, t + 1) - 2

    def _finish(self, t: int, demand: int) -> int:
        """Last step of a copy outwards that begins after step t; the number of steps or more if it does not end."""
        supplied = self.tables.supplied
        return bisect_left(supplied, max(self._outward, supplied[t + 1]) + demand) - 1

    def _overlapping(self, first: int, last: int) -> list[tuple[int, int]]:
        """(low, top) of the rectangles that share a step with first .. last, lowest first."""
        ends = self._ends
        return sorted((low, top) for _, since, low, top in ends[bisect_left(ends, (first,)) :] if since <= last)

    def _placed(self, b: int, first: int, last: int, ready: int) -> Move | None:
        """A stay at the lowest offset that is free throughout first .. last."""
        size = self.tables.granules[b]
        low = first_fit(self._overlapping(first, last), size)
        return Move(ready, low, last, first) if low + size <= self.tables.capacity else None

    def _stayed(self, b: int, last: int, ready: int) -> Move | None:
        """The stay goes on at its offset through the step ``last``."""
        low, until = self.low[b], self.until[b]
        if low < 0:
            return None
        top = low + self.tables.granules[b]
        if last > until and any(low < over and under < top for under, over in self._overlapping(until + 1, last)):
            return None
        return Move(ready, low, max(until, last), until + 1)

    def _fetched(self, b: int, t: int, last: int, ready: int) -> Move | None:
        """A stay that begins with the latest copy, if the contents are in slow memory before it."""
        start = self._latest(t, self.tables.demand[b])
        if start < max(-1, self.ready[b]):
            return None
        move = self._placed(b, start + 1, last, ready)
        return move and move._replace(copy_in=start)

    def plan(self) -> Plan:
        """The mapping decided so far."""
        n = self.tables.events
        served = np.zeros(n, bool)
        served[: len(self.actions)] = np.array(self.actions, int) != DROP
        return Plan(served, by_event(n, self.copies_in), by_event(n, self.copies_out), tuple(self.rectangles))


def by_event(events: int, times: Mapping[int, int]) -> np.ndarray:
    """i64[U] of times by event, NONE elsewhere."""
    column = np.full(events, NONE, np.int64)
    column[list(times)] = list(times.values())
    return column


def followed(tables: Tables, wanted: Sequence[int], evictions: str = "charged") -> Game:
    """The episode that takes each event's wanted action, or the nearest legal one. Raises InstanceError for bad input."""
    if len(wanted) != tables.events or any(action not in (DROP, NO_COPY, COPY) for action in wanted):
        raise InstanceError(
            f"a list of {len(wanted)} actions; give one of 0, 1 and 2 for each of {tables.events} events"
        )
    game = Game(tables, evictions)
    for action in wanted:
        game.follow(int(action))
    return game


def actions_of(tables: Tables, plan: Plan, evictions: str = "charged") -> list[int]:
    """The actions that a plan wants: Copy for a read that is copied in, and for a write that is copied out.

    Where copies out are free, an update is a Copy if it is copied in.
    """
    kind = np.array(tables.kind)
    inward = kind == READ if evictions == "charged" else kind != WRITE
    copied = np.where(inward, plan.copy_in != NONE, plan.copy_out != NONE)
    wanted: list[int] = np.where(~plan.served, DROP, np.where(copied, COPY, NO_COPY)).tolist()
    return wanted


def solution(game: Game, started: float, bound: int | None = None) -> Solution:
    """A finished episode as a solution; optimal if its latency is the bound. ``started``: of ``time.perf_counter``."""
    status = "optimal" if bound == game.latency else "feasible"
    options = {"evictions": "free"} if game.free else {}
    return Solution(list(game.actions), game.latency, status, bound, time.perf_counter() - started, options)

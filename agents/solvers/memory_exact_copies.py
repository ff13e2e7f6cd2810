"""Which copies of a memory mapping are possible at all, and which intervals they may overfill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dispatchgym.agents.solvers.memory_game import Tables
from dispatchgym.instances.memory.instance import READ


class Candidates:
    """When the storage of each event may be copied, by the supplies alone."""

    def __init__(self, tables: Tables) -> None:
        self.writer: list[int] = []  # [U] event of the last write before, -1: none
        self.written: list[int] = []  # [U] its step, -1: none
        self.latest: list[int] = []  # [U] latest exclusive start of a copy in, -2: there is none
        self.readers: dict[int, list[int]] = {}  # of a write: the events up to and including the next write
        for e, before in enumerate(tables.before):
            wrote = before >= 0 and tables.kind[before] != READ
            self.writer.append(before if wrote else self.writer[before] if before >= 0 else -1)
            self.written.append(tables.step[self.writer[e]] if self.writer[e] >= 0 else -1)
            if self.writer[e] >= 0:
                self.readers[self.writer[e]].append(e)
            if tables.kind[e] != READ:
                self.readers[e] = []
            t, need = tables.step[e], tables.demand[tables.buffer[e]]
            a = t - 1
            while a >= -1 and tables.supplied[t] - tables.supplied[a + 1] < need:
                a -= 1
            self.latest.append(-2 if before < 0 <= tables.define[tables.buffer[e]] else a)

    def starts(self, e: int) -> range:
        """Exclusive starts of a copy in for an event, ascending."""
        return range(self.written[e], self.latest[e] + 1)

    @property
    def count(self) -> int:
        """The number of starts of all events, which the size of a model grows with."""
        return sum(len(self.starts(e)) for e in range(len(self.latest)))


class Window(NamedTuple):
    """The copies of one direction that lie within the steps first + 1 .. last - 1, and the supply of these steps."""

    supply: int
    copies: list[tuple[int, int]]  # (event, the earliest start or the latest deadline there: a step)


def inward_windows(tables: Tables, candidates: Candidates) -> Iterator[Window]:
    """All intervals that copies in may overfill."""
    fetched = [e for e in range(tables.events) if candidates.starts(e)]
    for p in range(-1, tables.steps):
        inside: list[tuple[int, int]] = []
        need, bounding = 0, False
        for at, e in enumerate(fetched):  # by step
            start = max(p, candidates.written[e])
            if start <= candidates.latest[e]:
                inside.append((e, start))
                need += tables.demand[tables.buffer[e]]
                bounding |= start == p  # otherwise a later p holds the same copies in fewer steps
            q = tables.step[e]
            if at + 1 < len(fetched) and tables.step[fetched[at + 1]] == q:
                continue
            supply = tables.supplied[q] - tables.supplied[p + 1] if q > p else 0
            if bounding and need > supply:
                yield Window(supply, inside.copy())


def outward_windows(tables: Tables, deadlines: dict[int, list[int]]) -> Iterator[Window]:
    """All intervals that copies out may overfill; ``deadlines`` of each write, ascending."""
    for p in sorted({tables.step[e] for e in deadlines}):
        for q in sorted({q for times in deadlines.values() for q in times if q > p}):
            inside = [
                (e, max(d for d in times if d <= q))
                for e, times in deadlines.items()
                if tables.step[e] >= p and times and times[0] <= q
            ]
            supply = tables.supplied[q] - tables.supplied[p + 1]
            if sum(tables.demand[tables.buffer[e]] for e, _ in inside) > supply:
                yield Window(supply, inside)

"""Which copies of a memory mapping are possible at all, and which intervals they may overfill."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.instances.memory.instance import READ

MOST_TERMS = 1_000_000  # copies in the intervals of a model; without the others it is a relaxation


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


def inward_windows(tables: Tables, candidates: Candidates, most: int = MOST_TERMS) -> Iterator[Window]:
    """Intervals that copies in may overfill: all of them, or those with the fewest copies if all have more than ``most``."""
    fetched = np.array([e for e in range(tables.events) if candidates.starts(e)], int)  # by step
    if not fetched.size:
        return
    step, written = np.array(tables.step)[fetched], np.array(candidates.written)[fetched]
    latest = np.array(candidates.latest)[fetched]
    demand, supplied = np.array(tables.demand)[np.array(tables.buffer)[fetched]], np.array(tables.supplied)
    newest = np.append(step[1:] != step[:-1], True)
    rows: list[np.ndarray] = []  # (p, position of the last copy, copies, supply)
    for p in range(-1, tables.steps):
        start = np.maximum(p, written)
        inside = start <= latest
        bounding = np.cumsum(inside & (start == p)) > 0  # otherwise a later p holds the same copies in fewer steps
        supply = np.where(step > p, supplied[step] - supplied[p + 1], 0)
        at = np.flatnonzero(newest & bounding & (np.cumsum(demand * inside) > supply))
        rows.append(np.stack([np.full_like(at, p), at, np.cumsum(inside)[at], supply[at]]))
    for p, at, _, supply in _fewest(np.concatenate(rows, axis=1), most).T.tolist():
        start = np.maximum(p, written[: at + 1])
        here = np.flatnonzero(start <= latest[: at + 1])
        yield Window(supply, list(zip(fetched[here].tolist(), start[here].tolist(), strict=True)))


def outward_windows(tables: Tables, deadlines: dict[int, list[int]], most: int = MOST_TERMS) -> Iterator[Window]:
    """The same for copies out; ``deadlines`` of each write, ascending."""
    writes = [e for e in sorted(deadlines) if deadlines[e]]
    if not writes:
        return
    release = np.array([tables.step[e] for e in writes])
    first = np.array([deadlines[e][0] for e in writes])
    demand, supplied = np.array([tables.demand[tables.buffer[e]] for e in writes]), np.array(tables.supplied)
    times = np.array(sorted({q for e in writes for q in deadlines[e]}))
    rows: list[np.ndarray] = []
    for p in np.unique(release):
        inside = (release >= p) & (first <= times[:, None])  # [times, writes]
        supply = supplied[times] - supplied[p + 1]
        at = np.flatnonzero((times > p) & (inside @ demand > supply))
        rows.append(np.stack([np.full_like(at, p), times[at], inside.sum(1)[at], supply[at]]))
    for p, q, _, supply in _fewest(np.concatenate(rows, axis=1), most).T.tolist():
        here = [e for e, r, d in zip(writes, release, first, strict=True) if r >= p and d <= q]
        yield Window(supply, [(e, deadlines[e][bisect_right(deadlines[e], q) - 1]) for e in here])


def _fewest(rows: np.ndarray, most: int) -> np.ndarray:
    """Of the columns (p, q, copies, supply) those with the fewest copies, of at most ``most`` copies in all, in order."""
    by_copies = np.argsort(rows[2], kind="stable")
    kept = by_copies[np.cumsum(rows[2][by_copies]) <= most]
    return rows[:, np.sort(kept)]

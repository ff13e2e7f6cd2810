"""A linear program whose optimum is a lower bound on the latency of a memory mapping, evaluated such that it is certain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from dispatchgym.agents.solvers.memory_exact_copies import Candidates
from dispatchgym.agents.solvers.memory_tables import Tables, is_free
from dispatchgym.instances.extras import require

SIMPLEX = 50_000  # columns; beyond it the interior point method has been faster

Terms = list[tuple[int, float]]  # (column, coefficient)


class LinearProgram:
    """maximise gain @ x subject to A x <= limit and 0 <= x <= 1, assembled row by row."""

    def __init__(self) -> None:
        self.gain: list[float] = []
        self.limit: list[float] = []
        self._row: list[int] = []
        self._column: list[int] = []
        self._value: list[float] = []
        self.solution: np.ndarray | None = None  # f64[columns] of the last call of ``bound``, None if it was stopped

    def column(self, gain: float = 0.0) -> int:
        """A new variable."""
        self.gain.append(gain)
        return len(self.gain) - 1

    def row(self, terms: Iterable[tuple[int, float]], limit: float = 0.0) -> None:
        """A new constraint: the terms sum up to at most ``limit``."""
        for column, value in terms:
            self._row.append(len(self.limit))
            self._column.append(column)
            self._value.append(value)
        self.limit.append(limit)

    def bound(self, time_limit: float | None = None) -> float:
        """A number that the maximum does not exceed, by HiGHS; if the time limit stops it, the sum of the positive gains.

        Any non-negative multipliers y of the rows give one: y @ limit + sum(max(0, gain - A' y)), as every variable is in
        0..1 (Neumaier and Shcherbina, 2004). So tolerances of the solver cannot make it wrong, and a bound on the rounding
        errors of the evaluation is added.
        """
        optimize: Any = require("scipy.optimize", "exact", "the linear program")
        sparse: Any = require("scipy.sparse", "exact", "the linear program")
        row, column = np.array(self._row, np.int32), np.array(self._column, np.int32)
        value, gain, limit = np.array(self._value), np.array(self.gain), np.array(self.limit)
        m, n = len(limit), len(gain)
        found = optimize.linprog(
            -gain,
            A_ub=sparse.csr_array((value, (row, column)), shape=(m, n)),
            b_ub=limit,
            bounds=(0, 1),
            method="highs-ds" if n <= SIMPLEX else "highs-ipm",
            options={} if time_limit is None else {"time_limit": time_limit},
        )
        self.solution = None if found.status else found.x
        y = np.zeros(m) if found.status else np.maximum(0.0, -found.ineqlin.marginals)
        reduced = gain - np.bincount(column, value * y[row], minlength=n)
        size = np.abs(limit) @ y + np.abs(gain).sum() + (np.abs(value) * y[row]).sum()
        rounding = 2 * (n + m) * float(np.finfo(float).eps) * size
        return float(y @ limit + np.maximum(0.0, reduced).sum() + rounding)


class MappingProgram(LinearProgram):
    """Memory mapping with fractional stays and copies; maximises the ticks that are saved.

    Per event, ``served`` = ``stays`` + ``fetched``; of a copy in, ``present[q]`` grows step by step up to ``fetched`` and
    takes space, and ``moved[q]`` is the share of the demand that is copied in step q, at most as much as is present. After a
    write, ``gone[q]`` is the share that is copied out before the step q. ``rules``: also what the game asks of a storage written in
    fast memory, that it stays until it is copied out, or is never and stays to its last event, and that no copy in begins
    before. Without them the bound holds for all mappings that respect the supplies.
    """

    def __init__(self, tables: Tables, evictions: str = "charged", rules: bool = False) -> None:
        super().__init__()
        self.tables, self.candidates = tables, Candidates(tables)
        t, n = tables, tables.events
        self.load: list[Terms] = [[] for _ in range(t.steps)]
        self.inward: list[Terms] = [[] for _ in range(t.steps)]
        self.outward: list[Terms] = [[] for _ in range(t.steps)]
        self.served = [self.column() for _ in range(n)]
        self.stays: list[int | None] = [None] * n
        self.present: list[dict[int, int]] = [{} for _ in range(n)]
        for e in range(n):
            self._arrive(e)
            if t.granules[t.buffer[e]] > t.capacity:
                self.row([(self.served[e], 1.0)])
        if not is_free(evictions):
            for e in self.candidates.readers:
                self._leave(e, rules)
        for q in range(t.steps):
            self.row(self.load[q], t.capacity)
            self.row(self.inward[q], t.supply[q])
            self.row(self.outward[q], t.supply[q])
        self._saved()

    def _arrive(self, e: int) -> None:
        tables = self.tables
        b, step, before = tables.buffer[e], tables.step[e], tables.before[e]
        size, need = tables.granules[b], tables.demand[b]
        if before < 0 <= tables.define[b]:
            self.load[step].append((self.served[e], size))
            return
        ways: Terms = []
        if before >= 0:
            stays = self.stays[e] = self.column()
            self.row([(stays, 1.0), (self.served[before], -1.0)])
            for q in range(tables.step[before] + 1, step + 1):
                self.load[q].append((stays, size))
            ways.append((stays, -1.0))
        if self.candidates.starts(e):
            fetched = self.column()
            ways.append((fetched, -1.0))
            moved: Terms = []
            earlier = None
            for q in range(self.candidates.written[e] + 1, step):
                present, share = self.column(), self.column()
                if earlier is not None:
                    self.row([(earlier, 1.0), (present, -1.0)])
                self.row([(share, 1.0), (present, -min(1.0, tables.supply[q] / need))])
                self.load[q].append((present, size))
                self.inward[q].append((share, need))
                moved.append((share, -1.0))
                self.present[e][q] = earlier = present
            if earlier is not None:
                self.row([(earlier, 1.0), (fetched, -1.0)])
            self.row([(fetched, 1.0), *moved])
            self.load[step].append((fetched, size))
        self.row([(self.served[e], 1.0), *ways])

    def _leave(self, e: int, rules: bool) -> None:
        tables, readers = self.tables, self.candidates.readers[e]
        b, step = tables.buffer[e], tables.step[e]
        output = bool(tables.output[b]) and tables.next_write[e] == tables.steps
        end = tables.steps if output else tables.step[readers[-1]] if readers else step
        gone: dict[int, int] = {}
        for q in range(step + 2, end + 1):
            gone[q] = self.column()
            before = [(gone[q - 1], -1.0)] if q - 1 in gone else []
            self.outward[q - 1] += [(column, sign * tables.demand[b]) for column, sign in ((gone[q], 1.0), *before)]
            self.row([(gone[q], -1.0), *((column, 1.0) for column, _ in before)])
        for j in readers:  # what does not stay for an event has been copied out before
            self.row([(self.served[e], 1.0), *self._minus(self.stays[j]), *self._minus(gone.get(tables.step[j]))])
        if output:
            self.row([(self.served[e], 1.0), *self._minus(gone.get(end))])
        if rules:
            self._hold(e, gone, end)

    @staticmethod
    def _minus(column: int | None) -> Terms:
        return [] if column is None else [(column, -1.0)]

    def _hold(self, e: int, gone: dict[int, int], end: int) -> None:
        """In every step what has not been copied out takes space: as what stays for the next event, or by itself."""
        tables, readers = self.tables, self.candidates.readers[e]
        size, at = tables.granules[tables.buffer[e]], 0
        for q in range(tables.step[e] + 1, end):
            while at < len(readers) and tables.step[readers[at]] < q:
                at += 1
            held, out = self.column(), self._minus(gone.get(q))
            staying = self._minus(self.stays[readers[at]]) if at < len(readers) else []
            self.row([(self.served[e], 1.0), (held, -1.0), *staying, *out])
            self.load[q].append((held, size))
            for j in readers:  # a copy that is under way in q began when all was copied out, or this was never served
                if q in self.present[j]:
                    self.row([(self.present[j][q], 1.0), (self.served[e], 1.0), *out], 1.0)

    def _saved(self) -> None:
        """Each step is shorter by the gains of its events, by no more than its memory time exceeds its computation."""
        tables = self.tables
        events: list[list[int]] = [[] for _ in range(tables.steps)]
        for e, t in enumerate(tables.step):
            if tables.gain[e]:
                events[t].append(e)
        for t, own in enumerate(events):
            room = tables.memory[t] - tables.compute[t]
            if room <= 0 or not own:
                continue
            saved = self.column(room)  # as a share of the room
            self.row([(saved, 1.0), *((self.served[e], -tables.gain[e] / room) for e in own)])

"""A small relaxation of memory mapping, for programs whose full models would take minutes to be built.

An event costs three columns whatever the length of the program: a copy in is only said to be or not to be, takes space
from the latest start that the supplies would allow it if it were alone, and must fit, with all others between the same
two steps, into the supply between them. Such intervals are added where a solution overfills them. Every mapping within
capacity and supplies is a solution with the same latency, so the optimum is a bound for any plan.
"""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import numpy as np

from dispatchgym.agents.solvers.memory_bounds_lp import LinearProgram, Terms
from dispatchgym.agents.solvers.memory_exact_copies import Candidates
from dispatchgym.agents.solvers.memory_tables import Tables, is_free
from dispatchgym.agents.solvers.workflow_exact import configured
from dispatchgym.instances.extras import require

TOLERANCE = 1e-6  # ticks, of a bound that CP-SAT states as a float; its arithmetic is that of integers
ADDED = 200  # overfilled intervals that are added after a solution, the most overfilled first
ROUNDS = 30
SLACK = 1.001  # an interval is overfilled by more than a thousandth, or adding it is not worth a round


class Job(NamedTuple):
    """A copy that may be made, all of it after the step ``release`` and before the step ``deadline``."""

    release: int
    deadline: int
    column: int
    need: int
    earlier: int  # column of the same copy with an earlier deadline, which this one includes; -1: none


class Integral(NamedTuple):
    """What CP-SAT found."""

    bound: int  # ticks that no mapping is below, 0: none
    solution: np.ndarray | None  # f64[columns] of the optimum; None if it was not proved


class CoarseProgram(LinearProgram):
    """Maximises the ticks saved; its rows have integer coefficients, but for those of ``rooms``, and serve CP-SAT as well."""

    def __init__(self, tables: Tables, evictions: str = "charged") -> None:
        super().__init__()
        self.tables, self.candidates = tables, Candidates(tables)
        self.columns_in: list[Job] = []
        self.columns_out: list[Job] = []
        self.rooms: list[tuple[int, int, list[int]]] = []  # (column of the saved share, room in ticks, events) by step
        self.rows: list[tuple[Terms, int]] = []  # of 0-1 columns, besides those of ``rooms``
        self.served = [self.column() for _ in range(tables.events)]
        self.stays: list[int | None] = [None] * tables.events
        load: list[Terms] = [[] for _ in range(tables.steps)]
        for e in range(tables.events):
            self._arrive(e, load)
        if not is_free(evictions):
            for e in self.candidates.readers:
                self._leave(e)
        for terms in load:
            if sum(size for _, size in terms) > tables.capacity:
                self.add(terms, tables.capacity)
        self._saved()
        self._known: set[tuple[bool, int, int]] = set()

    def add(self, terms: Terms, limit: int = 0) -> None:
        """A row of 0-1 columns."""
        self.rows.append((terms, limit))
        self.row(terms, limit)

    def _arrive(self, e: int, load: list[Terms]) -> None:
        tables = self.tables
        b, step, before = tables.buffer[e], tables.step[e], tables.before[e]
        size, served = tables.granules[b], self.served[e]
        if size > tables.capacity:
            self.add([(served, 1)])
        if before < 0 <= tables.define[b]:
            load[step].append((served, size))
            return
        ways: Terms = []
        if before >= 0:
            stays = self.stays[e] = self.column()
            self.add([(stays, 1), (self.served[before], -1)])
            for q in range(tables.step[before] + 1, step + 1):
                load[q].append((stays, size))
            ways.append((stays, -1))
        if self.candidates.starts(e):
            fetched = self.column()
            for q in range(self.candidates.latest[e] + 1, step + 1):
                load[q].append((fetched, size))
            ways.append((fetched, -1))
            self.columns_in.append(Job(self.candidates.written[e], step, fetched, tables.demand[b], -1))
        self.add([(served, 1), *ways])
        if len(ways) > 1:
            self.add([(column, 1) for column, _ in ways], 1)

    def _leave(self, e: int) -> None:
        tables, readers = self.tables, self.candidates.readers[e]
        b, step = tables.buffer[e], tables.step[e]
        need, earlier = tables.demand[b], -1
        output = bool(tables.output[b]) and tables.next_write[e] == tables.steps
        for deadline, stays in [*((tables.step[j], self.stays[j]) for j in readers), *[(tables.steps, None)] * output]:
            terms: Terms = [(self.served[e], 1), *([] if stays is None else [(stays, -1)])]
            if tables.supplied[deadline] - tables.supplied[step + 1] >= need:
                gone = self.column()
                self.columns_out.append(Job(step, deadline, gone, need, earlier))
                if earlier >= 0:
                    self.add([(earlier, 1), (gone, -1)])
                earlier = gone
                terms.append((gone, -1))
            self.add(terms)

    def _saved(self) -> None:
        tables = self.tables
        events: list[list[int]] = [[] for _ in range(tables.steps)]
        for e, t in enumerate(tables.step):
            if tables.gain[e]:
                events[t].append(e)
        for t, own in enumerate(events):
            room = tables.memory[t] - tables.compute[t]
            if room > 0 and own:
                saved = self.column(room)
                self.rooms.append((saved, room, own))
                self.row([(saved, 1.0), *((self.served[e], -tables.gain[e] / room) for e in own)])

    def overfilled(self, values: np.ndarray) -> int:
        """Add the intervals that copies of these values (of the columns) overfill most; how many there are."""
        found: list[tuple[float, bool, int, int]] = []
        supplied = np.array(self.tables.supplied)
        for outward, jobs in ((False, self.columns_in), (True, self.columns_out)):
            if not jobs:
                continue
            jobs = sorted(jobs, key=lambda job: job.deadline)
            release, deadline = np.array([job.release for job in jobs]), np.array([job.deadline for job in jobs])
            share = np.array([values[j.column] - (values[j.earlier] if j.earlier >= 0 else 0.0) for j in jobs])
            need = np.array([job.need for job in jobs]) * share
            last = np.append(deadline[1:] != deadline[:-1], True)
            for p in np.unique(release):
                filled = np.cumsum(np.where(release >= p, need, 0.0))
                supply = np.where(deadline > p, supplied[deadline] - supplied[p + 1], 0)
                over = np.where(last & (filled > SLACK * supply + 1), filled - supply, 0.0)
                at = int(over.argmax())
                if over[at] > 0 and (outward, int(p), int(deadline[at])) not in self._known:
                    found.append((float(over[at]), outward, int(p), int(deadline[at])))
        for _, outward, p, q in sorted(found, reverse=True)[:ADDED]:
            self._known.add((outward, p, q))
            newest: dict[int, Job] = {}  # of each copy, the column with the last deadline within the interval
            for job in self.columns_out if outward else self.columns_in:
                if job.release >= p and job.deadline <= q:
                    newest.pop(job.earlier, None)
                    newest[job.column] = job
            terms: Terms = [(job.column, job.need) for job in newest.values()]
            self.add(terms, self.tables.supplied[q] - self.tables.supplied[p + 1])
        return len(found)

    def tightened(self, time_limit: float | None = None) -> float:
        """The linear program's bound once no interval is overfilled, or as far as the time limit, in seconds, allows."""
        end = None if time_limit is None else time.perf_counter() + time_limit
        best = float(sum(self.gain))
        for _ in range(ROUNDS):
            left = None if end is None else end - time.perf_counter()
            if left is not None and left <= 0:
                break
            best = min(best, self.bound(left))
            if self.solution is None or not self.overfilled(self.solution):
                break
        return best

    def integral(self, known: int, time_limit: float | None, seed: int = 0, workers: int | None = None) -> Integral:
        """The bound of CP-SAT for 0-1 columns, with the intervals added so far; ``known``: no more ticks are saved."""
        cp_model = require("ortools.sat.python.cp_model", "exact", "CP-SAT")
        model, linear = cp_model.CpModel(), cp_model.LinearExpr
        shares = {column for column, _, _ in self.rooms}
        variables = [None if c in shares else model.new_bool_var(f"x{c}") for c in range(len(self.gain))]
        for terms, limit in self.rows:
            model.add(linear.weighted_sum([variables[c] for c, _ in terms], [size for _, size in terms]) <= limit)
        saved = []
        for column, room, own in self.rooms:
            ticks = model.new_int_var(0, room, f"saved{column}")
            gains = [self.tables.gain[e] for e in own]
            model.add(ticks <= linear.weighted_sum([variables[self.served[e]] for e in own], gains))
            saved.append(ticks)
        model.add(linear.sum(saved) <= known)
        model.maximize(linear.sum(saved))
        for variable in [*(v for v in variables if v is not None), *saved]:
            model.add_hint(variable, 0)  # nothing in fast memory: CP-SAT's bound counts once it has a solution
        solver = configured(cp_model, time_limit, seed, workers)
        status = solver.solve(model)
        bound = proved(cp_model, solver, status, self.tables)
        if status != cp_model.OPTIMAL:
            return Integral(bound, None)
        return Integral(bound, np.array([0.0 if v is None else float(solver.value(v)) for v in variables]))


def proved(cp_model: Any, solver: Any, status: Any, tables: Tables) -> int:
    """Ticks that CP-SAT has proved no solution to be below; 0 if it was stopped before it proved anything.

    Only together with a solution is its bound one: before, it states 0, as if no tick could be saved.
    """
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE) or solver.best_objective_bound < solver.objective_value:
        return 0
    saved: float = solver.best_objective_bound
    return tables.all_slow - math.floor(saved + TOLERANCE)

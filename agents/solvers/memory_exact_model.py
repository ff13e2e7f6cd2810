"""Memory mapping for CP-SAT: a relaxation of the game, without or with offsets.

Every play of the game is a solution with the same latency, so the optimum is a bound. The converse fails: the game imposes
first fit, the latest start of a copy, and that a storage stays until it is written back or, if it never is, to its last use.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from dispatchgym.agents.solvers.memory_exact_copies import (
    MOST_TERMS,
    Candidates,
    Window,
    inward_windows,
    outward_windows,
)
from dispatchgym.agents.solvers.memory_game import COPY, DROP, NO_COPY, Game
from dispatchgym.agents.solvers.memory_tables import Tables, is_free
from dispatchgym.instances.memory.instance import READ, UPDATE


class MappingModel:
    """An instance for CP-SAT; maximises the ticks that are saved.

    Per event: ``served`` from fast memory, ``stays`` there since the previous event of the storage, ``late[a]`` is copied in
    and not before the exclusive start a, ``out[q]`` is copied out after a write and before the step q. Copies of one
    direction share a preemptive channel, for which it is necessary and sufficient that those within any interval need no
    more than its supply (earliest deadline first). An update is a read and a write: it is served if the contents stay
    or are fetched, and only what later events need must be copied out; the game asks for more. ``most``: copies in the
    intervals of either direction that the model states; with fewer it is built faster and its bound is weaker.
    """

    def __init__(
        self,
        cp_model: Any,
        tables: Tables,
        evictions: str = "charged",
        packed: bool = False,
        most: int = MOST_TERMS,
    ) -> None:
        self.tables, self.candidates, self.model = tables, Candidates(tables), cp_model.CpModel()
        self.free, self.weighted = is_free(evictions), cp_model.LinearExpr.weighted_sum
        n = tables.events
        self.served = [self.model.new_bool_var(f"served{e}") for e in range(n)]
        self.stays: list[Any] = [None] * n
        self.late: list[dict[int, Any]] = [{} for _ in range(n)]
        self.out: dict[int, dict[int, Any]] = {}
        for e in range(n):
            self._arrive(e)
            if tables.granules[tables.buffer[e]] > tables.capacity:
                self.model.add(self.served[e] == 0)
        for e in self.candidates.readers if not self.free else ():
            self._leave(e)
        for window in inward_windows(tables, self.candidates, most):
            self._within(window, self.late)
        deadlines = {e: [q for q in self._deadlines(e) if q in out] for e, out in self.out.items()}
        for window in outward_windows(tables, deadlines, most):
            self._within(window, self.out)
        self.load = self._capacity()
        self.offset = self._pack() if packed else []
        self.saved = self._saved()

    def _arrive(self, e: int) -> None:
        """An event is served where the storage is defined, stays, or is copied to."""
        model, before = self.model, self.tables.before[e]
        if before < 0 <= self.tables.define[self.tables.buffer[e]]:
            return
        starts = self.candidates.starts(e)
        late = self.late[e] = {a: model.new_bool_var(f"late{e},{a}") for a in starts}
        for a in starts[1:]:
            model.add_implication(late[a], late[a - 1])
        ways = [late[a] for a in starts[:1]]
        if before >= 0:
            self.stays[e] = model.new_bool_var(f"stays{e}")
            model.add_implication(self.stays[e], self.served[before])
            ways.append(self.stays[e])
        model.add(sum(ways) == self.served[e])

    def _times(self, e: int) -> list[int]:
        """Steps q, ascending, for which it matters whether a copy out after a write is complete before."""
        return self._deadlines(e)

    def _deadlines(self, e: int) -> list[int]:
        """Steps before which a copy out after a write may have to be complete, ascending."""
        tables = self.tables
        first = tables.supplied[tables.step[e] + 1] + tables.demand[tables.buffer[e]]
        times = [tables.step[j] for j in self.candidates.readers[e]]
        if tables.next_write[e] == tables.steps:
            times.append(tables.steps)
        return [q for q in times if tables.supplied[q] >= first]

    def _leave(self, e: int) -> None:
        """What a write leaves in fast memory stays for the next event, or is copied out before it."""
        tables, model = self.tables, self.model
        times = self._times(e)
        out = self.out[e] = {q: model.new_bool_var(f"out{e},{q}") for q in times}
        for q, r in pairwise(times):
            model.add_implication(out[q], out[r])
        for q in times[-1:]:
            model.add_implication(out[q], self.served[e])
        for j in self.candidates.readers[e]:
            model.add_bool_or(self.served[e].negated(), self.stays[j], out.get(tables.step[j], False))
        if tables.next_write[e] == tables.steps and tables.output[tables.buffer[e]]:
            model.add_bool_or(self.served[e].negated(), out.get(tables.steps, False))

    def _within(self, window: Window, literals: Any) -> None:
        demand, buffer = self.tables.demand, self.tables.buffer
        copies, needs = [literals[e][at] for e, at in window.copies], [demand[buffer[e]] for e, _ in window.copies]
        self.model.add(self.weighted(copies, needs) <= window.supply)

    def _capacity(self) -> list[list[Any]]:
        """In each step the storages in fast memory fit; their sizes, as terms."""
        tables = self.tables
        terms: list[list[Any]] = [[] for _ in range(tables.steps)]
        for e, late in enumerate(self.late):
            size, t, before = tables.granules[tables.buffer[e]], tables.step[e], tables.before[e]
            if self.stays[e] is None and not late:
                terms[t].append(size * self.served[e])
                continue
            if self.stays[e] is not None:
                for q in range(tables.step[before] + 1, t + 1):
                    terms[q].append(size * self.stays[e])
            for q in range(self.candidates.written[e] + 1, t + 1) if late else ():
                terms[q].append(size * (late[min(late)] - late.get(q, 0)))
        for row in terms:
            self.model.add(sum(row) <= tables.capacity)
        return terms

    def _pack(self) -> list[Any]:
        """Offsets: no two storages overlap in space and time, and those that stay keep theirs."""
        tables, model = self.tables, self.model
        offset, across, along = [], [], []
        for e, late in enumerate(self.late):
            size, t, before = tables.granules[tables.buffer[e]], tables.step[e], tables.before[e]
            low = model.new_int_var(0, max(0, tables.capacity - size), f"low{e}")
            offset.append(low)
            boxes = []
            if self.stays[e] is not None:
                model.add(low == offset[before]).only_enforce_if(self.stays[e])
                boxes.append((tables.step[before] + 1, self.stays[e]))
            elif not late:
                boxes.append((t, self.served[e]))
            for a in late:
                exactly = model.new_bool_var(f"copy{e},{a}")
                model.add(exactly == late[a] - late.get(a + 1, 0))
                boxes.append((a + 1, exactly))
            for n, (first, there) in enumerate(boxes):
                along.append(model.new_optional_fixed_size_interval_var(first, t + 1 - first, there, f"time{e},{n}"))
                across.append(model.new_optional_fixed_size_interval_var(low, size, there, f"space{e},{n}"))
        model.add_no_overlap_2d(along, across)
        return offset

    def _saved(self) -> dict[int, Any]:
        """By step, the ticks it is shorter by: no more than its memory time exceeds its computation."""
        tables, saved = self.tables, {}
        gains: dict[int, list[int]] = defaultdict(list)
        for e, t in enumerate(tables.step):
            if tables.memory[t] > tables.compute[t] and tables.gain[e]:
                gains[t].append(e)
        for t, events in gains.items():
            room = tables.memory[t] - tables.compute[t]
            total = sum(tables.gain[e] * self.served[e] for e in events)
            if sum(tables.gain[e] for e in events) <= room:
                saved[t] = total
            else:
                saved[t] = self.model.new_int_var(0, room, f"saved{t}")
                self.model.add(saved[t] <= total)
        self.model.maximize(sum(saved.values()))
        return saved

    def limit(self, bound: int) -> None:
        """State a bound on the latency that is known, so that it need not be proved again."""
        self.model.add(sum(self.saved.values()) <= self.tables.all_slow - bound)

    def suggest(self, game: Game) -> None:
        """Start the search from a finished episode."""
        tables, model = self.tables, self.model
        model.clear_hints()
        plan = game.plan()
        for e, action in enumerate(game.actions):
            served, start, end = action != DROP, game.copies_in.get(e), game.copies_out.get(e)
            model.add_hint(self.served[e], int(served))
            if self.stays[e] is not None:
                model.add_hint(self.stays[e], int(served and start is None))
            for a, literal in self.late[e].items():
                model.add_hint(literal, int(start is not None and start >= a))
            for q, literal in self.out.get(e, {}).items():
                model.add_hint(literal, int(end is not None and end < q))
            if served and self.offset:
                t, b = tables.step[e], tables.buffer[e]
                model.add_hint(
                    self.offset[e], [r.offset for r in plan.rectangles if r.buffer == b and r.first <= t <= r.last][-1]
                )

    def read(self, value: Any) -> list[int]:
        """The actions of a solution; ``value`` gives that of a literal."""
        return [
            next(a for a, literals in self._actions(e) if all(map(value, literals))) for e in range(self.tables.events)
        ]

    def forbid(self, actions: Sequence[int], free_choices: Sequence[int]) -> None:
        """No solution may begin like ``actions`` at the events of ``free_choices``."""
        clause = []
        for e in free_choices:
            literals = dict(self._actions(e))[actions[e]]
            clause += [literal.negated() for literal in literals]
        self.model.add_bool_or(clause)

    def _actions(self, e: int) -> list[tuple[int, list[Any]]]:
        """Per action the literals that all hold if, and only if, it is taken."""
        served, copied = self.served[e], None
        if self.tables.kind[e] == READ or (self.free and self.tables.kind[e] == UPDATE):
            copied = self.late[e][min(self.late[e])] if self.late[e] else None
        elif not self.free:
            copied = self.out[e][max(self.out[e])] if self.out[e] else None
        if copied is None:
            return [(DROP, [served.negated()]), (NO_COPY, [served])]
        return [(DROP, [served.negated()]), (NO_COPY, [served, copied.negated()]), (COPY, [served, copied])]

"""The rules that the game imposes on copies and stays, for CP-SAT; what is left out is where first fit puts a storage.

Copies out follow one another in the order of their writes. Copies in take the latest supply that those before have left;
so the interval of one either lies behind that of an earlier one or contains it.
"""

from __future__ import annotations

from typing import Any

from dispatchgym.agents.solvers.memory_exact_copies import MOST_TERMS
from dispatchgym.agents.solvers.memory_exact_model import MappingModel
from dispatchgym.agents.solvers.memory_game import Game
from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.instances.memory.instance import UPDATE, WRITE


class GameModel(MappingModel):
    """A mapping by the rules of the game: its optimum is a bound for the game, at least as good as that of the relaxation.

    ``done[q]`` after a write: copied out before the step q, for every q. A storage that is copied out stays until then; one
    that is not stays until its last event.
    """

    def __init__(
        self,
        cp_model: Any,
        tables: Tables,
        evictions: str = "charged",
        packed: bool = False,
        most: int = MOST_TERMS,
    ) -> None:
        super().__init__(cp_model, tables, evictions, packed, most)
        self.held: dict[tuple[int, int], Any] = {}  # (write, step): stays for its copy out alone
        self.ends: list[tuple[int, Any]] = []  # (write, supply up to which copies out have taken all afterwards)
        self.taken: list[tuple[int, int, Any]] = []  # (event, step): lies in the interval of a copy in for it or before
        if not self.free:
            self._queue()
            for e in self.out:
                self._after(e)
                self._hold(e)
            for load, rows in zip(self.load, self._held_by_step(), strict=True):
                if rows:
                    self.model.add(sum(load) + sum(rows) <= tables.capacity)
        self._nest()

    def _times(self, e: int) -> list[int]:
        tables = self.tables
        if tables.kind[e] == WRITE and tables.last[tables.buffer[e]] == tables.step[e] and not self._output(e):
            return []
        need = tables.supplied[tables.step[e] + 1] + tables.demand[tables.buffer[e]]
        last = tables.next_write[e]
        return [q for q in range(tables.step[e] + 2, last + 1) if tables.supplied[q] >= need]

    def _output(self, e: int) -> bool:
        return bool(self.tables.output[self.tables.buffer[e]])

    def _copied(self, e: int) -> Any:
        out = self.out[e]
        return out[max(out)] if out else False

    def _queue(self) -> None:
        """When copies out end: behind the one before, and behind their write."""
        tables, model = self.tables, self.model
        before: Any = 0
        for e in sorted(self.out):
            if not self.out[e]:
                continue
            start, need = tables.supplied[tables.step[e] + 1], tables.demand[tables.buffer[e]]
            end = model.new_int_var(0, tables.all_slow, f"end{e}")
            copied = self._copied(e)
            model.add(end >= before + need * copied)
            model.add(end >= (start + need) * copied)
            for q, done in self.out[e].items():
                model.add(end <= tables.supplied[q]).only_enforce_if(done)
            self.ends.append((e, end))
            before = end

    def _after(self, e: int) -> None:
        """What a write leaves in fast memory without a copy out stays to the last event; an output needs the copy."""
        tables, model = self.tables, self.model
        not_served, copied = self.served[e].negated(), self._copied(e)
        uses = tables.uses[tables.buffer[e]]
        for j in uses[uses.index(e) + 1 :]:
            model.add_bool_or(not_served, copied, self.stays[j])
        if self._output(e):
            model.add_bool_or(not_served, copied)
        if tables.kind[e] == UPDATE:
            model.add_bool_or(not_served, copied, self.stays[e] if self.stays[e] is not None else False)

    def _hold(self, e: int) -> None:
        """Until it is copied out the storage takes space, and no copy in of it begins."""
        tables, model, out = self.tables, self.model, self.out[e]
        if not out:
            return
        copied, readers = self._copied(e), self.candidates.readers[e]
        reader = 0
        for q in range(tables.step[e] + 1, max(out)):
            while reader < len(readers) and tables.step[readers[reader]] < q:
                reader += 1
            there = self.stays[readers[reader]] if reader < len(readers) else False
            held = self.held[e, q] = model.new_bool_var(f"held{e},{q}")
            model.add_bool_or(copied.negated(), out.get(q, False), there, held)
        for j in readers:
            late = self.late[j]
            for a in late:
                begins = (late[min(late)].negated(), late.get(a + 1, False))
                model.add_bool_or(self.served[e].negated(), *begins, out.get(a + 1, False))

    def _held_by_step(self) -> list[list[Any]]:
        rows: list[list[Any]] = [[] for _ in range(self.tables.steps)]
        for (e, q), literal in self.held.items():
            rows[q].append(self.tables.granules[self.tables.buffer[e]] * literal)
        return rows

    def _nest(self) -> None:
        """A copy in does not begin within the interval of one for an earlier event, after its first step."""
        tables, model = self.tables, self.model
        taken: dict[int, Any] = {}  # step: lies in such an interval, of the events so far
        for e, late in enumerate(self.late):
            if not late:
                continue
            first = min(late)
            for a in late:
                if a + 1 in taken:
                    model.add_bool_or(late[a].negated(), late.get(a + 1, False), taken[a + 1].negated())
            for q in range(first + 2, tables.step[e]):
                within = model.new_bool_var(f"taken{e},{q}")
                model.add_bool_or(late[first].negated(), late.get(q - 1, False), within)
                if q in taken:
                    model.add_implication(taken[q], within)
                taken[q] = within
                self.taken.append((e, q, within))

    def suggest(self, game: Game) -> None:
        super().suggest(game)
        tables, position = self.tables, 0
        for e, end in self.ends:
            if e in game.copies_out:
                position = max(position, tables.supplied[tables.step[e] + 1]) + tables.demand[tables.buffer[e]]
            self.model.add_hint(end, position)
        for (e, q), literal in self.held.items():
            later = next((j for j in self.candidates.readers[e] if tables.step[j] >= q), None)
            stays = later is not None and game.actions[later] != 0 and later not in game.copies_in
            self.model.add_hint(literal, int(game.copies_out.get(e, -1) >= q and not stays))
        taken: set[int] = set()
        newest = -1
        for e, q, literal in self.taken:
            if e != newest and e in game.copies_in:
                taken.update(range(game.copies_in[e] + 2, tables.step[e]))
            newest = e
            self.model.add_hint(literal, int(q in taken))

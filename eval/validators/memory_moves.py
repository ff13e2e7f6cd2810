"""The moves of a memory mapping, as the validator plays them: what each may do, and the mapping that it leaves.

Written from ``docs/memory.md``. Fast memory is a row of bits a step, one bit a granule; offsets are the lowest free ones.
"""

from __future__ import annotations

import numpy as np

from dispatchgym.eval.validators.memory_copies import Case
from dispatchgym.eval.validators.memory_plan import NEVER, since
from dispatchgym.instances.memory.instance import READ, UPDATE, WRITE
from dispatchgym.instances.memory.plan import NONE, Plan, Rectangle

DROP, NO_COPY, COPY = range(3)


class Illegal(Exception):
    """Why an action may not be taken."""


class Grid:
    """Which granules are taken in which steps."""

    def __init__(self, steps: int, capacity: int) -> None:
        self._taken = [0] * steps
        self._full = (1 << capacity) - 1

    def lowest(self, first: int, last: int, size: int) -> int:
        """The lowest offset of ``size`` granules that are free throughout the steps first .. last. Raises Illegal."""
        free = self._full & ~self._any(first, last)
        width = 1  # a bit of ``free`` stands for that many free granules from it upwards
        while width < size and free:
            more = min(width, size - width)
            free &= free >> more
            width += more
        if not free:
            raise Illegal(f"no {size} granules in a row are free throughout the steps {first}..{last}")
        return (free & -free).bit_length() - 1

    def expect_free(self, first: int, last: int, offset: int, size: int) -> None:
        """Raise Illegal unless the granules from ``offset`` are free throughout the steps first .. last."""
        if self._any(first, last) >> offset & ((1 << size) - 1):
            raise Illegal(f"its place at offset {offset} is not free throughout the steps {first}..{last}")

    def take(self, first: int, last: int, offset: int, size: int) -> None:
        """Reserve the granules from ``offset`` in the steps first .. last."""
        bits = ((1 << size) - 1) << offset
        for t in range(first, last + 1):
            self._taken[t] |= bits

    def _any(self, first: int, last: int) -> int:
        union = 0
        for t in range(first, last + 1):
            union |= self._taken[t]
        return union


class Game:
    """The mapping as far as it has been decided."""

    def __init__(self, case: Case, free: bool) -> None:
        self.case, self.free = case, free
        self.grid = Grid(case.steps, case.capacity)
        self.left_in, self.left_out = case.supply(), case.supply()
        self.ready = [-1 if d < 0 else NEVER for d in case.define]  # step after which slow memory holds the contents
        self.stay: list[tuple[int, int] | None] = [None] * case.buffers  # (offset, last step)
        self.last = [0] * case.buffers  # step of the last event
        self.writes: list[list[int]] = [[] for _ in range(case.buffers)]
        for b, t, kind in zip(case.buffer, case.step, case.kind, strict=True):
            self.last[b] = t
            if kind != READ:
                self.writes[b].append(t)
        self.served = np.zeros(case.events, bool)
        self.copy_in, self.copy_out = np.full((2, case.events), NONE)
        self.rectangles: list[Rectangle] = []

    def play(self, e: int, action: int) -> None:
        """Decide the next event. Raises Illegal."""
        case, (t, b) = self.case, (self.case.step[e], self.case.buffer[e])
        kind, stay = case.kind[e], self.stay[b]
        if kind == READ and stay is not None and t <= stay[1]:
            if action != NO_COPY:
                raise Illegal(f"it lies in fast memory until step {stay[1]}, so that only NoCopy is legal")
        elif action == DROP:
            if kind != WRITE and self.ready[b] >= t:
                raise Illegal(f"slow memory {since(self.ready[b])}")
            self.stay[b] = None
        elif kind == WRITE:
            self._define(e, t, b, action)
        else:
            self._use(e, t, b, action, kind == UPDATE and not self.free)
        self.served[e] = action != DROP
        if action == DROP or self.free:
            self.ready[b] = self.ready[b] if kind == READ else t

    def _define(self, e: int, t: int, b: int, action: int) -> None:
        if self.free:
            if action == COPY:
                raise Illegal("with free evictions nothing is copied out")
            self._place(b, t, t)
        elif action == NO_COPY:
            self._expect_no_output(b)
            self._place(b, t, self.last[b])
        else:
            if self.last[b] == t and not self.case.output[b]:
                raise Illegal("nothing reads it later, and it is no output")
            end = self._copy_out(t, b)
            self._place(b, t, end)
            self._write_back(e, t, b, end)

    def _use(self, e: int, t: int, b: int, action: int, pending: bool) -> None:
        """A read, or an update; of the latter the new contents are ``pending`` unless evictions are free."""
        if action == NO_COPY:
            if pending:
                self._expect_no_output(b)
            self._extend(b, self.last[b] if pending else t)
            self.ready[b] = NEVER if pending else self.ready[b]
            return
        end = self._copy_out(t, b) if pending else t
        extended = pending
        if pending:
            try:
                self._extend(b, end)
            except Illegal:
                extended = False
        if not extended:
            first = self._copy_start(t, b)
            self._place(b, first, end)
            self._consume(self.left_in, range(t - 1, first - 1, -1), b)
            self.copy_in[e] = first - 1
        if pending:
            self._write_back(e, t, b, end)

    def _expect_no_output(self, b: int) -> None:
        if self.case.output[b]:
            raise Illegal("it is an output, which must be in slow memory at the end")

    def _place(self, b: int, first: int, last: int) -> None:
        """A new stay, at the lowest offset."""
        self._add(b, first, last, self.grid.lowest(first, last, self.case.granules[b]))

    def _extend(self, b: int, last: int) -> None:
        """The stay goes on at its offset."""
        stay = self.stay[b]
        if stay is None:
            raise Illegal("it does not lie in fast memory")
        offset, end = stay
        if last > end:
            self.grid.expect_free(end + 1, last, offset, self.case.granules[b])
            self._add(b, end + 1, last, offset)

    def _add(self, b: int, first: int, last: int, offset: int) -> None:
        size = self.case.granules[b]
        self.grid.take(first, last, offset, size)
        self.rectangles.append(Rectangle(b, first, last, offset, size))
        self.stay[b] = offset, last

    def _copy_start(self, t: int, b: int) -> int:
        """The latest first step of a copy in that is complete before step t."""
        if self.ready[b] >= t:
            raise Illegal(f"slow memory {since(self.ready[b])}")
        missing = self.case.demand[b]
        for first in range(t - 1, self.ready[b], -1):
            missing -= self.left_in[first]
            if missing <= 0:
                return first
        raise self._lacks(b, self.ready[b] + 1, t - 1, missing)

    def _copy_out(self, t: int, b: int) -> int:
        """The earliest last step of a copy out that begins after step t and is complete before the next write."""
        missing, before = self.case.demand[b], min((w for w in self.writes[b] if w > t), default=self.case.steps)
        for end in range(t + 1, before):
            missing -= self.left_out[end]
            if missing <= 0:
                return end
        raise self._lacks(b, t + 1, before - 1, missing)

    def _lacks(self, b: int, first: int, last: int, missing: int) -> Illegal:
        need = self.case.demand[b]
        if first > last:
            return Illegal(f"a copy takes {need} ticks, and there is no step for it")
        return Illegal(f"a copy takes {need} ticks, and the steps {first}..{last} have {need - missing} left")

    def _write_back(self, e: int, t: int, b: int, end: int) -> None:
        self._consume(self.left_out, range(t + 1, end + 1), b)
        self.copy_out[e] = self.ready[b] = end

    def _consume(self, left: list[int], order: range, b: int) -> None:
        need = self.case.demand[b]
        for q in order:
            need, left[q] = max(0, need - left[q]), max(0, left[q] - need)

    def plan(self) -> Plan:
        """The mapping so far; what is not decided yet counts as served by slow memory."""
        return Plan(self.served, self.copy_in, self.copy_out, tuple(self.rectangles))

"""The resource that XLA's memory space assignment grants to asynchronous copies of one direction.

After openxla/xla, ``xla/service/memory_space_assignment/algorithm.cc`` (AsynchronousCopyResource), in integers. A copy
(start, end) runs in the steps start + 1 .. end - 1, behind those that started before. ``delay[t]`` is the work that is
unfinished at the beginning of step t, that of the copies which start there included.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple


class AsyncCopy(NamedTuple):
    """Both times exclusive."""

    start: int
    end: int
    need: int


class CopyResource:
    """Copies on a channel that step t supplies with ``supply[t]`` ticks."""

    def __init__(self, supply: Sequence[int]) -> None:
        self.supply = supply
        self.copies: list[AsyncCopy] = []  # by start, equal ones in the order of their insertion
        self.delay = [0] * (len(supply) + 1)

    def mark(self) -> tuple[list[AsyncCopy], list[int]]:
        """What :meth:`undo` returns to."""
        return self.copies.copy(), self.delay.copy()

    def undo(self, mark: tuple[list[AsyncCopy], list[int]]) -> None:
        """Forget all copies since the mark, which is used up."""
        self.copies, self.delay = mark

    def add(self, start: int, end: int, need: int) -> bool:
        """Add a copy if it and all that it delays end in time; otherwise nothing changes.

        Where the next copy starts before this one has drained, what is left is handed over to it: that much it begins
        later. Each copy in the chain must drain before its own end.
        """
        at = bisect_right(self.copies, start, key=lambda c: c.start)
        changes = self._consume(at, AsyncCopy(start, end, need))
        if changes is None:
            return False
        for t, work in changes:
            self.delay[t] = work
        self.copies.insert(at, AsyncCopy(start, end, need))
        return True

    def fits(self, start: int, end: int, need: int) -> bool:
        """Whether :meth:`add` would succeed."""
        at = bisect_right(self.copies, start, key=lambda c: c.start)
        return self._consume(at, AsyncCopy(start, end, need)) is not None

    def overlapping(self, start: int, end: int) -> int:
        """How many copies are under way at the same time as one from ``start`` to ``end``."""
        return sum(c.start < end and start < c.end for c in self.copies)

    def out_of_order(self, start: int, end: int) -> bool:
        """Whether a copy starts before another and ends after it, this one or that."""
        return any((c.start - start) * (c.end - end) < 0 for c in self.copies)

    def _consume(self, following: int, added: AsyncCopy) -> list[tuple[int, int]] | None:
        """Changes of ``delay`` if a copy is added before the one at position ``following``; None if one ends too late."""
        changes = []
        start, end, need = added.start, added.end, added.need + self.delay[added.start + 1]
        while True:
            later = self.copies[following] if following < len(self.copies) else None
            handed = None
            for t in range(start + 1, end):
                if need == 0:
                    break
                if handed is None:
                    if later is not None and later.start == t - 1:
                        handed = need
                    else:
                        changes.append((t, need))
                need -= min(need, self.supply[t])
            if need > 0:
                return None
            if handed is None or later is None:
                return changes
            start, end, need = later.start, later.end, handed + later.need
            following += 1

"""Which interval XLA's memory space assignment tries for a copy: its cost-analysis prefetch interval picker.

After openxla/xla, ``xla/service/memory_space_assignment/prefetch_interval_picker.cc``. Times are exclusive starts from
-1, before the first step; E(a, b) is the time of the steps strictly between a and b with everything in slow memory. The
first step counts, unlike in XLA, whose first instruction is a parameter that takes no time. There are no loops.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FURTHER = 100  # candidates once only earlier starts are left, about


@dataclass(frozen=True)
class Picker:
    """``supplied`` [T + 1]: ticks of all steps before; ratios as in XLA's unit tests, production ones are not public."""

    supplied: Sequence[int]
    max_residence: float  # ticks that a buffer may stay without a copy
    min_overlap: float = 0.8  # of the copy's time, at least
    preferred_overlap: float = 1.5

    def elapsed(self, a: int, b: int) -> int:
        """E(a, b)."""
        return self.supplied[b] - self.supplied[a + 1] if a < b else 0

    def may_stay(self, first: int, last: int) -> bool:
        """Whether a buffer may stay in fast memory from one use to the next without a copy."""
        return self.elapsed(first, last) < self.max_residence

    def latest(self, use: int, start: int, copy: int, benefit: int) -> int | None:
        """The latest start from ``start`` on whose interval, with what the use gains, hides enough of the copy."""
        need = self.min_overlap * copy - benefit
        last = min(use, bisect_right(self.supplied, self.supplied[use] - need, 0, use + 1) - 1) - 1
        return last if last >= start else None

    def earliest(self, use: int, start: int, latest: int) -> int:
        """The earliest start from ``start`` on that is not too long before the use, at most ``latest``."""
        return min(latest, bisect_left(self.supplied, self.supplied[use] - self.max_residence, start + 1) - 1)

    def preferred(self, use: int, earliest: int, latest: int, copy: int) -> int:
        """The start whose interval is nearest to the preferred one, the earlier of equals."""
        wanted = self.supplied[use] - self.preferred_overlap * copy
        at = min(latest + 1, bisect_left(self.supplied, wanted, earliest + 1, latest + 2))
        if at > earliest + 1 and wanted - self.supplied[at - 1] <= abs(self.supplied[at] - wanted):
            at -= 1
        return bisect_left(self.supplied, self.supplied[at], earliest + 1, at + 1) - 1

    def starts(self, use: int, start: int, copy: int, benefit: int) -> Iterator[int]:
        """The starts to try, in order: the preferred one, then in turns a later and an earlier one.

        When no later one is left, earlier ones follow in jumps of a hundredth of the longest interval.
        """
        latest = self.latest(use, start, copy, benefit)
        if latest is None:
            return
        earliest = self.earliest(use, start, latest)
        jump = self.elapsed(earliest, use) / FURTHER
        down = self.preferred(use, earliest, latest, copy)
        up = down + 1
        while down >= earliest or up <= latest:
            if down >= earliest:
                yield down
                least = self.elapsed(down, use) + jump if up > latest else 0.0
                down -= 1
                while down >= earliest and self.elapsed(down, use) < least:
                    down -= 1
            if up <= latest:
                yield up
                up += 1

    def eviction_end(self, start: int, copy: int, latest: int, retry: int) -> int:
        """The first end up to ``latest`` whose interval is as long as preferred, longer by the retry; else latest + 1."""
        wanted = self.supplied[start + 1] + (1 + 2 * retry) * self.preferred_overlap * copy
        return bisect_left(self.supplied, wanted, start + 1, latest + 1)

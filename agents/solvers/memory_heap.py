"""Where a buffer goes in fast memory: first fit, best fit, and the blocks that XLA's repacker places anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Taken = Sequence[tuple[int, int]]  # (low, top) of what is there, lowest first


def first_fit(taken: Taken, size: int) -> int:
    """The lowest offset at which ``size`` is free; memory has no end."""
    base = 0
    for low, top in taken:
        if low - base >= size:
            break
        base = max(base, top)
    return base


def best_fit(taken: Taken, size: int) -> int:
    """The offset of the smallest gap that holds ``size``, the lowest of equals.

    What is above everything counts as an infinite gap, so it is taken only if no other holds it: so does XLA, whose
    topmost free chunk has no end.
    """
    base, found, smallest = 0, -1, 0
    for low, top in taken:
        gap = low - base
        if gap >= size and (found < 0 or gap < smallest):
            found, smallest = base, gap
        base = max(base, top)
    return found if found >= 0 else base


class Heap:
    """Chunks of memory, each for a span of steps; chunks of one block share an offset. Times are inclusive."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.owner: list[int] = []  # of each block
        self._rows = np.zeros((5, 64), np.int64)  # first, last, low, top, block of each chunk
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def taken(self, first: int, last: int) -> list[tuple[int, int]]:
        """(low, top) of the chunks that share a step with first .. last, lowest first."""
        since, until, low, top, _ = self._rows[:, : self._n]
        there = (since <= last) & (until >= first)
        return sorted(zip(low[there].tolist(), top[there].tolist(), strict=True))

    def place(self, first: int, last: int, size: int) -> int | None:
        """The best-fit offset for first .. last, None if it exceeds the capacity."""
        low = best_fit(self.taken(first, last), size)
        return low if low + size <= self.capacity else None

    def is_free(self, first: int, last: int, low: int, size: int) -> bool:
        """Whether low .. low + size - 1 is free throughout first .. last."""
        return not any(low < top and under < low + size for under, top in self.taken(first, last))

    def open(self, owner: int) -> int:
        """A new block, without chunks yet."""
        self.owner.append(owner)
        return len(self.owner) - 1

    def add(self, block: int, first: int, last: int, low: int, size: int) -> None:
        """A chunk of a block."""
        if self._n == self._rows.shape[1]:
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)], axis=1)
        self._rows[:, self._n] = first, last, low, low + size, block
        self._n += 1

    def mark(self) -> tuple[int, int]:
        """What :meth:`undo` returns to."""
        return self._n, len(self.owner)

    def undo(self, mark: tuple[int, int]) -> None:
        """Remove all chunks and blocks since the mark."""
        self._n = mark[0]
        del self.owner[mark[1] :]

    def boundaries(self) -> list[int]:
        """The steps in which a chunk begins or ends, ascending."""
        steps: list[int] = np.unique(self._rows[:2, : self._n]).tolist()
        return steps

    def usage(self, steps: int) -> list[int]:
        """[steps] memory in use."""
        since, until, low, top, _ = self._rows[:, : self._n]
        change = np.zeros(steps + 1, np.int64)
        np.add.at(change, since, top - low)
        np.subtract.at(change, until + 1, top - low)
        in_use: list[int] = change[:-1].cumsum().tolist()
        return in_use

    def blocks(self) -> list[tuple[int, int, int, int, int]]:
        """(owner, first, last, low, size) of every block, from its first chunk to its last."""
        since, until, low, top, block = self._rows[:, : self._n]
        found = []
        for i, owner in enumerate(self.owner):
            own = np.flatnonzero(block == i)
            at = int(own[0])
            size = int(top[at] - low[at])
            found.append((owner, int(since[own].min()), int(until[own].max()), int(low[at]), size))
        return found

    def repack(self) -> bool:
        """Place every block anew, the longest first, then the largest, by best fit; False and no change if it fails."""
        blocks = self.blocks()
        packed = Heap(self.capacity)
        lows = [0] * len(blocks)
        for i in sorted(range(len(blocks)), key=lambda i: (blocks[i][1] - blocks[i][2], -blocks[i][4])):
            owner, first, last, _, size = blocks[i]
            low = packed.place(first, last, size)
            if low is None:
                return False
            packed.add(packed.open(owner), first, last, low, size)
            lows[i] = low
        block = self._rows[4, : self._n]
        height = self._rows[3, : self._n] - self._rows[2, : self._n]
        self._rows[2, : self._n] = np.array(lows, np.int64)[block]
        self._rows[3, : self._n] = self._rows[2, : self._n] + height
        return True

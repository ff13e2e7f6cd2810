"""How XLA's memory space assignment serves one buffer, from use to use; see ``memory_msa``.

After openxla/xla, ``xla/service/memory_space_assignment/algorithm.cc``: for each segment between two uses a stay without a
copy, an eviction where slow memory has no copy yet, a prefetch, or else slow memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

from dispatchgym.agents.solvers.memory_heap import Heap
from dispatchgym.agents.solvers.memory_msa_copies import CopyResource
from dispatchgym.agents.solvers.memory_msa_options import Options
from dispatchgym.agents.solvers.memory_msa_picker import Picker
from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.instances.memory.instance import UPDATE


@dataclass
class Attempt:
    """One storage on its way; what it takes of heap and resources is taken at once, the rest when it is committed."""

    b: int
    retry: int
    barred: Set[int] = frozenset()  # updates that are to be served from slow memory
    place: str = ""  # of the newest allocation: "fast", "slow" or none yet
    block: int = -1  # of the newest allocation in fast memory, with its offset and last step
    low: int = -1
    end: int = -1
    written: int = -1  # step that wrote the contents
    writer: int = -1  # its event
    slow_since: int | None = None  # from when on slow memory holds the contents
    uncommit: bool = False
    out_of_memory: bool = False
    waived: int = 0
    served: list[int] = field(default_factory=list)
    copy_in: dict[int, int] = field(default_factory=dict)
    copy_out: dict[int, int] = field(default_factory=dict)


class Mapper:
    """The state of an assignment. Steps are inclusive where memory is in use, starts and ends of copies exclusive."""

    def __init__(self, tables: Tables, options: Options) -> None:
        self.tables, self.options = tables, options
        per_granule = max(d / g for d, g in zip(tables.demand, tables.granules, strict=True))
        self.picker = Picker(
            tables.supplied,
            options.max_overlap_to_memory * per_granule * tables.capacity,
            options.min_overlap,
            options.preferred_overlap,
        )
        self.heap = Heap(tables.capacity)
        self.prefetches, self.evictions = CopyResource(tables.supply), CopyResource(tables.supply)
        self.served: set[int] = set()
        self.copy_in: dict[int, int] = {}
        self.copy_out: dict[int, int] = {}

    def mark(self) -> tuple[Any, ...]:
        """What :meth:`undo` returns to."""
        return self.heap.mark(), self.prefetches.mark(), self.evictions.mark()

    def undo(self, mark: tuple[Any, ...]) -> None:
        """Give back what was taken since the mark."""
        self.heap.undo(mark[0])
        self.prefetches.undo(mark[1])
        self.evictions.undo(mark[2])

    def commit(self, attempt: Attempt) -> None:
        """Keep what an attempt has decided."""
        self.served.update(attempt.served)
        self.copy_in |= attempt.copy_in
        self.copy_out |= attempt.copy_out

    def assign(self, b: int, retry: int, barred: Set[int] = frozenset()) -> Attempt:
        """Serve all segments of a storage, as far as fast memory can; stops where the attempt must be undone.

        ``barred``: updates that are to be served from slow memory.
        """
        tables, uses = self.tables, self.tables.uses[b]
        a = Attempt(b, retry, barred)
        if tables.define[b] < 0:
            a.place, a.slow_since = "slow", -1
            since = -1
        else:
            a.written, a.writer = tables.define[b], uses[0]
            since, uses = tables.define[b], uses[1:]
        for e in uses:
            self._segment(a, since, e)
            if a.uncommit:
                return a
            since = tables.step[e]
        if tables.output[b] and a.place == "fast" and a.slow_since is None and not self.options.free_evictions:
            self._evict(a, tables.steps)
        return a

    def _segment(self, a: Attempt, since: int, e: int) -> None:
        """From the step ``since`` to the use e."""
        use = self.tables.step[e]
        barred = e in a.barred
        fast = (stayed := False if barred else self._stay(a, since, e)) is True
        if not fast:
            if a.place == "fast" and a.slow_since is None:
                self._evict(a, use)
                if a.uncommit:
                    return
            elif not a.place:
                a.place, a.slow_since = "slow", since
            fast = (fetched := False if barred else self._prefetch(a, e)) is True
            if not fast:
                a.place = "slow"
                a.out_of_memory |= stayed is None or fetched is None
        if fast:
            a.place = "fast"
            a.served.append(e)
        if self.tables.kind[e] == UPDATE:
            a.written, a.writer, a.slow_since = use, e, None if fast and not self.options.free_evictions else use

    def _stay(self, a: Attempt, since: int, e: int) -> bool | None:
        """Whether the storage can be in fast memory from the last use to this one without a copy; None: no memory."""
        tables, use = self.tables, self.tables.step[e]
        size = tables.granules[a.b]
        if a.place == "slow" or not self.picker.may_stay(since, use):
            return False
        if a.place == "fast":
            if not self.heap.is_free(a.end + 1, use, a.low, size):
                return None
            self._hold(a, use)
            return True
        low = self._chunk(since, e)
        if low is None:
            return None
        self._occupy(a, since, use, low)
        a.served.append(a.writer)
        if self.options.free_evictions:
            a.slow_since = since
        return True

    def _evict(self, a: Attempt, deadline: int) -> None:
        """Copy out from right after the write; the chunk is held until it is complete, if it can be."""
        tables, limit = self.tables, self.options.max_outstanding_evictions
        start, need, size = a.written, tables.demand[a.b], tables.granules[a.b]
        end = min(max(self.picker.eviction_end(start, need, deadline, a.retry), a.end), deadline)
        held = min(end, tables.steps - 1)
        if held > a.end and not self.heap.is_free(a.end + 1, held, a.low, size):
            times = self.heap.boundaries()
            at = bisect_left(times, end) - 1
            while at >= 0 and times[at] > a.end and not self.heap.is_free(a.end + 1, times[at], a.low, size):
                at -= 1
            end = max(a.end, times[at])
        # XLA also lets a copy end before the next step, in which case it has no time at all; a plan gives it that step.
        last = max(end - 1, start + 1)
        if end <= start or last >= deadline or (0 <= limit <= self.evictions.overlapping(start, end)):
            a.uncommit = True
            return
        if not self.evictions.add(start, end, need):
            if a.retry < self.options.max_retries - 1 or not self.options.waive:
                a.uncommit = True
                return
            self.evictions.add(start, end, 0)
            a.waived += 1
        self._hold(a, min(end, tables.steps - 1))
        a.slow_since = end
        a.copy_out[a.writer] = last

    def _prefetch(self, a: Attempt, e: int) -> bool | None:
        """Whether a copy in serves the use; None: no memory for it."""
        tables, options, use = self.tables, self.options, self.tables.step[e]
        need, size = tables.demand[a.b], tables.granules[a.b]
        assert a.slow_since is not None
        usage = self.heap.usage(tables.steps)
        first = use - 1
        while first > a.slow_since and usage[first] + size <= tables.capacity:
            first -= 1
        if first == use - 1 and first > a.slow_since:
            return None
        first = max(first, a.slow_since)
        benefit = tables.supply[use] - max(tables.compute[use], tables.memory[use] - tables.gain[e])
        latest = self.picker.latest(use, first, need, benefit)
        if latest is None:
            return False
        if self._chunk(latest + 1, e) is None:
            return None
        exhausted = -2  # the latest start for which there was no memory: an earlier one needs more
        for start in self.picker.starts(use, first, need, benefit):
            if start <= exhausted:
                break
            limit = options.max_outstanding_prefetches
            if 0 <= limit <= self.prefetches.overlapping(start, use):
                continue
            if options.enforce_prefetch_fifo_order and self.prefetches.out_of_order(start, use):
                continue
            if not self.prefetches.fits(start, use, need):
                continue
            low = self._chunk(start + 1, e)
            if low is None:
                exhausted = max(exhausted, start)
                continue
            self.prefetches.add(start, use, need)
            self._occupy(a, start + 1, use, low)
            a.copy_in[e] = start
            return True
        return None if exhausted > -2 else False

    def _chunk(self, first: int, e: int) -> int | None:
        """The best-fit offset from ``first`` to the use e, chosen such that it can be kept for as many uses as possible."""
        tables = self.tables
        b = tables.buffer[e]
        times = [tables.step[e]]
        for later in tables.uses[b][tables.uses[b].index(e) + 1 :]:
            if not self.picker.may_stay(times[-1], tables.step[later]):
                break
            times.append(tables.step[later])
        best = self.heap.place(first, times[0], tables.granules[b])
        fits, fails = 0, len(times)
        while best is not None and fails - fits > 1:
            middle = (fits + fails) // 2
            low = self.heap.place(first, times[middle], tables.granules[b])
            if low is None:
                fails = middle
            else:
                best, fits = low, middle
        return best

    def _occupy(self, a: Attempt, first: int, last: int, low: int) -> None:
        a.block, a.low, a.end = self.heap.open(a.b), low, last
        self.heap.add(a.block, first, last, low, self.tables.granules[a.b])

    def _hold(self, a: Attempt, last: int) -> None:
        if last > a.end:
            self.heap.add(a.block, a.end + 1, last, a.low, self.tables.granules[a.b])
            a.end = last

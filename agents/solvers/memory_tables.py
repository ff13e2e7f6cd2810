"""What solvers of memory mapping look at: an instance in plain Python, and which modes of the game there are."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.instance import READ, MemoryInstance

EVICTIONS = ("charged", "free")


def is_free(evictions: str) -> bool:
    """Whether copies out cost nothing ("free") or are "charged". Raises InstanceError for another mode."""
    if evictions not in EVICTIONS:
        raise InstanceError(f"unknown evictions {evictions!r}; choose {' or '.join(EVICTIONS)}")
    return evictions == "free"


class Tables:
    """An instance in plain Python, without padding, and what follows from it."""

    def __init__(self, instance: MemoryInstance) -> None:
        plain: dict[str, Any] = {name: np.asarray(value).tolist() for name, value in vars(instance.trimmed()).items()}
        self.compute: list[int] = plain["compute"]
        self.memory: list[int] = plain["memory"]
        self.capacity: int = plain["capacity"]
        self.granules: list[int] = plain["granules"]
        self.define: list[int] = plain["define"]
        self.output: list[int] = plain["output"]
        self.demand: list[int] = plain["demand"]
        self.buffer: list[int] = plain["event_buffer"]
        self.step: list[int] = plain["event_step"]
        self.kind: list[int] = plain["event_kind"]
        self.gain: list[int] = plain["gain"]
        self.steps, self.buffers, self.events = len(self.compute), len(self.define), len(self.step)
        self.supply = [max(c, m) for c, m in zip(self.compute, self.memory, strict=True)]
        self.supplied: list[int] = [0, *accumulate(self.supply)]  # [T + 1] of all steps before
        self.uses: list[list[int]] = [[] for _ in self.define]  # events of a storage, in order
        self.before: list[int] = []  # [U] the previous event of the storage, -1: none
        for e, b in enumerate(self.buffer):
            self.before.append(self.uses[b][-1] if self.uses[b] else -1)
            self.uses[b].append(e)
        self.last = [self.step[uses[-1]] for uses in self.uses]
        self.next_write = [self.steps] * self.events  # [U] step of the storage's next write
        for uses in self.uses:
            for e, after in zip(uses[-2::-1], uses[:0:-1], strict=True):
                self.next_write[e] = self.next_write[after] if self.kind[after] == READ else self.step[after]

    @property
    def all_slow(self) -> int:
        """Ticks of the program with everything in slow memory."""
        return self.supplied[-1]

    def latency(self, served: Iterable[int]) -> int:
        """Ticks of the program with these events served from fast memory."""
        saved = [0] * self.steps
        for e in served:
            saved[self.step[e]] += self.gain[e]
        return sum(max(c, m - s) for c, m, s in zip(self.compute, self.memory, saved, strict=True))

"""WorkflowDag in plain Python and NumPy, one decision at a time."""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np

from dispatchgym.instances.workflow.instance import WorkflowInstance

Seen = dict[str, Any]


class WorkflowTwin:
    """One episode at a time: ``seen = reset()``, then ``seen, reward, terminated = step(action)``.

    What is seen, with K = window (None: as many as there are tasks) and M = processors; rows beyond the ready tasks and
    entries outside the mask hold 0 (``time`` and ``task``: -1): mask bool[K x M], task [K], time, data_ready, start and
    finish [K, M], now (online: the clock), makespan.
    """

    def __init__(
        self, instance: WorkflowInstance, window: int | None = None, insertion: bool = True, online: bool = False
    ) -> None:
        self.time = np.asarray(instance.time, np.int64)
        self.n, self.pes = int(instance.n_tasks), self.time.shape[1]
        self.window = len(self.time) if window is None else window
        self.insertion, self.online = insertion, online
        bandwidth = np.asarray(instance.bandwidth, np.int64)
        distinct = ~np.eye(len(bandwidth), dtype=bool)
        self.after: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(self.n)]  # (successor, delay [M, M])
        self.waits = [0] * self.n
        for a, b, volume in np.asarray(instance.edges).tolist():
            if volume >= 0:
                self.after[a].append((b, np.where(distinct, volume // bandwidth, 0)))
                self.waits[b] += 1

    def reset(self) -> Seen:
        """Start over: nothing is planned."""
        self.now = self.makespan = 0
        self.waits_for = self.waits[:]
        self.since = [0] * self.n  # last finish of the planned predecessors
        self.data = np.zeros((self.n, self.pes), np.int64)  # when their data reach each processor
        self.open = [i for i in range(self.n) if not self.waits_for[i]]  # all predecessors planned
        self.busy: list[list[tuple[int, int]]] = [[] for _ in range(self.pes)]  # (start, finish), ascending
        self.plan: dict[int, tuple[int, int, int]] = {}  # task -> (processor, start, finish)
        return self.see()

    def step(self, action: int) -> tuple[Seen, int, bool]:
        """Plan the task at position action // M of the window on processor action % M. Raises ValueError if masked."""
        position, p = divmod(int(action), self.pes)
        ready = self._ready()
        if not 0 <= position < min(self.window, len(ready)) or self.time[ready[position], p] < 0:
            raise ValueError(f"action {action} is masked")
        i = ready[position]
        start = self._start(i, p)
        end = start + int(self.time[i, p])
        self.plan[i] = p, start, end
        bisect.insort(self.busy[p], (start, end))
        self.open.remove(i)
        for j, delay in self.after[i]:
            self.since[j] = max(self.since[j], end)
            self.data[j] = np.maximum(self.data[j], end + delay[p])
            self.waits_for[j] -= 1
            if not self.waits_for[j]:
                bisect.insort(self.open, j)
        reward = self.makespan - max(self.makespan, end)
        self.makespan -= reward
        return self.see(), reward, len(self.plan) == self.n

    def _ready(self) -> list[int]:
        if not self.online:
            return self.open
        self.now = max(self.now, min((self.since[i] for i in self.open), default=0))
        return [i for i in self.open if self.since[i] <= self.now]

    def _start(self, i: int, p: int) -> int:
        start, w = max(self.now, int(self.data[i, p])), int(self.time[i, p])
        if not self.insertion:
            return max([start, *(end for _, end in self.busy[p][-1:])])
        for b, f in self.busy[p]:
            if start < f and b < start + w:
                start = f
        return start

    def see(self) -> Seen:
        """The whole candidate table."""
        ready = self._ready()[: self.window]
        shape = (self.window, self.pes)
        task, time = np.full(self.window, -1), np.full(shape, -1)
        data, start = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, i in enumerate(ready):
            task[row], time[row], data[row] = i, self.time[i], np.maximum(self.data[i], self.now)
            start[row] = [self._start(i, p) if self.time[i, p] >= 0 else 0 for p in range(self.pes)]
        mask = time >= 0
        return {
            "mask": mask.ravel(),
            "task": task,
            "time": time,
            "data_ready": np.where(mask, data, 0),
            "start": start,
            "finish": np.where(mask, start + time, 0),
            "now": self.now,
            "makespan": self.makespan,
        }

"""What the job-shop solvers share: operations as a flat list, schedules from actions and back, longest paths.

Operations are numbered v = 0..N-1 job by job. A *selection* is one list of operations per machine, in machine order;
with the jobs' chains it forms a graph in which every operation has at most two predecessors and two successors.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.job_shop.instance import JobShopInstance

NONE = -1
APPEND = {"scheme": "semi_active"}  # what every action list of these solvers is replayed with


class Shop:
    """An instance as flat lists indexed by operation. Padded jobs keep their number and have no operations."""

    def __init__(self, instance: JobShopInstance) -> None:
        machine, duration = np.asarray(instance.machine), np.asarray(instance.duration)
        self.lengths: list[int] = np.asarray(instance.n_operations).tolist()
        real = np.arange(machine.shape[1]) < np.asarray(self.lengths)[:, None]
        self.machine: list[int] = machine[real].tolist()
        self.duration: list[int] = duration[real].tolist()
        self.job: list[int] = np.nonzero(real)[0].tolist()
        self.position: list[int] = np.nonzero(real)[1].tolist()
        self.n = len(self.machine)
        self.machines = max(self.machine) + 1
        self.before = [v - 1 if self.position[v] else NONE for v in range(self.n)]  # in the job
        self.after = [v + 1 if self.position[v] + 1 < self.lengths[self.job[v]] else NONE for v in range(self.n)]
        self.lower_bound = instance.lower_bound()


def append(shop: Shop, actions: Iterable[int]) -> list[int]:
    """Start of every operation when each is appended to its machine, in the order of the actions (semi-active).

    Raises InstanceError if the actions are not a permutation with repetition of the jobs.
    """
    first = np.cumsum([0, *shop.lengths]).tolist()
    upcoming, start, machine_ready = first[:-1], [NONE] * shop.n, [0] * shop.machines
    job_ready = [0] * len(shop.lengths)
    for j in actions:
        v = upcoming[j] if 0 <= j < len(upcoming) else shop.n
        if v >= shop.n or shop.job[v] != j:
            raise InstanceError(f"the action list names job {j} too often or wrongly; give each job once per operation")
        upcoming[j] += 1
        start[v] = max(job_ready[j], machine_ready[shop.machine[v]])
        job_ready[j] = machine_ready[shop.machine[v]] = start[v] + shop.duration[v]
    if NONE in start:
        missing = start.count(NONE)
        raise InstanceError(f"the action list leaves {missing} operations out; give each job once per operation")
    return start


def makespan(shop: Shop, start: Sequence[int]) -> int:
    """Largest completion time."""
    return max(s + p for s, p in zip(start, shop.duration, strict=True))


def actions_of(shop: Shop, start: Sequence[int]) -> list[int]:
    """The action list of a feasible schedule; appending in this order starts no operation later than ``start``.

    Sorted by (start, end, position in the job): an operation of zero duration comes before what starts on its machine
    at the same time, and after its own job's earlier ones, so the order is topological.
    """
    order = sorted(range(shop.n), key=lambda v: (start[v], start[v] + shop.duration[v], shop.position[v], v))
    return [shop.job[v] for v in order]


class Selection:
    """Machine orders, as neighbours on the machine, with heads and tails on demand. Must stay free of cycles."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.before = [NONE] * shop.n  # on the machine
        self.after = [NONE] * shop.n

    def set_order(self, order: Sequence[int]) -> None:
        """Sequence a machine."""
        for u, v in zip([NONE, *order], [*order, NONE], strict=True):
            if u != NONE:
                self.after[u] = v
            if v != NONE:
                self.before[v] = u

    def clear(self, operations: Iterable[int]) -> None:
        """Remove the sequence of a machine that has these operations."""
        for v in operations:
            self.before[v] = self.after[v] = NONE

    def heads(self) -> tuple[list[int], list[int]]:
        """(operations in topological order, earliest start of each operation)."""
        job_after, after, duration = self.shop.after, self.after, self.shop.duration
        waiting = [(a != NONE) + (b != NONE) for a, b in zip(self.shop.before, self.before, strict=True)]
        order = [v for v, w in enumerate(waiting) if w == 0]
        head = [0] * self.shop.n
        for u in order:  # grows while it is read
            end = head[u] + duration[u]
            for v in (job_after[u], after[u]):
                if v != NONE:
                    if end > head[v]:
                        head[v] = end
                    waiting[v] -= 1
                    if waiting[v] == 0:
                        order.append(v)
        if len(order) < self.shop.n:
            raise RuntimeError("the machine orders contain a cycle")
        return order, head

    def tails(self, order: Sequence[int]) -> list[int]:
        """Longest path from the end of each operation to the end of the schedule."""
        job_before, before, duration = self.shop.before, self.before, self.shop.duration
        tail = [0] * self.shop.n
        for v in reversed(order):
            length = tail[v] + duration[v]
            for u in (job_before[v], before[v]):
                if u != NONE and length > tail[u]:
                    tail[u] = length
        return tail

    def solution(self, started: float) -> Solution:
        """The solution of a complete selection; ``started`` is the ``time.perf_counter()`` at the solver's start."""
        order, _ = self.heads()
        return from_actions(self.shop, [self.shop.job[v] for v in order], started)


def from_actions(shop: Shop, actions: list[int], started: float, bound: int | None = None) -> Solution:
    """A solution with its makespan recomputed; optimal if it meets ``bound`` (at least longest job, largest load)."""
    value = makespan(shop, append(shop, actions))
    bound = shop.lower_bound if bound is None else max(bound, shop.lower_bound)
    status = "optimal" if value == bound else "feasible"
    return Solution(actions, value, status, bound, time.perf_counter() - started, dict(APPEND))

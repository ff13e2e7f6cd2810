"""A task graph on unrelated processors, on the host: what workflows and chips share. Every number is an integer.

Checked graphs come from :meth:`TaskGraph.checked`, whose errors name the task or edge. The ranks are those of HEFT and
CPOP (Topcuoglu, Hariri and Wu, 2002) and of PEFT (Arabnejad and Barbosa, 2014), in thousandths of the time unit and
rounded down, so that every implementation orders tasks alike.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dispatchgym.instances.base import InstanceError

MAX_TASKS = 4096  # each lane of a rollout holds [tasks, processors] arrays and may choose among all of them in one step
MAX_EDGES = 2**18
MAX_PROCESSORS = 1024
MAX_VALUE = 2**31  # int32

_UNSUPPORTED = 2**60  # a cost that no sum of real ones reaches


@dataclass(frozen=True, eq=False)
class TaskGraph:
    """Tasks 0..T - 1 with precedence and data volumes on processors 0..M - 1, without padding.

    Data of volume v produced on processor p reach processor q after v // bandwidth[p, q], at once if p = q.
    """

    time: np.ndarray  # i64[T, M]  -1 = not supported
    edges: np.ndarray  # i64[E, 3]  (source, target, volume)
    bandwidth: np.ndarray  # i64[M, M]  volume per unit of time; 1 on the diagonal, which is not read

    @classmethod
    def checked(
        cls,
        time: Any,
        edges: Any,
        bandwidth: Any = 1,
        names: Sequence[str] | None = None,
        connected: bool = False,
        where: str = "",
    ) -> TaskGraph:
        """From [T, M] times, [E, 3] edges and a bandwidth, one number or [M, M].

        Raises InstanceError, beginning with ``where`` and naming the task (by ``names``, else its number), unless every
        task has a time on some processor, edges are distinct, of volume 0 or more and without a cycle, bandwidths are
        positive and, with ``connected``, the graph is in one piece.
        """

        def fail(problem: str, remedy: str) -> InstanceError:
            return InstanceError(f"{where}{problem}; {remedy}")

        def task(i: int) -> str:
            return f"task {names[i]!r}" if names is not None and 0 <= i < len(names) else f"task {i}"

        time = integers(time, "time", lambda at: f"{task(at[0])} on processor {at[-1]}", where)
        if time.ndim != 2 or 0 in time.shape:
            raise fail(f"time has the shape {time.shape}", "give [tasks, processors], at least one of each")
        tasks, processors = time.shape
        if tasks > MAX_TASKS or processors > MAX_PROCESSORS:
            most = f"use at most {MAX_TASKS} and {MAX_PROCESSORS}, as every lane of a rollout holds them all"
            raise fail(f"{tasks} tasks on {processors} processors are too many", most)
        if names is not None:
            if len(names) != tasks:
                raise fail(f"{len(names)} names for {tasks} tasks", "give one each")
            if len(set(names)) < tasks:
                twice = next(name for i, name in enumerate(names) if name in names[:i])
                raise fail(f"two tasks are named {twice!r}", "rename one")
        for i, p in np.argwhere(time < -1)[:1]:
            raise fail(
                f"{task(i)} on processor {p}: time {time[i, p]} is negative", "give 0 or more, -1 if unsupported"
            )
        for i in np.flatnonzero(time.max(axis=1) < 0)[:1]:
            raise fail(f"{task(i)} is supported by no processor", "give it a time of 0 or more on at least one")

        bandwidth = integers(bandwidth, "bandwidth", lambda at: f"from processor {at[0]} to {at[-1]}", where)
        if bandwidth.ndim and bandwidth.shape != (processors, processors):
            shape = f"give one number or [{processors}, {processors}]"
            raise fail(f"bandwidth has the shape {bandwidth.shape}", shape)
        bandwidth = np.where(np.eye(processors, dtype=bool), 1, bandwidth)
        for p, q in np.argwhere(bandwidth < 1)[:1]:
            raise fail(f"the bandwidth from processor {p} to {q} is {bandwidth[p, q]}", "give 1 or more")

        edges = integers(edges, "edges", lambda at: f"row {at[0]}", where)
        edges = edges.reshape(0, 3) if edges.size == 0 else edges
        if edges.ndim != 2 or edges.shape[1] != 3:
            raise fail(f"edges have the shape {edges.shape}", "give [edges, 3]: source, target, volume")
        if len(edges) > MAX_EDGES:
            raise fail(f"{len(edges)} edges are too many", f"use at most {MAX_EDGES}")
        for e in np.flatnonzero(((edges[:, :2] < 0) | (edges[:, :2] >= tasks)).any(axis=1))[:1]:
            i, j, _ = edges[e].tolist()
            unknown = j if 0 <= i < tasks else i
            raise fail(f"edge {e} from {task(i)} to {task(j)}: no task {unknown}", f"give 0..{tasks - 1}")
        for i, j, volume in edges[(edges[:, 0] == edges[:, 1]) | (edges[:, 2] < 0)][:1]:
            if i == j:
                raise fail(f"{task(i)} precedes itself", "remove that edge")
            raise fail(f"the edge from {task(i)} to {task(j)} has volume {volume}", "give 0 or more")
        pairs, counts = np.unique(edges[:, 0] * tasks + edges[:, 1], return_counts=True)
        for i, j in (divmod(pair, tasks) for pair in pairs[counts > 1][:1].tolist()):
            raise fail(f"the edge from {task(i)} to {task(j)} is given twice", "give it once, with the whole volume")

        graph = cls(time, edges, bandwidth)
        if cycle := graph._cycle():
            shown = [task(i) for i in cycle] if len(cycle) <= 6 else [*map(task, cycle[:5]), "...", task(cycle[-1])]
            path = " -> ".join([*shown, task(cycle[0])])
            raise fail(f"the tasks form a cycle, {path}", "remove one of these edges")
        if connected and (pieces := graph.components())[1:]:
            least = min(pieces, key=len)
            rest = f" and {len(least) - 1} more are" if least[1:] else " is"
            other = next(piece[0] for piece in pieces if piece is not least)
            problem = f"{len(pieces)} pieces: {task(least[0])}{rest} not connected with {task(other)}"
            raise fail(problem, "add the missing edges or read with disconnected=True")
        return graph

    @cached_property
    def successors(self) -> list[list[tuple[int, int]]]:
        """For each task its (edge, target) pairs, in the order of the edges."""
        table: list[list[tuple[int, int]]] = [[] for _ in self.time]
        for e, (i, j) in enumerate(self.edges[:, :2].tolist()):
            table[i].append((e, j))
        return table

    @cached_property
    def order(self) -> list[int]:
        """The topological order that always takes the lowest ready task; shorter than T only if there is a cycle."""
        missing = np.bincount(self.edges[:, 1], minlength=len(self.time)).tolist()
        ready = [i for i, count in enumerate(missing) if not count]
        order = []
        while ready:
            order.append(heapq.heappop(ready))
            for _, j in self.successors[order[-1]]:
                missing[j] -= 1
                if not missing[j]:
                    heapq.heappush(ready, j)
        return order

    def _cycle(self) -> list[int]:
        """The tasks of one cycle from its lowest on, in the direction of the edges; empty if there is none."""
        left = set(range(len(self.time))) - set(self.order)
        before = {j: i for i, j in self.edges[:, :2].tolist() if i in left and j in left}
        path = [min(left)] if left else []
        while path and before[path[-1]] not in path:
            path.append(before[path[-1]])
        cycle = path[path.index(before[path[-1]]) :][::-1] if path else []
        start = cycle.index(min(cycle)) if cycle else 0
        return cycle[start:] + cycle[:start]

    def components(self) -> list[list[int]]:
        """The tasks of each piece of the graph, ascending; pieces by their lowest task."""
        root = list(range(len(self.time)))

        def find(i: int) -> int:
            while root[i] != i:
                root[i] = root[root[i]]
                i = root[i]
            return i

        for i, j in self.edges[:, :2].tolist():
            low, high = sorted((find(i), find(j)))
            root[high] = low
        pieces: dict[int, list[int]] = {}
        for i in range(len(root)):
            pieces.setdefault(find(i), []).append(i)
        return list(pieces.values())

    def degrees(self) -> tuple[int, int]:
        """The most successors and the most predecessors of any one task."""
        counts = (np.bincount(self.edges[:, column], minlength=1) for column in (0, 1))
        most_successors, most_predecessors = (int(count.max()) for count in counts)
        return most_successors, most_predecessors

    def _bandwidths(self) -> tuple[np.ndarray, np.ndarray]:
        """The different bandwidths between distinct processors and how many ordered pairs have each."""
        distinct = ~np.eye(len(self.bandwidth), dtype=bool)
        return np.unique(self.bandwidth[distinct], return_counts=True)

    def bandwidths(self) -> int:
        """How many different bandwidths there are between distinct processors."""
        return len(self._bandwidths()[0])

    def largest_delays(self) -> np.ndarray:
        """i64[E]: the longest delay of each edge, between any two processors; 0 on one processor."""
        slowest = self._bandwidths()[0][:1]
        delays: np.ndarray = self.edges[:, 2] // slowest if len(slowest) else np.zeros(len(self.edges), np.int64)
        return delays

    def horizon(self) -> int:
        """Sum of every task's longest time and every edge's longest delay: no schedule without idling is longer."""
        return int(self.time.max(axis=1).sum() + self.largest_delays().sum())

    def rank_bound(self) -> int:
        """T x 1000 x (longest time + longest delay): bounds ranks and, in thousandths, every finish plus its rank."""
        return len(self.time) * 1000 * int(self.time.max() + self.largest_delays().max(initial=0))

    @cached_property
    def mean_times(self) -> np.ndarray:
        """i64[T]: mean time over the supporting processors, in thousandths."""
        supported = self.time >= 0
        means: np.ndarray = 1000 * np.where(supported, self.time, 0).sum(axis=1) // supported.sum(axis=1)
        return means

    @cached_property
    def mean_delays(self) -> np.ndarray:
        """i64[E]: mean delay over the ordered pairs of distinct processors, in thousandths; 0 on one processor."""
        values, counts = self._bandwidths()
        means: np.ndarray = 1000 * (self.edges[:, 2:] // values * counts).sum(axis=1) // max(int(counts.sum()), 1)
        return means

    @cached_property
    def upward_ranks(self) -> np.ndarray:
        """i64[T]: rank_u, the longest mean path from a task's start to the end, in thousandths."""
        return self._longest(self.mean_times, self.mean_delays)

    @cached_property
    def downward_ranks(self) -> np.ndarray:
        """i64[T]: rank_d, the longest mean path from the beginning to a task's start, in thousandths."""
        rank, w, c = [0] * len(self.time), self.mean_times.tolist(), self.mean_delays.tolist()
        for i in self.order:
            for e, j in self.successors[i]:
                rank[j] = max(rank[j], rank[i] + w[i] + c[e])
        return np.array(rank, np.int64)

    @cached_property
    def optimistic_costs(self) -> np.ndarray:
        """i64[T, M]: OCT(i, p), the longest of the shortest paths from the end of task i on p on, in thousandths."""
        table, c = np.zeros(self.time.shape, np.int64), self.mean_delays.tolist()
        w = np.where(self.time >= 0, 1000 * self.time, _UNSUPPORTED)
        for i in reversed(self.order):
            for e, j in self.successors[i]:
                cost = table[j] + w[j]
                np.maximum(table[i], np.minimum(cost, cost.min() + c[e]), out=table[i])
        return table

    def _longest(self, weight: np.ndarray, delay: np.ndarray) -> np.ndarray:
        """i64[T]: the longest path from each task on, the sum of weight [T] over its tasks and delay [E] over its edges."""
        length, w, c = [0] * len(self.time), weight.tolist(), delay.tolist()
        for i in reversed(self.order):
            length[i] = w[i] + max((c[e] + length[j] for e, j in self.successors[i]), default=0)
        return np.array(length, np.int64)

    @cached_property
    def shortest_times(self) -> np.ndarray:
        """i64[T]: each task's time on the processor that is fastest for it."""
        shortest: np.ndarray = np.where(self.time >= 0, self.time, _UNSUPPORTED).min(axis=1)
        return shortest

    def critical_path(self) -> int:
        """The longest path with every task on its fastest processor and no delays."""
        return int(self._longest(self.shortest_times, np.zeros(len(self.edges), np.int64)).max())

    def lower_bound(self) -> int:
        """max(critical path, least work / M rounded up): no schedule is shorter."""
        work, processors = int(self.shortest_times.sum()), int(self.time.shape[1])
        return max(self.critical_path(), -(-work // processors))


def integers(values: Any, what: str, place: Callable[[tuple[int, ...]], str], where: str = "") -> np.ndarray:
    """``values`` as an i64 array. Raises InstanceError, naming the ``place`` of an index, unless all are int32 integers."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of unequal length
        raise InstanceError(f"{where}{what} cannot be read as an array; give rows of equal length") from None
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iufO":
        raise InstanceError(f"{where}{what} holds {array.dtype} values, not integers; convert it to int32")
    mixed = array.dtype.kind == "O"  # integers beyond int64, or no numbers; infinity is too large below, nan not whole
    whole = np.vectorize(lambda x: isinstance(x, int), otypes=[bool])(array) if mixed else array == np.trunc(array)
    for bad, said, remedy in (
        (~whole, "is not an integer", "scale to a finer unit and round"),
        (whole & (np.abs(np.where(whole, array, 0)) >= MAX_VALUE), "is too large for int32", "use a coarser unit"),
    ):
        for at in np.argwhere(bad)[:1].tolist():
            spot = f"{place(tuple(at))}: " if at else ""
            raise InstanceError(f"{where}{spot}{what} {array[tuple(at)]} {said}; {remedy}")
    return array.astype(np.int64)

"""The workflow instance: one task graph, unrelated processors, communication between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.task_graph import MAX_VALUE, TaskGraph, integers

MAX_HORIZON = 2**24  # all times and delays together: float32 rewards and returns are exact below it


class WorkflowSize(NamedTuple):
    """Static sizes of a (padded) workflow."""

    tasks: int
    processors: int
    edges: int = 1
    successors: int = 1  # most successors of any one task
    predecessors: int = 1  # most predecessors of any one task
    bandwidths: int = 1  # different bandwidths between distinct processors


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WorkflowInstance:
    """n tasks with precedence and data volumes on unrelated processors; times and volumes are integers of the file's units.

    Data of volume v produced on processor p reach processor q after v // bandwidth[p, q], at once if p = q.
    Build one with :meth:`from_arrays`, which checks it, or call :meth:`check`; arrays are padded by :meth:`pad`.
    """

    time: Any  # i32[T, M]  execution time of a task on a processor; -1 = not supported, or padding
    n_tasks: Any  # i32[]
    n_processors: Any  # i32[]
    edges: Any  # i32[E, 3]  (source, target, volume); volume -1 where padded, source and target then 0
    bandwidth: Any  # i32[M, M]  volume per unit of time, > 0; the diagonal is not read; 1 where padded
    prediction: Any  # i32[T]  what a non-clairvoyant scheduler is told of the work below a task, 0 where padded

    @classmethod
    def from_arrays(
        cls, time: Any, edges: Any, bandwidth: Any = 1, prediction: Any = None, names: Sequence[str] | None = None
    ) -> WorkflowInstance:
        """From [T, M] times, [E, 3] (source, target, volume) rows, a bandwidth (one number or [M, M]) and [T] predictions.

        Predictions are 0 by default; ``names`` of the tasks serve the errors. Raises InstanceError naming the task or edge.
        """
        return cls.from_graph(TaskGraph.checked(time, edges, bandwidth, names), prediction)

    @classmethod
    def from_graph(cls, graph: TaskGraph, prediction: Any = None, where: str = "") -> WorkflowInstance:
        """From a checked graph. Raises InstanceError, beginning with ``where``, if its times are too long to be exact."""
        _check_horizon(graph, where)
        tasks, processors = graph.time.shape
        prediction = _predictions(np.zeros(tasks, np.int32) if prediction is None else prediction, tasks)
        edges = graph.edges if len(graph.edges) else np.array([[0, 0, -1]])  # no array is empty
        arrays = (graph.time, np.array(tasks), np.array(processors), edges, graph.bandwidth, prediction)
        return cls(*(array.astype(np.int32) for array in arrays))

    def graph(self) -> TaskGraph:
        """The task graph without padding (host only)."""
        tasks, processors, edges = int(self.n_tasks), int(self.n_processors), np.asarray(self.edges, np.int64)
        return TaskGraph(
            np.asarray(self.time, np.int64)[:tasks, :processors],
            edges[edges[:, 2] >= 0],
            np.asarray(self.bandwidth, np.int64)[:processors, :processors],
        )

    def check(self) -> None:
        """Raise InstanceError naming task or edge, unless the arrays are a (padded) workflow (host only)."""
        time = integers(self.time, "time", lambda at: f"task {at[0]} on processor {at[-1]}")
        edges = integers(self.edges, "edges", lambda at: f"row {at[0]}")
        bandwidth = integers(self.bandwidth, "bandwidth", lambda at: f"from processor {at[0]} to {at[-1]}")
        if (
            time.ndim != 2
            or 0 in time.shape
            or edges.shape[1:] != (3,)
            or bandwidth.shape != (time.shape[1], time.shape[1])
        ):
            shapes = f"time {time.shape}, edges {edges.shape}, bandwidth {bandwidth.shape}"
            raise InstanceError(f"the arrays have shapes {shapes}; give [T, M], [E, 3] and [M, M]")
        counts = []
        for name, room in (("n_tasks", time.shape[0]), ("n_processors", time.shape[1])):
            count = integers(getattr(self, name), name, lambda at: f"entry {at[0]}")
            if count.ndim or not 1 <= count <= room:
                raise InstanceError(f"{name} is {count.tolist()} in arrays of {room}; give one number in 1..{room}")
            counts.append(int(count))
        tasks, processors = counts
        prediction = _predictions(self.prediction, len(time))
        outside = time.copy()
        outside[:tasks, :processors] = -1
        for i, p in np.argwhere(outside != -1)[:1]:
            raise InstanceError(f"task {i} on processor {p}: time {time[i, p]} is in the padding; set it to -1")
        for i in np.flatnonzero(prediction[tasks:])[:1] + tasks:
            raise InstanceError(f"task {i}: prediction {prediction[i]} is in the padding; set it to 0")
        real = edges[:, 2] != -1
        for e in np.flatnonzero(~real & edges[:, :2].any(axis=1))[:1]:
            raise InstanceError(f"edge {e}: {edges[e].tolist()} has volume -1, which is padding; set its tasks to 0")
        for p, q in np.argwhere(bandwidth < 1)[:1]:
            raise InstanceError(f"the bandwidth from processor {p} to {q} is {bandwidth[p, q]}; give 1 or more")
        square = bandwidth[:processors, :processors]
        _check_horizon(TaskGraph.checked(time[:tasks, :processors], edges[real], square), "")

    @property
    def size(self) -> WorkflowSize:
        """Smallest sizes the arrays need (host only)."""
        graph = self.graph()
        successors, predecessors = graph.degrees()
        tasks, processors = np.shape(self.time)
        smallest = (len(self.edges), successors, predecessors, graph.bandwidths())
        return WorkflowSize(tasks, processors, *(max(n, 1) for n in smallest))

    def pad(self, size: WorkflowSize) -> WorkflowInstance:
        """The same workflow in larger arrays. Raises InstanceError if it does not fit."""
        if any(have > room for have, room in zip(self.size, size, strict=True)):
            raise InstanceError(
                f"a workflow of {self.size} does not fit {size}; make the environment with larger sizes"
            )
        t, m = size.tasks - np.shape(self.time)[0], size.processors - np.shape(self.time)[1]
        edges = np.zeros((size.edges, 3), np.int32)
        edges[:, 2] = -1
        edges[: len(self.edges)] = self.edges
        return WorkflowInstance(
            np.pad(np.asarray(self.time), ((0, t), (0, m)), constant_values=-1),
            np.asarray(self.n_tasks),
            np.asarray(self.n_processors),
            edges,
            np.pad(np.asarray(self.bandwidth), (0, m), constant_values=1),
            np.pad(np.asarray(self.prediction), (0, t)),
        )

    def lower_bound(self) -> int:
        """max(critical path on the fastest processors without delays, least work / processors): no schedule is shorter."""
        return self.graph().lower_bound()


def _check_horizon(graph: TaskGraph, where: str) -> None:
    """Raise InstanceError unless makespans are exact in float32 and ranks, in thousandths, in int32."""
    if (total := graph.horizon()) >= MAX_HORIZON:
        raise InstanceError(
            f"{where}the longest times and delays add up to {total}, but float32 rewards are exact only up to "
            f"{MAX_HORIZON - 1}; use a coarser unit of time"
        )
    if (bound := graph.rank_bound()) >= MAX_VALUE:
        raise InstanceError(
            f"{where}tasks x 1000 x (longest time + longest delay) is {bound}, but ranks are exact only below "
            f"{MAX_VALUE}; use a coarser unit of time"
        )


def _predictions(values: Any, tasks: int) -> np.ndarray:
    """Predictions as i64[tasks]. Raises InstanceError naming the task."""
    prediction = integers(values, "prediction", lambda at: f"task {at[0]}")
    if prediction.shape != (tasks,):
        raise InstanceError(f"prediction has the shape {prediction.shape}; give one number for each of {tasks} tasks")
    for i in np.flatnonzero(prediction < 0)[:1]:
        raise InstanceError(f"task {i}: prediction {prediction[i]} is negative; give 0 or more")
    return prediction

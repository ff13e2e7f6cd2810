"""The SoC instance: a chip, the task graphs of its applications, and the stream of jobs that will arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.soc import checks
from dispatchgym.instances.task_graph import TaskGraph, integers

if TYPE_CHECKING:
    from dispatchgym.instances.soc.chip import Chip


class SocSize(NamedTuple):
    """Static sizes of a (padded) stream."""

    jobs: int
    slots: int  # most jobs in the system
    templates: int
    tasks: int  # most tasks of any one template
    pes: int
    edges: int = 1  # most edges of any one template
    successors: int = 1  # most successors of any one task
    predecessors: int = 1  # most predecessors of any one task
    pairs: int = 1  # supported (task of a template, PE) pairs of all templates together
    bandwidths: int = 1  # different bandwidths between distinct PEs


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SocInstance:
    """A stream of jobs on a chip (the model of DS3 and gym-ds3). Times are integers, in ticks of one microsecond.

    Job k runs the task graph ``template[k]``; task i takes ``time[template, i, p]`` on PE p nominally, and in truth
    that times ``multiplier[k, i] / 1000``, rounded. Data of volume v produced on PE p reach PE q after
    v // bandwidth[p, q], at once if p = q. Build one with :meth:`from_stream`, which checks it, or call :meth:`check`.
    """

    time: Any  # i32[D, T, M]  nominal execution time; -1 = not supported, or padding; 0 is allowed
    n_tasks: Any  # i32[D]  0 for a padded template
    edges: Any  # i32[D, E, 3]  (source, target, volume); volume -1 where padded, source and target then 0
    bandwidth: Any  # i32[M, M]  volume per tick, > 0; the diagonal is not read; 1 where padded
    n_pes: Any  # i32[]
    power: Any  # i32[M]  active power in mW; 0 where padded
    n_jobs: Any  # i32[]
    template: Any  # i32[N]
    gap: Any  # i32[N]  ticks between releases, >= 0
    multiplier: Any  # i32[N, T]  per mille, 100..3000; 1000 = exact and padding
    cap: Any  # i32[]  jobs in the system at most
    closed: Any  # bool[]  the next gap starts at the previous admission, flow time at the job's own

    @classmethod
    def from_stream(
        cls,
        chip: Chip,
        template: Sequence[int | str],
        gap: Sequence[int],
        multiplier: Sequence[Sequence[int] | None] | None = None,
        cap: int = 8,
        closed: bool = False,
    ) -> SocInstance:
        """The stream of jobs with these templates (numbers or names) and gaps [ticks] on a chip.

        ``multiplier`` holds one list of per mille per job, as long as its tasks; None, for all or one, is exact. Raises
        InstanceError naming the template, task, PE or job.
        """
        names = chip.template_names
        for k, name in enumerate(template):
            if isinstance(name, str) and name not in names:
                raise InstanceError(f"job {k}: the chip has no template {name!r}; it has {', '.join(names)}")
        chosen = [names.index(d) if isinstance(d, str) else d for d in template]
        which = integers(chosen, "template", lambda at: f"job {at[0]}").tolist()
        rows: Sequence[Sequence[int] | None] = [None] * len(which) if multiplier is None else multiplier
        if not len(rows) == len(which) == len(gap):
            counts = f"{len(which)} templates, {len(gap)} gaps and {len(rows)} rows of multipliers"
            raise InstanceError(f"the stream has {counts}; give one of each per job")
        time, n_tasks, edges = chip.arrays()
        factors = np.full((len(which), time.shape[1]), 1000, np.int64)
        for k, (d, row) in enumerate(zip(which, rows, strict=True)):
            if not 0 <= d < len(n_tasks):
                raise InstanceError(f"job {k} is of template {d}; give 0..{len(n_tasks) - 1}")
            if row is None:
                continue
            if len(row) != n_tasks[d]:
                raise InstanceError(f"job {k} has {len(row)} multipliers for {n_tasks[d]} tasks; give one per task")
            factors[k, : len(row)] = integers(row, "multiplier", lambda at: f"task {at[0]}", f"job {k}: ")
        given: list[Any] = [time, n_tasks, edges, chip.bandwidth, len(chip.pes), chip.power]
        given += [len(which), which, gap, factors, cap, closed]
        made = cls(*given)
        made.check()
        return made.as_int32()

    def as_int32(self) -> SocInstance:
        """The same instance in int32 and bool arrays on the host; call :meth:`check` first."""
        kinds: dict[str, type] = {"closed": bool}
        return SocInstance(*(np.asarray(getattr(self, f.name), kinds.get(f.name, np.int32)) for f in fields(self)))

    def check(self) -> None:
        """Raise InstanceError naming the element, unless the arrays are a (padded) stream in int32 (host only)."""
        checks.check(self)

    def jobs(self) -> list[tuple[int, int, list[int]]]:
        """(template, gap, multipliers of its tasks) of each job, without padding."""
        n_tasks = np.asarray(self.n_tasks)
        return [
            (int(d), int(gap), np.asarray(row)[: n_tasks[d]].tolist())
            for d, gap, row in zip(self.template[: int(self.n_jobs)], self.gap, self.multiplier, strict=False)
        ]

    def graphs(self) -> list[TaskGraph]:
        """The task graph of each template, without padding (host only)."""
        time, edges, pes = np.asarray(self.time, np.int64), np.asarray(self.edges, np.int64), int(self.n_pes)
        bandwidth = np.asarray(self.bandwidth, np.int64)[:pes, :pes]
        return [
            TaskGraph(time[d, :tasks, :pes], edges[d][edges[d, :, 2] >= 0], bandwidth)
            for d, tasks in enumerate(np.asarray(self.n_tasks).tolist())
            if tasks
        ]

    @property
    def size(self) -> SocSize:
        """Smallest sizes the arrays need (host only)."""
        time, edges, pes = np.asarray(self.time), np.asarray(self.edges), int(self.n_pes)
        templates, tasks, width = time.shape
        degrees = [graph.degrees() for graph in self.graphs()]
        between = np.asarray(self.bandwidth)[:pes, :pes][~np.eye(pes, dtype=bool)]
        return SocSize(
            jobs=len(self.template),
            slots=int(self.cap),
            templates=templates,
            tasks=tasks,
            pes=width,
            edges=max(1, edges.shape[1]),
            successors=max(1, *(most for most, _ in degrees)),
            predecessors=max(1, *(most for _, most in degrees)),
            pairs=max(1, int((time >= 0).sum())),
            bandwidths=max(1, len(np.unique(between))),
        )

    def pad(self, size: SocSize) -> SocInstance:
        """The same stream in larger arrays. Raises InstanceError if it does not fit."""
        if any(have > room for have, room in zip(self.size, size, strict=True)):
            raise InstanceError(f"a stream of {self.size} does not fit {size}; make the environment with larger sizes")
        templates, tasks, pes = np.shape(self.time)
        d, t, m = size.templates - templates, size.tasks - tasks, size.pes - pes
        n = size.jobs - len(self.template)
        edges = np.zeros((size.templates, size.edges, 3), np.int32)
        edges[..., 2] = -1
        edges[:templates, : np.shape(self.edges)[1]] = self.edges
        return SocInstance(
            time=np.pad(np.asarray(self.time), ((0, d), (0, t), (0, m)), constant_values=-1),
            n_tasks=np.pad(np.asarray(self.n_tasks), (0, d)),
            edges=edges,
            bandwidth=np.pad(np.asarray(self.bandwidth), (0, m), constant_values=1),
            n_pes=np.asarray(self.n_pes),
            power=np.pad(np.asarray(self.power), (0, m)),
            n_jobs=np.asarray(self.n_jobs),
            template=np.pad(np.asarray(self.template), (0, n)),
            gap=np.pad(np.asarray(self.gap), (0, n)),
            multiplier=np.pad(np.asarray(self.multiplier), ((0, n), (0, t)), constant_values=1000),
            cap=np.asarray(self.cap),
            closed=np.asarray(self.closed),
        )

    def lower_bound(self) -> int:
        """Sum over the jobs of the critical path with smallest actual times and no delays [ticks] (host only).

        No policy's total flow time is smaller.
        """
        graphs = self.graphs()
        total = 0
        for d, _, multiplier in self.jobs():
            time = checks.actual_times(graphs[d].time, np.array(multiplier)[:, None])
            total += TaskGraph(time, graphs[d].edges, graphs[d].bandwidth).critical_path()
        return total

"""A chip on the host: its processing elements (PEs) and the task graphs of its applications, all with names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.soc import checks


@dataclass(frozen=True)
class Template:
    """The task graph of one application."""

    name: str
    tasks: tuple[str, ...]  # names
    time: tuple[tuple[int, ...], ...]  # per task and PE: nominal time in ticks; -1 = not supported
    edges: tuple[tuple[int, int, int], ...]  # (source, target, volume)


@dataclass(frozen=True)
class Chip:
    """Unit PEs, the bandwidths between them and the applications they run; a resource of capacity c is c PEs."""

    name: str
    pes: tuple[str, ...]  # "A7.0" is a unit of kind "A7"
    bandwidth: tuple[tuple[int, ...], ...]  # volume per tick from PE to PE; the diagonal is not read
    power: tuple[int, ...]  # active power in mW
    templates: tuple[Template, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each PE: its name up to the last dot."""
        return tuple(pe.rpartition(".")[0] or pe for pe in self.pes)

    @property
    def template_names(self) -> tuple[str, ...]:
        """Names of the applications, in the order of their numbers."""
        return tuple(template.name for template in self.templates)

    def subset(self, pes: Iterable[str] | None = None, templates: Iterable[str] | None = None) -> Chip:
        """The chip with these PEs and applications only, in the order given (None: all of them).

        Raises UnknownNameError for a name it lacks and InstanceError for a task that loses its last PE.
        """
        chosen = _positions("PE", self.pes, self.pes if pes is None else pes)
        apps = _positions("template", self.template_names, self.template_names if templates is None else templates)
        made = Chip(
            self.name,
            tuple(self.pes[p] for p in chosen),
            tuple(tuple(self.bandwidth[p][q] for q in chosen) for p in chosen),
            tuple(self.power[p] for p in chosen),
            tuple(
                replace(self.templates[d], time=tuple(tuple(row[p] for p in chosen) for row in self.templates[d].time))
                for d in apps
            ),
        )
        made.check()
        return made

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(time i64[D, T, M], n_tasks i64[D], edges i64[D, E, 3]) of ``SocInstance``; as wide as the largest."""
        n_tasks = np.array([len(template.tasks) for template in self.templates], np.int64)
        widest = max((len(template.edges) for template in self.templates), default=0)
        time = np.full((len(n_tasks), int(n_tasks.max(initial=0)), len(self.pes)), -1, np.int64)
        edges = np.zeros((len(n_tasks), max(1, widest), 3), np.int64)
        edges[..., 2] = -1
        for d, template in enumerate(self.templates):
            if template.tasks:
                time[d, : n_tasks[d]] = template.time
            if template.edges:
                edges[d, : len(template.edges)] = template.edges
        return time, n_tasks, edges

    def check(self, disconnected: bool = False) -> None:
        """Raise InstanceError naming the element, unless every application runs on the chip.

        A graph in several pieces is refused unless ``disconnected``.
        """
        for what, names in (("PEs", self.pes), ("templates", self.template_names)):
            if len(set(names)) < len(names):
                twice = next(name for i, name in enumerate(names) if name in names[:i])
                raise InstanceError(f"two {what} are named {twice!r}; rename one")
        if len(self.power) != len(self.pes):
            raise InstanceError(f"the chip has {len(self.power)} powers for {len(self.pes)} PEs; give one each")
        for template in self.templates:
            if len(template.time) != len(template.tasks):
                counts = f"{len(template.tasks)} tasks and {len(template.time)} rows of times"
                raise InstanceError(f"template {template.name!r} has {counts}; give one row per task")
            for task, row in zip(template.tasks, template.time, strict=True):
                if len(row) != len(self.pes):
                    counts = f"{len(row)} times for {len(self.pes)} PEs"
                    raise InstanceError(
                        f"template {template.name!r}: task {task!r} has {counts}; give -1 if unsupported"
                    )
            for i, j, volume in template.edges:
                if volume < 0:
                    raise InstanceError(
                        f"template {template.name!r}: the edge {i}-{j} has volume {volume}; give 0 or more"
                    )
        tasks = [template.tasks for template in self.templates]
        checks.platform(*self.arrays(), np.array(self.bandwidth), self.template_names, tasks, not disconnected)


def _positions(kind: str, known: Sequence[str], names: Iterable[str]) -> list[int]:
    """Where the names are among the known ones. Raises UnknownNameError, and InstanceError for a repetition or none."""
    found: list[int] = []
    for name in names:
        if name not in known:
            raise UnknownNameError(kind, name, known)
        if known.index(name) in found:
            raise InstanceError(f"{kind} {name!r} is chosen twice; give each name once")
        found.append(known.index(name))
    return found

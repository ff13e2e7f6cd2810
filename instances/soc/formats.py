"""Chips and streams as JSON files, with the file and the element in every error.

A chip lists its PEs, a bandwidth [volume per tick] and the tables of its applications; times are in ticks::

    {"pes": [{"name": "A7", "count": 2, "power": 203}, {"name": "FFT.0", "power": 91}],
     "bandwidth": 1000,
     "templates": [{"name": "app", "tasks": {"read": {"A7": 22}, "fft": {"A7": 296, "FFT.0": 16}},
                    "edges": [["read", "fft", 2000]]}]}

* An entry with a count stands for unit PEs "A7.0", "A7.1", ...; one without is a unit PE. Power (mW) is 0 by default.
* The bandwidth is one number or a matrix over the entries, whose diagonal holds between the units of one entry.
* A PE that a task's table lacks does not support it.

A stream is a chip and its jobs; the chip is such an object, or the name of a shipped one::

    {"chip": "canonical", "cap": 8, "closed": false,
     "jobs": [{"template": "Top_1", "gap": 0}, {"template": "Top_2", "gap": 40, "multiplier": [1000, ...]}]}

Gaps and multipliers (per mille, one per task, 1000 by default) are those of ``SocInstance``. The jobs of an open stream
may have an "arrival" each instead of a gap.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from dispatchgym.instances.base import DispatchGymError, InstanceError
from dispatchgym.instances.files import write_text
from dispatchgym.instances.soc.chip import Chip, Template
from dispatchgym.instances.soc.chips import chip
from dispatchgym.instances.soc.instance import SocInstance
from dispatchgym.instances.soc.json_files import JsonObject, read, shown
from dispatchgym.instances.soc.streams import trace_gaps
from dispatchgym.instances.task_graph import MAX_PROCESSORS


def parse_chip(content: Any, source: str = "chip", disconnected: bool = False) -> Chip:
    """A chip from the object of its file; graphs in several pieces are refused unless ``disconnected``.

    Raises InstanceError naming ``source`` and the element.
    """
    given = JsonObject(content, source)
    name, listed = given.take("name", str, default=source), given.take("pes", list)
    units: list[tuple[str, int]] = []  # each unit PE and its entry
    entries, power = [], []
    for e, item in enumerate(listed):
        pe = JsonObject(item, f"{source}: PE {e}")
        entries.append(pe.take("name", str))
        count, mw = pe.take("count", int, default=0), pe.take("power", int, default=0)
        pe.end()
        if not 0 <= count <= MAX_PROCESSORS:
            raise InstanceError(f"{source}: PE {entries[-1]!r} has the count {count}; give 1..{MAX_PROCESSORS}")
        units += [(f"{entries[-1]}.{u}", e) for u in range(count)] or [(entries[-1], e)]
        power += [mw] * max(count, 1)
    band, matrix = given.take("bandwidth", int, list), len(entries)
    rows = band if isinstance(band, list) else [[band] * matrix] * matrix
    if len(rows) != matrix or any(not isinstance(row, list) or len(row) != matrix for row in rows):
        raise InstanceError(f"{source}: the bandwidth is no matrix of {matrix} x {matrix}; give one row per PE entry")
    templates = []
    for d, item in enumerate(given.take("templates", list)):
        app = JsonObject(item, f"{source}: template {d}")
        app.where = f"{source}: template {(label := app.take('name', str))!r}"
        templates.append(_template(app, label, entries, units))
        app.end()
    given.end()
    bandwidth = tuple(tuple(rows[e][f] for _, f in units) for _, e in units)
    made = Chip(name, tuple(unit for unit, _ in units), bandwidth, tuple(power), tuple(templates))
    _located(source, made.check, disconnected)
    return made


def _template(app: JsonObject, name: str, entries: list[str], units: list[tuple[str, int]]) -> Template:
    tables, place = app.take("tasks", dict), {entry: e for e, entry in enumerate(entries)}
    number = {task: i for i, task in enumerate(tables)}
    rows = []
    for task, table in tables.items():
        times = JsonObject(table, f"{app.where}, task {task!r}")
        for entry in times.left:
            if entry not in place:
                raise InstanceError(f"{times.where}: there is no PE {shown(entry)}; the PEs are {', '.join(entries)}")
            if type(times.left[entry]) is not int or times.left[entry] < 0:
                told = f"the time on {entry!r} is {shown(times.left[entry])}"
                raise InstanceError(f"{times.where}: {told}; give an integer of 0 or more, or leave that PE out")
        rows.append(tuple(times.left.get(entries[e], -1) for _, e in units))
    edges = []
    for e, edge in enumerate(app.take("edges", list)):
        if not isinstance(edge, list) or len(edge) != 3:
            raise InstanceError(f"{app.where}, edge {e}: {shown(edge)} is no edge; give [source, target, volume]")
        for end in edge[:2]:
            if not isinstance(end, str) or end not in number:
                raise InstanceError(f"{app.where}, edge {e}: there is no task {shown(end)}; give the name of a task")
        if type(edge[2]) is not int or edge[2] < 0:
            raise InstanceError(f"{app.where}, edge {e}: the volume is {shown(edge[2])}; give an integer of 0 or more")
        edges.append((number[edge[0]], number[edge[1]], edge[2]))
    return Template(name, tuple(tables), tuple(rows), tuple(edges))


def parse_stream(content: Any, source: str = "stream", disconnected: bool = False) -> SocInstance:
    """A stream from the object of its file; errors as in :func:`parse_chip`."""
    given = JsonObject(content, source)
    inner = given.take("chip", str, dict)
    where = f"{source}: chip"
    made = _located(where, chip, inner) if isinstance(inner, str) else parse_chip(inner, where, disconnected)
    template, when, rows, names = [], [], [], made.template_names
    cap, closed, listed = given.take("cap", int), given.take("closed", bool, default=False), given.take("jobs", list)
    given.end()
    key = "arrival" if listed and isinstance(listed[0], dict) and "arrival" in listed[0] else "gap"
    if key == "arrival" and closed:
        raise InstanceError(f"{source}: jobs of a closed stream have no arrival, gaps start at admissions; give gaps")
    for k, item in enumerate(listed):
        job = JsonObject(item, f"{source}: job {k}")
        label = job.take("template", str)
        if label not in names:
            raise InstanceError(f"{job.where}: there is no template {shown(label)}; give one of {', '.join(names)}")
        template.append(names.index(label))
        when.append(job.take(key, int))
        rows.append(job.take("multiplier", list, default=None))
        job.end()
    gap = _located(source, trace_gaps, when) if key == "arrival" else when
    instance: SocInstance = _located(source, SocInstance.from_stream, made, template, gap, rows, cap, closed)
    return instance


def _located(where: str, call: Any, *arguments: Any) -> Any:
    """``call(*arguments)``, with ``where`` before what it complains of."""
    try:
        return call(*arguments)
    except DispatchGymError as error:
        raise InstanceError(f"{where}: {error}") from None


def load(path: str | os.PathLike[str], disconnected: bool = False) -> SocInstance:
    """Read the file of a stream (UTF-8, at most 64 MiB). Raises InstanceError naming the file and the element."""
    return parse_stream(*read(path), disconnected)


def load_chip(path: str | os.PathLike[str], disconnected: bool = False) -> Chip:
    """Read the file of a chip; errors as in :func:`load`."""
    return parse_chip(*read(path), disconnected)


def chip_of(instance: SocInstance) -> Chip:
    """The chip of an instance, without padding; PEs, templates and tasks are named by their numbers."""
    pes = int(instance.n_pes)
    templates = tuple(
        Template(
            str(d),
            tuple(str(i) for i in range(len(graph.time))),
            tuple(map(tuple, graph.time.tolist())),
            tuple(tuple(edge) for edge in graph.edges.tolist()),
        )
        for d, graph in enumerate(instance.graphs())
    )
    bandwidth = tuple(map(tuple, np.asarray(instance.bandwidth)[:pes, :pes].tolist()))
    power = tuple(np.asarray(instance.power)[:pes].tolist())
    return Chip("chip", tuple(str(p) for p in range(pes)), bandwidth, power, templates)


def _tables(made: Chip) -> tuple[Any, ...]:
    apart = ~np.eye(len(made.pes), dtype=bool)
    graphs = [(template.time, template.edges) for template in made.templates]
    return graphs, made.power, np.array(made.bandwidth)[apart].tolist()


def chip_content(made: Chip) -> dict[str, Any]:
    """A chip as the object of its file, every PE a unit of its own."""
    templates = []
    for template in made.templates:
        rows = zip(template.tasks, template.time, strict=True)
        tasks = {task: {pe: w for pe, w in zip(made.pes, row, strict=True) if w >= 0} for task, row in rows}
        edges = [[template.tasks[i], template.tasks[j], volume] for i, j, volume in template.edges]
        templates.append({"name": template.name, "tasks": tasks, "edges": edges})
    pes = [{"name": pe, "power": mw} for pe, mw in zip(made.pes, made.power, strict=True)]
    return {"name": made.name, "pes": pes, "bandwidth": [list(row) for row in made.bandwidth], "templates": templates}


def save_chip(made: Chip, path: str | os.PathLike[str]) -> None:
    """Write a chip's file."""
    write_text(Path(path), json.dumps(chip_content(made), indent=1) + "\n")


def save(instance: SocInstance, path: str | os.PathLike[str], names: Chip | None = None) -> None:
    """Write a stream's file, without padding. ``names`` is the instance's chip; without it names are numbers.

    Raises InstanceError if it is another chip than the instance's.
    """
    instance.check()
    made = chip_of(instance)
    if names is not None:
        if _tables(names) != _tables(made):
            raise InstanceError(f"the instance was not made on the chip {names.name!r}; give its own chip, or none")
        made = names
    jobs = [{"template": made.templates[d].name, "gap": gap, "multiplier": row} for d, gap, row in instance.jobs()]
    content = {"cap": int(instance.cap), "closed": bool(instance.closed), "jobs": jobs, "chip": chip_content(made)}
    write_text(Path(path), json.dumps(content) + "\n")

"""Workflow files: our own JSON, read and written, and those of the Standard Task Graph Set and of WfCommons.

Our own is one object: ``format`` ("dispatchgym-workflow"), ``version`` (1), ``name`` and ``unit`` (text for the reader),
``tasks`` (a list of ``{"name": text, "time": [one integer per processor, -1 = not supported]}``, with an optional
``prediction``), ``edges`` (a list of ``[source name, target name, volume]``) and ``bandwidth`` (one integer, or a row per
processor). A file must hold a graph in one piece, unless it is read with ``disconnected=True``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.files import read_bytes, write_text
from dispatchgym.instances.task_graph import TaskGraph
from dispatchgym.instances.workflow.instance import WorkflowInstance
from dispatchgym.instances.workflow.stg import parse_stg
from dispatchgym.instances.workflow.wfcommons import parse_wfcommons

FORMAT = "dispatchgym-workflow"
MAX_BYTES = 256 * 2**20


def _object(text: str, source: str) -> dict[str, Any]:
    """The JSON object of a text, its numbers exact. Raises InstanceError naming the line."""

    def number(token: str) -> Fraction:
        value = Decimal(token)
        if abs(value.adjusted()) > 40:
            raise ValueError(f"the number {token[:24]} is out of range")
        return Fraction(value)

    def constant(token: str) -> float:
        raise ValueError(f"{token} is no number")

    try:
        value = json.loads(text, parse_float=number, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise InstanceError(f"{source}, line {error.lineno}: {error.msg}; this is no JSON, correct the file") from None
    except (ValueError, RecursionError) as error:
        raise InstanceError(f"{source}: {error}; correct the file") from None
    if not isinstance(value, dict):
        raise InstanceError(f"{source}: the file holds a {type(value).__name__}; give a JSON object")
    return value


def _parse_own(data: dict[str, Any], source: str, disconnected: bool = False) -> WorkflowInstance:
    """Our own format. Raises InstanceError naming ``source`` and the task or edge."""

    def fail(problem: str, remedy: str) -> InstanceError:
        return InstanceError(f"{source}: {problem}; {remedy}")

    if (data.get("format"), data.get("version")) != (FORMAT, 1):
        given = f"{data.get('format')!r}, version {data.get('version')!r}"
        raise fail(f"the format is {given}", f"give {FORMAT!r} and 1")
    for key in ("tasks", "edges"):
        if not isinstance(data.get(key), list):
            raise fail(f"{key} is no list", "give a list, as the documentation of the format says")
    names: list[str] = []
    time: list[list[Any]] = []
    for k, task in enumerate(data["tasks"]):
        if not (isinstance(task, dict) and isinstance(task.get("name"), str) and isinstance(task.get("time"), list)):
            raise fail(f"task {k} has no name or no times", 'write {"name": "a", "time": [3, 5]}')
        if len(task["time"]) != len(data["tasks"][0]["time"]):
            problem = f"task {task['name']!r} has {len(task['time'])} times, the first {len(time[0])}"
            raise fail(problem, "give one per processor, -1 = not supported")
        names.append(task["name"])
        time.append(task["time"])
    number = {name: i for i, name in enumerate(names)}
    edges = []
    for k, edge in enumerate(data["edges"]):
        if not isinstance(edge, list) or len(edge) != 3:
            raise fail(f"edge {k} is {ascii(edge)[:40]}", 'write ["a", "b", 7]: source, target, volume')
        for name in edge[:2]:
            if not isinstance(name, str) or name not in number:
                raise fail(f"edge {k} names the unknown task {ascii(name)[:40]}", "list it under tasks")
        edges.append([number[edge[0]], number[edge[1]], edge[2]])
    graph = TaskGraph.checked(time, edges, data.get("bandwidth", 1), names, not disconnected, f"{source}: ")
    prediction = [task.get("prediction", 0) for task in data["tasks"]]
    return WorkflowInstance.from_graph(graph, prediction, f"{source}: ")


def write_json(instance: WorkflowInstance, name: str = "", unit: str = "", names: Sequence[str] | None = None) -> str:
    """The instance in our own format; ``unit`` says what one unit of time is, tasks are named by their numbers by default."""
    graph = instance.graph()
    prediction = np.asarray(instance.prediction).tolist()
    names = [str(i) for i in range(len(graph.time))] if names is None else names
    TaskGraph.checked(graph.time, graph.edges, graph.bandwidth, names)
    tasks = [
        {"name": names[i], "time": row} | ({"prediction": prediction[i]} if prediction[i] else {})
        for i, row in enumerate(graph.time.tolist())
    ]
    edges = [[names[i], names[j], volume] for i, j, volume in graph.edges.tolist()]
    head = {"format": FORMAT, "version": 1, "name": name, "unit": unit, "bandwidth": graph.bandwidth.tolist()}
    parts = [f'"{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in head.items()]
    for key, rows in (("tasks", tasks), ("edges", edges)):
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
        parts.append(f'"{key}": [\n{lines}\n ]' if rows else f'"{key}": []')
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def save(
    instance: WorkflowInstance,
    path: str | os.PathLike[str],
    name: str = "",
    unit: str = "",
    names: Sequence[str] | None = None,
) -> None:
    """Write :func:`write_json` to a file, at once or not at all. Raises InstanceError if that is not possible."""
    try:
        write_text(Path(path), write_json(instance, name, unit, names))
    except OSError as error:
        raise InstanceError(f"{path}: cannot be written ({error.strerror}); check path and permissions") from None


PARSERS: dict[str, Callable[..., WorkflowInstance]] = {
    "dispatchgym": lambda text, source, **options: _parse_own(_object(text, source), source, **options),
    "stg": parse_stg,
    "wfcommons": lambda text, source, **options: parse_wfcommons(_object(text, source), source, **options),
}


def detect(text: str) -> str:
    """The format of a text: JSON with a key "workflow" is WfCommons', other JSON ours, and the rest an STG file."""
    if not text.lstrip().startswith("{"):
        return "stg"
    try:
        return "wfcommons" if "workflow" in json.loads(text) else "dispatchgym"
    except (ValueError, RecursionError):
        return "dispatchgym"  # whose parser names the line


def load(path: str | os.PathLike[str], format: str | None = None, **options: Any) -> WorkflowInstance:
    """Read a file (UTF-8, at most 256 MiB); the format is detected unless given.

    ``options`` are those of the format: ``disconnected`` of all, further those of :func:`parse_stg` and
    :func:`parse_wfcommons`. Raises InstanceError naming the file and the line, task or edge, and for another option;
    UnknownNameError for another format.
    """
    if format is not None and format not in PARSERS:
        raise UnknownNameError("format", format, PARSERS)
    data, source = read_bytes(path, MAX_BYTES, "a workflow")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problem = f"byte {data[error.start]:#04x} is not UTF-8"
        raise InstanceError(f"{source}, line {line}: {problem}; save the file as UTF-8 text") from None
    parser = PARSERS[format or detect(text)]
    try:
        return parser(text, source, **options)
    except TypeError as error:
        raise InstanceError(f"{source}: {error}; see the options of the format") from None

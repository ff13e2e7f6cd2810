"""Files of the Standard Task Graph Set (Tobita and Kasahara, 2002; https://www.kasahara.cs.waseda.ac.jp/schedule/).

The first line is the number of tasks n; then rows 0..n + 1 of ``id time predecessors id...``, where 0 and n + 1 are dummies
of time 0 at both ends. From the first ``#`` on, lines are information. Processors are identical and there is no
communication. The dummies are left out of the instance: no schedule is longer or shorter for them.
"""

from __future__ import annotations

import re
from typing import NoReturn

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.task_graph import MAX_PROCESSORS, MAX_TASKS, MAX_VALUE, TaskGraph
from dispatchgym.instances.workflow.instance import WorkflowInstance
from dispatchgym.instances.workflow.structures import check

_Row = tuple[int, list[int]]  # line, numbers


def _fail(source: str, line: int, problem: str, remedy: str) -> NoReturn:
    raise InstanceError(f"{source}, line {line}: {problem}; {remedy}")


def _rows(text: str, source: str) -> list[_Row]:
    rows = []
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for line, content in enumerate(lines, start=1):
        numbers = []
        for token in content.partition("#")[0].split():
            if not re.fullmatch(r"-?[0-9]{1,18}", token):
                shown = ascii(token if len(token) <= 24 else token[:21] + "...")
                _fail(source, line, f"{shown} is not an integer", "mark text with '#'")
            numbers.append(int(token))
        if numbers:
            rows.append((line, numbers))
    if not rows:
        _fail(source, len(lines), "the file holds no numbers", "its first line must be the number of tasks")
    return rows


def parse_stg(
    text: str, source: str = "STG text", processors: int = 4, ccr: int = 0, disconnected: bool = False
) -> WorkflowInstance:
    """Read a file for that many identical ``processors``; file task k is task k - 1.

    With ``ccr``, in per mille, every edge has the volume mean time x ccr / 1000, rounded, at bandwidth 1. The file, with its
    dummies, must be in one piece unless ``disconnected``. Raises InstanceError naming ``source``, line or task.
    """
    check("processors", processors, 1, MAX_PROCESSORS)
    check("ccr", ccr, 0, 10**6)
    (line, header), *rows = _rows(text, source)
    if len(header) != 1:
        _fail(source, line, f"the header has {len(header)} numbers", "give the number of tasks without dummies alone")
    tasks = header[0]
    if not 1 <= tasks <= MAX_TASKS:
        _fail(source, line, f"the header announces {tasks} tasks", f"it must be 1..{MAX_TASKS}")
    if len(rows) != tasks + 2:
        problem = f"{len(rows)} rows follow a header of {tasks} tasks"
        _fail(source, rows[-1][0] if rows else line, problem, f"give {tasks + 2}: the tasks and a dummy at both ends")
    times, edges = [], []
    for k, (line, row) in enumerate(rows):
        if len(row) < 3 or len(row) != 3 + row[2]:
            announced = f"{row[2]} predecessors and lists {len(row) - 3}" if len(row) > 2 else "too few numbers"
            _fail(source, line, f"row {k} has {announced}", "write 'id time predecessors id...' on one line")
        task, time, _, *before = row
        if task != k:
            _fail(source, line, f"task {task} stands where task {k} should", f"number the rows 0..{tasks + 1} in order")
        if not 0 <= time < MAX_VALUE:
            _fail(source, line, f"task {k} takes {time}", f"give 0..{MAX_VALUE - 1}")
        if k in (0, tasks + 1) and time:
            _fail(source, line, f"the dummy task {k} takes {time}", "give it the time 0, or add the dummies")
        for i in before:
            if not 0 <= i <= tasks + 1:
                _fail(source, line, f"task {k} follows task {i}, which is not there", f"give 0..{tasks + 1}")
        times.append(time)
        edges += [(i, k, 0) for i in before]
    names = [str(k) for k in range(tasks + 2)]
    TaskGraph.checked([[time] for time in times], edges, 1, names, not disconnected, f"{source}: ")
    volume = (2 * sum(times) * ccr + 1000 * tasks) // (2000 * tasks)
    inner = [(i - 1, j - 1, volume) for i, j, _ in edges if i > 0 and j <= tasks]
    graph = TaskGraph.checked([[time] * processors for time in times[1:-1]], inner, 1, None, False, f"{source}: ")
    return WorkflowInstance.from_graph(graph, where=f"{source}: ")

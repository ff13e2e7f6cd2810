"""Workflows recorded or made with WfCommons, in WfFormat 1.5 or 1.6 (https://github.com/wfcommons/WfFormat).

Read are ``workflow.specification`` (tasks with parents, children and files; sizes of files), and of ``workflow.execution``
the run times and, on demand, the machines. A task precedes another if either names the other. The volume of an edge is
that of the files that its source writes and its target reads; files that nobody writes cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.task_graph import MAX_PROCESSORS, MAX_TASKS, TaskGraph
from dispatchgym.instances.workflow.instance import WorkflowInstance
from dispatchgym.instances.workflow.portable import spread, states
from dispatchgym.instances.workflow.structures import check

VERSIONS = ("1.5", "1.6")  # what 1.6 adds is optional and not read

Record = dict[str, Any]


class _Reader:
    """Typed access to a record, with errors that name its place."""

    def __init__(self, source: str) -> None:
        self.source = source

    def fail(self, problem: str, remedy: str) -> InstanceError:
        return InstanceError(f"{self.source}: {problem}; {remedy}")

    def get(self, record: Record, key: str, kind: type | tuple[type, ...], place: str, default: Any = None) -> Any:
        """record[key], of that kind; ``default``, if there is one, where the key is missing."""
        if key not in record and default is not None:
            return default
        value = record.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            said = f"is {type(value).__name__}" if key in record else "is missing"
            raise self.fail(f"{key} of {place} {said}", "see the schema of WfFormat 1.5")
        return value

    def table(self, records: list[Any], key: str, what: str) -> dict[str, Record]:
        """Records by their ``key``, in order."""
        found: dict[str, Record] = {}
        for k, record in enumerate(records):
            if not isinstance(record, dict):
                raise self.fail(f"{what} {k} is {type(record).__name__}", "give an object")
            name = self.get(record, key, str, f"{what} {k}")
            if name in found:
                raise self.fail(f"two {what}s are named {name!r}", "rename one")
            found[name] = record
        return found

    def number(self, record: Record, key: str, place: str) -> Fraction:
        """A number of 0 or more, exactly as written."""
        value = self.get(record, key, (int, float, Fraction), place)
        if not 0 <= value < 2**62:
            raise self.fail(f"{key} of {place} is {float(value):g}", "give a number of 0 or more, in reasonable units")
        return Fraction(value)


def parse_wfcommons(
    data: Record,
    source: str = "WfCommons data",
    processors: int | Sequence[int] | None = 4,
    ticks_per_second: int | Fraction = 1,
    bytes_per_volume: int = 10**6,
    bandwidth: int = 125,
    beta: int = 0,
    seed: int = 1,
    disconnected: bool = False,
) -> WorkflowInstance:
    """Make an instance of a parsed file.

    A unit of time is 1 / ``ticks_per_second`` seconds, a unit of volume ``bytes_per_volume`` bytes, and ``bandwidth`` counts
    volumes per unit of time; by default seconds, megabytes and 1 Gbit/s. Times and volumes are rounded up.

    ``processors`` is a number of identical ones, a list of their speeds in per mille of the recorded run, or None for the
    file's machines, one processor each: a task that ran on one takes its time there in inverse proportion to
    ``speedInMHz`` on the others. With ``beta``, in per mille, times are then spread as in ``portable``, from ``seed``.

    Raises InstanceError naming ``source`` and the task, file or machine.
    """
    reader = _Reader(source)
    if data.get("schemaVersion") not in VERSIONS:
        version = data.get("schemaVersion")
        raise reader.fail(f"schema version {version!r} is not read", f"convert the file to {' or '.join(VERSIONS)}")
    if not 0 < ticks_per_second <= 10**9:
        raise reader.fail(f"ticks_per_second is {ticks_per_second}", "give a number in (0, 10^9]")
    check("bytes_per_volume", bytes_per_volume, 1, 2**62)
    check("bandwidth", bandwidth, 1, 2**31 - 1)
    check("beta", beta, 0, 2000)
    workflow = reader.get(data, "workflow", dict, "the file")
    specification = reader.get(workflow, "specification", dict, "workflow")
    tasks = reader.table(reader.get(specification, "tasks", list, "specification"), "id", "task")
    if len(tasks) > MAX_TASKS:
        raise reader.fail(f"{len(tasks)} tasks are too many", f"use at most {MAX_TASKS}")
    if "execution" not in workflow:
        raise reader.fail("there is no execution, so tasks have no run times", "give an instance that has been run")
    execution = reader.get(workflow, "execution", dict, "workflow")
    edges = _edges(reader, tasks, specification, bytes_per_volume)
    exact, slowness = _times(reader, tasks, execution, processors)
    draws, time = states(seed), []
    for seconds in exact:
        ticks = [_up(seconds * factor * ticks_per_second) for factor in slowness]
        time.append([spread(t, 1, beta, draws)[0] if beta and t else t for t in ticks])
    where = f"{source}: "
    return WorkflowInstance.from_graph(
        TaskGraph.checked(time, edges, bandwidth, list(tasks), not disconnected, where), where=where
    )


def _up(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


def _edges(reader: _Reader, tasks: dict[str, Record], specification: Record, unit: int) -> list[tuple[int, int, int]]:
    """(source, target, volume) of every pair of a task and a parent, in the order of the tasks."""
    number = {name: i for i, name in enumerate(tasks)}
    files = reader.table(reader.get(specification, "files", list, "specification", []), "id", "file")
    size = {name: reader.number(record, "sizeInBytes", f"file {name!r}") for name, record in files.items()}
    reads: list[set[str]] = []
    writes: list[set[str]] = []
    pairs = set()
    for name, record in tasks.items():
        for key, table in (("inputFiles", reads), ("outputFiles", writes)):
            table.append(set(_names(reader, record, key, name)))
            for file in sorted(table[-1] - set(size)):
                raise reader.fail(f"task {name!r}: {key} has the unknown file {file!r}", "list it under files")
        for key in ("parents", "children"):
            for other in _names(reader, record, key, name):
                if other not in number:
                    raise reader.fail(f"task {name!r}: {key} has the unknown task {other!r}", "list it under tasks")
                pair = (number[other], number[name])
                pairs.add(pair if key == "parents" else pair[::-1])
    volume = {(i, j): sum((size[file] for file in writes[i] & reads[j]), Fraction(0)) for i, j in pairs}
    return [(i, j, _up(volume[i, j] / unit)) for i, j in sorted(pairs)]


def _names(reader: _Reader, record: Record, key: str, task: str) -> list[str]:
    names: list[str] = reader.get(record, key, list, f"task {task!r}", [])
    for name in names:
        if not isinstance(name, str):
            raise reader.fail(f"task {task!r}: {key} holds a {type(name).__name__}", "give ids, which are text")
    return names


def _times(
    reader: _Reader, tasks: dict[str, Record], execution: Record, processors: int | Sequence[int] | None
) -> tuple[list[Fraction], list[Fraction]]:
    """Seconds of each task at the speed 1, and seconds per that of each processor."""
    runs = reader.table(reader.get(execution, "tasks", list, "execution"), "id", "executed task")
    for name in sorted(set(runs) ^ set(tasks)):
        problem = f"task {name!r} has no run time" if name in tasks else f"the unknown task {name!r} was executed"
        raise reader.fail(problem, "list the same tasks under specification and execution")
    seconds = [reader.number(runs[name], "runtimeInSeconds", f"task {name!r}") for name in tasks]
    if processors is not None:
        count = processors if isinstance(processors, int) else len(processors)
        check("the number of processors", count, 1, MAX_PROCESSORS)
        speeds = [1000] * processors if isinstance(processors, int) else processors
        for speed in speeds:
            check("a processor's speed", speed, 1, 10**6)
        return seconds, [Fraction(1000, speed) for speed in speeds]
    machines = reader.table(reader.get(execution, "machines", list, "execution"), "nodeName", "machine")
    clock = {}
    for name, machine in machines.items():
        cpu = reader.get(machine, "cpu", dict, f"machine {name!r}")
        clock[name] = reader.number(cpu, "speedInMHz", f"machine {name!r}")
        if not clock[name]:
            raise reader.fail(f"speedInMHz of machine {name!r} is 0", "give 1 or more")
    for k, name in enumerate(tasks):
        used = reader.get(runs[name], "machine", str, f"executed task {name!r}")
        if used not in clock:
            raise reader.fail(f"task {name!r} ran on the unknown machine {used!r}", "list it under machines")
        seconds[k] *= clock[used]
    return seconds, [1 / speed for speed in clock.values()]

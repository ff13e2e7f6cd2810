"""Memory-mapping files: a program in bytes and operations, and an instance in ticks and granules; both are JSON.

A program ("memory-program/1") is one object: ``name``; ``source`` (an object: where it comes from); ``granule`` and
``threshold``, both 65536; ``steps`` with the arrays ``name``, ``op``, ``flops`` and ``bytes`` (of all operands and results);
``buffers`` with ``name``, ``bytes``, ``define`` (a step, -1 for parameters and constants), ``output`` (0 or 1) and ``alias``
(a buffer, -1 for none; may be left out); ``events`` with ``buffer``, ``step``, ``read_bytes`` and ``write_bytes``; and an
optional ``scenario`` with ``machine``, ``capacity`` and ``ratio`` (of bandwidths, fast over slow memory; default: the
machine's). Steps may come with ``mult`` and ``loop`` of folded loops, if these
are all 1 and -1.

An instance ("dispatchgym-memory", ``version`` 1) has a ``name`` and the fields of :class:`MemoryInstance` without padding.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.files import read_bytes, write_text
from dispatchgym.instances.memory.instance import MemoryInstance
from dispatchgym.instances.memory.machine import GRANULE, Machine
from dispatchgym.instances.memory.program import THRESHOLD, Buffer, Program, Step, Use
from dispatchgym.instances.memory.scenario import capacity_bytes, find_machine

PROGRAM, INSTANCE = "memory-program/1", "dispatchgym-memory"
MAX_BYTES = 256 * 2**20
MACHINE, CAPACITY = "tpu-v4i", "quarter"  # of a program file that names none

COLUMNS: dict[str, dict[str, type]] = {
    "steps": {"name": str, "op": str, "flops": int, "bytes": int},
    "buffers": {"name": str, "bytes": int, "define": int, "output": int, "alias": int},
    "events": {"buffer": int, "step": int, "read_bytes": int, "write_bytes": int},
}


def _object(data: bytes, source: str) -> dict[str, Any]:
    """The JSON object of a file's content. Raises InstanceError naming the line."""
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problem = f"byte {data[error.start]:#04x} is not UTF-8"
        raise InstanceError(f"{source}, line {line}: {problem}; save the file as UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise InstanceError(f"{source}, line {error.lineno}: {error.msg}; this is no JSON, correct the file") from None
    except (ValueError, RecursionError) as error:
        raise InstanceError(f"{source}: {error}; correct the file") from None
    if not isinstance(value, dict):
        raise InstanceError(f"{source}: the file holds a {type(value).__name__}; give a JSON object")
    return value


def _columns(data: Mapping[str, Any], part: str, source: str) -> dict[str, list[Any]]:
    """The arrays of one part of a program, of one length and of the right types. Raises InstanceError."""
    table = data.get(part)
    if not isinstance(table, dict):
        raise InstanceError(f"{source}: {part} is no object; give the arrays {', '.join(COLUMNS[part])} in it")
    if part == "buffers" and isinstance(table.get("bytes"), list):
        table = {"alias": [-1] * len(table["bytes"])} | table
    columns = {}
    for name, kind in COLUMNS[part].items():
        column = table.get(name)
        if not isinstance(column, list):
            raise InstanceError(f"{source}: {part} has no array {name!r}; give one entry for each of its rows")
        for i, value in enumerate(column):
            if not isinstance(value, kind) or isinstance(value, bool):
                wanted = "text" if kind is str else "a whole number"
                raise InstanceError(f"{source}: {name} {i} of {part} is {ascii(value)[:40]}; give {wanted}")
        columns[name] = column
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        given = ", ".join(f"{count} {name}" for name, count in lengths.items())
        raise InstanceError(f"{source}: {part} has {given}; give arrays of one length")
    return columns


def _check_unrolled(table: Mapping[str, Any], names: Sequence[str], source: str) -> None:
    """Refuse steps that stand for several iterations of a loop."""
    for key, only in (("mult", 1), ("loop", -1)):
        column = table.get(key, [only] * len(names))
        if not isinstance(column, list) or len(column) != len(names):
            raise InstanceError(
                f"{source}: {key} of steps is no array of {len(names)} entries; correct it or leave it out"
            )
        for name, found in zip(names, column, strict=True):
            if found != only:
                raise InstanceError(
                    f"{source}: instruction {name!r} has the {key} {ascii(found)[:40]} of a folded loop; unroll the loop"
                )


def parse_program(data: Mapping[str, Any], source: str) -> Program:
    """The program of a JSON object. Raises InstanceError naming ``source`` and the instruction or buffer."""
    for key, value in (("granule", GRANULE), ("threshold", THRESHOLD)):
        if data.get(key, value) != value:
            raise InstanceError(f"{source}: {key} is {ascii(data[key])[:40]}; this version needs {value}")
    name, origin = data.get("name"), data.get("source", {})
    if not isinstance(name, str) or not isinstance(origin, dict):
        raise InstanceError(f"{source}: give the program's name as text and its source as an object")
    steps, buffers, events = (_columns(data, part, source) for part in COLUMNS)
    _check_unrolled(data["steps"], steps["name"], source)
    for b, output in enumerate(buffers["output"]):
        if output not in (0, 1):
            raise InstanceError(f"{source}: buffer {buffers['name'][b]!r}: output is {output}; give 0 or 1")
    rows = zip(*buffers.values(), strict=True)
    return Program.checked(
        name,
        [Step(*row) for row in zip(*steps.values(), strict=True)],
        [Buffer(label, size, define, bool(output), alias) for label, size, define, output, alias in rows],
        [Use(*row) for row in zip(*events.values(), strict=True)],
        origin,
        f"{source}: ",
    )


def parse_instance(data: Mapping[str, Any], source: str) -> MemoryInstance:
    """The instance of a JSON object. Raises InstanceError naming ``source`` and the step, buffer or event."""
    if data.get("version") != 1:
        raise InstanceError(f"{source}: the version is {ascii(data.get('version'))[:40]}; give 1")
    names = [field.name for field in fields(MemoryInstance)]
    for name in names:
        if name not in data:
            raise InstanceError(f"{source}: {name} is missing; give {', '.join(names)}")
    try:
        wide = MemoryInstance(**{name: data[name] for name in names})
        wide.check()
    except InstanceError as error:
        raise InstanceError(f"{source}: {error}") from None
    return MemoryInstance(*(np.asarray(data[name], np.int32) for name in names))


def program_json(program: Program, scenario: Mapping[str, Any] | None = None) -> str:
    """The program as the text of a file; ``scenario`` holds a ``machine``, a ``capacity`` and a ``ratio`` to load it with."""
    head: dict[str, Any] = {"format": PROGRAM, "name": program.name, "source": dict(program.source)}
    head |= {"granule": GRANULE, "threshold": THRESHOLD} | ({"scenario": dict(scenario)} if scenario else {})
    buffers = [(b.name, b.bytes, b.define, int(b.output), b.alias) for b in program.buffers]
    lines = [f'"{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in head.items()]
    tables: tuple[Sequence[tuple[Any, ...]], ...] = (program.steps, buffers, program.uses)
    for (part, names), rows in zip(COLUMNS.items(), tables, strict=True):
        columns: dict[str, list[Any]] = {name: [row[i] for row in rows] for i, name in enumerate(names)}
        if part == "buffers" and not any(alias >= 0 for alias in columns["alias"]):
            del columns["alias"]
        table = (
            f'"{name}": {json.dumps(column, separators=(",", ":"), default=int)}' for name, column in columns.items()
        )
        lines.append(f'"{part}": {{\n  ' + ",\n  ".join(table) + "\n }")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def instance_json(instance: MemoryInstance, name: str = "") -> str:
    """The instance, without its padding, as the text of a file."""
    instance.check()
    trimmed = instance.trimmed()
    content: dict[str, Any] = {"format": INSTANCE, "version": 1, "name": name}
    content |= {field.name: np.asarray(getattr(trimmed, field.name)).tolist() for field in fields(trimmed)}
    return "{\n " + ",\n ".join(f'"{k}": {json.dumps(v, separators=(",", ":"))}' for k, v in content.items()) + "\n}\n"


def save(
    value: Program | MemoryInstance,
    path: str | os.PathLike[str],
    name: str = "",
    scenario: Mapping[str, Any] | None = None,
) -> None:
    """Write a program (``scenario``: see :func:`program_json`) or an instance, at once or not at all.

    Raises InstanceError if that is not possible."""
    text = program_json(value, scenario) if isinstance(value, Program) else instance_json(value, name)
    try:
        write_text(Path(path), text)
    except OSError as error:
        raise InstanceError(f"{path}: cannot be written ({error.strerror}); check path and permissions") from None


def load_program(path: str | os.PathLike[str]) -> Program:
    """The program of a file. Raises InstanceError naming the file and the instruction or buffer."""
    data, source = _read(path)
    if data["format"] != PROGRAM:
        raise InstanceError(f"{source}: the file holds an instance, not a program; give a {PROGRAM!r} file")
    return parse_program(data, source)


def load(
    path: str | os.PathLike[str],
    format: str | None = None,
    machine: str | Machine | None = None,
    capacity: int | str | None = None,
    ratio: int | None = None,
) -> MemoryInstance:
    """The instance of a file (JSON in UTF-8, at most 256 MiB), of a program or an instance.

    A program is compiled for ``machine`` (a name or a Machine; default: the file's, else "tpu-v4i") with ``capacity``
    (bytes, or text such as "4MiB" or "eighth" of the peak of live bytes; default: the file's, else "quarter"), and with
    ``ratio`` times the bandwidth in fast memory (default: the file's with the file's machine, else the machine's own).
    ``format`` is detected unless given. Raises InstanceError naming the file, and UnknownNameError for another format.
    """
    data, source = _read(path)
    if format is not None and format not in (PROGRAM, INSTANCE):
        raise UnknownNameError("format", format, (PROGRAM, INSTANCE))
    if format not in (None, data["format"]):
        raise InstanceError(f"{source}: the format is {data['format']!r}, not {format!r}; leave it out to detect it")
    if data["format"] == INSTANCE:
        if machine is not None or capacity is not None or ratio is not None:
            raise InstanceError(f"{source}: an instance has its machine and capacity; give them with a program")
        return parse_instance(data, source)
    program = parse_program(data, source)
    scenario = data.get("scenario", {})
    if not isinstance(scenario, dict) or set(scenario) - {"machine", "capacity", "ratio"}:
        known = "machine and capacity, and perhaps ratio"
        raise InstanceError(f"{source}: the scenario is {ascii(scenario)[:60]}; give an object of {known}")
    ratio = scenario.get("ratio") if machine is None and ratio is None else ratio
    machine = scenario.get("machine", MACHINE) if machine is None else machine
    capacity = scenario.get("capacity", CAPACITY) if capacity is None else capacity
    try:
        return program.instance(find_machine(machine, ratio), capacity_bytes(capacity, program.peak_live()))
    except InstanceError as error:
        raise InstanceError(f"{source}: {error}") from None


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    raw, source = read_bytes(path, MAX_BYTES, "a program")
    data = _object(raw, source)
    if data.get("format") not in (PROGRAM, INSTANCE):
        raise InstanceError(
            f"{source}: the format is {ascii(data.get('format'))[:40]}; give {PROGRAM!r} or {INSTANCE!r}"
        )
    return data, source

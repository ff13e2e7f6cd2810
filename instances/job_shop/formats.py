"""Job-shop files: the standard (JSPLIB) and Taillard's format, read with line numbers in every error, and written.

* standard: ``jobs machines``, then one line per job of ``machine duration`` pairs; jobs may be of unequal length,
  visit a machine more than once and take zero time. Machines are usually counted from 0.
* taillard: ``jobs machines`` (more numbers and lines of text are skipped as in Taillard's own files), then a matrix of
  durations and a matrix of machines, one line per job. Machines are usually counted from 1.

In both, ``#`` starts a comment and blank lines are skipped. With ``base=None`` the first machine number is detected: 0
if machine 0 occurs, 1 if machine ``machines`` occurs, and the format's usual one otherwise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.files import read_bytes
from dispatchgym.instances.job_shop.instance import MAX_TOTAL_WORK, JobShopInstance

MAX_BYTES = 64 * 2**20
MAX_CELLS = 2**22  # jobs times machines, and jobs times operations of the longest job: instances are dense
MAX_MACHINES = 2**16

_LABEL = {"header": "nb number jobs", "durations": "times durations processing", "machines": "machines"}


class _Row(NamedTuple):
    line: int  # 1-based, in the file
    text: str  # without comment, not blank


def _fail(source: str, line: int, problem: str, remedy: str) -> NoReturn:
    raise InstanceError(f"{source}, line {line}: {problem}; {remedy}")


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 24 else text[:21] + "...")


def _rows(text: str, source: str) -> list[_Row]:
    # Not splitlines(): it also splits at form feeds and the like, and the line numbers would not be those of an editor.
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    stripped = (_Row(i, line.partition("#")[0].strip()) for i, line in enumerate(lines, start=1))
    rows = [row for row in stripped if row.text]
    if not rows:
        _fail(source, len(lines), "the file holds no numbers", "its first line must be 'jobs machines', as in '6 6'")
    return rows


def _integers(row: _Row, source: str) -> list[int]:
    numbers = []
    for token in row.text.split():
        if not re.fullmatch(r"[+-]?[0-9]+", token):
            _fail(source, row.line, f"{_shown(token)} is not an integer", "scale the times, mark text with '#'")
        if len(token) > 20:
            _fail(source, row.line, f"{_shown(token)} is too large", f"numbers must be below {MAX_TOTAL_WORK}")
        numbers.append(int(token))
    return numbers


def _header(row: _Row, source: str, exact: bool) -> tuple[int, int]:
    numbers = _integers(row, source)
    if len(numbers) < 2 or (exact and len(numbers) > 2):
        _fail(source, row.line, f"the header has {len(numbers)} numbers", "it must be 'jobs machines', as in '6 6'")
    jobs, machines = numbers[:2]
    for what, value, most in (("jobs", jobs, MAX_CELLS), ("machines", machines, MAX_MACHINES)):
        if not 1 <= value <= most:
            _fail(source, row.line, f"the header announces {value} {what}", f"it must be 1..{most}")
    if jobs * machines > MAX_CELLS:
        _fail(source, row.line, f"{jobs} jobs x {machines} machines are too many", f"use at most {MAX_CELLS} in all")
    return jobs, machines


def _build(
    machine: list[list[int]],
    duration: list[list[int]],
    lines: tuple[list[int], list[int]],
    machines: int,
    bases: tuple[int | None, int],
    source: str,
) -> JobShopInstance:
    """Check the values against their lines ([jobs] each for machines and durations) and make the instance."""
    base, usual = bases
    if base is None:
        seen = set().union(*machine)
        base = 0 if 0 in seen else 1 if machines in seen else usual
    total = 0
    for m_row, d_row, m_line, d_line in zip(machine, duration, *lines, strict=True):
        for m in m_row:
            if not base <= m < base + machines:
                remedy = f"with {machines} machines counted from {base} it must be {base}..{base + machines - 1}"
                _fail(source, m_line, f"machine {m} is out of range", remedy)
        for d in d_row:
            if not 0 <= d < MAX_TOTAL_WORK:
                _fail(source, d_line, f"duration {d} is out of range", f"it must be 0..{MAX_TOTAL_WORK - 1}; rescale")
            total += d
        if total >= MAX_TOTAL_WORK:
            _fail(source, d_line, f"the durations add up to {total}", f"rescale them to less than {MAX_TOTAL_WORK}")
    if len(machine) * max(map(len, machine)) > MAX_CELLS:
        longest = max(range(len(machine)), key=lambda j: len(machine[j]))
        what = f"{len(machine)} jobs of up to {len(machine[longest])} operations"
        _fail(source, lines[0][longest], f"{what} are too many", f"jobs x operations must be at most {MAX_CELLS}")
    pairs = zip(machine, duration, strict=True)
    return JobShopInstance.from_jobs([[(m - base, d) for m, d in zip(*row, strict=True)] for row in pairs])


def _check_base(base: int | None) -> None:
    if base not in (0, 1, None):
        raise InstanceError(f"machine base {base!r} is not known; use 0 or 1 (or None, when reading, to detect it)")


def parse_standard(text: str, base: int | None = None, source: str = "standard text") -> JobShopInstance:
    """Read the standard format. Raises InstanceError naming ``source``, line, value and remedy."""
    _check_base(base)
    rows = _rows(text, source)
    jobs, machines = _header(rows[0], source, exact=True)
    machine, duration = [], []
    for row in rows[1 : jobs + 1]:
        numbers = _integers(row, source)
        if len(numbers) % 2:
            _fail(source, row.line, f"the job has {len(numbers)} numbers", "write 'machine duration' pairs on one line")
        machine.append(numbers[::2])
        duration.append(numbers[1::2])
    if len(machine) < jobs:
        _fail(source, rows[-1].line, f"the file ends after {len(machine)} of {jobs} jobs", "add one line per job")
    if len(rows) > jobs + 1:
        extra = rows[jobs + 1]
        _fail(source, extra.line, f"{_shown(extra.text)} follows the last of {jobs} jobs", "correct the header")
    lines = [row.line for row in rows[1:]]
    return _build(machine, duration, (lines, lines), machines, (base, 0), source)


def parse_taillard(text: str, base: int | None = None, source: str = "taillard text") -> JobShopInstance:
    """Read Taillard's format. Raises InstanceError naming ``source``, line, value and remedy."""
    _check_base(base)
    rows = _rows(text, source)
    place = 0

    def skip_label(section: str) -> None:
        nonlocal place
        if place < len(rows) and rows[place].text.split()[0].lower().rstrip(":") in _LABEL[section].split():
            place += 1

    def matrix(section: str) -> tuple[list[list[int]], list[int]]:
        nonlocal place
        skip_label(section)
        found = []
        for row in rows[place : place + jobs]:
            found.append(_integers(row, source))
            if len(found[-1]) != machines:
                problem = f"{len(found[-1])} {section} of job {len(found) - 1} instead of {machines}"
                _fail(source, row.line, problem, "this format needs one operation per machine; see the standard format")
        if len(found) < jobs:
            problem = f"the file ends after {len(found)} of {jobs} lines of {section}"
            _fail(source, rows[-1].line, problem, "complete it: durations, then machines, one line per job each")
        place += jobs
        return found, [row.line for row in rows[place - jobs : place]]

    skip_label("header")
    if place == len(rows):
        _fail(source, rows[-1].line, "the header has no numbers", "it must begin with 'jobs machines', as in '15 15'")
    jobs, machines = _header(rows[place], source, exact=False)
    place += 1
    duration, duration_lines = matrix("durations")
    machine, machine_lines = matrix("machines")
    if place < len(rows):
        problem = f"{_shown(rows[place].text)} follows the last matrix"
        _fail(source, rows[place].line, problem, "remove it, or put each instance into a file of its own")
    return _build(machine, duration, (machine_lines, duration_lines), machines, (base, 1), source)


def write_standard(instance: JobShopInstance, base: int = 0) -> str:
    """The instance in the standard format, machines counted from ``base``; read back with the same base."""
    _check_base(base)
    jobs = instance.jobs()
    lines = [" ".join(f"{m + base} {d}" for m, d in job) for job in jobs]
    return "\n".join([f"{len(jobs)} {instance.size.machines}", *lines]) + "\n"


def write_taillard(instance: JobShopInstance, base: int = 1) -> str:
    """The instance in Taillard's format. Raises InstanceError unless each job has as many operations as machines."""
    _check_base(base)
    jobs, machines = instance.jobs(), instance.size.machines
    for j, job in enumerate(jobs):
        if len(job) != machines:
            raise InstanceError(
                f"job {j} has {len(job)} operations on {machines} machines, which Taillard's format cannot hold; "
                "use write_standard"
            )
    durations = [" ".join(str(d) for _, d in job) for job in jobs]
    routes = [" ".join(str(m + base) for m, _ in job) for job in jobs]
    return "\n".join([f"{len(jobs)} {machines}", "Times", *durations, "Machines", *routes]) + "\n"


PARSERS: dict[str, Callable[[str, int | None, str], JobShopInstance]] = {
    "standard": parse_standard,
    "taillard": parse_taillard,
}


def detect(text: str, source: str = "text") -> str:
    """The format of a text: "taillard" if it has that format's labels, longer header or matrices, else "standard"."""
    rows = _rows(text, source)
    words = {row.text.split()[0].lower().rstrip(":") for row in rows[:3]}
    header = rows[0].text.split()
    if words & set(" ".join(_LABEL.values()).split()) or len(header) > 2:
        return "taillard"
    if len(header) == 2 and all(re.fullmatch("[0-9]{1,9}", number) for number in header):
        jobs, machines = map(int, header)
        body = rows[1:]
        if len(body) == 2 * jobs or (len(body) > jobs and len(body[0].text.split()) == machines):
            return "taillard"
    return "standard"


def load(path: str | os.PathLike[str], format: str | None = None, base: int | None = None) -> JobShopInstance:
    """Read a file (UTF-8, at most 64 MiB); format and machine base are detected unless given.

    Raises InstanceError naming the file, and the line of a wrong value; UnknownNameError for another format.
    """
    if format is not None and format not in PARSERS:
        raise UnknownNameError("format", format, PARSERS)
    data, source = read_bytes(path, MAX_BYTES, "a job shop")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        _fail(source, line, f"byte {data[error.start]:#04x} is not UTF-8", "save the file as UTF-8 text")
    if "\0" in text:
        _fail(source, text[: text.index("\0")].count("\n") + 1, "this is a binary file", "give a text file of numbers")
    return PARSERS[format or detect(text, source)](text, base, source)

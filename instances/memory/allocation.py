"""Offset allocation alone: buffers with fixed lifetimes that share one memory (dynamic storage allocation).

It is what is left of memory mapping when it is settled what fast memory holds and when. Files are those of google/minimalloc
(Moffitt and others, "MiniMalloc", ASPLOS 2023): a header ``id,lower,upper,size``, one buffer a line, the lifetime half-open,
[lower, upper); the capacity stands in the name of the file (``A.1048576.csv``), and a solution adds the column ``offset``.
Times and sizes are whole numbers in any unit; sizes, offsets and capacity share theirs, mostly bytes.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.files import read_bytes

COLUMNS = ("id", "lower", "upper", "size")
MAX_BYTES = 2**26  # of a file
MAX_VALUE = 2**53  # of times, sizes and their sum


@dataclass(frozen=True, eq=False)
class Allocation:
    """N buffers; build one with :meth:`checked`."""

    names: tuple[str, ...]
    lower: np.ndarray  # i64[N]  first time of the lifetime
    upper: np.ndarray  # i64[N]  first time after it
    size: np.ndarray  # i64[N]
    capacity: int | None = None  # None: as little as possible

    @classmethod
    def checked(
        cls,
        names: Sequence[str],
        lower: Any,
        upper: Any,
        size: Any,
        capacity: int | None = None,
        where: str = "",
        lines: Sequence[int] = (),
    ) -> Allocation:
        """From [N] names, times and sizes; a buffer lives in [lower, upper), sizes and capacity are in one unit.

        Raises InstanceError, beginning with ``where`` and naming the buffer, and of a file with these ``lines`` its line:
        no buffer, a name that is no text or is listed twice, a value that is no whole number or beyond 2**53, a size or
        lifetime below 1, and a buffer or a capacity that cannot be.
        """
        capacity = checked_capacity(capacity, where)
        if not isinstance(names, Sequence) or not all(isinstance(name, str) and name.isprintable() for name in names):
            raise InstanceError(
                f"{where}the names are {ascii(names)[:60]}; give a list of texts without control characters"
            )
        names = tuple(names)

        def buffer(i: int) -> str:
            line = f"line {lines[i]}: " if i < len(lines) else ""
            return f"{where}{line}buffer {names[i]!r}"

        columns: list[np.ndarray] = []
        for column, values in (("lower", lower), ("upper", upper), ("size", size)):
            array = np.asarray(values, object)
            if array.shape != (len(names),) or not names:
                raise InstanceError(
                    f"{where}{column} has the shape {array.shape} for {len(names)} names; give one value a buffer, "
                    "and at least one buffer"
                )
            for i, value in enumerate(array.tolist()):
                if not isinstance(value, int) or isinstance(value, bool) or not abs(value) <= MAX_VALUE:
                    raise InstanceError(f"{buffer(i)}: {column} is {value!r}; give a whole number of at most 2**53")
            columns.append(array.astype(np.int64))
        lower, upper, size = columns
        seen: set[str] = set()
        for i, name in enumerate(names):
            if name in seen:
                raise InstanceError(f"{buffer(i)} is listed twice; give each its own id")
            seen.add(name)
            if size[i] < 1:
                raise InstanceError(f"{buffer(i)} has the size {size[i]}; give 1 or more, or leave it out")
            if lower[i] >= upper[i]:
                raise InstanceError(
                    f"{buffer(i)} lives from {lower[i]} to before {upper[i]}, which is never; give lower < upper"
                )
            if capacity is not None and size[i] > capacity:
                raise InstanceError(f"{buffer(i)} of size {size[i]} exceeds the capacity of {capacity}; raise it")
        if sum(map(int, size)) > MAX_VALUE:
            raise InstanceError(f"{where}the sizes sum up to more than 2**53; use larger units")
        return cls(names, lower, upper, size, capacity)

    def load(self) -> int:
        """The largest sum of sizes that are live at one time, in their unit: no allocation has a smaller peak."""
        times, at = np.unique(np.concatenate([self.lower, self.upper]), return_inverse=True)
        change = np.zeros(len(times), np.int64)
        np.add.at(change, at, np.concatenate([self.size, -self.size]))
        return int(change.cumsum().max())

    def peak(self, offsets: Any) -> int:
        """The top of the highest buffer of an allocation, i64[N] offsets in the unit of the sizes.

        Raises InstanceError naming two buffers that collide, or one that lies outside of the memory.
        """
        low = np.asarray(offsets)
        if low.shape != self.size.shape or low.dtype.kind not in "iu":
            raise InstanceError(
                f"offsets are {low.dtype} of the shape {low.shape}; give one integer for each of {len(self.names)} buffers"
            )
        top = low + self.size
        for i in np.flatnonzero((low < 0) | (top > (MAX_VALUE if self.capacity is None else self.capacity)))[:1]:
            raise InstanceError(
                f"buffer {self.names[i]!r} lies at {low[i]}..{top[i] - 1}, outside of the memory of "
                f"{MAX_VALUE if self.capacity is None else self.capacity}; move it"
            )
        for i in range(len(low)):
            live = (self.lower < self.upper[i]) & (self.upper > self.lower[i])
            for j in np.flatnonzero(live & (low < top[i]) & (top > low[i])):
                if j != i:
                    raise InstanceError(
                        f"buffers {self.names[i]!r} at {low[i]} and {self.names[j]!r} at {low[j]} overlap; move one"
                    )
        return int(top.max())


def checked_capacity(capacity: Any, where: str = "") -> int | None:
    """The capacity as an int, None if there is none. Raises InstanceError, beginning with ``where``."""
    if capacity is None:
        return None
    whole = isinstance(capacity, (int, np.integer)) and not isinstance(capacity, bool)
    if not whole or not 1 <= capacity <= MAX_VALUE:
        raise InstanceError(f"{where}the capacity is {ascii(capacity)[:40]}; give a whole number in 1..2**53")
    return int(capacity)


def parse(text: str, capacity: int | None = None, where: str = "") -> Allocation:
    """An allocation problem from the text of a CSV file; other columns than the four and ``offset`` are refused.

    Raises InstanceError, beginning with ``where`` and naming the line and the column or buffer.
    """
    if not isinstance(text, str):
        raise InstanceError(f"{where}a {type(text).__name__} is no text; give that of a CSV file")
    rows, lines = _rows(text, where)
    header = [name.strip() for name in rows[0]] if rows else []
    if sorted(set(header) - {"offset"}) != sorted(COLUMNS) or len(set(header)) < len(header):
        raise InstanceError(
            f"{where}the first line is {','.join(header)[:80]!r}; name the columns {','.join(COLUMNS)}, where upper is the "
            "first time after a lifetime"  # files with start and end differ in whether end is the last time or that
        )
    names: list[str] = []
    lower: list[int] = []
    upper: list[int] = []
    size: list[int] = []
    for number, row in zip(lines[1:], rows[1:], strict=True):
        if len(row) != len(header):
            raise InstanceError(f"{where}line {number} has {len(row)} fields; give {len(header)}")
        fields = dict(zip(header, map(str.strip, row), strict=True))
        if not fields["id"].isprintable() or not fields["id"]:
            raise InstanceError(
                f"{where}line {number}: id is {ascii(fields['id'])[:40]}; give a text without control characters"
            )
        names.append(fields["id"])
        for name, column in (("lower", lower), ("upper", upper), ("size", size)):
            if not re.fullmatch(r"-?[0-9]{1,18}", fields[name]):
                raise InstanceError(
                    f"{where}buffer {fields['id']!r} (line {number}): {name} is {fields[name][:40]!r}; give a whole number"
                )
            column.append(int(fields[name]))
    return Allocation.checked(names, lower, upper, size, capacity, where, lines[1:])


def _rows(text: str, where: str) -> tuple[list[list[str]], list[int]]:
    """The rows of a CSV text that are not empty, and the line each ends with. Raises InstanceError naming the line."""
    reader = csv.reader(io.StringIO(text, newline=""))
    rows, lines = [], []
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:  # a field beyond the limit of the csv module, a line feed where there can be none
        raise InstanceError(f"{where}line {reader.line_num}: {error}; this is no CSV, correct the file") from None
    return rows, lines


def read(path: str | os.PathLike[str], capacity: int | None = None) -> Allocation:
    """The problem in a file (CSV in UTF-8, at most 64 MiB); its capacity is the one given, else that in the file's name.

    Raises InstanceError naming the file, and in it the line and the column or buffer.
    """
    capacity = checked_capacity(capacity)
    if not isinstance(path, (str, os.PathLike)):
        raise InstanceError(f"the path is {ascii(path)[:40]}; give that of a CSV file")
    data, source = read_bytes(path, MAX_BYTES, "an allocation problem")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InstanceError(f"{source}: not text in UTF-8; give a CSV file") from None
    if capacity is None and (found := re.search(r"\.([0-9]{1,15})\.csv$", Path(path).name)):
        capacity = int(found[1])
    return parse(text, capacity, f"{source}: ")


def solution_text(problem: Allocation, offsets: Any) -> str:
    """The text of a CSV file with the columns id, lower, upper, size and offset, as google/minimalloc writes solutions.

    ``offsets`` are i64[N] in the unit of the sizes. Raises InstanceError if they are no allocation.
    """
    problem.peak(offsets)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*COLUMNS, "offset"))
    columns = (problem.lower, problem.upper, problem.size, np.asarray(offsets))
    writer.writerows(zip(problem.names, *(column.tolist() for column in columns), strict=True))
    return out.getvalue()

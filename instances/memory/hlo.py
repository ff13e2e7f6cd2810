"""Reading the text of a compiled HLO module: computations, their instructions, shapes and attributes.

Only what a schedule and its traffic need is kept; comments, layouts of results and source locations are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import NamedTuple

from dispatchgym.instances.base import InstanceError

_OPENING, _CLOSING = "([{", ")]}"
_COMMENT = re.compile(r"/\*.*?\*/")
# Paths of sources, and how many threads the machine that compiled has.
_LOCAL = re.compile(r', metadata=\{(?:"(?:[^"\\]|\\.)*"|[^"}])*\}|,?"outer_dimension_partitions":\[[^\]]*\]')
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([^\s=]+) = (.+)")
_HEADER = re.compile(r"(ENTRY )?%?([^\s(]+) \(.*\) -> .*\{$")


class Array(NamedTuple):
    """Type and shape of an array."""

    dtype: str
    dims: tuple[int, ...]

    @property
    def elements(self) -> int:
        return prod(self.dims)


Shape = Array | tuple["Shape", ...]  # a tuple of shapes is the shape of a tuple


@dataclass(frozen=True)
class Instruction:
    """One instruction; ``operands`` are names, ``layout`` is the result's as written."""

    name: str
    op: str
    shape: Shape
    layout: str
    operands: tuple[str, ...]
    attributes: dict[str, str]
    literal: str  # the text between the brackets, of a parameter its number

    @property
    def array(self) -> Array:
        """The shape of a result that is one array. Raises InstanceError for a tuple."""
        if not isinstance(self.shape, Array):
            raise InstanceError(
                f"instruction {self.name!r} gives a tuple where an array is needed; report this program"
            )
        return self.shape


@dataclass(frozen=True)
class Computation:
    """Instructions in the order of the text: in a scheduled module, the order of execution."""

    name: str
    instructions: tuple[Instruction, ...]
    root: Instruction

    def parameters(self) -> list[Instruction]:
        """Its parameters by number."""
        found = [i for i in self.instructions if i.op == "parameter"]
        return sorted(found, key=lambda i: int(i.literal))


@dataclass(frozen=True)
class Module:
    """A module; ``donated`` maps the index of a result (among the entry's) to the number of the parameter it overwrites."""

    computations: dict[str, Computation]
    entry: Computation
    donated: dict[int, int]
    text: str  # of its instructions, without what differs between machines


def _outside_quotes(text: str) -> Iterator[tuple[int, str, int]]:
    """Position, character and depth of brackets after it, of each character that is not quoted."""
    depth, quoted, escaped = 0, False, False
    for i, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif character == '"':
            quoted = True
        else:
            depth += (character in _OPENING) - (character in _CLOSING)
            yield i, character, depth


def split(text: str) -> list[str]:
    """The parts of a list at its commas, less those in brackets or quotes."""
    commas = [i for i, character, depth in _outside_quotes(text) if character == "," and depth == 0]
    parts = [text[start + 1 : end].strip() for start, end in pairwise([-1, *commas, len(text)])]
    return parts if parts[-1] else parts[:-1]


def _bracketed(text: str) -> int:
    """Length of the bracket that the text begins with, its closing included. Raises InstanceError if there is none."""
    for i, character, depth in _outside_quotes(text):
        if character in _CLOSING and depth == 0:
            return i + 1
    raise InstanceError(f"a bracket in {text[:60]!r} is not closed; give the text of a compiled HLO module")


def parse_shape(text: str) -> Shape:
    """The shape in a text such as "(f32[2,3]{1,0}, s32[])"; layouts are ignored. Raises InstanceError."""
    text = text.strip()
    if text.startswith("("):
        return tuple(parse_shape(part) for part in split(text[1 : _bracketed(text) - 1]))
    found = re.match(r"([a-z][a-z0-9]*)\[([^\]]*)\]|(token|opaque)", text)
    if found is None:
        raise InstanceError(f"{text[:60]!r} is no shape; give the text of a compiled HLO module")
    dims = tuple(int(d.strip().lstrip("<=")) for d in (found[2] or "").split(",") if d.strip())
    return Array(found[1] or found[3], dims)


def arrays(shape: Shape) -> Iterator[Array]:
    """The arrays of a shape, in order."""
    if isinstance(shape, Array):
        yield shape
    else:
        for part in shape:
            yield from arrays(part)


def _parse_instruction(line: str) -> tuple[bool, Instruction]:
    found = _INSTRUCTION.match(_COMMENT.sub("", line))
    if found is None:
        raise InstanceError(f"{line.strip()[:60]!r} is no instruction; give the text of a compiled HLO module")
    root, name, rest = found[1] is not None, found[2], found[3]
    end = _bracketed(rest) if rest.startswith("(") else rest.index(" ")
    layout, rest = rest[:end], rest[end:].strip()
    op, _, _ = rest.partition("(")
    end = len(op) + _bracketed(rest[len(op) :])
    literal = rest[len(op) + 1 : end - 1]
    plain = op in ("parameter", "constant")
    operands = () if plain else tuple(part.rpartition(" ")[2].lstrip("%") for part in split(literal))
    pairs = (part.partition("=") for part in split(rest[end:]))
    attributes = {key: value for key, _, value in pairs if key and key != "metadata"}
    return root, Instruction(name, op, parse_shape(layout), layout, operands, attributes, literal)


def _parse_donated(header: str) -> dict[int, int]:
    """The results that overwrite a parameter: of "input_output_alias={ {1}: (0, {}, may-alias) }" the pair 1: 0."""
    at = header.find("input_output_alias=")
    if at < 0:
        return {}
    text = header[at + len("input_output_alias=") :]
    pairs = re.findall(r"\{\s*(\d*)\s*\}: \((\d+), \{\s*\}", text[: _bracketed(text)])
    return {int(result or 0): int(parameter) for result, parameter in pairs}


def parse(text: str) -> Module:
    """The module in the text of a compiled program. Raises InstanceError unless it is a scheduled one."""
    header, _, body = text.partition("\n")
    if not header.startswith("HloModule") or "is_scheduled=true" not in header:
        raise InstanceError(f"the text begins with {header[:40]!r}; give that of a compiled (scheduled) HLO module")
    computations: dict[str, Computation] = {}
    entry, name, is_entry = None, None, False
    kept: list[str] = []
    instructions: list[Instruction] = []
    root = None
    for line in body.splitlines():
        if name is None:
            found = _HEADER.match(_COMMENT.sub("", line))
            if found is not None and not line.startswith(" "):
                is_entry, name, instructions, root = found[1] is not None, found[2], [], None
        elif line.startswith("}"):
            computation = Computation(name, tuple(instructions), root or instructions[-1])
            computations[name] = computation
            entry, name = (computation if is_entry else entry), None
        elif line.strip():
            is_root, instruction = _parse_instruction(line)
            instructions.append(instruction)
            root = instruction if is_root else root
            kept.append(_LOCAL.sub("", line))
    if entry is None:
        raise InstanceError("the text has no ENTRY computation; give that of a compiled HLO module")
    return Module(computations, entry, _parse_donated(header), "\n".join(kept))

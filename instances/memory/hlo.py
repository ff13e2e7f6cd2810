"""Reading the text of a compiled HLO module: computations, their instructions, shapes and attributes.

Only what a schedule and its traffic need is kept; comments, layouts of results and source locations are dropped. What is
read is consistent: names are unique, operands lie above the instructions that take them, and no computation calls itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import NamedTuple

from dispatchgym.instances.base import DispatchGymError, InstanceError

_OPENING, _CLOSING = "([{", ")]}"
_COMMENT = re.compile(r"/\*.*?\*/")
# Paths of sources, and how many threads the machine that compiled has.
_LOCAL = re.compile(r', metadata=\{(?:"(?:[^"\\]|\\.)*"|[^"}])*\}|,?"outer_dimension_partitions":\[[^\]]*\]')
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([^\s=]+) = (.+)")
_OP = re.compile(r"[a-z][a-z0-9-]*")
_HEADER = re.compile(r"(ENTRY )?%?([^\s(]+) \(.*\) -> .*\{$")
_CALLS = ("calls", "to_apply", "body", "condition")  # attributes that name a computation
MAX_NESTING = 100  # of tuples
MAX_ELEMENTS = 2**53  # of an array


class Array(NamedTuple):
    """Type and shape of an array."""

    dtype: str
    dims: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many there are; 1 of a scalar."""
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


@contextmanager
def named(instruction: Instruction) -> Iterator[None]:
    """Raise InstanceError naming the instruction where its operands or attributes are not those of its operation."""
    try:
        yield
    except DispatchGymError:
        raise
    except (LookupError, ValueError, ArithmeticError) as error:
        raise InstanceError(
            f"instruction {instruction.name!r} ({instruction.op}) lacks an operand or attribute, or has one that does not "
            "fit; give the text of a compiled HLO module"
        ) from error


@dataclass(frozen=True)
class Computation:
    """Instructions in the order of the text: in a scheduled module, the order of execution."""

    name: str
    instructions: tuple[Instruction, ...]
    root: Instruction

    def parameters(self) -> list[Instruction]:
        """Its parameters by number, which are 0, 1, ... of what :func:`parse` gives."""
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


def parse_shape(text: str, depth: int = 0) -> Shape:
    """The shape in a text such as "(f32[2,3]{1,0}, s32[])"; layouts are ignored. Raises InstanceError."""
    text = text.strip()
    if text.startswith("("):
        if depth == MAX_NESTING:
            raise InstanceError(f"a tuple is nested more than {MAX_NESTING} times; compile a function of arrays")
        return tuple(parse_shape(part, depth + 1) for part in split(text[1 : _bracketed(text) - 1]))
    found = re.match(r"([a-z][a-z0-9]*)\[((?: *(?:<=)?[0-9]{1,16} *(?:,|(?=\])))*)\]|(token|opaque)", text)
    if found is None:
        raise InstanceError(f"{text[:60]!r} is no shape; give the text of a compiled HLO module")
    dims = tuple(int(d.strip().lstrip("<=")) for d in (found[2] or "").split(",") if d.strip())
    if prod(dims) > MAX_ELEMENTS:
        raise InstanceError(f"{text[:60]!r} has more than 2**53 elements; give the text of a compiled HLO module")
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
    try:
        end = _bracketed(rest) if rest.startswith("(") else max(rest.find(" "), 0)
        layout, rest = rest[:end], rest[end:].strip()
        op, bracket, _ = rest.partition("(")
        if not (bracket and _OP.fullmatch(op)):
            raise InstanceError(f"{rest[:60]!r} is no operation; give the text of a compiled HLO module")
        end = len(op) + _bracketed(rest[len(op) :])
        shape = parse_shape(layout)
    except InstanceError as error:
        raise InstanceError(f"instruction {name!r}: {error}") from None
    literal = rest[len(op) + 1 : end - 1]
    plain = op in ("parameter", "constant")
    operands = () if plain else tuple(part.rpartition(" ")[2].lstrip("%") for part in split(literal))
    pairs = (part.partition("=") for part in split(rest[end:]))
    attributes = {key: value for key, _, value in pairs if key and key != "metadata"}
    return root, Instruction(name, op, shape, layout, operands, attributes, literal)


def _parse_donated(header: str) -> dict[int, int]:
    """The results that overwrite a parameter: of "input_output_alias={ {1}: (0, {}, may-alias) }" the pair 1: 0."""
    at = header.find("input_output_alias=")
    if at < 0:
        return {}
    text = header[at + len("input_output_alias=") :]
    pairs = re.findall(r"\{\s*([0-9]{0,9})\s*\}: \(([0-9]{1,9}), \{\s*\}", text[: _bracketed(text)])
    return {int(result or 0): int(parameter) for result, parameter in pairs}


def _computation(name: str, instructions: list[Instruction], roots: list[Instruction]) -> Computation:
    """The computation of these instructions. Raises InstanceError unless they can be executed in their order."""
    where = f"computation {name!r}"
    if not instructions or len(roots) > 1:
        found = "two roots" if roots else "no instructions"
        raise InstanceError(f"{where} has {found}; give the text of a compiled HLO module")
    above: set[str] = set()
    for instruction in instructions:
        for operand in instruction.operands:
            if operand not in above:
                raise InstanceError(
                    f"instruction {instruction.name!r} takes {operand[:60]!r}, which is not above it in {where}; "
                    "give the text of a compiled HLO module"
                )
        if instruction.name in above:
            raise InstanceError(f"{where} has two instructions {instruction.name!r}; give each its own name")
        above.add(instruction.name)
    numbers = [i.literal for i in instructions if i.op == "parameter"]
    if sorted(numbers) != sorted(map(str, range(len(numbers)))):
        raise InstanceError(f"{where} has the parameters {', '.join(numbers)[:60]}; number them 0, 1, ...")
    return Computation(name, tuple(instructions), roots[0] if roots else instructions[-1])


def _check_calls(computations: dict[str, Computation]) -> None:
    """Raise InstanceError naming a computation that calls itself."""
    calls = {
        name: {i.attributes.get(key, "").lstrip("%") for i in computation.instructions for key in _CALLS}
        for name, computation in computations.items()
    }
    left = set(computations)
    while left:  # without those that call none of the rest, until there are none
        leaves = {name for name in left if not calls[name] & left}
        if not leaves:
            name = min(left)
            for _ in left:  # so often, and it has come round
                name = min(calls[name] & left)
            raise InstanceError(f"computation {name!r} calls itself; give the text of a compiled HLO module")
        left -= leaves


def parse(text: str) -> Module:
    """The module in the text of a compiled program.

    Raises InstanceError naming the instruction or computation, unless the text is a scheduled module of one entry.
    """
    if not isinstance(text, str):
        raise InstanceError(f"a {type(text).__name__} is no text; give that of a compiled HLO module")
    header, _, body = text.partition("\n")
    if not header.startswith("HloModule") or "is_scheduled=true" not in header:
        raise InstanceError(f"the text begins with {header[:40]!r}; give that of a compiled (scheduled) HLO module")
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise InstanceError("the text has half a character, which no file can hold; read it as UTF-8")
    computations: dict[str, Computation] = {}
    entries: list[Computation] = []
    name, is_entry = None, False
    kept: list[str] = []
    instructions: list[Instruction] = []
    roots: list[Instruction] = []
    for line in body.split("\n"):
        if name is None:
            found = _HEADER.match(_COMMENT.sub("", line.rstrip()))
            if found is not None and not line.startswith(" "):
                is_entry, name, instructions, roots = found[1] is not None, found[2], [], []
        elif line.startswith("}"):
            if name in computations:
                raise InstanceError(f"there are two computations {name!r}; give each its own name")
            computations[name] = _computation(name, instructions, roots)
            entries += [computations[name]] * is_entry
            name = None
        elif line.strip():
            is_root, instruction = _parse_instruction(line.rstrip())
            instructions.append(instruction)
            roots += [instruction] * is_root
            kept.append(_LOCAL.sub("", line.rstrip("\r")))
    if name is not None:
        raise InstanceError(f"computation {name!r} has no end; give the whole text of a compiled HLO module")
    if len(entries) != 1:
        count = "no ENTRY computation" if not entries else f"{len(entries)} ENTRY computations"
        raise InstanceError(f"the text has {count}; give that of a compiled HLO module")
    _check_calls(computations)
    return Module(computations, entries[0], _parse_donated(header), "\n".join(kept))

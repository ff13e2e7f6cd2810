"""The entry of an HLO module as one list of steps on values: loops unrolled, calls entered, tuples taken apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.checks import MAX_STEPS
from dispatchgym.instances.memory.hlo import Array, Computation, Instruction, Module, Shape, arrays, named
from dispatchgym.instances.memory.hlo_cost import Costs, bits

Tree = int | list["Tree"]  # numbers of values, as the tuples of the program hold them
PARAMETER, CONSTANT = -1, -2  # instead of the step that defines a value
MAX_WALKED = 16 * MAX_STEPS  # instructions, most of which make no step

MADE_ELSEWHERE = frozenset(("after-all", "partition-id", "replica-id"))
REFUSED = {
    "conditional": "chooses between computations at run time, but the order of steps must be fixed; use jnp.where or select",
    "infeed": "exchanges data with the host; leave it out",
    "outfeed": "exchanges data with the host; leave it out",
}


class Value(NamedTuple):
    """An array that is made once."""

    name: str
    bytes: int
    define: int  # step, PARAMETER or CONSTANT


class Update(NamedTuple):
    """How a step can write a result into the memory of a value that it takes."""

    result: int  # value that is made
    target: int  # value whose memory it can take over
    written: int  # bytes
    read: int  # bytes of the target, at the place written


class Step(NamedTuple):
    """One instruction on values."""

    name: str
    op: str
    flops: int  # operations
    reads: dict[int, int]  # bytes by value
    reads_in_place: dict[int, int]  # the same where all that can be is written in place
    results: tuple[int, ...]  # values that it makes
    updates: tuple[Update, ...]


@dataclass
class Flat:
    """A program without loops. A value in ``results`` is an output."""

    values: list[Value] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    parameters: list[int] = field(default_factory=list)
    results: list[int] = field(default_factory=list)


def leaves(tree: Tree) -> list[int]:
    """The values of a tree, in order."""
    return [tree] if isinstance(tree, int) else [value for part in tree for value in leaves(part)]


def array_bytes(array: Array, float32: int = 4) -> int:
    """Bytes of an array, its float32 elements counted as ``float32`` bytes each."""
    width = 8 * float32 if array.dtype == "f32" else bits(array.dtype)
    return -(-array.elements * width // 8)


def _fits(tree: Tree, shape: Shape) -> bool:
    """Whether a tree has the tuples of a shape."""
    if isinstance(tree, int) or isinstance(shape, Array):
        return isinstance(tree, int) and isinstance(shape, Array)
    return len(tree) == len(shape) and all(map(_fits, tree, shape))


@dataclass
class Flattener:
    """Walks a module; ``unroll`` is the largest trip count of a loop, ``float32`` the bytes that count for such an element."""

    module: Module
    unroll: int
    float32: int

    def __post_init__(self) -> None:
        self.costs = Costs(self.module)
        self.flat = Flat()
        self.walked = 0

    def run(self) -> Flat:
        """The flat program. Raises InstanceError naming the instruction that has no place in one."""
        entry = self.module.entry
        given: list[Tree] = []
        for parameter in entry.parameters():
            if not isinstance(parameter.shape, Array):
                raise InstanceError(f"parameter {parameter.name!r} is a tuple; compile a function of arrays")
            given.append(self._value(parameter.name, parameter.shape, PARAMETER))
        self.flat.parameters = leaves(given)
        self.flat.results = leaves(self._walk(entry, given, ""))
        for result, number in self.module.donated.items():
            if result >= len(self.flat.results) or number >= len(given):
                raise InstanceError(
                    f"the header donates parameter {number} of {len(given)} to result {result} of "
                    f"{len(self.flat.results)}; correct input_output_alias"
                )
        return self.flat

    def _value(self, name: str, array: Array, define: int) -> int:
        self.flat.values.append(Value(name, array_bytes(array, self.float32), define))
        return len(self.flat.values) - 1

    def _walk(self, computation: Computation, given: Sequence[Tree], suffix: str) -> Tree:
        """Append the steps of a computation; ``suffix`` marks the iteration in names. Returns the root's values."""
        shapes = {i.name: i for i in computation.instructions}
        numbers = {p.name: k for k, p in enumerate(computation.parameters())}
        if len(numbers) != len(given):
            raise InstanceError(
                f"computation {computation.name!r} has {len(numbers)} parameters, but is called with {len(given)}; give the "
                "text of a compiled HLO module"
            )
        self.walked += len(shapes)
        if self.walked > MAX_WALKED:
            raise InstanceError(f"the program runs more than {MAX_WALKED} instructions; unroll less, or cut it")
        made: dict[str, Tree] = {}
        for instruction in computation.instructions:
            with named(instruction):
                taken = [made[name] for name in instruction.operands]
                made[instruction.name] = self._make(instruction, taken, given, numbers, shapes, suffix)
            if not _fits(made[instruction.name], instruction.shape):
                raise InstanceError(
                    f"instruction {instruction.name!r} ({instruction.op}) gives other arrays than its shape "
                    f"{instruction.layout[:60]} says; give the text of a compiled HLO module"
                )
        return made[computation.root.name]

    def _make(
        self,
        instruction: Instruction,
        taken: list[Tree],
        given: Sequence[Tree],
        numbers: dict[str, int],
        shapes: dict[str, Instruction],
        suffix: str,
    ) -> Tree:
        op = instruction.op
        if op in REFUSED:
            raise InstanceError(f"instruction {instruction.name!r} ({op}) {REFUSED[op]}")
        if op == "parameter":
            return given[numbers[instruction.name]]
        if op == "tuple":
            return list(taken)
        if op == "get-tuple-element":
            whole, index = taken[0], int(instruction.attributes["index"])
            if isinstance(whole, int) or not 0 <= index < len(whole):
                raise InstanceError(
                    f"instruction {instruction.name!r} takes part {index} of a tuple that has no such part"
                )
            return whole[index]
        if op == "copy-done" and isinstance(taken[0], list):
            return taken[0][0]  # of what it is copied to, where it comes from, and a token
        if op in ("bitcast", "copy-done") or (op == "copy" and suffix and self._is_plain_copy(instruction, shapes)):
            return taken[0]
        if op == "optimization-barrier":
            return taken[0] if len(taken) == 1 else list(taken)
        if op == "constant" or op in MADE_ELSEWHERE:
            tree: list[Tree] = [self._value(instruction.name, a, CONSTANT) for a in arrays(instruction.shape)]
            return tree[0] if isinstance(instruction.shape, Array) else tree
        if op == "while":
            return self._loop(instruction, taken[0], suffix)
        if op == "call":
            return self._walk(self.costs.called(instruction, "to_apply"), taken, suffix)
        return self._step(instruction, taken, shapes, suffix)

    def _is_plain_copy(self, instruction: Instruction, shapes: dict[str, Instruction]) -> bool:
        """Whether a copy keeps the layout: in a loop that is unrolled it only kept a carried value from being overwritten."""
        return instruction.layout == shapes[instruction.operands[0]].layout

    def _loop(self, instruction: Instruction, carried: Tree, suffix: str) -> Tree:
        found = re.search(
            r'"known_trip_count":\{"n":"([0-9]{1,18})"\}', instruction.attributes.get("backend_config", "")
        )
        if found is None:
            raise InstanceError(
                f"loop {instruction.name!r} has no trip count known to the compiler; use lax.scan or fori_loop with constants"
            )
        trips = int(found[1])
        if trips > self.unroll:
            raise InstanceError(
                f"loop {instruction.name!r} has {trips} iterations, more than the {self.unroll} to unroll; "
                "raise unroll, or shorten the loop"
            )
        body = self.costs.called(instruction, "body")
        for k in range(trips):
            carried = self._walk(body, [carried], f"{suffix}#{k}")
        return carried

    def _step(self, instruction: Instruction, taken: list[Tree], shapes: dict[str, Instruction], suffix: str) -> Tree:
        access = self.costs.access(instruction, shapes)
        number, name = len(self.flat.steps), instruction.name + suffix
        if number >= MAX_STEPS:
            raise InstanceError(f"the program has more than {MAX_STEPS} steps; unroll less, or cut it")
        operands = [(shapes[label], leaves(tree)) for label, tree in zip(instruction.operands, taken, strict=True)]
        reads, in_place = (self._reads(operands, needs) for needs in (access.needs, access.needs_in_place))
        results = list(arrays(instruction.shape))
        made = [self._value(f"{name}:{k}" if results[1:] else name, array, number) for k, array in enumerate(results)]
        updates = []
        for value, array, update in zip(made, results, access.updates, strict=True):
            if update is not None:
                target = operands[update.operand][1][0]
                width = self.flat.values[value].bytes / max(1, array.elements)
                updates.append(Update(value, target, int(update.written * width), int(update.read * width)))
        flops = self.costs.flops(instruction, shapes)
        self.flat.steps.append(Step(name, instruction.op, flops, reads, in_place, tuple(made), tuple(updates)))
        tree: list[Tree] = list(made)
        return made[0] if isinstance(instruction.shape, Array) else tree

    def _reads(self, operands: list[tuple[Instruction, list[int]]], needs: tuple[int, ...]) -> dict[int, int]:
        """Bytes needed of each value; of one that is taken twice the sum, but no more than the whole."""
        reads: dict[int, int] = {}
        for (source, values), elements in zip(operands, needs, strict=True):
            total = sum(a.elements for a in arrays(source.shape))
            for value in values:
                size = self.flat.values[value].bytes
                part = size if elements >= total else -(-size * elements // max(1, total))
                reads[value] = min(size, reads.get(value, 0) + part)
        return reads

"""What one HLO instruction costs: operations, and the elements that it needs of each operand and writes of each result.

Slices are told apart: an instruction, or a fusion, that cuts a slice out of an operand needs only the slice, and one that
updates a slice in place writes only that. Elementwise instructions need of their operands what is needed of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.hlo import Array, Computation, Instruction, Module, arrays, named

BITS = {f"{kind}{width}": width for kind in "su" for width in (1, 2, 4, 8, 16, 32, 64)}
BITS |= {"pred": 8, "f16": 16, "bf16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128, "token": 0, "opaque": 0}


def _names(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\S+", text))


# They move or make data, without arithmetic.
FREE = _names(
    "parameter constant tuple get-tuple-element bitcast broadcast reshape transpose copy slice iota concatenate pad "
    "dynamic-slice dynamic-update-slice gather convert reverse bitcast-convert optimization-barrier"
)
# They need of each operand no more elements than are needed of the result; any other instruction may need the whole.
ALIKE = _names(
    "abs add and atan2 bitcast bitcast-convert broadcast cbrt ceil clamp compare complex concatenate convert copy cosine "
    "count-leading-zeros divide erf exponential exponential-minus-one floor imag is-finite log log-plus-one logistic "
    "maximum minimum multiply negate not optimization-barrier or pad popcnt power real reduce-precision remainder reshape "
    "reverse round-nearest-afz round-nearest-even rsqrt select shift-left shift-right-arithmetic shift-right-logical sign "
    "sine sqrt subtract tan tanh transpose xor"
)
MAX_PLACES = 2**24  # of a convolution's window, along one axis, times its width
SLICES = _names("slice dynamic-slice gather")  # of their first operand


def bits(dtype: str) -> int:
    """Bits of an element. Raises InstanceError for an unknown type."""
    if dtype.startswith(("f8", "f4")):
        return int(dtype[1])
    if dtype not in BITS:
        raise InstanceError(f"arrays of the type {dtype!r} have no known size; report this program")
    return BITS[dtype]


class Update(NamedTuple):
    """A result that can be written into the memory of an operand."""

    operand: int
    written: int  # elements
    read: int  # elements, of the same place


class Access(NamedTuple):
    """Elements that an instruction needs of each operand, and per result the way to update an operand in place.

    ``needs_in_place`` is what is needed where all results that can be are written in place.
    """

    needs: tuple[int, ...]
    needs_in_place: tuple[int, ...]
    updates: tuple[Update | None, ...]


@dataclass(frozen=True)
class Costs:
    """Costs of the instructions of a module."""

    module: Module

    @cached_property
    def _flops(self) -> dict[str, int]:
        return {}

    @cached_property
    def _accesses(self) -> dict[str, Access]:
        return {}

    def called(self, instruction: Instruction, attribute: str) -> Computation:
        """The computation that an attribute names. Raises InstanceError if there is none."""
        name = instruction.attributes.get(attribute, "").lstrip("%")
        if name not in self.module.computations:
            raise InstanceError(
                f"instruction {instruction.name!r} names no computation as {attribute}; report this program"
            )
        return self.module.computations[name]

    def flops(self, instruction: Instruction, shapes: dict[str, Instruction]) -> int:
        """Operations; ``shapes`` holds the instructions of its computation by name.

        2 for each product of a dot or a convolution (less those with padding), 1 for each element that a reduction takes
        in, and 1 for each element of any other result. Comparisons and exponentials count as much as additions, and so do
        sorts and the library's factorisations, which need more. Raises InstanceError naming an instruction that lacks what
        its operation needs.
        """
        with named(instruction):
            return self._operations(instruction, shapes)

    def _operations(self, instruction: Instruction, shapes: dict[str, Instruction]) -> int:
        op = instruction.op
        if op in FREE:
            return 0
        if op in ("fusion", "call", "map"):
            return self._of_computation(self.called(instruction, "calls" if op == "fusion" else "to_apply"))
        if op == "dot":
            left = shapes[instruction.operands[0]].array.dims
            return 2 * instruction.array.elements * prod(left[d] for d in _numbers(instruction, "lhs_contracting_dims"))
        if op == "convolution":
            inputs, kernel = (shapes[instruction.operands[k]].array for k in range(2))
            return _convolution(instruction, inputs, kernel)
        if op in ("reduce", "reduce-window"):
            taken = shapes[instruction.operands[0]].array.elements
            return taken if op == "reduce" else instruction.array.elements * prod(_window(instruction)["size"])
        if op in ("scatter", "select-and-scatter"):
            return shapes[instruction.operands[-1 if op == "scatter" else 0]].array.elements
        return max((array.elements for array in arrays(instruction.shape)), default=0)

    def _of_computation(self, computation: Computation) -> int:
        if computation.name not in self._flops:
            shapes = {i.name: i for i in computation.instructions}
            self._flops[computation.name] = sum(self.flops(i, shapes) for i in computation.instructions)
        return self._flops[computation.name]

    def access(self, instruction: Instruction, shapes: dict[str, Instruction]) -> Access:
        """What it needs and updates, of operands and results in order. Raises InstanceError naming a malformed instruction."""
        if instruction.op == "fusion":
            called = self.called(instruction, "calls")
            if len(called.parameters()) != len(instruction.operands):
                raise InstanceError(
                    f"instruction {instruction.name!r} has {len(instruction.operands)} operands for the "
                    f"{len(called.parameters())} parameters of {called.name!r}; give the text of a compiled HLO module"
                )
            if called.name not in self._accesses:
                self._accesses[called.name] = self._of_fusion(called)
            return self._accesses[called.name]
        results = list(arrays(instruction.shape))
        needs = self._needs(instruction, sum(a.elements for a in results), shapes)
        update = _update(instruction, shapes)
        if update is None:
            return Access(needs, needs, (None,) * len(results))
        return Access(needs, (0, *needs[1:]), (Update(0, *update),))

    def _of_fusion(self, computation: Computation) -> Access:
        """Elements needed of each parameter: passed up from the results through all instructions."""
        shapes = {i.name: i for i in computation.instructions}
        numbers = {p.name: k for k, p in enumerate(computation.parameters())}
        roots = [computation.root]
        if computation.root.op == "tuple":
            roots = [shapes[name] for name in computation.root.operands]
        updates: list[Update | None] = []
        in_place: set[str] = set()
        for root in roots:
            while root.op == "bitcast":
                root = shapes[root.operands[0]]
            update = _update(root, shapes)
            target = shapes[root.operands[0]] if update is not None else root
            while target.op == "bitcast" and update is not None:
                target = shapes[target.operands[0]]
            if update is None or target.name not in numbers:
                updates.append(None)
                continue
            updates.append(Update(numbers[target.name], *update))
            in_place.add(root.name)
        rows = []
        for skipped in (set(), in_place):
            wanted = dict.fromkeys(shapes, 0)
            wanted |= {root.name: root.array.elements for root in roots if isinstance(root.shape, Array)}
            for instruction in reversed(computation.instructions):
                if not wanted[instruction.name] or instruction.op == "parameter":
                    continue
                needs = self._needs(instruction, wanted[instruction.name], shapes)
                for k, (name, elements) in enumerate(zip(instruction.operands, needs, strict=True)):
                    if not (k == 0 and instruction.name in skipped):
                        most = sum(a.elements for a in arrays(shapes[name].shape))
                        wanted[name] = min(most, wanted[name] + elements)
            rows.append(tuple(wanted[name] for name in numbers))
        return Access(rows[0], rows[1], tuple(updates))

    def _needs(self, instruction: Instruction, wanted: int, shapes: dict[str, Instruction]) -> tuple[int, ...]:
        """Elements of each operand that ``wanted`` elements of the results need."""
        with named(instruction):
            return self._parts(instruction, wanted, shapes)

    def _parts(self, instruction: Instruction, wanted: int, shapes: dict[str, Instruction]) -> tuple[int, ...]:
        whole = [sum(a.elements for a in arrays(shapes[name].shape)) for name in instruction.operands]
        op = instruction.op
        if op in ALIKE:
            return tuple(min(size, wanted) for size in whole)
        if op in SLICES:
            return (min(whole[0], wanted), *whole[1:])
        if op == "dynamic-update-slice":
            return (min(whole[0], wanted), min(whole[1], wanted), *whole[2:])
        if op == "fusion":
            return self.access(instruction, shapes).needs
        return tuple(whole)


def _update(instruction: Instruction, shapes: dict[str, Instruction]) -> tuple[int, int] | None:
    """Elements written and read of the first operand, if the instruction can update it in place."""
    if instruction.op == "dynamic-update-slice":
        return shapes[instruction.operands[1]].array.elements, 0
    if instruction.op == "scatter" and len(instruction.operands) == 3:
        moved = min(shapes[instruction.operands[2]].array.elements, instruction.array.elements)
        return moved, moved
    return None


def _numbers(instruction: Instruction, attribute: str) -> list[int]:
    return [int(n) for n in re.findall(r"-?\d+", instruction.attributes.get(attribute, ""))]


def _window(instruction: Instruction) -> dict[str, list[int]]:
    """The numbers of a window by key, such as {"size": [3, 3], "stride": [2, 2]}; padding as low and high in turn."""
    text = instruction.attributes.get("window", "{}").strip("{}")
    pairs = (part.partition("=") for part in text.split())
    return {key: [int(n) for n in re.findall(r"-?\d+", value.replace("x", " "))] for key, _, value in pairs}


def _convolution(instruction: Instruction, taken: Array, kernel: Array) -> int:
    """2 for each product of an element of the input, not of its padding or dilation, with one of the kernel."""
    inputs, rest = instruction.attributes["dim_labels"].split("_")
    kernels, outputs = rest.split("->")
    window, out = _window(instruction), instruction.array.dims
    products = out[outputs.index("b")] * out[outputs.index("f")] * kernel.dims[kernels.index("i")]
    rank = len(window.get("size", ()))
    for d in range(rank):
        stride, inner, outer = (window.get(key, [1] * rank)[d] for key in ("stride", "lhs_dilate", "rhs_dilate"))
        low = window.get("pad", [0] * 2 * rank)[2 * d]
        places, size = out[outputs.index(str(d))], window["size"][d]
        if places * size > MAX_PLACES or min(stride, inner, outer) < 1:
            raise InstanceError(
                f"instruction {instruction.name!r} moves a window of {size} to {places} places, at strides of {stride}, "
                f"{inner} and {outer}; give at most {MAX_PLACES} places in all and strides of 1 or more"
            )
        at = (np.arange(places) * stride - low)[:, None] + np.arange(size) * outer
        length = (taken.dims[inputs.index(str(d))] - 1) * inner + 1
        products *= int(((at >= 0) & (at < length) & (at % inner == 0)).sum())
    return 2 * products

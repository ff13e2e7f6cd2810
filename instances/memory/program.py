"""A program as the compiler scheduled it, in bytes and operations; a machine makes an instance of it.

Aliases are merged here: buffers that must share memory become one storage, whose later writes are updates in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.instance import READ, UPDATE, WRITE, MemoryInstance
from dispatchgym.instances.memory.machine import GRANULE, TICKS_PER_SECOND, Machine
from dispatchgym.instances.memory.program_checks import check_program

THRESHOLD = 65_536  # bytes: smaller buffers always stay in slow memory


class Step(NamedTuple):
    """One scheduled instruction."""

    name: str
    op: str
    flops: int
    bytes: int  # of all operands and results, small buffers included


class Buffer(NamedTuple):
    """One array of the program, of at least ``THRESHOLD`` bytes."""

    name: str
    bytes: int
    define: int = -1  # step that writes it first; -1: parameter or constant
    output: bool = False
    alias: int = -1  # the buffer whose memory it takes over, -1: none


class Use(NamedTuple):
    """What one step moves of one buffer."""

    buffer: int
    step: int
    read: int  # bytes
    written: int  # bytes


@dataclass(frozen=True)
class Program:
    """Steps in execution order, the buffers they use and the uses; built by :meth:`checked`."""

    name: str
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    uses: tuple[Use, ...]
    source: Mapping[str, Any] = field(default_factory=dict)  # where it comes from: versions, flags, hash, licence

    @classmethod
    def checked(
        cls,
        name: str,
        steps: Sequence[Step],
        buffers: Sequence[Buffer],
        uses: Sequence[Use],
        source: Mapping[str, Any] | None = None,
        where: str = "",
    ) -> Program:
        """The program of steps in execution order, buffers and uses, which name steps and buffers by position.

        Sizes are in bytes; ``source`` says where it comes from. Raises InstanceError, beginning with ``where`` and naming
        the instruction or buffer that breaks a rule.
        """
        program = cls(name, tuple(steps), tuple(buffers), tuple(uses), dict(source or {}))
        try:
            check_program(program)
        except InstanceError as error:
            raise InstanceError(f"{where}{error}") from None
        return program

    def roots(self) -> list[int]:
        """[buffers] numbers: of each buffer the one at the start of its chain of aliases; buffers of one root are one storage.

        Raises InstanceError naming the buffers of a cycle.
        """
        roots: list[int] = []
        for b in range(len(self.buffers)):
            chain = [b]
            while (before := self.buffers[chain[-1]].alias) >= 0:
                if before in chain:
                    names = " -> ".join(repr(self.buffers[i].name) for i in [*chain[chain.index(before) :], before])
                    raise InstanceError(f"the aliases {names} form a cycle; one of them must own the memory")
                if before < b and len(chain) == 1:
                    chain.append(roots[before])
                    break
                chain.append(before)
            roots.append(chain[-1])
        return roots

    def storages(self) -> tuple[list[Storage], list[tuple[int, int, int, int, int]]]:
        """(storages, events): buffers that share memory merged, and what each step does with each of them.

        Storages are those that some step uses, by the number of their root; an event names its storage by the position in
        that list. Events, one for each storage and step, are (storage, step, kind, bytes read, bytes written) with kind
        READ, WRITE or UPDATE, in no particular order: ``instance`` puts them in the order of the game. Raises InstanceError
        for a cycle of aliases.
        """
        roots = self.roots()
        moved: dict[tuple[int, int], list[int]] = {}
        for use in self.uses:
            both = moved.setdefault((roots[use.buffer], use.step), [0, 0])
            both[0] += use.read
            both[1] += use.written
        written = {(roots[b], buffer.define) for b, buffer in enumerate(self.buffers) if buffer.define >= 0}
        used = {root for root, _ in moved}
        number = {root: i for i, root in enumerate(sorted(used))}
        members: dict[int, list[Buffer]] = {root: [] for root in number}
        for b, buffer in enumerate(self.buffers):
            if roots[b] in members:
                members[roots[b]].append(buffer)
        storages = [
            Storage(
                self.buffers[root].name,
                max(b.bytes for b in members[root]),
                self.buffers[root].define,
                any(b.output for b in members[root]),
            )
            for root in sorted(used)
        ]
        events = []
        for (root, step), (read, write) in moved.items():
            kind = READ if (root, step) not in written else WRITE if step == self.buffers[root].define else UPDATE
            events.append((number[root], step, kind, read, write))
        return storages, events

    def peak_live(self) -> int:
        """Largest sum of bytes of storages that live in one step; parameters live from the start, outputs to the end.

        Raises InstanceError for a cycle of aliases.
        """
        storages, events = self.storages()
        last = [s.define for s in storages]
        for b, step, *_ in events:
            last[b] = max(last[b], step)
        change = [0] * (len(self.steps) + 1)
        for s, end in zip(storages, last, strict=True):
            change[max(s.define, 0)] += s.bytes
            change[len(self.steps) if s.output else end + 1] -= s.bytes
        return max(accumulate(change))

    def instance(self, machine: Machine, capacity: int | None = None) -> MemoryInstance:
        """The integers of the game on a machine with ``capacity`` bytes of fast memory (default: the machine's own).

        Arrays are i32[steps], i32[storages] and i32[events] without padding, times in ticks of 2**-34 s, sizes in granules.
        Rates enter exactly: times of steps and copies are rounded up to ticks, gains and traffic down. Events of a step come
        with writes and updates first, then by benefit, then by size of the storage, largest first, then by its number.
        Raises InstanceError where a number is out of range.
        """
        capacity = machine.capacity if capacity is None else capacity
        if capacity < GRANULE:
            raise InstanceError(f"the capacity of {capacity} bytes is below one granule; give at least {GRANULE}")
        storages, events = self.storages()
        if not events:
            raise InstanceError(
                f"program {self.name!r} uses no buffer of {THRESHOLD} bytes or more: there is nothing to decide; "
                "make its arrays larger"
            )
        compute = [_up(step.flops, machine.flops) for step in self.steps]
        memory = [_up(step.bytes, machine.slow) for step in self.steps]
        rows = []
        for storage, step, kind, read, written in events:
            moved = int(read + written)
            gain = moved * TICKS_PER_SECOND * (machine.fast - machine.slow) // (machine.slow * machine.fast)
            alone = max(compute[step], memory[step])
            benefit = alone - max(compute[step], memory[step] - gain)
            order = (step, kind == READ, -benefit, -storages[storage].bytes, storage)
            rows.append((order, (storage, step, kind, gain, moved * TICKS_PER_SECOND // machine.slow)))
        columns = zip(*(row for _, row in sorted(rows)), strict=True)
        sizes = [s.bytes for s in storages]
        arrays = (
            compute,
            memory,
            len(compute),
            len(storages),
            len(rows),
            capacity // GRANULE,
            [-(-int(size) // GRANULE) for size in sizes],
            [s.define for s in storages],
            [int(s.output) for s in storages],
            [_up(size, machine.copy) for size in sizes],
            *columns,
        )
        exact = [np.asarray(array, object) for array in arrays]  # of any size, for the check to refuse
        MemoryInstance(*exact).check()
        return MemoryInstance(*(array.astype(np.int32) for array in exact))


class Storage(NamedTuple):
    """Buffers that share memory."""

    name: str  # of its first buffer
    bytes: int  # of its largest buffer
    define: int  # step that writes its first buffer; -1: parameter or constant
    output: bool  # whether one of its buffers is


def _up(amount: int, rate: int) -> int:
    """Ticks in which ``amount`` is done at ``rate`` a second, rounded up."""
    return -(-int(amount) * TICKS_PER_SECOND // rate)

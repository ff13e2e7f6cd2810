"""The memory-mapping instance: a scheduled program on a machine with a large slow and a small fast memory, in integers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax
import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.checks import check

READ, WRITE, UPDATE = 0, 1, 2  # kinds of a use-event; an update reads and writes in place


class MemorySize(NamedTuple):
    """Static sizes of a (padded) instance."""

    steps: int
    buffers: int
    events: int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MemoryInstance:
    """A program of T steps in their order, B storages and U use-events; times in ticks of 2**-34 s, space in granules.

    Step t takes max(compute, memory - gains of its events that are served from fast memory). Its supply, in which copies
    can run, is max(compute, memory). Events are decided in the order given: by step, writes and updates before reads.
    Build one with ``Program.instance``, which checks it, or call :meth:`check`; arrays are padded by :meth:`pad`.
    """

    compute: Any  # i32[T]  ticks of arithmetic, 0 where padded
    memory: Any  # i32[T]  ticks of memory traffic with everything in slow memory, 0 where padded
    n_steps: Any  # i32[]
    n_buffers: Any  # i32[]
    n_events: Any  # i32[]
    capacity: Any  # i32[]  granules of fast memory
    granules: Any  # i32[B]  size of a storage, 0 where padded
    define: Any  # i32[B]  step of its WRITE; -1: parameter or constant, in slow memory from the start, or padding
    output: Any  # i32[B]  1 if its contents must be in slow memory after the last step
    demand: Any  # i32[B]  ticks of copying it in or out, 0 where padded
    event_buffer: Any  # i32[U]  0 where padded
    event_step: Any  # i32[U]  0 where padded
    event_kind: Any  # i32[U]  READ, WRITE (the definition) or UPDATE; -1 where padded
    gain: Any  # i32[U]  ticks that the step's memory time falls by if the event is served from fast memory
    traffic: Any  # i32[U]  ticks of slow-memory traffic that disappear then, at least the gain

    def check(self) -> None:
        """Raise InstanceError naming step, buffer or event, unless the arrays are a (padded) instance (host only)."""
        check({field.name: getattr(self, field.name) for field in fields(self)})

    @property
    def size(self) -> MemorySize:
        """Sizes of the arrays."""
        return MemorySize(np.shape(self.compute)[0], np.shape(self.define)[0], np.shape(self.gain)[0])

    def pad(self, size: MemorySize) -> MemoryInstance:
        """The same instance in larger arrays. Raises InstanceError if it does not fit."""
        if any(have > room for have, room in zip(self.size, size, strict=True)):
            raise InstanceError(f"a program of {self.size} does not fit {size}; make the environment with larger sizes")
        lengths = {"compute": size.steps, "memory": size.steps}
        lengths |= dict.fromkeys(("granules", "define", "output", "demand"), size.buffers)
        lengths |= dict.fromkeys(("event_buffer", "event_step", "event_kind", "gain", "traffic"), size.events)
        padded = {}
        for field in fields(self):
            array = np.asarray(getattr(self, field.name))
            if field.name in lengths:
                filling = -1 if field.name in ("define", "event_kind") else 0
                array = np.pad(array, (0, lengths[field.name] - len(array)), constant_values=filling)
            padded[field.name] = array
        return MemoryInstance(**padded)

    def trimmed(self) -> MemoryInstance:
        """The same instance without padding (host only)."""
        counts = {"steps": int(self.n_steps), "buffers": int(self.n_buffers), "events": int(self.n_events)}
        of_step, of_buffer = ("compute", "memory"), ("granules", "define", "output", "demand")
        cut = {}
        for field in fields(self):
            array = np.asarray(getattr(self, field.name))
            length = counts["steps" if field.name in of_step else "buffers" if field.name in of_buffer else "events"]
            cut[field.name] = array[:length] if array.ndim else array
        return MemoryInstance(**cut)

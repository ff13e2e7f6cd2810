"""Machines: what turns bytes and operations into ticks. All figures of real machines are approximate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dispatchgym.instances.base import InstanceError

TICKS_PER_SECOND = 2**34
GRANULE = 65_536  # bytes
MAX_RATIO = 1_000_000  # of bandwidths: beyond it fast memory takes no time


@dataclass(frozen=True)
class Machine:
    """A processor with a slow and a fast memory; rates per second.

    Raises InstanceError naming a figure that is no whole number above 0, or a fast memory slower than the slow one.
    """

    name: str
    flops: int  # operations per second
    slow: int  # bytes per second of slow memory (HBM)
    fast: int  # bytes per second of fast memory (CMEM, VMEM, L2)
    copy: int  # bytes per second of a copy between them, either way
    capacity: int  # bytes of fast memory

    def __post_init__(self) -> None:
        for name in ("flops", "slow", "fast", "copy", "capacity"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InstanceError(f"machine {self.name!r}: {name} is {value!r}; give a whole number above 0")
        if self.fast < self.slow:
            raise InstanceError(
                f"machine {self.name!r}: fast memory moves {self.fast} bytes a second, slow memory {self.slow}; "
                "the fast one must not be slower"
            )

    def with_ratio(self, ratio: int) -> Machine:
        """The same machine with fast memory of ``ratio`` times the bandwidth of slow memory. Raises InstanceError."""
        if not isinstance(ratio, int) or isinstance(ratio, bool) or not 1 <= ratio <= MAX_RATIO:
            raise InstanceError(
                f"the ratio of bandwidths is {ascii(ratio)[:40]}; give a whole number in 1..{MAX_RATIO}, fast over slow memory"
            )
        return replace(self, fast=ratio * self.slow)


RATIO = 20  # fast over slow bandwidth, an assumption: no primary source was found


def _machine(name: str, flops: int, gigabytes: int, capacity: int, ratio: int = RATIO) -> Machine:
    slow = gigabytes * 10**9
    return Machine(name, flops, slow, ratio * slow, slow, capacity)


# Approximate and unverified: peak rates for bf16, and a ratio of bandwidths that no vendor states.
MACHINES = {
    m.name: m
    for m in (
        _machine("tpu-v4i", 138 * 10**12, 614, 128 * 2**20),
        _machine("tpu-v5e", 197 * 10**12, 819, 128 * 2**20),
        _machine("a100", 312 * 10**12, 1555, 40 * 10**6),
        _machine("h100", 989 * 10**12, 3350, 50 * 10**6),
    )
}

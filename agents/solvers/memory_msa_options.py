"""What can be chosen of XLA's memory space assignment; see ``memory_msa``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dispatchgym.instances.base import InstanceError

ORDERS = ("boundedness", "size")
FLAGS = ("scale", "enforce_prefetch_fifo_order", "waive", "retry_updates", "free_evictions")
COUNTS = {"max_retries": 1, "max_repacks": 0, "max_outstanding_prefetches": -1, "max_outstanding_evictions": -1}
RATIOS = ("min_overlap", "preferred_overlap", "max_overlap_to_memory")


@dataclass(frozen=True)
class Options:
    """Named as in XLA, with its defaults; -1: no limit. Overlap ratios are those of its unit tests.

    Raises InstanceError for a value of another type or out of range.
    """

    order: str = "boundedness"  # or "size"
    scale: bool = True  # memory-boundedness over the root of the size
    max_retries: int = 1
    max_repacks: int = 0
    max_outstanding_prefetches: int = -1
    max_outstanding_evictions: int = -1
    enforce_prefetch_fifo_order: bool = False
    min_overlap: float = 0.8  # of copies with computation
    preferred_overlap: float = 1.5
    max_overlap_to_memory: float = 10.0  # longest stay without a copy, in copies of the whole of fast memory
    waive: bool = (
        True  # the last retry grants evictions without bandwidth, as XLA does; otherwise they are refused there too
    )
    retry_updates: bool = True  # in slow memory, if what they leave cannot be evicted; see ``memory_msa.assign``
    free_evictions: bool = False  # take no bandwidth, and outputs need not be evicted: the game's mode "free"

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise InstanceError(f"the order is {self.order!r}; choose {' or '.join(ORDERS)}")
        for name in FLAGS:
            if type(value := getattr(self, name)) is not bool:
                raise InstanceError(f"{name} is {value!r}; give True or False")
        for name, least in COUNTS.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                no_limit = " (-1: no limit)" if least < 0 else ""
                raise InstanceError(f"{name} is {value!r}; give an integer of {least} or more{no_limit}")
        for name in RATIOS:
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
                raise InstanceError(f"{name} is {value!r}; give a finite number of 0 or more")

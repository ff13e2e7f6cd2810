"""What a program is played with: a machine by name, perhaps with another ratio of bandwidths, and a capacity.

The capacity is in bytes, in KiB, MiB or GiB, or a share of the program's peak of live bytes.
"""

from __future__ import annotations

import re
from typing import Any

from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.memory.checks import MAX_CAPACITY
from dispatchgym.instances.memory.machine import GRANULE, MACHINES, Machine

SHARES = {"half": 2, "quarter": 4, "eighth": 8, "sixteenth": 16}
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def find_machine(machine: Any, ratio: Any = None) -> Machine:
    """A machine from itself or its name, with another ratio of bandwidths (fast over slow memory) if one is given.

    Raises UnknownNameError, and InstanceError for another kind of value or ratio.
    """
    if isinstance(machine, Machine):
        return machine if ratio is None else machine.with_ratio(ratio)
    if not isinstance(machine, str):
        raise InstanceError(f"the machine is {ascii(machine)[:40]}; give a Machine or a name such as 'tpu-v4i'")
    if machine not in MACHINES:
        raise UnknownNameError("machine", machine, MACHINES)
    return find_machine(MACHINES[machine], ratio)


def check_capacity(capacity: Any) -> None:
    """Raise InstanceError for what :func:`capacity_bytes` refuses whatever the peak is."""
    if not isinstance(capacity, str) or capacity not in SHARES:
        capacity_bytes(capacity, 0)


def capacity_bytes(capacity: Any, peak: int) -> int:
    """Bytes from bytes, from text such as "4MiB", or from a share such as "eighth" of ``peak`` bytes.

    Shares are rounded down to granules. Raises InstanceError for other text and for what is not at least one granule.
    """
    found = re.fullmatch(r"([0-9]{1,9})([KMG]iB)?", capacity) if isinstance(capacity, str) else None
    if found is not None:
        value = int(found[1]) * UNITS.get(found[2], 1)
    elif isinstance(capacity, str) and capacity in SHARES:
        value = peak // SHARES[capacity] // GRANULE * GRANULE
    elif isinstance(capacity, int) and not isinstance(capacity, bool):
        value = capacity
    else:
        raise InstanceError(
            f"the capacity is {ascii(capacity)[:40]}; give bytes, KiB, MiB or GiB such as 4MiB, or {', '.join(SHARES)}"
        )
    if not GRANULE <= value < (MAX_CAPACITY + 1) * GRANULE:
        raise InstanceError(
            f"the capacity {capacity} is {value} bytes; give {GRANULE} to {MAX_CAPACITY * GRANULE}, in whole granules"
        )
    return value

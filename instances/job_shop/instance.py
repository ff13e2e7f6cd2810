"""The job-shop instance: who visits which machine, in which order, for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from dispatchgym.instances.base import InstanceError

# No time exceeds the total work, and rewards and columns are float32, which holds every integer up to 2**24 exactly.
MAX_TOTAL_WORK = 2**24
MAX_MACHINES = 2**16


class JobShopSize(NamedTuple):
    """Static sizes of a (padded) job shop."""

    jobs: int
    machines: int
    operations: int  # most operations of any one job
    visits: int = 1  # most times any one job visits one machine (more than 1: recirculation)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class JobShopInstance:
    """n jobs, each a chain of operations; operation (j, k) occupies one machine for an integer time.

    Jobs may have unequal numbers of operations, visit a machine more than once (recirculation) and take zero time.
    Build one with :meth:`from_jobs`, which checks it, or call :meth:`check`; arrays are padded by :meth:`pad`.
    """

    machine: Any  # i32[J, K]  machine of operation k of job j, 0-based; 0 where padded
    duration: Any  # i32[J, K]  processing time in the time units of the file; 0 where padded
    n_operations: Any  # i32[J]     operations of job j; 0 for a padded job

    @classmethod
    def from_jobs(cls, jobs: Sequence[Sequence[tuple[int, int]]]) -> JobShopInstance:
        """From one list of (machine, duration) pairs per job. Raises InstanceError naming the job and operation."""
        if len(jobs) == 0:
            raise InstanceError("a job shop needs at least one job; this one has none")
        width = max(len(job) for job in jobs)
        machine = np.zeros((len(jobs), max(width, 1)), np.int64)
        duration = np.zeros_like(machine)
        for j, job in enumerate(jobs):
            if len(job) == 0:
                raise InstanceError(f"job {j} has no operations; remove it or give it one")
            for k, pair in enumerate(job):
                for what, value in zip(("machine", "duration"), pair, strict=True):
                    if not (isinstance(value, (int, np.integer)) or (np.isfinite(value) and int(value) == value)):
                        raise InstanceError(
                            f"job {j}, operation {k}: {what} {value!r} is not an integer; scale the times"
                        )
                    if not 0 <= value < MAX_TOTAL_WORK:
                        raise InstanceError(
                            f"job {j}, operation {k}: {what} {value} is outside 0..{MAX_TOTAL_WORK - 1}"
                        )
                machine[j, k], duration[j, k] = pair
        made = cls(*(x.astype(np.int32) for x in (machine, duration, np.array([len(job) for job in jobs]))))
        made.check()
        return made

    @classmethod
    def from_matrices(cls, machine: Any, duration: Any) -> JobShopInstance:
        """A rectangular shop from two [J, K] integer matrices."""
        return cls.from_jobs(
            [list(zip(m, d, strict=True)) for m, d in zip(np.asarray(machine), np.asarray(duration), strict=True)]
        )

    def check(self) -> None:
        """Raise InstanceError naming job and operation, unless the arrays are a (padded) job shop (host only)."""
        machine, duration, lengths = (_integers(self, name) for name in ("machine", "duration", "n_operations"))
        if machine.ndim != 2 or duration.shape != machine.shape or lengths.shape != machine.shape[:1]:
            shapes = f"machine {machine.shape}, duration {duration.shape}, n_operations {lengths.shape}"
            raise InstanceError(f"the arrays have shapes {shapes}; give [J, K], [J, K] and [J]")
        width = machine.shape[1]
        wrong = np.flatnonzero((lengths < 0) | (lengths > width))
        if len(wrong):
            raise InstanceError(
                f"job {wrong[0]} has {lengths[wrong[0]]} operations in arrays of {width}; give 0..{width}"
            )
        if not lengths.any():
            raise InstanceError("a job shop needs at least one operation; this one has none")
        real = np.arange(width) < lengths[:, None]
        for what, array, end in (("machine", machine, MAX_MACHINES), ("duration", duration, MAX_TOTAL_WORK)):
            for where, said in (
                (real & ((array < 0) | (array >= end)), f"outside 0..{end - 1}"),
                (~real & (array != 0), "in the padding; set it to 0"),
            ):
                for j, k in np.argwhere(where)[:1]:
                    raise InstanceError(f"job {j}, operation {k}: {what} {array[j, k]} is {said}")
        total = int(duration.sum(dtype=np.int64))
        if total >= MAX_TOTAL_WORK:
            raise InstanceError(
                f"the durations add up to {total}, but float32 rewards are exact only up to {MAX_TOTAL_WORK - 1}; "
                "use a coarser time unit"
            )

    def jobs(self) -> list[list[tuple[int, int]]]:
        """One list of (machine, duration) pairs per job, without padding: the inverse of :meth:`from_jobs`."""
        machine, duration, lengths = (np.asarray(x) for x in (self.machine, self.duration, self.n_operations))
        return [
            [(int(machine[j, k]), int(duration[j, k])) for k in range(lengths[j])]
            for j in range(len(lengths))
            if lengths[j]
        ]

    @property
    def size(self) -> JobShopSize:
        """Smallest sizes the arrays and the machine numbers need (host only)."""
        machine = np.asarray(self.machine)
        jobs, operations = machine.shape
        real = np.arange(operations) < np.asarray(self.n_operations)[:, None]
        job, _ = np.nonzero(real)
        visits = np.zeros((jobs, int(machine.max()) + 1), np.int64)
        np.add.at(visits, (job, machine[real]), 1)
        return JobShopSize(jobs, visits.shape[1], operations, int(visits.max()))

    def pad(self, size: JobShopSize) -> JobShopInstance:
        """The same shop in arrays [size.jobs, size.operations]. Raises InstanceError if it does not fit."""
        if any(have > room for have, room in zip(self.size, size, strict=True)):
            raise InstanceError(
                f"an instance of {self.size} does not fit {size}; make the environment with larger sizes"
            )
        jobs, operations = np.shape(self.machine)
        extra = ((0, size.jobs - jobs), (0, size.operations - operations))
        return JobShopInstance(
            np.pad(np.asarray(self.machine), extra),
            np.pad(np.asarray(self.duration), extra),
            np.pad(np.asarray(self.n_operations), extra[:1]),
        )

    def lower_bound(self) -> int:
        """max(longest job, largest machine load): no schedule is shorter (the bound printed by Taillard, 1993)."""
        machine, duration = np.asarray(self.machine), np.asarray(self.duration)
        load = np.bincount(machine.ravel(), weights=duration.ravel())
        return int(max(duration.sum(axis=1).max(), load.max()))


def _integers(instance: JobShopInstance, name: str) -> np.ndarray:
    """A field as an array on the host. Raises InstanceError unless it holds integers."""
    try:
        array = np.asarray(getattr(instance, name))
    except ValueError:  # ragged lists
        raise InstanceError(f"{name} cannot be read as an array; build the instance with from_jobs") from None
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind == "f" and (at := np.argwhere(~np.isfinite(array) | (array != np.trunc(array)))).size:
        place = "job {}, operation {}: ".format(*at[0]) if array.ndim == 2 else ""
        raise InstanceError(f"{place}{name} {array[tuple(at[0])]} is not an integer; scale the times")
    raise InstanceError(f"{name} holds {array.dtype} values, not integers; convert it to int32")

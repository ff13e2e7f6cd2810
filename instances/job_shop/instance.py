"""The job-shop instance: who visits which machine, in which order, for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from dispatchgym.instances.base import InstanceError

MAX_TOTAL_WORK = 2**30  # start and completion times are int32 and never exceed the total work


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
    Build one with :meth:`from_jobs`, which checks it; arrays are padded by :meth:`pad`.
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
                        raise InstanceError(f"job {j}, operation {k}: {what} {value!r} is not an integer; scale the times")
                    if not 0 <= value < MAX_TOTAL_WORK:
                        raise InstanceError(f"job {j}, operation {k}: {what} {value} is outside 0..{MAX_TOTAL_WORK - 1}")
                machine[j, k], duration[j, k] = pair
        if int(duration.sum()) >= MAX_TOTAL_WORK:
            raise InstanceError(
                f"the durations add up to {int(duration.sum())}, more than int32 schedules can hold "
                f"({MAX_TOTAL_WORK - 1}); use a coarser time unit"
            )
        if int(machine.max()) >= 2**16:
            raise InstanceError(f"machine index {int(machine.max())} is larger than {2**16 - 1}; number the machines from 0")
        lengths = np.array([len(job) for job in jobs])
        return cls(machine.astype(np.int32), duration.astype(np.int32), lengths.astype(np.int32))

    @classmethod
    def from_matrices(cls, machine: Any, duration: Any) -> JobShopInstance:
        """A rectangular shop from two [J, K] integer matrices."""
        return cls.from_jobs([list(zip(m, d, strict=True)) for m, d in zip(np.asarray(machine), np.asarray(duration), strict=True)])

    def jobs(self) -> list[list[tuple[int, int]]]:
        """One list of (machine, duration) pairs per job, without padding: the inverse of :meth:`from_jobs`."""
        machine, duration, lengths = (np.asarray(x) for x in (self.machine, self.duration, self.n_operations))
        return [
            [(int(machine[j, k]), int(duration[j, k])) for k in range(lengths[j])] for j in range(len(lengths)) if lengths[j]
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
            raise InstanceError(f"an instance of {self.size} does not fit {size}; make the environment with larger sizes")
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

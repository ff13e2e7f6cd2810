"""Randomised dispatching: the best of k non-delay schedules around a rule.

The perturbation follows the published averages (Corsini et al. 2024, arXiv 2401.11849, pick among the first three of a
list), in a form that acts on all schedules at once: see :func:`sample`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.job_shop_graph import Shop, from_actions
from dispatchgym.instances.job_shop.instance import JobShopInstance

SAMPLES = 128
SPREAD = 2.5  # mean of the noise, in ranks
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Next:
    """What a rule sees of the next operation of every job; arrays [k, J] of times or counts."""

    duration: np.ndarray
    work_done: np.ndarray  # own included
    work_remaining: np.ndarray  # own included
    operations_remaining: np.ndarray  # own included


Key = Callable[[Next], np.ndarray]  # [k, J]; the smallest wins

KEYS: dict[str, Key] = {
    "spt": lambda c: c.duration,
    "mwkr": lambda c: -c.work_remaining,
    "mopnr": lambda c: -c.operations_remaining,
    "fdd_mwkr": lambda c: c.work_done / np.maximum(c.work_remaining, 1e-9),
}


class _Uniform:
    """Doubles in (0, 1) from the raw words of PCG64: NumPy guarantees this stream, but not those of distributions."""

    def __init__(self, seed: int) -> None:
        self.bits = np.random.PCG64(seed)

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        words = self.bits.random_raw(int(np.prod(shape))) >> np.uint64(11)
        return ((words + 0.5) * 2.0**-53).reshape(shape)


def sample(
    instance: JobShopInstance, rule: str, samples: int = SAMPLES, spread: float = SPREAD, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(action lists i32[samples, N], makespans i64[samples]) of non-delay schedules; the first is the rule's own.

    Law: at every decision the unfinished jobs are ranked by the rule's key (0 is the best; ties to the lowest job), an
    exponential noise of mean ``spread`` is added to each rank, and of the jobs that can start at the earliest possible
    time the smallest sum is chosen. The published law, a random pick among the first three of the list that is left,
    delays a job by a geometric number of ranks of mean 3 at every instant; this is its continuous form.
    """
    machine, duration = np.asarray(instance.machine, np.int64), np.asarray(instance.duration, np.int64)
    lengths = np.asarray(instance.n_operations, np.int64)
    jobs, width = machine.shape
    until = np.cumsum(duration, axis=1)
    total = until[:, -1]
    # One more column, for jobs that are done; rows laid end to end, so that a decision is a plain gather.
    machine, duration, until = (np.pad(x, ((0, 0), (0, 1))).ravel() for x in (machine, duration, until))
    first = np.arange(jobs) * (width + 1)

    draw = _Uniform(seed)
    upcoming, job_ready = np.zeros((samples, jobs), np.int64), np.zeros((samples, jobs), np.int64)
    machine_ready = np.zeros((samples, int(machine.max()) + 1), np.int64)
    actions = np.empty((samples, int(lengths.sum())), np.int32)
    row = np.arange(samples)
    for step in range(actions.shape[1]):
        at = first + upcoming
        is_open, where, takes, f = upcoming < lengths, machine[at], duration[at], until[at]
        start = np.where(is_open, np.maximum(job_ready, np.take_along_axis(machine_ready, where, axis=1)), NEVER)
        key = np.where(is_open, KEYS[rule](Next(takes, f, total - f + takes, lengths - upcoming)), np.inf)
        rank = np.argsort(np.argsort(key, axis=1, kind="stable"), axis=1, kind="stable")
        noise = -spread * np.log(draw((samples, jobs)))
        noise[0] = 0.0
        legal = start == start.min(axis=1, keepdims=True)
        chosen = np.argmin(np.where(legal, rank + noise, np.inf), axis=1)
        actions[:, step] = chosen
        end = start[row, chosen] + takes[row, chosen]
        job_ready[row, chosen] = machine_ready[row, where[row, chosen]] = end
        upcoming[row, chosen] += 1
    return actions, machine_ready.max(axis=1)


def randomised(rule: str) -> Callable[..., Solution]:
    """A solver: the best of 128 samples of :func:`sample`, the rule's own schedule among them."""

    def run(instance: JobShopInstance, *, seed: int = 0, **_: Any) -> Solution:
        started = time.perf_counter()
        actions, makespans = sample(instance, rule, seed=seed)
        return from_actions(Shop(instance), actions[makespans.argmin()].tolist(), started)

    return run

"""Randomised list scheduling of a stream: the best of k plays around earliest estimated finish."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.soc_chip import Chip
from dispatchgym.agents.solvers.soc_jobs import solution
from dispatchgym.instances.soc.instance import SocInstance

SAMPLES = 128
SPREAD = 0.08  # mean of the relative noise in the last play
WINDOW = 8  # of the default options, which every action list is replayed with


class _Exponential:
    """Exponential variates of mean 1 from the raw words of PCG64, whose stream NumPy guarantees."""

    def __init__(self, seed: int) -> None:
        self.bits = np.random.PCG64(seed)

    def __call__(self, count: int) -> np.ndarray:
        words = self.bits.random_raw(count) >> np.uint64(11)
        draws: np.ndarray = -np.log((words + 0.5) * 2.0**-53)
        return draws


def plays(instance: SocInstance, rule: str, samples: int = SAMPLES, seed: int = 0) -> Iterator[tuple[list[int], int]]:
    """(actions, total flow time) of play after play; the first is the rule's own.

    Law: of the pairs that the rule considers, the one of smallest estimated finish, counted from now and times 1 + noise,
    is taken; ties go to the earlier position, then the lower PE. The noise is exponential, its mean rises evenly from 0 in
    the first play to SPREAD in the last. ``job_etf`` considers the tasks of the oldest job in the window alone.
    """
    chip, draw = Chip(instance), _Exponential(seed)
    for sample in range(samples):
        spread = SPREAD * sample / max(1, samples - 1)
        chip.reset()
        actions = []
        while chip.ready:
            table = chip.table(WINDOW)
            legal = table.time >= 0
            if rule == "job_etf":
                jobs = np.array([k for _, k, _ in table.tasks])
                legal &= (jobs == jobs.min())[:, None]
            finish = table.finish * (1.0 + spread * draw(legal.size).reshape(legal.shape))
            action = int(np.where(legal, finish, np.inf).argmin())
            actions.append(action)
            chip.commit(*divmod(action, chip.pes))
        yield actions, chip.flow


def best_play(
    instance: SocInstance, rule: str, seed: int, time_limit: float | None, samples: int = SAMPLES
) -> tuple[list[int], int]:
    """(actions, total flow time) of the best play, the first of equals; at least one is made."""
    started = time.perf_counter()
    best: tuple[list[int], int] | None = None
    for actions, flow in plays(instance, rule, samples, seed):
        if best is None or flow < best[1]:
            best = actions, flow
        if time_limit is not None and time.perf_counter() - started > time_limit:
            break
    assert best is not None
    return best


def randomised(rule: str) -> Callable[..., Solution]:
    """A solver: the best of SAMPLES plays. It keeps the play that turned out best, so it knows the noise and the arrivals.

    That makes its flow times a mark of what can be reached in hindsight, not the value of a policy.
    """

    def run(instance: SocInstance, *, seed: int = 0, time_limit: float | None = None, **_: Any) -> Solution:
        started = time.perf_counter()
        return solution(instance, *best_play(instance, rule, seed, time_limit), started)

    return run

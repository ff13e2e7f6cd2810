"""The shifting bottleneck: Adams, Balas and Zawack (1988), Management Science 34(3), doi:10.1287/mnsc.34.3.391."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.job_shop_graph import NONE, Selection, Shop
from dispatchgym.agents.solvers.job_shop_one_machine import Lags, Sequence1, carlier
from dispatchgym.instances.job_shop.instance import JobShopInstance

UNREACHABLE = -(2**30)  # plus any path stays negative in int32
CYCLES = 3  # of reoptimisation after each machine (as in the paper)
LAST_CYCLES = 20  # after the last machine, while the makespan falls


class _Bottleneck:
    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.selection = Selection(shop)
        self.operations = [[v for v in range(shop.n) if shop.machine[v] == m] for m in range(shop.machines)]
        self.order: dict[int, list[int]] = {}  # of the machines sequenced so far

    def sequence(self, m: int, order: list[int]) -> None:
        self.order[m] = order
        self.selection.set_order(order)

    def makespan(self) -> int:
        _, head = self.selection.heads()
        return max(h + p for h, p in zip(head, self.shop.duration, strict=True))

    def subproblems(self, machines: list[int]) -> list[Sequence1]:
        """The best sequence of each of these unsequenced machines, the sequenced ones being fixed."""
        order, head = self.selection.heads()
        tail = self.selection.tails(order)
        sources = [v for m in machines for v in self.operations[m]]
        distance = self._distances(order, sources)
        answers, column = [], 0
        for m in machines:
            operations = self.operations[m]
            lag = distance[operations, column : column + len(operations)].T
            column += len(operations)
            times = [[values[v] for v in operations] for values in (head, self.shop.duration, tail)]
            found = carlier(times[0], times[1], times[2], _essential(lag))
            answers.append(Sequence1(found.value, [operations[i] for i in found.order], found.proven))
        return answers

    def _distances(self, order: list[int], sources: list[int]) -> np.ndarray:
        """i32[N, sources]: longest path from the start of each source to the start of each operation."""
        shop, before = self.shop, self.selection.before
        distance = np.full((shop.n, len(sources)), UNREACHABLE, np.int32)
        for column, v in enumerate(sources):
            distance[v, column] = 0
        for v in order:
            for u in (shop.before[v], before[v]):
                if u != NONE:
                    np.maximum(distance[v], distance[u] + shop.duration[u], out=distance[v])
        return distance

    def reoptimise(self, cycles: int, deadline: float) -> None:
        """Solve each sequenced machine again with the others fixed; keep what does not lengthen the makespan."""
        machines, value = list(self.order), self.makespan()
        for _ in range(cycles):
            at_begin, values = value, {}
            for m in machines:
                if time.perf_counter() > deadline:
                    return
                old = self.order[m]
                self.selection.clear(old)
                found = self.subproblems([m])[0]
                self.sequence(m, found.order)
                values[m], after = found.value, self.makespan()
                if after > value:
                    self.sequence(m, old)
                else:
                    value = after
            machines.sort(key=lambda m: -values[m])
            if value == at_begin:
                return


def _essential(lag: np.ndarray) -> Lags:
    """The lags i32[n, n] as lists, without those that follow from two others."""
    n = len(lag)
    np.fill_diagonal(lag, UNREACHABLE)
    implied = np.full((n, n), UNREACHABLE, np.int32)
    for k in range(n):
        into, out = np.flatnonzero(lag[:, k] >= 0), np.flatnonzero(lag[k] >= 0)
        if len(into) and len(out):
            cell = np.ix_(into, out)
            implied[cell] = np.maximum(implied[cell], lag[into, k][:, None] + lag[k, out])
    keep = (lag >= 0) & (implied < lag)
    rows: Lags = [[] for _ in range(n)]
    for i, j in zip(*np.nonzero(keep), strict=True):
        rows[i].append((int(j), int(lag[i, j])))
    return rows


def shifting_bottleneck(instance: JobShopInstance, *, time_limit: float | None = None, **_: Any) -> Solution:
    """Sequence the machine whose one-machine problem is the longest, reoptimise the sequenced ones, repeat.

    One-machine problems carry the lags that the rest of the shop implies, so no sequence can close a cycle, and are
    solved by a tree of limited size. After each machine there are up to three reoptimisation cycles (the first in the
    order of sequencing, later ones by decreasing one-machine value), after the last machine as long as they help. A
    departure from the paper: a new sequence that lengthens the partial makespan is taken back. Past ``time_limit`` [s]
    reoptimisation is left out.
    """
    started = time.perf_counter()
    deadline = started + (float("inf") if time_limit is None else time_limit)
    shop = Shop(instance)
    bottleneck = _Bottleneck(shop)
    remaining = [m for m, operations in enumerate(bottleneck.operations) if operations]
    while remaining:
        found = bottleneck.subproblems(remaining)
        worst = max(range(len(remaining)), key=lambda i: found[i].value)
        bottleneck.sequence(remaining.pop(worst), found[worst].order)
        bottleneck.reoptimise(CYCLES if remaining else LAST_CYCLES, deadline)
    return bottleneck.selection.solution(started)

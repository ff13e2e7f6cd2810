"""One machine with release times, delivery times and delayed precedence: the subproblem of the shifting bottleneck.

Minimise max(C_j + q_j) where j starts at r_j or later, and start_j >= start_i + lag_ij for every lag. Carlier (1982),
The one-machine sequencing problem, EJOR 11, doi:10.1016/S0377-2217(82)80007-6. The lags, as in Dauzere-Peres and
Lasserre (1993), A modified shifting bottleneck procedure, IJPR 31(4), keep the sequence compatible with the other
machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

Lags = list[list[tuple[int, int]]]  # of each job, (successor, least time from start to start); free of cycles


@dataclass(frozen=True)
class Sequence1:
    """A sequence of the machine."""

    value: int  # max(C_j + q_j)
    order: list[int]
    proven: bool  # no sequence is better


def carlier(r: Sequence[int], p: Sequence[int], q: Sequence[int], lags: Lags, nodes: int = 200) -> Sequence1:
    """The best sequence found in a tree of at most ``nodes`` nodes, compatible with every lag.

    Without lags this is Carlier's exact method. A lag that delays a critical block leaves the branching without its
    proof: the sequence is then a heuristic one, ``proven`` only if it meets the preemptive bound at the root.
    """
    topological = _topological(lags)
    best_value, best_order, _ = _schrage(r, p, q, lags)
    root_bound = _preemptive(r, p, q)
    complete, visited = True, 0
    stack = [(root_bound, list(r), list(q))]
    while stack:
        bound, r_, q_ = stack.pop()
        if bound >= best_value:
            continue
        if visited == nodes:
            complete = False
            break
        _propagate(r_, p, q_, lags, topological)
        bound = max(bound, _preemptive(r_, p, q_))
        visited += 1
        if bound >= best_value:
            continue
        value, order, start = _schrage(r_, p, q_, lags)
        true_value = _value(order, r, p, q, lags)
        if true_value < best_value:
            best_value, best_order = true_value, order
        if bound >= best_value:
            continue
        block = _critical_block(value, order, start, p, q_)
        last = block[-1]
        c = next((i for i in range(len(block) - 2, -1, -1) if q_[block[i]] < q_[last]), None)
        if c is None:
            complete &= start[block[0]] <= min(r_[j] for j in block)
            continue
        critical, after = block[c], block[c + 1 :]
        length, release = sum(p[j] for j in after), min(r_[j] for j in after)
        bound = max(bound, release + length + min(q_[j] for j in after))
        before_all, after_all = list(q_), list(r_)
        before_all[critical] = max(q_[critical], length + q_[last])
        after_all[critical] = max(r_[critical], release + length)
        # Every sequence has the critical job before or after the whole of the rest; the earlier is tried first.
        stack.append((bound, after_all, q_))
        stack.append((bound, r_[:], before_all))
    return Sequence1(best_value, best_order, best_value == root_bound or (complete and not any(lags)))


def _topological(lags: Lags) -> list[int]:
    waiting = [0] * len(lags)
    for row in lags:
        for j, _ in row:
            waiting[j] += 1
    order = [j for j, w in enumerate(waiting) if w == 0]
    for i in order:  # grows while it is read
        for j, _ in lags[i]:
            waiting[j] -= 1
            if waiting[j] == 0:
                order.append(j)
    return order


def _propagate(r: list[int], p: Sequence[int], q: list[int], lags: Lags, topological: Sequence[int]) -> None:
    """Raise release and delivery times to what the lags imply."""
    for i in topological:
        for j, lag in lags[i]:
            if r[i] + lag > r[j]:
                r[j] = r[i] + lag
    for i in reversed(topological):
        for j, lag in lags[i]:
            if lag - p[i] + p[j] + q[j] > q[i]:
                q[i] = lag - p[i] + p[j] + q[j]


def _schrage(r: Sequence[int], p: Sequence[int], q: Sequence[int], lags: Lags) -> tuple[int, list[int], list[int]]:
    """(value, order, starts): whenever the machine is free, the released job of the largest delivery time."""
    n = len(p)
    release, waiting = list(r), [0] * n
    for row in lags:
        for j, _ in row:
            waiting[j] += 1
    future = [(release[j], j) for j in range(n) if waiting[j] == 0]
    heapify(future)
    ready: list[tuple[int, int, int]] = []
    order: list[int] = []
    start = [0] * n
    now = value = 0
    while future or ready:
        if not ready and future[0][0] > now:
            now = future[0][0]
        while future and future[0][0] <= now:
            j = heappop(future)[1]
            heappush(ready, (-q[j], -p[j], j))
        j = heappop(ready)[2]
        start[j] = now
        order.append(j)
        for k, lag in lags[j]:
            release[k] = max(release[k], now + lag)
            waiting[k] -= 1
            if waiting[k] == 0:
                heappush(future, (release[k], k))
        now += p[j]
        value = max(value, now + q[j])
    return value, order, start


def _value(order: Sequence[int], r: Sequence[int], p: Sequence[int], q: Sequence[int], lags: Lags) -> int:
    release, now, value = list(r), 0, 0
    for j in order:
        now = max(now, release[j])
        for k, lag in lags[j]:
            release[k] = max(release[k], now + lag)
        now += p[j]
        value = max(value, now + q[j])
    return value


def _preemptive(r: Sequence[int], p: Sequence[int], q: Sequence[int]) -> int:
    """The optimum if jobs may be interrupted and lags ignored: a lower bound (Jackson's preemptive schedule)."""
    arrivals = sorted(range(len(p)), key=lambda j: r[j])
    left = list(p)
    ready: list[tuple[int, int]] = []
    now = value = i = 0
    while i < len(arrivals) or ready:
        if not ready:
            now = max(now, r[arrivals[i]])
        while i < len(arrivals) and r[arrivals[i]] <= now:
            heappush(ready, (-q[arrivals[i]], arrivals[i]))
            i += 1
        j = ready[0][1]
        until = now + left[j]
        if i < len(arrivals) and r[arrivals[i]] < until:
            left[j] -= r[arrivals[i]] - now
            now = r[arrivals[i]]
        else:
            heappop(ready)
            now = until
            value = max(value, now + q[j])
    return value


def _critical_block(
    value: int, order: Sequence[int], start: Sequence[int], p: Sequence[int], q: Sequence[int]
) -> list[int]:
    """The jobs run without a pause up to the last one that attains the value."""
    end = max(i for i, j in enumerate(order) if start[j] + p[j] + q[j] == value)
    begin = end
    while begin and start[order[begin]] == start[order[begin - 1]] + p[order[begin - 1]]:
        begin -= 1
    return list(order[begin : end + 1])

"""INSA, the insertion algorithm of Nowicki and Smutnicki (1996), A fast taboo search algorithm for the job shop
problem, Management Science 42(6), doi:10.1287/mnsc.42.6.797."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.job_shop_graph import NONE, Selection, Shop
from dispatchgym.instances.job_shop.instance import JobShopInstance


def insa(instance: JobShopInstance, **_: Any) -> Solution:
    """Build the machine orders by inserting one operation after another.

    The longest job is sequenced first; the others' operations follow by non-increasing duration (ties: lower job, then
    earlier operation). Each goes to the place in its machine's order that minimises the longest path through it (ties:
    the earliest place). Paths run along all jobs and the orders so far; places that would close a cycle are left out.
    """
    started = time.perf_counter()
    shop = Shop(instance)
    selection = Selection(shop)
    orders: list[list[int]] = [[] for _ in range(shop.machines)]
    work = [0] * len(shop.lengths)
    for v in range(shop.n):
        work[shop.job[v]] += shop.duration[v]
    longest = work.index(max(work))
    # The longest job goes in the order of its operations, which matters if it visits a machine twice.
    lead = [v for v in range(shop.n) if shop.job[v] == longest]
    rest = [v for v in range(shop.n) if shop.job[v] != longest]
    for v in lead + sorted(rest, key=lambda v: -shop.duration[v]):
        row = orders[shop.machine[v]]
        row.insert(_best_place(selection, row, v), v)
        selection.set_order(row)
    return selection.solution(started)


def _best_place(selection: Selection, row: Sequence[int], v: int) -> int:
    if not row:
        return 0
    shop = selection.shop
    duration = shop.duration
    order, head = selection.heads()
    tail = selection.tails(order)
    first, last = _range(selection, row, v)
    job_head, job_tail = head[v], tail[v]
    best, place = None, first
    for i in range(first, last + 1):
        early = max(job_head, head[row[i - 1]] + duration[row[i - 1]]) if i else job_head
        late = max(job_tail, tail[row[i]] + duration[row[i]]) if i < len(row) else job_tail
        if best is None or early + late < best:
            best, place = early + late, i
    return place


def _range(selection: Selection, row: Sequence[int], v: int) -> tuple[int, int]:
    """First and last place of v in ``row`` that close no cycle: after its ancestors, before its descendants."""
    shop = selection.shop
    ancestors = _reach(v, shop.before, selection.before)
    first = max((i + 1 for i, u in enumerate(row) if u in ancestors), default=0)
    descendants = _reach(v, shop.after, selection.after)
    last = min((i for i, u in enumerate(row) if u in descendants), default=len(row))
    return first, last


def _reach(v: int, job_next: Sequence[int], machine_next: Sequence[int]) -> set[int]:
    """Operations reachable from v along the two kinds of arcs, without v."""
    seen: set[int] = set()
    stack = [job_next[v], machine_next[v]]
    while stack:
        u = stack.pop()
        if u != NONE and u not in seen:
            seen.add(u)
            stack += (job_next[u], machine_next[u])
    return seen

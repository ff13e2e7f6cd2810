"""Who lies where in fast memory: the state keeps rectangles without their storages, and the moves that made them."""

from __future__ import annotations

import numpy as np

from dispatchgym.envs.memory.moves import MemoryState
from dispatchgym.envs.memory.problem import MemoryProblem
from dispatchgym.instances.memory.instance import READ, WRITE
from dispatchgym.instances.memory.plan import NONE, Rectangle


def stays(problem: MemoryProblem, state: MemoryState) -> tuple[list[Rectangle], np.ndarray]:
    """(the stays by the move that began them, i64[U] the stay that serves each event, -1: none or not decided); host only.

    The decided moves are played once more. A state does not say whether evictions are free, but its rectangles do.
    """
    last, low = np.asarray(state.space.last), np.asarray(state.space.low)
    columns = (np.asarray(state.space.first), last, low, np.asarray(state.space.high) - low)
    reserved = sorted(zip(*(column[last >= 0].tolist() for column in columns), strict=True))
    found, serving = _played(problem, state, free=False)
    if sorted((r.first, r.last, r.offset, r.granules) for r in found) != reserved:
        found, serving = _played(problem, state, free=True)
    return found, serving


def _played(problem: MemoryProblem, state: MemoryState, free: bool) -> tuple[list[Rectangle], np.ndarray]:
    given = problem.instance
    buffer, step, kind = (np.asarray(x) for x in (given.event_buffer, given.event_step, given.event_kind))
    granules = np.asarray(given.granules)
    copy_in, copy_out = np.asarray(state.copy_in), np.asarray(state.copy_out)
    final = np.zeros(len(granules), np.int64)
    np.maximum.at(final, buffer[kind >= 0], step[kind >= 0])
    serving = np.full(len(buffer), -1)
    newest: dict[int, int] = {}
    found: list[Rectangle] = []
    for e in np.flatnonzero((copy_in >= NONE) & (kind >= 0)).tolist():
        b, t = int(buffer[e]), int(step[e])
        written = t if free else int(final[b])
        last = t if kind[e] == READ else int(copy_out[e]) if copy_out[e] > NONE else written
        if kind[e] == WRITE or copy_in[e] > NONE:
            first, size = t if kind[e] == WRITE else int(copy_in[e]) + 1, int(granules[b])
            newest[b] = len(found)
            found.append(Rectangle(b, first, last, _lowest(found, first, last, size), size))
        else:
            stay = found[newest[b]]
            found[newest[b]] = stay._replace(last=max(stay.last, last))
        serving[e] = newest[b]
    return found, serving


def _lowest(taken: list[Rectangle], first: int, last: int, size: int) -> int:
    """First fit: the lowest offset at which ``size`` granules are free throughout first .. last."""
    low = 0
    for r in sorted((r for r in taken if r.first <= last and first <= r.last), key=lambda r: r.offset):
        if r.offset - low >= size:
            break
        low = max(low, r.offset + r.granules)
    return low

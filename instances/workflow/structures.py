"""Task graphs of well-known algorithms: weights and edges alone, before times and volumes are drawn.

A weight is a task's share of the work, relative to the other kinds of task of the same algorithm. Ids ascend along
the edges, so task 0 is a head. Sizes are limited so that there are at most 4,096 tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from dispatchgym.instances.base import InstanceError


class Structure(NamedTuple):
    """A graph without times."""

    weights: tuple[int, ...]  # [T] relative work, 1 or more
    edges: tuple[tuple[int, int], ...]  # [E] source, target


def check(what: str, value: int, low: int, high: int) -> None:
    """Raise InstanceError unless ``value`` is an integer in low..high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InstanceError(f"{what} is {value!r}; give an integer in {low}..{high}")


class _Dataflow:
    """Tasks that read and update blocks: each depends on the last task that wrote one of its blocks."""

    def __init__(self) -> None:
        self._writer: dict[Hashable, int] = {}
        self._weights: list[int] = []
        self._edges: list[tuple[int, int]] = []

    def task(self, weight: int, writes: Sequence[Hashable], reads: Sequence[Hashable] = ()) -> None:
        """Add a task; it updates what it writes, so it depends on their former writers too."""
        sources = {self._writer[block] for block in [*reads, *writes] if block in self._writer}
        self._edges += [(i, len(self._weights)) for i in sorted(sources)]
        self._writer |= dict.fromkeys(writes, len(self._weights))
        self._weights.append(weight)

    def structure(self) -> Structure:
        return Structure(tuple(self._weights), tuple(self._edges))


def cholesky(tiles: int) -> Structure:
    """Tiled Cholesky factorisation: tiles (tiles + 1) (tiles + 2) / 6 tasks.

    Weights are the kernels' operations in units of b^3 / 3 for tiles of b x b: POTRF 1, TRSM 3, SYRK 3, GEMM 6
    (Buttari, Langou, Kurzak and Dongarra, Parallel Computing 35(1), 2009).
    """
    check("tiles", tiles, 1, 27)
    flow = _Dataflow()
    for k in range(tiles):
        flow.task(1, [(k, k)])
        for i in range(k + 1, tiles):
            flow.task(3, [(i, k)], [(k, k)])
        for i in range(k + 1, tiles):
            flow.task(3, [(i, i)], [(i, k)])
            for j in range(k + 1, i):
                flow.task(6, [(i, j)], [(i, k), (j, k)])
    return flow.structure()


def lu(tiles: int) -> Structure:
    """Tiled LU factorisation without pivoting: tiles (tiles + 1) (2 tiles + 1) / 6 tasks.

    Weights as for :func:`cholesky`: GETRF 2, TRSM 3, GEMM 6.
    """
    check("tiles", tiles, 1, 22)
    flow = _Dataflow()
    for k in range(tiles):
        flow.task(2, [(k, k)])
        for i in range(k + 1, tiles):
            flow.task(3, [(k, i)], [(k, k)])
            flow.task(3, [(i, k)], [(k, k)])
        for i in range(k + 1, tiles):
            for j in range(k + 1, tiles):
                flow.task(6, [(i, j)], [(i, k), (k, j)])
    return flow.structure()


def qr(tiles: int) -> Structure:
    """Tiled QR factorisation, panel by panel from the top (flat tree): tiles (tiles + 1) (2 tiles + 1) / 6 tasks.

    Weights: GEQRT 4, UNMQR 6, TSQRT 6, TSMQR 12 (Bouwmeester, Jacquelin, Langou and Robert, SC 2011). The reflectors of
    GEQRT are a block of their own, as TSQRT updates only the triangle above them.
    """
    check("tiles", tiles, 1, 22)
    flow = _Dataflow()
    for k in range(tiles):
        flow.task(4, [(k, k), ("reflectors", k)])
        for j in range(k + 1, tiles):
            flow.task(6, [(k, j)], [("reflectors", k)])
        for i in range(k + 1, tiles):
            flow.task(6, [(k, k), (i, k)])
            for j in range(k + 1, tiles):
                flow.task(12, [(k, j), (i, j)], [(i, k)])
    return flow.structure()


def gaussian(order: int) -> Structure:
    """Gaussian elimination of a matrix of that order, a pivot and a task per column: (order^2 + order - 2) / 2 tasks.

    The graph of Topcuoglu, Hariri and Wu (2002): 14 tasks for order 5.
    """
    check("order", order, 2, 90)
    flow = _Dataflow()
    for k in range(order - 1):
        flow.task(1, [k])
        for j in range(k + 1, order):
            flow.task(1, [j], [k])
    return flow.structure()


def fft(points: int) -> Structure:
    """Fast Fourier transform: 2 points - 1 recursive calls, then points log2(points) butterflies.

    The graph of Topcuoglu, Hariri and Wu (2002): 15 tasks for 4 points. Points are a power of 2.
    """
    check("points", points, 2, 256)
    if points & (points - 1):
        raise InstanceError(f"points is {points}; give a power of 2, such as {1 << points.bit_length()}")
    edges = [(i, child) for i in range(points - 1) for child in (2 * i + 1, 2 * i + 2)]
    below = points - 1  # first task of the layer below: the leaves of the calls, then butterflies
    for bit in range(points.bit_length() - 1):
        for i in range(points):
            edges += [(below + source, below + points + i) for source in sorted((i, i ^ (1 << bit)))]
        below += points
    return Structure((1,) * (below + points), tuple(edges))


def forkjoin(width: int) -> Structure:
    """Three times a fork into ``width`` tasks and their join, which forks again: 3 (width + 1) + 1 tasks."""
    check("width", width, 1, 1364)
    edges: list[tuple[int, int]] = []
    for fork in range(0, 3 * (width + 1), width + 1):
        edges += [(fork, fork + k) for k in range(1, width + 1)]
        edges += [(fork + k, fork + width + 1) for k in range(1, width + 1)]
    return Structure((1,) * (3 * (width + 1) + 1), tuple(edges))


STRUCTURES: dict[str, Callable[..., Structure]] = {
    "cholesky": cholesky,
    "lu": lu,
    "qr": qr,
    "gaussian": gaussian,
    "fft": fft,
    "forkjoin": forkjoin,
}

"""Task graphs as arrays: neighbours, transfer times and the ranks of list schedulers, traced by jit and vmap.

Ranks are integers, in thousandths of the unit of time: mean time = 1000 * (sum over supporting processors) // their number,
mean transfer = 1000 * (sum over ordered pairs of processors) // (their number); 1000 comes before the division.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.slots import NEVER

MAX_PROCESSORS = 215  # (n (n - 1))**2 is below 2**31


def links(bandwidth: Array, count: Array, classes: int) -> tuple[Array, Array]:
    """(class of the link of each pair i32[M, M], bandwidth of each class i32[C]) of the first ``count`` processors.

    Pairs of a processor with itself are of class C; so are padded ones.
    """
    m = bandwidth.shape[0]
    index = jnp.arange(m)
    linked = (index[:, None] != index) & (index[:, None] < count) & (index < count)
    some = jnp.where(linked, bandwidth, 0).max()
    some = jnp.maximum(some, 1)
    values = jnp.unique(jnp.where(linked, bandwidth, some), size=classes, fill_value=some)
    match = linked[..., None] & (bandwidth[..., None] == values)
    return jnp.where(linked, jnp.argmax(match, -1), classes).astype(jnp.int32), values.astype(jnp.int32)


def thousandths(total: Array, count: Array) -> Array:
    """1000 * total // count without leaving 32 bits; 0 if count is 0."""
    count = jnp.maximum(count, 1)
    return total // count * 1000 + total % count * 1000 // count


def mean_time(time: Array) -> Array:
    """i32[...]: mean of i32[..., M] over the processors that support the task (time >= 0), in thousandths."""
    return thousandths(jnp.maximum(time, 0).sum(-1), (time >= 0).sum(-1))


def mean_delay(delay: Array, pairs: Array) -> Array:
    """i32[..., E]: mean over ordered pairs of distinct processors, in thousandths; 0 if there is no pair.

    ``delay`` i32[..., E, C] by class of link, ``pairs`` i32[C] the number of pairs in each class. Exact up to
    MAX_PROCESSORS: quotients and rests by the number of pairs are added up apart.
    """
    count = jnp.maximum(pairs.sum(), 1)
    delay = jnp.maximum(delay, 0)
    rest = (delay % count * pairs).sum(-1)  # below count**2
    return 1000 * ((delay // count * pairs).sum(-1) + rest // count) + 1000 * (rest % count) // count


def neighbours(tasks: int, most_in: int, most_out: int, edges: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Adjacency lists of edges i32[E, 3], volume -1 where padded; lists are in the order of the edges.

    Returns predecessors i32[T, P] (0 where there is none), their edges i32[T, P] (-1), successors i32[T, S] (T), and the
    numbers of both, i32[T].
    """
    source, target, volume = edges.T
    real = volume >= 0
    index = jnp.arange(edges.shape[0])

    def table(key: Array, width: int, value: Array, fill: int) -> Array:
        earlier = (key[:, None] == key) & (index < index[:, None]) & real
        place = earlier.sum(1)
        row = jnp.where(real, key, tasks)
        return jnp.full((tasks, width), fill, jnp.int32).at[row, place].set(value.astype(jnp.int32), mode="drop")

    def degree(key: Array) -> Array:
        return jnp.zeros(tasks, jnp.int32).at[key].add(real.astype(jnp.int32))

    return (
        table(target, most_in, source, 0),
        table(target, most_in, index, -1),
        table(source, most_out, target, tasks),
        degree(target),
        degree(source),
    )


def upward_rank(mean: Array, transfer: Array, edges: Array) -> Array:
    """i32[T]: mean time plus the largest (transfer + rank) over successors (HEFT, Topcuoglu et al. 2002, eq. 6)."""

    def relax(rank: Array) -> Array:
        return mean + _over_edges(edges[:, 0], transfer + rank[edges[:, 1]], edges, mean.shape)

    return _fixpoint(relax, mean)


def downward_rank(mean: Array, transfer: Array, edges: Array) -> Array:
    """i32[T]: largest (rank + mean time + transfer) over predecessors, 0 at an entry (Topcuoglu et al. 2002, eq. 8)."""

    def relax(rank: Array) -> Array:
        return _over_edges(edges[:, 1], (rank + mean)[edges[:, 0]] + transfer, edges, mean.shape)

    return _fixpoint(relax, jnp.zeros_like(mean))


def optimistic_cost(time: Array, transfer: Array, edges: Array) -> Array:
    """i32[T, M] in thousandths: PEFT's table (Arabnejad & Barbosa 2014, eq. 4) of times i32[T, M], -1 = not supported."""
    supported = time >= 0
    source, target, _ = edges.T

    def relax(cost: Array) -> Array:
        on = jnp.where(supported, cost + 1000 * time, NEVER)[target]  # [E, M] cost of the successor on each processor
        best = on.min(-1, keepdims=True)  # its own processor among them: there the way without the transfer is no worse
        reach = jnp.where(best < NEVER, jnp.minimum(on, best + transfer[:, None]), 0)
        return _over_edges(source, reach, edges, time.shape)

    return _fixpoint(relax, jnp.zeros_like(time))


def _over_edges(key: Array, value: Array, edges: Array, shape: tuple[int, ...]) -> Array:
    """Largest value over the edges of each task, at least 0."""
    real = (edges[:, 2] >= 0).reshape(-1, *[1] * (value.ndim - 1))
    return jnp.zeros(shape, jnp.int32).at[key].max(jnp.where(real, value, 0))


def _fixpoint(relax: Callable[[Array], Array], start: Array) -> Array:
    """Apply ``relax`` until nothing changes: as often as the longest path has edges."""

    def body(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        value, _ = carry
        new = relax(value)
        return new, (new != value).any()

    return jax.lax.while_loop(lambda carry: carry[1], body, (start, jnp.bool_(True)))[0]

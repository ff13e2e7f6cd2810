"""Fast memory as a list of rectangles, time x address, sorted by address; and the copy channels as prefix sums.

A search is one pass over the rectangles: kept in the order of their low ends, what lies below a gap is a running maximum,
and neither sorting nor a loop of unknown length is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.memory.problem import NEVER


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Space:
    """R rectangles by their low end; unused ones last, with ``low`` NEVER."""

    first: Any  # i32[R]  step
    last: Any  # i32[R]  step, inclusive; -1 where unused
    low: Any  # i32[R]  granule
    high: Any  # i32[R]  granule, exclusive; 0 where unused


def empty(rectangles: int) -> Space:
    """Nothing is reserved."""
    none = jnp.full(rectangles, NEVER, jnp.int32)
    return Space(none, jnp.full(rectangles, -1, jnp.int32), none, jnp.zeros(rectangles, jnp.int32))


def first_fits(space: Space, first: Array, last: Array, granules: Array, capacity: Array) -> Array:
    """i32[Q]: for each of Q spans of steps the lowest offset at which ``granules`` are free, NEVER if there is none."""
    gap, top = jax.lax.platform_dependent(space, first, last, granules, cpu=_gaps_in_turn, default=_gaps_at_once)
    offset = jnp.minimum(gap, top)  # every gap lies below the top; above it there is room up to the capacity
    return jnp.where(offset + granules <= capacity, offset, NEVER)


def _gaps_at_once(space: Space, first: Array, last: Array, granules: Array) -> tuple[Array, Array]:
    """(lowest gap below a rectangle, top of all) i32[Q] by a running maximum."""

    def one(first: Array, last: Array) -> tuple[Array, Array]:
        meets = (space.first <= last) & (space.last >= first)
        top = jax.lax.cummax(jnp.where(meets, space.high, 0))
        below = jnp.concatenate([jnp.zeros(1, jnp.int32), top[:-1]])
        return jnp.where(meets & (space.low - below >= granules), below, NEVER).min(), top[-1]

    return jax.vmap(one)(first, last)


def _gaps_in_turn(space: Space, first: Array, last: Array, granules: Array) -> tuple[Array, Array]:
    """The same, a rectangle at a time: on a CPU four times faster, since a batch makes long vectors of every turn."""

    def turn(carry: tuple[Array, Array], rectangle: Space) -> tuple[tuple[Array, Array], None]:
        gap, top = carry
        meets = (rectangle.first <= last) & (rectangle.last >= first)
        gap = jnp.where(meets & (rectangle.low - top >= granules), jnp.minimum(gap, top), gap)
        return (gap, jnp.where(meets, jnp.maximum(top, rectangle.high), top)), None

    start = (jnp.full(first.shape, NEVER, jnp.int32), jnp.zeros(first.shape, jnp.int32))
    return jax.lax.scan(turn, start, space)[0]


def is_free(space: Space, first: Array, last: Array, low: Array, granules: Array) -> Array:
    """bool[]: nothing is reserved at low..low + granules - 1 during the steps first..last; True for no steps."""
    meets = (space.first <= last) & (space.last >= first) & (space.low < low + granules) & (space.high > low)
    return ~meets.any() | (first > last)


def reserve(space: Space, first: Array, last: Array, low: Array, granules: Array, new: Array, until: Array) -> Space:
    """The space with one rectangle more, or with the one at ``low`` that ends with step ``until`` prolonged to ``last``.

    ``new`` chooses; where neither applies, ``first > last`` and ``until`` is below -1.
    """
    new = new & (first <= last)
    grown = ~new & (space.low == low) & (space.last == until)
    ends = jnp.where(grown, jnp.maximum(space.last, last), space.last)
    index = jnp.arange(space.low.shape[0])
    place = jnp.where(new, (space.low < low).sum(), NEVER)

    def inserted(values: Array, value: Array) -> Array:
        shifted = jnp.concatenate([values[:1], values[:-1]])
        return jnp.where(index < place, values, jnp.where(index == place, value, shifted))

    return Space(
        inserted(space.first, first),
        inserted(ends, last),
        inserted(space.low, low),
        inserted(space.high, low + granules),
    )


def latest(before: Array, step: Array, demand: Array) -> Array:
    """i32[]: the largest a whose supplies of the steps a + 1 .. step - 1 cover the demand; -2 if there is none.

    ``before`` i32[T + 1] holds the supply left in the steps before each; it does not decrease.
    """
    return (before <= before[step] - demand).sum() - 2


def finish(before: Array, step: Array, demand: Array) -> Array:
    """i32[]: the smallest e whose supplies of the steps step + 1 .. e cover the demand; T or more if there is none."""
    return (before < before[step + 1] + demand).sum() - 1


def consume_before(before: Array, step: Array, demand: Array) -> Array:
    """``before`` after a copy took ``demand`` from the steps before ``step``, latest first."""
    return before - jnp.clip(demand - (before[step] - before), 0, demand)


def consume_after(before: Array, step: Array, demand: Array) -> Array:
    """``before`` after a copy took ``demand`` from the steps after ``step``, earliest first."""
    return before - jnp.clip(before - before[step + 1], 0, demand)

"""Sorted intervals of one machine or processor, to insert work into idle gaps: i32[Q] starts and ends, NEVER = unused.

The interval of an operation that takes no time closes the gap before it. At least one slot has to be unused.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from dispatchgym.envs.core import Array

NEVER = np.int32(2**31 - 1)  # later than every time


def earliest_gap(starts: Array, ends: Array, ready: Array, duration: Array) -> tuple[Array, Array]:
    """(start, slot) of the first gap that fits ``duration`` from ``ready`` on."""
    previous = jnp.concatenate([jnp.zeros(1, jnp.int32), ends[:-1]])
    begin = jnp.maximum(previous, ready)
    slot = jnp.argmax((previous < NEVER) & (begin <= starts - duration))
    return begin[slot], slot


def earliest_start(starts: Array, ends: Array, ready: Array, duration: Array) -> Array:
    """The start alone, for many at once: i32[..., Q] slots, ``ready`` and ``duration`` i32[...]."""
    previous = jnp.concatenate([jnp.zeros_like(ends[..., :1]), ends[..., :-1]], axis=-1)
    begin = jnp.maximum(previous, ready[..., None])
    return jnp.where(begin <= starts - duration[..., None], begin, NEVER).min(axis=-1)


def insert(row: Array, slot: Array, value: Array) -> Array:
    """The row with ``value`` at ``slot`` and what was there and behind it one further on."""
    index = jnp.arange(row.shape[0])
    shifted = jnp.concatenate([row[:1], row[:-1]])
    return jnp.where(index < slot, row, jnp.where(index == slot, value, shifted))

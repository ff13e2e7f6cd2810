"""Static priorities of the tasks of a workflow, traced: what HEFT, CPOP, PEFT and DLS order them by.

All in integer thousandths of the time unit, rounded down, so that every implementation orders tasks alike. Instances whose
ranks could leave int32 are refused when they are checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from dispatchgym.envs import task_graph
from dispatchgym.envs.core import Array
from dispatchgym.envs.slots import NEVER


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ranks:
    """Of T tasks on M processors; 0 where padded. ``2`` in a name: doubled, since a median may end in a half."""

    mean: Any  # i32[T]  mean time over the supporting processors, in thousandths
    shortest: Any  # i32[T]  smallest time
    median2: Any  # i32[T]  twice the median time over the supporting processors
    upward: Any  # i32[T]  rank_u (Topcuoglu, Hariri and Wu, 2002), in thousandths
    downward: Any  # i32[T]  rank_d, in thousandths
    level2: Any  # i32[T]  twice the static level: longest path of median times from the task on (Sih and Lee, 1993)
    tail: Any  # i32[T]  longest path of smallest times behind the task
    depth: Any  # i32[T]  edges of the longest path to the task
    optimistic: Any  # i32[T, M]  OCT (Arabnejad and Barbosa, 2014), in thousandths


def mean_delays(volume: Array, bandwidth: Array, n_processors: Array, distinct: int) -> Array:
    """i32[E]: the mean of volume // bandwidth over ordered pairs of distinct processors, in thousandths; 0 on one processor.

    ``distinct``: how many different bandwidths there are at most; each is divided by once.
    """
    index = jnp.arange(bandwidth.shape[0])
    real = (index < n_processors) & (index[:, None] < n_processors) & (index != index[:, None])
    values, counts = jnp.unique(jnp.where(real, bandwidth, 0), size=distinct + 1, fill_value=0, return_counts=True)
    return task_graph.mean_delay(volume[:, None] // jnp.maximum(values, 1), counts * (values > 0))


def ranks(time: Array, n_processors: Array, edges: Array, delay: Array) -> Ranks:
    """The priorities of tasks with times i32[T, M], -1 = not supported or padding; edges i32[E, 3], mean delays i32[E]."""
    supported = time >= 0
    real = supported.any(axis=1)
    count = jnp.maximum(supported.sum(axis=1), 1)
    ascending = jnp.sort(jnp.where(supported, time, NEVER), axis=1)
    middle = jnp.stack([(count - 1) // 2, count // 2], axis=1)
    median2 = jnp.where(real, jnp.take_along_axis(ascending, middle, axis=1).sum(axis=1), 0)
    shortest = jnp.where(real, ascending[:, 0], 0)
    mean = task_graph.mean_time(time)
    at_once = jnp.zeros_like(delay)
    return Ranks(
        mean=mean,
        shortest=shortest,
        median2=median2,
        upward=task_graph.upward_rank(mean, delay, edges),
        downward=task_graph.downward_rank(mean, delay, edges),
        level2=task_graph.upward_rank(median2, at_once, edges),
        tail=task_graph.upward_rank(shortest, at_once, edges) - shortest,
        depth=task_graph.downward_rank(jnp.ones_like(mean), at_once, edges),
        optimistic=task_graph.optimistic_cost(time, delay, edges) * (jnp.arange(time.shape[1]) < n_processors),
    )


def topological(successor: Array, predecessors: Array, real: Array) -> Array:
    """i32[T]: position in the order that always takes the lowest ready task; 0 where padded.

    ``successor`` i32[T, S] holds task numbers, T for none.
    """
    tasks = successor.shape[0]

    def place(step: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        waiting, position = carry
        ready = waiting == 0
        task = jnp.where(ready.any(), jnp.argmax(ready), tasks)
        after = successor.at[task].get(mode="fill", fill_value=tasks)
        waiting = waiting.at[task].set(-1, mode="drop").at[after].add(-1, mode="drop")
        return waiting, position.at[task].set(step, mode="drop")

    waiting = jnp.where(real, predecessors, 1)
    return jax.lax.fori_loop(0, tasks, place, (waiting, jnp.zeros(tasks, jnp.int32)))[1]


def critical_path(through: Array, successor: Array, first: Array) -> Array:
    """bool[T]: CPOP's path, from the ``first`` task (no predecessors) of largest rank_u + rank_d, ``through``, on by the
    largest again; ties go to the lower task.
    """
    tasks = through.shape[0]

    def follow(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        task, path = carry
        after = successor[task]
        value = through.at[after].get(mode="fill", fill_value=-1)
        following = jnp.where(value == value.max(), after, tasks).min()
        return following, path.at[task].set(True)

    start = jnp.argmax(jnp.where(first, through, -1)).astype(jnp.int32)
    return jax.lax.while_loop(lambda carry: carry[0] < tasks, follow, (start, jnp.zeros(tasks, bool)))[1]


def critical_processor(time: Array, supported: Array, path: Array) -> Array:
    """bool[M]: the processor that runs the whole path in the least time, ties to the lower; none if none can."""
    able = (supported | ~path[:, None]).all(axis=0)
    work = jnp.where(able, jnp.where(path[:, None], time, 0).sum(axis=0), NEVER)
    return (jnp.arange(time.shape[1]) == jnp.argmin(work)) & able

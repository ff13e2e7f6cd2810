"""What of a workflow does not change during an episode, worked out once per instance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.workflow.ranks import (
    Ranks,
    critical_path,
    critical_processor,
    mean_delays,
    ranks,
    topological,
)
from dispatchgym.envs.workflow.spec import EDGE_COLUMNS, NODE_COLUMNS
from dispatchgym.instances.workflow.instance import WorkflowInstance, WorkflowSize


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WorkflowProblem:
    """An instance with what of it does not change during an episode; T tasks, M processors, S successors of a task."""

    instance: Any  # WorkflowInstance in i32 arrays
    duration: Any  # i32[T, M]  time, 0 where not supported
    supported: Any  # bool[T, M]
    real: Any  # bool[T]
    successor: Any  # i32[T, S]  T = none
    successor_volume: Any  # i32[T, S]
    predecessors: Any  # i32[T]
    shortest: Any  # i32[T]  smallest time
    tail: Any  # i32[T]  longest path of smallest times behind the task; online 0
    mean: Any  # i32[T]  mean time in thousandths
    delay: Any  # i32[E]  mean delay in thousandths
    lower_bound: Any  # i32[]  of the makespan; online 0
    task_rows: Any  # f32[static task features, T]  see ``TASK_FEATURES``
    pair_rows: Any  # f32[static pair features, T, M]  see ``PAIR_FEATURES``
    node_rows: Any  # f32[static columns, T + M]
    node_mask: Any  # bool[T + M]
    edge_index: Any  # i32[2, E + T M]
    edges: Any  # f32[E + T M, columns]
    edge_mask: Any  # bool[E + T M]
    magnitudes: Any  # f32[3]  see :func:`magnitudes`


TASK_FEATURES = (
    "mean_time",
    "min_time",
    "median_time",
    "upward_rank",
    "upward_fraction",
    "through_rank",
    "through_fraction",
    "optimistic_rank",
    "optimistic_rank_fraction",
    "static_level",
    "topological",
    "on_critical_path",
    "choices",
)
PAIR_FEATURES = ("time", "optimistic_cost", "optimistic_cost_fraction", "critical_processor", "choice")


def prepare(size: WorkflowSize, instance: WorkflowInstance, online: bool) -> WorkflowProblem:
    """The problem of an instance in arrays of ``size``; ``online``: nothing in it that needs a task's successors."""
    instance = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.int32), instance)
    tasks, processors = size.tasks, size.processors
    time, n_processors = instance.time, instance.n_processors
    real = jnp.arange(tasks) < instance.n_tasks
    supported = (time >= 0) & real[:, None]
    source, target, volume = instance.edges.T
    linked = volume >= 0
    volume = jnp.maximum(volume, 0)
    delay = mean_delays(volume, instance.bandwidth, n_processors, size.bandwidths) * linked
    r = ranks(time, n_processors, instance.edges, delay)
    predecessors, successors = (
        jnp.zeros(tasks, jnp.int32).at[end].add(linked.astype(jnp.int32)) for end in (target, source)
    )

    order = jnp.argsort(jnp.where(linked, source, tasks), stable=True)
    row = jnp.where(linked, source, tasks)[order]
    place = jnp.arange(size.edges) - jnp.searchsorted(row, row)
    no_edge = jnp.full((tasks, size.successors), tasks, jnp.int32)
    successor = no_edge.at[row, place].set(target[order], mode="drop")
    volumes = jnp.zeros_like(no_edge).at[row, place].set(volume[order], mode="drop")

    if online:
        none = jnp.zeros(tasks, jnp.int32)
        r = Ranks(
            r.mean, r.shortest, r.median2, r.mean, r.downward, r.median2, none, r.depth, jnp.zeros_like(r.optimistic)
        )
        successors, position, path, best = none, none, jnp.zeros(tasks, bool), jnp.zeros(processors, bool)
        lower_bound = jnp.int32(0)
    else:
        position = topological(successor, predecessors, real)
        path = critical_path(r.upward + r.downward, successor, real & (predecessors == 0))
        best = critical_processor(time, supported, path)
        lower_bound = jnp.maximum((r.shortest + r.tail).max(), -(-r.shortest.sum() // n_processors))

    through = r.upward + r.downward
    rank_whole, rank_fraction = _mean_thousandths(r.optimistic, n_processors)
    choices = supported.sum(axis=1)
    task_features = {
        "mean_time": r.mean / 1000,
        "min_time": r.shortest,
        "median_time": r.median2 / 2,
        "upward_rank": r.upward // 1000,
        "upward_fraction": r.upward % 1000 / 1000,
        "through_rank": through // 1000,
        "through_fraction": through % 1000 / 1000,
        "optimistic_rank": rank_whole,
        "optimistic_rank_fraction": rank_fraction,
        "static_level": r.level2 / 2,
        "topological": position,
        "on_critical_path": path,
        "choices": choices,
    }
    pair_features = {
        "time": jnp.where(supported, time, 0),
        "optimistic_cost": r.optimistic // 1000,
        "optimistic_cost_fraction": r.optimistic % 1000 / 1000,
        "critical_processor": jnp.broadcast_to(best, time.shape),
        "choice": jnp.cumsum(supported, axis=1) - 1,
    }

    n_tasks = jnp.maximum(instance.n_tasks, 1)
    present = jnp.arange(processors) < n_processors
    # Online, a mean over all tasks would tell of unseen ones.
    known = supported & (not online)
    task_columns = {
        "task": real,
        "mean_time": r.mean / 1000,
        "min_time": r.shortest,
        "support": choices / n_processors,
        "upward_rank": r.upward / 1000,
        "downward_rank": r.downward / 1000,
        "optimistic_cost": rank_whole + rank_fraction,
        "predecessors": predecessors,
        "successors": successors,
        "depth": r.depth,
    }
    processor_columns = {
        "processor": present,
        "mean_time": jnp.where(known, time, 0).sum(axis=0) / jnp.maximum(supported.sum(axis=0), 1),
        "support": known.sum(axis=0) / n_tasks,
    }
    absent = jnp.zeros(tasks), jnp.zeros(processors)
    node_rows = [
        jnp.concatenate([task_columns.get(c.name, absent[0]), processor_columns.get(c.name, absent[1])])
        for c in NODE_COLUMNS
        if not c.dynamic
    ]

    task, processor = (x.ravel() for x in jnp.indices((tasks, processors), jnp.int32))
    runs_on = supported.ravel()
    edge_mask = jnp.concatenate([linked, runs_on])
    ends = jnp.stack([jnp.concatenate([source, task]), jnp.concatenate([target, tasks + processor])])
    edge_columns = {
        "precedence": (linked, jnp.zeros_like(runs_on)),
        "runs_on": (jnp.zeros_like(linked), runs_on),
        "volume": (volume, jnp.zeros_like(task)),
        "transfer": (delay / 1000, jnp.zeros_like(task)),
        "time": (jnp.zeros_like(volume), jnp.where(supported, time, 0).ravel()),
    }
    return WorkflowProblem(
        instance=instance,
        duration=jnp.where(supported, time, 0),
        supported=supported,
        real=real,
        successor=successor,
        successor_volume=volumes,
        predecessors=predecessors,
        shortest=r.shortest,
        tail=r.tail,
        mean=r.mean,
        delay=delay,
        lower_bound=lower_bound,
        task_rows=_rows(task_features[name] for name in TASK_FEATURES),
        pair_rows=_rows(pair_features[name] for name in PAIR_FEATURES),
        node_rows=_rows(node_rows),
        node_mask=jnp.concatenate([real, present]),
        edge_index=jnp.where(edge_mask, ends, 0),
        edges=_rows(jnp.concatenate(edge_columns[c.name]) for c in EDGE_COLUMNS).T,
        edge_mask=edge_mask,
        magnitudes=magnitudes(r.mean, real, volume, delay, linked),
    )


def magnitudes(mean: Array, tasks: Array, volume: Array, delay: Array, edges: Array) -> Array:
    """f32[3]: mean time, volume and transfer over the ``tasks`` (bool[T]) and ``edges`` (bool[E]) given; the first two are
    1 if all are 0.
    """

    def average(values: Array, where: Array) -> Array:
        return jnp.where(where, values.astype(jnp.float32), 0.0).sum() / jnp.maximum(where.sum(), 1)

    time, size, transfer = average(mean, tasks) / 1000, average(volume, edges), average(delay, edges) / 1000
    return jnp.stack([jnp.where(time > 0, time, 1.0), jnp.where(size > 0, size, 1.0), transfer])


def _rows(values: Iterable[Array]) -> Array:
    return jnp.stack([value.astype(jnp.float32) for value in values])


def _mean_thousandths(values: Array, count: Array) -> tuple[Array, Array]:
    """(whole, fraction): the mean over ``count`` columns of values in thousandths; both compare exactly.

    The sum of a row need not fit int32, so units and thousandths are added apart.
    """
    rest = (values % 1000).sum(axis=1)
    whole = (values // 1000).sum(axis=1) + rest // 1000
    return whole // count, (whole % count * 1000 + rest % 1000) / (1000 * count)

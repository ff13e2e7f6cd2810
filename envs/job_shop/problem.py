"""What of a job shop does not change during an episode, worked out once per instance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.slots import NEVER
from dispatchgym.instances.job_shop.instance import JobShopInstance, JobShopSize


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class JobShopProblem:
    """An instance with what of it does not change during an episode."""

    machine: Any  # i32[J, K]
    duration: Any  # i32[J, K]
    n_operations: Any  # i32[J]
    operations: Any  # i32[]     of all jobs together
    work_before: Any  # i32[J, K + 1]  work of the job before operation k; the last entry is the whole job
    machine_load: Any  # i32[M]
    lower_bound: Any  # i32[]     max(longest job, largest machine load)
    queue: Any  # i32[M]     jobs that begin on the machine
    first_completion: Any  # i32[M]     shortest of their first operations, NEVER if there are none
    node_rows: Any  # f32[static columns, N]  feature-major: the compiler then copies rows instead of single numbers
    node_mask: Any  # bool[N]
    edge_index: Any  # i32[2, E]
    edges: Any  # f32[E, 2]
    edge_mask: Any  # bool[E]
    mean_duration: Any  # f32[]


def prepare(size: JobShopSize, instance: JobShopInstance) -> JobShopProblem:
    """The problem of an instance in arrays of ``size``, with its static graph."""
    jobs, machines, width, _ = size
    machine = jnp.asarray(instance.machine, jnp.int32)
    duration = jnp.asarray(instance.duration, jnp.int32)
    lengths = jnp.asarray(instance.n_operations, jnp.int32)
    real = jnp.arange(width) < lengths[:, None]
    work_before = jnp.pad(jnp.cumsum(duration, axis=1), ((0, 0), (1, 0)))
    total = work_before[:, -1]
    machine_load = jnp.zeros(machines, jnp.int32).at[machine.ravel()].add(duration.ravel())
    visited = jnp.zeros(machines, jnp.int32).at[machine.ravel()].add(real.ravel().astype(jnp.int32))
    begins = (machine[:, 0] == jnp.arange(machines)[:, None]) & real[:, 0]

    ones, zeros = real, jnp.zeros_like(real)
    after = (total[:, None] - work_before[:, 1:]) * real
    op_columns = (ones, zeros, duration, work_before[:, :-1] * real, after, machine_load[machine] * real)
    used = visited > 0
    none = jnp.zeros_like(machine_load)
    machine_columns = (none, used, none, none, none, machine_load)
    pairs = zip(op_columns, machine_columns, strict=True)
    node_rows = jnp.stack([jnp.concatenate([o.ravel(), m]).astype(jnp.float32) for o, m in pairs])

    op_node = jnp.arange(jobs * width, dtype=jnp.int32).reshape(jobs, width)
    chained = real[:, 1:]
    source = jnp.where(chained, op_node[:, :-1], 0).ravel(), jnp.where(real, op_node, 0).ravel()
    target = jnp.where(chained, op_node[:, 1:], 0).ravel(), jnp.where(real, jobs * width + machine, 0).ravel()
    kinds = (chained.ravel(), real.ravel())
    edge_mask = jnp.concatenate(kinds)
    precedence = jnp.arange(edge_mask.shape[0]) < chained.size
    return JobShopProblem(
        machine=machine,
        duration=duration,
        n_operations=lengths,
        operations=lengths.sum(),
        work_before=work_before,
        machine_load=machine_load,
        lower_bound=jnp.maximum(total.max(), machine_load.max()),
        queue=begins.sum(axis=1),
        first_completion=jnp.where(begins, duration[:, 0], NEVER).min(axis=1),
        node_rows=node_rows,
        node_mask=jnp.concatenate([real.ravel(), used]),
        edge_index=jnp.stack([jnp.concatenate(source), jnp.concatenate(target)]),
        edges=columns((precedence & edge_mask, ~precedence & edge_mask)),
        edge_mask=edge_mask,
        mean_duration=duration.sum() / jnp.maximum(lengths.sum(), 1).astype(jnp.float32),
    )


def columns(values: Iterable[Any]) -> Array:
    """Columns of equal length side by side, f32[n, columns]."""
    return jnp.stack([jnp.asarray(c).astype(jnp.float32) for c in values], axis=-1)

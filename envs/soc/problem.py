"""What of a chip and its stream does not change during an episode, worked out once per instance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispatchgym.envs import task_graph
from dispatchgym.envs.core import Array
from dispatchgym.envs.soc.spec import NODE_COLUMNS
from dispatchgym.instances.soc.instance import SocInstance, SocSize

NEVER = np.int32(2**30)  # later than every time


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SocProblem:
    """An instance with what of it does not change during an episode. D templates of T tasks, M PEs, N jobs."""

    time: Any  # i32[D, T, M]  nominal times, -1 = not supported
    shown: Any  # i32[D, T, M]  the times that an agent may know: these, their order per task, or nothing
    n_tasks: Any  # i32[D]
    predecessors: Any  # i32[D, T, P]  tasks; 0 where there is none
    arrival_delay: Any  # i32[D, T, P, C]  transfer time from that predecessor by class of link, -1 where there is none
    n_predecessors: Any  # i32[D, T]  1 for padded tasks, so that they are never ready
    successors: Any  # i32[D, T, S]  tasks; T where there is none
    link: Any  # i32[M, M]  class of the link between two PEs; C within a PE
    n_successors: Any  # i32[D, T]
    support: Any  # i32[D, T]  number of PEs that support the task
    mean: Any  # i32[D, T]  mean shown time, in thousandths
    best: Any  # i32[D, T]  smallest shown time
    rank: Any  # i32[D, T]  upward rank, in thousandths
    to_exit: Any  # i32[D, T, M]  optimistic cost table, in thousandths
    order: Any  # i32[D, T, M]  1 + number of supporting PEs that are faster by shown times
    before: Any  # i32[D, T, M]  supporting PEs of lower index
    work: Any  # i32[D]  smallest shown times of all tasks
    template: Any  # i32[N]
    multiplier: Any  # i32[N, T]
    n_jobs: Any  # i32[]
    gap: Any  # i32[N]
    arrival: Any  # i32[N]  open mode; NEVER for padded jobs and in the closed mode
    together: Any  # i32[N]  closed mode: jobs from k on that are released with k, k included
    cap: Any  # i32[]
    closed: Any  # bool[]
    static_nodes: Any  # f32[D T + M, F]  dynamic columns are 0
    node_mask: Any  # bool[D T + M]
    edge_index: Any  # i32[2, D E + pairs]
    edges: Any  # f32[D E + pairs, G]
    edge_mask: Any  # bool[D E + pairs]
    template_edges: Any  # i32[D, E, 3]
    transfer: Any  # f32[D, E]  mean transfer time between two PEs
    fixed_globals: Any  # f32[5]  mean_time, mean_volume, pes, cap, closed


def actual(problem: SocProblem, job: Any, template: Any, task: Any, pe: Any) -> Array:
    """i32[]: the time that a task of a job really takes on a PE; indices are known to be inside."""
    where = {"mode": "promise_in_bounds", "wrap_negative_indices": False}
    nominal = problem.time.at[template, task, pe].get(**where)
    noisy = (nominal * problem.multiplier.at[job, task].get(**where) + 500) // 1000
    return jnp.where(nominal > 0, jnp.maximum(noisy, 1), nominal)


def shown_times(time: Array, speeds: str) -> Array:
    """i32[D, T, M]: nominal times ("known"), 1 + the number of faster PEs ("order"), or 1 ("hidden"); -1 = not supported."""
    if speeds == "known":
        return time
    if speeds == "order":
        return jnp.where(time >= 0, _faster(time) + 1, -1)
    return jnp.where(time >= 0, 1, -1)


def _faster(time: Array) -> Array:
    """i32[D, T, M]: supporting PEs on which the task is strictly shorter."""
    return ((time[..., None, :] >= 0) & (time[..., None, :] < time[..., None])).sum(-1).astype(jnp.int32)


def prepare(size: SocSize, instance: SocInstance, speeds: str) -> SocProblem:
    """The problem of an instance in arrays of ``size``, with its static graph."""
    time, edges, bandwidth, template, gap = (
        jnp.asarray(getattr(instance, name), jnp.int32) for name in ("time", "edges", "bandwidth", "template", "gap")
    )
    n_tasks = jnp.asarray(instance.n_tasks, jnp.int32)
    n_pes, n_jobs = jnp.asarray(instance.n_pes, jnp.int32), jnp.asarray(instance.n_jobs, jnp.int32)
    shown = shown_times(time, speeds)
    real = jnp.arange(size.tasks) < n_tasks[:, None]
    link, classes = task_graph.links(bandwidth, n_pes, size.bandwidths)
    delay = jnp.where(edges[..., 2:] >= 0, edges[..., 2:] // classes, -1)
    mean, mean_delay = task_graph.mean_time(shown), task_graph.mean_delay(delay, _pairs(link, size.bandwidths))
    rank = jax.vmap(task_graph.upward_rank)(mean, mean_delay, edges)
    to_exit = jax.vmap(task_graph.optimistic_cost)(shown, mean_delay, edges)
    neighbours = jax.vmap(partial(task_graph.neighbours, size.tasks, size.predecessors, size.successors))
    predecessors, incoming, successors, count_in, count_out = neighbours(edges)
    arrival_delay = jnp.where(incoming[..., None] >= 0, jax.vmap(lambda d, e: d[e])(delay, incoming), -1)
    supported = shown >= 0
    index = jnp.arange(size.jobs)
    closed = jnp.asarray(instance.closed, bool)
    best = jnp.where(supported, shown, NEVER).min(-1) * real
    return SocProblem(
        time=time,
        shown=shown,
        n_tasks=n_tasks,
        predecessors=predecessors,
        arrival_delay=arrival_delay,
        n_predecessors=jnp.where(real, count_in, 1),
        successors=successors,
        link=link,
        n_successors=count_out,
        support=supported.sum(-1),
        mean=mean,
        best=best,
        rank=rank,
        to_exit=to_exit,
        order=_faster(shown) + 1,
        before=jnp.cumsum(supported, -1) - supported,
        work=best.sum(-1),
        template=template,
        multiplier=jnp.asarray(instance.multiplier, jnp.int32),
        n_jobs=n_jobs,
        gap=gap,
        arrival=jnp.where((index < n_jobs) & ~closed, jnp.cumsum(gap), NEVER),
        together=run_lengths(gap, n_jobs),
        cap=jnp.asarray(instance.cap, jnp.int32),
        closed=closed,
        template_edges=edges,
        transfer=mean_delay / 1000.0,
        **_static_graph(size, instance, shown, edges, real, mean, best, rank, count_in, count_out, mean_delay),
    )


def _pairs(link: Array, classes: int) -> Array:
    """i32[C]: ordered pairs of distinct PEs in each class of link."""
    return (link[..., None] == jnp.arange(classes)).sum((0, 1))


def run_lengths(gap: Array, n_jobs: Array) -> Array:
    """i32[N]: 1 + number of jobs right after k with gap 0."""

    def back(length: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        follows, exists = inputs
        length = jnp.where(exists, 1 + jnp.where(follows, length, 0), 0)
        return length, length

    index = jnp.arange(gap.shape[0])
    follows = jnp.append(gap[1:] == 0, False) & (index + 1 < n_jobs)
    return jax.lax.scan(back, jnp.int32(0), (follows, index < n_jobs), reverse=True)[1].astype(jnp.int32)


def _static_graph(
    size: SocSize,
    instance: SocInstance,
    shown: Array,
    edges: Array,
    real: Array,
    mean: Array,
    best: Array,
    rank: Array,
    count_in: Array,
    count_out: Array,
    mean_delay: Array,
) -> dict[str, Array]:
    d, t, m = shown.shape
    supported = shown >= 0
    pairs = supported.sum()
    n_pes = jnp.asarray(instance.n_pes, jnp.int32)
    power = jnp.asarray(instance.power, jnp.float32)
    pe = jnp.arange(m) < n_pes
    relative = jnp.where(supported, (best[..., None] + 1) / (shown + 1.0), 0.0)  # + 1: times may be 0
    tasks, none = jnp.zeros(d * t), jnp.zeros(m)
    columns = (  # (of the template tasks, of the PEs), in the order of the static node columns
        (real.ravel(), none),
        (tasks, pe),
        (tasks, none),
        (tasks, none),
        (mean.ravel() / 1000, none),
        (best.ravel(), none),
        (rank.ravel() / 1000, none),
        ((count_in * real).ravel(), none),
        (count_out.ravel(), none),
        ((supported.sum(-1) / n_pes).ravel(), supported.sum((0, 1)) / real.sum()),
        (tasks, relative.sum((0, 1)) / jnp.maximum(supported.sum((0, 1)), 1)),
        (tasks, power / jnp.maximum(power.max(), 1)),
    )
    nodes = jnp.stack([jnp.concatenate([jnp.asarray(x, jnp.float32) for x in pair]) for pair in columns], 1)

    exists = edges[..., 2] >= 0
    task = jnp.arange(d * t).reshape(d, t)
    source = jnp.where(exists, jax.vmap(lambda row, e: row[e])(task, edges[..., 0]), 0).ravel()
    target = jnp.where(exists, jax.vmap(lambda row, e: row[e])(task, edges[..., 1]), 0).ravel()
    (where,) = jnp.nonzero(supported.ravel(), size=size.pairs, fill_value=0)
    kept = jnp.arange(size.pairs) < pairs
    from_task, to_pe = jnp.where(kept, where // m, 0), jnp.where(kept, d * t + where % m, 0)
    mask = jnp.concatenate([exists.ravel(), kept])
    precedence = jnp.arange(mask.shape[0]) < d * edges.shape[1]
    nothing = jnp.zeros(mask.shape[0])
    of_edges = partial(jnp.pad, pad_width=(0, size.pairs))
    rows = (
        precedence & mask,
        ~precedence & mask,
        nothing,
        nothing,
        nothing,
        nothing,
        jnp.pad(jnp.where(kept, shown.ravel()[where], 0), (exists.size, 0)),
        of_edges(jnp.where(exists, edges[..., 2], 0).ravel()),
        of_edges((mean_delay / 1000 * exists).ravel()),
    )
    mean_time = jnp.where(supported, shown, 0).astype(jnp.float32).sum() / jnp.maximum(pairs, 1)
    volume = jnp.where(exists, edges[..., 2], 0).astype(jnp.float32).sum() / jnp.maximum(exists.sum(), 1)
    fixed = (jnp.maximum(mean_time, 1e-3), jnp.maximum(volume, 1), n_pes, instance.cap, instance.closed)
    return {
        "static_nodes": jnp.pad(nodes, ((0, 0), (0, len(NODE_COLUMNS) - len(columns)))),
        "node_mask": jnp.concatenate([real.ravel(), pe]),
        "edge_index": jnp.stack([jnp.concatenate([source, from_task]), jnp.concatenate([target, to_pe])]).astype(
            jnp.int32
        ),
        "edges": jnp.stack([jnp.asarray(row, jnp.float32) for row in rows], 1),
        "edge_mask": mask,
        "fixed_globals": jnp.stack([jnp.asarray(x, jnp.float32) for x in fixed]),
    }

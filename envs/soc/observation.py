"""The graph and the candidates that an agent sees. Everything is relative to now, and by shown times."""

from __future__ import annotations

import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.graph import Column
from dispatchgym.envs.soc.problem import NEVER, SocProblem
from dispatchgym.envs.soc.spec import ACTION_COLUMNS, EDGE_COLUMNS, NODE_COLUMNS
from dispatchgym.envs.soc.state import Candidates, SocState, expected_free, take


def _templates(problem: SocProblem, state: SocState) -> Array:
    return take(problem.template, jnp.maximum(state.job, 0))


def _rows(columns: tuple[Column, ...], values: dict[str, Array], table: Array | float = 0.0) -> Array:
    """f32[rows, columns]: ``table`` with some columns replaced by ``values``, which are flattened.

    Chosen element by element, which makes one pass over the table; stacked columns take four or five.
    """
    names = [column.name for column in columns]
    place = jnp.arange(len(names))
    for name, value in values.items():
        table = jnp.where(place == names.index(name), jnp.asarray(value, jnp.float32).ravel()[:, None], table)
    return jnp.asarray(table)


def _stack(columns: list[Array]) -> Array:
    """f32[columns, rows]: feature-major, since the compiler copies rows fast."""
    return jnp.stack([jnp.asarray(column, jnp.float32) for column in columns])


def action_features(problem: SocProblem, state: SocState, c: Candidates) -> tuple[Array, Array]:
    """(f32[columns, K M], i32[3, K M]): the candidates' features and the nodes they concern, 0 where illegal."""
    k, m = c.mask.shape
    smallest = c.finish.min(1)
    best_pe = jnp.argmin(c.finish, 1)
    pe = jnp.arange(m)
    best_here = c.occupied[:, None] & (best_pe[:, None] == pe)
    second = jnp.where(best_here, NEVER, c.finish).min(1)
    second = jnp.where(second == NEVER, smallest, second)
    to_exit = take(problem.to_exit, c.template, c.task) / 1000.0
    at_exit = jnp.where(c.mask, c.finish - state.now + to_exit, jnp.inf)
    job = jnp.where(c.occupied, take(state.job, c.slot), NEVER)
    position = jnp.arange(k)
    first_of_job = c.occupied & ~((job[:, None] == job) & (position < position[:, None])).any(1)
    job_order = (first_of_job & (job < job[:, None])).sum(1)
    free, queue = expected_free(state) - state.now, state.queue + (state.free > state.now)

    def of_task(value: Array) -> Array:
        return jnp.broadcast_to(value[:, None], (k, m))

    def of_pe(value: Array) -> Array:
        return jnp.broadcast_to(value, (k, m))

    columns = {
        "time": c.time,
        "data_ready": c.data_ready - state.now,
        "start": c.start - state.now,
        "finish": c.finish - state.now,
        "finish_regret": c.finish - smallest[:, None],
        "best_finish": of_task(smallest - state.now),
        "second_finish": of_task(second - state.now),
        "to_exit": to_exit,
        "exit_regret": at_exit - at_exit.min(1, keepdims=True),
        "upward_rank": of_task(take(problem.rank, c.template, c.task) / 1000.0),
        "mean_time": of_task(take(problem.mean, c.template, c.task) / 1000.0),
        "best_time": of_task(take(problem.best, c.template, c.task)),
        "time_rank": take(problem.order, c.template, c.task),
        "supported": of_task(take(problem.support, c.template, c.task)),
        "supported_before": take(problem.before, c.template, c.task),
        "successors": of_task(take(problem.n_successors, c.template, c.task)),
        "position": of_task(position),
        "age": of_task(state.now - take(state.arrival, c.slot)),
        "uncommitted": of_task(take(state.uncommitted, c.slot)),
        "work_left": of_task(take(state.work, c.slot)),
        "job_order": of_task(job_order),
        "busy_until": of_pe(free),
        "queue": of_pe(queue),
        "rivals": best_here.sum(0) - best_here,
    }
    legal = c.mask.ravel()
    features = _stack([jnp.where(legal, columns[column.name].ravel(), 0) for column in ACTION_COLUMNS])
    templates, tasks, pes = problem.time.shape
    in_system = templates * tasks + pes + c.slot * tasks + c.task
    rows = (of_task(in_system), of_task(c.template * tasks + c.task), of_pe(templates * tasks + pe))
    nodes = jnp.stack([jnp.where(legal, row.ravel(), 0) for row in rows]).astype(jnp.int32)
    return features, nodes


def globals_(problem: SocProblem, state: SocState) -> Array:
    """f32[H]."""
    open_ = ~problem.closed
    outside = (jnp.arange(problem.arrival.shape[0]) >= state.admitted) & (problem.arrival <= state.now)
    oldest = jnp.where(outside, problem.arrival, state.now).min()
    next_gap = take(problem.gap, jnp.minimum(state.admitted, problem.gap.shape[0] - 1))
    in_system = (state.job >= 0).sum()
    blocked = problem.closed & (in_system == problem.cap) & (state.admitted < problem.n_jobs)
    blocked = blocked & (state.last_admission + next_gap <= state.now)
    free = expected_free(state) - state.now
    n_pes = problem.fixed_globals[2]
    real = jnp.arange(free.shape[0]) < n_pes
    dynamic = (
        in_system,
        jnp.where(open_, outside.sum(), blocked),
        jnp.where(open_, state.now - oldest, 0),
        problem.n_jobs - state.admitted,
        state.n_ready,
        jnp.where(real, free, 0).sum() / n_pes,
        jnp.where(real, free, NEVER).min(),
        state.decisions,
    )
    return jnp.concatenate([problem.fixed_globals, _stack(list(dynamic))])


def node_mask(problem: SocProblem, state: SocState) -> Array:
    """bool[N]."""
    tasks = state.pe.shape[1]
    present = state.job >= 0
    real = (jnp.arange(tasks) < take(problem.n_tasks, _templates(problem, state))[:, None]) & present[:, None]
    return jnp.concatenate([problem.node_mask, real.ravel(), present])


def nodes(problem: SocProblem, state: SocState) -> Array:
    """f32[N, F]."""
    slots, tasks = state.pe.shape
    template_tasks = problem.time.shape[0] * tasks
    present = state.job >= 0
    template = _templates(problem, state)
    real = (jnp.arange(tasks) < take(problem.n_tasks, template)[:, None]) & present[:, None]
    committed = state.pe >= 0
    started = committed & (state.queued == NEVER)
    done = started & (state.finish <= state.now)
    running = started & ~done
    open_ = real & ~committed
    ready = open_ & (state.waiting == 0) & (state.ready <= state.now)
    predecessors = take(problem.predecessors, template)  # [J, T, P]
    exists = take(problem.arrival_delay, template)[..., 0] >= 0
    over = jnp.stack([take(done[j], predecessors[j]) for j in range(slots)])
    remaining = (exists & ~over).sum(-1)
    of_tasks = {
        "system_task": real,
        "rank_left": jnp.where(open_, take(problem.rank, template) / 1000.0, 0),
        "remaining_predecessors": jnp.where(real, remaining, 0),
        "ready": ready,
        "committed": committed & ~done,
        "running": running,
        "done": done,
        "since_ready": jnp.where(ready | (committed & ~started), state.now - state.ready, 0),
    }
    of_pes = {
        "busy_until": expected_free(state) - state.now,
        "queue": state.queue + (state.free > state.now),
    }
    of_jobs = {
        "job": present,
        "age": jnp.where(present, state.now - state.arrival, 0),
        "uncommitted": jnp.where(present, state.uncommitted, 0),
    }
    fixed = problem.static_nodes
    parts = (
        fixed[:template_tasks],
        _rows(NODE_COLUMNS, of_pes, fixed[template_tasks:]),
        _rows(NODE_COLUMNS, of_tasks),
        _rows(NODE_COLUMNS, of_jobs),
    )
    return jnp.concatenate(parts)


def edges(problem: SocProblem, state: SocState) -> tuple[Array, Array, Array]:
    """(edge_index i32[2, E], edges f32[E, G], edge_mask bool[E])."""
    slots, tasks = state.pe.shape
    templates, _, pes = problem.time.shape
    base = templates * tasks + pes  # first task in the system
    present = state.job >= 0
    template = _templates(problem, state)
    real = (jnp.arange(tasks) < take(problem.n_tasks, template)[:, None]) & present[:, None]
    node = base + jnp.arange(slots * tasks, dtype=jnp.int32).reshape(slots, tasks)
    links = take(problem.template_edges, template)  # [J, E, 3]
    linked = (links[..., 2] >= 0) & present[:, None]
    first = node[:, :1]
    committed = real & (state.pe >= 0)
    done = committed & (state.queued == NEVER) & (state.finish <= state.now)
    placed = committed & ~done
    on = jnp.maximum(state.pe, 0)
    time = jnp.where(placed, take(problem.shown, template[:, None], jnp.arange(tasks), on), 0)
    job = jnp.broadcast_to(base + slots * tasks + jnp.arange(slots)[:, None], (slots, tasks))
    kinds = (linked, real, real, placed)
    source = (first + links[..., 0], node, node, node)
    target = (first + links[..., 1], template[:, None] * tasks + jnp.arange(tasks), job, templates * tasks + on)
    mask = jnp.concatenate([problem.edge_mask, *(kind.ravel() for kind in kinds)])
    index = [
        jnp.concatenate([row, *(jnp.where(kind, end, 0).ravel() for kind, end in zip(kinds, ends, strict=True))])
        for row, ends in zip(problem.edge_index, (source, target), strict=True)
    ]
    volume = jnp.where(linked, links[..., 2], 0)
    transfer = jnp.where(linked, take(problem.transfer, template), 0)
    changing: tuple[dict[str, Array], ...] = (
        {"dependency": linked, "volume": volume, "transfer": transfer},
        {"instance_of": real},
        {"part_of": real},
        {"placed_on": placed, "time": time},
    )
    rows = jnp.concatenate([problem.edges, *(_rows(EDGE_COLUMNS, values) for values in changing)])
    return jnp.stack(index).astype(jnp.int32), rows, mask

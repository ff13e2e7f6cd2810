"""What an agent sees of a partial schedule: see the columns in :mod:`dispatchgym.envs.workflow.spec`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.graph import GraphObservation
from dispatchgym.envs.slots import NEVER
from dispatchgym.envs.workflow.problem import PAIR_FEATURES, TASK_FEATURES, WorkflowProblem, magnitudes
from dispatchgym.envs.workflow.spec import ACTION_COLUMNS, GLOBAL_COLUMNS, NODE_COLUMNS
from dispatchgym.envs.workflow.state import WorkflowState, ready, starts


def observe(
    problem: WorkflowProblem, state: WorkflowState, mask: Array, by_pair: bool, online: bool, prediction: str
) -> GraphObservation:
    """The graph of a state whose legal actions are ``mask``."""
    tasks = problem.supported.shape[0]
    open_ = ready(state)
    seen = (open_ | (state.processor >= 0)) if online else problem.real
    edge_seen = _edges_seen(problem, seen) if online else problem.edge_mask
    features, task, processor = _candidates(problem, state, by_pair, prediction)
    legal = mask & (state.planned < problem.instance.n_tasks)
    nodes = _nodes(problem, state, open_, seen, online)
    present = problem.node_mask[tasks:]
    return GraphObservation(
        nodes=nodes,
        node_mask=jnp.concatenate([seen, present]) if online else problem.node_mask,
        edge_index=problem.edge_index * edge_seen if online else problem.edge_index,
        edges=problem.edges * edge_seen[:, None] if online else problem.edges,
        edge_mask=edge_seen,
        globals=_globals(problem, state, open_, seen, edge_seen, features, legal, online),
        action_mask=mask,
        action_nodes=jnp.stack([task, tasks + processor], axis=1) * legal[:, None],
        action_features=jnp.stack([features[c.name].astype(jnp.float32) * legal for c in ACTION_COLUMNS]).T,
    )


def _candidates(
    problem: WorkflowProblem, state: WorkflowState, by_pair: bool, prediction: str
) -> tuple[Mapping[str, Array], Array, Array]:
    """(columns f32 or i32[A] by name, task i32[A], processor i32[A]); anything where the action is illegal."""
    tasks, processors = problem.supported.shape
    k, m = jnp.arange(state.window.shape[0]), jnp.arange(processors)
    task = jnp.minimum(state.window, tasks - 1)
    pair = dict(zip(PAIR_FEATURES, problem.pair_rows[:, task], strict=True))
    start = starts(state, task)
    finish = start + problem.duration[task]
    able = jnp.where(problem.supported[task], finish, NEVER)
    fastest = jnp.argmin(able, axis=1)
    best = able.min(axis=1)
    second = jnp.where(m == fastest[:, None], NEVER, able).min(axis=1)

    spread: Callable[[Array], Array]
    select: Callable[[Array], Array]
    if by_pair:
        spread, select = (lambda x: jnp.repeat(x, processors)), jnp.ravel
    else:
        spread, select = (lambda x: x), (lambda x: x[k, fastest])
    by_task = dict(zip(TASK_FEATURES, problem.task_rows[:, task], strict=True)) | {
        "position": k,
        "best_finish": best,
        "second_finish": jnp.where(second < NEVER, second, best),
        **_predictions(problem.instance.prediction[task], state.window < tasks, prediction),
    }
    by_both = pair | {
        "data_ready": state.data_ready[task],
        "processor_ready": jnp.broadcast_to(state.last_finish, start.shape),
        "start": start,
        "finish": finish,
        "increase": jnp.maximum(finish - state.makespan, 0),
    }
    columns = {name: spread(x) for name, x in by_task.items()} | {name: select(x) for name, x in by_both.items()}
    return columns, spread(task), select(jnp.broadcast_to(m, start.shape))


def _predictions(values: Array, occupied: Array, prediction: str) -> dict[str, Array]:
    """The columns of the window's predictions i32[K]."""
    none = jnp.zeros_like(values)
    larger = (values > values[:, None]) & occupied
    return {
        "predicted_work": values if prediction == "weight" else none,
        "predicted_order": larger.sum(axis=1) + 1 if prediction == "order" else none,
    }


def _edges_seen(problem: WorkflowProblem, seen: Array) -> Array:
    """bool[E + T M]: edges to and of the tasks ``seen``; predecessors of a seen task are seen."""
    target = problem.instance.edges[:, 1]
    return problem.edge_mask & jnp.concatenate([seen[target], jnp.repeat(seen, problem.supported.shape[1])])


def _nodes(problem: WorkflowProblem, state: WorkflowState, open_: Array, seen: Array, online: bool) -> Array:
    """f32[T + M, columns]."""
    planned = state.processor >= 0
    none = jnp.zeros_like(state.work)
    dynamic = {
        "planned": (planned, none),
        "ready": (open_, none),
        "waits_for": (jnp.maximum(state.waits_for, 0), none),
        "start": (jnp.where(planned, state.start, state.released), state.last_finish),
        "finish": (jnp.where(planned, state.finish, state.released), state.last_finish),
        "work": (jnp.zeros_like(state.start), state.work),
    }
    rows = [jnp.concatenate(dynamic[c.name]).astype(jnp.float32) for c in NODE_COLUMNS if c.dynamic]
    table = jnp.stack([*problem.node_rows, *rows])
    if online:
        table = table * jnp.concatenate([seen, jnp.ones_like(none, bool)])
    return table.T


def _globals(
    problem: WorkflowProblem,
    state: WorkflowState,
    open_: Array,
    seen: Array,
    edge_seen: Array,
    features: Mapping[str, Array],
    legal: Array,
    online: bool,
) -> Array:
    """f32[columns]."""
    scale = problem.magnitudes
    if online:
        volume = problem.instance.edges[:, 2]
        scale = magnitudes(problem.mean, seen, volume, problem.delay, edge_seen[: volume.shape[0]])
    finish = starts(state, slice(None)) + problem.duration
    best = jnp.where(problem.supported, finish, NEVER).min(axis=1)
    # A ready task ends at its best finish or later, every other unplanned one after its planned predecessors.
    bound = jnp.where(open_, best, state.released + problem.shortest) + problem.tail
    bound = jnp.where(seen & (state.processor < 0), bound, 0).max()
    values = {
        "mean_time": scale[0],
        "mean_volume": scale[1],
        "mean_transfer": scale[2],
        "processors": problem.instance.n_processors,
        "now": state.now if online else jnp.int32(0),
        "earliest_start": jnp.where(legal.any(), jnp.where(legal, features["start"], NEVER).min(), state.makespan),
        "makespan": state.makespan,
        "lower_bound": jnp.maximum(jnp.maximum(problem.lower_bound, state.makespan), bound),
        "planned": state.planned,
        "progress": state.planned / jnp.maximum(seen.sum(), 1),
        "ready": open_.sum(),
    }
    return jnp.stack([values[c.name].astype(jnp.float32) for c in GLOBAL_COLUMNS])

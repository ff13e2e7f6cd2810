"""Training distributions of workflows, sampled with ``jax.random`` on the device.

Each is a frozen dataclass with a static ``size``; calling it with a key gives a :class:`WorkflowInstance` of int32 device
arrays and traces under jit and vmap. ``work``, ``ccr`` and ``beta`` are those of ``portable``; where a tuple is given,
every sample draws one of its values. Streams of ``jax.random`` change between versions: scores use suites.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.task_graph import MAX_EDGES, MAX_PROCESSORS, MAX_TASKS, MAX_VALUE
from dispatchgym.instances.workflow.instance import MAX_HORIZON, WorkflowInstance, WorkflowSize
from dispatchgym.instances.workflow.portable import level_width, parse_name
from dispatchgym.instances.workflow.structures import STRUCTURES, Structure, check

Choice = int | tuple[int, ...]  # per mille

SHAPES = (500, 1000, 2000)  # the values of Topcuoglu, Hariri and Wu (2002)
CCRS = (100, 500, 1000, 5000, 10_000)
BETAS = (100, 250, 500, 750, 1000)


def _values(choice: Choice) -> tuple[int, ...]:
    return choice if isinstance(choice, tuple) else (choice,)


def _check_choice(what: str, choice: Choice, low: int, high: int) -> None:
    if not _values(choice):
        raise InstanceError(f"{what} is an empty tuple; give at least one value in {low}..{high}")
    for value in _values(choice):
        check(what, value, low, high)


def _check_times(processors: int, ccr: Choice, beta: Choice, work: int, longest: int, size: WorkflowSize) -> None:
    """Refuse what could make times inexact: ``longest`` is the largest mean time of a task."""
    check("processors", processors, 1, MAX_PROCESSORS)
    check("work", work, 1, 10**6)
    _check_choice("ccr", ccr, 0, 10**6)
    _check_choice("beta", beta, 0, 2000)
    time, delay = longest * (2000 + max(_values(beta))) // 2000, 2 * max(_values(ccr)) * work // 1000
    if size.tasks * time + size.edges * delay >= MAX_HORIZON or size.tasks * 1000 * (time + delay) >= MAX_VALUE:
        raise InstanceError(
            f"{size.tasks} tasks of up to {time} and {size.edges} delays of up to {delay} may exceed the exact range "
            f"of times and ranks; lower work ({work}), ccr or the number of tasks"
        )


def _draw(key: jax.Array, choice: Choice) -> jax.Array:
    """i32[]: one of the values, each as likely."""
    values = jnp.array(_values(choice), jnp.int32)
    return values[jax.random.randint(key, (), 0, len(_values(choice)))]


def _instance(
    key: jax.Array,
    means: jax.Array,
    edges: jax.Array,
    real: jax.Array,
    processors: int,
    scale: tuple[Choice, Choice, int],
) -> WorkflowInstance:
    """Draw times around ``means`` [T] and the volumes of ``edges`` [E, 2] where ``real`` [E]; scale: ccr, beta, work."""
    ccr, beta, work = scale
    ccr_key, beta_key, time_key, volume_key = jax.random.split(key, 4)
    half = means * _draw(beta_key, beta) // 2000
    low, high = (means - half)[:, None], (means + half)[:, None]
    time = jnp.maximum(jax.random.randint(time_key, (len(means), processors), low, high + 1, jnp.int32), 1)
    widest = 2 * _draw(ccr_key, ccr) * work // 1000
    volume = jax.random.randint(volume_key, real.shape, 0, widest + 1, jnp.int32)
    rows = jnp.column_stack([jnp.where(real[:, None], edges, 0), jnp.where(real, volume, -1)])
    return WorkflowInstance(
        time=time,
        n_tasks=jnp.int32(len(means)),
        n_processors=jnp.int32(processors),
        edges=rows.astype(jnp.int32),
        bandwidth=jnp.ones((processors, processors), jnp.int32),
        prediction=jnp.zeros(len(means), jnp.int32),
    )


@dataclass(frozen=True)
class Random:
    """Random graphs in the manner of Topcuoglu, Hariri and Wu (2002): one head, then levels of random width.

    Levels are those of ``portable.random``. A task has a parent in the level above and up to 2 degree - 2 more, on average
    degree - 1, in the two levels above; parents drawn twice count once. Edges beyond the first ``successors`` of one task
    are left out, parents in the level above first to stay; such a task may become a head. Mean times are U[1, 2 work - 1].
    Raises InstanceError for sizes or parameters that could make times inexact.
    """

    tasks: int
    processors: int
    shape: Choice = SHAPES
    degree: int = 3
    ccr: Choice = CCRS
    beta: Choice = BETAS
    work: int = 100
    successors: int | None = None  # default: 8 degree, or twice the widest level's mean if that is more

    def __post_init__(self) -> None:
        check("tasks", self.tasks, 2, MAX_TASKS)
        check("degree", self.degree, 1, MAX_EDGES // self.tasks // 2)
        _check_choice("shape", self.shape, 1, 10**6)
        if self.successors is not None:
            check("successors", self.successors, 1, self.tasks - 1)
        _check_times(self.processors, self.ccr, self.beta, self.work, 2 * self.work - 1, self.size)

    @property
    def size(self) -> WorkflowSize:
        """Static sizes that every sample fits in."""
        parents = min(2 * self.degree - 1, self.tasks - 1)
        widest = 2 * level_width(self.tasks, max(_values(self.shape)))
        successors = max(8 * self.degree, widest) if self.successors is None else self.successors
        successors = min(successors, self.tasks - 1)
        return WorkflowSize(self.tasks, self.processors, (self.tasks - 1) * parents, successors, parents)

    def _parents(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """i32[P, T - 1] parents of tasks 1..T - 1, those in the level above first, and bool[P, T - 1] which are real."""
        shape_key, width_key, first_key, more_key, count_key = jax.random.split(key, 5)
        tasks, parents = self.tasks, self.size.predecessors
        means = tuple(level_width(tasks, shape) for shape in _values(self.shape))
        widths = jax.random.randint(width_key, (tasks - 1,), 1, 2 * _draw(shape_key, means), jnp.int32)
        starts = jnp.concatenate([jnp.array([0, 1]), 1 + jnp.cumsum(widths)])  # first task of each level
        level = jnp.searchsorted(starts, jnp.arange(1, tasks), side="right") - 1
        above, own = starts[level - 1], starts[level]
        first = jax.random.randint(first_key, (tasks - 1,), above, own, jnp.int32)
        higher = starts[jnp.maximum(level - 2, 0)]
        more = jax.random.randint(more_key, (parents - 1, tasks - 1), higher, own, jnp.int32)
        chosen = jnp.concatenate([first[None], more])
        count = jax.random.randint(count_key, (tasks - 1,), 1, 2 * self.degree, jnp.int32)
        real = jnp.arange(parents)[:, None] < count
        earlier = jnp.tri(parents, k=-1, dtype=bool)[:, :, None]
        return chosen, real & ~((chosen[:, None] == chosen[None]) & earlier).any(axis=1)

    def _within(self, source: jax.Array, real: jax.Array) -> jax.Array:
        """bool[E]: the real edges but those beyond the most successors of their source, in the order given."""
        source = jnp.where(real, source, self.tasks)
        order = jnp.argsort(source, stable=True)
        ordered = source[order]
        position = jnp.arange(len(source)) - jnp.searchsorted(ordered, ordered)
        return real & (jnp.zeros_like(position).at[order].set(position) < self.size.successors)

    def __call__(self, key: jax.Array) -> WorkflowInstance:
        """One instance: arrays [tasks, processors]."""
        graph_key, mean_key, draw_key = jax.random.split(key, 3)
        parents, real = self._parents(graph_key)
        source = parents.ravel()
        target = jnp.broadcast_to(jnp.arange(1, self.tasks), parents.shape).ravel()
        means = jax.random.randint(mean_key, (self.tasks,), 1, 2 * self.work, jnp.int32)
        edges, kept = jnp.column_stack([source, target]), self._within(source, real.ravel())
        return _instance(draw_key, means, edges, kept, self.processors, (self.ccr, self.beta, self.work))


@dataclass(frozen=True)
class Structured:
    """The graph ``structures.STRUCTURES[kind](order)``: the same in every sample, with times and volumes drawn.

    A task's mean time is its weight's share of tasks x work. Raises InstanceError for sizes or parameters that could make
    times inexact.
    """

    kind: str
    order: int
    processors: int
    ccr: Choice = CCRS
    beta: Choice = BETAS
    work: int = 100

    def __post_init__(self) -> None:
        _check_times(self.processors, self.ccr, self.beta, self.work, int(self._means.max()), self.size)

    @cached_property
    def _structure(self) -> Structure:
        return STRUCTURES[self.kind](self.order)

    @property
    def _means(self) -> np.ndarray:
        weights = np.array(self._structure.weights, np.int64)
        means: np.ndarray = np.maximum(1, self.work * weights * len(weights) // weights.sum())
        return means

    @cached_property
    def size(self) -> WorkflowSize:
        """Static sizes of every sample."""
        tasks = len(self._structure.weights)
        ends = np.array(self._structure.edges, np.int64).reshape(-1, 2).T
        most = (int(np.bincount(end, minlength=1).max()) for end in ends)
        return WorkflowSize(tasks, self.processors, *(max(1, n) for n in (len(ends[0]), *most)))

    def __call__(self, key: jax.Array) -> WorkflowInstance:
        """One instance: arrays [tasks, processors]."""
        edges = np.zeros((self.size.edges, 2), np.int32)
        edges[: len(self._structure.edges)] = np.array(self._structure.edges, np.int32).reshape(-1, 2)
        real = np.arange(len(edges)) < len(self._structure.edges)
        means = jnp.asarray(self._means, jnp.int32)
        scale = (self.ccr, self.beta, self.work)
        return _instance(key, means, jnp.asarray(edges), jnp.asarray(real), self.processors, scale)


WorkflowGenerator = Random | Structured

GENERATORS: dict[str, Callable[..., WorkflowGenerator]] = {
    "random": Random,
    **{kind: partial(Structured, kind) for kind in STRUCTURES},
}


def generator(name: str, **parameters: Any) -> WorkflowGenerator:
    """The generator "kind-NxM" (M processors), as in ``generator("random-20x4")`` or ``generator("cholesky-8x4", ccr=100)``.

    N is the number of tasks of "random" and the order of a structure: tiles, matrix order, points or width. Raises
    UnknownNameError for another name and InstanceError for sizes or parameters that it refuses.
    """
    kind, size, processors = parse_name(name, list(GENERATORS))
    parameters = {key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()}
    try:
        return GENERATORS[kind](size, processors, **parameters)
    except TypeError as error:
        raise InstanceError(f"generator {name!r}: {error}; see the fields of its class") from None

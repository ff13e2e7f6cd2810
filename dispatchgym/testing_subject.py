"""What the checks of :mod:`dispatchgym.testing` work on, and how they compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import gymnasium
import jax
import numpy as np

from dispatchgym.agents.rules.base import uniform
from dispatchgym.envs.core import Environment, rollout
from dispatchgym.envs.registry import lookup
from dispatchgym.envs.source import Source

FACE_KWARGS = ("invalid_action", "max_episode_steps", "render_mode")  # the checks choose these themselves
SOURCE_KWARGS = ("instance", "suite", "generator", "size")
PROBLEMS = 3
ROUNDING = 1e-5  # two programs may round floats differently: XLA turns some divisions into products, say


class Skip(Exception):
    """There is nothing to check here, and why."""


class Subject:
    """An environment under test with a few problems, and its functions jitted one by one."""

    def __init__(self, env_id: str, make_kwargs: dict[str, Any]) -> None:
        self.env_id = env_id
        self.kwargs = {k: v for k, v in make_kwargs.items() if k not in FACE_KWARGS}
        self.options = {k: v for k, v in self.kwargs.items() if k not in SOURCE_KWARGS}
        self.entry = lookup(env_id)
        self.source: Source = self.entry.source(**{k: v for k, v in self.kwargs.items() if k in SOURCE_KWARGS})
        self.core: Environment = self.entry.build(self.source.size, **self.options)
        self.step = jax.jit(self.core.step)
        self.observe = jax.jit(self.core.observe)
        self.mask = jax.jit(self.core.action_mask)
        self.terminated = jax.jit(self.core.terminated)
        self.objective = jax.jit(self.core.objective)
        self.rng = np.random.default_rng(0)

    @cached_property
    def instances(self) -> list[Any]:
        """A few instances, padded to the size of the environment."""
        return [self.source.instance(t) for t in self.source.tickets(PROBLEMS, np.random.default_rng(1))]

    @cached_property
    def problems(self) -> list[Any]:
        """The same, prepared."""
        return [jax.jit(self.core.prepare)(instance) for instance in self.instances]

    @cached_property
    def rollout(self) -> Any:
        """``rollout`` of random legal actions over stacked problems, jitted: (problems, key) -> Rollout."""
        policy = uniform(self.core.graph)
        return jax.jit(lambda problems, key: rollout(self.core, policy, problems, key))

    @cached_property
    def episodes(self) -> Any:
        """A Rollout of all problems."""
        batch = jax.tree.map(lambda *leaf: np.stack(leaf), *self.problems)
        return self.rollout(batch, jax.random.key(0))

    def need_discrete(self) -> None:
        """Skip unless actions are numbered."""
        if not isinstance(self.core.action_space, gymnasium.spaces.Discrete):
            raise Skip("actions are not Discrete")

    def choose(self, mask: Any) -> np.int32:
        """A legal action at random."""
        return np.int32(self.rng.choice(np.flatnonzero(np.asarray(mask))))

    def play(self, problem: Any, most: int) -> Iterator[tuple[Any, np.int32, Any]]:
        """(state, legal action, transition) of a random episode, at most ``most`` steps."""
        self.need_discrete()
        state = jax.jit(self.core.reset)(problem)
        for _ in range(min(most, self.core.max_steps)):
            if bool(self.terminated(problem, state)):
                return
            action = self.choose(self.mask(problem, state))
            moved = self.step(problem, state, action)
            yield state, action, moved
            state = moved.state

    def end(self, problem: Any) -> Any:
        """A state at the end of a random episode."""
        state = jax.jit(self.core.reset)(problem)
        for _, _, moved in self.play(problem, self.core.max_steps):
            state = moved.state
        assert bool(self.terminated(problem, state)), (
            f"{self.core.max_steps} legal actions (max_steps) do not end the episode"
        )
        return state


class Sweep:
    """A source for single environments that deals the tickets of a pool in order, as the lanes of a batch get them."""

    def __init__(self, source: Source, tickets: Sequence[int]) -> None:
        self._source = source
        self._tickets = tickets
        self._dealt = 0

    def ticket(self, _: np.random.Generator) -> int:
        """The next ticket."""
        ticket = self._tickets[self._dealt % len(self._tickets)]
        self._dealt += 1
        return ticket

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


def difference(a: Any, b: Any, where: str = "", tolerance: float = 0.0) -> str | None:
    """The first place where trees of arrays, dicts and lists differ, or None; floats within ``tolerance`` are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return f"{where or 'keys'}: {sorted(a)} against {sorted(b)}"
        parts = ((a[k], b[k], f"{where}[{k!r}]") for k in a)
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b):
            return f"{where}: {len(a)} against {len(b)} items"
        parts = ((x, y, f"{where}[{i}]") for i, (x, y) in enumerate(zip(a, b, strict=True)))
    else:
        return _array_difference(np.asarray(a), np.asarray(b), where, tolerance)
    return next((found for part in parts if (found := difference(*part, tolerance))), None)


def _array_difference(a: np.ndarray, b: np.ndarray, where: str, tolerance: float) -> str | None:
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{where}: {a.dtype}{list(a.shape)} against {b.dtype}{list(b.shape)}"
    if a.dtype == object:
        if a.ndim == 0:
            return None if a.item() == b.item() else f"{where}: {a.item()!r} against {b.item()!r}"
        return difference(list(a), list(b), where, tolerance)
    if tolerance and a.dtype.kind == "f":
        equal = np.isclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
    else:
        equal = (a == b) | ((a != a) & (b != b))
    if np.all(equal):
        return None
    place = tuple(int(i) for i in np.argwhere(~np.atleast_1d(equal))[0]) if a.ndim else ()
    spot = f"{where}{list(place)}" if place else where
    return f"{spot}: {a[place]} against {b[place]}"


def leaves(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a pytree on the host, by path."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def same(a: Any, b: Any, what: str, tolerance: float = 0.0) -> None:
    """Assert that two trees are equal, naming the first difference."""
    found = difference(a, b, "", tolerance)
    assert found is None, f"{what}: {found}"


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Collects one entry per compilation by XLA while it is open (a hit in the persistent cache is one too)."""
    seen: list[str] = []

    def listen(event: str, duration_secs: float, **kwargs: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)

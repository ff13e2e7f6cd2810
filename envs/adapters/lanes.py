"""The host's side of a batch: owns pool and carry on the device, and knows which instance each row of the pool is."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode

from dispatchgym.envs.adapters.actions import parse, parse_device
from dispatchgym.envs.adapters.fused import Carry, Pool, Step, kernels
from dispatchgym.envs.core import Environment
from dispatchgym.envs.source import Source
from dispatchgym.instances.base import DispatchGymError, unstack

SMALLEST_POOL = 256  # of a generator; twice the lanes if that is more, so that no lane waits for a refill
CHUNK = 64  # final observations are made so many at a time, in a call of one shape


def plain_seed(seed: Any) -> int | None:
    """A seed as Gymnasium wants it: a Python int >= 0 of any size, or None. Accepts NumPy integers."""
    if seed is None:
        return None
    try:
        value = operator.index(seed)
    except TypeError:
        raise gymnasium.error.Error(f"seed {seed!r} is not an integer; give an integer >= 0 or None") from None
    if value < 0:
        raise gymnasium.error.Error(f"seed {value} is negative; give an integer >= 0 or None")
    return value


def step_limit(env: Environment, max_episode_steps: int | None) -> int:
    """Steps after which an episode is truncated; None and -1 mean ``env.max_steps``, which illegal actions use up too."""
    if max_episode_steps is None or max_episode_steps == -1:
        return max(env.max_steps, 1)
    if isinstance(max_episode_steps, bool) or not isinstance(max_episode_steps, int) or max_episode_steps < 1:
        raise DispatchGymError(
            f"max_episode_steps is {max_episode_steps!r}; give an integer >= 1, or None for the env's own"
        )
    return min(max_episode_steps, 2**31 - 1)  # steps are counted in int32


class Lanes:
    """``count`` episodes that run side by side on the device and take their instances from a pool.

    All arrays are committed to one device at the start, and so is every action: each function compiles once.
    """

    def __init__(
        self, env: Environment, source: Source, count: int, mode: AutoresetMode, pool_size: int | None, limit: int
    ) -> None:
        for what, value in (("num_envs", count), ("pool_size", pool_size)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise DispatchGymError(f"{what} is {value!r}; give an integer >= 1")
        self.env, self.source, self.count, self.mode = env, source, count, mode
        listed = len(source.instances) if source.generator is None else max(SMALLEST_POOL, 2 * count)
        self.pool_size = pool_size or listed
        self.kernels = kernels(env)
        self.device = jax.devices()[0]
        self.tickets: list[int] = []
        self.pool: Pool | None = None
        self.carry: Carry | None = None
        self.limit = limit

    def put(self, value: Any) -> Any:
        """``value`` committed to the device."""
        return jax.device_put(value, self.device)

    def fill(self, rngs: Sequence[np.random.Generator]) -> None:
        """A new pool. Lane i's first instance is the one that a single environment with ``rngs[i]`` draws."""
        own = [self.source.ticket(rng) for rng in rngs[: self.pool_size]] if self.source.generator is not None else []
        tickets = own + self.source.tickets(self.pool_size - len(own), rngs[0])
        if tickets != self.tickets or self.pool is None:
            self.tickets = tickets
            self.pool = self.put(Pool(self._problems(tickets), jnp.int32(self.limit)))
        self.carry = None

    def refill(self, rng: np.random.Generator) -> None:
        """Fresh instances in all rows of the pool that no lane is playing. Nothing happens to a fixed list."""
        if self.source.generator is None or self.pool is None or self.carry is None:
            return
        busy = set(np.asarray(self.carry.index).tolist())
        fresh = self.source.tickets(self.pool_size, rng)
        self.tickets = [self.tickets[row] if row in busy else fresh[row] for row in range(self.pool_size)]
        self.pool = self.kernels.refill(self.pool, self.carry, self._problems(fresh))

    def restart(self, who: np.ndarray | None = None) -> Step:
        """Reset the lanes ``who`` (bool[B], default all) with the next rows of the pool."""
        assert self.pool is not None
        if self.carry is None:
            self.carry = self.put(self.kernels.empty(self.pool, self.count))
        who = np.ones(self.count, bool) if who is None else who
        self.carry, step = self.kernels.restart(self.pool, self.carry, self.put(who))
        return step

    def step(self, action: Any) -> Step:
        """One fused call; ``action`` as :meth:`parse` returned it."""
        assert self.pool is not None
        assert self.carry is not None
        self.carry, step = self.kernels.step(self.mode)(self.pool, self.carry, action)
        return step

    def parse(self, actions: Any) -> jax.Array:
        """Actions on the device. Raises ActionError for the wrong kind or shape."""
        if isinstance(actions, jax.Array):
            return self.put(parse_device(self.env.action_space, actions, self.count))
        return self.put(parse(self.env.action_space, actions, self.count))

    def last_observations(self, step: Step, rows: np.ndarray) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """(lane, unbatched observation) before the reset in ``step``, for lanes ``rows``, in writable arrays."""
        size = min(CHUNK, self.count)
        for begin in range(0, len(rows), size):
            some = rows[begin : begin + size]
            padded = np.resize(some, size).astype(np.int32)
            shown, _ = self.kernels.show(self.pool, step.last_state, step.last_index, self.put(padded))
            arrays = {name: np.asarray(value) for name, value in shown.items()}
            for i, lane in enumerate(some):
                yield int(lane), {name: value[i].copy() for name, value in arrays.items()}

    def names(self, rows: np.ndarray) -> list[str]:
        """The instances in ``rows`` (i32[R]) of the pool."""
        return [self.source.name(self.tickets[row]) for row in rows.tolist()]

    def row(self, lane: int) -> tuple[Any, Any]:
        """(problem, state) of one lane on the host."""
        assert self.carry is not None
        assert self.pool is not None
        index = int(np.asarray(self.carry.index)[lane])
        return unstack(self.pool.problems, index), unstack(self.carry.state, lane)

    def _problems(self, tickets: Sequence[int]) -> Any:
        return self.kernels.prepare(self.put(self.source.batch(tickets)))


def generators(seeds: Sequence[int | None]) -> list[np.random.Generator]:
    """One NumPy generator per seed, as Gymnasium makes them."""
    return [seeding.np_random(seed)[0] for seed in seeds]

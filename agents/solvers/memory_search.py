"""Local search over the moves of a memory mapping, hundreds of whole games at once on the device.

A plan is a wish per event; a wish that is not legal becomes the next one of its row in ``PREFERENCES``. Every round plays
mutants of the best plan: some wishes changed at random, and the changes that helped in the last rounds together, the
best first. Deterministic for a seed and a number of rounds; a time limit only cuts the rounds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.memory_game import PREFERENCES
from dispatchgym.envs.core import Array
from dispatchgym.envs.memory import MemoryMapping
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.instance import MemoryInstance, MemorySize

LANES = 256
ROUNDS = 200
MERGED = 64  # lanes of a round that join what helped before
STALE = 60  # rounds without an improvement after which the search ends


class Games:
    """Plays wishes of one size of instance, ``lanes`` at a time."""

    def __init__(self, size: MemorySize, evictions: str) -> None:
        self.env = env = MemoryMapping(size, evictions)
        order = jnp.asarray(PREFERENCES)

        def play(problem: Any, wishes: Array) -> tuple[Array, Array, Array]:
            def turn(state: Any, wish: Array) -> tuple[Any, Array]:
                tried = order[wish]
                action = tried[jnp.argmax(state.moves.legal[tried])]
                return env.step(problem, state, action).state, action

            state, actions = jax.lax.scan(turn, env.reset(problem), wishes)
            copied = 2 * problem.supply[-1] - state.inward[-1] - state.outward[-1]
            return env.objective(problem, state), copied, actions

        self.prepare = jax.jit(env.prepare)
        self.play = jax.jit(jax.vmap(play, (None, 0)))


@lru_cache(maxsize=16)
def games(size: MemorySize, evictions: str = "charged") -> Games:
    """Compiled once a size."""
    return Games(size, evictions)


def local_search(
    instance: MemoryInstance,
    *,
    time_limit: float | None = None,
    seed: int = 0,
    hint: Sequence[int] | None = None,
    starts: Sequence[Sequence[int]] = (),
    rounds: int | None = None,
    lanes: int = LANES,
    evictions: str = "charged",
    **_: Any,
) -> Solution:
    """The best plan found from ``hint``, other ``starts`` and the greedy rules; ``rounds`` of ``lanes`` games each.

    Without a time limit 200 rounds, or fewer once 60 bring nothing; with one as many as it allows.
    """
    began = time.perf_counter()
    events, length = int(instance.n_events), instance.size.events
    played = games(instance.size, evictions)
    problem = played.prepare(instance)
    rng = np.random.default_rng(seed)

    def evaluate(wishes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(latency plus a fraction for the copying that is, of two plans of one latency the one that copies less; moves)."""
        full = np.resize(wishes, (lanes, length))
        latency, copied, actions = (np.asarray(x)[: len(wishes)] for x in played.play(problem, full))
        return latency + copied / 2.0**32, actions

    given = [list(start) for start in (*starts, *(() if hint is None else (hint,)))]
    for listed in given:
        if len(listed) != events or any(action not in (0, 1, 2) for action in listed):
            raise InstanceError(f"a list of {len(listed)} actions; give one of 0, 1 and 2 for each of {events} events")
    greedy = [[wish] * length for wish in (2, 1, 0)]
    first = np.array([*greedy, *(x + [0] * (length - len(x)) for x in given)], np.int32)
    objective, actions = evaluate(first)
    at = int(objective.argmin())
    best, plan = float(objective[at]), actions[at].astype(np.int32)
    helped: list[tuple[float, np.ndarray]] = []  # (value, changed wishes as rows (event, wish))
    stale, done = 0, 0
    limit = rounds if rounds is not None else (ROUNDS if time_limit is None else 2**31)
    took = 0.0
    while done < limit and (time_limit is not None or stale < STALE):
        if time_limit is not None and time.perf_counter() - began + took > time_limit:
            break
        start = time.perf_counter()
        changes = _merges(helped) + [_mutation(rng, events) for _ in range(lanes)]
        changes = changes[:lanes]
        wishes = np.repeat(plan[None], len(changes), 0)
        for row, change in zip(wishes, changes, strict=True):
            row[change[:, 0]] = change[:, 1]
        objective, actions = evaluate(wishes)
        order = np.argsort(objective, kind="stable")
        helped = [(float(objective[i]), changes[i]) for i in order[: min(MERGED, lanes // 4)] if objective[i] < best]
        at = int(order[0])
        stale += 1
        if objective[at] <= best:
            stale = 0 if int(objective[at]) < int(best) else stale
            best, plan = float(objective[at]), actions[at].astype(np.int32)
        done += 1
        took = time.perf_counter() - start
    seconds = time.perf_counter() - began
    return Solution(plan[:events].tolist(), int(best), "feasible", None, seconds, {"evictions": evictions})


def _merges(helped: list[tuple[float, np.ndarray]]) -> list[np.ndarray]:
    """The changes that helped, the best n of them together for n = 2, 3, ...; where two disagree, the better one holds.

    Each has one row an event, however many changes went into it: what helps is merged again and again.
    """
    merged = []
    together: dict[int, int] = {}
    for n, (_, change) in enumerate(helped):
        for event, wish in change.tolist():
            together.setdefault(event, wish)
        if n > 0:
            merged.append(np.array(list(together.items()), np.int64))
    return merged


def _mutation(rng: np.random.Generator, events: int) -> np.ndarray:
    """i64[n, 2]: a few events, near each other or anywhere, with other wishes."""
    count = min(int(rng.geometric(0.5)), events)
    centre = int(rng.integers(events))
    near = rng.random() < 0.5
    low, high = (max(centre - 8, 0), min(centre + 9, events)) if near else (0, events)
    where = np.unique(rng.integers(low, high, count))
    return np.stack([where, rng.integers(0, 3, len(where))], axis=1)

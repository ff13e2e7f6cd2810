"""Beam search over the moves of a memory mapping, in which a rule plays every partial game to its end.

A pilot method (Duin and Voss 1999, "The Pilot Method: A Strategy for Heuristic Repetition with Application to the
Steiner Problem in Graphs"): what a partial game is worth is what the rule makes of it. At each event every kept game
takes each of its legal moves; the rule finishes all of these at once on the device, and those of the lowest final
latency are kept. The best finished game is remembered, so that the result is never worse than the rule's.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispatchgym.agents.rules.memory import RULES
from dispatchgym.agents.solvers.base import Solution
from dispatchgym.envs.core import Array
from dispatchgym.envs.memory import MemoryMapping
from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.memory.instance import MemoryInstance, MemorySize

POLICY = "short_stays"
WIDTH = 8
MOVES = 3
LAST = 2**31 - 1  # latency of what is no game


class Beam:
    """Compiled for a size of instance, a rule and a width w."""

    def __init__(self, size: MemorySize, policy: str, width: int, evictions: str) -> None:
        self.env = env = MemoryMapping(size, evictions)
        choose, unused = RULES[policy].make(env.graph), jax.random.key(0)

        def finished(problem: Any, state: Any, taken: Array, k: Array) -> tuple[Array, Array]:
            """(latency, moves) once the rule has played the events from k on."""

            def turn(at: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
                now, moves = carry
                move = choose(env.observe(problem, now), unused)
                return env.step(problem, now, move).state, moves.at[at].set(move)

            state, taken = jax.lax.fori_loop(k, problem.instance.n_events, turn, (state, taken))
            return env.objective(problem, state), taken

        def begin(problem: Any) -> tuple[Any, Array]:
            states = jax.tree.map(lambda x: jnp.repeat(x[None], width, 0), env.reset(problem))
            return states, jnp.zeros((width, size.events), jnp.int32)

        def children(problem: Any, states: Any, taken: Array, alive: Array, k: Array) -> tuple[Any, Array, Array]:
            moves = jnp.arange(MOVES, dtype=jnp.int32)

            def every(state: Any) -> Any:
                return jax.vmap(lambda move: env.step(problem, state, move).state)(moves)

            after = jax.tree.map(lambda x: x.reshape(MOVES * width, *x.shape[2:]), jax.vmap(every)(states))
            legal = (states.moves.legal & alive[:, None]).reshape(-1)
            return after, jnp.repeat(taken, MOVES, 0).at[:, k].set(jnp.tile(moves, width)), legal

        def expand(problem: Any, states: Any, taken: Array, alive: Array, k: Array) -> tuple[Any, ...]:
            """(kept games, their moves, which of them are games, latency and moves of the best finished one)."""
            after, moves, legal = children(problem, states, taken, alive, k)
            play = jax.vmap(finished, (None, 0, 0, None))
            latency, whole = play(problem, after, moves, k + 1)
            latency = jnp.where(legal, latency, LAST)
            # Of equal ends the games that have saved more already come first, then the rule's order of moves.
            order = jnp.lexsort((after.latency, latency))
            kept = order[:width]
            pick = jax.tree.map(lambda x: x[kept], (after, moves, legal))
            return *pick, latency[order[0]], whole[order[0]]

        def follow(problem: Any, states: Any, taken: Array, k: Array) -> tuple[Any, Array]:
            """Every game takes the rule's move."""

            def one(state: Any, moves: Array) -> tuple[Any, Array]:
                move = choose(env.observe(problem, state), unused)
                return env.step(problem, state, move).state, moves.at[k].set(move)

            return jax.vmap(one)(states, taken)

        self.prepare = jax.jit(env.prepare)
        self.begin, self.expand, self.follow = jax.jit(begin), jax.jit(expand), jax.jit(follow)


@lru_cache(maxsize=8)
def beams(size: MemorySize, policy: str, width: int, evictions: str = "charged") -> Beam:
    """Compiled once a size, rule and width."""
    return Beam(size, policy, width, evictions)


def beam_search(
    instance: MemoryInstance,
    *,
    policy: str = POLICY,
    width: int = WIDTH,
    time_limit: float | None = None,
    evictions: str = "charged",
    **_: Any,
) -> Solution:
    """The best game found with ``width`` games kept and the rule ``policy`` of ``agents/rules/memory.py`` to finish them.

    Events at which no kept game has a choice cost nothing. With a time limit, in seconds without those of compilation,
    events for which the time is not expected to suffice follow the rule, those of the smallest gain first. Without one
    it takes time with the square of the events, and is deterministic. Raises UnknownNameError for a rule, and
    InstanceError for a width, that does not exist.
    """
    began = time.perf_counter()
    names = [name for name, rule in RULES.items() if not rule.stochastic]
    if policy not in names:
        raise UnknownNameError("deterministic rule", policy, names)
    if type(width) is not int or width < 1:
        raise InstanceError(f"width is {width!r}; give an integer of 1 or more")
    beam = beams(instance.size, policy, width, evictions)
    problem = beam.prepare(instance)
    states, taken = beam.begin(problem)
    best, plan = LAST, np.zeros(0, np.int32)
    alive = jnp.arange(width) == 0
    events = int(instance.n_events)
    gains = np.asarray(instance.gain)[:events]
    if time_limit is not None:
        jax.block_until_ready(beam.expand(problem, states, taken, alive, jnp.int32(events - 1)))  # compiled
        jax.block_until_ready(beam.follow(problem, states, taken, jnp.int32(0)))
    start, played, spent = time.perf_counter(), 0, 0.0
    for k in range(events):
        legal = np.asarray(states.moves.legal)[np.asarray(alive)]
        left = None if time_limit is None else time_limit - (time.perf_counter() - start)
        worth = legal.sum(1).max() > 1
        if worth and left is not None and played:
            rest = events - k
            share = left / max(1e-9, spent / played * rest * rest / 2)  # of the events left that there is time for
            worth = share > 0 and bool((gains[k:] > gains[k]).mean() < share)
        if not worth:
            states, taken = beam.follow(problem, states, taken, jnp.int32(k))
            continue
        since = time.perf_counter()
        states, taken, alive, latency, whole = beam.expand(problem, states, taken, alive, jnp.int32(k))
        if int(latency) < best:
            best, plan = int(latency), np.asarray(whole)
        spent, played = spent + time.perf_counter() - since, played + events - k
    ends = np.where(np.asarray(alive), np.asarray(states.latency), LAST)  # without a choice, or without time for one
    if ends.min() < best:
        best, plan = int(ends.min()), np.asarray(taken[ends.argmin()])
    seconds = time.perf_counter() - began
    return Solution(plan[:events].tolist(), best, "feasible", None, seconds, {"evictions": evictions})

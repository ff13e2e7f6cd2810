"""MemoryMapping beside its twin: masks, rewards and objectives of every move, and the validator's word at the end."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from twins.memory import MemoryTwin
from twins.memory_cases import BY_HAND, CHECKS, LETTERS, RULES, SIZE, random_memory, worked

from dispatchgym.envs.memory import MemoryMapping
from dispatchgym.eval.validators.memory import validate
from dispatchgym.instances.base import common_size, stack
from dispatchgym.instances.memory.instance import MemoryInstance
from dispatchgym.instances.memory.suites import named

LANES = 64


@cache
def functions(evictions: str, reward: str) -> tuple[Any, ...]:
    """(env, start, move) of ``LANES`` episodes at once: every test of these options runs the same compiled programs."""
    env = MemoryMapping(SIZE, evictions=evictions, reward=reward)

    def seen(problem: Any, state: Any) -> tuple[Any, ...]:
        return env.action_mask(problem, state), env.objective(problem, state), env.metrics(problem, state)["simulated"]

    def start(instance: MemoryInstance) -> tuple[Any, ...]:
        problem = env.prepare(instance)
        state = env.reset(problem)
        return problem, state, env.offset(problem), seen(problem, state)

    def move(problem: Any, state: Any, action: Any) -> tuple[Any, ...]:
        moved = env.step(problem, state, action)
        return moved.state, moved.reward, moved.terminated, moved.invalid, seen(problem, moved.state)

    return env, jax.jit(jax.vmap(start)), jax.jit(jax.vmap(move))


def beside(instances: list[MemoryInstance], evictions: str, reward: str, scripts: list[str] | None = None) -> None:
    """Play all instances, by random legal actions or scripts, in the environment and in the twin."""
    env, start, move = functions(evictions, reward)
    lanes = instances + instances[:1] * (LANES - len(instances))
    problem, state, offset, (mask, objective, simulated) = start(stack(lanes, env.size))
    rng = np.random.default_rng(0)
    twins = []
    for instance in instances:
        twins.append(MemoryTwin(evictions, reward))
        twins[-1].reset(instance)
    assert np.asarray(offset)[: len(twins)].tolist() == [twin.latency for twin in twins]
    taken: list[list[int]] = [[] for _ in twins]
    while not all(twin.over for twin in twins):
        masks, actions, rewards, played = (
            np.asarray(mask),
            np.zeros(LANES, np.int32),
            np.zeros(LANES),
            np.zeros(LANES, bool),
        )
        for lane, twin in enumerate(twins):
            if twin.over:
                assert masks[lane].all()
                continue
            legal = np.array(twin.mask())
            assert masks[lane].tolist() == legal.tolist(), (lane, twin.k)
            script = scripts[lane][twin.k] if scripts else None
            action = LETTERS.index(script) if script else int(rng.choice(np.flatnonzero(legal)))
            actions[lane], rewards[lane], played[lane] = action, twin.step(action), True
            taken[lane].append(action)
        state, given, over, invalid, (mask, objective, simulated) = move(problem, state, jnp.asarray(actions))
        n = len(twins)
        assert not np.asarray(invalid)[played].any()
        assert np.asarray(given)[:n].tolist() == rewards[:n].tolist()
        assert np.asarray(objective)[:n].tolist() == [twin.latency for twin in twins]
        assert np.asarray(over)[:n].tolist() == [twin.over for twin in twins]
    options = {"evictions": evictions, "reward": reward}
    for lane, (instance, actions_) in enumerate(zip(instances, taken, strict=True)):
        verdict = validate(instance, actions_, options)
        assert verdict.objective == int(objective[lane]), verdict.errors
        assert verdict.metrics["simulated"] == int(simulated[lane])


@pytest.mark.parametrize("evictions", ["charged", "free"])
def test_random_episodes(evictions: str) -> None:
    for first in range(0, 5 * LANES, LANES):
        beside([random_memory(seed) for seed in range(first, first + LANES)], evictions, "latency")


def test_random_episodes_that_pay_benefits() -> None:
    beside([random_memory(seed) for seed in range(1000, 1000 + LANES)], "charged", "benefit")


@pytest.mark.parametrize("evictions", ["charged", "free"])
def test_updates_by_hand_and_the_worked_example(evictions: str) -> None:
    cases = [(instance, lines) for mode, instance, lines in BY_HAND.values() if mode == evictions]
    scripts = ["".join(line.action for line in lines) for _, lines in cases]
    traces = [
        case["trace"]
        for name, case in CHECKS["worked_example"].items()
        if name.startswith(f"{evictions}_") and "trace" in case
    ]
    scripts += ["".join(line["action"] for line in trace) for trace in traces]
    beside([instance for instance, _ in cases] + [worked()] * len(traces), evictions, "latency", scripts)


@pytest.mark.parametrize("evictions", ["charged", "free"])
def test_greedy_play_of_real_programs(evictions: str) -> None:
    rows = [row for row in CHECKS["greedy"] if row["events"] < 200]
    instances = [named(f"{row['instance']}@{row['capacity_mib']}MiB").instance for row in rows]
    env = MemoryMapping(common_size(instances), evictions=evictions)
    orders = jnp.array([[LETTERS.index(letter) for letter in order] for order in RULES.values()])

    def play(instance: MemoryInstance, order: Any) -> tuple[Any, ...]:
        problem = env.prepare(instance)

        def step(state: Any, _: Any) -> tuple[Any, Any]:
            mask = env.action_mask(problem, state)
            action = order[mask[order].argmax()]
            return env.step(problem, state, action).state, (action, mask.sum() == 1)

        state, (actions, forced) = jax.lax.scan(step, env.reset(problem), None, env.max_steps)
        return actions, forced, env.objective(problem, state)

    every = jax.jit(jax.vmap(jax.vmap(play, (None, 0)), (0, None)))
    for row, actions, forced, objective in zip(
        rows, *map(np.asarray, every(stack(instances, env.size), orders)), strict=True
    ):
        for n, rule in enumerate(RULES):
            expected = row[f"{evictions}_{rule}"]
            text = "".join(LETTERS[a] for a in actions[n][: row["events"]])
            assert hashlib.sha256(text.encode()).hexdigest() == expected["actions_sha256"]
            assert (int(objective[n]), int(forced[n].sum())) == (expected["latency"], expected["forced_moves"])

"""What policy improvement by rollouts runs on the device: a rule's episodes, states along episodes, costs of candidates."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from dispatchgym.agents.lanes import encode, stepper, to_torch
from dispatchgym.envs.core import Environment, Policy, rollout
from dispatchgym.envs.registry import door
from dispatchgym.gnn.network import GraphScorer, Step

KEY = jax.random.key(0)  # for rules, which are deterministic here
GROUPS = 4  # of states by their moment, each rolled out until its last episode ends


class Trials:
    """What runs on the device: the rule's episodes, states along given episodes, and the cost of candidates."""

    def __init__(self, env: Environment, policy: Policy) -> None:
        def rule(problems: Any) -> tuple[Any, Any]:
            played = rollout(env, policy, problems, KEY)
            return played.actions.T, played.objective

        def at(problem: Any, actions: Any, moments: Any) -> tuple[Any, Any, Any]:
            def body(state: Any, action: Any) -> tuple[Any, Any]:
                choice = (env.action_mask(problem, state).sum() > 1) & ~env.terminated(problem, state)
                return env.step(problem, state, action).state, (state, choice)

            _, (states, choice) = jax.lax.scan(body, env.reset(problem), actions)
            count = jnp.cumsum(choice)  # the n-th state with a choice is the first where the count is n
            number = jnp.floor(moments * count[-1]).astype(count.dtype) + 1
            where = jnp.minimum(jnp.searchsorted(count, number), len(actions) - 1)
            states = jax.tree.map(lambda leaf: leaf[where], states)

            def look(state: Any) -> tuple[Any, Any]:
                o = env.observe(problem, state)
                return (o.action_mask, o.action_nodes, o.action_features, o.globals), policy(o, KEY)

            return states, *jax.vmap(look)(states)

        def lanes(function: Any, *axes: Any) -> Any:
            """Over [B], [B, S] and [B, S, C]; ``axes`` tells for each argument which of the last two it has."""
            by_try = jax.vmap(function, [0 if "C" in a else None for a in axes])
            by_state = jax.vmap(by_try, [0 if "S" in a else None for a in axes])
            return jax.vmap(by_state, [0] * len(axes))

        def move(problem: Any, state: Any) -> Any:
            return env.step(problem, state, policy(env.observe(problem, state), KEY)).state

        def cost(problems: Any, states: Any, first: Any) -> Any:
            state = lanes(lambda p, s, a: env.step(p, s, a).state, "", "S", "SC")(problems, states, first)
            over = lanes(env.terminated, "", "SC")
            state = jax.lax.while_loop(
                lambda s: ~over(problems, s).all(), lambda s: lanes(move, "", "SC")(problems, s), state
            )
            return lanes(env.objective, "", "SC")(problems, state)

        self.rule = jax.jit(rule)
        self.at = jax.jit(jax.vmap(at))
        self._cost = jax.jit(cost)

    def costs(self, problems: Any, states: Any, first: np.ndarray) -> np.ndarray:
        """f64[B, S, C]: objective at the end if ``first`` i32[B, S, C] is taken in ``states`` [B, S], and the rule follows."""

        def one(part: Any) -> np.ndarray:
            some = jax.tree.map(lambda leaf: leaf[:, part], states)
            return np.asarray(self._cost(problems, some, jax.device_put(first[:, part])), np.float64)

        return _grouped(one, first.shape[1])


def continued(env: Environment, problems: Any, states: Any, first: np.ndarray, network: GraphScorer) -> np.ndarray:
    """As :meth:`Trials.costs`, but a network plays to the end, greedily."""
    jitted = stepper(env)
    encoded = encode(network, env, problems)

    @torch.no_grad()
    def one(part: Any) -> np.ndarray:
        tries = first.shape[2]
        state = jax.tree.map(lambda leaf: jnp.repeat(leaf[:, part], tries, axis=1), states)
        action = first[:, part].reshape(len(first), -1)
        for _ in range(env.max_steps):
            state, ended, seen = jitted.step(problems, state, jax.device_put(action))
            if np.asarray(ended).all():
                break
            action = network(encoded, Step(*map(to_torch, seen)))[0].argmax(-1).to(torch.int32).numpy()
        objective = np.asarray(jitted.objective(problems, state), np.float64)
        return objective.reshape(len(first), -1, tries)

    return _grouped(one, first.shape[1])


def _grouped(one: Callable[[Any], np.ndarray], states: int) -> np.ndarray:
    """``one`` for parts of the states, joined along axis 1.

    States that lie late in their episodes, which end soon, run apart from early ones, and one thread a core: a small
    program of XLA's runs on the thread that calls it.
    """
    groups = math.gcd(states, GROUPS)
    parts = [slice(None)] if groups == 1 else np.split(np.arange(states), groups)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.concatenate(list(pool.map(one, parts)), axis=1)


def padded(actions: np.ndarray, env: Environment) -> np.ndarray:
    """i32[B, T] of a network's actions [n, B, 1]; 0 behind the end."""
    padded = np.zeros((actions.shape[1], env.max_steps), np.int32)
    padded[:, : len(actions)] = actions[:, :, 0].T
    return padded


@functools.lru_cache(maxsize=16)
def trials_of(env: Environment, rule: str) -> Trials:
    """Compiled once for an environment and a rule of its family."""
    return Trials(env, door("agents.rules", env.family).RULES[rule].make(env.graph))

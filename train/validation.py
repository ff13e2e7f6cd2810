"""What trainers measure a policy on, and against: fixed instances, ratios to a reference, and which of two is better."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispatchgym.agents.lanes import play, stepper
from dispatchgym.agents.rules.base import Rule
from dispatchgym.envs.core import Environment, rollout
from dispatchgym.envs.graph import GraphObservation
from dispatchgym.envs.registry import Entry
from dispatchgym.gnn.network import GraphScorer

VALIDATION_SEED = 2**30  # training keys fold in iterations, which stay below


class Fixed:
    """``count`` problems of a generator that training never draws: number ``index`` of the run ``seed``."""

    def __init__(self, entry: Entry, env: Environment, generator: str, seed: int, index: int, count: int) -> None:
        self.entry, self.env, self.generator = entry, env, generator
        self.key, self.index, self.count = jax.random.key(seed), index, count

    @functools.cached_property
    def problems(self) -> Any:
        """Drawn at the first use."""
        key = jax.random.fold_in(self.key, VALIDATION_SEED + self.index)
        return draw(self.entry, self.env, self.generator, key, self.count)

    @functools.cached_property
    def random_play(self) -> tuple[np.ndarray, np.ndarray]:
        """(objectives, returns) of one random episode per problem."""
        return play_at_random(self.env, self.problems, self.key)

    def by_rule(self, rule: Rule) -> np.ndarray:
        """f64[B]: objectives of a rule that plays under the options of this environment."""
        policy = rule.make(self.env.graph)
        played = jax.jit(lambda p: rollout(self.env, policy, p, self.key))(self.problems)
        return np.asarray(played.objective, float)

    def reference(self, problems: Any = None) -> np.ndarray:
        """f64[B]: what objectives are divided by, for these problems or others of the generator.

        The offset; where an offset is not positive, the mean of random play on these problems for all.
        """
        offset = np.asarray(stepper(self.env).offset(self.problems if problems is None else problems), float)
        return offset if (offset > 0).all() else np.full_like(offset, max(self.random_play[0].mean(), 1.0))

    def ratio(self, network: GraphScorer) -> float:
        """Mean objective / reference of greedy play."""
        return float((play(self.env, self.problems, network).objective[:, 0] / self.reference()).mean())


def better(sense: str, new: float, best: float) -> bool:
    """Whether an objective or ratio beats another; ``sense`` is the environment's."""
    return new > best if sense == "max" else new < best


def worst(sense: str) -> float:
    """What every finite value beats."""
    return -float("inf") if sense == "max" else float("inf")


def draw(entry: Entry, env: Environment, generator: str, key: jax.Array, count: int) -> Any:
    """``count`` prepared problems of a named generator."""
    return stepper(env).prepare(_sampler(entry.source(generator=generator).generator)(jax.random.split(key, count)))


def play_at_random(env: Environment, problems: Any, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """(objectives, returns) of one random episode per problem."""

    def policy(observation: GraphObservation, key: jax.Array) -> jax.Array:
        return jax.random.categorical(key, jnp.where(observation.action_mask, 0.0, -jnp.inf))

    played = jax.jit(lambda p: rollout(env, policy, p, key))(problems)
    return np.asarray(played.objective, float), np.asarray(played.rewards, float).sum(0)


@functools.lru_cache(maxsize=64)
def _sampler(generator: Any) -> Any:
    return jax.jit(jax.vmap(generator))  # kept: a new function object would be compiled anew in every iteration

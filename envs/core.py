"""The functional core: one problem family as pure functions over arrays.

Written once per family; the faces in ``envs/adapters`` know no family. All randomness is in the instance, so ``step`` is a
deterministic function of (problem, state, action), and an observation may depend on the exogenous data only up to now.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import gymnasium
import jax
import jax.numpy as jnp

from dispatchgym.envs.graph import GraphObservation, GraphSpec
from dispatchgym.instances.base import DispatchGymError

Array = jax.Array
I = TypeVar("I")  # noqa: E741 - Instance
P = TypeVar("P")  # Problem: the instance plus whatever of it is worth computing once
S = TypeVar("S")  # State


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Transition(Generic[S]):
    """What one decision led to."""

    state: S
    reward: Array  # f32[]  natural units of the objective
    terminated: Array  # bool[]
    invalid: Array  # bool[]  the action was outside the mask; the state is unchanged


class Environment(ABC, Generic[I, P, S]):
    """One problem family. All methods trace under jit and vmap, and read nothing but their arguments and static sizes.

    ``prepare`` runs once per instance and holds what is static in an episode; ``reset``, ``step`` and ``observe`` take its result.
    For a minimised objective: ``objective(end) == offset(problem) - sum of rewards``; for a maximised one with a plus.
    """

    family: ClassVar[str]
    sense: ClassVar[str]  # "min" | "max"
    unit: ClassVar[str] = ""  # of the objective
    headline: ClassVar[str] = ""  # validator's metric that methods are compared by, in ``unit``; "": the objective
    size: Any  # the NamedTuple of static sizes
    graph: GraphSpec
    action_space: gymnasium.Space
    max_steps: int  # a proven bound on the number of legal actions in an episode
    render_modes: ClassVar[tuple[str, ...]] = ()  # what ``render`` can draw, of Gymnasium's "rgb_array" and "ansi"

    @abstractmethod
    def prepare(self, instance: I) -> P:
        """The problem: an instance of exactly ``self.size`` with its static graph."""

    @abstractmethod
    def reset(self, problem: P) -> S:
        """The state before the first decision."""

    @abstractmethod
    def advance(self, problem: P, state: S, action: Array) -> tuple[S, Array]:
        """(next state, reward) of a legal action in a state that is not terminal; anything goes otherwise, but no crash."""

    @abstractmethod
    def action_mask(self, problem: P, state: S) -> Array:
        """bool[A], True where the action is legal; all True in a terminal state."""

    @abstractmethod
    def terminated(self, problem: P, state: S) -> Array:
        """bool[]: no decision is left."""

    @abstractmethod
    def observe(self, problem: P, state: S) -> GraphObservation:
        """The graph an agent sees."""

    @abstractmethod
    def objective(self, problem: P, state: S) -> Array:
        """i32[]: the objective so far in natural units; at the end, what is scored."""

    @abstractmethod
    def offset(self, problem: P) -> Array:
        """i32[]: what the sum of rewards is measured from (a lower bound, the value of a stated start, or 0)."""

    def metrics(self, problem: P, state: S) -> dict[str, Array]:
        """Further scalars worth reporting at the end of an episode."""
        return {}

    def render(self, problem: P, state: S, mode: str) -> Any:
        """A picture of one state, on the host: u8[H, W, 3] for "rgb_array", text for "ansi"."""
        modes = ", ".join(self.render_modes) or "none"
        raise DispatchGymError(f"{self.family} cannot be rendered as {mode!r}; it offers {modes}")

    def perturb_future(self, problem: P, state: S, key: Array) -> P | None:
        """The same problem with another future of its exogenous data, or None where the agent sees all of it at once.

        What ``state`` may already know stays; the tests demand that observation and mask stay too.
        """
        return None

    def is_legal(self, problem: P, state: S, action: Array) -> Array:
        """bool[]: inside the action space and the mask."""
        mask = self.action_mask(problem, state)
        inside = (action >= 0) & (action < mask.shape[0])
        return inside & mask[jnp.clip(action, 0, mask.shape[0] - 1)]

    def step(self, problem: P, state: S, action: Array) -> Transition[S]:
        """Take an action. An illegal one, or one after the end, leaves the state as it is, at reward 0."""
        action = jnp.asarray(action)
        over = self.terminated(problem, state)
        legal = self.is_legal(problem, state, action)
        moved, reward = self.advance(problem, state, action)
        keep = over | ~legal
        after = jax.tree.map(lambda new, old: jnp.where(keep, old, new), moved, state)
        return Transition(after, jnp.where(keep, 0.0, reward), self.terminated(problem, after), ~legal)


Policy = Callable[[GraphObservation, Array], Array]
"""(observation, key) -> action; pure, traced under jit and vmap."""


class Rollout(NamedTuple):
    """The result of :func:`rollout` for a batch of B episodes of T = ``max_steps`` slots."""

    state: Any  # final states, leading axis B
    actions: Array  # [T, B]
    rewards: Array  # f32[T, B]   0 after the end
    active: Array  # bool[T, B]  the slot belongs to the episode
    objective: Array  # i32[B]


def rollout(env: Environment, policy: Policy, problems: Any, key: Array, max_steps: int | None = None) -> Rollout:
    """Run a batch of prepared problems to the end as one ``lax.scan``; traced by jit.

    Finished lanes idle. ``key`` is one key, from which every lane derives its own, or one key a lane: a lane's randomness
    then does not depend on its place in the batch.
    """
    batch = jax.tree.leaves(problems)[0].shape[0]
    lane_keys = key if key.ndim else jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(batch))

    def one(problem: Any, state: Any, lane_key: Array, t: Array) -> tuple[Any, tuple[Array, Array, Array]]:
        action = policy(env.observe(problem, state), jax.random.fold_in(lane_key, t))
        active = ~env.terminated(problem, state)
        after = env.step(problem, state, action)
        return after.state, (action, after.reward, active)

    def body(state: Any, t: Array) -> tuple[Any, tuple[Array, Array, Array]]:
        return jax.vmap(one, (0, 0, 0, None))(problems, state, lane_keys, t)

    start = jax.vmap(env.reset)(problems)
    state, (actions, rewards, active) = jax.lax.scan(body, start, jnp.arange(max_steps or env.max_steps))
    return Rollout(state, actions, rewards, active, jax.vmap(env.objective)(problems, state))

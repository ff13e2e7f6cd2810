"""A family of a user's own in one file, a road with tolls, and the same one broken in ways that ``check`` must see.

Each day one of the open lanes is taken at its toll; the lane of the day before is closed. Tolls are exogenous and
become known on their day. The objective is what was paid.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from dispatchgym.envs.core import Environment, Transition
from dispatchgym.envs.graph import Column, GraphObservation, GraphSpec
from dispatchgym.envs.registry import Entry, register
from dispatchgym.instances.base import InstanceError

SUITES: dict = {}


class TollSize(NamedTuple):
    days: int
    lanes: int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TollInstance:
    toll: Any  # i32[days, lanes]
    days: Any  # i32[]
    open: Any  # bool[lanes]

    @property
    def size(self) -> TollSize:
        return TollSize(*np.shape(self.toll))

    def pad(self, size: TollSize) -> "TollInstance":
        days, lanes = (room - have for have, room in zip(self.size, size, strict=True))
        if days < 0 or lanes < 0:
            raise InstanceError(f"{self.size} does not fit {size}")
        return TollInstance(
            np.pad(self.toll, ((0, days), (0, lanes))), np.asarray(self.days), np.pad(self.open, (0, lanes))
        )


@dataclass(frozen=True)
class Random:
    days: int
    lanes: int

    @property
    def size(self) -> TollSize:
        return TollSize(max(self.days, 1), self.lanes)

    def __call__(self, key: jax.Array) -> TollInstance:
        toll = jax.random.randint(key, self.size, 0, 100, jnp.int32)
        return TollInstance(toll, jnp.int32(self.days), jnp.ones(self.lanes, bool))


def generator(name: str) -> Random:
    """ "toll-DxL"."""
    days, lanes = name.removeprefix("toll-").split("x")
    return Random(int(days), int(lanes))


def coerce(value: Any) -> TollInstance:
    if not isinstance(value, TollInstance):
        raise InstanceError(f"{value!r} is no road with tolls")
    return value


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TollState:
    day: Any  # i32[]
    last: Any  # i32[]  lane of the day before, -1 at first
    paid: Any  # i32[]


class Toll(Environment[TollInstance, TollInstance, TollState]):
    family = "toys"
    sense = "min"
    edge_columns: tuple[Column, ...] = (Column("beside", "the lane to the right", "indicator"),)

    def __init__(self, size: TollSize, free: bool = False) -> None:
        self.size = size
        self.free = free
        self.graph = GraphSpec(
            n_nodes=size.lanes,
            n_edges=size.lanes - 1,
            n_actions=size.lanes,
            nodes_per_action=1,
            node_columns=(Column("toll", "of today", "money", dynamic=True),),
            edge_columns=self.edge_columns,
            global_columns=(Column("day", "days gone", dynamic=True), Column("paid", "so far", "money", dynamic=True)),
            action_columns=(Column("toll", "of today", "money", dynamic=True),),
        )
        self.action_space = gymnasium.spaces.Discrete(size.lanes)
        self.max_steps = size.days

    def prepare(self, instance):
        return jax.tree.map(jnp.asarray, instance)

    def reset(self, problem):
        return TollState(jnp.int32(0), jnp.int32(-1), jnp.int32(0))

    def today(self, problem, state):
        return problem.toll[jnp.clip(state.day, 0, self.size.days - 1)] * ~self.terminated(problem, state)

    def advance(self, problem, state, action):
        toll = self.today(problem, state)[action]
        moved = TollState(state.day + 1, jnp.asarray(action, jnp.int32), state.paid + toll)
        return moved, -toll.astype(jnp.float32)

    def action_mask(self, problem, state):
        return (problem.open & (jnp.arange(self.size.lanes) != state.last)) | self.terminated(problem, state)

    def terminated(self, problem, state):
        return state.day >= problem.days

    def observe(self, problem, state):
        lanes = self.size.lanes
        toll = self.today(problem, state).astype(jnp.float32)[:, None]
        index = jnp.arange(lanes - 1, dtype=jnp.int32)
        kept = problem.open[1:]
        return GraphObservation(
            nodes=toll,
            node_mask=problem.open,
            edge_index=jnp.stack([index, index + 1]) * kept,
            edges=jnp.ones((lanes - 1, len(self.edge_columns)), jnp.float32) * kept[:, None],
            edge_mask=kept,
            globals=jnp.stack([state.day, state.paid]).astype(jnp.float32),
            action_mask=self.action_mask(problem, state),
            action_nodes=jnp.arange(lanes, dtype=jnp.int32)[:, None] * problem.open[:, None],
            action_features=toll,
        )

    def objective(self, problem, state):
        return state.paid

    def offset(self, problem):
        return jnp.int32(0)

    def metrics(self, problem, state):
        return {"mean_toll": state.paid / jnp.maximum(state.day, 1)}

    def perturb_future(self, problem, state, key):
        other = jax.random.randint(key, problem.toll.shape, 0, 100, jnp.int32)
        known = jnp.arange(self.size.days)[:, None] <= state.day
        return TollInstance(jnp.where(known, problem.toll, other), problem.days, problem.open)


class Bare(Toll):
    """Edges without columns: nothing is broken."""

    edge_columns = ()


class LyingMask(Toll):
    """Shows lanes as open that are refused."""

    def observe(self, problem, state):
        shown = super().observe(problem, state).asdict()
        return GraphObservation(**(shown | {"action_mask": jnp.ones(self.size.lanes, bool)}))


class EmptyMask(Toll):
    """No lane is open on day 2."""

    def action_mask(self, problem, state):
        return super().action_mask(problem, state) & (state.day != 2)


class Stuck(Toll):
    """Lane 0 is legal and leads nowhere."""

    def advance(self, problem, state, action):
        moved, reward = super().advance(problem, state, action)
        stay = action == 0
        return jax.tree.map(lambda new, old: jnp.where(stay, old, new), moved, state), jnp.where(stay, 0.0, reward)


class PaidRefusal(Toll):
    """Takes the toll of an illegal action too, and says nothing."""

    def step(self, problem, state, action):
        moved, reward = self.advance(problem, state, jnp.clip(action, 0, self.size.lanes - 1))
        return Transition(moved, reward, self.terminated(problem, moved), jnp.zeros((), bool))


class LeftOver(Toll):
    """A day's toll is missing from the rewards."""

    def advance(self, problem, state, action):
        moved, reward = super().advance(problem, state, action)
        return moved, jnp.where(state.day == 1, reward - 1, reward)


class Leaking(Toll):
    """Remembers earlier episodes in the object instead of the state."""

    episodes = 0

    def reset(self, problem):
        self.episodes += 1
        return TollState(jnp.int32(0), jnp.int32(-1), jnp.int32(self.episodes))


class Prophet(Toll):
    """Shows tomorrow's tolls."""

    def observe(self, problem, state):
        shown = super().observe(problem, state).asdict()
        tomorrow = problem.toll[jnp.clip(state.day + 1, 0, self.size.days - 1)]
        return GraphObservation(**(shown | {"action_features": tomorrow.astype(jnp.float32)[:, None]}))


class Sized(Toll):
    """Tells padded instances apart."""

    def observe(self, problem, state):
        shown = super().observe(problem, state).asdict()
        return GraphObservation(**(shown | {"globals": jnp.full(2, self.size.lanes, jnp.float32)}))


class Endless(Toll):
    """Claims a bound on the episode that does not hold."""

    def __init__(self, size: TollSize) -> None:
        super().__init__(size)
        self.max_steps = size.days - 1


class Weak(Toll):
    """A Python number in the state."""

    def reset(self, problem):
        return TollState(jnp.int32(0), jnp.int32(-1), jnp.asarray(0))


# The check that must fail, for each.
BROKEN = {
    LyingMask: "masks",
    EmptyMask: "masks",
    Stuck: "masks",
    PaidRefusal: "masks",
    LeftOver: "rewards_sum",
    Leaking: "jit_equals_eager",
    Prophet: "no_look_ahead",
    Sized: "padding",
    Endless: "after_the_end",
    Weak: "arrays",
}


@cache
def toy(cls: type[Toll]) -> str:
    """The id of a class of this module, registered."""
    env_id = f"toys/{cls.__name__}-v0"
    register(Entry(env_id, f"toys:{cls.__name__}", "toys", "toll-4x3", cls.__doc__ or "", instances="toys"))
    return env_id

"""Rules of memory mapping: which move is tried first."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dispatchgym.agents.rules.base import Rule, View, first_by, pick_uniform, uniform
from dispatchgym.envs.core import Array, Policy
from dispatchgym.envs.graph import GraphObservation, GraphSpec

EPSILON = 0.05
LONGEST = 3.0  # chosen on the training programs, of 1 and 3

Key = Callable[[View], Array]


def column(name: str, sign: int = 1) -> Key:
    """The column, smallest first; with sign -1 largest first."""
    return lambda c: sign * c[name]


COPY, NO_COPY = column("copy", -1), column("no_copy", -1)


def _long(c: View) -> Array:
    """NoCopy of a write that would stay much longer than until it is copied back; Copy of a write otherwise."""
    writes = c.overall("write") > 0
    long = c["stretch"][1] > LONGEST
    return writes & jnp.where(long, c["no_copy"] > 0, c["copy"] > 0)


def _sometimes(share: float, make: Callable[[GraphSpec], Policy]) -> Callable[[GraphSpec], Policy]:
    """The rule, but with probability ``share`` any legal move."""

    def made(spec: GraphSpec) -> Policy:
        rule = make(spec)

        def policy(observation: GraphObservation, key: Array) -> Array:
            whether, which = jax.random.split(key)
            any_ = pick_uniform(observation.action_mask, which)
            return jnp.where(jax.random.uniform(whether) < share, any_, rule(observation, key))

        return policy

    return made


_RULES = (
    Rule("all_slow", "Drop wherever it is legal: all in slow memory", first_by(column("copy"), column("no_copy"))),
    Rule("nocopy_first", "NoCopy, else Copy, else Drop: whole lifetimes as long as they fit", first_by(NO_COPY, COPY)),
    Rule("copy_first", "Copy, else NoCopy, else Drop: just in time, and back at once", first_by(COPY, NO_COPY)),
    Rule(
        "short_stays",
        f"NoCopy, but Copy for a write whose whole stay takes over {LONGEST:g} times the one until it is copied back",
        first_by(column("keeps", -1), _long, NO_COPY),
    ),
    Rule(
        "epsilon_copy_first",
        f"copy_first, but any legal move with probability {EPSILON:g}; meant for best of k",
        _sometimes(EPSILON, first_by(COPY, NO_COPY)),
        stochastic=True,
    ),
    Rule("random", "any legal move, all equally likely", uniform, stochastic=True),
)

RULES = {rule.name: rule for rule in _RULES}

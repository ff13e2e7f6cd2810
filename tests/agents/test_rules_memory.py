"""Memory-mapping rules in the environment, against the published latencies and move strings."""

import hashlib
import json
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispatchgym.agents.rules.memory import RULES
from dispatchgym.envs.core import rollout
from dispatchgym.envs.registry import make
from dispatchgym.instances.base import stack
from dispatchgym.instances.memory import named

ENV = "dispatchgym/MemoryMapping-v0"
PUBLISHED = json.loads((Path(__file__).parents[1] / "data" / "memory" / "check_values.json").read_text())["greedy"]
SMALL = [row for row in PUBLISHED if row["events"] <= 400]
LARGE = [row for row in PUBLISHED if 400 < row["events"] <= 1200]


@cache
def player(size, evictions, *rules):
    """Jitted: (problem) -> (actions [T, rules], objectives, rewards): all rules at once, a lane each."""
    env = make(ENV, size=size, generator="random-12x10", evictions=evictions)
    policies = [RULES[rule].make(env.graph) for rule in rules]

    def play(problem):
        played = [
            rollout(env, policy, jax.tree.map(lambda x: x[None], problem), jax.random.key(0)) for policy in policies
        ]
        return tuple(jnp.concatenate([getattr(p, k) for p in played], -1) for k in ("actions", "objective", "rewards"))

    return jax.jit(lambda instance: play(env.prepare(instance)))


def check(row, evictions):
    instance = named(f"{row['instance']}@{row['capacity_mib']}MiB").instance
    rules = ("nocopy_first", "copy_first", "all_slow")
    play = player(instance.size, evictions, *rules)
    actions, objective, rewards = map(np.asarray, play(instance))
    for lane, rule in enumerate(rules[:2]):
        wanted = row[f"{evictions}_{rule}"]
        text = "".join("DNC"[a] for a in actions[:, lane])
        assert objective[lane] == wanted["latency"]
        assert hashlib.sha256(text.encode()).hexdigest() == wanted["actions_sha256"]
        assert row["all_hbm"] - rewards[:, lane].astype(np.int64).sum() == wanted["latency"]
    assert objective[2] == row["all_hbm"]
    assert (actions[:, 2] == 0).all()


@pytest.mark.parametrize("evictions", ["charged", "free"])
@pytest.mark.parametrize("row", SMALL, ids=lambda row: f"{row['instance']}-{row['capacity_mib']}")
def test_greedy_play_is_as_published(row, evictions):
    check(row, evictions)


@pytest.mark.slow
@pytest.mark.parametrize("row", LARGE, ids=lambda row: f"{row['instance']}-{row['capacity_mib']}")
def test_greedy_play_of_large_programs_is_as_published(row):
    check(row, "charged")


def test_short_stays_pins_what_is_used_soon_and_copies_the_rest():
    instance = named("mlp_train@4MiB").instance
    env = make(ENV, instance=instance)
    names = env.graph.names("action")
    policy = RULES["short_stays"].make(env.graph)
    problem = env.prepare(instance)

    def body(state, _):
        o = env.observe(problem, state)
        return env.step(problem, state, policy(o, jax.random.key(0))).state, (o, policy(o, jax.random.key(0)))

    _, (seen, action) = jax.jit(lambda: jax.lax.scan(body, env.reset(problem), None, length=env.max_steps))()
    features, mask = np.asarray(seen.action_features), np.asarray(seen.action_mask)
    writes = np.asarray(seen.globals)[:, env.graph.index("global", "write")] > 0
    stretch = features[:, 1, names.index("stretch")]
    free = writes & mask[:, 1] & mask[:, 2]
    assert {1, 2} <= set(np.asarray(action)[free].tolist())
    np.testing.assert_array_equal(np.asarray(action)[free], np.where(stretch[free] > 3, 2, 1))
    reads = ~writes & mask[:, 1]
    assert (np.asarray(action)[reads] == 1).all()


def test_epsilon_copy_first_strays_now_and_then():
    instance = named("mlp_train@8MiB").instance
    env = make(ENV, instance=instance)
    problems = jax.jit(jax.vmap(env.prepare))(stack([instance] * 16))
    policies = [RULES[name].make(env.graph) for name in ("copy_first", "epsilon_copy_first")]
    greedy, strayed = jax.jit(lambda p: [rollout(env, policy, p, jax.random.key(1)).objective for policy in policies])(
        problems
    )
    assert len(set(np.asarray(greedy).tolist())) == 1
    assert len(set(np.asarray(strayed).tolist())) > 4
    assert np.asarray(strayed).min() < np.asarray(greedy)[0]

"""Rules of the SoC: each is legal to the end, and does what its name says. Published totals are in tests/envs/test_soc.py."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispatchgym.agents.rules.soc import RULES
from dispatchgym.envs.core import rollout
from dispatchgym.envs.soc import SocDag
from dispatchgym.instances.base import stack
from dispatchgym.instances.soc import generator


@pytest.fixture(scope="module")
def streams():
    draw = generator("canonical-varied-5", noise=(0, 300))
    instances = [jax.tree.map(np.asarray, draw(jax.random.key(i))) for i in range(6)]
    return stack(instances, draw.size)


def flows(streams, rule: str, **options) -> np.ndarray:
    size = generator("canonical-varied-5").size
    env = SocDag(size, **options)
    problems = jax.jit(jax.vmap(env.prepare))(streams)
    policy = RULES[rule].make(env.graph)

    def checked(observation, key):
        action = policy(observation, key)
        return jnp.where(observation.action_mask[action], action, -1)

    result = jax.jit(lambda p: rollout(env, checked, p, jax.random.key(0)))(problems)
    assert (np.asarray(result.state.departed) == 5).all(), f"{rule} chose an illegal pair"
    return np.asarray(result.objective)


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"min_min"}))
def test_every_rule_plays_to_the_end(streams, rule):
    assert (flows(streams, rule) > 0).all()


def test_a_rule_that_needs_the_order_of_speeds_alone_is_not_hurt_by_seeing_only_that(streams):
    assert (flows(streams, "speed_ordered_rr") == flows(streams, "speed_ordered_rr", speeds="order")).all()


def test_informed_rules_beat_blind_ones(streams):
    blind = min(flows(streams, rule).sum() for rule in ("random", "round_robin", "fifo_random"))
    for rule in ("etf_ds3", "sufferage", "job_etf", "srpt_etf", "heft_dag"):
        assert flows(streams, rule).sum() < blind


def test_one_window_position_a_decision_makes_min_min_and_etf_the_same():
    spec = SocDag(generator("canonical-4").size).graph
    assert RULES["min_min"].doc != RULES["etf_ds3"].doc
    rng = np.random.default_rng(0)
    env = SocDag(generator("canonical-4").size)
    problem = env.prepare(generator("canonical-4")(jax.random.key(0)))
    state, step, observe = env.reset(problem), jax.jit(env.step), jax.jit(env.observe)
    choices = [jax.jit(RULES[name].make(spec)) for name in ("min_min", "etf_ds3")]
    for _ in range(25):
        seen = observe(problem, state)
        ours, theirs = (int(choose(seen, jax.random.key(0))) for choose in choices)
        assert ours == theirs
        finish = np.asarray(seen.action_features)[:, spec.index("action", "finish")]
        legal = np.flatnonzero(np.asarray(seen.action_mask))
        assert finish[ours] == finish[legal].min()
        state = step(problem, state, jnp.int32(rng.choice(legal))).state

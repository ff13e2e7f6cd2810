"""Rules of the SoC: each is legal to the end, and does what its name says. Published totals are in tests/envs/test_soc.py."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispatchgym.agents.rules.soc import RULES
from dispatchgym.envs.soc import SocDag
from dispatchgym.instances.soc import generator

NAMES = tuple(sorted(RULES))


def flows(**options) -> dict[str, np.ndarray]:
    """Total flow times of every rule on the same six streams, -1 where it chose an illegal pair: one program for all rules."""
    draw = generator("canonical-varied-5", noise=(0, 300))
    env = SocDag(draw.size, **options)
    rules = [RULES[name].make(env.graph) for name in NAMES]

    def play(problem, number, key):
        def body(carry, _):
            state, legal = carry
            seen = env.observe(problem, state)
            action = jnp.stack([rule(seen, jax.random.fold_in(key, state.decisions)) for rule in rules])[number]
            moved = env.step(problem, state, action)
            return (moved.state, legal & ~moved.invalid | env.terminated(problem, state)), None

        start = (env.reset(problem), jnp.bool_(True))
        (state, legal), _ = jax.lax.scan(body, start, None, length=env.max_steps)
        return jnp.where(legal & env.terminated(problem, state), state.flow, -1)

    def everything(keys):
        problems = jax.vmap(env.prepare)(jax.vmap(draw)(keys))
        lanes = jax.vmap(jax.vmap(play, (0, None, 0)), (None, 0, None))
        return lanes(problems, jnp.arange(len(rules)), keys)

    found = np.asarray(jax.jit(everything)(jax.random.split(jax.random.key(0), 6)))
    return dict(zip(NAMES, found, strict=True))


@pytest.fixture(scope="module")
def known() -> dict[str, np.ndarray]:
    return flows()


def test_every_rule_plays_to_the_end(known):
    for name, found in known.items():
        assert (found > 0).all(), f"{name} chose an illegal pair"


def test_a_rule_that_needs_the_order_of_speeds_alone_is_not_hurt_by_seeing_only_that(known):
    ordered = flows(speeds="order")
    assert (known["speed_ordered_rr"] == ordered["speed_ordered_rr"]).all()
    assert (known["etf_ds3"] != ordered["etf_ds3"]).any()


def test_informed_rules_beat_blind_ones(known):
    blind = min(known[rule].sum() for rule in ("random", "round_robin", "fifo_random"))
    for rule in ("etf_ds3", "sufferage", "job_etf", "srpt_etf", "heft_dag"):
        assert known[rule].sum() < blind


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

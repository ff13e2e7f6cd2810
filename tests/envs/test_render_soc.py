"""The picture of a chip: what has run, and the rest where it is expected; never what the future holds."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest

from dispatchgym.agents.rules.soc import RULES
from dispatchgym.envs.registry import make
from dispatchgym.envs.soc import render
from dispatchgym.instances.soc import generator


@pytest.fixture(scope="module")
def scene():
    """(environment, problem, states) along an episode."""
    draw = generator("canonical-6", mean_gap=(20, 20), noise=(300, 300))
    env = make("dispatchgym/SocDag-v0", generator=draw)
    problem = jax.jit(env.prepare)(draw(jax.random.key(4)))
    policy = RULES["etf_ds3"].make(env.graph)
    step = jax.jit(lambda p, s: env.step(p, s, policy(env.observe(p, s), jax.random.key(0))).state)
    states = [jax.jit(env.reset)(problem)]
    for _ in range(40):
        states.append(step(problem, states[-1]))
    return env, problem, states


def test_bars_of_a_pe_do_not_overlap_and_only_the_future_is_expected(scene):
    _, problem, states = scene
    for state in states[::5]:
        chart = render.chart(problem, state)
        now = dict((label, time) for label, time, _ in chart.marks)["now"]
        assert len(chart.bars) == int(((state.pe >= 0) & (state.job >= 0)[:, None]).sum())
        for p in range(chart.rows):
            spans = sorted((bar.start, bar.end) for bar in chart.bars if bar.row == p)
            assert all(a_end <= b_start for (_, a_end), (b_start, _) in itertools.pairwise(spans))
            queued = [bar for bar in chart.bars if bar.row == p and bar.hover.endswith("queued")]
            assert all(bar.start >= now for bar in queued)
        assert sum(bar.hover.endswith("queued") for bar in chart.bars) == int(state.queue.sum())


def test_the_picture_does_not_show_the_future(scene):
    env, problem, states = scene
    for i, state in enumerate(states[::10]):
        other = env.perturb_future(problem, state, jax.random.key(i))
        assert render.chart(other, state).bars == render.chart(problem, state).bars


def test_all_modes_draw(scene):
    env, problem, states = scene
    assert env.render(problem, states[20], "rgb_array").dtype == np.uint8
    assert "now" in env.render(problem, states[20], "ansi")
    assert env.render(problem, states[20], "svg").startswith("<svg")

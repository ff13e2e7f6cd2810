"""What GraphSpec calls static does not change during an episode."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from small import IDS, small

from dispatchgym.envs.registry import lookup

CASES = [(env_id, {}) for env_id in IDS] + [("dispatchgym/WorkflowDag-v0", {"information": "online"})]


@pytest.mark.parametrize(("env_id", "options"), CASES, ids=[f"{i}-{'-'.join(o.values())}" for i, o in CASES])
def test_the_static_part_stays(env_id, options):
    source = lookup(env_id).source(**small(env_id))
    env = lookup(env_id).build(source.size, **options)
    spec = env.graph
    problem = env.prepare(source.instance(0))
    state, step, observe = env.reset(problem), jax.jit(env.step), jax.jit(env.observe)
    fixed_nodes, fixed_globals = (
        np.array([not column.dynamic for column in spec.columns(part)]) for part in ("node", "global")
    )
    rng, first = np.random.default_rng(0), None
    while not env.terminated(problem, state):
        seen = observe(problem, state)
        part = spec.static_part({name: np.asarray(array)[None] for name, array in seen.asdict().items()})
        part["nodes"], part["globals"] = part["nodes"][..., fixed_nodes], part["globals"][..., fixed_globals]
        first = first or part
        for name, array in part.items():
            assert (array == first[name]).all(), name
        nodes = np.asarray(seen.action_nodes)[np.asarray(seen.action_mask)]
        assert (nodes < spec.n_nodes).all()
        legal = np.flatnonzero(np.asarray(seen.action_mask))
        state = step(problem, state, jnp.int32(rng.choice(legal))).state

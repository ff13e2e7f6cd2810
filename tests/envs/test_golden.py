"""Golden trajectories: an environment whose results change must raise its version.

Each file holds what a fixed episode looked like when the version was registered. If this test fails on purpose, register
the next version; to record a new id: ``python tests/envs/test_golden.py``.
"""

import hashlib
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from small import IDS, small

from dispatchgym.envs.registry import lookup

FOLDER = Path(__file__).parents[1] / "data" / "golden"
SIGNIFICANT = 1e4  # floats are compared to this fraction of one: last bits differ between compilers


def trajectory(env_id: str) -> dict:
    """Actions, rewards and objective of one episode, and a digest of everything that was observed."""
    source = lookup(env_id).source(**small(env_id))
    env = lookup(env_id).build(source.size)
    problem = env.prepare(source.instance(0))
    state = env.reset(problem)
    step, observe = jax.jit(env.step), jax.jit(env.observe)
    digest = hashlib.sha256()
    actions, rewards, draw = [], [], 1
    while not bool(env.terminated(problem, state)) and len(actions) < env.max_steps:
        seen = observe(problem, state)
        for name, array in seen.asdict().items():
            values = np.rint(np.asarray(array, np.float64) * SIGNIFICANT).astype("<i8")
            digest.update(name.encode() + str(values.shape).encode() + values.tobytes())
        legal = np.flatnonzero(np.asarray(seen.action_mask))
        draw = 16807 * draw % (2**31 - 1)
        actions.append(int(legal[draw % len(legal)]))
        moved = step(problem, state, actions[-1])
        state = moved.state
        rewards.append(float(moved.reward))
    return {
        "env": env_id,
        "actions": actions,
        "rewards": rewards,
        "objective": int(env.objective(problem, state)),
        "observations_sha256": digest.hexdigest(),
        "schema": env.graph.schema_hash(),
    }


def path(env_id: str) -> Path:
    return FOLDER / (env_id.replace("/", "_") + ".json")


@pytest.mark.parametrize("env_id", IDS)
def test_results_have_not_changed_within_a_version(env_id):
    assert trajectory(env_id) == json.loads(path(env_id).read_text())


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for new in IDS:
        if not path(new).exists():
            path(new).write_text(json.dumps(trajectory(new)) + "\n")
            print(path(new))

"""Search from the pretrained policy's episodes: never worse than they are, and reproducible."""

from __future__ import annotations

import pytest

from dispatchgym.agents.solvers.memory_learned import episode, policy_search
from dispatchgym.eval.validators.memory import validate
from dispatchgym.instances.base import DispatchGymError
from dispatchgym.instances.memory.suites import named

INSTANCE = named("mlp_train@4MiB").instance


def test_the_search_is_as_good_as_the_episodes_it_starts_from():
    greedy, sampled = episode(INSTANCE), episode(INSTANCE, samples=8)
    found = policy_search(INSTANCE, rounds=2, lanes=16)
    verdict = validate(INSTANCE, found.actions, {})
    assert verdict.valid
    assert verdict.objective == found.objective
    assert found.objective <= min(validate(INSTANCE, plan, {}).objective for plan in (greedy, sampled))


def test_it_depends_on_the_seed_alone():
    assert policy_search(INSTANCE, rounds=2, lanes=16).actions == policy_search(INSTANCE, rounds=2, lanes=16).actions
    assert episode(INSTANCE, samples=4, seed=1) == episode(INSTANCE, samples=4, seed=1)


def test_a_folder_without_a_policy_is_refused(tmp_path):
    with pytest.raises(DispatchGymError, match=r"policy\.safetensors"):
        policy_search(INSTANCE, folder=tmp_path)

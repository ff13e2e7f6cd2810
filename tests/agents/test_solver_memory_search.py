"""Local search: every plan replays, it never falls behind its starts, and reaches optima that are known."""

import sys
from pathlib import Path

import pytest

from dispatchgym.agents.solvers.memory_game import PREFERENCES
from dispatchgym.agents.solvers.memory_search import local_search
from dispatchgym.eval.validators.memory import validate
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory import named

sys.path.insert(0, str(Path(__file__).parents[1]))

from twins.memory_cases import worked


@pytest.mark.parametrize(("evictions", "optimum"), [("charged", 16), ("free", 14)])
def test_it_finds_the_optimum_of_the_worked_example(evictions, optimum):
    solution = local_search(worked(), rounds=10, lanes=32, evictions=evictions)
    assert solution.objective == optimum
    assert validate(worked(), solution.actions, {"evictions": evictions}).objective == optimum


def test_it_improves_on_the_greedy_rules_and_replays():
    instance = named("mlp_train@8MiB").instance
    start = local_search(instance, rounds=0, lanes=64)
    assert start.objective == 1411221  # copy-first, as published
    found = local_search(instance, rounds=25, lanes=64)
    assert found.objective < start.objective
    assert validate(instance, found.actions, {}).objective == found.objective
    assert found.objective >= 1130756  # the published bound
    again = local_search(instance, rounds=25, lanes=64)
    assert again.actions == found.actions


def test_it_starts_from_a_hint_and_never_falls_behind():
    instance = named("mlp_train@8MiB").instance
    found = local_search(instance, rounds=25, lanes=64)
    assert local_search(instance, rounds=0, lanes=64, hint=found.actions).objective == found.objective


def test_a_time_limit_ends_it():
    instance = named("mlp_train@8MiB").instance
    local_search(instance, rounds=1, lanes=64)  # compiled
    assert local_search(instance, time_limit=1.0, lanes=64).seconds < 10


def test_padding_changes_nothing():
    instance = named("mlp_train@8MiB").instance
    larger = instance.pad(type(instance.size)(*(n + 3 for n in instance.size)))
    assert local_search(larger, rounds=5, lanes=64).objective == local_search(instance, rounds=5, lanes=64).objective


def test_every_wish_has_all_moves_to_fall_back_on():
    assert sorted(map(sorted, PREFERENCES)) == [[0, 1, 2]] * 3
    assert [row[0] for row in PREFERENCES] == [0, 1, 2]


@pytest.mark.parametrize("hint", [[0] * 3, [3] * 8, [0] * 9])
def test_it_refuses_a_hint_that_is_no_plan(hint):
    with pytest.raises(InstanceError, match="give one of 0, 1 and 2 for each of 8 events"):
        local_search(worked(), hint=hint, rounds=1, lanes=32)

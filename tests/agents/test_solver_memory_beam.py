"""Beam search with pilots: never behind the rule that finishes its games, exact on the worked example, and on time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from twins.memory_cases import random_memory, worked

from dispatchgym.agents.solvers.memory import SOLVERS
from dispatchgym.agents.solvers.memory_beam import beam_search
from dispatchgym.agents.solvers.memory_exact import brute_force
from dispatchgym.agents.solvers.memory_game import COPY, followed
from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.eval.validators.memory import validate
from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.memory.instance import MemorySize

SIZE = MemorySize(9, 7, 63)  # of all random instances, so that one compilation serves them


def test_it_finds_the_optimum_of_the_worked_example() -> None:
    solution = beam_search(worked(), policy="nocopy_first", width=4, evictions="free")
    assert solution.objective == 14 == validate(worked(), solution.actions, {"evictions": "free"}).objective


def test_it_never_falls_behind_its_rule() -> None:
    better = 0
    for seed in range(25):
        instance = random_memory(seed)
        tables = Tables(instance)
        rule = followed(tables, [COPY] * tables.events).latency
        solution = beam_search(instance.pad(SIZE), policy="copy_first", width=6)
        assert solution.objective is not None
        assert solution.objective <= rule
        assert len(solution.actions or ()) == tables.events
        assert validate(instance, solution.actions, solution.options).objective == solution.objective
        if tables.events <= 8:
            assert solution.objective >= brute_force(instance).objective
        better += solution.objective < rule
    assert better > 3


def test_it_is_deterministic_and_heeds_its_time() -> None:
    instance = random_memory(7).pad(SIZE)
    tables = Tables(instance)
    rule = followed(tables, [COPY] * tables.events).latency
    found = beam_search(instance, policy="copy_first", width=6)
    assert beam_search(instance, policy="copy_first", width=6).actions == found.actions
    hurried = beam_search(
        instance, policy="copy_first", width=6, time_limit=0.0
    )  # for the first event with a choice alone
    assert found.objective is not None
    assert hurried.objective is not None
    assert found.objective <= hurried.objective <= rule
    assert SOLVERS["pilot_beam"].timed


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"width": 0}, InstanceError, "width is 0; give an integer of 1 or more"),
        ({"width": 2.5}, InstanceError, "width is 2.5"),
        ({"policy": "copy_frist"}, UnknownNameError, "did you mean 'copy_first'"),
        ({"policy": "random"}, UnknownNameError, "deterministic rule 'random'"),
    ],
)
def test_bad_arguments_are_refused(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        beam_search(worked(), **given)

"""Exact solvers of memory mapping: counts of the worked example, optima of tiny instances, proofs for published programs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from twins.checks import read
from twins.memory_cases import CHECKS, LETTERS, random_memory, worked

from dispatchgym.agents.solvers import memory_exact
from dispatchgym.agents.solvers.memory import SOLVERS
from dispatchgym.agents.solvers.memory_beam import beam_search
from dispatchgym.agents.solvers.memory_exact import brute_force, cp_sat, plays
from dispatchgym.agents.solvers.memory_game import COPY, DROP, followed
from dispatchgym.agents.solvers.memory_search import local_search
from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.eval.validators.memory import validate
from dispatchgym.instances.base import DispatchGymError, InstanceError
from dispatchgym.instances.memory.instance import MemorySize
from dispatchgym.instances.memory.suites import named

MODES = ("charged", "free")
PUBLISHED = {f"{c['instance']}@{c['capacity_mib']}MiB": c for c in CHECKS["greedy"]}

PLANS = read("memory/optimal_plans.json")["plans"]
HARD = {"tf2_infer@16MiB", "resnet18_infer@8MiB"}  # optima that can be played are found with luck: seconds to minutes

# Seeds of instances whose optimum is above that of the model, as first fit leaves no room: plays must be cut off.
CUT = {"charged": (893, 994, 1119, 1512, 1677, 2406), "free": (24, 176, 224, 290, 303, 310)}


@pytest.mark.parametrize("mode", MODES)
def test_every_play_of_the_worked_example(mode: str) -> None:
    expected = CHECKS["worked_example"][f"{mode}_optimum"]
    latencies = {tuple(game.actions): game.latency for game in plays(Tables(worked()), mode)}
    assert len(latencies) == expected["complete_action_sequences"]
    for actions, latency in latencies.items():
        assert validate(worked(), actions, {"evictions": mode}).objective == latency
    solution = brute_force(worked(), mode)
    assert (solution.objective, solution.bound, solution.status) == (expected["latency"],) * 2 + ("optimal",)
    assert min(latencies.values()) == latencies[tuple(solution.actions)] == expected["latency"]


@pytest.mark.parametrize("packed", [False, True], ids=["unpacked", "packed"])
@pytest.mark.parametrize("mode", MODES)
def test_cp_sat_finds_the_optimum_of_tiny_instances(mode: str, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ortools")
    cuts: list[Any] = []
    monkeypatch.setattr(memory_exact, "UNPACKED", 1 if packed else 1000)
    monkeypatch.setattr(memory_exact._Search, "cut", _counted(memory_exact._Search.cut, cuts))
    seeds = [seed for seed in range(60) if int(random_memory(seed).n_events) <= 8]
    for seed in (*seeds, *CUT[mode]):
        instance = random_memory(seed)
        optimum = brute_force(instance, mode).objective
        cuts.clear()
        solution = cp_sat(instance, workers=1, evictions=mode)
        assert (solution.objective, solution.bound, solution.status) == (optimum, optimum, "optimal"), seed
        assert validate(instance, solution.actions, {"evictions": mode} | solution.options).objective == optimum
        assert cuts or seed not in CUT[mode], seed


def _counted(function: Callable[..., Any], calls: list[Any]) -> Callable[..., Any]:
    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return function(*arguments)

    return counted


@pytest.mark.parametrize("name", PLANS)
def test_recorded_plans_of_published_programs_are_optimal(name: str) -> None:
    pytest.importorskip("ortools")
    instance, check, latency = named(name).instance, PUBLISHED[name], PLANS[name]["latency"]
    actions = [LETTERS.index(letter) for letter in PLANS[name]["actions"]]
    assert validate(instance, actions).objective == latency
    solution = SOLVERS["cp_sat"].solve(instance, hint=actions, workers=2)
    assert (solution.objective, solution.bound, solution.status) == (latency, latency, "optimal")
    greedy = min(check["charged_copy_first"]["latency"], check["charged_nocopy_first"]["latency"])
    assert check["charged_lower_bound_relaxed"] <= latency < greedy


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in HARD else []) for n in PLANS])
def test_cp_sat_finds_the_optima_by_itself(name: str) -> None:
    pytest.importorskip("ortools")
    instance, latency = named(name).instance, PLANS[name]["latency"]
    solution = SOLVERS["cp_sat"].solve(instance, time_limit=300, workers=2)
    assert (solution.objective, solution.bound, solution.status) == (latency, latency, "optimal")
    assert validate(instance, solution.actions, solution.options).objective == latency


def test_a_hint_is_not_lost_when_time_runs_out() -> None:
    pytest.importorskip("ortools")
    instance = named("tf2_infer@32MiB").instance
    tables = Tables(instance)
    optimum = 4087868  # of the relaxation
    copies = followed(tables, [COPY] * tables.events)
    known = followed(tables, [a if e % 7 else DROP for e, a in enumerate(copies.actions)])
    for hint in (known.actions, None):
        solution = SOLVERS["cp_sat"].solve(instance, time_limit=0.05, workers=1, hint=hint)
        assert solution.objective <= min(known.latency if hint else copies.latency, copies.latency)
        assert solution.bound <= optimum
        assert solution.status == "feasible"
        assert validate(instance, solution.actions, solution.options).objective == solution.objective
    proved = SOLVERS["cp_sat"].solve(named("mlp_train@8MiB").instance, time_limit=60, workers=2)
    again = SOLVERS["cp_sat"].solve(named("mlp_train@8MiB").instance, time_limit=0.01, workers=1, hint=proved.actions)
    assert again.objective == proved.objective


def test_padding_changes_nothing() -> None:
    pytest.importorskip("ortools")
    instance = random_memory(5)
    steps, buffers, events = instance.size
    padded = instance.pad(MemorySize(steps + 2, buffers + 1, events + 3))
    for name in ("msa", "msa_strict", "msa_size", "msa_repack", "cp_sat"):
        solver = SOLVERS[name]
        first, second = (solver.solve(i, workers=1 if solver.threaded else None) for i in (instance, padded))
        assert (first.objective, first.bound, first.status) == (second.objective, second.bound, second.status)
        assert validate(padded, second.actions, second.options).objective == second.objective


def test_brute_force_refuses_what_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_exact, "MAX_SEQUENCES", 1000)
    with pytest.raises(InstanceError, match="54 events can be played in more than 1000 ways; use cp_sat"):
        brute_force(named("mlp_train@4MiB").instance)


def test_a_bad_hint_is_refused() -> None:
    pytest.importorskip("ortools")
    with pytest.raises(InstanceError, match="a list of 3 actions"):
        cp_sat(worked(), hint=[0, 0, 0])


@pytest.mark.parametrize("solve", [cp_sat, brute_force, local_search, beam_search])
def test_unknown_evictions_are_refused(solve: Callable[..., Any]) -> None:
    pytest.importorskip("ortools")
    with pytest.raises(DispatchGymError, match=r"unknown evictions 'paid'; choose .*charged.*free"):
        solve(worked(), evictions="paid")

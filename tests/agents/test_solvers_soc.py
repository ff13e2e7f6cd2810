"""The SoC's solvers: brute force meets the check values, bounds hold, plays replay to what they claim."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from twins.checks import STREAMS, WORKED, random_stream, read, stream

from dispatchgym.agents.solvers.base import STATUSES
from dispatchgym.agents.solvers.soc import SOLVERS
from dispatchgym.agents.solvers.soc_exact import sequences
from dispatchgym.agents.solvers.soc_jobs import job_graphs, lower_bound
from dispatchgym.agents.solvers.soc_randomised import plays
from dispatchgym.eval.validators.soc import validate
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.soc.instance import SocInstance, SocSize

CHECKS = read("soc/mdp_check_values.json")


def shortened(name: str, jobs: int) -> SocInstance:
    """The first jobs of a check stream."""
    instance = stream(STREAMS[name])
    cut = {column: getattr(instance, column)[:jobs] for column in ("template", "gap", "multiplier")}
    return dataclasses.replace(instance, n_jobs=np.int32(jobs), **cut)


@pytest.mark.parametrize("name", WORKED)
def test_brute_force_tries_every_play(name: str) -> None:
    case, instance = CHECKS["worked_example"][name], stream(WORKED[name])
    tried = {tuple(actions): flow for actions, flow in sequences(instance, window=4)}
    assert (len(tried), min(tried.values())) == (case["complete_sequences"], case["optimum"])
    for actions, flow in list(tried.items())[::61]:
        assert validate(instance, actions, {"window": 4}).objective == flow
    solution = SOLVERS["brute_force"].solve(instance)
    assert (solution.objective, solution.bound, solution.status) == (case["optimum"],) * 2 + ("optimal",)
    assert validate(instance, solution.actions, solution.options).objective == case["optimum"]


@pytest.mark.parametrize("seed", range(24))
def test_bounds_and_plays_of_small_streams(seed: int) -> None:
    pytest.importorskip("ortools")
    instance, _ = random_stream(seed)
    jobs = next(n for n in range(int(instance.n_jobs), 0, -1) if instance.n_tasks[instance.template[:n]].sum() <= 6)
    instance = dataclasses.replace(instance, n_jobs=np.int32(jobs))
    optimum = SOLVERS["brute_force"].solve(instance).objective
    for padded in (instance, instance.pad(SocSize(8, 6, 3, 6, 4, 9, 5, 5, 40, 9))):
        for solver in SOLVERS.values():
            solution = solver.solve(padded, workers=1 if solver.threaded else None)
            verdict = validate(padded, solution.actions, solution.options)
            assert verdict.objective == solution.objective, verdict.errors
            assert solution.bound <= optimum <= solution.objective
            assert solution.status in STATUSES
            assert (solution.status == "optimal") == (solution.objective == solution.bound)


def test_cp_sat_proves_the_open_stream_and_follows_its_schedule() -> None:
    pytest.importorskip("ortools")
    solution = SOLVERS["cp_sat"].solve(stream(WORKED["open"]), workers=2)
    assert (solution.objective, solution.bound, solution.status) == (28, 28, "optimal")


@pytest.mark.parametrize("name", ["top1-closed-n200", "top10-open-n200-w2"])
def test_cp_sat_bounds_a_stream_job_by_job(name: str) -> None:
    pytest.importorskip("ortools")
    instance = shortened(name, 8)
    hint = SOLVERS["randomised_job_etf"].solve(instance).actions
    solution = SOLVERS["cp_sat"].solve(instance, hint=hint, workers=2)
    alone = [SOLVERS["cp_sat"].solve(one, workers=2).bound for one in one_by_one(instance)]
    assert solution.bound == sum(alone) > lower_bound(instance)
    assert validate(instance, solution.actions, solution.options).objective == solution.objective
    assert solution.objective <= min(
        SOLVERS["randomised_etf"].solve(instance).objective, validate(instance, hint).objective
    )


def one_by_one(instance: SocInstance) -> list[SocInstance]:
    """Every job as a stream of its own."""
    return [
        dataclasses.replace(
            instance,
            n_jobs=np.int32(1),
            template=instance.template[k : k + 1],
            gap=np.zeros(1, np.int32),
            multiplier=instance.multiplier[k : k + 1],
        )
        for k in range(int(instance.n_jobs))
    ]


@pytest.mark.parametrize("name", STREAMS)
def test_the_simple_bound_is_that_of_the_check_values(name: str) -> None:
    graphs, bounds = job_graphs(stream(STREAMS[name])), CHECKS["bounds"][name]
    assert sum(graph.critical_path() for graph in graphs) == bounds["lower_critical_path"]
    assert bounds["lower_critical_path"] <= lower_bound(stream(STREAMS[name])) <= bounds["best_known"]


@pytest.mark.parametrize("rule", ["etf_ds3", "job_etf"])
def test_the_first_play_is_the_rule_and_plays_repeat(rule: str) -> None:
    instance = stream(STREAMS["top1-open-n200"])
    found = list(plays(instance, rule, samples=3, seed=5))
    assert found[0][1] == CHECKS["results"]["top1-open-n200"][rule]["total_flow"]
    assert found == list(plays(instance, rule, samples=3, seed=5))
    assert found[1:] != list(plays(instance, rule, samples=3, seed=6))[1:]
    for actions, flow in found:
        assert validate(instance, actions).objective == flow


def test_randomised_plays_beat_their_rule_and_heed_a_time_limit() -> None:
    instance = shortened("top1-open-n200", 30)
    (_, flow), *_ = plays(instance, "etf_ds3", samples=1)
    best = SOLVERS["randomised_etf"].solve(instance)
    assert best.objective < flow
    hasty = SOLVERS["randomised_etf"].solve(instance, time_limit=1e-6)
    assert (hasty.objective, validate(instance, hasty.actions).objective) == (flow, flow)


def test_hints_that_are_no_play_are_named() -> None:
    pytest.importorskip("ortools")
    for hint, what in (([4], "action 0 of the hint, 4, is masked"), ([0], "the hint ends after 1 actions")):
        with pytest.raises(InstanceError, match=what):
            SOLVERS["cp_sat"].solve(stream(WORKED["open"]), hint=hint)


def test_brute_force_refuses_what_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatchgym.agents.solvers.soc_exact.MAX_PLAYS", 300)
    assert SOLVERS["brute_force"].solve(stream(WORKED["open"])).status == "optimal"
    with pytest.raises(InstanceError, match="this one of 3 jobs has more than 300 plays; use cp_sat"):
        SOLVERS["brute_force"].solve(stream(WORKED["closed"]))

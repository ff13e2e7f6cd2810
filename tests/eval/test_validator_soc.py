"""The SoC's validator agrees with the check values and the twin, and refuses what is not a play or not a schedule."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
from twins.checks import STREAMS, WORKED, random_stream, read, sha256, soc, stream
from twins.soc import SocTwin
from twins.soc_rules import RULES, play

from dispatchgym.eval.validators.base import Verdict
from dispatchgym.eval.validators.soc import SPEEDS, replay, schedule, validate
from dispatchgym.eval.validators.soc_schedule import Schedule, check_schedule, completed_by
from dispatchgym.instances.soc.instance import SocInstance, SocSize

CHECKS = read("soc/mdp_check_values.json")
TRACES = read("soc/mdp_traces.json")
OPEN = stream(WORKED["open"])
PLAY = [0, 1, 1, 0, 1, 1, 2, 1]  # the play of the worked example, of flow 28


@pytest.mark.parametrize("trace", TRACES)
def test_recorded_plays(trace: str) -> None:
    name, _, rule = trace.partition("/")
    instance, options = stream(STREAMS[name]), {"window": STREAMS[name]["window"]}
    verdict = validate(instance, TRACES[trace], options)
    assert verdict.valid, verdict.errors
    got = verdict.metrics
    assert got["jobs_in_system"] == pytest.approx(got["throughput"] * got["mean_latency"])  # Little's law
    if rule == "best_known":
        assert verdict.objective == CHECKS["bounds"][name]["best_known"]
        return
    expected = CHECKS["results"][name][rule]
    plan, rewards, _ = replay(instance, TRACES[trace], options)
    done = [max(row) for row in plan.finish]
    assert verdict.objective == expected["total_flow"]
    assert (sha256(rewards), sha256(done)) == (expected["rewards_sha256"], expected["done_sha256"])
    for key in ("p50", "p95", "p99", "energy_nj", "blocked_jobs", "admission_wait"):
        assert got[key] == expected[key], key
    n, makespan = expected["jobs"], expected["last_completion"] - min(plan.admitted)
    assert got["mean_latency"] == expected["total_flow"] / n
    assert got["edp"] == pytest.approx(expected["energy_nj"] * expected["total_flow"] / n)
    assert (got["makespan"], got["refused_jobs"]) == (makespan, 0)
    assert got["throughput"] == n / makespan
    assert got["utilisation"] == pytest.approx(np.mean(expected["busy"]) / makespan)
    assert got["utilisation_max"] == max(expected["busy"]) / makespan


@pytest.mark.parametrize("name", WORKED)
def test_the_worked_streams(name: str) -> None:
    case = CHECKS["worked_example"][name]
    actions = [step["action"] for step in case["steps"]]
    plan, rewards, verdict = replay(stream(case["instance"]), actions, {"window": 4})
    assert (verdict.objective, rewards) == (case["flow"], [step["reward"] for step in case["steps"]])
    assert (plan.pe, plan.start, plan.finish) == (case["pe"], case["start"], case["finish"])
    assert plan.admitted == case["admit"]
    assert plan.order == [tuple(step["task"]) for step in case["steps"]]
    assert validate(stream(case["instance"]), actions, {"window": 4}).objective == case["flow"]


@pytest.mark.parametrize("seed", range(150))
def test_agrees_with_the_twin_whatever_is_chosen(seed: int) -> None:
    instance, window = random_stream(seed)
    rng = np.random.default_rng(seed)
    options = {"window": window, "speeds": SPEEDS[seed % 3]}
    twin, positions = SocTwin(instance, **options), []

    def quickest(seen: dict[str, Any]) -> int:
        rows = np.flatnonzero(seen["mask"].reshape(seen["time"].shape).any(1))
        positions.append(int(rng.choice(rows)))
        finish = np.where(seen["time"] >= 0, seen["est_finish"], 10**9)[positions[-1]]
        return positions[-1] * twin.pes + int(finish.argmin())

    for policy in (lambda seen: int(rng.choice(np.flatnonzero(seen["mask"]))), quickest):
        actions, rewards = play(twin, policy)
        verdict, (plan, again, _) = validate(instance, actions, options), replay(instance, actions, options)
        assert verdict.valid, verdict.errors
        assert (verdict.objective, again) == (twin.flow, rewards)
        assert plan.admitted == twin.chip.admissions
        for (k, i), where in twin.chip.schedule.items():
            assert (plan.pe[k][i], plan.start[k][i], plan.finish[k][i]) == where
        for k, row in enumerate(plan.finish):
            assert max(row) == twin.chip.completions[k]
        got = verdict.metrics
        assert got["jobs_in_system"] == pytest.approx(got["throughput"] * got["mean_latency"])
    assert validate(instance, positions, options | {"decide": "task"}) == verdict


@pytest.mark.parametrize("rule", ["met", "etf_ds3"])
def test_the_closed_stream_against_gym_ds3(rule: str) -> None:
    """Mean latency over 20 seeds of the jobs complete at 4998: MET is 108.76 here, 108.85 in gym-ds3."""
    [row] = [
        dict(zip(read("soc/mdp_vs_gym_ds3.json")["columns"], row, strict=True))
        for row in read("soc/mdp_vs_gym_ds3.json")["rows"]
        if row[:4] == ["first available", 25, 3, rule]
    ]
    latencies, counts = [], []
    for k in range(1, 21):
        x, gap = 1000 * k + 7, [0, 0, 0]
        for draw in range(150):
            x = 16807 * x % (2**31 - 1)
            if draw >= 10:
                gap.append(int(-25 * np.log(x / (2**31 - 1))))
        record = STREAMS["top1-closed-n0"] | {"template": [0] * len(gap), "gap": gap}
        actions, _ = play(SocTwin(stream(record), window=16), RULES[rule]())
        count, latency = completed_by(stream(record), schedule(stream(record), actions, {"window": 16}), 4998)
        latencies.append(latency)
        counts.append(count)
    assert np.mean(latencies) == pytest.approx(row["latency_mean"], abs=0.01)
    assert np.std(latencies, ddof=1) == pytest.approx(row["latency_sd_over_seeds"], abs=0.01)
    assert np.mean(counts) == pytest.approx(row["completed_mean"], abs=0.05)


def test_padding_changes_nothing_but_the_numbers_of_actions() -> None:
    padded = OPEN.pad(SocSize(5, 4, 3, 5, 4, 3, 3, 2, 12, 1))
    wider = [action // 2 * 4 + action % 2 for action in PLAY]
    assert validate(padded, wider) == validate(OPEN, PLAY)
    assert schedule(padded, wider) == schedule(OPEN, PLAY)


@pytest.mark.parametrize("action", [-1, 8, 10**30, 0.0, 0.5, float("nan"), "0", None, [0]])
def test_actions_that_are_none_are_refused(action: object) -> None:
    verdict = validate(OPEN, [0, 1, action], {"window": 4})
    assert verdict == Verdict.refuse(*verdict.errors)
    assert verdict.errors[0].startswith("action 2: ")


def test_refusals_name_position_job_task_and_pe() -> None:
    def error(actions: list[int], **options: Any) -> str:
        verdict = validate(OPEN, actions, options)
        assert not verdict.valid
        return verdict.errors[0]

    assert error([0, 1, 3]) == "action 2: position 1 is task 2 of job 0, which PE 1 does not support"
    assert error([0, 1, 4]) == "action 2: position 2 of the window is empty; 2 tasks are ready at 3"
    assert error([0, 1, 2], window=1) == "action 2: there is no action 2; the actions are 0..1"
    assert error([0, 1, 2], decide="task") == "action 1: position 1 of the window is empty; 1 tasks are ready at 1"
    assert error(PLAY[:-1]) == "action 7: the trace ends with 1 of 8 tasks undecided, the next task 1 of job 2"
    assert error([*PLAY, 0]) == "action 8: all is decided after 8 actions"
    assert error(PLAY, decide="all") == "unknown decide 'all'; choose one of pair, task"
    assert error(PLAY, speeds="?") == "unknown speeds '?'; choose one of known, order, hidden"


def test_a_broken_off_play_shows_what_has_happened() -> None:
    plan = schedule(OPEN, PLAY[:3])
    assert plan.start == [[0, -1, -1], [1, -1], [-1, -1, -1]]
    assert (plan.admitted, plan.order) == ([0, 1, -1], [(0, 0), (1, 0), (0, 1)])


@pytest.mark.parametrize("seed", range(60))
def test_nothing_in_a_schedule_can_be_moved(seed: int) -> None:
    """PEs, order and admissions decide the times, so that every other time is refused."""
    instance, window = random_stream(seed)
    rng = np.random.default_rng(seed)
    actions, _ = play(SocTwin(instance, window), lambda seen: int(rng.choice(np.flatnonzero(seen["mask"]))))
    plan = schedule(instance, actions, {"window": window})
    assert check_schedule(instance, plan) == validate(instance, actions, {"window": window})
    by = int(rng.choice([-2, -1, 1, 3]))
    k = int(rng.integers(len(plan.admitted)))
    i = int(rng.integers(len(plan.start[k])))
    moved = copy.deepcopy(plan)
    moved.start[k][i] += by
    moved.finish[k][i] += by
    later = dataclasses.replace(plan, admitted=[t + by * (j == k) for j, t in enumerate(plan.admitted)])
    for bad in (moved, later):
        assert check_schedule(instance, bad).errors


def test_faults_of_a_schedule_are_named() -> None:
    plan = schedule(OPEN, PLAY)
    assert check_schedule(OPEN, plan).objective == 28

    def fault(instance: SocInstance = OPEN, **changes: Any) -> str:
        changed = dataclasses.replace(
            copy.deepcopy(plan), **{k: v for k, v in changes.items() if k in ("order", "admitted")}
        )
        for column in ("pe", "start", "finish"):
            for (k, i), value in changes.get(column, {}).items():
                getattr(changed, column)[k][i] = value
        return "; ".join(check_schedule(instance, changed).errors)

    assert "task 2 of job 0 ran on PE 1, which does not support it" in fault(pe={(0, 2): 1})
    assert "task 0 of job 0 ran 0-4 on PE 0, where it takes 3" in fault(finish={(0, 0): 4})
    assert "task 2 of job 2 ran 11-17 on PE 0, where it takes 4" in fault(finish={(2, 2): 17})  # 6 x 0.7, rounded
    early = fault(start={(0, 1): 6}, finish={(0, 1): 9})
    assert "task 1 of job 0 starts at 6 on PE 1, before the data of task 0 are there at 7" in early
    assert "starts at 4, before its job is admitted at 5" in fault(admitted=[0, 1, 5])
    assert "job 2 is admitted at 2, not at 4, the first instant it may enter" in fault(admitted=[0, 1, 2])
    idle = fault(start={(2, 2): 12}, finish={(2, 2): 16})
    assert "PE 0: the next to start is task 2 of job 2, at 11, but it started at 12" in idle
    first, second = plan.order.index((2, 1)), plan.order.index((2, 2))  # both ready at 9, on different PEs: no matter
    swapped = list(plan.order)
    swapped[first], swapped[second] = (2, 2), (2, 1)
    assert not fault(order=swapped)
    overtaken = [(0, 0), (1, 0), (0, 1), (0, 2), (2, 0), (1, 1), (2, 2), (2, 1)]  # (1, 1) ran first
    assert fault(order=overtaken) == "PE 1: the next to start is task 1 of job 1, at 12, but it started at 4"
    late = [plan.order[1], plan.order[0], *plan.order[2:]]
    assert "task 0 of job 0, ready at 0, is committed after one that is ready at 1 only" in fault(order=late)
    assert fault(order=plan.order[1:]) == "the order of commits does not name every task once"
    assert (
        "the schedule has rows for 2 jobs" in check_schedule(OPEN, dataclasses.replace(plan, admitted=[0, 1])).errors[0]
    )


def test_errors_are_cut_short() -> None:
    instance = stream(STREAMS["top1-open-n0"])
    plan = schedule(instance, TRACES["top1-open-n0/met"])
    shifted = Schedule(plan.pe, [[t - 1 for t in row] for row in plan.start], plan.finish, plan.order, plan.admitted)
    verdict = check_schedule(instance, shifted)
    assert len(verdict.errors) == 21
    assert verdict.errors[-1].startswith("and ")


def test_rates_of_a_stream_that_takes_no_time() -> None:
    instance = soc([([[0]], [])], [[1]], template=[0], gap=[3], cap=1, closed=False)
    verdict = validate(instance, [0])
    assert (verdict.objective, verdict.metrics["throughput"], verdict.metrics["makespan"]) == (0, 0.0, 0.0)

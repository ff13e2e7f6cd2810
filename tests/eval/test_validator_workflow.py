"""The workflow's validator agrees with published schedules and the twin, and refuses what is not a schedule."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from twins.checks import example, published, random_workflow, read, workflow
from twins.workflow import WorkflowTwin

from dispatchgym.eval.validators.base import Verdict
from dispatchgym.eval.validators.workflow import Schedule, check_schedule, replay, schedule, validate
from dispatchgym.instances.workflow.instance import WorkflowInstance, WorkflowSize

CHECKS = read("workflow/mdp_workflow_check.json")


def actions_of(instance: WorkflowInstance, steps: list[list[int]]) -> list[int]:
    """From [task, processor] rows, by the definition of the window."""
    before: dict[int, list[int]] = {i: [] for i in range(int(instance.n_tasks))}
    for a, b, volume in instance.edges.tolist():
        if volume >= 0:
            before[b].append(a)
    actions, done = [], []
    for i, p in steps:
        ready = [j for j in before if j not in done and all(a in done for a in before[j])]
        actions.append(ready.index(i) * instance.time.shape[1] + p)
        done.append(i)
    return actions


@pytest.mark.parametrize("trace", CHECKS["published"])
def test_published_schedules(trace: str) -> None:
    case, instance = CHECKS["published"][trace], published(trace.partition("/")[0])
    actions = actions_of(instance, case["actions"])
    plan, rewards, _ = replay(instance, actions)
    assert (plan.start, plan.finish, rewards) == (case["start"], case["finish"], case["rewards"])
    assert validate(instance, actions).objective == case["makespan"]
    assert validate(instance, actions, {"insertion": False}).objective == case["same_actions_append"]


def test_metrics_of_heft_on_the_published_graph() -> None:
    """By hand: shortest times 9, 13, 13, 8, 10, ... give the path 1-2-9-10 of 9 + 13 + 12 + 7; P1 alone takes 127."""
    instance = published("topcuoglu2002")
    got = validate(instance, actions_of(instance, CHECKS["published"]["topcuoglu2002/heft"]["actions"])).metrics
    assert got == pytest.approx(
        {"makespan": 80, "lower_bound": 41, "slr": 80 / 41, "speedup": 127 / 80, "efficiency": 127 / 240}
    )
    assert got["lower_bound"] == instance.lower_bound()


@pytest.mark.parametrize("insertion", [True, False])
@pytest.mark.parametrize("name", CHECKS["examples"])
def test_the_worked_examples(name: str, insertion: bool) -> None:
    case, instance = CHECKS["examples"][name]["insertion" if insertion else "append"], example(name)
    actions = actions_of(instance, [step["action"] for step in case["steps"]])
    plan, rewards, verdict = replay(instance, actions, {"insertion": insertion})
    assert (verdict.objective, rewards) == (case["makespan"], [step["reward"] for step in case["steps"]])
    for step in case["steps"]:
        i, p = step["action"]
        assert (plan.pe[i], plan.start[i], plan.finish[i]) == (p, step["start"], step["finish"])


@pytest.mark.parametrize("window", [None, 1, 2])
@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("insertion", [True, False])
def test_agrees_with_the_twin_whatever_is_chosen(insertion: bool, online: bool, window: int | None) -> None:
    options = {"insertion": insertion, "window": window, "information": "online" if online else "full"}
    for seed in range(50):
        instance, rng = random_workflow(seed), np.random.default_rng(seed)
        twin = WorkflowTwin(instance, window, insertion, online)
        for quickest in (False, True):
            seen, over, actions, positions, rewards = twin.reset(), False, [], [], []
            while not over:
                row, p = divmod(int(rng.choice(np.flatnonzero(seen["mask"]))), twin.pes)
                if quickest:
                    p = int(np.where(seen["time"][row] >= 0, seen["finish"][row], 10**9).argmin())
                seen, reward, over = twin.step(row * twin.pes + p)
                actions.append(row * twin.pes + p)
                positions.append(row)
                rewards.append(reward)
            verdict, (plan, again, _) = validate(instance, actions, options), replay(instance, actions, options)
            assert verdict.valid, verdict.errors
            assert (verdict.objective, again) == (twin.makespan, rewards)
            assert [twin.plan[i] for i in range(twin.n)] == list(zip(plan.pe, plan.start, plan.finish, strict=True))
            assert instance.lower_bound() == verdict.metrics["lower_bound"] <= twin.makespan
        assert validate(instance, positions, options | {"decide": "task"}) == verdict


def test_online_by_hand() -> None:
    """Tasks 0 and 1 of times 2 and 5 on two processors, 2 after 0, 3 free of edges; the clock moves 0, 2."""
    instance = workflow([[2, 2], [5, 5], [1, 1], [4, 4]], [(0, 2, 0)])
    online = {"information": "online"}
    plan, rewards, verdict = replay(instance, [0, 1, 1, 0], online)  # 0 on P0, 1 on P1, 3 on P1, then 2 on P0
    assert (plan.start, rewards, verdict.objective) == ([0, 0, 2, 5], [-2, -3, -4, 0], 9)
    assert "position 2 of the window is empty; 2 tasks can be chosen" in validate(instance, [0, 4], online).errors[0]
    assert validate(instance, [0, 4], {}).errors[0].startswith("action 2: the trace ends with 2 of 4 tasks unplanned")
    late = workflow([[3], [1]], [])  # nothing is planned before the clock, not even into a gap
    assert replay(late, [0, 0], online)[0].start == [0, 3]


def test_padding_changes_nothing_but_the_numbers_of_actions() -> None:
    instance, actions = example("unlike"), [5, 1, 4, 0, 1]
    padded = instance.pad(WorkflowSize(8, 5, 7, 3, 3, 3))
    wider = [action // 3 * 5 + action % 3 for action in actions]
    assert validate(padded, wider) == validate(instance, actions)
    assert schedule(padded, wider) == schedule(instance, actions)


@pytest.mark.parametrize("action", [-1, 10, 10**30, 0.0, 0.5, float("nan"), "0", None, [0]])
def test_actions_that_are_none_are_refused(action: object) -> None:
    verdict = validate(example("gap"), [0, action])
    assert verdict == Verdict.refuse(*verdict.errors)
    assert verdict.errors[0].startswith("action 1: ")


def test_refusals_name_position_task_and_processor() -> None:
    def error(actions: list[int], **options: Any) -> str:
        verdict = validate(example("unlike"), actions, options)
        assert not verdict.valid
        return verdict.errors[0]

    complete = [5, 1, 4, 0, 1]
    assert validate(example("unlike"), complete).objective == 17
    assert error([2]) == "action 0: position 0 is task 0, which processor 2 does not support"
    assert error([5, 3]) == "action 1: position 1 of the window is empty; 1 tasks can be chosen"
    assert error([5], window=1) == "action 0: there is no action 5; the actions are 0..2"
    assert error([1, 2], decide="task") == "action 1: position 2 of the window is empty; 1 tasks can be chosen"
    assert error(complete[:-1]) == "action 4: the trace ends with 1 of 5 tasks unplanned, among them task 4"
    assert error([*complete, 0]) == "action 5: all is planned after 5 actions"
    assert error(complete, decide="all") == "unknown decide 'all'; choose one of pair, task"
    assert error(complete, information="?") == "unknown information '?'; choose one of full, online"


@pytest.mark.parametrize("seed", range(60))
def test_a_moved_task_is_judged_by_the_definition(seed: int) -> None:
    instance, rng = random_workflow(seed), np.random.default_rng(seed)
    twin = WorkflowTwin(instance)
    seen, over, actions = twin.reset(), False, []
    while not over:
        actions.append(int(rng.choice(np.flatnonzero(seen["mask"]))))
        seen, _, over = twin.step(actions[-1])
    moved = copy.deepcopy(schedule(instance, actions))
    i, by = int(rng.integers(twin.n)), int(rng.integers(-2, 4))
    moved.start[i] += by
    moved.finish[i] += by
    verdict = check_schedule(instance, moved)
    assert verdict.valid == feasible(instance, moved)
    assert bool(verdict.errors) != verdict.valid
    if verdict.valid:
        assert verdict.objective == max(moved.finish)


def feasible(instance: WorkflowInstance, plan: Schedule) -> bool:
    """The definition, pair by pair."""
    for a, b, volume in instance.edges.tolist():
        p, q = plan.pe[a], plan.pe[b]
        delay = 0 if p == q or volume < 0 else volume // int(instance.bandwidth[p, q])
        if volume >= 0 and plan.start[b] < plan.finish[a] + delay:
            return False
    rows = list(zip(plan.pe, plan.start, plan.finish, strict=True))
    apart = all(a[0] != b[0] or a[2] <= b[1] or b[2] <= a[1] for n, a in enumerate(rows) for b in rows[:n])
    return apart and min(plan.start) >= 0


def test_faults_of_a_schedule_are_named() -> None:
    instance = example("unlike")
    good = schedule(instance, [5, 1, 4, 0, 1])

    def fault(i: int, pe: int, start: int, finish: int) -> str:
        bad = copy.deepcopy(good)
        bad.pe[i], bad.start[i], bad.finish[i] = pe, start, finish
        return "; ".join(check_schedule(instance, bad).errors)

    assert check_schedule(instance, good).objective == 17
    assert "task 0 runs on processor 2, which does not support it" in fault(0, 2, 0, 6)
    assert "task 0 runs on processor -1, which does not support it" in fault(0, -1, -1, -1)
    assert "task 1 runs 0-4 on processor 2, where it takes 3" in fault(1, 2, 0, 4)
    assert "task 1 starts at -1, before time 0" in fault(1, 2, -1, 2)
    assert "task 2 starts at 8 on processor 0, before the data of task 0 at 9" in fault(2, 0, 8, 8)
    assert "processor 1: task 2 starts at 7 while task 3 runs until 8" in fault(2, 1, 7, 7)
    assert "rows for 4 tasks" in check_schedule(instance, Schedule([0] * 4, [0] * 4, [0] * 4)).errors[0]


def test_ratios_without_a_meaning_are_left_out() -> None:
    nobody_supports_both = workflow([[2, -1], [-1, 3]], [])
    assert set(validate(nobody_supports_both, [0, 1]).metrics) == {"makespan", "lower_bound", "slr"}
    assert set(validate(workflow([[0]], []), [0]).metrics) == {"makespan", "lower_bound"}

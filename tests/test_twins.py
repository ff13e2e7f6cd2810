"""The twins reproduce the published traces and the check values of all rules, step by step."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from twins.checks import (
    STREAMS,
    WORKED,
    example,
    published,
    random_stream,
    random_workflow,
    read,
    sha256,
    stream,
)
from twins.soc import BLOCKED, DONE, INF, QUEUED, READY, RUNNING, SocTwin
from twins.soc_rules import RULES, play
from twins.workflow import WorkflowTwin

from dispatchgym.instances.soc.instance import SocInstance

CHECKS = read("soc/mdp_check_values.json")
WORKFLOWS = read("workflow/mdp_workflow_check.json")


@pytest.mark.parametrize("name", WORKED)
def test_the_worked_streams_step_by_step(name: str) -> None:
    case = CHECKS["worked_example"][name]
    twin = SocTwin(stream(case["instance"]), window=4)
    seen = twin.reset()
    for step in case["steps"]:
        row, pe = divmod(step["action"], 2)
        assert seen["now"] == step["t"]
        assert list(twin.chip.inside) == step["in_system"]
        assert seen["window"][: len(step["window"])].tolist() == step["window"]
        assert (seen["window"][len(step["window"]) :] == -1).all()
        assert np.flatnonzero(seen["mask"]).tolist() == step["mask"]
        assert [[[job.index, i] for _, job, i in queue] for queue in twin.chip.queues] == step["queue"]
        assert (seen["est_free"] + seen["now"]).tolist() == step["est_free"]
        assert (seen["window"][row].tolist(), pe) == (step["task"], step["pe"])
        assert seen["data_ready"][row, pe] + seen["now"] == step["data_ready"]
        seen, reward, over = twin.step(step["action"])
        assert (reward, seen["now"]) == (step["reward"], step["t_next"])
    assert over
    assert twin.flow == case["flow"]
    assert (twin.chip.admissions, twin.chip.completions) == (case["admit"], case["done"])
    for (k, i), (pe, start, finish) in twin.chip.schedule.items():
        assert (pe, start, finish) == tuple(case[column][k][i] for column in ("pe", "start", "finish"))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", WORKED)
def test_rules_on_the_worked_streams(name: str, rule: str) -> None:
    twin = SocTwin(stream(WORKED[name]), window=4)
    play(twin, RULES[rule]())
    assert twin.flow == CHECKS["worked_example"][name]["rules"][rule]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", STREAMS)
def test_rules_on_the_check_streams(name: str, rule: str) -> None:
    expected = CHECKS["results"][name][rule]
    twin = SocTwin(stream(STREAMS[name]), STREAMS[name]["window"])
    actions, rewards = play(twin, RULES[rule]())
    assert (twin.flow, -sum(rewards), len(actions)) == (expected["total_flow"],) * 2 + (expected["decisions"],)
    assert sha256(actions) == expected["actions_sha256"]
    assert sha256(rewards) == expected["rewards_sha256"]
    assert sha256(twin.chip.completions) == expected["done_sha256"]


@pytest.mark.parametrize("plan", read("soc/mdp_vs_gym_ds3.json")["one_job"])
def test_one_job_under_published_plans_and_rules(plan: str) -> None:
    expected = read("soc/mdp_vs_gym_ds3.json")["one_job"][plan]
    record = STREAMS["top1-closed-n0"] | {"template": [0], "gap": [0]}
    twin = SocTwin(stream(record), window=16)
    actions = iter(expected["actions"])
    policy = RULES[plan]() if plan in RULES else lambda _: next(actions)
    assert play(twin, policy)[0] == expected["actions"]
    assert twin.flow == expected["latency"]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_seen_holds_together(seed: int) -> None:
    instance, window = random_stream(seed)
    twin, rng = SocTwin(instance, window), np.random.default_rng(seed)
    seen, over = twin.reset(), False
    while not over:
        slots = twin.slots()
        status = slots["status"]
        assert (slots["job"] >= 0).sum() == seen["in_system"] == (slots["tasks_left"] > 0).sum()
        assert (status == RUNNING).sum() == seen["busy"].sum()
        assert (status == RUNNING).sum() + (status == QUEUED).sum() == seen["qlen"].sum()
        assert min((status == READY).sum(), window) == (seen["window"][:, 0] >= 0).sum() > 0
        assert ((slots["finish"] < INF) == (status == DONE)).all()
        assert (slots["ready"][status == BLOCKED] == INF).all()
        assert (seen["est_start"] >= np.where(seen["time"] >= 0, seen["est_free"], 0)).all()
        for action in np.flatnonzero(~seen["mask"]):
            with pytest.raises(ValueError, match=f"action {action}: "):
                twin.step(action)
        seen, _, over = twin.step(rng.choice(np.flatnonzero(seen["mask"])))


def tampered(instance: SocInstance, twin: SocTwin, rng: np.random.Generator) -> SocInstance:
    """Another future: noise of all tasks that have not started, gaps before releases that are still to come."""
    multiplier, gap = instance.multiplier.copy(), instance.gap.copy()
    for k in range(int(instance.n_jobs)):
        for i in range(int(instance.n_tasks[instance.template[k]])):
            if (k, i) not in twin.chip.schedule:
                multiplier[k, i] = rng.integers(100, 3001)
    for k in range(twin.chip.k_next, int(instance.n_jobs)):
        known = twin.chip.release if k == twin.chip.k_next else INF
        if (known if twin.chip.closed else twin.chip.arrivals[k]) > twin.chip.now:
            gap[k] += rng.integers(0, 4)
    return dataclasses.replace(instance, multiplier=multiplier, gap=gap)


@pytest.mark.parametrize("seed", range(40))
def test_the_future_is_not_seen(seed: int) -> None:
    instance, window = random_stream(seed)
    rng = np.random.default_rng(seed)
    twin = SocTwin(instance, window)
    actions, _ = play(twin, lambda seen: int(rng.choice(np.flatnonzero(seen["mask"]))))
    cut = int(rng.integers(len(actions)))
    seen = twin.reset()
    for action in actions[:cut]:
        seen, _, _ = twin.step(action)
    other = SocTwin(tampered(instance, twin, rng), window)
    also = other.reset()
    for action in actions[:cut]:
        also, _, _ = other.step(action)
    for key, value in seen.items():
        np.testing.assert_array_equal(value, also[key], err_msg=key)
    for key, value in twin.slots().items():
        np.testing.assert_array_equal(value, other.slots()[key], err_msg=key)


@pytest.mark.parametrize("rule", ["met", "mct", "fifo_random"])
def test_rules_that_take_the_first_task_do_not_depend_on_the_window(rule: str) -> None:
    expected = CHECKS["results"]["real-open-n200"][rule]["total_flow"]
    twin = SocTwin(stream(STREAMS["real-open-n200"]), window=1)
    play(twin, RULES[rule]())
    assert twin.flow == expected


@pytest.mark.parametrize("insertion", [True, False])
@pytest.mark.parametrize("name", WORKFLOWS["examples"])
def test_the_worked_workflows_step_by_step(name: str, insertion: bool) -> None:
    case = WORKFLOWS["examples"][name]["insertion" if insertion else "append"]
    twin = WorkflowTwin(example(name), insertion=insertion)
    seen = twin.reset()
    for step in case["steps"]:
        mask = [[int(seen["task"][a // twin.pes]), a % twin.pes] for a in np.flatnonzero(seen["mask"]).tolist()]
        assert mask == step["mask"]
        row, p = seen["task"].tolist().index(step["action"][0]), step["action"][1]
        table = [int(seen[column][row, p]) for column in ("data_ready", "start", "finish")]
        assert table == [step["data_ready"], step["start"], step["finish"]]
        seen, reward, over = twin.step(row * twin.pes + p)
        assert (reward, twin.makespan) == (step["reward"], step["makespan"])
    assert over


@pytest.mark.parametrize("trace", WORKFLOWS["published"])
def test_published_workflow_schedules(trace: str) -> None:
    case = WORKFLOWS["published"][trace]
    for insertion, makespan in ((True, case["makespan"]), (False, case["same_actions_append"])):
        twin = WorkflowTwin(published(trace.partition("/")[0]), insertion=insertion)
        seen, rewards = twin.reset(), []
        for i, p in case["actions"]:
            seen, reward, _ = twin.step(seen["task"].tolist().index(i) * twin.pes + p)
            rewards.append(reward)
        assert twin.makespan == makespan
        if insertion:
            assert rewards == case["rewards"]
            assert [twin.plan[i][1:] for i in range(10)] == list(zip(case["start"], case["finish"], strict=True))


@pytest.mark.parametrize("seed", range(10))
def test_online_no_task_is_planned_before_its_predecessors_have_finished(seed: int) -> None:
    twin, rng = WorkflowTwin(random_workflow(seed), window=2, online=True), np.random.default_rng(seed)
    seen, over, now = twin.reset(), False, 0
    while not over:
        assert seen["now"] >= now
        now = seen["now"]
        assert all(twin.since[i] <= now for i in seen["task"] if i >= 0)
        assert (seen["start"][seen["time"] >= 0] >= now).all()
        for action in np.flatnonzero(~seen["mask"]):
            with pytest.raises(ValueError, match="masked"):
                twin.step(action)
        seen, _, over = twin.step(rng.choice(np.flatnonzero(seen["mask"])))

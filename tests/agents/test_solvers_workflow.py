"""The workflow's solvers: exact ones agree and prove published graphs, heuristics reach their published makespans."""

from __future__ import annotations

import numpy as np
import pytest
from twins.checks import example, published, random_workflow, read
from twins.workflow import WorkflowTwin

from dispatchgym.agents.solvers.base import STATUSES
from dispatchgym.agents.solvers.workflow import SOLVERS
from dispatchgym.agents.solvers.workflow_exact import sequences
from dispatchgym.agents.solvers.workflow_plan import actions_of, heft, in_order, planned, steps_of
from dispatchgym.eval.validators.workflow import validate
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.workflow.instance import WorkflowSize

CHECKS = read("workflow/mdp_workflow_check.json")
OPTIMA = {"topcuoglu2002": 73, "arabnejad2014": 113}  # proved by CP-SAT


@pytest.mark.parametrize(("name", "heft_", "lookahead"), [("topcuoglu2002", 80, 76), ("arabnejad2014", 133, 127)])
def test_heft_with_and_without_lookahead(name: str, heft_: int, lookahead: int) -> None:
    instance = published(name)
    steps = heft(instance.graph())
    assert [list(step) for step in steps] == CHECKS["published"][f"{name}/heft"]["actions"]
    assert validate(instance, actions_of(instance, steps)).objective == heft_
    solution = SOLVERS["lookahead_heft"].solve(instance)
    assert solution.objective == validate(instance, solution.actions, solution.options).objective == lookahead


@pytest.mark.parametrize("name", OPTIMA)
def test_cp_sat_proves_the_published_graphs(name: str) -> None:
    pytest.importorskip("ortools")
    instance = published(name)
    hint = SOLVERS["lookahead_heft"].solve(instance).actions
    for known in (None, hint):
        solution = SOLVERS["cp_sat"].solve(instance, hint=known, workers=2, time_limit=60)
        assert (solution.objective, solution.bound, solution.status) == (OPTIMA[name],) * 2 + ("optimal",)
        assert validate(instance, solution.actions, solution.options).objective == OPTIMA[name]


@pytest.mark.parametrize(("name", "count"), [("gap", 320), ("unlike", 540)])
def test_brute_force_tries_every_list_of_actions(name: str, count: int) -> None:
    instance = example(name)
    tried = {tuple(actions_of(instance, steps)): makespan for steps, makespan in sequences(instance.graph())}
    assert len(tried) == count
    for actions, makespan in list(tried.items())[::37]:
        assert validate(instance, actions).objective == makespan
    solution = SOLVERS["brute_force"].solve(instance)
    assert (solution.objective, solution.bound, solution.status) == (11, 11, "optimal")
    assert min(tried.values()) == validate(instance, solution.actions, solution.options).objective == 11


@pytest.mark.parametrize("seed", range(30))
def test_exact_solvers_agree_and_no_heuristic_is_better(seed: int) -> None:
    pytest.importorskip("ortools")
    instance = random_workflow(seed, tasks=5)
    optimum = SOLVERS["brute_force"].solve(instance).objective
    for padded in (instance, instance.pad(WorkflowSize(9, 4, 12, 6, 6, 9))):
        for name, solver in SOLVERS.items():
            solution = solver.solve(padded, workers=1 if solver.threaded else None)
            assert validate(padded, solution.actions, solution.options).objective == solution.objective
            assert solution.bound <= optimum <= solution.objective
            assert solution.status in STATUSES
            assert (solution.status == "optimal") == (solution.objective == solution.bound)
            if solver.exact:
                assert (solution.objective, solution.status) == (optimum, "optimal"), name


@pytest.mark.parametrize("seed", range(40))
def test_planning_in_order_of_start_moves_no_task_back(seed: int) -> None:
    instance, rng = random_workflow(seed, tasks=12), np.random.default_rng(seed)
    twin = WorkflowTwin(instance, insertion=bool(seed % 2))
    seen, over, actions = twin.reset(), False, []
    while not over:
        actions.append(int(rng.choice(np.flatnonzero(seen["mask"]))))
        seen, _, over = twin.step(actions[-1])
    graph = instance.graph()
    plan = planned(graph, steps_of(instance, actions))
    assert actions_of(instance, steps_of(instance, actions)) == actions
    again = planned(graph, in_order(plan, graph.order))
    assert again.pe == plan.pe
    assert all(after <= before for after, before in zip(again.start, plan.start, strict=True))


def test_cp_sat_keeps_the_hint_when_time_is_up() -> None:
    pytest.importorskip("ortools")
    instance = published("arabnejad2014")
    hint = SOLVERS["lookahead_heft"].solve(instance)
    solution = SOLVERS["cp_sat"].solve(instance, hint=hint.actions, workers=1, time_limit=1e-4)
    assert (solution.objective, solution.status) == (127, "feasible")
    assert instance.lower_bound() <= solution.bound <= 113


def test_hints_that_are_no_plan_are_named() -> None:
    pytest.importorskip("ortools")
    for hint, what in (([2], r"action 0 of the hint, 2, is masked"), ([5, 1, 4], r"the hint leaves 2 tasks unplanned")):
        with pytest.raises(InstanceError, match=what):
            SOLVERS["cp_sat"].solve(example("unlike"), hint=hint)


def test_brute_force_refuses_what_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatchgym.agents.solvers.workflow_exact.MAX_SEQUENCES", 500)
    assert SOLVERS["brute_force"].solve(example("gap")).status == "optimal"
    with pytest.raises(InstanceError, match="5 tasks on 3 processors can be planned in more than 500 ways; use cp_sat"):
        SOLVERS["brute_force"].solve(example("unlike"))

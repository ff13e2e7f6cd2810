"""The job shop's solvers: exact ones agree, heuristics are valid and as good as published."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatchgym.agents.solvers.base import STATUSES
from dispatchgym.agents.solvers.job_shop import SOLVERS
from dispatchgym.agents.solvers.job_shop_graph import Shop, actions_of, append, makespan
from dispatchgym.agents.solvers.job_shop_one_machine import carlier
from dispatchgym.agents.solvers.job_shop_randomised import sample
from dispatchgym.eval.validators.job_shop import check_schedule, replay, starts, validate
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.extras import MissingExtraError, require
from dispatchgym.instances.job_shop import SUITES, JobShopInstance, JobShopSize, named

HEURISTICS = [name for name, solver in SOLVERS.items() if not solver.exact]

operation = st.tuples(st.integers(0, 2), st.sampled_from([0, 0, 1, 2, 3, 5, 8]))
tiny = st.lists(st.lists(operation, min_size=1, max_size=3), min_size=1, max_size=3).map(JobShopInstance.from_jobs)
small = st.lists(st.lists(operation, min_size=1, max_size=6), min_size=1, max_size=6).map(JobShopInstance.from_jobs)
relaxed = settings(deadline=None, max_examples=40)


def enumerated(instance: JobShopInstance) -> int:
    """The optimum by trying every action list."""
    actions = np.repeat(np.arange(len(instance.n_operations)), instance.n_operations).tolist()
    shop = Shop(instance)

    def best(done: tuple[int, ...]) -> int:
        if len(done) == len(actions):
            return makespan(shop, append(shop, done))
        return min(best((*done, j)) for j in set(actions) if done.count(j) < actions.count(j))

    return best(())


def random_square(seed: int) -> JobShopInstance:
    rng = np.random.default_rng(seed)
    machine = np.stack([rng.permutation(3) for _ in range(3)])
    return JobShopInstance.from_matrices(machine, rng.integers(0, 10, (3, 3)))


@pytest.mark.parametrize("seed", range(6))
def test_brute_force_is_exact_on_3x3(seed: int) -> None:
    instance = random_square(seed)
    solution = SOLVERS["brute_force"].solve(instance)
    assert (solution.objective, solution.status) == (enumerated(instance), "optimal")
    assert solution.bound == solution.objective
    assert validate(instance, solution.actions, solution.options).objective == solution.objective


@given(instance=tiny)
@settings(deadline=None, max_examples=30)
def test_exact_solvers_agree(instance: JobShopInstance) -> None:
    pytest.importorskip("ortools")
    brute = SOLVERS["brute_force"].solve(instance)
    cp = SOLVERS["cp_sat"].solve(instance, workers=1)
    assert brute.objective == cp.objective
    assert brute.status == cp.status == "optimal"
    for solution in (brute, cp):
        assert validate(instance, solution.actions, solution.options).objective == solution.objective
    # The optimum is among the active schedules as well, zero durations or not.
    assert brute.objective == min(
        validate(instance, actions, {"scheme": "left_shift"}).objective for actions in (brute.actions, cp.actions)
    )


@given(instance=tiny)
@relaxed
def test_heuristics_are_valid_and_no_better_than_the_optimum(instance: JobShopInstance) -> None:
    optimum = SOLVERS["brute_force"].solve(instance).objective
    for padded in (instance, instance.pad(JobShopSize(5, 4, 4, 3))):
        for name in HEURISTICS:
            solution = SOLVERS[name].solve(padded)
            verdict = validate(padded, solution.actions, solution.options)
            assert verdict.valid, (name, verdict.errors)
            assert verdict.objective == solution.objective >= optimum
            assert solution.bound <= optimum
            assert solution.status in STATUSES
            assert (solution.status == "optimal") == (solution.objective == solution.bound)


@given(instance=small)
@relaxed
def test_no_cycles_whatever_the_routes(instance: JobShopInstance) -> None:
    for name in ("insa", "shifting_bottleneck"):
        solution = SOLVERS[name].solve(instance)
        assert validate(instance, solution.actions, solution.options).objective == solution.objective


@given(instance=small, seed=st.integers(0, 2**32 - 1))
@relaxed
def test_actions_of_a_schedule_rebuild_one_no_later(instance: JobShopInstance, seed: int) -> None:
    rng = np.random.default_rng(seed)
    actions = rng.permutation(np.repeat(np.arange(len(instance.n_operations)), instance.n_operations)).tolist()
    schedule, _ = replay(instance, actions, "left_shift")
    shop = Shop(instance)
    flat = schedule[schedule >= 0].tolist()
    rebuilt = append(shop, actions_of(shop, flat))
    assert all(after <= before for after, before in zip(rebuilt, flat, strict=True))
    assert check_schedule(instance, starts(instance, actions_of(shop, flat), {"scheme": "semi_active"})).valid


def test_cp_sat_solves_ft06() -> None:
    pytest.importorskip("ortools")
    instance = named("ft06").instance
    hint = SOLVERS["insa"].solve(instance).actions
    for known in (None, hint):
        solution = SOLVERS["cp_sat"].solve(instance, hint=known, workers=2, time_limit=30)
        assert (solution.objective, solution.bound, solution.status) == (55, 55, "optimal")
        assert validate(instance, solution.actions, solution.options).objective == 55


def test_cp_sat_keeps_the_hint_when_time_is_up() -> None:
    pytest.importorskip("ortools")
    instance = named("ta80").instance
    hint = SOLVERS["randomised_mwkr"].solve(instance)
    solution = SOLVERS["cp_sat"].solve(instance, hint=hint.actions, workers=1, time_limit=0.01)
    assert solution.objective <= hint.objective
    assert solution.status == "feasible"
    assert instance.lower_bound() <= solution.bound < solution.objective


def test_hints_that_are_no_schedule_are_named() -> None:
    pytest.importorskip("ortools")
    instance = named("ft06").instance
    for hint, what in (([0] * 36, "too often"), ([7], "wrongly"), ([0, 1], "34 operations out")):
        with pytest.raises(InstanceError, match=what):
            SOLVERS["cp_sat"].solve(instance, hint=hint)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "ortools"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "ortools", None)
    remedy = r'^CP-SAT needs ortools; install it with pip install "dispatchgym\[exact\]"$'
    with pytest.raises(MissingExtraError, match=remedy):
        SOLVERS["cp_sat"].solve(named("ft06").instance)
    assert issubclass(MissingExtraError, ImportError)
    assert require("math", "exact").pi > 3


def test_brute_force_refuses_what_is_too_large() -> None:
    with pytest.raises(InstanceError, match="117649 combinations"):
        SOLVERS["brute_force"].solve(named("ft06").instance)


@pytest.mark.parametrize(
    ("solver", "name", "optimum", "gap"),
    [
        ("insa", "ft06", 55, 0.15),
        ("insa", "ft10", 930, 0.12),
        ("insa", "la01", 666, 0.05),
        ("shifting_bottleneck", "ft06", 55, 0.10),
        ("shifting_bottleneck", "ft10", 930, 0.10),
        ("shifting_bottleneck", "la01", 666, 0.05),
        ("randomised_mwkr", "ft10", 930, 0.18),
        ("randomised_fdd_mwkr", "orb07", 397, 0.12),
    ],
)
def test_heuristics_come_close_to_known_optima(solver: str, name: str, optimum: int, gap: float) -> None:
    instance = named(name).instance
    solution = SOLVERS[solver].solve(instance)
    assert optimum <= solution.objective <= optimum * (1 + gap)
    assert validate(instance, solution.actions, solution.options).objective == solution.objective


@pytest.mark.parametrize(
    ("solver", "published", "tolerance"),
    [
        ("insa", 14.5, 1.0),
        ("shifting_bottleneck", 11.6, 2.5),
        ("randomised_spt", 13.5, 1.5),
        ("randomised_mwkr", 13.5, 1.5),
        ("randomised_mopnr", 12.6, 1.5),
    ],
)
def test_average_gap_on_taillard_15x15_is_the_published_one(solver: str, published: float, tolerance: float) -> None:
    entries = SUITES["taillard-15x15"]()
    gaps = [100 * (SOLVERS[solver].solve(e.instance).objective / e.reference.value - 1) for e in entries]
    assert np.mean(gaps) == pytest.approx(published, abs=tolerance)


def test_randomised_rules_repeat_and_include_the_rule() -> None:
    instance = named("ft06").instance
    for rule, makespan_of_rule in (("spt", 88), ("mwkr", 61), ("mopnr", 59), ("fdd_mwkr", 67)):
        actions, makespans = sample(instance, rule, samples=8, seed=3)
        again, _ = sample(instance, rule, samples=8, seed=3)
        other, _ = sample(instance, rule, samples=8, seed=4)
        np.testing.assert_array_equal(actions, again)
        assert (actions[1:] != other[1:]).any()
        assert makespans[0] == makespan_of_rule
        for row, value in zip(actions, makespans, strict=True):
            assert validate(instance, row.tolist(), {"scheme": "non_delay"}).objective == value
    many = {SOLVERS["randomised_mwkr"].solve(named("ft10").instance, seed=seed).objective for seed in range(4)}
    assert len(many) > 1


def test_shifting_bottleneck_heeds_its_time_limit() -> None:
    instance = named("ta31").instance
    quick = SOLVERS["shifting_bottleneck"].solve(instance, time_limit=0.0)
    assert validate(instance, quick.actions, quick.options).objective == quick.objective


@given(
    jobs=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(0, 12)), min_size=1, max_size=6),
    data=st.data(),
)
@settings(deadline=None, max_examples=80)
def test_one_machine_sequences(jobs: list[tuple[int, int, int]], data: st.DataObject) -> None:
    r, p, q = (list(column) for column in zip(*jobs, strict=True))
    n = len(jobs)
    pairs = data.draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=3))
    lags = [[(j, p[i] + data.draw(st.integers(0, 5))) for j in range(n) if i < j and (i, j) in pairs] for i in range(n)]

    def value(order: tuple[int, ...]) -> int | None:
        start, now = {}, 0
        for j in order:
            if any(j == k and i not in start for i in range(n) for k, _ in lags[i]):
                return None
            now = max(now, r[j], *(start[i] + lag for i in start for k, lag in lags[i] if k == j), 0)
            start[j] = now
            now += p[j]
        return max(start[j] + p[j] + q[j] for j in order)

    optimum = min(v for order in itertools.permutations(range(n)) if (v := value(order)) is not None)
    found = carlier(r, p, q, lags)
    assert value(tuple(found.order)) == found.value >= optimum
    if found.proven or not any(lags):
        assert found.value == optimum

"""Scores, gaps, intervals and the runner's own decisions."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from dispatchgym.envs.registry import lookup
from dispatchgym.eval.report import interval, rows, summarise
from dispatchgym.eval.runner import Outcome, Request, Result, run
from dispatchgym.eval.validators import validator
from dispatchgym.instances.base import DispatchGymError, Reference, SuiteEntry, fingerprint
from dispatchgym.instances.job_shop import JobShopInstance, entry, named

JOB_SHOP = lookup("dispatchgym/JobShop-v0")


def result(objective, reference, valid=True):
    problem = SuiteEntry("x", None, Reference(reference, "optimal") if reference is not None else None, "1x1")
    return Result(problem, Outcome(0, [0], objective, 1.0, 10, {}), valid, objective if valid else None)


def test_scores_and_gaps_in_both_senses():
    low, high = rows([result(110, 100)], "min")[0], rows([result(90, 100)], "max")[0]
    assert (low.score, low.gap) == pytest.approx((100 / 110, 0.1))
    assert (high.score, high.gap) == pytest.approx((0.9, 0.1))


def test_failures_score_nothing_and_are_counted():
    table = rows([result(100, 100), result(90, 100, valid=False), result(120, None)], "min")
    summary = summarise(table)
    assert [row.score for row in table] == [1.0, 0.0, None]
    assert (summary["count"], summary["valid"]) == (3, 2)
    assert summary["mean_score"] == 0.5
    assert summary["mean_gap"] == 0.0


def test_the_interval_is_the_percentile_bootstrap():
    values = np.random.RandomState(0).exponential(size=60)
    ours = interval(list(values))
    theirs = bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1))
    assert ours == pytest.approx(list(theirs.confidence_interval), abs=0.02)
    assert interval([1.0]) is None


def test_samples_do_not_depend_on_the_rest_of_the_suite():
    """A stochastic rule and its best of k: more samples never hurt, and an instance alone gives what it gives in company."""
    problems = [named("ft06"), named("la01")]
    many = run(Request(JOB_SHOP, "random", problems, samples=8))[1]
    one = run(Request(JOB_SHOP, "random", problems))[1]
    alone = run(Request(JOB_SHOP, "random", problems[:1], samples=8))[1]
    assert alone[0].objective == many[0].objective
    assert all(a.objective <= b.objective for a, b in zip(many, one, strict=True))
    assert all(r.valid for r in (*many, *one, *alone))


def test_the_pretrained_policy_is_valid_greedy_and_sampled():
    mode, greedy = run(Request(JOB_SHOP, "pretrained", [named("ft06")]))
    assert mode == "greedy"
    mode, sampled = run(Request(JOB_SHOP, "pretrained", [named("ft06")], samples=16, seed=3))
    assert mode == "best-of-16"
    assert greedy[0].valid
    assert sampled[0].valid
    again = run(Request(JOB_SHOP, "pretrained", [named("ft06"), named("la01")], samples=16, seed=3))[1]
    assert again[0].outcome.actions == sampled[0].outcome.actions


def test_a_family_without_a_validator_is_not_reported():
    with pytest.raises(DispatchGymError, match="no validator"):
        validator("nothing")


def test_fingerprints_tell_problems_apart():
    shop = named("ft06").instance
    jobs = shop.jobs()
    assert fingerprint(shop) == fingerprint(JobShopInstance.from_jobs(jobs))
    jobs[0][0] = (jobs[0][0][0], jobs[0][0][1] + 1)
    assert fingerprint(shop) != fingerprint(JobShopInstance.from_jobs(jobs))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5, -1, 2**62])
def test_durations_that_no_schedule_can_hold(value):
    with pytest.raises(DispatchGymError, match="job 0, operation 0"):
        JobShopInstance.from_jobs([[(0, value)]])


def test_an_entry_is_a_published_instance_or_a_file(tmp_path):
    assert entry("ft06").reference.value == 55
    path = tmp_path / "mine.txt"
    path.write_text("1 2\n0 3 1 4\n")
    assert entry(str(path)).reference is None

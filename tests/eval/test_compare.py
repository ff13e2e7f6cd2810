"""Paired comparisons: numbers found by hand, what is missing, and who runs with what."""

import numpy as np
import pytest
from rich.console import Console

from dispatchgym.envs.registry import lookup
from dispatchgym.eval import display
from dispatchgym.eval.compare import Contender, challenge, compare, conclusion, difference
from dispatchgym.eval.report import interval
from dispatchgym.eval.runner import Request, opponents
from dispatchgym.instances.base import DispatchGymError
from dispatchgym.instances.job_shop import named

JOB_SHOP = lookup("dispatchgym/JobShop-v0")


def against(ours, theirs, sense="min"):
    return tuple(difference(ours, theirs, sense).values())


def test_two_instances_by_hand():
    """A resample of two is one of them twice (a quarter each) or both: the interval spans the two ratios."""
    assert against([1, 3], [2, 4]) == (pytest.approx(-1 / 3), pytest.approx([-1 / 2, -1 / 4]), "wins")
    assert against([2, 4], [1, 3]) == (pytest.approx(1 / 2), pytest.approx([1 / 3, 1]), "loses")
    assert against([1, 3], [2, 2]) == (0.0, pytest.approx([-1 / 2, 1 / 2]), "tied")
    assert against([1, 3], [2, 4], "max")[2] == "loses"
    assert against([-1, -2], [-2, -4], "max") == (0.5, [0.5, 0.5], "wins")


def test_the_difference_is_symmetric():
    rng = np.random.RandomState(0)
    theirs = rng.uniform(50, 150, 40)
    ours = theirs * rng.uniform(0.85, 1.02, 40)
    there, back = difference(ours, theirs, "min"), difference(theirs, ours, "min")
    assert (1 + there["difference"]) * (1 + back["difference"]) == pytest.approx(1)
    low, high = there["difference_ci95"]
    assert back["difference_ci95"] == pytest.approx([1 / (1 + high) - 1, 1 / (1 + low) - 1], abs=1e-4)
    assert (there["verdict"], back["verdict"]) == ("wins", "loses")


def test_pairing_sees_what_the_means_alone_do_not():
    """3 % better on every one of very unlike instances; the intervals of the two means overlap almost wholly."""
    theirs = np.arange(1.0, 101.0)
    ours = 0.97 * theirs
    assert interval(ours)[1] > interval(theirs)[0]
    assert against(ours, theirs) == (pytest.approx(-0.03), pytest.approx([-0.03, -0.03]), "wins")


def test_ties_and_what_has_no_interval():
    assert against([5, 7, 9], [5, 7, 9]) == (0.0, [0.0, 0.0], "tied")
    assert against([110], [100]) == (pytest.approx(0.1), None, None)
    assert against([], []) == (None, None, None)
    assert against([1, 1], [0, 0]) == (None, None, None)
    assert against([1, 1], [0, 1]) == (1.0, None, None)  # a resample of theirs may be 0 throughout


def contender(name, values, kind="rule", error=""):
    return Contender(name, kind, "deterministic", {"scheme": name}, tuple(values), error)


POLICY = contender("mine", [1, 3, 10, 10, None], "pretrained")
RIVALS = (
    contender("slow", [2, 4, 20, 20, 5]),
    contender("quick", [2, 4, 8, 9, 5]),
    contender("partial", [None, 3, None, 1, 1]),
    contender("exact", [1, 1, 1, 1, 1], "solver"),
    contender("beyond", [None] * 5, error="too large"),
)
GROUPS = ("a", "a", "b", "b", "b")


@pytest.fixture
def found():
    return {"measure": "mean_latency", "unit": "us"} | compare(POLICY, RIVALS, GROUPS, "min")


def test_classes_their_best_rules_and_who_wins(found):
    a, b = found["classes"]["a"], found["classes"]["b"]
    assert a["policy"] == {"instances": 2, "mean": 2.0, "ci95": [1.0, 3.0]}
    assert (b["instances"], b["policy"]["instances"], b["methods"]["quick"]["instances"]) == (3, 2, 2)
    assert b["methods"]["quick"]["mean"] == 8.5  # the instance that the policy did not solve is in no mean
    assert b["methods"]["quick"]["difference_ci95"] == pytest.approx([10 / 9 - 1, 10 / 8 - 1])
    assert [a["methods"][name]["verdict"] for name in ("slow", "quick", "partial")] == ["wins", "wins", None]
    assert [b["methods"][name]["verdict"] for name in ("slow", "quick", "partial")] == ["wins", "loses", None]
    assert (a["best_rule"], a["winning_rules"]) == ("slow", [])
    assert (b["best_rule"], b["winning_rules"]) == ("quick", ["quick"])
    assert found["all"]["best_rule"] == "quick"  # "partial" has the better mean, of fewer instances
    assert found["methods"]["partial"]["valid"] == 3
    assert found["methods"]["beyond"] == {"name": "beyond", "kind": "rule", "error": "too large"}
    assert "beyond" not in found["all"]["methods"]


def test_the_conclusion_names_the_rules_that_win(found):
    *lines, over_all = conclusion(found)
    assert lines == [
        "A rule wins against mine (difference of mine, 95 % interval):",
        "  b: quick (+17.65 %, +11.11 .. +25.00 %)",
        "Elsewhere a rule is ahead of mine, but no interval shows it:",
    ]
    assert over_all.startswith("  all: quick (+4.35 %, -")
    beaten = compare(POLICY, RIVALS[:1], GROUPS, "min")
    assert conclusion(beaten) == ["No rule wins or is ahead, in any class or over all; 1 compared with mine."]
    assert conclusion(compare(POLICY, RIVALS[3:4], GROUPS, "min")) == []
    one = compare(contender("mine", [11]), [contender("other", [10])], ("",), "min")
    assert conclusion(one) == ["A rule is ahead of mine, but no interval shows it:", "  all: other (+10.00 %)"]
    assert conclusion(compare(contender("mine", [11]), [contender("other", [10])], ("",), "max")) == [
        "No rule wins or is ahead, in any class or over all; 1 compared with mine."
    ]
    failed = compare(contender("mine", [None]), [contender("other", [10])], ("",), "min")
    assert conclusion(failed) == ["mine has no valid result to compare."]


def test_the_table_for_people(found, capsys, monkeypatch):
    monkeypatch.setattr(display, "out", Console(highlight=False, width=120))  # COLUMNS is not heeded on a dumb terminal
    display.comparison(found)
    shown = capsys.readouterr()
    for text in ("mean latency [us]", "quick *", "loses", "b (3)", "deterministic (scheme=quick): quick"):
        assert text in shown.out
    assert shown.out.index("exact") < shown.out.index("  mine") < shown.out.index("slow")  # best first
    assert "beyond did not run: too large" in shown.err
    assert "partial: 2 instances without a valid result" in shown.err


def test_a_class_of_many_methods_lists_those_that_are_not_behind(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    rivals = [contender(f"rule{i}", [10 + i] * 4) for i in range(1, 9)]
    display.comparison(
        {"measure": "objective", "unit": ""} | compare(contender("mine", [12] * 4), rivals, "aabb", "min")
    )
    first, last = (part for part in capsys.readouterr().out.split("all (4)"))
    assert "rule1 *" in first
    assert "rule2" in first
    assert "6 more, behind" in first
    assert "rule3" not in first
    assert "rule8" in last


def request(policy="spt", **more):
    return Request(JOB_SHOP, policy, [named("ft06")], **more)


def test_a_method_gets_what_it_has_a_use_for():
    own, (spt, rand, cp_sat, insa) = opponents(
        request("pretrained", samples=8, seed=5, options={"scheme": "non_delay"}, time_limit=2.0, workers=1),
        ["spt", "random", "cp_sat", "insa", "spt"],
    )
    assert (own.samples, own.options, own.time_limit, own.workers) == (8, {"scheme": "non_delay"}, None, None)
    assert (spt.samples, spt.options, spt.time_limit) == (1, {"scheme": "non_delay"}, None)
    assert (rand.samples, rand.seed, rand.workers) == (8, 5, None)
    assert (cp_sat.samples, cp_sat.options, cp_sat.time_limit, cp_sat.workers) == (1, {}, 2.0, 1)
    assert (insa.time_limit, insa.workers) == (None, None)
    alone, none = opponents(request(time_limit=2.0), [])
    assert (alone.time_limit, none) == (2.0, [])


def test_rules_are_all_but_the_policy():
    names = [other.policy for other in opponents(request(), ["insa", "rules"])[1]]
    assert names == ["insa", "lpt", "fifo", "mwkr", "lwkr", "mopnr", "lopnr", "fdd_mwkr", "random"]


def test_a_method_that_refuses_the_instances_is_reported():
    """Of brute force ft06 asks too much; that is no reason to lose what the others found."""
    refusal = challenge(request("brute_force"))
    assert refusal.values == (None,)
    assert "tiny instances only" in refusal.error
    with pytest.raises(DispatchGymError, match="did you mean"):
        opponents(request(), ["fdd_mkwr"])

"""Portable streams: the check values drawn again, bursts, traces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dispatchgym.instances import InstanceError
from dispatchgym.instances.soc import chip
from dispatchgym.instances.soc.streams import bursty_gaps, exponential_gaps, make, random_multipliers, trace_gaps

CHIPS = {"canonical_top1": "canonical-top1", "canonical_top10": "canonical", "realworld": "realworld"}
CHECKED = json.loads((Path(__file__).parents[1] / "data/soc/mdp_instances.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("given", CHECKED, ids=[x["name"] for x in CHECKED])
def test_streams_are_those_of_the_check_values(given: dict) -> None:
    made = make(
        chip(CHIPS[given["platform"]]),
        given["seed"],
        given["mean_gap"],
        jobs=len(given["gap"]),
        noise=given["noise_permille"],
        cap=given["cap"],
        closed=given["closed"],
        fill=given["cap"] if given["closed"] else 0,
    )
    assert made.gap.tolist() == given["gap"]
    assert made.template.tolist() == given["template"]
    assert [row for _, _, row in made.jobs()] == (given["mult"] or [[1000] * n for n in made.n_tasks[made.template]])
    assert (int(made.cap), bool(made.closed)) == (given["cap"], given["closed"])


def test_noise_and_bursts_leave_other_draws_as_they_were() -> None:
    plain, noisy, bursty = (make(chip("realworld"), 7, 50, **more) for more in ({}, {"noise": 300}, {"burst": 4}))
    assert (plain.gap == noisy.gap).all()
    assert (plain.template == noisy.template).all()
    assert (plain.template == bursty.template).all()
    assert (plain.multiplier == 1000).all()
    real = np.arange(34) < noisy.n_tasks[noisy.template][:, None]
    assert abs(noisy.multiplier[real].mean() - 1000) < 40
    assert abs(noisy.multiplier[real].std() - 300) < 30
    assert (noisy.multiplier[~real] == 1000).all()


@pytest.mark.parametrize("geometric", [True, False])
def test_bursts_keep_the_load(geometric: bool) -> None:
    gaps = bursty_gaps(11, 8000, 50, 4, geometric=geometric)
    assert abs(np.mean(gaps) - 50) < 3
    begins = np.flatnonzero(np.array(gaps) > 0)
    sizes = np.diff(begins)
    assert abs(sizes.mean() - 4) < 0.3
    if geometric:
        assert abs((sizes == 1).mean() - 0.25) < 0.04
        assert sizes.max() > 10
    else:
        assert np.median(sizes) == 4
    assert abs(np.mean(exponential_gaps(11, 8000, 50)) - 49.5) < 2


def test_the_first_jobs_are_there_at_once() -> None:
    assert exponential_gaps(3, 6, 100, fill=4)[:4] == [0] * 4
    assert exponential_gaps(3, 6, 100, fill=4)[4:] == exponential_gaps(3, 3, 100)[1:]


def test_multipliers_are_clipped() -> None:
    rows = random_multipliers(5, [2000], 1000)
    assert (min(rows[0]), max(rows[0])) == (100, 3000)


def test_trace() -> None:
    assert trace_gaps([4, 4, 10]) == [4, 0, 6]
    made = make(chip("canonical"), 1, arrivals=[4, 4, 10])
    assert np.cumsum(made.gap).tolist() == [4, 4, 10]
    for wrong, said in (
        ([3, 2], "job 1 arrives at 2, before 3"),
        ([-1], "job 0 arrives at -1"),
        ([0.5], "job 0: arrival 0.5"),
    ):
        with pytest.raises(InstanceError, match=said):
            trace_gaps(wrong)
    with pytest.raises(InstanceError, match="a closed stream has no arrival times"):
        make(chip("canonical"), 1, arrivals=[0], closed=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": 0}, "seed is 0; give an integer in 1"),
        ({"mean_gap": -1}, "mean_gap is -1"),
        ({"jobs": 0}, "jobs is 0"),
        ({"noise": 0.2}, "noise is 0.2; give an integer in 0..1000"),
        ({"burst": 0}, "burst is 0"),
        ({"weights": (1, 2)}, "2 weights for the 10 templates of canonical"),
        ({"weights": (0,) * 10}, "the weights are .* at least one above 0"),
        ({"cap": 0}, "cap is 0"),
        ({"mean_gap": 2**24}, "60 jobs may need"),
    ],
)
def test_wrong_parameters_are_refused(given: dict, said: str) -> None:
    with pytest.raises(InstanceError, match=said):
        make(chip("canonical"), **({"seed": 1, "mean_gap": 50} | given))

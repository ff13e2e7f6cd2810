"""The shipped chips against the platforms of the check values, and their operating points."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dispatchgym.instances import InstanceError, UnknownNameError
from dispatchgym.instances.soc import chip
from dispatchgym.instances.soc.chips import CHIPS, usual_weights

PLATFORMS = json.loads((Path(__file__).parents[1] / "data/soc/mdp_platforms.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "platform"),
    [("canonical-top1", "canonical_top1"), ("canonical", "canonical_top10"), ("realworld", "realworld")],
)
def test_chips_are_the_platforms_of_the_check_values(name: str, platform: str) -> None:
    ours, given = chip(name), PLATFORMS[platform]
    assert list(ours.pes) == given["pe"]
    assert list(ours.power) == given["power_mw"]
    assert [list(row) for row in ours.bandwidth] == given["bw"]
    templates = [
        {"name": t.name, "w": [list(row) for row in t.time], "edges": [list(edge) for edge in t.edges]}
        for t in ours.templates
    ]
    assert templates == given["templates"]


@pytest.mark.parametrize("name", CHIPS)
def test_chips_pass_their_check(name: str) -> None:
    chip(name).check()
    assert chip(name) == chip(name, opp={})


def test_the_cpu_only_chip_has_its_own_times() -> None:
    bal = chip("realworld-bal")
    time = {task: row for t in bal.templates for task, row in zip(t.tasks, t.time, strict=True)}
    assert {row[0] for row in bal.bandwidth} == {1000}
    assert [time[task][::4] for task in ("fir_filter", "match_correlation", "filter")] == [
        (6468, 1393),
        (4997, 1133),
        (7033, 1561),
    ]


def test_operating_points_scale_times_and_power() -> None:
    slow = chip("realworld", opp={"A15": 1000, "A7": 1000})
    assert (
        slow.power == (100,) * 4 + (445,) * 4 + chip("realworld").power[8:]
    )  # a quarter of the measured 0.40 and 1.78 W
    first = slow.templates[0].time[0]
    assert (first[0], first[4]) == (31, 20)  # 22 * 1400 / 1000 = 30.8, 10 * 2000 / 1000
    assert slow.templates[0].time[-1] == chip("realworld").templates[0].time[-1]  # 0 stays 0, -1 stays -1
    ladder = [chip("canonical", opp={"P1": mhz}) for mhz in range(600, 2001, 200)]
    assert [made.power[0] for made in ladder] == sorted(made.power[0] for made in ladder)
    assert [made.templates[0].time[0][0] for made in ladder] == [47, 35, 28, 23, 20, 18, 16, 14]  # 14 * 2000 / f
    assert {made.power[1:] for made in ladder} == {(59, 59)}


def test_power_between_measurements_follows_the_capacitance() -> None:
    volts, watts = {1000: 1.15, 1200: 1.25, 1400: 1.3}, {1000: 0.40, 1400: 0.81}
    capacitance = {f: w / (f * volts[f] ** 2) for f, w in watts.items()}
    expected = (capacitance[1000] + capacitance[1400]) / 2 * 1200 * volts[1200] ** 2 / 4 * 1000
    assert chip("realworld", opp={"A7": 1200}).power[0] == round(expected)


def test_usual_weights_are_those_of_ds3() -> None:
    assert usual_weights(chip("realworld")) == (2, 2, 2, 1, 1, 2)
    assert usual_weights(chip("canonical")) == (1,) * 10


def test_errors_name_the_choice() -> None:
    with pytest.raises(UnknownNameError, match="unknown chip 'realword'; did you mean 'realworld'"):
        chip("realword")
    with pytest.raises(UnknownNameError, match="unknown kind of PE 'A16'"):
        chip("realworld", opp={"A16": 1000})
    with pytest.raises(InstanceError, match="FFT has no operating point 900 MHz; it has 1000"):
        chip("realworld", opp={"FFT": 900})

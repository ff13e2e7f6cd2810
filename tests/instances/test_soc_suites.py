"""The suites: reproducible, named, grouped, with references."""

from __future__ import annotations

import json
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dispatchgym.instances import InstanceError, UnknownNameError
from dispatchgym.instances.soc import FAMILY, SUITES, coerce, entry, named
from dispatchgym.instances.soc.suites import GRIDS, INSTANCE_NAMES, digest

DATA = resources.files("dispatchgym.instances") / "data" / "soc"
CHECK = Path(__file__).parents[1] / "data" / "soc"


def data(file: str) -> dict:
    return json.loads((DATA / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SUITES)
def test_suite_is_what_it_was(name: str) -> None:
    suite = SUITES[name]()
    assert digest(suite) == data("digests.json")[name], "instances changed: raise the version of the suite"
    assert SUITES[name]() is suite
    assert (suite.name, suite.family) == (name, FAMILY)


def test_every_digest_has_a_suite_and_every_reference_an_instance() -> None:
    assert set(data("digests.json")) == set(SUITES)
    assert set(data("references.json")) <= set(INSTANCE_NAMES)


def test_check_suite_has_the_published_references() -> None:
    bounds = json.loads((CHECK / "mdp_check_values.json").read_text(encoding="utf-8"))["bounds"]
    windows = {x["name"]: x["window"] for x in json.loads((CHECK / "mdp_instances.json").read_text(encoding="utf-8"))}
    suite = SUITES["soc-check"]()
    assert {e.name for e in suite} == {name for name, window in windows.items() if window == 8}
    for e in suite:
        assert (e.reference.value, e.reference.status) == (bounds[e.name]["best_known"], "best-known")
        assert e.reference.lower_bound == bounds[e.name]["lower_critical_path"]


@pytest.mark.parametrize("name", GRIDS)
def test_grids(name: str) -> None:
    suite, grid = SUITES[name](), GRIDS[name]
    assert len(suite) == len(grid.scales) * len(grid.noises) * grid.repeats
    groups = {e.group for e in suite}
    assert groups == {f"scale {s}, noise {n / 1000:g}" for s in grid.scales for n in grid.noises}
    for noise in grid.noises:
        part = SUITES[f"{name}-n{noise}"]()
        assert all(e.group.endswith(f"noise {noise / 1000:g}") for e in part)
        assert [e for e in suite if e in part.entries] == list(part.entries)
    for e in suite:
        e.instance.check()
        scale, noise, i = (int(text.lstrip("sn")) for text in e.name.removeprefix(f"{name}-").split("-"))
        quiet = named(f"{name}-s{scale}-n{grid.noises[0]}-{i}").instance
        assert np.array_equal(e.instance.gap, quiet.gap)
        assert np.array_equal(e.instance.template, quiet.template)
        assert (noise > 0) == (e.instance.multiplier != 1000).any()
        assert e.reference.lower_bound <= e.reference.value
        if e.reference.status == "bound":
            assert e.reference.value == e.instance.lower_bound()


def test_scales_are_mean_gaps() -> None:
    for name, grid in GRIDS.items():
        for scale in grid.scales:
            names = [f"{name}-s{scale}-n{grid.noises[0]}-{i}" for i in range(grid.repeats)]
            gaps = [named(member).instance.gap[grid.stream.get("fill", 1) :] for member in names]
            assert abs(np.mean(gaps) / scale - 1) < 0.25 * grid.stream.get("burst", 1)


def test_seeds_of_suites_are_disjoint() -> None:
    ranges = sorted((g.seed, g.seed + 10 * len(g.scales) * g.repeats) for g in GRIDS.values())
    assert ranges[0][0] > 100_000  # the check values use less
    assert all(end < start for (_, end), (start, _) in pairwise(ranges))


def test_named_and_coerce() -> None:
    instance = named("real-open-n0").instance
    assert coerce("real-open-n0") is instance
    assert coerce(instance) is instance
    assert entry("real-open-n0") is named("real-open-n0")
    with pytest.raises(ValueError, match="read-only"):
        instance.gap[0] = 7
    with pytest.raises(UnknownNameError, match="unknown instance 'real-open'; did you mean 'real-open-n0"):
        named("real-open")
    with pytest.raises(InstanceError, match="a list is no stream"):
        coerce([1])
    with pytest.raises(InstanceError, match="no such file"):
        coerce("./real-open-n0")

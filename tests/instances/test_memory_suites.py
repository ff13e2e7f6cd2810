"""The memory suites: unchanged, split by family, equal to published figures, and measured against valid references."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from pathlib import Path

import jax
import numpy as np
import pytest

from dispatchgym.instances import InstanceError, UnknownNameError
from dispatchgym.instances.memory import FAMILY, MACHINES, SUITES, coerce, entry, extract, named, program, suites
from dispatchgym.instances.memory.scenario import capacity_bytes, find_machine
from dispatchgym.instances.memory.suites import (
    HELD_OUT,
    INSTANCE_NAMES,
    PROGRAMS,
    TRAINING,
    digest,
    everything_fast,
)

DATA = resources.files("dispatchgym.instances") / "data" / "memory"
CHECK = json.loads((Path(__file__).parents[1] / "data" / "memory" / "check_values.json").read_text(encoding="utf-8"))


def data(file: str) -> dict:
    return json.loads((DATA / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SUITES)
def test_suite_is_what_it_was(name: str) -> None:
    assert digest(SUITES[name]()) == data("digests.json")[name], "instances changed: raise the version of the suite"
    assert SUITES[name]() is SUITES[name]()
    assert (SUITES[name]().name, SUITES[name]().family) == (name, FAMILY)


def test_suites_do_not_depend_on_the_jax_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read from files afresh, with another version, without compiling, tracing or drawing anything."""

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a suite asks JAX")

    for name in ("jit", "make_jaxpr", "eval_shape", "devices", "device_put"):
        monkeypatch.setattr(jax, name, refuse)
    for name in ("key", "PRNGKey", "split", "randint", "uniform", "normal"):
        monkeypatch.setattr(jax.random, name, refuse)
    for name in ("asarray", "array", "zeros", "where"):
        monkeypatch.setattr(jax.numpy, name, refuse)
    for name in ("compiled", "parse"):
        monkeypatch.setattr(extract, name, refuse)
    monkeypatch.setattr(jax, "__version__", "99.0")
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_another_time")
    for cached in (suites._data, suites._program, suites._instance):
        monkeypatch.setattr(suites, cached.__name__, cache(cached.__wrapped__))
    monkeypatch.setattr(suites, "_suite", suites._suite.__wrapped__)
    for name, members in suites._MEMBERS.items():
        made = suites._suite(name)
        assert len(made) == len(members[1])
        assert made.entries[0].instance is not SUITES[name]().entries[0].instance
        assert digest(made) == data("digests.json")[name]


def test_every_file_is_in_a_suite() -> None:
    assert set(data("digests.json")) == set(SUITES)
    files = {path.name.removesuffix(".json") for path in (DATA / "programs").iterdir()}
    assert files == set(PROGRAMS)
    assert len(set(PROGRAMS)) == len(PROGRAMS)
    listed = {entry.name.partition("@")[0] for make in SUITES.values() for entry in make()}
    assert listed == set(PROGRAMS)


@pytest.mark.parametrize("case", CHECK["greedy"], ids=lambda c: f"{c['instance']}@{c['capacity_mib']}MiB")
def test_published_figures(case: dict) -> None:
    instance = named(f"{case['instance']}@{case['capacity_mib']}MiB").instance
    assert instance.size == (case["steps"], case["storages"], case["events"])
    assert int(np.maximum(instance.compute, instance.memory).sum()) == case["all_hbm"]
    assert instance.capacity == 16 * case["capacity_mib"]


@pytest.mark.parametrize(
    ("name", "flops", "gigabytes", "peak"),  # figures published with the programs
    [
        ("mlp_train", 4.0696e9, 0.10520, 22.9),
        ("tf2_infer", 2.8087e10, 0.51217, 68.1),
        ("tf2_train", 8.4219e10, 2.2459, 344.3),
        ("tf6_train", 2.5265e11, 6.7293, 968.9),
        ("resnet18_infer", 2.1425e9, 0.14116, 54.0),
        ("resnet18_train", 7.1478e9, 0.62424, 133.2),
    ],
)
def test_published_programs(name: str, flops: float, gigabytes: float, peak: float) -> None:
    steps = program(name).steps
    assert sum(step.flops for step in steps) == pytest.approx(flops, rel=1e-4)
    assert sum(step.bytes for step in steps) == pytest.approx(1e9 * gigabytes, rel=1e-4)
    assert program(name).peak_live() / 2**20 == pytest.approx(peak, rel=5e-3)  # theirs with the small buffers


def test_split_is_by_family() -> None:
    assert not set(TRAINING) & set(HELD_OUT)
    trained = {name for names in TRAINING.values() for name in names}
    held_out = {name for names in HELD_OUT.values() for name in names}
    assert not trained & held_out
    assert 0.3 < len(held_out) / len(trained | held_out) < 0.4
    assert {e.name for e in SUITES["jax-programs-train"]()} == {f"{p}@{s}" for p in trained for s in ("eighth", "half")}
    assert {e.name for e in SUITES["jax-programs-test"]()} == {f"{p}@{s}" for p in held_out for s in ("eighth", "half")}
    groups = {(e.name.partition("@")[0] in trained, e.group) for e in SUITES["jax-programs"]()}
    assert groups == {(True, "train"), (False, "held out")}
    assert {e.group for e in SUITES["jax-programs-test"]()} == set(HELD_OUT)


def test_our_programs_are_varied() -> None:
    entries = [e for e in SUITES["jax-programs"]() if e.name.endswith("@eighth")]
    events = np.array([e.instance.size.events for e in entries])
    assert len(entries) >= 24
    assert (events < 60).sum() <= 4
    assert ((events >= 60) & (events <= 600)).mean() > 0.5
    assert 1000 < events.max() <= 2000
    assert sum((e.instance.event_kind == 2).any() for e in entries) >= 8  # updates in place
    assert sum((e.instance.compute > e.instance.memory).any() for e in entries) >= 20
    for e in entries:
        assert program(e.name.partition("@")[0]).peak_live() >= 8 * 2**20


def test_every_instance_is_one() -> None:
    for name in INSTANCE_NAMES:
        instance = named(name).instance
        instance.check()
        assert all(np.asarray(leaf).dtype == np.int32 for leaf in vars(instance).values())


def test_capacities_are_shares_of_the_peak() -> None:
    for name in (name for names in HELD_OUT.values() for name in names):
        granules = program(name).peak_live() // 65536
        assert [int(named(f"{name}@{share}").instance.capacity) for share in ("eighth", "half")] == [
            granules // 8,
            granules // 2,
        ]


def test_references() -> None:
    known = data("references.json")["references"]
    assert set(known) <= set(INSTANCE_NAMES)
    for name in INSTANCE_NAMES:
        reference, instance = named(name).reference, named(name).instance
        slow = int(np.maximum(instance.compute, instance.memory).sum())
        assert (
            int(instance.compute.sum()) <= everything_fast(instance) <= reference.lower_bound <= reference.value <= slow
        )
        assert reference.status in ("bound", "best-known", "optimal")
        assert reference.source


def test_everything_fast_by_hand() -> None:
    instance = coerce(Path(__file__).parents[1] / "data" / "memory" / "tiny-worked.json")
    # memory 5 8 8 6 5 less the gains 3, 3 + 3, 3 + 3, 1 + 3, 3 leaves 2 2 2 2 2, as long as the arithmetic
    assert everything_fast(instance) == 10


def test_cached_instances_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        named("mlp_train@4MiB").instance.compute[0] = 7


def test_names_with_another_capacity() -> None:
    assert named("mlp_train@64KiB").instance.capacity == 1
    found = entry("unet3_train@2MiB")
    assert (found.group, found.instance.capacity, found.reference.status) == ("unet3_train", 32, "bound")


@pytest.mark.parametrize("name", ["mlp_train", "mlp_train@", "mlp_train@0MiB", "mlp_train@most", "mpl_train@4MiB"])
def test_unknown_names_suggest_near_ones(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown instance .*; did you mean 'mlp_train@"):
        coerce(name)


def test_other_values_are_refused() -> None:
    with pytest.raises(InstanceError, match="a int is no memory instance; give a MemoryInstance, a name such as"):
        coerce(3)
    with pytest.raises(UnknownNameError, match="unknown program 'tf2_trian'; did you mean 'tf2_train'"):
        program("tf2_trian")


@pytest.mark.parametrize(
    ("capacity", "found"),
    [("4MiB", 2**22), ("64KiB", 65536), ("1GiB", 2**30), ("131072", 131072), (70000, 70000), ("half", 458752)],
)
def test_capacities(capacity: int | str, found: int) -> None:
    assert capacity_bytes(capacity, 10**6) == found  # half of 1,000,000 is 7 granules and a bit


@pytest.mark.parametrize("capacity", ["", "4", "4MB", "-4MiB", "sixteenth", "9999999GiB", 65535, True, 4.5e6, None])
def test_refused_capacities(capacity: object) -> None:
    with pytest.raises(InstanceError, match="the capacity"):
        capacity_bytes(capacity, 10**6)


def test_machines() -> None:
    assert find_machine("h100") is MACHINES["h100"] is find_machine(MACHINES["h100"])
    with pytest.raises(UnknownNameError, match="unknown machine 'h200'; did you mean 'h100'"):
        find_machine("h200")
    with pytest.raises(InstanceError, match="the machine is 3; give a Machine or a name"):
        find_machine(3)

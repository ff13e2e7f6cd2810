"""The workflow suites: unchanged, named, grouped, spread over the parameters and measured against valid references."""

from __future__ import annotations

import json
import time
from collections import Counter
from importlib import resources

import numpy as np
import pytest

from dispatchgym.instances import UnknownNameError
from dispatchgym.instances.workflow import FAMILY, SUITES, named
from dispatchgym.instances.workflow.suites import INSTANCE_NAMES, digest

DATA = resources.files("dispatchgym.instances") / "data" / "workflow"


def data(file: str) -> dict:
    return json.loads((DATA / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SUITES)
def test_suite_is_what_it_was(name: str) -> None:
    assert digest(SUITES[name]()) == data("digests.json")[name], "instances changed: raise the version of the suite"
    assert SUITES[name]() is SUITES[name]()
    assert (SUITES[name]().name, SUITES[name]().family) == (name, FAMILY)


def test_every_digest_has_a_suite() -> None:
    assert set(data("digests.json")) == set(SUITES)
    assert len(set(INSTANCE_NAMES)) == len(INSTANCE_NAMES) == 4 + 500 + 96


@pytest.mark.parametrize("tasks", [20, 50, 100, 200, 500])
def test_random_suites_cover_the_grid(tasks: int) -> None:
    entries = list(SUITES[f"random-{tasks}"]())
    assert Counter(entry.group for entry in entries) == {f"ccr {ccr}": 20 for ccr in (0.1, 0.5, 1, 5, 10)}
    assert Counter(entry.instance.size.processors for entry in entries) == {4: 50, 8: 50}
    for entry in entries:
        graph = entry.instance.graph()
        assert len(graph.time) == tasks
        ratio = graph.edges[:, 2].mean() / graph.time.mean() / float(entry.group.removeprefix("ccr "))
        assert 0.3 < ratio < 2.5
        entry.instance.check()


def test_structured_groups_are_kinds() -> None:
    groups = Counter(entry.group for entry in SUITES["structured"]())
    kinds = ("cholesky", "lu", "qr", "gaussian", "fft", "forkjoin", "layered", "series-parallel")
    assert groups == dict.fromkeys(kinds, 12)
    assert named("cholesky-8x4-ccr1000").instance.n_tasks == 120


def test_references() -> None:
    known = data("references.json")["references"]
    assert set(known) <= set(INSTANCE_NAMES)
    for name in INSTANCE_NAMES:
        reference, instance = named(name).reference, named(name).instance
        assert 0 < instance.lower_bound() <= reference.lower_bound <= reference.value
        if name in known:
            assert reference.status in ("optimal", "best-known")
            assert (reference.status == "optimal") <= (reference.lower_bound == reference.value)
            assert reference.source
            assert len(reference.date) == 10
        else:
            assert (reference.status, reference.value) == ("bound", instance.lower_bound())
    assert [(named(name).reference.value, named(name).reference.status) for name in ("gap", "unlike")] == [
        *((11, "optimal"), (11, "optimal"))
    ]


def test_cached_instances_cannot_be_changed() -> None:
    for name in ("gap", "random-20-00"):
        with pytest.raises(ValueError, match="read-only"):
            named(name).instance.time[0, 0] = 7


def test_unknown_names_suggest_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown instance 'random-20-100'; did you mean"):
        named("random-20-100")


def test_one_instance_is_made_alone() -> None:
    start = time.perf_counter()
    assert named("random-500-99").instance.n_tasks == 500
    assert time.perf_counter() - start < 2
    assert np.shape(named("topcuoglu2002").instance.time) == (10, 3)

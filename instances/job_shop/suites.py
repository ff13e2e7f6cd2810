"""The benchmark suites of the job shop: 242 published instances with their best known bounds.

Instances of ``ta`` and ``dmu`` are regenerated from their seeds, the six older families are read from
``data/job_shop/classic.json``. Makespans and bounds are in the time units of the papers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache, partial
from importlib import resources
from typing import Any

from dispatchgym.instances.base import Reference, Suite, SuiteEntry, SuiteTable, UnknownNameError
from dispatchgym.instances.job_shop import lehmer
from dispatchgym.instances.job_shop.instance import JobShopInstance

FAMILY = "job_shop"

TAILLARD_CLASSES = ("15x15", "20x15", "20x20", "30x15", "30x20", "50x15", "50x20", "100x20")  # ten instances each
DMU_CLASSES = ("20x15", "20x20", "30x15", "30x20", "40x15", "40x20", "50x15", "50x20")  # five each in J and in J2


def _numbered(prefix: str, numbers: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"{prefix}{number:02d}" for number in numbers)


def _members() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every suite: its description and the names of its instances."""
    taillard, dmu = _numbered("ta", range(1, 81)), _numbered("dmu", range(1, 81))
    paper = {
        "ft": ("Fisher and Thompson 1963", ("ft06", "ft10", "ft20")),
        "la": ("Lawrence 1984", _numbered("la", range(1, 41))),
        "orb": ("Applegate and Cook 1991", _numbered("orb", range(1, 11))),
        "abz": ("Adams, Balas and Zawack 1988", tuple(f"abz{i}" for i in range(5, 10))),
        "swv": ("Storer, Wu and Vaccari 1992", _numbered("swv", range(1, 21))),
        "yn": ("Yamada and Nakano 1992", tuple(f"yn{i}" for i in range(1, 5))),
    }
    suites = {"taillard": ("Taillard 1993, all eight classes", taillard)}
    for i, group in enumerate(TAILLARD_CLASSES):
        suites[f"taillard-{group}"] = (f"Taillard 1993, {group}", taillard[10 * i : 10 * i + 10])
    suites["dmu"] = ("Demirkol, Mehta and Uzsoy 1998, J and J2", dmu)
    suites["dmu-j"] = ("Demirkol, Mehta and Uzsoy 1998, J (any route)", dmu[:40])
    suites["dmu-j2"] = ("Demirkol, Mehta and Uzsoy 1998, J2 (half of the machines before the others)", dmu[40:])
    for i, group in enumerate(DMU_CLASSES):
        both = dmu[5 * i : 5 * i + 5] + dmu[40 + 5 * i : 45 + 5 * i]
        suites[f"dmu-{group}"] = (f"Demirkol, Mehta and Uzsoy 1998, {group}, J and J2", both)
    suites |= paper
    classic = tuple(name for _, names in paper.values() for name in names)
    suites["classic"] = ("ft, la, orb, abz, swv and yn together", classic)
    return suites


_MEMBERS = _members()
INSTANCE_NAMES = tuple(name for suite in ("taillard", "dmu", "classic") for name in _MEMBERS[suite][1])


@cache
def _data(file: str) -> dict[str, Any]:
    path = resources.files("dispatchgym.instances") / "data" / "job_shop" / file
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _instance(name: str) -> JobShopInstance:
    if name.startswith("ta"):
        seeds = _data("taillard.json")["instances"][name]
        return lehmer.taillard(seeds["jobs"], seeds["machines"], seeds["time_seed"], seeds["machine_seed"])
    if name.startswith("dmu"):
        data = _data("dmu.json")
        instance = lehmer.demirkol(**data["instances"][name])
        if patch := data["patches"].get(name):
            instance.duration[patch["job"], patch["operation"]] = patch["published"]
        return instance
    jobs = _data("classic.json")["instances"][name]
    return JobShopInstance.from_jobs([list(zip(job[::2], job[1::2], strict=True)) for job in jobs])


@cache
def _entry(name: str) -> SuiteEntry:
    instance = _instance(name)
    for leaf in (instance.machine, instance.duration, instance.n_operations):
        leaf.setflags(write=False)  # the entry is cached and shared
    data = _data("bounds.json")
    bound = data["bounds"][name]
    reference = Reference(bound["upper"], bound["status"], bound["lower"], data["source"], data["date"])
    return SuiteEntry(name, instance, reference, f"{instance.size.jobs}x{instance.size.machines}")


def named(name: str) -> SuiteEntry:
    """The published instance of that name ("ft06", "ta01", "dmu41"). Raises UnknownNameError."""
    if name not in INSTANCE_NAMES:
        raise UnknownNameError("instance", name, INSTANCE_NAMES)
    return _entry(name)


@cache
def _suite(name: str) -> Suite:
    description, names = _MEMBERS[name]
    return Suite(name, FAMILY, 1, description, tuple(_entry(member) for member in names))


SUITES: SuiteTable = {name: partial(_suite, name) for name in _MEMBERS}


def digest(suite: Suite) -> str:
    """The sha256 of a suite's instances: of [[name, [[[machine, duration], ...], ...]], ...] as JSON without spaces.

    Padding, array types and references do not enter. ``data/job_shop/digests.json`` holds the committed values.
    """
    content = [[entry.name, entry.instance.jobs()] for entry in suite]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

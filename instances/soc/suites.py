"""The suites of SoC streams: the nine of the model's check values that need no option, and grids of load and noise.

Every stream comes from integer arithmetic (``streams.make``). The streams of a grid differ in seed between scales, and
not between noise levels: these share gaps and templates, and their multipliers deviate in proportion.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache, partial
from importlib import resources
from typing import Any, NamedTuple

import jax

from dispatchgym.instances.base import Reference, Suite, SuiteEntry, SuiteTable, UnknownNameError, fingerprint
from dispatchgym.instances.soc import streams
from dispatchgym.instances.soc.chips import chip

FAMILY = "soc"


class Grid(NamedTuple):
    """A suite of ``repeats`` streams for each scale (mean gap in ticks) and noise (per mille)."""

    description: str
    chip: dict[str, Any]  # arguments of chips.chip
    seed: int  # of the first stream; the grid uses seed .. seed + 10 * len(scales) * repeats
    stream: dict[str, Any]  # further arguments of streams.make
    scales: tuple[int, ...] = (25, 50, 100, 200)
    noises: tuple[int, ...] = (0, 200, 500)
    repeats: int = 10
    version: int = 1


# One line adds a suite NAME, and NAME-nNOISE for each noise. Seeds: above those of the check values, a million apart. The first
# two are the published settings. The medians of ten informed rules lie 11 to 13 % above the best of them on canonical streams
# with short gaps or in bursts; on DS3's chips, its subsets and loads of all kinds never more than 2 % (benchmarks/soc_spread.py).
_FEW = ("A7.0", "A15.0", "MM.0", "FFT.0", "VIT.0")
GRIDS = {
    "canonical": Grid("Top_1..Top_10 of gym-ds3, open", {"name": "canonical"}, 1_000_000, {"jobs": 60, "cap": 8}),
    "realworld": Grid("DS3's MULTIPLE_BAL, open", {"name": "realworld"}, 2_000_000, {"jobs": 60, "cap": 12}),
    "canonical-burst": Grid(
        "Top_1..Top_10 of gym-ds3, open, jobs arrive in bursts of 6 on average",
        {"name": "canonical"}, 3_000_000, {"jobs": 60, "cap": 8, "burst": 6}, (50, 75), (200, 500),
    ),
    "realworld-burst": Grid(
        "DS3's MULTIPLE_BAL, open, jobs arrive in bursts of 8 on average",
        {"name": "realworld"}, 4_000_000, {"jobs": 60, "cap": 12, "burst": 8}, (25, 50), (200, 500),
    ),
    "realworld-five": Grid(
        "one PE of each kind of DS3's MULTIPLE_BAL, open",
        {"name": "realworld", "pes": _FEW}, 5_000_000, {"jobs": 40, "cap": 12}, (150, 300), (200, 500),
    ),
    "realworld-cpus": Grid(
        "DS3's BAL_only: eight CPUs, no accelerator, open",
        {"name": "realworld-bal"}, 6_000_000, {"jobs": 40, "cap": 12}, (200, 400), (200, 500),
    ),
    "canonical-closed": Grid(
        "Top_1..Top_10 of gym-ds3, closed, three jobs in the system",
        {"name": "canonical"}, 7_000_000, {"jobs": 60, "cap": 3, "closed": True, "fill": 3}, (25,), (200, 500),
    ),
}  # fmt: skip

_TOP1, _REAL = {"name": "canonical-top1"}, {"name": "realworld"}
_CHECK: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # arguments of chips.chip and streams.make, less the noise
    "top1-closed": (_TOP1, {"seed": 101, "mean_gap": 25, "jobs": 100, "cap": 3, "closed": True, "fill": 3}),
    "top1-open": (_TOP1, {"seed": 201, "mean_gap": 50, "jobs": 100, "cap": 8}),
    "real-closed": (_REAL, {"seed": 301, "mean_gap": 100, "jobs": 60, "cap": 6, "closed": True, "fill": 6}),
    "real-open": (_REAL, {"seed": 401, "mean_gap": 40, "jobs": 60, "cap": 12}),
}


class _Member(NamedTuple):
    group: str
    chip: dict[str, Any]
    stream: dict[str, Any]


def _members() -> dict[str, dict[str, _Member]]:
    """Every suite: the names of its instances, and what makes each."""
    suites: dict[str, dict[str, _Member]] = {"soc-check": {}}
    for noise in (0, 200):
        for name, (platform, stream) in _CHECK.items():
            group = f"{name}, noise {noise / 1000:g}"
            suites["soc-check"][f"{name}-n{noise}"] = _Member(group, platform, stream | {"noise": noise})
    for suite, grid in GRIDS.items():
        whole = suites.setdefault(suite, {})
        for noise in grid.noises:
            part = suites.setdefault(f"{suite}-n{noise}", {})
            for s, scale in enumerate(grid.scales):
                for i in range(grid.repeats):
                    seed = grid.seed + 10 * (grid.repeats * s + i)
                    stream = grid.stream | {"seed": seed, "mean_gap": scale, "noise": noise}
                    group = f"scale {scale}, noise {noise / 1000:g}"
                    part[f"{suite}-s{scale}-n{noise}-{i}"] = _Member(group, grid.chip, stream)
            whole |= part
    return suites


_MEMBERS = _members()
_INSTANCES = {name: member for suite in ("soc-check", *GRIDS) for name, member in _MEMBERS[suite].items()}
INSTANCE_NAMES = tuple(_INSTANCES)


@cache
def _references() -> dict[str, dict[str, Any]]:
    path = resources.files("dispatchgym.instances") / "data" / "soc" / "references.json"
    content: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return content


@cache
def _entry(name: str) -> SuiteEntry:
    group, platform, stream = _INSTANCES[name]
    instance = streams.make(chip(**platform), **stream)
    for leaf in jax.tree.leaves(instance):
        leaf.setflags(write=False)  # the entry is cached and shared
    bound = instance.lower_bound()
    if known := _references().get(name):
        return SuiteEntry(name, instance, Reference(lower_bound=bound, **known), group)
    source = "critical paths of the jobs with the smallest actual times and no communication"
    return SuiteEntry(name, instance, Reference(bound, "bound", bound, source), group)


def named(name: str) -> SuiteEntry:
    """The instance of that name of a suite ("real-open-n200", "realworld-s25-n0-3"). Raises UnknownNameError."""
    if name not in _INSTANCES:
        raise UnknownNameError("instance", name, INSTANCE_NAMES)
    return _entry(name)


@cache
def _suite(name: str) -> Suite:
    grid = GRIDS.get(name) or GRIDS.get(name.rpartition("-")[0])
    if grid is None:
        description, version = (
            "streams with check values: closed and open, canonical and real-world, noise 0 and 0.2",
            1,
        )
    else:
        description, version = f"{grid.description}: {len(_MEMBERS[name])} streams over scale and noise", grid.version
    return Suite(name, FAMILY, version, description, tuple(_entry(member) for member in _MEMBERS[name]))


SUITES: SuiteTable = {name: partial(_suite, name) for name in _MEMBERS}


def digest(suite: Suite) -> str:
    """The sha256 of a suite's instances: of [[name, fingerprint], ...] as JSON without spaces; references do not enter.

    ``data/soc/digests.json`` holds the committed values.
    """
    content = [[entry.name, fingerprint(entry.instance)] for entry in suite]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

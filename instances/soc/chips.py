"""The shipped chips, at any operating point (OPP): canonical (gym-ds3) and real-world (DS3); see data/soc/README.md.

Times scale with fmax / f, rounded to the nearest tick, halves up. The active power of one unit is that of all units of
the resource together divided by their number, in mW rounded likewise. Between measured frequencies the effective
capacitance P / (f V^2) is interpolated linearly, beyond them it is constant.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cache
from importlib import resources
from typing import Any

from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.soc.chip import Chip, Template

CHIPS = {  # name: the entry of chips.json and its applications (None: all of them)
    "canonical": ("canonical", None),
    "canonical-top1": ("canonical", ("Top_1",)),
    "realworld": ("realworld", None),
    "realworld-bal": ("realworld-bal", None),
}
WEIGHTS = {
    "WiFi_Transmitter": 2,
    "WiFi_Receiver": 2,
    "lag_detection": 2,
    "SC-T": 1,
    "SC-R": 1,
    "Temporal_Mitigation": 2,
}


@cache
def _data() -> dict[str, Any]:
    path = resources.files("dispatchgym.instances") / "data" / "soc" / "chips.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _power(resource: Mapping[str, Any], mhz: int) -> int:
    """Active power of one unit at a frequency [mW]."""
    voltage = dict(resource["opp_mhz_mv"])
    measured = sorted((int(f), Fraction(uw)) for f, uw in resource["power_uw"].items())
    exact = dict(measured).get(mhz)
    if exact is None:
        capacitance = [(f, uw / (f * voltage[f] ** 2)) for f, uw in measured]
        below = max((point for point in capacitance if point[0] < mhz), default=capacitance[0])
        above = min((point for point in capacitance if point[0] > mhz), default=capacitance[-1])
        share = Fraction(mhz - below[0], above[0] - below[0]) if below[0] < mhz < above[0] else 0
        exact = (below[1] + share * (above[1] - below[1])) * mhz * voltage[mhz] ** 2
    return int(exact / (1000 * resource["count"]) + Fraction(1, 2))


def _frequency(resource: Mapping[str, Any], opp: Mapping[str, int]) -> tuple[int, int]:
    """(the frequency chosen, the highest one) [MHz]. Raises InstanceError unless the resource has that OPP."""
    points = [f for f, _ in resource["opp_mhz_mv"]]
    chosen = opp.get(resource["name"], points[-1])
    if chosen not in points:
        offered = ", ".join(map(str, points))
        raise InstanceError(f"{resource['name']} has no operating point {chosen!r} MHz; it has {offered}")
    return chosen, points[-1]


@cache
def _chip(name: str, opp: tuple[tuple[str, int], ...]) -> Chip:
    entry, applications = CHIPS[name]
    data, graphs = _data()["chips"][entry], _data()["graphs"]
    units: list[tuple[str, int]] = []  # the name of each unit PE, and which resource it is of
    power, speed = [], []
    for r, resource in enumerate(data["resources"]):
        f, fmax = _frequency(resource, dict(opp))
        speed.append((f, fmax))
        power.append(_power(resource, f))
        units += [(f"{resource['name']}.{u}", r) for u in range(resource["count"])]

    def template(app: str) -> Template:
        rows = zip(*data["times"][app].values(), strict=True)  # [tasks] of [resources]
        slower = [
            [(w * fmax + f // 2) // f if w > 0 else w for w, (f, fmax) in zip(r, speed, strict=True)] for r in rows
        ]
        times = tuple(tuple(row[r] for _, r in units) for row in slower)
        return Template(app, tuple(graphs[app]["tasks"]), times, tuple(tuple(edge) for edge in graphs[app]["edges"]))

    bandwidth = tuple(tuple(data["bandwidth"][r][s] for _, s in units) for _, r in units)
    templates = tuple(template(app) for app in applications or data["times"])
    return Chip(name, tuple(u for u, _ in units), bandwidth, tuple(power[r] for _, r in units), templates)


def chip(
    name: str,
    opp: Mapping[str, int] | None = None,
    pes: Iterable[str] | None = None,
    profiles: Iterable[str] | None = None,
) -> Chip:
    """A shipped chip, as in ``chip("realworld", opp={"A15": 1000}, pes=("A7.0", "A15.0", "FFT.0"))``.

    ``opp`` gives frequencies [MHz] by kind of PE (default: the highest), ``pes`` and ``profiles`` choose unit PEs and
    applications by name. Raises UnknownNameError for a name and InstanceError for an OPP that the chip lacks, and for a
    task that no PE chosen supports.
    """
    if name not in CHIPS:
        raise UnknownNameError("chip", name, CHIPS)
    opp = {} if opp is None else opp
    kinds = [resource["name"] for resource in _data()["chips"][CHIPS[name][0]]["resources"]]
    for kind in opp:
        if kind not in kinds:
            raise UnknownNameError("kind of PE", kind, kinds)
    made = _chip(name, tuple(sorted(opp.items())))
    return made if pes is None and profiles is None else made.subset(pes, profiles)


def usual_weights(made: Chip) -> tuple[int, ...]:
    """How often each application of a chip occurs: DS3's probabilities in tenths, and 1 for those of gym-ds3."""
    return tuple(WEIGHTS.get(name, 1) for name in made.template_names)

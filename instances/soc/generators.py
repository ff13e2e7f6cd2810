"""The named training distributions: streams of random jobs on a shipped chip."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.soc.chips import CHIPS, chip, usual_weights
from dispatchgym.instances.soc.random_stream import RandomStream

_DEFAULTS: dict[str, dict[str, Any]] = {
    "canonical": {},
    "canonical-top1": {},
    "realworld": {"cap": 12},
    "realworld-bal": {"cap": 12, "mean_gap": (100, 800)},
}
_VARIED = {"burst_probability": 0.3, "closed": 0.2, "speed": (500, 1500), "missing": 0.3, "mix": 0.5}

GENERATORS: dict[
    str, tuple[str, dict[str, Any]]
] = {  # name without the number of jobs: chip, parameters of RandomStream
    name + suffix: (name, _DEFAULTS[name] | more) for name in CHIPS for suffix, more in (("", {}), ("-varied", _VARIED))
}


def generator(
    name: str,
    pes: Iterable[str] | None = None,
    profiles: Iterable[str] | None = None,
    opp: Mapping[str, int] | None = None,
    **parameters: Any,
) -> RandomStream:
    """The generator "CHIP-N" of N jobs, as in ``generator("realworld-20", mean_gap=(20, 100))``.

    "CHIP-varied-N" also varies chip, mix, bursts and admission. ``pes``, ``profiles`` and ``opp`` choose the chip as in
    ``chip``. Raises UnknownNameError for another name and InstanceError for parameters that it refuses.
    """
    match = re.fullmatch(r"(?P<kind>.+)-(?P<jobs>[0-9]{1,9})", name)
    if match is None or match["kind"] not in GENERATORS:
        jobs = match["jobs"] if match else "N"
        raise UnknownNameError("generator", name, [f"{kind}-{jobs}" for kind in GENERATORS])
    base, defaults = GENERATORS[match["kind"]]
    made = chip(base, opp, pes, profiles)
    try:
        return RandomStream(made, int(match["jobs"]), **({"weights": usual_weights(made)} | defaults | parameters))
    except TypeError as error:
        raise InstanceError(f"generator {name!r}: {error}; see the fields of RandomStream") from None
